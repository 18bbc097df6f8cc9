//! One claim from its journal entry to its end: renewal beside it; work, review or landing inside it.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use tokio::sync::watch;

use super::{
    context::{Context, JournaledRun, Player},
    journal::Run,
};
use crate::{
    agent::{Ending, supervise},
    error::{Error, ErrorCode, Result},
    lifecycle::{Command, Failure, FailureClass},
    model::{Attempt, AttemptKind, Evidence, QueueName, Task, Usage},
    role::{Assignment, Outcome, RoleError, RunState},
};

/// Handles on one running claim.
#[derive(Debug, Clone)]
pub(super) struct Handle {
    pub run: Run,
    pub kind: AttemptKind,
    /// Ends the run's processes; its work is kept.
    pub stop: watch::Sender<bool>,
    /// Whether only an agent's process is waited for, so that another orchestrator could go on with it.
    pub adoptable: Arc<AtomicBool>,
    /// Set when the worker has ended, however it did.
    pub over: Arc<AtomicBool>,
}

impl Handle {
    pub(super) fn new(run: Run, kind: AttemptKind) -> Self {
        Self {
            run,
            kind,
            stop: watch::channel(false).0,
            adoptable: Arc::default(),
            over: Arc::default(),
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }
}

/// Sets a flag when it goes away, also by a panic or an abort.
pub(super) struct SetOnDrop(pub Arc<AtomicBool>);

impl Drop for SetOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// One claim and what it is worked on with.
pub(super) struct Worker {
    pub cx: Arc<Context>,
    pub run: Run,
    pub task: Task,
    pub attempt: Option<Attempt>,
    pub player: Option<Player>,
    pub stop: watch::Sender<bool>,
    pub adoptable: Arc<AtomicBool>,
    /// Set when the earlier claims on the same task that were worked on here are over.
    pub before: Vec<Arc<AtomicBool>>,
}

impl Worker {
    /// Works on the claim to its end. What happens is told to the engine, unless the claim is not ours any more.
    pub(super) async fn go(self) {
        // An earlier claim's agent may still be on its way out of the same worktree.
        while self.before.iter().any(|over| !over.load(Ordering::SeqCst)) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let renewal = tokio::spawn(renew(Arc::clone(&self.cx), self.run.clone(), self.stop.clone()));
        let _renewal = AbortOnDrop(renewal.abort_handle());
        let kind = self.task.claim_kind.unwrap_or(AttemptKind::Work);
        let result = match kind {
            AttemptKind::Work => self.work().await,
            AttemptKind::Review => self.review().await,
            AttemptKind::Land => self.land().await,
        };
        if let Err(error) = result {
            self.give_up(error).await;
        }
    }

    /// An error that no step had an answer to: tell the engine, so that the task does not hang on a lease.
    async fn give_up(&self, error: Error) {
        if error.code() == ErrorCode::StaleClaim {
            self.abandon().await;
            return;
        }
        let role_error = RoleError::from(error);
        tracing::warn!(task = %self.run.task, "{role_error}");
        let told = self
            .fail(
                role_error.failure,
                role_error.message,
                Evidence::default(),
                Usage::default(),
                role_error.retry_at,
            )
            .await;
        match told {
            Ok(()) => {}
            Err(error) if error.code() == ErrorCode::StaleClaim => self.abandon().await,
            // The lease will run out, or the next start will find the run in the journal.
            Err(error) => tracing::error!(task = %self.run.task, "cannot tell that the run failed: {error}"),
        }
    }

    /// The claim belongs to somebody else now: end our processes, keep our commits, touch nothing more.
    pub(super) async fn abandon(&self) {
        supervise::end_family(&self.run.mark, None, self.cx.run_limits().grace).await;
        let (keep, place) = (self.cx.keep_name(&self.run), self.cx.paths.worktree(&self.run.task));
        let kept = self
            .cx
            .git(move |repo| {
                if place.exists() {
                    repo.keep(&keep, &repo.head_of(&place)?)
                } else {
                    Ok(())
                }
            })
            .await;
        if let Err(error) = kept.and_then(|()| self.cx.journal.collected(&self.run.task, self.run.epoch)) {
            tracing::warn!(task = %self.run.task, "cannot put an abandoned run away: {error}");
        }
        self.cx
            .tell(&self.task, "the claim is not ours any more; its commits are kept");
    }

    /// Ends the claim with a failure; systemic ones are written down as findings and cost the task nothing.
    pub(super) async fn fail(
        &self,
        failure: Failure,
        reason: String,
        evidence: Evidence,
        usage: Usage,
        retry_at: Option<crate::clock::Timestamp>,
    ) -> Result<()> {
        self.fail_to(failure, reason, evidence, usage, retry_at, None).await
    }

