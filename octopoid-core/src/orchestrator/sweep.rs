//! Worktrees that nobody needs any more, and questions about a task's work in the repository.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Serialize;

use super::context::Context;
use crate::{
    backend::Backend,
    config::Paths,
    error::{Error, ErrorCode, Result},
    git::Repo,
    id::TaskId,
    model::{QueueKind, Task},
    queue::Octopoid,
};

/// How long the worktree of a merged task stays.
const DONE: Duration = Duration::from_secs(3600);
/// How long the worktree of a failed or cancelled task stays.
const FAILED: Duration = Duration::from_secs(7 * 24 * 3600);

/// Why a worktree stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kept {
    /// Its task is not finished.
    Unfinished,
    /// Somebody works in it.
    InUse,
    /// Its task ended a short time ago.
    Recent,
    /// It is not one that Octopoid made.
    Foreign,
    /// It stood where a worktree had to be. Nobody knows what is in it: look through it, and remove it.
    MovedAside,
}

/// One worktree.
#[derive(Debug, Clone, Serialize)]
pub struct WorktreeState {
    /// Where it is.
    pub path: PathBuf,
    /// Its task.
    pub task_id: Option<TaskId>,
    /// Where the task is.
    pub queue: Option<String>,
    /// Branch checked out; null for the checkouts of reviews and landings.
    pub branch: Option<String>,
    /// Whether it holds uncommitted changes; they are committed before it goes.
    pub dirty: bool,
    /// Why it stays; null when it can go.
    pub kept: Option<Kept>,
    /// Whether it was removed just now.
    pub removed: bool,
}

async fn states(backend: &dyn Backend, repo: &Repo, paths: &Paths, young: bool) -> Result<Vec<WorktreeState>> {
    let (folder, reader) = (paths.worktrees(), repo.clone());
    let found = blocking(move || {
        let places = reader.worktrees_in(&folder)?;
        let unknown = unknown_in(&folder, &places)?;
        let known = places
            .into_iter()
            .map(|path| {
                let branch = reader.branch_of(&path).ok().flatten();
                let dirty = path.exists() && !reader.is_clean(&path).unwrap_or(false);
                (path, branch, dirty)
            })
            .collect::<Vec<_>>();
        Ok((known, unknown))
    })
    .await?;
    let (found, unknown) = found;
    let mut states: Vec<WorktreeState> = unknown
        .into_iter()
        .map(|path| WorktreeState {
            path,
            task_id: None,
            queue: None,
            branch: None,
            dirty: false,
            kept: Some(Kept::MovedAside),
            removed: false,
        })
        .collect();
    for (path, branch, dirty) in found {
        let name = path
            .file_name()
            .map(|n| n.to_string_lossy().into_owned())
            .unwrap_or_default();
        let (id, purpose) = name
            .split_once('+')
            .map_or((name.as_str(), None), |(id, purpose)| (id, Some(purpose)));
        let task = match TaskId::parse(id) {
            Ok(id) => match backend.task(&id).await {
                Ok(task) => Some(task),
                Err(error) if error.code() == ErrorCode::NotFound => None,
                Err(error) => return Err(error),
            },
            Err(_) => None,
        };
        let kept = match &task {
            None => Some(Kept::Foreign),
            Some(task) => why_kept(task, purpose.is_some(), young, backend),
        };
        states.push(WorktreeState {
            task_id: task.as_ref().map(|t| t.id.clone()),
            queue: task.map(|t| t.queue.to_string()),
            path,
            branch,
            dirty,
            kept,
            removed: false,
        });
    }
    Ok(states)
}

/// Folders beside the worktrees that git does not know.
fn unknown_in(folder: &Path, known: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Error::io("read", folder, e)),
    };
    let mut unknown = Vec::new();
    for entry in entries {
        let path = entry.map_err(|e| Error::io("read", folder, e))?.path();
        let is_known = known.iter().any(|k| k.file_name() == path.file_name());
        if !is_known && path.is_dir() {
            unknown.push(path);
        }
    }
    unknown.sort();
    Ok(unknown)
}

fn why_kept(task: &Task, is_checkout: bool, young: bool, backend: &dyn Backend) -> Option<Kept> {
    if task.claim_token.is_some() {
        return Some(Kept::InUse);
    }
    let age = task.completed_at.map(|at| backend.now().since(at));
    match (task.kind(), age) {
        // A checkout of a review or a landing that is over holds nothing of its own.
        _ if is_checkout => None,
        (QueueKind::Done, Some(age)) if young || age > DONE => None,
        (QueueKind::Failed | QueueKind::Cancelled, Some(age)) if age > FAILED => None,
        (QueueKind::Done | QueueKind::Failed | QueueKind::Cancelled, _) => Some(Kept::Recent),
        _ => Some(Kept::Unfinished),
    }
}

