//! The first change of a task: its creation.

use serde_json::json;

use super::{Change, NewEvent, Refusal, guard::refuse};
use crate::{
    clock::Timestamp,
    error::ErrorCode,
    flow::Flow,
    id::{Scope, TaskId},
    model::{Blocker, CreateTask, Priority, QueueKind, QueueName, Role, Task},
};

/// Longest title, in characters.
const MAX_TITLE: usize = 500;
/// Largest body, in bytes.
const MAX_BODY: usize = 1 << 20;

fn bad(message: String) -> Refusal {
    refuse("valid", ErrorCode::InvalidArgument, message, None)
}

/// Refuses text that no task can carry; `what` names it.
pub(super) fn check_text(what: &str, text: &str) -> Result<(), Refusal> {
    if text.contains('\0') {
        return Err(bad(format!("the {what} contains a NUL character")));
    }
    Ok(())
}

/// A title as it is stored: one trimmed, non-empty line.
pub(super) fn check_title(title: &str) -> Result<String, Refusal> {
    check_text("title", title)?;
    let title = title.split_whitespace().collect::<Vec<_>>().join(" ");
    if title.is_empty() {
        return Err(bad("the title is empty; say in a line what should change".into()));
    }
    if title.chars().count() > MAX_TITLE {
        return Err(bad(format!(
            "the title has more than {MAX_TITLE} characters; put the details into the body"
        )));
    }
    Ok(title)
}

pub(super) fn check_body(body: &str) -> Result<(), Refusal> {
    check_text("body", body)?;
    if body.len() > MAX_BODY {
        return Err(bad(format!(
            "the body has {} bytes; at most {MAX_BODY} are allowed",
            body.len()
        )));
    }
    Ok(())
}

/// A branch name that git accepts.
pub(super) fn check_branch(branch: &str) -> Result<(), Refusal> {
    let good = !branch.is_empty()
        && branch.len() <= 250
        && !branch.starts_with(['-', '/', '.'])
        && !branch.ends_with(['/', '.'])
        && !branch.ends_with(".lock")
        && !["..", "//", "@{", "/."].iter().any(|bad| branch.contains(bad))
        && !branch.chars().any(|c| c.is_control() || " ~^:?*[\\".contains(c));
    if good {
        Ok(())
    } else {
        Err(bad(format!("{branch:?} is not a branch name")))
    }
}

/// The new task `id`, made from `request`.
///
/// `branch` is the project's base branch, used when the request names none.
pub fn create(
    request: &CreateTask,
    id: TaskId,
    scope: Scope,
    branch: &str,
    blockers: &[Blocker],
    flow: &Flow,
    now: Timestamp,
) -> Result<Change, Refusal> {
    let content = request.content.clone().unwrap_or_default();
    check_body(&content)?;
    let title = match (&request.title, content.trim().is_empty()) {
        (Some(title), _) => check_title(title)?,
        (None, false) => {
            let first = content
                .lines()
                .map(|l| l.trim_start_matches('#').trim())
                .find(|l| !l.is_empty());
            check_title(&first.unwrap_or_default().chars().take(MAX_TITLE).collect::<String>())?
        }
        (None, true) => return Err(bad("a task needs a title or a body".into())),
    };
    let content = if content.trim().is_empty() {
        title.clone()
    } else {
        content
    };
    let branch = request.branch.as_deref().unwrap_or(branch);
    check_branch(branch)?;
    for check in &request.checks {
        check_text("check", check)?;
        if check.trim().is_empty() {
            return Err(bad("a check is empty; give the command that must pass".into()));
        }
    }
    if request.blocked_by.contains(&id) {
        return Err(bad(format!("task {id} cannot wait for itself")));
    }
    let open_blockers = blockers.iter().filter(|b| b.queue.kind() != QueueKind::Done).count();
    let role = request.role.clone().unwrap_or_else(Role::implement);
    let queue = request.queue.clone().unwrap_or_else(QueueName::incoming);
    let awaiting = flow.awaiting(&queue, &role, None, None, &[]);
    let mut after = Task {
        id,
        scope,
        title,
        content,
        body_revision: 1,
        queue,
        priority: request.priority.unwrap_or(Priority::P2),
        complexity: request.complexity,
        role,
        branch: branch.to_owned(),
        flow: flow.name.clone(),
        project_id: request.project_id.clone(),
        checks: request.checks.clone(),
        paths: request.paths.clone(),
        created_by: request.created_by.clone(),
        awaiting,
        open_blockers: i64::try_from(open_blockers).unwrap_or(i64::MAX),
        claimed_by: None,
        orchestrator_id: None,
        claim_kind: None,
        claimed_from: None,
        claimed_at: None,
        lease_expires_at: None,
        claim_token: None,
        epoch: 0,
        version: 1,
        attempt_count: 0,
        failure_count: 0,
        transient_count: 0,
        rejection_count: 0,
        continuation_count: 0,
        unclear_reviews: 0,
        commits_count: 0,
        turns_used: 0,
        base_sha: None,
        head_sha: None,
        merged_sha: None,
        pr_number: None,
        pr_url: None,
        hold: None,
        not_before: None,
        attention: None,
        execution_notes: None,
        external: false,
        annotations: request.annotations.clone(),
        submitted_at: None,
        completed_at: None,
        created_at: now,
        updated_at: now,
    };
    if after.queue != QueueName::incoming() {
        super::apply::adopt(&mut after, now);
    }
    Ok(Change {
        before_version: 0,
        edits: true,
        event: NewEvent {
            kind: "created",
            by: request.created_by.clone(),
            details: json!({ "title": after.title, "role": after.role, "priority": after.priority, "blocked_by": request.blocked_by, "queue": after.queue }),
        },
        after,
        attempt: None,
        message: None,
        review: None,
        blockers: (!request.blocked_by.is_empty()).then(|| request.blocked_by.clone()),
        touches_dependents: false,
    })
}