    /// The same, when nothing was seen that the reason does not say.
    pub(super) async fn fail_without_evidence(&self, failure: Failure, reason: String) -> Result<()> {
        self.fail(failure, reason, Evidence::default(), Usage::default(), None)
            .await
    }

    /// The same, with the state that the flow names for this answer.
    pub(super) async fn fail_to(
        &self,
        failure: Failure,
        reason: String,
        evidence: Evidence,
        usage: Usage,
        retry_at: Option<crate::clock::Timestamp>,
        send_to: Option<QueueName>,
    ) -> Result<()> {
        // Nothing of this run may go on working once somebody else can have the task.
        supervise::end_family(&self.run.mark, None, self.cx.run_limits().grace).await;
        let mut retry_at = retry_at;
        if failure.class() == FailureClass::Systemic {
            let subject = match failure {
                Failure::BaseRed => format!("base:{}", self.task.branch),
                Failure::CheckMissing | Failure::Disk => "claims".to_owned(),
                _ => format!("agent:{}", self.run.agent),
            };
            let count = self
                .cx
                .journal
                .findings()?
                .iter()
                .find(|f| f.subject == subject)
                .map_or(0, |f| f.count);
            let pause = Duration::from_secs(30u64 << count.clamp(0, 6));
            let until = retry_at.unwrap_or(self.cx.now().plus(pause));
            self.cx
                .journal
                .found(&subject, failure.as_str(), &reason, self.cx.now(), Some(until))?;
            // Another agent may work on the task meanwhile; what the engine or a reviewer met, any other would meet too.
            let is_work = self.task.claim_kind == Some(AttemptKind::Work);
            retry_at = (!is_work || failure == Failure::BaseRed).then_some(until);
        }
        self.cx.tell(
            &self.task,
            format!("{failure}: {}", reason.lines().next().unwrap_or_default()),
        );
        let command = Command::Fail {
            token: self.run.token.clone(),
            failure,
            reason,
            evidence: Box::new(evidence),
            usage,
            retry_at,
            send_to,
        };
        self.cx.apply(&self.run, command).await?;
        self.collected()
    }

    pub(super) fn collected(&self) -> Result<()> {
        self.cx.journal.collected(&self.run.task, self.run.epoch)
    }

    pub(super) fn stopped(&self) -> bool {
        *self.stop.borrow()
    }

