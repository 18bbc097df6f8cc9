//! Reads what an older Octopoid left behind (task files, databases, the folders of 2.0) as neutral records, and writes nothing there.

mod database;
mod fields;
mod files;
mod markdown;
mod merge;
mod places;
mod records;
mod rows;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value};

use crate::{
    clock::Timestamp,
    error::{Error, ErrorCode, Result},
};
use fields::Told;

/// What an older installation holds.
#[derive(Debug, Default)]
pub struct Installation {
    /// Which forms were found, with their paths.
    pub forms: Vec<String>,
    /// One record for each task id, ordered by creation (unknown last) and id.
    pub tasks: Vec<OldTask>,
    /// Projects, ordered like the tasks.
    pub projects: Vec<OldRecord>,
    /// Drafts, proposals and breakdowns that wait for approval; `kind` in the body tells which.
    pub drafts: Vec<OldRecord>,
    /// Messages and entries of threads, oldest first (unknown last).
    pub messages: Vec<OldMessage>,
    /// Whatever could not be read, or was there twice, or contradicts itself.
    pub problems: Vec<Problem>,
}

/// A task as the older installation tells it; words are kept as they were written.
#[derive(Debug, Clone, Default, PartialEq)]
#[allow(missing_docs, reason = "same names and meanings as in Task")]
pub struct OldTask {
    /// Without the `TASK-` that file names put in front.
    pub id: String,
    pub title: Option<String>,
    /// The markdown body, without the heading and the `KEY: value` lines.
    pub content: Option<String>,
    /// As the folder or the column calls it, also where that is no queue of today (`completed`, `escalated`, ...).
    pub queue: String,
    pub priority: Option<String>,
    pub complexity: Option<String>,
    pub role: Option<String>,
    /// The base branch.
    pub branch: Option<String>,
    pub flow: Option<String>,
    pub project_id: Option<String>,
    /// Ids, and the words that held tasks back (`awaiting-approval`, `paused`).
    pub blocked_by: Vec<String>,
    pub created_by: Option<String>,
    pub created_at: Option<Timestamp>,
    pub completed_at: Option<Timestamp>,
    /// The column, or else the notes that agents left in a file.
    pub execution_notes: Option<String>,
    pub attempt_count: i64,
    pub rejection_count: i64,
    pub pr_number: Option<i64>,
    pub pr_url: Option<String>,
    /// All other columns and keys that have a value. Beside those of the source there may be `history` (rows of
    /// `task_history`), `agent_notes`, `earlier_values`, `file_queue` and `file_blocked_by` (what the file says where
    /// the database says something else) and `scope`.
    pub extra: Map<String, Value>,
    /// The file, or the database, table and row, that it came from.
    pub source: String,
}

/// A project or draft with whatever was known of it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OldRecord {
    /// Its id as text.
    pub id: String,
    /// All columns and keys that have a value.
    pub body: Map<String, Value>,
    /// Where it came from.
    pub source: String,
}

/// A message of a task's thread, or to a person.
#[derive(Debug, Clone, Default, PartialEq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct OldMessage {
    /// What `parent` of another message refers to; only databases have it.
    pub id: Option<String>,
    pub task_id: Option<String>,
    pub from: Option<String>,
    pub to: Option<String>,
    pub kind: String,
    pub content: String,
    pub at: Option<Timestamp>,
    pub parent: Option<String>,
    /// All other columns and keys that have a value.
    pub extra: Map<String, Value>,
    pub source: String,
}

/// Something that was not taken over as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problem {
    /// The file, or the database, table and row.
    pub source: String,
    /// What is the matter.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.source, self.what)
    }
}

/// Reads the older installation in `dir`: a project's root, or its `.octopoid`, `.orchestrator` or folder of queues.
///
/// Nothing is written there; databases are copied away before they are opened. What cannot be read becomes a
/// [`Problem`] and the rest goes on. Fails with `not_found` when `dir` holds no form of an older installation.
pub fn read(dir: &Path) -> Result<Installation> {
    let about = fs::metadata(dir).map_err(|e| Error::io("open", dir, e))?;
    if !about.is_dir() {
        return Err(
            Error::invalid(format!("{} is not a folder", dir.display())).with_hint("name the folder that it lies in")
        );
    }
    let _readable = fs::read_dir(dir).map_err(|e| Error::io("read", dir, e))?;
    let mut reading = Reading::default();
    places::read(&mut reading, dir);
    if reading.found.forms.is_empty() && reading.found.problems.is_empty() {
        return Err(Error::new(
            ErrorCode::NotFound,
            format!("there is no older installation of Octopoid in {}", dir.display()),
        )
        .with_hint("name the folder that holds .orchestrator/, .octopoid/ or tasks/"));
    }
    Ok(reading.finish())
}

/// What has been read so far.
#[derive(Debug, Default)]
struct Reading {
    found: Installation,
    /// Tasks of databases.
    rows: Vec<Told>,
    /// Tasks of files in queue folders.
    files: Vec<Told>,
    /// Copies of tasks that say less than a row or a file would.
    hints: Vec<Told>,
    /// Files that tell of projects and drafts; rows come first.
    project_files: Vec<OldRecord>,
    draft_files: Vec<OldRecord>,
    /// Task id, text and file of notes that agents left.
    notes: Vec<(String, String, String)>,
    /// Rows of `task_history` by task id.
    history: BTreeMap<String, Vec<Value>>,
    /// Places that were read; two ways may lead to one.
    seen: BTreeSet<PathBuf>,
}

impl Reading {
    fn problem(&mut self, source: impl fmt::Display, what: impl Into<String>) {
        self.found.problems.push(Problem {
            source: source.to_string(),
            what: what.into(),
        });
    }

    fn form(&mut self, text: impl Into<String>) {
        self.found.forms.push(text.into());
    }

    /// Whether `path` has not been read yet; from now on it has.
    fn is_new(&mut self, path: &Path) -> bool {
        let real = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
        self.seen.insert(real)
    }

    fn finish(mut self) -> Installation {
        let mut tasks = merge::tasks(&mut self);
        let mut found = self.found;
        tasks.sort_by(|a, b| order(a.created_at, &a.id).cmp(&order(b.created_at, &b.id)));
        found.tasks = tasks;
        found.projects = merge::records("project", found.projects, self.project_files, &mut found.problems);
        found.drafts = merge::records("draft", found.drafts, self.draft_files, &mut found.problems);
        for records in [&mut found.projects, &mut found.drafts] {
            records.sort_by(|a, b| {
                let at = |record: &OldRecord| record.body.get("created_at").and_then(fields::moment);
                order(at(a), &a.id).cmp(&order(at(b), &b.id))
            });
        }
        // Stable: messages of one moment stay as their source has them.
        found.messages.sort_by_key(|message| (message.at.is_none(), message.at));
        found
    }
}

/// Sorts by time, what has none last, then by id.
fn order(at: Option<Timestamp>, id: &str) -> (bool, Option<Timestamp>, &str) {
    (at.is_none(), at, id)
}
