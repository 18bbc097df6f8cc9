//! Before an agent works: its worktree on the task's branch, with earlier work in it and the base as it is now.

use std::path::Path;

use super::worker::Worker;
use crate::{
    config::MergeMethod,
    error::{Error, ErrorCode, Result},
    git::{Checkout, Merged, Repo, Standing},
    model::{AttemptOutcome, QueueName},
};

/// A worktree that is ready for an agent.
pub(super) struct Ready {
    pub base_sha: String,
    pub head_sha: String,
    pub conflict: Vec<String>,
}

impl Worker {
    /// Session of the latest attempt that was to be continued, when this claim continues it.
    pub(super) async fn session_to_resume(&self) -> Result<Option<String>> {
        if self.attempt()?.claimed_from != QueueName::needs_continuation() {
            return Ok(None);
        }
        let attempts = self.cx.backend.attempts(&self.run.task).await?;
        let last = attempts
            .into_iter()
            .rev()
            .find(|a| a.outcome == Some(AttemptOutcome::Continued));
        Ok(last
            .filter(|a| a.agent == self.run.agent)
            .and_then(|a| a.evidence.session_id))
    }

    pub(super) async fn look_at_worktree(&self, worktree: &Path, base_sha: String, resolves: bool) -> Result<Ready> {
        let (path, branch, keep) = (
            worktree.to_path_buf(),
            self.task.work_branch(),
            self.cx.keep_name(&self.run),
        );
        let base = base_sha.clone();
        let head_sha = self
            .cx
            .git(move |repo| {
                if !path.exists() {
                    repo.ensure_worktree(
                        &path,
                        Checkout::Branch {
                            name: &branch,
                            base: &base,
                        },
                        &keep,
                    )?;
                }
                repo.head_of(&path)
            })
            .await?;
        let conflict = if resolves {
            self.conflicting_files(&base_sha, &head_sha).await?
        } else {
            Vec::new()
        };
        Ok(Ready {
            base_sha,
            head_sha,
            conflict,
        })
    }

    pub(super) async fn conflicting_files(&self, base: &str, head: &str) -> Result<Vec<String>> {
        let (base, head) = (base.to_owned(), head.to_owned());
        self.cx.git(move |repo| repo.conflicts_between(&base, &head)).await
    }

    /// The worktree on the task's branch. Earlier work stays; where the base has moved on, it is merged in if that is clean.
    pub(super) async fn prepare_worktree(&self, worktree: &Path, tip: String, resolves: bool) -> Result<Ready> {
        let (path, branch, keep) = (
            worktree.to_path_buf(),
            self.task.work_branch(),
            self.cx.keep_name(&self.run),
        );
        let title = self.task.branch.clone();
        let first = self.attempt()?.number == 1;
        if !first {
            self.take_over_work(worktree).await?;
        }
        self.cx
            .git(move |repo| {
                if first {
                    start_fresh(repo, &path, &branch, &tip, &keep)?;
                }
                let standing = repo.ensure_worktree(
                    &path,
                    Checkout::Branch {
                        name: &branch,
                        base: &tip,
                    },
                    &keep,
                )?;
                if let (true, Some(conflict)) = (resolves, repo.merge_under_way(&path)?) {
                    let head_sha = repo.head_of(&path)?;
                    return Ok(Ready {
                        base_sha: tip,
                        head_sha,
                        conflict,
                    });
                }
                // A fresh worktree holds nothing to save; on a large repository the look would cost as much as the checkout.
                let head = match standing {
                    Standing::Created => repo.head_of(&path)?,
                    Standing::Reused | Standing::Repaired => repo.save(&path, "octopoid: work in progress")?.head,
                };
                repo.keep(&keep, &head)?;
                let mut ready = Ready {
                    base_sha: tip.clone(),
                    head_sha: head.clone(),
                    conflict: Vec::new(),
                };
                if repo.is_ancestor(&tip, &head)? {
                    return Ok(ready);
                }
                if resolves {
                    ready.conflict = repo.begin_merge(&path, &tip)?;
                    if ready.conflict.is_empty() {
                        ready.head_sha = repo.save(&path, &format!("Merge {title}"))?.head;
                    }
                    return Ok(ready);
                }
                match bring_up_to_date(repo, &path, &tip, &head, &title)? {
                    Some(merged) => ready.head_sha = merged,
                    // The conflict is the landing's business; the work stays on its old base until then.
                    None => {
                        let old = repo.merge_base(&tip, &head)?;
                        ready.base_sha = old.ok_or_else(|| {
                            Error::new(ErrorCode::Git, format!("{branch} and {title} have no common history"))
                        })?;
                    }
                }
                Ok(ready)
            })
            .await
    }
}

/// A new task does not take over what an earlier one of the same name left: that is kept, and out of the way.
fn start_fresh(repo: &Repo, path: &Path, branch: &str, tip: &str, keep: &str) -> Result<()> {
    let Some(old) = repo.branch_tip(branch)? else {
        return Ok(());
    };
    // A branch without commits of its own is what an interrupted beginning leaves.
    if repo.is_ancestor(&old, tip)?
        || repo
            .holder_of(branch)?
            .is_some_and(|holder| !holder.ends_with(path.file_name().unwrap_or_default()))
    {
        return Ok(());
    }
    let before = format!("{}/before", keep.rsplit_once('/').map_or(keep, |(task, _)| task));
    repo.remove_worktree(path, &before)?;
    let old = repo.branch_tip(branch)?.unwrap_or(old);
    repo.keep(&before, &old)?;
    repo.move_branch(branch, Some(&old), tip, "octopoid: a new task of the same name")
}

/// Merges the moved base into earlier work and moves the branch and its worktree there; none when that conflicts.
fn bring_up_to_date(repo: &Repo, path: &Path, tip: &str, head: &str, base_name: &str) -> Result<Option<String>> {
    // The work is the first parent, so that the agent's own history stays in front.
    match repo.combine(head, tip, MergeMethod::Merge, &format!("Merge {base_name}"))? {
        Merged::Clean(candidate) => {
            repo.forward(path, head, &candidate.sha)?;
            Ok(Some(candidate.sha))
        }
        Merged::Conflict(_) => Ok(None),
    }
}
