//! Flows that clients register.

use serde_json::json;

use super::routes;
use crate::{
    answer::{Answer, Reply},
    call::Call,
};

routes! {
    PUT "/api/v1/flows/{name}" put, "Register or replace a flow", fields "scope states:array! transitions:array description child_flow:any" => &[(200, "Object")];
    GET "/api/v1/flows" list, "Flows of a scope by name", query "scope" => &[(200, "Object")];
    GET "/api/v1/flows/{name}" get, "One flow", query "scope" => &[(200, "Object")];
    DELETE "/api/v1/flows/{name}" delete, "Delete a flow", query "scope", reads Leniently => &[(200, "Object")];
}

async fn put(call: Call) -> Reply {
    let scope = call.scope()?;
    let flow = call
        .state
        .registry
        .put_flow(&scope, call.param("name"), &call.fields)
        .await?;
    Ok(Answer::ok(&flow))
}

async fn list(call: Call) -> Reply {
    let flows = call.state.registry.flows(&call.scope()?).await?;
    Ok(Answer::ok(&json!({ "flows": flows })))
}

async fn get(call: Call) -> Reply {
    let flow = call.state.registry.flow(&call.scope()?, call.param("name")).await?;
    Ok(Answer::ok(&flow))
}

async fn delete(call: Call) -> Reply {
    let (scope, name) = (call.scope()?, call.param("name"));
    call.state.registry.delete_flow(&scope, name).await?;
    Ok(Answer::ok(
        &json!({ "message": "Flow deleted", "name": name, "scope": scope }),
    ))
}
