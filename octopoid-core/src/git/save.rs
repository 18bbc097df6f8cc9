//! Nothing is lost: what a checkout holds becomes a commit, and commits made elsewhere come back to their branch.

use std::path::Path;

use git2::{IndexAddOption, RepositoryState};

use super::{
    Repo, Saved, failed, oid, signature,
    worktree::{checkout, head_target, is_clean, open_worktree},
};
use crate::error::Result;

impl Repo {
    /// Commits everything in the checkout at `path` that git does not ignore, and tells its tip.
    pub fn save(&self, path: &Path, message: &str) -> Result<Saved> {
        self.commit_files(path, message, true)
    }

    /// The same, on whichever branch is checked out there: for a person's own commits.
    pub fn commit(&self, path: &Path, message: &str) -> Result<Saved> {
        self.commit_files(path, message, false)
    }

    fn commit_files(&self, path: &Path, message: &str, only_agents: bool) -> Result<Saved> {
        let mut repo = open_worktree(path)?;
        let action = format!("save the files of {}", path.display());
        let mut merged = Vec::new();
        if repo.state() == RepositoryState::Merge {
            repo.mergehead_foreach(|id| {
                merged.push(*id);
                true
            })
            .map_err(|e| failed(&action, &e))?;
        }
        let head = repo
            .head()
            .and_then(|h| h.peel_to_commit())
            .map_err(|e| failed(&action, &e))?;
        if merged.is_empty() && is_clean(&repo, true)? {
            return Ok(Saved {
                head: head.id().to_string(),
                was_dirty: false,
            });
        }
        if only_agents && head_target(&repo).is_some_and(|branch| !branch.starts_with("refs/heads/agent/")) {
            // Whatever an agent checked out: its files become a commit, but never one on somebody else's branch.
            repo.set_head_detached(head.id()).map_err(|e| failed(&action, &e))?;
        }
        let mut index = repo.index().map_err(|e| failed(&action, &e))?;
        if index.has_conflicts() {
            // Not resolved, so not merged: what is there is kept as the work's own, and the merge stays to be done.
            merged.clear();
        }
        // A repository inside the worktree cannot be committed; it stays as it is, and the rest is saved.
        let mut skip_repositories = |relative: &Path, _: &[u8]| i32::from(path.join(relative).join(".git").exists());
        index
            .add_all(["*"], IndexAddOption::DEFAULT, Some(&mut skip_repositories))
            .map_err(|e| failed(&action, &e))?;
        index.update_all(["*"], None).map_err(|e| failed(&action, &e))?;
        index.write().map_err(|e| failed(&action, &e))?;
        let tree = index
            .write_tree()
            .and_then(|id| repo.find_tree(id))
            .map_err(|e| failed(&action, &e))?;
        let others = merged
            .iter()
            .map(|id| repo.find_commit(*id))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| failed(&action, &e))?;
        let parents: Vec<&git2::Commit<'_>> = std::iter::once(&head).chain(&others).collect();
        let author = signature(&repo)?;
        let commit = repo
            .commit(Some("HEAD"), &author, &author, message, &tree, &parents)
            .map_err(|e| failed(&action, &e))?;
        if repo.state() == RepositoryState::Merge {
            repo.cleanup_state().map_err(|e| failed(&action, &e))?;
        }
        Ok(Saved {
            head: commit.to_string(),
            was_dirty: true,
        })
    }

    /// Tip of the checkout at `path`, brought onto `branch` when an agent left it somewhere else.
    ///
    /// Commits made on a detached HEAD or another branch move the branch forward where they follow it;
    /// where they do not, they are kept under `keep_as` and the branch stays.
    pub fn reattach(&self, path: &Path, branch: &str, keep_as: &str) -> Result<String> {
        let repo = open_worktree(path)?;
        let action = format!("bring {} back onto {branch}", path.display());
        let full = format!("refs/heads/{branch}");
        let head = repo
            .head()
            .and_then(|h| h.peel_to_commit())
            .map_err(|e| failed(&action, &e))?
            .id();
        if head_target(&repo).as_deref() == Some(&full) {
            return Ok(head.to_string());
        }
        self.keep(keep_as, &head.to_string())?;
        let tip = self.branch_tip(branch)?;
        let follows = match &tip {
            Some(tip) => self.is_ancestor(tip, &head.to_string())?,
            None => true,
        };
        if follows {
            self.move_branch(branch, tip.as_deref(), &head.to_string(), "octopoid: take over commits")?;
        } else if let Some(tip) = &tip {
            checkout(&repo, oid(tip)?, &action)?;
        }
        repo.set_head(&full).map_err(|e| failed(&action, &e))?;
        Ok(self.branch_tip(branch)?.unwrap_or_else(|| head.to_string()))
    }
}
