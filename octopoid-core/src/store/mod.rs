//! The store port: one atomic unit of load, decide and write, and the questions that readers ask.

mod sqlite;

use std::fmt;

use async_trait::async_trait;

pub use sqlite::SqliteStore;

/// How every SQLite file of Octopoid is opened and how its errors are told.
pub(crate) mod sqlite_support {
    pub(crate) use super::sqlite::{connect, store_error};
}

use crate::{
    clock::Timestamp,
    error::Result,
    id::{Scope, TaskId},
    lifecycle::Change,
    model::{Attempt, Blocker, Event, Message, QueueName, Review, Task, TaskFilter, TaskPage},
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
    },
    /// The most urgent task that can be claimed.
    Claimable(ClaimFilter),
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
    /// What waits for it.
    pub dependents: Vec<Task>,
    /// Among the new blockers, one that itself waits for the task.
    pub cycle: Option<TaskId>,
    /// An earlier request with the same key: its fingerprint and its task.
    pub earlier: Option<(String, Task)>,
}

/// Decides inside the transaction; no changes means that nothing is written.
pub type Decide = Box<dyn FnOnce(&Snapshot) -> Result<Vec<Change>> + Send>;

/// Counts of one queue.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct QueueCount {
    /// The queue.
    pub queue: QueueName,
    /// Tasks in it.
    pub count: u64,
}

/// What was used up in a period or by a task.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Spent {
    /// Tokens read and written.
    pub tokens: u64,
    /// US dollars.
    pub usd: f64,
}

/// Where tasks are kept.
#[async_trait]
pub trait Store: Send + Sync + fmt::Debug {
    /// Loads the footprint, decides, and writes every change with its event, in one durable transaction.
    async fn transact(&self, scope: &Scope, footprint: Footprint, decide: Decide) -> Result<Vec<Change>>;
    /// Removes a task that nobody has claimed and nobody waits for; its history stays.
    async fn delete(&self, scope: &Scope, id: &TaskId, by: &str, now: Timestamp) -> Result<()>;

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
    /// Claimed tasks: those of one orchestrator, or all whose lease has run out by a moment.
    async fn claimed(&self, scope: &Scope, expired_by: Option<Timestamp>) -> Result<Vec<Task>>;
    /// The next moment at which a waiting task may be tried again.
    async fn next_retry(&self, scope: &Scope, after: Timestamp) -> Result<Option<Timestamp>>;
    /// What attempts used up since a moment, or what one task used up in all.
    async fn spent(&self, scope: &Scope, task: Option<&TaskId>, since: Timestamp) -> Result<Spent>;
}
