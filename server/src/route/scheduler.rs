//! What a polling scheduler has to know, in one answer.

use octopoid_core::{
    Error, ErrorCode,
    id::Scope,
    model::{QueueName, TaskFilter},
};
use serde_json::{Map, Value, json};

use super::routes;
use crate::{
    answer::{Answer, Reply},
    call::Call,
};

routes! {
    GET "/api/v1/scheduler/poll" poll, "Counts, reviews and flows for a scheduler", query "orchestrator_id scope" => &[(200, "Object")];
}

async fn poll(call: Call) -> Reply {
    let registry = &call.state.registry;
    let orchestrator = match call.query.get("orchestrator_id") {
        Some(id) => match registry.orchestrator(call.key_scope(), id).await {
            Ok(row) => Some(row),
            Err(error) if error.code() == ErrorCode::NotFound => None,
            Err(error) => return Err(error.into()),
        },
        None => None,
    };
    let asked = call.asked_scope()?.or_else(|| call.key_scope().cloned());
    let registered = orchestrator
        .as_ref()
        .and_then(|row| row["scope"].as_str())
        .and_then(|s| Scope::parse(s).ok());
    let scope = asked
        .or(registered)
        .or_else(|| call.state.default_scope.clone())
        .ok_or_else(|| Error::invalid("Missing required parameter: scope"))?;
    let engine = registry.engine(&scope).await?;
    let counts = engine.status_counts().await?;
    let count = |queue: QueueName| counts.iter().find(|c| c.queue == queue).map_or(0, |c| c.count);
    let filter = TaskFilter {
        queues: vec![QueueName::provisional()],
        limit: Some(call.state.config.max_page_size),
        ..TaskFilter::default()
    };
    let waiting: Vec<Value> = engine
        .list(&filter)
        .await?
        .tasks
        .iter()
        .map(|t| json!({ "id": t.id, "hooks": t.annotations.hooks, "pr_number": t.pr_number, "claimed_by": t.claimed_by }))
        .collect();
    let mut flows = Map::new();
    for row in registry.flows(&scope).await? {
        let states: Value = row["states"]
            .as_str()
            .and_then(|t| serde_json::from_str(t).ok())
            .unwrap_or_default();
        let name = row["name"].as_str().unwrap_or_default().to_owned();
        flows.insert(name, json!({ "states": states }));
    }
    Ok(Answer::ok(&json!({
        "queue_counts": {
            "incoming": count(QueueName::incoming()),
            "claimed": count(QueueName::claimed()),
            "provisional": count(QueueName::provisional()),
        },
        "provisional_tasks": waiting,
        "orchestrator_registered": orchestrator.is_some(),
        "scope": scope,
        "flows": flows,
    })))
}
