//! PostgreSQL: many servers over one database.
//!
//! Each request is one transaction on rows that it has locked; one that the database could not serialise begins anew.
//! The connections are blocking ones on threads for blocking work, so that the statements are the same as for SQLite.

mod connection;
mod notify;

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicI64, Ordering},
};

use async_trait::async_trait;
use tokio::sync::{Semaphore, watch};

use super::{
    Decide, DecideRecords, Footprint, Imported, QueueCount, Spent, Store, TakeLine,
    sql::{self, Answer, Sql, Stop, load},
};
use crate::{
    clock::{Clock, SystemClock, Timestamp},
    error::{Error, ErrorCode, Result},
    id::{Scope, TaskId},
    lifecycle::Change,
    model::{
        Attempt, Blocker, Event, Message, MessageFilter, MessagePage, Post, Record, RecordKey, RecordKind, Review,
        Task, TaskFilter, TaskPage,
    },
};
use connection::Connection;

/// Connections that a server holds at most.
const CONNECTIONS: usize = 16;
/// How often a transaction that the database could not serialise begins anew.
const TRIES: u32 = 20;

/// Tasks in a PostgreSQL database.
#[derive(Debug)]
pub struct PostgresStore {
    shared: Arc<Shared>,
    /// Who may hold a connection now.
    free: Arc<Semaphore>,
}

struct Shared {
    config: postgres::Config,
    /// For people; without the password.
    name: String,
    idle: Mutex<Vec<Connection>>,
    clock: Arc<DatabaseClock>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// The database's clock, as far as it is ahead of this machine's: every server decides about leases by the same one.
#[derive(Debug, Default)]
struct DatabaseClock {
    ahead_by: AtomicI64,
}

impl Clock for DatabaseClock {
    fn now(&self) -> Timestamp {
        Timestamp(SystemClock.now().0 + self.ahead_by.load(Ordering::Relaxed))
    }
}

fn unavailable(name: &str, what: impl std::fmt::Display) -> Error {
    Error::new(ErrorCode::StoreUnavailable, format!("PostgreSQL at {name}: {what}"))
        .with_hint("is the database running, and does it let this server in?")
}

/// What a request is told when it was not answered.
fn told(name: &str, stop: Stop) -> Error {
    match stop {
        Stop::Refused(error) => error,
        Stop::Malformed(what) => Error::new(ErrorCode::Internal, format!("PostgreSQL at {name}: {what}")),
        #[cfg(feature = "sqlite")]
        Stop::Sqlite(error) => Error::new(ErrorCode::Internal, error.to_string()),
        Stop::Postgres(error) => match error.as_db_error() {
            // Classes 53 (no resources), 57 (shutting down) and 08 (connection) pass by themselves.
            Some(db)
                if !["53", "57", "08"]
                    .iter()
                    .any(|class| db.code().code().starts_with(class)) =>
            {
                Error::new(ErrorCode::Internal, format!("PostgreSQL at {name}: {}", db.message())).with_source(error)
            }
            _ => unavailable(name, &error).with_source(error),
        },
    }
}

/// Whether the same transaction may succeed when it begins anew.
fn begins_anew(stop: &Stop) -> bool {
    use postgres::error::SqlState;
    let Stop::Postgres(error) = stop else { return false };
    error.code().is_some_and(|code| {
        [
            SqlState::T_R_SERIALIZATION_FAILURE,
            SqlState::T_R_DEADLOCK_DETECTED,
            SqlState::UNIQUE_VIOLATION,
        ]
        .contains(code)
    })
}

impl PostgresStore {
    /// Connects to `url`, creating and migrating the tables as needed.
    pub async fn open(url: &str) -> Result<Self> {
        let config: postgres::Config = url
            .parse()
            .map_err(|e| Error::invalid(format!("this is no PostgreSQL address: {e}")))?;
        let name = config.get_dbname().unwrap_or("postgres").to_owned();
        let shared = Arc::new(Shared {
            config,
            name,
            idle: Mutex::default(),
            clock: Arc::default(),
        });
        let store = Self {
            shared: Arc::clone(&shared),
            free: Arc::new(Semaphore::new(CONNECTIONS)),
        };
        blocking(move || {
            let mut connection = shared.connect()?;
            connection.migrate().map_err(|e| told(&shared.name, e))?;
            shared.read_clock(&mut connection)?;
            shared.put_back(connection);
            Ok(())
        })
        .await?;
        Ok(store)
    }

