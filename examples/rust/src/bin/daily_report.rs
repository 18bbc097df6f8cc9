//! What is in the queues, what was done on a day, and what needs a person.
//!
//! ```text
//! daily_report PLACE DAY        the folder of a queue or a server's URL; the day (UTC) as 2026-11-23
//! ```
#![allow(clippy::print_stdout, reason = "an example talks")]

use std::process::ExitCode;

use octopoid_core::{Result, prelude::*};
use octopoid_examples::{all_tasks, arguments, end, open};

#[tokio::main]
async fn main() -> ExitCode {
    end(run().await)
}

async fn run() -> Result<ExitCode> {
    let given = arguments(2..=2, "daily_report PLACE DAY")?;
    let (octopoid, day) = (open(&given[0])?, &given[1]);

    let status = octopoid.status().await?;
    println!("Octopoid on {day}");
    for row in &status.queues {
        println!("  {:18} {:4}", row.queue, row.count);
    }

    let mut done = all_tasks(&octopoid, QueueName::done()).await?;
    // A timestamp is written in UTC with the day in front.
    done.retain(|t| t.completed_at.is_some_and(|at| at.to_string().starts_with(day)));
    println!("done on this day: {}", done.len());
    for task in done {
        println!(
            "  {}  {} ({} commits, {} turns)",
            task.id, task.title, task.commits_count, task.turns_used
        );
    }

    for task in status.attention {
        let why = octopoid.tasks().why(&task.id).await?;
        println!("needs a person: {}  {}", task.id, task.title);
        println!("  {}", why.last_error.or(why.held_by).unwrap_or(why.next));
    }
    Ok(ExitCode::SUCCESS)
}
