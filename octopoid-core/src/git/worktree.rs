//! Worktrees as desired state: whatever is found, the result is the wanted checkout or a typed error.

use std::{
    fs,
    path::{Path, PathBuf},
};

use git2::{
    BranchType, Repository, StatusOptions, Worktree, WorktreeAddOptions, WorktreeLockStatus, WorktreePruneOptions,
    build::CheckoutBuilder,
};

use super::{Repo, failed, lock::Turn, oid};
use crate::error::{Error, ErrorCode, Result};

/// File in a worktree's metadata that says that it was made to its end.
const COMPLETE: &str = "octopoid-complete";

/// What was found at a worktree's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Nothing was there; it was made.
    Created,
    /// It was there as wanted, with whatever work it holds.
    Reused,
    /// Something else was there; its work was kept and it was set right.
    Repaired,
}

/// What a worktree shall have checked out.
#[derive(Debug, Clone, Copy)]
pub enum Checkout<'a> {
    /// A branch, made at `base` when it does not exist.
    Branch {
        /// Its name.
        name: &'a str,
        /// Where it begins.
        base: &'a str,
    },
    /// Exactly this commit, on no branch.
    Commit(&'a str),
}

/// A checkout's tip after everything in it was committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    /// The tip.
    pub head: String,
    /// Whether files had to be committed.
    pub was_dirty: bool,
}

/// The repository's linked worktrees.
pub(super) fn all(repo: &Repository) -> Result<Vec<Worktree>> {
    let names = repo.worktrees().map_err(|e| failed("list the worktrees", &e))?;
    Ok(names
        .iter()
        .filter_map(|name| repo.find_worktree(name.ok()??).ok())
        .collect())
}

/// Administrative name of the worktree at `path`: never that of one made by hand.
fn admin_name(path: &Path) -> String {
    format!(
        "octopoid+{}",
        path.file_name().map(|n| n.to_string_lossy()).unwrap_or_default()
    )
}

pub(super) fn open_worktree(path: &Path) -> Result<Repository> {
    Repository::open(path).map_err(|e| failed(format_args!("open the worktree {}", path.display()), &e))
}

impl Repo {
    /// Makes sure that `path` is a worktree with `want` checked out.
    ///
    /// `keep_as` names the keep-ref under which work is saved that stands in the way.
    pub fn ensure_worktree(&self, path: &Path, want: Checkout<'_>, keep_as: &str) -> Result<Standing> {
        self.in_turn(Turn::Worktrees, || self.ensure(path, want, keep_as))
    }

    fn ensure(&self, path: &Path, want: Checkout<'_>, keep_as: &str) -> Result<Standing> {
        let repo = self.open()?;
        // By its own name first: going through all worktrees costs more the more agents work.
        let ours = match repo.find_worktree(&admin_name(path)) {
            Ok(worktree) if same_place(worktree.path(), path) => Some(worktree),
            _ if path.exists() => all(&repo)?.into_iter().find(|w| same_place(w.path(), path)),
            _ => None,
        };
        let mut standing = Standing::Created;
        if let Some(worktree) = ours {
            if path.exists() && worktree.validate().is_ok() && is_complete(path) {
                return self.set_right(path, want, keep_as);
            }
            // A crash in the middle of making it: nobody has worked in it, and its files are not all there. One on a branch is kept
            // all the same: the mark of a complete one may be what a power cut took.
            if path.exists() {
                match want {
                    Checkout::Commit(_) if worktree.validate().is_ok() => {
                        fs::remove_dir_all(path).map_err(|e| Error::io("remove the half-made", path, e))?;
                    }
                    _ => move_aside(path)?,
                }
            }
            prune(&worktree, path)?;
            standing = Standing::Repaired;
        } else if path.exists() {
            move_aside(path)?;
            standing = Standing::Repaired;
        }
        self.add(&repo, path, want)?;
        Ok(standing)
    }

