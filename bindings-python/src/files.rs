//! Task files for scripts.

use std::path::PathBuf;

use octopoid_core::{Error, queue};
use pyo3::prelude::*;

use crate::git::{json, working};

/// A fresh task id.
#[pyfunction]
pub(crate) fn generate_task_id(py: Python<'_>) -> PyResult<String> {
    working(py, queue::generate_task_id)
}

/// One task file, as JSON.
#[pyfunction]
pub(crate) fn read_task_file(py: Python<'_>, path: PathBuf) -> PyResult<String> {
    json(&working(py, || queue::files::read_task_file(&path))?)
}

/// Writes a task, given as JSON; the file.
#[pyfunction]
pub(crate) fn write_task_file(py: Python<'_>, folder: PathBuf, task: String) -> PyResult<PathBuf> {
    working(py, || {
        let task = serde_json::from_str(&task).map_err(|e| Error::invalid(format!("the task is not JSON: {e}")))?;
        queue::files::write_task_file(&folder, &task)
    })
}

/// The task files of a folder, as JSON.
#[pyfunction]
pub(crate) fn list_task_files(py: Python<'_>, folder: PathBuf) -> PyResult<String> {
    json(&working(py, || queue::files::list_task_files(&folder))?)
}

/// Moves a task file; its new place.
#[pyfunction]
pub(crate) fn move_task_file(py: Python<'_>, path: PathBuf, folder: PathBuf) -> PyResult<PathBuf> {
    working(py, || queue::files::move_task_file(&path, &folder))
}
