//! Waits until a task is over and tells each step. The exit code is 0 only when it is done.
//!
//! ```text
//! poll_to_completion TASK PLACE [SECONDS]        the folder of a queue or a server's URL; an hour when no time is given
//! ```
//!
//! The change feed wakes it up: it looks when something happens, and not all the time.
#![allow(clippy::print_stdout, reason = "an example talks")]

use std::{process::ExitCode, time::Duration};

use octopoid_core::{Result, prelude::*};
use octopoid_examples::{arguments, end, open, seconds};
use tokio::time::Instant;

/// Longest time that one request waits.
const ONE_WAIT: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() -> ExitCode {
    end(run().await)
}

fn is_over(task: &Task) -> bool {
    task.kind().is_terminal() || task.queue == QueueName::needs_attention()
}

async fn run() -> Result<ExitCode> {
    let given = arguments(2..=3, "poll_to_completion TASK PLACE [SECONDS]")?;
    let (id, octopoid) = (TaskId::parse(&given[0])?, open(&given[1])?);
    let limit = seconds(given.get(2))?.unwrap_or(Duration::from_secs(3600));
    let until = Instant::now() + limit;

    let mut task = octopoid.tasks().get(&id).await?;
    let mut cursor = 0;
    while !is_over(&task) {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            println!("{id} is still in {} after {} s", task.queue, limit.as_secs());
            return Ok(ExitCode::FAILURE);
        }
        for event in octopoid
            .events()
            .wait(Some(&id), cursor, 100, left.min(ONE_WAIT))
            .await?
        {
            println!("{}  {}", event.at, event.kind);
            cursor = event.cursor;
        }
        task = octopoid.tasks().get(&id).await?;
    }
    println!("{id} is in {}", task.queue);
    let is_done = task.queue == QueueName::done();
    Ok(if is_done { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
