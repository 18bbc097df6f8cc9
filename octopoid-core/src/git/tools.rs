//! Git for scripts: worktrees of tasks, commits in them, what changed, and pushing.

use std::path::{Path, PathBuf};

use git2::DiffOptions;
use serde::Serialize;

use super::{Checkout, Repo, failed, oid, worktree::all};
use crate::{
    config::Paths,
    error::{Error, ErrorCode, Result},
    id::TaskId,
};

/// One checkout of a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WorktreeInfo {
    /// Its folder.
    pub path: PathBuf,
    /// Branch that is checked out; null on a detached HEAD.
    pub branch: Option<String>,
    /// Its tip; null while it has no commit or its folder is gone.
    pub head: Option<String>,
}

/// How much differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct DiffStat {
    /// Files.
    pub files: usize,
    /// Lines that were added.
    pub insertions: usize,
    /// Lines that were removed.
    pub deletions: usize,
}

fn at(path: &Path) -> Result<Repo> {
    Repo::discover(path)
}

/// The top of the checkout that `path` lies in.
fn top(path: &Path) -> Result<PathBuf> {
    let none: [&Path; 0] = [];
    let action = format!("find the checkout of {}", path.display());
    let repo =
        git2::Repository::open_ext(path, git2::RepositoryOpenFlags::empty(), none).map_err(|e| failed(&action, &e))?;
    repo.workdir()
        .map(Path::to_path_buf)
        .ok_or_else(|| Error::invalid(format!("{} is a bare repository; it has no checkout", path.display())))
}

/// The commit that `name` stands for: a branch, else the remote's branch of that name, else a commit id.
fn commit_of(repo: &Repo, name: &str) -> Result<String> {
    if let Some(tip) = repo.branch_tip(name)? {
        return Ok(tip);
    }
    if let Some(remote) = repo.default_remote()?
        && let Some(tip) = repo.remote_tip(&remote, name)?
    {
        return Ok(tip);
    }
    if oid(name).is_ok() && repo.has_commit(name)? {
        return Ok(name.to_owned());
    }
    Err(
        Error::not_found("branch or commit", format!("{name} in {}", repo.root().display()))
            .with_hint("name a branch that exists, or a whole commit id"),
    )
}

/// Makes sure that the task has a worktree with its branch `agent/<task id>` checked out, begun at `base` when it is new; gives
/// its folder. What was there is kept.
pub fn ensure_worktree(repo: &Path, task: &str, base: &str) -> Result<PathBuf> {
    let repo = at(repo)?;
    let task = TaskId::parse(task)?;
    let paths = Paths::new(repo.root());
    paths.ensure_ignored()?;
    let (path, base, branch) = (paths.worktree(&task), commit_of(&repo, base)?, format!("agent/{task}"));
    let want = Checkout::Branch {
        name: &branch,
        base: &base,
    };
    repo.ensure_worktree(&path, want, &format!("{task}/tools"))?;
    Ok(path)
}

/// Removes a worktree; what it holds is committed and kept under `refs/octopoid/keep/` first.
pub fn remove_worktree(path: &Path) -> Result<()> {
    let repo = at(path)?;
    let path = path.canonicalize().map_err(|e| Error::io("open", path, e))?;
    if path == repo.root() {
        return Err(Error::invalid(format!(
            "{} is the main checkout, not a linked worktree",
            path.display()
        ))
        .with_hint("`list_worktrees` shows the linked ones"));
    }
    let linked = all(&repo.open()?)?;
    if !linked
        .iter()
        .any(|w| w.path().canonicalize().is_ok_and(|known| known == path))
    {
        return Err(Error::not_found("linked worktree", path.display())
            .with_hint("`list_worktrees` shows those of a repository; nothing was changed"));
    }
    let name = path
        .file_name()
        .map(|n| n.to_string_lossy().into_owned())
        .unwrap_or_default();
    let name: String = name
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || "-_".contains(c) {
                c
            } else {
                '-'
            }
        })
        .collect();
    repo.remove_worktree(&path, &format!("{name}/tools"))
}

/// The main checkout and all linked worktrees.
pub fn list_worktrees(repo: &Path) -> Result<Vec<WorktreeInfo>> {
    let repo = at(repo)?;
    let mut paths = vec![repo.root().to_path_buf()];
    paths.extend(all(&repo.open()?)?.iter().map(|w| w.path().to_path_buf()));
    Ok(paths
        .into_iter()
        .map(|path| WorktreeInfo {
            branch: repo.branch_of(&path).ok().flatten(),
            head: repo.head_of(&path).ok(),
            path,
        })
        .collect())
}

/// The branch that is checked out at `path`; none on a detached HEAD.
pub fn current_branch(path: &Path) -> Result<Option<String>> {
    at(path)?.branch_of(&top(path)?)
}

/// Whether files at `path` differ from its tip, ignored ones aside.
pub fn has_uncommitted_changes(path: &Path) -> Result<bool> {
    at(path)?.is_clean(&top(path)?).map(|clean| !clean)
}

/// Commits every changed and new file at `path` on the branch that is checked out there; gives the commit, or none when there
/// was nothing to commit.
pub fn commit_changes(path: &Path, message: &str) -> Result<Option<String>> {
    if message.trim().is_empty() {
        return Err(Error::invalid("a commit needs a message"));
    }
    let saved = at(path)?.commit(&top(path)?, message)?;
    Ok(saved.was_dirty.then_some(saved.head))
}

/// How many commits the tip of `path` has that `base` has not.
pub fn commit_count(path: &Path, base: &str) -> Result<u64> {
    let repo = at(path)?;
    repo.commits_between(&commit_of(&repo, base)?, &repo.head_of(&top(path)?)?)
}

/// What the files at `path` differ in from where the work left `base`; uncommitted changes of known files count.
pub fn diff_stat(path: &Path, base: &str) -> Result<DiffStat> {
    let repo = at(path)?;
    let base = commit_of(&repo, base)?;
    let from = repo.merge_base(&base, &repo.head_of(&top(path)?)?)?.unwrap_or(base);
    let action = format!("compare {} with {from}", path.display());
    let git = super::worktree::open_worktree(&top(path)?)?;
    let tree = git
        .find_commit(oid(&from)?)
        .and_then(|c| c.tree())
        .map_err(|e| failed(&action, &e))?;
    let stats = git
        .diff_tree_to_workdir_with_index(Some(&tree), Some(&mut DiffOptions::new()))
        .and_then(|diff| diff.stats())
        .map_err(|e| failed(&action, &e))?;
    Ok(DiffStat {
        files: stats.files_changed(),
        insertions: stats.insertions(),
        deletions: stats.deletions(),
    })
}

/// Pushes the tip of `path` as `branch` to `remote`. Never by force: refused when the remote's branch has other commits.
pub fn push(path: &Path, remote: &str, branch: &str) -> Result<()> {
    let repo = at(path)?;
    if repo.remote_url(remote)?.is_none() {
        return Err(
            Error::not_found("remote", format!("{remote} of {}", repo.root().display()))
                .with_hint("`git remote -v` lists them"),
        );
    }
    if repo.push_branch(remote, branch, &repo.head_of(&top(path)?)?)? {
        return Ok(());
    }
    Err(Error::new(
        ErrorCode::VersionConflict,
        format!(
            "the branch {branch} of {remote} has commits that {} has not",
            path.display()
        ),
    )
    .with_hint("fetch and merge them first; nothing was pushed"))
}
