//! Commands that create, list and move tasks.

use std::io::Read;

use octopoid_core::{
    Error, Octopoid,
    id::TaskId,
    model::{CreateTask, EditTask, QueueKind, QueueName, Task, TaskFilter},
    orchestrator::{DaemonInfo, Orchestrator},
    queue::task_file,
};

use super::{may_accept, me};
use crate::{
    cli::{self, Global},
    open,
    output::{Output, Tone, task_rows},
    tell_if_offline,
};

fn stdin() -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    std::io::stdin()
        .read_to_end(&mut bytes)
        .map_err(|e| Error::io("read", std::path::Path::new("standard input"), e))?;
    Ok(bytes)
}

fn text_from_stdin() -> Result<String, Error> {
    String::from_utf8(stdin()?).map_err(|_| Error::invalid("standard input is not UTF-8 text"))
}

pub(crate) async fn enqueue(args: cli::Enqueue, global: &Global, output: &Output) -> Result<u8, Error> {
    let octopoid = open(global)?;
    let mut request = match &args.file {
        Some(path) if path.as_os_str() == "-" => task_file::parse(&stdin()?, "standard input")?,
        Some(path) => {
            let bytes = std::fs::read(path).map_err(|e| Error::io("read", path, e))?;
            task_file::parse(&bytes, &path.display().to_string())?
        }
        None => CreateTask::default(),
    };
    // `octopoid enqueue -`: the only word is the place of the body.
    let body_from_stdin = args.stdin.is_some() || args.title.as_deref() == Some("-");
    if let Some(title) = args.title.filter(|t| t != "-") {
        request.title = Some(title);
    }
    if body_from_stdin {
        let text = text_from_stdin()?;
        if request.title.is_some() {
            request.content = Some(text);
        } else {
            request = task_file::parse(text.as_bytes(), "standard input")?;
        }
    }
    request.content = args.body.or(request.content);
    request.role = args.role.or(request.role);
    request.priority = args.priority.or(request.priority);
    request.complexity = args.complexity.or(request.complexity);
    request.project_id = args.project.or(request.project_id);
    request.branch = args.branch.or(request.branch);
    request.flow = args.flow.or(request.flow);
    request.id = args.id.or(request.id);
    request.idempotency_key = args.idempotency_key.or(request.idempotency_key);
    request.blocked_by.extend(args.after);
    request.checks.extend(args.check);
    request.paths.extend(args.path);
    request.created_by = request.created_by.or_else(|| Some(me()));
    if request.title.is_none() && request.content.is_none() {
        return Err(Error::invalid("say what should change: octopoid enqueue \"…\"")
            .with_hint("a task file (--file) or text on standard input (-) will do too"));
    }
    let task = octopoid.tasks().create(request).await?;
    tell_if_offline(&octopoid, output);
    let next = match (task.is_blocked(), DaemonInfo::read_alive(&paths(&octopoid))) {
        (true, _) => "it waits for the tasks before it".to_owned(),
        (false, Some(_)) => "the orchestrator gives it to an agent now".to_owned(),
        (false, None) => "`octopoid start` lets agents work on it".to_owned(),
    };
    output.text(&format!(
        "{} is in {}: {}",
        output.paint(Tone::Strong, task.id.as_str()),
        task.queue,
        task.title
    ))?;
    output.message(&format!("Next: {next}."));
    print_task(&octopoid, task, output).await
}

fn paths(octopoid: &Octopoid) -> octopoid_core::config::Paths {
    octopoid_core::config::Paths::new(octopoid.root())
}

/// With `--json`, the task as it is now.
async fn print_task(octopoid: &Octopoid, task: Task, output: &Output) -> Result<u8, Error> {
    if output.is_json() {
        output.json(&octopoid.tasks().show(&task.id).await?)?;
    }
    Ok(0)
}

pub(crate) async fn list(args: cli::List, global: &Global, output: &Output) -> Result<u8, Error> {
    let octopoid = open(global)?;
    let filter = TaskFilter {
        queues: args.queue,
        priorities: args.priority,
        roles: args.role,
        project_id: args.project,
        open_only: false,
        limit: if args.all { Some(u32::MAX) } else { args.limit },
        offset: 0,
        ..TaskFilter::default()
    };
    let page = octopoid.tasks().list(&filter).await?;
    tell_if_offline(&octopoid, output);
    let (total, offset, limit) = (page.total, page.offset, page.limit);
    let tasks = octopoid.tasks().views(page.tasks).await?;
    if output.is_json() {
        let shown = if args.all {
            u32::try_from(tasks.len()).unwrap_or(limit)
        } else {
            limit
        };
        output.json(&serde_json::json!({ "tasks": tasks, "total": total, "offset": offset, "limit": shown }))?;
        return Ok(0);
    }
    if tasks.is_empty() {
        output.message("No tasks. `octopoid enqueue \"…\"` creates one.");
        return Ok(0);
    }
    let cut = total > tasks.len() as u64;
    let status = if cut { Some(octopoid.status().await?) } else { None };
    let count = |queue: &QueueName| match &status {
        Some(status) => status
            .queues
            .iter()
            .find(|c| c.queue == *queue)
            .map_or(0, |c| usize::try_from(c.count).unwrap_or(0)),
        None => tasks.iter().filter(|t| t.task.queue == *queue).count(),
    };
    output.text(&task_rows(output, &tasks, count))?;
    if cut {
        output.message(&format!(
            "{} of {total} tasks are shown; --all shows the rest.",
            tasks.len()
        ));
    }
    Ok(0)
}

