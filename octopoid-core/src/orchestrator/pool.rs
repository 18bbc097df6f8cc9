//! The pool: which agent may take a task now, whether its program is there, and the claim that starts it.

use std::time::Duration;

use super::{
    checks::is_there,
    context::Player,
    daemon::{Daemon, PROBE, SOON},
    journal::Run,
    plan::{self, Guard, Pool},
};
use crate::{
    agent,
    clock::Timestamp,
    engine::{Claim, ClaimRequest},
    error::Result,
    flow::actor,
    id::{SystemEntropy, random_hex},
    model::{AttemptKind, QueueKind, QueueName, Role},
    role::RunState,
};

impl Daemon {
    pub(super) async fn over_budget(&self) -> Result<bool> {
        let Some(limit) = self.cx.config.budget.usd_per_day else {
            self.cx.journal.cleared("budget")?;
            return Ok(false);
        };
        let spent = self.cx.backend.spent_today().await?.usd;
        if spent < limit {
            self.cx.journal.cleared("budget")?;
            return Ok(false);
        }
        let known = self.cx.journal.findings()?.iter().any(|f| f.subject == "budget");
        if !known {
            let message = format!("the last 24 hours cost ${spent:.2}; budget.usd_per_day allows ${limit:.2}");
            self.cx
                .journal
                .found("budget", "over_budget", &message, self.cx.now(), None)?;
        }
        Ok(true)
    }

    /// The guard that keeps an agent of this kind from taking a task, and when to look again.
    pub(super) async fn refusal(
        &self,
        base: &plan::Snapshot,
        player: &Player,
    ) -> Result<(Option<Guard>, Option<Duration>)> {
        let now = self.cx.now();
        let findings = self.cx.journal.findings()?;
        let subject = format!("agent:{}", player.name);
        let blocked = |subject: &str| findings.iter().find(|f| f.subject == subject).and_then(|f| f.until);
        let work = !player.blueprint.role.is_reviewer();
        let blocked_until = blocked(&subject)
            .into_iter()
            .chain(if work { blocked("claims") } else { None })
            .max();
        let snapshot = plan::Snapshot {
            now,
            agents: self.running.values().filter(|h| h.kind != AttemptKind::Land).count(),
            ..base.clone()
        };
        let pool = Pool {
            paused: player.blueprint.paused,
            max_instances: player.blueprint.max_instances,
            running: self.running.values().filter(|h| h.run.agent == player.name).count(),
            // A run that was asked for by hand is not held back by a pace that is meant for unattended ones.
            interval_ms: if self.once {
                0
            } else {
                (player.blueprint.interval_seconds * 1000.0) as i64
            },
            last_start: self.last_start.get(&player.name).copied(),
            blocked_until,
        };
        let guard = plan::refusal(&snapshot, &pool);
        let wait = match guard {
            Some(Guard::Blocked) => blocked_until.map(|until| until.since(now)),
            Some(Guard::Interval) => pool.last_start.map(|at| Timestamp(at.0 + pool.interval_ms).since(now)),
            _ => None,
        };
        let check_missing = findings
            .iter()
            .any(|f| f.subject == "claims" && f.code == "check_missing");
        if guard.is_none() && work && check_missing && !self.test_program_is_there() {
            // An agent would work for nothing: its commit could not be checked.
            return Ok((Some(Guard::Blocked), Some(PROBE)));
        }
        if guard.is_some() || !player.needs_program {
            return Ok((guard, wait.map(|w| w.max(SOON))));
        }
        self.look_for_program(player, &subject).await
    }

    fn test_program_is_there(&self) -> bool {
        let path = std::env::var("PATH").ok();
        self.cx
            .config
            .repo
            .test
            .as_deref()
            .is_none_or(|test| is_there(test, path.as_ref()))
    }

