//! The orchestrator: one daemon for one repository that turns decisions into git work and processes.

mod checks;
mod context;
mod daemon;
mod follow;
mod journal;
mod land;
mod lock;
mod own;
mod plan;
mod pool;
mod prepare;
mod reconcile;
mod review;
mod share;
mod sweep;
mod wake;
mod work;
mod worker;

use std::{path::Path, sync::Arc};

use tokio::sync::{mpsc, watch};

pub use context::Notice;
pub use daemon::{Ended, Stop};
pub use journal::{Finding, Journal, Pause};
pub use lock::DaemonInfo;
pub use sweep::{Kept, WorktreeState};

use crate::{
    clock::SystemClock,
    config::{Blueprint, Paths},
    error::{Error, ErrorCode, Result},
    git::Repo,
    id::OrchestratorId,
    queue::Octopoid,
    role::{AgentRole, Role},
};
use context::{Context, Player};
use daemon::Daemon;

/// Puts an orchestrator together.
#[derive(Debug, Default)]
pub struct Builder {
    octopoid: Option<Octopoid>,
    repo: Option<std::path::PathBuf>,
    roles: Vec<Arc<dyn Role>>,
    max_agents: Option<usize>,
    tick_seconds: Option<f64>,
}

impl Builder {
    /// The queue that it works on.
    #[must_use]
    pub fn octopoid(mut self, octopoid: Octopoid) -> Self {
        self.octopoid = Some(octopoid);
        self
    }

    /// The repository that it works in; the queue's own when not given.
    #[must_use]
    pub fn repo(mut self, repo: impl Into<std::path::PathBuf>) -> Self {
        self.repo = Some(repo.into());
        self
    }

    /// A role of the caller's, beside those of the blueprints.
    #[must_use]
    pub fn role(mut self, role: impl Role + 'static) -> Self {
        self.roles.push(Arc::new(role));
        self
    }

    /// Agents at work at the same time, instead of the configured number.
    #[must_use]
    pub fn max_agents(mut self, max: usize) -> Self {
        self.max_agents = Some(max);
        self
    }

    /// Seconds between looks at the queue, instead of the configured number.
    #[must_use]
    pub fn tick_seconds(mut self, seconds: f64) -> Self {
        self.tick_seconds = Some(seconds);
        self
    }

    /// Takes the project's lock and opens its journal. Refused when an orchestrator runs already.
    pub fn build(self) -> Result<Orchestrator> {
        let octopoid = self
            .octopoid
            .ok_or_else(|| Error::invalid("an orchestrator needs a queue: call octopoid(…) before build()"))?;
        // The queue may be another folder's, which other processes write to.
        let store = Paths::new(octopoid.root()).state_db();
        let octopoid = match &self.repo {
            Some(repo) => octopoid.in_repo(repo)?,
            None => octopoid,
        };
        let settings = octopoid.settings();
        let mut config = settings.config.clone();
        if let Some(max) = self.max_agents {
            if max == 0 {
                return Err(Error::invalid("max_agents is at least 1"));
            }
            config.orchestrator.max_agents = max;
        }
        if let Some(seconds) = self.tick_seconds {
            if !seconds.is_finite() || seconds < 1.0 {
                return Err(Error::invalid("the tick interval is at least 1 second"));
            }
            config.orchestrator.tick_seconds = seconds;
        }
        let paths = Paths::new(octopoid.root());
        let repo = Repo::at(octopoid.root())?;
        let max_turns = |b: &Blueprint| {
            config
                .budget
                .turns_per_attempt
                .map_or(b.max_turns, |cap| b.max_turns.min(cap))
        };
        let mut players: Vec<Player> = settings
            .blueprints
            .iter()
            .map(|b| Player {
                name: b.name.clone(),
                role: Arc::new(AgentRole {
                    blueprint: b.clone(),
                    max_turns: max_turns(b),
                }),
                blueprint: b.clone(),
                needs_program: true,
            })
            .collect();
        for (at, role) in self.roles.iter().enumerate() {
            if self.roles[..at].iter().any(|other| other.name() == role.name()) {
                return Err(Error::invalid(format!("two roles are called {}", role.name()))
                    .with_hint("tasks are given to a role by its name; one of them would have nothing to do"));
            }
        }
        for role in self.roles {
            players.push(own_role(role)?);
        }
        // What is nearly finished comes first: verdicts, then conflicts, then new work.
        players.sort_by_key(|p| (!p.blueprint.role.is_reviewer(), p.blueprint.role.as_str() != "conflict"));
        if players.is_empty() {
            return Err(Error::new(
                ErrorCode::InvalidConfig,
                format!("{} holds no agents", paths.agents().display()),
            )
            .with_hint("add a file such as agents/implementer.yaml; `octopoid init` writes one"));
        }
        let remote = match &config.repo.remote {
            Some(remote) => Some(remote.clone()),
            None => repo.default_remote()?,
        };
        let lock = lock::Lock::take(&paths)?;
        let journal = Arc::new(Journal::open(&paths.journal_db())?);
        let id = OrchestratorId::of(&config.server.cluster, &config.server.machine_id)?;
        let (notices, inbox) = mpsc::unbounded_channel();
        let watched = [paths.state_db()]
            .into_iter()
            .chain(store.exists().then_some(store))
            .collect();
        let cx = Arc::new(Context {
            watched,
            backend: Arc::clone(octopoid.backend()),
            repo,
            paths,
            config,
            journal,
            clock: Arc::new(SystemClock),
            id,
            players,
            remote,
            notices,
        });
        Ok(Orchestrator { cx, lock, inbox })
    }
}

