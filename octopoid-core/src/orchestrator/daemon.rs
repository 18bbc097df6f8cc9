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
    context::{Context, Player},
    journal::Run,
    lock::DaemonInfo,
    plan::{self},
    sweep, wake,
    worker::{Handle, Worker},
};
use crate::{
    agent::supervise,
    backend::{Heartbeat, Reach},
    clock::Timestamp,
    error::{ErrorCode, Result},
    id::TaskId,
    lifecycle::Command,
    model::AttemptKind,
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
pub(super) const SOON: Duration = Duration::from_millis(20);
/// How often a missing program is looked for.
pub(super) const PROBE: Duration = Duration::from_secs(5);
/// How long `--once` waits for a retry that is due soon.
const WORTH_WAITING: Duration = Duration::from_secs(30);
/// How long steps may take to end when the orchestrator stops.
const PATIENCE: Duration = Duration::from_secs(60);
/// Time between two sweeps of worktrees.
const SWEEP: Duration = Duration::from_secs(600);

pub(super) struct Daemon {
    pub(super) cx: Arc<Context>,
    pub(super) once: bool,
    pub(super) running: HashMap<(TaskId, i64), Handle>,
    workers: JoinSet<(TaskId, i64)>,
    pub(super) last_start: HashMap<String, Timestamp>,
    info: DaemonInfo,
    last_written: Option<Instant>,
    last_sweep: Option<Instant>,
    last_beat: Option<Instant>,
    /// Whether a person took this orchestrator out of service on the server.
    in_service: bool,
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
            last_beat: None,
            in_service: true,
        }
    }

    pub(super) async fn run(mut self, mut stop: watch::Receiver<Stop>) -> Result<Ended> {
        self.cx.journal.set_stop_now(false)?;
        let agents: Vec<String> = self.cx.players.iter().map(|p| p.name.clone()).collect();
        self.cx.journal.review_findings(&agents)?;
        let woken = Arc::new(Notify::new());
        let watch = wake::watch(&self.cx.watched, Arc::clone(&woken));
        if let Err(error) = &watch {
            tracing::warn!("{error}; looking at the queue every {} s instead", PROBE.as_secs());
        }
        let mut changes = self.cx.backend.changes();
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
            let until = tokio::time::Instant::now() + pause;
            loop {
                // A sign of life is no reason to look at the queue.
                let beat = self.next_beat();
                tokio::select! {
                    _ = self.workers.join_next(), if !self.workers.is_empty() => break,
                    _ = changes.changed() => break,
                    () = woken.notified() => break,
                    _ = stop.changed() => break,
                    () = tokio::time::sleep_until(until) => break,
                    () = tokio::time::sleep(beat.unwrap_or_default()), if beat.is_some() => {
                        let in_service = self.in_service;
                        if let Err(error) = self.beat().await {
                            tracing::warn!("the server did not take a sign of life: {error}");
                            self.last_beat = Some(Instant::now());
                        }
                        if in_service != self.in_service {
                            break;
                        }
                    }
                }
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
        self.beat().await?;
        self.keep_own_leases().await?;
        for id in self.cx.backend.expire().await? {
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
            claims_paused: self.cx.journal.pause()?.is_some() || !self.in_service,
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
        if let Some(at) = self.cx.backend.next_deadline().await? {
            pause = pause.min(at.since(self.cx.now()).max(SOON));
        }
        Ok(pause)
    }

    /// How long until the next sign of life; none where nobody waits for one.
    fn next_beat(&self) -> Option<Duration> {
        if matches!(self.cx.backend.reach(), Reach::Local) {
            return None;
        }
        let since = self.last_beat.map_or(Duration::MAX, |at| at.elapsed());
        Some(self.cx.config.heartbeat().saturating_sub(since))
    }

    /// A sign of life for the server, which also makes this orchestrator known there.
    async fn beat(&mut self) -> Result<()> {
        let due = self
            .last_beat
            .is_none_or(|at| at.elapsed() >= self.cx.config.heartbeat());
        if matches!(self.cx.backend.reach(), Reach::Local) || !due {
            return Ok(());
        }
        let server = &self.cx.config.server;
        let beat = Heartbeat {
            cluster: server.cluster.clone(),
            machine_id: server.machine_id.clone(),
            repo_url: self.cx.repo_url(),
            roles: self.cx.backend.rules().roles.clone().unwrap_or_default(),
        };
        self.in_service = self.cx.backend.heartbeat(&beat).await?;
        self.last_beat = Some(Instant::now());
        self.cx.share_pending().await
    }

    /// After a sleep of the machine: whoever still works and was not replaced goes on working.
    async fn keep_own_leases(&self) -> Result<()> {
        if self.running.is_empty() {
            return Ok(());
        }
        let now = self.cx.now();
        for task in self.cx.backend.claimed(&self.cx.id).await? {
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
                match self.cx.backend.apply(&task.id, renewal).await {
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
        let claimed = self.cx.backend.claimed(&self.cx.id).await?;
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
        let retry = self.cx.backend.next_retry().await?.map(|at| at.since(now));
        Ok(retry.filter(|wait| *wait <= WORTH_WAITING).map(|wait| wait.max(SOON)))
    }

    /// What the end of a `--once` run says about the project.
    async fn verdict(&self) -> Result<Ended> {
        let attention = !self.cx.backend.status().await?.attention.is_empty();
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
