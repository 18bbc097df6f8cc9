//! The rules applied to a store: the only code that moves tasks.

mod claims;
pub mod registry;
mod sweep;
mod tasks;
mod view;

use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};
use tokio::sync::watch;

pub use claims::{Claim, ClaimRequest, OpenClaim};
pub use tasks::MAX_BATCH;
pub use view::{Status, TaskView, Why};

use crate::{
    clock::{Clock, SystemClock, Timestamp},
    error::{Error, ErrorCode, Result},
    flow::{Flow, Flows},
    id::{Entropy, Scope, SystemEntropy, TaskId, to_hex},
    lifecycle::{self, Change, Command, Facts, Limits},
    model::{QueueKind, Role, Task},
    store::{Footprint, Snapshot, Store},
};

/// What the engine has to know of a project.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The tenant.
    pub scope: Scope,
    /// The flows that tasks can use.
    pub flows: Flows,
    /// The project's limits.
    pub limits: Limits,
    /// The branch that tasks get when they name none.
    pub base_branch: String,
    /// Roles that tasks may have; null allows every name.
    pub roles: Option<Vec<Role>>,
    /// Whether flows that nobody registered are allowed; they follow the default rules.
    pub open: bool,
}

/// Applies commands to tasks. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Engine {
    store: Arc<dyn Store>,
    rules: Arc<Rules>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    changes: watch::Sender<u64>,
}

impl Engine {
    /// An engine over `store`, with the machine's clock and random numbers.
    pub fn new(store: Arc<dyn Store>, rules: Rules) -> Self {
        Self::with(store, rules, Arc::new(SystemClock), Arc::new(SystemEntropy))
    }

    /// An engine with a clock and random numbers of the caller's.
    pub fn with(store: Arc<dyn Store>, rules: Rules, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self {
            store,
            rules: Arc::new(rules),
            clock,
            entropy,
            changes: watch::channel(0).0,
        }
    }

    /// An engine of another scope over the same store, whose changes wake up the same waiters.
    pub(crate) fn sibling(&self, rules: Rules) -> Self {
        Self {
            rules: Arc::new(rules),
            ..self.clone()
        }
    }

