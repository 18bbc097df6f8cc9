//! The rest of an older installation: projects, drafts and messages, where the database itself is at hand.

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::legacy::{Installation, OldMessage, OldRecord};
use crate::{
    engine::registry::{Registry, Window},
    error::{ErrorCode, Result},
    id::{ProjectId, Scope, TaskId, to_hex},
    model::{MessageFilter, Post},
    wire::Fields,
};

/// All of a list.
const ALL: Window = Window {
    limit: u32::MAX,
    offset: 0,
};

fn text(body: &Map<String, Value>, names: &[&str]) -> Option<String> {
    names
        .iter()
        .find_map(|name| body.get(*name).and_then(Value::as_str))
        .map(str::to_owned)
        .filter(|t| !t.trim().is_empty())
}

/// Writes projects, drafts and messages into `scope`; what is there already stays. Gives the counts of each and what
/// could not be taken over.
pub async fn migrate_records(
    source: &Installation,
    registry: &Registry,
    scope: &Scope,
    dry_run: bool,
) -> Result<(Map<String, Value>, Vec<String>)> {
    let mut counts = Map::new();
    let mut problems = Vec::new();
    let mut note = |kind: &str, source: &str, outcome: Result<bool>| -> Result<()> {
        match outcome {
            Ok(is_new) => {
                let word = format!("{kind}_{}", if is_new { "created" } else { "present" });
                let count = counts.get(&word).and_then(Value::as_u64).unwrap_or(0);
                counts.insert(word, json!(count + 1));
                Ok(())
            }
            Err(error) if matches!(error.code(), ErrorCode::InvalidArgument | ErrorCode::AlreadyExists) => {
                problems.push(format!("{source}: {error}"));
                Ok(())
            }
            Err(error) => Err(error),
        }
    };
    for old in &source.projects {
        note("projects", &old.source, project(old, registry, scope, dry_run).await)?;
    }
    for old in &source.drafts {
        note("drafts", &old.source, draft(old, registry, scope, dry_run).await)?;
    }
    for old in &source.messages {
        note("messages", &old.source, message(old, registry, scope, dry_run).await)?;
    }
    Ok((counts, problems))
}

async fn project(old: &OldRecord, registry: &Registry, scope: &Scope, dry_run: bool) -> Result<bool> {
    let id = ProjectId::parse(&old.id)?;
    match registry.project(scope, id.as_str()).await {
        Ok(_) => return Ok(false),
        Err(error) if error.code() == ErrorCode::NotFound => {}
        Err(error) => return Err(error),
    }
    if dry_run {
        return Ok(true);
    }
    let fields = json!({
        "id": id,
        "title": text(&old.body, &["title", "name"]).unwrap_or_else(|| old.id.clone()),
        "branch": text(&old.body, &["branch"]).unwrap_or_else(|| format!("project/{id}")),
        "base_branch": text(&old.body, &["base_branch"]),
        "description": text(&old.body, &["description", "content", "goal"]),
        "status": text(&old.body, &["status"]),
        "created_by": text(&old.body, &["created_by"]),
    });
    registry.create_project(scope, &fields_of(fields)).await.map(|_| true)
}

fn fields_of(value: Value) -> Fields {
    match value {
        Value::Object(map) => Fields(map),
        _ => Fields::default(),
    }
}

/// A draft has no name that stays; where it came from is its mark.
async fn draft(old: &OldRecord, registry: &Registry, scope: &Scope, dry_run: bool) -> Result<bool> {
    let mark = format!("{}#{}", old.source, old.id);
    let found = registry.drafts(scope, &[], ALL).await?;
    if found.rows.iter().any(|row| row["file_path"] == mark.as_str()) {
        return Ok(false);
    }
    if dry_run {
        return Ok(true);
    }
    let fields = json!({
        "title": text(&old.body, &["title", "summary"]).unwrap_or_else(|| old.id.clone()),
        "author": text(&old.body, &["author", "proposer", "created_by"]).unwrap_or_else(|| "migrate".to_owned()),
        "status": text(&old.body, &["status"]),
        "domain": text(&old.body, &["domain", "category", "kind"]),
        "content": text(&old.body, &["content", "body"]),
        "tags": old.body.get("tags").filter(|t| t.is_array()),
        "file_path": mark,
    });
    registry.create_draft(scope, &fields_of(fields)).await.map(|_| true)
}

async fn message(old: &OldMessage, registry: &Registry, scope: &Scope, dry_run: bool) -> Result<bool> {
    let task = old.task_id.clone().unwrap_or_else(|| "migrated".to_owned());
    let seed = format!("{}\0{}\0{}\0{:?}", old.source, task, old.content, old.at);
    let uid = format!("msg-migrated-{}", &to_hex(&Sha256::digest(seed))[..20]);
    let filter = MessageFilter {
        thread: Some(uid.clone()),
        ..MessageFilter::default()
    };
    if registry.list_messages(scope, filter).await?.total > 0 {
        return Ok(false);
    }
    if dry_run {
        return Ok(true);
    }
    let post = Post {
        uid,
        task_id: TaskId::parse(&task)?,
        from: old.from.clone().unwrap_or_else(|| "unknown".to_owned()),
        to: old.to.clone(),
        kind: Some(old.kind.clone())
            .filter(|k| !k.is_empty())
            .unwrap_or_else(|| "comment".to_owned()),
        content: old.content.clone(),
        // Names of messages are new; what answered what stays in the text's place in the thread.
        parent: None,
    };
    let at = old.at.unwrap_or_else(|| registry.now());
    registry.store().post(scope, post, at).await.map(|_| true)
}
