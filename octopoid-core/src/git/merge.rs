//! Combining work with the base branch, in memory: no checkout is touched, no branch is moved.

use git2::{Commit, Index, MergeOptions, Oid, RebaseOptions, Repository};

use super::{Repo, failed, identity, oid, signature};
use crate::{config::MergeMethod, error::Result};

/// A commit that brings work into the base, not yet in any branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The commit. It follows the base.
    pub sha: String,
    /// Its tree.
    pub tree: String,
}

/// What came of combining.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Merged {
    /// It can be merged.
    Clean(Candidate),
    /// Both sides changed these files.
    Conflict(Vec<String>),
}

impl Repo {
    /// Combines `head` with `base` into a commit that follows `base`. With nothing to bring in, that is `base` itself.
    pub fn combine(&self, base: &str, head: &str, method: MergeMethod, message: &str) -> Result<Merged> {
        let repo = self.open()?;
        let action = format!("combine {head} with {base}");
        let commit = |sha: &str| oid(sha).and_then(|id| repo.find_commit(id).map_err(|e| failed(&action, &e)));
        let (base, head) = (commit(base)?, commit(head)?);
        let mut index = repo
            .merge_commits(&base, &head, Some(&MergeOptions::new()))
            .map_err(|e| failed(&action, &e))?;
        if index.has_conflicts() {
            return Ok(Merged::Conflict(conflicts(&index)));
        }
        let tree = index.write_tree_to(&repo).map_err(|e| failed(&action, &e))?;
        if tree == base.tree_id() {
            return Ok(Merged::Clean(Candidate {
                sha: base.id().to_string(),
                tree: tree.to_string(),
            }));
        }
        let sha = match method {
            MergeMethod::Squash => self.commit_tree(&repo, tree, message, &head, &[&base])?,
            MergeMethod::Merge => self.commit_tree(&repo, tree, message, &head, &[&base, &head])?,
            MergeMethod::Rebase => match replay(&repo, &base, &head).map_err(|e| failed(&action, &e))? {
                // A history with merges in it cannot be replayed commit by commit into the same tree.
                Some(tip) if repo.find_commit(tip).is_ok_and(|c| c.tree_id() == tree) => tip,
                _ => self.commit_tree(&repo, tree, message, &head, &[&base])?,
            },
        };
        Ok(Merged::Clean(Candidate {
            sha: sha.to_string(),
            tree: tree.to_string(),
        }))
    }

    /// Files that both sides changed, so that `combine` would fail; none when it would not.
    pub fn conflicts_between(&self, base: &str, head: &str) -> Result<Vec<String>> {
        let repo = self.open()?;
        let action = format!("combine {head} with {base}");
        let commit = |sha: &str| oid(sha).and_then(|id| repo.find_commit(id).map_err(|e| failed(&action, &e)));
        let (base, head) = (commit(base)?, commit(head)?);
        let index = repo
            .merge_commits(&base, &head, None)
            .map_err(|e| failed(&action, &e))?;
        Ok(conflicts(&index))
    }

    /// Files in conflict of the merge that is under way in the checkout at `path`; none when no merge is.
    pub fn merge_under_way(&self, path: &std::path::Path) -> Result<Option<Vec<String>>> {
        let repo = Repository::open(path).map_err(|e| failed(format_args!("open {}", path.display()), &e))?;
        if repo.state() != git2::RepositoryState::Merge {
            return Ok(None);
        }
        Ok(Some(conflicts(
            &repo.index().map_err(|e| failed("read the index", &e))?,
        )))
    }

