//! A queue, near or far: sends requests, can be called off, can be closed.

use std::{
    path::Path,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use napi::{
    Env,
    bindgen_prelude::{PromiseRaw, within_runtime_if_available},
};
use napi_derive::napi;
use octopoid_core::{Error, ErrorCode, Result};
use octopoid_server::{Ask, Connection as Link};
use tokio::sync::watch;

use crate::answer::failed;

/// Longest time that is waited for anything, in milliseconds: a year.
const LONGEST: f64 = 31_536_000_000.0;

pub(crate) fn millis(number: f64) -> Duration {
    let number = if number.is_nan() {
        0.0
    } else {
        number.clamp(0.0, LONGEST)
    };
    Duration::from_secs_f64(number / 1000.0)
}

/// One request.
#[napi(object)]
pub struct Request {
    pub method: String,
    pub path: String,
    /// Names and values in turn.
    pub query: Vec<String>,
    pub body: Option<String>,
    pub idempotency_key: Option<String>,
    /// How long the server may wait by itself, in milliseconds.
    pub wait: f64,
    /// How long to wait for the answer beyond that, in milliseconds.
    pub timeout: f64,
}

/// What was answered, refusals too.
#[napi(object)]
pub struct Reply {
    pub status: u32,
    pub body: String,
    /// Why a claim found nothing.
    pub reason: Option<String>,
}

/// Calls one request off.
#[napi]
pub struct Cancel {
    sender: watch::Sender<bool>,
}

#[napi]
impl Cancel {
    #[napi(constructor)]
    #[allow(clippy::new_without_default, reason = "it is made from JavaScript only")]
    pub fn new() -> Self {
        Self {
            sender: watch::Sender::new(false),
        }
    }

    /// Now; a request that was not yet sent will not be.
    #[napi]
    pub fn cancel(&self) {
        self.sender.send_replace(true);
    }
}

/// The connection of one client.
#[napi]
pub struct Connection {
    link: Mutex<Option<Link>>,
    closed: watch::Sender<bool>,
    timeout: Duration,
}

fn closed() -> Error {
    Error::new(ErrorCode::Closed, "this client is closed").with_hint("make a new one; a closed client stays closed")
}

async fn is_true(mut flag: watch::Receiver<bool>) {
    if flag.wait_for(|set| *set).await.is_err() {
        // Nobody is left who could set it.
        std::future::pending::<()>().await;
    }
}

#[napi]
impl Connection {
    fn new(link: Link, timeout: Duration) -> Self {
        Self {
            link: Mutex::new(Some(link)),
            closed: watch::Sender::new(false),
            timeout,
        }
    }

    /// A server; nothing is sent yet. `timeout` in milliseconds.
    #[napi(factory)]
    pub fn remote(url: String, api_key: Option<String>, scope: Option<String>, timeout: f64) -> napi::Result<Self> {
        let timeout = millis(timeout);
        let link = within_runtime_if_available(|| Link::remote(&url, api_key, scope.as_deref(), timeout));
        Ok(Self::new(link.map_err(|e| failed(&e))?, timeout))
    }

    /// A store in a folder, which is made where it is not there.
    #[napi(factory)]
    pub fn local(folder: String) -> napi::Result<Self> {
        let link = within_runtime_if_available(|| Link::local(Path::new(&folder)));
        Ok(Self::new(link.map_err(|e| failed(&e))?, Duration::ZERO))
    }

    /// The server's address; null for a store in a folder.
    #[napi(getter)]
    pub fn url(&self) -> napi::Result<Option<String>> {
        Ok(self.link().map_err(|e| failed(&e))?.url().map(str::to_owned))
    }

    pub(crate) fn link(&self) -> Result<Link> {
        let link = self.link.lock().unwrap_or_else(PoisonError::into_inner);
        link.clone().ok_or_else(closed)
    }

    /// Sends a request. Fails only where there is no answer: offline, too late, called off, closed.
    #[napi(ts_return_type = "Promise<Reply>")]
    pub fn ask<'env>(
        &self,
        env: &'env Env,
        request: Request,
        cancel: Option<&Cancel>,
    ) -> napi::Result<PromiseRaw<'env, Reply>> {
        let link = self.link().map_err(|e| failed(&e))?;
        let wait = millis(request.wait);
        let limit = millis(request.timeout);
        let what = format!("{} {}", request.method, request.path);
        let ask = Ask {
            method: request.method,
            path: request.path,
            query: request
                .query
                .chunks_exact(2)
                .map(|pair| (pair[0].clone(), pair[1].clone()))
                .collect(),
            body: request.body,
            idempotency_key: request.idempotency_key,
            // The link's own limit is the client's; a call may be given more.
            wait: wait + limit.saturating_sub(self.timeout),
        };
        let is_closed = self.closed.subscribe();
        let is_cancelled = cancel.map(|c| c.sender.subscribe());
        env.spawn_future(async move {
            let cancelled = async {
                match is_cancelled {
                    Some(flag) => is_true(flag).await,
                    None => std::future::pending().await,
                }
            };
            let told = tokio::select! {
                biased;
                () = is_true(is_closed) => Err(closed()),
                () = cancelled => Err(Error::new(ErrorCode::Timeout, format!("{what} was called off"))),
                told = tokio::time::timeout(wait + limit, link.ask(ask)) => told.unwrap_or_else(|_| {
                    let seconds = (wait + limit).as_secs_f64();
                    Err(Error::new(ErrorCode::Timeout, format!("{what} was not answered within {seconds} s"))
                        .with_hint("look whether the server is well, or give the call a longer timeout"))
                }),
            };
            let told = told.map_err(|e| failed(&e))?;
            Ok(Reply {
                status: u32::from(told.status),
                body: told.body,
                reason: told.reason,
            })
        })
    }

    /// Ends every request that is under way and lets go of the queue.
    #[napi]
    pub fn close(&self) {
        self.closed.send_replace(true);
        let link = self.link.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Letting go may end tasks, for which the runtime must be known.
        within_runtime_if_available(|| drop(link));
    }
}
