//! The orchestrator with roles that JavaScript plays.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use napi::{Env, bindgen_prelude::PromiseRaw};
use napi_derive::napi;
use octopoid_core::{
    Error, ErrorCode, Result,
    orchestrator::{Ended, Orchestrator as Core, Stop},
};
use octopoid_server::Connection as Link;
use tokio::sync::watch;

use crate::{
    answer::failed,
    connection::Connection,
    role::{JsRole, Play, Stage, Tell},
};

/// What a run is made of.
struct Plan {
    link: Link,
    repo: PathBuf,
    names: Vec<String>,
    stage: Arc<Stage>,
    max_agents: Option<u32>,
    tick_seconds: Option<f64>,
}

/// An orchestrator that can be run several times, one run after the other.
#[napi]
pub struct Orchestrator {
    plan: Arc<Plan>,
    running: Arc<Mutex<Option<watch::Sender<Stop>>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends the note that a run is under way, however it ends.
struct Note(Arc<Mutex<Option<watch::Sender<Stop>>>>);

impl Drop for Note {
    fn drop(&mut self) {
        lock(&self.0).take();
    }
}

async fn run(plan: Arc<Plan>, once: bool, stop: watch::Receiver<Stop>) -> Result<Ended> {
    let mut builder = Core::builder()
        .octopoid(plan.link.octopoid(&plan.repo)?)
        .repo(&plan.repo);
    for (place, name) in (0..).zip(&plan.names) {
        builder = builder.role(JsRole {
            name: name.clone(),
            place,
            stage: Arc::clone(&plan.stage),
        });
    }
    if let Some(max) = plan.max_agents {
        builder = builder.max_agents(max as usize);
    }
    if let Some(seconds) = plan.tick_seconds {
        builder = builder.tick_seconds(seconds);
    }
    // It is large, and moves otherwise through the stack of a worker.
    Box::pin(builder.build()?.run(once, stop)).await
}

#[napi]
impl Orchestrator {
    #[napi(constructor)]
    pub fn new(
        connection: &Connection,
        repo: String,
        names: Vec<String>,
        max_agents: Option<u32>,
        tick_seconds: Option<f64>,
        #[napi(ts_arg_type = "(run: Run) => Promise<string>")] play: Play,
        #[napi(ts_arg_type = "(number: number) => void")] tell: Tell,
    ) -> napi::Result<Self> {
        Ok(Self {
            plan: Arc::new(Plan {
                link: connection.link().map_err(|e| failed(&e))?,
                repo: repo.into(),
                names,
                stage: Arc::new(Stage { play, tell }),
                max_agents,
                tick_seconds,
            }),
            running: Arc::default(),
        })
    }

    /// Runs until it is told to stop; with `once`, also until nothing is left to do. Brings how it ended: `clean`,
    /// `needs_attention` or `stopped`.
    #[napi(ts_return_type = "Promise<string>")]
    pub fn run<'env>(&self, env: &'env Env, once: bool) -> napi::Result<PromiseRaw<'env, String>> {
        let (sender, stop) = watch::channel(Stop::No);
        {
            let mut running = lock(&self.running);
            if running.is_some() {
                let error = Error::new(ErrorCode::AlreadyRunning, "this orchestrator runs already")
                    .with_hint("await the run that is under way, or call stop() first");
                return Err(failed(&error));
            }
            *running = Some(sender);
        }
        let note = Note(Arc::clone(&self.running));
        let plan = Arc::clone(&self.plan);
        env.spawn_future(async move {
            let _note = note;
            let ended = run(plan, once, stop).await.map_err(|e| failed(&e))?;
            Ok(match ended {
                Ended::Clean => "clean",
                Ended::NeedsAttention => "needs_attention",
                Ended::Stopped => "stopped",
            }
            .to_owned())
        })
    }

    /// Tells the run that is under way to stop: no new claims, steps end; with `now`, agents are ended too. False when
    /// nothing runs.
    #[napi]
    pub fn stop(&self, now: bool) -> bool {
        let to = if now { Stop::WithAgents } else { Stop::Gracefully };
        match &*lock(&self.running) {
            Some(sender) => {
                sender.send_replace(to);
                true
            }
            None => false,
        }
    }
}
