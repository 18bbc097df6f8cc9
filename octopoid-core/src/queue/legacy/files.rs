//! Queue folders with task files, and how files and folders are looked at.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{Reading, fields, markdown};

/// A text larger than this is no task.
const LARGEST: u64 = 32 * 1024 * 1024;

/// Names that queues had, and how far along a task in them is.
const QUEUES: &[(&str, u8)] = &[
    ("done", 100),
    ("completed", 100),
    ("cancelled", 95),
    ("recycled", 90),
    ("rejected", 88),
    ("failed", 85),
    ("provisional", 80),
    ("children_complete", 78),
    ("needs_attention", 70),
    ("requires-intervention", 70),
    ("escalated", 70),
    ("needs_continuation", 65),
    ("claimed", 60),
    ("breakdown", 30),
    ("incoming", 20),
    ("blocked", 15),
    ("backlog", 10),
    ("", 0),
];

/// What a queue of a flow counts: a place of review.
const OTHER_QUEUE: u8 = 75;

/// How far along a task in `queue` is.
pub(super) fn rank(queue: &str) -> u8 {
    QUEUES
        .iter()
        .find(|(name, _)| *name == queue)
        .map_or(OTHER_QUEUE, |(_, rank)| *rank)
}

/// Whether nothing more happens to a task in `queue`.
pub(super) fn is_ended(queue: &str) -> bool {
    rank(queue) >= rank("failed")
}

fn is_queue(name: &str) -> bool {
    !name.is_empty() && QUEUES.iter().any(|(known, _)| *known == name)
}

/// How strictly a folder is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    /// It was made for queues: each folder in it is one, each markdown file there is a task.
    Ours,
    /// It may be anybody's: only known queues and files that look like tasks count.
    Anybodys,
}

/// What lies in `dir`, by name. A folder that is not there holds nothing.
pub(super) fn entries(reading: &mut Reading, dir: &Path) -> Vec<PathBuf> {
    let listed = match fs::read_dir(dir) {
        Ok(listed) => listed,
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Vec::new(),
        Err(e) => {
            reading.problem(dir.display(), format!("the folder cannot be read: {e}"));
            return Vec::new();
        }
    };
    let mut found = Vec::new();
    for entry in listed {
        match entry {
            Ok(entry) => found.push(entry.path()),
            Err(e) => reading.problem(dir.display(), format!("the folder cannot be read to its end: {e}")),
        }
    }
    found.sort();
    found
}

/// The files in `dir` whose names end in `.ending`, by name.
pub(super) fn with_ending(reading: &mut Reading, dir: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = entries(reading, dir);
    found.retain(|path| has_ending(path, ending) && !is_hidden(path) && !path.is_dir());
    found
}

/// The last part of a path as text.
pub(super) fn file_name(path: &Path) -> String {
    path.file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// The name of a file without its ending.
pub(super) fn stem(path: &Path) -> String {
    path.file_stem()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

fn has_ending(path: &Path, ending: &str) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case(ending))
}

fn is_hidden(path: &Path) -> bool {
    file_name(path).starts_with('.')
}

/// The bytes of a file of reasonable size, or why there are none.
pub(super) fn bytes(path: &Path) -> Result<Vec<u8>, String> {
    let about = fs::metadata(path).map_err(|e| format!("it cannot be read: {e}"))?;
    if !about.is_file() {
        return Err("it is not a file".to_owned());
    }
    if about.len() > LARGEST {
        return Err(format!("it is too large ({} MB)", about.len() / (1024 * 1024)));
    }
    fs::read(path).map_err(|e| format!("it cannot be read: {e}"))
}

/// The text of a file, or why there is none.
pub(super) fn text(path: &Path) -> Result<String, String> {
    markdown::decode(&bytes(path)?)
}

/// Reads the queues in `root`: `root/<queue>/*.md`, and task files that lie in `root` itself.
pub(super) fn queues(reading: &mut Reading, root: &Path, trust: Trust) {
    if !root.is_dir() || !reading.is_new(root) {
        return;
    }
    let before = reading.files.len();
    let mut folders = 0;
    for path in entries(reading, root) {
        let name = file_name(&path);
        if is_hidden(&path) {
            continue;
        }
        if path.is_dir() {
            if is_queue(&name) || trust == Trust::Ours {
                folders += 1;
                queue(reading, &path, &name, trust);
            }
        } else if has_ending(&path, "md") {
            if looks_like_task(&path) {
                task(reading, &path, None);
            } else if trust == Trust::Ours {
                reading.problem(
                    path.display(),
                    "it lies in no queue and does not look like a task; not read",
                );
            }
        }
    }
    let found = reading.files.len() - before;
    if found > 0 || (folders > 0 && trust == Trust::Ours) {
        reading.form(format!("queue folders {}: {found} task files", root.display()));
    }
}

fn queue(reading: &mut Reading, dir: &Path, name: &str, trust: Trust) {
    for path in entries(reading, dir) {
        if is_hidden(&path) {
            continue;
        }
        let is_task = has_ending(&path, "md") && !path.is_dir();
        if is_task && (trust == Trust::Ours || looks_like_task(&path)) {
            task(reading, &path, Some(name));
        } else if trust == Trust::Ours && !["lock", "json"].iter().any(|e| has_ending(&path, e)) {
            reading.problem(path.display(), "it lies in a queue but is no task file; not read");
        }
    }
}

/// By its name or by its first words.
fn looks_like_task(path: &Path) -> bool {
    let name = file_name(path).to_lowercase();
    if name.starts_with("task-") || name.starts_with("gh-") {
        return true;
    }
    let Ok(text) = text(path) else {
        return false;
    };
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    match lines.next() {
        Some("---") => lines
            .take_while(|line| *line != "---")
            .any(|line| line.starts_with("queue:") || line.starts_with("priority:")),
        Some(line) => line.starts_with("# [TASK-"),
        None => false,
    }
}

fn task(reading: &mut Reading, path: &Path, queue: Option<&str>) {
    let source = path.display().to_string();
    let parsed = text(path).and_then(|text| markdown::parse(&text, &source, &mut reading.found.problems));
    let mut fields = match parsed {
        Ok(fields) => fields,
        Err(why) => return reading.problem(source, why),
    };
    if fields.get("id").and_then(fields::words).is_none() {
        fields.insert("id".to_owned(), Value::String(stem(path)));
    }
    if let Some(queue) = queue {
        let said = fields.insert("queue".to_owned(), Value::String(queue.to_owned()));
        // A file is moved when its task moves on; what it says inside stays as it was.
        if let Some(said) = said.filter(|said| said.as_str() != Some(queue)) {
            fields.insert("file_queue".to_owned(), said);
        }
    }
    let told = fields::task(fields, &source, &mut reading.found.problems);
    reading.files.push(told);
}
