//! The main checkout belongs to a person: it may follow the base branch when that is safe, and nothing else.

use git2::StatusOptions;

use super::{Repo, failed, oid, worktree::head_target};
use crate::error::Result;

impl Repo {
    /// Brings the main checkout from `old` to `new` where it is safe: `branch` checked out, no tracked file changed.
    ///
    /// Gives false and changes nothing where it is not. The branch itself must have moved already.
    pub fn follow_in_main_checkout(&self, branch: &str, old: &str, new: &str) -> Result<bool> {
        let repo = self.open()?;
        if head_target(&repo).as_deref() != Some(&format!("refs/heads/{branch}")) {
            return Ok(true);
        }
        let action = format!("bring {} to {new}", self.root().display());
        let tree = |sha: &str| {
            oid(sha).and_then(|id| {
                repo.find_commit(id)
                    .and_then(|c| c.tree())
                    .map_err(|e| failed(&action, &e))
            })
        };
        let before = tree(old)?;
        // HEAD names the branch, which has moved: compare files and index with what they stood on before.
        let changed = repo
            .diff_tree_to_workdir_with_index(Some(&before), None)
            .map_err(|e| failed(&action, &e))?
            .deltas()
            .any(|d| {
                !matches!(
                    d.status(),
                    git2::Delta::Untracked | git2::Delta::Ignored | git2::Delta::Unmodified
                )
            });
        if changed {
            return Ok(false);
        }
        // `read-tree` overwrites ignored files; a person's file that stands where a new one would go stays.
        let in_the_way = self
            .changed_files(old, new)?
            .into_iter()
            .any(|change| change.status == "added" && self.root().join(&change.path).symlink_metadata().is_ok());
        if in_the_way {
            return Ok(false);
        }
        // libgit2 measures "unchanged" against HEAD, which is ahead of the files here; the program takes both trees.
        let refreshed = self.program(
            &["update-index", "-q", "--refresh"],
            "refresh the index of the main checkout",
        );
        let moved = refreshed.and_then(|_| self.program(&["read-tree", "-m", "-u", old, new], &action));
        Ok(moved.is_ok())
    }

    /// Whether what is staged in the main checkout is exactly the tree of a commit.
    pub fn index_is_at(&self, sha: &str) -> Result<bool> {
        let repo = self.open()?;
        let action = "compare the index of the main checkout";
        let tree = repo
            .find_commit(oid(sha)?)
            .and_then(|c| c.tree())
            .map_err(|e| failed(action, &e))?;
        let diff = repo
            .diff_tree_to_index(Some(&tree), None, None)
            .map_err(|e| failed(action, &e))?;
        Ok(diff.deltas().len() == 0)
    }

    /// Whether the main checkout has `branch` checked out with changed tracked files.
    pub fn main_checkout_is_dirty(&self, branch: &str) -> Result<bool> {
        let repo = self.open()?;
        if head_target(&repo).as_deref() != Some(&format!("refs/heads/{branch}")) {
            return Ok(false);
        }
        let mut options = StatusOptions::new();
        options.include_untracked(false).include_ignored(false);
        let statuses = repo
            .statuses(Some(&mut options))
            .map_err(|e| failed("look at the main checkout", &e))?;
        Ok(!statuses.is_empty())
    }
}
