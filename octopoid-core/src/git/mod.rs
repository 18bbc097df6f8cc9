//! The one git wrapper. It knows repositories, branches and worktrees; it never sees a task.
//!
//! There is no `stash`, no `clean`, no `reset --hard`, no forced branch move in here: what would be
//! overwritten is committed and kept under `refs/octopoid/keep/` first.

mod diff;
mod lock;
mod main_checkout;
mod merge;
mod remote;
mod save;
pub mod tools;
mod worktree;

use std::path::{Path, PathBuf};

use git2::{ErrorCode as GitCode, Oid, RepositoryOpenFlags, Signature};

pub use diff::{FileChange, LogLine};
pub use merge::{Candidate, Merged};
pub use worktree::{Checkout, Saved, Standing};

use crate::error::{Error, ErrorCode, Result};

/// Prefix of the refs that keep work reachable.
pub const KEEP: &str = "refs/octopoid/keep";

/// A repository with a main checkout.
///
/// Opened anew for each operation, so it can be sent between threads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repo {
    root: PathBuf,
}

/// Names the operation that failed, on what.
fn failed(action: impl std::fmt::Display, error: &git2::Error) -> Error {
    let said = format!("cannot {action}: {}", error.message());
    match error.code() {
        GitCode::Locked => Error::new(ErrorCode::VersionConflict, said)
            .with_hint("another git process holds a lock; if none runs, remove the .lock file that is named"),
        _ => Error::new(ErrorCode::Git, said),
    }
}

fn oid(sha: &str) -> Result<Oid> {
    Oid::from_str(sha).map_err(|e| failed(format_args!("read the commit id {sha:?}"), &e))
}

impl Repo {
    /// The repository that `start` lies in; from inside a linked worktree, the one that it belongs to.
    pub fn discover(start: &Path) -> Result<Self> {
        let none: [&Path; 0] = [];
        let found = git2::Repository::open_ext(start, RepositoryOpenFlags::empty(), none).map_err(|e| {
            let reason = if e.code() == GitCode::NotFound {
                "is not in a git repository".to_owned()
            } else {
                format!("has no usable git repository: {}", e.message())
            };
            Error::new(ErrorCode::NotARepository, format!("{} {reason}", start.display()))
                .with_hint("go to your repository, or make one with `git init` and a first commit")
        })?;
        let bare = || {
            Error::new(
                ErrorCode::NotARepository,
                format!("{} is a bare repository", start.display()),
            )
            .with_hint("clone it; Octopoid needs a checkout to work beside")
        };
        let root = if found.is_worktree() {
            let common = found.commondir();
            let main = git2::Repository::open(common).map_err(|e| {
                failed(
                    format_args!("open the repository of the worktree {}", start.display()),
                    &e,
                )
            })?;
            main.workdir().map(Path::to_path_buf).ok_or_else(bare)?
        } else {
            found.workdir().map(Path::to_path_buf).ok_or_else(bare)?
        };
        let root = root.canonicalize().map_err(|e| Error::io("open", &root, e))?;
        Ok(Self { root })
    }

    /// The repository whose main checkout is exactly `root`.
    pub fn at(root: &Path) -> Result<Self> {
        let repo = Self::discover(root)?;
        let here = root.canonicalize().map_err(|e| Error::io("open", root, e))?;
        if repo.root == here {
            Ok(repo)
        } else {
            Err(Error::new(
                ErrorCode::NotARepository,
                format!("{} is not the top of a git checkout", root.display()),
            ))
        }
    }

    /// Makes a repository of the folder `root`, with everything in it as the first commit on `branch`.
    pub fn create(root: &Path, branch: &str, message: &str) -> Result<Self> {
        let action = format!("create a repository in {}", root.display());
        let mut options = git2::RepositoryInitOptions::new();
        options.initial_head(branch).no_reinit(true);
        let repo = git2::Repository::init_opts(root, &options).map_err(|e| failed(&action, &e))?;
        let mut index = repo.index().map_err(|e| failed(&action, &e))?;
        index
            .add_all(["*"], git2::IndexAddOption::DEFAULT, None)
            .map_err(|e| failed(&action, &e))?;
        index.write().map_err(|e| failed(&action, &e))?;
        let tree = index
            .write_tree()
            .and_then(|id| repo.find_tree(id))
            .map_err(|e| failed(&action, &e))?;
        let author = signature(&repo)?;
        repo.commit(Some("HEAD"), &author, &author, message, &tree, &[])
            .map_err(|e| failed(&action, &e))?;
        Self::at(root)
    }

