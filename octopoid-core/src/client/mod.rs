//! A queue on a server, over HTTP.

mod admin;
mod backend;
mod http;
mod requests;
mod watch;

use std::{
    sync::{Arc, Mutex, OnceLock, PoisonError, atomic::AtomicBool},
    time::Duration,
};

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch as channel;

pub use admin::Admin;
pub use http::is_outage;
pub(crate) use requests::segment;
pub use requests::{Reply, Request, Requests, STRICT};

use crate::{
    backend::Heartbeat,
    clock::Timestamp,
    engine::Rules,
    error::{Error, ErrorCode, Result},
    flow,
    id::{OrchestratorId, Scope, SystemEntropy, TaskId, random_hex},
    lifecycle::Command,
    model::{Attempt, CreateTask, Event, Task},
    store::Spent,
};
use http::{Ask, Http};

/// Where a server is, and who asks it.
#[derive(Clone)]
pub struct Address {
    /// `http://…` or `https://…`.
    pub url: String,
    /// The scope's key.
    pub api_key: Option<String>,
    /// How long an answer may take.
    pub timeout: Duration,
    /// The tenant; null leaves it to the key, or to the server.
    pub scope: Option<Scope>,
}

/// Without the key, and without a name and password in the URL.
impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Address")
            .field("url", &http::without_secrets(&self.url))
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}

impl Address {
    /// The server in its own words.
    pub fn requests(&self) -> Result<Requests> {
        Requests::new(&self.url, self.api_key.clone(), self.scope.clone(), self.timeout)
    }
}

/// A queue on a server. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    http: Http,
    rules: Arc<Rules>,
    changes: Arc<OnceLock<channel::Sender<u64>>>,
    /// What the server last said about claims; asked once for several questions of one look.
    claims: Arc<Mutex<Option<Claims>>>,
    /// Whether the orchestrator was made known since this program started.
    registered: Arc<AtomicBool>,
}

#[derive(Debug, Clone, Deserialize)]
struct Claims {
    tasks: Vec<Task>,
    tokens: std::collections::HashMap<TaskId, String>,
    next_retry: Option<Timestamp>,
    spent_today: Spent,
}

#[derive(Deserialize)]
struct Claimed {
    task: Task,
    attempt: Option<Attempt>,
    claim_token: String,
}

fn path(id: &TaskId, rest: &str) -> String {
    format!("/api/v1/tasks/{id}{rest}")
}

fn to_json(value: &impl serde::Serialize) -> Result<Value> {
    serde_json::to_value(value)
        .map_err(|e| Error::new(ErrorCode::Internal, format!("a request cannot be written down: {e}")))
}

/// A fresh key, so that a request can be sent again.
pub(crate) fn fresh_key() -> Result<String> {
    random_hex(&SystemEntropy, 16)
}

impl Client {
    /// A client of the server at `address`, for the scope of `rules`. Nothing is sent yet.
    pub fn new(address: Address, rules: Rules) -> Result<Self> {
        Ok(Self {
            http: Http::new(&address.url, address.api_key, address.scope, address.timeout)?,
            rules: Arc::new(rules),
            changes: Arc::default(),
            claims: Arc::default(),
            registered: Arc::default(),
        })
    }

    /// The server's address.
    pub fn url(&self) -> &str {
        self.http.shown()
    }

    /// Whether the server is well, and how long it took to say so.
    pub async fn health(&self) -> Result<(Value, Duration)> {
        let begun = std::time::Instant::now();
        let ask = Ask {
            again: false,
            ..Ask::get("/api/health")
        };
        let health = self.http.send(ask).await?;
        Ok((health, begun.elapsed()))
    }

    /// Creates a task under an idempotency key.
    pub(crate) async fn create_keyed(&self, request: &CreateTask) -> Result<Task> {
        let ask = Ask {
            again: request.idempotency_key.is_some(),
            ..Ask::post("/api/v1/tasks", self.body_of(request)?)
        };
        self.http.typed(ask).await
    }

    /// What is sent to have a task created.
    fn body_of(&self, request: &CreateTask) -> Result<Value> {
        let mut request = request.clone();
        if request.project_id.is_none() {
            // What the project's own files say, whatever other machines of the scope told the server.
            request.branch.get_or_insert_with(|| self.rules.base_branch.clone());
        }
        let mut body = to_json(&request)?;
        if let (Some(map), Value::Object(notes)) = (body.as_object_mut(), to_json(&request.annotations)?) {
            map.remove("annotations");
            for (name, value) in notes {
                if !matches!(name.as_str(), "role_unset" | "content_unset") {
                    map.insert(name, value);
                }
            }
        }
        Ok(body)
    }

