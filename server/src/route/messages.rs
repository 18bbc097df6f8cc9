//! Messages between agents, orchestrators and people.

use octopoid_core::{Result, model::MessageFilter, wire};
use serde_json::{Value, json};

use super::routes;
use crate::{
    answer::{Answer, Reply},
    call::Call,
};

routes! {
    POST "/api/v1/messages" post, "Keep a message", fields "task_id! from_actor! type! content! scope to_actor parent_message_id" => &[(201, "Object")];
    GET "/api/v1/messages" list, "Messages, oldest first; without a page the newest of them", query "scope task_id to_actor type unreplied thread_id limit:integer offset:integer" => &[(200, "Object")];
    GET "/api/v1/tasks/{id}/messages" of_task, "Messages of a task, oldest first", query "scope limit:integer offset:integer" => &[(200, "Object")];
}

async fn post(call: Call) -> Reply {
    call.fields.required(["task_id", "from_actor", "type", "content"])?;
    let scope = call.scope()?;
    let message = call.state.registry.post_message(&scope, &call.fields).await?;
    Ok(Answer::json(201, &wire::message(&message, scope.as_str())))
}

async fn answer(call: &Call, mut filter: MessageFilter) -> Reply {
    let scope = call.scope()?;
    let window = call.window()?;
    filter.page = page_of(call)?;
    filter.newest = call.state.config.max_page_size;
    let is_thread = filter.thread.is_some();
    let page = call.state.registry.list_messages(&scope, filter).await?;
    let rows: Vec<Value> = page.messages.iter().map(|m| wire::message(m, scope.as_str())).collect();
    let (offset, limit) = if is_thread {
        (0, rows.len())
    } else {
        (window.offset as usize, window.limit as usize)
    };
    Ok(Answer::ok(
        &json!({ "messages": rows, "total": page.total, "offset": offset, "limit": limit }),
    ))
}

/// The page that is asked for; none when neither limit nor offset is named.
fn page_of(call: &Call) -> Result<Option<(u32, u32)>> {
    let window = call.window()?;
    let asked = call.query.get("limit").is_some() || call.query.get("offset").is_some();
    Ok(asked.then_some((window.limit, window.offset)))
}

async fn list(call: Call) -> Reply {
    let text = |name: &str| call.query.get(name).map(str::to_owned);
    let filter = MessageFilter {
        task_id: text("task_id"),
        to: text("to_actor"),
        kind: text("type"),
        unreplied: call.query.get("unreplied") == Some("true"),
        thread: text("thread_id"),
        ..MessageFilter::default()
    };
    answer(&call, filter).await
}

async fn of_task(call: Call) -> Reply {
    let filter = MessageFilter {
        task_id: Some(call.param("id").to_owned()),
        ..MessageFilter::default()
    };
    answer(&call, filter).await
}
