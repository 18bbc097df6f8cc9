//! A request that writes columns, as earlier clients send it.

use serde_json::{Map, Value, json};

use super::{Fields, create};
use crate::{
    clock::Timestamp,
    error::{Error, Result},
    id::{OrchestratorId, ProjectId, TaskId},
    model::{PatchTask, QueueName, Role},
};

/// Reads the fields, and names those that have no effect.
pub fn patch_task(fields: &Fields) -> Result<(PatchTask, Vec<String>)> {
    let mut patch = PatchTask::default();
    let mut ignored = Vec::new();
    let mut notes = Map::new();
    for (name, value) in &fields.0 {
        let null = value.is_null();
        let text = || fields.text(name);
        let time = || fields.time(name);
        let count = || -> Result<i64> { Ok(fields.int(name)?.unwrap_or(0)) };
        match name.as_str() {
            "queue" if null => return Err(Error::invalid("queue must be a text, not null")),
            "queue" => {
                let queue = value.as_str().unwrap_or_default();
                patch.queue = Some(QueueName::parse(queue)?);
            }
            "title" => patch.title = Some(text()?.ok_or_else(|| Error::invalid("title must not be empty"))?),
            "content" => patch.content = Some(text()?),
            "priority" => {
                let priority = text()?.map(|p| create::priority(&p)).transpose()?;
                patch.priority = Some(priority.unwrap_or(crate::model::Priority::P2));
            }
            "complexity" => patch.complexity = Some(text()?.map(|c| c.parse()).transpose()?),
            "role" => patch.role = Some(text()?.map(|r| Role::parse(&r)).transpose()?),
            "branch" => patch.branch = Some(text()?.ok_or_else(|| Error::invalid("branch must not be empty"))?),
            "flow" => patch.flow = Some(text()?.unwrap_or_else(|| "default".to_owned())),
            "project_id" => patch.project_id = Some(text()?.map(|p| ProjectId::parse(&p)).transpose()?),
            "blocked_by" => {
                let names = fields.names(name)?.unwrap_or_default();
                patch.blocked_by = Some(names.iter().map(|b| TaskId::parse(b)).collect::<Result<_>>()?);
            }
            "claimed_by" => patch.claimed_by = Some(text()?),
            "claimed_at" => patch.claimed_at = Some(time()?),
            "orchestrator_id" => {
                patch.orchestrator_id = Some(text()?.map(|o| OrchestratorId::parse(&o)).transpose()?);
            }
            "lease_expires_at" => patch.lease_expires_at = Some(time()?),
            "commits_count" => patch.commits_count = Some(count()?),
            "turns_used" => patch.turns_used = Some(count()?),
            "attempt_count" => patch.failure_count = Some(count()?),
            "rejection_count" => patch.rejection_count = Some(count()?),
            "pr_number" => patch.pr_number = Some(fields.int(name)?),
            "pr_url" => patch.pr_url = Some(text()?),
            "submitted_at" => patch.submitted_at = Some(time()?),
            "completed_at" => patch.completed_at = Some(time()?),
            "execution_notes" => patch.execution_notes = Some(text()?),
            "paths" => patch.paths = Some(fields.names(name)?.unwrap_or_default()),
            // A list of commands is for the engine, a text is the client's own.
            "checks" if value.is_array() => {
                patch.checks = Some(fields.names(name)?.unwrap_or_default());
            }
            "checks" => {
                notes.insert("client_checks".into(), option(text()?));
            }
            "version" => patch.version = fields.int(name)?,
            "claim_token" => patch.token = text()?,
            "has_plan" | "auto_accept" | "needs_rebase" | "needs_breakdown" | "needs_intervention" => {
                notes.insert(name.clone(), json!(fields.flag(name)?.unwrap_or(false)));
            }
            "type" | "plan_id" | "staging_url" | "file_path" => {
                notes.insert(name.clone(), option(text()?));
            }
            "hooks" | "flow_overrides" | "check_results" => {
                notes.insert(name.clone(), option(fields.json_text(name)?));
            }
            "last_rebase_attempt_at" => {
                notes.insert(name.clone(), option(time()?.map(|t: Timestamp| t.to_string())));
            }
            "review_round" => {
                notes.insert(name.clone(), json!(count()?));
            }
            "metadata" => {
                notes.insert(name.clone(), value.clone());
            }
            _ => ignored.push(name.clone()),
        }
    }
    patch.annotations = notes;
    Ok((patch, ignored))
}

fn option(text: Option<String>) -> Value {
    text.map_or(Value::Null, Value::String)
}
