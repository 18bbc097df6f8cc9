//! A role that JavaScript plays: called on its thread, waited for on ours.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use async_trait::async_trait;
use napi::{
    Status,
    bindgen_prelude::Promise,
    threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode, UnknownReturnValue},
};
use napi_derive::napi;
use octopoid_core::{
    role::{Assignment, AtWork, Outcome, Role, RoleError},
    wire,
};
use serde_json::{Value, json};

use crate::answer::failed;

/// Plays a role. Weak: a role that waits for work keeps no process alive.
pub(crate) type Play = ThreadsafeFunction<Run, Promise<String>, Run, Status, false, true>;
/// Tells that nobody needs the result of a run any more.
pub(crate) type Tell = ThreadsafeFunction<u32, UnknownReturnValue, u32, Status, false, true>;

/// One run of a role, as JavaScript sees it.
#[napi]
pub struct Run {
    /// Its number in this process.
    #[napi(readonly)]
    pub number: u32,
    /// Place of the role in the orchestrator's list.
    #[napi(readonly)]
    pub role: u32,
    /// Task, worktree and so on, as JSON.
    #[napi(readonly)]
    pub facts: String,
    assignment: Assignment,
    given_up: Arc<AtomicBool>,
    at_work: Mutex<Option<AtWork>>,
}

#[napi]
impl Run {
    /// Whether nobody needs the result any more.
    #[napi(getter)]
    pub fn cancelled(&self) -> bool {
        self.given_up.load(Ordering::Relaxed) || self.assignment.cancelled()
    }

    /// Nothing of it works any more.
    #[napi]
    pub fn ended(&self) {
        self.at_work.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Writes a line to the attempt's log.
    #[napi]
    pub fn log(&self, text: String) -> napi::Result<()> {
        self.assignment.log(&text).map_err(|e| failed(&e))
    }
}

/// Roles of one orchestrator share their way to JavaScript.
pub(crate) struct Stage {
    pub(crate) play: Play,
    pub(crate) tell: Tell,
}

pub(crate) struct JsRole {
    pub(crate) name: String,
    pub(crate) place: u32,
    pub(crate) stage: Arc<Stage>,
}

impl fmt::Debug for JsRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JsRole")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

static RUNS: AtomicU32 = AtomicU32::new(1);

/// Tells JavaScript that a run is over when it was not JavaScript that ended it.
struct Watcher<'a> {
    number: u32,
    stage: &'a Stage,
    given_up: Arc<AtomicBool>,
    is_over: bool,
}

impl Watcher<'_> {
    fn give_up(&self) {
        if !self.given_up.swap(true, Ordering::Relaxed) {
            self.stage
                .tell
                .call(self.number, ThreadsafeFunctionCallMode::NonBlocking);
        }
    }
}

impl Drop for Watcher<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.give_up();
        }
    }
}

fn facts(cx: &Assignment) -> String {
    let scope = cx.task.scope.as_str();
    let feedback: Vec<Value> = cx.feedback.iter().map(|m| wire::message(m, scope)).collect();
    json!({
        "task": wire::task_row(&cx.task, &[]),
        "worktree": cx.worktree,
        "attempt": cx.attempt,
        "feedback": feedback,
        "isReview": cx.is_review(),
        "baseSha": cx.base_sha,
        "headSha": cx.head_sha,
    })
    .to_string()
}

#[async_trait]
impl Role for JsRole {
    fn name(&self) -> &str {
        &self.name
    }

    async fn run(&self, cx: &Assignment) -> Result<Outcome, RoleError> {
        let number = RUNS.fetch_add(1, Ordering::Relaxed);
        let given_up = Arc::new(AtomicBool::new(false));
        let mut watcher = Watcher {
            number,
            stage: &self.stage,
            given_up: Arc::clone(&given_up),
            is_over: false,
        };
        let run = Run {
            number,
            role: self.place,
            facts: facts(cx),
            assignment: cx.clone(),
            given_up,
            at_work: Mutex::new(Some(cx.at_work())),
        };
        let mut cancellation = cx.cancellation();
        let told = async {
            if cancellation.wait_for(|set| *set).await.is_ok() {
                watcher.give_up();
            }
            // Being told does not end a run; the orchestrator does that when its patience is over.
            std::future::pending::<()>().await;
        };
        let play = async { self.stage.play.call_async_catch(run).await?.await };
        let said = tokio::select! {
            said = play => said,
            () = told => return Err(RoleError::failed(format!("the role {} was ended", self.name))),
        };
        watcher.is_over = true;
        let said =
            said.map_err(|e| RoleError::failed(format!("the role {} could not be run: {}", self.name, e.reason)))?;
        read(&self.name, &said)
    }
}

/// Reads `{"outcome": …}` or `{"error": …, "stack": …}`, which is all that `lib/role.ts` sends.
fn read(name: &str, said: &str) -> Result<Outcome, RoleError> {
    let said: Value = serde_json::from_str(said)
        .map_err(|e| RoleError::failed(format!("the role {name} said something unreadable: {e}")))?;
    if let Some(message) = said["error"].as_str() {
        let stack = said["stack"].as_str().unwrap_or(message);
        return Err(RoleError::raised(format!("the role {name} failed: {message}"), stack));
    }
    Outcome::from_value(&said["outcome"]).map_err(|e| {
        let message = match e.hint() {
            Some(hint) => format!("{e}: {hint}"),
            None => e.to_string(),
        };
        RoleError::failed(message)
    })
}
