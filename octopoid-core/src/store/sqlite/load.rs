//! Reads: what a decision needs, and what people ask.

use rusqlite::{Connection, OptionalExtension, types::Value};

use super::row;
use crate::{
    clock::Timestamp,
    id::{Scope, TaskId},
    model::{Attempt, Blocker, Event, Message, QueueKind, Review, Task, TaskFilter, TaskPage},
    store::{ClaimFilter, Footprint, QueueCount, Snapshot, Spent},
};

type Rows<T> = rusqlite::Result<Vec<T>>;

/// Page size when none is asked for.
const PAGE: u32 = 50;

pub(super) fn snapshot(c: &Connection, scope: &Scope, footprint: &Footprint) -> rusqlite::Result<Snapshot> {
    match footprint {
        Footprint::Task { id, new_blockers } => {
            let mut snapshot = of_task(c, scope, task(c, scope, id)?)?;
            if let Some(new) = new_blockers {
                snapshot.blockers = named_blockers(c, scope, new)?;
                snapshot.cycle = cycle(c, scope, id, new)?;
            }
            Ok(snapshot)
        }
        // A task that can be claimed has no live attempt and no open blocker; only reviews can matter to the decision.
        Footprint::Claimable(filter) => {
            let task = claimable(c, scope, filter)?;
            let reviewed = task.as_ref().filter(|t| t.kind() == QueueKind::Review);
            let reviews = reviewed
                .map(|t| reviews(c, scope, &t.id))
                .transpose()?
                .unwrap_or_default();
            Ok(Snapshot {
                task,
                reviews,
                ..Snapshot::default()
            })
        }
        Footprint::New { id, blockers, key } => {
            let earlier = match key {
                Some((key, _)) => earlier(c, scope, key)?,
                None => None,
            };
            Ok(Snapshot {
                task: task(c, scope, id)?,
                blockers: named_blockers(c, scope, blockers)?,
                earlier,
                ..Snapshot::default()
            })
        }
    }
}

fn of_task(c: &Connection, scope: &Scope, task: Option<Task>) -> rusqlite::Result<Snapshot> {
    let Some(task) = task else {
        return Ok(Snapshot::default());
    };
    let id = task.id.clone();
    Ok(Snapshot {
        attempt: attempts(c, scope, &id, true)?.pop(),
        reviews: reviews(c, scope, &id)?,
        blockers: blockers(c, scope, &id)?,
        dependents: dependents(c, scope, &id)?,
        task: Some(task),
        ..Snapshot::default()
    })
}

/// One seek in the index for each queue and name; the first queue with a task wins, then priority and age.
fn claimable(c: &Connection, scope: &Scope, filter: &ClaimFilter) -> rusqlite::Result<Option<Task>> {
    let sql = format!(
        "SELECT {} FROM tasks WHERE scope = ?1 AND queue = ?2 AND awaiting = ?3 AND claim_token IS NULL AND hold IS NULL \
         AND open_blockers = 0 AND awaiting IS NOT NULL AND (not_before IS NULL OR not_before <= ?4) \
         ORDER BY priority, created_at, rowid LIMIT 1",
        row::TASK
    );
    let mut statement = c.prepare_cached(&sql)?;
    for queue in &filter.queues {
        let mut best: Option<Task> = None;
        for name in &filter.answers_to {
            let found = statement
                .query_row((scope.as_str(), queue.as_str(), name, filter.now.0), row::task)
                .optional()?;
            if let Some(task) = found {
                let rank = |t: &Task| (t.priority, t.created_at, t.id.clone());
                if best.as_ref().is_none_or(|b| rank(&task) < rank(b)) {
                    best = Some(task);
                }
            }
        }
        if best.is_some() {
            return Ok(best);
        }
    }
    Ok(None)
}

fn earlier(c: &Connection, scope: &Scope, key: &str) -> rusqlite::Result<Option<(String, Task)>> {
    let found: Option<(String, String)> = c
        .prepare_cached("SELECT fingerprint, task_id FROM idempotency WHERE scope = ?1 AND key = ?2")?
        .query_row((scope.as_str(), key), |r| Ok((r.get(0)?, r.get(1)?)))
        .optional()?;
    let Some((fingerprint, id)) = found else {
        return Ok(None);
    };
    let task = c
        .prepare_cached(&format!("SELECT {} FROM tasks WHERE scope = ?1 AND id = ?2", row::TASK))?
        .query_row((scope.as_str(), id), row::task)
        .optional()?;
    Ok(task.map(|task| (fingerprint, task)))
}