    /// Gives the claim back because the run was ended from outside.
    pub(super) async fn release(&self, reason: &str) -> Result<()> {
        let command = Command::Release {
            token: self.run.token.clone(),
            reason: reason.to_owned(),
        };
        match self.cx.apply(&self.run, command).await {
            Ok(_) => self.collected(),
            Err(error) if error.code() == ErrorCode::StaleClaim => {
                self.abandon().await;
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    pub(super) fn attempt(&self) -> Result<&Attempt> {
        self.attempt.as_ref().ok_or_else(|| {
            Error::new(
                ErrorCode::Internal,
                format!("the claim on task {} has no attempt", self.run.task),
            )
        })
    }

    /// The attempt's folder, emptied of what another task of the same id may have left there.
    pub(super) fn prepare_dir(&self) -> Result<PathBuf> {
        let dir = self.cx.dir_of(&self.run);
        let fresh = self.cx.journal.state(&self.run.task, self.run.epoch)? == RunState::Fresh;
        if fresh && dir.join("stdout.jsonl").exists() {
            let free = (1..1000)
                .map(|n| dir.with_extension(format!("old-{n}")))
                .find(|p| !p.exists());
            if let Some(free) = free {
                fs::rename(&dir, &free).map_err(|e| Error::io("move aside", &dir, e))?;
            }
        }
        fs::create_dir_all(&dir).map_err(|e| Error::io("create", &dir, e))?;
        Ok(dir)
    }

    /// Lets the role work on the assignment.
    pub(super) async fn play(&self, assignment: &Assignment) -> Result<Outcome, RoleError> {
        let Some(player) = &self.player else {
            supervise::end_family(&self.run.mark, None, self.cx.run_limits().grace).await;
            return Err(RoleError::new(
                Failure::AgentMissing,
                format!("no agent {:?} is configured any more", self.run.agent),
            ));
        };
        if player.needs_program {
            self.adoptable.store(true, Ordering::SeqCst);
        }
        let played = if player.needs_program {
            // The supervisor of its process keeps the limits.
            player.role.run(assignment).await
        } else {
            super::own::play(&*player.role, assignment).await
        };
        self.adoptable.store(false, Ordering::SeqCst);
        if played.is_ok() {
            self.cx
                .journal
                .cleared(&format!("agent:{}", self.run.agent))
                .map_err(RoleError::from)?;
        }
        played
    }

    /// The assignment, filled with what is the same for work and review.
    pub(super) async fn assignment(
        &self,
        worktree: &Path,
        dir: &Path,
        base_sha: &str,
        head_sha: &str,
    ) -> Result<Assignment> {
        let attempt = self.attempt()?.clone();
        let (base, head) = (base_sha.to_owned(), head_sha.to_owned());
        let (commits, diffstat, has_identity) = self
            .cx
            .git(move |repo| {
                let lines = repo.log(Some(&base), &head, 50)?;
                let commits: Vec<String> = lines
                    .iter()
                    .map(|l| format!("{} {}", &l.sha[..l.sha.len().min(10)], l.summary))
                    .collect();
                let diffstat = if commits.is_empty() {
                    String::new()
                } else {
                    repo.diffstat(&base, &head)?
                };
                Ok((commits, diffstat, repo.has_identity()))
            })
            .await?;
        Ok(Assignment {
            feedback: self.cx.backend.messages(&self.run.task).await?,
            checks: self.cx.checks_of(&self.task),
            check_results: Vec::new(),
            conflict: Vec::new(),
            resume: None,
            mark: self.run.mark.clone(),
            limits: self.cx.run_limits(),
            begun: SystemTime::UNIX_EPOCH
                + Duration::from_millis(u64::try_from(self.run.begun_at.as_millis()).unwrap_or(0)),
            root: self.cx.paths.root().to_path_buf(),
            remote: self.cx.remote.clone(),
            record: Arc::new(JournaledRun {
                journal: Arc::clone(&self.cx.journal),
                run: self.run.clone(),
            }),
            clock: Arc::clone(&self.cx.clock),
            stop: self.stop.subscribe(),
            task: self.task.clone(),
            attempt,
            worktree: worktree.to_path_buf(),
            dir: dir.to_path_buf(),
            base_sha: base_sha.to_owned(),
            head_sha: head_sha.to_owned(),
            commits,
            diffstat,
            has_identity,
        })
    }
}

/// Ends a helper task together with the worker that started it, also when that one is aborted.
struct AbortOnDrop(tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A failure that the outcome itself shows, before anything is looked at in the repository.
pub(super) fn failure_of(outcome: &Outcome) -> Option<(Failure, String, Option<crate::clock::Timestamp>)> {
    let reading = &outcome.reading;
    if let Some(failure) = &reading.failure {
        return Some(failure.clone());
    }
    let why = |what: String| {
        if outcome.tail.is_empty() {
            what
        } else {
            format!("{what}\n\n{}", outcome.tail)
        }
    };
    match outcome.ending {
        Some(Ending::WallTimeout) => Some((
            Failure::WallTimeout,
            why("the agent ran longer than it may".into()),
            None,
        )),
        Some(Ending::SilenceTimeout) => Some((
            Failure::SilenceTimeout,
            why("the agent gave no sign of life for too long".into()),
            None,
        )),
        Some(Ending::Unknown) => Some((
            Failure::AgentLost,
            "the agent's process is gone and left no exit code".into(),
            None,
        )),
        Some(Ending::Signaled(signal)) => Some((
            Failure::AgentExit,
            why(format!("the agent was ended by signal {signal}")),
            None,
        )),
        // A program that says what it wants (more turns, an answer) may do so with any exit code.
        Some(Ending::Exited(code))
            if code != 0
                && !matches!(
                    reading.reported,
                    Some(crate::agent::Reported::NeedsContinuation | crate::agent::Reported::Question)
                ) =>
        {
            Some((
                Failure::AgentExit,
                why(format!("the agent ended with exit code {code}")),
                None,
            ))
        }
        _ => None,
    }
}

/// Keeps the lease alive while the claim is worked on; ends the work when the claim is lost.
async fn renew(cx: Arc<Context>, run: Run, stop: watch::Sender<bool>) {
    let lease = cx.config.lease();
    loop {
        tokio::time::sleep(lease / 3).await;
        let command = Command::Renew {
            token: run.token.clone(),
            lease,
        };
        match cx.backend.apply(&run.task, command).await {
            Ok(_) => {}
            Err(error)
                if matches!(
                    error.code(),
                    ErrorCode::StaleClaim | ErrorCode::IllegalTransition | ErrorCode::NotFound
                ) =>
            {
                tracing::warn!(task = %run.task, "the claim is lost: {error}");
                stop.send_replace(true);
                return;
            }
            // Passing troubles; a third of the lease is left for two more tries.
            Err(error) => tracing::warn!(task = %run.task, "cannot renew the lease: {error}"),
        }
    }
}
