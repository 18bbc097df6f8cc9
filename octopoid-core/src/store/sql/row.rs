//! Rows to values and back: one list of columns for each table.

use std::str::FromStr;

use serde::{Serialize, de::DeserializeOwned};

use super::{Answer, Row, Stop, Value};
use crate::{
    clock::Timestamp,
    id::Scope,
    model::{Attempt, Event, Message, Review, Task, Verdict},
};

fn bad(column: usize, error: impl std::fmt::Display) -> Stop {
    Stop::Malformed(format!("column {column} of a row: {error}"))
}

fn str_of(row: &dyn Row, column: usize) -> Answer<&str> {
    row.text(column)?.ok_or_else(|| bad(column, "is null"))
}

pub(in crate::store) fn text(row: &dyn Row, column: usize) -> Answer<String> {
    str_of(row, column).map(str::to_owned)
}

fn opt_text(row: &dyn Row, column: usize) -> Answer<Option<String>> {
    Ok(row.text(column)?.map(str::to_owned))
}

pub(in crate::store) fn int(row: &dyn Row, column: usize) -> Answer<i64> {
    row.int(column)?.ok_or_else(|| bad(column, "is null"))
}

pub(in crate::store) fn parsed<T: FromStr<Err: std::fmt::Display>>(row: &dyn Row, column: usize) -> Answer<T> {
    str_of(row, column)?.parse().map_err(|e| bad(column, e))
}

fn parsed_opt<T: FromStr<Err: std::fmt::Display>>(row: &dyn Row, column: usize) -> Answer<Option<T>> {
    row.text(column)?
        .map(|t| t.parse().map_err(|e| bad(column, e)))
        .transpose()
}

pub(in crate::store) fn json<T: DeserializeOwned>(row: &dyn Row, column: usize) -> Answer<T> {
    serde_json::from_str(str_of(row, column)?).map_err(|e| bad(column, e))
}

fn time(row: &dyn Row, column: usize) -> Answer<Option<Timestamp>> {
    Ok(row.int(column)?.map(Timestamp))
}

/// A value as JSON text.
pub(in crate::store) fn to_json(value: &impl Serialize) -> Answer<Value> {
    serde_json::to_string(value)
        .map(Value::Text)
        .map_err(|e| Stop::Malformed(format!("a value cannot be written as JSON: {e}")))
}

fn txt(value: impl AsRef<str>) -> Value {
    value.as_ref().into()
}

fn opt(value: Option<impl ToString>) -> Value {
    value.map(|v| v.to_string()).into()
}

fn at(value: Option<Timestamp>) -> Value {
    value.into()
}

fn flag(value: bool) -> Value {
    Value::Int(i64::from(value))
}

/// Columns of `tasks`, in the order of [`task`] and [`task_values`].
pub(in crate::store) const TASK: &str = "scope, id, title, content, body_revision, queue, kind, priority, complexity, role, branch, flow, \
     project_id, checks, paths, created_by, awaiting, open_blockers, claimed_by, orchestrator_id, claim_kind, claimed_from, \
     claimed_at, lease_expires_at, claim_token, epoch, version, attempt_count, failure_count, transient_count, \
     rejection_count, continuation_count, unclear_reviews, commits_count, turns_used, base_sha, head_sha, merged_sha, \
     pr_number, pr_url, hold, not_before, attention, execution_notes, submitted_at, completed_at, created_at, updated_at, \
     external, annotations, type, role_given, needs_intervention, has_plan, auto_accept, needs_rebase";

