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

    /// After a change of keys.
    pub(crate) fn forget_keys(&self) {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
