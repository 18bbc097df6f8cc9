//! Actions: what an agent proposes, a person has executed, and somebody reports back.

use serde_json::{Map, Value, json};

use super::{Listed, Registry, Window, matching, newest, page};
use crate::{
    clock::Timestamp,
    error::{Error, ErrorCode, Result},
    id::Scope,
    model::RecordKind,
    wire::Fields,
};

const KIND: RecordKind = RecordKind::Action;
const STATUSES: [&str; 6] = [
    "proposed",
    "execute_requested",
    "executing",
    "completed",
    "failed",
    "expired",
];

fn status(body: &Map<String, Value>) -> &str {
    body.get("status").and_then(Value::as_str).unwrap_or_default()
}

/// May an action go from one status to another? It never goes back.
fn goes(from: &str, to: &str) -> bool {
    let rank = |s: &str| STATUSES.iter().position(|known| *known == s).unwrap_or(0);
    match from {
        "completed" | "failed" | "expired" => from == to,
        _ => rank(to) >= rank(from),
    }
}

fn is_over(body: &Value, now: Timestamp) -> bool {
    body.get("status").and_then(Value::as_str) == Some("proposed")
        && body
            .get("expires_at")
            .and_then(Value::as_str)
            .and_then(Timestamp::parse_any)
            .is_some_and(|at| at <= now)
}

impl Registry {
    /// Proposes an action, from `entity_type`, `entity_id`, `label`, `proposed_by` and more.
    pub async fn create_action(&self, scope: &Scope, fields: &Fields) -> Result<Value> {
        let [entity_type, entity_id, label, proposed_by] =
            fields.required(["entity_type", "entity_id", "label", "proposed_by"])?;
        let id = self.fresh_id("act")?;
        let body = json!({
            "id": id,
            "entity_type": entity_type,
            "entity_id": entity_id,
            "action_type": fields.text("action_type")?.unwrap_or_else(|| "proposal".to_owned()),
            "label": label,
            "description": fields.text("description")?,
            "status": "proposed",
            "proposed_by": proposed_by,
            "proposed_at": self.now(),
            "executed_at": null,
            "result": null,
            "expires_at": fields.time("expires_at")?,
            "metadata": fields.json_text("metadata")?,
            "action_data": fields.json_text("action_data")?,
            "scope": scope,
        });
        Ok(self.add(scope.as_str(), KIND, &id, body).await?.body)
    }

    /// Actions that have not expired, the newest first.
    pub async fn actions(&self, scope: &Scope, filters: &[(&str, Option<&str>)], window: Window) -> Result<Listed> {
        let now = self.now();
        let rows = newest(self.all(scope.as_str(), KIND).await?)
            .into_iter()
            .filter(|row| !is_over(row, now) && row.get("status").and_then(Value::as_str) != Some("expired"))
            .collect();
        Ok(page(matching(rows, filters), window))
    }

    /// Asks for a proposed action to be executed; only the first of several at once succeeds.
    pub async fn execute_action(&self, scope: &Scope, id: &str) -> Result<Value> {
        let (name, now) = (id.to_owned(), self.now());
        self.edit(scope.as_str(), KIND, id, move |body| {
            if is_over(&Value::Object(body.clone()), now) || status(body) == "expired" {
                return Err(Error::invalid(format!("Action {name} has expired")));
            }
            if status(body) != "proposed" {
                return Err(Error::invalid(format!(
                    "Action {name} cannot be executed: it is {}",
                    status(body)
                )));
            }
            body.insert("status".into(), json!("execute_requested"));
            body.insert("executed_at".into(), json!(now));
            Ok(())
        })
        .await
    }

    /// Reports how far an action is; `to` fixes the status.
    pub async fn report_action(&self, scope: &Scope, id: &str, fields: &Fields, to: Option<&str>) -> Result<Value> {
        let wanted = match to {
            Some(to) => Some(to.to_owned()),
            None => fields.text("status")?,
        };
        if let Some(word) = wanted.as_deref().filter(|w| !STATUSES.contains(w)) {
            return Err(Error::invalid(format!(
                "Invalid status {word:?}; allowed: {}",
                STATUSES.join(", ")
            )));
        }
        if wanted.is_none() && !fields.has("result") {
            return Err(Error::invalid("No fields to update; known: status, result"));
        }
        let result = fields.has("result").then(|| fields.json_text("result")).transpose()?;
        let (name, now) = (id.to_owned(), self.now());
        self.edit(scope.as_str(), KIND, id, move |body| {
            if let Some(to) = &wanted {
                if !goes(status(body), to) {
                    return Err(Error::new(
                        ErrorCode::IllegalTransition,
                        format!("Action {name} cannot become {to}: it is {}", status(body)),
                    ));
                }
                if to == "execute_requested" && status(body) == "proposed" {
                    body.insert("executed_at".into(), json!(now));
                }
                body.insert("status".into(), json!(to));
            }
            if let Some(result) = &result {
                body.insert("result".into(), json!(result));
            }
            Ok(())
        })
        .await
    }

    /// Marks the proposals whose time is over.
    pub async fn expire_actions(&self) -> Result<()> {
        let now = self.now();
        for record in self.store().records(None, KIND, None).await? {
            if is_over(&record.body, now) {
                self.edit(&record.place, KIND, &record.id, move |body| {
                    if status(body) == "proposed" {
                        body.insert("status".into(), json!("expired"));
                    }
                    Ok(())
                })
                .await?;
            }
        }
        Ok(())
    }
}
