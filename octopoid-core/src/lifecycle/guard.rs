//! Guards: named questions, cheapest first; the first no is the answer.

use super::{Change, Command, Facts, Refusal, matrix};
use crate::{
    clock::Timestamp,
    error::ErrorCode,
    flow::actor,
    model::{QueueKind, Task},
};

pub(super) fn refuse(guard: &'static str, code: ErrorCode, message: String, hint: Option<String>) -> Refusal {
    Refusal {
        guard,
        code,
        message,
        hint,
    }
}

/// Is the command legal in this queue?
pub(super) fn table(task: &Task, command: &Command) -> Result<(), Refusal> {
    let row = command.kind().row();
    if row.from.contains(&task.kind()) {
        return Ok(());
    }
    let hint = match task.kind() {
        QueueKind::Done => "a merged task is finished; enqueue a new one for further changes".to_owned(),
        QueueKind::Failed | QueueKind::Cancelled | QueueKind::Attention => {
            format!(
                "`octopoid retry {}` starts it again, `octopoid why {}` tells what happened",
                task.id, task.id
            )
        }
        _ => format!("`octopoid why {}` tells what it waits for", task.id),
    };
    Err(refuse(
        "table",
        ErrorCode::IllegalTransition,
        format!("cannot {} task {}: it is in {}", row.word, task.id, task.queue),
        Some(hint),
    ))
}

/// Does the sender hold the claim?
pub(super) fn fence(task: &Task, command: &Command) -> Result<(), Refusal> {
    if command.kind().row().fenced && (command.token().is_none() || command.token() != task.claim_token.as_deref()) {
        return Err(refuse(
            "fence",
            ErrorCode::StaleClaim,
            format!(
                "the claim on task {} is not valid any more; it is in {} at epoch {}",
                task.id, task.queue, task.epoch
            ),
            Some("drop this attempt; its commits are kept".to_owned()),
        ));
    }
    Ok(())
}

/// Is the row that comes out one that may be, and is nothing called done that is not?
pub(super) fn sound(before: &Task, change: &Change) -> Result<(), Refusal> {
    let after = &change.after;
    let enters_done = after.kind() == QueueKind::Done && before.kind() != QueueKind::Done;
    if enters_done && after.head_sha.is_some() && after.merged_sha.is_none() {
        return Err(refuse(
            "merged",
            ErrorCode::IllegalTransition,
            format!("task {} cannot be done: its work is not in {}", after.id, after.branch),
            Some(format!("`octopoid approve {}` has it merged", after.id)),
        ));
    }
    match matrix::violations(after).first() {
        None => Ok(()),
        Some(what) => Err(refuse(
            "matrix",
            ErrorCode::IllegalTransition,
            format!("task {} cannot go that way: {what}", after.id),
            None,
        )),
    }
}

/// Is nobody landing the task at this moment? A person's move must not race with the merge.
pub(super) fn not_landing(task: &Task) -> Result<(), Refusal> {
    if task.claim_kind == Some(crate::model::AttemptKind::Land) {
        return Err(refuse(
            "landing",
            ErrorCode::IllegalTransition,
            format!("task {} is being merged right now", task.id),
            Some("try again when the merge has ended; `octopoid show` tells".to_owned()),
        ));
    }
    Ok(())
}

/// May the task be claimed by somebody who answers to these names? The reason that holds it otherwise.
pub fn claimable(facts: &Facts<'_>, answers_to: &[String], now: Timestamp) -> Result<(), Refusal> {
    let task = facts.task;
    let no = |guard, message: String| Err(refuse(guard, ErrorCode::IllegalTransition, message, None));
    if let Some(reason) = &task.hold {
        return no("hold", format!("task {} is on hold: {reason}", task.id));
    }
    if task.claim_token.is_some() {
        let holder = task.claimed_by.as_deref().unwrap_or("somebody");
        return no("unowned", format!("task {} is claimed by {holder}", task.id));
    }
    if task.is_blocked() {
        let open: Vec<_> = facts
            .blockers
            .iter()
            .filter(|b| b.queue.kind() != QueueKind::Done)
            .map(|b| format!("{} ({})", b.id, b.queue))
            .collect();
        return no("unblocked", format!("task {} waits for {}", task.id, open.join(", ")));
    }
    if let Some(at) = task.not_before.filter(|at| *at > now) {
        return no("not_before", format!("task {} is tried again at {at}", task.id));
    }
    let awaiting = task.awaiting.as_deref().unwrap_or("nobody");
    if answers_to.is_empty() && (task.external || awaiting != actor::ENGINE) {
        return Ok(());
    }
    if !answers_to.iter().any(|name| name == awaiting) {
        return no(
            "role",
            format!(
                "task {} waits for {awaiting}, not for {}",
                task.id,
                answers_to.join(" or ")
            ),
        );
    }
    Ok(())
}
