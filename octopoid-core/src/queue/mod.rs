//! What scripts hold: the [`Octopoid`] handle on a project's queue.

mod init;
pub mod legacy;
mod migrate;
mod migrate_records;
pub mod task_file;

pub use init::{InitRequest, Initialised, init};
pub use migrate::{Migrated, Moved, migrate};
pub use migrate_records::migrate_records;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use crate::{
    backend::{Backend, Reach, Synced},
    client::{Address, Client},
    config::{self, Mode, Paths, Settings},
    engine::{Engine, Rules, Status, TaskView, Why},
    error::{Error, Result},
    git::Repo,
    id::TaskId,
    lifecycle::Command,
    model::{CreateTask, EditTask, Event, QueueName, Role, Task, TaskFilter, TaskPage},
    offline::Offline,
    store::SqliteStore,
};

/// How long a server may take to answer.
const ANSWER: Duration = Duration::from_secs(30);

/// A project's queue. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Octopoid {
    backend: Arc<dyn Backend>,
    settings: Arc<Settings>,
    root: PathBuf,
}

impl Octopoid {
    /// Opens the project that `dir` lies in; from inside a linked worktree, the main checkout's.
    ///
    /// Fails with `not_initialised` where `octopoid init` has not been run.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self> {
        let root = project_root(dir.as_ref())?;
        let paths = Paths::new(&root);
        let settings = config::load(&paths, &config::process_env)?;
        let base_branch = match &settings.config.repo.base_branch {
            Some(branch) => branch.clone(),
            None => Repo::at(&root)?.default_branch()?,
        };
        let rules = Rules {
            scope: settings.config.scope.clone(),
            flows: settings.flows.clone(),
            limits: settings.config.lifecycle_limits(),
            base_branch,
            roles: allowed_roles(&settings)?,
            open: false,
        };
        let backend: Arc<dyn Backend> = match settings.config.mode {
            Mode::Local => {
                let store = SqliteStore::open(&paths.state_db())?;
                Arc::new(Engine::new(Arc::new(store), rules))
            }
            Mode::Remote => Arc::new(remote(&paths, &settings, rules)?),
        };
        Ok(Self {
            backend,
            settings: Arc::new(settings),
            root,
        })
    }

    /// How the queue is reached.
    pub fn reach(&self) -> Reach {
        self.backend.reach()
    }

    /// Sends what waits in the outbox, and refreshes the copy.
    pub async fn sync(&self) -> Result<Synced> {
        self.backend.sync().await
    }

    /// Top of the main checkout.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What the project's files say.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The queue itself, wherever it is.
    pub fn backend(&self) -> &Arc<dyn Backend> {
        &self.backend
    }

    /// Tasks.
    pub fn tasks(&self) -> Tasks<'_> {
        Tasks(&*self.backend)
    }

    /// The change feed.
    pub fn events(&self) -> Events<'_> {
        Events(&*self.backend)
    }

    /// Counts, claims, and what needs a person.
    pub async fn status(&self) -> Result<Status> {
        self.backend.status().await
    }
}

/// A server, with a copy and an outbox in the project's folder for when it is away.
fn remote(paths: &Paths, settings: &Settings, rules: Rules) -> Result<Offline> {
    let address = Address {
        url: settings.config.server.url.clone().unwrap_or_default(),
        api_key: config::api_key(paths, &config::process_env)?,
        timeout: ANSWER,
    };
    let client = Client::new(address, rules.clone())?;
    Offline::new(client, rules, &paths.cache_db(), &paths.outbox_db())
}

/// The main checkout of the project that `dir` lies in.
pub fn project_root(dir: &Path) -> Result<PathBuf> {
    let dir = dir.canonicalize().map_err(|e| Error::io("open", dir, e))?;
    match Repo::discover(&dir) {
        // A worktree of an agent lies inside `.octopoid/`; the repository knows where it belongs.
        Ok(repo) if Paths::new(repo.root()).config().is_file() => Ok(repo.root().to_path_buf()),
        _ => config::find_root(&dir),
    }
}

/// Roles are a closed list as soon as agents are configured: a task with another one would wait for ever.
fn allowed_roles(settings: &Settings) -> Result<Option<Vec<Role>>> {
    if settings.blueprints.is_empty() {
        return Ok(None);
    }
    let mut roles = Role::KNOWN
        .iter()
        .map(|name| Role::parse(name))
        .collect::<Result<Vec<_>>>()?;
    for blueprint in &settings.blueprints {
        if !roles.contains(&blueprint.role) {
            roles.push(blueprint.role.clone());
        }
    }
    Ok(Some(roles))
}

/// Operations on tasks.
#[derive(Debug, Clone, Copy)]
pub struct Tasks<'a>(&'a dyn Backend);

