//! The outbox: requests that wait for the server, in a file of their own, in the order in which they were made.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, OpenFlags, OptionalExtension, Row};
use serde::{Deserialize, Serialize};

use crate::{
    clock::Timestamp,
    error::{Error, Result},
    id::TaskId,
    lifecycle::Command,
    model::CreateTask,
    store::sqlite_support::{connect, store_error},
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
";

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
        connection.pragma_update(None, "journal_mode", "WAL").map_err(fail)?;
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

    /// Keeps a request; durable when this returns. False when one with this key waits already.
    pub(super) fn add(&self, key: &str, task: &TaskId, request: &Request, at: Timestamp) -> Result<bool> {
        let text = serde_json::to_string(request).map_err(|e| {
            Error::new(
                crate::error::ErrorCode::Internal,
                format!("a request cannot be written down: {e}"),
            )
        })?;
        let added = self
            .connection()
            .execute(
                "INSERT INTO outbox (key, task_id, request, at, state) VALUES (?1, ?2, ?3, ?4, 'waiting') ON CONFLICT (key) DO NOTHING",
                (key, task.as_str(), text, at.0),
            )
            .map_err(|e| self.fail(e))?;
        Ok(added == 1)
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

    /// How many wait, and how many were dropped.
    pub(super) fn counts(&self) -> Result<(usize, usize)> {
        let read = |c: &Connection| {
            c.query_row(
                "SELECT coalesce(sum(state = 'waiting'), 0), coalesce(sum(state = 'dropped'), 0) FROM outbox",
                [],
                |r| Ok((r.get::<_, usize>(0)?, r.get::<_, usize>(1)?)),
            )
        };
        read(&self.connection()).map_err(|e| self.fail(e))
    }

    /// The server has it.
    pub(super) fn delivered(&self, seq: i64) -> Result<()> {
        self.connection()
            .execute("DELETE FROM outbox WHERE seq = ?1", [seq])
            .map_err(|e| self.fail(e))?;
        Ok(())
    }

    /// It was refused here already, and was never acknowledged.
    pub(super) fn take_back(&self, key: &str) -> Result<()> {
        self.connection()
            .execute("DELETE FROM outbox WHERE key = ?1", [key])
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
