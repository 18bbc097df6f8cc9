//! Reads: what a decision needs, and what people ask.

use super::{Answer, Row, Sql, Stop, Value, all, first, row};
use crate::{
    clock::Timestamp,
    error::{Error, ErrorCode},
    id::{OrchestratorId, Scope, TaskId},
    model::{Attempt, Blocker, Event, Message, QueueKind, Review, Task},
    store::{ClaimFilter, Footprint, OpenFilter, QueueCount, Snapshot, Spent},
};

/// What every task that can be claimed fulfils; the moment is parameter 3.
const FREE: &str =
    "claim_token IS NULL AND hold IS NULL AND open_blockers = 0 AND (not_before IS NULL OR not_before <= ?3)";

pub(in crate::store) fn snapshot(c: &mut dyn Sql, scope: &Scope, footprint: &Footprint) -> Answer<Snapshot> {
    match footprint {
        Footprint::Task { id, new_blockers, key } => {
            let earlier = earlier(c, scope, key.as_ref())?;
            if earlier.is_some() {
                return Ok(Snapshot {
                    earlier,
                    ..Snapshot::default()
                });
            }
            let found = locked_task(c, scope, id)?;
            let mut snapshot = of_task(c, scope, found)?;
            if let Some(new) = new_blockers {
                snapshot.blockers = named_blockers(c, scope, new)?;
                snapshot.cycle = cycle(c, scope, id, new)?;
            }
            Ok(snapshot)
        }
        Footprint::Claimable(filter) => {
            let repeated = claimed_with(c, scope, filter.token.as_deref())?;
            if repeated.task.is_some() {
                return Ok(repeated);
            }
            let found = claimable(c, scope, filter)?;
            with_reviews(c, scope, found)
        }
        Footprint::Open(filter) => {
            let repeated = claimed_with(c, scope, filter.token.as_deref())?;
            if repeated.task.is_some() {
                return Ok(repeated);
            }
            if let Some((orchestrator, most)) = &filter.at_most {
                // Two claims of one orchestrator at the same moment count one after the other.
                c.lock_name(&format!("{scope}\u{1}capacity\u{1}{orchestrator}"))?;
                let held = held_by(c, scope, orchestrator)?;
                if held >= *most {
                    return Ok(Snapshot {
                        full: Some(held),
                        ..Snapshot::default()
                    });
                }
            }
            let found = open(c, scope, filter)?;
            with_reviews(c, scope, found)
        }
        Footprint::Many { ids, blockers } => {
            let mut existing = None;
            for id in ids {
                existing = existing.or(task(c, scope, id)?);
            }
            Ok(Snapshot {
                task: existing,
                blockers: named_blockers(c, scope, blockers)?,
                ..Snapshot::default()
            })
        }
        Footprint::New { id, blockers, key } => {
            let earlier = earlier(c, scope, key.as_ref())?;
            Ok(Snapshot {
                task: task(c, scope, id)?,
                blockers: named_blockers(c, scope, blockers)?,
                earlier,
                ..Snapshot::default()
            })
        }
    }
}

/// A task that can be claimed has no live attempt and no open blocker; only reviews can matter to the decision.
fn with_reviews(c: &mut dyn Sql, scope: &Scope, task: Option<Task>) -> Answer<Snapshot> {
    let reviewed = task.as_ref().filter(|t| t.kind() == QueueKind::Review);
    let reviews = match reviewed {
        Some(task) => reviews(c, scope, &task.id)?,
        None => Vec::new(),
    };
    Ok(Snapshot {
        task,
        reviews,
        ..Snapshot::default()
    })
}

/// How many tasks an orchestrator works on.
fn held_by(c: &mut dyn Sql, scope: &Scope, orchestrator: &OrchestratorId) -> Answer<u64> {
    let held = first(
        c,
        "SELECT count(*) FROM tasks WHERE scope = ?1 AND orchestrator_id = ?2 AND queue = 'claimed' AND claim_token IS NOT NULL",
        &[scope.into(), orchestrator.as_str().into()],
        |r| count(r, 0),
    )?;
    Ok(held.unwrap_or(0))
}

/// The claim that was made with this token already: the same request once more.
fn claimed_with(c: &mut dyn Sql, scope: &Scope, token: Option<&str>) -> Answer<Snapshot> {
    let Some(token) = token else {
        return Ok(Snapshot::default());
    };
    c.lock_name(&format!("{scope}\u{1}claim\u{1}{token}"))?;
    let sql = format!("SELECT {} FROM tasks WHERE scope = ?1 AND claim_token = ?2", row::TASK);
    let task = first(c, &sql, &[scope.into(), token.into()], row::task)?;
    let attempt = match &task {
        Some(task) => attempts(c, scope, &task.id, true)?.pop(),
        None => None,
    };
    Ok(Snapshot {
        repeated: task.is_some(),
        task,
        attempt,
        ..Snapshot::default()
    })
}

