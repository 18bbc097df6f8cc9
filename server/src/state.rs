//! What every request shares.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use governor::{Quota, RateLimiter, clock::DefaultClock, state::keyed::DefaultKeyedStateStore};
use metrics_exporter_prometheus::PrometheusHandle;
use octopoid_core::{
    Result,
    engine::registry::{Access, Registry},
    id::{Scope, to_hex},
};
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use crate::config::{Auth, Config};

/// How long a key that was found is trusted without looking again.
const TRUSTED: Duration = Duration::from_secs(1);

type Limiter = RateLimiter<String, DefaultKeyedStateStore<String>, DefaultClock>;

/// The server's state.
pub struct State {
    pub(crate) registry: Registry,
    pub(crate) config: Config,
    pub(crate) default_scope: Option<Scope>,
    pub(crate) auth: Auth,
    pub(crate) metrics: PrometheusHandle,
    pub(crate) limiter: Option<Limiter>,
    pub(crate) stopping: watch::Receiver<bool>,
    pub(crate) openapi: std::sync::OnceLock<String>,
    keys: Mutex<HashMap<String, (Instant, Option<Access>)>>,
    /// Status and scope of orchestrators that claimed lately.
    orchestrators: Mutex<HashMap<String, (Instant, Standing)>>,
}

/// What a claim has to know of its orchestrator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) scope: String,
    pub(crate) status: String,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("default_scope", &self.default_scope)
            .field("auth", &self.auth)
            .finish_non_exhaustive()
    }
}

impl State {
    pub(crate) fn new(
        registry: Registry,
        config: Config,
        auth: Auth,
        metrics: PrometheusHandle,
        stopping: watch::Receiver<bool>,
    ) -> Result<Arc<Self>> {
        let limiter = std::num::NonZeroU32::new(config.rate_limit).map(|n| RateLimiter::keyed(Quota::per_second(n)));
        Ok(Arc::new(Self {
            default_scope: config.scope()?,
            registry,
            config,
            auth,
            metrics,
            limiter,
            stopping,
            openapi: std::sync::OnceLock::new(),
            keys: Mutex::default(),
            orchestrators: Mutex::default(),
        }))
    }

    /// What a key opens, looked up at most once a second.
    pub(crate) async fn access(&self, key: &str) -> Result<Option<Access>> {
        let hash = to_hex(&Sha256::digest(key));
        {
            let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((at, access)) = keys.get(&hash)
                && at.elapsed() < TRUSTED
            {
                return Ok(access.clone());
            }
        }
        let access = self.registry.access(key).await?;
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.retain(|_, (at, _)| at.elapsed() < TRUSTED);
        keys.insert(hash, (Instant::now(), access.clone()));
        Ok(access)
    }

    /// An orchestrator's standing, looked up at most once a second; none for one that is not registered.
    pub(crate) async fn standing(&self, id: &str) -> Result<Option<Standing>> {
        {
            let known = self.orchestrators.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((at, standing)) = known.get(id)
                && at.elapsed() < TRUSTED
            {
                return Ok(Some(standing.clone()));
            }
        }
        let row = match self.registry.orchestrator(None, id).await {
            Ok(row) => row,
            Err(error) if error.code() == octopoid_core::ErrorCode::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
        let standing = Standing {
            scope: text("scope"),
            status: text("status"),
        };
        let mut known = self.orchestrators.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, (at, _)| at.elapsed() < TRUSTED);
        known.insert(id.to_owned(), (Instant::now(), standing.clone()));
        Ok(Some(standing))
    }

    /// After a change of an orchestrator.
    pub(crate) fn forget_orchestrators(&self) {
        self.orchestrators
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    /// After a change of keys.
    pub(crate) fn forget_keys(&self) {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
