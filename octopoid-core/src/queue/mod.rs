//! What scripts hold: the [`Octopoid`] handle on a project's queue.

mod connect;
pub mod files;
mod init;
pub mod legacy;
mod migrate;
mod migrate_records;
mod records;
pub mod task_file;
mod tasks;

pub use connect::Connect;
pub use files::generate_task_id;
pub use init::{InitRequest, Initialised, init};
pub use migrate::{Migrated, Moved, migrate};
pub use migrate_records::migrate_records;
pub use records::{Actions, Drafts, Flows, Listing, Messages, Orchestrators, Projects};
pub use tasks::{Events, HandIn, Take, Tasks};

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use crate::{
    backend::{Backend, Reach, Synced},
    client::{Address, Client, Requests},
    config::{self, Mode, Paths, Settings},
    engine::{Engine, Rules, Status, registry::Registry},
    error::{Error, ErrorCode, Result},
    git::Repo,
    model::Role,
    offline::Offline,
    store::SqliteStore,
    wire::BASE_BRANCH,
};

/// How long a server may take to answer.
const ANSWER: Duration = Duration::from_secs(30);

/// A project's queue. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Octopoid {
    backend: Arc<dyn Backend>,
    place: Place,
    settings: Arc<Settings>,
    root: PathBuf,
}

/// Where the queue is.
#[derive(Debug, Clone)]
enum Place {
    /// In this process.
    Local(Registry),
    /// On a server.
    Remote(Requests, Address),
}

impl Octopoid {
    /// Opens the project that `dir` lies in; from inside a linked worktree, the main checkout's.
    ///
    /// Fails with `not_initialised` where `octopoid init` has not been run.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self> {
        let root = project_root(dir.as_ref())?;
        let settings = config::load(&Paths::new(&root), &config::process_env)?;
        Self::of(root, settings)
    }

    /// Opens the store in a folder, and makes it when it is not there. A project that was set up keeps its rules; any other
    /// folder has the shipped ones.
    pub fn local(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref();
        std::fs::create_dir_all(folder).map_err(|e| Error::io("create", folder, e))?;
        let root = match project_root(folder) {
            Ok(root) => root,
            Err(error) if error.code() == ErrorCode::NotInitialised => {
                folder.canonicalize().map_err(|e| Error::io("open", folder, e))?
            }
            Err(error) => return Err(error),
        };
        let paths = Paths::new(&root);
        paths.ensure_ignored()?;
        let settings = config::load_or_plain(&paths, &config::process_env)?;
        Self::of(root, settings)
    }

    /// A queue on a server: `Octopoid::connect(url).api_key(…).scope(…).build()?`. Nothing is sent yet.
    pub fn connect(url: impl Into<String>) -> Connect {
        Connect::new(url.into())
    }

    fn of(root: PathBuf, settings: Settings) -> Result<Self> {
        let paths = Paths::new(&root);
        let rules = rules_of(&root, &settings)?;
        let (backend, place): (Arc<dyn Backend>, Place) = match settings.config.mode {
            Mode::Local => {
                let store = SqliteStore::open(&paths.state_db())?;
                let engine = Engine::new(Arc::new(store), rules);
                let registry = Registry::over(&engine);
                (Arc::new(engine), Place::Local(registry))
            }
            Mode::Remote => {
                let address = Address {
                    url: settings.config.server.url.clone().unwrap_or_default(),
                    api_key: config::api_key(&paths, &config::process_env)?,
                    timeout: ANSWER,
                    scope: Some(rules.scope.clone()),
                };
                let requests = address.requests()?;
                let backend = offline(&paths, &address, rules)?;
                (Arc::new(backend), Place::Remote(requests, address))
            }
        };
        Ok(Self {
            backend,
            place,
            settings: Arc::new(settings),
            root,
        })
    }

    /// The same queue for the repository at `repo`: with its settings, its base branch and its place for worktrees. The
    /// repository need not be set up.
    pub fn in_repo(&self, repo: impl AsRef<Path>) -> Result<Self> {
        let repo = Repo::discover(repo.as_ref())?;
        let root = repo.root().to_path_buf();
        if root == self.root && self.has_project() {
            return Ok(self.clone());
        }
        let paths = Paths::new(&root);
        paths.ensure_ignored()?;
        let mut settings = config::load_or_plain(&paths, &config::process_env)?;
        // The queue decides whose tasks these are; the files of the repository say how they are worked on.
        settings.config.scope.clone_from(&self.backend.rules().scope);
        let rules = rules_of(&root, &settings)?;
        let backend: Arc<dyn Backend> = match &self.place {
            Place::Local(registry) => Arc::new(registry.with_rules(rules)),
            Place::Remote(_, address) => Arc::new(offline(&paths, address, rules)?),
        };
        Ok(Self {
            backend,
            place: self.place.clone(),
            settings: Arc::new(settings),
            root,
        })
    }

    /// Whether the handle belongs to a folder; one on a server alone does not.
    fn has_project(&self) -> bool {
        !self.root.as_os_str().is_empty()
    }

    /// Projects, drafts and everything else beside the tasks, of a store of this process; none for a server's.
    pub fn registry(&self) -> Option<&Registry> {
        match &self.place {
            Place::Local(registry) => Some(registry),
            Place::Remote(..) => None,
        }
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

    /// Projects: several tasks on one branch.
    pub fn projects(&self) -> Projects<'_> {
        Projects(self)
    }

    /// Ideas that are not tasks yet.
    pub fn drafts(&self) -> Drafts<'_> {
        Drafts(self)
    }

    /// Orchestrators that made themselves known.
    pub fn orchestrators(&self) -> Orchestrators<'_> {
        Orchestrators(self)
    }

    /// Flows that were registered.
    pub fn flows(&self) -> Flows<'_> {
        Flows(self)
    }

    /// Messages about tasks.
    pub fn messages(&self) -> Messages<'_> {
        Messages(self)
    }

    /// Proposed actions.
    pub fn actions(&self) -> Actions<'_> {
        Actions(self)
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
fn offline(paths: &Paths, address: &Address, rules: Rules) -> Result<Offline> {
    let client = Client::new(address.clone(), rules.clone())?;
    Offline::new(client, rules, &paths.cache_db(), &paths.outbox_db())
}

/// What the engine has to know of the project at `root`.
fn rules_of(root: &Path, settings: &Settings) -> Result<Rules> {
    let base_branch = match &settings.config.repo.base_branch {
        Some(branch) => branch.clone(),
        None => match Repo::at(root) {
            Ok(repo) => repo.default_branch()?,
            // A store alone: whoever works on its tasks knows the branch.
            Err(_) if !Paths::new(root).config().exists() => BASE_BRANCH.to_owned(),
            Err(error) => return Err(error),
        },
    };
    Ok(Rules {
        scope: settings.config.scope.clone(),
        flows: settings.flows.clone(),
        limits: settings.config.lifecycle_limits(),
        base_branch,
        roles: allowed_roles(settings)?,
        open: false,
    })
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
