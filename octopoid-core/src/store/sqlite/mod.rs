//! SQLite: one writer thread with group commit, readers beside it.

mod migrate;
mod writer;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use rusqlite::{
    Connection, OpenFlags, ToSql,
    config::DbConfig,
    types::{ToSqlOutput, ValueRef},
};

use super::{
    Decide, DecideRecords, Footprint, Imported, QueueCount, Spent, Store, TakeLine,
    sql::{self, Answer, Sql, Stop, Value, load},
};
use crate::{
    clock::Timestamp,
    error::{Error, ErrorCode, Result},
    id::{Scope, TaskId},
    lifecycle::Change,
    model::{
        Attempt, Blocker, Event, Message, MessageFilter, MessagePage, Post, Record, RecordKey, RecordKind, Review,
        Task, TaskFilter, TaskPage,
    },
};
use writer::Writer;
pub(crate) use writer::{bell, ring};

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

/// How long a connection waits for another process.
const PATIENCE: Duration = Duration::from_secs(15);

/// Has the database written by a log, which is a property of the file. Several processes may come upon a fresh file at the same
/// moment; SQLite refuses all but one then, without the waiting that it does elsewhere.
pub(crate) fn write_ahead(connection: &Connection) -> rusqlite::Result<()> {
    use rusqlite::ErrorCode as Sqlite;
    let until = Instant::now() + PATIENCE;
    loop {
        match connection.pragma_update(None, "journal_mode", "WAL") {
            Err(error)
                if matches!(
                    error.sqlite_error_code(),
                    Some(Sqlite::DatabaseBusy | Sqlite::DatabaseLocked)
                ) && Instant::now() < until =>
            {
                std::thread::sleep(Duration::from_millis(5));
            }
            done => return done,
        }
    }
}

/// Opens a connection with the settings that every connection has.
pub(crate) fn connect(path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(PATIENCE)?;
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
        query: impl FnOnce(&mut dyn Sql) -> Answer<T> + Send + 'static,
    ) -> Result<T> {
        let (path, readers) = (self.path.clone(), Arc::clone(&self.readers));
        let work = move || {
            let fail = |e| store_error(&path, "read", e);
            let idle = readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let connection = match idle {
                Some(connection) => connection,
                None => connect(&path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(fail)?,
            };
            let answer = query(&mut Statements(&connection)).map_err(|stop| told(&path, "read", stop))?;
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

    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut dyn Sql) -> Answer<T> + Send + 'static,
    ) -> Result<T> {
        self.writer.run(move |tx| work(&mut Statements(tx))).await
    }
}

/// What a request is told when it was not answered.
fn told(path: &Path, action: &str, stop: Stop) -> Error {
    match stop {
        Stop::Refused(error) => error,
        Stop::Sqlite(error) => store_error(path, action, error),
        Stop::Malformed(what) => Error::new(
            ErrorCode::Internal,
            format!("cannot {action} {}: {what}", path.display()),
        ),
        #[cfg(feature = "postgres")]
        Stop::Postgres(error) => Error::new(ErrorCode::Internal, error.to_string()),
    }
}

/// A connection as the shared statements see it.
struct Statements<'a>(&'a Connection);

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::Null => ToSqlOutput::Borrowed(ValueRef::Null),
            Self::Int(n) => ToSqlOutput::Borrowed(ValueRef::Integer(*n)),
            Self::Real(n) => ToSqlOutput::Borrowed(ValueRef::Real(*n)),
            Self::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
        })
    }
}

impl sql::Row for rusqlite::Row<'_> {
    fn text(&self, column: usize) -> Answer<Option<&str>> {
        let value = self.get_ref(column)?;
        value
            .as_str_or_null()
            .map_err(|e| Stop::Malformed(format!("column {column} of a row: {e}")))
    }
    fn int(&self, column: usize) -> Answer<Option<i64>> {
        Ok(self.get(column)?)
    }
    fn real(&self, column: usize) -> Answer<Option<f64>> {
        Ok(self.get(column)?)
    }
}

