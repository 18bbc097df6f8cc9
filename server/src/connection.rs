//! One connection for the packages of other languages: a server over HTTP, or the same routes in this process.

use std::{path::Path, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::Request,
    http::header,
};
use metrics_exporter_prometheus::PrometheusBuilder;
use octopoid_core::{
    Error, ErrorCode, Octopoid, Result,
    client::{self, Requests},
    id::Scope,
    wire::REASON,
};
use tokio::sync::watch;
use tower_service::Service as _;

use crate::{
    config::{Auth, Config},
    route::router,
    state::State,
    sweeper,
};

/// Time between two looks for leases that ran out, in a store of this process.
const SWEEP: Duration = Duration::from_secs(1);
/// Bytes of a body, which is the caller's own memory.
const MAX_BODY: usize = 64 << 20;

pub use client::Request as Ask;

/// What was answered, refusals too.
#[derive(Debug, Clone)]
pub struct Told {
    /// HTTP status.
    pub status: u16,
    /// JSON; may be empty.
    pub body: String,
    /// Why a claim found nothing: `empty`, `paused` or `at_capacity`.
    pub reason: Option<String>,
}

/// A queue, near or far. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Connection {
    octopoid: Octopoid,
    way: Way,
}

#[derive(Debug, Clone)]
enum Way {
    Far(Requests),
    Near(Arc<Near>),
}

/// The routes over a store of this process.
#[derive(Debug)]
struct Near {
    router: Router,
    /// Ends the sweeper when the last connection goes away.
    _stop: watch::Sender<bool>,
}

impl Connection {
    /// A server. Nothing is sent yet. Without a scope, the key's or the server's own is meant.
    pub fn remote(url: &str, api_key: Option<String>, scope: Option<&str>, timeout: Duration) -> Result<Self> {
        let mut connect = Octopoid::connect(url).timeout(timeout);
        if let Some(key) = &api_key {
            connect = connect.api_key(key);
        }
        if let Some(scope) = scope {
            connect = connect.scope(scope);
        }
        let scope = scope.map(Scope::parse).transpose()?;
        Ok(Self {
            octopoid: connect.build()?,
            way: Way::Far(Requests::new(url, api_key, scope, timeout)?),
        })
    }

    /// A store in a folder, made when it is not there. To be called where a runtime is at hand.
    pub fn local(folder: &Path) -> Result<Self> {
        let octopoid = Octopoid::local(folder)?;
        let Some(registry) = octopoid.registry() else {
            return Err(Error::invalid(format!(
                "the project in {} has its queue on a server",
                octopoid.root().display()
            ))
            .with_hint("connect to the server by its URL instead"));
        };
        let (stop, stopping) = watch::channel(false);
        let config = Config {
            default_scope: Some(octopoid.settings().config.scope.to_string()),
            max_body: MAX_BODY,
            ..Config::embedded()
        };
        // Counted, and shown to nobody: a process has one place for metrics, and that is its owner's.
        let metrics = PrometheusBuilder::new().build_recorder().handle();
        let state = State::new(registry.clone(), config, Auth::Optional, metrics, stopping)?;
        tokio::spawn(sweeper::run(Arc::clone(&state), SWEEP));
        let near = Near {
            router: router(&state),
            _stop: stop,
        };
        Ok(Self {
            octopoid,
            way: Way::Near(Arc::new(near)),
        })
    }

    /// Sends a request. An error is only what nobody answered; refusals are answers.
    pub async fn ask(&self, ask: Ask) -> Result<Told> {
        let (status, body, reason) = match &self.way {
            Way::Far(requests) => {
                let reply = requests.exchange(&ask).await?;
                (reply.status, reply.body, reply.reason)
            }
            Way::Near(near) => near.ask(ask).await?,
        };
        let body = String::from_utf8(body)
            .map_err(|e| Error::new(ErrorCode::Internal, format!("the answer is no text: {e}")))?;
        let reason = reason.or_else(|| {
            let told: serde_json::Value = (status == 429).then(|| serde_json::from_str(&body).ok()).flatten()?;
            told.get("reason")?.as_str().map(str::to_owned)
        });
        Ok(Told { status, body, reason })
    }

    /// The queue as the orchestrator of a repository uses it.
    pub fn octopoid(&self, repo: &Path) -> Result<Octopoid> {
        self.octopoid.in_repo(repo)
    }

    /// The server's address.
    pub fn url(&self) -> Option<&str> {
        match &self.way {
            Way::Far(requests) => Some(requests.url()),
            Way::Near(_) => None,
        }
    }
}

impl Near {
    async fn ask(&self, ask: Ask) -> Result<(u16, Vec<u8>, Option<String>)> {
        let mut uri = ask.path;
        if !ask.query.is_empty() {
            let query = form_urlencoded::Serializer::new(String::new())
                .extend_pairs(&ask.query)
                .finish();
            uri = format!("{uri}?{query}");
        }
        let mut request = Request::builder()
            .method(ask.method.as_str())
            .uri(&uri)
            .header(header::ACCEPT, "application/json")
            .header(client::STRICT, "1");
        if let Some(key) = &ask.idempotency_key {
            request = request.header("idempotency-key", key);
        }
        let request = request
            .body(ask.body.map_or_else(Body::empty, Body::from))
            .map_err(|e| Error::invalid(format!("{} {uri} is no request: {e}", ask.method)))?;
        let mut router = self.router.clone();
        let response = match router.call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        let status = response.status().as_u16();
        let reason = response
            .headers()
            .get(REASON)
            .and_then(|v| v.to_str().ok())
            .map(str::to_owned);
        let body = to_bytes(response.into_body(), usize::MAX)
            .await
            .map_err(|e| Error::new(ErrorCode::Internal, format!("the answer to {uri} broke off: {e}")))?;
        Ok((status, body.to_vec(), reason))
    }
}
