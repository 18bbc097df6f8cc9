//! The one loader of `.octopoid/`: strict, with the place of every value.

mod blueprint;
mod file;
mod paths;

use std::{collections::BTreeMap, path::Path, time::Duration};

use serde::Serialize;

pub use blueprint::{AgentKind, Blueprint};
pub(crate) use paths::IGNORE_ALL;
pub use paths::{Paths, find_root};

use crate::{
    error::{Error, ErrorCode, Result},
    flow::{self, Flows},
    id::Scope,
    lifecycle::Limits,
};

/// Where the tasks are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// In `.octopoid/state.db`.
    Local,
    /// On a server.
    Remote,
}

/// How work is brought into the base branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MergeMethod {
    /// One new commit with all changes.
    Squash,
    /// A merge commit with both histories.
    Merge,
    /// The agent's commits, replayed on the base.
    Rebase,
}

/// `repo:` of `config.yaml`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Repo {
    /// Where work starts and ends; detected from the repository when null.
    pub base_branch: Option<String>,
    /// The remote that has the truth about the base branch; null means that there is none.
    pub remote: Option<String>,
    /// Command that must pass on every commit before it is merged.
    pub test: Option<String>,
    /// Command run once in each new worktree.
    pub setup: Option<String>,
}

/// `orchestrator:` of `config.yaml`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Orchestrator {
    /// Seconds between looks at the queue when nothing wakes the orchestrator up.
    pub tick_seconds: f64,
    /// Agents at work at the same time.
    pub max_agents: usize,
    /// Length of a lease; renewed every third of it.
    pub lease_seconds: f64,
    /// Seconds between signs of life.
    pub heartbeat_seconds: f64,
}

/// `limits:` of `config.yaml`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunLimits {
    /// Failed attempts until a person is asked.
    pub attempts: i64,
    /// Rejections until a person is asked.
    pub rejections: i64,
    /// Minutes that one attempt may take.
    pub wall_minutes: f64,
    /// Minutes without any output or changed file.
    pub silence_minutes: f64,
}

/// `budget:` of `config.yaml`; null means no limit.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Budget {
    /// No new claims when the last 24 hours cost this much, in US dollars.
    pub usd_per_day: Option<f64>,
    /// A person is asked when a task used this many tokens.
    pub tokens_per_task: Option<u64>,
    /// Upper bound for every blueprint's `max_turns`.
    pub turns_per_attempt: Option<u32>,
}

/// `merge:` of `config.yaml`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Merge {
    /// How commits are combined.
    pub method: MergeMethod,
    /// Whether landings wait for each other.
    pub queue: bool,
}

/// `server:` of `config.yaml`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Server {
    /// Where the server is, in remote mode.
    pub url: Option<String>,
    /// First half of the orchestrator's id.
    pub cluster: String,
    /// Second half of the orchestrator's id.
    pub machine_id: String,
}

/// The effective configuration.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the sections are documented on their types")]
pub struct Config {
    pub mode: Mode,
    pub scope: Scope,
    pub server: Server,
    pub repo: Repo,
    pub orchestrator: Orchestrator,
    pub merge: Merge,
    pub limits: RunLimits,
    pub budget: Budget,
    /// Where each value comes from, by dotted key.
    #[serde(skip)]
    pub origins: BTreeMap<String, String>,
}

/// The scope's key: `OCTOPOID_API_KEY`, else the file `credentials`.
pub fn api_key(paths: &Paths, env: Env<'_>) -> Result<Option<String>> {
    if let Some(key) = env("OCTOPOID_API_KEY") {
        return Ok(Some(key.trim().to_owned()));
    }
    let file = paths.credentials();
    if !file.is_file() {
        return Ok(None);
    }
    let text = read_text(&file)?;
    let key = text
        .lines()
        .map(str::trim)
        .find(|l| !l.is_empty() && !l.starts_with('#'));
    Ok(key.map(|k| k.strip_prefix("api_key:").unwrap_or(k).trim().to_owned()))
}

impl Config {
    /// The limits that the lifecycle applies.
    pub fn lifecycle_limits(&self) -> Limits {
        Limits {
            attempts: self.limits.attempts,
            rejections: self.limits.rejections,
            ..Limits::default()
        }
    }

