//! Task files for scripts; each call in a thread of its own.

use std::path::Path;

use napi::{Env, bindgen_prelude::PromiseRaw};
use napi_derive::napi;
use octopoid_core::{
    Error, ErrorCode,
    queue::{self, files},
};

use crate::answer::{aside, failed};

type Promised<'env> = napi::Result<PromiseRaw<'env, String>>;

/// The fields of a task file.
#[napi(ts_return_type = "Promise<string>")]
pub(crate) fn read_task_file<'env>(env: &'env Env, path: String) -> Promised<'env> {
    aside(env, move || files::read_task_file(Path::new(&path)))
}

/// Writes the task that is given as JSON; path of the file.
#[napi(ts_return_type = "Promise<string>")]
pub(crate) fn write_task_file<'env>(env: &'env Env, folder: String, task: String) -> Promised<'env> {
    aside(env, move || {
        let task = serde_json::from_str(&task)
            .map_err(|e| Error::new(ErrorCode::InvalidJson, format!("the task is not JSON: {e}")))?;
        files::write_task_file(Path::new(&folder), &task)
    })
}

/// The fields of each task file of a folder.
#[napi(ts_return_type = "Promise<string>")]
pub(crate) fn list_task_files<'env>(env: &'env Env, folder: String) -> Promised<'env> {
    aside(env, move || files::list_task_files(Path::new(&folder)))
}

/// The new path.
#[napi(ts_return_type = "Promise<string>")]
pub(crate) fn move_task_file<'env>(env: &'env Env, path: String, folder: String) -> Promised<'env> {
    aside(env, move || files::move_task_file(Path::new(&path), Path::new(&folder)))
}

/// A fresh id.
#[napi]
pub(crate) fn generate_task_id() -> napi::Result<String> {
    queue::generate_task_id().map_err(|e| failed(&e))
}
