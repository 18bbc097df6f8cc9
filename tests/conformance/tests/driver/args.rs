//! Arguments of a step, taken by name; one that nobody takes is an error of the scenario.

use octopoid_core::{Result, id::TaskId};
use serde_json::{Map, Value};

pub(super) struct Args {
    call: String,
    left: Map<String, Value>,
}

/// Filters of a list as texts.
pub(super) struct Filters(Vec<(String, String)>);

impl Filters {
    pub(super) fn borrowed(&self) -> Vec<(&str, &str)> {
        self.0.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect()
    }
}

fn as_text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

impl Args {
    pub(super) fn new(call: &str, left: Map<String, Value>) -> Self {
        Self {
            call: call.to_owned(),
            left,
        }
    }

    pub(super) fn value(&mut self, name: &str) -> Option<Value> {
        self.left.shift_remove(name)
    }

    pub(super) fn maybe_text(&mut self, name: &str) -> Option<String> {
        self.value(name).map(|v| as_text(&v))
    }

    #[track_caller]
    pub(super) fn text(&mut self, name: &str) -> String {
        match self.maybe_text(name) {
            Some(text) => text,
            None => panic!("{} needs {name}", self.call),
        }
    }

    pub(super) fn int(&mut self, name: &str) -> Option<i64> {
        self.value(name).map(|v| v.as_i64().unwrap())
    }

    /// Names: a list, or a text with commas between them.
    pub(super) fn names(&mut self, name: &str) -> Vec<String> {
        match self.value(name) {
            None => Vec::new(),
            Some(Value::Array(list)) => list.iter().map(as_text).collect(),
            Some(other) => as_text(&other).split(',').map(str::to_owned).collect(),
        }
    }

    pub(super) fn id(&mut self, name: &str) -> Result<Option<TaskId>> {
        self.maybe_text(name).map(|id| TaskId::parse(&id)).transpose()
    }

    /// The one argument that there is.
    pub(super) fn only(mut self, name: &str) -> String {
        let text = self.text(name);
        self.end();
        text
    }

    /// All that are left, as an object.
    pub(super) fn rest(self) -> Value {
        Value::Object(self.left)
    }

    /// All that are left, as filters of a list.
    pub(super) fn filters(self) -> Filters {
        Filters(self.left.iter().map(|(n, v)| (n.clone(), as_text(v))).collect())
    }

    #[track_caller]
    pub(super) fn end(self) {
        let left: Vec<&String> = self.left.keys().collect();
        assert!(left.is_empty(), "{} takes no {left:?} in Rust", self.call);
    }
}
