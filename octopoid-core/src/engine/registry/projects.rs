//! Projects: several tasks on one branch.

use serde_json::{Value, json};

use super::{Listed, Registry, Window, check_word, matching, newest, page, take_texts};
use crate::{
    error::{Error, Result},
    id::{ProjectId, Scope},
    model::RecordKind,
    wire::{BASE_BRANCH, Fields},
};

const KIND: RecordKind = RecordKind::Project;
const STATUSES: &str = "draft";

impl Registry {
    /// Creates a project from `id`, `title` (or `name`), `branch` and more.
    pub async fn create_project(&self, scope: &Scope, fields: &Fields) -> Result<Value> {
        let title = match fields.text("title")? {
            Some(title) => title,
            None => fields
                .text("name")?
                .ok_or_else(|| Error::invalid("Missing required fields: title"))?,
        };
        let [id, branch] = fields.required(["id", "branch"])?;
        let id = ProjectId::parse(&id)?;
        let status = fields.text("status")?.unwrap_or_else(|| STATUSES.to_owned());
        check_word("status", &status)?;
        let now = self.now();
        let body = json!({
            "id": id,
            "title": title,
            "description": fields.text("description")?,
            "status": status,
            "branch": branch,
            "base_branch": fields.text("base_branch")?.unwrap_or_else(|| BASE_BRANCH.to_owned()),
            "auto_accept": fields.flag("auto_accept")?.unwrap_or(false),
            "created_at": now,
            "updated_at": now,
            "created_by": fields.text("created_by")?,
            "completed_at": (status == "completed").then_some(now),
            "scope": scope,
        });
        Ok(self.add(scope.as_str(), KIND, id.as_str(), body).await?.body)
    }

    /// One project.
    pub async fn project(&self, scope: &Scope, id: &str) -> Result<Value> {
        self.one(scope.as_str(), KIND, id)
            .await?
            .map(|r| r.body)
            .ok_or_else(|| super::unknown(KIND, id))
    }

    /// The scope that has a project of this name.
    pub async fn scope_of(&self, kind: RecordKind, id: &str) -> Result<Option<Scope>> {
        let found = self.store().records(None, kind, Some(id)).await?;
        found.first().map(|r| Scope::parse(&r.place)).transpose()
    }

    /// Projects, the newest first.
    pub async fn projects(
        &self,
        scope: &Scope,
        status: Option<&str>,
        created_by: Option<&str>,
        window: Window,
    ) -> Result<Listed> {
        let rows = newest(self.all(scope.as_str(), KIND).await?);
        let rows = matching(rows, &[("status", status), ("created_by", created_by)]);
        Ok(page(rows, window))
    }

    /// Changes a project.
    pub async fn edit_project(&self, scope: &Scope, id: &str, fields: &Fields) -> Result<Value> {
        self.project(scope, id).await?;
        let known = [
            "title",
            "description",
            "status",
            "branch",
            "base_branch",
            "auto_accept",
            "completed_at",
        ];
        if !known.iter().any(|name| fields.has(name)) {
            return Err(Error::invalid(format!(
                "No fields to update; known: {}",
                known.join(", ")
            )));
        }
        let (fields, now) = (fields.clone(), self.now());
        self.edit(scope.as_str(), KIND, id, move |body| {
            for name in ["title", "status", "branch", "base_branch"] {
                if fields.has(name) && fields.text(name)?.is_none() {
                    return Err(Error::invalid(format!("{name} must not be empty")));
                }
            }
            take_texts(
                &fields,
                &["title", "description", "status", "branch", "base_branch"],
                body,
            )?;
            if let Some(auto) = fields.flag("auto_accept")? {
                body.insert("auto_accept".into(), json!(auto));
            }
            if let Some(status) = fields.text("status")? {
                check_word("status", &status)?;
                if status != "completed" {
                    body.insert("completed_at".into(), Value::Null);
                } else if body.get("completed_at").is_none_or(Value::is_null) {
                    body.insert("completed_at".into(), json!(now));
                }
            }
            if fields.has("completed_at") {
                body.insert("completed_at".into(), json!(fields.time("completed_at")?));
            }
            body.insert("updated_at".into(), json!(now));
            Ok(())
        })
        .await
    }

    /// Removes a project that no task belongs to.
    pub async fn delete_project(&self, scope: &Scope, id: &str) -> Result<()> {
        self.remove(scope.as_str(), KIND, id).await
    }
}