    /// Time between two signs of life.
    pub fn heartbeat(&self) -> std::time::Duration {
        std::time::Duration::try_from_secs_f64(self.orchestrator.heartbeat_seconds)
            .unwrap_or(std::time::Duration::from_secs(30))
    }

    /// Length of a lease.
    pub fn lease(&self) -> Duration {
        Duration::from_secs_f64(self.orchestrator.lease_seconds)
    }
}

/// Looks up an environment variable; empty counts as unset.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The process environment.
pub fn process_env(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// A kind of file in `.octopoid/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// `config.yaml`, and `local.yaml` that is laid over it.
    Config,
    /// `agents/<name>.yaml`.
    Blueprint,
    /// `flows/<name>.yaml`.
    Flow,
}

/// The JSON Schema (draft 2020-12) of one file, for editors. It wants texts where [`load`] takes any plain word, and sections
/// that are not empty; `load` knows more of what fits together.
pub fn schema(of: FileKind) -> serde_json::Value {
    match of {
        FileKind::Config => file::schema(),
        FileKind::Blueprint => blueprint::schema(),
        FileKind::Flow => flow::schema(),
    }
    .to_value()
}

/// Everything that a project's files say.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The effective configuration.
    pub config: Config,
    /// The kinds of agents, by name.
    pub blueprints: Vec<Blueprint>,
    /// The flows.
    pub flows: Flows,
}

/// Reads and checks all files of `.octopoid/`.
pub fn load(paths: &Paths, env: Env<'_>) -> Result<Settings> {
    load_files(paths, env, false)
}

/// The same; a folder that was not set up has the values that a new local project has.
pub fn load_or_plain(paths: &Paths, env: Env<'_>) -> Result<Settings> {
    load_files(paths, env, true)
}

fn load_files(paths: &Paths, env: Env<'_>, plain: bool) -> Result<Settings> {
    let config = file::load(paths, env, plain)?;
    let mut flows = Flows::shipped()?;
    for (path, text) in yaml_files(&paths.flows())? {
        flows.insert(flow::parse(&text, &paths.shown(&path))?);
    }
    let mut blueprints = Vec::new();
    for (path, text) in yaml_files(&paths.agents())? {
        blueprints.push(blueprint::parse(&path, &text, paths, &flows)?);
    }
    Ok(Settings {
        config,
        blueprints,
        flows,
    })
}

/// The `*.yaml` files of a folder with their texts, by name; none when the folder is not there.
fn yaml_files(folder: &Path) -> Result<Vec<(std::path::PathBuf, String)>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Error::io("read", folder, e)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(|e| Error::io("read", folder, e))?.path();
        match path.extension().and_then(|e| e.to_str()) {
            Some("yaml") => {
                let text = read_text(&path)?;
                files.push((path, text));
            }
            Some("yml") => {
                return Err(Error::new(
                    ErrorCode::InvalidConfig,
                    format!("{}:1: the ending must be .yaml", path.display()),
                ));
            }
            _ => {}
        }
    }
    files.sort();
    Ok(files)
}

fn read_text(path: &Path) -> Result<String> {
    let bytes = std::fs::read(path).map_err(|e| Error::io("read", path, e))?;
    String::from_utf8(bytes).map_err(|e| {
        let line = e.as_bytes()[..e.utf8_error().valid_up_to()]
            .iter()
            .filter(|b| **b == b'\n')
            .count()
            + 1;
        Error::new(
            ErrorCode::InvalidConfig,
            format!("{}:{line}: the file is not UTF-8 text", path.display()),
        )
    })
}

/// An error in a configuration file, in the form `file:line: what`.
fn bad(file: &str, line: usize, what: impl std::fmt::Display) -> Error {
    Error::new(ErrorCode::InvalidConfig, format!("{file}:{line}: {what}"))
}

/// An error of the YAML reader, with its line in front.
fn bad_yaml(file: &str, error: &yaml_serde::Error) -> Error {
    bad(file, error.location().map_or(1, |l| l.line()), error)
}

/// Line on which `key:` stands.
fn line_of(text: &str, key: &str) -> usize {
    let leaf = key.rsplit('.').next().unwrap_or(key);
    let word = format!("{leaf}:");
    text.lines().position(|l| l.contains(&word)).map_or(1, |n| n + 1)
}
