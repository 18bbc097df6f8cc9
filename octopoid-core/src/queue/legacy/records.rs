//! What lies beside the queues: projects, proposals, breakdowns, drafts, messages, threads, notes and copies of tasks.

use std::path::Path;

use serde_json::{Map, Value};

use super::{
    OldRecord, Reading,
    fields::{self, bare_id},
    files,
};

/// Folders of proposals; their names are the status.
const PROPOSALS: &[&str] = &["active", "promoted", "deferred", "rejected"];

/// Reads the folder `shared` of either generation.
pub(super) fn shared(reading: &mut Reading, shared: &Path) {
    if !shared.is_dir() || !reading.is_new(shared) {
        return;
    }
    projects(reading, &shared.join("projects"));
    let mut found = 0;
    for status in PROPOSALS.iter().copied() {
        found += documents(
            reading,
            &shared.join("proposals").join(status),
            "proposal",
            Some(status),
        );
    }
    tell(reading, "proposals", &shared.join("proposals"), found);
    let breakdowns = shared.join("breakdowns");
    let found = documents(reading, &breakdowns, "breakdown", None);
    tell(reading, "breakdowns", &breakdowns, found);
    threads(reading, &shared.join("threads"));
    notes(reading, &shared.join("notes"));
}

/// Reads documents of drafts that lie in the repository.
pub(super) fn drafts(reading: &mut Reading, dir: &Path) {
    if reading.is_new(dir) {
        let found = documents(reading, dir, "draft", None);
        tell(reading, "drafts", dir, found);
    }
}

fn tell(reading: &mut Reading, what: &str, dir: &Path, found: usize) {
    if found > 0 {
        reading.form(format!("{what} {}: {found} files", dir.display()));
    }
}

fn projects(reading: &mut Reading, dir: &Path) {
    let mut found = 0;
    let mut paths = files::with_ending(reading, dir, "yaml");
    paths.extend(files::with_ending(reading, dir, "yml"));
    for path in paths {
        let source = path.display().to_string();
        let parsed =
            files::text(&path).and_then(|text| yaml_serde::from_str::<Value>(&text).map_err(|e| e.to_string()));
        match parsed {
            Ok(Value::Object(mut body)) => {
                if body.get("id").and_then(fields::words).is_none() {
                    body.insert("id".to_owned(), Value::String(files::stem(&path)));
                }
                if let Some(record) = fields::record(body, &source) {
                    reading.project_files.push(record);
                    found += 1;
                }
            }
            Ok(_) => reading.problem(source, "it is no list of keys; not read"),
            Err(why) => reading.problem(source, why),
        }
    }
    tell(reading, "projects", dir, found);
}

/// Markdown files as records; returns how many.
fn documents(reading: &mut Reading, dir: &Path, kind: &str, status: Option<&str>) -> usize {
    let mut found = 0;
    for path in files::with_ending(reading, dir, "md") {
        let source = path.display().to_string();
        match files::text(&path) {
            Ok(text) if text.trim().is_empty() => reading.problem(source, "the file is empty"),
            Ok(text) => {
                let (title, mut body) = bold_fields(&text);
                body.insert("kind".to_owned(), Value::String(kind.to_owned()));
                if let Some(status) = status {
                    body.insert("status".to_owned(), Value::String(status.to_owned()));
                }
                if let Some(title) = title {
                    body.insert("title".to_owned(), Value::String(title));
                }
                // The name is what other files refer to.
                let id = files::stem(&path);
                body.insert("id".to_owned(), Value::String(id.clone()));
                body.insert("content".to_owned(), Value::String(text));
                reading.draft_files.push(OldRecord { id, body, source });
                found += 1;
            }
            Err(why) => reading.problem(source, why),
        }
    }
    found
}

/// The heading, and the lines `**Key:** value` before the first section.
fn bold_fields(text: &str) -> (Option<String>, Map<String, Value>) {
    let mut title = None;
    let mut found = Map::new();
    for line in text.lines().take_while(|line| !line.starts_with("## ")) {
        if let Some(heading) = line.strip_prefix("# ").filter(|_| title.is_none()) {
            title = Some(heading.trim().to_owned());
        } else if let Some((key, value)) = line.trim().strip_prefix("**").and_then(|rest| rest.split_once(":**")) {
            let key = key.trim().to_lowercase().replace([' ', '-'], "_");
            found.insert(key, Value::String(value.trim().to_owned()));
        }
    }
    (title.filter(|title| !title.is_empty()), found)
}

/// Reads messages to people that were kept as files.
pub(super) fn messages(reading: &mut Reading, dir: &Path) {
    if !dir.is_dir() || !reading.is_new(dir) {
        return;
    }
    let mut found = 0;
    for path in files::with_ending(reading, dir, "md") {
        let source = path.display().to_string();
        match files::text(&path) {
            Ok(text) if text.trim().is_empty() => reading.problem(source, "the file is empty"),
            Ok(text) => {
                let fields = message(&text, &files::stem(&path));
                let message = fields::message(fields, &source, &mut reading.found.problems);
                reading.found.messages.push(message);
                found += 1;
            }
            Err(why) => reading.problem(source, why),
        }
    }
    tell(reading, "messages", dir, found);
}

