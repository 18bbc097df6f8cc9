//! SQLite: one writer thread with group commit, readers beside it.

mod load;
mod migrate;
mod row;
mod write;
mod writer;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use rusqlite::{Connection, OpenFlags, config::DbConfig};

use super::{Decide, Footprint, QueueCount, Snapshot, Spent, Store};
use crate::{
    clock::Timestamp,
    error::{Error, ErrorCode, Result},
    id::{Scope, TaskId},
    lifecycle::Change,
    model::{Attempt, Blocker, Event, Message, QueueKind, Review, Task, TaskFilter, TaskPage},
};
use writer::Writer;

/// Readers kept open; more are opened when needed and closed again.
const IDLE_READERS: usize = 4;

/// Tasks in one SQLite file. Acknowledged writes are on the disk (`synchronous=FULL`).
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    writer: Writer,
    readers: Arc<Mutex<Vec<Connection>>>,
}

/// Turns a database error into one for people.
pub(crate) fn store_error(path: &Path, action: &str, error: rusqlite::Error) -> Error {
    use rusqlite::ErrorCode as Sqlite;
    let hint = match error.sqlite_error_code() {
        Some(Sqlite::DiskFull) => "free some disk space and repeat the command; nothing was changed",
        Some(Sqlite::DatabaseBusy | Sqlite::DatabaseLocked) => "another process holds the database; try again",
        Some(Sqlite::ReadOnly | Sqlite::PermissionDenied | Sqlite::CannotOpen) => {
            "make the folder and the file writable for this user"
        }
        Some(Sqlite::DatabaseCorrupt | Sqlite::NotADatabase) => "restore the file from a backup; it is damaged",
        _ => {
            return Error::new(
                ErrorCode::Internal,
                format!("cannot {action} {}: {error}", path.display()),
            )
            .with_source(error);
        }
    };
    Error::new(
        ErrorCode::StoreUnavailable,
        format!("cannot {action} {}: {error}", path.display()),
    )
    .with_hint(hint)
    .with_source(error)
}

/// Opens a connection with the settings that every connection has.
pub(crate) fn connect(path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(Duration::from_secs(15))?;
    connection.set_prepared_statement_cache_capacity(64);
    // Without it, statements on tables with partial indexes are planned anew for each set of values.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.execute_batch("PRAGMA foreign_keys = ON; PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY;")?;
    Ok(connection)
}

