//! Requests to a server: what may be sent again is sent again, and every failure becomes one of our errors.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    error::{Error, ErrorCode, Result},
    id::{Entropy, Scope, SystemEntropy},
    wire::{FULL_FORM, REASON},
};

/// How often a request that may be repeated is tried.
const TRIES: u32 = 4;
/// The longest pause before the second try; doubled for each further one.
const PAUSE: Duration = Duration::from_millis(100);

/// A connection to one server, for one scope.
#[derive(Clone)]
pub(super) struct Http {
    client: reqwest::Client,
    url: String,
    /// The address without the name and password that may stand in it.
    shown: String,
    key: Option<String>,
    pub(super) scope: Option<Scope>,
    timeout: Duration,
}

/// One request.
#[derive(Debug, Clone)]
pub(super) struct Ask<'a> {
    pub(super) method: Method,
    pub(super) path: &'a str,
    pub(super) query: Vec<(&'a str, String)>,
    pub(super) body: Option<Value>,
    /// A body that is no JSON.
    pub(super) raw: Option<String>,
    /// The key under which the server does it once, however often it is sent.
    pub(super) key: Option<&'a str>,
    /// Whether it may be sent again after an answer that never came.
    pub(super) again: bool,
    /// How long the server may wait before it answers.
    pub(super) wait: Duration,
    /// Whether rows are wanted as earlier clients know them, not typed.
    pub(super) plain: bool,
}

impl<'a> Ask<'a> {
    pub(super) fn get(path: &'a str) -> Self {
        Self {
            method: Method::GET,
            path,
            query: Vec::new(),
            body: None,
            raw: None,
            key: None,
            again: true,
            wait: Duration::ZERO,
            plain: false,
        }
    }

    pub(super) fn post(path: &'a str, body: Value) -> Self {
        Self {
            method: Method::POST,
            body: Some(body),
            again: false,
            ..Self::get(path)
        }
    }
}

/// Full jitter: anything up to the longest pause, so that clients that failed together do not return together.
pub(super) fn pause(tried: u32) -> Duration {
    let longest = PAUSE * 2_u32.saturating_pow(tried);
    let mut byte = [0_u8];
    let share = SystemEntropy.fill(&mut byte).map_or(128, |()| u32::from(byte[0]));
    longest * share / 255
}

/// Without the key: what is printed for debugging ends up in logs.
impl std::fmt::Debug for Http {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Http")
            .field("url", &self.shown)
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}

/// An address as it may be shown.
pub(super) fn without_secrets(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) => {
            let end = rest.find('/').unwrap_or(rest.len());
            let from = rest[..end].rfind('@').map_or(0, |at| at + 1);
            format!("{scheme}://{}", &rest[from..])
        }
        None => url.to_owned(),
    }
}