impl Sql for Statements<'_> {
    fn query(&mut self, sql: &str, values: &[Value], each: &mut dyn FnMut(&dyn sql::Row) -> Answer<()>) -> Answer<()> {
        let mut statement = self.0.prepare_cached(sql)?;
        let mut rows = statement.query(rusqlite::params_from_iter(values))?;
        while let Some(row) = rows.next()? {
            each(row)?;
        }
        Ok(())
    }

    fn execute(&mut self, sql: &str, values: &[Value]) -> Answer<u64> {
        let mut statement = self.0.prepare_cached(sql)?;
        let changed = statement.execute(rusqlite::params_from_iter(values))?;
        Ok(u64::try_from(changed).unwrap_or(0))
    }

    fn batch(&mut self, sql: &str) -> Answer<()> {
        Ok(self.0.execute_batch(sql)?)
    }

    fn counts(&self) -> &'static str {
        "queue_counts"
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn transact(&self, scope: &Scope, footprint: Footprint, mut decide: Decide) -> Result<Vec<Change>> {
        let scope = scope.clone();
        self.write(move |c| sql::transact(c, &scope, &footprint, &mut *decide))
            .await
    }

    async fn delete(&self, scope: &Scope, id: &TaskId, by: &str, force: bool, now: Timestamp) -> Result<()> {
        let (scope, id, by) = (scope.clone(), id.clone(), by.to_owned());
        self.write(move |c| sql::delete(c, &scope, &id, &by, force, now)).await
    }

    async fn update(&self, keys: Vec<RecordKey>, mut decide: DecideRecords, now: Timestamp) -> Result<Vec<Record>> {
        self.write(move |c| sql::update(c, &keys, &mut *decide, now)).await
    }

    async fn mirror(&self, tasks: Vec<Task>) -> Result<()> {
        self.write(move |c| sql::write::mirror(c, &tasks)).await
    }

    async fn mirror_blockers(&self, scope: &Scope, id: &TaskId, blocked_by: &[TaskId]) -> Result<()> {
        let (scope, id, blocked_by) = (scope.clone(), id.clone(), blocked_by.to_vec());
        self.write(move |c| sql::write::mirror_blockers(c, &scope, &id, &blocked_by))
            .await
    }

    async fn mirror_attempt(&self, scope: &Scope, attempt: Attempt) -> Result<()> {
        let scope = scope.clone();
        self.write(move |c| sql::write::mirror_attempt(c, &scope, &attempt))
            .await
    }

    async fn forget_keys(&self, before: Timestamp) -> Result<u64> {
        self.write(move |c| sql::write::forget_keys(c, before)).await
    }

    async fn post(&self, scope: &Scope, post: Post, now: Timestamp) -> Result<Message> {
        let scope = scope.clone();
        self.write(move |c| sql::post(c, &scope, &post, now)).await
    }

    async fn import(&self, lines: Vec<String>, dry_run: bool) -> Result<Imported> {
        let tried = Arc::new(Mutex::new(None));
        let seen = Arc::clone(&tried);
        let outcome = self
            .write(move |c| {
                let done = sql::import(c, &lines, dry_run)?;
                if !dry_run {
                    return Ok(done);
                }
                *seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(done);
                Err(Stop::Refused(Error::new(ErrorCode::Internal, "tried only")))
            })
            .await;
        let tried = tried.lock().unwrap_or_else(PoisonError::into_inner).take();
        tried.map_or(outcome, Ok)
    }

    async fn export(&self, mut take: TakeLine) -> Result<()> {
        self.read(move |c| {
            c.execute("BEGIN", &[])?;
            let done = sql::export(c, &mut |line| Ok(take(line)?));
            c.execute("COMMIT", &[])?;
            done
        })
        .await
    }

    async fn task(&self, scope: &Scope, id: &TaskId) -> Result<Option<Task>> {
        let (scope, id) = (scope.clone(), id.clone());
        self.read(move |c| load::task(c, &scope, &id)).await
    }

    async fn list(&self, scope: &Scope, filter: &TaskFilter) -> Result<TaskPage> {
        let (scope, filter) = (scope.clone(), filter.clone());
        self.read(move |c| sql::list(c, &scope, &filter)).await
    }

    async fn counts(&self, scope: &Scope) -> Result<Vec<QueueCount>> {
        let scope = scope.clone();
        self.read(move |c| load::counts(c, &scope)).await
    }

    async fn totals(&self) -> Result<Vec<(Scope, QueueCount)>> {
        self.read(move |c| load::totals(c)).await
    }

    async fn blockers(&self, scope: &Scope, id: &TaskId) -> Result<Vec<Blocker>> {
        let (scope, id) = (scope.clone(), id.clone());
        self.read(move |c| load::blockers(c, &scope, &id)).await
    }

    async fn blockers_of(&self, scope: &Scope, ids: &[TaskId]) -> Result<Vec<(TaskId, Blocker)>> {
        let (scope, ids) = (scope.clone(), ids.to_vec());
        self.read(move |c| load::blockers_of(c, &scope, &ids)).await
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

    async fn last_event(&self, scope: &Scope) -> Result<i64> {
        let scope = scope.clone();
        self.read(move |c| load::last_event(c, &scope)).await
    }

    async fn claimed(&self, scope: &Scope) -> Result<Vec<Task>> {
        let scope = scope.clone();
        self.read(move |c| load::claimed(c, &scope)).await
    }

    async fn overdue(&self, scope: Option<&Scope>, now: Timestamp) -> Result<Vec<Task>> {
        let scope = scope.cloned();
        self.read(move |c| load::overdue(c, scope.as_ref(), now)).await
    }

    async fn scopes_of(&self, id: &str) -> Result<Vec<Scope>> {
        let id = id.to_owned();
        self.read(move |c| load::scopes_of(c, &id)).await
    }

    async fn next_retry(&self, scope: &Scope, after: Timestamp) -> Result<Option<Timestamp>> {
        let scope = scope.clone();
        self.read(move |c| load::next_retry(c, &scope, after)).await
    }

    async fn spent(&self, scope: &Scope, task: Option<&TaskId>, since: Timestamp) -> Result<Spent> {
        let (scope, task) = (scope.clone(), task.cloned());
        self.read(move |c| load::spent(c, &scope, task.as_ref(), since)).await
    }

    async fn records(&self, place: Option<&str>, kind: RecordKind, id: Option<&str>) -> Result<Vec<Record>> {
        let (place, id) = (place.map(str::to_owned), id.map(str::to_owned));
        self.read(move |c| sql::records(c, place.as_deref(), kind, id.as_deref()))
            .await
    }

    async fn message_page(&self, scope: &Scope, filter: MessageFilter) -> Result<MessagePage> {
        let scope = scope.clone();
        self.read(move |c| sql::message_page(c, &scope, &filter)).await
    }

    async fn ping(&self) -> Result<()> {
        self.read(move |c| load::ping(c)).await
    }
}
