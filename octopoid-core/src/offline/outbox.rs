//! The outbox: requests that wait for the server, in a file of their own, in the order in which they were made.
//!
//! Every process of a project has it open, and any of them may send what another one wrote down. A request is written
//! down before the copy is asked about it, so it begins as *unsettled*: no other process sends it while the one that
//! made it may still take it back.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, Transaction, TransactionBehavior};
use serde::{Deserialize, Serialize};

use crate::{
    clock::Timestamp,
    error::{Error, Result},
    id::TaskId,
    lifecycle::Command,
    model::CreateTask,
    store::sqlite_support::{connect, store_error, write_ahead},
};

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS outbox (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  key TEXT NOT NULL UNIQUE,
  task_id TEXT NOT NULL,
  request TEXT NOT NULL,
  at INTEGER NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('waiting', 'dropped')),
  reason TEXT
);
CREATE INDEX IF NOT EXISTS outbox_state ON outbox (state, seq);
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS unsettled (key TEXT PRIMARY KEY, until INTEGER NOT NULL) WITHOUT ROWID;
";

/// How long the copy may take to say whether a request makes sense. After that, its process counts as dead and the
/// request is sent: the copy may show it as done already.
const SETTLED_AFTER: Duration = Duration::from_secs(10);

/// What waits.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Request {
    /// A new task.
    Create(Box<CreateTask>),
    /// A command on a task.
    Apply(Box<Command>),
}

impl Request {
    /// Other tasks that it names: they must be on the server before it.
    fn names(&self) -> &[TaskId] {
        match self {
            Self::Create(task) => &task.blocked_by,
            Self::Apply(command) => match command.as_ref() {
                Command::Edit { edit, .. } => edit.blocked_by.as_deref().unwrap_or_default(),
                Command::Patch { patch, .. } => patch.blocked_by.as_deref().unwrap_or_default(),
                _ => &[],
            },
        }
    }

    /// For people.
    pub(super) fn told(&self) -> String {
        match self {
            Self::Create(task) => format!("create {:?}", task.title.as_deref().unwrap_or("a task")),
            Self::Apply(command) => command.kind().row().word.to_owned(),
        }
    }
}

/// A request in the outbox.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) seq: i64,
    pub(super) key: String,
    pub(super) task: TaskId,
    pub(super) request: Request,
    pub(super) at: Timestamp,
    pub(super) reason: Option<String>,
}

impl Entry {
    /// Whether it has to stay behind what waits of these tasks.
    pub(super) fn is_behind(&self, tasks: &HashSet<TaskId>) -> bool {
        tasks.contains(&self.task) || self.request.names().iter().any(|id| tasks.contains(id))
    }
}

/// Whether a request can be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TakenUp {
    /// Now.
    Yes,
    /// The process that made it may still take it back.
    NotYet,
    /// Another process has sent it, or has taken it back.
    Gone,
}

#[derive(Debug)]
pub(super) struct Outbox {
    path: PathBuf,
    connection: Mutex<Connection>,
}

