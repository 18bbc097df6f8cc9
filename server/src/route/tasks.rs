//! Tasks: create, read, list, write columns, delete.

use octopoid_core::{
    Error, ErrorCode, Result,
    engine::{Engine, MAX_BATCH, TaskView, registry::Window},
    id::{ProjectId, TaskId},
    lifecycle::Command,
    model::{CreateTask, Priority, QueueKind, QueueName, RecordKind, Sort, Task, TaskFilter},
    wire::{self, Fields},
};
use serde_json::{Value, json};

use super::routes;
use crate::{
    answer::{Answer, Problem, Reply},
    call::Call,
};

const LIST: &[&str] = &[
    "scope",
    "queue",
    "priority",
    "role",
    "type",
    "flow",
    "claimed_by",
    "orchestrator_id",
    "project_id",
    "blocked_by",
    "pr_number",
    "needs_intervention",
    "has_plan",
    "auto_accept",
    "needs_rebase",
    "open",
    "sort",
    "limit",
    "offset",
];

routes! {
    GET "/api/v1/tasks" list, "Tasks, a page at a time", query "scope queue priority role type flow claimed_by orchestrator_id project_id blocked_by pr_number:integer needs_intervention:boolean has_plan:boolean auto_accept:boolean needs_rebase:boolean open:boolean sort limit:integer offset:integer" => &[(200, "TaskPage")];
    POST "/api/v1/tasks" create, "Create a task", fields "id file_path title content branch scope queue priority complexity role type blocked_by:names project_id hooks:any flow flow_overrides:any auto_accept:flag checks:array paths:array created_by idempotency_key metadata:any" => &[(201, "Task"), (200, "Task")];
    POST "/api/v1/tasks/batch" batch, "Create up to 1000 tasks, all or none", fields "tasks:array! scope" => &[(201, "Tasks")];
    POST "/api/v1/tasks/views" views, "Several tasks with what each waits for, in the typed form", fields "ids:array! scope" => &[(200, "Object")];
    GET "/api/v1/tasks/{id}" get, "One task", query "scope include" => &[(200, "Task")];
    PATCH "/api/v1/tasks/{id}" patch, "Write columns of a task", fields "queue title priority complexity:null role:null type:null branch blocked_by:names claimed_by:null claimed_at:null orchestrator_id:null lease_expires_at:null commits_count:integer turns_used:integer attempt_count:integer rejection_count:integer has_plan:flag plan_id:null project_id:null auto_accept:flag pr_number:integer pr_url:null checks:any check_results:any needs_rebase:flag needs_intervention:flag hooks:any flow flow_overrides:any content:null execution_notes:null version:integer claim_token scope" => &[(200, "Task")];
    DELETE "/api/v1/tasks/{id}" delete, "Delete a task; its history stays", reads Leniently => &[(200, "Object")];
}

/// A task as the sender wants it: as a row, or typed.
pub(super) async fn shown(call: &Call, engine: &Engine, status: u16, task: Task) -> Reply {
    if call.wants_full() {
        return Answer::of(status, &task);
    }
    let row = row(engine, &task).await?;
    Ok(Answer::json(status, &row))
}

pub(super) async fn row(engine: &Engine, task: &Task) -> Result<Value> {
    let waits_for: Vec<TaskId> = if task.open_blockers > 0 {
        let blockers = engine.blockers(&task.id).await?;
        blockers
            .into_iter()
            .filter(|b| b.queue.kind() != QueueKind::Done)
            .map(|b| b.id)
            .collect()
    } else {
        Vec::new()
    };
    Ok(wire::task_row(task, &waits_for))
}

pub(super) async fn rows(engine: &Engine, tasks: &[Task]) -> Result<Vec<Value>> {
    let mut rows = Vec::with_capacity(tasks.len());
    for task in tasks {
        rows.push(row(engine, task).await?);
    }
    Ok(rows)
}

fn filter(call: &Call, window: Window) -> Result<TaskFilter> {
    let query = &call.query;
    let queues = query.words("queue")?;
    // A text that no task can have as queue or role finds nothing; it is no error.
    let known: Vec<QueueName> = queues.iter().filter_map(|q| QueueName::parse(q).ok()).collect();
    let roles = query.words("role")?;
    let priorities = query.words("priority")?;
    let pr_number = query
        .get("pr_number")
        .map(|n| {
            n.parse()
                .map_err(|_| Error::invalid("pr_number must be a whole number"))
        })
        .transpose()?;
    Ok(TaskFilter {
        queues: known,
        priorities: priorities
            .iter()
            .map(|p| p.parse::<Priority>())
            .collect::<Result<_>>()?,
        roles: roles.iter().map(|r| r.parse()).collect::<Result<_>>()?,
        // To earlier clients, a task without a role matches none.
        role_named: !call.wants_full(),
        project_id: query.get("project_id").map(ProjectId::parse).transpose()?,
        open_only: query.flag("open")?.unwrap_or(false),
        claimed_by: query.get("claimed_by").map(str::to_owned),
        orchestrator_id: query.get("orchestrator_id").map(str::to_owned),
        flow: query.get("flow").map(str::to_owned),
        types: query.words("type")?,
        pr_number,
        needs_intervention: query.flag("needs_intervention")?,
        has_plan: query.flag("has_plan")?,
        auto_accept: query.flag("auto_accept")?,
        needs_rebase: query.flag("needs_rebase")?,
        blocked_by: query.get("blocked_by").map(TaskId::parse).transpose()?,
        sort: match query.get("sort") {
            Some("priority") => Sort::Priority,
            Some("urgency") => Sort::Urgency,
            Some("newest") => Sort::Newest,
            // Clients that name no scope list by priority.
            _ if call.asked_scope()?.is_none() && call.key_scope().is_none() => Sort::Priority,
            _ => Sort::Newest,
        },
        limit: Some(window.limit),
        offset: window.offset,
    })
}

