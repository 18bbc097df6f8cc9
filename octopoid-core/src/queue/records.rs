//! What a scope keeps beside its tasks, near or far: JSON objects with the fields of the HTTP routes.

#![cfg_attr(not(feature = "client"), allow(unused, reason = "the words of the routes"))]

#[cfg(feature = "client")]
use reqwest::Method;
use serde_json::{Value, json};

use super::{Octopoid, Place};
#[cfg(feature = "client")]
use crate::client::segment;
use crate::{
    engine::registry::{Listed, Window},
    error::{Error, Result},
    model::MessageFilter,
    wire::{self, Fields},
};

/// Rows of one page and how many there are in all.
#[derive(Debug, Clone, PartialEq)]
pub struct Listing {
    /// The rows.
    pub rows: Vec<Value>,
    /// How many match in all.
    pub total: usize,
}

/// Rows of a page when no limit is asked for.
const PAGE: u32 = 50;

fn fields(value: Value) -> Result<Fields> {
    match value {
        Value::Object(map) => Ok(Fields(map)),
        _ => Err(Error::invalid("the fields must be an object")),
    }
}

type Filters<'f> = &'f [(&'f str, &'f str)];

fn find<'f>(filters: Filters<'f>, name: &str) -> Option<&'f str> {
    filters.iter().find(|(n, _)| *n == name).map(|(_, v)| *v)
}

fn window(filters: Filters<'_>) -> Result<Window> {
    let number = |name: &str, default: u32| match find(filters, name) {
        None => Ok(default),
        Some(text) => text
            .parse()
            .map_err(|_| Error::invalid(format!("{name} must be a whole number, not {text:?}"))),
    };
    Ok(Window {
        limit: number("limit", PAGE)?,
        offset: number("offset", 0)?,
    })
}

impl From<Listed> for Listing {
    fn from(listed: Listed) -> Self {
        Self {
            rows: listed.rows,
            total: listed.total,
        }
    }
}

/// The rows under `name`.
fn listing(mut answer: Value, name: &str) -> Listing {
    let rows = match answer.get_mut(name).map(Value::take) {
        Some(Value::Array(rows)) => rows,
        _ => Vec::new(),
    };
    let total = answer.get("total").and_then(Value::as_u64);
    Listing {
        total: total.and_then(|n| usize::try_from(n).ok()).unwrap_or(rows.len()),
        rows,
    }
}

/// Asks the registry of this process, or a server: `near!(self, |registry, scope| …, METHOD path query body)`.
macro_rules! either {
    ($handle:expr, |$registry:ident, $scope:ident| $near:expr, $method:ident $path:expr, $query:expr, $body:expr) => {
        match &$handle.place {
            Place::Local($registry) => {
                let $scope = &$handle.backend.rules().scope;
                $near.await
            }
            #[cfg(feature = "client")]
            Place::Remote(requests, _) => requests.call(Method::$method, &$path, $query, $body).await,
        }
    };
}

/// The same for lists.
macro_rules! either_list {
    ($handle:expr, |$registry:ident, $scope:ident| $near:expr, $path:expr, $query:expr, $name:literal) => {
        match &$handle.place {
            Place::Local($registry) => {
                let $scope = &$handle.backend.rules().scope;
                $near.await.map(Listing::from)
            }
            #[cfg(feature = "client")]
            Place::Remote(requests, _) => requests
                .call(Method::GET, &$path, $query, None)
                .await
                .map(|answer| listing(answer, $name)),
        }
    };
}

/// Operations on projects.
#[derive(Debug, Clone, Copy)]
pub struct Projects<'a>(pub(super) &'a Octopoid);

impl Projects<'_> {
    /// Creates a project from `id`, `title`, `branch` and more.
    pub async fn create(&self, project: Value) -> Result<Value> {
        let body = fields(project)?;
        either!(self.0, |r, s| r.create_project(s, &body), POST "/api/v1/projects", &[], Some(Value::Object(body.0)))
    }
    /// One project; `not_found` when it does not exist.
    pub async fn get(&self, id: &str) -> Result<Value> {
        either!(self.0, |r, s| r.project(s, id), GET format!("/api/v1/projects/{}", segment(id)), &[], None)
    }
    /// Projects, the newest first; filters are `status`, `created_by`, `limit`, `offset`.
    pub async fn list(&self, filters: Filters<'_>) -> Result<Listing> {
        let (status, by, page) = (find(filters, "status"), find(filters, "created_by"), window(filters)?);
        either_list!(
            self.0,
            |r, s| r.projects(s, status, by, page),
            "/api/v1/projects",
            filters,
            "projects"
        )
    }
    /// Writes the fields that are named.
    pub async fn update(&self, id: &str, change: Value) -> Result<Value> {
        let body = fields(change)?;
        either!(self.0, |r, s| r.edit_project(s, id, &body), PATCH format!("/api/v1/projects/{}", segment(id)), &[], Some(Value::Object(body.0)))
    }
    /// Deletes a project that has no tasks.
    pub async fn delete(&self, id: &str) -> Result<()> {
        let gone = either!(self.0, |r, s| async { r.delete_project(s, id).await.map(|()| Value::Null) }, DELETE format!("/api/v1/projects/{}", segment(id)), &[], None);
        gone.map(|_| ())
    }
}

