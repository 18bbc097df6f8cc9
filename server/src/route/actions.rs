//! Actions: what an agent proposes and a person has executed.

use octopoid_core::model::RecordKind;

use super::{routes, tasks};
use crate::{
    answer::{Answer, Reply},
    call::Call,
};

routes! {
    POST "/api/v1/actions" create, "Propose an action", fields "entity_type! entity_id! label! proposed_by! scope action_type description expires_at metadata:any action_data:any" => &[(201, "Object")];
    GET "/api/v1/actions" list, "Actions that have not expired, the newest first", query "scope entity_type entity_id status limit:integer offset:integer" => &[(200, "Object")];
    POST "/api/v1/actions/{id}/execute" execute, "Ask for an action to be executed", reads Nothing => &[(200, "Object")];
    POST "/api/v1/actions/{id}/complete" complete, "Report that an action was executed", fields "result:any" => &[(200, "Object")];
    POST "/api/v1/actions/{id}/fail" fail, "Report that an action failed", fields "result:any" => &[(200, "Object")];
    PATCH "/api/v1/actions/{id}" patch, "Report how far an action is", fields "status result:any" => &[(200, "Object")];
}

async fn create(call: Call) -> Reply {
    call.fields
        .required(["entity_type", "entity_id", "label", "proposed_by"])?;
    let row = call.state.registry.create_action(&call.scope()?, &call.fields).await?;
    Ok(Answer::json(201, &row))
}

async fn list(call: Call) -> Reply {
    let window = call.window()?;
    // An older word for the same.
    let status = call
        .query
        .get("status")
        .map(|s| if s == "pending" { "proposed" } else { s });
    let filters = [
        ("entity_type", call.query.get("entity_type")),
        ("entity_id", call.query.get("entity_id")),
        ("status", status),
    ];
    let listed = call.state.registry.actions(&call.scope()?, &filters, window).await?;
    Ok(Answer::ok(&Call::page(
        "actions",
        listed.rows,
        listed.total as u64,
        window,
    )))
}

async fn scope(call: &Call) -> octopoid_core::Result<octopoid_core::id::Scope> {
    tasks::scope_of(call, RecordKind::Action, call.param("id")).await
}

async fn execute(call: Call) -> Reply {
    let scope = scope(&call).await?;
    Ok(Answer::ok(
        &call.state.registry.execute_action(&scope, call.param("id")).await?,
    ))
}

async fn report(call: &Call, to: Option<&str>) -> Reply {
    let scope = scope(call).await?;
    let row = call
        .state
        .registry
        .report_action(&scope, call.param("id"), &call.fields, to)
        .await?;
    Ok(Answer::ok(&row))
}

async fn complete(call: Call) -> Reply {
    report(&call, Some("completed")).await
}

async fn fail(call: Call) -> Reply {
    report(&call, Some("failed")).await
}

async fn patch(call: Call) -> Reply {
    report(&call, None).await
}
