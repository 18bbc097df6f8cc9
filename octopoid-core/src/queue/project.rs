//! Handles on the queue of a folder: a project that was set up, or a store alone.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

#[cfg(feature = "client")]
use sha2::{Digest as _, Sha256};

use super::{Octopoid, Place};
use crate::{
    backend::Backend,
    config::{self, Mode, Paths, Settings},
    engine::{Engine, Rules, registry::Registry},
    error::{Error, Result},
    git::Repo,
    model::Role,
    store::SqliteStore,
    wire::BASE_BRANCH,
};
#[cfg(feature = "client")]
use crate::{
    client::{Address, Client},
    offline::Offline,
};

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
        let mut root = folder.canonicalize().map_err(|e| Error::io("open", folder, e))?;
        // The top of any checkout of a project stands for the project; a folder inside of it is a place of its own.
        if root.join(".git").exists()
            && let Ok(repo) = Repo::discover(&root)
            && Paths::new(repo.root()).config().is_file()
        {
            root = repo.root().to_path_buf();
        }
        let paths = Paths::new(&root);
        paths.ensure_ignored()?;
        let settings = config::load_or_plain(&paths, &config::process_env)?;
        Self::of(root, settings)
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
            #[cfg(feature = "client")]
            Mode::Remote => {
                let address = Address {
                    url: settings.config.server.url.clone().unwrap_or_default(),
                    api_key: config::api_key(&paths, &config::process_env)?,
                    timeout: super::ANSWER,
                    scope: Some(rules.scope.clone()),
                };
                let requests = address.requests()?;
                let backend = offline(&paths, &address, rules)?;
                (Arc::new(backend), Place::Remote(requests, address))
            }
            #[cfg(not(feature = "client"))]
            Mode::Remote => {
                return Err(Error::invalid(format!(
                    "the queue of {} is on a server, and this program was built without the feature `client`",
                    root.display()
                )));
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
            #[cfg(feature = "client")]
            Place::Remote(_, address) => Arc::new(offline_elsewhere(&paths, &settings, address, rules)?),
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
}

#[cfg(feature = "client")]
/// A server, with a copy and an outbox in the project's folder for when it is away.
fn offline(paths: &Paths, address: &Address, rules: Rules) -> Result<Offline> {
    let client = Client::new(address.clone(), rules.clone())?;
    Offline::new(client, rules, &paths.cache_db(), &paths.outbox_db())
}

/// The same for a queue that need not be the project's own: what waits for one server is never sent to another.
#[cfg(feature = "client")]
fn offline_elsewhere(paths: &Paths, settings: &Settings, address: &Address, rules: Rules) -> Result<Offline> {
    let own = config::load_or_plain(paths, &config::process_env)?.config;
    let is_own = settings.config.mode == Mode::Remote
        && own.server.url.as_deref().map(|u| u.trim_end_matches('/')) == Some(address.url.trim_end_matches('/'))
        && Some(&own.scope) == address.scope.as_ref();
    if is_own {
        return offline(paths, address, rules);
    }
    let scope = address.scope.as_ref().map_or("", |s| s.as_str());
    let name = crate::id::to_hex(&Sha256::digest(format!("{}\0{scope}", address.url)))[..16].to_owned();
    let client = Client::new(address.clone(), rules.clone())?;
    let file = |kind: &str| paths.runtime().join(format!("{kind}-{name}.db"));
    Offline::new(client, rules, &file("cache"), &file("outbox"))
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
