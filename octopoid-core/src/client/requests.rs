//! Requests in the form that the routes have, for what has no typed form.

use std::time::Duration;

use reqwest::Method;
use serde_json::Value;

use super::http::{Ask, Http, pause};
use crate::{
    error::{Error, ErrorCode, Result},
    id::Scope,
};

/// Header of clients that want `max_claimed` to be kept; earlier ones send that field without meaning it.
pub const STRICT: &str = "octopoid-strict";

/// How often a request is sent that can be repeated.
const TRIES: u32 = 3;

/// A server, asked in its own words. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Requests(Http);

/// An answer, refusals too.
#[derive(Debug, Clone)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// The body as it came.
    pub body: Vec<u8>,
    /// Header `octopoid-reason`: why a claim found nothing.
    pub reason: Option<String>,
}

/// One request.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// `GET`, `POST`, …
    pub method: String,
    /// Path with its parts percent-encoded.
    pub path: String,
    /// Parameters of the query.
    pub query: Vec<(String, String)>,
    /// JSON.
    pub body: Option<String>,
    /// The key under which the server does it once, however often it is sent.
    pub idempotency_key: Option<String>,
    /// How long the server may wait by itself.
    pub wait: Duration,
}

impl Requests {
    /// For the server at `url`; without a scope, the key's or the server's own is meant.
    pub fn new(url: &str, api_key: Option<String>, scope: Option<Scope>, timeout: Duration) -> Result<Self> {
        Ok(Self(Http::new(url, api_key, scope, timeout)?))
    }

    /// The server's address.
    pub fn url(&self) -> &str {
        self.0.shown()
    }

    /// Sends a request; an error is only what no server answered. What can be repeated is, when the server is not reached.
    pub async fn exchange(&self, request: &Request) -> Result<Reply> {
        let method: Method = request
            .method
            .parse()
            .map_err(|_| Error::invalid(format!("{:?} is no HTTP method", request.method)))?;
        let may_repeat =
            request.idempotency_key.is_some() || matches!(method, Method::GET | Method::HEAD | Method::PUT);
        let ask = Ask {
            method,
            query: request.query.iter().map(|(n, v)| (n.as_str(), v.clone())).collect(),
            raw: request.body.clone(),
            key: request.idempotency_key.as_deref(),
            wait: request.wait,
            plain: true,
            ..Ask::get(&request.path)
        };
        let mut tried = 0;
        loop {
            match self.0.exchange(&ask).await {
                // Who waited as long as he wanted to does not wait again.
                Err(error)
                    if error.code() == ErrorCode::Offline
                        && may_repeat
                        && tried + 1 < TRIES
                        && request.wait.is_zero() =>
                {
                    tokio::time::sleep(pause(tried)).await;
                    tried += 1;
                }
                answer => {
                    let (status, body, reason) = answer?;
                    return Ok(Reply {
                        status: status.as_u16(),
                        body,
                        reason,
                    });
                }
            }
        }
    }

    /// Sends a request; a refusal is an error.
    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<Value>,
    ) -> Result<Value> {
        let again = matches!(method, Method::GET | Method::PUT);
        let ask = Ask {
            method,
            query: query.iter().map(|(n, v)| (*n, (*v).to_owned())).collect(),
            body,
            again,
            plain: true,
            ..Ask::get(path)
        };
        self.0.send(ask).await
    }
}

/// A part of a path, percent-encoded.
pub(crate) fn segment(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
