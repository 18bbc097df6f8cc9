//! The backend: the server first, the copy when it is away.

use async_trait::async_trait;
use tokio::sync::watch;

use super::{Offline, is_outage, unseen};
use crate::{
    backend::{Backend, Heartbeat, Reach, Synced},
    clock::Timestamp,
    engine::{Claim, ClaimRequest, OpenClaim, Rules, Status, TaskView, Why},
    error::{Error, ErrorCode, Result},
    id::{OrchestratorId, TaskId},
    lifecycle::Command,
    model::{Attempt, CreateTask, Event, Message, QueueName, Review, Task, TaskFilter, TaskPage},
    store::Spent,
};

/// Asks the server; when it is away, the copy.
macro_rules! ask {
    ($self:ident, $server:expr, $copy:expr) => {
        match $self.note($server.await) {
            Err(error) if is_outage(&error) => $copy.await,
            answer => answer,
        }
    };
}

/// The same for what may be answered without asking the server: that says nothing about whether it is there.
macro_rules! quietly {
    ($self:ident, $server:expr, $copy:expr) => {
        match $server.await {
            Err(error) if is_outage(&error) => $copy.await,
            answer => answer,
        }
    };
}

#[async_trait]
impl Backend for Offline {
    fn rules(&self) -> &Rules {
        self.client.rules()
    }
    fn now(&self) -> Timestamp {
        self.client.now()
    }
    fn changes(&self) -> watch::Receiver<u64> {
        self.client.changes()
    }

    async fn create(&self, request: CreateTask) -> Result<Task> {
        self.create_or_keep(request).await
    }

    async fn create_many(&self, requests: Vec<CreateTask>) -> Result<Vec<Task>> {
        if !self.ready().await? {
            return Err(Error::new(
                ErrorCode::Offline,
                "several tasks are created all or none by the server, which cannot be reached; nothing was created",
            )
            .with_hint("created one by one, they wait here until the server is back"));
        }
        let blockers: Vec<_> = requests.iter().map(|r| r.blocked_by.clone()).collect();
        let created = self.note(self.client.create_many(requests).await)?;
        for (task, blockers) in created.iter().zip(&blockers) {
            self.remember_blockers(task, blockers).await?;
        }
        Ok(created)
    }

    async fn apply(&self, id: &TaskId, command: Command) -> Result<Task> {
        self.apply_or_keep(id, command).await
    }

    async fn delete(&self, id: &TaskId, by: &str) -> Result<()> {
        if !self.ready().await? {
            return Err(Error::new(
                ErrorCode::Offline,
                format!("task {id} cannot be deleted while requests wait for the server"),
            )
            .with_hint("`octopoid sync` sends them"));
        }
        self.note(self.client.delete(id, by).await)?;
        if let Err(error) = self.cache.delete(id, by, true).await {
            tracing::debug!(task = %id, "an old copy stays: {error}");
        }
        Ok(())
    }

    /// Never from the copy: somebody else may have taken the task.
    async fn claim_open(&self, request: OpenClaim) -> Result<Option<Claim>> {
        if !self.ready().await? {
            return Err(Error::new(
                ErrorCode::Offline,
                "the server is away, and tasks are claimed only where it can be asked",
            )
            .with_hint("try again once it is back"));
        }
        let claimed = self.note(self.client.claim_open(request).await)?;
        if let Some(claim) = &claimed {
            self.remember(&claim.task).await?;
        }
        Ok(claimed)
    }

    async fn claim(&self, request: ClaimRequest) -> Result<Option<Claim>> {
        if !self.ready().await? {
            return Ok(None);
        }
        match self.note(self.client.claim(request).await) {
            Ok(Some(claim)) => {
                self.remember(&claim.task).await?;
                if let Some(attempt) = &claim.attempt {
                    // The claim stands on the server, whether or not a copy of it can be kept.
                    let kept = self.store.mirror_attempt(&claim.task.scope, attempt.clone()).await;
                    if let Err(error) = kept {
                        tracing::warn!(task = %claim.task.id, "the copy of its attempt cannot be written: {error}");
                    }
                }
                Ok(Some(claim))
            }
            Err(error) if is_outage(&error) => Ok(None),
            answer => answer,
        }
    }

    async fn has_claimable(&self, queues: &[QueueName], answers_to: &[String]) -> Result<bool> {
        ask!(self, self.client.has_claimable(queues, answers_to), async { Ok(false) })
    }

