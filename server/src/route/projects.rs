//! Projects: several tasks on one branch.

use octopoid_core::{
    Error, ErrorCode,
    id::ProjectId,
    model::{RecordKind, Sort, TaskFilter},
};
use serde_json::json;

use super::{routes, tasks};
use crate::{
    answer::{Answer, Reply},
    call::Call,
};

routes! {
    POST "/api/v1/projects" create, "Create a project", fields "id! title! branch! name description status base_branch auto_accept:flag created_by scope" => &[(201, "Object")];
    GET "/api/v1/projects" list, "Projects, the newest first", query "scope status created_by limit:integer offset:integer" => &[(200, "Object")];
    GET "/api/v1/projects/{id}" get, "One project", query "scope" => &[(200, "Object")];
    GET "/api/v1/projects/{id}/tasks" members, "Tasks of a project", query "scope" => &[(200, "Object")];
    PATCH "/api/v1/projects/{id}" patch, "Change a project", fields "title description:null status branch base_branch auto_accept:flag completed_at:null" => &[(200, "Object")];
    DELETE "/api/v1/projects/{id}" delete, "Delete a project without tasks", reads Leniently => &[(200, "Object")];
}

const KIND: RecordKind = RecordKind::Project;

async fn create(call: Call) -> Reply {
    let scope = call.scope()?;
    // In a server without keys, an id names one project wherever it is.
    if let (Some(id), None) = (call.fields.text("id")?, call.key_scope())
        && call.state.registry.scope_of(KIND, &id).await?.is_some()
    {
        return Err(Error::new(ErrorCode::AlreadyExists, format!("project {id} already exists")).into());
    }
    let row = call.state.registry.create_project(&scope, &call.fields).await?;
    Ok(Answer::json(201, &row))
}

async fn list(call: Call) -> Reply {
    let window = call.window()?;
    let listed = call
        .state
        .registry
        .projects(
            &call.scope()?,
            call.query.get("status"),
            call.query.get("created_by"),
            window,
        )
        .await?;
    Ok(Answer::ok(&Call::page(
        "projects",
        listed.rows,
        listed.total as u64,
        window,
    )))
}

async fn get(call: Call) -> Reply {
    let id = call.param("id");
    let scope = tasks::scope_of(&call, KIND, id).await?;
    Ok(Answer::ok(&call.state.registry.project(&scope, id).await?))
}

async fn members(call: Call) -> Reply {
    let id = call.param("id");
    let scope = tasks::scope_of(&call, KIND, id).await?;
    call.state.registry.project(&scope, id).await?;
    let engine = call.state.registry.engine(&scope).await?;
    let filter = TaskFilter {
        project_id: Some(ProjectId::parse(id)?),
        limit: Some(u32::MAX),
        sort: Sort::Priority,
        ..TaskFilter::default()
    };
    let page = engine.list(&filter).await?;
    let rows = tasks::rows(&engine, &page.tasks).await?;
    Ok(Answer::ok(
        &json!({ "project_id": id, "tasks": rows, "total": page.total }),
    ))
}

async fn patch(call: Call) -> Reply {
    let id = call.param("id");
    let scope = tasks::scope_of(&call, KIND, id).await?;
    Ok(Answer::ok(
        &call.state.registry.edit_project(&scope, id, &call.fields).await?,
    ))
}

async fn delete(call: Call) -> Reply {
    let id = call.param("id");
    let scope = tasks::scope_of(&call, KIND, id).await?;
    call.state.registry.delete_project(&scope, id).await?;
    Ok(Answer::ok(&json!({ "message": format!("Project {id} deleted") })))
}