/// A task among `new` that is `id` or waits for it, directly or not.
fn cycle(c: &Connection, scope: &Scope, id: &TaskId, new: &[TaskId]) -> rusqlite::Result<Option<TaskId>> {
    let mut statement = c.prepare_cached(
        "WITH RECURSIVE waits(id) AS (VALUES (?2) UNION SELECT b.blocker_id FROM blockers b JOIN waits w \
         ON b.scope = ?1 AND b.task_id = w.id) SELECT 1 FROM waits WHERE id = ?3",
    )?;
    for blocker in new {
        if statement.exists((scope.as_str(), blocker.as_str(), id.as_str()))? {
            return Ok(Some(blocker.clone()));
        }
    }
    Ok(None)
}

pub(super) fn task(c: &Connection, scope: &Scope, id: &TaskId) -> rusqlite::Result<Option<Task>> {
    c.prepare_cached(&format!("SELECT {} FROM tasks WHERE scope = ?1 AND id = ?2", row::TASK))?
        .query_row((scope.as_str(), id.as_str()), row::task)
        .optional()
}

pub(super) fn list(c: &Connection, scope: &Scope, filter: &TaskFilter) -> rusqlite::Result<TaskPage> {
    const FINISHED: &str = "(kind IN ('done', 'failed', 'cancelled'))";
    let mut condition = "scope = ?".to_owned();
    let mut values = vec![Value::Text(scope.as_str().to_owned())];
    let mut among = |column: &str, words: Vec<String>| {
        if !words.is_empty() {
            condition.push_str(&format!(" AND {column} IN ({})", vec!["?"; words.len()].join(", ")));
            values.extend(words.into_iter().map(Value::Text));
        }
    };
    among("queue", filter.queues.iter().map(ToString::to_string).collect());
    among("priority", filter.priorities.iter().map(ToString::to_string).collect());
    among("role", filter.roles.iter().map(ToString::to_string).collect());
    among(
        "project_id",
        filter.project_id.iter().map(ToString::to_string).collect(),
    );
    if filter.open_only {
        condition.push_str(&format!(" AND {FINISHED} = 0"));
    }
    let total: u64 = c
        .prepare_cached(&format!("SELECT count(*) FROM tasks WHERE {condition}"))?
        .query_row(row::params(&values), |r| r.get(0))?;
    let limit = filter.limit.unwrap_or(PAGE);
    values.push(Value::Integer(i64::from(limit)));
    values.push(Value::Integer(i64::from(filter.offset)));
    let tasks = c
        .prepare_cached(&format!(
            "SELECT {} FROM tasks WHERE {condition} ORDER BY {FINISHED}, priority, created_at, rowid LIMIT ? OFFSET ?",
            row::TASK
        ))?
        .query_map(row::params(&values), row::task)?
        .collect::<Rows<Task>>()?;
    Ok(TaskPage {
        tasks,
        total,
        offset: filter.offset,
        limit,
    })
}

pub(super) fn counts(c: &Connection, scope: &Scope) -> Rows<QueueCount> {
    c.prepare_cached("SELECT queue, count(*) FROM tasks WHERE scope = ?1 GROUP BY queue")?
        .query_map([scope.as_str()], |r| {
            let queue: String = r.get(0)?;
            let queue = queue.parse().map_err(|e: crate::error::Error| {
                rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, e.into())
            })?;
            Ok(QueueCount {
                queue,
                count: r.get(1)?,
            })
        })?
        .collect()
}

fn blocker(r: &rusqlite::Row<'_>) -> rusqlite::Result<Blocker> {
    let text = |column| -> rusqlite::Result<String> { r.get(column) };
    let wrong =
        |e: crate::error::Error| rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, e.into());
    Ok(Blocker {
        id: text(0)?.parse().map_err(wrong)?,
        queue: text(1)?.parse().map_err(wrong)?,
    })
}

pub(super) fn blockers(c: &Connection, scope: &Scope, id: &TaskId) -> Rows<Blocker> {
    c.prepare_cached(
        "SELECT t.id, t.queue FROM blockers b JOIN tasks t ON t.scope = b.scope AND t.id = b.blocker_id \
         WHERE b.scope = ?1 AND b.task_id = ?2 ORDER BY b.position",
    )?
    .query_map((scope.as_str(), id.as_str()), blocker)?
    .collect()
}

fn named_blockers(c: &Connection, scope: &Scope, ids: &[TaskId]) -> Rows<Blocker> {
    let mut statement = c.prepare_cached("SELECT id, queue FROM tasks WHERE scope = ?1 AND id = ?2")?;
    let mut found = Vec::new();
    for id in ids {
        found.extend(statement.query_row((scope.as_str(), id.as_str()), blocker).optional()?);
    }
    Ok(found)
}

