//! A handle on a server's queue without a project's folder.

#[cfg(feature = "sqlite")]
use std::path::PathBuf;
use std::{sync::Arc, time::Duration};

use super::{ANSWER, Octopoid, Place};
use crate::{
    backend::Backend,
    client::{Address, Client},
    config::{self, Paths},
    error::Result,
    id::Scope,
};

/// Puts a connection together.
#[derive(Clone)]
#[must_use = "nothing is connected before build()"]
pub struct Connect {
    url: String,
    api_key: Option<String>,
    scope: Option<String>,
    timeout: Duration,
    #[cfg(feature = "sqlite")]
    offline: Option<PathBuf>,
}

/// Without the key.
impl std::fmt::Debug for Connect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connect")
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}

impl Connect {
    pub(super) fn new(url: String) -> Self {
        Self {
            url,
            api_key: None,
            scope: None,
            timeout: ANSWER,
            #[cfg(feature = "sqlite")]
            offline: None,
        }
    }

    /// The scope's key: `oct_` and 64 hexadecimal digits.
    pub fn api_key(mut self, key: impl Into<String>) -> Self {
        self.api_key = Some(key.into());
        self
    }

    /// The tenant; without it, the key's, or the server's own.
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.scope = Some(scope.into());
        self
    }

    /// How long an answer may take; 30 seconds when not given.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Works on when the server is away: reads are answered from a copy in `folder`, writes wait there.
    #[cfg(feature = "sqlite")]
    pub fn offline(mut self, folder: impl Into<PathBuf>) -> Self {
        self.offline = Some(folder.into());
        self
    }

    /// The handle. Nothing is sent yet.
    pub fn build(self) -> Result<Octopoid> {
        let scope = self.scope.as_deref().map(Scope::parse).transpose()?;
        let address = Address {
            url: self.url,
            api_key: self.api_key,
            timeout: self.timeout,
            scope: scope.clone(),
        };
        let rules = super::shipped_rules(scope.map_or_else(|| Scope::parse("default"), Ok)?, true)?;
        let requests = address.requests()?;
        let client = Client::new(address.clone(), rules.clone())?;
        #[cfg(feature = "sqlite")]
        let backend: Arc<dyn Backend> = match &self.offline {
            Some(folder) => Arc::new(crate::offline::Offline::new(
                client,
                rules,
                &folder.join("cache.db"),
                &folder.join("outbox.db"),
            )?),
            None => Arc::new(client),
        };
        #[cfg(not(feature = "sqlite"))]
        let backend: Arc<dyn Backend> = Arc::new(client);
        let settings = config::load_or_plain(&Paths::new(""), &|_| None)?;
        Ok(Octopoid {
            backend,
            place: Place::Remote(requests, address),
            settings: Arc::new(settings),
            root: std::path::PathBuf::new(),
        })
    }
}
