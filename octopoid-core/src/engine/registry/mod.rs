//! What is kept beside the tasks: orchestrators, roles, flows, projects, drafts, messages, actions, keys; and the rules
//! of each scope, which are made from them.

mod actions;
mod drafts;
mod flows;
mod keys;
mod messages;
mod orchestrators;
mod projects;
mod roles;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use serde_json::{Map, Value};

pub use keys::{Access, KeyRow, check_key_form};

use super::{Engine, Rules};
use crate::{
    clock::Timestamp,
    error::{Error, Result},
    flow::Flows,
    id::{Scope, random_hex},
    lifecycle::Limits,
    model::{Record, RecordKey, RecordKind, RecordWrite},
    store::Store,
    wire::{BASE_BRANCH, Fields},
};

/// How long another server's change of flows or roles may stay unseen.
const FRESH: Duration = Duration::from_secs(1);

/// A page of documents.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    /// At most so many.
    pub limit: u32,
    /// So many are passed over.
    pub offset: u32,
}

/// Documents of one page and how many there are in all.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed {
    /// The documents.
    pub rows: Vec<Value>,
    /// How many match in all.
    pub total: usize,
}

/// Everything beside the tasks. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Registry {
    engine: Engine,
    /// Engines with the rules of their scopes, and since when these are known.
    engines: Arc<Mutex<HashMap<Scope, (Instant, Engine)>>>,
}

impl Registry {
    /// A registry over `store`; its clock decides about time.
    pub fn new(store: Arc<dyn Store>) -> Result<Self> {
        let rules = Rules {
            scope: Scope::parse("default")?,
            flows: Flows::shipped()?,
            limits: Limits::default(),
            base_branch: BASE_BRANCH.to_owned(),
            roles: None,
            open: true,
        };
        let clock = store.clock();
        let engine = Engine::with(Arc::clone(&store), rules, clock, Arc::new(crate::id::SystemEntropy));
        store.watch(engine.changes.clone());
        Ok(Self {
            engine,
            engines: Arc::default(),
        })
    }

    /// Everything beside the tasks of the engine's store, with its rules where a scope has none of its own.
    pub fn over(engine: &Engine) -> Self {
        Self {
            engine: engine.clone(),
            engines: Arc::default(),
        }
    }

    /// An engine over the same store with other rules; it wakes up the same waiters.
    pub fn with_rules(&self, rules: Rules) -> Engine {
        self.engine.sibling(rules)
    }