async fn list(call: Call) -> Reply {
    let engine = call.engine().await?;
    let window = call.window()?;
    let filter = filter(&call, window)?;
    let impossible = filter.queues.is_empty() && !call.query.words("queue")?.is_empty();
    let page = if impossible {
        octopoid_core::model::TaskPage {
            tasks: Vec::new(),
            total: 0,
            offset: window.offset,
            limit: window.limit,
        }
    } else {
        engine.list(&filter).await?
    };
    let answer = if call.wants_full() {
        Answer::of(200, &page)?
    } else {
        let rows = rows(&engine, &page.tasks).await?;
        Answer::ok(&Call::page("tasks", rows, page.total, window))
    };
    Ok(named(answer, &call.query.unknown(LIST)))
}

/// Names in a header what had no effect.
fn named(answer: Answer, ignored: &[impl AsRef<str>]) -> Answer {
    if ignored.is_empty() {
        return answer;
    }
    let names: Vec<&str> = ignored.iter().map(AsRef::as_ref).collect();
    answer.with("x-octopoid-ignored", &names.join(", "))
}

/// The request for a task, with the branch of its project.
fn request(call: &Call, fields: &Fields) -> Result<CreateTask> {
    let mut request = wire::create_task(fields, call.wants_full())?;
    if request.project_id.is_some() {
        // A project's flow is the client's business here, unless the task names one.
        request.flow.get_or_insert_with(|| "default".to_owned());
    }
    Ok(request)
}

/// Errors of a request for a task are the request's fault, also when it names what is not there.
fn at_fault(error: Error) -> Problem {
    if error.code() == ErrorCode::NotFound {
        return Problem::from(error).status(400);
    }
    error.into()
}

async fn create(call: Call) -> Reply {
    let engine = call.engine().await?;
    let mut request = request(&call, &call.fields)?;
    if request.idempotency_key.is_none() {
        request.idempotency_key = call.idempotency_key()?;
    }
    // In a server without keys, an id names one task wherever it is.
    if let (Some(id), None) = (&request.id, call.key_scope())
        && request.idempotency_key.is_none()
        && !call.state.registry.store().scopes_of(id.as_str()).await?.is_empty()
    {
        return Err(
            Error::new(ErrorCode::AlreadyExists, format!("task {id} exists already"))
                .with_hint("choose another id, or leave it out to get a fresh one")
                .into(),
        );
    }
    check_queue(&engine, &request)?;
    let (task, is_new) = engine.create_or_find(request).await.map_err(at_fault)?;
    shown(&call, &engine, if is_new { 201 } else { 200 }, task).await
}

/// A task can begin only in a state of its flow.
fn check_queue(engine: &Engine, request: &CreateTask) -> Result<()> {
    let Some(queue) = &request.queue else { return Ok(()) };
    let name = request.flow.as_deref().unwrap_or("default");
    let flow = engine.rules().flows.get_or_default(name);
    if flow.registered.is_some() && !flow.has_state(queue) {
        let states: Vec<String> = flow.states().iter().map(ToString::to_string).collect();
        return Err(Error::invalid(format!(
            "Invalid queue {queue} for flow {name}; valid states: {}",
            states.join(", ")
        )));
    }
    Ok(())
}

async fn batch(call: Call) -> Reply {
    call.fields.only(&["tasks", "scope"])?;
    let Some(Value::Array(items)) = call.fields.0.get("tasks") else {
        return Err(Error::invalid("tasks must be an array of objects").into());
    };
    let engine = call.engine().await?;
    let mut requests = Vec::with_capacity(items.len());
    for (i, item) in items.iter().enumerate() {
        let place = |e: Error| Error::new(e.code(), format!("tasks[{i}]: {e}"));
        let Value::Object(map) = item else {
            return Err(Error::invalid(format!("tasks[{i}] must be an object")).into());
        };
        let fields = Fields(map.clone());
        if let Some(other) = fields
            .text("scope")
            .map_err(place)?
            .filter(|s| s != engine.rules().scope.as_str())
        {
            return Err(Error::new(
                ErrorCode::Forbidden,
                format!(
                    "scope mismatch: tasks[{i}] names {other}, the batch is for {}",
                    engine.rules().scope
                ),
            )
            .into());
        }
        let request = request(&call, &fields).map_err(place)?;
        check_queue(&engine, &request).map_err(place)?;
        requests.push(request);
    }
    let tasks = engine.create_all(requests).await.map_err(at_fault)?;
    if call.wants_full() {
        return Answer::of(201, &json!({ "tasks": tasks }));
    }
    let rows = rows(&engine, &tasks).await?;
    Ok(Answer::json(201, &json!({ "tasks": rows, "total": rows.len() })))
}

