//! Creating, reading and deleting tasks.

use sha2::{Digest, Sha256};

use super::{Engine, unknown_task};
use crate::{
    error::{Error, ErrorCode, Result},
    id::{TaskId, new_task_id, to_hex},
    lifecycle::{self, Command},
    model::{Attempt, CreateTask, Event, Message, Review, Role, Task, TaskFilter, TaskPage},
    store::{Footprint, Snapshot},
};

/// How often a generated id may collide before that is an error.
const ID_TRIES: u32 = 8;

/// Refuses blockers that do not exist or that wait for the task themselves.
pub(super) fn check_blockers(id: &TaskId, wanted: &[TaskId], snapshot: &Snapshot) -> Result<()> {
    if wanted.contains(id) {
        return Err(Error::invalid(format!("task {id} cannot wait for itself")));
    }
    if let Some(missing) = wanted.iter().find(|w| !snapshot.blockers.iter().any(|b| b.id == **w)) {
        return Err(Error::not_found("task", missing).with_hint(format!(
            "{id} was to wait for it; `octopoid list --all` shows the tasks"
        )));
    }
    if let Some(blocker) = &snapshot.cycle {
        return Err(Error::invalid(format!(
            "task {blocker} waits for {id} itself; they would wait for each other for ever"
        )));
    }
    Ok(())
}

impl Engine {
    /// Creates a task. With an idempotency key, the same request gives the same task again.
    pub async fn create(&self, mut request: CreateTask) -> Result<Task> {
        each_once(&mut request.blocked_by);
        self.check_role(request.role.as_ref())?;
        let flow = request.flow.clone().unwrap_or_else(|| {
            if request.project_id.is_some() {
                "project".to_owned()
            } else {
                "default".to_owned()
            }
        });
        let flow = self.rules.flows.get(&flow)?.clone();
        let key = match &request.idempotency_key {
            Some(key) if key.is_empty() || key.len() > 255 => {
                return Err(Error::invalid("an idempotency key has 1 to 255 characters"));
            }
            Some(key) => Some((key.clone(), fingerprint(&request)?)),
            None => None,
        };
        let mut tries = 0;
        loop {
            tries += 1;
            let id = match &request.id {
                Some(id) => id.clone(),
                None => new_task_id(&*self.entropy)?,
            };
            match self.create_as(id, &request, &flow, key.clone()).await {
                Err(error) if error.code() == ErrorCode::AlreadyExists && request.id.is_none() && tries < ID_TRIES => {}
                result => return result,
            }
        }
    }

    async fn create_as(
        &self,
        id: TaskId,
        request: &CreateTask,
        flow: &crate::flow::Flow,
        key: Option<(String, String)>,
    ) -> Result<Task> {
        let footprint = Footprint::New {
            id: id.clone(),
            blockers: request.blocked_by.clone(),
            key: key.clone(),
        };
        let (request, flow, rules, now) = (request.clone(), flow.clone(), self.rules.clone(), self.now());
        // Told through a cell: an earlier task is an answer without a change.
        let earlier = std::sync::Arc::new(std::sync::Mutex::new(None));
        let found = std::sync::Arc::clone(&earlier);
        let changes = self
            .store
            .transact(
                &self.rules.scope,
                footprint,
                Box::new(move |snapshot| {
                    if let (Some((seen, task)), Some((key, fingerprint))) = (&snapshot.earlier, &key) {
                        if seen != fingerprint {
                            return Err(Error::new(
                                ErrorCode::IdempotencyConflict,
                                format!(
                                    "the idempotency key {key:?} was used for another request (task {})",
                                    task.id
                                ),
                            )
                            .with_hint("use a fresh key for a different task"));
                        }
                        *found.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(task.clone());
                        return Ok(Vec::new());
                    }
                    if snapshot.task.is_some() {
                        return Err(
                            Error::new(ErrorCode::AlreadyExists, format!("task {id} exists already"))
                                .with_hint("choose another id, or leave it out to get a fresh one"),
                        );
                    }
                    check_blockers(&id, &request.blocked_by, snapshot)?;
                    let change = lifecycle::create(
                        &request,
                        id,
                        rules.scope.clone(),
                        &rules.base_branch,
                        &snapshot.blockers,
                        &flow,
                        now,
                    )?;
                    Ok(vec![change])
                }),
            )
            .await?;
        self.notify();
        let earlier = earlier.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        changes
            .into_iter()
            .next()
            .map(|change| change.after)
            .or(earlier)
            .ok_or_else(|| Error::new(ErrorCode::Internal, "creating a task made no change"))
    }

