//! Roles that orchestrators register.

use octopoid_core::{Error, ErrorCode, id::Scope};
use serde_json::{Value, json};

use super::routes;
use crate::{
    answer::{Answer, Reply},
    call::Call,
};

routes! {
    POST "/api/v1/roles/register" register, "Register the roles of an orchestrator", fields "orchestrator_id! roles:array! scope" => &[(200, "Object")];
    GET "/api/v1/roles" list, "Roles by name", query "scope" => &[(200, "Object")];
    GET "/api/v1/roles/{name}" get, "One role", query "scope" => &[(200, "Object")];
}

async fn register(call: Call) -> Reply {
    let [orchestrator] = call.fields.required(["orchestrator_id"])?;
    let Some(Value::Array(roles)) = call.fields.0.get("roles") else {
        return Err(Error::invalid("Missing required fields: roles (an array)").into());
    };
    let row = call
        .state
        .registry
        .orchestrator(call.key_scope(), &orchestrator)
        .await
        .map_err(|e| match e.code() {
            ErrorCode::NotFound => Error::invalid(format!("orchestrator {orchestrator} is not registered")),
            _ => e,
        })?;
    let scope = Scope::parse(row["scope"].as_str().unwrap_or_default())?;
    let owned = call.state.registry.register_roles(&scope, &orchestrator, roles).await?;
    Ok(Answer::ok(&json!({ "roles": owned })))
}

fn scope(call: &Call) -> octopoid_core::Result<Option<Scope>> {
    Ok(call.key_scope().cloned().or(call.asked_scope()?))
}

async fn list(call: Call) -> Reply {
    let roles = call.state.registry.roles(scope(&call)?.as_ref()).await?;
    Ok(Answer::ok(&json!({ "roles": roles })))
}

async fn get(call: Call) -> Reply {
    let role = call
        .state
        .registry
        .role(scope(&call)?.as_ref(), call.param("name"))
        .await?;
    Ok(Answer::ok(&role))
}