async fn views(call: Call) -> Reply {
    let ids = call.fields.names("ids")?.unwrap_or_default();
    if ids.len() > MAX_BATCH {
        return Err(Error::invalid(format!("at most {MAX_BATCH} ids at once")).into());
    }
    let engine = call.engine().await?;
    let mut tasks = Vec::with_capacity(ids.len());
    for id in &ids {
        match engine.task(&TaskId::parse(id)?).await {
            Ok(task) => tasks.push(task),
            Err(error) if error.code() == ErrorCode::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    Answer::of(200, &json!({ "tasks": engine.views(tasks).await? }))
}

async fn get(call: Call) -> Reply {
    let (engine, id) = call.task().await?;
    let missing = |e: Error| Problem::from(e).about_task(call.param("id"));
    if call.wants_full() && call.query.get("include") == Some("all") {
        let view: TaskView = engine.show(&id).await.map_err(missing)?;
        return Answer::of(200, &view);
    }
    let task = engine.task(&id).await.map_err(missing)?;
    shown(&call, &engine, 200, task).await
}

async fn patch(call: Call) -> Reply {
    if call.fields.0.get("queue").and_then(Value::as_str) == Some("done") {
        return Err(Error::invalid(format!(
            "Cannot set queue to \"done\" by PATCH; use POST /api/v1/tasks/{}/accept",
            call.param("id")
        ))
        .into());
    }
    let (mut patch, ignored) = wire::patch_task(&call.fields)?;
    if patch.is_empty() {
        return Err(Error::invalid("No fields to update").into());
    }
    patch.token = call.token()?;
    if patch.version.is_none()
        && let Some(version) = call.header("if-match")?
    {
        let number = version.trim_matches('"').parse();
        patch.version = Some(number.map_err(|_| Error::invalid("If-Match must be the task's version"))?);
    }
    let (engine, id) = call.task().await?;
    if let Some(Some(project)) = &patch.project_id {
        let scope = &engine.rules().scope;
        call.state
            .registry
            .project(scope, project.as_str())
            .await
            .map_err(|e| match e.code() {
                ErrorCode::NotFound => Error::invalid(format!("project {project} does not exist")),
                _ => e,
            })?;
    }
    let command = Command::Patch {
        by: call.fields.text("by")?,
        patch: Box::new(patch),
    };
    let task = engine
        .apply_once(&id, command, call.idempotency_key()?)
        .await
        .map_err(|e| match e.code() {
            ErrorCode::NotFound if e.to_string() == format!("task {id} does not exist") => {
                Problem::from(Error::new(ErrorCode::NotFound, "Task not found"))
            }
            ErrorCode::NotFound => Problem::from(e).status(400),
            _ => Problem::from(e).with_details(),
        })?;
    Ok(named(shown(&call, &engine, 200, task).await?, &ignored))
}

async fn delete(call: Call) -> Reply {
    let (engine, id) = call
        .task()
        .await
        .map_err(|_| Problem::from(Error::new(ErrorCode::NotFound, "Task not found")))?;
    // A person's tool asks to be stopped where work would be lost; earlier clients delete in any state.
    let force = call.query.flag("careful")? != Some(true);
    let by = call.query.get("by").unwrap_or("api").to_owned();
    engine.delete(&id, &by, force).await.map_err(|e| match e.code() {
        ErrorCode::NotFound => Problem::from(Error::new(ErrorCode::NotFound, "Task not found")),
        _ => e.into(),
    })?;
    Ok(Answer::ok(&json!({ "message": "Task deleted", "task_id": id })))
}

/// The scope of a document that a request names by its id: its own, the key's, else wherever it is.
pub(super) async fn scope_of(call: &Call, kind: RecordKind, id: &str) -> Result<octopoid_core::id::Scope> {
    if let Some(scope) = call.key_scope() {
        return Ok(scope.clone());
    }
    if let Some(scope) = call.asked_scope()? {
        return Ok(scope);
    }
    if let Some(scope) = call.state.registry.scope_of(kind, id).await? {
        return Ok(scope);
    }
    call.scope().map_err(|_| {
        let word = match kind {
            RecordKind::Project => "Project",
            RecordKind::Draft => "Draft",
            RecordKind::Action => "Action",
            _ => "Record",
        };
        Error::new(ErrorCode::NotFound, format!("{word} not found: {id}"))
    })
}
