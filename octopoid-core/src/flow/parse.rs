//! Reads a flow file; whatever is not understood is refused with its line.

use std::{collections::BTreeMap, fmt};

use schemars::{JsonSchema, json_schema};
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, Visitor},
};

use super::{Ask, Condition, Flow, Step, Transition, validate};
use crate::{
    error::{Error, ErrorCode, Result},
    model::QueueName,
};

/// The states of a task and the ways between them.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "flows/<name>.yaml")]
struct FlowFile {
    /// The flow's name; the file's name without ending.
    name: String,
    #[serde(default)]
    /// What it is for.
    description: String,
    /// A map from "<from> -> <to>" to what happens on that way.
    #[schemars(with = "BTreeMap<String, Option<EdgeFile>>")]
    transitions: Edges,
}

/// What happens on the way from one state to the next.
#[derive(Deserialize, Default, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct EdgeFile {
    /// Role or name of the agent that takes a task in this state.
    agent: Option<String>,
    /// What the engine does itself, in order.
    #[schemars(schema_with = "steps")]
    runs: Vec<Step>,
    /// What must hold.
    conditions: Vec<ConditionFile>,
}

/// A question that must be answered with yes.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ConditionFile {
    /// Its name.
    name: String,
    /// Who or what answers.
    r#type: ConditionType,
    /// Role or name of the agent, for `type: agent`.
    agent: Option<String>,
    /// Command that must exit with 0 on the commit, for `type: script`.
    script: Option<String>,
    /// Where a task goes after a no; `incoming` when not given.
    #[schemars(with = "Option<String>")]
    on_fail: Option<QueueName>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum ConditionType {
    Agent,
    Manual,
    Script,
}

fn steps(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    json_schema!({ "type": "array", "items": { "enum": Step::ALL } })
}

/// The JSON Schema of `flows/<name>.yaml`.
pub(crate) fn schema() -> schemars::Schema {
    schemars::schema_for!(FlowFile)
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
