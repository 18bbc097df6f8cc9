//! Brings what an older installation holds into a queue: idempotent, with a dry run, and looked at again afterwards.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::Serialize;
use serde_json::{Value, json};

use super::legacy::{Installation, OldTask};
use crate::{
    backend::Backend,
    error::{Error, ErrorCode, Result},
    id::TaskId,
    lifecycle::Command,
    model::{Annotations, Complexity, CreateTask, Priority, QueueName, Role, Task},
};

/// One task of the older installation and what becomes of it.
#[derive(Debug, Clone, Serialize)]
pub struct Moved {
    /// Its name.
    pub id: String,
    /// Where it was.
    pub from: String,
    /// Where it is.
    pub to: String,
    /// `created`, `present`, or `would be created`.
    pub outcome: &'static str,
}

/// What a migration came to.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Migrated {
    /// Whether nothing was written.
    pub dry_run: bool,
    /// What was found, with paths.
    pub forms: Vec<String>,
    /// Tasks, in the order in which they were written.
    pub tasks: Vec<Moved>,
    /// Tasks per queue, as they are to be.
    pub queues: BTreeMap<String, usize>,
    /// Dependencies of the source.
    pub dependencies: usize,
    /// Projects, drafts and messages that were found.
    pub beside: BTreeMap<&'static str, usize>,
    /// What became of them; empty where they stay in the older installation.
    pub records: serde_json::Map<String, Value>,
    /// Tasks that could not be taken over.
    pub failed: usize,
    /// What could not be read or taken over, with its place.
    pub problems: Vec<String>,
}

/// The nearest queue of today.
fn queue_of(old: &str) -> (QueueName, Option<&'static str>) {
    match old {
        "done" | "completed" => (QueueName::done(), None),
        "failed" | "rejected" => (QueueName::failed(), None),
        "cancelled" | "recycled" => (QueueName::cancelled(), None),
        "needs_continuation" => (QueueName::needs_continuation(), None),
        "backlog" => (QueueName::incoming(), Some("it was in the backlog")),
        "provisional" | "escalated" | "requires-intervention" | "needs_attention" => {
            (QueueName::needs_attention(), None)
        }
        // Its agent belongs to the old scheduler; what it waits for is among its blockers.
        _ => (QueueName::incoming(), None),
    }
}

/// Words that old files have among their blockers and that name no task.
const MARKERS: &[&str] = &["awaiting-approval", "paused"];

struct Wanted {
    request: CreateTask,
    from: String,
    hold: Option<String>,
}

fn wanted(old: &OldTask, known: &HashSet<&str>, problems: &mut Vec<String>) -> Result<Wanted> {
    let id = TaskId::parse(&old.id)?;
    let (queue, hold) = queue_of(&old.queue);
    let mut hold = hold.map(str::to_owned);
    let mut blocked_by = Vec::new();
    for blocker in &old.blocked_by {
        if MARKERS.contains(&blocker.as_str()) {
            hold = Some(format!("the older installation says: {blocker}"));
        } else if known.contains(blocker.as_str()) && *blocker != old.id {
            blocked_by.push(TaskId::parse(blocker)?);
        } else {
            problems.push(format!("{}: waits for {blocker}, which is nowhere", old.source));
            hold = Some(format!(
                "it waited for {blocker}, which the older installation does not have"
            ));
        }
    }
    // What cannot be begun again needs no blockers, and a queue other than the first is no place to wait.
    if queue != QueueName::incoming() {
        blocked_by.clear();
        hold = None;
    }
    let mut word = |what: &str, text: &Option<String>| -> Option<String> {
        let text = text.clone()?;
        let good = match what {
            "priority" => text.parse::<Priority>().is_ok(),
            "complexity" => text.parse::<Complexity>().is_ok(),
            _ => Role::parse(&text).is_ok(),
        };
        if !good {
            problems.push(format!("{}: {what} {text:?} is not known and was left out", old.source));
        }
        good.then_some(text)
    };
    let priority = word("priority", &old.priority);
    let complexity = word("complexity", &old.complexity);
    let role = word("role", &old.role);
    let metadata = json!({
        "migrated_from": old.source, "queue": old.queue, "created_at": old.created_at, "completed_at": old.completed_at,
        "execution_notes": old.execution_notes, "attempt_count": old.attempt_count,
        "rejection_count": old.rejection_count, "project_id": old.project_id, "flow": old.flow,
        "pr_number": old.pr_number, "pr_url": old.pr_url, "extra": old.extra,
    });
    let text = |value: &Option<String>| value.clone().filter(|t| !t.trim().is_empty());
    Ok(Wanted {
        from: old.queue.clone(),
        hold,
        request: CreateTask {
            title: text(&old.title).or_else(|| Some(old.id.clone())),
            content: text(&old.content),
            priority: priority.map(|p| p.parse()).transpose()?,
            complexity: complexity.map(|c| c.parse()).transpose()?,
            role: role.map(|r| r.parse()).transpose()?,
            branch: text(&old.branch),
            blocked_by,
            created_by: text(&old.created_by),
            idempotency_key: Some(format!("migrate:{id}")),
            queue: (queue != QueueName::incoming()).then_some(queue),
            annotations: Annotations {
                metadata: Some(without_nulls(metadata)),
                ..Annotations::default()
            },
            id: Some(id),
            ..CreateTask::default()
        },
    })
}