    /// The main checkout.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn open(&self) -> Result<git2::Repository> {
        git2::Repository::open(&self.root)
            .map_err(|e| failed(format_args!("open the repository {}", self.root.display()), &e))
    }

    /// The branch that work should go to when nobody says: the remote's default, else the checked-out one.
    pub fn default_branch(&self) -> Result<String> {
        let repo = self.open()?;
        if let Ok(reference) = repo.find_reference("refs/remotes/origin/HEAD")
            && let Ok(Some(target)) = reference.symbolic_target()
            && let Some(name) = target.strip_prefix("refs/remotes/origin/")
        {
            return Ok(name.to_owned());
        }
        match repo.head() {
            Ok(head) if head.is_branch() => head
                .shorthand()
                .map(str::to_owned)
                .map_err(|e| failed("read the name of the current branch", &e)),
            Ok(_) => Err(Error::new(
                ErrorCode::NotARepository,
                format!("{} has a detached HEAD", self.root.display()),
            )
            .with_hint("name the base branch as repo.base_branch in .octopoid/config.yaml")),
            Err(_) => Err(Error::new(
                ErrorCode::NotARepository,
                format!("{} has no commits yet", self.root.display()),
            )
            .with_hint("make a first commit, for example `git commit --allow-empty -m start`")),
        }
    }

    /// The remote that pushes and fetches go to: `origin`, or the only one; none when there is none.
    pub fn default_remote(&self) -> Result<Option<String>> {
        let repo = self.open()?;
        let remotes = repo.remotes().map_err(|e| failed("list the remotes", &e))?;
        let names: Vec<String> = remotes
            .iter()
            .filter_map(|n| n.ok().flatten().map(str::to_owned))
            .collect();
        Ok(names
            .iter()
            .find(|n| *n == "origin")
            .or(if names.len() == 1 { names.first() } else { None })
            .cloned())
    }

    /// The address of a remote; none when there is no such remote.
    pub fn remote_url(&self, remote: &str) -> Result<Option<String>> {
        let repo = self.open()?;
        let found = repo.find_remote(remote);
        Ok(found.ok().and_then(|r| r.url().ok().map(str::to_owned)))
    }

    /// Whether the commit is in this repository.
    pub fn has_commit(&self, sha: &str) -> Result<bool> {
        let repo = self.open()?;
        let id = oid(sha)?;
        Ok(repo.find_commit(id).is_ok())
    }

    /// The tip of a local branch; none when it does not exist.
    pub fn branch_tip(&self, branch: &str) -> Result<Option<String>> {
        self.reference_tip(&format!("refs/heads/{branch}"))
    }

    /// The tip of a branch as it was last fetched from `remote`.
    pub fn remote_tip(&self, remote: &str, branch: &str) -> Result<Option<String>> {
        self.reference_tip(&format!("refs/remotes/{remote}/{branch}"))
    }

    fn reference_tip(&self, name: &str) -> Result<Option<String>> {
        let repo = self.open()?;
        match repo.find_reference(name) {
            Ok(reference) => {
                let commit = reference
                    .peel_to_commit()
                    .map_err(|e| failed(format_args!("read {name}"), &e))?;
                Ok(Some(commit.id().to_string()))
            }
            Err(e) if e.code() == GitCode::NotFound => Ok(None),
            Err(e) => Err(failed(format_args!("read {name}"), &e)),
        }
    }

    /// Moves a local branch from one commit to another, if it still is at the first.
    pub fn move_branch(&self, branch: &str, from: Option<&str>, to: &str, why: &str) -> Result<()> {
        let repo = self.open()?;
        let name = format!("refs/heads/{branch}");
        let to = oid(to)?;
        let moved = match from {
            Some(from) => repo.reference_matching(&name, to, true, oid(from)?, why),
            None => repo.reference(&name, to, false, why),
        };
        moved.map(|_| ()).map_err(|e| match e.code() {
            GitCode::Modified | GitCode::Exists | GitCode::NotFound => Error::new(
                ErrorCode::VersionConflict,
                format!("branch {branch} moved at the same time"),
            ),
            _ => failed(format_args!("move the branch {branch}"), &e),
        })
    }

    /// Keeps a commit reachable under `refs/octopoid/keep/<name>`; what was kept there before stays reachable too.
    pub fn keep(&self, name: &str, sha: &str) -> Result<()> {
        let repo = self.open()?;
        let sha = oid(sha)?;
        let mut target = format!("{KEEP}/{name}");
        for n in 2.. {
            match repo.find_reference(&target).ok().and_then(|r| r.target()) {
                None => break,
                Some(kept) if kept == sha => return Ok(()),
                // The new commit contains the old one: moving the ref loses nothing.
                Some(kept) if repo.graph_descendant_of(sha, kept).unwrap_or(false) => break,
                Some(_) => target = format!("{KEEP}/{name}.{n}"),
            }
        }
        repo.reference(&target, sha, true, "octopoid: keep work")
            .map(|_| ())
            .map_err(|e| failed(format_args!("keep {sha} as {target}"), &e))
    }

    /// Whether `ancestor` is `descendant` or one of its ancestors.
    pub fn is_ancestor(&self, ancestor: &str, descendant: &str) -> Result<bool> {
        let repo = self.open()?;
        let (a, d) = (oid(ancestor)?, oid(descendant)?);
        if a == d {
            return Ok(true);
        }
        match repo.graph_descendant_of(d, a) {
            Ok(answer) => Ok(answer),
            Err(e) if e.code() == GitCode::NotFound => Ok(false),
            Err(e) => Err(failed("compare two commits", &e)),
        }
    }

    /// Number of commits in `base..head`.
    pub fn commits_between(&self, base: &str, head: &str) -> Result<u64> {
        let repo = self.open()?;
        let (ahead, _) = repo
            .graph_ahead_behind(oid(head)?, oid(base)?)
            .map_err(|e| failed("count the commits", &e))?;
        Ok(ahead as u64)
    }

    /// The id of a commit's tree.
    pub fn tree_of(&self, sha: &str) -> Result<String> {
        let repo = self.open()?;
        let commit = repo
            .find_commit(oid(sha)?)
            .map_err(|e| failed(format_args!("read the commit {sha}"), &e))?;
        Ok(commit.tree_id().to_string())
    }

    /// The best common ancestor.
    pub fn merge_base(&self, a: &str, b: &str) -> Result<Option<String>> {
        let repo = self.open()?;
        match repo.merge_base(oid(a)?, oid(b)?) {
            Ok(base) => Ok(Some(base.to_string())),
            Err(e) if e.code() == GitCode::NotFound => Ok(None),
            Err(e) => Err(failed("find the common ancestor", &e)),
        }
    }

    /// Which checkout has `branch` checked out; none when nobody has.
    pub fn holder_of(&self, branch: &str) -> Result<Option<PathBuf>> {
        let repo = self.open()?;
        let name = format!("refs/heads/{branch}");
        let on_it = |r: &git2::Repository| {
            r.find_reference("HEAD")
                .ok()
                .and_then(|h| h.symbolic_target().ok().flatten().map(str::to_owned))
                .as_deref()
                == Some(&name)
        };
        if on_it(&repo) {
            return Ok(Some(self.root.clone()));
        }
        for worktree in worktree::all(&repo)? {
            if let Ok(linked) = git2::Repository::open_from_worktree(&worktree)
                && on_it(&linked)
            {
                return Ok(Some(worktree.path().to_path_buf()));
            }
        }
        Ok(None)
    }

    /// Whether commits can be made with the user's own name.
    pub fn has_identity(&self) -> bool {
        self.open().is_ok_and(|repo| repo.signature().is_ok())
    }
}

/// Who makes Octopoid's own commits: the user, or Octopoid where the user has no name set.
fn signature(repo: &git2::Repository) -> Result<Signature<'static>> {
    let fallback = || Signature::now(IDENTITY.0, IDENTITY.1).map_err(|e| failed("name the author of a commit", &e));
    match repo.signature() {
        Ok(signature) => Ok(signature.to_owned()),
        Err(_) => fallback(),
    }
}

/// Name and address of who makes Octopoid's own commits.
fn identity(repo: &git2::Repository) -> Result<(String, String)> {
    let signature = signature(repo)?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok((text(signature.name_bytes()), text(signature.email_bytes())))
}

/// Name and address used where the user has set none.
pub const IDENTITY: (&str, &str) = ("Octopoid", "octopoid@localhost");