impl Http {
    pub(super) fn new(url: &str, key: Option<String>, scope: Option<Scope>, timeout: Duration) -> Result<Self> {
        let url = url.trim().trim_end_matches('/').to_owned();
        if let Some(key) = &key
            && key.trim().chars().any(|c| !c.is_ascii_graphic())
        {
            return Err(Error::invalid("the API key has characters that no key has")
                .with_hint("a key is `oct_` and 64 hexadecimal digits, on one line"));
        }
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return Err(Error::new(
                ErrorCode::InvalidConfig,
                format!("{url:?} is no server address; write it as https://octopoid.example.org"),
            ));
        }
        // An error means that somebody installed one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(5).min(timeout))
            .user_agent(concat!("octopoid/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|e| Error::new(ErrorCode::Internal, format!("no HTTP client: {e}")))?;
        Ok(Self {
            client,
            shown: without_secrets(&url),
            url,
            // Keys that are read from files end with a line break.
            key: key.map(|k| k.trim().to_owned()).filter(|k| !k.is_empty()),
            scope,
            timeout,
        })
    }

    pub(super) fn shown(&self) -> &str {
        &self.shown
    }

    /// The answer as a typed value.
    pub(super) async fn typed<T: DeserializeOwned>(&self, ask: Ask<'_>) -> Result<T> {
        let path = ask.path.to_owned();
        let value = self.send(ask).await?;
        serde_json::from_value(value).map_err(|e| {
            Error::new(
                ErrorCode::Internal,
                format!("{} answered {path} in a form that is not understood: {e}", self.shown),
            )
            .with_hint("is the server of the same version as this program?")
        })
    }

    /// The answer as JSON; null for one without a body.
    pub(super) async fn send(&self, ask: Ask<'_>) -> Result<Value> {
        let may_repeat = ask.again || ask.key.is_some();
        let mut tried = 0;
        loop {
            match self.once(&ask).await {
                Err(error) if is_outage(&error) && may_repeat && tried + 1 < TRIES => {
                    tokio::time::sleep(pause(tried)).await;
                    tried += 1;
                }
                answer => return answer,
            }
        }
    }

    /// The answer as text.
    pub(super) async fn text(&self, ask: Ask<'_>) -> Result<String> {
        let (status, bytes, _) = self.exchange(&ask).await?;
        if !status.is_success() {
            let value: Value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
            return Err(self.refused(status, &value));
        }
        String::from_utf8(bytes)
            .map_err(|e| Error::new(ErrorCode::Internal, format!("{} answered no text: {e}", self.shown)))
    }

    pub(super) async fn exchange(&self, ask: &Ask<'_>) -> Result<(StatusCode, Vec<u8>, Option<String>)> {
        let mut request = self
            .client
            .request(ask.method.clone(), format!("{}{}", self.url, ask.path))
            .timeout(self.timeout + ask.wait)
            .header(super::STRICT, "1")
            .header("accept", if ask.plain { "application/json" } else { FULL_FORM })
            .query(&ask.query);
        if let Some(scope) = &self.scope {
            request = request.query(&[("scope", scope.as_str())]);
        }
        if let Some(key) = &self.key {
            request = request.bearer_auth(key);
        }
        if let Some(key) = ask.key {
            request = request.header("idempotency-key", key);
        }
        match (&ask.raw, &ask.body) {
            (Some(raw), _) => request = request.header("content-type", "application/json").body(raw.clone()),
            (None, Some(body)) => request = request.json(body),
            (None, None) => {}
        }
        let response = request.send().await.map_err(|e| self.unreachable(e))?;
        let status = response.status();
        let reason = response
            .headers()
            .get(REASON)
            .and_then(|v| v.to_str().ok())
            .map(str::to_owned);
        let bytes = response.bytes().await.map_err(|e| self.unreachable(e))?;
        Ok((status, bytes.to_vec(), reason))
    }

    async fn once(&self, ask: &Ask<'_>) -> Result<Value> {
        let (status, bytes, _) = self.exchange(ask).await?;
        let parsed: Option<Value> = serde_json::from_slice(&bytes).ok();
        if status.is_success() {
            return match parsed {
                Some(value) => Ok(value),
                None if bytes.is_empty() => Ok(Value::Null),
                // A login page of somebody in between is no answer of the server.
                None => Err(self.stranger(status)),
            };
        }
        let value = parsed.unwrap_or(Value::Null);
        // The one answer of this status that is no error: nothing can be claimed.
        if status == StatusCode::NOT_FOUND && value.get("error").is_none() && value.get("message").is_some() {
            return Ok(Value::Null);
        }
        Err(self.refused(status, &value))
    }

    fn unreachable(&self, error: reqwest::Error) -> Error {
        let code = if error.is_timeout() && !error.is_connect() {
            ErrorCode::Timeout
        } else {
            ErrorCode::Offline
        };
        let mut cause: &dyn std::error::Error = &error;
        while let Some(inner) = cause.source() {
            cause = inner;
        }
        if !error.is_connect() {
            return Error::new(code, format!("the server at {} gave no answer: {cause}", self.shown)).with_hint(
                "whether it did what was asked is not known; look, or send it again under the same idempotency key",
            );
        }
        Error::new(code, format!("the server at {} cannot be reached: {cause}", self.shown))
            .with_hint("is it running, and is its address right?")
    }

    /// Somebody between here and the server answered: the server was not reached.
    fn stranger(&self, status: StatusCode) -> Error {
        Error::new(
            ErrorCode::Offline,
            format!("{} answered {status}, but not as an Octopoid server does", self.shown),
        )
        .with_hint("is server.url right, and does a proxy stand in between?")
    }

    /// The server's error as one of ours: 5xx is an outage, everything else an answer.
    fn refused(&self, status: StatusCode, body: &Value) -> Error {
        let text = |name: &str| body.get(name).and_then(Value::as_str);
        if text("code").is_none() && !status.is_server_error() {
            return self.stranger(status);
        }
        if status.is_server_error() {
            let what = text("error").unwrap_or("no reason");
            return Error::new(
                ErrorCode::Offline,
                format!("the server at {} has a problem ({status}: {what})", self.shown),
            );
        }
        let code = text("code")
            .and_then(ErrorCode::parse)
            .unwrap_or(ErrorCode::InvalidArgument);
        let message = match (text("error"), text("task_id")) {
            (Some("Task not found"), Some(id)) => format!("task {id} does not exist"),
            (Some(error), _) => error.to_owned(),
            (None, _) => format!("the server at {} answered {status}", self.shown),
        };
        let error = Error::new(code, message);
        match text("hint") {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }
}

/// Whether the server could not be asked, or could not answer; its refusals are answers.
pub fn is_outage(error: &Error) -> bool {
    matches!(error.code(), ErrorCode::Offline | ErrorCode::Timeout)
}
