//! One record for each task out of everything that tells of it: the database decides where it stands, the file what it says.

use std::{
    collections::BTreeMap,
    mem,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{OldRecord, OldTask, Problem, Reading, fields::Told, files, markdown};

type Tasks = BTreeMap<String, Told>;

/// Makes one task of each id.
pub(super) fn tasks(reading: &mut Reading) -> Vec<OldTask> {
    let mut problems = mem::take(&mut reading.found.problems);
    let mut tasks = furthest(mem::take(&mut reading.rows), &mut problems);
    for told in tasks.values_mut() {
        own_text(told);
    }
    let mut files = furthest(mem::take(&mut reading.files), &mut problems);
    let done: Vec<String> = tasks
        .values()
        .chain(files.values())
        .filter(|told| files::rank(&told.task.queue) == files::rank("done"))
        .map(|told| told.task.id.clone())
        .collect();
    for (id, told) in &mut tasks {
        match files.remove(id) {
            Some(file) => join(told, file, &done, &mut problems),
            None => text_by_path(told, &done, &mut problems),
        }
    }
    for (id, mut told) in files {
        place(&mut told.task, &mut problems);
        tasks.insert(id, told);
    }
    hints(&mut tasks, mem::take(&mut reading.hints), &mut problems);
    beside(&mut tasks, reading, &mut problems);
    for told in tasks.values() {
        let task = &told.task;
        if task.content.is_none() && !files::is_ended(&task.queue) {
            problems.push(problem(&task.source, format!("task {} has no text", task.id)));
        }
    }
    reading.found.problems = problems;
    tasks.into_values().map(|told| told.task).collect()
}

fn problem(source: &str, what: String) -> Problem {
    Problem {
        source: source.to_owned(),
        what,
    }
}

/// The furthest-along of those with one id; of equals the first.
fn furthest(all: Vec<Told>, problems: &mut Vec<Problem>) -> Tasks {
    let mut found = Tasks::new();
    for new in all {
        let Some(old) = found.remove(&new.task.id) else {
            found.insert(new.task.id.clone(), new);
            continue;
        };
        let (mut kept, other) = if files::rank(&new.task.queue) > files::rank(&old.task.queue) {
            (new, old)
        } else {
            (old, new)
        };
        problems.push(problem(
            &other.task.source,
            format!(
                "task {} is there twice; {} ({}) is kept instead of this one ({})",
                kept.task.id,
                kept.task.source,
                shown(&kept.task.queue),
                shown(&other.task.queue)
            ),
        ));
        fill(&mut kept.task, other.task);
        found.insert(kept.task.id.clone(), kept);
    }
    found
}

fn shown(queue: &str) -> &str {
    if queue.is_empty() { "no queue" } else { queue }
}

/// Whether the title says no more than the id.
fn is_untitled(task: &OldTask) -> bool {
    task.title
        .as_deref()
        .is_none_or(|title| super::fields::bare_id(title) == task.id)
}

/// Takes over what does not change in a task's life, where it is missing.
fn fill(task: &mut OldTask, other: OldTask) {
    if is_untitled(task) && other.title.is_some() {
        task.title = other.title;
    }
    let pairs = [
        (&mut task.content, other.content),
        (&mut task.priority, other.priority),
        (&mut task.complexity, other.complexity),
        (&mut task.role, other.role),
        (&mut task.branch, other.branch),
        (&mut task.flow, other.flow),
        (&mut task.project_id, other.project_id),
        (&mut task.created_by, other.created_by),
        (&mut task.execution_notes, other.execution_notes),
        (&mut task.pr_url, other.pr_url),
    ];
    for (mine, theirs) in pairs {
        if mine.is_none() {
            *mine = theirs;
        }
    }
    task.created_at = task.created_at.or(other.created_at);
    task.pr_number = task.pr_number.or(other.pr_number);
}

/// Parts the text that a row holds into heading, header and body, as a file's.
fn own_text(told: &mut Told) {
    let task = &mut told.task;
    let Some(text) = task.content.take() else {
        return;
    };
    let is_page = text.trim_start().starts_with("# [TASK-");
    // The row is the source; what is odd in its text is no problem of its own.
    let mut ignored = Vec::new();
    let parsed = is_page.then(|| markdown::parse(&text, &task.source, &mut ignored));
    if let Some(Ok(fields)) = parsed {
        let mut page = super::fields::task(fields, &task.source, &mut ignored).task;
        page.execution_notes = None;
        page.pr_url = None;
        page.pr_number = None;
        for (key, value) in mem::take(&mut page.extra) {
            task.extra.entry(key).or_insert(value);
        }
        fill(task, page);
    }
    if task.content.is_none() {
        task.content = Some(text);
    }
}

/// Joins a row and its file.
fn join(row: &mut Told, file: Told, done: &[String], problems: &mut Vec<Problem>) {
    let tells_blockers = row.tells_blockers;
    let Told { task: file, .. } = file;
    let task = &mut row.task;
    if file.content.is_some() {
        task.content.clone_from(&file.content);
    }
    if task.queue.is_empty() {
        task.queue.clone_from(&file.queue);
    }
    if !file.queue.is_empty() && file.queue != task.queue {
        // Claims never moved the file, so one that lags behind is nothing unusual.
        if files::rank(&file.queue) > files::rank(&task.queue) {
            problems.push(problem(
                &file.source,
                format!(
                    "task {} lies in {}, but the database says {}; the database is believed",
                    task.id, file.queue, task.queue
                ),
            ));
        }
        task.extra
            .insert("file_queue".to_owned(), Value::String(file.queue.clone()));
    }
    if !tells_blockers {
        task.blocked_by.clone_from(&file.blocked_by);
    } else if task.blocked_by != file.blocked_by && !file.blocked_by.is_empty() {
        let open = |id: &&String| !task.blocked_by.contains(id) && !done.contains(id);
        let open: Vec<&str> = file.blocked_by.iter().filter(open).map(String::as_str).collect();
        if !open.is_empty() && !files::is_ended(&task.queue) {
            problems.push(problem(
                &file.source,
                format!(
                    "task {} waits for {} here, but not in the database; the database is believed",
                    task.id,
                    open.join(", ")
                ),
            ));
        }
        let said: Vec<Value> = file.blocked_by.iter().cloned().map(Value::String).collect();
        task.extra.insert("file_blocked_by".to_owned(), Value::Array(said));
    }
    if task.completed_at.is_none() && files::rank(&task.queue) == files::rank("done") {
        task.completed_at = file.completed_at;
    }
    for (key, value) in &file.extra {
        task.extra.entry(key.as_str()).or_insert_with(|| value.clone());
    }
    task.source = format!("{}; text: {}", task.source, file.source);
    fill(task, file);
}

/// Looks for the text of a row where the row says that it lies.
fn text_by_path(told: &mut Told, done: &[String], problems: &mut Vec<Problem>) {
    if told.task.content.is_some() {
        return;
    }
    let Some(path) = named_file(told) else {
        return;
    };
    let source = path.display().to_string();
    match files::text(&path).and_then(|text| markdown::parse(&text, &source, problems)) {
        Ok(fields) => {
            let file = super::fields::task(fields, &source, problems);
            join(told, file, done, problems);
        }
        Err(why) => problems.push(problem(&source, why)),
    }
}

/// The markdown file of the project that `file_path` names.
fn named_file(told: &Told) -> Option<PathBuf> {
    let home = told.home.as_deref()?.canonicalize().ok()?;
    let named = told.task.extra.get("file_path")?.as_str()?;
    let path = home.join(named).canonicalize().ok()?;
    let is_text = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("md"));
    (is_text && path.is_file() && path.starts_with(&home)).then_some(path)
}

