//! Git for scripts; each call in a thread of its own.

use std::path::Path;

use napi::{Env, bindgen_prelude::PromiseRaw};
use napi_derive::napi;
use octopoid_core::git::tools;

use crate::answer::aside;

type Promised<'env> = napi::Result<PromiseRaw<'env, String>>;

/// Path of the task's worktree, made where it is not there.
#[napi(ts_return_type = "Promise<string>")]
pub(crate) fn ensure_worktree<'env>(env: &'env Env, repo: String, task_id: String, base: String) -> Promised<'env> {
    aside(env, move || tools::ensure_worktree(Path::new(&repo), &task_id, &base))
}

/// Null.
#[napi(ts_return_type = "Promise<string>")]
pub(crate) fn remove_worktree<'env>(env: &'env Env, path: String) -> Promised<'env> {
    aside(env, move || tools::remove_worktree(Path::new(&path)))
}

/// List of `{path, branch, head}`.
#[napi(ts_return_type = "Promise<string>")]
pub(crate) fn list_worktrees<'env>(env: &'env Env, repo: String) -> Promised<'env> {
    aside(env, move || tools::list_worktrees(Path::new(&repo)))
}

/// Name or null.
#[napi(ts_return_type = "Promise<string>")]
pub(crate) fn current_branch<'env>(env: &'env Env, path: String) -> Promised<'env> {
    aside(env, move || tools::current_branch(Path::new(&path)))
}

/// Boolean.
#[napi(ts_return_type = "Promise<string>")]
pub(crate) fn has_uncommitted_changes<'env>(env: &'env Env, path: String) -> Promised<'env> {
    aside(env, move || tools::has_uncommitted_changes(Path::new(&path)))
}

/// Commit id or null.
#[napi(ts_return_type = "Promise<string>")]
pub(crate) fn commit_changes<'env>(env: &'env Env, path: String, message: String) -> Promised<'env> {
    aside(env, move || tools::commit_changes(Path::new(&path), &message))
}

/// Number.
#[napi(ts_return_type = "Promise<string>")]
pub(crate) fn commit_count<'env>(env: &'env Env, path: String, base: String) -> Promised<'env> {
    aside(env, move || tools::commit_count(Path::new(&path), &base))
}

/// `{files, insertions, deletions}`.
#[napi(ts_return_type = "Promise<string>")]
pub(crate) fn diff_stat<'env>(env: &'env Env, path: String, base: String) -> Promised<'env> {
    aside(env, move || tools::diff_stat(Path::new(&path), &base))
}

/// Null.
#[napi(ts_return_type = "Promise<string>")]
pub(crate) fn push<'env>(env: &'env Env, path: String, remote: String, branch: String) -> Promised<'env> {
    aside(env, move || tools::push(Path::new(&path), &remote, &branch))
}
