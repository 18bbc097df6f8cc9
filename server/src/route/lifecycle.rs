//! Steps in a task's life as earlier clients take them: submit, accept, reject, requeue, force, hooks.

use octopoid_core::{Error, ErrorCode, lifecycle::Command, model::QueueName};
use serde_json::Value;

use super::{routes, tasks::shown};
use crate::{
    answer::{Problem, Reply},
    call::Call,
};

routes! {
    POST "/api/v1/tasks/{id}/submit" submit, "Hand in work", fields "commits_count:integer! turns_used:integer! check_results:any execution_notes claim_token agent_name orchestrator_id" => &[(200, "Task")];
    POST "/api/v1/tasks/{id}/accept" accept, "Accept handed-in work", fields "accepted_by! completed_at" => &[(200, "Task")];
    POST "/api/v1/tasks/{id}/reject" reject, "Send work back with a reason", fields "reason! rejected_by!" => &[(200, "Task")];
    POST "/api/v1/tasks/{id}/requeue" requeue, "Put a task back to incoming", reads Leniently => &[(200, "Task")];
    POST "/api/v1/tasks/{id}/force-queue" force, "Move a task by decision of a person", fields "queue! reason! by" => &[(200, "Task")];
    POST "/api/v1/tasks/{id}/hooks/{hook}/complete" hook, "Note how a hook of the task went", fields "status! evidence:any" => &[(200, "Task")];
}

async fn apply(call: &Call, command: Command) -> Reply {
    let (engine, id) = call.task().await?;
    let task = engine
        .apply_once(&id, command, call.idempotency_key()?)
        .await
        .map_err(|e| Problem::from(e).about_task(id.as_str()).with_details())?;
    shown(call, &engine, 200, task).await
}

async fn submit(call: Call) -> Reply {
    let fields = &call.fields;
    if !fields.has("commits_count") || !fields.has("turns_used") {
        return Err(Error::invalid("Missing required fields: commits_count, turns_used").into());
    }
    let holder = match fields.text("agent_name")? {
        Some(agent) => Some(agent),
        None => fields.text("orchestrator_id")?,
    };
    let command = Command::HandIn {
        token: call.token()?,
        commits: fields.int("commits_count")?.unwrap_or(0),
        turns: fields.int("turns_used")?.unwrap_or(0),
        check_results: fields.json_text("check_results")?,
        notes: fields.text("execution_notes")?,
        holder,
    };
    apply(&call, command).await
}

async fn accept(call: Call) -> Reply {
    let [by] = call.fields.required(["accepted_by"])?;
    let completed_at = call.fields.time("completed_at")?;
    apply(&call, Command::Accept { by, completed_at }).await
}

async fn reject(call: Call) -> Reply {
    let [reason, by] = call.fields.required(["reason", "rejected_by"])?;
    let command = Command::SendBack {
        by: Some(by),
        reason: Some(reason),
    };
    apply(&call, command).await
}

async fn requeue(call: Call) -> Reply {
    let by = call.fields.text("by").unwrap_or_default();
    apply(&call, Command::SendBack { by, reason: None }).await
}

async fn force(call: Call) -> Reply {
    let [queue, reason] = call.fields.required(["queue", "reason"])?;
    let command = Command::Force {
        by: call.fields.text("by")?,
        to: QueueName::parse(&queue)?,
        reason,
    };
    apply(&call, command).await
}

async fn hook(call: Call) -> Reply {
    let [status] = call.fields.required(["status"])?;
    if !matches!(status.as_str(), "passed" | "failed") {
        return Err(Error::invalid("status must be passed or failed").into());
    }
    let command = Command::Hook {
        name: call.param("hook").to_owned(),
        status,
        evidence: call.fields.0.get("evidence").filter(|v| truthy(v)).cloned(),
    };
    let (engine, id) = call.task().await.map_err(plain)?;
    let task = engine
        .apply_once(&id, command, call.idempotency_key()?)
        .await
        .map_err(|e| {
            if e.code() == ErrorCode::NotFound && !e.to_string().starts_with("Hook") {
                return plain(e.into());
            }
            Problem::from(e)
        })?;
    shown(&call, &engine, 200, task).await
}

fn plain(problem: Problem) -> Problem {
    if problem.code() == ErrorCode::NotFound {
        return Error::new(ErrorCode::NotFound, "Task not found").into();
    }
    problem
}

fn truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(b) => *b,
        Value::Number(n) => n.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(_) | Value::Object(_) => true,
    }
}
