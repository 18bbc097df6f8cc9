//! What the holder of a claim does: take, hand in, judge, fail, land.

use std::time::Duration;

use serde_json::json;

use super::{draft::Draft, illegal, invalid};
use crate::{
    clock::Timestamp,
    flow::actor,
    id::OrchestratorId,
    lifecycle::{AttemptChange, Change, Failure, FailureClass, Refusal, guard, matrix},
    model::{Attempt, AttemptKind, AttemptOutcome, Evidence, QueueKind, QueueName, Role, Task, Usage, Verdict},
};

/// Takes the task: for work, for review, or to land it.
pub(super) fn claim(
    mut d: Draft<'_>,
    agent: &str,
    role: &Role,
    answers_to: &[String],
    orchestrator: &OrchestratorId,
    token: &str,
    lease: Duration,
) -> Result<Change, Refusal> {
    let facts = d.facts;
    let task = d.facts.task;
    let now = d.now;
    guard::claimable(facts, answers_to, now)?;
    let on_word = answers_to.is_empty();
    let kind = match task.kind() {
        QueueKind::Review if on_word && task.queue == QueueName::provisional() => AttemptKind::Review,
        _ if on_word => AttemptKind::Work,
        QueueKind::Review if task.awaiting.as_deref() == Some(actor::ENGINE) => AttemptKind::Land,
        QueueKind::Review => AttemptKind::Review,
        _ => AttemptKind::Work,
    };
    let t = &mut d.after;
    t.epoch += 1;
    t.claimed_by = Some(agent.to_owned());
    t.orchestrator_id = Some(orchestrator.clone());
    t.claim_kind = Some(kind);
    t.claimed_from = Some(task.queue.clone());
    t.claimed_at = Some(now);
    t.lease_expires_at = Some(now.plus(lease.min(super::MAX_LEASE)));
    t.claim_token = Some(token.to_owned());
    t.not_before = None;
    t.annotations.needs_intervention = false;
    // Who takes it now works by the rules, unless its row rests on somebody's word already.
    let fenced = t.is_fenced();
    if kind != AttemptKind::Land {
        t.attempt_count += 1;
        d.attempt = Some(AttemptChange::Start(Box::new(Attempt {
            task_id: task.id.clone(),
            number: t.attempt_count,
            kind,
            role: role.clone(),
            agent: agent.to_owned(),
            orchestrator_id: orchestrator.clone(),
            epoch: t.epoch,
            token: token.to_owned(),
            claimed_from: task.queue.clone(),
            body_revision: task.body_revision,
            base_sha: None,
            started_at: now,
            ended_at: None,
            outcome: None,
            failure: None,
            reason: None,
            evidence: Evidence::default(),
            usage: Usage::default(),
        })));
    }
    if kind == AttemptKind::Work {
        d.enter(QueueName::claimed());
    }
    d.after.external = !fenced || !matrix::strict_violations(&d.after).is_empty();
    let (epoch, count) = (d.after.epoch, d.after.attempt_count);
    let attempt = (kind != AttemptKind::Land).then_some(count);
    let word = match kind {
        AttemptKind::Work => "claimed",
        AttemptKind::Review => "review_claimed",
        AttemptKind::Land => "landing",
    };
    Ok(d.finish(
        word,
        Some(agent.to_owned()),
        json!({ "attempt": attempt, "epoch": epoch, "orchestrator_id": orchestrator }),
    ))
}

/// Hands in work with its evidence.
pub(super) fn submit(
    mut d: Draft<'_>,
    evidence: &Evidence,
    usage: &Usage,
    checks_required: bool,
) -> Result<Change, Refusal> {
    let facts = d.facts;
    let task = d.facts.task;
    let now = d.now;
    let holder = task.claimed_by.clone();
    let number = d.facts.attempt.map(|a| a.number);
    check_evidence(task, evidence, checks_required)?;
    d.end(
        AttemptOutcome::Submitted,
        None,
        evidence.summary.clone(),
        Some((evidence, usage)),
    );
    d.release_owner();
    d.after.head_sha = evidence.head_sha.clone();
    d.after.commits_count = i64::try_from(evidence.commits).unwrap_or(i64::MAX);
    d.after.submitted_at = Some(now);
    d.after.unclear_reviews = 0;
    d.after.transient_count = 0;
    d.after.execution_notes = evidence.summary.clone().or(d.after.execution_notes);
    let next = facts
        .flow
        .exit(&QueueName::claimed())
        .map(|t| t.to.clone())
        .ok_or_else(|| illegal("flow", format!("flow {} has no exit from claimed", facts.flow.name)))?;
    d.enter(next);
    Ok(d.finish(
        "submitted",
        holder,
        json!({ "attempt": number, "head_sha": evidence.head_sha, "commits": evidence.commits }),
    ))
}

