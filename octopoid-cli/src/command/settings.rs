//! Commands about files and about the program itself: flows, validation, configuration, completions, manual.

use clap::CommandFactory as _;
use octopoid_core::{
    Error, ErrorCode,
    config::{self, Paths, Settings},
    queue::project_root,
};

use crate::{
    cli::{self, Cli, Global, SchemaFile},
    directory,
    output::{Output, Tone},
};

fn load(global: &Global) -> Result<(Paths, Settings), Error> {
    let paths = Paths::new(project_root(&directory(global)?)?);
    let settings = config::load(&paths, &config::process_env)?;
    Ok((paths, settings))
}

pub(crate) fn flow(command: &cli::Flow, global: &Global, output: &Output) -> Result<u8, Error> {
    let (_, settings) = load(global)?;
    match command {
        cli::Flow::List => {
            let flows: Vec<_> = settings.flows.iter().collect();
            output.json(&serde_json::json!({ "flows": flows }))?;
            for flow in flows {
                let states: Vec<String> = flow.states().iter().map(ToString::to_string).collect();
                output.text(&format!(
                    "{}  {}\n  states: {}",
                    output.paint(Tone::Strong, &flow.name),
                    flow.description,
                    states.join(", ")
                ))?;
            }
        }
        cli::Flow::Show { name } => {
            let flow = settings.flows.get(name)?;
            output.json(flow)?;
            let mut text = format!("name: {}\ndescription: {}\ntransitions:\n", flow.name, flow.description);
            for t in &flow.transitions {
                text.push_str(&format!("  \"{} -> {}\":\n", t.from, t.to));
                if let Some(agent) = &t.agent {
                    text.push_str(&format!("    agent: {agent}\n"));
                }
                if !t.conditions.is_empty() {
                    text.push_str("    conditions:\n");
                    for c in &t.conditions {
                        text.push_str(&format!("      - name: {}\n", c.name));
                        let ask = match &c.ask {
                            octopoid_core::flow::Ask::Agent { agent } => format!("type: agent\n        agent: {agent}"),
                            octopoid_core::flow::Ask::Manual => "type: manual".to_owned(),
                            octopoid_core::flow::Ask::Script { script } => {
                                format!("type: script\n        script: {}", serde_json::json!(script))
                            }
                        };
                        text.push_str(&format!("        {ask}\n        on_fail: {}\n", c.on_fail));
                    }
                }
                if !t.runs.is_empty() {
                    let steps: Vec<&str> = t.runs.iter().map(|s| s.as_str()).collect();
                    text.push_str(&format!("    runs: [{}]\n", steps.join(", ")));
                }
            }
            output.text(&text)?;
        }
        cli::Flow::Validate { name } => {
            // Loading has refused every flow that is wrong; what is left is whether the named one exists.
            let checked: Vec<&str> = match name {
                Some(name) => vec![settings.flows.get(name)?.name.as_str()],
                None => settings.flows.iter().map(|f| f.name.as_str()).collect(),
            };
            output.json(&serde_json::json!({ "valid": checked }))?;
            output.text(&format!("valid: {}", checked.join(", ")))?;
        }
    }
    Ok(0)
}

pub(crate) fn validate(global: &Global, output: &Output) -> Result<u8, Error> {
    let (paths, settings) = load(global)?;
    let agents: Vec<&str> = settings.blueprints.iter().map(|b| b.name.as_str()).collect();
    let flows: Vec<&str> = settings.flows.iter().map(|f| f.name.as_str()).collect();
    if agents.is_empty() {
        return Err(Error::new(
            ErrorCode::InvalidConfig,
            format!("{}:1: there are no agents", paths.shown(&paths.agents())),
        )
        .with_hint("add a file such as agents/implementer.yaml; `octopoid init --force` writes one"));
    }
    output.json(&serde_json::json!({ "valid": true, "agents": agents, "flows": flows }))?;
    output.text(&format!(
        "valid: config.yaml, agents {}, flows {}",
        agents.join(", "),
        flows.join(", ")
    ))?;
    Ok(0)
}

pub(crate) fn config(command: &cli::Config, global: &Global, output: &Output) -> Result<u8, Error> {
    let cli::Config::Show { origin } = command;
    let (_, settings) = load(global)?;
    let value = serde_json::to_value(&settings.config)
        .map_err(|e| Error::new(ErrorCode::Internal, format!("the settings cannot be shown: {e}")))?;
    if output.is_json() {
        if *origin {
            output.json(&serde_json::json!({ "config": value, "origins": settings.config.origins }))?;
        } else {
            output.json(&value)?;
        }
        return Ok(0);
    }
    let mut rows = Vec::new();
    flatten("", &value, &mut rows);
    for (key, value) in rows {
        let from = settings.config.origins.get(&key).map_or("default", String::as_str);
        let origin = if *origin { format!("  # {from}") } else { String::new() };
        output.text(&format!("{key}: {value}{}", output.paint(Tone::Faint, &origin)))?;
    }
    Ok(0)
}

/// Nested keys as dotted ones.
fn flatten(prefix: &str, value: &serde_json::Value, rows: &mut Vec<(String, String)>) {
    match value {
        serde_json::Value::Object(map) => {
            for (key, value) in map {
                let key = if prefix.is_empty() {
                    key.clone()
                } else {
                    format!("{prefix}.{key}")
                };
                flatten(&key, value, rows);
            }
        }
        serde_json::Value::String(text) => rows.push((prefix.to_owned(), text.clone())),
        other => rows.push((prefix.to_owned(), other.to_string())),
    }
}

pub(crate) fn schema(file: SchemaFile, output: &Output) -> Result<u8, Error> {
    let kind = match file {
        SchemaFile::Config => config::FileKind::Config,
        SchemaFile::Blueprint => config::FileKind::Blueprint,
        SchemaFile::Flow => config::FileKind::Flow,
    };
    let schema = config::schema(kind);
    output.json(&schema)?;
    if !output.is_json() {
        output.text(&format!("{schema:#}"))?;
    }
    Ok(0)
}

pub(crate) fn completions(shell: clap_complete::Shell, output: &Output) -> Result<u8, Error> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "octopoid", &mut script);
    output.raw(&script)?;
    Ok(0)
}

pub(crate) fn man(output: &Output) -> Result<u8, Error> {
    let mut page = Vec::new();
    let fail = |e| Error::io("write", std::path::Path::new("the manual page"), e);
    clap_mangen::Man::new(Cli::command()).render(&mut page).map_err(fail)?;
    for command in Cli::command().get_subcommands().filter(|c| !c.is_hide_set()) {
        let name = format!("octopoid-{}", command.get_name());
        clap_mangen::Man::new(command.clone())
            .title(name)
            .render(&mut page)
            .map_err(fail)?;
    }
    output.raw(&page)?;
    Ok(0)
}
