//! What scripts hold: the [`Octopoid`] handle on a project's queue.

#[cfg(feature = "client")]
mod connect;
pub mod files;
mod inbox;
#[cfg(all(feature = "sqlite", feature = "git"))]
mod init;
#[cfg(all(feature = "sqlite", feature = "git"))]
pub mod legacy;
#[cfg(all(feature = "sqlite", feature = "git"))]
mod migrate;
#[cfg(all(feature = "sqlite", feature = "git"))]
mod migrate_records;
#[cfg(all(feature = "sqlite", feature = "git"))]
mod project;
mod records;
pub mod task_file;
mod tasks;

#[cfg(feature = "client")]
pub use connect::Connect;
pub use files::generate_task_id;
pub use inbox::{Answered, InboxItem, InboxKind};
#[cfg(all(feature = "sqlite", feature = "git"))]
pub use init::{InitRequest, Initialised, init};
#[cfg(all(feature = "sqlite", feature = "git"))]
pub use migrate::{Migrated, Moved, migrate};
#[cfg(all(feature = "sqlite", feature = "git"))]
pub use migrate_records::migrate_records;
#[cfg(all(feature = "sqlite", feature = "git"))]
pub use project::project_root;
pub use records::{Actions, Drafts, Flows, Listing, Messages, Orchestrators, Projects};
pub use tasks::{Events, HandIn, Take, Tasks};

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

#[cfg(feature = "client")]
use crate::client::{Address, Requests};
use crate::{
    backend::{Backend, Reach, Synced},
    config::{self, Paths, Settings},
    engine::{Engine, Rules, Status, registry::Registry},
    error::Result,
    flow,
    id::{Scope, SystemEntropy},
    lifecycle::Limits,
    store::Store,
    wire::BASE_BRANCH,
};

/// How long a server may take to answer.
#[cfg(feature = "client")]
const ANSWER: std::time::Duration = std::time::Duration::from_secs(30);

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
    #[cfg(feature = "client")]
    Remote(Requests, Address),
}

impl Octopoid {
    /// A queue on a server: `Octopoid::connect(url).api_key(…).scope(…).build()?`. Nothing is sent yet.
    #[cfg(feature = "client")]
    pub fn connect(url: impl Into<String>) -> Connect {
        Connect::new(url.into())
    }

    /// A queue in any store of this process, for one scope, with the shipped rules.
    pub fn over(store: Arc<dyn Store>, scope: &str) -> Result<Self> {
        let clock = store.clock();
        let engine = Engine::with(
            store,
            shipped_rules(Scope::parse(scope)?, false)?,
            clock,
            Arc::new(SystemEntropy),
        );
        Ok(Self {
            place: Place::Local(Registry::over(&engine)),
            backend: Arc::new(engine),
            settings: Arc::new(config::load_or_plain(&Paths::new(""), &|_| None)?),
            root: PathBuf::new(),
        })
    }

    /// Projects, drafts and everything else beside the tasks, of a store of this process; none for a server's.
    pub fn registry(&self) -> Option<&Registry> {
        match &self.place {
            Place::Local(registry) => Some(registry),
            #[cfg(feature = "client")]
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

    /// Forgets the requests that the server refused, once a person has seen them; gives how many these were.
    pub async fn forget_dropped(&self) -> Result<usize> {
        self.backend.forget_dropped().await
    }

    /// Asks the server whether it is well and lets us in: its address, and how long it took. None where there is no server.
    #[cfg(feature = "client")]
    pub async fn ask_server(&self) -> Option<Result<(String, std::time::Duration)>> {
        let Place::Remote(requests, _) = &self.place else {
            return None;
        };
        let begun = std::time::Instant::now();
        let answer = requests.call(reqwest::Method::GET, "/api/v1/status", &[], None).await;
        Some(answer.map(|_| (requests.url().to_owned(), begun.elapsed())))
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

/// The rules of a scope that no file says anything about.
fn shipped_rules(scope: Scope, open: bool) -> Result<Rules> {
    Ok(Rules {
        scope,
        flows: flow::Flows::shipped()?,
        limits: Limits::default(),
        base_branch: BASE_BRANCH.to_owned(),
        roles: None,
        open,
    })
}
