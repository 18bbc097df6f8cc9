//! Errors of the core as the exceptions of `octopoid.errors`.

use octopoid_core::{Error, ErrorCode};
use pyo3::prelude::*;

/// Why a call brought no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The core says so.
    Core(Error),
    /// The client was closed.
    Closed,
    /// The client was made before this process was forked.
    Forked,
    /// A defect.
    Panicked(String),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Core(error)
    }
}

impl Failure {
    /// The exception that stands for it.
    pub(crate) fn raise(&self, py: Python<'_>) -> PyErr {
        match self {
            Self::Core(error) => exception(py, error.code().as_str(), &error.to_string(), error.hint()),
            Self::Closed => exception(
                py,
                ErrorCode::Closed.as_str(),
                "this client is closed",
                Some("make a new one; a closed client cannot be opened again"),
            ),
            Self::Forked => exception(
                py,
                ErrorCode::Forked.as_str(),
                "this client was made before the process was forked",
                Some("make a new client in the child process"),
            ),
            Self::Panicked(said) => exception(py, "internal", &format!("octopoid has a defect: {said}"), None),
        }
    }
}

fn exception(py: Python<'_>, code: &str, message: &str, hint: Option<&str>) -> PyErr {
    py.import("octopoid.errors")
        .and_then(|errors| errors.call_method1("from_code", (code, message, hint)))
        .map_or_else(|error| error, PyErr::from_value)
}

/// The value, or the exception.
pub(crate) trait OrRaise<T> {
    fn or_raise(self, py: Python<'_>) -> PyResult<T>;
}

impl<T, E: Into<Failure>> OrRaise<T> for Result<T, E> {
    fn or_raise(self, py: Python<'_>) -> PyResult<T> {
        self.map_err(|error| error.into().raise(py))
    }
}
