//! The four worlds in which the same behaviour is looked for, and the one whose server can go away.

use std::{path::PathBuf, sync::Arc, time::Duration};

use octopoid_core::{
    backend::Backend,
    client::{Address, Client},
    engine::{Engine, Rules},
    flow::Flows,
    id::Scope,
    lifecycle::Limits,
    offline::Offline,
    store::SqliteStore,
};
use tempfile::TempDir;

use crate::{
    postgres::Postgres,
    server::{SCOPE, Server},
};

/// Leases are looked at often, so that tests need not wait long.
pub const SWEEP: &[&str] = &["--lease-sweep-seconds", "0.1"];

/// The same rules in all worlds.
pub fn rules() -> Rules {
    Rules {
        scope: Scope::parse(SCOPE).unwrap(),
        flows: Flows::shipped().unwrap(),
        limits: Limits::default(),
        base_branch: "trunk".into(),
        roles: None,
        open: false,
    }
}

/// A client of the server at `url`.
pub fn client(url: &str) -> Client {
    let address = Address {
        url: url.to_owned(),
        api_key: None,
        timeout: Duration::from_secs(20),
        scope: Some(rules().scope),
    };
    Client::new(address, rules()).unwrap()
}

/// What is behind the backend.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// A file of this process.
    Embedded,
    /// A server over SQLite.
    Sqlite,
    /// A server over PostgreSQL.
    Postgres,
    /// A server over SQLite, with a copy and an outbox before it.
    Offline,
}

/// A backend with all that it needs; what is named first ends first.
pub struct World {
    pub backend: Arc<dyn Backend>,
    /// Somebody else at the same queue.
    pub other: Arc<dyn Backend>,
    _server: Option<Server>,
    _postgres: Option<Postgres>,
    _dir: TempDir,
}

impl World {
    pub fn new(kind: Kind) -> World {
        match kind {
            Kind::Embedded => {
                let dir = tempfile::tempdir().unwrap();
                let store = SqliteStore::open(&dir.path().join("state.db")).unwrap();
                let engine = Engine::new(Arc::new(store), rules());
                World {
                    backend: Arc::new(engine.clone()),
                    other: Arc::new(engine),
                    _server: None,
                    _postgres: None,
                    _dir: dir,
                }
            }
            Kind::Sqlite => {
                let dir = tempfile::tempdir().unwrap();
                let server = Server::start(&sqlite(&dir), SWEEP);
                World {
                    backend: Arc::new(client(server.url())),
                    other: Arc::new(client(server.url())),
                    _server: Some(server),
                    _postgres: None,
                    _dir: dir,
                }
            }
            Kind::Postgres => {
                let postgres = Postgres::start();
                let server = Server::start(&postgres.url("world"), SWEEP);
                World {
                    backend: Arc::new(client(server.url())),
                    other: Arc::new(client(server.url())),
                    _server: Some(server),
                    _postgres: Some(postgres),
                    _dir: tempfile::tempdir().unwrap(),
                }
            }
            Kind::Offline => {
                let away = Away::start();
                let (backend, other) = (away.open(), away.direct());
                let Away { server, dir } = away;
                World {
                    backend: Arc::new(backend),
                    other: Arc::new(other),
                    _server: Some(server),
                    _postgres: None,
                    _dir: dir,
                }
            }
        }
    }
}

/// The address of a SQLite file in the folder.
pub fn sqlite(dir: &TempDir) -> String {
    format!("sqlite:{}", dir.path().join("server.db").display())
}

/// A server that can go away, and the files of whoever works on without it.
pub struct Away {
    pub server: Server,
    dir: TempDir,
}

impl Away {
    pub fn start() -> Away {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::start(&sqlite(&dir), SWEEP);
        Away { server, dir }
    }

    /// The backend on the files of this machine, as each process of it opens them.
    pub fn open(&self) -> Offline {
        self.open_at(self.server.url())
    }

    /// The same, with the server behind another address.
    pub fn open_at(&self, url: &str) -> Offline {
        Offline::new(client(url), rules(), &self.place("copy.db"), &self.place("outbox.db")).unwrap()
    }

    /// A file of this machine: `copy.db`, `outbox.db`.
    pub fn place(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Somebody whose network works.
    pub fn direct(&self) -> Client {
        client(self.server.url())
    }

    pub fn go_offline(&mut self) {
        self.server.kill9();
    }

    pub fn come_back(&mut self) {
        self.server.come_back();
    }
}