pub(in crate::store) fn task(r: &dyn Row) -> Answer<Task> {
    Ok(Task {
        scope: parsed(r, 0)?,
        id: parsed(r, 1)?,
        title: text(r, 2)?,
        content: text(r, 3)?,
        body_revision: int(r, 4)?,
        queue: parsed(r, 5)?,
        priority: parsed(r, 7)?,
        complexity: parsed_opt(r, 8)?,
        role: parsed(r, 9)?,
        branch: text(r, 10)?,
        flow: text(r, 11)?,
        project_id: parsed_opt(r, 12)?,
        checks: json(r, 13)?,
        paths: json(r, 14)?,
        created_by: opt_text(r, 15)?,
        awaiting: opt_text(r, 16)?,
        open_blockers: int(r, 17)?,
        claimed_by: opt_text(r, 18)?,
        orchestrator_id: parsed_opt(r, 19)?,
        claim_kind: parsed_opt(r, 20)?,
        claimed_from: parsed_opt(r, 21)?,
        claimed_at: time(r, 22)?,
        lease_expires_at: time(r, 23)?,
        claim_token: opt_text(r, 24)?,
        epoch: int(r, 25)?,
        version: int(r, 26)?,
        attempt_count: int(r, 27)?,
        failure_count: int(r, 28)?,
        transient_count: int(r, 29)?,
        rejection_count: int(r, 30)?,
        continuation_count: int(r, 31)?,
        unclear_reviews: int(r, 32)?,
        commits_count: int(r, 33)?,
        turns_used: int(r, 34)?,
        base_sha: opt_text(r, 35)?,
        head_sha: opt_text(r, 36)?,
        merged_sha: opt_text(r, 37)?,
        pr_number: r.int(38)?,
        pr_url: opt_text(r, 39)?,
        hold: opt_text(r, 40)?,
        not_before: time(r, 41)?,
        attention: opt_text(r, 42)?,
        execution_notes: opt_text(r, 43)?,
        submitted_at: time(r, 44)?,
        completed_at: time(r, 45)?,
        created_at: Timestamp(int(r, 46)?),
        updated_at: Timestamp(int(r, 47)?),
        external: int(r, 48)? != 0,
        annotations: json(r, 49)?,
    })
}

pub(in crate::store) fn task_values(t: &Task) -> Answer<Vec<Value>> {
    Ok(vec![
        txt(t.scope.as_str()),
        txt(t.id.as_str()),
        txt(&t.title),
        txt(&t.content),
        Value::Int(t.body_revision),
        txt(t.queue.as_str()),
        txt(t.kind().as_str()),
        txt(t.priority.as_str()),
        opt(t.complexity),
        txt(t.role.as_str()),
        txt(&t.branch),
        txt(&t.flow),
        opt(t.project_id.as_ref()),
        to_json(&t.checks)?,
        to_json(&t.paths)?,
        opt(t.created_by.as_ref()),
        opt(t.awaiting.as_ref()),
        Value::Int(t.open_blockers),
        opt(t.claimed_by.as_ref()),
        opt(t.orchestrator_id.as_ref()),
        opt(t.claim_kind),
        opt(t.claimed_from.as_ref()),
        at(t.claimed_at),
        at(t.lease_expires_at),
        opt(t.claim_token.as_ref()),
        Value::Int(t.epoch),
        Value::Int(t.version),
        Value::Int(t.attempt_count),
        Value::Int(t.failure_count),
        Value::Int(t.transient_count),
        Value::Int(t.rejection_count),
        Value::Int(t.continuation_count),
        Value::Int(t.unclear_reviews),
        Value::Int(t.commits_count),
        Value::Int(t.turns_used),
        opt(t.base_sha.as_ref()),
        opt(t.head_sha.as_ref()),
        opt(t.merged_sha.as_ref()),
        t.pr_number.into(),
        opt(t.pr_url.as_ref()),
        opt(t.hold.as_ref()),
        at(t.not_before),
        opt(t.attention.as_ref()),
        opt(t.execution_notes.as_ref()),
        at(t.submitted_at),
        at(t.completed_at),
        Value::Int(t.created_at.0),
        Value::Int(t.updated_at.0),
        flag(t.external),
        to_json(&t.annotations)?,
        opt(t.annotations.kind.as_ref()),
        flag(!t.annotations.role_unset),
        flag(t.annotations.needs_intervention),
        flag(t.annotations.has_plan),
        flag(t.annotations.auto_accept),
        flag(t.annotations.needs_rebase),
    ])
}

