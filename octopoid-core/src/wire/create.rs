//! A request for a new task, as every client sends it.

use super::Fields;
use crate::{
    error::{Error, Result},
    id::{ProjectId, TaskId},
    model::{Annotations, CreateTask, QueueName, Role},
};

/// Priorities are written `P0` to `P3`; a lower-case `p` and a bare digit are the same.
pub(super) fn priority(text: &str) -> Result<crate::model::Priority> {
    let digit = text.trim().trim_start_matches(['P', 'p']);
    format!("P{digit}").parse()
}

fn strings(fields: &Fields, name: &str) -> Result<Vec<String>> {
    let wanted = || Error::invalid(format!("{name} must be an array of texts"));
    match fields.0.get(name) {
        None | Some(serde_json::Value::Null) => Ok(Vec::new()),
        Some(serde_json::Value::Array(list)) => list
            .iter()
            .map(|v| v.as_str().map(str::to_owned).ok_or_else(wanted))
            .collect(),
        Some(_) => Err(wanted()),
    }
}

/// Reads the fields; which of them are missing is the engine's business, except for a name of any kind.
///
/// Without a title, earlier clients get the id as one; with `titled` the body's first line gives it, as everywhere else.
pub fn create_task(fields: &Fields, titled: bool) -> Result<CreateTask> {
    let id = fields.text("id")?.map(|id| TaskId::parse(&id)).transpose()?;
    let content = fields.text("content")?;
    let file_path = fields.text("file_path")?;
    let title = fields.text("title")?.or_else(|| match (&content, &id, &file_path) {
        (Some(_), None, _) => None,
        _ if titled => None,
        (_, Some(id), _) => Some(id.to_string()),
        (None, None, path) => path.clone(),
    });
    let role = fields.text("role")?.map(|r| Role::parse(&r)).transpose()?;
    let blocked_by = fields.names("blocked_by")?.unwrap_or_default();
    Ok(CreateTask {
        title,
        priority: fields.text("priority")?.map(|p| priority(&p)).transpose()?,
        complexity: fields.text("complexity")?.map(|c| c.parse()).transpose()?,
        branch: fields.text("branch")?,
        flow: fields.text("flow")?,
        project_id: fields.text("project_id")?.map(|p| ProjectId::parse(&p)).transpose()?,
        blocked_by: blocked_by.iter().map(|b| TaskId::parse(b)).collect::<Result<_>>()?,
        checks: strings(fields, "checks")?,
        paths: strings(fields, "paths")?,
        created_by: fields.text("created_by")?,
        idempotency_key: fields.text("idempotency_key")?,
        queue: fields.text("queue")?.map(|q| QueueName::parse(&q)).transpose()?,
        annotations: Annotations {
            file_path,
            kind: fields.text("type")?,
            hooks: fields.json_text("hooks")?,
            flow_overrides: fields.json_text("flow_overrides")?,
            auto_accept: fields.flag("auto_accept")?.unwrap_or(false),
            metadata: fields.0.get("metadata").filter(|v| !v.is_null()).cloned(),
            role_unset: role.is_none(),
            content_unset: content.is_none(),
            ..Annotations::default()
        },
        id,
        role,
        content,
    })
}
