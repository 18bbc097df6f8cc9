//! The orchestrator: roles of Python on the queue of a connection.

use std::{
    path::PathBuf,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use octopoid_core::{
    Error, ErrorCode, Octopoid,
    orchestrator::{Ended, Orchestrator as Core, Stop},
};
use pyo3::prelude::*;
use serde_json::json;
use tokio::sync::watch;

use crate::{
    asyncio,
    connection::{Connection, Shared},
    error::{Failure, OrRaise as _},
    interpreter::{self, Driver, Engine},
    role::PyRole,
};

/// How often a run in the main thread looks for Ctrl-C.
const LOOK: Duration = Duration::from_millis(40);

type Current = Arc<Mutex<Option<watch::Sender<Stop>>>>;

/// Runs roles on a queue; one run at a time.
#[pyclass(frozen, module = "octopoid._native")]
pub(crate) struct Orchestrator {
    connection: Option<Arc<Shared>>,
    repo: PathBuf,
    roles: Vec<(String, Arc<Py<PyAny>>)>,
    max_agents: Option<usize>,
    tick_seconds: Option<f64>,
    current: Current,
}

/// Marks the end of a run, however it ends.
struct Running(Current);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

#[pymethods]
impl Orchestrator {
    #[new]
    #[pyo3(signature = (connection, repo, roles, max_agents, tick_seconds))]
    fn new(
        connection: Option<&Bound<'_, Connection>>,
        repo: PathBuf,
        roles: Vec<(String, Py<PyAny>)>,
        max_agents: Option<usize>,
        tick_seconds: Option<f64>,
    ) -> Self {
        Self {
            connection: connection.map(|c| Arc::clone(&c.get().shared)),
            repo,
            roles: roles.into_iter().map(|(name, role)| (name, Arc::new(role))).collect(),
            max_agents,
            tick_seconds,
            current: Current::default(),
        }
    }

    /// Whether a run is on its way.
    #[getter]
    fn running(&self) -> bool {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Runs and waits for the end; what was done, as JSON.
    fn run(&self, py: Python<'_>, once: bool) -> PyResult<String> {
        let engine = interpreter::engine()?;
        let work = engine.runtime.spawn(self.begin(engine, once).or_raise(py)?);
        let abort = work.abort_handle();
        let mut work = pin!(work);
        let limit = interpreter::is_main(py)?.then_some(LOOK);
        let mut interrupted: Option<PyErr> = None;
        loop {
            if let Some(ended) = engine.step(py, Driver::Threads, work.as_mut(), limit) {
                let result = ended.unwrap_or_else(|e| Err(Failure::Panicked(e.to_string())));
                return match interrupted {
                    Some(interrupt) => Err(interrupt),
                    None => result.or_raise(py),
                };
            }
            if let Err(interrupt) = py.check_signals() {
                if interrupted.is_some() {
                    // Asked twice: not even an orderly end is waited for.
                    abort.abort();
                    return Err(interrupt);
                }
                self.tell(Stop::WithAgents);
                interrupted = Some(interrupt);
            }
        }
    }

    /// The same, to be awaited in a running loop.
    fn run_async<'py>(&self, py: Python<'py>, once: bool) -> PyResult<Bound<'py, PyAny>> {
        let engine = interpreter::engine()?;
        asyncio::awaitable(engine, py, self.begin(engine, once).or_raise(py)?)
    }

    /// Ends the run that is on its way, in order; with `now`, its roles too. False when none is.
    fn stop(&self, now: bool) -> bool {
        self.tell(if now { Stop::WithAgents } else { Stop::Gracefully })
    }
}

impl Orchestrator {
    fn tell(&self, stop: Stop) -> bool {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        current.as_ref().map(|sender| sender.send_replace(stop)).is_some()
    }

    fn begin(
        &self,
        engine: &'static Engine,
        once: bool,
    ) -> Result<impl Future<Output = Result<String, Failure>> + Send + use<>, Failure> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.is_some() {
            let error = Error::new(ErrorCode::AlreadyRunning, "this orchestrator is running already");
            return Err(error.with_hint("wait for the end of that run, or call stop()").into());
        }
        let connection = self.connection.as_ref().map(|shared| shared.open()).transpose()?;
        let (sender, stop) = watch::channel(Stop::No);
        *current = Some(sender);
        let running = Running(Arc::clone(&self.current));
        let (repo, max_agents, tick_seconds) = (self.repo.clone(), self.max_agents, self.tick_seconds);
        let roles: Vec<PyRole> = self
            .roles
            .iter()
            .map(|(name, object)| PyRole {
                name: name.clone(),
                object: Arc::clone(object),
                engine,
            })
            .collect();
        Ok(async move {
            let _running = running;
            // Opening databases and taking locks is no work for the threads that serve the network.
            let built = engine.runtime.spawn_blocking(move || {
                let octopoid = match connection {
                    Some(connection) => connection.octopoid(&repo)?,
                    None => Octopoid::open(&repo)?,
                };
                let mut builder = Core::builder().octopoid(octopoid).repo(repo);
                for role in roles {
                    builder = builder.role(role);
                }
                if let Some(max) = max_agents {
                    builder = builder.max_agents(max);
                }
                if let Some(seconds) = tick_seconds {
                    builder = builder.tick_seconds(seconds);
                }
                builder.build()
            });
            let mut core = built.await.map_err(|e| Failure::Panicked(e.to_string()))??;
            let mut notices = core.notices();
            let mut steps = Vec::new();
            let mut run = Box::pin(core.run(once, stop));
            let ended = loop {
                tokio::select! {
                    ended = &mut run => break ended?,
                    Some(notice) = notices.recv() => if once {
                        steps.push(json!({ "task_id": notice.task, "text": notice.text }));
                    },
                }
            };
            drop(run);
            while let Ok(notice) = notices.try_recv() {
                if once {
                    steps.push(json!({ "task_id": notice.task, "text": notice.text }));
                }
            }
            let word = match ended {
                Ended::Clean => "clean",
                Ended::NeedsAttention => "needs_attention",
                Ended::Stopped => "stopped",
            };
            Ok(json!({ "ended": word, "steps": steps }).to_string())
        })
    }
}
