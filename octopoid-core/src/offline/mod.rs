//! A server that is not always there: reads are answered from a copy, writes wait in the outbox, claims are not made.
//!
//! Requests of one task reach the server in the order in which they were made. The server wins: what it refuses is
//! dropped, told, and kept.

mod outbox;
mod reads;

use std::{
    collections::HashSet,
    path::Path,
    sync::{
        Arc, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::Mutex;

use crate::{
    backend::{Backend, Dropped, Heartbeat, Reach, Synced},
    client::{Client, fresh_key, is_outage},
    clock::{Clock, SystemClock, Timestamp},
    engine::{Engine, Rules},
    error::{Error, ErrorCode, Result},
    id::{OrchestratorId, SystemEntropy, TaskId, new_task_id},
    lifecycle::Command,
    model::{CreateTask, QueueKind, Task, TaskFilter},
    store::{SqliteStore, Store},
};
use outbox::{Outbox, Request, TakenUp};

/// A backend that works on when its server is away.
#[derive(Debug, Clone)]
pub struct Offline {
    client: Client,
    /// The same rules on the copy.
    cache: Engine,
    store: Arc<dyn Store>,
    outbox: Arc<Outbox>,
    /// One replay at a time in this process.
    replaying: Arc<Mutex<()>>,
    away: Arc<AtomicBool>,
    /// Tasks whose requests have to wait: the server answers one with an error of its own, or it is still in the making.
    stuck: Arc<std::sync::Mutex<HashSet<TaskId>>>,
}

/// Refusals that say nothing about the request: too many at once, or a wrong key.
fn not_now(error: &Error) -> bool {
    matches!(
        error.code(),
        ErrorCode::TooManyRequests | ErrorCode::Unauthorized | ErrorCode::Forbidden
    )
}

/// What waits for one server is never sent to another, and a copy of one is no answer for another.
fn own(outbox: &Outbox, owner: &str, cache: &Path) -> Result<()> {
    match outbox.owner()? {
        Some(known) if known == owner => return Ok(()),
        Some(known) if !outbox.is_empty()? => {
            return Err(Error::new(
                ErrorCode::InvalidConfig,
                format!(
                    "requests that were made for the server and scope {known:?} still wait here; now it is {owner:?}"
                ),
            )
            .with_hint("put server.url and scope back, run `octopoid sync`, and change them then"));
        }
        Some(_) => {
            for ending in ["", "-wal", "-shm"] {
                let mut file = cache.as_os_str().to_owned();
                file.push(ending);
                match std::fs::remove_file(&file) {
                    Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                        return Err(Error::io("remove the copy", cache, e));
                    }
                    _ => {}
                }
            }
            outbox.set_offline_since(None)?;
        }
        None => {}
    }
    outbox.set_owner(owner)
}

impl Offline {
    /// Puts `client` together with the copy at `cache` and the outbox at `outbox`.
    pub fn new(client: Client, rules: Rules, cache: &Path, outbox: &Path) -> Result<Self> {
        let outbox = Outbox::open(outbox)?;
        own(&outbox, &format!("{} {}", client.url(), rules.scope), cache)?;
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(cache)?);
        let away = outbox.offline_since()?.is_some();
        Ok(Self {
            client,
            // A copy holds what the server decided by rules that may be others than ours.
            cache: Engine::new(Arc::clone(&store), Rules { open: true, ..rules }),
            store,
            outbox: Arc::new(outbox),
            replaying: Arc::default(),
            away: Arc::new(AtomicBool::new(away)),
            stuck: Arc::default(),
        })
    }

    fn now() -> Timestamp {
        SystemClock.now()
    }

    /// Notes whether the server answered.
    fn note<T>(&self, answer: Result<T>) -> Result<T> {
        let away = matches!(&answer, Err(error) if is_outage(error));
        if self.away.swap(away, Ordering::SeqCst) != away {
            self.outbox.set_offline_since(away.then(Self::now))?;
        }
        answer
    }

    /// Keeps a copy of what the server said.
    async fn remember(&self, task: &Task) -> Result<()> {
        self.remember_all(vec![task.clone()]).await
    }

    /// The same, with what the task waits for.
    async fn remember_blockers(&self, task: &Task, blocked_by: &[TaskId]) -> Result<()> {
        self.remember(task).await?;
        self.store.mirror_blockers(&task.scope, &task.id, blocked_by).await
    }

    /// What the work stands on: an orchestrator that starts while the server is away goes on from it.
    async fn remember_base(&self, task: &Task, base_sha: &str) -> Result<()> {
        for mut attempt in self.store.attempts(&task.scope, &task.id).await? {
            if attempt.ended_at.is_none() {
                attempt.base_sha = Some(base_sha.to_owned());
                self.store.mirror_attempt(&task.scope, attempt).await?;
            }
        }
        Ok(())
    }

    async fn remember_all(&self, mut tasks: Vec<Task>) -> Result<()> {
        for task in &mut tasks {
            let is_held = task.claimed_by.is_some() || task.kind() == QueueKind::Working;
            if is_held && task.claim_token.is_none() {
                // The secret may be ours and known from before.
                let known = self.store.task(&task.scope, &task.id).await?;
                let same = known.filter(|k| k.epoch == task.epoch).and_then(|k| k.claim_token);
                task.claim_token = Some(same.unwrap_or_else(|| "held-elsewhere".to_owned()));
            }
        }
        if tasks.is_empty() {
            return Ok(());
        }
        // What the server did is done, whether or not a copy of it can be kept.
        if let Err(error) = self.store.mirror(tasks).await {
            tracing::warn!("the copy of the queue cannot be written: {error}");
            return Ok(());
        }
        self.outbox.set_seen()
    }

    /// Sends what waits, in order. False when the server is away, so that what comes now must wait too.
    async fn replay(&self) -> Result<(bool, Synced)> {
        let mut synced = Synced::default();
        let _one = self.replaying.lock().await;
        let waiting = self.outbox.entries("waiting")?;
        let mut stuck = HashSet::new();
        for (done, entry) in waiting.iter().enumerate() {
            if entry.is_behind(&stuck) {
                stuck.insert(entry.task.clone());
                synced.waiting += 1;
                continue;
            }
            // Other processes of the project send from the same outbox.
            match self.outbox.take_up(entry, Self::now())? {
                TakenUp::Yes => {}
                TakenUp::Gone => continue,
                TakenUp::NotYet => {
                    stuck.insert(entry.task.clone());
                    synced.waiting += 1;
                    continue;
                }
            }
            let sent = match &entry.request {
                Request::Create(task) => self.client.create_keyed(task).await,
                Request::Apply(command) => self.client.apply_keyed(&entry.task, command, Some(&entry.key)).await,
            };
            match self.note(sent) {
                Ok(task) => {
                    self.outbox.delivered(entry.seq)?;
                    self.remember(&task).await?;
                    synced.delivered += 1;
                }
                // A wrong key says nothing about the request: it waits for a right one.
                Err(error) if is_outage(&error) || not_now(&error) => {
                    // A server that is well otherwise has trouble with this very request: the other tasks go on.
                    if is_outage(&error) && self.client.health().await.is_ok() {
                        tracing::error!(task = %entry.task, "the server cannot take {}: {error}", entry.request.told());
                        stuck.insert(entry.task.clone());
                        synced.waiting += 1;
                        continue;
                    }
                    synced.waiting += waiting.len() - done;
                    return Ok((false, synced));
                }
                Err(error) => {
                    tracing::warn!(task = %entry.task, "the server refused {}: {error}", entry.request.told());
                    self.outbox.dropped(entry.seq, &error.to_string())?;
                    synced.dropped.push(Dropped {
                        task_id: Some(entry.task.clone()),
                        request: entry.request.told(),
                        reason: error.to_string(),
                        at: entry.at,
                    });
                    // The copy ran ahead of the server; the server is right.
                    if let Ok(task) = self.client.task(&entry.task).await {
                        self.remember(&task).await?;
                    }
                }
            }
        }
        *self.stuck.lock().unwrap_or_else(PoisonError::into_inner) = stuck;
        Ok((true, synced))
    }

    /// Whether earlier requests about this task wait although the server is there.
    fn is_stuck(&self, id: &TaskId) -> bool {
        self.stuck.lock().unwrap_or_else(PoisonError::into_inner).contains(id)
    }

    /// Whether a write can go to the server now: nothing waits before it.
    async fn ready(&self) -> Result<bool> {
        if self.outbox.is_empty()? {
            self.stuck.lock().unwrap_or_else(PoisonError::into_inner).clear();
            return Ok(true);
        }
        Ok(self.replay().await?.0)
    }

    pub(crate) async fn create_or_keep(&self, mut request: CreateTask) -> Result<Task> {
        // Named here, so that the same task is meant whenever the request arrives.
        let mut generated = false;
        if request.id.is_none() {
            request.id = Some(new_task_id(&SystemEntropy)?);
            generated = true;
        }
        if request.idempotency_key.is_none() {
            request.idempotency_key = Some(fresh_key()?);
        } else if generated {
            // The same key must mean the same request, so the name comes from the key.
            let seed = request.idempotency_key.clone().unwrap_or_default();
            request.id = Some(id_of(&self.cache.rules().scope, &seed)?);
        }
        // A task that it is to wait for may be among what the server cannot take.
        if self.ready().await? && !request.blocked_by.iter().any(|id| self.is_stuck(id)) {
            match self.note(self.client.create_keyed(&request).await) {
                Ok(task) => {
                    self.remember_blockers(&task, &request.blocked_by).await?;
                    return Ok(task);
                }
                Err(error) if is_outage(&error) => {}
                Err(error) => return Err(error),
            }
        }
        let key = request.idempotency_key.clone().unwrap_or_default();
        let Some(id) = request.id.clone() else {
            return Err(Error::new(ErrorCode::Internal, "a task has no id"));
        };
        let added = self
            .outbox
            .add(&key, &id, &Request::Create(Box::new(request.clone())), Self::now())?;
        // The copy knows no projects; the server looks at it when the request arrives.
        let shown = CreateTask {
            project_id: None,
            ..request
        };
        let copied = self.cache.create(shown).await;
        // An earlier request under the same key was promised and stays.
        if added { self.settle(&key, copied) } else { copied }
    }

    pub(crate) async fn apply_or_keep(&self, id: &TaskId, command: Command) -> Result<Task> {
        let key = fresh_key()?;
        let ready = self.ready().await? && !self.is_stuck(id);
        if ready {
            let keyed = !matches!(command, Command::Renew { .. } | Command::Begin { .. });
            let sent = self
                .client
                .apply_keyed(id, &command, keyed.then_some(key.as_str()))
                .await;
            match self.note(sent) {
                Ok(task) => {
                    self.remember(&task).await?;
                    if let Command::Begin { base_sha, .. } = &command {
                        self.remember_base(&task, base_sha).await?;
                    }
                    return Ok(task);
                }
                Err(error) if is_outage(&error) => {}
                // What an agent has done waits for a server that takes it, or a key that is right.
                Err(error) if not_now(&error) && keyed && command.token().is_some() => {}
                Err(error) => return Err(error),
            }
        }
        // A lease cannot be made longer from here; the agent goes on, and the server decides when it is back.
        if matches!(command, Command::Renew { .. }) {
            return self.cached(id).await;
        }
        // First the outbox: what the copy shows as done must be on its way, also after a crash in between.
        self.outbox
            .add(&key, id, &Request::Apply(Box::new(command.clone())), Self::now())?;
        let copied = self.cache.apply(id, command).await.map_err(|error| {
            if error.code() == ErrorCode::NotFound {
                unseen(id)
            } else {
                error
            }
        });
        self.settle(&key, copied)
    }

    /// What the copy said decides about a request that was written down: it is on its way, or was never made.
    fn settle(&self, key: &str, copied: Result<Task>) -> Result<Task> {
        match copied {
            Ok(task) => {
                // It is written down and will be sent in any case, only later.
                if let Err(error) = self.outbox.settle(key) {
                    tracing::warn!(task = %task.id, "a request that waits cannot be settled: {error}");
                }
                Ok(task)
            }
            Err(error) if self.outbox.take_back(key)? => Err(error),
            // The copy took so long that another process has sent it.
            Err(error) => Err(Error::new(
                ErrorCode::Offline,
                format!("refused from what is known here ({error}), but the request is on its way to the server"),
            )
            .with_hint("the server's word counts; `octopoid sync` tells what it was")),
        }
    }

    async fn cached(&self, id: &TaskId) -> Result<Task> {
        self.cache.task(id).await.map_err(|_| unseen(id))
    }

    /// Takes every task of the scope over into the copy.
    async fn refresh(&self) -> Result<usize> {
        let filter = TaskFilter {
            limit: Some(u32::MAX),
            ..TaskFilter::default()
        };
        let page = self.note(self.client.list(&filter).await)?;
        let count = page.tasks.len();
        let waiting: Vec<TaskId> = self.outbox.entries("waiting")?.into_iter().map(|e| e.task).collect();
        let seen: std::collections::HashSet<TaskId> = page.tasks.iter().map(|t| t.id.clone()).collect();
        self.remember_all(page.tasks).await?;
        for task in self.cache.list(&filter).await?.tasks {
            if !seen.contains(&task.id) && !waiting.contains(&task.id) {
                // A list that moves while it is read may pass over a task.
                match self.client.task(&task.id).await {
                    Err(error) if error.code() == ErrorCode::NotFound => {}
                    _ => continue,
                }
                // Deleted on the server. What cannot be removed here is only an old copy.
                if let Err(error) = self.cache.delete(&task.id, "sync", true).await {
                    tracing::debug!(task = %task.id, "an old copy stays: {error}");
                }
            }
        }
        Ok(count)
    }

    async fn synchronise(&self) -> Result<Synced> {
        let (reached, mut synced) = self.replay().await?;
        if !reached {
            return self.note(self.client.status().await).map(|_| synced);
        }
        synced.refreshed = self.refresh().await?;
        let known: Vec<String> = synced
            .dropped
            .iter()
            .map(|d| format!("{:?}{}", d.task_id, d.at))
            .collect();
        for entry in self.outbox.entries("dropped")? {
            let dropped = Dropped {
                task_id: Some(entry.task.clone()),
                request: entry.request.told(),
                reason: entry.reason.unwrap_or_default(),
                at: entry.at,
            };
            if !known.contains(&format!("{:?}{}", dropped.task_id, dropped.at)) {
                synced.dropped.push(dropped);
            }
        }
        Ok(synced)
    }

    fn reached(&self) -> Reach {
        let url = self.client.url().to_owned();
        let (waiting, dropped) = self.outbox.counts(Self::now()).unwrap_or((0, 0));
        let since = self.outbox.offline_since().ok().flatten();
        match since.filter(|_| self.away.load(Ordering::SeqCst)) {
            Some(since) => Reach::Offline {
                url,
                since,
                waiting,
                dropped,
            },
            None => Reach::Online { url, waiting, dropped },
        }
    }

    async fn beat(&self, beat: &Heartbeat) -> Result<bool> {
        let answer = match self.note(self.client.heartbeat(beat).await) {
            // What it does not know it cannot forbid; claims are not made while it is away.
            Err(error) if is_outage(&error) => return Ok(true),
            answer => answer?,
        };
        self.ready().await?;
        Ok(answer)
    }

    /// Own claims that were seen, with what was done to them since.
    async fn claimed_copy(&self, _of: &OrchestratorId) -> Result<Vec<Task>> {
        self.cache.claimed().await
    }
}

fn unseen(id: &TaskId) -> Error {
    Error::new(
        ErrorCode::Offline,
        format!("the server cannot be reached, and task {id} was never seen from here"),
    )
    .with_hint("repeat the command when the server is there again; `octopoid status` tells")
}

/// The same name for the same key.
fn id_of(scope: &crate::id::Scope, key: &str) -> Result<TaskId> {
    use sha2::{Digest, Sha256};
    let hash = crate::id::to_hex(&Sha256::digest(format!("{scope}\0{key}")));
    TaskId::parse(&format!("task-{}", &hash[..8]))
}
