//! Tasks and the change feed, as scripts use them.

use std::time::Duration;

use crate::{
    backend::Backend,
    engine::{Claim, OpenClaim, TaskView, Why},
    error::{Error, Result},
    id::{OrchestratorId, TaskId},
    lifecycle::Command,
    model::{Attempt, CreateTask, EditTask, Event, PatchTask, QueueName, Task, TaskFilter, TaskPage},
};

/// Time between two looks while a claim waits.
const LOOK: Duration = Duration::from_secs(1);

/// What a client takes that drives a task on its own word.
#[derive(Debug, Clone)]
pub struct Take {
    /// Who it is; a server wants it to be registered.
    pub orchestrator: OrchestratorId,
    /// Name of its agent.
    pub agent: String,
    /// Where from.
    pub queue: QueueName,
    /// Roles that it takes; none are all.
    pub roles: Vec<String>,
    /// Types that it takes; none are all.
    pub types: Vec<String>,
    /// How long the claim holds without a renewal.
    pub lease: Duration,
    /// Whether every later write must carry the claim's token.
    pub fenced: bool,
    /// How long to wait for a task.
    pub wait: Duration,
    /// How many tasks the orchestrator may hold, this one with them; null is no bound.
    pub max_claimed: Option<u64>,
}

impl Take {
    /// From `incoming`, of every role, for five minutes, without waiting.
    pub fn new(orchestrator: &str, agent: impl Into<String>) -> Result<Self> {
        Ok(Self {
            orchestrator: OrchestratorId::parse(orchestrator)?,
            agent: agent.into(),
            queue: QueueName::incoming(),
            roles: Vec::new(),
            types: Vec::new(),
            lease: Duration::from_secs(300),
            fenced: false,
            wait: Duration::ZERO,
            max_claimed: None,
        })
    }

    /// Only tasks of these roles.
    #[must_use]
    pub fn roles<T: Into<String>>(mut self, roles: impl IntoIterator<Item = T>) -> Self {
        self.roles = roles.into_iter().map(Into::into).collect();
        self
    }

    /// From another queue.
    #[must_use]
    pub fn queue(mut self, queue: QueueName) -> Self {
        self.queue = queue;
        self
    }

    /// Another length of the lease.
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// Every later write must carry the token.
    #[must_use]
    pub fn fenced(mut self) -> Self {
        self.fenced = true;
        self
    }

    /// Refused with `too_many_requests` where the orchestrator holds so many tasks.
    #[must_use]
    pub fn max_claimed(mut self, max: u64) -> Self {
        self.max_claimed = Some(max);
        self
    }

    /// Waits for a task.
    #[must_use]
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }
}

/// What is handed in on a client's word.
#[derive(Debug, Clone, Default)]
pub struct HandIn {
    /// The claim's token; needed where the claim is fenced.
    pub token: Option<String>,
    /// Commits that were made.
    pub commits: i64,
    /// Turns that were used.
    pub turns: i64,
    /// Results of checks, as text.
    pub check_results: Option<String>,
    /// Notes for the reviewer.
    pub notes: Option<String>,
}

/// Operations on tasks.
#[derive(Debug, Clone, Copy)]
pub struct Tasks<'a>(pub(super) &'a dyn Backend);

