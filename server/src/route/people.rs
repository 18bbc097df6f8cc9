//! What people decide and ask: hold, cancel, recover, history, attempts, why, status.

use octopoid_core::{Error, ErrorCode, id::to_hex, lifecycle::Command, model::QueueName, wire};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{routes, tasks::shown};
use crate::{
    answer::{Answer, Problem, Reply},
    call::Call,
};

routes! {
    POST "/api/v1/tasks/{id}/hold" hold, "No claims until unhold", fields "by reason" => &[(200, "Task")];
    POST "/api/v1/tasks/{id}/unhold" unhold, "Allow claims again", fields "by reason" => &[(200, "Task")];
    POST "/api/v1/tasks/{id}/cancel" cancel, "Call a task off; its work is kept", fields "by reason" => &[(200, "Task")];
    POST "/api/v1/tasks/{id}/retry" retry, "Start a stuck task again with fresh limits", fields "by reason" => &[(200, "Task")];
    POST "/api/v1/tasks/{id}/recover" recover, "Move a task by decision of a person", fields "to! reason! by merged_sha head_sha" => &[(200, "Task")];
    GET "/api/v1/tasks/{id}/history" history, "What happened to a task, oldest first", query "scope limit:integer offset:integer" => &[(200, "History")];
    GET "/api/v1/history" all_history, "What happened in a scope, oldest first", query "scope task_id after:integer limit:integer" => &[(200, "History")];
    GET "/api/v1/tasks/{id}/attempts" attempts, "Claims of a task and what came of them", query "scope" => &[(200, "Object")];
    GET "/api/v1/tasks/{id}/reviews" reviews, "Verdicts on a task", query "scope" => &[(200, "Object")];
    GET "/api/v1/tasks/{id}/thread" thread, "Feedback, questions and failures of a task", query "scope" => &[(200, "Object")];
    GET "/api/v1/tasks/{id}/why" why, "Why a task is where it is", query "scope" => &[(200, "Object")];
    GET "/api/v1/status" status, "Counts, claims, orchestrators, and what needs a person", query "scope" => &[(200, "Status"), (304, "Empty")];
}

async fn apply(call: &Call, known: &[&str], command: impl FnOnce(String, String) -> Command) -> Reply {
    call.fields.only(known)?;
    let reason = call.fields.text("reason")?.unwrap_or_default();
    let command = command(call.by()?, reason);
    let (engine, id) = call.task().await?;
    let task = engine
        .apply_once(&id, command, call.idempotency_key()?)
        .await
        .map_err(|e| Problem::from(e).about_task(id.as_str()).with_details())?;
    shown(call, &engine, 200, task).await
}

const WHO: &[&str] = &["by", "reason", "scope"];

async fn hold(call: Call) -> Reply {
    apply(&call, WHO, |by, reason| Command::Hold { by, reason }).await
}

async fn unhold(call: Call) -> Reply {
    apply(&call, WHO, |by, _| Command::Unhold { by }).await
}

async fn cancel(call: Call) -> Reply {
    apply(&call, WHO, |by, reason| Command::Cancel { by, reason }).await
}

async fn retry(call: Call) -> Reply {
    apply(&call, WHO, |by, _| Command::Retry { by }).await
}

async fn recover(call: Call) -> Reply {
    let [to, _] = call.fields.required(["to", "reason"])?;
    let to = QueueName::parse(&to)?;
    let (merged_sha, head_sha) = (call.fields.text("merged_sha")?, call.fields.text("head_sha")?);
    // Whether a commit is in the base branch is for somebody with the repository to say, under his claim or key.
    let known = &["by", "reason", "scope", "to", "merged_sha", "head_sha"];
    apply(&call, known, |by, reason| Command::Recover {
        by,
        to,
        reason,
        merged_sha,
        head_sha,
    })
    .await
}

async fn history(call: Call) -> Reply {
    let window = call.window()?;
    let (engine, id) = call.task().await?;
    let events = engine.events(Some(&id), 0, u32::MAX).await?;
    if events.is_empty() {
        return Err(Problem::from(Error::new(ErrorCode::NotFound, "Task not found")).about_task(id.as_str()));
    }
    let total = events.len() as u64;
    let rows = events
        .iter()
        .skip(window.offset as usize)
        .take(window.limit as usize)
        .map(wire::history)
        .collect();
    Ok(Answer::ok(&Call::page("history", rows, total, window)))
}

async fn all_history(call: Call) -> Reply {
    let window = call.window()?;
    let engine = call.engine().await?;
    let after = i64::from(call.query.number("after", 0, 0, u32::MAX)?);
    let task = call
        .query
        .get("task_id")
        .map(octopoid_core::id::TaskId::parse)
        .transpose()?;
    let last = engine.last_event().await?;
    let events = engine.events(task.as_ref(), after, window.limit).await?;
    let rows: Vec<Value> = events.iter().map(wire::history).collect();
    let total = u64::try_from(last).unwrap_or(0).max(rows.len() as u64);
    Ok(Answer::ok(&Call::page("history", rows, total, window)))
}

async fn attempts(call: Call) -> Reply {
    let (engine, id) = call.task().await?;
    engine
        .task(&id)
        .await
        .map_err(|e| Problem::from(e).about_task(id.as_str()))?;
    Answer::of(200, &json!({ "attempts": engine.attempts(&id).await? }))
}

async fn reviews(call: Call) -> Reply {
    let (engine, id) = call.task().await?;
    engine
        .task(&id)
        .await
        .map_err(|e| Problem::from(e).about_task(id.as_str()))?;
    Answer::of(200, &json!({ "reviews": engine.reviews(&id).await? }))
}

async fn thread(call: Call) -> Reply {
    let (engine, id) = call.task().await?;
    engine
        .task(&id)
        .await
        .map_err(|e| Problem::from(e).about_task(id.as_str()))?;
    Answer::of(200, &json!({ "messages": engine.messages(&id).await? }))
}

async fn why(call: Call) -> Reply {
    let (engine, id) = call.task().await?;
    let why = engine
        .why(&id)
        .await
        .map_err(|e| Problem::from(e).about_task(id.as_str()))?;
    Answer::of(200, &why)
}

async fn status(call: Call) -> Reply {
    let engine = call.engine().await?;
    let status = engine.status().await?;
    let scope = call.scope()?;
    let orchestrators = call.state.registry.orchestrators(Some(&scope), None, None).await?;
    let mut body = serde_json::to_value(&status).map_err(|e| Error::new(ErrorCode::Internal, e.to_string()))?;
    let counts: serde_json::Map<String, Value> = status
        .queues
        .iter()
        .map(|c| (c.queue.to_string(), json!(c.count)))
        .collect();
    body["counts"] = Value::Object(counts);
    body["scope"] = json!(scope);
    body["orchestrators"] = json!(orchestrators);
    body["cursor"] = json!(engine.last_event().await?);
    let text = body.to_string();
    let tag = format!("\"{}\"", &to_hex(&Sha256::digest(&text))[..32]);
    let seen = call.header("if-none-match")?.unwrap_or_default();
    if seen.split(',').any(|t| t.trim().trim_start_matches("W/") == tag) {
        return Ok(Answer::empty(304).with("etag", &tag));
    }
    Ok(Answer::text(200, "application/json", text).with("etag", &tag))
}
