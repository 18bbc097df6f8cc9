//! The life of one task, from its creation to its acceptance.
//!
//! ```text
//! quick_start PLACE        a folder for the queue, or a server's URL
//! ```
#![allow(clippy::print_stdout, reason = "an example talks")]

use std::{process::ExitCode, time::Duration};

use octopoid_core::{Result, model, prelude::*};
use octopoid_examples::{arguments, end, open};
use serde_json::json;

#[tokio::main]
async fn main() -> ExitCode {
    end(run().await)
}

async fn run() -> Result<ExitCode> {
    let octopoid = open(&arguments(1..=1, "quick_start PLACE")?[0])?;

    // A server gives tasks only to those that it knows.
    let me = json!({ "cluster": "examples", "machine_id": "quick-start", "repo_url": "none" });
    octopoid.orchestrators().register(me).await?;

    let wanted = CreateTask {
        title: Some("Greet the reader".into()),
        content: Some("Say hello in the README.".into()),
        role: Some(model::Role::parse("implement")?),
        priority: Some(Priority::P1),
        ..CreateTask::default()
    };
    let task = octopoid.tasks().create(wanted).await?;
    println!("created {} in {}", task.id, task.queue);

    let take = Take::new("examples-quick-start", "me")?
        .roles(["implement"])
        .wait(Duration::from_secs(5));
    let Some(claim) = octopoid.tasks().claim(take).await? else {
        println!("nothing to claim");
        return Ok(ExitCode::FAILURE);
    };
    let id = &claim.task.id;
    match claim.task.lease_expires_at {
        Some(at) => println!("claimed {id}, the lease ends at {at}"),
        None => println!("claimed {id}"),
    }

    octopoid
        .tasks()
        .progress(id, &claim.token, "half of it is written")
        .await?;
    let work = HandIn {
        token: Some(claim.token.clone()),
        commits: 1,
        turns: 3,
        notes: Some("says hello".into()),
        ..HandIn::default()
    };
    octopoid.tasks().submit(id, work).await?;
    let done = octopoid.tasks().accept(id, "me").await?;
    println!("{id} is {}", done.queue);
    for event in octopoid.events().list(Some(id), 0, 100).await? {
        println!("  {}  {}", event.at, event.kind);
    }
    Ok(ExitCode::SUCCESS)
}
