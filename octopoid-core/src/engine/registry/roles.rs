//! Roles that orchestrators register: names that tasks can have, each with the queue that it claims from.

use serde_json::{Value, json};

use super::Registry;
use crate::{
    error::{Error, Result},
    id::Scope,
    model::{QueueName, RecordKey, RecordKind, RecordWrite, Role},
    wire::Fields,
};

const KIND: RecordKind = RecordKind::Role;

fn name_of(row: &Value) -> &str {
    row.get("name").and_then(Value::as_str).unwrap_or_default()
}

impl Registry {
    /// Registers the roles of an orchestrator; those that it does not name are kept.
    pub async fn register_roles(&self, scope: &Scope, orchestrator: &str, roles: &[Value]) -> Result<Vec<Value>> {
        let now = self.now();
        let mut rows = Vec::new();
        for role in roles {
            let Value::Object(map) = role else {
                return Err(Error::invalid("roles must be an array of objects with a name"));
            };
            let fields = Fields(map.clone());
            let Some(name) = fields.text("name")? else { continue };
            Role::parse(&name)?;
            let claims_from = fields.text("claims_from")?.unwrap_or_else(|| "incoming".to_owned());
            QueueName::parse(&claims_from)?;
            rows.push(json!({
                "name": name,
                "description": fields.text("description")?,
                "claims_from": claims_from,
                "orchestrator_id": orchestrator,
                "created_at": now,
            }));
        }
        let keys: Vec<RecordKey> = rows
            .iter()
            .map(|row| RecordKey::new(scope.as_str(), KIND, name_of(row)))
            .collect();
        self.store()
            .update(
                keys.clone(),
                Box::new(move |found| {
                    let write = |((key, row), found): ((&RecordKey, &Value), &Option<crate::model::Record>)| {
                        let mut row = row.clone();
                        // When it was first known does not change.
                        if let Some(earlier) = found.as_ref().and_then(|r| r.body.get("created_at")) {
                            row["created_at"] = earlier.clone();
                        }
                        RecordWrite::Put(key.clone(), row)
                    };
                    Ok(keys.iter().zip(&rows).zip(found).map(write).collect())
                }),
                now,
            )
            .await?;
        self.forget(scope);
        let mut owned: Vec<Value> = self
            .all(scope.as_str(), KIND)
            .await?
            .into_iter()
            .map(|r| r.body)
            .filter(|row| row.get("orchestrator_id").and_then(Value::as_str) == Some(orchestrator))
            .collect();
        owned.sort_by(|a, b| name_of(a).cmp(name_of(b)));
        Ok(owned)
    }

    /// Roles by name: of a scope, or of all.
    pub async fn roles(&self, scope: Option<&Scope>) -> Result<Vec<Value>> {
        let mut rows: Vec<Value> = self
            .store()
            .records(scope.map(Scope::as_str), KIND, None)
            .await?
            .into_iter()
            .map(|r| r.body)
            .collect();
        rows.sort_by(|a, b| name_of(a).cmp(name_of(b)));
        Ok(rows)
    }

    /// One role.
    pub async fn role(&self, scope: Option<&Scope>, name: &str) -> Result<Value> {
        self.store()
            .records(scope.map(Scope::as_str), KIND, Some(name))
            .await?
            .pop()
            .map(|r| r.body)
            .ok_or_else(|| super::unknown(KIND, name))
    }

    /// The roles that tasks of the scope can have; null where none is registered.
    pub(super) async fn allowed_roles(&self, scope: &Scope) -> Result<Option<Vec<Role>>> {
        let rows = self.all(scope.as_str(), KIND).await?;
        if rows.is_empty() {
            return Ok(None);
        }
        rows.iter().map(|r| Role::parse(&r.id)).collect::<Result<_>>().map(Some)
    }

    /// The queue that a role claims from: as registered in the scope, else anywhere, else `incoming`.
    pub async fn claims_from(&self, scope: &Scope, role: &str) -> Result<QueueName> {
        let found = self.store().records(None, KIND, Some(role)).await?;
        let own = found
            .iter()
            .find(|r| r.place == scope.as_str())
            .or_else(|| found.first());
        match own.and_then(|r| r.body.get("claims_from")).and_then(Value::as_str) {
            Some(queue) => QueueName::parse(queue),
            None => Ok(QueueName::incoming()),
        }
    }
}