    fn add(&self, repo: &Repository, path: &Path, want: Checkout<'_>) -> Result<()> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(|e| Error::io("create", parent, e))?;
        }
        let name = admin_name(path);
        // Metadata of that name whose folder is somewhere else or gone.
        match repo.find_worktree(&name) {
            Ok(stale) if stale.validate().is_err() => prune(&stale, path)?,
            Ok(_) => {}
            Err(_) => remove_half_made(&repo.commondir().join("worktrees").join(&name))?,
        }
        let action = format!("create the worktree {}", path.display());
        match want {
            Checkout::Branch { name: branch, base } => {
                let reference = match repo.find_branch(branch, BranchType::Local) {
                    Ok(existing) => existing,
                    Err(_) => {
                        let commit = repo
                            .find_commit(oid(base)?)
                            .map_err(|e| failed(format_args!("read the base commit {base}"), &e))?;
                        repo.branch(branch, &commit, false)
                            .map_err(|e| failed(format_args!("create the branch {branch}"), &e))?
                    }
                }
                .into_reference();
                let mut options = WorktreeAddOptions::new();
                options.reference(Some(&reference));
                if let Err(error) = repo.worktree(&name, path, Some(&options)) {
                    let Some(holder) = self.holder_of(branch)? else {
                        return Err(failed(&action, &error));
                    };
                    let message = format!("branch {branch} is checked out in {}", holder.display());
                    return Err(Error::new(ErrorCode::Git, message).with_hint(format!(
                        "switch {} to another branch; nothing was changed",
                        holder.display()
                    )));
                }
            }
            Checkout::Commit(sha) => {
                // libgit2 always makes a branch; it goes as soon as the checkout stands on the commit.
                let temporary = format!("octopoid-checkout/{name}");
                let commit = repo
                    .find_commit(oid(sha)?)
                    .map_err(|e| failed(format_args!("read the commit {sha}"), &e))?;
                let mut branch = repo
                    .branch(&temporary, &commit, true)
                    .map_err(|e| failed(&action, &e))?;
                let mut options = WorktreeAddOptions::new();
                options.reference(Some(branch.get()));
                repo.worktree(&name, path, Some(&options))
                    .map_err(|e| failed(&action, &e))?;
                open_worktree(path)?
                    .set_head_detached(commit.id())
                    .map_err(|e| failed(&action, &e))?;
                branch.delete().map_err(|e| failed(&action, &e))?;
            }
        }
        let mark = open_worktree(path)?.path().join(COMPLETE);
        fs::write(&mark, "").map_err(|e| Error::io("write", &mark, e))
    }

    /// A valid worktree of ours: bring it onto what is wanted without losing what it has.
    fn set_right(&self, path: &Path, want: Checkout<'_>, keep_as: &str) -> Result<Standing> {
        let worktree = open_worktree(path)?;
        let action = format!("set the worktree {} right", path.display());
        match want {
            Checkout::Branch { name, base } => {
                let full = format!("refs/heads/{name}");
                if head_target(&worktree).as_deref() == Some(&full) && worktree.head().is_ok() {
                    return Ok(Standing::Reused);
                }
                let saved = self.save(path, "octopoid: work in progress")?;
                self.keep(keep_as, &saved.head)?;
                if self.branch_tip(name)?.is_none() {
                    self.move_branch(name, None, base, "octopoid: begin")?;
                }
                if let Some(holder) = self.holder_of(name)? {
                    return Err(Error::new(
                        ErrorCode::Git,
                        format!("branch {name} is checked out in {}", holder.display()),
                    ));
                }
                let tip = worktree
                    .find_reference(&full)
                    .and_then(|r| r.peel_to_commit())
                    .map_err(|e| failed(&action, &e))?;
                checkout(&worktree, tip.id(), &action)?;
                worktree.set_head(&full).map_err(|e| failed(&action, &e))?;
                Ok(Standing::Repaired)
            }
            Checkout::Commit(sha) => {
                let wanted = oid(sha)?;
                let saved = self.save(path, "octopoid: work in progress")?;
                if saved.head == sha && worktree.head_detached().unwrap_or(false) {
                    return Ok(Standing::Reused);
                }
                self.keep(keep_as, &saved.head)?;
                checkout(&worktree, wanted, &action)?;
                worktree.set_head_detached(wanted).map_err(|e| failed(&action, &e))?;
                Ok(Standing::Repaired)
            }
        }
    }

    /// Removes the worktree at `path`; what it holds is committed and kept under `keep_as` first.
    pub fn remove_worktree(&self, path: &Path, keep_as: &str) -> Result<()> {
        self.in_turn(Turn::Worktrees, || self.remove(path, keep_as))
    }

    fn remove(&self, path: &Path, keep_as: &str) -> Result<()> {
        let repo = self.open()?;
        let worktree = all(&repo)?.into_iter().find(|w| same_place(w.path(), path));
        let Some(worktree) = worktree else {
            return if path.exists() { move_aside(path) } else { Ok(()) };
        };
        if path.exists() && worktree.validate().is_ok() {
            let saved = self.save(path, "octopoid: work in progress")?;
            self.keep(keep_as, &saved.head)?;
        }
        if path.exists() && has_repository(path, 0) {
            move_aside(path)?;
            return prune(&worktree, path);
        }
        let action = format!("remove the worktree {}", path.display());
        let mut options = WorktreePruneOptions::new();
        options.valid(true).working_tree(true);
        worktree.prune(Some(&mut options)).map_err(|e| failed(&action, &e))
    }

    /// Moves the branch that is checked out at `path` from `from` forward to `to`, its files with it. The checkout must be clean.
    pub fn forward(&self, path: &Path, from: &str, to: &str) -> Result<()> {
        let repo = open_worktree(path)?;
        let action = format!("bring {} forward to {to}", path.display());
        let branch = self
            .branch_of(path)?
            .ok_or_else(|| Error::new(ErrorCode::Git, format!("{} is on no branch", path.display())))?;
        if !self.is_ancestor(from, to)? {
            return Err(Error::new(
                ErrorCode::Git,
                format!("cannot {action}: it does not follow {from}"),
            ));
        }
        checkout(&repo, oid(to)?, &action)?;
        self.move_branch(&branch, Some(from), to, "octopoid: take in the base")
    }

    /// Moves everything that differs from `head` in the checkout at `path` into the folder `to`, and restores `head`'s files.
    ///
    /// For what checks leave behind in a checkout that was clean before them.
    pub fn set_aside(&self, path: &Path, head: &str, to: &Path) -> Result<()> {
        let repo = open_worktree(path)?;
        let action = format!("put away what checks left in {}", path.display());
        if self.head_of(path)? != head || is_clean(&repo, true)? {
            return Ok(());
        }
        let mut options = StatusOptions::new();
        options
            .include_untracked(true)
            .recurse_untracked_dirs(false)
            .include_ignored(false);
        let mut touched = Vec::new();
        for entry in repo
            .statuses(Some(&mut options))
            .map_err(|e| failed(&action, &e))?
            .iter()
        {
            if let Ok(relative) = entry.path() {
                touched.push(relative.trim_end_matches('/').to_owned());
            }
        }
        let to = match to.exists() {
            false => to.to_path_buf(),
            // From the same checks before a crash.
            true => free_name(to),
        };
        for relative in &touched {
            let (from, target) = (path.join(relative), to.join(relative));
            if from.symlink_metadata().is_err() {
                continue;
            }
            let parent = target.parent().map_or(Ok(()), fs::create_dir_all);
            parent
                .and_then(|()| fs::rename(&from, &target))
                .map_err(|e| Error::io("put away", &from, e))?;
        }
        // Only missing files are written back: nothing is overwritten.
        let mut builder = CheckoutBuilder::new();
        builder.safe().recreate_missing(true);
        repo.checkout_head(Some(&mut builder)).map_err(|e| failed(&action, &e))
    }

    /// Whether the worktree at `path` carries a mark; marks go with the worktree.
    pub fn has_mark(&self, path: &Path, mark: &str) -> Result<bool> {
        Ok(open_worktree(path)?.path().join(mark).exists())
    }

    /// Puts a mark on the worktree at `path`.
    pub fn set_mark(&self, path: &Path, mark: &str) -> Result<()> {
        let file = open_worktree(path)?.path().join(mark);
        fs::write(&file, "").map_err(|e| Error::io("write", &file, e))
    }

    /// Tip of the checkout at `path`.
    pub fn head_of(&self, path: &Path) -> Result<String> {
        let repo = open_worktree(path)?;
        let head = repo.head().and_then(|h| h.peel_to_commit());
        head.map(|c| c.id().to_string())
            .map_err(|e| failed(format_args!("read the tip of {}", path.display()), &e))
    }

    /// Branch checked out at `path`; none on a detached HEAD.
    pub fn branch_of(&self, path: &Path) -> Result<Option<String>> {
        Ok(head_target(&open_worktree(path)?).and_then(|t| t.strip_prefix("refs/heads/").map(str::to_owned)))
    }

    /// Whether nothing in the checkout at `path` differs from its tip, ignored files aside.
    pub fn is_clean(&self, path: &Path) -> Result<bool> {
        is_clean(&open_worktree(path)?, false)
    }

    /// Linked worktrees below `folder`, whether or not their folders are still there.
    pub fn worktrees_in(&self, folder: &Path) -> Result<Vec<PathBuf>> {
        let repo = self.open()?;
        let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf());
        Ok(all(&repo)?
            .into_iter()
            .map(|w| w.path().to_path_buf())
            .filter(|p| p.starts_with(&folder))
            .collect())
    }
}

