//! `octopoid project`, `draft`: what is kept beside the tasks.

use octopoid_core::{
    Error,
    id::TaskId,
    model::{CreateTask, Task},
};
use serde_json::{Map, Value, json};

use super::me;
use crate::{
    cli::{Draft, Global, Project, ProjectFields},
    open,
    output::Output,
};

/// The fields that were given.
fn given(fields: &[(&str, Option<String>)]) -> Map<String, Value> {
    fields
        .iter()
        .filter_map(|(name, value)| Some(((*name).to_owned(), json!(value.as_ref()?))))
        .collect()
}

fn more(fields: ProjectFields) -> Map<String, Value> {
    given(&[
        ("description", fields.description),
        ("status", fields.status),
        ("base_branch", fields.base_branch),
    ])
}

fn word(row: &Value, name: &str) -> String {
    match &row[name] {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn line(row: &Value) -> String {
    format!("{}  {}  {}", word(row, "id"), word(row, "status"), word(row, "title"))
}

fn list(name: &str, rows: Vec<Value>, total: usize, output: &Output) -> Result<u8, Error> {
    for row in &rows {
        output.text(&line(row))?;
    }
    output.json(&json!({ name: rows, "total": total }))?;
    Ok(0)
}

/// One row: a line, and everything that it holds when it is to be shown.
fn one(row: &Value, whole: bool, output: &Output) -> Result<u8, Error> {
    output.json(row)?;
    output.text(&line(row))?;
    let rest = row.as_object().into_iter().flatten();
    for (name, _) in rest.filter(|(n, v)| whole && !v.is_null() && !matches!(n.as_str(), "id" | "status" | "title")) {
        output.text(&format!("  {name}: {}", word(row, name)))?;
    }
    Ok(0)
}

fn gone(id: &str, output: &Output) -> Result<u8, Error> {
    output.json(&json!({ "id": id, "deleted": true }))?;
    output.text(&format!("{id} is deleted"))?;
    Ok(0)
}

pub(crate) async fn project(command: Project, global: &Global, output: &Output) -> Result<u8, Error> {
    let octopoid = open(global)?;
    let projects = octopoid.projects();
    match command {
        Project::Create {
            id,
            title,
            branch,
            more: fields,
        } => {
            let mut body = more(fields);
            let base = octopoid.backend().rules().base_branch.clone();
            body.entry("base_branch").or_insert_with(|| json!(base));
            body.insert(
                "branch".into(),
                json!(branch.unwrap_or_else(|| format!("project/{id}"))),
            );
            body.insert("id".into(), json!(id));
            body.insert("title".into(), json!(title));
            body.insert("created_by".into(), json!(me()));
            one(&projects.create(Value::Object(body)).await?, false, output)
        }
        Project::List { status } => {
            let filters: Vec<(&str, &str)> = status.iter().map(|s| ("status", s.as_str())).collect();
            let listing = projects.list(&filters).await?;
            list("projects", listing.rows, listing.total, output)
        }
        Project::Show { id } => one(&projects.get(&id).await?, true, output),
        Project::Update {
            id,
            title,
            more: fields,
        } => {
            let mut body = more(fields);
            body.extend(given(&[("title", title)]));
            one(&projects.update(&id, Value::Object(body)).await?, false, output)
        }
        Project::Delete { id } => {
            projects.delete(&id).await?;
            gone(&id, output)
        }
    }
}

pub(crate) async fn draft(command: Draft, global: &Global, output: &Output) -> Result<u8, Error> {
    let octopoid = open(global)?;
    let drafts = octopoid.drafts();
    match command {
        Draft::Create { title, body } => {
            let mut fields = given(&[("content", body)]);
            fields.insert("title".into(), json!(title));
            fields.insert("author".into(), json!(me()));
            one(&drafts.create(Value::Object(fields)).await?, false, output)
        }
        Draft::List { status } => {
            let filters: Vec<(&str, &str)> = status.iter().map(|s| ("status", s.as_str())).collect();
            let listing = drafts.list(&filters).await?;
            list("drafts", listing.rows, listing.total, output)
        }
        Draft::Show { id } => one(&drafts.get(id).await?, true, output),
        Draft::Update {
            id,
            title,
            body,
            status,
        } => {
            let fields = given(&[("title", title), ("content", body), ("status", status)]);
            one(&drafts.update(id, Value::Object(fields)).await?, false, output)
        }
        Draft::Delete { id } => {
            drafts.delete(id).await?;
            gone(&id.to_string(), output)
        }
        Draft::Promote { id } => {
            let draft = drafts.get(id).await?;
            if let Some(linked) = draft["linked_task_id"].as_str() {
                let task = octopoid.tasks().get(&TaskId::parse(linked)?).await?;
                return promoted(&task, output);
            }
            let wanted = CreateTask {
                title: draft["title"].as_str().map(str::to_owned),
                content: draft["content"].as_str().map(str::to_owned),
                created_by: Some(me()),
                // Asked for again, it is the same task.
                idempotency_key: Some(format!("draft-{id}")),
                ..CreateTask::default()
            };
            let task = octopoid.tasks().create(wanted).await?;
            let linked = json!({ "linked_task_id": task.id, "status": "complete" });
            drafts.update(id, linked).await?;
            promoted(&task, output)
        }
    }
}

fn promoted(task: &Task, output: &Output) -> Result<u8, Error> {
    output.json(task)?;
    output.text(&format!("{}  {}", task.id, task.queue))?;
    Ok(0)
}
