//! Columns that a client writes: permissive as earlier clients expect, but never past a fenced claim.

use serde_json::{Value, json};

use super::{
    draft::Draft,
    external::{adopt, check_state, check_token},
    invalid,
};
use crate::{
    error::ErrorCode,
    lifecycle::{
        Change, Refusal,
        create::{check_body, check_branch, check_title},
        guard::{self, refuse},
    },
    model::{AttemptKind, AttemptOutcome, PatchTask, QueueKind, QueueName, Task},
};

pub(super) fn patch(mut d: Draft<'_>, by: Option<&str>, patch: &PatchTask) -> Result<Change, Refusal> {
    let task = d.facts.task;
    if let Some(version) = patch.version.filter(|v| *v != task.version) {
        return Err(refuse(
            "version",
            ErrorCode::VersionConflict,
            format!("task {} is at version {}, not {version}", task.id, task.version),
            Some("read it again and repeat the change".into()),
        ));
    }
    let moved = patch.queue.as_ref().filter(|q| **q != task.queue);
    // Who holds a fenced claim is not pushed aside by a write; a person forces, requeues or cancels.
    if patch.token.is_some() || patch.touches_claim() || task.is_fenced() && moved.is_some() {
        check_token(task, patch.token.as_deref())?;
    }
    if let Some(to) = &patch.queue {
        check_state(&d, to)?;
    }
    if let Some(to) = moved {
        guard::not_landing(task)?;
        if to.kind() == QueueKind::Done {
            return Err(invalid(format!(
                "Cannot set queue to \"done\" on task {}; it has to be accepted",
                task.id
            )));
        }
    }
    d.edits = true;
    write_columns(&mut d, patch)?;
    if let Some(to) = moved {
        move_to(&mut d, to, patch);
    }
    write_claim(&mut d, patch);
    if patch.touches_claim() || moved.is_some() {
        let now = d.now;
        adopt(&mut d.after, now);
    }
    d.by_word();
    let fields: Vec<String> = match serde_json::to_value(patch) {
        Ok(Value::Object(map)) => map
            .into_iter()
            .flat_map(|(key, value)| match (key.as_str(), value) {
                ("annotations", Value::Object(inner)) => inner.into_iter().map(|(k, _)| k).collect(),
                ("token" | "version", _) => Vec::new(),
                _ => vec![key],
            })
            .collect(),
        _ => Vec::new(),
    };
    let kind = if moved.is_some() { "moved" } else { "edited" };
    Ok(d.finish(kind, by.map(str::to_owned), json!({ "fields": fields })))
}

fn move_to(d: &mut Draft<'_>, to: &QueueName, patch: &PatchTask) {
    let flag = d.after.annotations.needs_intervention;
    let was_working = d.facts.task.kind() == QueueKind::Working;
    if was_working || to.kind().is_terminal() {
        d.end(
            AttemptOutcome::Superseded,
            None,
            Some(format!("moved to {to} by a client")),
            None,
        );
        d.release_owner();
    }
    let completed = d.after.completed_at;
    d.enter(to.clone());
    if patch.completed_at.is_some() {
        d.after.completed_at = completed;
    }
    if d.facts.task.merged_sha.is_some() {
        d.after.merged_sha = None;
    }
    d.after.annotations.needs_intervention = flag;
}

fn write_claim(d: &mut Draft<'_>, patch: &PatchTask) {
    let t = &mut d.after;
    if let Some(value) = &patch.claimed_by {
        t.claimed_by.clone_from(value);
    }
    if let Some(value) = patch.claimed_at {
        t.claimed_at = value;
    }
    if let Some(value) = &patch.orchestrator_id {
        t.orchestrator_id.clone_from(value);
    }
    if let Some(value) = patch.lease_expires_at {
        t.lease_expires_at = value;
    }
    if !patch.touches_claim() {
        return;
    }
    t.external = true;
    match (t.kind(), &t.claimed_by) {
        // Nobody holds it any more.
        (kind, None) if kind != QueueKind::Working => {
            d.end(
                AttemptOutcome::Released,
                None,
                Some("released by a client".into()),
                None,
            );
            d.release_owner();
        }
        // A review that somebody took, and that can run out.
        (QueueKind::Review, Some(_)) if t.lease_expires_at.is_some() && t.claim_token.is_none() => {
            t.claim_token = Some(format!("{}{}-{}", Task::OPEN_CLAIM, t.id, t.version));
            t.claim_kind.get_or_insert(AttemptKind::Review);
            t.claimed_from = Some(t.queue.clone());
        }
        _ => {}
    }
}

fn write_columns(d: &mut Draft<'_>, patch: &PatchTask) -> Result<(), Refusal> {
    let blockers = d.facts.blockers;
    let t = &mut d.after;
    if let Some(title) = &patch.title {
        t.title = check_title(title)?;
    }
    if let Some(content) = &patch.content {
        let text = content.clone().unwrap_or_default();
        check_body(&text)?;
        t.annotations.content_unset = text.is_empty();
        t.content = if text.is_empty() { t.title.clone() } else { text };
        t.body_revision += 1;
    }
    if let Some(role) = &patch.role {
        t.annotations.role_unset = role.is_none();
        t.role = role.clone().unwrap_or_else(crate::model::Role::implement);
    }
    if let Some(branch) = &patch.branch {
        check_branch(branch)?;
        t.branch.clone_from(branch);
    }
    macro_rules! take {
        ($($field:ident),+) => { $(if let Some(value) = &patch.$field { t.$field = value.clone(); })+ };
    }
    take!(
        priority,
        complexity,
        flow,
        project_id,
        checks,
        paths,
        rejection_count,
        failure_count,
        commits_count,
        turns_used,
        pr_number,
        pr_url,
        submitted_at,
        completed_at,
        execution_notes
    );
    for (name, value) in [
        ("commits_count", t.commits_count),
        ("turns_used", t.turns_used),
        ("attempt_count", t.failure_count),
        ("rejection_count", t.rejection_count),
    ] {
        if value < 0 {
            return Err(invalid(format!("{name} cannot be negative")));
        }
    }
    if let Some(wanted) = &patch.blocked_by {
        let open = blockers
            .iter()
            .filter(|b| wanted.contains(&b.id) && b.queue.kind() != QueueKind::Done)
            .count();
        t.open_blockers = i64::try_from(open).unwrap_or(i64::MAX);
        d.blockers = Some(wanted.clone());
    }
    if !patch.annotations.is_empty() {
        let problem = |e: serde_json::Error| invalid(format!("a field has the wrong type: {e}"));
        let Value::Object(mut all) = serde_json::to_value(&d.after.annotations).map_err(problem)? else {
            return Err(invalid("annotations are no object".into()));
        };
        for (key, value) in &patch.annotations {
            if value.is_null() {
                all.remove(key);
            } else {
                all.insert(key.clone(), value.clone());
            }
        }
        d.after.annotations = serde_json::from_value(Value::Object(all)).map_err(problem)?;
    }
    Ok(())
}