/// A reviewer's verdict on one commit.
pub(super) fn judge(
    mut d: Draft<'_>,
    verdict: Verdict,
    sha: &str,
    reason: &str,
    evidence: &Evidence,
    usage: &Usage,
) -> Result<Change, Refusal> {
    let facts = d.facts;
    let task = d.facts.task;
    let holder = task.claimed_by.clone();
    let number = d.facts.attempt.map(|a| a.number);
    if task.claim_kind != Some(AttemptKind::Review) {
        return Err(illegal(
            "claim_kind",
            format!("task {} is not claimed for review", task.id),
        ));
    }
    if task.head_sha.as_deref() != Some(sha) {
        return Err(illegal(
            "same_commit",
            format!(
                "the verdict on task {} is about {sha}, but the work is at {}",
                task.id,
                task.head_sha.as_deref().unwrap_or("no commit")
            ),
        ));
    }
    let by = holder.clone().unwrap_or_default();
    let condition = facts
        .flow
        .open_condition(&task.queue, Some(sha), facts.reviews)
        .map(|c| c.name.clone());
    match verdict {
        Verdict::Approve => {
            d.end(
                AttemptOutcome::Approved,
                None,
                Some(reason.to_owned()),
                Some((evidence, usage)),
            );
            d.release_owner();
            d.after.unclear_reviews = 0;
            d.review = Some(d.verdict(&by, Verdict::Approve, reason, condition));
            Ok(d.finish(
                "approved",
                holder,
                json!({ "attempt": number, "sha": sha, "reason": reason }),
            ))
        }
        Verdict::Reject => {
            if reason.trim().is_empty() {
                return Err(invalid(format!("a rejection of task {} needs a reason", task.id)));
            }
            d.end(
                AttemptOutcome::Rejected,
                None,
                Some(reason.to_owned()),
                Some((evidence, usage)),
            );
            d.reject(&by, reason, condition);
            Ok(d.finish(
                "rejected",
                holder,
                json!({ "attempt": number, "sha": sha, "reason": reason }),
            ))
        }
    }
}

/// The attempt or the landing failed.
pub(super) fn fail(
    mut d: Draft<'_>,
    failure: Failure,
    reason: &str,
    evidence: &Evidence,
    usage: &Usage,
    retry_at: Option<Timestamp>,
    send_to: Option<&QueueName>,
) -> Result<Change, Refusal> {
    let task = d.facts.task;
    if let Some(queue) = send_to.filter(|q| q.kind() != QueueKind::Waiting) {
        return Err(invalid(format!("a failed attempt cannot be sent to {queue}")));
    }
    let holder = task.claimed_by.clone();
    let number = d.facts.attempt.map(|a| a.number);
    let claim = task.claim_kind.unwrap_or(AttemptKind::Work);
    let blameless = matches!(failure.class(), FailureClass::Systemic);
    let outcome = if blameless {
        AttemptOutcome::Released
    } else {
        AttemptOutcome::Failed
    };
    d.end(outcome, Some(failure), Some(reason.to_owned()), Some((evidence, usage)));
    d.settle(claim, failure, retry_at, send_to.cloned());
    d.after.execution_notes = Some(reason.to_owned());
    // What the next attempt must know; passing and systemic troubles are none of its business.
    let told = match failure {
        Failure::MergeConflict => Some("conflict"),
        Failure::ChecksFailed => Some("check_failure"),
        _ if claim != AttemptKind::Review && failure.class() == FailureClass::Task => Some("failure"),
        _ => None,
    };
    if let Some(kind) = told {
        d.say(actor::ENGINE, kind, reason.to_owned());
    }
    Ok(d.finish(
        "failed_attempt",
        holder,
        json!({ "attempt": number, "failure": failure, "reason": reason }),
    ))
}

/// Everything that the flow asks for is done.
pub(super) fn advance(mut d: Draft<'_>, merged_sha: Option<&str>) -> Result<Change, Refusal> {
    let facts = d.facts;
    let task = d.facts.task;
    if task.claim_kind != Some(AttemptKind::Land) {
        return Err(illegal(
            "claim_kind",
            format!("task {} is not claimed for landing", task.id),
        ));
    }
    let next = facts.flow.exit(&task.queue).map(|t| t.to.clone()).ok_or_else(|| {
        illegal(
            "flow",
            format!("flow {} has no exit from {}", facts.flow.name, task.queue),
        )
    })?;
    if next.kind() == QueueKind::Done {
        let sha = merged_sha.map(str::to_owned).ok_or_else(|| {
            illegal(
                "merged",
                format!("task {} cannot be done: no merged commit was verified", task.id),
            )
        })?;
        d.after.merged_sha = Some(sha);
    }
    d.release_owner();
    d.enter(next);
    let word = if d.after.kind() == QueueKind::Done {
        "done"
    } else {
        "advanced"
    };
    Ok(d.finish(word, Some(actor::ENGINE.into()), json!({ "merged_sha": merged_sha })))
}

/// Work may be handed in only with a commit (or the typed statement that none is needed) and passing checks on it.
fn check_evidence(task: &Task, evidence: &Evidence, checks_required: bool) -> Result<(), Refusal> {
    let refuse_work = |message: String| Err(illegal("evidence", message));
    let Some(head) = &evidence.head_sha else {
        return refuse_work(format!("task {} cannot be handed in: no commit is named", task.id));
    };
    if evidence.commits == 0 && !evidence.no_change {
        return refuse_work(format!("task {} cannot be handed in: nothing was committed", task.id));
    }
    if let Some(check) = evidence.checks.iter().find(|c| c.sha != *head) {
        return refuse_work(format!(
            "task {} cannot be handed in: {:?} ran on {}, not on {head}",
            task.id, check.command, check.sha
        ));
    }
    if let Some(check) = evidence.checks.iter().find(|c| !c.passed) {
        return refuse_work(format!(
            "task {} cannot be handed in: {:?} did not pass",
            task.id, check.command
        ));
    }
    if checks_required && evidence.checks.is_empty() {
        return refuse_work(format!("task {} cannot be handed in: its checks did not run", task.id));
    }
    Ok(())
}