    /// Applies a command under an idempotency key.
    pub(crate) async fn apply_keyed(&self, id: &TaskId, command: &Command, key: Option<&str>) -> Result<Task> {
        let path = path(id, "/commands");
        // A renewal and the like can be repeated without a key.
        let ask = Ask {
            key,
            again: matches!(command, Command::Renew { .. } | Command::Begin { .. }),
            ..Ask::post(&path, to_json(command)?)
        };
        let task = self.http.typed(ask).await;
        self.forget_claims();
        task
    }

    fn forget_claims(&self) {
        *self.claims.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    async fn claims(&self, of: Option<&OrchestratorId>) -> Result<Claims> {
        let ask = Ask {
            query: of.map(|o| ("orchestrator_id", o.to_string())).into_iter().collect(),
            ..Ask::get("/api/v1/claims")
        };
        let mut claims: Claims = self.http.typed(ask).await?;
        for task in &mut claims.tasks {
            // Somebody else's secret stays his; that the task is claimed is told.
            task.claim_token = Some(
                claims
                    .tokens
                    .get(&task.id)
                    .cloned()
                    .unwrap_or_else(|| HIDDEN.to_owned()),
            );
        }
        *self.claims.lock().unwrap_or_else(PoisonError::into_inner) = Some(claims.clone());
        Ok(claims)
    }

    /// What was said about claims in this look at the queue.
    async fn last_claims(&self) -> Result<Claims> {
        let known = self.claims.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match known {
            Some(claims) => Ok(claims),
            None => self.claims(None).await,
        }
    }

    async fn list_of<T: serde::de::DeserializeOwned>(&self, id: &TaskId, rest: &str, name: &str) -> Result<Vec<T>> {
        let path = path(id, rest);
        let mut answer = self.http.send(Ask::get(&path)).await?;
        let list = answer.get_mut(name).map(Value::take).unwrap_or_default();
        serde_json::from_value(list).map_err(|e| {
            Error::new(
                ErrorCode::Internal,
                format!("{} answered {path} in a form that is not understood: {e}", self.url()),
            )
        })
    }

    /// Events after a cursor, waited for.
    pub(crate) async fn wait_events(&self, after: i64, wait: Duration) -> Result<Vec<Event>> {
        let ask = Ask {
            query: vec![
                ("after", after.to_string()),
                ("wait_seconds", wait.as_secs().to_string()),
            ],
            wait,
            again: false,
            ..Ask::get("/api/v1/events")
        };
        let mut answer = self.http.send(ask).await?;
        serde_json::from_value(answer.get_mut("events").map(Value::take).unwrap_or_default())
            .map_err(|e| Error::new(ErrorCode::Internal, format!("events are not understood: {e}")))
    }

    /// The cursor of the latest event.
    pub(crate) async fn last_cursor(&self) -> Result<i64> {
        let status = self.http.send(Ask::get("/api/v1/status")).await?;
        Ok(status.get("cursor").and_then(Value::as_i64).unwrap_or(0))
    }
}

/// Stands for a claim token that belongs to somebody else.
const HIDDEN: &str = "held-elsewhere";

impl Client {
    /// Makes the orchestrator, its project's rules, roles and flows known.
    pub(crate) async fn register(&self, beat: &Heartbeat, id: &str) -> Result<()> {
        fn again(path: &str, body: Value) -> Ask<'_> {
            Ask {
                again: true,
                ..Ask::post(path, body)
            }
        }
        let body = json!({
            "cluster": beat.cluster, "machine_id": beat.machine_id, "repo_url": beat.repo_url,
            "hostname": beat.machine_id, "version": env!("CARGO_PKG_VERSION"), "scope": self.http.scope,
            "limits": { "attempts": self.rules.limits.attempts, "rejections": self.rules.limits.rejections },
            "base_branch": self.rules.base_branch,
        });
        self.http.send(again("/api/v1/orchestrators/register", body)).await?;
        let roles: Vec<Value> = beat
            .roles
            .iter()
            .map(|role| json!({ "name": role, "claims_from": "incoming" }))
            .collect();
        let body = json!({ "orchestrator_id": id, "roles": roles, "scope": self.http.scope });
        self.http.send(again("/api/v1/roles/register", body)).await?;
        for flow in self.rules.flows.iter() {
            let mut body = flow::to_registration(flow);
            body["scope"] = json!(self.http.scope);
            let path = format!("/api/v1/flows/{}", flow.name);
            let ask = Ask {
                method: reqwest::Method::PUT,
                ..again(&path, body)
            };
            self.http.send(ask).await?;
        }
        Ok(())
    }
}
