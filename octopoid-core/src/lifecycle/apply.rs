//! What each command does once it is legal.

use serde_json::{Value, json};

use super::{
    AttemptChange, Change, Command, Facts, Failure, FailureClass, NewEvent, NewMessage, Refusal, backoff,
    create::{check_body, check_branch, check_title},
    guard::{self, refuse},
};
use crate::{
    clock::Timestamp,
    error::ErrorCode,
    flow::actor,
    model::{
        Attempt, AttemptKind, AttemptOutcome, EditTask, Evidence, QueueKind, QueueName, Review, Task, Usage, Verdict,
    },
};

fn illegal(guard: &'static str, message: String) -> Refusal {
    refuse(guard, ErrorCode::IllegalTransition, message, None)
}

fn invalid(message: String) -> Refusal {
    refuse("valid", ErrorCode::InvalidArgument, message, None)
}

/// The change while it is being put together.
struct Draft<'a> {
    facts: &'a Facts<'a>,
    now: Timestamp,
    after: Task,
    attempt: Option<AttemptChange>,
    message: Option<NewMessage>,
    review: Option<Review>,
    blockers: Option<Vec<crate::id::TaskId>>,
}

impl Draft<'_> {
    fn release_owner(&mut self) {
        let t = &mut self.after;
        t.claimed_by = None;
        t.orchestrator_id = None;
        t.claim_kind = None;
        t.claimed_from = None;
        t.claimed_at = None;
        t.lease_expires_at = None;
        t.claim_token = None;
    }

    /// Moves to `queue`, clearing what does not belong there.
    fn enter(&mut self, queue: QueueName) {
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
        self.after.queue = queue;
    }

    fn attention(&mut self, code: Failure) {
        self.enter(QueueName::needs_attention());
        self.after.attention = Some(code.as_str().to_owned());
    }

    /// Back to where the claim came from.
    fn return_to_origin(&mut self) {
        let origin = self.facts.task.claimed_from.clone().unwrap_or_else(QueueName::incoming);
        self.release_owner();
        if origin.kind() == QueueKind::Attention {
            self.attention(Failure::MergeConflict);
        } else {
            self.enter(origin);
        }
    }

    /// Ends the live attempt, if there is one.
    fn end(
        &mut self,
        outcome: AttemptOutcome,
        failure: Option<Failure>,
        reason: Option<String>,
        seen: Option<(&Evidence, &Usage)>,
    ) {
        if let Some((_, usage)) = seen {
            self.after.turns_used += i64::try_from(usage.turns).unwrap_or(0);
        }
        if self.facts.attempt.is_some() {
            self.attempt = Some(AttemptChange::End {
                outcome,
                failure: failure.map(Failure::as_str),
                reason,
                evidence: seen.map(|(e, _)| Box::new(e.clone())),
                usage: seen.map(|(_, u)| u.clone()),
            });
        }
    }

    fn say(&mut self, from: &str, kind: &'static str, content: String) {
        self.message = Some(NewMessage { from: from.to_owned(), kind, content });
    }

    fn finish(mut self, kind: &'static str, by: Option<String>, mut details: Value) -> Change {
        let before = self.facts.task;
        if self.after.queue != before.queue {
            if let Value::Object(map) = &mut details {
                map.insert("from".into(), json!(before.queue));
                map.insert("to".into(), json!(self.after.queue));
            }
        }
        let mut reviews = self.facts.reviews.to_vec();
        reviews.extend(self.review.clone());
        self.after.awaiting = self.facts.flow.awaiting(
            &self.after.queue,
            &self.after.role,
            self.after.head_sha.as_deref(),
            self.after.attention.as_deref(),
            &reviews,
        );
        self.after.version = before.version + 1;
        self.after.updated_at = self.now;
        Change {
            before_version: before.version,
            releases_dependents: self.after.kind() == QueueKind::Done && before.kind() != QueueKind::Done,
            after: self.after,
            event: NewEvent { kind, by, details },
            attempt: self.attempt,
            message: self.message,
            review: self.review,
            blockers: self.blockers,
        }
    }

    /// Where a failure leads, by whose fault it is and how often it happened.
    fn settle(&mut self, claim: AttemptKind, failure: Failure, retry_at: Option<Timestamp>, send_to: Option<QueueName>) {
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
                    self.after.not_before = Some(retry_at.unwrap_or(self.now.plus(backoff(self.after.transient_count))));
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
                let from_conflict = self.facts.task.claimed_from.as_ref().is_some_and(|q| q.kind() == QueueKind::Attention);
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
    fn reject(&mut self, by: &str, reason: &str, condition: Option<String>) {
        let task = self.facts.task;
        let on_fail = self
            .facts
            .flow
            .exit(&task.queue)
            .and_then(|t| t.conditions.iter().find(|c| condition.as_ref().is_none_or(|name| *name == c.name)))
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

    fn verdict(&self, by: &str, verdict: Verdict, reason: &str, condition: Option<String>) -> Review {
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

pub(super) fn apply(facts: &Facts<'_>, command: &Command, now: Timestamp) -> Result<Change, Refusal> {
    let task = facts.task;
    let mut d = Draft { facts, now, after: task.clone(), attempt: None, message: None, review: None, blockers: None };
    let holder = task.claimed_by.clone();
    let number = facts.attempt.map(|a| a.number);
    let change = match command {
        Command::Claim { agent, role, answers_to, orchestrator, token, lease } => {
            guard::claimable(facts, answers_to, now)?;
            let kind = match task.kind() {
                QueueKind::Review if task.awaiting.as_deref() == Some(actor::ENGINE) => AttemptKind::Land,
                QueueKind::Review => AttemptKind::Review,
                _ => AttemptKind::Work,
            };
            let t = &mut d.after;
            t.epoch += 1;
            t.claimed_by = Some(agent.clone());
            t.orchestrator_id = Some(orchestrator.clone());
            t.claim_kind = Some(kind);
            t.claimed_from = Some(task.queue.clone());
            t.claimed_at = Some(now);
            t.lease_expires_at = Some(now.plus(*lease));
            t.claim_token = Some(token.clone());
            t.not_before = None;
            if kind != AttemptKind::Land {
                t.attempt_count += 1;
                d.attempt = Some(AttemptChange::Start(Box::new(Attempt {
                    task_id: task.id.clone(),
                    number: t.attempt_count,
                    kind,
                    role: role.clone(),
                    agent: agent.clone(),
                    orchestrator_id: orchestrator.clone(),
                    epoch: t.epoch,
                    token: token.clone(),
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
            let (epoch, count) = (d.after.epoch, d.after.attempt_count);
            let attempt = (kind != AttemptKind::Land).then_some(count);
            let word = match kind {
                AttemptKind::Work => "claimed",
                AttemptKind::Review => "review_claimed",
                AttemptKind::Land => "landing",
            };
            d.finish(word, Some(agent.clone()), json!({ "attempt": attempt, "epoch": epoch, "orchestrator_id": orchestrator }))
        }
        Command::Begin { base_sha, .. } => {
            d.after.base_sha = Some(base_sha.clone());
            d.attempt = facts.attempt.map(|_| AttemptChange::Base(base_sha.clone()));
            d.finish("started", holder, json!({ "attempt": number, "base_sha": base_sha }))
        }
        Command::Renew { lease, .. } => {
            d.after.lease_expires_at = Some(now.plus(*lease));
            d.finish("renewed", holder, json!({ "attempt": number }))
        }
        Command::Submit { evidence, usage, checks_required, .. } => {
            check_evidence(task, evidence, *checks_required)?;
            d.end(AttemptOutcome::Submitted, None, evidence.summary.clone(), Some((evidence, usage)));
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
            d.finish("submitted", holder, json!({ "attempt": number, "head_sha": evidence.head_sha, "commits": evidence.commits }))
        }
        Command::Judge { verdict, sha, reason, evidence, usage, .. } => {
            if task.claim_kind != Some(AttemptKind::Review) {
                return Err(illegal("claim_kind", format!("task {} is not claimed for review", task.id)));
            }
            if task.head_sha.as_deref() != Some(sha) {
                return Err(illegal(
                    "same_commit",
                    format!("the verdict on task {} is about {sha}, but the work is at {}", task.id, task.head_sha.as_deref().unwrap_or("no commit")),
                ));
            }
            let by = holder.clone().unwrap_or_default();
            let condition = facts.flow.open_condition(&task.queue, Some(sha), facts.reviews).map(|c| c.name.clone());
            match verdict {
                Verdict::Approve => {
                    d.end(AttemptOutcome::Approved, None, Some(reason.clone()), Some((evidence, usage)));
                    d.release_owner();
                    d.after.unclear_reviews = 0;
                    d.review = Some(d.verdict(&by, Verdict::Approve, reason, condition));
                    d.finish("approved", holder, json!({ "attempt": number, "sha": sha, "reason": reason }))
                }
                Verdict::Reject => {
                    if reason.trim().is_empty() {
                        return Err(invalid(format!("a rejection of task {} needs a reason", task.id)));
                    }
                    d.end(AttemptOutcome::Rejected, None, Some(reason.clone()), Some((evidence, usage)));
                    d.reject(&by, reason, condition);
                    d.finish("rejected", holder, json!({ "attempt": number, "sha": sha, "reason": reason }))
                }
            }
        }
        Command::Continue { reason, evidence, usage, .. } => {
            d.end(AttemptOutcome::Continued, None, Some(reason.clone()), Some((evidence, usage)));
            d.release_owner();
            d.after.continuation_count += 1;
            if d.after.continuation_count > facts.limits.continuations {
                d.attention(Failure::TooManyContinuations);
            } else {
                d.enter(QueueName::needs_continuation());
            }
            d.finish("continued", holder, json!({ "attempt": number, "reason": reason }))
        }
        Command::Ask { question, evidence, usage, .. } => {
            d.end(AttemptOutcome::Question, Some(Failure::Question), Some(question.clone()), Some((evidence, usage)));
            d.release_owner();
            d.attention(Failure::Question);
            d.after.execution_notes = Some(question.clone());
            d.say(holder.as_deref().unwrap_or("agent"), "question", question.clone());
            d.finish("question", holder, json!({ "attempt": number, "question": question }))
        }
        Command::Fail { failure, reason, evidence, usage, retry_at, send_to, .. } => {
            let claim = task.claim_kind.unwrap_or(AttemptKind::Work);
            let blameless = matches!(failure.class(), FailureClass::Systemic);
            let outcome = if blameless { AttemptOutcome::Released } else { AttemptOutcome::Failed };
            d.end(outcome, Some(*failure), Some(reason.clone()), Some((evidence, usage)));
            d.settle(claim, *failure, *retry_at, send_to.clone());
            d.after.execution_notes = Some(reason.clone());
            // What the next attempt must know; passing and systemic troubles are none of its business.
            let told = match failure {
                Failure::MergeConflict => Some("conflict"),
                Failure::ChecksFailed => Some("check_failure"),
                _ if claim != AttemptKind::Review && failure.class() == FailureClass::Task => Some("failure"),
                _ => None,
            };
            if let Some(kind) = told {
                d.say(actor::ENGINE, kind, reason.clone());
            }
            d.finish("failed_attempt", holder, json!({ "attempt": number, "failure": failure, "reason": reason }))
        }
        Command::Release { reason, .. } => {
            d.end(AttemptOutcome::Released, None, Some(reason.clone()), None);
            d.return_to_origin();
            d.finish("released", holder, json!({ "attempt": number, "reason": reason }))
        }
        Command::Advance { merged_sha, .. } => {
            if task.claim_kind != Some(AttemptKind::Land) {
                return Err(illegal("claim_kind", format!("task {} is not claimed for landing", task.id)));
            }
            let next = facts
                .flow
                .exit(&task.queue)
                .map(|t| t.to.clone())
                .ok_or_else(|| illegal("flow", format!("flow {} has no exit from {}", facts.flow.name, task.queue)))?;
            if next.kind() == QueueKind::Done {
                let sha = merged_sha.clone().ok_or_else(|| {
                    illegal("merged", format!("task {} cannot be done: no merged commit was verified", task.id))
                })?;
                d.after.merged_sha = Some(sha);
            }
            d.release_owner();
            d.enter(next);
            let word = if d.after.kind() == QueueKind::Done { "done" } else { "advanced" };
            d.finish(word, Some(actor::ENGINE.into()), json!({ "merged_sha": merged_sha }))
        }
        Command::Expire => {
            match task.lease_expires_at {
                Some(at) if at <= now => {}
                _ => return Err(illegal("lease", format!("the lease on task {} has not run out", task.id))),
            }
            d.end(AttemptOutcome::Expired, None, Some("the lease ran out".into()), None);
            d.after.transient_count += 1;
            if d.after.transient_count >= facts.limits.transients {
                d.release_owner();
                d.attention(Failure::Remote);
            } else {
                d.return_to_origin();
            }
            d.finish("expired", Some(actor::ENGINE.into()), json!({ "attempt": number, "owner": holder, "orchestrator_id": task.orchestrator_id }))
        }
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
            d.end(AttemptOutcome::Superseded, None, Some(format!("approved by {by}")), None);
            d.release_owner();
            d.review = Some(d.verdict(by, Verdict::Approve, "", None));
            d.finish("approved", Some(by.clone()), json!({ "sha": task.head_sha }))
        }
        Command::Reject { by, reason } => {
            guard::not_landing(task)?;
            if reason.trim().is_empty() {
                return Err(invalid(format!("a rejection of task {} needs a reason; it is what the next attempt works from", task.id)));
            }
            d.end(AttemptOutcome::Superseded, None, Some(format!("rejected by {by}")), None);
            d.reject(by, reason, None);
            d.finish("rejected", Some(by.clone()), json!({ "sha": task.head_sha, "reason": reason }))
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
            d.end(AttemptOutcome::Superseded, None, Some(format!("cancelled by {by}")), None);
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
            d.end(AttemptOutcome::Superseded, None, Some(format!("requeued by {by}")), None);
            d.release_owner();
            d.after.not_before = None;
            d.enter(QueueName::incoming());
            d.finish("requeued", Some(by.clone()), json!({}))
        }
        Command::Recover { by, to, reason, merged_sha } => {
            guard::not_landing(task)?;
            recover(&mut d, by, to, reason, merged_sha.as_deref())?;
            d.finish("recovered", Some(by.clone()), json!({ "reason": reason, "merged_sha": merged_sha }))
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
            let changed = apply_edit(&mut d, edit)?;
            d.finish("edited", Some(by.clone()), json!({ "fields": changed }))
        }
        Command::Unblock { blocker } => {
            if d.after.open_blockers == 0 {
                return Err(illegal("blocked", format!("task {} waits for nothing", task.id)));
            }
            d.after.open_blockers -= 1;
            d.finish("unblocked", Some(actor::ENGINE.into()), json!({ "blocker": blocker }))
        }
    };
    Ok(change)
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
        return refuse_work(format!("task {} cannot be handed in: {:?} ran on {}, not on {head}", task.id, check.command, check.sha));
    }
    if let Some(check) = evidence.checks.iter().find(|c| !c.passed) {
        return refuse_work(format!("task {} cannot be handed in: {:?} did not pass", task.id, check.command));
    }
    if checks_required && evidence.checks.is_empty() {
        return refuse_work(format!("task {} cannot be handed in: its checks did not run", task.id));
    }
    Ok(())
}

fn recover(d: &mut Draft<'_>, by: &str, to: &QueueName, reason: &str, merged_sha: Option<&str>) -> Result<(), Refusal> {
    let task = d.facts.task;
    if reason.trim().is_empty() {
        return Err(invalid(format!("recovering task {} needs a reason; it goes into the history", task.id)));
    }
    if !d.facts.flow.has_state(to) {
        return Err(invalid(format!("flow {} has no state {to}", d.facts.flow.name)));
    }
    match to.kind() {
        QueueKind::Working => return Err(illegal("recover", format!("task {} cannot be put into claimed; a claim needs an owner", task.id))),
        QueueKind::Done if merged_sha.is_none() => {
            return Err(refuse(
                "merged",
                ErrorCode::IllegalTransition,
                format!("task {} cannot be done: its work is not in {}", task.id, task.branch),
                Some(format!("merge it first, or `octopoid recover {} --to provisional --reason …` and approve", task.id)),
            ));
        }
        QueueKind::Review if task.head_sha.is_none() => {
            return Err(illegal("head", format!("task {} cannot be reviewed: no work was handed in", task.id)));
        }
        _ => {}
    }
    d.end(AttemptOutcome::Superseded, None, Some(format!("recovered by {by}")), None);
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

fn apply_edit(d: &mut Draft<'_>, edit: &EditTask) -> Result<Vec<&'static str>, Refusal> {
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
            return Err(illegal("base", format!("task {} has work on {}; its base cannot change any more", task.id, task.branch)));
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
            return Err(illegal("waiting", format!("task {} is in {}; what it waits for can change only before it is claimed", task.id, task.queue)));
        }
        // The engine has loaded the new blockers and refused unknown ones and cycles.
        let open = d.facts.blockers.iter().filter(|b| blocked_by.contains(&b.id) && b.queue.kind() != QueueKind::Done).count();
        t.open_blockers = i64::try_from(open).unwrap_or(i64::MAX);
        d.blockers = Some(blocked_by.clone());
        changed.push("blocked_by");
    }
    Ok(changed)
}
