//! What clients do on their own word: hand in, accept, send back, force, write columns.
//!
//! Such a task is marked `external`: its row shows what it was told, not what the engine could check. Work that was
//! handed in with evidence keeps the strict rules; nobody's word makes it done.

use std::time::Duration;

use serde_json::{Value, json};

use super::{draft::Draft, illegal, invalid};
use crate::{
    clock::Timestamp,
    error::ErrorCode,
    flow::actor,
    lifecycle::{
        Change, Failure, Refusal,
        guard::{self, refuse},
        matrix,
    },
    model::{AttemptKind, AttemptOutcome, Evidence, QueueKind, QueueName, Task, Usage},
};

/// Lease of a task that is in `claimed` without anybody having named one.
const DEFAULT_LEASE: Duration = Duration::from_secs(300);
/// Turns without a commit after which an agent counts as burnt out.
const BURNOUT_TURNS: i64 = 80;
/// Turns after which it does so in any case.
const MAX_TURNS: i64 = 100;

/// Makes the row one that can run out and be shown: a lease in `claimed`, an end in an end state.
pub(in crate::lifecycle) fn adopt(t: &mut Task, now: Timestamp) {
    match t.kind() {
        QueueKind::Working => {
            if t.claim_token.is_none() {
                t.claim_token = Some(format!("{}{}-{}", Task::OPEN_CLAIM, t.id, t.version));
            }
            t.lease_expires_at.get_or_insert(now.plus(DEFAULT_LEASE));
            t.claimed_at.get_or_insert(now);
            t.claim_kind.get_or_insert(AttemptKind::Work);
            t.claimed_from.get_or_insert(QueueName::incoming());
        }
        QueueKind::Done | QueueKind::Cancelled => t.completed_at = Some(t.completed_at.unwrap_or(now)),
        QueueKind::Failed => {
            t.completed_at = Some(t.completed_at.unwrap_or(now));
            t.attention.get_or_insert(Failure::AgentReported.as_str().to_owned());
        }
        QueueKind::Attention => {
            t.attention.get_or_insert(Failure::Question.as_str().to_owned());
        }
        QueueKind::Waiting | QueueKind::Review => {}
    }
    t.external = t.external || !matrix::strict_violations(t).is_empty();
}

fn stale(task: &Task) -> Refusal {
    refuse(
        "fence",
        ErrorCode::StaleClaim,
        format!(
            "the claim on task {} is not valid any more; it is in {} at epoch {}",
            task.id, task.queue, task.epoch
        ),
        Some("send the claim token that the claim was answered with".to_owned()),
    )
}

