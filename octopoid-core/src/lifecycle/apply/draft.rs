//! A change while it is being put together, and the moves that several commands share.

use serde_json::{Value, json};

use crate::{
    clock::Timestamp,
    flow::actor,
    lifecycle::{AttemptChange, Change, Facts, Failure, FailureClass, NewEvent, NewMessage, backoff, matrix},
    model::{AttemptKind, AttemptOutcome, Evidence, QueueKind, QueueName, Review, Task, Usage, Verdict},
};

/// Most tokens or turns of one attempt that count.
const MOST: u64 = 1_000_000_000_000;

/// Usage as an agent may have had it: nothing below zero, nothing beyond belief.
fn sane(usage: &Usage) -> Usage {
    let cost = usage.cost_usd;
    Usage {
        input_tokens: usage.input_tokens.min(MOST),
        output_tokens: usage.output_tokens.min(MOST),
        turns: usage.turns.min(MOST),
        cost_usd: if cost.is_finite() { cost.clamp(0.0, 1e9) } else { 0.0 },
    }
}

/// The change while it is being put together.
pub(super) struct Draft<'a> {
    pub(super) facts: &'a Facts<'a>,
    pub(super) now: Timestamp,
    pub(super) after: Task,
    pub(super) attempt: Option<AttemptChange>,
    pub(super) message: Option<NewMessage>,
    pub(super) review: Option<Review>,
    pub(super) blockers: Option<Vec<crate::id::TaskId>>,
    pub(super) edits: bool,
}

