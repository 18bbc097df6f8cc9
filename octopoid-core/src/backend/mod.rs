//! What a queue can be asked, whether it lies in a file beside the repository or on a server.

mod local;

use std::fmt;

use async_trait::async_trait;
use tokio::sync::watch;

use crate::{
    clock::Timestamp,
    engine::{Claim, ClaimRequest, OpenClaim, Rules, Status, TaskView, Why},
    error::Result,
    id::{OrchestratorId, TaskId},
    lifecycle::Command,
    model::{Attempt, CreateTask, Event, Message, QueueName, Review, Role, Task, TaskFilter, TaskPage},
    store::Spent,
};

/// A queue. Nothing above knows where it is.
#[async_trait]
pub trait Backend: Send + Sync + fmt::Debug {
    /// The project's rules, as this machine knows them.
    fn rules(&self) -> &Rules;
    /// The present moment, by the clock that decides about leases, as far as it is known here.
    fn now(&self) -> Timestamp;
    /// Wakes up after changes.
    fn changes(&self) -> watch::Receiver<u64>;

    /// Creates a task.
    async fn create(&self, request: CreateTask) -> Result<Task>;
    /// Creates 1 to 1,000 tasks, all or none; each can wait for others of them.
    async fn create_many(&self, requests: Vec<CreateTask>) -> Result<Vec<Task>>;
    /// Applies a command.
    async fn apply(&self, id: &TaskId, command: Command) -> Result<Task>;
    /// Removes a task that nobody works on or waits for.
    async fn delete(&self, id: &TaskId, by: &str) -> Result<()>;
    /// Claims the most urgent task that fits.
    async fn claim(&self, request: ClaimRequest) -> Result<Option<Claim>>;
    /// Claims the most urgent task for a client that drives it on its own word.
    async fn claim_open(&self, request: OpenClaim) -> Result<Option<Claim>>;
    /// Whether a claim of this kind would find a task now.
    async fn has_claimable(&self, queues: &[QueueName], answers_to: &[String]) -> Result<bool>;

    /// One task.
    async fn task(&self, id: &TaskId) -> Result<Task>;
    /// A page of tasks.
    async fn list(&self, filter: &TaskFilter) -> Result<TaskPage>;
    /// Tasks as JSON shows them.
    async fn views(&self, tasks: Vec<Task>) -> Result<Vec<TaskView>>;
    /// One task with everything that belongs to it.
    async fn show(&self, id: &TaskId) -> Result<TaskView>;
    /// Where a task is, what holds it, what was tried, and what helps.
    async fn why(&self, id: &TaskId) -> Result<Why>;
    /// Counts, claims, and what needs a person.
    async fn status(&self) -> Result<Status>;
    /// A task's attempts, oldest first.
    async fn attempts(&self, id: &TaskId) -> Result<Vec<Attempt>>;
    /// Verdicts on a task, oldest first.
    async fn reviews(&self, id: &TaskId) -> Result<Vec<Review>>;
    /// A task's thread, oldest first.
    async fn messages(&self, id: &TaskId) -> Result<Vec<Message>>;
    /// Events after a cursor, of one task or of all.
    async fn events(&self, task: Option<&TaskId>, after: i64, limit: u32) -> Result<Vec<Event>>;

    /// All claimed tasks; with the tokens of those that `of` claimed.
    async fn claimed(&self, of: &OrchestratorId) -> Result<Vec<Task>>;
    /// Returns tasks whose lease has run out, where that is this machine's business.
    async fn expire(&self) -> Result<Vec<TaskId>>;
    /// The next moment at which a waiting task may be tried again.
    async fn next_retry(&self) -> Result<Option<Timestamp>>;
    /// The earliest moment at which time alone changes something that this machine has to act on.
    async fn next_deadline(&self) -> Result<Option<Timestamp>>;
    /// What the last 24 hours cost.
    async fn spent_today(&self) -> Result<Spent>;
    /// What a task cost so far.
    async fn spent_on(&self, id: &TaskId) -> Result<Spent>;

    /// Renews a lease where only the word of whoever decides about it counts: refused when he cannot be asked.
    async fn renew_surely(&self, id: &TaskId, token: String, lease: std::time::Duration) -> Result<Task> {
        self.apply(id, Command::Renew { token, lease }).await
    }

    /// Makes this orchestrator known; called at its start and every `heartbeat_seconds`. False where it is to claim
    /// nothing, because a person took it out of service.
    async fn heartbeat(&self, _beat: &Heartbeat) -> Result<bool> {
        Ok(true)
    }
    /// How the queue is reached.
    fn reach(&self) -> Reach {
        Reach::Local
    }
    /// Forgets the requests that the server refused, once a person has seen them; gives how many these were.
    async fn forget_dropped(&self) -> Result<usize> {
        Ok(0)
    }
    /// Sends what waits in the outbox and refreshes the cache.
    async fn sync(&self) -> Result<Synced> {
        Ok(Synced::default())
    }
}

/// What an orchestrator says of itself.
#[derive(Debug, Clone)]
pub struct Heartbeat {
    /// First half of its id.
    pub cluster: String,
    /// Second half of its id.
    pub machine_id: String,
    /// Where the repository comes from.
    pub repo_url: String,
    /// Roles that its agents play.
    pub roles: Vec<Role>,
}

/// How the queue is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// In a file of this machine.
    Local,
    /// On a server that answers.
    Online {
        /// Its address.
        url: String,
        /// Requests that wait for it here.
        waiting: usize,
        /// Requests that it refused; they are kept.
        dropped: usize,
    },
    /// On a server that cannot be reached.
    Offline {
        /// Its address.
        url: String,
        /// Since when.
        since: Timestamp,
        /// Requests that wait for it here.
        waiting: usize,
        /// Requests that it refused; they are kept.
        dropped: usize,
    },
}

/// What a replay of the outbox came to.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
pub struct Synced {
    /// Requests that were delivered.
    pub delivered: usize,
    /// Requests that the server refused, with its reasons; kept in the outbox.
    pub dropped: Vec<Dropped>,
    /// Requests that still wait.
    pub waiting: usize,
    /// Tasks that were refreshed in the cache.
    pub refreshed: usize,
}

/// A request that the server refused.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Dropped {
    /// The task that it was about.
    pub task_id: Option<TaskId>,
    /// What was asked.
    pub request: String,
    /// Why the server said no.
    pub reason: String,
    /// When it was asked.
    pub at: Timestamp,
}
