//! The loop: look, claim, start, wait for something to happen.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
};

use super::{
    checks::is_there,
    context::{Context, Player},
    journal::Run,
    lock::DaemonInfo,
    plan::{self, Guard, Pool},
    sweep, wake,
    worker::{Handle, Worker},
};
use crate::{
    agent::{self, supervise},
    clock::Timestamp,
    engine::{Claim, ClaimRequest},
    error::{ErrorCode, Result},
    flow::actor,
    id::{SystemEntropy, TaskId, random_hex},
    lifecycle::Command,
    model::{AttemptKind, QueueKind, QueueName, Role},
    role::RunState,
};

/// How a run of the orchestrator ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Nothing is left to do and nothing needs a person.
    Clean,
    /// Something needs attention.
    NeedsAttention,
    /// It was told to stop.
    Stopped,
}

/// What the orchestrator is told from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Go on.
    No,
    /// Stop claiming, finish steps, leave agents to the next orchestrator.
    Gracefully,
    /// The same, and end the agents; their work is kept.
    WithAgents,
}

/// Shortest and longest time between two looks while something is expected to change by itself.
const SOON: Duration = Duration::from_millis(20);
/// How often a missing program is looked for.
const PROBE: Duration = Duration::from_secs(5);
/// How long `--once` waits for a retry that is due soon.
const WORTH_WAITING: Duration = Duration::from_secs(30);
/// How long steps may take to end when the orchestrator stops.
const PATIENCE: Duration = Duration::from_secs(60);
/// Time between two sweeps of worktrees.
const SWEEP: Duration = Duration::from_secs(600);

pub(super) struct Daemon {
    pub(super) cx: Arc<Context>,
    once: bool,
    pub(super) running: HashMap<(TaskId, i64), Handle>,
    workers: JoinSet<(TaskId, i64)>,
    last_start: HashMap<String, Timestamp>,
    info: DaemonInfo,
    last_written: Option<Instant>,
    last_sweep: Option<Instant>,
}

impl Daemon {
    pub(super) fn new(cx: Arc<Context>, once: bool) -> Self {
        let info = DaemonInfo {
            process: supervise::current(),
            orchestrator_id: cx.id.to_string(),
            started_at: cx.now(),
            last_tick: None,
            tick_seconds: cx.config.orchestrator.tick_seconds,
            once,
        };
        Self {
            cx,
            once,
            running: HashMap::new(),
            workers: JoinSet::new(),
            last_start: HashMap::new(),
            info,
            last_written: None,
            last_sweep: None,
        }
    }

