//! Writes one change: the row, its event, and whatever goes with them.

use std::sync::LazyLock;

use sha2::{Digest, Sha256};

use super::{Answer, Sql, Stop, Value, row};
use crate::{
    clock::Timestamp,
    error::{Error, ErrorCode},
    id::{Scope, TaskId, to_hex},
    lifecycle::{AttemptChange, Change},
    model::{Attempt, Task, Verdict},
};

/// Columns that only an edit changes. A body may be large; it is not written again with every renewal.
const ASKED_FOR: &[&str] = &[
    "title",
    "content",
    "body_revision",
    "priority",
    "complexity",
    "role",
    "branch",
    "flow",
    "project_id",
    "checks",
    "paths",
    "created_by",
    "created_at",
    "type",
    "role_given",
];

/// `?1, ?2, …` up to `count`.
pub(in crate::store) fn marks(count: usize) -> String {
    (1..=count).map(|n| format!("?{n}")).collect::<Vec<_>>().join(", ")
}

/// The statement that replaces a row, if it still has the version that the decision saw; with or without what is asked for.
struct Update {
    sql: String,
    /// Positions in [`row::TASK`] of the values that it takes; the version that must stand comes last.
    takes: Vec<usize>,
}

fn update(edits: bool) -> &'static Update {
    fn build(edits: bool) -> Update {
        let columns: Vec<&str> = row::TASK.split(',').map(str::trim).collect();
        let takes: Vec<usize> = (0..columns.len())
            .filter(|i| *i < 2 || edits || !ASKED_FOR.contains(&columns[*i]))
            .collect();
        let set: Vec<String> = takes
            .iter()
            .enumerate()
            .skip(2)
            .map(|(position, i)| format!("{} = ?{}", columns[*i], position + 1))
            .collect();
        Update {
            sql: format!(
                "UPDATE tasks SET {} WHERE scope = ?1 AND id = ?2 AND version = ?{}",
                set.join(", "),
                takes.len() + 1
            ),
            takes,
        }
    }
    static ALL: LazyLock<Update> = LazyLock::new(|| build(true));
    static STANDING: LazyLock<Update> = LazyLock::new(|| build(false));
    if edits { &ALL } else { &STANDING }
}

fn insert_sql() -> &'static str {
    static SQL: LazyLock<String> = LazyLock::new(|| {
        let count = row::TASK.split(',').count();
        format!("INSERT INTO tasks ({}) VALUES ({})", row::TASK, marks(count))
    });
    &SQL
}

pub(in crate::store) fn change(c: &mut dyn Sql, change: &Change) -> Answer<()> {
    let task = &change.after;
    let scope = &task.scope;
    let mut values = row::task_values(task)?;
    let written = if change.before_version == 0 {
        c.execute(insert_sql(), &values)?
    } else {
        let update = update(change.edits);
        let mut taken: Vec<Value> = update
            .takes
            .iter()
            .map(|i| std::mem::replace(&mut values[*i], Value::Null))
            .collect();
        taken.push(change.before_version.into());
        c.execute(&update.sql, &taken)?
    };
    if written != 1 {
        return Err(Stop::Refused(Error::new(
            ErrorCode::VersionConflict,
            format!("task {} was changed by somebody else at the same time", task.id),
        )));
    }
    if let Some(blockers) = &change.blockers {
        set_blockers(c, task, blockers)?;
    }
    if let Some(attempt) = &change.attempt {
        write_attempt(c, task, attempt)?;
    }
    if let Some(review) = &change.review {
        let verdict = match review.verdict {
            Verdict::Approve => "approve",
            Verdict::Reject => "reject",
        };
        c.execute(
            &format!("INSERT INTO reviews ({}, scope) VALUES ({})", row::REVIEW, marks(9)),
            &[
                (&task.id).into(),
                review.queue.as_str().into(),
                review.by.as_str().into(),
                review.condition.clone().into(),
                review.sha.as_str().into(),
                verdict.into(),
                review.reason.as_str().into(),
                review.at.into(),
                scope.into(),
            ],
        )?;
    }
    if let Some(message) = &change.message {
        c.execute(
            "INSERT INTO messages (scope, task_id, author, kind, content, at, uid) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            &[
                scope.into(),
                (&task.id).into(),
                message.from.as_str().into(),
                message.kind.into(),
                message.content.as_str().into(),
                task.updated_at.into(),
                message_uid(task).into(),
            ],
        )?;
    }
    event(
        c,
        task,
        change.event.kind,
        change.event.by.as_deref(),
        &change.event.details,
    )
}

