//! Folders of task files for scripts: read, write, list, move.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use super::task_file;
use crate::{
    error::{Error, Result},
    id::{SystemEntropy, TaskId, new_task_id, random_hex},
    model::Priority,
    wire::{self, Fields},
};

/// A fresh task id.
pub fn generate_task_id() -> Result<String> {
    Ok(new_task_id(&SystemEntropy)?.to_string())
}

/// Reads one file: the fields of a request for a task, and `path`. A file that names no id has that of its name, where a
/// task can have it.
pub fn read_task_file(path: &Path) -> Result<Value> {
    let bytes = fs::read(path).map_err(|e| Error::io("read", path, e))?;
    let task = task_file::parse(&bytes, &path.display().to_string())?;
    let stem = path
        .file_stem()
        .map(|s| s.to_string_lossy().into_owned())
        .unwrap_or_default();
    // The name of a file need not be one that a task can have.
    let named = TaskId::parse(stem.strip_prefix("TASK-").unwrap_or(&stem)).ok();
    let id = task.id.clone().or(named);
    Ok(json!({
        "id": id,
        "title": task.title,
        "content": task.content,
        "role": task.role,
        "priority": task.priority.unwrap_or(Priority::P2),
        "complexity": task.complexity,
        "branch": task.branch,
        "flow": task.flow,
        "project_id": task.project_id,
        "blocked_by": task.blocked_by,
        "checks": task.checks,
        "paths": task.paths,
        "created_by": task.created_by,
        "path": path,
    }))
}

/// Writes a task into a folder as `TASK-<id>.md`, or into exactly the file that is named; gives the file. A task without an id
/// gets one. The file is there as a whole or not at all.
pub fn write_task_file(place: &Path, task: &Value) -> Result<PathBuf> {
    let Value::Object(map) = task else {
        return Err(Error::invalid("a task is an object with a title and more"));
    };
    let mut map = map.clone();
    map.remove("path");
    let known = [
        "id",
        "title",
        "content",
        "role",
        "priority",
        "complexity",
        "branch",
        "flow",
        "project_id",
        "blocked_by",
        "checks",
        "paths",
        "created_by",
    ];
    if let Some(key) = map.keys().find(|k| !known.contains(&k.as_str())) {
        return Err(Error::invalid(format!("a task file has no field {key:?}"))
            .with_hint(format!("it has: {}", known.join(", "))));
    }
    let mut request = wire::create_task(&Fields(map), true)?;
    let id = match &request.id {
        Some(id) => id.clone(),
        None => new_task_id(&SystemEntropy)?,
    };
    request.id = Some(id.clone());
    if request.title.is_none() && request.content.is_none() {
        return Err(Error::invalid("a task needs a title or a content"));
    }
    let is_file = place.extension().is_some_and(|e| e == "md");
    let file = if is_file {
        place.to_path_buf()
    } else {
        place.join(format!("TASK-{id}.md"))
    };
    let folder = file.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(|e| Error::io("create", folder, e))?;
    let half = file.with_extension(format!("md.{}.part", random_hex(&SystemEntropy, 4)?));
    let text = task_file::write(&request)?;
    let written = fs::File::create_new(&half)
        .and_then(|mut to| to.write_all(text.as_bytes()).and_then(|()| to.sync_all()))
        .and_then(|()| fs::rename(&half, &file));
    if let Err(error) = written {
        // What is left of it is nobody's; that it could not be written is what counts.
        let _ = fs::remove_file(&half);
        return Err(Error::io("write", &file, error));
    }
    Ok(file)
}

/// The task files of a folder, by priority, then by name; none when the folder is not there.
pub fn list_task_files(folder: &Path) -> Result<Vec<Value>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Error::io("read", folder, e)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(|e| Error::io("read", folder, e))?.path();
        if path.extension().is_some_and(|e| e == "md") {
            paths.push(path);
        }
    }
    paths.sort();
    let mut tasks = paths.iter().map(|p| read_task_file(p)).collect::<Result<Vec<_>>>()?;
    tasks.sort_by_key(|t| {
        t["priority"]
            .as_str()
            .and_then(|p| p.parse::<Priority>().ok())
            .unwrap_or(Priority::P2)
    });
    Ok(tasks)
}

/// Copies a file to where none is; as a whole or not at all.
fn copy_new(from: &Path, to: &Path) -> std::io::Result<()> {
    let mut file = fs::File::create_new(to)?;
    let copied = fs::File::open(from)
        .and_then(|mut from| std::io::copy(&mut from, &mut file))
        .and_then(|_| file.sync_all());
    if copied.is_err() {
        // The half of it that is there is ours; why it is only half is what counts.
        let _ = fs::remove_file(to);
    }
    copied
}

/// Moves a task file into another folder; gives its new place. A file that is there is not overwritten.
pub fn move_task_file(path: &Path, folder: &Path) -> Result<PathBuf> {
    let name = path
        .file_name()
        .ok_or_else(|| Error::invalid(format!("{} names no file", path.display())))?;
    let target = folder.join(name);
    if !path.is_file() {
        return Err(Error::not_found("task file", path.display()));
    }
    fs::create_dir_all(folder).map_err(|e| Error::io("create", folder, e))?;
    let linked = match fs::hard_link(path, &target) {
        // Another file system, or one without links.
        Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => copy_new(path, &target),
        linked => linked,
    };
    match linked {
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
            return Err(Error::invalid(format!(
                "{} is there already; nothing was moved",
                target.display()
            )));
        }
        Err(e) => return Err(Error::io("move", path, e)),
        Ok(()) => {}
    }
    fs::remove_file(path).map_err(|e| Error::io("remove the moved", path, e))?;
    Ok(target)
}
