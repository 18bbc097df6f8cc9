//! `octopoid agents`: the kinds of agents of this project.

use std::path::PathBuf;

use octopoid_core::{Error, Octopoid, agent, config::Blueprint, id::OrchestratorId};
use serde_json::json;

use crate::{
    cli::Global,
    open,
    output::{Output, Tone},
    tell_if_offline,
};

/// The program that an agent of this kind is.
pub(super) fn program(blueprint: &Blueprint, octopoid: &Octopoid) -> Result<PathBuf, Error> {
    let adapter = agent::adapter(blueprint, octopoid.root())?;
    let inherited = std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
    let env = agent::environment(&*adapter, inherited, &blueprint.env);
    agent::find_program(&*adapter, &env, octopoid.root())
}

pub(crate) async fn run(global: &Global, output: &Output) -> Result<u8, Error> {
    let octopoid = open(global)?;
    let settings = octopoid.settings();
    let status = octopoid.status().await?;
    tell_if_offline(&octopoid, output);
    let server = &settings.config.server;
    let own = OrchestratorId::of(&server.cluster, &server.machine_id)?;
    let mut rows = Vec::new();
    for blueprint in &settings.blueprints {
        let found = program(blueprint, &octopoid);
        let at_work: Vec<_> = status
            .running
            .iter()
            .filter(|t| {
                t.claimed_by.as_deref() == Some(blueprint.name.as_str()) && t.orchestrator_id.as_ref() == Some(&own)
            })
            .map(|t| &t.id)
            .collect();
        let mark = match (&found, blueprint.paused) {
            (Err(_), _) => output.paint(Tone::Bad, "✗"),
            (Ok(_), true) => output.paint(Tone::Warn, "‖"),
            (Ok(_), false) => output.paint(Tone::Good, "✓"),
        };
        let mut text = format!(
            "{mark} {}  {}  {} of {} at work{}",
            output.paint(Tone::Strong, &blueprint.name),
            blueprint.role,
            at_work.len(),
            blueprint.max_instances,
            if blueprint.paused { ", paused" } else { "" },
        );
        match &found {
            Ok(program) => text.push_str(&format!("  {}", program.display())),
            Err(error) => text.push_str(&format!("\n    {error}")),
        }
        output.text(&text)?;
        let mut row = json!(blueprint);
        // Values may be nobody's business.
        row["env"] = json!(blueprint.env.keys().collect::<Vec<_>>());
        row["running"] = json!(at_work);
        row["program"] = json!(found.as_ref().ok());
        row["problem"] = json!(found.as_ref().err().map(ToString::to_string));
        rows.push(row);
    }
    if rows.is_empty() {
        output
            .text("No agents are set up: add agents/<name>.yaml to .octopoid/, or `octopoid init --agent claude`.")?;
    }
    output.json(&json!({ "agents": rows, "total": rows.len() }))?;
    Ok(0)
}
