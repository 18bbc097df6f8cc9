//! A queue on a server, over HTTP.

mod admin;
mod http;
mod watch;

use std::{
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch as channel;

pub use admin::Admin;
pub use http::is_outage;

use crate::{
    backend::{Backend, Heartbeat, Reach},
    clock::{Clock, SystemClock, Timestamp},
    engine::{Claim, ClaimRequest, Rules, Status, TaskView, Why},
    error::{Error, ErrorCode, Result},
    flow,
    id::{OrchestratorId, SystemEntropy, TaskId, random_hex},
    lifecycle::Command,
    model::{Attempt, CreateTask, Event, Message, QueueName, Review, Task, TaskFilter, TaskPage},
    store::Spent,
};
use http::{Ask, Http};

/// Where a server is, and who asks it.
#[derive(Debug, Clone)]
pub struct Address {
    /// `http://…` or `https://…`.
    pub url: String,
    /// The scope's key.
    pub api_key: Option<String>,
    /// How long an answer may take.
    pub timeout: Duration,
}

/// A queue on a server. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    http: Http,
    rules: Arc<Rules>,
    changes: Arc<OnceLock<channel::Sender<u64>>>,
    /// What the server last said about claims; asked once for several questions of one look.
    claims: Arc<Mutex<Option<Claims>>>,
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
            http: Http::new(
                &address.url,
                address.api_key,
                Some(rules.scope.clone()),
                address.timeout,
            )?,
            rules: Arc::new(rules),
            changes: Arc::default(),
            claims: Arc::default(),
        })
    }

    /// The server's address.
    pub fn url(&self) -> &str {
        self.http.url()
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
        let ask = Ask {
            again: request.idempotency_key.is_some(),
            ..Ask::post("/api/v1/tasks", body)
        };
        self.http.typed(ask).await
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

fn query_of(filter: &TaskFilter) -> Vec<(&'static str, String)> {
    fn words<T: ToString>(list: &[T]) -> String {
        list.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    }
    let mut query = vec![
        ("sort", "urgency".to_owned()),
        ("offset", filter.offset.to_string()),
        ("queue", words(&filter.queues)),
        ("priority", words(&filter.priorities)),
        ("role", words(&filter.roles)),
        (
            "project_id",
            filter.project_id.as_ref().map(ToString::to_string).unwrap_or_default(),
        ),
        ("limit", filter.limit.map(|l| l.to_string()).unwrap_or_default()),
    ];
    if filter.open_only {
        query.push(("open", "true".to_owned()));
    }
    query.retain(|(_, value)| !value.is_empty());
    query
}

#[async_trait]
impl Backend for Client {
    fn rules(&self) -> &Rules {
        &self.rules
    }

    fn now(&self) -> Timestamp {
        SystemClock.now()
    }

    fn changes(&self) -> channel::Receiver<u64> {
        let sender = self.changes.get_or_init(|| {
            let (sender, _) = channel::channel(0);
            watch::follow(self.clone(), sender.clone());
            sender
        });
        sender.subscribe()
    }

    async fn create(&self, mut request: CreateTask) -> Result<Task> {
        if request.idempotency_key.is_none() {
            request.idempotency_key = Some(fresh_key()?);
        }
        self.create_keyed(&request).await
    }

    async fn apply(&self, id: &TaskId, command: Command) -> Result<Task> {
        let key = fresh_key()?;
        let keyed = !matches!(command, Command::Renew { .. } | Command::Begin { .. });
        self.apply_keyed(id, &command, keyed.then_some(key.as_str())).await
    }

    async fn delete(&self, id: &TaskId, _by: &str) -> Result<()> {
        let path = path(id, "");
        let ask = Ask {
            method: reqwest::Method::DELETE,
            query: vec![("careful", "true".to_owned())],
            again: false,
            ..Ask::get(&path)
        };
        self.http.send(ask).await.map(|_| ())
    }

    async fn claim(&self, request: ClaimRequest) -> Result<Option<Claim>> {
        // The secret is ours, so that a claim whose answer was lost can be asked for again.
        let token = match request.token {
            Some(token) => token,
            None => fresh_key()?,
        };
        let body = json!({
            "orchestrator_id": request.orchestrator,
            "agent_name": request.agent,
            "role": request.role,
            "queues": request.queues,
            "answers_to": request.answers_to,
            "lease_millis": u64::try_from(request.lease.as_millis()).unwrap_or(u64::MAX),
            "token": token,
            "scope": self.http.scope,
        });
        let ask = Ask {
            again: true,
            ..Ask::post("/api/v1/tasks/claim", body)
        };
        let answer = self.http.send(ask).await?;
        self.forget_claims();
        if answer.is_null() {
            return Ok(None);
        }
        let claimed: Claimed = serde_json::from_value(answer)
            .map_err(|e| Error::new(ErrorCode::Internal, format!("a claim is not understood: {e}")))?;
        let with_token = |token: &str| Some(token.to_owned());
        let mut claim = Claim {
            task: claimed.task,
            attempt: claimed.attempt,
            token: claimed.claim_token,
        };
        claim.task.claim_token = with_token(&claim.token);
        if let Some(attempt) = &mut claim.attempt {
            attempt.token.clone_from(&claim.token);
        }
        Ok(Some(claim))
    }

    async fn has_claimable(&self, queues: &[QueueName], answers_to: &[String]) -> Result<bool> {
        let body = json!({
            "orchestrator_id": "probe", "agent_name": "probe", "dry_run": true,
            "queues": queues, "answers_to": answers_to, "scope": self.http.scope,
        });
        let ask = Ask {
            again: true,
            ..Ask::post("/api/v1/tasks/claim", body)
        };
        let answer = self.http.send(ask).await?;
        Ok(answer.get("claimable").and_then(Value::as_bool).unwrap_or(false))
    }

    async fn task(&self, id: &TaskId) -> Result<Task> {
        let path = path(id, "");
        self.http.typed(Ask::get(&path)).await
    }

    async fn list(&self, filter: &TaskFilter) -> Result<TaskPage> {
        // The server gives pages of its own size; who asks for more gets more of them.
        let wanted = filter.limit.unwrap_or(50);
        let mut filter = filter.clone();
        let mut whole: Option<TaskPage> = None;
        loop {
            let have = whole.as_ref().map_or(0, |p| p.tasks.len());
            filter.limit = Some(wanted - u32::try_from(have).unwrap_or(wanted));
            let ask = Ask {
                query: query_of(&filter),
                ..Ask::get("/api/v1/tasks")
            };
            let page: TaskPage = self.http.typed(ask).await?;
            let got = u32::try_from(page.tasks.len()).unwrap_or(0);
            filter.offset += got;
            let total = page.total;
            let whole_page = match whole.take() {
                None => page,
                Some(mut all) => {
                    all.tasks.extend(page.tasks);
                    all
                }
            };
            let have = whole_page.tasks.len() as u64;
            if got == 0 || have >= u64::from(wanted) || have >= total {
                return Ok(TaskPage {
                    limit: wanted,
                    ..whole_page
                });
            }
            whole = Some(whole_page);
        }
    }

    async fn views(&self, tasks: Vec<Task>) -> Result<Vec<TaskView>> {
        let mut views = Vec::with_capacity(tasks.len());
        for task in tasks {
            let blocked_by = if task.open_blockers > 0 {
                self.show(&task.id).await?.blocked_by
            } else {
                Vec::new()
            };
            views.push(TaskView::of(task, blocked_by));
        }
        Ok(views)
    }

    async fn show(&self, id: &TaskId) -> Result<TaskView> {
        let path = path(id, "");
        let ask = Ask {
            query: vec![("include", "all".to_owned())],
            ..Ask::get(&path)
        };
        self.http.typed(ask).await
    }

    async fn why(&self, id: &TaskId) -> Result<Why> {
        let path = path(id, "/why");
        self.http.typed(Ask::get(&path)).await
    }

    async fn status(&self) -> Result<Status> {
        self.http.typed(Ask::get("/api/v1/status")).await
    }

    async fn attempts(&self, id: &TaskId) -> Result<Vec<Attempt>> {
        self.list_of(id, "/attempts", "attempts").await
    }

    async fn reviews(&self, id: &TaskId) -> Result<Vec<Review>> {
        self.list_of(id, "/reviews", "reviews").await
    }

    async fn messages(&self, id: &TaskId) -> Result<Vec<Message>> {
        self.list_of(id, "/thread", "messages").await
    }

    async fn events(&self, task: Option<&TaskId>, after: i64, limit: u32) -> Result<Vec<Event>> {
        let mut query = vec![("after", after.to_string()), ("limit", limit.to_string())];
        query.extend(task.map(|id| ("task_id", id.to_string())));
        let ask = Ask {
            query,
            ..Ask::get("/api/v1/events")
        };
        let mut answer = self.http.send(ask).await?;
        serde_json::from_value(answer.get_mut("events").map(Value::take).unwrap_or_default())
            .map_err(|e| Error::new(ErrorCode::Internal, format!("events are not understood: {e}")))
    }

    async fn claimed(&self, of: &OrchestratorId) -> Result<Vec<Task>> {
        Ok(self.claims(Some(of)).await?.tasks)
    }

    /// Leases are the server's business.
    async fn expire(&self) -> Result<Vec<TaskId>> {
        Ok(Vec::new())
    }

    async fn next_retry(&self) -> Result<Option<Timestamp>> {
        Ok(self.last_claims().await?.next_retry)
    }

    /// Only a retry that becomes due is for this machine to act on; expired leases are told by the server.
    async fn next_deadline(&self) -> Result<Option<Timestamp>> {
        self.next_retry().await
    }

    async fn spent_today(&self) -> Result<Spent> {
        Ok(self.last_claims().await?.spent_today)
    }

    async fn spent_on(&self, id: &TaskId) -> Result<Spent> {
        let attempts = self.attempts(id).await?;
        Ok(attempts.iter().fold(Spent::default(), |sum, a| Spent {
            tokens: sum.tokens + a.usage.input_tokens + a.usage.output_tokens,
            usd: sum.usd + a.usage.cost_usd,
        }))
    }

    async fn heartbeat(&self, beat: &Heartbeat) -> Result<bool> {
        let id = format!("{}-{}", beat.cluster, beat.machine_id);
        let path = format!("/api/v1/orchestrators/{id}/heartbeat");
        let ask = Ask {
            again: true,
            ..Ask::post(&path, json!({}))
        };
        match self.http.send(ask).await {
            Ok(answer) => return Ok(answer.get("status").and_then(Value::as_str) != Some("maintenance")),
            Err(error) if error.code() == ErrorCode::NotFound => {}
            Err(error) => return Err(error),
        }
        self.register(beat, &id).await?;
        Ok(true)
    }

    fn reach(&self) -> Reach {
        Reach::Online {
            url: self.url().to_owned(),
            waiting: 0,
            dropped: 0,
        }
    }
}

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
