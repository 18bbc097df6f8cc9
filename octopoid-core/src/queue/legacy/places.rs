//! Where an older installation keeps its things: which folders, files and databases are looked at, and in which order.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{
    Reading, database,
    files::{self, Trust},
    records,
};

/// Folders of the generations, in a project's root.
const FOLDERS: &[&str] = &[".orchestrator", ".octopoid"];

/// Reads every form that `dir` holds.
pub(super) fn read(reading: &mut Reading, dir: &Path) {
    let mut found = false;
    for name in FOLDERS {
        let folder = dir.join(name);
        if folder.is_dir() {
            found = true;
            place(reading, &folder, dir);
        }
    }
    if found {
        return;
    }
    // The folder itself, perhaps renamed, or one of queues.
    let real = dir.canonicalize().unwrap_or_else(|_| dir.to_path_buf());
    let is_named = FOLDERS.iter().any(|name| files::file_name(&real).starts_with(name));
    let home = real.parent().filter(|_| is_named).unwrap_or(dir);
    place(reading, dir, home);
    files::queues(reading, dir, Trust::Anybodys);
}

/// Reads `folder`, which is the `.octopoid` or `.orchestrator` of the project in `home`.
fn place(reading: &mut Reading, folder: &Path, home: &Path) {
    let config = yaml(reading, &folder.join("config.yaml"));
    let agents = yaml(reading, &folder.join("agents.yaml"));
    if let Some(config) = &config {
        about_config(reading, folder, config);
    }
    if agents.is_some() && files::file_name(folder).starts_with(".orchestrator") {
        reading.form(format!(
            "settings {} of version 1",
            folder.join("agents.yaml").display()
        ));
    }

    for shared in [folder.join("shared"), folder.join("runtime/shared")] {
        files::queues(reading, &shared.join("queue"), Trust::Ours);
        records::shared(reading, &shared);
    }
    files::queues(reading, &folder.join("queue"), Trust::Ours);
    files::queues(reading, &folder.join("tasks"), Trust::Anybodys);
    let tasks = home.join("tasks");
    files::queues(reading, &tasks, Trust::Anybodys);
    if let Some(repo) = text(config.as_ref(), "/repo/path").filter(|_| !tasks.is_dir()) {
        files::queues(reading, &home.join(repo).join("tasks"), Trust::Anybodys);
    }

    // Those that are named or known first; then whatever else is a database here.
    let named = [config.as_ref(), agents.as_ref()]
        .into_iter()
        .filter_map(|file| text(file, "/database/path"))
        .flat_map(|path| [folder.join(path), home.join(path)])
        .find(|path| path.is_file());
    let known = ["state.db", "runtime/cache.db", "cache.db"].map(|name| folder.join(name));
    for path in named.into_iter().chain(known) {
        database::read(reading, &path, home, true);
    }
    for dir in [folder.to_path_buf(), folder.join("runtime")] {
        other_databases(reading, &dir, home);
    }
    for base in [home.to_path_buf(), home.join("packages/server")] {
        for dir in files::entries(reading, &base.join(".wrangler/state/v3/d1")) {
            other_databases(reading, &dir, home);
        }
    }

    for dir in [folder.join("messages"), folder.join("runtime/messages")] {
        records::messages(reading, &dir);
    }
    records::snapshots(reading, folder);
    // Documents of any project; they count where there is an installation beside them.
    if !reading.found.forms.is_empty() {
        records::drafts(reading, &home.join("project-management/drafts"));
    }
}

fn other_databases(reading: &mut Reading, dir: &Path, home: &Path) {
    let mut paths: Vec<PathBuf> = Vec::new();
    for ending in ["db", "sqlite", "sqlite3"] {
        paths.extend(files::with_ending(reading, dir, ending));
    }
    for path in paths {
        database::read(reading, &path, home, false);
    }
}

/// A file of settings; nothing where there is none, a problem where it cannot be understood.
fn yaml(reading: &mut Reading, path: &Path) -> Option<Value> {
    if !path.exists() {
        return None;
    }
    let parsed = files::text(path).and_then(|text| yaml_serde::from_str::<Value>(&text).map_err(|e| e.to_string()));
    match parsed {
        Ok(value) => Some(value),
        Err(why) => {
            reading.problem(path.display(), format!("the settings cannot be read: {why}"));
            None
        }
    }
}

fn text<'a>(settings: Option<&'a Value>, pointer: &str) -> Option<&'a str> {
    settings?
        .pointer(pointer)?
        .as_str()
        .filter(|text| !text.trim().is_empty())
}

/// Version 2.0 kept the tasks of its remote mode on a server, where this program does not look.
fn about_config(reading: &mut Reading, folder: &Path, config: &Value) {
    let path = folder.join("config.yaml");
    let is_remote = config.pointer("/server/enabled").and_then(Value::as_bool) == Some(true);
    if is_remote {
        let url = text(Some(config), "/server/url").unwrap_or("its server");
        reading.form(format!("settings {} of the remote mode", path.display()));
        reading.problem(
            path.display(),
            format!("tasks are kept on {url}; only what lies on this machine was read"),
        );
    } else if config.get("database").is_some() || config.pointer("/repo/main_branch").is_some() {
        reading.form(format!("settings {} of the local mode", path.display()));
    }
}
