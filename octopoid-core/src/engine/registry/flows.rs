//! Flows that clients and orchestrators register.

use serde_json::{Value, json};

use super::Registry;
use crate::{
    error::{Error, Result},
    flow::{self, Flow},
    id::Scope,
    model::{QueueName, RecordKey, RecordKind},
    wire::Fields,
};

const KIND: RecordKind = RecordKind::Flow;
/// States that every registered flow must name.
const NEEDED: [&str; 4] = ["incoming", "claimed", "done", "failed"];

fn texts(value: &Value) -> Option<Vec<String>> {
    value
        .as_array()?
        .iter()
        .map(|v| v.as_str().map(str::to_owned))
        .collect()
}

/// A column that holds a JSON array as text.
fn list(row: &Value, name: &str) -> Vec<Value> {
    row.get(name)
        .and_then(Value::as_str)
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default()
}

fn child_transitions(row: &Value) -> Vec<Value> {
    let child: Value = row
        .get("child_flow")
        .and_then(Value::as_str)
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    match child {
        Value::Array(edges) => edges,
        Value::Object(map) => map
            .get("transitions")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default(),
        _ => Vec::new(),
    }
}

fn flow_of(row: &Value) -> Result<Flow> {
    let name = row.get("name").and_then(Value::as_str).unwrap_or_default();
    let states: Vec<String> = list(row, "states")
        .iter()
        .filter_map(|v| v.as_str().map(str::to_owned))
        .collect();
    flow::registered(name, &states, &list(row, "transitions"), &child_transitions(row))
}

impl Registry {
    /// Registers or replaces a flow, from `states`, `transitions` and more.
    pub async fn put_flow(&self, scope: &Scope, name: &str, fields: &Fields) -> Result<Value> {
        if name.is_empty() || name.len() > 64 || name.chars().any(char::is_control) {
            return Err(Error::invalid("a flow's name has 1 to 64 characters"));
        }
        let states = fields
            .0
            .get("states")
            .and_then(texts)
            .ok_or_else(|| Error::invalid("states must be an array of texts"))?;
        let transitions = match fields.0.get("transitions") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(list)) => list.clone(),
            Some(_) => return Err(Error::invalid("transitions must be an array of objects")),
        };
        for needed in NEEDED {
            if !states.iter().any(|s| s == needed) {
                return Err(Error::invalid(format!("states must include {needed}")));
            }
        }
        for state in &states {
            QueueName::parse(state)?;
        }
        let now = self.now();
        let row = json!({
            "name": name,
            "scope": scope,
            "states": json!(states).to_string(),
            "transitions": json!(transitions).to_string(),
            "description": fields.text("description")?,
            "child_flow": fields.json_text("child_flow")?,
            "registered_at": now,
            "updated_at": now,
        });
        flow_of(&row)?;
        let record = self
            .change(RecordKey::new(scope.as_str(), KIND, name), move |found| {
                let mut row = row.clone();
                if let Some(earlier) = found.and_then(|r| r.body.get("registered_at")) {
                    row["registered_at"] = earlier.clone();
                }
                Ok(row)
            })
            .await?;
        self.forget(scope);
        Ok(record.body)
    }

    /// Flows of a scope by name, as rows.
    pub async fn flows(&self, scope: &Scope) -> Result<Vec<Value>> {
        let mut records = self.all(scope.as_str(), KIND).await?;
        records.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(records.into_iter().map(|r| r.body).collect())
    }

    /// One flow, as a row.
    pub async fn flow(&self, scope: &Scope, name: &str) -> Result<Value> {
        self.one(scope.as_str(), KIND, name)
            .await?
            .map(|r| r.body)
            .ok_or_else(|| super::unknown(KIND, name))
    }

    /// Removes a flow; tasks that use it go on by the default rules.
    pub async fn delete_flow(&self, scope: &Scope, name: &str) -> Result<()> {
        self.remove(scope.as_str(), KIND, name).await?;
        self.forget(scope);
        Ok(())
    }

    pub(super) async fn registered_flows(&self, scope: &Scope) -> Result<Vec<Flow>> {
        self.flows(scope).await?.iter().map(flow_of).collect()
    }
}
