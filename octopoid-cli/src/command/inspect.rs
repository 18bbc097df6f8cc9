//! Commands that look at one task: what it is, why it is there, what its agents printed and changed.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::Path,
    time::Duration,
};

use octopoid_core::{
    Error, Octopoid,
    id::TaskId,
    model::CreateTask,
    orchestrator::{Kept, Orchestrator},
    queue::task_file,
};

use crate::{
    cli::{Format, Global},
    open,
    output::{Output, task_text, why_text},
    tell_if_offline,
};

pub(crate) async fn show(id: &TaskId, format: Format, global: &Global, output: &Output) -> Result<u8, Error> {
    let octopoid = open(global)?;
    let view = octopoid.tasks().show(id).await?;
    tell_if_offline(&octopoid, output);
    output.json(&view)?;
    if format == Format::Md {
        let task = view.task;
        output.text(&task_file::write(&CreateTask {
            id: Some(task.id),
            title: Some(task.title),
            content: Some(task.content),
            role: Some(task.role),
            priority: Some(task.priority),
            complexity: task.complexity,
            branch: Some(task.branch),
            flow: Some(task.flow),
            project_id: task.project_id,
            blocked_by: view.blocked_by,
            checks: task.checks,
            paths: task.paths,
            created_by: task.created_by,
            ..CreateTask::default()
        })?)?;
    } else {
        output.text(&task_text(output, &view, octopoid.backend().now()))?;
    }
    Ok(0)
}

pub(crate) async fn why(id: &TaskId, global: &Global, output: &Output) -> Result<u8, Error> {
    let octopoid = open(global)?;
    let why = octopoid.tasks().why(id).await?;
    tell_if_offline(&octopoid, output);
    output.json(&why)?;
    output.text(&why_text(output, &why))?;
    Ok(0)
}

pub(crate) async fn diff(id: &TaskId, global: &Global, output: &Output) -> Result<u8, Error> {
    let octopoid = open(global)?;
    let patch = Orchestrator::diff(&octopoid, id).await?;
    output.json(&serde_json::json!({ "id": id, "patch": patch }))?;
    output.text(&patch)?;
    Ok(0)
}

pub(crate) async fn logs(
    id: &TaskId,
    attempt: Option<i64>,
    follow: bool,
    global: &Global,
    output: &Output,
) -> Result<u8, Error> {
    let octopoid = open(global)?;
    let attempts = octopoid.tasks().show(id).await?.attempts.unwrap_or_default();
    let number = match attempt {
        Some(number) if attempts.iter().any(|a| a.number == number) => number,
        Some(number) => {
            return Err(Error::not_found("attempt", format!("{number} of task {id}"))
                .with_hint(format!("it has {} attempts", attempts.len())));
        }
        None => match attempts.last() {
            Some(last) => last.number,
            None => {
                return Err(Error::not_found("attempt", format!("of task {id}"))
                    .with_hint(format!("nobody has worked on it yet; `octopoid why {id}` tells why")));
            }
        },
    };
    let dir = Orchestrator::attempt_dir(octopoid.root(), id, number);
    let (mut out, mut err) = (Tail::default(), Tail::default());
    if output.is_json() {
        let text = |tail: &mut Tail, name: &str| {
            tail.read(&dir.join(name))
                .map(|b| String::from_utf8_lossy(&b).into_owned())
        };
        let document = serde_json::json!({
            "id": id, "attempt": number, "stdout": text(&mut out, "stdout.jsonl")?, "stderr": text(&mut err, "stderr.log")?,
        });
        output.json(&document)?;
        return Ok(0);
    }
    loop {
        // Asked before reading: what is printed until the end is read after it.
        let running = follow && is_running(&octopoid, id, number).await?;
        output.raw(&out.read(&dir.join("stdout.jsonl"))?)?;
        output.raw(&err.read(&dir.join("stderr.log"))?)?;
        if !running {
            return Ok(0);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn is_running(octopoid: &Octopoid, id: &TaskId, number: i64) -> Result<bool, Error> {
    let attempts = octopoid.tasks().show(id).await?.attempts.unwrap_or_default();
    Ok(attempts.iter().any(|a| a.number == number && a.ended_at.is_none()))
}

/// Reads on where it stopped reading.
#[derive(Default)]
struct Tail(u64);

impl Tail {
    fn read(&mut self, path: &Path) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(bytes),
            Err(e) => return Err(Error::io("read", path, e)),
        };
        let read = file
            .seek(SeekFrom::Start(self.0))
            .and_then(|_| file.read_to_end(&mut bytes));
        self.0 += read.map_err(|e| Error::io("read", path, e))? as u64;
        Ok(bytes)
    }
}

pub(crate) async fn worktrees(clean: bool, dry_run: bool, global: &Global, output: &Output) -> Result<u8, Error> {
    let octopoid = open(global)?;
    let found = if clean && !dry_run {
        Orchestrator::clean_worktrees(&octopoid).await?
    } else {
        Orchestrator::worktrees(&octopoid).await?
    };
    output.json(&serde_json::json!({ "worktrees": found }))?;
    if found.is_empty() {
        output.message("No worktrees.");
    }
    for state in &found {
        let fate = match (&state.kept, state.removed) {
            (_, true) => "removed; what it held is kept as commits".to_owned(),
            (None, _) if clean => "would be removed".to_owned(),
            (None, _) => "can go (--clean)".to_owned(),
            (Some(Kept::Unfinished), _) => "stays: its task is not finished".to_owned(),
            (Some(Kept::InUse), _) => "stays: somebody works in it".to_owned(),
            (Some(Kept::Recent), _) => "stays: its task ended a short time ago".to_owned(),
            (Some(Kept::MovedAside), _) => "stays: it stood in the way; look through it and remove it".to_owned(),
            (Some(Kept::Foreign), _) => "stays: it belongs to no task".to_owned(),
        };
        let queue = state.queue.as_deref().unwrap_or("no task");
        output.text(&format!(
            "{}  {queue}{}  {fate}",
            state.path.display(),
            if state.dirty { ", uncommitted changes" } else { "" }
        ))?;
    }
    Ok(0)
}
