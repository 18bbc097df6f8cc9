//! Futures of Rust as futures of a running asyncio loop.
//!
//! Written here, because what exists prints a traceback when the loop was closed in the meantime, and keeps one runtime
//! for ever, which a child made by `fork` cannot use.

use std::future::Future;

use pyo3::prelude::*;
use tokio::task::AbortHandle;

use crate::{error::Failure, interpreter::Engine};

/// Ends the work when the future of Python is done, which it also is when it was cancelled.
#[pyclass(frozen)]
struct Abort(AbortHandle);

#[pymethods]
impl Abort {
    fn __call__(&self, _future: &Bound<'_, PyAny>) {
        self.0.abort();
    }
}

/// Sets what came out, unless nobody waits any more.
#[pyfunction]
fn settle(future: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>, is_error: bool) -> PyResult<()> {
    if !future.call_method0("done")?.is_truthy()? {
        future.call_method1(if is_error { "set_exception" } else { "set_result" }, (value,))?;
    }
    Ok(())
}

/// Runs a future; gives one that the running loop can await. When that is cancelled, the work is dropped.
pub(crate) fn awaitable<'py, F, T>(engine: &'static Engine, py: Python<'py>, future: F) -> PyResult<Bound<'py, PyAny>>
where
    F: Future<Output = Result<T, Failure>> + Send + 'static,
    T: for<'any> IntoPyObject<'any> + Send + 'static,
{
    let running = py.import("asyncio")?.call_method0("get_running_loop")?;
    let promise = running.call_method0("create_future")?;
    let work = engine.runtime.spawn(future);
    promise.call_method1("add_done_callback", (Abort(work.abort_handle()),))?;
    let (running, told) = (running.unbind(), promise.clone().unbind());
    engine.runtime.spawn(async move {
        let result = match work.await {
            Ok(result) => result,
            Err(error) if error.is_cancelled() => return,
            Err(error) => Err(Failure::Panicked(error.to_string())),
        };
        // Waiting for the interpreter must not hold up the network.
        engine.runtime.spawn_blocking(move || {
            engine.attached(|py| tell(py, running.bind(py), told.bind(py), result));
        });
    });
    Ok(promise)
}

fn tell<T: for<'any> IntoPyObject<'any>>(
    py: Python<'_>,
    running: &Bound<'_, PyAny>,
    future: &Bound<'_, PyAny>,
    result: Result<T, Failure>,
) {
    use pyo3::IntoPyObjectExt as _;
    let (value, is_error) = match result.map(|value| value.into_bound_py_any(py)) {
        Ok(Ok(value)) => (value, false),
        Ok(Err(error)) => (error.into_value(py).into_bound(py).into_any(), true),
        Err(failure) => (failure.raise(py).into_value(py).into_bound(py).into_any(), true),
    };
    let told = pyo3::wrap_pyfunction!(settle, py)
        .and_then(|settle| running.call_method1("call_soon_threadsafe", (settle, future, value, is_error)));
    // The loop was closed while the call was on its way: nobody is left to be told.
    drop(told);
}