    fn check_role(&self, role: Option<&Role>) -> Result<()> {
        let (Some(role), Some(allowed)) = (role, &self.rules.roles) else {
            return Ok(());
        };
        if allowed.contains(role) {
            return Ok(());
        }
        let names: Vec<_> = allowed.iter().map(Role::as_str).collect();
        Err(Error::invalid(format!(
            "{role:?} is not a role of this project; allowed: {}",
            names.join(", "),
            role = role.as_str()
        )))
    }

    /// One task.
    pub async fn task(&self, id: &TaskId) -> Result<Task> {
        self.store
            .task(&self.rules.scope, id)
            .await?
            .ok_or_else(|| unknown_task(id))
    }

    /// A page of tasks.
    pub async fn list(&self, filter: &TaskFilter) -> Result<TaskPage> {
        for queue in &filter.queues {
            if !self.rules.flows.iter().any(|flow| flow.has_state(queue)) {
                return Err(Error::invalid(format!("{queue} is a queue of no flow"))
                    .with_hint("`octopoid flow list` shows the flows and their states"));
            }
        }
        self.store.list(&self.rules.scope, filter).await
    }

    /// A task's attempts, oldest first.
    pub async fn attempts(&self, id: &TaskId) -> Result<Vec<Attempt>> {
        self.store.attempts(&self.rules.scope, id).await
    }

    /// Verdicts on a task, oldest first.
    pub async fn reviews(&self, id: &TaskId) -> Result<Vec<Review>> {
        self.store.reviews(&self.rules.scope, id).await
    }

    /// A task's thread, oldest first.
    pub async fn messages(&self, id: &TaskId) -> Result<Vec<Message>> {
        self.store.messages(&self.rules.scope, id).await
    }

    /// Events after `after`: of one task, or of all.
    pub async fn events(&self, task: Option<&TaskId>, after: i64, limit: u32) -> Result<Vec<Event>> {
        self.store.events(&self.rules.scope, task, after, limit).await
    }

    /// Removes a task that nobody works on; its history stays.
    pub async fn delete(&self, id: &TaskId, by: &str) -> Result<()> {
        self.store.delete(&self.rules.scope, id, by, self.now()).await?;
        self.notify();
        Ok(())
    }

    /// Changes what is asked for.
    pub async fn edit(&self, id: &TaskId, mut edit: crate::model::EditTask, by: &str) -> Result<Task> {
        edit.blocked_by.iter_mut().for_each(each_once);
        self.check_role(edit.role.as_ref())?;
        self.apply(
            id,
            Command::Edit {
                by: by.to_owned(),
                edit: Box::new(edit),
            },
        )
        .await
    }
}

/// A blocker that is named twice is waited for once.
fn each_once(ids: &mut Vec<TaskId>) {
    let mut seen = std::collections::HashSet::new();
    ids.retain(|id| seen.insert(id.clone()));
}

/// The same for the same request, whatever its key.
fn fingerprint(request: &CreateTask) -> Result<String> {
    let without_key = CreateTask {
        idempotency_key: None,
        ..request.clone()
    };
    let text = serde_json::to_vec(&without_key)
        .map_err(|e| Error::new(ErrorCode::Internal, format!("a request cannot be written down: {e}")))?;
    Ok(to_hex(&Sha256::digest(text)))
}