/// What is done with one task.
pub(crate) enum Act {
    Approve,
    Reject(String),
    Retry,
    Requeue,
    Cancel(String),
    Hold(String),
    Unhold,
    Recover(QueueName, String),
}

pub(crate) async fn act(
    act: Act,
    id: TaskId,
    by: Option<String>,
    global: &Global,
    output: &Output,
) -> Result<u8, Error> {
    let octopoid = open(global)?;
    let by = by.unwrap_or_else(me);
    let tasks = octopoid.tasks();
    let (task, what) = match act {
        Act::Approve => {
            may_accept()?;
            let task = tasks.approve(&id, &by).await?;
            let next = if DaemonInfo::read_alive(&paths(&octopoid)).is_some() {
                "the orchestrator merges it now"
            } else {
                "`octopoid start` merges it"
            };
            (task, format!("approved; {next}"))
        }
        Act::Reject(reason) => (
            tasks.reject(&id, &by, &reason).await?,
            "rejected; the next attempt gets the reason".to_owned(),
        ),
        Act::Retry => (
            tasks.retry(&id, &by).await?,
            "starts again, with fresh limits and its work kept".to_owned(),
        ),
        Act::Requeue => (tasks.requeue(&id, &by).await?, "put back; its work is kept".to_owned()),
        Act::Cancel(reason) => (
            tasks.cancel(&id, &by, &reason).await?,
            "called off; its work is kept".to_owned(),
        ),
        Act::Hold(reason) => (
            tasks.hold(&id, &by, &reason).await?,
            "on hold; nobody claims it".to_owned(),
        ),
        Act::Unhold => (tasks.unhold(&id, &by).await?, "may be claimed again".to_owned()),
        Act::Recover(to, reason) => {
            let tip = if to.kind() == QueueKind::Review {
                Orchestrator::work_tip(&octopoid, &id).await?
            } else {
                None
            };
            let merged = if to.kind() == QueueKind::Done {
                Orchestrator::merged_sha(&octopoid, &id).await?
            } else {
                None
            };
            (
                tasks.recover(&id, &by, to, &reason, merged, tip).await?,
                "moved by your decision".to_owned(),
            )
        }
    };
    output.text(&format!(
        "{} is in {}: {what}",
        output.paint(Tone::Strong, task.id.as_str()),
        task.queue
    ))?;
    print_task(&octopoid, task, output).await
}

pub(crate) async fn edit(args: cli::Edit, global: &Global, output: &Output) -> Result<u8, Error> {
    let octopoid = open(global)?;
    let content = match args.body {
        Some(body) if body == "-" => Some(text_from_stdin()?),
        body => body,
    };
    let blocked_by = match args.after.as_slice() {
        [] => None,
        [none] if none == "none" => Some(Vec::new()),
        ids => Some(ids.iter().map(|id| TaskId::parse(id)).collect::<Result<Vec<_>, _>>()?),
    };
    let edit = EditTask {
        title: args.title,
        content,
        role: args.role,
        priority: args.priority,
        complexity: args.complexity,
        branch: args.branch,
        checks: Some(args.check).filter(|c| !c.is_empty()),
        paths: Some(args.path).filter(|p| !p.is_empty()),
        blocked_by,
        version: None,
    };
    let task = octopoid.tasks().edit(&args.id, &me(), edit).await?;
    output.text(&format!(
        "{} is changed (version {})",
        output.paint(Tone::Strong, task.id.as_str()),
        task.version
    ))?;
    print_task(&octopoid, task, output).await
}

pub(crate) async fn delete(id: TaskId, global: &Global, output: &Output) -> Result<u8, Error> {
    let octopoid = open(global)?;
    octopoid.tasks().delete(&id, &me()).await?;
    output.text(&format!(
        "{} is deleted; its history and its commits stay",
        output.paint(Tone::Strong, id.as_str())
    ))?;
    output.json(&serde_json::json!({ "id": id, "deleted": true }))?;
    Ok(0)
}
