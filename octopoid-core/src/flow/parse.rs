//! Reads a flow file; whatever is not understood is refused with its line.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, Visitor},
};

use super::{Ask, Condition, Flow, Step, Transition, validate};
use crate::{
    error::{Error, ErrorCode, Result},
    model::QueueName,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FlowFile {
    name: String,
    #[serde(default)]
    description: String,
    transitions: Edges,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct EdgeFile {
    agent: Option<String>,
    runs: Vec<Step>,
    conditions: Vec<ConditionFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConditionFile {
    name: String,
    r#type: ConditionType,
    agent: Option<String>,
    script: Option<String>,
    on_fail: Option<QueueName>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum ConditionType {
    Agent,
    Manual,
    Script,
}

/// The `transitions` map with its order kept.
struct Edges(Vec<Transition>);

impl<'de> Deserialize<'de> for Edges {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Edges;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map from \"<from> -> <to>\" to what happens on that way")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Edges, A::Error> {
                let mut edges = Vec::new();
                while let Some(key) = map.next_key::<String>()? {
                    let edge = map.next_value::<Option<EdgeFile>>()?.unwrap_or_default();
                    edges.push(transition(&key, edge).map_err(A::Error::custom)?);
                }
                Ok(Edges(edges))
            }
        }
        d.deserialize_map(InOrder)
    }
}

pub(super) fn transition(key: &str, edge: EdgeFile) -> Result<Transition, String> {
    let (from, to) = key
        .split_once("->")
        .ok_or_else(|| format!("{key:?} is not a transition; write \"<from> -> <to>\""))?;
    let queue = |text: &str| QueueName::parse(text.trim()).map_err(|e| e.to_string());
    let conditions = edge
        .conditions
        .into_iter()
        .map(condition)
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Transition {
        from: queue(from)?,
        to: queue(to)?,
        agent: edge.agent,
        conditions,
        runs: edge.runs,
    })
}

fn condition(file: ConditionFile) -> Result<Condition, String> {
    let name = file.name;
    let ask = match (file.r#type, file.agent, file.script) {
        (ConditionType::Agent, Some(agent), None) => Ask::Agent { agent },
        (ConditionType::Script, None, Some(script)) => Ask::Script { script },
        (ConditionType::Manual, None, None) => Ask::Manual,
        (ConditionType::Agent, ..) => {
            return Err(format!("condition {name}: type agent takes `agent` and no `script`"));
        }
        (ConditionType::Script, ..) => {
            return Err(format!("condition {name}: type script takes `script` and no `agent`"));
        }
        (ConditionType::Manual, ..) => {
            return Err(format!(
                "condition {name}: type manual takes neither `agent` nor `script`"
            ));
        }
    };
    Ok(Condition {
        name,
        ask,
        on_fail: file.on_fail.unwrap_or_else(QueueName::incoming),
    })
}

/// Reads and validates the flow in `text`; `file` is the name used in errors.
pub fn parse(text: &str, file: &str) -> Result<Flow> {
    let parsed: FlowFile = yaml_serde::from_str(text).map_err(|e| {
        let line = e.location().map_or(1, |l| l.line());
        Error::new(ErrorCode::InvalidConfig, format!("{file}:{line}: {e}"))
            .with_hint("`octopoid flow show default` prints a flow that works")
    })?;
    let flow = Flow {
        name: parsed.name,
        description: parsed.description,
        transitions: parsed.transitions.0,
        registered: None,
    };
    validate::validate(&flow, text, file)?;
    Ok(flow)
}