    async fn task(&self, id: &TaskId) -> Result<Task> {
        let task = ask!(self, self.client.task(id), self.cached(id))?;
        self.remember(&task).await?;
        Ok(task)
    }

    async fn list(&self, filter: &TaskFilter) -> Result<TaskPage> {
        match self.note(self.client.list(filter).await) {
            Ok(page) => {
                self.remember_all(page.tasks.clone()).await?;
                self.outbox.set_seen()?;
                Ok(page)
            }
            // A queue that was never seen is not called empty.
            Err(error) if is_outage(&error) && self.outbox.seen()? => self.cache.list(filter).await,
            Err(error) => Err(error),
        }
    }

    async fn views(&self, tasks: Vec<Task>) -> Result<Vec<TaskView>> {
        let copy = self.cache.views(tasks.clone());
        quietly!(self, self.client.views(tasks), copy)
    }

    async fn show(&self, id: &TaskId) -> Result<TaskView> {
        match self.note(self.client.show(id).await) {
            Ok(view) => {
                self.remember_blockers(&view.task, &view.blocked_by).await?;
                Ok(view)
            }
            Err(error) if is_outage(&error) => self.cache.show(id).await.map_err(|_| unseen(id)),
            Err(error) => Err(error),
        }
    }

    async fn why(&self, id: &TaskId) -> Result<Why> {
        let copy = async { self.cache.why(id).await.map_err(|_| unseen(id)) };
        ask!(self, self.client.why(id), copy)
    }

    async fn status(&self) -> Result<Status> {
        match self.note(self.client.status().await) {
            Err(error) if is_outage(&error) && self.outbox.seen()? => self.cache.status().await,
            answer => answer,
        }
    }

    async fn attempts(&self, id: &TaskId) -> Result<Vec<Attempt>> {
        ask!(self, self.client.attempts(id), self.cache.attempts(id))
    }

    async fn reviews(&self, id: &TaskId) -> Result<Vec<Review>> {
        ask!(self, self.client.reviews(id), self.cache.reviews(id))
    }

    async fn messages(&self, id: &TaskId) -> Result<Vec<Message>> {
        ask!(self, self.client.messages(id), self.cache.messages(id))
    }

    async fn events(&self, task: Option<&TaskId>, after: i64, limit: u32) -> Result<Vec<Event>> {
        match self.note(self.client.events(task, after, limit).await) {
            Err(error) if is_outage(&error) => Err(Error::new(
                ErrorCode::Offline,
                "the server cannot be reached, and its events are not copied",
            )),
            answer => answer,
        }
    }

    async fn claimed(&self, of: &OrchestratorId) -> Result<Vec<Task>> {
        // What waits may end a claim; the server does not know of it yet.
        if !self.ready().await? {
            return self.claimed_copy(of).await;
        }
        match self.note(self.client.claimed(of).await) {
            Ok(tasks) => {
                self.remember_all(tasks.clone()).await?;
                Ok(tasks)
            }
            Err(error) if is_outage(&error) => self.claimed_copy(of).await,
            Err(error) => Err(error),
        }
    }

    async fn expire(&self) -> Result<Vec<TaskId>> {
        Ok(Vec::new())
    }

    async fn next_retry(&self) -> Result<Option<Timestamp>> {
        quietly!(self, self.client.next_retry(), self.cache.next_retry())
    }

    async fn next_deadline(&self) -> Result<Option<Timestamp>> {
        quietly!(self, self.client.next_deadline(), self.cache.next_retry())
    }

    async fn spent_today(&self) -> Result<Spent> {
        quietly!(self, self.client.spent_today(), self.cache.spent_today())
    }

    async fn spent_on(&self, id: &TaskId) -> Result<Spent> {
        ask!(self, self.client.spent_on(id), self.cache.spent_on(id))
    }

    async fn renew_surely(&self, id: &TaskId, token: String, lease: std::time::Duration) -> Result<Task> {
        self.note(
            self.client
                .apply_keyed(id, &Command::Renew { token, lease }, None)
                .await,
        )
    }

    async fn heartbeat(&self, beat: &Heartbeat) -> Result<bool> {
        self.beat(beat).await
    }

    fn reach(&self) -> Reach {
        self.reached()
    }

    async fn forget_dropped(&self) -> Result<usize> {
        self.outbox.forget_dropped()
    }

    async fn sync(&self) -> Result<Synced> {
        self.synchronise().await
    }
}