/// Gives a task that lies in no queue folder the queue that its stamps tell.
fn place(task: &mut OldTask, problems: &mut Vec<Problem>) {
    if !task.queue.is_empty() {
        return;
    }
    let has = |key: &str| task.extra.contains_key(key);
    let queue = if task.completed_at.is_some() || has("accepted_by") {
        "done"
    } else if has("failed_at") {
        "failed"
    } else if has("submitted_at") {
        "provisional"
    } else if has("claimed_at") {
        "claimed"
    } else {
        "incoming"
    };
    task.queue = queue.to_owned();
    problems.push(problem(
        &task.source,
        format!("task {} lies in no queue; by what its file says it is {queue}", task.id),
    ));
}

/// Fills tasks from copies; one that only a copy knows becomes a task.
fn hints(tasks: &mut Tasks, hints: Vec<Told>, problems: &mut Vec<Problem>) {
    let mut unknown = Vec::new();
    for mut hint in hints {
        own_text(&mut hint);
        match tasks.get_mut(&hint.task.id) {
            Some(told) => {
                if !told.tells_blockers && told.task.blocked_by.is_empty() && hint.tells_blockers {
                    told.task.blocked_by.clone_from(&hint.task.blocked_by);
                    told.tells_blockers = true;
                }
                fill(&mut told.task, hint.task);
            }
            None => unknown.push(hint),
        }
    }
    // Several copies of one task are no contradiction.
    for (id, mut told) in furthest(unknown, &mut Vec::new()) {
        place(&mut told.task, problems);
        problems.push(problem(
            &told.task.source,
            format!("task {id} is known from this copy only; it may have gone on since"),
        ));
        tasks.insert(id, told);
    }
}

