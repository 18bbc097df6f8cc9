//! The runtime of this process, and the border between its threads and the interpreter.
//!
//! Two things must never happen: a thread of the runtime waits for an interpreter that is being taken down (it would be
//! killed in the middle of Rust code), and a child made by `fork` uses the threads of its parent (it has none of them).

use std::{
    future::Future,
    pin::Pin,
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering},
    },
    thread::{self, ThreadId},
    time::Duration,
};

use pyo3::{exceptions::PyRuntimeError, prelude::*};
use tokio::runtime::{Builder, EnterGuard, Runtime};

use crate::error::Failure;

/// How often a call of the main thread looks for Ctrl-C.
const LOOK: Duration = Duration::from_millis(40);

/// The runtime of one process.
pub(crate) struct Engine {
    pid: u32,
    pub(crate) runtime: Runtime,
    /// Network that the threads that wait for it drive themselves: handing each request and each answer to another thread
    /// costs more than the rest of a call.
    callers: Runtime,
    /// Threads on their way back to the interpreter.
    returning: AtomicUsize,
    /// Whether the interpreter is being taken down.
    closed: AtomicBool,
    /// The thread that takes it down.
    closer: OnceLock<ThreadId>,
}

static CURRENT: AtomicPtr<Engine> = AtomicPtr::new(std::ptr::null_mut());

fn existing() -> Option<&'static Engine> {
    // SAFETY: a pointer that was stored here came from a box that is never freed.
    unsafe { CURRENT.load(Ordering::Acquire).as_ref() }.filter(|engine| engine.pid == std::process::id())
}

/// The runtime of this process; made at first use. A child made by `fork` gets one of its own, and the parent's is left
/// alone.
pub(crate) fn engine() -> PyResult<&'static Engine> {
    if let Some(engine) = existing() {
        return Ok(engine);
    }
    let failed = |e| PyRuntimeError::new_err(format!("octopoid cannot start its threads: {e}"));
    let runtime = Builder::new_multi_thread()
        .enable_all()
        .thread_name("octopoid")
        .build()
        .map_err(failed)?;
    let callers = Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let fresh = Box::into_raw(Box::new(Engine {
        pid: std::process::id(),
        runtime,
        callers,
        returning: AtomicUsize::new(0),
        closed: AtomicBool::new(false),
        closer: OnceLock::new(),
    }));
    let seen = CURRENT.load(Ordering::Acquire);
    // SAFETY: as above.
    let is_ours = unsafe { seen.as_ref() }.is_some_and(|engine| engine.pid == std::process::id());
    if !is_ours
        && CURRENT
            .compare_exchange(seen, fresh, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    {
        // SAFETY: it was made above and is never freed from here on.
        return Ok(unsafe { &*fresh });
    }
    // Another thread was faster.
    // SAFETY: nobody else has seen this one.
    let ours = unsafe { Box::from_raw(fresh) };
    ours.runtime.shutdown_background();
    ours.callers.shutdown_background();
    existing().ok_or_else(|| PyRuntimeError::new_err("octopoid cannot start its threads"))
}

impl Engine {
    /// Whether this is the process that it was made in.
    pub(crate) fn is_here(&self) -> bool {
        self.pid == std::process::id()
    }

    /// Announces that this thread goes back to the interpreter. Where that is being taken down, a thread that it knows
    /// sleeps until the process is gone.
    fn announce(&self) {
        self.returning.fetch_add(1, Ordering::SeqCst);
        if self.closed.load(Ordering::SeqCst) && self.closer.get() != Some(&thread::current().id()) {
            self.returning.fetch_sub(1, Ordering::SeqCst);
            loop {
                thread::park();
            }
        }
    }

