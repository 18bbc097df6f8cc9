//! How results and errors cross the border: both as JSON text.

use napi::{Env, bindgen_prelude::PromiseRaw};
use octopoid_core::{Error, ErrorCode, Result};
use serde::Serialize;
use serde_json::json;

/// An error whose message is `{"code", "message", "hint"}` as JSON; `lib/errors.ts` makes the error of it that users see.
pub(crate) fn failed(error: &Error) -> napi::Error {
    let text = json!({ "code": error.code().as_str(), "message": error.to_string(), "hint": error.hint() });
    napi::Error::from_reason(text.to_string())
}

/// A value as JSON.
pub(crate) fn to_json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value)
        .map_err(|e| Error::new(ErrorCode::Internal, format!("a result cannot be written: {e}")))
}

/// Does work that blocks away from the event loop; the promise brings its result as JSON.
pub(crate) fn aside<'env, T: Serialize + Send + 'static>(
    env: &'env Env,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> napi::Result<PromiseRaw<'env, String>> {
    env.spawn_future(async move {
        let done = tokio::task::spawn_blocking(move || work().and_then(|value| to_json(&value))).await;
        let done = done.unwrap_or_else(|e| Err(Error::new(ErrorCode::Internal, format!("a call did not end: {e}"))));
        done.map_err(|e| failed(&e))
    })
}
