//! One connection for the packages of other languages: a server over HTTP, or the same routes in this process.

use std::{path::Path, time::Duration};

use octopoid_core::{Octopoid, Result};

/// One request in the form that the routes have.
#[derive(Debug, Clone, Default)]
pub struct Ask {
    /// `GET`, `POST`, …
    pub method: String,
    /// Path with its parts percent-encoded.
    pub path: String,
    /// Parameters of the query.
    pub query: Vec<(String, String)>,
    /// JSON.
    pub body: Option<String>,
    /// The key under which it is done once, however often it is sent.
    pub idempotency_key: Option<String>,
    /// How long the server may wait by itself.
    pub wait: Duration,
}

/// What was answered, refusals too.
#[derive(Debug, Clone)]
pub struct Told {
    /// HTTP status.
    pub status: u16,
    /// JSON; may be empty.
    pub body: String,
    /// Why a claim found nothing: `empty`, `paused` or `at_capacity`.
    pub reason: Option<String>,
}

/// A queue, near or far. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Connection;

impl Connection {
    /// A server. Nothing is sent yet.
    pub fn remote(_url: &str, _api_key: Option<String>, _scope: Option<&str>, _timeout: Duration) -> Result<Self> {
        Err(octopoid_core::Error::invalid("not yet"))
    }
    /// A store in a folder.
    pub fn local(_folder: &Path) -> Result<Self> {
        Err(octopoid_core::Error::invalid("not yet"))
    }
    /// Sends a request.
    pub async fn ask(&self, _ask: Ask) -> Result<Told> {
        Err(octopoid_core::Error::invalid("not yet"))
    }
    /// The queue as the orchestrator of a repository uses it.
    pub fn octopoid(&self, repo: &Path) -> Result<Octopoid> {
        Octopoid::open(repo)
    }
    /// The server's address.
    pub fn url(&self) -> Option<&str> {
        None
    }
}