/// Writes a task as it is elsewhere: over the row that is there, or as a new one.
pub(in crate::store) fn mirror(c: &mut dyn Sql, tasks: &[Task]) -> Answer<()> {
    static SQL: LazyLock<String> = LazyLock::new(|| {
        let set: Vec<String> = row::TASK
            .split(',')
            .map(str::trim)
            .skip(2)
            .map(|column| format!("{column} = excluded.{column}"))
            .collect();
        format!(
            "{} ON CONFLICT (id, scope) DO UPDATE SET {} WHERE tasks.epoch <= excluded.epoch",
            insert_sql(),
            set.join(", ")
        )
    });
    for task in tasks {
        c.execute(&SQL, &row::task_values(task)?)?;
    }
    Ok(())
}

/// Writes what a task waits for elsewhere, as far as these tasks are here.
pub(in crate::store) fn mirror_blockers(
    c: &mut dyn Sql,
    scope: &Scope,
    id: &TaskId,
    blocked_by: &[TaskId],
) -> Answer<()> {
    let Some(task) = super::load::task(c, scope, id)? else {
        return Ok(());
    };
    let mut here = Vec::new();
    for blocker in blocked_by {
        here.extend(super::load::task(c, scope, blocker)?.map(|t| t.id));
    }
    set_blockers(c, &task, &here)
}

/// Writes an attempt as it is elsewhere: the one that lives, so no other one does.
pub(in crate::store) fn mirror_attempt(c: &mut dyn Sql, scope: &Scope, attempt: &Attempt) -> Answer<()> {
    c.execute(
        "UPDATE attempts SET ended_at = ?3, outcome = 'superseded' \
         WHERE scope = ?1 AND task_id = ?2 AND ended_at IS NULL AND number <> ?4",
        &[
            scope.into(),
            (&attempt.task_id).into(),
            attempt.started_at.into(),
            attempt.number.into(),
        ],
    )?;
    let values = row::attempt_values(scope, attempt)?;
    let sql = format!(
        "INSERT INTO attempts (scope, {}, tokens, usd) VALUES ({}, 0, 0) \
         ON CONFLICT (scope, task_id, number) DO UPDATE SET base_sha = excluded.base_sha",
        row::ATTEMPT,
        marks(values.len())
    );
    c.execute(&sql, &values)?;
    Ok(())
}

pub(in crate::store) fn forget_keys(c: &mut dyn Sql, before: Timestamp) -> Answer<u64> {
    c.execute("DELETE FROM idempotency WHERE at < ?1", &[before.into()])
}

/// The name of the message that goes with this version of the task.
fn message_uid(task: &Task) -> String {
    let seed = format!("{}\0{}\0{}", task.scope, task.id, task.version);
    let hash = to_hex(&Sha256::digest(seed));
    format!("msg-{}-{}", task.updated_at.0, &hash[..20])
}

pub(in crate::store) fn set_blockers(c: &mut dyn Sql, task: &Task, blockers: &[crate::id::TaskId]) -> Answer<()> {
    let (scope, id) = (&task.scope, &task.id);
    c.execute(
        "DELETE FROM blockers WHERE scope = ?1 AND task_id = ?2",
        &[scope.into(), id.into()],
    )?;
    for (position, blocker) in (0_i64..).zip(blockers) {
        c.execute(
            "INSERT INTO blockers (scope, task_id, blocker_id, position) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
            &[scope.into(), id.into(), blocker.into(), position.into()],
        )?;
    }
    Ok(())
}

fn event(c: &mut dyn Sql, task: &Task, kind: &str, by: Option<&str>, details: &serde_json::Value) -> Answer<()> {
    c.execute(
        "INSERT INTO events (scope, task_id, kind, at, by, version, details) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        &[
            (&task.scope).into(),
            (&task.id).into(),
            kind.into(),
            task.updated_at.into(),
            by.into(),
            task.version.into(),
            row::to_json(details)?,
        ],
    )?;
    Ok(())
}