/// Columns of `attempts`, in the order of [`attempt`] and [`attempt_values`] (which has the scope in front).
pub(in crate::store) const ATTEMPT: &str = "task_id, number, kind, role, agent, orchestrator_id, epoch, token, claimed_from, body_revision, \
     base_sha, started_at, ended_at, outcome, failure, reason, evidence, usage";

pub(in crate::store) fn attempt(r: &dyn Row) -> Answer<Attempt> {
    Ok(Attempt {
        task_id: parsed(r, 0)?,
        number: int(r, 1)?,
        kind: parsed(r, 2)?,
        role: parsed(r, 3)?,
        agent: text(r, 4)?,
        orchestrator_id: parsed(r, 5)?,
        epoch: int(r, 6)?,
        token: text(r, 7)?,
        claimed_from: parsed(r, 8)?,
        body_revision: int(r, 9)?,
        base_sha: opt_text(r, 10)?,
        started_at: Timestamp(int(r, 11)?),
        ended_at: time(r, 12)?,
        outcome: parsed_opt(r, 13)?,
        failure: opt_text(r, 14)?,
        reason: opt_text(r, 15)?,
        evidence: json(r, 16)?,
        usage: json(r, 17)?,
    })
}

pub(in crate::store) fn attempt_values(scope: &Scope, a: &Attempt) -> Answer<Vec<Value>> {
    Ok(vec![
        txt(scope.as_str()),
        txt(a.task_id.as_str()),
        Value::Int(a.number),
        txt(a.kind.as_str()),
        txt(a.role.as_str()),
        txt(&a.agent),
        txt(a.orchestrator_id.as_str()),
        Value::Int(a.epoch),
        txt(&a.token),
        txt(a.claimed_from.as_str()),
        Value::Int(a.body_revision),
        opt(a.base_sha.as_ref()),
        Value::Int(a.started_at.0),
        at(a.ended_at),
        opt(a.outcome),
        opt(a.failure.as_ref()),
        opt(a.reason.as_ref()),
        to_json(&a.evidence)?,
        to_json(&a.usage)?,
    ])
}

/// Columns of `reviews`, in the order of [`review`].
pub(in crate::store) const REVIEW: &str = "task_id, queue, by, condition, sha, verdict, reason, at";

pub(in crate::store) fn review(r: &dyn Row) -> Answer<Review> {
    Ok(Review {
        task_id: parsed(r, 0)?,
        queue: parsed(r, 1)?,
        by: text(r, 2)?,
        condition: opt_text(r, 3)?,
        sha: text(r, 4)?,
        verdict: if str_of(r, 5)? == "approve" {
            Verdict::Approve
        } else {
            Verdict::Reject
        },
        reason: text(r, 6)?,
        at: Timestamp(int(r, 7)?),
    })
}

/// Columns of `messages`, in the order of [`message`].
pub(in crate::store) const MESSAGE: &str = "id, task_id, author, kind, content, at, uid, reader, parent";

pub(in crate::store) fn message(r: &dyn Row) -> Answer<Message> {
    Ok(Message {
        id: int(r, 0)?,
        task_id: parsed(r, 1)?,
        from: text(r, 2)?,
        kind: text(r, 3)?,
        content: text(r, 4)?,
        at: Timestamp(int(r, 5)?),
        uid: text(r, 6)?,
        to: opt_text(r, 7)?,
        parent: opt_text(r, 8)?,
    })
}

/// Columns of `events`, in the order of [`event`].
pub(in crate::store) const EVENT: &str = "cursor, task_id, kind, at, by, version, details";

pub(in crate::store) fn event(r: &dyn Row) -> Answer<Event> {
    Ok(Event {
        cursor: int(r, 0)?,
        task_id: parsed(r, 1)?,
        kind: text(r, 2)?,
        at: Timestamp(int(r, 3)?),
        by: opt_text(r, 4)?,
        version: int(r, 5)?,
        details: json(r, 6)?,
    })
}
