//! Claims: taking a task, and what its holder writes.

use std::time::{Duration, Instant};

use octopoid_core::{
    Error, ErrorCode, Result,
    client::STRICT,
    engine::{Claim, ClaimRequest, Engine, OpenClaim},
    id::{OrchestratorId, Scope, to_hex},
    lifecycle::Command,
    model::{QueueName, Role},
    wire::REASON,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{routes, tasks::shown};
use crate::{
    answer::{Answer, Problem, Reply},
    call::Call,
};

/// Lease when none is asked for, in seconds.
const LEASE: i64 = 300;
/// Longest lease, in seconds.
const MAX_LEASE: i64 = 86_400;
/// Longest wait of a claim.
const MAX_WAIT: i64 = 60;
/// Tasks of one claim at most.
const MAX_TASKS: i64 = 100;
/// Names of a filter at most.
const MAX_NAMES: usize = 100;
/// How often a waiting claim looks without being woken up: retries become due by time alone.
const LOOK: Duration = Duration::from_secs(1);

routes! {
    POST "/api/v1/tasks/claim" claim, "Claim the most urgent task", fields "orchestrator_id! agent_name! scope role_filter:names type_filter:names queue lease_duration_seconds:integer wait_seconds:integer max:integer fenced:flag max_claimed:integer" => &[(200, "Claim"), (204, "Empty")];
    POST "/api/v1/tasks/{id}/renew" renew, "Make a lease longer", fields "claim_token lease_duration_seconds:integer orchestrator_id agent_name" => &[(200, "Task")];
    POST "/api/v1/tasks/{id}/release" release, "Give a claim back", fields "claim_token reason" => &[(200, "Task")];
    POST "/api/v1/tasks/{id}/progress" progress, "Tell how far the work is", fields "claim_token note message" => &[(200, "Task")];
    POST "/api/v1/tasks/{id}/fail" fail, "Move a task to failed", fields "claim_token reason! by" => &[(200, "Task")];
    POST "/api/v1/tasks/{id}/commands" command, "Apply a command of the lifecycle", fields "command!" => &[(200, "Task")];
    GET "/api/v1/claims" claims, "Claimed tasks; with the tokens of one orchestrator's own", query "scope orchestrator_id" => &[(200, "Object")];
}

fn lease(call: &Call) -> Result<Duration> {
    let seconds = call
        .fields
        .int("lease_duration_seconds")?
        .filter(|n| *n != 0)
        .unwrap_or(LEASE);
    if seconds < 0 {
        return Err(Error::invalid("lease_duration_seconds must not be negative"));
    }
    Ok(Duration::from_secs(u64::try_from(seconds.min(MAX_LEASE)).unwrap_or(0)))
}

/// What one claim looks for.
enum Wanted {
    Open(OpenClaim),
    Typed(ClaimRequest),
}

impl Wanted {
    async fn try_once(&self, engine: &Engine) -> Result<Option<Claim>> {
        match self {
            Self::Open(request) => engine.claim_open(request.clone()).await,
            Self::Typed(request) => engine.claim(request.clone()).await,
        }
    }

    /// The same for one more task.
    fn again(&self) -> Self {
        match self {
            Self::Open(request) => Self::Open(OpenClaim {
                token: None,
                ..request.clone()
            }),
            Self::Typed(request) => Self::Typed(ClaimRequest {
                token: None,
                ..request.clone()
            }),
        }
    }
}

/// The queues that a client claims from, each with the roles that it takes there.
async fn queues(call: &Call, scope: &Scope, engine: &Engine) -> Result<Vec<(QueueName, Vec<String>)>> {
    let roles = call.fields.names("role_filter")?.unwrap_or_default();
    let types = call.fields.names("type_filter")?.unwrap_or_default();
    if roles.len() > MAX_NAMES || types.len() > MAX_NAMES {
        return Err(Error::invalid(format!("a filter takes at most {MAX_NAMES} names")));
    }
    if let Some(known) = &engine.rules().roles
        && let Some(unknown) = roles.iter().find(|r| !known.iter().any(|k| k.as_str() == r.as_str()))
    {
        let known: Vec<&str> = known.iter().map(Role::as_str).collect();
        return Err(Error::invalid(format!(
            "Unknown role: {unknown}; registered: {}",
            known.join(", ")
        )));
    }
    if let Some(queue) = call.fields.text("queue")? {
        let queue = QueueName::parse(&queue)?;
        if queue.kind().is_terminal() {
            return Err(Error::invalid(format!(
                "queue {queue} is an end; nothing is claimed from it"
            )));
        }
        let mut flows = engine
            .rules()
            .flows
            .iter()
            .filter(|f| f.registered.is_some())
            .peekable();
        if flows.peek().is_some() && !queue.is_built_in() && !flows.any(|f| f.has_state(&queue)) {
            return Err(Error::invalid(format!(
                "Invalid queue {queue}: no flow of this scope has it"
            )));
        }
        return Ok(vec![(queue, roles)]);
    }
    if roles.is_empty() {
        return Ok(vec![(QueueName::incoming(), Vec::new())]);
    }
    let mut found: Vec<(QueueName, Vec<String>)> = Vec::new();
    for role in roles {
        let queue = call.state.registry.claims_from(scope, &role).await?;
        match found.iter_mut().find(|(q, _)| *q == queue) {
            Some((_, names)) => names.push(role),
            None => found.push((queue, vec![role])),
        }
    }
    Ok(found)
}

/// The secret of a claim that is sent with a key: the same key gives the same secret, and so the same task.
fn keyed_token(call: &Call, scope: &Scope) -> Result<Option<String>> {
    Ok(call
        .idempotency_key()?
        .map(|key| to_hex(&Sha256::digest(format!("{scope}\0claim\0{key}")))[..32].to_owned()))
}

fn typed(call: &Call, orchestrator: OrchestratorId, agent: String) -> Result<ClaimRequest> {
    let names = |name: &str| -> Result<Vec<String>> { Ok(call.fields.names(name)?.unwrap_or_default()) };
    let millis = call.fields.int("lease_millis")?.unwrap_or(LEASE * 1000);
    let role = call.fields.text("role")?.unwrap_or_else(|| "implement".to_owned());
    Ok(ClaimRequest {
        queues: names("queues")?
            .iter()
            .map(|q| QueueName::parse(q))
            .collect::<Result<_>>()?,
        answers_to: names("answers_to")?,
        agent,
        role: Role::parse(&role)?,
        orchestrator,
        lease: Duration::from_millis(u64::try_from(millis.clamp(1, MAX_LEASE * 1000)).unwrap_or(1)),
        token: call.fields.text("token")?,
    })
}

fn empty(call: &Call, reason: &str) -> Reply {
    let unscoped = call.asked_scope()?.is_none() && call.key_scope().is_none();
    let answer = if unscoped {
        Answer::empty(204)
    } else {
        Answer::json(404, &json!({ "message": "No tasks available" }))
    };
    Ok(answer.with(REASON, reason))
}

/// How many tasks the orchestrator said that it may hold. Only where that is meant: earlier schedulers send the field in every
/// request and rely on nobody looking at it.
fn max_claimed(call: &Call) -> Result<Option<u64>> {
    let Some(max) = call.fields.int("max_claimed")? else {
        return Ok(None);
    };
    if !call.state.config.enforce_max_claimed && call.header(STRICT)?.is_none() {
        return Ok(None);
    }
    match u64::try_from(max) {
        Ok(max) if max > 0 => Ok(Some(max)),
        _ => Err(Error::invalid("max_claimed must be at least 1")),
    }
}

/// A claim that found its orchestrator full says so.
fn capacity(error: Error) -> Problem {
    match error.code() {
        ErrorCode::TooManyRequests => Problem::from(error).with("reason", json!("at_capacity")),
        _ => error.into(),
    }
}

async fn claim(call: Call) -> Reply {
    let [orchestrator, agent] = call.fields.required(["orchestrator_id", "agent_name"])?;
    let scope = call.scope()?;
    let orchestrator = OrchestratorId::parse(&orchestrator)?;
    let lease = lease(&call)?;
    let wait = call.fields.int("wait_seconds")?.unwrap_or(0);
    if !(0..=MAX_WAIT).contains(&wait) {
        return Err(Error::invalid(format!("wait_seconds must be from 0 to {MAX_WAIT}")).into());
    }
    let max = call.fields.int("max")?;
    if max.is_some_and(|max| !(1..=MAX_TASKS).contains(&max)) {
        return Err(Error::invalid(format!("max must be from 1 to {MAX_TASKS}")).into());
    }
    let engine = call.state.registry.engine(&scope).await?;
    let wanted = if call.fields.has("answers_to") {
        let request = typed(&call, orchestrator.clone(), agent)?;
        if call.fields.flag("dry_run")? == Some(true) {
            let found = engine.has_claimable(&request.queues, &request.answers_to).await?;
            return Ok(Answer::ok(&json!({ "claimable": found })));
        }
        Wanted::Typed(request)
    } else {
        Wanted::Open(OpenClaim {
            queues: queues(&call, &scope, &engine).await?,
            types: call.fields.names("type_filter")?.unwrap_or_default(),
            agent,
            role: None,
            orchestrator: orchestrator.clone(),
            lease,
            fenced: call.fields.flag("fenced")?.unwrap_or(false),
            max_claimed: max_claimed(&call)?,
            token: keyed_token(&call, &scope)?,
        })
    };
    let first = match repeated(&engine, &wanted).await? {
        Some(claim) => claim,
        None => match fresh(&call, &scope, &engine, &orchestrator, &wanted, wait).await? {
            Ok(claim) => claim,
            Err(reason) => return empty(&call, reason),
        },
    };
    let mut claims = vec![first];
    while max.is_some_and(|max| (claims.len() as i64) < max) {
        match wanted.again().try_once(&engine).await {
            Ok(Some(claim)) => claims.push(claim),
            Ok(None) => break,
            // As many as it may hold: what it got is the answer.
            Err(error) if error.code() == ErrorCode::TooManyRequests => break,
            Err(error) => return Err(error.into()),
        }
    }
    let mut rows = Vec::with_capacity(claims.len());
    for claim in &claims {
        rows.push(answer(&call, &engine, claim).await?);
    }
    if max.is_some() {
        return Ok(Answer::ok(&json!({ "tasks": rows })));
    }
    Ok(Answer::ok(&rows.remove(0)))
}

/// The claim that was made under this request's key already, whatever has become of its orchestrator since.
async fn repeated(engine: &Engine, wanted: &Wanted) -> Result<Option<Claim>> {
    match wanted {
        Wanted::Open(request) if request.token.is_some() => {
            let only_this = OpenClaim {
                queues: Vec::new(),
                max_claimed: None,
                ..request.clone()
            };
            engine.claim_open(only_this).await
        }
        _ => Ok(None),
    }
}

/// A new claim, or why there is none.
async fn fresh(
    call: &Call,
    scope: &Scope,
    engine: &Engine,
    orchestrator: &OrchestratorId,
    wanted: &Wanted,
    wait: i64,
) -> Result<Result<Claim, &'static str>, Problem> {
    match may_claim(call, scope, orchestrator).await? {
        May::Claim => {}
        May::NotNow => return Ok(Err("paused")),
        May::IsUnknown if call.state.config.embedded => {}
        May::IsUnknown => {
            if let Wanted::Open(request) = wanted
                && engine.has_open(request).await?
            {
                return Err(Error::invalid(format!(
                    "orchestrator {orchestrator} is not registered; POST /api/v1/orchestrators/register first"
                ))
                .into());
            }
            if matches!(wanted, Wanted::Open(_)) {
                return Ok(Err("empty"));
            }
        }
    }
    let found = patiently(call, engine, wanted, wait).await.map_err(capacity)?;
    Ok(found.ok_or("empty"))
}

