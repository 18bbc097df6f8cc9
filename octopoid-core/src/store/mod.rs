//! The store port: one atomic unit of load, decide and write, and the questions that readers ask.

#[cfg(feature = "postgres")]
mod postgres;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod sql;
#[cfg(feature = "sqlite")]
mod sqlite;

use std::fmt;

use async_trait::async_trait;

#[cfg(feature = "postgres")]
pub use postgres::PostgresStore;
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteStore;

#[cfg(feature = "sqlite")]
/// How every SQLite file of Octopoid is opened and how its errors are told.
pub(crate) mod sqlite_support {
    pub(crate) use super::sqlite::{bell, connect, ring, store_error, write_ahead};
}

use crate::{
    clock::Timestamp,
    error::Result,
    id::{OrchestratorId, Scope, TaskId},
    lifecycle::Change,
    model::{
        Attempt, Blocker, Event, Message, MessageFilter, MessagePage, Post, QueueName, Record, RecordKey, RecordKind,
        RecordWrite, Review, Task, TaskFilter, TaskPage,
    },
};

/// Which rows a decision needs.
#[derive(Debug, Clone)]
pub enum Footprint {
    /// A task with its live attempt, reviews, blockers and dependents.
    Task {
        /// The task.
        id: TaskId,
        /// Blockers that it shall have instead; loaded too, and searched for a cycle.
        new_blockers: Option<Vec<TaskId>>,
        /// Idempotency key and fingerprint of the request.
        key: Option<(String, String)>,
    },
    /// The most urgent task that can be claimed.
    Claimable(ClaimFilter),
    /// The most urgent task that a client can take.
    Open(OpenFilter),
    /// What several new tasks need: which of them exist, and the blockers outside of them.
    Many {
        /// Their ids.
        ids: Vec<TaskId>,
        /// What they wait for and is not among them.
        blockers: Vec<TaskId>,
    },
    /// What a new task needs: whether it exists, its blockers, an earlier request with the same key.
    New {
        /// Its id.
        id: TaskId,
        /// What it waits for.
        blockers: Vec<TaskId>,
        /// Idempotency key and fingerprint of the request.
        key: Option<(String, String)>,
    },
}

/// Which tasks a claimer takes.
#[derive(Debug, Clone)]
pub struct ClaimFilter {
    /// Queues, the most important first.
    pub queues: Vec<QueueName>,
    /// Names that the claimer answers to.
    pub answers_to: Vec<String>,
    /// The present moment.
    pub now: Timestamp,
    /// The token of the claim; one that owns a task already gives that task once more.
    pub token: Option<String>,
}

/// Which tasks a client takes.
#[derive(Debug, Clone)]
pub struct OpenFilter {
    /// Queues, each with the roles that are taken from it; no roles are all roles.
    pub queues: Vec<(QueueName, Vec<String>)>,
    /// Types that are taken; none are all types.
    pub types: Vec<String>,
    /// An orchestrator and how many tasks it may hold; null is no bound.
    pub at_most: Option<(OrchestratorId, u64)>,
    /// The present moment.
    pub now: Timestamp,
    /// The token of the claim; one that owns a task already gives that task once more.
    pub token: Option<String>,
}

/// The rows that were asked for, as they are inside the transaction.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// The task; null when there is none.
    pub task: Option<Task>,
    /// Its live attempt.
    pub attempt: Option<Attempt>,
    /// Verdicts on it.
    pub reviews: Vec<Review>,
    /// What it waits for, or shall wait for.
    pub blockers: Vec<Blocker>,
    /// What waits for it, each with the number of its other blockers that are not done.
    pub dependents: Vec<(Task, i64)>,
    /// Among the new blockers, one that itself waits for the task.
    pub cycle: Option<TaskId>,
    /// An earlier request with the same key: its fingerprint and its task.
    pub earlier: Option<(String, Task)>,
    /// Whether the task is owned by the token of this very request.
    pub repeated: bool,
    /// How many tasks the claimer holds, where these are as many as it may.
    pub full: Option<u64>,
}

/// Decides inside the transaction; no changes means that nothing is written.
///
/// It may be asked again with fresh rows, when a database had to begin anew.
pub type Decide = Box<dyn FnMut(&Snapshot) -> Result<Vec<Change>> + Send>;

/// The same for records.
pub type DecideRecords = Box<dyn FnMut(&[Option<Record>]) -> Result<Vec<RecordWrite>> + Send>;

/// Takes the lines of an export.
pub type TakeLine = Box<dyn FnMut(String) -> Result<()> + Send>;

/// Counts of one queue.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct QueueCount {
    /// The queue.
    pub queue: QueueName,
    /// Tasks in it.
    pub count: u64,
}

/// What was used up in a period or by a task.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Spent {
    /// Tokens read and written.
    pub tokens: u64,
    /// US dollars.
    pub usd: f64,
}

/// What an import came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Imported {
    /// Rows that were written.
    pub written: u64,
    /// Rows that were there already, exactly so.
    pub present: u64,
    /// Tasks among all rows.
    pub tasks: u64,
}

