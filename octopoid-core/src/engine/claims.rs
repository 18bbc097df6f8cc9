//! Claims: taking the most urgent task, with a secret that fences every later write.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use super::Engine;
use crate::{
    error::{Error, ErrorCode, Result},
    id::{OrchestratorId, random_hex},
    lifecycle::{AttemptChange, Command},
    model::{Attempt, QueueName, Role, Task},
    store::{ClaimFilter, Footprint},
};

/// Who wants to work, and on what.
#[derive(Debug, Clone)]
pub struct ClaimRequest {
    /// Queues, the most important first.
    pub queues: Vec<QueueName>,
    /// Names that the claimer answers to: role, blueprint, or `engine`.
    pub answers_to: Vec<String>,
    /// Name of the agent.
    pub agent: String,
    /// Role that it plays.
    pub role: Role,
    /// The orchestrator that runs it.
    pub orchestrator: OrchestratorId,
    /// Length of the lease.
    pub lease: Duration,
}

/// A claimed task.
#[derive(Debug, Clone)]
pub struct Claim {
    /// The task, owned now.
    pub task: Task,
    /// The attempt; null when the orchestrator itself lands the task.
    pub attempt: Option<Attempt>,
    /// The secret that every write of this claim carries.
    pub token: String,
}

/// What one try came to.
enum Tried {
    Claimed(Box<Claim>),
    Nothing,
    /// The most urgent task could not be worked on and is on hold now.
    SetAside,
}

impl Engine {
    /// Whether a claim of this kind would find a task now.
    pub async fn has_claimable(&self, queues: &[QueueName], answers_to: &[String]) -> Result<bool> {
        let filter = ClaimFilter {
            queues: queues.to_vec(),
            answers_to: answers_to.to_vec(),
            now: self.now(),
        };
        let found = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let seen = std::sync::Arc::clone(&found);
        self.store
            .transact(
                &self.rules.scope,
                Footprint::Claimable(filter),
                Box::new(move |snapshot| {
                    seen.store(snapshot.task.is_some(), std::sync::atomic::Ordering::SeqCst);
                    Ok(Vec::new())
                }),
            )
            .await?;
        Ok(found.load(std::sync::atomic::Ordering::SeqCst))
    }

    /// Claims the most urgent task that fits, or none.
    pub async fn claim(&self, request: ClaimRequest) -> Result<Option<Claim>> {
        loop {
            match self.try_claim(request.clone()).await? {
                Tried::Claimed(claim) => return Ok(Some(*claim)),
                Tried::Nothing => return Ok(None),
                // One task that cannot be worked on must not keep the others from it.
                Tried::SetAside => {}
            }
        }
    }

    async fn try_claim(&self, request: ClaimRequest) -> Result<Tried> {
        let token = random_hex(&*self.entropy, 16)?;
        let footprint = Footprint::Claimable(ClaimFilter {
            queues: request.queues,
            answers_to: request.answers_to.clone(),
            now: self.now(),
        });
        let command = Command::Claim {
            agent: request.agent,
            role: request.role,
            answers_to: request.answers_to,
            orchestrator: request.orchestrator,
            token: token.clone(),
            lease: request.lease,
        };
        let engine = self.clone();
        let lost_flow = Arc::new(Mutex::new(None));
        let found = Arc::clone(&lost_flow);
        let changes = self
            .store
            .transact(
                &self.rules.scope,
                footprint,
                Box::new(move |snapshot| match &snapshot.task {
                    None => Ok(Vec::new()),
                    Some(task) if engine.rules.flows.get(&task.flow).is_err() => {
                        *found.lock().unwrap_or_else(PoisonError::into_inner) =
                            Some((task.id.clone(), task.flow.clone()));
                        Ok(Vec::new())
                    }
                    Some(task) => engine.decide(task, snapshot, &command),
                }),
            )
            .await?;
        let lost_flow = lost_flow.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((id, flow)) = lost_flow {
            let reason =
                format!("its flow {flow} does not exist here; add it, restart the orchestrator, and unhold the task");
            self.apply(
                &id,
                Command::Hold {
                    by: "engine".into(),
                    reason,
                },
            )
            .await?;
            return Ok(Tried::SetAside);
        }
        let Some(change) = changes.into_iter().next() else {
            return Ok(Tried::Nothing);
        };
        self.notify();
        let attempt = match change.attempt {
            Some(AttemptChange::Start(attempt)) => Some(*attempt),
            None => None,
            Some(other) => {
                return Err(Error::new(
                    ErrorCode::Internal,
                    format!("a claim cannot make the change {other:?}"),
                ));
            }
        };
        Ok(Tried::Claimed(Box::new(Claim {
            task: change.after,
            attempt,
            token,
        })))
    }
}