fn without_nulls(mut value: Value) -> Value {
    if let Value::Object(map) = &mut value {
        map.retain(|_, v| !v.is_null());
    }
    value
}

/// Requests such that each comes after those that it waits for; a circle of the source is broken where it closes.
fn in_order(mut wanted: Vec<Wanted>, problems: &mut Vec<String>) -> Vec<Wanted> {
    let mut ordered = Vec::with_capacity(wanted.len());
    while !wanted.is_empty() {
        let left: HashSet<TaskId> = wanted.iter().filter_map(|w| w.request.id.clone()).collect();
        let (ready, mut rest): (Vec<_>, Vec<_>) = wanted
            .into_iter()
            .partition(|w| !w.request.blocked_by.iter().any(|b| left.contains(b)));
        if ready.is_empty()
            && let Some(first) = rest.first_mut()
        {
            let id = first.request.id.as_ref().map_or("", TaskId::as_str).to_owned();
            problems.push(format!("{id}: waits for itself in a circle; it is held instead"));
            first.request.blocked_by.clear();
            first.hold = Some("it waited for itself in a circle".to_owned());
        }
        ordered.extend(ready);
        wanted = rest;
    }
    ordered
}

/// Writes what `source` holds into `target`; nothing with `dry_run`.
pub async fn migrate(source: &Installation, target: &dyn Backend, dry_run: bool) -> Result<Migrated> {
    let mut result = Migrated {
        dry_run,
        forms: source.forms.clone(),
        problems: source.problems.iter().map(ToString::to_string).collect(),
        beside: BTreeMap::from([
            ("projects", source.projects.len()),
            ("drafts", source.drafts.len()),
            ("messages", source.messages.len()),
        ]),
        ..Migrated::default()
    };
    let known: HashSet<&str> = source.tasks.iter().map(|t| t.id.as_str()).collect();
    let mut all = Vec::new();
    for old in &source.tasks {
        match wanted(old, &known, &mut result.problems) {
            Ok(one) => all.push(one),
            Err(error) => {
                result.failed += 1;
                result.problems.push(format!("{}: {error}", old.source));
            }
        }
    }
    let mut expected: HashMap<TaskId, Vec<TaskId>> = HashMap::new();
    for one in in_order(all, &mut result.problems) {
        let Some(id) = one.request.id.clone() else { continue };
        let to = one.request.queue.clone().unwrap_or_else(QueueName::incoming);
        let outcome = match bring(target, &one, dry_run).await {
            Ok(outcome) => outcome,
            Err(error)
                if matches!(
                    error.code(),
                    ErrorCode::InvalidArgument | ErrorCode::AlreadyExists | ErrorCode::NotFound
                ) =>
            {
                result.failed += 1;
                result.problems.push(format!("{id}: {error}"));
                continue;
            }
            Err(error) => return Err(error),
        };
        *result.queues.entry(to.to_string()).or_default() += 1;
        result.dependencies += one.request.blocked_by.len();
        expected.insert(id.clone(), one.request.blocked_by.clone());
        result.tasks.push(Moved {
            id: id.to_string(),
            from: one.from,
            to: to.to_string(),
            outcome,
        });
    }
    if !dry_run {
        verify(target, &expected).await?;
    }
    Ok(result)
}

async fn bring(target: &dyn Backend, one: &Wanted, dry_run: bool) -> Result<&'static str> {
    let present = match &one.request.id {
        Some(id) => match target.task(id).await {
            Ok(task) => Some(task),
            Err(error) if error.code() == ErrorCode::NotFound => None,
            Err(error) => return Err(error),
        },
        None => None,
    };
    if let Some(task) = present {
        is_ours(&task)?;
        // An earlier run ended between the two.
        if let (Some(reason), 1, None, false) = (&one.hold, task.version, &task.hold, dry_run) {
            let command = Command::Hold {
                by: "migrate".into(),
                reason: reason.clone(),
            };
            target.apply(&task.id, command).await?;
        }
        return Ok("present");
    }
    if dry_run {
        return Ok("would be created");
    }
    let task = target.create(one.request.clone()).await?;
    if let Some(reason) = &one.hold {
        let command = Command::Hold {
            by: "migrate".into(),
            reason: reason.clone(),
        };
        target.apply(&task.id, command).await?;
    }
    Ok("created")
}

/// A task of that name that somebody else made is not touched.
fn is_ours(task: &Task) -> Result<()> {
    let from = task.annotations.metadata.as_ref().and_then(|m| m.get("migrated_from"));
    if from.is_some() {
        return Ok(());
    }
    Err(Error::new(
        ErrorCode::AlreadyExists,
        format!(
            "a task of that name is here already and does not come from an older installation ({})",
            task.title
        ),
    ))
}

/// Every task is there, with every dependency of the source.
async fn verify(target: &dyn Backend, expected: &HashMap<TaskId, Vec<TaskId>>) -> Result<()> {
    for (id, blockers) in expected {
        let shown = target.show(id).await?;
        if let Some(missing) = blockers.iter().find(|b| !shown.blocked_by.contains(b)) {
            // What was changed here since an earlier run is the person's own.
            if shown.task.version == 1 {
                return Err(Error::new(
                    ErrorCode::Internal,
                    format!("task {id} was migrated, but does not wait for {missing} as it did"),
                ));
            }
        }
    }
    Ok(())
}
