//! `agents/<name>.yaml`: the kinds of agents that a project runs.

use std::{collections::BTreeMap, path::Path};

use schemars::{JsonSchema, json_schema};
use serde::{Deserialize, Serialize};

use super::{Paths, bad, bad_yaml, line_of, read_text};
use crate::{
    error::Result,
    flow::{Ask, Flows},
    model::{QueueKind, QueueName, Role},
};

/// Which program an agent is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AgentKind {
    /// Claude Code, headless.
    Claude,
    /// Any command line, with the prompt on its standard input.
    Command,
    /// The shipped agent that plays a script.
    Scripted,
}

/// A kind of agent.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "agents/<name>.yaml")]
struct BlueprintFile {
    /// What it does with a task: one of the known roles, or one that a flow names.
    #[schemars(with = "String")]
    role: Role,
    /// Which program it is.
    #[schemars(schema_with = "agents")]
    agent: String,
    #[serde(default)]
    /// Argument list, for `agent: command`; the prompt comes on standard input.
    command: Vec<String>,
    /// Script file, for `agent: scripted`.
    script: Option<String>,
    /// Model name, passed on.
    model: Option<String>,
    /// How many may work at the same time; 1 when not given.
    #[schemars(range(min = 1))]
    max_instances: Option<usize>,
    /// Rounds with the model in one attempt; 200 when not given.
    #[schemars(range(min = 1))]
    max_turns: Option<u32>,
    /// The queue that it takes tasks from; by its role when not given.
    #[schemars(with = "Option<String>")]
    claims_from: Option<QueueName>,
    /// Tools that the agent's program may use; the role's own list when not given.
    tools: Option<Vec<String>>,
    #[serde(default)]
    /// Variables added to the agent's environment.
    env: BTreeMap<String, String>,
    #[serde(default)]
    /// Whether it takes no tasks for now.
    paused: bool,
    /// Seconds between two starts, at least.
    #[schemars(range(min = 0))]
    interval_seconds: Option<f64>,
    /// Only `none` in this version.
    #[serde(default)]
    #[schemars(schema_with = "sandbox")]
    sandbox: Option<String>,
}

fn agents(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    json_schema!({ "enum": [AgentKind::Claude, AgentKind::Command, AgentKind::Scripted] })
}

fn sandbox(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    json_schema!({ "enum": ["none", null] })
}

/// The JSON Schema of `agents/<name>.yaml`.
pub(super) fn schema() -> schemars::Schema {
    schemars::schema_for!(BlueprintFile)
}

/// A configured kind of agent.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Blueprint {
    /// The file's name without ending; the agent's name in claims and history.
    pub name: String,
    /// What it does with a task.
    pub role: Role,
    /// Which program it is.
    pub agent: AgentKind,
    /// Argument list, for `command`.
    pub command: Vec<String>,
    /// Script file, for `scripted`; relative to the main checkout.
    pub script: Option<String>,
    /// Model name, passed on.
    pub model: Option<String>,
    /// How many may work at the same time.
    pub max_instances: usize,
    /// Rounds with the model in one attempt.
    pub max_turns: u32,
    /// The queues that it takes tasks from.
    pub claims_from: Vec<QueueName>,
    /// Tools that the agent's program may use; null means the role's own list.
    pub tools: Option<Vec<String>>,
    /// Variables added to the agent's environment.
    pub env: BTreeMap<String, String>,
    /// Whether it takes no tasks for now.
    pub paused: bool,
    /// Seconds between two starts, at least.
    pub interval_seconds: f64,
    /// What stands before every prompt, from `agents/<name>.md`; null means the role's own text.
    pub prompt: Option<String>,
}

impl Blueprint {
    /// The names that it answers to when it claims.
    pub fn answers_to(&self) -> Vec<String> {
        let mut names = vec![self.role.as_str().to_owned(), self.name.clone()];
        if self.role.is_reviewer() {
            names.extend(["gatekeeper".to_owned(), "review".to_owned()]);
        }
        names
    }
}

