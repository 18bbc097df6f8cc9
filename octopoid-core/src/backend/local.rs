//! The engine itself, on a store of this machine.

use async_trait::async_trait;
use tokio::sync::watch;

use super::Backend;
use crate::{
    clock::Timestamp,
    engine::{Claim, ClaimRequest, Engine, OpenClaim, Rules, Status, TaskView, Why},
    error::Result,
    id::{OrchestratorId, TaskId},
    lifecycle::Command,
    model::{Attempt, CreateTask, Event, Message, QueueName, Review, Task, TaskFilter, TaskPage},
    store::Spent,
};

#[async_trait]
impl Backend for Engine {
    fn rules(&self) -> &Rules {
        Self::rules(self)
    }
    fn now(&self) -> Timestamp {
        Self::now(self)
    }
    fn changes(&self) -> watch::Receiver<u64> {
        Self::changes(self)
    }
    async fn create(&self, request: CreateTask) -> Result<Task> {
        Self::create(self, request).await
    }
    async fn create_many(&self, requests: Vec<CreateTask>) -> Result<Vec<Task>> {
        Self::create_all(self, requests).await
    }
    async fn apply(&self, id: &TaskId, command: Command) -> Result<Task> {
        Self::apply(self, id, command).await
    }
    async fn delete(&self, id: &TaskId, by: &str) -> Result<()> {
        Self::delete(self, id, by, false).await
    }
    async fn claim(&self, request: ClaimRequest) -> Result<Option<Claim>> {
        Self::claim(self, request).await
    }
    async fn claim_open(&self, request: OpenClaim) -> Result<Option<Claim>> {
        Self::claim_open(self, request).await
    }
    async fn has_claimable(&self, queues: &[QueueName], answers_to: &[String]) -> Result<bool> {
        Self::has_claimable(self, queues, answers_to).await
    }
    async fn task(&self, id: &TaskId) -> Result<Task> {
        Self::task(self, id).await
    }
    async fn list(&self, filter: &TaskFilter) -> Result<TaskPage> {
        Self::list(self, filter).await
    }
    async fn views(&self, tasks: Vec<Task>) -> Result<Vec<TaskView>> {
        Self::views(self, tasks).await
    }
    async fn show(&self, id: &TaskId) -> Result<TaskView> {
        Self::show(self, id).await
    }
    async fn why(&self, id: &TaskId) -> Result<Why> {
        Self::why(self, id).await
    }
    async fn status(&self) -> Result<Status> {
        Self::status(self).await
    }
    async fn attempts(&self, id: &TaskId) -> Result<Vec<Attempt>> {
        Self::attempts(self, id).await
    }
    async fn reviews(&self, id: &TaskId) -> Result<Vec<Review>> {
        Self::reviews(self, id).await
    }
    async fn messages(&self, id: &TaskId) -> Result<Vec<Message>> {
        Self::messages(self, id).await
    }
    async fn events(&self, task: Option<&TaskId>, after: i64, limit: u32) -> Result<Vec<Event>> {
        Self::events(self, task, after, limit).await
    }
    async fn claimed(&self, _of: &OrchestratorId) -> Result<Vec<Task>> {
        Self::claimed(self).await
    }
    async fn expire(&self) -> Result<Vec<TaskId>> {
        Self::expire(self).await
    }
    async fn next_retry(&self) -> Result<Option<Timestamp>> {
        Self::next_retry(self).await
    }
    async fn next_deadline(&self) -> Result<Option<Timestamp>> {
        Self::next_deadline(self).await
    }
    async fn spent_today(&self) -> Result<Spent> {
        Self::spent_today(self).await
    }
    async fn spent_on(&self, id: &TaskId) -> Result<Spent> {
        Self::spent_on(self, id).await
    }
}