    /// Runs `work` in a transaction and waits until its result is durable.
    async fn run<T: Send + 'static>(
        &self,
        write: bool,
        mut work: impl FnMut(&mut dyn Sql) -> Answer<T> + Send + 'static,
    ) -> Result<T> {
        let permit = Arc::clone(&self.free)
            .acquire_owned()
            .await
            .map_err(|_| unavailable(&self.shared.name, "the store is closed"))?;
        let shared = Arc::clone(&self.shared);
        blocking(move || {
            let _permit = permit;
            let mut tries = 0;
            loop {
                let mut connection = shared.take()?;
                match connection.transaction(write, &mut work) {
                    Ok(value) => {
                        shared.put_back(connection);
                        return Ok(value);
                    }
                    Err(stop) if begins_anew(&stop) && tries < TRIES => {
                        shared.put_back(connection);
                        tries += 1;
                        std::thread::sleep(std::time::Duration::from_millis(u64::from(tries)));
                    }
                    // A connection that broke while it was idle never took the request.
                    Err(_) if connection.broke_while_idle() => {
                        shared.forget_idle();
                    }
                    Err(stop) => {
                        shared.put_back(connection);
                        return Err(told(&shared.name, stop));
                    }
                }
            }
        })
        .await
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| Error::new(ErrorCode::Internal, format!("a database thread stopped: {e}")))?
}

impl Drop for Shared {
    fn drop(&mut self) {
        let idle = std::mem::take(&mut *self.idle.lock().unwrap_or_else(PoisonError::into_inner));
        // A blocking connection closes on a thread of its own: here may be the end of an asynchronous program.
        let closed = std::thread::spawn(move || drop(idle)).join();
        if closed.is_err() {
            tracing::debug!("a connection to PostgreSQL did not close in order");
        }
    }
}

impl Shared {
    fn connect(&self) -> Result<Connection> {
        Connection::open(&self.config).map_err(|e| unavailable(&self.name, &e).with_source(e))
    }

