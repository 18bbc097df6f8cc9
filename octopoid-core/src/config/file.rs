//! `config.yaml` with `local.yaml` and the environment laid over it.

use std::collections::BTreeMap;

use schemars::{JsonSchema, json_schema};
use serde::Deserialize;

use super::{
    Budget, Config, Env, Merge, MergeMethod, Mode, Orchestrator, Paths, Repo, RunLimits, Server, bad, bad_yaml,
    line_of, read_text,
};
use crate::{
    error::{Error, ErrorCode, Result},
    id::{OrchestratorId, Scope},
};

/// A project's settings.
#[derive(Deserialize, Default, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(title = "config.yaml")]
struct ConfigFile {
    /// Where the tasks are kept.
    #[schemars(schema_with = "mode")]
    mode: Option<Mode>,
    /// Tenant; the folder's name when not given.
    scope: Option<String>,
    /// The server of a remote project, and this machine's name there.
    server: ServerFile,
    /// The repository, its checks and how a worktree is set up.
    repo: RepoFile,
    /// How many agents work, and how often the orchestrator looks.
    orchestrator: OrchestratorFile,
    /// How work is brought into the base branch.
    merge: MergeFile,
    /// When a person is asked.
    limits: LimitsFile,
    /// What agents may cost.
    budget: BudgetFile,
}

#[derive(Deserialize, Default, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct ServerFile {
    /// Address of the server; needed with `mode: remote`.
    url: Option<String>,
    /// First half of this orchestrator's name.
    cluster: Option<String>,
    /// Second half of this orchestrator's name; the host's name when not given.
    machine_id: Option<String>,
}

#[derive(Deserialize, Default, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct RepoFile {
    /// Where work starts and ends; detected when not given.
    base_branch: Option<String>,
    /// The remote that has the truth about the base branch.
    remote: Option<String>,
    /// Command that must pass on every commit before it is merged.
    test: Option<String>,
    /// Command that is run once in each new worktree.
    setup: Option<String>,
}

#[derive(Deserialize, Default, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct OrchestratorFile {
    /// Seconds between looks at the queue when nothing wakes the orchestrator up; 60 when not given.
    #[schemars(range(min = 1))]
    tick_seconds: Option<f64>,
    /// Agents at work at the same time; 3 when not given.
    #[schemars(range(min = 1, max = 1000))]
    max_agents: Option<usize>,
    /// Length of a lease, renewed every third of it; 300 when not given.
    #[schemars(range(min = 3))]
    lease_seconds: Option<f64>,
    /// Seconds between signs of life; 30 when not given.
    #[schemars(range(min = 1))]
    heartbeat_seconds: Option<f64>,
}

#[derive(Deserialize, Clone, Copy, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Strategy {
    /// The orchestrator.
    Local,
    /// Not available in this version.
    #[schemars(skip)]
    Github,
}

#[derive(Deserialize, Default, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct MergeFile {
    /// Who merges; `local` when not given.
    strategy: Option<Strategy>,
    /// How commits are combined; `squash` when not given.
    #[schemars(schema_with = "method")]
    method: Option<MergeMethod>,
    /// Whether landings wait for each other; true when not given.
    queue: Option<bool>,
}

#[derive(Deserialize, Default, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct LimitsFile {
    /// Failed attempts until a person is asked; 3 when not given.
    #[schemars(range(min = 1))]
    attempts: Option<i64>,
    /// Rejections until a person is asked; 3 when not given.
    #[schemars(range(min = 1))]
    rejections: Option<i64>,
    /// Minutes that one attempt may take; 60 when not given.
    #[schemars(extend("exclusiveMinimum" = 0))]
    wall_minutes: Option<f64>,
    /// Minutes without any output or changed file; 10 when not given.
    #[schemars(extend("exclusiveMinimum" = 0))]
    silence_minutes: Option<f64>,
}

#[derive(Deserialize, Default, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct BudgetFile {
    /// No new claims when the last 24 hours cost so many US dollars.
    #[schemars(extend("exclusiveMinimum" = 0))]
    usd_per_day: Option<f64>,
    /// A person is asked when a task used so many tokens.
    #[schemars(range(min = 1))]
    tokens_per_task: Option<u64>,
    /// Upper bound of every blueprint's `max_turns`.
    #[schemars(range(min = 1))]
    turns_per_attempt: Option<u32>,
}

fn mode(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    json_schema!({ "enum": [Mode::Local, Mode::Remote] })
}

fn method(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    json_schema!({ "enum": [MergeMethod::Squash, MergeMethod::Merge, MergeMethod::Rebase, null] })
}

