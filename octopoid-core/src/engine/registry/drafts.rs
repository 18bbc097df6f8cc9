//! Drafts: ideas kept before they are tasks.

use serde_json::{Value, json};

use super::{Listed, Registry, Window, check_word, matching, newest, page, take_texts};
use crate::{
    error::{Error, Result},
    id::Scope,
    model::RecordKind,
    wire::Fields,
};

const KIND: RecordKind = RecordKind::Draft;
const TEXTS: [&str; 7] = [
    "title",
    "status",
    "author",
    "domain",
    "file_path",
    "linked_task_id",
    "linked_project_id",
];

/// The number as the document's own; the store gave it.
fn shown(id: &str, mut body: Value) -> Value {
    if let (Value::Object(map), Ok(number)) = (&mut body, id.parse::<i64>()) {
        map.shift_insert(0, "id".into(), json!(number));
    }
    body
}

fn tags(fields: &Fields) -> Result<Option<String>> {
    match fields.0.get("tags") {
        None | Some(Value::Null) => Ok(None),
        Some(list @ Value::Array(_)) => Ok(Some(list.to_string())),
        Some(Value::String(text)) if serde_json::from_str::<Vec<Value>>(text).is_ok() => Ok(Some(text.clone())),
        Some(_) => Err(Error::invalid("tags must be an array")),
    }
}

/// A draft's name is its number.
fn number(id: &str) -> Result<String> {
    match id.parse::<i64>() {
        Ok(n) if n > 0 && n.to_string() == id => Ok(id.to_owned()),
        _ => Err(Error::invalid(format!("{id:?} is not the number of a draft"))),
    }
}

impl Registry {
    /// Keeps an idea, from `title`, `author` and more.
    pub async fn create_draft(&self, scope: &Scope, fields: &Fields) -> Result<Value> {
        let [title, author] = fields.required(["title", "author"])?;
        let status = fields.text("status")?.unwrap_or_else(|| "idea".to_owned());
        check_word("status", &status)?;
        let now = self.now();
        let body = json!({
            "title": title,
            "status": status,
            "author": author,
            "domain": fields.text("domain")?,
            "file_path": fields.text("file_path")?,
            "created_at": now,
            "updated_at": now,
            "linked_task_id": fields.text("linked_task_id")?,
            "linked_project_id": fields.text("linked_project_id")?,
            "tags": tags(fields)?,
            "content": fields.text("content")?,
            "scope": scope,
        });
        let record = self.put_numbered(scope, body).await?;
        Ok(shown(&record.id, record.body))
    }

    async fn put_numbered(&self, scope: &Scope, body: Value) -> Result<crate::model::Record> {
        let key = crate::model::RecordKey::new(scope.as_str(), KIND, "");
        let written = self
            .store()
            .update(
                Vec::new(),
                Box::new(move |_| Ok(vec![crate::model::RecordWrite::Put(key.clone(), body.clone())])),
                self.now(),
            )
            .await?;
        self.engine.notify();
        written
            .into_iter()
            .next()
            .ok_or_else(|| Error::new(crate::error::ErrorCode::Internal, "a draft was not written"))
    }

    /// One draft.
    pub async fn draft(&self, scope: &Scope, id: &str) -> Result<Value> {
        let id = number(id)?;
        let record = self.one(scope.as_str(), KIND, &id).await?;
        record
            .map(|r| shown(&r.id, r.body))
            .ok_or_else(|| super::unknown(KIND, &id))
    }

    /// Drafts, the newest first; `filters` are field and text.
    pub async fn drafts(&self, scope: &Scope, filters: &[(&str, Option<&str>)], window: Window) -> Result<Listed> {
        let mut records = self.all(scope.as_str(), KIND).await?;
        for record in &mut records {
            record.body = shown(&record.id, record.body.take());
        }
        Ok(page(matching(newest(records), filters), window))
    }

    /// Changes a draft.
    pub async fn edit_draft(&self, scope: &Scope, id: &str, fields: &Fields) -> Result<Value> {
        let id = number(id)?;
        self.draft(scope, &id).await?;
        if !TEXTS.iter().chain(&["tags", "content"]).any(|name| fields.has(name)) {
            return Err(Error::invalid(format!(
                "No fields to update; known: {}, tags, content",
                TEXTS.join(", ")
            )));
        }
        let (fields, now) = (fields.clone(), self.now());
        let body = self
            .edit(scope.as_str(), KIND, &id, move |body| {
                for name in ["title", "author", "status"] {
                    if fields.has(name) && fields.text(name)?.is_none() {
                        return Err(Error::invalid(format!("{name} must not be empty")));
                    }
                }
                if let Some(status) = fields.text("status")? {
                    check_word("status", &status)?;
                }
                take_texts(&fields, &TEXTS, body)?;
                take_texts(&fields, &["content"], body)?;
                if fields.has("tags") {
                    body.insert("tags".into(), json!(tags(&fields)?));
                }
                body.insert("updated_at".into(), json!(now));
                Ok(())
            })
            .await?;
        Ok(shown(&id, body))
    }

    /// Removes a draft.
    pub async fn delete_draft(&self, scope: &Scope, id: &str) -> Result<()> {
        self.remove(scope.as_str(), KIND, &number(id)?).await
    }
}