/// Whether the worktree was made to its end: its mark is written last.
fn is_complete(path: &Path) -> bool {
    open_worktree(path).is_ok_and(|repo| repo.path().join(COMPLETE).exists())
}

/// Metadata that git does not take for a worktree: a crash came before it was complete.
fn remove_half_made(admin: &Path) -> Result<()> {
    match fs::remove_dir_all(admin) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove the half-made", admin, e)),
        _ => Ok(()),
    }
}

fn same_place(a: &Path, b: &Path) -> bool {
    let real = |p: &Path| {
        p.canonicalize().ok().or_else(|| {
            let parent = p.parent()?.canonicalize().ok()?;
            Some(parent.join(p.file_name()?))
        })
    };
    a == b || real(a).is_some_and(|a| Some(a) == real(b))
}

/// The ref that HEAD names, whether it exists or not; none on a detached HEAD.
pub(super) fn head_target(repo: &Repository) -> Option<String> {
    repo.find_reference("HEAD")
        .ok()?
        .symbolic_target()
        .ok()
        .flatten()
        .map(str::to_owned)
}

/// `refresh` writes what was found into the index, so that the next look is quick; not while somebody else works there.
pub(super) fn is_clean(repo: &Repository, refresh: bool) -> Result<bool> {
    let mut options = StatusOptions::new();
    options
        .include_untracked(true)
        .recurse_untracked_dirs(false)
        .include_ignored(false)
        .update_index(refresh);
    let statuses = repo
        .statuses(Some(&mut options))
        .map_err(|e| failed("look for changed files", &e))?;
    Ok(statuses.is_empty())
}