    /// The agent's program must be there before a task is claimed for it.
    async fn look_for_program(&self, player: &Player, subject: &str) -> Result<(Option<Guard>, Option<Duration>)> {
        let missing = || {
            let adapter = agent::adapter(&player.blueprint, self.cx.paths.root())?;
            let inherited =
                std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
            let env = agent::environment(&*adapter, inherited, &player.blueprint.env);
            agent::find_program(&*adapter, &env, self.cx.paths.root()).map(|_| ())
        };
        let known = self
            .cx
            .journal
            .findings()?
            .into_iter()
            .find(|f| f.subject == subject && f.code == "agent_missing");
        match missing() {
            Ok(()) => {
                if known.is_some() {
                    self.cx.journal.cleared(subject)?;
                }
                Ok((None, None))
            }
            Err(error) => {
                let wanted = self
                    .cx
                    .backend
                    .has_claimable(&player.blueprint.claims_from, &player.blueprint.answers_to())
                    .await?;
                if wanted && known.is_none() {
                    let message = format!("{error}; {}", error.hint().unwrap_or_default());
                    self.cx
                        .journal
                        .found(subject, "agent_missing", &message, self.cx.now(), None)?;
                }
                Ok((Some(Guard::Blocked), Some(PROBE)))
            }
        }
    }

    /// Claims a task for an agent of this kind and starts it; false when there is none.
    pub(super) async fn claim(&mut self, player: &Player) -> Result<bool> {
        let request = ClaimRequest {
            queues: player.blueprint.claims_from.clone(),
            answers_to: player.blueprint.answers_to(),
            agent: player.name.clone(),
            role: player.blueprint.role.clone(),
            orchestrator: self.cx.id.clone(),
            lease: self.cx.config.lease(),
            token: None,
        };
        self.cx.journal.boundary();
        let claim = self.cx.backend.claim(request).await?;
        self.cx.journal.boundary();
        let Some(claim) = claim else { return Ok(false) };
        self.last_start.insert(player.name.clone(), self.cx.now());
        self.begin(claim, &player.name, Some(player.clone()))?;
        Ok(true)
    }

    /// Claims approved tasks to land them: one after the other, or side by side where the project wants that.
    pub(super) async fn claim_landings(&mut self) -> Result<()> {
        let at_once = if self.cx.config.merge.queue {
            1
        } else {
            self.cx.config.orchestrator.max_agents
        };
        let mut queues: Vec<QueueName> = Vec::new();
        for edge in self.cx.backend.rules().flows.iter().flat_map(|f| &f.transitions) {
            if edge.from.kind() == QueueKind::Review && !queues.contains(&edge.from) {
                queues.push(edge.from.clone());
            }
        }
        while self.running.values().filter(|h| h.kind == AttemptKind::Land).count() < at_once {
            let request = ClaimRequest {
                queues: queues.clone(),
                answers_to: vec![actor::ENGINE.to_owned()],
                agent: actor::ENGINE.to_owned(),
                role: Role::parse(actor::ENGINE)?,
                orchestrator: self.cx.id.clone(),
                lease: self.cx.config.lease(),
                token: None,
            };
            self.cx.journal.boundary();
            let claim = self.cx.backend.claim(request).await?;
            self.cx.journal.boundary();
            match claim {
                Some(claim) => self.begin(claim, actor::ENGINE, None)?,
                None => break,
            }
        }
        Ok(())
    }

    fn begin(&mut self, claim: Claim, agent: &str, player: Option<Player>) -> Result<()> {
        let run = Run {
            task: claim.task.id.clone(),
            epoch: claim.task.epoch,
            attempt: claim.attempt.as_ref().map(|a| a.number),
            agent: agent.to_owned(),
            token: claim.token,
            mark: random_hex(&SystemEntropy, 16)?,
            state: RunState::Fresh,
            begun_at: self.cx.now(),
        };
        self.cx.journal.claimed(&run)?;
        self.start(run, claim.task, claim.attempt, player);
        Ok(())
    }
}
