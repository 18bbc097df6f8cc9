//! Health, readiness, metrics, and the description of the routes.

use octopoid_core::{clock::Clock as _, clock::SystemClock};
use serde_json::json;

use super::routes;
use crate::{
    answer::{Answer, Reply},
    call::Call,
    openapi,
};

routes! {
    GET "/api/health" health, "Whether the server and its database work", open true => &[(200, "Health"), (503, "Health")];
    GET "/healthz" alive, "Whether the process answers", open true => &[(200, "Object")];
    GET "/readyz" ready, "Whether requests should be sent here", open true => &[(200, "Object"), (503, "Object")];
    GET "/metrics" metrics, "Metrics for Prometheus", open true => &[(200, "Text")];
    GET "/api/openapi.json" description, "This description", open true => &[(200, "Object")];
}

async fn health(call: Call) -> Reply {
    let connected = call.state.registry.store().ping().await.is_ok();
    let (status, word, database) = if connected {
        (200, "healthy", "connected")
    } else {
        (503, "unhealthy", "disconnected")
    };
    Ok(Answer::json(
        status,
        &json!({
            "status": word,
            "version": env!("CARGO_PKG_VERSION"),
            "timestamp": SystemClock.now(),
            "database": database,
        }),
    ))
}

async fn alive(_: Call) -> Reply {
    Ok(Answer::ok(&json!({ "status": "ok" })))
}

async fn ready(call: Call) -> Reply {
    let draining = *call.state.stopping.borrow();
    if draining {
        return Ok(Answer::json(503, &json!({ "status": "draining" })));
    }
    match call.state.registry.store().ping().await {
        Ok(()) => Ok(Answer::ok(&json!({ "status": "ready" }))),
        Err(_) => Ok(Answer::json(503, &json!({ "status": "no database" }))),
    }
}

async fn metrics(call: Call) -> Reply {
    for (scope, count) in call.state.registry.store().totals().await? {
        let labels = [("scope", scope.to_string()), ("queue", count.queue.to_string())];
        #[allow(clippy::cast_precision_loss, reason = "a count for a graph")]
        metrics::gauge!("octopoid_tasks", &labels).set(count.count as f64);
    }
    call.state.metrics.run_upkeep();
    Ok(Answer::text(
        200,
        "text/plain; version=0.0.4; charset=utf-8",
        call.state.metrics.render(),
    ))
}

async fn description(call: Call) -> Reply {
    let text = match call.state.openapi.get() {
        Some(text) => text.clone(),
        None => {
            let text = openapi::document()?;
            call.state.openapi.get_or_init(|| text).clone()
        }
    };
    Ok(Answer::text(200, "application/json", text))
}
