//! What is known of requests while and after they run: an id, a line in the log, metrics.

use std::{future::Future, time::Instant};

use axum::{
    extract::Request,
    http::{HeaderName, HeaderValue, Method},
    response::Response,
};
use octopoid_core::id::{SystemEntropy, random_hex};
use tracing::Instrument as _;

pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The address that the connection came from; set by us, never taken from a client.
pub(crate) const PEER: &str = "octopoid-peer";

/// A request as it came in.
pub(crate) struct Seen {
    id: HeaderValue,
    method: Method,
    begun: Instant,
}

fn id_of(request: &Request) -> HeaderValue {
    let plain = |v: &&HeaderValue| v.len() <= 128 && v.as_bytes().iter().all(u8::is_ascii_graphic);
    if let Some(id) = request.headers().get(&REQUEST_ID).filter(plain) {
        return id.clone();
    }
    random_hex(&SystemEntropy, 8)
        .ok()
        .and_then(|id| HeaderValue::from_str(&id).ok())
        .unwrap_or_else(|| HeaderValue::from_static("unknown"))
}

impl Seen {
    pub(crate) fn new(request: &Request) -> Self {
        Self {
            id: id_of(request),
            method: request.method().clone(),
            begun: Instant::now(),
        }
    }

    /// Runs the request, and notes how it went. `path` is the route, not what the client wrote: no secrets, few series.
    pub(crate) async fn run(self, path: &str, work: impl Future<Output = Response>) -> Response {
        let id = self.id.to_str().unwrap_or_default().to_owned();
        let span = tracing::info_span!("request", %id, method = %self.method, path);
        let mut response = work.instrument(span.clone()).await;
        let (elapsed, status) = (self.begun.elapsed(), response.status().as_u16());
        span.in_scope(|| {
            tracing::info!(
                status,
                millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
                "answered"
            );
        });
        let labels = [
            ("method", self.method.to_string()),
            ("path", path.to_owned()),
            ("status", status.to_string()),
        ];
        metrics::counter!("octopoid_http_requests_total", &labels).increment(1);
        metrics::histogram!("octopoid_http_request_seconds", "path" => path.to_owned()).record(elapsed.as_secs_f64());
        response.headers_mut().insert(REQUEST_ID, self.id);
        response
    }
}