pub(super) fn parse(path: &Path, text: &str, paths: &Paths, flows: &Flows) -> Result<Blueprint> {
    let file = paths.shown(path);
    let parsed: BlueprintFile = yaml_serde::from_str(text).map_err(|e| bad_yaml(&file, &e))?;
    let refuse = |key: &str, what: String| Err(bad(&file, line_of(text, key), format!("{key}: {what}")));

    let agent = match parsed.agent.as_str() {
        "claude" => AgentKind::Claude,
        "command" => AgentKind::Command,
        "scripted" => AgentKind::Scripted,
        "codex" | "opencode" | "gemini" | "acp" => {
            return refuse(
                "agent",
                format!(
                    "{:?} has no adapter in this version; use `agent: command` with its command line, or claude",
                    parsed.agent
                ),
            );
        }
        other => {
            return refuse(
                "agent",
                format!("{other:?} is unknown; allowed: claude, command, scripted"),
            );
        }
    };
    let in_flows = |name: &str| {
        flows.iter().flat_map(|f| &f.transitions).any(|t| {
            t.agent.as_deref() == Some(name)
                || t.conditions
                    .iter()
                    .any(|c| matches!(&c.ask, Ask::Agent { agent } if agent == name))
        })
    };
    let role = parsed.role.as_str();
    if !Role::KNOWN.contains(&role) && !in_flows(role) {
        return refuse(
            "role",
            format!(
                "{role:?} is unknown; allowed: {}, or a role that a flow names",
                Role::KNOWN.join(", ")
            ),
        );
    }
    match agent {
        AgentKind::Command if parsed.command.first().is_none_or(|p| p.trim().is_empty()) => {
            return refuse("command", "is missing; `agent: command` needs an argument list".into());
        }
        AgentKind::Scripted if parsed.script.is_none() => {
            return refuse("script", "is missing; `agent: scripted` needs the file to play".into());
        }
        AgentKind::Claude | AgentKind::Scripted if !parsed.command.is_empty() => {
            return refuse("command", "goes with `agent: command` only".into());
        }
        AgentKind::Claude | AgentKind::Command if parsed.script.is_some() => {
            return refuse("script", "goes with `agent: scripted` only".into());
        }
        _ => {}
    }
    if let Some(sandbox) = parsed.sandbox.as_deref().filter(|s| *s != "none") {
        return refuse(
            "sandbox",
            format!("{sandbox:?} is not available in this version; allowed: none"),
        );
    }
    let interval_seconds = parsed.interval_seconds.unwrap_or(0.0);
    if !interval_seconds.is_finite() || interval_seconds < 0.0 {
        return refuse(
            "interval_seconds",
            format!("{interval_seconds} is not allowed; 0 or more"),
        );
    }
    let max_instances = parsed.max_instances.unwrap_or(1);
    if max_instances == 0 {
        return refuse(
            "max_instances",
            "0 is not allowed; at least 1 (or `paused: true`)".into(),
        );
    }
    let max_turns = parsed.max_turns.unwrap_or(200);
    if max_turns == 0 {
        return refuse("max_turns", "0 is not allowed; at least 1".into());
    }
    if let Some(name) = parsed
        .env
        .keys()
        .find(|k| k.is_empty() || k.contains('=') || k.contains('\0') || k.starts_with("OCTOPOID_"))
    {
        return refuse(
            "env",
            format!("{name:?} cannot be set; OCTOPOID_ variables are Octopoid's own"),
        );
    }
    let claims_from = match parsed.claims_from {
        Some(queue) => {
            let known = flows.iter().any(|f| f.has_state(&queue));
            if !known
                || !matches!(
                    queue.kind(),
                    QueueKind::Waiting | QueueKind::Review | QueueKind::Attention
                )
            {
                return refuse(
                    "claims_from",
                    format!("{queue} is no queue that an agent can take tasks from"),
                );
            }
            vec![queue]
        }
        None => default_queues(&parsed.role, flows),
    };
    // Continuing is part of working: whoever takes from incoming goes on with what was begun.
    let claims_from = if claims_from.contains(&QueueName::incoming()) {
        let mut queues = vec![QueueName::needs_continuation()];
        queues.extend(claims_from);
        queues
    } else {
        claims_from
    };
    let name = path
        .file_stem()
        .map(|s| s.to_string_lossy().into_owned())
        .unwrap_or_default();
    if Role::parse(&name).is_err() {
        return Err(bad(
            &file,
            1,
            format!("{name:?} cannot be an agent's name; use letters, digits, '_' and '-'"),
        ));
    }
    let template = path.with_extension("md");
    let prompt = if template.is_file() {
        Some(read_text(&template)?)
    } else {
        None
    };
    Ok(Blueprint {
        name,
        role: parsed.role,
        agent,
        command: parsed.command,
        script: parsed.script,
        model: parsed.model,
        max_instances,
        max_turns,
        claims_from,
        tools: parsed.tools,
        env: parsed.env,
        paused: parsed.paused,
        interval_seconds,
        prompt,
    })
}

/// Reviewers review in every state with a question for them; the conflict role resolves; everybody else works.
fn default_queues(role: &Role, flows: &Flows) -> Vec<QueueName> {
    if *role == Role::conflict() {
        return vec![QueueName::needs_attention()];
    }
    let asks = |name: &str| name == role.as_str() || (role.is_reviewer() && (name == "gatekeeper" || name == "review"));
    let mut queues: Vec<QueueName> = Vec::new();
    for transition in flows.iter().flat_map(|f| &f.transitions) {
        let asked = transition
            .conditions
            .iter()
            .any(|c| matches!(&c.ask, Ask::Agent { agent } if asks(agent)));
        if asked && !queues.contains(&transition.from) {
            queues.push(transition.from.clone());
        }
    }
    if queues.is_empty() || role.as_str() == "review" {
        queues.push(QueueName::incoming());
    }
    queues
}
