//! Creates a task of each entry of a JSON file. The whole file is read first; running it again adds only what is new.
//!
//! ```text
//! batch_import FILE PLACE        PLACE is a folder for the queue, or a server's URL
//! ```
//!
//! The file: `[{"id": "search", "title": "Search", "priority": "P1", "blocked_by": ["index"]}, …]`, with the fields of
//! `CreateTask`. An entry comes after those that it waits for.
#![allow(clippy::print_stdout, reason = "an example talks")]

use std::{fs, path::Path, process::ExitCode};

use octopoid_core::{Result, prelude::*};
use octopoid_examples::{arguments, end, open};

#[tokio::main]
async fn main() -> ExitCode {
    end(run().await)
}

/// The entries of the file; nothing is imported of a file that has one bad entry.
fn read(file: &Path) -> Result<Vec<CreateTask>> {
    let bytes = fs::read(file).map_err(|e| Error::io("read", file, e))?;
    let wanted: Vec<CreateTask> = serde_json::from_slice(&bytes)
        .map_err(|e| Error::invalid(format!("{} is no list of tasks: {e}", file.display())).with_source(e))?;
    match wanted.iter().position(|task| task.id.is_none()) {
        Some(n) => Err(Error::invalid(format!("{}: entry {n} has no id", file.display()))
            .with_hint("with an id, a second run finds what the first one created")),
        None => Ok(wanted),
    }
}

async fn run() -> Result<ExitCode> {
    let given = arguments(2..=2, "batch_import FILE PLACE")?;
    let wanted = read(Path::new(&given[0]))?;
    let octopoid = open(&given[1])?;

    let mut created = 0;
    for entry in wanted {
        let title = entry.title.clone().unwrap_or_default();
        match octopoid.tasks().create(entry).await {
            Ok(task) => {
                created += 1;
                println!("{}  {}  {}", task.id, task.priority, task.title);
            }
            Err(error) if error.code() == ErrorCode::AlreadyExists => println!("there already: {title}"),
            Err(error) => return Err(error),
        }
    }
    println!("imported {created} tasks");
    Ok(ExitCode::SUCCESS)
}
