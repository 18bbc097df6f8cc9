//! Work that travels: with a server, the next step of a task may be taken on another machine, so its commits go through
//! the remote before the server is told of them.
//!
//! Work that is handed in is held back until the remote has it: what others are to review and merge, they must be able
//! to fetch. What was begun and did not come so far is told at once, and its commits follow when the remote takes them.

use std::{
    path::Path,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use super::{context::Context, worker::Worker};
use crate::{
    backend::Reach,
    error::{Error, ErrorCode, Result},
    git::Repo,
    id::TaskId,
    lifecycle::Command,
    model::AttemptKind,
};

/// How notes of commits that could not be pushed yet begin.
const PENDING: &str = "share:";
/// Commits of the base branch that are searched for a merge made elsewhere.
const FAR: usize = 2000;
/// For how many leases, one after the other, a worker waits for a remote that does not take what is to be handed in.
const LEASES: u32 = 3;
/// The longest pause between two tries.
const PAUSE: Duration = Duration::from_secs(30);

/// What became of commits that others need before they are told of them.
pub(super) enum Shared {
    /// Every machine can have them.
    There,
    /// The run was ended from outside before the remote took them.
    Stopped,
    /// The remote did not take them for as long as it was worth waiting; why not.
    Refused(String),
}

impl Context {
    /// The remote through which machines share commits; none for a queue of this machine.
    pub(super) fn shared_remote(&self) -> Option<String> {
        match self.backend.reach() {
            Reach::Local => None,
            Reach::Online { .. } | Reach::Offline { .. } => self.remote.clone(),
        }
    }

    /// Pushes the commit that `command` speaks of, or notes it for later: the work is safe here in any case. What is
    /// handed in was pushed before, by [`Worker::share_first`].
    pub(super) async fn share(&self, task: &TaskId, command: &Command) -> Result<()> {
        let evidence = match command {
            Command::Continue { evidence, .. } | Command::Ask { evidence, .. } | Command::Fail { evidence, .. } => {
                evidence
            }
            _ => return Ok(()),
        };
        let (Some(_), Some(sha)) = (self.shared_remote(), &evidence.head_sha) else {
            return Ok(());
        };
        let key = format!("{PENDING}{task}:{sha}");
        self.journal.set_note(&key, Some(""))?;
        self.push_shared(&key).await
    }

    async fn push_shared(&self, key: &str) -> Result<()> {
        let (Some(remote), Some((task, sha))) = (
            self.shared_remote(),
            key.strip_prefix(PENDING).and_then(|rest| rest.rsplit_once(':')),
        ) else {
            return Ok(());
        };
        let (task, sha) = (task.to_owned(), sha.to_owned());
        let pushed = self.git(move |repo| repo.share(&remote, &task, &sha)).await;
        match pushed {
            Ok(()) => self.journal.set_note(key, None),
            Err(error) => {
                tracing::warn!("{key} waits for the remote: {error}");
                Ok(())
            }
        }
    }

    /// Tries again what the remote did not take.
    pub(super) async fn share_pending(&self) -> Result<()> {
        for (key, _) in self.journal.notes(PENDING)? {
            self.push_shared(&key).await?;
        }
        Ok(())
    }

    /// Refuses to work on a task as long as the remote does not take what was made of it here: what comes of it could
    /// not be handed in either.
    async fn share_earlier(&self, task: &TaskId) -> Result<()> {
        for (key, _) in self.journal.notes(&format!("{PENDING}{task}:"))? {
            self.push_shared(&key).await?;
            if self.journal.note(&key)?.is_some() {
                return Err(Error::new(
                    ErrorCode::Offline,
                    format!("the remote does not take the commits that were made of task {task} before"),
                )
                .with_hint("is the remote writable from here? the orchestrator's log has what it said"));
            }
        }
        Ok(())
    }

    /// Makes sure that a commit which another machine may have made is here.
    pub(super) async fn need(&self, task: &TaskId, sha: &str) -> Result<()> {
        let (remote, task, sha) = (self.shared_remote(), task.to_string(), sha.to_owned());
        self.git(move |repo| {
            if repo.has_commit(&sha)? {
                return Ok(());
            }
            let Some(remote) = remote else {
                return Err(Error::new(
                    ErrorCode::Git,
                    format!("commit {sha} of task {task} is not in this repository"),
                ));
            };
            repo.fetch_shared(&remote, &task, &sha)
        })
        .await
    }
}

impl Worker {
    /// Pushes the commit that is to be handed in, again and again while the claim is ours and it is worth waiting.
    /// Another orchestrator may go on with it meanwhile: the agent has ended, and everything it made is committed.
    pub(super) async fn share_first(&self, sha: &str) -> Result<Shared> {
        let Some(remote) = self.cx.shared_remote() else {
            return Ok(Shared::There);
        };
        let (begun, patience) = (Instant::now(), self.cx.config.lease() * LEASES);
        let mut stop = self.stop.subscribe();
        let mut pause = Duration::from_secs(1);
        loop {
            let (remote, task, sha) = (remote.clone(), self.run.task.to_string(), sha.to_owned());
            let pushed = self.cx.git(move |repo| repo.share(&remote, &task, &sha)).await;
            self.adoptable.store(false, Ordering::SeqCst);
            let Err(error) = pushed else {
                return Ok(Shared::There);
            };
            if begun.elapsed() + pause > patience {
                let why = format!("the remote does not take the work, which is kept here: {error}");
                return Ok(Shared::Refused(why));
            }
            self.cx.tell(
                &self.task,
                format!("is not handed in before the remote has it: {error}"),
            );
            self.adoptable.store(true, Ordering::SeqCst);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = stop.wait_for(|stopped| *stopped) => return Ok(Shared::Stopped),
            }
            pause = (pause * 2).min(PAUSE);
        }
    }

    /// The latest work on the task, from whichever machine, on the task's branch here.
    pub(super) async fn take_over_work(&self, worktree: &Path) -> Result<()> {
        if self.cx.shared_remote().is_none() {
            return Ok(());
        }
        self.cx.share_earlier(&self.run.task).await?;
        let attempts = self.cx.backend.attempts(&self.run.task).await?;
        let latest = attempts
            .into_iter()
            .rev()
            .filter(|a| a.kind == AttemptKind::Work && a.evidence.commits > 0)
            .find_map(|a| a.evidence.head_sha);
        let Some(head) = latest else { return Ok(()) };
        // Its machine may not have reached the remote yet; then the work begins from what is known here.
        if let Err(error) = self.cx.need(&self.run.task, &head).await {
            tracing::warn!(task = %self.run.task, "earlier work is not to be had: {error}");
            return Ok(());
        }
        let (path, branch) = (worktree.to_path_buf(), self.task.work_branch());
        self.cx.git(move |repo| take_over(repo, &path, &branch, &head)).await
    }

    /// The commit with which another machine merged this task, if it ended before it could say so.
    pub(super) async fn merged_elsewhere(&self, base: &str, head: &str) -> Result<Option<String>> {
        let (Some(from), true) = (self.task.base_sha.clone(), self.cx.shared_remote().is_some()) else {
            return Ok(None);
        };
        let (tip, line) = (base.to_owned(), format!("{}{head}", super::land::HEAD_LINE));
        self.cx
            .git(move |repo| {
                if !repo.has_commit(&from)? {
                    return Ok(None);
                }
                repo.find_message(Some(&from), &tip, &line, FAR)
            })
            .await
    }

    /// The refs of merged work are not needed on the remote any more.
    pub(super) async fn unshare(&self) {
        let Some(remote) = self.cx.shared_remote() else { return };
        // Others may still need them while the server does not know of the merge.
        if !matches!(self.cx.backend.reach(), Reach::Online { waiting: 0, .. }) {
            return;
        }
        let task = self.run.task.to_string();
        if let Err(error) = self.cx.git(move |repo| repo.unshare(&remote, &task)).await {
            tracing::debug!(task = %self.run.task, "refs of merged work stay on the remote: {error}");
        }
    }
}

/// Moves the branch forward to `head`; a branch with commits of its own stays as it is.
fn take_over(repo: &Repo, path: &Path, branch: &str, head: &str) -> Result<()> {
    if path.exists() {
        let here = repo.save(path, "octopoid: work in progress")?.head;
        if here != head && repo.is_ancestor(&here, head)? {
            repo.forward(path, &here, head)?;
        }
        return Ok(());
    }
    let tip = repo.branch_tip(branch)?;
    if let Some(tip) = &tip
        && (tip == head || !repo.is_ancestor(tip, head)?)
    {
        return Ok(());
    }
    repo.move_branch(branch, tip.as_deref(), head, "octopoid: work from another machine")
}
