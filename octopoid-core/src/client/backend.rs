//! The backend over HTTP: each question is one request.

use std::sync::atomic::Ordering;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch as channel;

use super::{Ask, Claimed, Client, fresh_key, path, watch};
use crate::{
    backend::{Backend, Heartbeat, Reach},
    clock::{Clock, SystemClock, Timestamp},
    engine::{Claim, ClaimRequest, OpenClaim, Rules, Status, TaskView, Why},
    error::{Error, ErrorCode, Result},
    id::{OrchestratorId, TaskId},
    lifecycle::Command,
    model::{Attempt, CreateTask, Event, Message, QueueName, Review, Sort, Task, TaskFilter, TaskPage},
    store::Spent,
};

/// Tasks that are asked for at once.
const VIEWS: usize = 500;

fn query_of(filter: &TaskFilter) -> Vec<(&'static str, String)> {
    fn words<T: ToString>(list: &[T]) -> String {
        list.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    }
    let mut query = vec![
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
    let order = match filter.sort {
        Sort::Urgency => "urgency",
        Sort::Priority => "priority",
        Sort::Newest => "newest",
    };
    query.push(("sort", order.to_owned()));
    query.push(("type", words(&filter.types)));
    let texts = [
        ("claimed_by", filter.claimed_by.clone()),
        ("orchestrator_id", filter.orchestrator_id.clone()),
        ("flow", filter.flow.clone()),
        ("blocked_by", filter.blocked_by.as_ref().map(ToString::to_string)),
        ("pr_number", filter.pr_number.map(|n| n.to_string())),
        ("needs_intervention", filter.needs_intervention.map(|b| b.to_string())),
        ("has_plan", filter.has_plan.map(|b| b.to_string())),
        ("auto_accept", filter.auto_accept.map(|b| b.to_string())),
        ("needs_rebase", filter.needs_rebase.map(|b| b.to_string())),
        ("open", filter.open_only.then(|| "true".to_owned())),
    ];
    query.extend(texts.into_iter().filter_map(|(name, text)| Some((name, text?))));
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

    async fn create_many(&self, requests: Vec<CreateTask>) -> Result<Vec<Task>> {
        #[derive(Deserialize)]
        struct Created {
            tasks: Vec<Task>,
        }
        let tasks = requests.iter().map(|r| self.body_of(r)).collect::<Result<Vec<_>>>()?;
        let ask = Ask {
            // A batch has no key; whether one whose answer was lost was done is seen by the ids of its tasks.
            again: false,
            ..Ask::post("/api/v1/tasks/batch", json!({ "tasks": tasks }))
        };
        let created: Created = self.http.typed(ask).await?;
        Ok(created.tasks)
    }

    async fn apply(&self, id: &TaskId, command: Command) -> Result<Task> {
        let key = fresh_key()?;
        let keyed = !matches!(command, Command::Renew { .. } | Command::Begin { .. });
        self.apply_keyed(id, &command, keyed.then_some(key.as_str())).await
    }

    async fn delete(&self, id: &TaskId, by: &str) -> Result<()> {
        let path = path(id, "");
        let ask = Ask {
            method: reqwest::Method::DELETE,
            query: vec![("careful", "true".to_owned()), ("by", by.to_owned())],
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
        self.claimed_by(ask).await
    }

    async fn claim_open(&self, request: OpenClaim) -> Result<Option<Claim>> {
        let [(queue, roles)] = request.queues.as_slice() else {
            return Err(Error::invalid("a client claims from one queue at a time"));
        };
        let names = |names: &[String]| Some(names.join(",")).filter(|n| !n.is_empty());
        let body = json!({
            "orchestrator_id": request.orchestrator,
            "agent_name": request.agent,
            "queue": queue,
            "role_filter": names(roles),
            "type_filter": names(&request.types),
            "lease_duration_seconds": request.lease.as_secs().max(1),
            "fenced": request.fenced,
            "max_claimed": request.max_claimed,
            "scope": self.http.scope,
        });
        let key = match request.token {
            Some(token) => token,
            None => fresh_key()?,
        };
        let ask = Ask {
            key: Some(&key),
            ..Ask::post("/api/v1/tasks/claim", body)
        };
        self.claimed_by(ask).await
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
        for some in tasks.chunks(VIEWS) {
            let ids: Vec<&TaskId> = some.iter().map(|t| &t.id).collect();
            let ask = Ask {
                again: true,
                ..Ask::post("/api/v1/tasks/views", json!({ "ids": ids, "scope": self.http.scope }))
            };
            let mut answer = self.http.send(ask).await?;
            let list = answer.get_mut("tasks").map(Value::take).unwrap_or_default();
            let known: Vec<TaskView> = serde_json::from_value(list)
                .map_err(|e| Error::new(ErrorCode::Internal, format!("tasks are not understood: {e}")))?;
            for task in some {
                let blocked_by = known
                    .iter()
                    .find(|v| v.task.id == task.id)
                    .map(|v| v.blocked_by.clone())
                    .unwrap_or_default();
                views.push(TaskView::of(task.clone(), blocked_by));
            }
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
            tokens: sum
                .tokens
                .saturating_add(a.usage.input_tokens)
                .saturating_add(a.usage.output_tokens),
            usd: sum.usd + a.usage.cost_usd,
        }))
    }

    async fn heartbeat(&self, beat: &Heartbeat) -> Result<bool> {
        let id = OrchestratorId::of(&beat.cluster, &beat.machine_id)?;
        // Once for each start: the project's files may have changed since the last one.
        if !self.registered.load(Ordering::SeqCst) {
            self.register(beat, id.as_str()).await?;
            self.registered.store(true, Ordering::SeqCst);
        }
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
        self.register(beat, id.as_str()).await?;
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
    /// Sends a request for a claim.
    async fn claimed_by(&self, ask: Ask<'_>) -> Result<Option<Claim>> {
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
}
