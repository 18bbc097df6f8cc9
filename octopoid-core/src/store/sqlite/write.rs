//! Writes one change: the row, its event, and whatever goes with them.

use std::sync::LazyLock;

use rusqlite::{Connection, types::Value};

use super::{row, writer::Stop};
use crate::{
    clock::Timestamp,
    error::{Error, ErrorCode},
    id::Scope,
    lifecycle::{AttemptChange, Change},
    model::{Task, Verdict},
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
];

/// The statement that replaces a row, if it still has the version that the decision saw; with or without what is asked for.
fn update_sql(edits: bool) -> &'static str {
    fn sql(edits: bool) -> String {
        let columns: Vec<&str> = row::TASK.split(',').map(str::trim).collect();
        let set: Vec<String> = columns
            .iter()
            .enumerate()
            .skip(2)
            .filter(|(_, column)| edits || !ASKED_FOR.contains(column))
            .map(|(i, column)| format!("{column} = ?{}", i + 1))
            .collect();
        format!(
            "UPDATE tasks SET {} WHERE scope = ?1 AND id = ?2 AND version = ?{}",
            set.join(", "),
            columns.len() + 1
        )
    }
    static ALL: LazyLock<String> = LazyLock::new(|| sql(true));
    static STANDING: LazyLock<String> = LazyLock::new(|| sql(false));
    if edits { &ALL } else { &STANDING }
}

fn insert_sql() -> &'static str {
    static SQL: LazyLock<String> = LazyLock::new(|| {
        let count = row::TASK.split(',').count();
        format!(
            "INSERT INTO tasks ({}) VALUES ({})",
            row::TASK,
            vec!["?"; count].join(", ")
        )
    });
    &SQL
}

pub(super) fn change(c: &Connection, change: &Change) -> Result<(), Stop> {
    let task = &change.after;
    let scope = &task.scope;
    let mut values = row::task_values(task)?;
    let written = if change.before_version == 0 {
        c.prepare_cached(insert_sql())?.execute(row::params(&values))?
    } else {
        values.push(Value::Integer(change.before_version));
        c.prepare_cached(update_sql(change.edits))?
            .execute(row::params(&values))?
    };
    if written != 1 {
        return Err(Stop::Refused(Error::new(
            ErrorCode::VersionConflict,
            format!("task {} was changed by somebody else at the same time", task.id),
        )));
    }
    if let Some(blockers) = &change.blockers {
        c.prepare_cached("DELETE FROM blockers WHERE scope = ?1 AND task_id = ?2")?
            .execute((scope.as_str(), task.id.as_str()))?;
        let mut insert = c.prepare_cached(
            "INSERT OR IGNORE INTO blockers (scope, task_id, blocker_id, position) VALUES (?1, ?2, ?3, ?4)",
        )?;
        for (position, blocker) in blockers.iter().enumerate() {
            insert.execute((scope.as_str(), task.id.as_str(), blocker.as_str(), position))?;
        }
    }
    if let Some(attempt) = &change.attempt {
        write_attempt(c, task, attempt)?;
    }
    if let Some(review) = &change.review {
        let verdict = match review.verdict {
            Verdict::Approve => "approve",
            Verdict::Reject => "reject",
        };
        c.prepare_cached(&format!(
            "INSERT INTO reviews ({}, scope) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            row::REVIEW
        ))?
        .execute((
            task.id.as_str(),
            review.queue.as_str(),
            &review.by,
            &review.condition,
            &review.sha,
            verdict,
            &review.reason,
            review.at.0,
            scope.as_str(),
        ))?;
    }
    if let Some(message) = &change.message {
        c.prepare_cached("INSERT INTO messages (scope, task_id, author, kind, content, at) VALUES (?, ?, ?, ?, ?, ?)")?
            .execute((
                scope.as_str(),
                task.id.as_str(),
                &message.from,
                message.kind,
                &message.content,
                task.updated_at.0,
            ))?;
    }
    event(
        c,
        task,
        change.event.kind,
        change.event.by.as_deref(),
        &change.event.details,
    )?;
    Ok(())
}

fn event(
    c: &Connection,
    task: &Task,
    kind: &str,
    by: Option<&str>,
    details: &serde_json::Value,
) -> rusqlite::Result<usize> {
    c.prepare_cached(
        "INSERT INTO events (scope, task_id, kind, at, by, version, details) VALUES (?, ?, ?, ?, ?, ?, ?)",
    )?
    .execute((
        task.scope.as_str(),
        task.id.as_str(),
        kind,
        task.updated_at.0,
        by,
        task.version,
        row::to_json(details)?,
    ))
}

fn write_attempt(c: &Connection, task: &Task, change: &AttemptChange) -> Result<(), Stop> {
    let (scope, id) = (task.scope.as_str(), task.id.as_str());
    let written = match change {
        AttemptChange::Start(attempt) => {
            let values = row::attempt_values(&task.scope, attempt)?;
            c.prepare_cached(&format!(
                "INSERT INTO attempts (scope, {}, tokens, usd) VALUES ({}, 0, 0)",
                row::ATTEMPT,
                vec!["?"; values.len()].join(", ")
            ))?
            .execute(row::params(&values))?
        }
        AttemptChange::Base(sha) => c
            .prepare_cached("UPDATE attempts SET base_sha = ?3 WHERE scope = ?1 AND task_id = ?2 AND ended_at IS NULL")?
            .execute((scope, id, sha))?,
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
            c.prepare_cached(
                "UPDATE attempts SET ended_at = ?3, outcome = ?4, failure = ?5, reason = ?6, \
                 evidence = coalesce(?7, evidence), usage = coalesce(?8, usage), tokens = ?9, usd = ?10 \
                 WHERE scope = ?1 AND task_id = ?2 AND ended_at IS NULL",
            )?
            .execute((
                scope,
                id,
                task.updated_at.0,
                outcome.as_str(),
                failure,
                reason,
                evidence,
                usage,
                tokens,
                spent.cost_usd,
            ))?
        }
    };
    if written == 1 {
        Ok(())
    } else {
        Err(Stop::Refused(Error::new(
            ErrorCode::Internal,
            format!("task {id} has no live attempt to change"),
        )))
    }
}

pub(super) fn idempotency(
    c: &Connection,
    scope: &Scope,
    key: &str,
    fingerprint: &str,
    task: &Task,
) -> rusqlite::Result<()> {
    c.prepare_cached(
        "INSERT OR REPLACE INTO idempotency (scope, key, fingerprint, task_id, at) VALUES (?, ?, ?, ?, ?)",
    )?
    .execute((scope.as_str(), key, fingerprint, task.id.as_str(), task.created_at.0))?;
    Ok(())
}

pub(super) fn delete(c: &Connection, task: &Task, by: &str, now: Timestamp) -> rusqlite::Result<()> {
    let gone = Task {
        version: task.version + 1,
        updated_at: now,
        ..task.clone()
    };
    let details = serde_json::json!({ "title": task.title, "queue": task.queue, "head_sha": task.head_sha, "content": task.content });
    event(c, &gone, "deleted", Some(by), &details)?;
    c.prepare_cached("DELETE FROM blockers WHERE scope = ?1 AND blocker_id = ?2")?
        .execute((task.scope.as_str(), task.id.as_str()))?;
    c.prepare_cached("DELETE FROM tasks WHERE scope = ?1 AND id = ?2")?
        .execute((task.scope.as_str(), task.id.as_str()))?;
    Ok(())
}
