//! What a person decides: where a task goes against its course, and what it asks for.

use super::{draft::Draft, illegal, invalid};
use crate::{
    error::ErrorCode,
    lifecycle::{
        Failure, Refusal,
        create::{check_body, check_branch, check_title},
        guard::refuse,
    },
    model::{AttemptOutcome, EditTask, QueueKind, QueueName},
};

/// Moves the task by decision of a person.
pub(super) fn recover(
    d: &mut Draft<'_>,
    by: &str,
    to: &QueueName,
    reason: &str,
    merged_sha: Option<&str>,
) -> Result<(), Refusal> {
    let task = d.facts.task;
    if reason.trim().is_empty() {
        return Err(invalid(format!(
            "recovering task {} needs a reason; it goes into the history",
            task.id
        )));
    }
    if !d.facts.flow.has_state(to) {
        return Err(invalid(format!("flow {} has no state {to}", d.facts.flow.name)));
    }
    match to.kind() {
        QueueKind::Working => {
            return Err(illegal(
                "recover",
                format!("task {} cannot be put into claimed; a claim needs an owner", task.id),
            ));
        }
        QueueKind::Done if merged_sha.is_none() => {
            return Err(refuse(
                "merged",
                ErrorCode::IllegalTransition,
                format!("task {} cannot be done: its work is not in {}", task.id, task.branch),
                Some(format!(
                    "merge it first, or `octopoid recover {} --to provisional --reason …` and approve",
                    task.id
                )),
            ));
        }
        QueueKind::Review if d.after.head_sha.is_none() => {
            return Err(illegal(
                "head",
                format!("task {} cannot be reviewed: no work was handed in", task.id),
            ));
        }
        _ => {}
    }
    d.end(
        AttemptOutcome::Superseded,
        None,
        Some(format!("recovered by {by}")),
        None,
    );
    d.release_owner();
    d.after.not_before = None;
    d.after.unclear_reviews = 0;
    d.after.transient_count = 0;
    let to_kind = to.kind();
    let before = d.after.attention.clone();
    d.enter(to.clone());
    match to_kind {
        QueueKind::Done => d.after.merged_sha = merged_sha.map(str::to_owned),
        QueueKind::Attention | QueueKind::Failed => {
            d.after.attention = before.or_else(|| Some(Failure::Question.as_str().to_owned()));
        }
        _ => {}
    }
    Ok(())
}

/// Changes what is asked for, and names what was changed.
pub(super) fn edit(d: &mut Draft<'_>, edit: &EditTask) -> Result<Vec<&'static str>, Refusal> {
    let task = d.facts.task;
    if edit.is_empty() {
        return Err(invalid("nothing to change was given".into()));
    }
    if let Some(version) = edit.version.filter(|v| *v != task.version) {
        return Err(refuse(
            "version",
            ErrorCode::VersionConflict,
            format!("task {} is at version {}, not {version}", task.id, task.version),
            Some("read it again and repeat the change".into()),
        ));
    }
    let mut changed = Vec::new();
    d.edits = true;
    let t = &mut d.after;
    if let Some(title) = &edit.title {
        t.title = check_title(title)?;
        changed.push("title");
    }
    if let Some(content) = &edit.content {
        check_body(content)?;
        if content.trim().is_empty() {
            return Err(invalid("the body is empty".into()));
        }
        t.content.clone_from(content);
        t.body_revision += 1;
        changed.push("content");
    }
    if let Some(role) = &edit.role {
        t.role = role.clone();
        changed.push("role");
    }
    if let Some(priority) = edit.priority {
        t.priority = priority;
        changed.push("priority");
    }
    if let Some(complexity) = edit.complexity {
        t.complexity = Some(complexity);
        changed.push("complexity");
    }
    if let Some(branch) = &edit.branch {
        check_branch(branch)?;
        if task.base_sha.is_some() && *branch != task.branch {
            return Err(illegal(
                "base",
                format!(
                    "task {} has work on {}; its base cannot change any more",
                    task.id, task.branch
                ),
            ));
        }
        t.branch.clone_from(branch);
        changed.push("branch");
    }
    if let Some(checks) = &edit.checks {
        t.checks.clone_from(checks);
        changed.push("checks");
    }
    if let Some(paths) = &edit.paths {
        t.paths.clone_from(paths);
        changed.push("paths");
    }
    if let Some(blocked_by) = &edit.blocked_by {
        if task.kind() != QueueKind::Waiting {
            return Err(illegal(
                "waiting",
                format!(
                    "task {} is in {}; what it waits for can change only before it is claimed",
                    task.id, task.queue
                ),
            ));
        }
        // The engine has loaded the new blockers and refused unknown ones and cycles.
        let open = d
            .facts
            .blockers
            .iter()
            .filter(|b| blocked_by.contains(&b.id) && b.queue.kind() != QueueKind::Done)
            .count();
        t.open_blockers = i64::try_from(open).unwrap_or(i64::MAX);
        d.blockers = Some(blocked_by.clone());
        changed.push("blocked_by");
    }
    Ok(changed)
}
