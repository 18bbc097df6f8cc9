//! Rows to values and back: one list of columns for each table.

use std::str::FromStr;

use rusqlite::{
    Row, ToSql,
    types::{Null, Type, Value},
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    clock::Timestamp,
    id::Scope,
    model::{Attempt, Event, Message, Review, Task, Verdict},
};

fn bad(column: usize, error: impl std::fmt::Display) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, error.to_string().into())
}

fn parsed<T: FromStr<Err: std::fmt::Display>>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    row.get_ref(column)?.as_str()?.parse().map_err(|e| bad(column, e))
}

fn parsed_opt<T: FromStr<Err: std::fmt::Display>>(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<T>> {
    row.get_ref(column)?
        .as_str_or_null()?
        .map(|t| t.parse().map_err(|e| bad(column, e)))
        .transpose()
}

fn json<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    serde_json::from_str(row.get_ref(column)?.as_str()?).map_err(|e| bad(column, e))
}

fn time(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Timestamp>> {
    Ok(row.get::<_, Option<i64>>(column)?.map(Timestamp))
}

/// A value as JSON text.
pub(super) fn to_json(value: &impl Serialize) -> rusqlite::Result<Value> {
    serde_json::to_string(value)
        .map(Value::Text)
        .map_err(|e| rusqlite::Error::ToSqlConversionFailure(e.into()))
}

fn text(value: impl AsRef<str>) -> Value {
    Value::Text(value.as_ref().to_owned())
}

fn opt(value: Option<impl ToString>) -> Value {
    value.map_or(Value::from(Null), |v| Value::Text(v.to_string()))
}

fn int(value: Option<i64>) -> Value {
    value.map_or(Value::from(Null), Value::Integer)
}

fn at(value: Option<Timestamp>) -> Value {
    int(value.map(|t| t.0))
}

/// Columns of `tasks`, in the order of [`task`] and [`task_values`].
pub(super) const TASK: &str = "scope, id, title, content, body_revision, queue, kind, priority, complexity, role, branch, flow, \
     project_id, checks, paths, created_by, awaiting, open_blockers, claimed_by, orchestrator_id, claim_kind, claimed_from, \
     claimed_at, lease_expires_at, claim_token, epoch, version, attempt_count, failure_count, transient_count, \
     rejection_count, continuation_count, unclear_reviews, commits_count, turns_used, base_sha, head_sha, merged_sha, \
     pr_number, pr_url, hold, not_before, attention, execution_notes, submitted_at, completed_at, created_at, updated_at";

pub(super) fn task(r: &Row<'_>) -> rusqlite::Result<Task> {
    Ok(Task {
        scope: parsed(r, 0)?,
        id: parsed(r, 1)?,
        title: r.get(2)?,
        content: r.get(3)?,
        body_revision: r.get(4)?,
        queue: parsed(r, 5)?,
        priority: parsed(r, 7)?,
        complexity: parsed_opt(r, 8)?,
        role: parsed(r, 9)?,
        branch: r.get(10)?,
        flow: r.get(11)?,
        project_id: parsed_opt(r, 12)?,
        checks: json(r, 13)?,
        paths: json(r, 14)?,
        created_by: r.get(15)?,
        awaiting: r.get(16)?,
        open_blockers: r.get(17)?,
        claimed_by: r.get(18)?,
        orchestrator_id: parsed_opt(r, 19)?,
        claim_kind: parsed_opt(r, 20)?,
        claimed_from: parsed_opt(r, 21)?,
        claimed_at: time(r, 22)?,
        lease_expires_at: time(r, 23)?,
        claim_token: r.get(24)?,
        epoch: r.get(25)?,
        version: r.get(26)?,
        attempt_count: r.get(27)?,
        failure_count: r.get(28)?,
        transient_count: r.get(29)?,
        rejection_count: r.get(30)?,
        continuation_count: r.get(31)?,
        unclear_reviews: r.get(32)?,
        commits_count: r.get(33)?,
        turns_used: r.get(34)?,
        base_sha: r.get(35)?,
        head_sha: r.get(36)?,
        merged_sha: r.get(37)?,
        pr_number: r.get(38)?,
        pr_url: r.get(39)?,
        hold: r.get(40)?,
        not_before: time(r, 41)?,
        attention: r.get(42)?,
        execution_notes: r.get(43)?,
        submitted_at: time(r, 44)?,
        completed_at: time(r, 45)?,
        created_at: Timestamp(r.get(46)?),
        updated_at: Timestamp(r.get(47)?),
    })
}

pub(super) fn task_values(t: &Task) -> rusqlite::Result<Vec<Value>> {
    Ok(vec![
        text(t.scope.as_str()),
        text(t.id.as_str()),
        text(&t.title),
        text(&t.content),
        Value::Integer(t.body_revision),
        text(t.queue.as_str()),
        text(t.kind().as_str()),
        text(t.priority.as_str()),
        opt(t.complexity),
        text(t.role.as_str()),
        text(&t.branch),
        text(&t.flow),
        opt(t.project_id.as_ref()),
        to_json(&t.checks)?,
        to_json(&t.paths)?,
        opt(t.created_by.as_ref()),
        opt(t.awaiting.as_ref()),
        Value::Integer(t.open_blockers),
        opt(t.claimed_by.as_ref()),
        opt(t.orchestrator_id.as_ref()),
        opt(t.claim_kind),
        opt(t.claimed_from.as_ref()),
        at(t.claimed_at),
        at(t.lease_expires_at),
        opt(t.claim_token.as_ref()),
        Value::Integer(t.epoch),
        Value::Integer(t.version),
        Value::Integer(t.attempt_count),
        Value::Integer(t.failure_count),
        Value::Integer(t.transient_count),
        Value::Integer(t.rejection_count),
        Value::Integer(t.continuation_count),
        Value::Integer(t.unclear_reviews),
        Value::Integer(t.commits_count),
        Value::Integer(t.turns_used),
        opt(t.base_sha.as_ref()),
        opt(t.head_sha.as_ref()),
        opt(t.merged_sha.as_ref()),
        int(t.pr_number),
        opt(t.pr_url.as_ref()),
        opt(t.hold.as_ref()),
        at(t.not_before),
        opt(t.attention.as_ref()),
        opt(t.execution_notes.as_ref()),
        at(t.submitted_at),
        at(t.completed_at),
        Value::Integer(t.created_at.0),
        Value::Integer(t.updated_at.0),
    ])
}

/// Columns of `attempts`, in the order of [`attempt`] and [`attempt_values`] (which has the scope in front).
pub(super) const ATTEMPT: &str = "task_id, number, kind, role, agent, orchestrator_id, epoch, token, claimed_from, body_revision, \
     base_sha, started_at, ended_at, outcome, failure, reason, evidence, usage";

pub(super) fn attempt(r: &Row<'_>) -> rusqlite::Result<Attempt> {
    Ok(Attempt {
        task_id: parsed(r, 0)?,
        number: r.get(1)?,
        kind: parsed(r, 2)?,
        role: parsed(r, 3)?,
        agent: r.get(4)?,
        orchestrator_id: parsed(r, 5)?,
        epoch: r.get(6)?,
        token: r.get(7)?,
        claimed_from: parsed(r, 8)?,
        body_revision: r.get(9)?,
        base_sha: r.get(10)?,
        started_at: Timestamp(r.get(11)?),
        ended_at: time(r, 12)?,
        outcome: parsed_opt(r, 13)?,
        failure: r.get(14)?,
        reason: r.get(15)?,
        evidence: json(r, 16)?,
        usage: json(r, 17)?,
    })
}

pub(super) fn attempt_values(scope: &Scope, a: &Attempt) -> rusqlite::Result<Vec<Value>> {
    Ok(vec![
        text(scope.as_str()),
        text(a.task_id.as_str()),
        Value::Integer(a.number),
        text(a.kind.as_str()),
        text(a.role.as_str()),
        text(&a.agent),
        text(a.orchestrator_id.as_str()),
        Value::Integer(a.epoch),
        text(&a.token),
        text(a.claimed_from.as_str()),
        Value::Integer(a.body_revision),
        opt(a.base_sha.as_ref()),
        Value::Integer(a.started_at.0),
        at(a.ended_at),
        opt(a.outcome),
        opt(a.failure.as_ref()),
        opt(a.reason.as_ref()),
        to_json(&a.evidence)?,
        to_json(&a.usage)?,
    ])
}

/// Columns of `reviews`, in the order of [`review`].
pub(super) const REVIEW: &str = "task_id, queue, by, condition, sha, verdict, reason, at";

pub(super) fn review(r: &Row<'_>) -> rusqlite::Result<Review> {
    Ok(Review {
        task_id: parsed(r, 0)?,
        queue: parsed(r, 1)?,
        by: r.get(2)?,
        condition: r.get(3)?,
        sha: r.get(4)?,
        verdict: if r.get_ref(5)?.as_str()? == "approve" {
            Verdict::Approve
        } else {
            Verdict::Reject
        },
        reason: r.get(6)?,
        at: Timestamp(r.get(7)?),
    })
}

/// Columns of `messages`, in the order of [`message`].
pub(super) const MESSAGE: &str = "id, task_id, author, kind, content, at";

pub(super) fn message(r: &Row<'_>) -> rusqlite::Result<Message> {
    Ok(Message {
        id: r.get(0)?,
        task_id: parsed(r, 1)?,
        from: r.get(2)?,
        kind: r.get(3)?,
        content: r.get(4)?,
        at: Timestamp(r.get(5)?),
    })
}

/// Columns of `events`, in the order of [`event`].
pub(super) const EVENT: &str = "cursor, task_id, kind, at, by, version, details";

pub(super) fn event(r: &Row<'_>) -> rusqlite::Result<Event> {
    Ok(Event {
        cursor: r.get(0)?,
        task_id: parsed(r, 1)?,
        kind: r.get(2)?,
        at: Timestamp(r.get(3)?),
        by: r.get(4)?,
        version: r.get(5)?,
        details: json(r, 6)?,
    })
}

/// Bind parameters from values.
pub(super) fn params(values: &[Value]) -> impl rusqlite::Params + '_ {
    rusqlite::params_from_iter(values.iter().map(|v| v as &dyn ToSql))
}