    /// The store under it.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.engine.store
    }

    /// The present moment, by the store's clock.
    pub fn now(&self) -> Timestamp {
        self.engine.now()
    }

    /// Wakes up after every change.
    pub fn changes(&self) -> tokio::sync::watch::Receiver<u64> {
        self.engine.changes()
    }

    /// The engine of a scope, with the rules that hold there.
    pub async fn engine(&self, scope: &Scope) -> Result<Engine> {
        {
            let engines = self.engines.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((_, engine)) = engines.get(scope).filter(|(at, _)| at.elapsed() < FRESH) {
                return Ok(engine.clone());
            }
        }
        let engine = self.engine.sibling(self.read_rules(scope).await?);
        let mut engines = self.engines.lock().unwrap_or_else(PoisonError::into_inner);
        engines.retain(|_, (at, _)| at.elapsed() < FRESH);
        engines.insert(scope.clone(), (Instant::now(), engine.clone()));
        Ok(engine)
    }

    async fn read_rules(&self, scope: &Scope) -> Result<Rules> {
        let mut rules = Rules {
            scope: scope.clone(),
            ..self.engine.rules().clone()
        };
        for flow in self.registered_flows(scope).await? {
            rules.flows.insert(flow);
        }
        if let Some(roles) = self.allowed_roles(scope).await? {
            rules.roles = Some(roles);
        }
        let settings = self.one(scope.as_str(), RecordKind::Settings, "scope").await?;
        if let Some(settings) = settings {
            let number = |key: &str| settings.body.get(key).and_then(Value::as_i64);
            rules.limits.attempts = number("attempts").unwrap_or(rules.limits.attempts);
            rules.limits.rejections = number("rejections").unwrap_or(rules.limits.rejections);
            if let Some(branch) = settings.body.get("base_branch").and_then(Value::as_str) {
                branch.clone_into(&mut rules.base_branch);
            }
        }
        Ok(rules)
    }

    /// What orchestrators say of their project holds for the scope's tasks.
    pub async fn set_scope_rules(&self, scope: &Scope, limits: &Limits, base_branch: &str) -> Result<()> {
        let body = serde_json::json!({
            "attempts": limits.attempts, "rejections": limits.rejections, "base_branch": base_branch
        });
        self.put(scope.as_str(), RecordKind::Settings, "scope", body).await?;
        self.forget(scope);
        Ok(())
    }

    fn forget(&self, scope: &Scope) {
        self.engines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(scope);
    }

    async fn one(&self, place: &str, kind: RecordKind, id: &str) -> Result<Option<Record>> {
        Ok(self.store().records(Some(place), kind, Some(id)).await?.pop())
    }

    async fn all(&self, place: &str, kind: RecordKind) -> Result<Vec<Record>> {
        self.store().records(Some(place), kind, None).await
    }

    async fn put(&self, place: &str, kind: RecordKind, id: &str, body: Value) -> Result<Record> {
        let key = RecordKey::new(place, kind, id);
        self.change(key, move |_| Ok(body.clone())).await
    }

    /// Makes a document, where none is of that name yet.
    async fn add(&self, place: &str, kind: RecordKind, id: &str, body: Value) -> Result<Record> {
        let key = RecordKey::new(place, kind, id);
        let name = id.to_owned();
        self.change(key, move |found| match found {
            Some(_) => Err(Error::new(
                crate::error::ErrorCode::AlreadyExists,
                format!("{kind} {name} already exists"),
            )),
            None => Ok(body.clone()),
        })
        .await
    }

    /// Changes one document inside a transaction.
    async fn change(
        &self,
        key: RecordKey,
        mut decide: impl FnMut(Option<&Record>) -> Result<Value> + Send + 'static,
    ) -> Result<Record> {
        let wanted = key.clone();
        let written = self
            .store()
            .update(
                vec![key],
                Box::new(move |found| {
                    let body = decide(found.first().and_then(Option::as_ref))?;
                    Ok(vec![RecordWrite::Put(wanted.clone(), body)])
                }),
                self.now(),
            )
            .await?;
        self.engine.notify();
        written
            .into_iter()
            .next()
            .ok_or_else(|| Error::new(crate::error::ErrorCode::Internal, "a record was not written"))
    }

    /// Changes a document that must be there.
    async fn edit(
        &self,
        place: &str,
        kind: RecordKind,
        id: &str,
        mut edit: impl FnMut(&mut Map<String, Value>) -> Result<()> + Send + 'static,
    ) -> Result<Value> {
        let name = id.to_owned();
        let record = self
            .change(RecordKey::new(place, kind, id), move |found| {
                let mut body = found.ok_or_else(|| unknown(kind, &name))?.body.clone();
                if let Value::Object(map) = &mut body {
                    edit(map)?;
                }
                Ok(body)
            })
            .await?;
        Ok(record.body)
    }

    async fn remove(&self, place: &str, kind: RecordKind, id: &str) -> Result<()> {
        let key = RecordKey::new(place, kind, id);
        let name = id.to_owned();
        self.store()
            .update(
                vec![key.clone()],
                Box::new(move |found| match found.first() {
                    Some(Some(_)) => Ok(vec![RecordWrite::Delete(key.clone())]),
                    _ => Err(unknown(kind, &name)),
                }),
                self.now(),
            )
            .await?;
        self.engine.notify();
        Ok(())
    }

    /// A fresh name: `prefix`, the time, and 80 random bits.
    fn fresh_id(&self, prefix: &str) -> Result<String> {
        Ok(format!(
            "{prefix}-{}-{}",
            self.now().0,
            random_hex(&*self.engine.entropy, 10)?
        ))
    }
}

fn unknown(kind: RecordKind, id: &str) -> Error {
    let mut word = kind.to_string();
    if let Some(first) = word.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    Error::new(crate::error::ErrorCode::NotFound, format!("{word} not found: {id}"))
}

/// The newest first.
fn newest(mut records: Vec<Record>) -> Vec<Value> {
    records.sort_by_key(|r| std::cmp::Reverse((r.created_at, r.seq)));
    records.into_iter().map(|r| r.body).collect()
}

fn page(rows: Vec<Value>, window: Window) -> Listed {
    Listed {
        total: rows.len(),
        rows: rows
            .into_iter()
            .skip(window.offset as usize)
            .take(window.limit as usize)
            .collect(),
    }
}

/// Keeps rows in which each named field has one of the wanted texts.
fn matching(rows: Vec<Value>, filters: &[(&str, Option<&str>)]) -> Vec<Value> {
    rows.into_iter()
        .filter(|row| {
            filters.iter().all(|(name, wanted)| {
                wanted.is_none_or(|wanted| {
                    let value = row.get(*name).and_then(Value::as_str).unwrap_or_default();
                    wanted.split(',').any(|w| w.trim() == value)
                })
            })
        })
        .collect()
}

/// Takes the texts that the request names over into a document; null clears.
fn take_texts(fields: &Fields, names: &[&str], body: &mut Map<String, Value>) -> Result<bool> {
    let mut any = false;
    for name in names {
        if fields.has(name) {
            any = true;
            body.insert(
                (*name).to_owned(),
                fields.text(name)?.map_or(Value::Null, Value::String),
            );
        }
    }
    Ok(any)
}

/// A word that a state may have: not empty, not long, nothing invisible.
fn check_word(name: &str, word: &str) -> Result<()> {
    if word.trim().is_empty() || word.len() > 64 || word.chars().any(char::is_control) {
        return Err(Error::invalid(format!(
            "{name} must be a word of at most 64 characters"
        )));
    }
    Ok(())
}
