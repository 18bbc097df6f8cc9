//! A connection: requests that wait, and requests that are awaited.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use octopoid_server::{Ask, Told};
use pyo3::{exceptions::PyRuntimeError, prelude::*};
use tokio::sync::watch;

use crate::{
    asyncio,
    error::{Failure, OrRaise as _},
    interpreter::{self, Driver, Engine},
};

/// What the connection of Python and its calls share.
pub(crate) struct Shared {
    engine: &'static Engine,
    driver: Driver,
    connection: Mutex<Option<octopoid_server::Connection>>,
    closed: watch::Sender<bool>,
}

impl Shared {
    /// The connection, where it can be used.
    pub(crate) fn open(&self) -> Result<octopoid_server::Connection, Failure> {
        if !self.engine.is_here() {
            return Err(Failure::Forked);
        }
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        connection.clone().ok_or(Failure::Closed)
    }

    async fn ask(self: Arc<Self>, ask: Ask) -> Result<Told, Failure> {
        let mut closed = self.closed.subscribe();
        let connection = self.open()?;
        if self.driver == Driver::Callers {
            interpreter::catch_up().await;
        }
        let told = tokio::select! {
            told = connection.ask(ask) => told.map_err(Failure::from),
            _ = closed.wait_for(|closed| *closed) => Err(Failure::Closed),
        };
        drop(connection);
        if told.is_err() && self.driver == Driver::Callers {
            // The server hears now that nobody waits any more, and not with the next call.
            interpreter::catch_up().await;
        }
        told
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let connection = self.connection.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if self.engine.is_here() {
            self.let_go(connection);
        } else {
            // In a child made by `fork`, its sockets are also the parent's; letting go of them here would take them
            // from it.
            std::mem::forget(connection);
        }
    }
}

/// A queue: a server, or a folder of this machine.
#[pyclass(frozen, module = "octopoid._native")]
pub(crate) struct Connection {
    pub(crate) shared: Arc<Shared>,
    url: Option<String>,
}

type Answer = (u16, String, Option<String>);

fn answer(told: Told) -> Answer {
    (told.status, told.body, told.reason)
}

#[pymethods]
impl Connection {
    /// A server. Nothing is sent yet. `awaited`: whether calls are awaited; a connection has calls of one kind only.
    #[staticmethod]
    #[pyo3(signature = (url, api_key, scope, timeout, awaited))]
    fn remote(
        py: Python<'_>,
        url: &str,
        api_key: Option<String>,
        scope: Option<&str>,
        timeout: f64,
        awaited: bool,
    ) -> PyResult<Self> {
        let driver = if awaited { Driver::Threads } else { Driver::Callers };
        let timeout = Duration::try_from_secs_f64(timeout)
            .map_err(|e| octopoid_core::Error::invalid(format!("timeout {timeout} is no time in seconds: {e}")))
            .or_raise(py)?;
        Self::made(py, driver, || {
            octopoid_server::Connection::remote(url, api_key, scope, timeout)
        })
    }

    /// A store in a folder, which is made when it is not there.
    #[staticmethod]
    fn local(py: Python<'_>, folder: PathBuf) -> PyResult<Self> {
        Self::made(py, Driver::Threads, || octopoid_server::Connection::local(&folder))
    }

    /// The server's address.
    #[getter]
    fn url(&self) -> Option<&str> {
        self.url.as_deref()
    }

    /// Whether it was closed.
    #[getter]
    fn closed(&self) -> bool {
        *self.shared.closed.borrow()
    }

    /// Sends a request and waits for the answer: status, body, and why a claim found nothing.
    #[pyo3(signature = (method, path, query, body, idempotency_key, wait))]
    #[allow(clippy::too_many_arguments, reason = "the parts of a request")]
    fn request(
        &self,
        py: Python<'_>,
        method: String,
        path: String,
        query: Vec<(String, String)>,
        body: Option<String>,
        idempotency_key: Option<String>,
        wait: f64,
    ) -> PyResult<Answer> {
        let ask = ask(py, method, path, query, body, idempotency_key, wait)?;
        let told =
            self.shared
                .engine_here()
                .or_raise(py)?
                .wait(py, self.shared.driver, Arc::clone(&self.shared).ask(ask))?;
        told.map(answer).or_raise(py)
    }

    /// The same, to be awaited in a running loop.
    #[pyo3(signature = (method, path, query, body, idempotency_key, wait))]
    #[allow(clippy::too_many_arguments, reason = "the parts of a request")]
    fn request_async<'py>(
        &self,
        py: Python<'py>,
        method: String,
        path: String,
        query: Vec<(String, String)>,
        body: Option<String>,
        idempotency_key: Option<String>,
        wait: f64,
    ) -> PyResult<Bound<'py, PyAny>> {
        let ask = ask(py, method, path, query, body, idempotency_key, wait)?;
        let shared = Arc::clone(&self.shared);
        if shared.driver == Driver::Callers {
            return Err(PyRuntimeError::new_err("the calls of this connection are not awaited"));
        }
        let engine = shared.engine_here().or_raise(py)?;
        asyncio::awaitable(engine, py, async move { shared.ask(ask).await.map(answer) })
    }

    /// Ends calls that are on their way, and takes no more.
    fn close(&self, py: Python<'_>) {
        if !self.shared.engine.is_here() {
            return;
        }
        let shared = &self.shared;
        shared.closed.send_replace(true);
        let connection = shared.connection.lock().unwrap_or_else(PoisonError::into_inner).take();
        shared.engine.detached(py, || shared.let_go(connection));
    }
}

impl Shared {
    fn let_go(&self, connection: Option<octopoid_server::Connection>) {
        let context = self.engine.enter(self.driver);
        drop(connection);
        drop(context);
        self.engine.settle(self.driver);
    }

    fn engine_here(&self) -> Result<&'static Engine, Failure> {
        if self.engine.is_here() {
            Ok(self.engine)
        } else {
            Err(Failure::Forked)
        }
    }
}

impl Connection {
    fn made(
        py: Python<'_>,
        driver: Driver,
        make: impl FnOnce() -> octopoid_core::Result<octopoid_server::Connection> + Send,
    ) -> PyResult<Self> {
        let engine = interpreter::engine()?;
        let connection = engine
            .detached(py, || {
                let _context = engine.enter(driver);
                make()
            })
            .or_raise(py)?;
        Ok(Self {
            url: connection.url().map(str::to_owned),
            shared: Arc::new(Shared {
                engine,
                driver,
                connection: Mutex::new(Some(connection)),
                closed: watch::Sender::new(false),
            }),
        })
    }
}

fn ask(
    py: Python<'_>,
    method: String,
    path: String,
    query: Vec<(String, String)>,
    body: Option<String>,
    idempotency_key: Option<String>,
    wait: f64,
) -> PyResult<Ask> {
    let wait = Duration::try_from_secs_f64(wait)
        .map_err(|e| octopoid_core::Error::invalid(format!("{wait} is no time in seconds to wait: {e}")))
        .or_raise(py)?;
    Ok(Ask {
        method,
        path,
        query,
        body,
        idempotency_key,
        wait,
    })
}