fn write_attempt(c: &mut dyn Sql, task: &Task, change: &AttemptChange) -> Answer<()> {
    let (scope, id) = (Value::from(&task.scope), Value::from(&task.id));
    let written = match change {
        AttemptChange::Start(attempt) => {
            let values = row::attempt_values(&task.scope, attempt)?;
            let sql = format!(
                "INSERT INTO attempts (scope, {}, tokens, usd) VALUES ({}, 0, 0)",
                row::ATTEMPT,
                marks(values.len())
            );
            c.execute(&sql, &values)?
        }
        AttemptChange::Base(sha) => c.execute(
            "UPDATE attempts SET base_sha = ?3 WHERE scope = ?1 AND task_id = ?2 AND ended_at IS NULL",
            &[scope, id, sha.as_str().into()],
        )?,
        AttemptChange::End {
            outcome,
            failure,
            reason,
            evidence,
            usage,
        } => {
            let evidence = evidence.as_ref().map(row::to_json).transpose()?;
            let spent = usage.clone().unwrap_or_default();
            let tokens = i64::try_from(spent.input_tokens.saturating_add(spent.output_tokens)).unwrap_or(i64::MAX);
            let usage = usage.as_ref().map(row::to_json).transpose()?;
            c.execute(
                "UPDATE attempts SET ended_at = ?3, outcome = ?4, failure = ?5, reason = ?6, \
                 evidence = coalesce(?7, evidence), usage = coalesce(?8, usage), tokens = ?9, usd = ?10 \
                 WHERE scope = ?1 AND task_id = ?2 AND ended_at IS NULL",
                &[
                    scope,
                    id,
                    task.updated_at.into(),
                    outcome.as_str().into(),
                    (*failure).into(),
                    reason.clone().into(),
                    evidence.into(),
                    usage.into(),
                    tokens.into(),
                    spent.cost_usd.into(),
                ],
            )?
        }
    };
    if written == 1 {
        Ok(())
    } else {
        Err(Stop::Refused(Error::new(
            ErrorCode::Internal,
            format!("task {} has no live attempt to change", task.id),
        )))
    }
}

pub(in crate::store) fn idempotency(
    c: &mut dyn Sql,
    scope: &Scope,
    key: &str,
    fingerprint: &str,
    task: &Task,
) -> Answer<()> {
    c.execute(
        "INSERT INTO idempotency (scope, key, fingerprint, task_id, at) VALUES (?1, ?2, ?3, ?4, ?5)",
        &[
            scope.into(),
            key.into(),
            fingerprint.into(),
            (&task.id).into(),
            task.updated_at.into(),
        ],
    )?;
    Ok(())
}

pub(in crate::store) fn delete(
    c: &mut dyn Sql,
    task: &Task,
    dependents: &[(Task, i64)],
    by: &str,
    now: Timestamp,
) -> Answer<()> {
    let gone = Task {
        version: task.version + 1,
        updated_at: now,
        ..task.clone()
    };
    let details = serde_json::json!({ "title": task.title, "queue": task.queue, "head_sha": task.head_sha, "content": task.content });
    event(c, &gone, "deleted", Some(by), &details)?;
    let done = task.kind() == crate::model::QueueKind::Done;
    for (dependent, others) in dependents.iter().filter(|_| !done) {
        let freed = Task {
            version: dependent.version + 1,
            updated_at: now,
            open_blockers: *others,
            ..dependent.clone()
        };
        let mut values = row::task_values(&freed)?;
        let update = update(false);
        let mut taken: Vec<Value> = update
            .takes
            .iter()
            .map(|i| std::mem::replace(&mut values[*i], Value::Null))
            .collect();
        taken.push(dependent.version.into());
        c.execute(&update.sql, &taken)?;
        let details = serde_json::json!({ "blocker": task.id, "reason": "the blocker was deleted" });
        event(c, &freed, "unblocked", Some(by), &details)?;
    }
    for sql in [
        "DELETE FROM blockers WHERE scope = ?1 AND blocker_id = ?2",
        "DELETE FROM blockers WHERE scope = ?1 AND task_id = ?2",
        "DELETE FROM attempts WHERE scope = ?1 AND task_id = ?2",
        "DELETE FROM reviews WHERE scope = ?1 AND task_id = ?2",
        "DELETE FROM tasks WHERE scope = ?1 AND id = ?2",
    ] {
        c.execute(sql, &[(&task.scope).into(), (&task.id).into()])?;
    }
    Ok(())
}
