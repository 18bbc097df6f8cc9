//! What each command does once it is legal.

mod claims;
mod draft;
mod external;
mod patch;
mod person;

use serde_json::json;

use super::{
    AttemptChange, Change, Command, Facts, Failure, Refusal,
    guard::{self, refuse},
};
use crate::{
    clock::Timestamp,
    error::ErrorCode,
    flow::actor,
    model::{AttemptOutcome, QueueKind, QueueName, Verdict},
};
use draft::Draft;
pub(super) use external::adopt;

/// Longest lease that anybody gets at once.
const MAX_LEASE: std::time::Duration = std::time::Duration::from_secs(24 * 3600);

fn illegal(guard: &'static str, message: String) -> Refusal {
    refuse(guard, ErrorCode::IllegalTransition, message, None)
}

fn invalid(message: String) -> Refusal {
    refuse("valid", ErrorCode::InvalidArgument, message, None)
}

pub(super) fn apply(facts: &Facts<'_>, command: &Command, now: Timestamp) -> Result<Change, Refusal> {
    let task = facts.task;
    let mut d = Draft {
        facts,
        now,
        after: task.clone(),
        attempt: None,
        message: None,
        review: None,
        blockers: None,
        edits: false,
    };
    let holder = task.claimed_by.clone();
    let number = facts.attempt.map(|a| a.number);
    let change = match command {
        Command::Claim {
            agent,
            role,
            answers_to,
            orchestrator,
            token,
            lease,
        } => claims::claim(d, agent, role, answers_to, orchestrator, token, *lease)?,
        Command::Begin { base_sha, .. } => {
            d.after.base_sha = Some(base_sha.clone());
            d.attempt = facts.attempt.map(|_| AttemptChange::Base(base_sha.clone()));
            d.finish("started", holder, json!({ "attempt": number, "base_sha": base_sha }))
        }
        Command::Renew { lease, .. } => {
            d.after.lease_expires_at = Some(now.plus((*lease).min(MAX_LEASE)));
            d.finish("renewed", holder, json!({ "attempt": number }))
        }
        Command::Submit {
            evidence,
            usage,
            checks_required,
            ..
        } => claims::submit(d, evidence, usage, *checks_required)?,
        Command::Judge {
            verdict,
            sha,
            reason,
            evidence,
            usage,
            ..
        } => claims::judge(d, *verdict, sha, reason, evidence, usage)?,
        Command::Continue {
            reason,
            evidence,
            usage,
            ..
        } => {
            d.end(
                AttemptOutcome::Continued,
                None,
                Some(reason.clone()),
                Some((evidence, usage)),
            );
            d.release_owner();
            d.after.continuation_count += 1;
            if d.after.continuation_count > facts.limits.continuations {
                d.attention(Failure::TooManyContinuations);
            } else {
                d.enter(QueueName::needs_continuation());
            }
            d.finish("continued", holder, json!({ "attempt": number, "reason": reason }))
        }
        Command::Ask {
            question,
            evidence,
            usage,
            ..
        } => {
            d.end(
                AttemptOutcome::Question,
                Some(Failure::Question),
                Some(question.clone()),
                Some((evidence, usage)),
            );
            d.release_owner();
            d.attention(Failure::Question);
            d.after.execution_notes = Some(question.clone());
            d.say(holder.as_deref().unwrap_or("agent"), "question", question.clone());
            d.finish("question", holder, json!({ "attempt": number, "question": question }))
        }
        Command::Fail {
            failure,
            reason,
            evidence,
            usage,
            retry_at,
            send_to,
            ..
        } => claims::fail(d, *failure, reason, evidence, usage, *retry_at, send_to.as_ref())?,
        Command::Release { reason, .. } => {
            d.end(AttemptOutcome::Released, None, Some(reason.clone()), None);
            d.return_to_origin();
            d.finish("released", holder, json!({ "attempt": number, "reason": reason }))
        }
        Command::Advance { merged_sha, .. } => claims::advance(d, merged_sha.as_deref())?,
        Command::Expire => {
            match task.lease_expires_at {
                Some(at) if at <= now => {}
                _ => {
                    return Err(illegal(
                        "lease",
                        format!("the lease on task {} has not run out", task.id),
                    ));
                }
            }
            d.end(AttemptOutcome::Expired, None, Some("the lease ran out".into()), None);
            d.after.transient_count += 1;
            if d.after.transient_count >= facts.limits.transients && !task.external {
                d.release_owner();
                d.attention(Failure::Remote);
            } else {
                d.return_to_origin();
            }
            d.finish(
                "requeued",
                holder.clone(),
                json!({
                    "reason": "Lease expired",
                    "attempt": number,
                    "owner": holder,
                    "orchestrator_id": task.orchestrator_id,
                    "lease_expires_at": task.lease_expires_at,
                }),
            )
        }
        // Work on a client's word names no commit that could be approved and merged: a yes is the end of it.
        Command::Approve { by } if task.head_sha.is_none() => external::accept(d, by, None)?,
        Command::Approve { by } => {
            guard::not_landing(task)?;
            if task.awaiting.as_deref() == Some(actor::ENGINE) {
                return Err(refuse(
                    "approved",
                    ErrorCode::IllegalTransition,
                    format!("task {} is approved already", task.id),
                    Some("the orchestrator merges it; `octopoid start` runs one".into()),
                ));
            }
            d.end(
                AttemptOutcome::Superseded,
                None,
                Some(format!("approved by {by}")),
                None,
            );
            d.release_owner();
            d.review = Some(d.verdict(by, Verdict::Approve, "", None));
            d.finish("approved", Some(by.clone()), json!({ "sha": task.head_sha }))
        }
        Command::Reject { by, reason } => {
            guard::not_landing(task)?;
            if reason.trim().is_empty() {
                return Err(invalid(format!(
                    "a rejection of task {} needs a reason; it is what the next attempt works from",
                    task.id
                )));
            }
            d.end(
                AttemptOutcome::Superseded,
                None,
                Some(format!("rejected by {by}")),
                None,
            );
            d.reject(by, reason, None);
            d.finish(
                "rejected",
                Some(by.clone()),
                json!({ "sha": task.head_sha, "reason": reason }),
            )
        }
        Command::Hold { by, reason } => {
            d.after.hold = Some(reason.clone());
            d.finish("held", Some(by.clone()), json!({ "reason": reason }))
        }
        Command::Unhold { by } => {
            if task.hold.is_none() {
                return Err(illegal("hold", format!("task {} is not on hold", task.id)));
            }
            d.after.hold = None;
            d.finish("unheld", Some(by.clone()), json!({}))
        }
        Command::Cancel { by, reason } => {
            guard::not_landing(task)?;
            d.end(
                AttemptOutcome::Superseded,
                None,
                Some(format!("cancelled by {by}")),
                None,
            );
            d.release_owner();
            d.enter(QueueName::cancelled());
            d.after.execution_notes = (!reason.is_empty()).then(|| reason.clone()).or(d.after.execution_notes);
            d.finish("cancelled", Some(by.clone()), json!({ "reason": reason }))
        }
        Command::Retry { by } => {
            d.after.failure_count = 0;
            d.after.rejection_count = 0;
            d.after.transient_count = 0;
            d.after.continuation_count = 0;
            d.after.unclear_reviews = 0;
            d.after.not_before = None;
            d.enter(QueueName::incoming());
            d.finish("retried", Some(by.clone()), json!({}))
        }
        Command::Requeue { by } => {
            guard::not_landing(task)?;
            d.end(
                AttemptOutcome::Superseded,
                None,
                Some(format!("requeued by {by}")),
                None,
            );
            d.release_owner();
            d.after.not_before = None;
            d.enter(QueueName::incoming());
            d.finish("requeued", Some(by.clone()), json!({}))
        }
        Command::Recover {
            by,
            to,
            reason,
            merged_sha,
            head_sha,
        } => {
            guard::not_landing(task)?;
            d.after.head_sha = head_sha.clone().or(d.after.head_sha);
            person::recover(&mut d, by, to, reason, merged_sha.as_deref())?;
            d.finish(
                "recovered",
                Some(by.clone()),
                json!({ "reason": reason, "merged_sha": merged_sha }),
            )
        }
        Command::GiveUp { by, reason } => {
            guard::not_landing(task)?;
            d.end(AttemptOutcome::Superseded, None, Some(reason.clone()), None);
            d.release_owner();
            d.enter(QueueName::failed());
            d.after.attention = Some(Failure::AgentReported.as_str().to_owned());
            d.after.execution_notes = Some(reason.clone());
            d.finish("failed", Some(by.clone()), json!({ "reason": reason }))
        }
        Command::Edit { by, edit } => {
            let changed = person::edit(&mut d, edit)?;
            d.finish("edited", Some(by.clone()), json!({ "fields": changed }))
        }
        Command::Unblock { blocker, open } => {
            if task.open_blockers == *open {
                return Err(illegal("blocked", format!("for task {} nothing changes", task.id)));
            }
            let word = if *open < task.open_blockers {
                "unblocked"
            } else {
                "blocked"
            };
            d.after.open_blockers = *open;
            d.finish(word, Some(actor::ENGINE.into()), json!({ "blocker": blocker }))
        }
        Command::Progress { note, .. } => d.finish("progress", holder, json!({ "attempt": number, "note": note })),
        Command::HandIn {
            token,
            commits,
            turns,
            check_results,
            notes,
            holder,
        } => external::hand_in(
            d,
            external::Given {
                token: token.as_deref(),
                commits: *commits,
                turns: *turns,
                check_results: check_results.as_deref(),
                notes: notes.as_deref(),
                holder: holder.as_deref(),
            },
        )?,
        // Work with evidence is merged by an orchestrator, however it is accepted.
        Command::Accept { by, .. } if task.head_sha.is_some() && task.kind() == QueueKind::Review => {
            return apply(facts, &Command::Approve { by: by.clone() }, now);
        }
        Command::Accept { by, completed_at } => external::accept(d, by, *completed_at)?,
        Command::SendBack { by, reason } if task.head_sha.is_some() && task.kind() == QueueKind::Review => {
            let by = by.clone().unwrap_or_else(|| actor::CLIENT.to_owned());
            let command = match reason {
                Some(reason) => Command::Reject {
                    by,
                    reason: reason.clone(),
                },
                None => Command::Requeue { by },
            };
            return apply(facts, &command, now);
        }
        Command::SendBack { by, reason } => external::send_back(d, by.as_deref(), reason.as_deref())?,
        Command::Force { by, to, reason } => external::force(d, by.as_deref(), to, reason)?,
        Command::Patch { by, patch } => patch::patch(d, by.as_deref(), patch)?,
        Command::Hook { name, status, evidence } => external::hook(d, name, status, evidence.as_ref())?,
    };
    Ok(change)
}