/// Does the sender hold the claim, as far as it says who it is?
pub(super) fn check_token(task: &Task, token: Option<&str>) -> Result<(), Refusal> {
    match token {
        Some(token) if task.claim_token.as_deref() == Some(token) => Ok(()),
        None if !task.is_fenced() => Ok(()),
        _ => Err(stale(task)),
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Given<'a> {
    pub(super) token: Option<&'a str>,
    pub(super) commits: i64,
    pub(super) turns: i64,
    pub(super) check_results: Option<&'a str>,
    pub(super) notes: Option<&'a str>,
    pub(super) holder: Option<&'a str>,
}

pub(super) fn hand_in(mut d: Draft<'_>, given: Given<'_>) -> Result<Change, Refusal> {
    let task = d.facts.task;
    check_token(task, given.token)?;
    if task.kind() != QueueKind::Working {
        return Err(illegal(
            "table",
            format!(
                "Failed to submit task {}: it is in {}, not in claimed",
                task.id, task.queue
            ),
        ));
    }
    if task.head_sha.is_some() {
        return Err(illegal(
            "evidence",
            format!(
                "Failed to submit task {}: it has work with evidence; an orchestrator hands in more",
                task.id
            ),
        ));
    }
    if task.lease_expires_at.is_some_and(|at| at <= d.now) {
        return Err(illegal("lease", format!("Lease has expired on task {}", task.id)));
    }
    if let Some(holder) = given.holder
        && task.claimed_by.as_deref() != Some(holder)
        && task.orchestrator_id.as_ref().map(|o| o.as_str()) != Some(holder)
    {
        return Err(stale(task));
    }
    if given.commits < 0 || given.turns < 0 {
        return Err(invalid("commits_count and turns_used cannot be negative".into()));
    }
    let holder = task.claimed_by.clone();
    let number = d.facts.attempt.map(|a| a.number);
    let burnt_out = given.turns >= MAX_TURNS || given.turns >= BURNOUT_TURNS && given.commits == 0;
    let next = next_state(&d, burnt_out)?;
    let evidence = Evidence {
        commits: u64::try_from(given.commits).unwrap_or(0),
        summary: given.notes.map(str::to_owned),
        ..Evidence::default()
    };
    let usage = Usage {
        turns: u64::try_from(given.turns).unwrap_or(0),
        ..Usage::default()
    };
    let outcome = if burnt_out {
        AttemptOutcome::Continued
    } else {
        AttemptOutcome::Submitted
    };
    d.end(outcome, None, evidence.summary.clone(), Some((&evidence, &usage)));
    d.release_owner();
    let t = &mut d.after;
    t.turns_used = given.turns;
    t.commits_count = given.commits;
    t.annotations.check_results = given.check_results.map(str::to_owned);
    t.execution_notes = given.notes.map(str::to_owned);
    t.submitted_at = Some(d.now);
    // Only a client's word stands behind this commit, so none is named.
    t.head_sha = None;
    d.enter(next);
    d.by_word();
    let kind = if burnt_out { "burnout_detected" } else { "submitted" };
    Ok(d.finish(
        kind,
        holder,
        json!({ "attempt": number, "commits_count": given.commits, "turns_used": given.turns, "threshold": if given.turns >= MAX_TURNS { MAX_TURNS } else { BURNOUT_TURNS } }),
    ))
}

/// Where handed-in work goes: the review, or what the registered flow has in its place.
fn next_state(d: &Draft<'_>, burnt_out: bool) -> Result<QueueName, Refusal> {
    if burnt_out {
        return Ok(QueueName::needs_continuation());
    }
    let flow = d.facts.flow;
    let Some(registered) = &flow.registered else {
        return Ok(QueueName::provisional());
    };
    if registered.states.contains(&QueueName::provisional()) {
        return Ok(QueueName::provisional());
    }
    let mut onward: Vec<&QueueName> = registered
        .edges
        .iter()
        .filter(|(from, to)| {
            *from == QueueName::claimed() && *to != QueueName::incoming() && to.kind() != QueueKind::Failed
        })
        .map(|(_, to)| to)
        .collect();
    onward.dedup();
    match onward.as_slice() {
        [one] => Ok((*one).clone()),
        _ => Err(illegal(
            "flow",
            format!("flow {} does not say where work from claimed goes", flow.name),
        )),
    }
}

pub(super) fn accept(mut d: Draft<'_>, by: &str, completed_at: Option<Timestamp>) -> Result<Change, Refusal> {
    let task = d.facts.task;
    let done = QueueName::done();
    guard::not_landing(task)?;
    if !d.facts.flow.client_may(&task.queue, &done, task.project_id.is_some()) || task.kind().is_terminal() {
        return Err(illegal(
            "flow",
            format!("Failed to accept task {}: it is in {}", task.id, task.queue),
        ));
    }
    if task.is_fenced() && task.kind() == QueueKind::Working {
        return Err(illegal(
            "fence",
            format!("Failed to accept task {}: an agent works on it", task.id),
        ));
    }
    d.end(
        AttemptOutcome::Superseded,
        None,
        Some(format!("accepted by {by}")),
        None,
    );
    d.release_owner();
    d.enter(done);
    d.after.completed_at = Some(completed_at.unwrap_or(d.now));
    let blocked = task.is_blocked();
    d.by_word();
    Ok(d.finish(
        "accepted",
        Some(by.to_owned()),
        json!({ "on_word": true, "while_blocked": blocked }),
    ))
}

pub(super) fn send_back(mut d: Draft<'_>, by: Option<&str>, reason: Option<&str>) -> Result<Change, Refusal> {
    let task = d.facts.task;
    let incoming = QueueName::incoming();
    let word = if reason.is_some() { "reject" } else { "requeue" };
    guard::not_landing(task)?;
    let always = reason.is_none() && matches!(task.kind(), QueueKind::Working | QueueKind::Attention);
    if !always
        && (!d
            .facts
            .flow
            .client_may(&task.queue, &incoming, task.project_id.is_some())
            || task.kind().is_terminal())
    {
        return Err(illegal(
            "flow",
            format!("Failed to {word} task {}: it is in {}", task.id, task.queue),
        ));
    }
    let who = by.map(str::to_owned).or_else(|| task.claimed_by.clone());
    let told = reason.map_or_else(|| "requeued".to_owned(), |r| format!("rejected: {r}"));
    d.end(AttemptOutcome::Superseded, None, Some(told), None);
    d.release_owner();
    d.after.not_before = None;
    d.enter(incoming);
    match reason {
        Some(reason) => {
            d.after.rejection_count += 1;
            d.say(by.unwrap_or("client"), "rejection", reason.to_owned());
            Ok(d.finish("rejected", who, json!({ "reason": reason })))
        }
        None => {
            d.after.failure_count += 1;
            Ok(d.finish("requeued", who, json!({})))
        }
    }
}

pub(super) fn force(mut d: Draft<'_>, by: Option<&str>, to: &QueueName, reason: &str) -> Result<Change, Refusal> {
    let task = d.facts.task;
    guard::not_landing(task)?;
    check_state(&d, to)?;
    if to.kind() == QueueKind::Done && task.head_sha.is_some() && task.merged_sha.is_none() {
        return Err(refuse(
            "merged",
            ErrorCode::IllegalTransition,
            format!("task {} cannot be done: its work is not in {}", task.id, task.branch),
            Some(format!("`octopoid approve {}` has it merged", task.id)),
        ));
    }
    d.end(AttemptOutcome::Superseded, None, Some(reason.to_owned()), None);
    d.release_owner();
    d.after.not_before = None;
    let before = d.after.attention.take();
    d.enter(to.clone());
    if matches!(to.kind(), QueueKind::Attention | QueueKind::Failed) {
        d.after.attention = before;
    }
    if to.kind() != QueueKind::Done {
        d.after.merged_sha = None;
    }
    let now = d.now;
    adopt(&mut d.after, now);
    d.say("system", "force_queue", reason.to_owned());
    Ok(d.finish(
        "force_queue",
        by.map(str::to_owned),
        json!({ "reason": reason, "from": task.queue, "to": to }),
    ))
}

pub(super) fn check_state(d: &Draft<'_>, to: &QueueName) -> Result<(), Refusal> {
    let flow = d.facts.flow;
    if flow.registered.is_some() && !flow.has_state(to) {
        let states: Vec<String> = flow.states().iter().map(ToString::to_string).collect();
        return Err(invalid(format!(
            "Invalid queue {to} for flow {}; valid states: {}",
            flow.name,
            states.join(", ")
        )));
    }
    Ok(())
}

/// Sets the state of the first hook of that name, one that is still pending before all others.
pub(super) fn hook(mut d: Draft<'_>, name: &str, status: &str, evidence: Option<&Value>) -> Result<Change, Refusal> {
    let task = d.facts.task;
    let unknown = || {
        refuse(
            "hook",
            ErrorCode::NotFound,
            format!("Hook {name} not found on task {}", task.id),
            None,
        )
    };
    if !matches!(status, "passed" | "failed") {
        return Err(invalid("status must be passed or failed".to_owned()));
    }
    let text = task.annotations.hooks.as_deref().ok_or_else(unknown)?;
    let mut hooks: Vec<Value> = serde_json::from_str(text)
        .map_err(|_| invalid(format!("the hooks of task {} are not a JSON array", task.id)))?;
    let named = |h: &Value| h.get("name").and_then(Value::as_str) == Some(name);
    let pending = |h: &Value| !matches!(h.get("status").and_then(Value::as_str), Some("passed" | "failed"));
    let at = hooks
        .iter()
        .position(|h| named(h) && pending(h))
        .or_else(|| hooks.iter().position(named))
        .ok_or_else(unknown)?;
    if let Some(hook) = hooks[at].as_object_mut() {
        hook.insert("status".into(), json!(status));
        if let Some(evidence) = evidence {
            hook.insert("evidence".into(), evidence.clone());
        }
    }
    d.after.annotations.hooks = Some(Value::Array(hooks).to_string());
    Ok(d.finish(
        "hook_completed",
        Some(actor::CLIENT.into()),
        json!({ "hook": name, "status": status }),
    ))
}