/// Adds notes and history to the tasks that they belong to.
fn beside(tasks: &mut Tasks, reading: &mut Reading, problems: &mut Vec<Problem>) {
    for (id, text, source) in mem::take(&mut reading.notes) {
        match tasks.get_mut(&id) {
            None => problems.push(problem(
                &source,
                format!("task {id} of these notes is unknown; not read"),
            )),
            Some(told) if told.task.execution_notes.is_none() => told.task.execution_notes = Some(text),
            Some(told) => {
                told.task.extra.insert("agent_notes".to_owned(), Value::String(text));
            }
        }
    }
    let mut lost = Vec::new();
    for (id, entries) in mem::take(&mut reading.history) {
        match tasks.get_mut(&id) {
            Some(told) => {
                told.task.extra.insert("history".to_owned(), Value::Array(entries));
            }
            None => lost.push(id),
        }
    }
    if !lost.is_empty() {
        problems.push(problem(
            "task_history",
            format!("it tells of tasks that are gone: {}; not read", lost.join(", ")),
        ));
    }
}

/// Joins the records of databases with those of files, one for each id.
pub(super) fn records(
    kind: &str,
    rows: Vec<OldRecord>,
    documents: Vec<OldRecord>,
    problems: &mut Vec<Problem>,
) -> Vec<OldRecord> {
    let mut found: Vec<OldRecord> = Vec::new();
    for row in rows {
        match found.iter_mut().find(|known| known.id == row.id) {
            None => found.push(row),
            Some(known) => {
                problems.push(problem(
                    &row.source,
                    format!("{kind} {} is there twice; {} is kept", row.id, known.source),
                ));
                add(known, row, false);
            }
        }
    }
    let from_rows = found.len();
    for document in documents {
        let at = found.iter().position(|known| known.id == document.id);
        let at = at.or_else(|| found.iter().take(from_rows).position(|row| is_about(row, &document)));
        let Some(at) = at else {
            found.push(document);
            continue;
        };
        let Some(known) = found.get_mut(at) else {
            continue;
        };
        let is_row = at < from_rows;
        if !is_row {
            problems.push(problem(
                &document.source,
                format!("{kind} {} is there twice; {} is kept", document.id, known.source),
            ));
        }
        add(known, document, is_row);
    }
    found
}

/// Whether a row names the document, or its number begins the document's name.
fn is_about(row: &OldRecord, document: &OldRecord) -> bool {
    let named = row.body.get("file_path").and_then(Value::as_str).unwrap_or_default();
    let is_named = !named.is_empty() && Path::new(named).file_name() == Path::new(&document.source).file_name();
    let number = document.id.split('-').next().unwrap_or_default();
    is_named || (number == row.id && number.bytes().all(|c| c.is_ascii_digit()))
}

fn add(known: &mut OldRecord, other: OldRecord, name_it: bool) {
    for (key, value) in other.body {
        known.body.entry(key).or_insert(value);
    }
    if name_it {
        known.source = format!("{}; text: {}", known.source, other.source);
    }
}
