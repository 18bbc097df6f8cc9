//! Housekeeping: leases that ran out, orchestrators that are silent, proposals whose time is over. Any number of servers
//! may do it at once; each change is decided again inside its transaction.

use std::{collections::HashMap, sync::Arc, time::Duration};

use octopoid_core::{ErrorCode, Result, engine::registry::Registry, id::Scope, lifecycle::Command};

use crate::state::State;

/// How long an idempotency key is remembered: longer than any client is offline, in milliseconds.
const KEYS_KEPT: i64 = 30 * 24 * 3600 * 1000;
/// Time between two looks for what is not urgent.
const SELDOM: Duration = Duration::from_secs(20);

pub(crate) async fn run(state: Arc<State>, every: Duration) {
    let (registry, mut stopping) = (state.registry.clone(), state.stopping.clone());
    let mut last = tokio::time::Instant::now();
    loop {
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            _ = stopping.changed() => return,
        }
        if let Err(error) = leases(&registry).await {
            tracing::error!(%error, "leases could not be swept; tried again");
        }
        if last.elapsed() >= SELDOM {
            last = tokio::time::Instant::now();
            if let Some(limiter) = &state.limiter {
                // Callers that have been away for long are as good as new ones.
                limiter.retain_recent();
            }
            let before = octopoid_core::clock::Timestamp(registry.now().0 - KEYS_KEPT);
            if let Err(error) = registry.store().forget_keys(before).await {
                tracing::error!(%error, "old idempotency keys could not be forgotten; tried again");
            }
            for done in [
                registry.mark_stale_orchestrators().await,
                registry.expire_actions().await,
            ] {
                if let Err(error) = done {
                    tracing::error!(%error, "housekeeping failed; tried again");
                }
            }
        }
    }
}

async fn leases(registry: &Registry) -> Result<()> {
    let overdue = registry.store().overdue(None, registry.now()).await?;
    let mut engines: HashMap<Scope, octopoid_core::engine::Engine> = HashMap::new();
    for task in overdue {
        let engine = match engines.get(&task.scope) {
            Some(engine) => engine.clone(),
            None => {
                let engine = match registry.engine(&task.scope).await {
                    Ok(engine) => engine,
                    Err(error) => {
                        tracing::error!(scope = %task.scope, %error, "the rules of a scope cannot be read");
                        continue;
                    }
                };
                engines.insert(task.scope.clone(), engine.clone());
                engine
            }
        };
        match engine.apply(&task.id, Command::Expire).await {
            Ok(_) => {
                metrics::counter!("octopoid_leases_expired_total").increment(1);
                tracing::info!(task = %task.id, scope = %task.scope, "its lease ran out");
            }
            // Renewed, handed in or swept by another server since it was listed.
            Err(e)
                if matches!(
                    e.code(),
                    ErrorCode::IllegalTransition | ErrorCode::VersionConflict | ErrorCode::NotFound
                ) => {}
            // One row that cannot be swept keeps no other from it.
            Err(error) => tracing::error!(task = %task.id, scope = %task.scope, %error, "its lease could not be ended"),
        }
    }
    Ok(())
}
