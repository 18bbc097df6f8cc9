//! Accepts handed-in work of low risk by rule; leaves the rest to people.
//!
//! ```text
//! auto_approve PLACE        the folder of a queue, or a server's URL
//! ```
#![allow(clippy::print_stdout, reason = "an example talks")]

use std::process::ExitCode;

use octopoid_core::{Result, prelude::*};
use octopoid_examples::{all_tasks, arguments, end, open};

const ROLES: [&str; 2] = ["docs", "test"];
const MOST_COMMITS: i64 = 5;

#[tokio::main]
async fn main() -> ExitCode {
    end(run().await)
}

/// Why a person has to look at the task; none when nobody has to.
fn objection(task: &Task) -> Option<String> {
    if !ROLES.contains(&task.role.as_str()) {
        return Some(format!("its role is {}", task.role));
    }
    match task.commits_count {
        0 => Some("it has no commits".into()),
        many if many > MOST_COMMITS => Some(format!("{many} commits are many")),
        _ if task.rejection_count > 0 => Some("it was rejected before".into()),
        _ => None,
    }
}

async fn run() -> Result<ExitCode> {
    let octopoid = open(&arguments(1..=1, "auto_approve PLACE")?[0])?;
    for task in all_tasks(&octopoid, QueueName::provisional()).await? {
        if let Some(reason) = objection(&task) {
            println!("left {}: {reason}", task.id);
            continue;
        }
        match octopoid.tasks().accept(&task.id, "auto-approve").await {
            Ok(_) => println!("approved {}: {}", task.id, task.title),
            // Somebody was faster.
            Err(error) if matches!(error.code(), ErrorCode::IllegalTransition | ErrorCode::VersionConflict) => {
                println!("left {}: {error}", task.id);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(ExitCode::SUCCESS)
}