    pub(super) async fn run(mut self, mut stop: watch::Receiver<Stop>) -> Result<Ended> {
        self.cx.journal.set_stop_now(false)?;
        let agents: Vec<String> = self.cx.players.iter().map(|p| p.name.clone()).collect();
        self.cx.journal.review_findings(&agents)?;
        let woken = Arc::new(Notify::new());
        let watch = wake::watch(&self.cx.paths.dir(), Arc::clone(&woken));
        if let Err(error) = &watch {
            tracing::warn!("{error}; looking at the queue every {} s instead", PROBE.as_secs());
        }
        let mut changes = self.cx.engine.changes();
        self.reconcile().await?;
        self.info.write(&self.cx.paths)?;
        loop {
            self.reap();
            if matches!(*stop.borrow(), Stop::Gracefully | Stop::WithAgents) {
                let now = *stop.borrow() == Stop::WithAgents || self.cx.journal.stop_now()?;
                self.wind_down(now, &mut stop).await?;
                return Ok(Ended::Stopped);
            }
            changes.mark_unchanged();
            let pause = match self.tick().await {
                Ok(pause) => {
                    if let Err(error) = self.note_tick() {
                        tracing::warn!("the sign of life cannot be written: {error}");
                    }
                    if watch.is_ok() { pause } else { pause.min(PROBE) }
                }
                // The store may be locked or the disk full for a moment: nothing was claimed, look again later.
                Err(error) if !self.once => {
                    tracing::error!("a look at the queue failed: {error}");
                    PROBE
                }
                Err(error) => return Err(error),
            };
            if self.once && self.running.is_empty() {
                match self.worth_waiting().await? {
                    Some(wait) => {
                        tokio::select! {
                            () = tokio::time::sleep(wait) => {}
                            _ = stop.changed() => {}
                        }
                    }
                    None => return self.verdict().await,
                }
                continue;
            }
            tokio::select! {
                _ = self.workers.join_next(), if !self.workers.is_empty() => {}
                _ = changes.changed() => {}
                () = woken.notified() => {}
                _ = stop.changed() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Forgets the workers that have ended.
    fn reap(&mut self) {
        while self.workers.try_join_next().is_some() {}
        // A worker that panicked is gone too; its run is still in the journal and is taken up at the next start.
        self.running.retain(|_, handle| !handle.is_over());
    }

    /// Looks once: expires, claims what can be claimed, and tells how long nothing is expected to happen.
    async fn tick(&mut self) -> Result<Duration> {
        self.keep_own_leases().await?;
        for id in self.cx.engine.expire().await? {
            tracing::warn!(task = %id, "its lease ran out");
        }
        self.stop_lost().await?;
        if self.last_sweep.is_none_or(|at| at.elapsed() > SWEEP) {
            self.last_sweep = Some(Instant::now());
            let cx = Arc::clone(&self.cx);
            tokio::spawn(async move {
                if let Err(error) = sweep::old_worktrees(&cx).await {
                    tracing::warn!("worktrees could not be swept: {error}");
                }
            });
        }
        let mut pause = Duration::from_secs_f64(self.cx.config.orchestrator.tick_seconds);
        let snapshot = plan::Snapshot {
            now: self.cx.now(),
            claims_paused: self.cx.journal.pause()?.is_some(),
            over_budget: self.over_budget().await?,
            agents: 0,
            max_agents: self.cx.config.orchestrator.max_agents,
        };
        if !snapshot.claims_paused {
            self.claim_landings().await?;
        }
        for player in self.cx.players.clone() {
            loop {
                let (guard, wait) = self.refusal(&snapshot, &player).await?;
                if let Some(wait) = wait {
                    pause = pause.min(wait);
                }
                if guard.is_some() || !self.claim(&player).await? {
                    break;
                }
            }
        }
        if let Some(at) = self.cx.engine.next_deadline().await? {
            pause = pause.min(at.since(self.cx.now()).max(SOON));
        }
        Ok(pause)
    }

    /// After a sleep of the machine: whoever still works and was not replaced goes on working.
    async fn keep_own_leases(&self) -> Result<()> {
        if self.running.is_empty() {
            return Ok(());
        }
        let now = self.cx.now();
        for task in self.cx.engine.claimed().await? {
            let lapsed = task.lease_expires_at.is_some_and(|at| at <= now);
            let ours = self
                .running
                .values()
                .find(|h| task.claim_token.as_deref() == Some(&h.run.token) && !h.is_over());
            if let (true, Some(handle)) = (lapsed, ours) {
                let renewal = Command::Renew {
                    token: handle.run.token.clone(),
                    lease: self.cx.config.lease(),
                };
                match self.cx.engine.apply(&task.id, renewal).await {
                    Ok(_) => {}
                    // It was handed in or taken away in this very moment.
                    Err(e)
                        if matches!(
                            e.code(),
                            ErrorCode::StaleClaim | ErrorCode::IllegalTransition | ErrorCode::NotFound
                        ) => {}
                    Err(e) => return Err(e),
                }
            }
        }
        Ok(())
    }

    /// Ends the work on claims that a person or a newer claim has taken away.
    async fn stop_lost(&self) -> Result<()> {
        if self.running.is_empty() {
            return Ok(());
        }
        let claimed = self.cx.engine.claimed().await?;
        for handle in self.running.values() {
            let ours = claimed
                .iter()
                .any(|t| t.id == handle.run.task && t.claim_token.as_deref() == Some(&handle.run.token));
            if !ours {
                handle.stop.send_if_modified(|stop| !std::mem::replace(stop, true));
            }
        }
        Ok(())
    }

    async fn over_budget(&self) -> Result<bool> {
        let Some(limit) = self.cx.config.budget.usd_per_day else {
            self.cx.journal.cleared("budget")?;
            return Ok(false);
        };
        let spent = self.cx.engine.spent_today().await?.usd;
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
    async fn refusal(&self, base: &plan::Snapshot, player: &Player) -> Result<(Option<Guard>, Option<Duration>)> {
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
                    .engine
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
    async fn claim(&mut self, player: &Player) -> Result<bool> {
        let request = ClaimRequest {
            queues: player.blueprint.claims_from.clone(),
            answers_to: player.blueprint.answers_to(),
            agent: player.name.clone(),
            role: player.blueprint.role.clone(),
            orchestrator: self.cx.id.clone(),
            lease: self.cx.config.lease(),
        };
        self.cx.journal.boundary();
        let claim = self.cx.engine.claim(request).await?;
        self.cx.journal.boundary();
        let Some(claim) = claim else { return Ok(false) };
        self.last_start.insert(player.name.clone(), self.cx.now());
        self.begin(claim, &player.name, Some(player.clone()))?;
        Ok(true)
    }

    /// Claims approved tasks to land them: one after the other, or side by side where the project wants that.
    async fn claim_landings(&mut self) -> Result<()> {
        let at_once = if self.cx.config.merge.queue {
            1
        } else {
            self.cx.config.orchestrator.max_agents
        };
        let mut queues: Vec<QueueName> = Vec::new();
        for edge in self.cx.engine.rules().flows.iter().flat_map(|f| &f.transitions) {
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
            };
            self.cx.journal.boundary();
            let claim = self.cx.engine.claim(request).await?;
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

    /// Starts a worker on a claim that is in the journal.
    pub(super) fn start(
        &mut self,
        run: Run,
        task: crate::model::Task,
        attempt: Option<crate::model::Attempt>,
        player: Option<Player>,
    ) {
        let handle = Handle::new(run.clone(), task.claim_kind.unwrap_or(AttemptKind::Work));
        let key = (run.task.clone(), run.epoch);
        let worker = Worker {
            cx: Arc::clone(&self.cx),
            run,
            task,
            attempt,
            player,
            stop: handle.stop.clone(),
            adoptable: Arc::clone(&handle.adoptable),
            before: self
                .running
                .values()
                .filter(|h| h.run.task == key.0)
                .map(|h| Arc::clone(&h.over))
                .collect(),
        };
        let over = Arc::clone(&handle.over);
        self.running.insert(key.clone(), handle);
        self.workers.spawn(async move {
            let _over = super::worker::SetOnDrop(over);
            worker.go().await;
            key
        });
    }

    /// Whether `--once` waits for something that is due soon.
    async fn worth_waiting(&self) -> Result<Option<Duration>> {
        if self.cx.journal.pause()?.is_some() {
            return Ok(None);
        }
        let now = self.cx.now();
        let retry = self.cx.engine.next_retry().await?.map(|at| at.since(now));
        Ok(retry.filter(|wait| *wait <= WORTH_WAITING).map(|wait| wait.max(SOON)))
    }

    /// What the end of a `--once` run says about the project.
    async fn verdict(&self) -> Result<Ended> {
        let attention = !self.cx.engine.status().await?.attention.is_empty();
        let findings = !self.cx.journal.findings()?.is_empty();
        Ok(if attention || findings {
            Ended::NeedsAttention
        } else {
            Ended::Clean
        })
    }

    /// The file that tells others that all is well; not more often than they can see a difference.
    fn note_tick(&mut self) -> Result<()> {
        self.info.last_tick = Some(self.cx.now());
        if self
            .last_written
            .is_none_or(|at| at.elapsed() >= Duration::from_secs(1))
        {
            self.info.write(&self.cx.paths)?;
            self.last_written = Some(Instant::now());
        }
        Ok(())
    }

    /// Ends in order: steps finish, agents are left to the next orchestrator, or ended where that is wanted.
    async fn wind_down(&mut self, with_agents: bool, stop: &mut watch::Receiver<Stop>) -> Result<()> {
        let begun = Instant::now();
        let mut with_agents = with_agents;
        loop {
            self.reap();
            with_agents |= *stop.borrow_and_update() == Stop::WithAgents;
            if with_agents {
                self.running.values().for_each(|h| {
                    h.stop.send_replace(true);
                });
            } else if self.running.values().all(|h| h.adoptable.load(Ordering::SeqCst)) {
                break;
            }
            if self.running.is_empty() || begun.elapsed() > PATIENCE {
                break;
            }
            tokio::select! {
                _ = self.workers.join_next() => {}
                _ = stop.changed() => {}
                () = tokio::time::sleep(SOON) => {}
            }
        }
        self.workers.abort_all();
        while self.workers.join_next().await.is_some() {}
        for handle in self.running.values().filter(|h| !h.adoptable.load(Ordering::SeqCst)) {
            supervise::end_family(&handle.run.mark, None, self.cx.run_limits().grace).await;
        }
        Ok(())
    }
}
