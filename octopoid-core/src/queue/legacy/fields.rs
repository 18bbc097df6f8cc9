//! What a column, a header line or a key of JSON means, wherever it was written: names, lists, numbers and times.

use serde_json::{Map, Value};

use super::{OldMessage, OldRecord, OldTask, Problem};
use crate::clock::Timestamp;

/// A task as one place tells it.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) task: OldTask,
    /// Whether the place has a word on blockers, were it only that there are none.
    pub(super) tells_blockers: bool,
    /// Where `file_path` starts from.
    pub(super) home: Option<std::path::PathBuf>,
}

/// The id without the prefix of file names.
pub(super) fn bare_id(text: &str) -> &str {
    let text = text.trim();
    text.strip_prefix("TASK-")
        .filter(|rest| !rest.is_empty())
        .unwrap_or(text)
}

/// A single value as text; empty text and Python's `None` are nothing.
pub(super) fn words(value: &Value) -> Option<String> {
    let text = match value {
        Value::Null => return None,
        Value::String(text) => text.trim().to_owned(),
        other => other.to_string(),
    };
    Some(text).filter(|text| !text.is_empty() && text != "None")
}

/// A list of ids: JSON, or text with commas.
pub(super) fn ids(value: &Value) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut add = |text: &str| {
        let id = bare_id(text.trim().trim_matches(['"', '\'']));
        if !id.is_empty() && id != "None" && id != "null" && !found.iter().any(|known| known == id) {
            found.push(id.to_owned());
        }
    };
    match value {
        Value::Null | Value::Bool(_) | Value::Object(_) => {}
        Value::Number(number) => add(&number.to_string()),
        Value::Array(items) => items.iter().filter_map(words).for_each(|id| add(&id)),
        Value::String(text) => match serde_json::from_str::<Vec<String>>(text) {
            Ok(items) => items.iter().for_each(|id| add(id)),
            Err(_) => text
                .trim()
                .trim_start_matches('[')
                .trim_end_matches(']')
                .split(',')
                .for_each(add),
        },
    }
    found
}

/// A whole number, also as text, truth value or 3.0.
fn whole(value: &Value) -> Option<i64> {
    match value {
        Value::Bool(yes) => Some(i64::from(*yes)),
        Value::Number(number) => number.as_i64().or_else(|| {
            number
                .as_f64()
                .filter(|n| n.fract() == 0.0 && n.abs() < 9.0e15)
                .map(|n| n as i64)
        }),
        Value::String(text) => text.trim().parse().ok(),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// A moment as any generation wrote it; a number counts seconds or, when it is large, milliseconds.
pub(super) fn moment(value: &Value) -> Option<Timestamp> {
    match value {
        Value::String(text) => time(text),
        Value::Number(number) => {
            let number = number.as_f64().filter(|n| n.is_finite())?;
            let millis = if number.abs() < 1.0e11 { number * 1000.0 } else { number };
            (millis.abs() < 8.0e15).then(|| Timestamp(millis.round() as i64))
        }
        _ => None,
    }
}

/// RFC 3339, the same with a space or without an offset (then UTC), a bare date, or a stamp of a file name.
pub(super) fn time(text: &str) -> Option<Timestamp> {
    let text = text.trim().trim_matches(['"', '\'']).trim();
    if text.is_empty() {
        return None;
    }
    let text = match text.strip_suffix("UTC").or_else(|| text.strip_suffix("GMT")) {
        Some(rest) => format!("{}Z", rest.trim_end()),
        // `2026-02-03 21:40:43 +0000`
        None => text.replace(" +", "+").replace(" -", "-"),
    };
    if let Ok(exact) = text.parse::<jiff::Timestamp>() {
        return Some(Timestamp(exact.as_millisecond()));
    }
    let civil = match jiff::civil::DateTime::strptime("%Y%m%d-%H%M%S", &text) {
        Ok(civil) => civil,
        Err(_) => text.parse::<jiff::civil::DateTime>().ok()?,
    };
    let zoned = civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(Timestamp(zoned.timestamp().as_millisecond()))
}

/// Takes the known fields out of what one place tells.
pub(super) struct Taker<'a> {
    pub(super) fields: Map<String, Value>,
    pub(super) source: &'a str,
    pub(super) problems: &'a mut Vec<Problem>,
}

impl Taker<'_> {
    /// The first of `names` that has a value.
    fn take(&mut self, names: &[&str]) -> Option<(String, Value)> {
        for name in names {
            match self.fields.shift_remove(*name) {
                None | Some(Value::Null) => {}
                Some(value) => return Some(((*name).to_owned(), value)),
            }
        }
        None
    }

    /// A word or a line.
    pub(super) fn text(&mut self, names: &[&str]) -> Option<String> {
        self.take(names).as_ref().and_then(|(_, value)| words(value))
    }

    /// Text of which every character counts.
    pub(super) fn verbatim(&mut self, name: &str) -> Option<String> {
        let text = match self.take(&[name])?.1 {
            Value::String(text) => text,
            other => other.to_string(),
        };
        Some(text).filter(|text| !text.trim().is_empty())
    }

    fn number(&mut self, name: &str) -> Option<i64> {
        self.understood(&[name], whole, "is not a whole number")
    }

    pub(super) fn moment(&mut self, names: &[&str]) -> Option<Timestamp> {
        self.understood(names, moment, "is not a time")
    }

    /// What cannot be understood is reported and stays among the fields.
    fn understood<T>(&mut self, names: &[&str], read: fn(&Value) -> Option<T>, why: &str) -> Option<T> {
        let (name, value) = self.take(names)?;
        let text = words(&value)?;
        let found = read(&value);
        if found.is_none() {
            let shown: String = text.chars().take(60).collect();
            self.problems.push(Problem {
                source: self.source.to_owned(),
                what: format!("{name}: {shown:?} {why}; it is kept as text"),
            });
            self.fields.insert(name, value);
        }
        found
    }

    /// Everything that was not taken and has a value.
    pub(super) fn rest(self) -> Map<String, Value> {
        valued(self.fields)
    }
}

