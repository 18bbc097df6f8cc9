//! Agents: programs that change or judge code. One trait, one supervisor, outcomes from evidence.

mod claude;
mod command;
pub mod outcome;
pub mod scripted;
pub mod supervise;

use std::{collections::BTreeMap, fmt, path::PathBuf, time::Duration};

pub use claude::Claude;
pub use command::CommandLine;
pub use outcome::{Ending, Reading, Reported};

use crate::{
    clock::Timestamp,
    config::{AgentKind, Blueprint},
    error::{Error, ErrorCode, Result},
    model::Role,
};

/// What an adapter has to know to build a command line.
#[derive(Debug, Clone)]
pub struct Job<'a> {
    /// The role that the agent plays.
    pub role: &'a Role,
    /// Whether it must judge, not change.
    pub reviews: bool,
    /// Model, when the blueprint names one.
    pub model: Option<&'a str>,
    /// Rounds with the model, at most.
    pub max_turns: u32,
    /// Tools that the blueprint allows.
    pub tools: Option<&'a [String]>,
    /// Session to go on with.
    pub resume: Option<&'a str>,
}

/// One kind of agent program.
pub trait Agent: Send + Sync + fmt::Debug {
    /// The program that must be there; looked up on the agent's PATH.
    fn program(&self) -> &str;
    /// The whole command line; the prompt comes on standard input.
    fn argv(&self, job: &Job<'_>) -> Vec<String>;
    /// Whether a variable of the orchestrator's environment may reach the agent, beyond those that every agent gets.
    fn may_see(&self, variable: &str) -> bool;
    /// Makes sense of what the program printed. Tolerant: what is not understood is left out, never guessed.
    fn read(&self, stdout: &str, exit_code: Option<i32>, now: Timestamp) -> Reading;
}

/// Limits of one run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RunLimits {
    /// Time in all.
    pub wall: Duration,
    /// Time without output or a changed file.
    pub silence: Duration,
    /// Time between asking to end and ending by force.
    pub grace: Duration,
}

/// The adapter for a blueprint.
pub fn adapter(blueprint: &Blueprint, root: &std::path::Path) -> Result<Box<dyn Agent>> {
    Ok(match blueprint.agent {
        AgentKind::Claude => Box::new(Claude),
        AgentKind::Command => Box::new(CommandLine::new(blueprint.command.clone(), root)),
        AgentKind::Scripted => {
            let script = root.join(blueprint.script.as_deref().unwrap_or_default());
            Box::new(CommandLine::new(
                vec![
                    octopoid_program()?,
                    "scripted-agent".into(),
                    script.display().to_string(),
                ],
                root,
            ))
        }
    })
}

/// The `octopoid` program itself: the running one where it is that, else the one on the PATH.
pub fn octopoid_program() -> Result<String> {
    let named = |p: &PathBuf| p.file_stem().is_some_and(|s| s == "octopoid");
    // Inside another program, as the packages of other languages run it, that program says what starts the command.
    let told = std::env::var_os("OCTOPOID_PROGRAM").map(PathBuf::from);
    told.filter(|p| p.is_file())
        .or_else(|| std::env::current_exe().ok().filter(named))
        .or_else(|| which::which("octopoid").ok())
        .map(|p| p.display().to_string())
        .ok_or_else(|| {
            Error::new(
                ErrorCode::AgentMissing,
                "the octopoid program is not on the PATH; the scripted agent needs it",
            )
            .with_hint("install the command line as well, or use `agent: command`")
        })
}

/// Variables that every agent gets from the orchestrator's environment.
const COMMON: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LANGUAGE",
    "TERM",
    "TMPDIR",
    "TZ",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "NODE_EXTRA_CA_CERTS",
    "CARGO_HOME",
    "RUSTUP_HOME",
    "RUSTUP_TOOLCHAIN",
    "GOPATH",
    "GOROOT",
    "JAVA_HOME",
    "VIRTUAL_ENV",
    "PYENV_ROOT",
    "NVM_DIR",
];

/// The environment of an agent: an allow-list of the orchestrator's, then the blueprint's own variables.
pub fn environment(
    agent: &dyn Agent,
    inherited: impl Iterator<Item = (String, String)>,
    own: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let mut env: BTreeMap<String, String> = inherited
        .filter(|(name, value)| {
            let common = COMMON.contains(&name.as_str()) || name.starts_with("LC_") || name.starts_with("XDG_");
            !value.is_empty() && !name.starts_with("OCTOPOID_") && (common || agent.may_see(name))
        })
        .collect();
    env.extend(own.iter().map(|(k, v)| (k.clone(), v.clone())));
    env
}

/// Finds the agent's program on the PATH that the agent will have.
pub fn find_program(agent: &dyn Agent, env: &BTreeMap<String, String>, cwd: &std::path::Path) -> Result<PathBuf> {
    let path = env.get("PATH").cloned().unwrap_or_default();
    which::which_in(agent.program(), Some(&path), cwd).map_err(|_| {
        Error::new(
            ErrorCode::AgentMissing,
            format!(
                "the agent program {:?} is not there; searched PATH={path}",
                agent.program()
            ),
        )
        .with_hint("install it, or correct the blueprint in .octopoid/agents/; work goes on by itself then")
    })
}
