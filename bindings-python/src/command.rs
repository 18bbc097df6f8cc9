//! The command line.

use std::ffi::OsString;

use pyo3::prelude::*;

use crate::interpreter;

/// Runs one command line, the program's name first; its exit code.
#[pyfunction]
pub(crate) fn main(py: Python<'_>, args: Vec<OsString>) -> PyResult<u8> {
    Ok(interpreter::engine()?.detached(py, || octopoid_cli::run(args)))
}