/// Without the fields that say nothing.
pub(super) fn valued(fields: Map<String, Value>) -> Map<String, Value> {
    fields.into_iter().filter(|(_, value)| !value.is_null()).collect()
}

/// A task from its fields; the id is empty where there is none.
pub(super) fn task(fields: Map<String, Value>, source: &str, problems: &mut Vec<Problem>) -> Told {
    let tells_blockers = fields.contains_key("blocked_by");
    let mut take = Taker {
        fields,
        source,
        problems,
    };
    let blocked_by = take
        .take(&["blocked_by"])
        .map(|(_, value)| ids(&value))
        .unwrap_or_default();
    let task = OldTask {
        id: take.text(&["id"]).map(|id| bare_id(&id).to_owned()).unwrap_or_default(),
        title: take.text(&["title"]),
        content: take.verbatim("content"),
        queue: take.text(&["queue"]).unwrap_or_default(),
        priority: take.text(&["priority"]),
        complexity: take.text(&["complexity"]),
        role: take.text(&["role"]),
        branch: take.text(&["branch"]),
        flow: take.text(&["flow"]),
        project_id: take.text(&["project_id"]),
        blocked_by,
        created_by: take.text(&["created_by"]),
        created_at: take.moment(&["created_at"]),
        completed_at: take.moment(&["completed_at", "accepted_at"]),
        execution_notes: take.verbatim("execution_notes"),
        attempt_count: take.number("attempt_count").unwrap_or(0),
        rejection_count: take.number("rejection_count").unwrap_or(0),
        pr_number: take.number("pr_number"),
        pr_url: take.text(&["pr_url"]),
        extra: take.rest(),
        source: source.to_owned(),
    };
    Told {
        task,
        tells_blockers,
        home: None,
    }
}

/// A message from its fields.
pub(super) fn message(fields: Map<String, Value>, source: &str, problems: &mut Vec<Problem>) -> OldMessage {
    let mut take = Taker {
        fields,
        source,
        problems,
    };
    OldMessage {
        id: take.text(&["id"]),
        task_id: take.text(&["task_id", "task"]).map(|id| bare_id(&id).to_owned()),
        from: take.text(&["from_actor", "from", "author"]),
        to: take.text(&["to_actor", "to"]),
        kind: take
            .text(&["type", "kind", "role"])
            .unwrap_or_else(|| "info".to_owned()),
        content: take.verbatim("content").unwrap_or_default(),
        at: take.moment(&["created_at", "timestamp", "time"]),
        parent: take.text(&["parent_message_id"]),
        extra: take.rest(),
        source: source.to_owned(),
    }
}

/// A project or draft from its fields; nothing where there is no id.
pub(super) fn record(fields: Map<String, Value>, source: &str) -> Option<OldRecord> {
    let id = fields.get("id").and_then(words)?;
    Some(OldRecord {
        id,
        body: valued(fields),
        source: source.to_owned(),
    })
}
