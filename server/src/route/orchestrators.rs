//! Orchestrators: the machines that claim tasks.

use octopoid_core::{Error, engine::registry::Access, id::Scope, lifecycle::Limits, wire::BASE_BRANCH};
use serde_json::{Value, json};

use super::routes;
use crate::{
    answer::{Answer, Problem, Reply},
    auth::Sender,
    call::Call,
    config::Auth,
};

routes! {
    POST "/api/v1/orchestrators/register" register, "Make an orchestrator known", fields "cluster! machine_id! repo_url! scope hostname version capabilities:any limits:any base_branch" => &[(201, "Object"), (200, "Object")];
    POST "/api/v1/orchestrators/{id}/heartbeat" heartbeat, "A sign of life", reads Leniently => &[(200, "Object")];
    GET "/api/v1/orchestrators" list, "Orchestrators, the one heard of last first", query "cluster status scope" => &[(200, "Object")];
    GET "/api/v1/orchestrators/{id}" get, "One orchestrator", query "scope" => &[(200, "Object")];
    PATCH "/api/v1/orchestrators/{id}" patch, "Set an orchestrator's status", fields "status!" => &[(200, "Object")];
    POST "/api/v1/orchestrators/scopes/{scope}/rotate-key" rotate, "Give the key that is sent a new secret", reads Nothing => &[(200, "Object")];
}

/// Only a key narrows what is seen.
fn narrowed(call: &Call) -> Option<&Scope> {
    call.key_scope()
}

async fn register(mut call: Call) -> Reply {
    // Earlier schedulers without a configured remote send none; with a default scope they are let in.
    if call.state.default_scope.is_some() && call.fields.text("repo_url")?.is_none() {
        call.fields.0.insert("repo_url".into(), json!("none"));
    }
    call.fields.required(["cluster", "machine_id", "repo_url"])?;
    let scope = call.scope()?;
    let registry = &call.state.registry;
    let may_issue = call.state.auth == Auth::Optional && call.sender == Sender::Anonymous;
    let with_key = may_issue && call.asked_scope()?.is_some();
    let may_move = !matches!(call.sender, Sender::Key(_));
    let registered = registry.register(&scope, &call.fields, with_key, may_move).await?;
    call.state.forget_orchestrators();
    if let Some(rules) = call.fields.0.get("limits").and_then(Value::as_object) {
        let number = |name: &str, default: i64| {
            rules
                .get(name)
                .and_then(Value::as_i64)
                .filter(|n| *n > 0)
                .unwrap_or(default)
        };
        let limits = Limits {
            attempts: number("attempts", Limits::default().attempts),
            rejections: number("rejections", Limits::default().rejections),
            ..Limits::default()
        };
        let branch = call
            .fields
            .text("base_branch")?
            .unwrap_or_else(|| BASE_BRANCH.to_owned());
        registry.set_scope_rules(&scope, &limits, &branch).await?;
    }
    if registered.api_key.is_some() {
        call.state.forget_keys();
    }
    let row = &registered.row;
    let mut body = json!({
        "orchestrator_id": row["id"],
        "registered_at": row["registered_at"],
        "status": row["status"],
    });
    if let Some(key) = registered.api_key {
        body["api_key"] = json!(key);
    }
    Ok(Answer::json(if registered.is_new { 201 } else { 200 }, &body))
}

async fn heartbeat(call: Call) -> Reply {
    let said = call.fields.text("timestamp").unwrap_or_default();
    let row = call
        .state
        .registry
        .heartbeat(narrowed(&call), call.param("id"), said)
        .await?;
    Ok(Answer::ok(&json!({
        "success": true,
        "last_heartbeat": row["last_heartbeat"],
        "status": row["status"],
    })))
}

async fn list(call: Call) -> Reply {
    let asked = call.asked_scope()?;
    let scope = narrowed(&call).or(asked.as_ref());
    let rows = call
        .state
        .registry
        .orchestrators(scope, call.query.get("cluster"), call.query.get("status"))
        .await?;
    Ok(Answer::ok(&json!({ "orchestrators": rows, "total": rows.len() })))
}

async fn get(call: Call) -> Reply {
    let row = call
        .state
        .registry
        .orchestrator(narrowed(&call), call.param("id"))
        .await?;
    Ok(Answer::ok(&row))
}

async fn patch(call: Call) -> Reply {
    let [status] = call.fields.required(["status"])?;
    let row = call
        .state
        .registry
        .set_orchestrator_status(narrowed(&call), call.param("id"), &status)
        .await?;
    call.state.forget_orchestrators();
    Ok(Answer::ok(&row))
}

async fn rotate(call: Call) -> Reply {
    let Sender::Key(Access { key_id, scope }) = &call.sender else {
        return Err(Problem::from(Error::new(
            octopoid_core::ErrorCode::Unauthorized,
            "rotating a key needs that key: Authorization: Bearer oct_…",
        )));
    };
    if scope.as_str() != call.param("scope") {
        return Err(Error::new(
            octopoid_core::ErrorCode::Forbidden,
            format!(
                "scope mismatch: the key opens {scope}, the path names {}",
                call.param("scope")
            ),
        )
        .into());
    }
    let (_, key) = call.state.registry.rotate_key(key_id).await?;
    call.state.forget_keys();
    Ok(Answer::ok(&json!({ "api_key": key, "scope": scope })))
}