/// Operations on drafts.
#[derive(Debug, Clone, Copy)]
pub struct Drafts<'a>(pub(super) &'a Octopoid);

impl Drafts<'_> {
    /// Keeps an idea, from `title`, `author` and more.
    pub async fn create(&self, draft: Value) -> Result<Value> {
        let body = fields(draft)?;
        either!(self.0, |r, s| r.create_draft(s, &body), POST "/api/v1/drafts", &[], Some(Value::Object(body.0)))
    }
    /// One draft by its number.
    pub async fn get(&self, id: i64) -> Result<Value> {
        let id = id.to_string();
        either!(self.0, |r, s| r.draft(s, &id), GET format!("/api/v1/drafts/{id}"), &[], None)
    }
    /// Drafts, the newest first; filters are `status`, `author`, `domain`, `linked_task_id`, `linked_project_id`, `limit`, `offset`.
    pub async fn list(&self, filters: Filters<'_>) -> Result<Listing> {
        let page = window(filters)?;
        let named: Vec<(&str, Option<&str>)> = filters
            .iter()
            .filter(|(n, _)| !matches!(*n, "limit" | "offset"))
            .map(|(n, v)| (*n, Some(*v)))
            .collect();
        either_list!(
            self.0,
            |r, s| r.drafts(s, &named, page),
            "/api/v1/drafts",
            filters,
            "drafts"
        )
    }
    /// Writes the fields that are named.
    pub async fn update(&self, id: i64, change: Value) -> Result<Value> {
        let (id, body) = (id.to_string(), fields(change)?);
        either!(self.0, |r, s| r.edit_draft(s, &id, &body), PATCH format!("/api/v1/drafts/{id}"), &[], Some(Value::Object(body.0)))
    }
    /// Deletes a draft.
    pub async fn delete(&self, id: i64) -> Result<()> {
        let id = id.to_string();
        let gone = either!(self.0, |r, s| async { r.delete_draft(s, &id).await.map(|()| Value::Null) }, DELETE format!("/api/v1/drafts/{id}"), &[], None);
        gone.map(|_| ())
    }
}

/// Operations on orchestrators.
#[derive(Debug, Clone, Copy)]
pub struct Orchestrators<'a>(pub(super) &'a Octopoid);

impl Orchestrators<'_> {
    /// Makes an orchestrator known, from `cluster`, `machine_id`, `repo_url` and more; gives its `orchestrator_id`.
    pub async fn register(&self, orchestrator: Value) -> Result<Value> {
        let body = fields(orchestrator)?;
        let near = |row: Value| json!({ "orchestrator_id": row["id"], "registered_at": row["registered_at"], "status": row["status"] });
        either!(self.0, |r, s| async { r.register(s, &body, false, true).await.map(|made| near(made.row)) }, POST "/api/v1/orchestrators/register", &[], Some(Value::Object(body.0)))
    }
    /// One orchestrator.
    pub async fn get(&self, id: &str) -> Result<Value> {
        either!(self.0, |r, s| r.orchestrator(Some(s), id), GET format!("/api/v1/orchestrators/{}", segment(id)), &[], None)
    }
    /// Orchestrators, the one heard of last first; filters are `cluster`, `status`.
    pub async fn list(&self, filters: Filters<'_>) -> Result<Listing> {
        let (cluster, status) = (find(filters, "cluster"), find(filters, "status"));
        let counted = |rows: Vec<Value>| Listed {
            total: rows.len(),
            rows,
        };
        either_list!(
            self.0,
            |r, s| async { r.orchestrators(Some(s), cluster, status).await.map(counted) },
            "/api/v1/orchestrators",
            filters,
            "orchestrators"
        )
    }
    /// A sign of life.
    pub async fn heartbeat(&self, id: &str) -> Result<Value> {
        let near =
            |row: Value| json!({ "success": true, "last_heartbeat": row["last_heartbeat"], "status": row["status"] });
        either!(self.0, |r, s| async { r.heartbeat(Some(s), id, None).await.map(near) }, POST format!("/api/v1/orchestrators/{}/heartbeat", segment(id)), &[], Some(json!({})))
    }
}

/// Operations on registered flows.
#[derive(Debug, Clone, Copy)]
pub struct Flows<'a>(pub(super) &'a Octopoid);