fn dependents(c: &Connection, scope: &Scope, id: &TaskId) -> Rows<Task> {
    let columns: Vec<String> = row::TASK
        .split(',')
        .map(|column| format!("t.{}", column.trim()))
        .collect();
    c.prepare_cached(&format!(
        "SELECT {} FROM blockers b JOIN tasks t ON t.scope = b.scope AND t.id = b.task_id \
         WHERE b.scope = ?1 AND b.blocker_id = ?2",
        columns.join(", ")
    ))?
    .query_map((scope.as_str(), id.as_str()), row::task)?
    .collect()
}

pub(super) fn attempts(c: &Connection, scope: &Scope, id: &TaskId, live: bool) -> Rows<Attempt> {
    let only = if live { "AND ended_at IS NULL" } else { "" };
    c.prepare_cached(&format!(
        "SELECT {} FROM attempts WHERE scope = ?1 AND task_id = ?2 {only} ORDER BY number",
        row::ATTEMPT
    ))?
    .query_map((scope.as_str(), id.as_str()), row::attempt)?
    .collect()
}

pub(super) fn reviews(c: &Connection, scope: &Scope, id: &TaskId) -> Rows<Review> {
    c.prepare_cached(&format!(
        "SELECT {} FROM reviews WHERE scope = ?1 AND task_id = ?2 ORDER BY id",
        row::REVIEW
    ))?
    .query_map((scope.as_str(), id.as_str()), row::review)?
    .collect()
}

pub(super) fn messages(c: &Connection, scope: &Scope, id: &TaskId) -> Rows<Message> {
    c.prepare_cached(&format!(
        "SELECT {} FROM messages WHERE scope = ?1 AND task_id = ?2 ORDER BY id",
        row::MESSAGE
    ))?
    .query_map((scope.as_str(), id.as_str()), row::message)?
    .collect()
}

pub(super) fn events(c: &Connection, scope: &Scope, task: Option<&TaskId>, after: i64, limit: u32) -> Rows<Event> {
    let (only, id) = match task {
        Some(id) => ("AND task_id = ?4", Some(id.as_str())),
        None => ("AND ?4 IS NULL", None),
    };
    c.prepare_cached(&format!(
        "SELECT {} FROM events WHERE scope = ?1 AND cursor > ?2 {only} ORDER BY cursor LIMIT ?3",
        row::EVENT
    ))?
    .query_map((scope.as_str(), after, limit, id), row::event)?
    .collect()
}

pub(super) fn claimed(c: &Connection, scope: &Scope, expired_by: Option<Timestamp>) -> Rows<Task> {
    c.prepare_cached(&format!(
        "SELECT {} FROM tasks WHERE scope = ?1 AND claim_token IS NOT NULL AND lease_expires_at <= ?2 ORDER BY lease_expires_at",
        row::TASK
    ))?
    .query_map((scope.as_str(), expired_by.map_or(i64::MAX, |t| t.0)), row::task)?
    .collect()
}

pub(super) fn next_retry(c: &Connection, scope: &Scope, after: Timestamp) -> rusqlite::Result<Option<Timestamp>> {
    let next: Option<i64> = c
        .prepare_cached("SELECT min(not_before) FROM tasks WHERE scope = ?1 AND not_before > ?2")?
        .query_row((scope.as_str(), after.0), |r| r.get(0))?;
    Ok(next.map(Timestamp))
}

pub(super) fn spent(c: &Connection, scope: &Scope, task: Option<&TaskId>, since: Timestamp) -> rusqlite::Result<Spent> {
    let sum = |r: &rusqlite::Row<'_>| {
        let tokens: i64 = r.get(0)?;
        Ok(Spent {
            tokens: u64::try_from(tokens).unwrap_or(0),
            usd: r.get(1)?,
        })
    };
    match task {
        Some(id) => c
            .prepare_cached(
                "SELECT coalesce(sum(tokens), 0), coalesce(sum(usd), 0.0) FROM attempts WHERE scope = ?1 AND task_id = ?2",
            )?
            .query_row((scope.as_str(), id.as_str()), sum),
        None => c
            .prepare_cached(
                "SELECT coalesce(sum(tokens), 0), coalesce(sum(usd), 0.0) FROM attempts WHERE scope = ?1 AND ended_at >= ?2",
            )?
            .query_row((scope.as_str(), since.0), sum),
    }
}