    /// Does something without the interpreter; called by a thread that has it.
    pub(crate) fn detached<R: Send>(&self, py: Python<'_>, work: impl FnOnce() -> R + Send) -> R {
        struct Back<'a>(&'a Engine);
        impl Drop for Back<'_> {
            fn drop(&mut self) {
                self.0.announce();
            }
        }
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            py.detach(|| {
                let _back = Back(self);
                work()
            })
        }));
        self.returning.fetch_sub(1, Ordering::SeqCst);
        match result {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    /// Does something with the interpreter; called by a thread of the runtime that may block. Nothing where it is being
    /// taken down.
    pub(crate) fn attached<R>(&self, work: impl FnOnce(Python<'_>) -> R) -> Option<R> {
        struct There<'a>(&'a Engine);
        impl Drop for There<'_> {
            fn drop(&mut self) {
                self.0.returning.fetch_sub(1, Ordering::SeqCst);
            }
        }
        self.returning.fetch_add(1, Ordering::SeqCst);
        let _there = There(self);
        if self.closed.load(Ordering::SeqCst) || !self.is_here() {
            return None;
        }
        Some(Python::attach(work))
    }

    /// Waits for a future without holding the interpreter. In the main thread, Ctrl-C ends the wait and drops the
    /// future.
    pub(crate) fn wait<F>(&'static self, py: Python<'_>, driver: Driver, future: F) -> PyResult<F::Output>
    where
        F: Future + Send,
        F::Output: Send,
    {
        let mut future = Box::pin(future);
        let result = self.wait_on(py, driver, future.as_mut());
        if !self.is_here() {
            // A handler of signals forked; what the future holds is the parent's.
            std::mem::forget(future);
            return Err(Failure::Forked.raise(py));
        }
        // What is dropped here may still have something to say to the runtime.
        let context = self.enter(driver);
        drop(future);
        drop(context);
        if result.is_err() {
            // The server shall hear that nobody waits any more: it could give a task to who is gone.
            self.detached(py, || self.settle(driver));
        }
        result
    }

    fn wait_on<F>(&'static self, py: Python<'_>, driver: Driver, mut future: Pin<&mut F>) -> PyResult<F::Output>
    where
        F: Future + Send,
        F::Output: Send,
    {
        if let Some(result) = self.step(py, driver, future.as_mut(), Some(LOOK)) {
            return Ok(result);
        }
        let limit = is_main(py)?.then_some(LOOK);
        loop {
            py.check_signals()?;
            if !self.is_here() {
                return Err(Failure::Forked.raise(py));
            }
            if let Some(result) = self.step(py, driver, future.as_mut(), limit) {
                return Ok(result);
            }
        }
    }

    /// Waits for a future for some time.
    pub(crate) fn step<F>(
        &'static self,
        py: Python<'_>,
        driver: Driver,
        future: Pin<&mut F>,
        limit: Option<Duration>,
    ) -> Option<F::Output>
    where
        F: Future + Send,
        F::Output: Send,
    {
        self.detached(py, || {
            self.of(driver).block_on(async {
                match limit {
                    Some(limit) => tokio::time::timeout(limit, future).await.ok(),
                    None => Some(future.await),
                }
            })
        })
    }

    const fn of(&self, driver: Driver) -> &Runtime {
        match driver {
            Driver::Threads => &self.runtime,
            Driver::Callers => &self.callers,
        }
    }

    /// Makes the runtime known to what is done meanwhile.
    pub(crate) fn enter(&self, driver: Driver) -> EnterGuard<'_> {
        self.of(driver).enter()
    }

    /// Lets what is left of connections that were let go come to its end; nobody may ever wait again.
    pub(crate) fn settle(&self, driver: Driver) {
        if driver == Driver::Callers {
            self.callers.block_on(catch_up());
        }
    }
}

/// Who drives the network of a connection's calls. A connection keeps to one of them: sockets that nobody drives are
/// stuck.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Driver {
    /// Threads of the runtime.
    Threads,
    /// The threads that wait.
    Callers,
}

/// Takes note of what happened on sockets while nobody drove them, such as the server's having closed one: the first
/// turn hears of it, the second has it acted on. As a task, so that the thread that drives at present does it.
pub(crate) async fn catch_up() {
    let turns = tokio::spawn(async {
        for _ in 0..2 {
            tokio::task::yield_now().await;
        }
    });
    // It neither panics nor is it aborted.
    let _ = turns.await;
}

/// Whether this is the thread that hears Ctrl-C.
pub(crate) fn is_main(py: Python<'_>) -> PyResult<bool> {
    let threading = py.import("threading")?;
    let main = threading.call_method0("main_thread")?.getattr("ident")?;
    main.eq(threading.call_method0("get_ident")?)
}

/// Has the border closed before the interpreter is taken down.
pub(crate) fn at_exit(py: Python<'_>) -> PyResult<()> {
    let close = pyo3::wrap_pyfunction!(close, py)?;
    py.import("atexit")?.call_method1("register", (close,))?;
    Ok(())
}

/// Waits for threads that are on their way to the interpreter; none comes after them.
#[pyfunction]
fn close(py: Python<'_>) {
    let Some(engine) = existing() else { return };
    if engine.closer.set(thread::current().id()).is_err() {
        return;
    }
    engine.closed.store(true, Ordering::SeqCst);
    py.detach(|| {
        while engine.returning.load(Ordering::SeqCst) > 0 {
            thread::sleep(Duration::from_millis(1));
        }
    });
}