impl Draft<'_> {
    pub(super) fn release_owner(&mut self) {
        let t = &mut self.after;
        t.claimed_by = None;
        t.orchestrator_id = None;
        t.claim_kind = None;
        t.claimed_from = None;
        t.claimed_at = None;
        t.lease_expires_at = None;
        t.claim_token = None;
        t.annotations.needs_intervention = false;
    }

    /// What follows rests on a client's word.
    pub(super) fn by_word(&mut self) {
        self.after.external = self.after.external || !matrix::strict_violations(&self.after).is_empty();
    }

    /// Moves to `queue`, clearing what does not belong there.
    pub(super) fn enter(&mut self, queue: QueueName) {
        let kind = queue.kind();
        if kind != QueueKind::Attention && kind != QueueKind::Failed {
            self.after.attention = None;
        }
        if kind.is_terminal() {
            self.after.hold = None;
            self.after.not_before = None;
            self.after.completed_at = Some(self.now);
        } else {
            self.after.completed_at = None;
        }
        if kind != QueueKind::Done {
            self.after.merged_sha = None;
        }
        self.after.queue = queue;
    }

    pub(super) fn attention(&mut self, code: Failure) {
        self.enter(QueueName::needs_attention());
        self.after.attention = Some(code.as_str().to_owned());
    }

    /// Back to where the claim came from.
    pub(super) fn return_to_origin(&mut self) {
        let origin = self.facts.task.claimed_from.clone().unwrap_or_else(QueueName::incoming);
        self.release_owner();
        if origin.kind() == QueueKind::Attention {
            self.attention(Failure::MergeConflict);
        } else {
            self.enter(origin);
            self.by_word();
        }
    }

    /// Ends the live attempt, if there is one.
    pub(super) fn end(
        &mut self,
        outcome: AttemptOutcome,
        failure: Option<Failure>,
        reason: Option<String>,
        seen: Option<(&Evidence, &Usage)>,
    ) {
        // What is added up later must be a number that can be added up.
        let seen = seen.map(|(evidence, usage)| (evidence, sane(usage)));
        if let Some((_, usage)) = &seen {
            let turns = i64::try_from(usage.turns).unwrap_or(0);
            self.after.turns_used = self.after.turns_used.saturating_add(turns);
        }
        if self.facts.attempt.is_some() {
            self.attempt = Some(AttemptChange::End {
                outcome,
                failure: failure.map(Failure::as_str),
                reason,
                evidence: seen.as_ref().map(|(e, _)| Box::new((*e).clone())),
                usage: seen.map(|(_, u)| u),
            });
        }
    }

    pub(super) fn say(&mut self, from: &str, kind: &'static str, content: String) {
        self.message = Some(NewMessage {
            from: from.to_owned(),
            kind,
            content,
        });
    }

    pub(super) fn finish(mut self, kind: &'static str, by: Option<String>, mut details: Value) -> Change {
        let before = self.facts.task;
        if self.after.queue != before.queue
            && let Value::Object(map) = &mut details
        {
            map.insert("from".into(), json!(before.queue));
            map.insert("to".into(), json!(self.after.queue));
        }
        let mut reviews = self.facts.reviews.to_vec();
        reviews.extend(self.review.clone());
        // Who must act follows from these alone; where none of them changes, it stands.
        let same = self.after.queue == before.queue
            && self.after.role == before.role
            && self.after.head_sha == before.head_sha
            && self.after.attention == before.attention
            && self.after.flow == before.flow
            && self.after.external == before.external
            && self.review.is_none();
        if !same {
            self.after.awaiting = self.facts.flow.awaiting(
                &self.after.queue,
                &self.after.role,
                self.after.head_sha.as_deref(),
                self.after.attention.as_deref(),
                &reviews,
            );
        }
        let on_word = self.after.external && self.after.head_sha.is_none();
        if self.after.kind() == QueueKind::Review && (on_word || self.facts.flow.is_foreign()) {
            self.after.awaiting = Some(actor::CLIENT.to_owned());
        }
        self.after.version = before.version + 1;
        self.after.updated_at = self.now;
        Change {
            before_version: before.version,
            edits: self.edits,
            touches_dependents: (self.after.kind() == QueueKind::Done) != (before.kind() == QueueKind::Done),
            after: self.after,
            event: NewEvent { kind, by, details },
            attempt: self.attempt,
            message: self.message,
            review: self.review,
            blockers: self.blockers,
        }
    }

    /// Where a failure leads, by whose fault it is and how often it happened.
    pub(super) fn settle(
        &mut self,
        claim: AttemptKind,
        failure: Failure,
        retry_at: Option<Timestamp>,
        send_to: Option<QueueName>,
    ) {
        let limits = self.facts.limits;
        match failure.class() {
            FailureClass::NeedsPerson => {
                self.release_owner();
                self.attention(failure);
            }
            FailureClass::Systemic => {
                self.return_to_origin();
                self.after.not_before = retry_at;
            }
            FailureClass::Transient => {
                self.after.transient_count += 1;
                if self.after.transient_count >= limits.transients {
                    self.release_owner();
                    self.attention(failure);
                } else {
                    self.return_to_origin();
                    self.after.not_before =
                        Some(retry_at.unwrap_or(self.now.plus(backoff(self.after.transient_count))));
                }
            }
            FailureClass::Task if claim == AttemptKind::Review => {
                self.after.unclear_reviews += 1;
                if self.after.unclear_reviews >= limits.unclear_reviews {
                    self.release_owner();
                    self.attention(failure);
                } else {
                    self.return_to_origin();
                }
            }
            FailureClass::Task => {
                self.after.failure_count += 1;
                let from_conflict = self
                    .facts
                    .task
                    .claimed_from
                    .as_ref()
                    .is_some_and(|q| q.kind() == QueueKind::Attention);
                self.release_owner();
                if self.after.failure_count >= limits.attempts || from_conflict {
                    self.attention(failure);
                } else {
                    self.enter(send_to.unwrap_or_else(QueueName::incoming));
                }
            }
        }
    }

    /// A rejection, by an agent or a person.
    pub(super) fn reject(&mut self, by: &str, reason: &str, condition: Option<String>) {
        let task = self.facts.task;
        let on_fail = self
            .facts
            .flow
            .exit(&task.queue)
            .and_then(|t| {
                t.conditions
                    .iter()
                    .find(|c| condition.as_ref().is_none_or(|name| *name == c.name))
            })
            .map_or_else(QueueName::incoming, |c| c.on_fail.clone());
        self.review = Some(self.verdict(by, Verdict::Reject, reason, condition));
        self.after.rejection_count += 1;
        self.after.unclear_reviews = 0;
        self.release_owner();
        if self.after.rejection_count >= self.facts.limits.rejections {
            self.attention(Failure::Rejected);
        } else {
            self.enter(on_fail);
        }
        self.say(by, "rejection", reason.to_owned());
    }

    pub(super) fn verdict(&self, by: &str, verdict: Verdict, reason: &str, condition: Option<String>) -> Review {
        let task = self.facts.task;
        Review {
            task_id: task.id.clone(),
            queue: task.queue.clone(),
            by: by.to_owned(),
            condition,
            sha: task.head_sha.clone().unwrap_or_default(),
            verdict,
            reason: reason.to_owned(),
            at: self.now,
        }
    }
}
