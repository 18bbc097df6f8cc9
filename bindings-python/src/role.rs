//! Roles written in Python, as the orchestrator plays them. Each run has a thread of Python's own, which a call-off
//! reaches.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use octopoid_core::{Outcome, Role, RoleError, role::AtWork, wire};
use pyo3::{ffi, prelude::*};
use tokio::sync::{oneshot, watch};

use crate::{error::OrRaise as _, git::json, interpreter::Engine};

/// How long a role that was told to end may take before an exception is put into its thread.
const PATIENCE: Duration = Duration::from_secs(1);

/// What `octopoid._play` brings: whether it is an outcome as JSON or an error's sentence, and the traceback.
type Played = (bool, String, Option<String>);

/// A role of Python.
pub(crate) struct PyRole {
    pub(crate) name: String,
    pub(crate) object: Arc<Py<PyAny>>,
    pub(crate) engine: &'static Engine,
}

impl fmt::Debug for PyRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PyRole")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// One assignment in the hands of a role of Python.
#[pyclass(frozen, module = "octopoid._native")]
pub(crate) struct Assignment {
    inner: octopoid_core::Assignment,
    ended: Arc<AtomicBool>,
}

#[pymethods]
impl Assignment {
    /// The task as a row of JSON.
    #[getter]
    fn task(&self) -> PyResult<String> {
        json(&wire::task_row(&self.inner.task, &[]))
    }
    /// The attempt as JSON.
    #[getter]
    fn attempt(&self) -> PyResult<String> {
        json(&self.inner.attempt)
    }
    /// Messages as rows of JSON, oldest first.
    #[getter]
    fn feedback(&self) -> PyResult<String> {
        let scope = self.inner.task.scope.as_str();
        let rows: Vec<_> = self.inner.feedback.iter().map(|m| wire::message(m, scope)).collect();
        json(&rows)
    }
    /// The checkout.
    #[getter]
    fn worktree(&self) -> std::path::PathBuf {
        self.inner.worktree.clone()
    }
    /// Folder of the attempt's files.
    #[getter]
    fn attempt_dir(&self) -> std::path::PathBuf {
        self.inner.dir.clone()
    }
    /// Commit on which the work stands.
    #[getter]
    fn base_sha(&self) -> &str {
        &self.inner.base_sha
    }
    /// Commit that is judged, or from which work goes on.
    #[getter]
    fn head_sha(&self) -> &str {
        &self.inner.head_sha
    }
    /// Whether a commit is to be judged.
    #[getter]
    fn is_review(&self) -> bool {
        self.inner.is_review()
    }
    /// Whether nobody needs the result any more.
    #[getter]
    fn cancelled(&self) -> bool {
        self.ended.load(Ordering::SeqCst) || self.inner.cancelled()
    }
    /// The prompt that an agent program would get.
    fn prompt(&self, py: Python<'_>) -> PyResult<String> {
        self.inner.prompt(None).or_raise(py)
    }
    /// Writes a line to the attempt's log.
    fn log(&self, py: Python<'_>, text: &str) -> PyResult<()> {
        self.inner.log(text).or_raise(py)
    }
}

/// Where a run tells what it came to; only the first word counts.
#[pyclass(frozen, module = "octopoid._native")]
pub(crate) struct Report(Mutex<Option<(AtWork, oneshot::Sender<Played>)>>);

#[pymethods]
impl Report {
    #[pyo3(signature = (is_outcome, text, traceback))]
    fn __call__(&self, is_outcome: bool, text: String, traceback: Option<String>) {
        let sender = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((at_work, sender)) = sender {
            drop(at_work);
            // Where nobody listens, the run was given up.
            drop(sender.send((is_outcome, text, traceback)));
        }
    }
}

/// Puts an exception into a thread; it is raised at the thread's next step in Python.
#[pyfunction]
pub(crate) fn raise_in_thread(ident: std::ffi::c_long, exception: &Bound<'_, PyAny>) -> bool {
    // SAFETY: the interpreter is held, and it keeps the exception alive by itself.
    unsafe { ffi::PyThreadState_SetAsyncExc(ident, exception.as_ptr()) == 1 }
}