async fn remove(repo: &Repo, states: &mut [WorktreeState]) {
    for state in states.iter_mut().filter(|s| s.kept.is_none()) {
        let (repo, path) = (repo.clone(), state.path.clone());
        let id = state.task_id.as_ref().map(ToString::to_string).unwrap_or_default();
        match blocking(move || repo.remove_worktree(&path, &format!("{id}/swept"))).await {
            Ok(()) => state.removed = true,
            Err(error) => tracing::warn!("{} stays: {error}", state.path.display()),
        }
    }
}

/// Removes, in the background, what has been finished for long enough.
pub(super) async fn old_worktrees(cx: &Context) -> Result<()> {
    let mut found = states(&*cx.backend, &cx.repo, &cx.paths, false).await?;
    remove(&cx.repo, &mut found).await;
    Ok(())
}

pub(super) async fn look(octopoid: &Octopoid) -> Result<Vec<WorktreeState>> {
    let (repo, paths) = (Repo::at(octopoid.root())?, Paths::new(octopoid.root()));
    states(&**octopoid.backend(), &repo, &paths, true).await
}

pub(super) async fn clean(octopoid: &Octopoid) -> Result<Vec<WorktreeState>> {
    let mut found = look(octopoid).await?;
    remove(&Repo::at(octopoid.root())?, &mut found).await;
    Ok(found)
}

/// The tip of a task's work, wherever it is still to be found; `shared` is the remote that other machines push to.
fn head_of(repo: &Repo, task: &Task, shared: Option<&str>) -> Result<Option<String>> {
    let tip = repo.branch_tip(&task.work_branch())?;
    let Some(named) = &task.head_sha else { return Ok(tip) };
    if let (Some(remote), false) = (shared, repo.has_commit(named)?) {
        repo.fetch(remote)?;
        if !repo.has_commit(named)? {
            repo.fetch_shared(remote, task.id.as_str(), named)?;
        }
    }
    match tip {
        // Another machine may have gone on with it.
        Some(tip) if shared.is_none() || !repo.is_ancestor(&tip, named)? => Ok(Some(tip)),
        _ => Ok(Some(named.clone())),
    }
}

/// The remote through which machines share commits; none for a queue of this machine.
fn shared_remote(octopoid: &Octopoid, repo: &Repo) -> Result<Option<String>> {
    if octopoid.reach() == crate::backend::Reach::Local {
        return Ok(None);
    }
    match &octopoid.settings().config.repo.remote {
        Some(remote) => Ok(Some(remote.clone())),
        None => repo.default_remote(),
    }
}

pub(super) async fn diff(octopoid: &Octopoid, id: &TaskId) -> Result<String> {
    let task = octopoid.backend().task(id).await?;
    let repo = Repo::at(octopoid.root())?;
    let shared = shared_remote(octopoid, &repo)?;
    blocking(move || {
        let Some(head) = head_of(&repo, &task, shared.as_deref())? else {
            return Err(Error::not_found("work for task", &task.id)
                .with_hint(format!("`octopoid why {}` tells where it is", task.id)));
        };
        let base = match &task.base_sha {
            Some(base) => base.clone(),
            None => repo.branch_tip(&task.branch)?.unwrap_or_else(|| head.clone()),
        };
        let from = repo.merge_base(&base, &head)?.unwrap_or(base);
        repo.patch(&from, &head)
    })
    .await
}

/// The tip of a task's branch, where it has commits that its base has not.
pub(super) async fn work_tip(octopoid: &Octopoid, id: &TaskId) -> Result<Option<String>> {
    let task = octopoid.backend().task(id).await?;
    let repo = Repo::at(octopoid.root())?;
    blocking(move || {
        let Some(tip) = repo.branch_tip(&task.work_branch())? else {
            return Ok(None);
        };
        match &task.base_sha {
            Some(base) if repo.commits_between(base, &tip)? > 0 => Ok(Some(tip)),
            _ => Ok(None),
        }
    })
    .await
}

pub(super) async fn merged_sha(octopoid: &Octopoid, id: &TaskId) -> Result<Option<String>> {
    let task = octopoid.backend().task(id).await?;
    let repo = Repo::at(octopoid.root())?;
    let remote = octopoid.settings().config.repo.remote.clone();
    let shared = shared_remote(octopoid, &repo)?;
    blocking(move || {
        let remote = match remote {
            Some(remote) => Some(remote),
            None => repo.default_remote()?,
        };
        let tip = match &remote {
            Some(remote) => {
                repo.fetch(remote)?;
                repo.remote_tip(remote, &task.branch)?
            }
            None => repo.branch_tip(&task.branch)?,
        };
        let (Some(tip), Some(head)) = (tip, head_of(&repo, &task, shared.as_deref())?) else {
            return Ok(None);
        };
        Ok(repo.is_ancestor(&head, &tip)?.then_some(head))
    })
    .await
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| Error::new(ErrorCode::Internal, format!("git work stopped: {e}")))?
}
