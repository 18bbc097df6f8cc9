//! Flows that come over the wire: a list of states and a list of transitions.

use serde_json::{Map, Value, json};

use super::{
    Flow, Registered, Transition,
    parse::{self, EdgeFile},
};
use crate::{
    error::{Error, Result},
    model::QueueName,
};

fn edges(list: &[Value], what: &str) -> Result<Vec<(QueueName, QueueName)>> {
    list.iter()
        .enumerate()
        .map(|(i, edge)| {
            let end = |key: &str| {
                edge.get(key)
                    .and_then(Value::as_str)
                    .ok_or_else(|| Error::invalid(format!("{what}[{i}] must be an object with the texts from and to")))
                    .and_then(QueueName::parse)
            };
            Ok((end("from")?, end("to")?))
        })
        .collect()
}

/// Reads a transition as the engine would follow it; none when it asks for what only its client knows.
fn followed(edge: &Value) -> Option<Transition> {
    let known = ["agent", "runs", "conditions"];
    let object = edge.as_object()?;
    if object
        .keys()
        .any(|k| !known.contains(&k.as_str()) && k != "from" && k != "to")
    {
        return None;
    }
    let rest: Map<String, Value> = object
        .iter()
        .filter(|(k, v)| known.contains(&k.as_str()) && !v.is_null())
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect();
    let file: EdgeFile = serde_json::from_value(Value::Object(rest)).ok()?;
    let text = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default();
    parse::transition(&format!("{}->{}", text("from"), text("to")), file).ok()
}

/// The flow that `states` and `transitions` describe.
///
/// Each transition is an object with `from` and `to`, both among the states; more keys are kept by the caller.
pub fn registered(name: &str, states: &[String], transitions: &[Value], child: &[Value]) -> Result<Flow> {
    let states = states.iter().map(|s| QueueName::parse(s)).collect::<Result<Vec<_>>>()?;
    let found = edges(transitions, "transitions")?;
    let child_edges = edges(child, "child_flow.transitions")?;
    for (from, to) in &found {
        for end in [from, to] {
            if !states.contains(end) {
                return Err(Error::invalid(format!(
                    "transitions: {end} is not among the states of flow {name}"
                )));
            }
        }
    }
    let followed: Option<Vec<Transition>> = transitions.iter().map(followed).collect();
    let mut flow = Flow {
        name: name.to_owned(),
        description: String::new(),
        transitions: followed.unwrap_or_default(),
        registered: None,
    };
    let foreign = flow.transitions.is_empty() || super::validate::validate(&flow, "", "flow").is_err();
    if foreign {
        flow.transitions.clear();
    }
    flow.registered = Some(Registered {
        states,
        edges: found,
        child_edges,
        foreign,
    });
    Ok(flow)
}

/// What an orchestrator sends to register `flow`: its states and transitions.
pub fn to_registration(flow: &Flow) -> Value {
    let states: Vec<String> = flow.states().iter().map(ToString::to_string).collect();
    json!({ "states": states, "transitions": flow.transitions, "description": flow.description })
}