/// A run that has been started. When it is dropped before its end, it is called off.
struct Run {
    engine: &'static Engine,
    handle: Option<Arc<Py<PyAny>>>,
    ended: Arc<AtomicBool>,
}

impl Run {
    /// Asks it to end, then makes it.
    fn call_off(&self) {
        self.ended.store(true, Ordering::SeqCst);
        let Some(handle) = self.handle.clone() else { return };
        let engine = self.engine;
        engine.runtime.spawn(async move {
            for method in ["cancel", "interrupt"] {
                let handle = Arc::clone(&handle);
                let told = engine.runtime.spawn_blocking(move || {
                    engine.attached(|py| {
                        if let Err(error) = handle.call_method0(py, method) {
                            error.write_unraisable(py, Some(handle.bind(py)));
                        }
                    });
                });
                drop(told.await);
                tokio::time::sleep(PATIENCE).await;
            }
        });
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if self.handle.is_some() {
            self.call_off();
        }
    }
}

#[async_trait]
impl Role for PyRole {
    fn name(&self) -> &str {
        &self.name
    }

    async fn run(&self, cx: &octopoid_core::Assignment) -> Result<Outcome, RoleError> {
        let (sender, mut played) = oneshot::channel();
        let ended = Arc::new(AtomicBool::new(false));
        let assignment = Assignment {
            inner: cx.clone(),
            ended: Arc::clone(&ended),
        };
        let (engine, object, at_work) = (self.engine, Arc::clone(&self.object), cx.at_work());
        let started = engine.runtime.spawn_blocking(move || {
            engine.attached(|py| -> PyResult<Py<PyAny>> {
                let report = Report(Mutex::new(Some((at_work, sender))));
                let run = py
                    .import("octopoid._play")?
                    .call_method1("start", (object.bind(py), assignment, report))?;
                Ok(run.unbind())
            })
        });
        let handle = match started.await {
            Ok(Some(Ok(handle))) => handle,
            Ok(Some(Err(error))) => {
                return Err(RoleError::failed(format!(
                    "the role {} cannot be started: {error}",
                    self.name
                )));
            }
            Ok(None) => return Err(RoleError::failed("the interpreter is on its way out")),
            Err(error) => {
                return Err(RoleError::failed(format!(
                    "the role {} cannot be started: {error}",
                    self.name
                )));
            }
        };
        let mut run = Run {
            engine,
            handle: Some(Arc::new(handle)),
            ended,
        };
        let mut stop = cx.cancellation();
        let result = tokio::select! {
            result = &mut played => result,
            () = told(&mut stop) => {
                run.call_off();
                played.await
            }
        };
        run.handle = None;
        self.outcome(result)
    }
}

/// Comes back when nobody needs the result any more.
async fn told(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|stopped| *stopped).await.is_err() {
        // Nobody is left who could tell.
        std::future::pending::<()>().await;
    }
}

impl PyRole {
    fn outcome(&self, played: Result<Played, oneshot::error::RecvError>) -> Result<Outcome, RoleError> {
        match played {
            Ok((true, text, _)) => {
                let value = serde_json::from_str(&text)
                    .map_err(|e| RoleError::failed(format!("the role's outcome is not JSON: {e}")))?;
                Outcome::from_value(&value).map_err(|error| {
                    let hint = error.hint().unwrap_or_default();
                    RoleError::failed(format!("role {}: {error}; {hint}", self.name))
                })
            }
            Ok((false, message, Some(traceback))) => Err(RoleError::raised(message, traceback)),
            Ok((false, message, None)) => Err(RoleError::failed(message)),
            Err(_) => Err(RoleError::failed(format!(
                "the thread of the role {} ended without a word",
                self.name
            ))),
        }
    }
}