impl Tasks<'_> {
    /// Creates a task.
    pub async fn create(&self, request: CreateTask) -> Result<Task> {
        self.0.create(request).await
    }
    /// Creates 1 to 1,000 tasks, all or none; each can wait for others of them.
    pub async fn create_many(&self, requests: Vec<CreateTask>) -> Result<Vec<Task>> {
        self.0.create_many(requests).await
    }
    /// One task; `not_found` when it does not exist.
    pub async fn get(&self, id: &TaskId) -> Result<Task> {
        self.0.task(id).await
    }
    /// A page of tasks.
    pub async fn list(&self, filter: &TaskFilter) -> Result<TaskPage> {
        for queue in &filter.queues {
            if !self.0.rules().flows.iter().any(|flow| flow.has_state(queue)) {
                return Err(Error::invalid(format!("{queue} is a queue of no flow"))
                    .with_hint("`octopoid flow list` shows the flows and their states"));
            }
        }
        self.0.list(filter).await
    }
    /// Tasks as JSON shows them.
    pub async fn views(&self, tasks: Vec<Task>) -> Result<Vec<TaskView>> {
        self.0.views(tasks).await
    }
    /// One task with everything that belongs to it.
    pub async fn show(&self, id: &TaskId) -> Result<TaskView> {
        self.0.show(id).await
    }
    /// Where a task is, what holds it, what was tried, and what helps.
    pub async fn why(&self, id: &TaskId) -> Result<Why> {
        self.0.why(id).await
    }
    /// Takes the most urgent task that fits, or none.
    pub async fn claim(&self, take: Take) -> Result<Option<Claim>> {
        if take.queue.kind().is_terminal() {
            return Err(Error::invalid(format!(
                "queue {} is an end; nothing is claimed from it",
                take.queue
            )));
        }
        let until = tokio::time::Instant::now() + take.wait;
        let mut changes = self.0.changes();
        loop {
            changes.mark_unchanged();
            let request = OpenClaim {
                queues: vec![(take.queue.clone(), take.roles.clone())],
                types: take.types.clone(),
                agent: take.agent.clone(),
                role: None,
                orchestrator: take.orchestrator.clone(),
                lease: take.lease,
                fenced: take.fenced,
                max_claimed: take.max_claimed,
                token: None,
            };
            if let Some(claim) = self.0.claim_open(request).await? {
                return Ok(Some(claim));
            }
            let left = until.saturating_duration_since(tokio::time::Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            // A store that other processes write to does not always wake us up.
            let _ = tokio::time::timeout(left.min(LOOK), changes.changed()).await;
        }
    }
    /// Gives the claim more time.
    pub async fn renew(&self, id: &TaskId, token: &str, lease: Duration) -> Result<Task> {
        let token = token.to_owned();
        self.0.apply(id, Command::Renew { token, lease }).await
    }
    /// Gives the claim back without blame.
    pub async fn release(&self, id: &TaskId, token: &str, reason: &str) -> Result<Task> {
        let (token, reason) = (token.to_owned(), reason.to_owned());
        self.0.apply(id, Command::Release { token, reason }).await
    }
    /// Tells how far the holder is.
    pub async fn progress(&self, id: &TaskId, token: &str, note: &str) -> Result<Task> {
        let (token, note) = (token.to_owned(), note.to_owned());
        self.0.apply(id, Command::Progress { token, note }).await
    }
    /// Hands in work on the client's word; it waits for a review.
    pub async fn submit(&self, id: &TaskId, work: HandIn) -> Result<Task> {
        let command = Command::HandIn {
            token: work.token,
            commits: work.commits,
            turns: work.turns,
            check_results: work.check_results,
            notes: work.notes,
            holder: None,
        };
        self.0.apply(id, command).await
    }
    /// Accepts: work on a client's word is done, work with evidence is approved and merged by an orchestrator.
    pub async fn accept(&self, id: &TaskId, by: &str) -> Result<Task> {
        let command = Command::Accept {
            by: by.to_owned(),
            completed_at: None,
        };
        self.0.apply(id, command).await
    }
    /// Writes columns, as earlier clients do.
    pub async fn update(&self, id: &TaskId, by: &str, patch: PatchTask) -> Result<Task> {
        let command = Command::Patch {
            by: Some(by.to_owned()),
            patch: Box::new(patch),
        };
        self.0.apply(id, command).await
    }
    /// A task's attempts, oldest first.
    pub async fn attempts(&self, id: &TaskId) -> Result<Vec<Attempt>> {
        self.0.attempts(id).await
    }
    /// A person's yes: the commit that is handed in is merged by an orchestrator; work on a client's word is done.
    pub async fn approve(&self, id: &TaskId, by: &str) -> Result<Task> {
        self.0.apply(id, Command::Approve { by: by.to_owned() }).await
    }
    /// Refuses it; the reason reaches the next attempt.
    pub async fn reject(&self, id: &TaskId, by: &str, reason: &str) -> Result<Task> {
        self.0
            .apply(
                id,
                Command::Reject {
                    by: by.to_owned(),
                    reason: reason.to_owned(),
                },
            )
            .await
    }
    /// Starts a finished or stuck task again, with fresh limits.
    pub async fn retry(&self, id: &TaskId, by: &str) -> Result<Task> {
        self.0.apply(id, Command::Retry { by: by.to_owned() }).await
    }
    /// Puts a task back to `incoming`.
    pub async fn requeue(&self, id: &TaskId, by: &str) -> Result<Task> {
        self.0.apply(id, Command::Requeue { by: by.to_owned() }).await
    }
    /// Calls a task off; its agent is ended, its work is kept.
    pub async fn cancel(&self, id: &TaskId, by: &str, reason: &str) -> Result<Task> {
        self.0
            .apply(
                id,
                Command::Cancel {
                    by: by.to_owned(),
                    reason: reason.to_owned(),
                },
            )
            .await
    }
    /// No claims until `unhold`.
    pub async fn hold(&self, id: &TaskId, by: &str, reason: &str) -> Result<Task> {
        self.0
            .apply(
                id,
                Command::Hold {
                    by: by.to_owned(),
                    reason: reason.to_owned(),
                },
            )
            .await
    }
    /// Claims are allowed again.
    pub async fn unhold(&self, id: &TaskId, by: &str) -> Result<Task> {
        self.0.apply(id, Command::Unhold { by: by.to_owned() }).await
    }
    /// Moves a task by decision of a person. `merged_sha` is for `done`: a commit that is in the base branch;
    /// `head_sha` is for a review: the tip of the work as it is now.
    pub async fn recover(
        &self,
        id: &TaskId,
        by: &str,
        to: QueueName,
        reason: &str,
        merged_sha: Option<String>,
        head_sha: Option<String>,
    ) -> Result<Task> {
        self.0
            .apply(
                id,
                Command::Recover {
                    by: by.to_owned(),
                    to,
                    reason: reason.to_owned(),
                    merged_sha,
                    head_sha,
                },
            )
            .await
    }
    /// Moves a task to `failed`, from any queue that is not `done`.
    pub async fn fail(&self, id: &TaskId, by: &str, reason: &str) -> Result<Task> {
        self.0
            .apply(
                id,
                Command::GiveUp {
                    by: by.to_owned(),
                    reason: reason.to_owned(),
                },
            )
            .await
    }
    /// Changes what is asked for.
    pub async fn edit(&self, id: &TaskId, by: &str, edit: EditTask) -> Result<Task> {
        self.0
            .apply(
                id,
                Command::Edit {
                    by: by.to_owned(),
                    edit: Box::new(edit),
                },
            )
            .await
    }
    /// Removes a task; its history stays.
    pub async fn delete(&self, id: &TaskId, by: &str) -> Result<()> {
        self.0.delete(id, by).await
    }
}

/// The audit trail and change feed.
#[derive(Debug, Clone, Copy)]
pub struct Events<'a>(pub(super) &'a dyn Backend);

impl Events<'_> {
    /// Events after a cursor, of one task or of all, oldest first.
    pub async fn list(&self, task: Option<&TaskId>, after: i64, limit: u32) -> Result<Vec<Event>> {
        self.0.events(task, after, limit).await
    }
    /// The same, waited for: comes back as soon as there is one, or with none when the time is over.
    pub async fn wait(&self, task: Option<&TaskId>, after: i64, limit: u32, wait: Duration) -> Result<Vec<Event>> {
        let until = tokio::time::Instant::now() + wait;
        let mut changes = self.0.changes();
        loop {
            changes.mark_unchanged();
            let events = self.list(task, after, limit).await?;
            let left = until.saturating_duration_since(tokio::time::Instant::now());
            if !events.is_empty() || left.is_zero() {
                return Ok(events);
            }
            let _ = tokio::time::timeout(left.min(LOOK), changes.changed()).await;
        }
    }
}
