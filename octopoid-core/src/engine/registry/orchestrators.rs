//! Orchestrators: the machines that claim tasks, and whether they are alive.

use std::time::Duration;

use serde_json::{Value, json};

use super::Registry;
use crate::{
    clock::Timestamp,
    error::{Error, ErrorCode, Result},
    id::{OrchestratorId, Scope},
    model::{Record, RecordKey, RecordKind},
    wire::Fields,
};

const KIND: RecordKind = RecordKind::Orchestrator;
/// The place of what belongs to the whole server.
const SERVER: &str = "";
/// Without a sign of life for so long, an orchestrator counts as offline.
const STALE: Duration = Duration::from_secs(120);

/// What registering came to.
#[derive(Debug, Clone)]
pub struct Registered {
    /// The row.
    pub row: Value,
    /// Whether it was not known before.
    pub is_new: bool,
    /// The first key of the scope; given once.
    pub api_key: Option<String>,
}

fn text<'a>(row: &'a Value, name: &str) -> &'a str {
    row.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// A row as it is shown: the latest sign of life counted by our clock is not part of it.
fn shown(record: &Record) -> Value {
    let mut row = record.body.clone();
    if let Value::Object(map) = &mut row {
        map.remove("seen_at");
    }
    row
}

impl Registry {
    /// Registers an orchestrator, from `cluster`, `machine_id`, `repo_url` and more. `with_key` issues the scope's first
    /// key, `may_move` lets it come from another scope.
    pub async fn register(&self, scope: &Scope, fields: &Fields, with_key: bool, may_move: bool) -> Result<Registered> {
        let [cluster, machine_id, repo_url] = fields.required(["cluster", "machine_id", "repo_url"])?;
        let id = OrchestratorId::of(&cluster, &machine_id)?;
        let optional = json!({
            "hostname": fields.text("hostname")?,
            "version": fields.text("version")?,
            "capabilities": fields.json_text("capabilities")?,
        });
        let now = self.now();
        let (name, wanted) = (id.clone(), scope.clone());
        let seen = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let known = std::sync::Arc::clone(&seen);
        let record = self
            .change(RecordKey::new(SERVER, KIND, id.as_str()), move |found| {
                known.store(found.is_some(), std::sync::atomic::Ordering::SeqCst);
                let mut row = match found {
                    None => json!({
                        "id": name, "cluster": cluster, "machine_id": machine_id, "hostname": null, "repo_url": repo_url,
                        "registered_at": now, "last_heartbeat": now, "status": "active", "version": null,
                        "capabilities": null, "scope": wanted,
                    }),
                    Some(record) => {
                        let row = &record.body;
                        if text(row, "cluster") != cluster || text(row, "machine_id") != machine_id {
                            return Err(Error::new(
                                ErrorCode::AlreadyExists,
                                format!("the id {name} belongs to another cluster and machine"),
                            ));
                        }
                        if text(row, "scope") != wanted.as_str() && !may_move {
                            return Err(Error::new(
                                ErrorCode::AlreadyExists,
                                format!("the id {name} is taken; choose another machine_id"),
                            ));
                        }
                        row.clone()
                    }
                };
                for name in ["hostname", "version", "capabilities"] {
                    if !optional[name].is_null() {
                        row[name] = optional[name].clone();
                    }
                }
                row["repo_url"] = json!(repo_url);
                row["scope"] = json!(wanted);
                row["last_heartbeat"] = json!(now);
                row["seen_at"] = json!(now);
                if text(&row, "status") == "offline" {
                    row["status"] = json!("active");
                }
                Ok(row)
            })
            .await?;
        let api_key = if with_key { self.first_key(scope).await? } else { None };
        Ok(Registered {
            row: shown(&record),
            is_new: !seen.load(std::sync::atomic::Ordering::SeqCst),
            api_key,
        })
    }

    /// A sign of life; `said` is the time that the orchestrator names, shown and not believed.
    pub async fn heartbeat(&self, scope: Option<&Scope>, id: &str, said: Option<String>) -> Result<Value> {
        self.orchestrator(scope, id).await?;
        let now = self.now();
        let row = self
            .edit(SERVER, KIND, id, move |row| {
                row.insert(
                    "last_heartbeat".into(),
                    json!(said.clone().unwrap_or_else(|| now.to_string())),
                );
                row.insert("seen_at".into(), json!(now));
                if row.get("status").and_then(Value::as_str) == Some("offline") {
                    row.insert("status".into(), json!("active"));
                }
                Ok(())
            })
            .await?;
        Ok(row)
    }

    /// One orchestrator; another scope's does not exist.
    pub async fn orchestrator(&self, scope: Option<&Scope>, id: &str) -> Result<Value> {
        self.one(SERVER, KIND, id)
            .await?
            .filter(|r| scope.is_none_or(|s| text(&r.body, "scope") == s.as_str()))
            .map(|r| shown(&r))
            .ok_or_else(|| super::unknown(KIND, id))
    }

    /// Orchestrators, the one heard of last first.
    pub async fn orchestrators(
        &self,
        scope: Option<&Scope>,
        cluster: Option<&str>,
        status: Option<&str>,
    ) -> Result<Vec<Value>> {
        let mut records = self.all(SERVER, KIND).await?;
        records.sort_by_key(|r| std::cmp::Reverse((r.updated_at, r.seq)));
        let rows: Vec<Value> = records.iter().map(shown).collect();
        let filters = [
            ("cluster", cluster),
            ("status", status),
            ("scope", scope.map(Scope::as_str)),
        ];
        Ok(super::matching(rows, &filters))
    }

    /// Sets an orchestrator's status.
    pub async fn set_orchestrator_status(&self, scope: Option<&Scope>, id: &str, status: &str) -> Result<Value> {
        super::check_word("status", status)?;
        self.orchestrator(scope, id).await?;
        let status = status.to_owned();
        self.edit(SERVER, KIND, id, move |row| {
            row.insert("status".into(), json!(status));
            Ok(())
        })
        .await?;
        self.orchestrator(scope, id).await
    }

    /// Marks the orchestrators that have not been heard of.
    pub async fn mark_stale_orchestrators(&self) -> Result<()> {
        let now = self.now();
        let stale = move |row: &Value| {
            let seen = Timestamp::parse_any(text(row, "seen_at")).unwrap_or(now);
            text(row, "status") == "active" && now.since(seen) > STALE
        };
        for record in self.all(SERVER, KIND).await? {
            if stale(&record.body) {
                self.edit(SERVER, KIND, &record.id, move |row| {
                    if stale(&Value::Object(row.clone())) {
                        row.insert("status".into(), json!("offline"));
                    }
                    Ok(())
                })
                .await?;
            }
        }
        Ok(())
    }
}
