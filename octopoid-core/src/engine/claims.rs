//! Claims: taking the most urgent task, with a secret that fences every later write.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use super::Engine;
use crate::{
    error::{Error, ErrorCode, Result},
    id::{OrchestratorId, TaskId, random_hex},
    lifecycle::{AttemptChange, Command},
    model::{Attempt, QueueName, Role, Task},
    store::{ClaimFilter, Footprint, OpenFilter},
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
    /// The secret of the claim, so that the same request can be sent again; null has a fresh one made.
    pub token: Option<String>,
}

/// What a client wants to take that drives tasks on its own word.
#[derive(Debug, Clone)]
pub struct OpenClaim {
    /// Queues, each with the roles that are taken from it; no roles are all roles.
    pub queues: Vec<(QueueName, Vec<String>)>,
    /// Types that are taken; none are all types.
    pub types: Vec<String>,
    /// Name of the agent.
    pub agent: String,
    /// Role that it plays; null is the task's own.
    pub role: Option<Role>,
    /// The orchestrator that runs it.
    pub orchestrator: OrchestratorId,
    /// Length of the lease.
    pub lease: Duration,
    /// Whether each later write must carry the token.
    pub fenced: bool,
    /// How many tasks the orchestrator may hold, this one with them; null is no bound.
    pub max_claimed: Option<u64>,
    /// The secret of the claim, so that the same request can be sent again; null has a fresh one made.
    pub token: Option<String>,
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
            token: None,
        };
        self.finds(Footprint::Claimable(filter)).await
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

    /// Whether a client's claim of this kind would find a task now.
    pub async fn has_open(&self, request: &OpenClaim) -> Result<bool> {
        let footprint = Footprint::Open(OpenFilter {
            queues: request.queues.clone(),
            types: request.types.clone(),
            at_most: None,
            now: self.now(),
            token: None,
        });
        self.finds(footprint).await
    }

    async fn finds(&self, footprint: Footprint) -> Result<bool> {
        let found = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&found);
        self.store
            .transact(
                &self.rules.scope,
                footprint,
                Box::new(move |snapshot| {
                    seen.store(snapshot.task.is_some(), Ordering::SeqCst);
                    Ok(Vec::new())
                }),
            )
            .await?;
        Ok(found.load(Ordering::SeqCst))
    }

    /// Claims the most urgent task for a client, or none. Refused with `too_many_requests` where the orchestrator holds as many
    /// as it may.
    pub async fn claim_open(&self, request: OpenClaim) -> Result<Option<Claim>> {
        // A fresh secret cannot own a task already; only one that was sent is looked for.
        let was_sent = request.token.is_some();
        let secret = match request.token {
            Some(token) => token,
            None => random_hex(&*self.entropy, 16)?,
        };
        let token = if request.fenced {
            secret
        } else {
            format!("{}{secret}", Task::OPEN_CLAIM)
        };
        let footprint = Footprint::Open(OpenFilter {
            queues: request.queues,
            types: request.types,
            at_most: request.max_claimed.map(|max| (request.orchestrator.clone(), max)),
            now: self.now(),
            token: was_sent.then(|| token.clone()),
        });
        let (agent, orchestrator, lease, role) = (request.agent, request.orchestrator, request.lease, request.role);
        let wanted = token.clone();
        self.take(footprint, token, move |task| Command::Claim {
            agent: agent.clone(),
            role: role.clone().unwrap_or_else(|| task.role.clone()),
            answers_to: Vec::new(),
            orchestrator: orchestrator.clone(),
            token: wanted.clone(),
            lease,
        })
        .await
        .map(|tried| match tried {
            Tried::Claimed(claim) => Some(*claim),
            Tried::Nothing | Tried::SetAside => None,
        })
    }

    async fn try_claim(&self, request: ClaimRequest) -> Result<Tried> {
        let was_sent = request.token.is_some();
        let token = match request.token {
            Some(token) => token,
            None => random_hex(&*self.entropy, 16)?,
        };
        let footprint = Footprint::Claimable(ClaimFilter {
            queues: request.queues,
            answers_to: request.answers_to.clone(),
            now: self.now(),
            token: was_sent.then(|| token.clone()),
        });
        let command = Command::Claim {
            agent: request.agent,
            role: request.role,
            answers_to: request.answers_to,
            orchestrator: request.orchestrator,
            token: token.clone(),
            lease: request.lease,
        };
        self.take(footprint, token, move |_| command.clone()).await
    }

    async fn take(
        &self,
        footprint: Footprint,
        token: String,
        command: impl Fn(&Task) -> Command + Send + 'static,
    ) -> Result<Tried> {
        let engine = self.clone();
        let aside: Arc<Mutex<Seen>> = Arc::default();
        let seen = Arc::clone(&aside);
        let changes = self
            .store
            .transact(
                &self.rules.scope,
                footprint,
                Box::new(move |snapshot| {
                    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                    *seen = Seen {
                        full: snapshot.full,
                        ..Seen::default()
                    };
                    let Some(task) = &snapshot.task else {
                        return Ok(Vec::new());
                    };
                    if snapshot.repeated {
                        seen.repeated = Some((task.clone(), snapshot.attempt.clone()));
                        return Ok(Vec::new());
                    }
                    if !engine.rules.open && engine.rules.flows.get(&task.flow).is_err() {
                        seen.lost_flow = Some((task.id.clone(), task.flow.clone()));
                        return Ok(Vec::new());
                    }
                    engine.decide(task, snapshot, &command(task))
                }),
            )
            .await?;
        let seen = std::mem::take(&mut *aside.lock().unwrap_or_else(PoisonError::into_inner));
        if let Some(held) = seen.full {
            return Err(Error::new(
                ErrorCode::TooManyRequests,
                format!("the orchestrator holds {held} tasks, as many as its max_claimed allows"),
            ));
        }
        if let Some((task, attempt)) = seen.repeated {
            return Ok(Tried::Claimed(Box::new(Claim { task, attempt, token })));
        }
        if let Some((id, flow)) = seen.lost_flow {
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

/// What a try to claim met inside the transaction, apart from a change.
#[derive(Default)]
struct Seen {
    full: Option<u64>,
    repeated: Option<(Task, Option<Attempt>)>,
    lost_flow: Option<(TaskId, String)>,
}