    fn take(&self) -> Result<Connection> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.map_or_else(|| self.connect(), Ok)
    }

    fn put_back(&self, connection: Connection) {
        if !connection.is_closed() {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.push(connection.used());
        }
    }

    fn forget_idle(&self) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn read_clock(&self, connection: &mut Connection) -> Result<()> {
        let before = SystemClock.now().0;
        let now = connection.now().map_err(|e| told(&self.name, e))?;
        let after = SystemClock.now().0;
        self.clock.ahead_by.store(now - (before + after) / 2, Ordering::Relaxed);
        Ok(())
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn transact(&self, scope: &Scope, footprint: Footprint, mut decide: Decide) -> Result<Vec<Change>> {
        let scope = scope.clone();
        self.run(true, move |c| sql::transact(c, &scope, &footprint, &mut *decide))
            .await
    }

    async fn delete(&self, scope: &Scope, id: &TaskId, by: &str, force: bool, now: Timestamp) -> Result<()> {
        let (scope, id, by) = (scope.clone(), id.clone(), by.to_owned());
        self.run(true, move |c| sql::delete(c, &scope, &id, &by, force, now))
            .await
    }

    async fn update(&self, keys: Vec<RecordKey>, mut decide: DecideRecords, now: Timestamp) -> Result<Vec<Record>> {
        self.run(true, move |c| sql::update(c, &keys, &mut *decide, now)).await
    }

    async fn mirror(&self, tasks: Vec<Task>) -> Result<()> {
        self.run(true, move |c| sql::write::mirror(c, &tasks)).await
    }

    async fn mirror_blockers(&self, scope: &Scope, id: &TaskId, blocked_by: &[TaskId]) -> Result<()> {
        let (scope, id, blocked_by) = (scope.clone(), id.clone(), blocked_by.to_vec());
        self.run(true, move |c| sql::write::mirror_blockers(c, &scope, &id, &blocked_by))
            .await
    }

    async fn mirror_attempt(&self, scope: &Scope, attempt: Attempt) -> Result<()> {
        let scope = scope.clone();
        self.run(true, move |c| sql::write::mirror_attempt(c, &scope, &attempt))
            .await
    }

    async fn forget_keys(&self, before: Timestamp) -> Result<u64> {
        self.run(true, move |c| sql::write::forget_keys(c, before)).await
    }

    async fn post(&self, scope: &Scope, post: Post, now: Timestamp) -> Result<Message> {
        let scope = scope.clone();
        self.run(true, move |c| sql::post(c, &scope, &post, now)).await
    }

    async fn import(&self, lines: Vec<String>, dry_run: bool) -> Result<Imported> {
        let tried = Arc::new(Mutex::new(None));
        let seen = Arc::clone(&tried);
        let outcome = self
            .run(true, move |c| {
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
        self.run(false, move |c| sql::export(c, &mut |line| Ok(take(line)?)))
            .await
    }

    async fn task(&self, scope: &Scope, id: &TaskId) -> Result<Option<Task>> {
        let (scope, id) = (scope.clone(), id.clone());
        self.run(false, move |c| load::task(c, &scope, &id)).await
    }

    async fn list(&self, scope: &Scope, filter: &TaskFilter) -> Result<TaskPage> {
        let (scope, filter) = (scope.clone(), filter.clone());
        self.run(false, move |c| sql::list(c, &scope, &filter)).await
    }

    async fn counts(&self, scope: &Scope) -> Result<Vec<QueueCount>> {
        let scope = scope.clone();
        self.run(false, move |c| load::counts(c, &scope)).await
    }

    async fn totals(&self) -> Result<Vec<(Scope, QueueCount)>> {
        self.run(false, move |c| load::totals(c)).await
    }

    async fn blockers(&self, scope: &Scope, id: &TaskId) -> Result<Vec<Blocker>> {
        let (scope, id) = (scope.clone(), id.clone());
        self.run(false, move |c| load::blockers(c, &scope, &id)).await
    }

    async fn blockers_of(&self, scope: &Scope, ids: &[TaskId]) -> Result<Vec<(TaskId, Blocker)>> {
        let (scope, ids) = (scope.clone(), ids.to_vec());
        self.run(false, move |c| load::blockers_of(c, &scope, &ids)).await
    }

    async fn attempts(&self, scope: &Scope, id: &TaskId) -> Result<Vec<Attempt>> {
        let (scope, id) = (scope.clone(), id.clone());
        self.run(false, move |c| load::attempts(c, &scope, &id, false)).await
    }

    async fn reviews(&self, scope: &Scope, id: &TaskId) -> Result<Vec<Review>> {
        let (scope, id) = (scope.clone(), id.clone());
        self.run(false, move |c| load::reviews(c, &scope, &id)).await
    }

    async fn messages(&self, scope: &Scope, id: &TaskId) -> Result<Vec<Message>> {
        let (scope, id) = (scope.clone(), id.clone());
        self.run(false, move |c| load::messages(c, &scope, &id)).await
    }

    async fn events(&self, scope: &Scope, task: Option<&TaskId>, after: i64, limit: u32) -> Result<Vec<Event>> {
        let (scope, task) = (scope.clone(), task.cloned());
        self.run(false, move |c| load::events(c, &scope, task.as_ref(), after, limit))
            .await
    }

    async fn last_event(&self, scope: &Scope) -> Result<i64> {
        let scope = scope.clone();
        self.run(false, move |c| load::last_event(c, &scope)).await
    }

    async fn claimed(&self, scope: &Scope) -> Result<Vec<Task>> {
        let scope = scope.clone();
        self.run(false, move |c| load::claimed(c, &scope)).await
    }

    async fn overdue(&self, scope: Option<&Scope>, now: Timestamp) -> Result<Vec<Task>> {
        let scope = scope.cloned();
        self.run(false, move |c| load::overdue(c, scope.as_ref(), now)).await
    }

    async fn scopes_of(&self, id: &str) -> Result<Vec<Scope>> {
        let id = id.to_owned();
        self.run(false, move |c| load::scopes_of(c, &id)).await
    }

    async fn next_retry(&self, scope: &Scope, after: Timestamp) -> Result<Option<Timestamp>> {
        let scope = scope.clone();
        self.run(false, move |c| load::next_retry(c, &scope, after)).await
    }

    async fn spent(&self, scope: &Scope, task: Option<&TaskId>, since: Timestamp) -> Result<Spent> {
        let (scope, task) = (scope.clone(), task.cloned());
        self.run(false, move |c| load::spent(c, &scope, task.as_ref(), since))
            .await
    }

    async fn records(&self, place: Option<&str>, kind: RecordKind, id: Option<&str>) -> Result<Vec<Record>> {
        let (place, id) = (place.map(str::to_owned), id.map(str::to_owned));
        self.run(false, move |c| sql::records(c, place.as_deref(), kind, id.as_deref()))
            .await
    }

    async fn message_page(&self, scope: &Scope, filter: MessageFilter) -> Result<MessagePage> {
        let scope = scope.clone();
        self.run(false, move |c| sql::message_page(c, &scope, &filter)).await
    }

    async fn ping(&self) -> Result<()> {
        self.run(false, move |c| load::ping(c)).await
    }

    fn watch(&self, changes: watch::Sender<u64>) {
        notify::listen(&self.shared, changes);
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.shared.clock) as Arc<dyn Clock>
    }
}