impl Flows<'_> {
    /// Registers or replaces a flow, from `states`, `transitions` and more.
    pub async fn register(&self, name: &str, flow: Value) -> Result<Value> {
        let body = fields(flow)?;
        either!(self.0, |r, s| r.put_flow(s, name, &body), PUT format!("/api/v1/flows/{}", segment(name)), &[], Some(Value::Object(body.0)))
    }
    /// One flow.
    pub async fn get(&self, name: &str) -> Result<Value> {
        either!(self.0, |r, s| r.flow(s, name), GET format!("/api/v1/flows/{}", segment(name)), &[], None)
    }
    /// Flows by name.
    pub async fn list(&self) -> Result<Listing> {
        let counted = |rows: Vec<Value>| Listed {
            total: rows.len(),
            rows,
        };
        either_list!(
            self.0,
            |r, s| async { r.flows(s).await.map(counted) },
            "/api/v1/flows",
            &[],
            "flows"
        )
    }
    /// Deletes a flow.
    pub async fn delete(&self, name: &str) -> Result<()> {
        let gone = either!(self.0, |r, s| async { r.delete_flow(s, name).await.map(|()| Value::Null) }, DELETE format!("/api/v1/flows/{}", segment(name)), &[], None);
        gone.map(|_| ())
    }
}

/// Operations on messages.
#[derive(Debug, Clone, Copy)]
pub struct Messages<'a>(pub(super) &'a Octopoid);

impl Messages<'_> {
    /// Keeps a message, from `task_id`, `from_actor`, `type`, `content` and more.
    pub async fn create(&self, message: Value) -> Result<Value> {
        let body = fields(message)?;
        either!(self.0, |r, s| async { r.post_message(s, &body).await.map(|m| wire::message(&m, s.as_str())) }, POST "/api/v1/messages", &[], Some(Value::Object(body.0)))
    }
    /// Messages, oldest first; filters are `task_id`, `to_actor`, `type`, `unreplied`, `thread_id`, `limit`, `offset`.
    pub async fn list(&self, filters: Filters<'_>) -> Result<Listing> {
        let text = |name: &str| find(filters, name).map(str::to_owned);
        let page = window(filters)?;
        let is_paged = find(filters, "limit").is_some() || find(filters, "offset").is_some();
        let filter = MessageFilter {
            task_id: text("task_id"),
            to: text("to_actor"),
            kind: text("type"),
            unreplied: find(filters, "unreplied") == Some("true"),
            thread: text("thread_id"),
            page: is_paged.then_some((page.limit, page.offset)),
            newest: 500,
        };
        let near = |page: crate::model::MessagePage, scope: &str| Listed {
            total: usize::try_from(page.total).unwrap_or(usize::MAX),
            rows: page.messages.iter().map(|m| wire::message(m, scope)).collect(),
        };
        either_list!(
            self.0,
            |r, s| async { r.list_messages(s, filter).await.map(|p| near(p, s.as_str())) },
            "/api/v1/messages",
            filters,
            "messages"
        )
    }
}

/// Operations on proposed actions.
#[derive(Debug, Clone, Copy)]
pub struct Actions<'a>(pub(super) &'a Octopoid);

impl Actions<'_> {
    /// Proposes an action, from `entity_type`, `entity_id`, `label`, `proposed_by` and more.
    pub async fn create(&self, action: Value) -> Result<Value> {
        let body = fields(action)?;
        either!(self.0, |r, s| r.create_action(s, &body), POST "/api/v1/actions", &[], Some(Value::Object(body.0)))
    }
    /// Actions that have not expired, the newest first; filters are `entity_type`, `entity_id`, `status`, `limit`, `offset`.
    pub async fn list(&self, filters: Filters<'_>) -> Result<Listing> {
        let page = window(filters)?;
        let named: Vec<(&str, Option<&str>)> = filters
            .iter()
            .filter(|(n, _)| !matches!(*n, "limit" | "offset"))
            .map(|(n, v)| (*n, Some(*v)))
            .collect();
        either_list!(
            self.0,
            |r, s| r.actions(s, &named, page),
            "/api/v1/actions",
            filters,
            "actions"
        )
    }
    /// Asks for an action to be executed.
    pub async fn execute(&self, id: &str) -> Result<Value> {
        either!(self.0, |r, s| r.execute_action(s, id), POST format!("/api/v1/actions/{}/execute", segment(id)), &[], Some(json!({})))
    }
    /// Reports that it was executed.
    pub async fn complete(&self, id: &str, result: Value) -> Result<Value> {
        self.report(id, "complete", "completed", result).await
    }
    /// Reports that it failed.
    pub async fn fail(&self, id: &str, result: Value) -> Result<Value> {
        self.report(id, "fail", "failed", result).await
    }

    async fn report(&self, id: &str, word: &str, status: &str, result: Value) -> Result<Value> {
        let body = fields(json!({ "result": result }))?;
        either!(self.0, |r, s| r.report_action(s, id, &body, Some(status)), POST format!("/api/v1/actions/{}/{word}", segment(id)), &[], Some(Value::Object(body.0)))
    }
}