/// Puts the files of a clean checkout to `target`; refuses to overwrite anything that is not in its tip.
pub(super) fn checkout(repo: &Repository, target: git2::Oid, action: &str) -> Result<()> {
    let commit = repo.find_commit(target).map_err(|e| failed(action, &e))?;
    let mut builder = CheckoutBuilder::new();
    builder.safe();
    repo.checkout_tree(commit.as_object(), Some(&mut builder))
        .map_err(|e| failed(action, &e))
}

/// Drops the metadata of a worktree whose folder is gone.
fn prune(worktree: &Worktree, path: &Path) -> Result<()> {
    if let Ok(WorktreeLockStatus::Locked(reason)) = worktree.is_locked() {
        return Err(Error::new(
            ErrorCode::Git,
            format!(
                "the worktree {} is locked ({})",
                path.display(),
                reason.unwrap_or_default()
            ),
        )
        .with_hint(format!("run `git worktree unlock {}`", path.display())));
    }
    worktree
        .prune(None)
        .map_err(|e| failed(format_args!("forget the worktree {}", path.display()), &e))
}

/// Whether a folder below `path` is a repository of its own, which no commit of ours can hold.
fn has_repository(path: &Path, depth: usize) -> bool {
    depth < 8
        && fs::read_dir(path).into_iter().flatten().flatten().any(|entry| {
            let inner = entry.path();
            entry.file_type().is_ok_and(|t| t.is_dir())
                && entry.file_name() != ".git"
                && (inner.join(".git").is_dir() || has_repository(&inner, depth + 1))
        })
}

/// A folder that is no worktree of ours stays, under another name.
fn move_aside(path: &Path) -> Result<()> {
    if fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none()) {
        return fs::remove_dir(path).map_err(|e| Error::io("remove the empty folder", path, e));
    }
    let free = free_name(path);
    fs::rename(path, &free).map_err(|e| Error::io("move aside", path, e))
}

/// A name beside `path` that nothing has yet.
fn free_name(path: &Path) -> PathBuf {
    let name = path
        .file_name()
        .map(|n| n.to_string_lossy().into_owned())
        .unwrap_or_default();
    let mut number = 1;
    loop {
        let free = path.with_file_name(format!("{name}+found-{number}"));
        if free.symlink_metadata().is_err() {
            return free;
        }
        number += 1;
    }
}