async fn answer(call: &Call, engine: &Engine, claim: &Claim) -> Result<Value> {
    if call.wants_full() {
        return Ok(json!({ "task": claim.task, "attempt": claim.attempt, "claim_token": claim.token }));
    }
    let mut row = super::tasks::row(engine, &claim.task).await?;
    row["claim_token"] = json!(claim.token);
    Ok(row)
}

enum May {
    Claim,
    NotNow,
    IsUnknown,
}

/// Whether the orchestrator is known and in service.
async fn may_claim(call: &Call, scope: &Scope, id: &OrchestratorId) -> Result<May> {
    Ok(match call.state.standing(id.as_str()).await? {
        // Without a key, an orchestrator claims from any scope.
        Some(standing) if call.key_scope().is_some() && standing.scope != scope.as_str() => May::IsUnknown,
        Some(standing) if standing.status == "maintenance" => May::NotNow,
        Some(_) => May::Claim,
        None => May::IsUnknown,
    })
}

/// Tries until something is found or the time is over; woken up by every change.
async fn patiently(call: &Call, engine: &Engine, wanted: &Wanted, wait: i64) -> Result<Option<Claim>> {
    let until = Instant::now() + Duration::from_secs(u64::try_from(wait).unwrap_or(0));
    let (mut changes, mut stopping) = (call.state.registry.changes(), call.state.stopping.clone());
    loop {
        changes.mark_unchanged();
        if let Some(claim) = wanted.try_once(engine).await? {
            return Ok(Some(claim));
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() || *stopping.borrow() {
            return Ok(None);
        }
        tokio::select! {
            _ = changes.changed() => {}
            _ = stopping.changed() => {}
            () = tokio::time::sleep(left.min(LOOK)) => {}
        }
    }
}

/// The token of the sender's claim: the one that it sends, or none where the claim needs none.
async fn token(call: &Call, engine: &Engine, id: &octopoid_core::id::TaskId) -> Result<String, Problem> {
    if let Some(token) = call.token()? {
        return Ok(token);
    }
    let task = engine
        .task(id)
        .await
        .map_err(|e| Problem::from(e).about_task(id.as_str()))?;
    match &task.claim_token {
        Some(token) if !task.is_fenced() => Ok(token.clone()),
        _ => Ok(String::new()),
    }
}

async fn apply(call: &Call, engine: &Engine, id: &octopoid_core::id::TaskId, command: Command) -> Reply {
    let task = engine
        .apply_once(id, command, call.idempotency_key()?)
        .await
        .map_err(|e| Problem::from(e).about_task(id.as_str()).with_details())?;
    shown(call, engine, 200, task).await
}

async fn renew(call: Call) -> Reply {
    let lease = lease(&call)?;
    let (engine, id) = call.task().await?;
    let token = token(&call, &engine, &id).await?;
    apply(&call, &engine, &id, Command::Renew { token, lease }).await
}

async fn release(call: Call) -> Reply {
    let (engine, id) = call.task().await?;
    let token = token(&call, &engine, &id).await?;
    let reason = call
        .fields
        .text("reason")?
        .unwrap_or_else(|| "released by its holder".to_owned());
    apply(&call, &engine, &id, Command::Release { token, reason }).await
}

async fn progress(call: Call) -> Reply {
    let (engine, id) = call.task().await?;
    let token = token(&call, &engine, &id).await?;
    let note = match call.fields.text("note")? {
        Some(note) => note,
        None => call.fields.text("message")?.unwrap_or_default(),
    };
    apply(&call, &engine, &id, Command::Progress { token, note }).await
}

async fn fail(call: Call) -> Reply {
    let [reason] = call.fields.required(["reason"])?;
    let (engine, id) = call.task().await?;
    let task = engine
        .task(&id)
        .await
        .map_err(|e| Problem::from(e).about_task(id.as_str()))?;
    let sent = call.token()?;
    let holds = sent.is_none() || sent == task.claim_token;
    if !holds || task.is_fenced() && sent.is_none() {
        return Err(Problem::from(Error::new(
            ErrorCode::StaleClaim,
            format!("the claim on task {id} is not valid any more; it is in {}", task.queue),
        ))
        .with_details());
    }
    let by = match call.fields.text("by")? {
        Some(by) => by,
        None => task.claimed_by.unwrap_or_else(|| "api".to_owned()),
    };
    apply(&call, &engine, &id, Command::GiveUp { by, reason }).await
}

async fn command(call: Call) -> Reply {
    let command: Command = serde_json::from_value(Value::Object(call.fields.0.clone()))
        .map_err(|e| Error::invalid(format!("this is no command: {e}")))?;
    // A claim chooses a task, and the server itself says what time and other tasks do to one.
    if matches!(
        command,
        Command::Claim { .. } | Command::Expire | Command::Unblock { .. }
    ) {
        return Err(Error::invalid("this command is the server's own; claim with POST /api/v1/tasks/claim").into());
    }
    let (engine, id) = call.task().await?;
    apply(&call, &engine, &id, command).await
}

async fn claims(call: Call) -> Reply {
    let engine = call.engine().await?;
    let tasks = engine.claimed().await?;
    let own = call.query.get("orchestrator_id");
    let mut tokens = serde_json::Map::new();
    for task in &tasks {
        if let (Some(token), Some(owner)) = (&task.claim_token, &task.orchestrator_id)
            && Some(owner.as_str()) == own
        {
            tokens.insert(task.id.to_string(), json!(token));
        }
    }
    Answer::of(
        200,
        &json!({
            "tasks": tasks,
            "tokens": tokens,
            "next_retry": engine.next_retry().await?,
            "spent_today": engine.spent_today().await?,
        }),
    )
}