/// The JSON Schema of `config.yaml`.
pub(super) fn schema() -> schemars::Schema {
    schemars::schema_for!(ConfigFile)
}

/// One file with its name, for messages.
struct Layer {
    name: String,
    text: String,
    values: ConfigFile,
}

/// Picks the topmost value of a key and notes where it came from.
struct Pick<'a> {
    layers: &'a [Layer],
    origins: BTreeMap<String, String>,
}

impl Pick<'_> {
    fn get<T>(&mut self, key: &str, of: impl Fn(&ConfigFile) -> Option<T>) -> Option<T> {
        let found = self
            .layers
            .iter()
            .rev()
            .find_map(|layer| of(&layer.values).map(|v| (v, layer)));
        let origin = found.as_ref().map_or("default".to_owned(), |(_, l)| {
            format!("{}:{}", l.name, line_of(&l.text, key))
        });
        self.origins.insert(key.to_owned(), origin);
        found.map(|(value, _)| value)
    }

    /// A value that must fulfil `good`; `allowed` says so in words.
    fn checked<T: std::fmt::Display>(
        &mut self,
        key: &str,
        of: impl Fn(&ConfigFile) -> Option<T>,
        good: impl Fn(&T) -> bool,
        allowed: &str,
    ) -> Result<Option<T>> {
        let value = self.get(key, of);
        match value {
            Some(value) if !good(&value) => {
                let origin = self.origins.get(key).cloned().unwrap_or_default();
                Err(Error::new(
                    ErrorCode::InvalidConfig,
                    format!("{origin}: {key}: {value} is not allowed; {allowed}"),
                ))
            }
            value => Ok(value),
        }
    }
}

fn text(value: Option<&String>) -> Option<String> {
    value.map(|v| v.trim().to_owned()).filter(|v| !v.is_empty())
}

fn read(paths: &Paths, path: &std::path::Path) -> Result<Layer> {
    let name = paths.shown(path);
    let text = read_text(path)?;
    let values = if text
        .lines()
        .all(|l| l.trim().is_empty() || l.trim_start().starts_with('#'))
    {
        ConfigFile::default()
    } else {
        yaml_serde::from_str(&text).map_err(|e| bad_yaml(&name, &e))?
    };
    Ok(Layer { name, text, values })
}

