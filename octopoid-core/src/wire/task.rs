//! Tasks, messages and history as rows: all columns always there, flags as 0 and 1, JSON columns as text.

use serde_json::{Value, json};

use crate::{
    id::TaskId,
    model::{Event, Message, QueueKind, Task},
};

fn flag(value: bool) -> i64 {
    i64::from(value)
}

/// A task with the 43 columns that earlier clients know, and those that are new.
///
/// `waits_for` are the blockers that are not done.
pub fn task_row(task: &Task, waits_for: &[TaskId]) -> Value {
    let notes = &task.annotations;
    let blocked_by =
        (!waits_for.is_empty()).then(|| waits_for.iter().map(TaskId::as_str).collect::<Vec<_>>().join(","));
    let checks = notes
        .client_checks
        .clone()
        .or_else(|| (!task.checks.is_empty()).then(|| json!(task.checks).to_string()));
    let mut row = json!({
        "id": task.id,
        "file_path": notes.file_path,
        "title": task.title,
        "queue": task.queue,
        "priority": task.priority,
        "complexity": task.complexity,
        "role": (!notes.role_unset).then_some(&task.role),
        "type": notes.kind,
        "branch": task.branch,
        "blocked_by": blocked_by,
        "claimed_by": task.claimed_by,
        "claimed_at": task.claimed_at,
        "orchestrator_id": task.orchestrator_id,
        "lease_expires_at": task.lease_expires_at,
        "version": task.version,
        "commits_count": task.commits_count,
        "turns_used": (task.turns_used > 0 || task.submitted_at.is_some()).then_some(task.turns_used),
        "attempt_count": task.failure_count,
        "rejection_count": task.rejection_count,
        "review_round": notes.review_round,
    });
    let more = json!({
        "has_plan": flag(notes.has_plan),
        "plan_id": notes.plan_id,
        "project_id": task.project_id,
        "auto_accept": flag(notes.auto_accept),
        "pr_number": task.pr_number,
        "pr_url": task.pr_url,
        "checks": checks,
        "check_results": notes.check_results,
        "needs_rebase": flag(notes.needs_rebase),
        "last_rebase_attempt_at": notes.last_rebase_attempt_at,
        "staging_url": notes.staging_url,
        "submitted_at": task.submitted_at,
        "completed_at": (task.kind() == QueueKind::Done).then_some(task.completed_at).flatten(),
        "created_at": task.created_at,
        "updated_at": task.updated_at,
        "needs_breakdown": flag(notes.needs_breakdown),
        "needs_intervention": flag(notes.needs_intervention),
        "execution_notes": task.execution_notes,
        "hooks": notes.hooks,
        "flow": task.flow,
        "flow_overrides": notes.flow_overrides,
        "content": (!notes.content_unset).then_some(&task.content),
        "scope": task.scope,
    });
    let new = json!({
        "blocked": task.is_blocked(),
        "awaiting": task.awaiting,
        "attempt": task.attempt_count,
        "epoch": task.epoch,
        "claim_kind": task.claim_kind,
        "claimed_from": task.claimed_from,
        "base_sha": task.base_sha,
        "head_sha": task.head_sha,
        "merged_sha": task.merged_sha,
        "hold": task.hold,
        "not_before": task.not_before,
        "attention": task.attention,
        "paths": task.paths,
        "created_by": task.created_by,
        "body_revision": task.body_revision,
        "work_branch": task.work_branch(),
        "metadata": notes.metadata,
    });
    if let (Value::Object(row), Value::Object(more), Value::Object(new)) = (&mut row, more, new) {
        row.extend(more);
        row.extend(new);
    }
    row
}

/// A message as a row.
pub fn message(message: &Message, scope: &str) -> Value {
    json!({
        "id": message.uid,
        "task_id": message.task_id,
        "from_actor": message.from,
        "to_actor": message.to,
        "type": message.kind,
        "content": message.content,
        "created_at": message.at,
        "scope": scope,
        "parent_message_id": message.parent,
    })
}

/// An event as a row of the history.
pub fn history(event: &Event) -> Value {
    let empty = event.details.as_object().is_some_and(serde_json::Map::is_empty);
    json!({
        "id": event.cursor,
        "task_id": event.task_id,
        "event": event.kind,
        "agent": event.by,
        "details": (!empty && !event.details.is_null()).then(|| event.details.to_string()),
        "timestamp": event.at,
    })
}
