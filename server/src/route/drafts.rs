//! Drafts: ideas kept before they are tasks.

use octopoid_core::model::RecordKind;
use serde_json::json;

use super::{routes, tasks};
use crate::{
    answer::{Answer, Reply},
    call::Call,
};

routes! {
    POST "/api/v1/drafts" create, "Keep an idea", fields "title! author! status domain file_path linked_task_id linked_project_id tags:any content scope" => &[(201, "Object")];
    GET "/api/v1/drafts" list, "Drafts, the newest first", query "scope status author domain linked_task_id linked_project_id limit:integer offset:integer" => &[(200, "Object")];
    GET "/api/v1/drafts/{id}" get, "One draft", query "scope" => &[(200, "Object")];
    PATCH "/api/v1/drafts/{id}" patch, "Change a draft", fields "title status author domain:null file_path:null linked_task_id:null linked_project_id:null tags:any content:null" => &[(200, "Object")];
    DELETE "/api/v1/drafts/{id}" delete, "Delete a draft", reads Leniently => &[(200, "Object")];
}

async fn create(call: Call) -> Reply {
    let row = call.state.registry.create_draft(&call.scope()?, &call.fields).await?;
    Ok(Answer::json(201, &row))
}

async fn list(call: Call) -> Reply {
    let window = call.window()?;
    let query = &call.query;
    let names = ["status", "author", "domain", "linked_task_id", "linked_project_id"];
    let filters: Vec<(&str, Option<&str>)> = names.iter().map(|name| (*name, query.get(name))).collect();
    let listed = call.state.registry.drafts(&call.scope()?, &filters, window).await?;
    Ok(Answer::ok(&Call::page(
        "drafts",
        listed.rows,
        listed.total as u64,
        window,
    )))
}

async fn scope(call: &Call) -> octopoid_core::Result<octopoid_core::id::Scope> {
    let id = call.param("id");
    if id.is_empty() || !id.bytes().all(|b| b.is_ascii_digit()) || id.len() > 18 {
        return Err(octopoid_core::Error::invalid(format!(
            "{id:?} is not the number of a draft"
        )));
    }
    tasks::scope_of(call, RecordKind::Draft, id).await
}

async fn get(call: Call) -> Reply {
    let row = call
        .state
        .registry
        .draft(&scope(&call).await?, call.param("id"))
        .await?;
    Ok(Answer::ok(&row))
}

async fn patch(call: Call) -> Reply {
    let scope = scope(&call).await?;
    let row = call
        .state
        .registry
        .edit_draft(&scope, call.param("id"), &call.fields)
        .await?;
    Ok(Answer::ok(&row))
}

async fn delete(call: Call) -> Reply {
    let scope = scope(&call).await?;
    let id = call.param("id");
    call.state.registry.delete_draft(&scope, id).await?;
    Ok(Answer::ok(&json!({ "message": format!("Draft {id} deleted") })))
}
