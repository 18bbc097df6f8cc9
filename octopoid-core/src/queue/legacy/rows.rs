//! The tables of the older databases, of every generation: what their rows become.

use std::path::Path;

use rusqlite::Connection;
use serde_json::{Map, Value};

use super::{
    Reading,
    database::{self, Table},
    fields::{self, Taker},
};

/// Tables that are read.
const READ: &[&str] = &["tasks", "projects", "drafts", "messages", "task_history", "sync_queue"];

/// Tables of a running system; they are of no use to another one.
const RUNTIME: &[&str] = &[
    "agents",
    "api_keys",
    "d1_migrations",
    "flows",
    "orchestrators",
    "roles",
    "schema_info",
];

/// Tables that only databases of this program have, all of them.
const OURS: &[&str] = &["migrations", "attempts", "events", "reviews"];

/// Reads every table of use.
pub(super) fn read(reading: &mut Reading, connection: &Connection, path: &Path, home: &Path, expected: bool) {
    let tables = match database::tables(connection) {
        Ok(tables) => tables,
        Err(why) => return reading.problem(path.display(), format!("the database cannot be read: {why}")),
    };
    let has = |name: &str| tables.iter().any(|table| table == name);
    if OURS.iter().all(|name| has(name)) {
        return reading.form(format!("database {} of this version: not read", path.display()));
    }
    if !READ.iter().any(|name| has(name)) {
        if expected {
            reading.problem(path.display(), "the database has none of the tables that Octopoid had");
        }
        return;
    }
    let mut counts = Vec::new();
    for name in READ.iter().copied().filter(|name| has(name)) {
        let found = table(reading, connection, path, name);
        counts.push(format!("{name} {}", found.len()));
        match name {
            "tasks" => tasks(reading, found, home, has("sync_queue")),
            "projects" | "drafts" => records(reading, found, name),
            "messages" => messages(reading, found),
            "task_history" => history(reading, found),
            _ => offline(reading, found),
        }
    }
    let mut left = Vec::new();
    for name in tables.iter().map(String::as_str) {
        let is_internal = name.starts_with("sqlite_") || name.starts_with("_cf_");
        if READ.contains(&name) || is_internal {
            continue;
        }
        let rows = database::count(connection, name).unwrap_or(-1);
        if rows != 0 && RUNTIME.contains(&name) {
            left.push(name);
        } else if rows != 0 {
            reading.problem(format!("{} table {name}", path.display()), "its rows are not read");
        }
    }
    let mut form = format!("database {}: {}", path.display(), counts.join(", "));
    if !left.is_empty() {
        form.push_str(&format!("; not taken over: {}", left.join(", ")));
    }
    reading.form(form);
}

/// A row with the words that name it.
type Named = (String, Map<String, Value>);

fn table(reading: &mut Reading, connection: &Connection, path: &Path, name: &str) -> Vec<Named> {
    let Table { rows, complaints } = database::table(connection, name);
    let source = |row: usize| format!("{} table {name} row {row}", path.display());
    for (row, what) in complaints {
        reading.problem(source(row), what);
    }
    rows.into_iter().map(|(row, fields)| (source(row), fields)).collect()
}

fn tasks(reading: &mut Reading, rows: Vec<Named>, home: &Path, is_cache: bool) {
    for (source, mut fields) in rows {
        if is_cache && fields.get("blocked_by").is_some_and(Value::is_null) {
            // This generation did not write blockers; an empty column says nothing.
            fields.shift_remove("blocked_by");
        }
        let mut told = fields::task(fields, &source, &mut reading.found.problems);
        if told.task.id.is_empty() {
            reading.problem(source, "the task has no id; not read");
            continue;
        }
        if told.task.queue.is_empty() {
            reading.problem(&source, "the task is in no queue");
        }
        told.home = Some(home.to_path_buf());
        reading.rows.push(told);
    }
}

fn records(reading: &mut Reading, rows: Vec<Named>, kind: &str) {
    for (source, fields) in rows {
        match fields::record(fields, &source) {
            None => reading.problem(source, "it has no id; not read"),
            Some(record) if kind == "projects" => reading.found.projects.push(record),
            Some(mut record) => {
                record
                    .body
                    .entry("kind")
                    .or_insert_with(|| Value::String("draft".to_owned()));
                reading.found.drafts.push(record);
            }
        }
    }
}

fn messages(reading: &mut Reading, rows: Vec<Named>) {
    for (source, fields) in rows {
        let message = fields::message(fields, &source, &mut reading.found.problems);
        reading.found.messages.push(message);
    }
}

fn history(reading: &mut Reading, rows: Vec<Named>) {
    for (source, fields) in rows {
        let mut take = Taker {
            fields,
            source: &source,
            problems: &mut reading.found.problems,
        };
        let id = take.text(&["task_id"]);
        take.text(&["id"]);
        let entry = Value::Object(take.rest());
        match id {
            Some(id) => reading
                .history
                .entry(fields::bare_id(&id).to_owned())
                .or_default()
                .push(entry),
            None => reading.problem(source, "it belongs to no task; not read"),
        }
    }
}

/// Operations that waited for the server. Those that create tell more of a task than its row does.
fn offline(reading: &mut Reading, rows: Vec<Named>) {
    for (source, fields) in rows {
        let is = |name: &str, value: &str| fields.get(name).and_then(Value::as_str) == Some(value);
        let error = fields.get("error").and_then(fields::words);
        let is_sent = fields.get("synced_at").is_some_and(|at| !at.is_null());
        let operation = fields.get("operation").and_then(fields::words).unwrap_or_default();
        if let Some(error) = error.filter(|_| !is_sent) {
            reading.problem(&source, format!("{operation} was refused by the server: {error}"));
        }
        if !is("operation", "create") {
            continue;
        }
        let payload = fields.get("payload").and_then(Value::as_str).unwrap_or_default();
        match serde_json::from_str::<Map<String, Value>>(payload) {
            Ok(mut payload) => {
                if let Some(id) = fields.get("task_id").filter(|id| fields::words(id).is_some()) {
                    payload.entry("id").or_insert_with(|| id.clone());
                }
                let told = fields::task(payload, &source, &mut reading.found.problems);
                if !told.task.id.is_empty() {
                    reading.hints.push(told);
                }
            }
            Err(e) => reading.problem(&source, format!("its payload is not JSON: {e}")),
        }
    }
}