/// A role without a blueprint gets the pool settings that suit most.
fn own_role(role: Arc<dyn Role>) -> Result<Player> {
    use crate::{config::AgentKind, model};
    let name = model::Role::parse(role.name())?;
    let claims_from = if name.is_reviewer() {
        vec![model::QueueName::provisional()]
    } else if name == model::Role::conflict() {
        vec![model::QueueName::needs_attention()]
    } else {
        vec![model::QueueName::needs_continuation(), model::QueueName::incoming()]
    };
    let blueprint = Blueprint {
        name: name.as_str().to_owned(),
        role: name,
        agent: AgentKind::Command,
        command: Vec::new(),
        script: None,
        model: None,
        max_instances: usize::MAX,
        max_turns: u32::MAX,
        claims_from,
        tools: None,
        env: std::collections::BTreeMap::new(),
        paused: false,
        interval_seconds: 0.0,
        prompt: None,
    };
    Ok(Player {
        name: blueprint.name.clone(),
        blueprint,
        role,
        needs_program: false,
    })
}

/// An orchestrator that holds its project's lock and is ready to run.
#[derive(Debug)]
pub struct Orchestrator {
    cx: Arc<Context>,
    lock: lock::Lock,
    inbox: mpsc::UnboundedReceiver<Notice>,
}

impl Orchestrator {
    /// Begins to put one together.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// What it tells while it runs; to be taken before it runs.
    pub fn notices(&mut self) -> mpsc::UnboundedReceiver<Notice> {
        std::mem::replace(&mut self.inbox, mpsc::unbounded_channel().1)
    }

    /// Does all work that is ready, waits for the agents that it starts, and ends.
    pub async fn run_once(self) -> Result<Ended> {
        let (_keep, stop) = watch::channel(Stop::No);
        self.run(true, stop).await
    }

    /// Runs until it is told to stop; with `once`, also until nothing is left to do.
    pub async fn run(self, once: bool, stop: watch::Receiver<Stop>) -> Result<Ended> {
        let _lock = self.lock;
        // Whoever wants the notices has taken them; nobody else is to fill the memory with them.
        drop(self.inbox);
        Daemon::new(self.cx, once).run(stop).await
    }

    /// Wakes up the project's orchestrator, if one runs, to look at the queue now. Writes to the store do that by themselves.
    pub fn nudge(paths: &Paths) -> Result<()> {
        wake::nudge(paths)
    }

    /// Tells the project's orchestrator to stop; with `now`, its agents too. False when none runs.
    pub fn tell_to_stop(paths: &Paths, now: bool) -> Result<bool> {
        let Some(info) = lock::DaemonInfo::read_alive(paths) else {
            return Ok(false);
        };
        Journal::open(&paths.journal_db())?.set_stop_now(now)?;
        Ok(signal(info.process.pid, rustix::process::Signal::TERM))
    }

    /// Linked worktrees of the project: what each is for, and whether it can go.
    pub async fn worktrees(octopoid: &Octopoid) -> Result<Vec<WorktreeState>> {
        sweep::look(octopoid).await
    }

    /// Removes the worktrees that can go; what they hold is kept as commits.
    pub async fn clean_worktrees(octopoid: &Octopoid) -> Result<Vec<WorktreeState>> {
        sweep::clean(octopoid).await
    }

    /// The patch of a task's work against its base.
    pub async fn diff(octopoid: &Octopoid, id: &crate::id::TaskId) -> Result<String> {
        sweep::diff(octopoid, id).await
    }

    /// The commit that brought a task's work into its base branch, when it is there.
    pub async fn merged_sha(octopoid: &Octopoid, id: &crate::id::TaskId) -> Result<Option<String>> {
        sweep::merged_sha(octopoid, id).await
    }

    /// The tip of a task's work as it is now, where there is any.
    pub async fn work_tip(octopoid: &Octopoid, id: &crate::id::TaskId) -> Result<Option<String>> {
        sweep::work_tip(octopoid, id).await
    }

    /// Folder of the files of one attempt.
    pub fn attempt_dir(root: &Path, task: &crate::id::TaskId, number: i64) -> std::path::PathBuf {
        Paths::new(root).attempt(task, number)
    }
}

fn signal(pid: i32, signal: rustix::process::Signal) -> bool {
    rustix::process::Pid::from_raw(pid).is_some_and(|pid| rustix::process::kill_process(pid, signal).is_ok())
}
