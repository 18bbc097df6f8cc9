//! Scenarios: steps as data, references to earlier results, and the comparison of results. The format is in the README.

use std::{collections::BTreeMap, path::Path};

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// What a scenario file holds.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What it shows, in a sentence.
    pub name: String,
    /// Calls in their order.
    pub steps: Vec<Step>,
}

/// One call and what must come of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Namespace and method, such as `tasks.create`.
    pub call: String,
    /// Arguments by name.
    #[serde(default)]
    pub with: Map<String, Value>,
    /// Name under which the result is kept.
    pub save: Option<String>,
    /// What the result must match; an absent key asks only for success.
    #[serde(default, deserialize_with = "present")]
    pub expect: Option<Value>,
    /// The refusal that must come instead of a result.
    pub error: Option<Refusal>,
    /// Languages that play the step; all of them when absent.
    pub languages: Option<Vec<String>>,
}

/// What a refused call must say.
#[derive(Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    /// The word of the closed list of errors.
    pub code: String,
    /// The HTTP status that goes with it.
    pub status: u16,
}

/// Keeps the difference between `expect: null` and no `expect`.
fn present<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(d).map(Some)
}

impl Step {
    /// Whether Rust plays it.
    pub fn is_for(&self, language: &str) -> bool {
        self.languages
            .as_ref()
            .is_none_or(|list| list.iter().any(|l| l == language))
    }
}

/// Reads a YAML file.
pub fn load<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<T, String> {
    let text = std::fs::read_to_string(path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
    yaml_serde::from_str(&text).map_err(|e| format!("{}: {e}", path.display()))
}

/// Results of earlier steps by name.
#[derive(Debug, Default)]
pub struct Saved(BTreeMap<String, Value>);

impl Saved {
    /// Keeps a result.
    pub fn keep(&mut self, name: &str, result: Value) {
        self.0.insert(name.to_owned(), result);
    }

    /// The value with each `$name.field` in it replaced by what it refers to.
    pub fn resolve(&self, value: &Value) -> Result<Value, String> {
        match value {
            Value::String(text) => match text.strip_prefix('$') {
                None | Some("any" | "absent") => Ok(value.clone()),
                Some(path) => self.find(path),
            },
            Value::Array(list) => list.iter().map(|v| self.resolve(v)).collect(),
            Value::Object(map) => map
                .iter()
                .map(|(k, v)| Ok((k.clone(), self.resolve(v)?)))
                .collect::<Result<Map<_, _>, String>>()
                .map(Value::Object),
            other => Ok(other.clone()),
        }
    }

    fn find(&self, path: &str) -> Result<Value, String> {
        let mut parts = path.split('.');
        let first = parts.next().unwrap_or_default();
        let missing = || format!("${path} refers to nothing that was saved");
        let mut at = self.0.get(first).ok_or_else(missing)?;
        for part in parts {
            at = match at {
                Value::Array(list) => part.parse::<usize>().ok().and_then(|i| list.get(i)),
                Value::Object(map) => map.get(part),
                _ => None,
            }
            .ok_or_else(missing)?;
        }
        Ok(at.clone())
    }
}

/// Where a result is not what was expected; none when it matches. `actual` is none for a field that is not there.
pub fn difference(at: &str, expected: &Value, actual: Option<&Value>) -> Option<String> {
    if expected == "$absent" {
        return actual.map(|found| format!("{at}: expected nothing, got {found}"));
    }
    let Some(actual) = actual else {
        return Some(format!("{at}: expected {expected}, but it is not there"));
    };
    let differs = || Some(format!("{at}: expected {expected}, got {actual}"));
    match (expected, actual) {
        (Value::String(any), found) if any == "$any" => found.is_null().then(differs).flatten(),
        (Value::Object(wanted), Value::Array(list)) => {
            let length = wanted.get("length").and_then(Value::as_u64);
            let fits = wanted.len() == 1 && length == u64::try_from(list.len()).ok();
            (!fits).then(differs).flatten()
        }
        (Value::Object(wanted), Value::Object(found)) => wanted
            .iter()
            .find_map(|(key, value)| difference(&format!("{at}.{key}"), value, found.get(key))),
        (Value::Array(wanted), Value::Array(found)) => {
            if wanted.len() != found.len() {
                return differs();
            }
            wanted
                .iter()
                .zip(found)
                .enumerate()
                .find_map(|(i, (w, f))| difference(&format!("{at}.{i}"), w, Some(f)))
        }
        (Value::Number(wanted), Value::Number(found)) => (wanted.as_f64() != found.as_f64()).then(differs).flatten(),
        _ => (expected != actual).then(differs).flatten(),
    }
}
