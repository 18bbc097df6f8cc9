//! `octopoid init`.

use octopoid_core::{
    Error,
    queue::{InitRequest, init},
};

use crate::{
    cli::{self, Global},
    directory,
    output::{Output, Tone},
};

pub(crate) fn run(args: &cli::Init, global: &Global, output: &Output) -> Result<u8, Error> {
    let request = InitRequest {
        scope: args.scope.clone(),
        cluster: args.cluster.clone(),
        machine_id: args.machine_id.clone(),
        server: args.server.clone(),
        api_key: std::env::var("OCTOPOID_API_KEY")
            .ok()
            .filter(|k| args.server.is_some() && !k.is_empty()),
        agent: args.agent.clone(),
        force: args.force,
    };
    let done = init(&directory(global)?, &request)?;
    output.json(&done)?;
    if done.written.is_empty() {
        output.text(&format!(
            "{} is set up already; nothing was changed (--force writes the files anew)",
            done.root.display()
        ))?;
        return Ok(0);
    }
    output.text(&format!(
        "{} is set up",
        output.paint(Tone::Strong, &done.root.display().to_string())
    ))?;
    done.written
        .iter()
        .try_for_each(|file| output.text(&format!("  wrote {file}")))?;
    done.kept
        .iter()
        .try_for_each(|file| output.text(&format!("  kept  {file}")))?;
    output.message(&format!("Work is merged into {}.", done.base_branch));
    match &done.test {
        Some(test) => output.message(&format!("Every commit must pass: {test}")),
        None => {
            output.message("No test command was found; set repo.test in .octopoid/config.yaml, or everything passes.")
        }
    }
    if let Some(server) = &done.server {
        output.message(&format!("The tasks are kept at {server}."));
    }
    output.message("Next: octopoid enqueue \"what should change\", then octopoid start");
    Ok(0)
}