/// `<type>-<stamp>-<title>.md`: a heading, bold fields, a line of dashes, the text.
fn message(text: &str, name: &str) -> Map<String, Value> {
    let (head, body) = match text.split_once("\n---\n") {
        Some((head, body)) => (head, body.trim()),
        None => ("", text.trim()),
    };
    let (title, mut fields) = bold_fields(head);
    // The heading begins with a picture of the type.
    let pictures = ['\u{2139}', '\u{26a0}', '\u{274c}', '\u{2753}', '\u{fe0f}', ' '];
    let title = title.map(|title| title.trim_start_matches(pictures).to_owned());
    let content = match title.filter(|title| !title.is_empty()) {
        Some(title) => format!("{title}\n\n{body}"),
        None => body.to_owned(),
    };
    let mut parts = name.split('-');
    let mut missing = |key: &str, value: Option<String>| {
        if let Some(value) = value
            && !fields.contains_key(key)
        {
            fields.insert(key.to_owned(), Value::String(value));
        }
    };
    missing("type", parts.next().map(str::to_owned));
    let stamp = parts
        .next()
        .zip(parts.next())
        .map(|(day, hour)| format!("{day}-{hour}"));
    missing("time", stamp.filter(|stamp| fields::time(stamp).is_some()));
    missing("to", Some("human".to_owned()));
    missing("content", Some(content));
    fields
}

/// `TASK-<id>.jsonl`: one entry a line.
fn threads(reading: &mut Reading, dir: &Path) {
    let mut found = 0;
    for path in files::with_ending(reading, dir, "jsonl") {
        let text = match files::text(&path) {
            Ok(text) => text,
            Err(why) => {
                reading.problem(path.display(), why);
                continue;
            }
        };
        found += 1;
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let source = format!("{}:{}", path.display(), index + 1);
            match serde_json::from_str::<Map<String, Value>>(line) {
                Ok(mut entry) => {
                    entry
                        .entry("task_id")
                        .or_insert_with(|| Value::String(bare_id(&files::stem(&path)).to_owned()));
                    let message = fields::message(entry, &source, &mut reading.found.problems);
                    reading.found.messages.push(message);
                }
                Err(e) => reading.problem(source, format!("it is not JSON: {e}")),
            }
        }
    }
    tell(reading, "threads", dir, found);
}

/// `TASK-<id>.md`: what agents noted of their attempts.
fn notes(reading: &mut Reading, dir: &Path) {
    let mut found = 0;
    for path in files::with_ending(reading, dir, "md") {
        let source = path.display().to_string();
        match files::text(&path) {
            Ok(text) => {
                let id = bare_id(&files::stem(&path)).to_owned();
                reading.notes.push((id, text, source));
                found += 1;
            }
            Err(why) => reading.problem(source, why),
        }
    }
    tell(reading, "notes", dir, found);
}

/// Copies of tasks that version 2.0 took from its server when it started agents.
pub(super) fn snapshots(reading: &mut Reading, folder: &Path) {
    let mut found = 0;
    for (base, name) in [("runtime/tasks", "task.json"), ("runtime/agents", "claimed_task.json")] {
        for dir in files::entries(reading, &folder.join(base)) {
            let path = dir.join(name);
            if !path.exists() || !reading.is_new(&path) {
                continue;
            }
            let source = path.display().to_string();
            let parsed = files::text(&path)
                .and_then(|text| serde_json::from_str::<Map<String, Value>>(&text).map_err(|e| e.to_string()));
            let mut fields = match parsed {
                Ok(fields) => fields,
                Err(why) => {
                    reading.problem(source, format!("it is not a task: {why}"));
                    continue;
                }
            };
            found += 1;
            if fields.get("id").and_then(fields::words).is_none() {
                reading.problem(source, "the task has no id; not read");
                continue;
            }
            let id = fields.get("id").and_then(fields::words).unwrap_or_default();
            if let Some(queue) = last_state(folder, bare_id(&id)) {
                let said = fields.insert("queue".to_owned(), Value::String(queue));
                fields.insert("snapshot_queue".to_owned(), said.unwrap_or_default());
            }
            let told = fields::task(fields, &source, &mut reading.found.problems);
            reading.hints.push(told);
        }
    }
    if found > 0 {
        reading.form(format!(
            "copies of tasks {}: {found} files",
            folder.join("runtime").display()
        ));
    }
}

/// Where the log of a task's life says that it went last: `[time] EVENT key=value ...`.
fn last_state(folder: &Path, id: &str) -> Option<String> {
    // An id with a slash would lead elsewhere.
    if id.contains(['/', '\\']) {
        return None;
    }
    let text = files::text(&folder.join(format!("logs/tasks/TASK-{id}.log"))).ok()?;
    let mut state = None;
    for line in text.lines() {
        let mut said = line.split_once("] ").map_or("", |(_, rest)| rest).split_whitespace();
        let next = match said.next().unwrap_or_default() {
            "CREATED" | "REJECTED" => Some("incoming"),
            "CLAIMED" => Some("claimed"),
            "SUBMITTED" => Some("provisional"),
            "ACCEPTED" => Some("done"),
            "FAILED" => Some("failed"),
            "REQUEUED" => said.find_map(|word| word.strip_prefix("to_queue=")),
            _ => None,
        };
        if let Some(next) = next.filter(|next| !next.is_empty()) {
            state = Some(next.to_owned());
        }
    }
    state
}