    /// The rules in force.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The present moment, by the engine's clock.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Wakes up after every change made through this engine or its clones.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn notify(&self) {
        self.changes.send_modify(|n| *n += 1);
    }

    /// Applies one command to one task and gives the task as it is afterwards.
    ///
    /// Refusals change nothing and say why.
    pub async fn apply(&self, id: &TaskId, command: Command) -> Result<Task> {
        self.apply_once(id, command, None).await
    }

    /// The same; with a key, a command that was applied already is answered again and not applied again.
    pub async fn apply_once(&self, id: &TaskId, mut command: Command, key: Option<String>) -> Result<Task> {
        match &mut command {
            Command::Edit { edit, .. } => {
                edit.blocked_by.iter_mut().for_each(tasks::each_once);
                self.check_role(edit.role.as_ref())?;
            }
            Command::Patch { patch, .. } => {
                patch.blocked_by.iter_mut().for_each(tasks::each_once);
                self.check_role(patch.role.as_ref().and_then(Option::as_ref))?;
            }
            _ => {}
        }
        let new_blockers = match &command {
            Command::Edit { edit, .. } => edit.blocked_by.clone(),
            Command::Patch { patch, .. } => patch.blocked_by.clone(),
            _ => None,
        };
        let key = match key {
            Some(key) => Some((key, fingerprint(&(id, &command))?)),
            None => None,
        };
        let footprint = Footprint::Task {
            id: id.clone(),
            new_blockers: new_blockers.clone(),
            key: key.clone(),
        };
        let (engine, id) = (self.clone(), id.clone());
        let earlier = Arc::new(Mutex::new(None));
        let found = Arc::clone(&earlier);
        let changes = self
            .store
            .transact(
                &self.rules.scope,
                footprint,
                Box::new(move |snapshot| {
                    if let (Some((seen, task)), Some((key, fingerprint))) = (&snapshot.earlier, &key) {
                        check_key(seen, fingerprint, key, task)?;
                        *found.lock().unwrap_or_else(PoisonError::into_inner) = Some(task.clone());
                        return Ok(Vec::new());
                    }
                    let task = snapshot.task.as_ref().ok_or_else(|| unknown_task(&id))?;
                    if let Some(wanted) = &new_blockers {
                        tasks::check_blockers(&id, wanted, snapshot)?;
                    }
                    engine.decide(task, snapshot, &command)
                }),
            )
            .await?;
        self.notify();
        let earlier = earlier.lock().unwrap_or_else(PoisonError::into_inner).take();
        changes
            .into_iter()
            .next()
            .map(|change| change.after)
            .or(earlier)
            .ok_or_else(|| Error::new(ErrorCode::Internal, "a command made no change"))
    }

    /// The task's flow. A person can still hold, edit or end a task whose flow is gone; work on it cannot go on.
    fn flow_for(&self, task: &Task, command: &Command) -> Result<&Flow> {
        // Flow and queue of one request are judged together.
        if let Command::Patch { patch, .. } = command
            && let Some(name) = &patch.flow
        {
            return Ok(self.rules.flows.get_or_default(name));
        }
        if self.rules.open {
            return Ok(self.rules.flows.get_or_default(&task.flow));
        }
        let found = self.rules.flows.get(&task.flow);
        match command {
            Command::Hold { .. }
            | Command::Unblock { .. }
            | Command::Unhold { .. }
            | Command::Edit { .. }
            | Command::Cancel { .. }
            | Command::GiveUp { .. } => found.or_else(|_| self.rules.flows.get("default")),
            _ => found,
        }
    }

    /// The change of the task, and those of the tasks that it sets free.
    fn decide(&self, task: &Task, snapshot: &Snapshot, command: &Command) -> Result<Vec<Change>> {
        let now = self.now();
        let facts = Facts {
            task,
            attempt: snapshot.attempt.as_ref(),
            reviews: &snapshot.reviews,
            blockers: &snapshot.blockers,
            flow: self.flow_for(task, command)?,
            limits: &self.rules.limits,
        };
        let change = lifecycle::transition(&facts, command, now)?;
        let (counts_anew, is_done) = (change.touches_dependents, change.after.kind() == QueueKind::Done);
        let mut changes = vec![change];
        if counts_anew {
            for (dependent, others) in &snapshot.dependents {
                let unblock = Command::Unblock {
                    blocker: task.id.clone(),
                    open: others + i64::from(!is_done),
                };
                let facts = Facts {
                    task: dependent,
                    attempt: None,
                    reviews: &[],
                    blockers: &[],
                    flow: self.flow_for(dependent, &unblock)?,
                    limits: &self.rules.limits,
                };
                // A dependent that is done already, or that waits for nothing, has nothing to be told.
                if let Ok(change) = lifecycle::transition(&facts, &unblock, now) {
                    changes.push(change);
                }
            }
        }
        Ok(changes)
    }
}

/// The same for the same request.
fn fingerprint(request: &impl serde::Serialize) -> Result<String> {
    let text = serde_json::to_vec(request)
        .map_err(|e| Error::new(ErrorCode::Internal, format!("a request cannot be written down: {e}")))?;
    Ok(to_hex(&Sha256::digest(text)))
}

/// Refuses a key that was used for another request.
fn check_key(seen: &str, fingerprint: &str, key: &str, task: &Task) -> Result<()> {
    if seen == fingerprint {
        return Ok(());
    }
    Err(Error::new(
        ErrorCode::IdempotencyConflict,
        format!(
            "the idempotency key {key:?} was used for another request (task {})",
            task.id
        ),
    )
    .with_hint("use a fresh key for a different request"))
}

fn unknown_task(id: &TaskId) -> Error {
    Error::not_found("task", id).with_hint("`octopoid list --all` shows the tasks")
}
