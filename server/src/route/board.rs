//! The first page: a board for browsers, a list of routes for everybody else.

use minijinja::{Environment, context};
use octopoid_core::{
    Error, ErrorCode, Result,
    model::{Sort, TaskFilter},
};
use serde_json::json;

use super::routes;
use crate::{
    answer::{Answer, Reply},
    call::Call,
};

const PAGE: &str = include_str!("board.html");

routes! {
    GET "/" index, "The board for browsers, the routes for others", query "scope", open true => &[(200, "Object")];
}

async fn index(call: Call) -> Reply {
    if call.accepts("text/html") {
        return board(&call).await;
    }
    let endpoints: Vec<String> = super::all().map(|r| format!("{} {}", r.method, r.path)).collect();
    Ok(Answer::ok(&json!({
        "name": "Octopoid Server",
        "version": env!("CARGO_PKG_VERSION"),
        "endpoints": endpoints,
    })))
}

fn broken(error: minijinja::Error) -> Error {
    Error::new(ErrorCode::Internal, format!("the board cannot be written: {error}"))
}

async fn board(call: &Call) -> Reply {
    // Browsers send no keys: where one is needed, the board shows no task.
    let closed = call.state.auth == crate::config::Auth::Required;
    let scope = call.scope_or_none()?.filter(|_| !closed);
    let mut queues: Vec<minijinja::Value> = Vec::new();
    if let Some(scope) = &scope {
        let engine = call.state.registry.engine(scope).await?;
        for count in engine.status_counts().await? {
            let filter = TaskFilter {
                queues: vec![count.queue.clone()],
                sort: Sort::Priority,
                limit: Some(call.state.config.page_size),
                ..TaskFilter::default()
            };
            let tasks: Vec<_> = engine
                .list(&filter)
                .await?
                .tasks
                .iter()
                .map(|t| {
                    context! {
                        id => t.id.as_str(), title => t.title.as_str(), priority => t.priority.as_str(),
                        role => t.role.as_str(), claimed_by => t.claimed_by.as_deref(), hold => t.hold.as_deref(),
                    }
                })
                .collect();
            queues.push(context! { name => count.queue.as_str(), count => count.count, tasks => tasks });
        }
    }
    let page = render(scope.as_ref().map(octopoid_core::id::Scope::as_str), &queues)?;
    Ok(Answer::text(200, "text/html; charset=utf-8", page).with(
        "content-security-policy",
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'",
    ))
}

fn render(scope: Option<&str>, queues: &[minijinja::Value]) -> Result<String> {
    let mut environment = Environment::new();
    environment.add_template("board.html", PAGE).map_err(broken)?;
    let template = environment.get_template("board.html").map_err(broken)?;
    template
        .render(context! { scope => scope, queues => queues, version => env!("CARGO_PKG_VERSION") })
        .map_err(broken)
}