/// Where tasks are kept.
#[async_trait]
pub trait Store: Send + Sync + fmt::Debug {
    /// Loads the footprint, decides, and writes every change with its event, in one durable transaction.
    async fn transact(&self, scope: &Scope, footprint: Footprint, decide: Decide) -> Result<Vec<Change>>;
    /// Removes a task; its history stays. Without `force`, not one that somebody has claimed or waits for.
    async fn delete(&self, scope: &Scope, id: &TaskId, by: &str, force: bool, now: Timestamp) -> Result<()>;

    /// One task.
    async fn task(&self, scope: &Scope, id: &TaskId) -> Result<Option<Task>>;
    /// A page of tasks: unfinished first, then by priority and age.
    async fn list(&self, scope: &Scope, filter: &TaskFilter) -> Result<TaskPage>;
    /// Every queue that holds tasks.
    async fn counts(&self, scope: &Scope) -> Result<Vec<QueueCount>>;
    /// What a task waits for.
    async fn blockers(&self, scope: &Scope, id: &TaskId) -> Result<Vec<Blocker>>;
    /// The blockers of several tasks at once.
    async fn blockers_of(&self, scope: &Scope, ids: &[TaskId]) -> Result<Vec<(TaskId, Blocker)>>;
    /// A task's attempts, oldest first.
    async fn attempts(&self, scope: &Scope, id: &TaskId) -> Result<Vec<Attempt>>;
    /// Verdicts on a task, oldest first.
    async fn reviews(&self, scope: &Scope, id: &TaskId) -> Result<Vec<Review>>;
    /// A task's thread, oldest first.
    async fn messages(&self, scope: &Scope, id: &TaskId) -> Result<Vec<Message>>;
    /// Events after a cursor, of one task or of all.
    async fn events(&self, scope: &Scope, task: Option<&TaskId>, after: i64, limit: u32) -> Result<Vec<Event>>;
    /// The cursor of the latest event.
    async fn last_event(&self, scope: &Scope) -> Result<i64>;
    /// All claimed tasks.
    async fn claimed(&self, scope: &Scope) -> Result<Vec<Task>>;
    /// Claimed tasks whose lease has run out, of one scope or of all.
    async fn overdue(&self, scope: Option<&Scope>, now: Timestamp) -> Result<Vec<Task>>;
    /// The scopes, at most two, that have a task of this name.
    async fn scopes_of(&self, id: &str) -> Result<Vec<Scope>>;
    /// Counts of every queue of every scope.
    async fn totals(&self) -> Result<Vec<(Scope, QueueCount)>>;
    /// The next moment at which a waiting task may be tried again.
    async fn next_retry(&self, scope: &Scope, after: Timestamp) -> Result<Option<Timestamp>>;
    /// What attempts used up since a moment, or what one task used up in all.
    async fn spent(&self, scope: &Scope, task: Option<&TaskId>, since: Timestamp) -> Result<Spent>;

    /// Loads the records, decides, and writes, in one durable transaction; gives what was put.
    async fn update(&self, keys: Vec<RecordKey>, decide: DecideRecords, now: Timestamp) -> Result<Vec<Record>>;
    /// Records of one kind: of a place or of all, one or all of them, in the order in which they were made.
    async fn records(&self, place: Option<&str>, kind: RecordKind, id: Option<&str>) -> Result<Vec<Record>>;
    /// Keeps a message.
    async fn post(&self, scope: &Scope, post: Post, now: Timestamp) -> Result<Message>;
    /// A page of messages, oldest first.
    async fn message_page(&self, scope: &Scope, filter: MessageFilter) -> Result<MessagePage>;

    /// Hands out every row as lines of JSON; the same store gives the same lines.
    async fn export(&self, take: TakeLine) -> Result<()>;
    /// Writes the lines of an export, all or nothing; `dry_run` undoes it at the end.
    async fn import(&self, lines: Vec<String>, dry_run: bool) -> Result<Imported>;
    /// Writes tasks as they are elsewhere, without events: for a store that is a copy.
    async fn mirror(&self, tasks: Vec<Task>) -> Result<()>;
    /// Writes what a task waits for, as far as these tasks are in the copy.
    async fn mirror_blockers(&self, scope: &Scope, id: &TaskId, blocked_by: &[TaskId]) -> Result<()>;
    /// Writes an attempt as it is elsewhere; an earlier one of the task lives no more.
    async fn mirror_attempt(&self, scope: &Scope, attempt: Attempt) -> Result<()>;
    /// Forgets the idempotency keys of before a moment.
    async fn forget_keys(&self, before: Timestamp) -> Result<u64>;
    /// Whether the database answers.
    async fn ping(&self) -> Result<()>;
    /// Counts up after changes that other processes make; a store that cannot tell does nothing.
    fn watch(&self, _changes: tokio::sync::watch::Sender<u64>) {}
    /// The clock that decides about leases.
    fn clock(&self) -> std::sync::Arc<dyn crate::clock::Clock> {
        std::sync::Arc::new(crate::clock::SystemClock)
    }
}