    fn commit_tree(
        &self,
        repo: &Repository,
        tree: Oid,
        message: &str,
        head: &Commit<'_>,
        parents: &[&Commit<'_>],
    ) -> Result<Oid> {
        let action = "write the merged commit";
        let tree = repo.find_tree(tree).map_err(|e| failed(action, &e))?;
        // The time comes from the inputs: combining the same twice gives the same commit, and leaves nothing behind.
        let newest = parents
            .iter()
            .copied()
            .chain([head])
            .map(|c| c.time().seconds())
            .max()
            .unwrap_or(0);
        let (name, mail) = identity(repo)?;
        let committer =
            git2::Signature::new(&name, &mail, &git2::Time::new(newest, 0)).map_err(|e| failed(action, &e))?;
        repo.commit(None, &head.author(), &committer, message, &tree, parents)
            .map_err(|e| failed(action, &e))
    }

    /// Merges `base` into the checkout at `path`, leaving conflict markers in the files for somebody to resolve.
    ///
    /// Gives the files in conflict; when there are none, nothing was changed.
    pub fn begin_merge(&self, path: &std::path::Path, base: &str) -> Result<Vec<String>> {
        let repo = Repository::open(path).map_err(|e| failed(format_args!("open {}", path.display()), &e))?;
        let action = format!("merge {base} into {}", path.display());
        let theirs = repo
            .find_annotated_commit(oid(base)?)
            .map_err(|e| failed(&action, &e))?;
        let mut checkout = git2::build::CheckoutBuilder::new();
        checkout.safe().allow_conflicts(true).conflict_style_merge(true);
        repo.merge(&[&theirs], None, Some(&mut checkout))
            .map_err(|e| failed(&action, &e))?;
        let index = repo.index().map_err(|e| failed(&action, &e))?;
        Ok(conflicts(&index))
    }

    /// Files changed in `base..head` that still hold conflict markers.
    pub fn conflict_markers(&self, base: &str, head: &str) -> Result<Vec<String>> {
        let repo = self.open()?;
        let action = "look for conflict markers";
        let tree = repo
            .find_commit(oid(head)?)
            .and_then(|c| c.tree())
            .map_err(|e| failed(action, &e))?;
        let mut found = Vec::new();
        for change in self.changed_files(base, head)? {
            let Ok(entry) = tree.get_path(std::path::Path::new(&change.path)) else {
                continue;
            };
            let Ok(blob) = repo.find_blob(entry.id()) else { continue };
            let has = |mark: &[u8]| blob.content().split(|b| *b == b'\n').any(|line| line.starts_with(mark));
            if has(b"<<<<<<< ") && has(b">>>>>>> ") {
                found.push(change.path);
            }
        }
        Ok(found)
    }
}

fn conflicts(index: &Index) -> Vec<String> {
    let Ok(conflicts) = index.conflicts() else {
        return Vec::new();
    };
    let mut paths: Vec<String> = conflicts
        .filter_map(|c| {
            let c = c.ok()?;
            let entry = c.our.or(c.their).or(c.ancestor)?;
            Some(String::from_utf8_lossy(&entry.path).into_owned())
        })
        .collect();
    paths.sort();
    paths.dedup();
    paths
}

/// The commits of `head` on top of `base`; none when they do not apply one by one.
fn replay(repo: &Repository, base: &Commit<'_>, head: &Commit<'_>) -> Result<Option<Oid>, git2::Error> {
    let onto = repo.find_annotated_commit(base.id())?;
    let branch = repo.find_annotated_commit(head.id())?;
    let mut options = RebaseOptions::new();
    options.inmemory(true);
    let mut rebase = repo.rebase(Some(&branch), Some(&onto), None, Some(&mut options))?;
    let committer = signature(repo).map_err(|e| git2::Error::from_str(&e.to_string()))?;
    let mut tip = base.id();
    while let Some(operation) = rebase.next() {
        operation?;
        if rebase.inmemory_index()?.has_conflicts() {
            return Ok(None);
        }
        match rebase.commit(None, &committer, None) {
            Ok(id) => tip = id,
            // The same change is in the base already.
            Err(e) if e.code() == git2::ErrorCode::Applied => {}
            Err(e) => return Err(e),
        }
    }
    Ok(Some(tip))
}
