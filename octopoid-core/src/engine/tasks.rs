//! Creating, reading and deleting tasks.

use super::{Engine, check_key, fingerprint, unknown_task};
use crate::{
    error::{Error, ErrorCode, Result},
    id::{TaskId, new_task_id},
    lifecycle,
    model::{Attempt, CreateTask, Event, Message, RecordKind, Review, Role, Task, TaskFilter, TaskPage},
    store::{Footprint, Snapshot},
};

/// How often a generated id may collide before that is an error.
const ID_TRIES: u32 = 8;

/// Tasks that are created at once.
pub const MAX_BATCH: usize = 1000;

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
    pub async fn create(&self, request: CreateTask) -> Result<Task> {
        self.create_or_find(request).await.map(|(task, _)| task)
    }

    /// The same, and whether the task is a new one.
    pub async fn create_or_find(&self, mut request: CreateTask) -> Result<(Task, bool)> {
        each_once(&mut request.blocked_by);
        self.check_role(request.role.as_ref())?;
        self.take_branch_of_project(&mut request).await?;
        let flow = request.flow.clone().unwrap_or_else(|| {
            if request.project_id.is_some() {
                "project".to_owned()
            } else {
                "default".to_owned()
            }
        });
        let flow = self.flow_named(&flow)?;
        let key = match &request.idempotency_key {
            Some(key) if key.is_empty() || key.len() > 255 => {
                return Err(Error::invalid("an idempotency key has 1 to 255 characters"));
            }
            Some(key) => {
                let without_key = CreateTask {
                    idempotency_key: None,
                    ..request.clone()
                };
                Some((key.clone(), fingerprint(&without_key)?))
            }
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

    /// Tasks of a project share its branch.
    async fn take_branch_of_project(&self, request: &mut CreateTask) -> Result<()> {
        let Some(project) = &request.project_id else {
            return Ok(());
        };
        let (scope, id) = (self.rules.scope.as_str(), project.as_str());
        let found = self.store.records(Some(scope), RecordKind::Project, Some(id)).await?;
        let Some(record) = found.into_iter().next() else {
            return Err(Error::invalid(format!("project {project} does not exist")));
        };
        if let Some(branch) = record.body["branch"].as_str().filter(|b| !b.is_empty()) {
            request.branch = Some(branch.to_owned());
        }
        Ok(())
    }

    async fn create_as(
        &self,
        id: TaskId,
        request: &CreateTask,
        flow: &crate::flow::Flow,
        key: Option<(String, String)>,
    ) -> Result<(Task, bool)> {
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
                        check_key(seen, fingerprint, key, task)?;
                        *found.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(task.clone());
                        return Ok(Vec::new());
                    }
                    let id = id.clone();
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
        match (changes.into_iter().next(), earlier) {
            (Some(change), _) => Ok((change.after, true)),
            (None, Some(task)) => Ok((task, false)),
            (None, None) => Err(Error::new(ErrorCode::Internal, "creating a task made no change")),
        }
    }

    pub(super) fn check_role(&self, role: Option<&Role>) -> Result<()> {
        let (Some(role), Some(allowed)) = (role, &self.rules.roles) else {
            return Ok(());
        };
        if allowed.contains(role) {
            return Ok(());
        }
        let names: Vec<_> = allowed.iter().map(Role::as_str).collect();
        Err(Error::invalid(format!(
            "Unknown role: {role} is not a role of this project; allowed: {}",
            names.join(", ")
        )))
    }

    /// Creates all of the tasks, or none; each can wait for others of them.
    pub async fn create_all(&self, requests: Vec<CreateTask>) -> Result<Vec<Task>> {
        if requests.is_empty() || requests.len() > MAX_BATCH {
            return Err(Error::invalid(format!(
                "a batch has 1 to {MAX_BATCH} tasks, not {}",
                requests.len()
            )));
        }
        let named_all = requests.iter().all(|r| r.id.is_some());
        let mut tries = 0;
        loop {
            tries += 1;
            match self.create_all_once(requests.clone()).await {
                // A fresh name that somebody has already is made anew.
                Err(error) if error.code() == ErrorCode::AlreadyExists && !named_all && tries < ID_TRIES => {}
                result => return result,
            }
        }
    }

    async fn create_all_once(&self, mut requests: Vec<CreateTask>) -> Result<Vec<Task>> {
        for request in &mut requests {
            each_once(&mut request.blocked_by);
            self.check_role(request.role.as_ref())?;
            if request.idempotency_key.is_some() {
                return Err(Error::invalid(
                    "a batch takes no idempotency keys; give its tasks ids instead",
                ));
            }
            if request.id.is_none() {
                request.id = Some(new_task_id(&*self.entropy)?);
            }
            self.take_branch_of_project(request).await?;
        }
        let ids: Vec<TaskId> = requests.iter().filter_map(|r| r.id.clone()).collect();
        if let Some(twice) = ids.iter().enumerate().find(|(i, id)| ids[..*i].contains(id)) {
            return Err(Error::new(
                ErrorCode::AlreadyExists,
                format!("the batch names task {} twice", twice.1),
            ));
        }
        let outside: Vec<TaskId> = requests
            .iter()
            .flat_map(|r| r.blocked_by.iter())
            .filter(|b| !ids.contains(b))
            .cloned()
            .collect();
        let ordered = in_order(requests)?;
        let (engine, now) = (self.clone(), self.now());
        let footprint = Footprint::Many {
            ids: ids.clone(),
            blockers: outside,
        };
        let changes = self
            .store
            .transact(
                &self.rules.scope,
                footprint,
                Box::new(move |snapshot| {
                    if let Some(task) = &snapshot.task {
                        return Err(
                            Error::new(ErrorCode::AlreadyExists, format!("task {} exists already", task.id))
                                .with_hint("choose another id, or leave it out to get a fresh one"),
                        );
                    }
                    let mut known = snapshot.blockers.clone();
                    let mut changes = Vec::with_capacity(ordered.len());
                    for request in &ordered {
                        let Some(id) = request.id.clone() else { continue };
                        let named: Vec<_> = known
                            .iter()
                            .filter(|b| request.blocked_by.contains(&b.id))
                            .cloned()
                            .collect();
                        let seen = Snapshot {
                            blockers: named.clone(),
                            ..Snapshot::default()
                        };
                        check_blockers(&id, &request.blocked_by, &seen)?;
                        let flow = engine.flow_named(request.flow.as_deref().unwrap_or("default"))?;
                        let rules = &engine.rules;
                        let (scope, branch) = (rules.scope.clone(), &rules.base_branch);
                        let change = lifecycle::create(request, id, scope, branch, &named, &flow, now)?;
                        known.push(crate::model::Blocker {
                            id: change.after.id.clone(),
                            queue: change.after.queue.clone(),
                        });
                        changes.push(change);
                    }
                    Ok(changes)
                }),
            )
            .await?;
        self.notify();
        // In the order of the request.
        let mut tasks: Vec<Task> = changes.into_iter().map(|c| c.after).collect();
        tasks.sort_by_key(|t| ids.iter().position(|id| *id == t.id));
        Ok(tasks)
    }

    /// What a task waits for, done or not.
    pub async fn blockers(&self, id: &TaskId) -> Result<Vec<crate::model::Blocker>> {
        self.store.blockers(&self.rules.scope, id).await
    }

    /// The cursor of the latest event.
    pub async fn last_event(&self) -> Result<i64> {
        self.store.last_event(&self.rules.scope).await
    }

    /// The flow of a new task. Where clients drive tasks, a name that nobody registered stands for the default rules.
    fn flow_named(&self, name: &str) -> Result<crate::flow::Flow> {
        if !self.rules.open {
            return self.rules.flows.get(name).cloned();
        }
        let mut flow = self.rules.flows.get_or_default(name).clone();
        name.clone_into(&mut flow.name);
        Ok(flow)
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

    /// Removes a task that nobody works on; its history stays. With `force` also one that a client has claimed or
    /// that others wait for: these go on.
    pub async fn delete(&self, id: &TaskId, by: &str, force: bool) -> Result<()> {
        self.store.delete(&self.rules.scope, id, by, force, self.now()).await?;
        self.notify();
        Ok(())
    }
}

/// Requests such that each comes after those that it waits for.
fn in_order(mut requests: Vec<CreateTask>) -> Result<Vec<CreateTask>> {
    let mut ordered: Vec<CreateTask> = Vec::with_capacity(requests.len());
    while !requests.is_empty() {
        let left: std::collections::HashSet<TaskId> = requests.iter().filter_map(|r| r.id.clone()).collect();
        let (ready, rest): (Vec<_>, Vec<_>) = requests
            .into_iter()
            .partition(|r| !r.blocked_by.iter().any(|b| left.contains(b)));
        if ready.is_empty() {
            let names: Vec<&str> = rest.iter().filter_map(|r| r.id.as_ref()).map(TaskId::as_str).collect();
            return Err(Error::invalid(format!(
                "tasks {} wait for each other for ever",
                names.join(", ")
            )));
        }
        ordered.extend(ready);
        requests = rest;
    }
    Ok(ordered)
}

/// A blocker that is named twice is waited for once.
pub(super) fn each_once(ids: &mut Vec<TaskId>) {
    let mut seen = std::collections::HashSet::new();
    ids.retain(|id| seen.insert(id.clone()));
}
