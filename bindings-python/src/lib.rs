//! The Python module `octopoid._native`: connections, roles, the orchestrator, git, task files and the command line.
//! Names, defaults and documentation are written in Python over it; JSON crosses as text.

mod asyncio;
mod command;
mod connection;
mod error;
mod files;
mod git;
mod interpreter;
mod json;
mod orchestrator;
mod role;

use pyo3::prelude::*;

#[pymodule]
mod _native {
    use pyo3::prelude::*;

    #[pymodule_export]
    use super::command::main;
    #[pymodule_export]
    use super::connection::Connection;
    #[pymodule_export]
    use super::files::{generate_task_id, list_task_files, move_task_file, read_task_file, write_task_file};
    #[pymodule_export]
    use super::git::{
        commit_changes, commit_count, current_branch, diff_stat, ensure_worktree, has_uncommitted_changes,
        list_worktrees, push, remove_worktree,
    };
    #[pymodule_export]
    use super::json::decode;
    #[pymodule_export]
    use super::orchestrator::Orchestrator;
    #[pymodule_export]
    use super::role::{Assignment, Report, raise_in_thread};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))?;
        super::interpreter::at_exit(module.py())
    }
}
