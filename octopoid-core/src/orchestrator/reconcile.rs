//! Start-up: whatever an earlier orchestrator left is taken up, given back or put away, before anything is claimed.

use std::sync::Arc;

use super::{
    daemon::Daemon,
    journal::Run,
    lock::DaemonInfo,
    worker::{Handle, Worker},
};
use crate::{
    error::{ErrorCode, Result},
    lifecycle::Command,
    model::{AttemptKind, Task},
};

impl Daemon {
    pub(super) async fn reconcile(&mut self) -> Result<()> {
        // A file that names a process which is gone: the last orchestrator was killed, perhaps while it held a lock.
        if DaemonInfo::read(&self.cx.paths).is_some() {
            for lock in self.cx.git(crate::git::Repo::clear_stale_locks).await? {
                tracing::warn!("removed the stale lock {}", lock.display());
            }
        }
        let claimed = self.cx.backend.claimed(&self.cx.id).await?;
        let open = self.cx.journal.open_runs()?;
        // Leases first: time may have passed, and the sweep must not take what is about to be taken up.
        for run in &open {
            if let Some(task) = owner_of(run, &claimed) {
                let renewal = Command::Renew {
                    token: run.token.clone(),
                    lease: self.cx.config.lease(),
                };
                match self.cx.backend.apply(&task.id, renewal).await {
                    Ok(_) => {}
                    // It was lost since the list was read; it is put away below or by the first look.
                    Err(error) if matches!(error.code(), ErrorCode::StaleClaim | ErrorCode::IllegalTransition) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        for run in open {
            match owner_of(&run, &claimed) {
                Some(task) => self.take_up(run, task.clone()).await?,
                None => self.put_away(run).await?,
            }
        }
        // Claimed by this orchestrator, but never written down here: it ended between the two.
        for task in claimed
            .iter()
            .filter(|t| t.orchestrator_id.as_ref() == Some(&self.cx.id))
        {
            let known = self
                .running
                .keys()
                .any(|(id, epoch)| *id == task.id && *epoch == task.epoch);
            if known {
                continue;
            }
            let token = task.claim_token.clone().unwrap_or_default();
            let released = self
                .cx
                .backend
                .apply(
                    &task.id,
                    Command::Release {
                        token,
                        reason: "the orchestrator ended before it began".into(),
                    },
                )
                .await;
            match released {
                Ok(_) => {}
                Err(error) if matches!(error.code(), ErrorCode::StaleClaim | ErrorCode::IllegalTransition) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Goes on with a run whose claim still holds.
    async fn take_up(&mut self, run: Run, task: Task) -> Result<()> {
        let attempts = self.cx.backend.attempts(&run.task).await?;
        let attempt = attempts
            .into_iter()
            .find(|a| Some(a.number) == run.attempt && a.epoch == run.epoch);
        let player = self.cx.players.iter().find(|p| p.name == run.agent).cloned();
        self.cx.tell(&task, "taken up where it was left");
        self.start(run, task, attempt, player);
        Ok(())
    }

    /// Ends what is left of a run whose claim is gone; its commits are kept.
    async fn put_away(&mut self, run: Run) -> Result<()> {
        let task = match self.cx.backend.task(&run.task).await {
            Ok(task) => task,
            Err(error) if error.code() == ErrorCode::NotFound => {
                return self.cx.journal.collected(&run.task, run.epoch);
            }
            Err(error) => return Err(error),
        };
        let handle = Handle::new(run.clone(), AttemptKind::Work);
        let worker = Worker {
            cx: Arc::clone(&self.cx),
            run,
            task,
            attempt: None,
            player: None,
            stop: handle.stop,
            adoptable: handle.adoptable,
            before: Vec::new(),
        };
        worker.abandon().await;
        Ok(())
    }
}

fn owner_of<'a>(run: &Run, claimed: &'a [Task]) -> Option<&'a Task> {
    claimed
        .iter()
        .find(|t| t.id == run.task && t.claim_token.as_deref() == Some(&run.token))
}