impl SqliteStore {
    /// Opens the file, creating and migrating it as needed.
    pub fn open(path: &Path) -> Result<Self> {
        let fail = |e| store_error(path, "open", e);
        let mut connection =
            connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE).map_err(fail)?;
        migrate::run(&mut connection, path)?;
        Ok(Self {
            path: path.to_path_buf(),
            writer: Writer::start(connection, path.to_path_buf())?,
            readers: Arc::default(),
        })
    }

    async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        let (path, readers) = (self.path.clone(), Arc::clone(&self.readers));
        let work = move || {
            let fail = |e| store_error(&path, "read", e);
            let idle = readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let connection = match idle {
                Some(connection) => connection,
                None => connect(&path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(fail)?,
            };
            let answer = query(&connection).map_err(fail)?;
            let mut idle = readers.lock().unwrap_or_else(PoisonError::into_inner);
            if idle.len() < IDLE_READERS {
                idle.push(connection);
            }
            Ok(answer)
        };
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|e| Error::new(ErrorCode::Internal, format!("a database reader stopped: {e}")))?
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn transact(&self, scope: &Scope, footprint: Footprint, decide: Decide) -> Result<Vec<Change>> {
        let scope = scope.clone();
        self.writer
            .run(move |tx| {
                let snapshot: Snapshot = load::snapshot(tx, &scope, &footprint)?;
                let changes = decide(&snapshot).map_err(writer::Stop::Refused)?;
                for change in &changes {
                    write::change(tx, change)?;
                }
                if let (
                    Footprint::New {
                        key: Some((key, fingerprint)),
                        ..
                    },
                    Some(change),
                ) = (&footprint, changes.first())
                {
                    write::idempotency(tx, &scope, key, fingerprint, &change.after)?;
                }
                Ok(changes)
            })
            .await
    }

    async fn delete(&self, scope: &Scope, id: &TaskId, by: &str, now: Timestamp) -> Result<()> {
        let (scope, id, by) = (scope.clone(), id.clone(), by.to_owned());
        self.writer
            .run(move |tx| {
                let snapshot = load::snapshot(
                    tx,
                    &scope,
                    &Footprint::Task {
                        id: id.clone(),
                        new_blockers: None,
                    },
                )?;
                let task = snapshot
                    .task
                    .ok_or_else(|| writer::Stop::Refused(Error::not_found("task", &id)))?;
                let refused = |message: String, hint: String| {
                    Err(writer::Stop::Refused(
                        Error::new(ErrorCode::IllegalTransition, message).with_hint(hint),
                    ))
                };
                if task.claim_token.is_some() {
                    return refused(
                        format!("task {id} is being worked on"),
                        format!("`octopoid cancel {id}` first"),
                    );
                }
                let waiting = snapshot
                    .dependents
                    .iter()
                    .find(|d| d.kind() != QueueKind::Done && task.kind() != QueueKind::Done);
                if let Some(dependent) = waiting {
                    return refused(
                        format!("task {} waits for {id}", dependent.id),
                        format!("`octopoid edit {} --after …` gives it other blockers", dependent.id),
                    );
                }
                write::delete(tx, &task, &by, now)?;
                Ok(())
            })
            .await
    }

    async fn task(&self, scope: &Scope, id: &TaskId) -> Result<Option<Task>> {
        let (scope, id) = (scope.clone(), id.clone());
        self.read(move |c| load::task(c, &scope, &id)).await
    }

    async fn list(&self, scope: &Scope, filter: &TaskFilter) -> Result<TaskPage> {
        let (scope, filter) = (scope.clone(), filter.clone());
        self.read(move |c| load::list(c, &scope, &filter)).await
    }

    async fn counts(&self, scope: &Scope) -> Result<Vec<QueueCount>> {
        let scope = scope.clone();
        self.read(move |c| load::counts(c, &scope)).await
    }

    async fn blockers(&self, scope: &Scope, id: &TaskId) -> Result<Vec<Blocker>> {
        let (scope, id) = (scope.clone(), id.clone());
        self.read(move |c| load::blockers(c, &scope, &id)).await
    }

    async fn blockers_of(&self, scope: &Scope, ids: &[TaskId]) -> Result<Vec<(TaskId, Blocker)>> {
        let (scope, ids) = (scope.clone(), ids.to_vec());
        self.read(move |c| {
            let mut all = Vec::new();
            for id in ids {
                all.extend(load::blockers(c, &scope, &id)?.into_iter().map(|b| (id.clone(), b)));
            }
            Ok(all)
        })
        .await
    }

    async fn attempts(&self, scope: &Scope, id: &TaskId) -> Result<Vec<Attempt>> {
        let (scope, id) = (scope.clone(), id.clone());
        self.read(move |c| load::attempts(c, &scope, &id, false)).await
    }

    async fn reviews(&self, scope: &Scope, id: &TaskId) -> Result<Vec<Review>> {
        let (scope, id) = (scope.clone(), id.clone());
        self.read(move |c| load::reviews(c, &scope, &id)).await
    }

    async fn messages(&self, scope: &Scope, id: &TaskId) -> Result<Vec<Message>> {
        let (scope, id) = (scope.clone(), id.clone());
        self.read(move |c| load::messages(c, &scope, &id)).await
    }

    async fn events(&self, scope: &Scope, task: Option<&TaskId>, after: i64, limit: u32) -> Result<Vec<Event>> {
        let (scope, task) = (scope.clone(), task.cloned());
        self.read(move |c| load::events(c, &scope, task.as_ref(), after, limit))
            .await
    }

    async fn claimed(&self, scope: &Scope, expired_by: Option<Timestamp>) -> Result<Vec<Task>> {
        let scope = scope.clone();
        self.read(move |c| load::claimed(c, &scope, expired_by)).await
    }

    async fn next_retry(&self, scope: &Scope, after: Timestamp) -> Result<Option<Timestamp>> {
        let scope = scope.clone();
        self.read(move |c| load::next_retry(c, &scope, after)).await
    }

    async fn spent(&self, scope: &Scope, task: Option<&TaskId>, since: Timestamp) -> Result<Spent> {
        let (scope, task) = (scope.clone(), task.cloned());
        self.read(move |c| load::spent(c, &scope, task.as_ref(), since)).await
    }
}
