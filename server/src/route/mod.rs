//! Every route in one table each: method, path, what it reads and answers, and the function that does it.

mod actions;
mod admin;
mod board;
mod claims;
mod drafts;
mod events;
mod flows;
mod lifecycle;
mod messages;
mod ops;
mod orchestrators;
mod people;
mod projects;
mod roles;
mod scheduler;
mod tasks;

use std::{future::Future, pin::Pin, sync::Arc};

use axum::{
    Router,
    extract::{MatchedPath, Request},
    http::{HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
    routing::{MethodFilter, on},
};
use octopoid_core::{clock::Clock as _, clock::SystemClock};
use serde_json::json;

use crate::{
    answer::{Answer, Reply},
    auth::Sender,
    call::{Call, Reads},
    state::State,
    telemetry,
};

pub(crate) type Run = fn(Call) -> Pin<Box<dyn Future<Output = Reply> + Send>>;

/// One route.
pub(crate) struct Route {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    pub(crate) summary: &'static str,
    pub(crate) reads: Reads,
    /// Whether it is served without looking at keys.
    pub(crate) open: bool,
    /// Parameters of the query: name and type.
    pub(crate) query: &'static str,
    /// Fields of the body: name and type, `!` for those that must be there.
    pub(crate) fields: &'static str,
    /// Statuses of success, each with the shape of its body.
    pub(crate) answers: &'static [(u16, &'static str)],
    pub(crate) run: Run,
}

/// Writes a row of a table: `GET "/path" function, "summary", query "…", fields "…" => [(200, "Task")]`.
macro_rules! routes {
    ($($method:ident $path:literal $run:ident, $summary:literal $(, query $query:literal)? $(, fields $fields:literal)? $(, reads $reads:ident)? $(, open $open:literal)? => $answers:expr;)+) => {
        pub(crate) const ROUTES: &[$crate::route::Route] = &[$(
            $crate::route::Route {
                method: axum::http::Method::$method,
                path: $path,
                summary: $summary,
                reads: $crate::route::routes!(@reads $($reads)?),
                open: $crate::route::routes!(@open $($open)?),
                query: $crate::route::routes!(@text $($query)?),
                fields: $crate::route::routes!(@text $($fields)?),
                answers: $answers,
                run: |call| Box::pin($run(call)),
            },
        )+];
    };
    (@reads) => { $crate::call::Reads::Json };
    (@reads $reads:ident) => { $crate::call::Reads::$reads };
    (@open) => { false };
    (@open $open:literal) => { $open };
    (@text) => { "" };
    (@text $text:literal) => { $text };
}
pub(crate) use routes;

/// All tables.
pub(crate) fn all() -> impl Iterator<Item = &'static Route> {
    [
        ops::ROUTES,
        tasks::ROUTES,
        claims::ROUTES,
        lifecycle::ROUTES,
        people::ROUTES,
        events::ROUTES,
        orchestrators::ROUTES,
        roles::ROUTES,
        flows::ROUTES,
        projects::ROUTES,
        drafts::ROUTES,
        messages::ROUTES,
        actions::ROUTES,
        scheduler::ROUTES,
        admin::ROUTES,
        board::ROUTES,
    ]
    .into_iter()
    .flatten()
}

fn not_found(method: &Method, path: &str) -> Response {
    let body = json!({
        "error": "Not Found",
        "code": "not_found",
        "message": format!("{method} {path} is no route; GET /api/openapi.json lists them"),
        "timestamp": SystemClock.now(),
    });
    Answer::json(404, &body).into_response()
}

/// An unknown path: whoever sends a key must send a right one here too.
async fn fallback(state: Arc<State>, request: Request) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    if method == Method::OPTIONS {
        return StatusCode::NO_CONTENT.into_response();
    }
    if path.starts_with("/api/v1/") {
        let sender = crate::auth::sender(&state, request.headers()).await;
        if let Err(error) = sender.and_then(|sender| crate::auth::check(&state, &sender)) {
            return crate::answer::Problem::from(error).into_response();
        }
    }
    not_found(&method, &path)
}

/// The whole server.
pub fn router(state: &Arc<State>) -> Router {
    let mut router = Router::new();
    for route in all() {
        let filter = MethodFilter::try_from(route.method.clone()).unwrap_or(MethodFilter::GET);
        let state = Arc::clone(state);
        let handler = move |request: Request| {
            let state = Arc::clone(&state);
            async move { serve(state, route, request).await }
        };
        // Words that are a route for POST are names of tasks for every other method.
        if route.path == "/api/v1/tasks/{id}" {
            for word in ["/api/v1/tasks/claim", "/api/v1/tasks/batch", "/api/v1/tasks/views"] {
                router = router.route(word, on(filter, handler.clone()));
            }
        }
        router = router.route(route.path, on(filter, handler));
    }
    let (unmatched, other_method, limits) = (Arc::clone(state), Arc::clone(state), Arc::clone(state));
    router
        .fallback(move |request: Request| fallback(Arc::clone(&unmatched), request))
        .method_not_allowed_fallback(move |request: Request| fallback(Arc::clone(&other_method), request))
        .layer(axum::middleware::from_fn(move |request: Request, next: Next| {
            let state = Arc::clone(&limits);
            async move { around(&state, request, next).await }
        }))
}

async fn serve(state: Arc<State>, route: &'static Route, request: Request) -> Response {
    let call = match Call::new(Arc::clone(&state), request, route.reads, route.open).await {
        Ok(call) => call,
        Err(problem) => return problem.into_response(),
    };
    if let (Some(limiter), false) = (&state.limiter, route.open) {
        let who = match &call.sender {
            Sender::Key(access) => access.key_id.clone(),
            Sender::Admin => "admin".to_owned(),
            Sender::Anonymous => call
                .headers
                .get(telemetry::PEER)
                .and_then(|v| v.to_str().ok())
                .unwrap_or("anonymous")
                .to_owned(),
        };
        if limiter.check_key(&who).is_err() {
            let slow = octopoid_core::Error::new(
                octopoid_core::ErrorCode::TooManyRequests,
                "more requests than the server takes from one client",
            );
            return crate::answer::Problem::from(slow).into_response();
        }
    }
    match (route.run)(call).await {
        Ok(answer) => answer.into_response(),
        Err(problem) => problem.into_response(),
    }
}

/// What every answer gets: a request id, a line in the log, its time in the metrics, and headers for browsers.
async fn around(state: &State, request: Request, next: Next) -> Response {
    let seen = telemetry::Seen::new(&request);
    let asked = request.headers().get(header::ACCESS_CONTROL_REQUEST_HEADERS).cloned();
    let preflight = request.method() == Method::OPTIONS;
    let path = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("unmatched", MatchedPath::as_str)
        .to_owned();
    let mut response = seen.run(&path, next.run(request)).await;
    let headers = response.headers_mut();
    if let Some(origin) = &state.config.cors_origin
        && let Ok(origin) = HeaderValue::from_str(origin)
    {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        if preflight {
            headers.insert(
                header::ACCESS_CONTROL_ALLOW_METHODS,
                HeaderValue::from_static("GET,HEAD,PUT,POST,DELETE,PATCH"),
            );
            if let Some(asked) = asked {
                headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked);
                headers.insert(header::VARY, HeaderValue::from_static("Access-Control-Request-Headers"));
            }
        }
    }
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    response
}