fn of_task(c: &mut dyn Sql, scope: &Scope, task: Option<Task>) -> Answer<Snapshot> {
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
fn claimable(c: &mut dyn Sql, scope: &Scope, filter: &ClaimFilter) -> Answer<Option<Task>> {
    let sql = format!(
        "SELECT {} FROM tasks WHERE scope = ?1 AND queue = ?2 AND {FREE} AND awaiting = ?4 AND awaiting IS NOT NULL \
         ORDER BY priority, created_at, seq LIMIT 1{}",
        row::TASK,
        c.skip_locked()
    );
    for queue in &filter.queues {
        let mut best: Option<Task> = None;
        for name in &filter.answers_to {
            let values = [
                scope.into(),
                queue.as_str().into(),
                filter.now.into(),
                name.as_str().into(),
            ];
            if let Some(task) = first(c, &sql, &values, row::task)? {
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

/// The most urgent task that a client can take, among the queues and roles that it names.
fn open(c: &mut dyn Sql, scope: &Scope, filter: &OpenFilter) -> Answer<Option<Task>> {
    let mut best: Option<Task> = None;
    for (queue, roles) in &filter.queues {
        let mut sql = format!(
            "SELECT {} FROM tasks WHERE scope = ?1 AND queue = ?2 AND {FREE} AND (awaiting IS NULL OR awaiting <> 'engine' OR external = 1)",
            row::TASK
        );
        let mut values = vec![scope.into(), queue.as_str().into(), filter.now.into()];
        for (column, words) in [("role", roles), ("type", &filter.types)] {
            if words.is_empty() {
                continue;
            }
            let marks: Vec<String> = words
                .iter()
                .map(|word| {
                    values.push(word.as_str().into());
                    format!("?{}", values.len())
                })
                .collect();
            sql.push_str(&format!(" AND {column} IN ({})", marks.join(", ")));
            if column == "role" {
                sql.push_str(" AND role_given = 1");
            }
        }
        sql.push_str(" ORDER BY priority, created_at, seq LIMIT 1");
        sql.push_str(c.skip_locked());
        if let Some(task) = first(c, &sql, &values, row::task)? {
            let rank = |t: &Task| (t.priority, t.created_at);
            if best.as_ref().is_none_or(|b| rank(&task) < rank(b)) {
                best = Some(task);
            }
        }
    }
    Ok(best)
}

fn earlier(c: &mut dyn Sql, scope: &Scope, key: Option<&(String, String)>) -> Answer<Option<(String, Task)>> {
    let Some((key, _)) = key else { return Ok(None) };
    // The same request at the same moment waits here, and then finds what the first one did.
    c.lock_name(&format!("{scope}\u{1}key\u{1}{key}"))?;
    let found = first(
        c,
        "SELECT fingerprint, task_id FROM idempotency WHERE scope = ?1 AND key = ?2",
        &[scope.into(), key.as_str().into()],
        |r| Ok((row::text(r, 0)?, row::text(r, 1)?)),
    )?;
    let Some((fingerprint, id)) = found else {
        return Ok(None);
    };
    let sql = format!("SELECT {} FROM tasks WHERE scope = ?1 AND id = ?2", row::TASK);
    let task = first(c, &sql, &[scope.into(), id.into()], row::task)?;
    match task {
        Some(task) => Ok(Some((fingerprint, task))),
        None => Err(Stop::Refused(Error::new(
            ErrorCode::IdempotencyConflict,
            format!("the idempotency key {key:?} was used for a task that has been deleted"),
        ))),
    }
}

/// A task among `new` that is `id` or waits for it, directly or not.
fn cycle(c: &mut dyn Sql, scope: &Scope, id: &TaskId, new: &[TaskId]) -> Answer<Option<TaskId>> {
    for blocker in new {
        let found = first(
            c,
            "WITH RECURSIVE waits(id) AS (SELECT id FROM tasks WHERE scope = ?1 AND id = ?2 UNION SELECT b.blocker_id FROM blockers b JOIN waits w \
             ON b.scope = ?1 AND b.task_id = w.id) SELECT 1 FROM waits WHERE id = ?3",
            &[scope.into(), blocker.into(), id.into()],
            |_| Ok(()),
        )?;
        if found.is_some() {
            return Ok(Some(blocker.clone()));
        }
    }
    Ok(None)
}

pub(in crate::store) fn task(c: &mut dyn Sql, scope: &Scope, id: &TaskId) -> Answer<Option<Task>> {
    let sql = format!("SELECT {} FROM tasks WHERE scope = ?1 AND id = ?2", row::TASK);
    first(c, &sql, &[scope.into(), id.into()], row::task)
}

fn locked_task(c: &mut dyn Sql, scope: &Scope, id: &TaskId) -> Answer<Option<Task>> {
    let sql = format!(
        "SELECT {} FROM tasks WHERE scope = ?1 AND id = ?2{}",
        row::TASK,
        c.lock()
    );
    first(c, &sql, &[scope.into(), id.into()], row::task)
}

/// The scopes that have a task of this name.
pub(in crate::store) fn scopes_of(c: &mut dyn Sql, id: &str) -> Answer<Vec<Scope>> {
    all(
        c,
        "SELECT scope FROM tasks WHERE id = ?1 ORDER BY created_at LIMIT 2",
        &[id.into()],
        |r| row::parsed(r, 0),
    )
}

fn count(r: &dyn Row, column: usize) -> Answer<u64> {
    Ok(u64::try_from(row::int(r, column)?).unwrap_or(0))
}

pub(in crate::store) fn counts(c: &mut dyn Sql, scope: &Scope) -> Answer<Vec<QueueCount>> {
    let sql = format!("SELECT queue, n FROM {} c WHERE scope = ?1 AND n > 0", c.counts());
    all(c, &sql, &[scope.into()], |r| {
        Ok(QueueCount {
            queue: row::parsed(r, 0)?,
            count: count(r, 1)?,
        })
    })
}

pub(in crate::store) fn totals(c: &mut dyn Sql) -> Answer<Vec<(Scope, QueueCount)>> {
    let sql = format!(
        "SELECT scope, queue, n FROM {} c WHERE n > 0 ORDER BY scope, queue",
        c.counts()
    );
    all(c, &sql, &[], |r| {
        let count = QueueCount {
            queue: row::parsed(r, 1)?,
            count: count(r, 2)?,
        };
        Ok((row::parsed(r, 0)?, count))
    })
}

fn blocker(r: &dyn Row) -> Answer<Blocker> {
    Ok(Blocker {
        id: row::parsed(r, 0)?,
        queue: row::parsed(r, 1)?,
    })
}

pub(in crate::store) fn blockers(c: &mut dyn Sql, scope: &Scope, id: &TaskId) -> Answer<Vec<Blocker>> {
    all(
        c,
        "SELECT t.id, t.queue FROM blockers b JOIN tasks t ON t.scope = b.scope AND t.id = b.blocker_id \
         WHERE b.scope = ?1 AND b.task_id = ?2 ORDER BY b.position",
        &[scope.into(), id.into()],
        blocker,
    )
}

fn named_blockers(c: &mut dyn Sql, scope: &Scope, ids: &[TaskId]) -> Answer<Vec<Blocker>> {
    let sql = format!("SELECT id, queue FROM tasks WHERE scope = ?1 AND id = ?2{}", c.share());
    let mut found = Vec::new();
    for id in ids {
        found.extend(first(c, &sql, &[scope.into(), id.into()], blocker)?);
    }
    Ok(found)
}

fn dependents(c: &mut dyn Sql, scope: &Scope, id: &TaskId) -> Answer<Vec<(Task, i64)>> {
    let sql = format!(
        "SELECT {} FROM tasks WHERE scope = ?1 AND id IN (SELECT task_id FROM blockers WHERE scope = ?1 AND blocker_id = ?2) \
         ORDER BY id{}",
        row::TASK,
        c.lock()
    );
    let waiting = all(c, &sql, &[scope.into(), id.into()], row::task)?;
    let mut found = Vec::with_capacity(waiting.len());
    for task in waiting {
        let others = first(
            c,
            "SELECT count(*) FROM blockers b JOIN tasks t ON t.scope = b.scope AND t.id = b.blocker_id \
             WHERE b.scope = ?1 AND b.task_id = ?2 AND b.blocker_id <> ?3 AND t.kind <> 'done'",
            &[scope.into(), (&task.id).into(), id.into()],
            |r| row::int(r, 0),
        )?;
        found.push((task, others.unwrap_or(0)));
    }
    Ok(found)
}

pub(in crate::store) fn attempts(c: &mut dyn Sql, scope: &Scope, id: &TaskId, live: bool) -> Answer<Vec<Attempt>> {
    let only = if live { "AND ended_at IS NULL" } else { "" };
    let sql = format!(
        "SELECT {} FROM attempts WHERE scope = ?1 AND task_id = ?2 {only} ORDER BY number",
        row::ATTEMPT
    );
    all(c, &sql, &[scope.into(), id.into()], row::attempt)
}

pub(in crate::store) fn reviews(c: &mut dyn Sql, scope: &Scope, id: &TaskId) -> Answer<Vec<Review>> {
    let sql = format!(
        "SELECT {} FROM reviews WHERE scope = ?1 AND task_id = ?2 ORDER BY id",
        row::REVIEW
    );
    all(c, &sql, &[scope.into(), id.into()], row::review)
}

pub(in crate::store) fn messages(c: &mut dyn Sql, scope: &Scope, id: &TaskId) -> Answer<Vec<Message>> {
    let sql = format!(
        "SELECT {} FROM messages WHERE scope = ?1 AND task_id = ?2 ORDER BY id",
        row::MESSAGE
    );
    all(c, &sql, &[scope.into(), id.into()], row::message)
}

pub(in crate::store) fn events(
    c: &mut dyn Sql,
    scope: &Scope,
    task: Option<&TaskId>,
    after: i64,
    limit: u32,
) -> Answer<Vec<Event>> {
    let mut values = vec![Value::from(scope), after.into(), i64::from(limit).into()];
    let only = match task {
        Some(id) => {
            values.push(id.into());
            "AND task_id = ?4"
        }
        None => "",
    };
    let sql = format!(
        "SELECT {} FROM events WHERE scope = ?1 AND cursor > ?2 {only} ORDER BY cursor LIMIT ?3",
        row::EVENT
    );
    all(c, &sql, &values, row::event)
}

pub(in crate::store) fn last_event(c: &mut dyn Sql, scope: &Scope) -> Answer<i64> {
    let last = first(
        c,
        "SELECT cursor FROM events WHERE scope = ?1 ORDER BY cursor DESC LIMIT 1",
        &[scope.into()],
        |r| row::int(r, 0),
    )?;
    Ok(last.unwrap_or(0))
}

pub(in crate::store) fn claimed(c: &mut dyn Sql, scope: &Scope) -> Answer<Vec<Task>> {
    let sql = format!(
        "SELECT {} FROM tasks WHERE scope = ?1 AND claim_token IS NOT NULL ORDER BY lease_expires_at",
        row::TASK
    );
    all(c, &sql, &[scope.into()], row::task)
}

/// Claimed tasks of every scope whose lease has run out.
pub(in crate::store) fn overdue(c: &mut dyn Sql, scope: Option<&Scope>, now: Timestamp) -> Answer<Vec<Task>> {
    let mut values = vec![Value::from(now)];
    let only = match scope {
        Some(scope) => {
            values.push(scope.into());
            "AND scope = ?2"
        }
        None => "",
    };
    let sql = format!(
        "SELECT {} FROM tasks WHERE claim_token IS NOT NULL AND lease_expires_at <= ?1 {only} ORDER BY lease_expires_at LIMIT 1000",
        row::TASK
    );
    all(c, &sql, &values, row::task)
}

pub(in crate::store) fn next_retry(c: &mut dyn Sql, scope: &Scope, after: Timestamp) -> Answer<Option<Timestamp>> {
    let next = first(
        c,
        "SELECT min(not_before) FROM tasks WHERE scope = ?1 AND not_before > ?2",
        &[scope.into(), after.into()],
        |r| r.int(0),
    )?;
    Ok(next.flatten().map(Timestamp))
}

pub(in crate::store) fn spent(
    c: &mut dyn Sql,
    scope: &Scope,
    task: Option<&TaskId>,
    since: Timestamp,
) -> Answer<Spent> {
    let (only, value) = match task {
        Some(id) => ("task_id = ?2", Value::from(id)),
        None => ("ended_at >= ?2", since.into()),
    };
    let sql = format!(
        "SELECT CAST(coalesce(sum(tokens), 0) AS BIGINT), coalesce(sum(usd), 0.0) FROM attempts WHERE scope = ?1 AND {only}"
    );
    let spent = first(c, &sql, &[scope.into(), value], |r| {
        Ok(Spent {
            tokens: count(r, 0)?,
            usd: r.real(1)?.unwrap_or(0.0),
        })
    })?;
    spent.ok_or_else(|| Stop::Malformed("a sum gave no row".into()))
}

pub(in crate::store) fn blockers_of(c: &mut dyn Sql, scope: &Scope, ids: &[TaskId]) -> Answer<Vec<(TaskId, Blocker)>> {
    let mut found = Vec::new();
    for id in ids {
        found.extend(blockers(c, scope, id)?.into_iter().map(|b| (id.clone(), b)));
    }
    Ok(found)
}

pub(in crate::store) fn ping(c: &mut dyn Sql) -> Answer<()> {
    first(c, "SELECT 1", &[], |_| Ok(())).map(|_| ())
}
