//! After a merge: the base branch is read back, and the person's checkout follows where that is safe.

use super::worker::Worker;
use crate::{error::Result, git::Repo, lifecycle::Failure};

/// What became of the person's checkout.
enum Followed {
    /// It follows, or does not have the base branch checked out.
    Yes,
    /// Left alone; it still stands on this commit.
    LeftAt(String),
}

impl Worker {
    /// Reads the base branch once more; done is what is in it. Then the human's checkout may follow.
    pub(super) async fn finish(&self, before: &str, sha: &str) -> Result<()> {
        let tip = self.cx.base_tip(&self.task.branch).await?;
        let (merged, now_at) = (sha.to_owned(), tip.clone());
        if !self.cx.git(move |repo| repo.is_ancestor(&merged, &now_at)).await? {
            let reason = format!(
                "{sha} was merged, but {} at {tip} does not contain it",
                self.task.branch
            );
            return self.fail_without_evidence(Failure::Repository, reason).await;
        }
        // The merge stands, whatever becomes of the checkout: that is the person's own.
        if let Err(error) = self.follow(before, &tip).await {
            tracing::warn!(task = %self.run.task, "the main checkout could not follow: {error}");
        }
        self.cx.journal.cleared(&format!("base:{}", self.task.branch))?;
        self.advance(Some(sha.to_owned())).await?;
        self.unshare().await;
        Ok(())
    }

    async fn follow(&self, before: &str, tip: &str) -> Result<()> {
        let key = format!("checkout:{}", self.task.branch);
        let noted = self.cx.journal.note(&key)?;
        let (branch, new) = (self.task.branch.clone(), tip.to_owned());
        if self.cx.remote.is_some() {
            let followed = self.cx.git(move |repo| follow_remote(repo, &branch, &new)).await?;
            if !followed {
                let text = "has changes and was left alone; `git pull` brings it up to date";
                self.cx
                    .tell(&self.task, format!("your checkout of {} {text}", self.task.branch));
            }
            return Ok(());
        }
        let old = before.to_owned();
        match self
            .cx
            .git(move |repo| follow_local(repo, &branch, &old, noted.as_deref(), &new))
            .await?
        {
            Followed::Yes => self.cx.journal.set_note(&key, None),
            Followed::LeftAt(stands) => {
                self.cx.journal.set_note(&key, Some(&stands))?;
                self.cx.tell(
                    &self.task,
                    format!(
                        "your checkout of {} has changes and was left alone; `git read-tree -m -u {stands} HEAD` brings the rest of it up to date",
                        self.task.branch
                    ),
                );
                Ok(())
            }
        }
    }
}

/// The local branch follows only forwards; a person's own commits on it stay.
fn follow_remote(repo: &Repo, branch: &str, new: &str) -> Result<bool> {
    let Some(local) = repo.branch_tip(branch)? else {
        return Ok(true);
    };
    if local == new || !repo.is_ancestor(&local, new)? {
        return Ok(true);
    }
    if repo.main_checkout_is_dirty(branch)? {
        return Ok(false);
    }
    repo.move_branch(branch, Some(&local), new, "octopoid: follow the remote")?;
    repo.follow_in_main_checkout(branch, &local, new)
}

/// The branch has moved from `before` to `new`; the checkout may stand on a commit from before that, noted when it was left alone.
fn follow_local(repo: &Repo, branch: &str, before: &str, noted: Option<&str>, new: &str) -> Result<Followed> {
    for stands in [Some(before), noted].into_iter().flatten() {
        if repo.follow_in_main_checkout(branch, stands, new)? {
            return Ok(Followed::Yes);
        }
    }
    let stands = match noted {
        Some(noted) if !repo.index_is_at(before)? => noted,
        _ => before,
    };
    Ok(Followed::LeftAt(stands.to_owned()))
}