impl Outbox {
    pub(super) fn open(path: &Path) -> Result<Self> {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(|e| Error::io("create", parent, e))?;
        }
        let fail = |e| store_error(path, "open", e);
        let connection =
            connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE).map_err(fail)?;
        write_ahead(&connection).map_err(fail)?;
        connection.execute_batch(SCHEMA).map_err(fail)?;
        Ok(Self {
            path: path.to_path_buf(),
            connection: Mutex::new(connection),
        })
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fail(&self, error: rusqlite::Error) -> Error {
        store_error(&self.path, "use", error)
    }

    /// Does all of `work`, or nothing; nobody else writes meanwhile.
    fn write<T>(&self, work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>) -> Result<T> {
        let mut connection = self.connection();
        let whole = || {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let done = work(&transaction)?;
            transaction.commit()?;
            Ok(done)
        };
        whole().map_err(|e| self.fail(e))
    }

    /// Keeps a request; durable when this returns. Nobody sends it before it is settled. False when one with this key
    /// waits already.
    pub(super) fn add(&self, key: &str, task: &TaskId, request: &Request, at: Timestamp) -> Result<bool> {
        let text = serde_json::to_string(request).map_err(|e| {
            Error::new(
                crate::error::ErrorCode::Internal,
                format!("a request cannot be written down: {e}"),
            )
        })?;
        self.write(|t| {
            let added = t.execute(
                "INSERT INTO outbox (key, task_id, request, at, state) VALUES (?1, ?2, ?3, ?4, 'waiting') ON CONFLICT (key) DO NOTHING",
                (key, task.as_str(), text, at.0),
            )?;
            if added == 1 {
                t.execute(
                    "INSERT OR REPLACE INTO unsettled (key, until) VALUES (?1, ?2)",
                    (key, at.plus(SETTLED_AFTER).0),
                )?;
            }
            Ok(added == 1)
        })
    }

    /// The request stays: any process may send it.
    pub(super) fn settle(&self, key: &str) -> Result<()> {
        self.write(|t| t.execute("DELETE FROM unsettled WHERE key = ?1", [key]))?;
        Ok(())
    }

    /// It was refused here already, and was never acknowledged: forgets it. False when it was settled without us, so
    /// that it has been sent or is about to be.
    pub(super) fn take_back(&self, key: &str) -> Result<bool> {
        self.write(|t| {
            let ours = t.execute("DELETE FROM unsettled WHERE key = ?1", [key])? == 1;
            if ours {
                t.execute("DELETE FROM outbox WHERE key = ?1", [key])?;
            }
            Ok(ours)
        })
    }

    /// Whether the request can be sent now: it still waits, and nobody can take it back any more. One whose process has
    /// said nothing for too long is settled by this.
    pub(super) fn take_up(&self, entry: &Entry, now: Timestamp) -> Result<TakenUp> {
        self.write(|t| {
            let waits = t
                .prepare_cached("SELECT 1 FROM outbox WHERE seq = ?1 AND state = 'waiting'")?
                .exists([entry.seq])?;
            if !waits {
                return Ok(TakenUp::Gone);
            }
            let until: Option<i64> = t
                .query_row("SELECT until FROM unsettled WHERE key = ?1", [&entry.key], |r| r.get(0))
                .optional()?;
            match until {
                Some(until) if until > now.0 => Ok(TakenUp::NotYet),
                Some(_) => {
                    t.execute("DELETE FROM unsettled WHERE key = ?1", [&entry.key])?;
                    Ok(TakenUp::Yes)
                }
                None => Ok(TakenUp::Yes),
            }
        })
    }

    /// Requests in one state, in their order.
    pub(super) fn entries(&self, state: &str) -> Result<Vec<Entry>> {
        let connection = self.connection();
        let read = || {
            connection
                .prepare("SELECT seq, key, task_id, request, at, reason FROM outbox WHERE state = ?1 ORDER BY seq")?
                .query_map([state], entry)?
                .collect::<rusqlite::Result<Vec<Entry>>>()
        };
        read().map_err(|e| self.fail(e))
    }

    /// How many wait to be sent, and how many were dropped.
    pub(super) fn counts(&self, now: Timestamp) -> Result<(usize, usize)> {
        let read = |c: &Connection| {
            c.query_row(
                "SELECT coalesce(sum(state = 'waiting' AND u.key IS NULL), 0), coalesce(sum(state = 'dropped'), 0) \
                 FROM outbox LEFT JOIN unsettled u ON u.key = outbox.key AND u.until > ?1",
                [now.0],
                |r| Ok((r.get::<_, usize>(0)?, r.get::<_, usize>(1)?)),
            )
        };
        read(&self.connection()).map_err(|e| self.fail(e))
    }

    /// Whether anything waits, settled or not: what comes now must not overtake it.
    pub(super) fn is_empty(&self) -> Result<bool> {
        let connection = self.connection();
        let read = || {
            connection
                .prepare_cached("SELECT 1 FROM outbox WHERE state = 'waiting'")?
                .exists([])
        };
        read().map(|any| !any).map_err(|e| self.fail(e))
    }

    /// The server has it.
    pub(super) fn delivered(&self, seq: i64) -> Result<()> {
        self.connection()
            .execute("DELETE FROM outbox WHERE seq = ?1", [seq])
            .map_err(|e| self.fail(e))?;
        Ok(())
    }

    /// The server refused it; it stays here with the reason.
    pub(super) fn dropped(&self, seq: i64, reason: &str) -> Result<()> {
        self.connection()
            .execute(
                "UPDATE outbox SET state = 'dropped', reason = ?2 WHERE seq = ?1",
                (seq, reason),
            )
            .map_err(|e| self.fail(e))?;
        Ok(())
    }

    /// A person has seen what the server refused.
    pub(super) fn forget_dropped(&self) -> Result<usize> {
        self.connection()
            .execute("DELETE FROM outbox WHERE state = 'dropped'", [])
            .map_err(|e| self.fail(e))
    }

    /// Which server and scope the requests are for; null before the first.
    pub(super) fn owner(&self) -> Result<Option<String>> {
        self.connection()
            .query_row("SELECT value FROM facts WHERE name = 'owner'", [], |r| r.get(0))
            .optional()
            .map_err(|e| self.fail(e))
    }

    pub(super) fn set_owner(&self, owner: &str) -> Result<()> {
        self.connection()
            .execute("INSERT OR REPLACE INTO facts VALUES ('owner', ?1)", [owner])
            .map_err(|e| self.fail(e))?;
        Ok(())
    }

    /// Since when the server has not been reached; null when it was reached last time.
    pub(super) fn offline_since(&self) -> Result<Option<Timestamp>> {
        let since: Option<String> = self
            .connection()
            .query_row("SELECT value FROM facts WHERE name = 'offline_since'", [], |r| r.get(0))
            .optional()
            .map_err(|e| self.fail(e))?;
        Ok(since.and_then(|s| s.parse().ok()).map(Timestamp))
    }

    /// Whether the queue was ever listed from here, or something waits for it.
    pub(super) fn seen(&self) -> Result<bool> {
        self.connection()
            .query_row(
                "SELECT EXISTS (SELECT 1 FROM facts WHERE name = 'seen') OR EXISTS (SELECT 1 FROM outbox)",
                [],
                |r| r.get(0),
            )
            .map_err(|e| self.fail(e))
    }

    pub(super) fn set_seen(&self) -> Result<()> {
        self.connection()
            .execute(
                "INSERT INTO facts (name, value) VALUES ('seen', '1') ON CONFLICT (name) DO NOTHING",
                [],
            )
            .map_err(|e| self.fail(e))?;
        Ok(())
    }

    pub(super) fn set_offline_since(&self, since: Option<Timestamp>) -> Result<()> {
        let connection = self.connection();
        let done = match since {
            Some(at) => connection.execute(
                "INSERT INTO facts (name, value) VALUES ('offline_since', ?1) ON CONFLICT (name) DO NOTHING",
                [at.0.to_string()],
            ),
            None => connection.execute("DELETE FROM facts WHERE name = 'offline_since'", []),
        };
        done.map_err(|e| self.fail(e))?;
        Ok(())
    }
}

