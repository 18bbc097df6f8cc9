//! The fields of a request: read by name with their types, empty values as if they were not there.

use serde_json::{Map, Value};

use crate::{
    clock::Timestamp,
    error::{Error, ErrorCode, Result},
};

/// A JSON object of a request.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Fields(pub Map<String, Value>);

fn wrong(name: &str, wanted: &str) -> Error {
    Error::invalid(format!("{name} must be {wanted}"))
}

impl Fields {
    /// Reads a body, which is an object; an empty one has no fields.
    pub fn parse(body: &[u8]) -> Result<Self> {
        let invalid = |what: String| {
            Error::new(ErrorCode::InvalidJson, format!("the body is not JSON: {what}"))
                .with_hint("send one JSON object in UTF-8")
        };
        if body.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self::default());
        }
        let text = std::str::from_utf8(body).map_err(|e| invalid(e.to_string()))?;
        match serde_json::from_str(text).map_err(|e| invalid(e.to_string()))? {
            Value::Object(map) => Ok(Self(map)),
            Value::Null => Err(invalid("it is null".into())),
            _ => Err(invalid("it is no object".into())),
        }
    }

    /// Whether the field is there, null or not.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|v| !v.is_null())
    }

    /// A text; empty is none.
    pub fn text(&self, name: &str) -> Result<Option<String>> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) if text.contains('\0') => {
                Err(Error::invalid(format!("{name} contains a NUL character")))
            }
            Some(Value::String(text)) => Ok(Some(text.clone()).filter(|t| !t.is_empty())),
            Some(Value::Bool(false)) => Ok(None),
            Some(_) => Err(wrong(name, "a text")),
        }
    }

    /// Texts that must be there, in the order of `names`.
    pub fn required<const N: usize>(&self, names: [&str; N]) -> Result<[String; N]> {
        let mut missing = Vec::new();
        let mut found = Vec::with_capacity(N);
        for name in names {
            match self.text(name)? {
                Some(text) => found.push(text),
                None => missing.push(name),
            }
        }
        found
            .try_into()
            .map_err(|_| Error::invalid(format!("Missing required fields: {}", missing.join(", "))))
    }

    /// A whole number, also as digits in a text.
    pub fn int(&self, name: &str) -> Result<Option<i64>> {
        let number = match self.get(name) {
            None => return Ok(None),
            Some(Value::Number(n)) => n.as_i64().or_else(|| {
                // 300.0 is a whole number too.
                let float = n.as_f64()?;
                #[allow(clippy::cast_possible_truncation, reason = "checked to be whole and in range")]
                (float.fract() == 0.0 && float.abs() < 9e15).then_some(float as i64)
            }),
            Some(Value::String(text)) if text.is_empty() => return Ok(None),
            Some(Value::String(text)) => text.trim().parse().ok(),
            Some(_) => None,
        };
        number.map(Some).ok_or_else(|| wrong(name, "a whole number"))
    }

    /// A yes or no, also as 0 and 1.
    pub fn flag(&self, name: &str) -> Result<Option<bool>> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Bool(b)) => Ok(Some(*b)),
            Some(Value::Number(n)) if n.as_i64() == Some(0) => Ok(Some(false)),
            Some(Value::Number(n)) if n.as_i64() == Some(1) => Ok(Some(true)),
            Some(Value::String(text)) => parse_flag(text).map(Some).ok_or_else(|| wrong(name, "true or false")),
            Some(_) => Err(wrong(name, "true or false")),
        }
    }

    /// A text that holds JSON: a text as it is, anything else as its JSON.
    pub fn json_text(&self, name: &str) -> Result<Option<String>> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(_)) => self.text(name),
            Some(other) => Ok(Some(other.to_string())),
        }
    }

    /// A moment in one of the accepted spellings.
    pub fn time(&self, name: &str) -> Result<Option<Timestamp>> {
        match self.text(name)? {
            None => Ok(None),
            Some(text) => Timestamp::parse_any(&text)
                .map(Some)
                .ok_or_else(|| wrong(name, "a time such as 2026-01-31T12:00:00.000Z")),
        }
    }

    /// Names: a text with commas between them, or an array of texts.
    pub fn names(&self, name: &str) -> Result<Option<Vec<String>>> {
        let wanted = "a text or an array of texts";
        let names: Vec<String> = match self.get(name) {
            None => return Ok(None),
            Some(Value::String(text)) => text.split(',').map(|n| n.trim().to_owned()).collect(),
            Some(Value::Array(list)) => list
                .iter()
                .map(|v| v.as_str().map(str::to_owned).ok_or_else(|| wrong(name, wanted)))
                .collect::<Result<_>>()?,
            Some(_) => return Err(wrong(name, wanted)),
        };
        if names.iter().any(|n| n.contains('\0')) {
            return Err(Error::invalid(format!("{name} contains a NUL character")));
        }
        Ok(Some(names.into_iter().filter(|n| !n.is_empty()).collect()))
    }

    /// Refuses a field that none of `known` names.
    pub fn only(&self, known: &[&str]) -> Result<()> {
        match self.0.keys().find(|k| !known.contains(&k.as_str())) {
            None => Ok(()),
            Some(unknown) => Err(Error::new(
                ErrorCode::UnknownField,
                format!("unknown field {unknown:?}; known: {}", known.join(", ")),
            )),
        }
    }
}

/// `true`, `True`, `1` and their opposites.
pub fn parse_flag(text: &str) -> Option<bool> {
    match text {
        "true" | "True" | "1" => Some(true),
        "false" | "False" | "0" => Some(false),
        _ => None,
    }
}
