//! Git for scripts.

use std::path::PathBuf;

use octopoid_core::{Result, git::tools};
use pyo3::{exceptions::PyRuntimeError, prelude::*};
use serde::Serialize;

use crate::{error::OrRaise as _, interpreter};

/// Does something that reads and writes files, without holding the interpreter. Ctrl-C goes before what it came to.
pub(crate) fn working<T: Send>(py: Python<'_>, work: impl FnOnce() -> Result<T> + Send) -> PyResult<T> {
    let result = interpreter::engine()?.detached(py, work);
    py.check_signals()?;
    result.or_raise(py)
}

/// A value as JSON.
pub(crate) fn json(value: &impl Serialize) -> PyResult<String> {
    serde_json::to_string(value)
        .map_err(|e| PyRuntimeError::new_err(format!("a result cannot be written as JSON: {e}")))
}

/// The worktree of a task.
#[pyfunction]
pub(crate) fn ensure_worktree(py: Python<'_>, repo: PathBuf, task_id: String, base: String) -> PyResult<PathBuf> {
    working(py, || tools::ensure_worktree(&repo, &task_id, &base))
}

/// Removes a worktree.
#[pyfunction]
pub(crate) fn remove_worktree(py: Python<'_>, path: PathBuf) -> PyResult<()> {
    working(py, || tools::remove_worktree(&path))
}

/// All worktrees, as JSON.
#[pyfunction]
pub(crate) fn list_worktrees(py: Python<'_>, repo: PathBuf) -> PyResult<String> {
    json(&working(py, || tools::list_worktrees(&repo))?)
}

/// The branch that is checked out.
#[pyfunction]
pub(crate) fn current_branch(py: Python<'_>, path: PathBuf) -> PyResult<Option<String>> {
    working(py, || tools::current_branch(&path))
}

/// Whether files differ from the tip.
#[pyfunction]
pub(crate) fn has_uncommitted_changes(py: Python<'_>, path: PathBuf) -> PyResult<bool> {
    working(py, || tools::has_uncommitted_changes(&path))
}

/// Commits everything; the commit, or none.
#[pyfunction]
pub(crate) fn commit_changes(py: Python<'_>, path: PathBuf, message: String) -> PyResult<Option<String>> {
    working(py, || tools::commit_changes(&path, &message))
}

/// How many commits the tip is ahead.
#[pyfunction]
pub(crate) fn commit_count(py: Python<'_>, path: PathBuf, base: String) -> PyResult<u64> {
    working(py, || tools::commit_count(&path, &base))
}

/// What differs, as JSON.
#[pyfunction]
pub(crate) fn diff_stat(py: Python<'_>, path: PathBuf, base: String) -> PyResult<String> {
    json(&working(py, || tools::diff_stat(&path, &base))?)
}

/// Pushes the tip.
#[pyfunction]
pub(crate) fn push(py: Python<'_>, path: PathBuf, remote: String, branch: String) -> PyResult<()> {
    working(py, || tools::push(&path, &remote, &branch))
}