fn entry(r: &Row<'_>) -> rusqlite::Result<Entry> {
    let wrong =
        |column, e: String| rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, e.into());
    let (task, request): (String, String) = (r.get(2)?, r.get(3)?);
    Ok(Entry {
        seq: r.get(0)?,
        key: r.get(1)?,
        task: TaskId::parse(&task).map_err(|e| wrong(2, e.to_string()))?,
        request: serde_json::from_str(&request).map_err(|e| wrong(3, e.to_string()))?,
        at: Timestamp(r.get(4)?),
        reason: r.get(5)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_processes() -> (tempfile::TempDir, Outbox, Outbox) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("outbox.db");
        let (one, other) = (Outbox::open(&path).unwrap(), Outbox::open(&path).unwrap());
        (dir, one, other)
    }

    fn hold(outbox: &Outbox, key: &str, at: Timestamp) -> Entry {
        let command = Command::Hold {
            by: "me".into(),
            reason: "later".into(),
        };
        let task = TaskId::parse("t").unwrap();
        assert!(outbox.add(key, &task, &Request::Apply(Box::new(command)), at).unwrap());
        outbox.entries("waiting").unwrap().pop().unwrap()
    }

    #[test]
    fn what_may_be_taken_back_is_sent_by_nobody() {
        let (_dir, one, other) = two_processes();
        let now = Timestamp(1_000_000);
        let entry = hold(&one, "k", now);
        assert_eq!(other.take_up(&entry, now).unwrap(), TakenUp::NotYet);
        assert_eq!((other.counts(now).unwrap(), other.is_empty().unwrap()), ((0, 0), false));
        assert!(one.take_back("k").unwrap());
        assert_eq!(other.take_up(&entry, now).unwrap(), TakenUp::Gone);
        assert!(other.is_empty().unwrap());
        assert!(!one.take_back("k").unwrap(), "it is gone already");
    }

    #[test]
    fn what_is_settled_is_sent_and_not_taken_back() {
        let (_dir, one, other) = two_processes();
        let now = Timestamp(1_000_000);
        let entry = hold(&one, "k", now);
        one.settle("k").unwrap();
        assert_eq!(other.counts(now).unwrap(), (1, 0));
        assert!(!one.take_back("k").unwrap());
        assert_eq!(other.take_up(&entry, now).unwrap(), TakenUp::Yes);
        other.dropped(entry.seq, "no").unwrap();
        // A list that was read before says that it waits; it does not any more.
        assert_eq!(one.take_up(&entry, now).unwrap(), TakenUp::Gone);
        let entry = hold(&one, "k-2", now);
        one.settle("k-2").unwrap();
        other.delivered(entry.seq).unwrap();
        assert_eq!(one.take_up(&entry, now).unwrap(), TakenUp::Gone);
    }

    #[test]
    fn what_a_dead_process_left_is_sent_after_a_while() {
        let (_dir, one, other) = two_processes();
        let now = Timestamp(1_000_000);
        let entry = hold(&one, "k", now);
        let later = now.plus(SETTLED_AFTER);
        assert_eq!(other.counts(later).unwrap(), (1, 0));
        assert_eq!(other.take_up(&entry, later).unwrap(), TakenUp::Yes);
        assert!(
            !one.take_back("k").unwrap(),
            "it was only slow, and is told that it is too late"
        );
        assert_eq!(
            other.take_up(&entry, later).unwrap(),
            TakenUp::Yes,
            "it still waits to be sent"
        );
    }

    #[test]
    fn a_key_that_waits_already_settles_nothing() {
        let (_dir, one, other) = two_processes();
        let now = Timestamp(1_000_000);
        let entry = hold(&one, "k", now);
        one.settle("k").unwrap();
        assert!(!other.add("k", &entry.task, &entry.request, now).unwrap());
        assert_eq!(one.take_up(&entry, now).unwrap(), TakenUp::Yes);
    }
}