impl Tasks<'_> {
    /// Creates a task.
    pub async fn create(&self, request: CreateTask) -> Result<Task> {
        self.0.create(request).await
    }
    /// One task; `not_found` when it does not exist.
    pub async fn get(&self, id: &TaskId) -> Result<Task> {
        self.0.task(id).await
    }
    /// A page of tasks.
    pub async fn list(&self, filter: &TaskFilter) -> Result<TaskPage> {
        for queue in &filter.queues {
            if !self.0.rules().flows.iter().any(|flow| flow.has_state(queue)) {
                return Err(Error::invalid(format!("{queue} is a queue of no flow"))
                    .with_hint("`octopoid flow list` shows the flows and their states"));
            }
        }
        self.0.list(filter).await
    }
    /// Tasks as JSON shows them.
    pub async fn views(&self, tasks: Vec<Task>) -> Result<Vec<TaskView>> {
        self.0.views(tasks).await
    }
    /// One task with everything that belongs to it.
    pub async fn show(&self, id: &TaskId) -> Result<TaskView> {
        self.0.show(id).await
    }
    /// Where a task is, what holds it, what was tried, and what helps.
    pub async fn why(&self, id: &TaskId) -> Result<Why> {
        self.0.why(id).await
    }
    /// Accepts the commit that is handed in; an orchestrator merges it.
    pub async fn approve(&self, id: &TaskId, by: &str) -> Result<Task> {
        self.0.apply(id, Command::Approve { by: by.to_owned() }).await
    }
    /// Refuses it; the reason reaches the next attempt.
    pub async fn reject(&self, id: &TaskId, by: &str, reason: &str) -> Result<Task> {
        self.0
            .apply(
                id,
                Command::Reject {
                    by: by.to_owned(),
                    reason: reason.to_owned(),
                },
            )
            .await
    }
    /// Starts a finished or stuck task again, with fresh limits.
    pub async fn retry(&self, id: &TaskId, by: &str) -> Result<Task> {
        self.0.apply(id, Command::Retry { by: by.to_owned() }).await
    }
    /// Puts a task back to `incoming`.
    pub async fn requeue(&self, id: &TaskId, by: &str) -> Result<Task> {
        self.0.apply(id, Command::Requeue { by: by.to_owned() }).await
    }
    /// Calls a task off; its agent is ended, its work is kept.
    pub async fn cancel(&self, id: &TaskId, by: &str, reason: &str) -> Result<Task> {
        self.0
            .apply(
                id,
                Command::Cancel {
                    by: by.to_owned(),
                    reason: reason.to_owned(),
                },
            )
            .await
    }
    /// No claims until `unhold`.
    pub async fn hold(&self, id: &TaskId, by: &str, reason: &str) -> Result<Task> {
        self.0
            .apply(
                id,
                Command::Hold {
                    by: by.to_owned(),
                    reason: reason.to_owned(),
                },
            )
            .await
    }
    /// Claims are allowed again.
    pub async fn unhold(&self, id: &TaskId, by: &str) -> Result<Task> {
        self.0.apply(id, Command::Unhold { by: by.to_owned() }).await
    }
    /// Moves a task by decision of a person. `merged_sha` is for `done`: a commit that is in the base branch;
    /// `head_sha` is for a review: the tip of the work as it is now.
    pub async fn recover(
        &self,
        id: &TaskId,
        by: &str,
        to: QueueName,
        reason: &str,
        merged_sha: Option<String>,
        head_sha: Option<String>,
    ) -> Result<Task> {
        self.0
            .apply(
                id,
                Command::Recover {
                    by: by.to_owned(),
                    to,
                    reason: reason.to_owned(),
                    merged_sha,
                    head_sha,
                },
            )
            .await
    }
    /// Moves a task to `failed`, from any queue that is not `done`.
    pub async fn fail(&self, id: &TaskId, by: &str, reason: &str) -> Result<Task> {
        self.0
            .apply(
                id,
                Command::GiveUp {
                    by: by.to_owned(),
                    reason: reason.to_owned(),
                },
            )
            .await
    }
    /// Changes what is asked for.
    pub async fn edit(&self, id: &TaskId, by: &str, edit: EditTask) -> Result<Task> {
        self.0
            .apply(
                id,
                Command::Edit {
                    by: by.to_owned(),
                    edit: Box::new(edit),
                },
            )
            .await
    }
    /// Removes a task; its history stays.
    pub async fn delete(&self, id: &TaskId, by: &str) -> Result<()> {
        self.0.delete(id, by).await
    }
}

/// The audit trail and change feed.
#[derive(Debug, Clone, Copy)]
pub struct Events<'a>(&'a dyn Backend);

impl Events<'_> {
    /// Events after a cursor, of one task or of all, oldest first.
    pub async fn list(&self, task: Option<&TaskId>, after: i64, limit: u32) -> Result<Vec<Event>> {
        self.0.events(task, after, limit).await
    }
}
