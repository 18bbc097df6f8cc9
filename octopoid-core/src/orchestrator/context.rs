//! What every part of a running orchestrator shares.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use tokio::sync::watch;

use super::journal::{Journal, Run};
use crate::{
    agent::{RunLimits, supervise::ProcessId},
    backend::Backend,
    clock::{Clock, Timestamp},
    config::{Blueprint, Config, Paths},
    error::{Error, ErrorCode, Result},
    git::Repo,
    id::OrchestratorId,
    lifecycle::Command,
    model::Task,
    role::{Role, RunRecord, RunState},
};

/// Time between asking an agent to end and ending it by force.
const GRACE: Duration = Duration::from_secs(5);

/// Something that the orchestrator tells while it works; faces print it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The task that it is about.
    pub task: Option<crate::id::TaskId>,
    /// In words.
    pub text: String,
}

/// A role with the pool settings that it runs under.
#[derive(Debug, Clone)]
pub(super) struct Player {
    /// Name in claims, history and journal.
    pub name: String,
    /// The pool's settings.
    pub blueprint: Blueprint,
    /// What it does.
    pub role: Arc<dyn Role>,
    /// Whether an agent program is behind it, which has to be there.
    pub needs_program: bool,
}

#[derive(Debug)]
pub(super) struct Context {
    pub backend: Arc<dyn Backend>,
    pub repo: Repo,
    pub paths: Paths,
    /// Databases whose changes are a reason to look at the queue.
    pub watched: BTreeSet<PathBuf>,
    pub config: Config,
    pub journal: Arc<Journal>,
    pub clock: Arc<dyn Clock>,
    pub id: OrchestratorId,
    pub players: Vec<Player>,
    pub remote: Option<String>,
    pub notices: tokio::sync::mpsc::UnboundedSender<Notice>,
}

impl Context {
    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(super) fn tell(&self, task: &Task, text: impl Into<String>) {
        let text = text.into();
        tracing::info!(task = %task.id, "{text}");
        // Nobody listens when the orchestrator runs inside a service.
        let _ = self.notices.send(Notice {
            task: Some(task.id.clone()),
            text,
        });
    }

    pub(super) fn run_limits(&self) -> RunLimits {
        let minutes = |m: f64| Duration::try_from_secs_f64(m * 60.0).unwrap_or(Duration::MAX);
        RunLimits {
            wall: minutes(self.config.limits.wall_minutes),
            silence: minutes(self.config.limits.silence_minutes),
            grace: GRACE,
        }
    }

    /// Where the repository comes from, without anything secret in it.
    pub(super) fn repo_url(&self) -> String {
        let url = self
            .remote
            .as_deref()
            .and_then(|remote| self.repo.remote_url(remote).ok().flatten());
        match url {
            Some(url) => match (url.split_once("://"), url.split_once('@')) {
                (Some((scheme, rest)), Some(_)) => {
                    format!("{scheme}://{}", rest.rsplit_once('@').map_or(rest, |(_, host)| host))
                }
                _ => url,
            },
            None => "local".to_owned(),
        }
    }

    /// Runs blocking git work on its own thread.
    pub(super) async fn git<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Repo) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let repo = self.repo.clone();
        tokio::task::spawn_blocking(move || work(&repo))
            .await
            .map_err(|e| Error::new(ErrorCode::Internal, format!("git work stopped: {e}")))?
    }

    /// The base branch's tip as just read from where the truth is: the remote, else the repository.
    pub(super) async fn base_tip(&self, branch: &str) -> Result<String> {
        let (branch, remote) = (branch.to_owned(), self.remote.clone());
        self.git(move |repo| {
            let (tip, place) = match &remote {
                Some(remote) => {
                    repo.fetch(remote)?;
                    (repo.remote_tip(remote, &branch)?, format!("the remote {remote}"))
                }
                None => (repo.branch_tip(&branch)?, "the repository".to_owned()),
            };
            tip.ok_or_else(|| {
                Error::not_found("branch", format!("{branch} in {place}"))
                    .with_hint("create the branch, or correct repo.base_branch or the task's branch")
            })
        })
        .await
    }

    /// Commands that must pass on a task's commits.
    pub(super) fn checks_of(&self, task: &Task) -> Vec<String> {
        self.config.repo.test.iter().chain(&task.checks).cloned().collect()
    }

    /// Folder of a run's files.
    pub(super) fn dir_of(&self, run: &Run) -> PathBuf {
        match run.attempt {
            Some(number) => self.paths.attempt(&run.task, number),
            None => self
                .paths
                .runtime()
                .join("landings")
                .join(run.task.as_str())
                .join(run.epoch.to_string()),
        }
    }

    /// Where the keep-ref of a run lies.
    pub(super) fn keep_name(&self, run: &Run) -> String {
        match run.attempt {
            Some(number) => format!("{}/{number}", run.task),
            None => format!("{}/landing-{}", run.task, run.epoch),
        }
    }

    /// Applies a command of a claim; a boundary of the crash tests on both sides.
    pub(super) async fn apply(&self, run: &Run, command: Command) -> Result<Task> {
        self.share(&run.task, &command).await?;
        self.journal.boundary();
        let result = self.backend.apply(&run.task, command).await;
        self.journal.boundary();
        result
    }

    /// Variables that check and setup commands get: those of every agent, without any agent's own.
    pub(super) fn check_env(&self, mark: &str, task: &Task) -> BTreeMap<String, String> {
        let nobody = crate::agent::CommandLine::new(Vec::new(), self.paths.root());
        let inherited = std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
        let mut env = crate::agent::environment(&nobody, inherited, &BTreeMap::new());
        env.insert(crate::agent::supervise::MARK.to_owned(), mark.to_owned());
        env.insert("OCTOPOID_TASK_ID".to_owned(), task.id.to_string());
        env.insert("CI".to_owned(), "true".to_owned());
        env
    }
}

/// A run's steps, in the journal.
#[derive(Debug)]
pub(super) struct JournaledRun {
    pub journal: Arc<Journal>,
    pub run: Run,
}

impl RunRecord for JournaledRun {
    fn state(&self) -> Result<RunState> {
        self.journal.state(&self.run.task, self.run.epoch)
    }
    fn starting(&self) -> Result<()> {
        self.journal.starting(&self.run.task, self.run.epoch)
    }
    fn running(&self, process: &ProcessId) -> Result<()> {
        self.journal.running(&self.run.task, self.run.epoch, process)
    }
}

/// Becomes true when a run's result is not wanted any more.
pub(super) type Stop = watch::Receiver<bool>;