/// `plain` takes the values of a project of this machine where there is no file.
pub(super) fn load(paths: &Paths, env: Env<'_>, plain: bool) -> Result<Config> {
    let mut layers = vec![if plain && !paths.config().exists() {
        Layer {
            name: paths.shown(&paths.config()),
            text: String::new(),
            values: ConfigFile {
                mode: Some(Mode::Local),
                ..ConfigFile::default()
            },
        }
    } else {
        read(paths, &paths.config())?
    }];
    if paths.local().is_file() {
        layers.push(read(paths, &paths.local())?);
    }
    let mut pick = Pick {
        layers: &layers,
        origins: BTreeMap::new(),
    };

    let mode = pick.get("mode", |c| c.mode);
    let base = &layers[0];
    let mode = mode.ok_or_else(|| bad(&base.name, 1, "mode: is missing; allowed: local, remote"))?;

    let default_scope = || {
        let name = paths
            .root()
            .file_name()
            .map(|n| n.to_string_lossy().into_owned())
            .unwrap_or_default();
        let clean: String = name
            .chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() || "._-".contains(c) {
                    c
                } else {
                    '-'
                }
            })
            .collect();
        let clean = clean.trim_matches(|c: char| !c.is_ascii_alphanumeric()).to_owned();
        if clean.is_empty() { "default".to_owned() } else { clean }
    };
    let mut scope = pick.get("scope", |c| text(c.scope.as_ref()));
    if let Some(value) = env("OCTOPOID_SCOPE") {
        pick.origins.insert("scope".into(), "OCTOPOID_SCOPE".into());
        scope = Some(value);
    }
    let scope = Scope::parse(&scope.unwrap_or_else(default_scope))
        .map_err(|e| bad(&base.name, line_of(&base.text, "scope"), format!("scope: {e}")))?;

    let mut url = pick.get("server.url", |c| text(c.server.url.as_ref()));
    if let Some(value) = env("OCTOPOID_SERVER_URL") {
        pick.origins.insert("server.url".into(), "OCTOPOID_SERVER_URL".into());
        url = Some(value);
    }
    if mode == Mode::Remote && url.is_none() {
        return Err(bad(
            &base.name,
            line_of(&base.text, "mode"),
            "server.url: is missing; mode: remote needs the server's address (or OCTOPOID_SERVER_URL)",
        ));
    }
    let cluster = pick
        .get("server.cluster", |c| text(c.server.cluster.as_ref()))
        .unwrap_or_else(|| "local".into());
    let mut machine = pick.get("server.machine_id", |c| text(c.server.machine_id.as_ref()));
    if let Some(value) = env("OCTOPOID_MACHINE_ID") {
        pick.origins
            .insert("server.machine_id".into(), "OCTOPOID_MACHINE_ID".into());
        machine = Some(value);
    }
    let machine_id = machine.unwrap_or_else(host_name);
    OrchestratorId::of(&cluster, &machine_id)
        .map_err(|e| bad(&base.name, line_of(&base.text, "server"), format!("server: {e}")))?;

    let positive = |v: &f64| v.is_finite() && *v > 0.0;
    let config = Config {
        mode,
        scope,
        server: Server {
            url,
            cluster,
            machine_id,
        },
        repo: Repo {
            base_branch: pick.get("repo.base_branch", |c| text(c.repo.base_branch.as_ref())),
            remote: pick.get("repo.remote", |c| text(c.repo.remote.as_ref())),
            test: pick.get("repo.test", |c| text(c.repo.test.as_ref())),
            setup: pick.get("repo.setup", |c| text(c.repo.setup.as_ref())),
        },
        orchestrator: Orchestrator {
            tick_seconds: pick
                .checked(
                    "orchestrator.tick_seconds",
                    |c| c.orchestrator.tick_seconds,
                    |v| v.is_finite() && *v >= 1.0,
                    "at least 1",
                )?
                .unwrap_or(60.0),
            max_agents: pick
                .checked(
                    "orchestrator.max_agents",
                    |c| c.orchestrator.max_agents,
                    |v| (1..=1000).contains(v),
                    "1 to 1000",
                )?
                .unwrap_or(3),
            lease_seconds: pick
                .checked(
                    "orchestrator.lease_seconds",
                    |c| c.orchestrator.lease_seconds,
                    |v| v.is_finite() && *v >= 3.0,
                    "at least 3",
                )?
                .unwrap_or(300.0),
            heartbeat_seconds: pick
                .checked(
                    "orchestrator.heartbeat_seconds",
                    |c| c.orchestrator.heartbeat_seconds,
                    |v| v.is_finite() && *v >= 1.0,
                    "at least 1",
                )?
                .unwrap_or(30.0),
        },
        merge: Merge {
            method: pick
                .get("merge.method", |c| c.merge.method)
                .unwrap_or(MergeMethod::Squash),
            queue: pick.get("merge.queue", |c| c.merge.queue).unwrap_or(true),
        },
        limits: RunLimits {
            attempts: pick
                .checked("limits.attempts", |c| c.limits.attempts, |v| *v >= 1, "at least 1")?
                .unwrap_or(3),
            rejections: pick
                .checked("limits.rejections", |c| c.limits.rejections, |v| *v >= 1, "at least 1")?
                .unwrap_or(3),
            wall_minutes: pick
                .checked(
                    "limits.wall_minutes",
                    |c| c.limits.wall_minutes,
                    positive,
                    "more than 0",
                )?
                .unwrap_or(60.0),
            silence_minutes: pick
                .checked(
                    "limits.silence_minutes",
                    |c| c.limits.silence_minutes,
                    positive,
                    "more than 0",
                )?
                .unwrap_or(10.0),
        },
        budget: Budget {
            usd_per_day: pick.checked("budget.usd_per_day", |c| c.budget.usd_per_day, positive, "more than 0")?,
            tokens_per_task: pick.checked(
                "budget.tokens_per_task",
                |c| c.budget.tokens_per_task,
                |v| *v > 0,
                "more than 0",
            )?,
            turns_per_attempt: pick.checked(
                "budget.turns_per_attempt",
                |c| c.budget.turns_per_attempt,
                |v| *v > 0,
                "more than 0",
            )?,
        },
        origins: BTreeMap::new(),
    };
    if let Some(Strategy::Github) = pick.get("merge.strategy", |c| c.merge.strategy) {
        let origin = pick.origins.get("merge.strategy").cloned().unwrap_or_default();
        return Err(Error::new(
            ErrorCode::InvalidConfig,
            format!("{origin}: merge.strategy: github is not available in this version; allowed: local"),
        ));
    }
    if mode == Mode::Remote && config.server.url.is_none() {
        return Err(bad(
            &base.name,
            line_of(&base.text, "mode"),
            "server.url: is missing; mode: remote needs it",
        ));
    }
    let origins = pick.origins;
    Ok(Config { origins, ..config })
}

/// This machine's name, reduced to what an id may hold.
fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let clean: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' })
        .collect();
    let clean = clean.trim_matches('-');
    if clean.is_empty() {
        "host".into()
    } else {
        clean.to_owned()
    }
}
