//! The query of a request: parsed once, the first of several values counts, empty ones do not.

use octopoid_core::{Error, Result, wire::parse_flag};

/// Values that a filter takes at most.
const MAX_VALUES: usize = 100;

#[derive(Debug, Clone, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(text: &str) -> Self {
        Self(
            form_urlencoded::parse(text.as_bytes())
                .map(|(name, value)| (name.into_owned(), value.into_owned()))
                .collect(),
        )
    }

    /// Refuses what no part of the server can take, and two scopes in one request.
    pub(crate) fn check(&self) -> Result<()> {
        if self.0.iter().any(|(n, v)| n.contains('\0') || v.contains('\0')) {
            return Err(Error::invalid("the query contains a NUL character"));
        }
        if self.0.iter().filter(|(name, _)| name == "scope").count() > 1 {
            return Err(Error::invalid("scope is given twice in the query"));
        }
        Ok(())
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(n, _)| n == name)?;
        (!value.is_empty()).then_some(value)
    }

    /// A number from `low` to `high`; junk is refused.
    pub(crate) fn number(&self, name: &str, default: u32, low: u32, high: u32) -> Result<u32> {
        let Some(text) = self.get(name) else { return Ok(default) };
        let number: i64 = text
            .parse()
            .map_err(|_| Error::invalid(format!("{name} must be a whole number, not {text:?}")))?;
        if number < i64::from(low) {
            return Err(Error::invalid(format!("{name} must not be less than {low}")));
        }
        Ok(u32::try_from(number).unwrap_or(u32::MAX).min(high))
    }

    /// Words with commas between them.
    pub(crate) fn words(&self, name: &str) -> Result<Vec<String>> {
        let words: Vec<String> = self
            .get(name)
            .unwrap_or_default()
            .split(',')
            .map(str::trim)
            .filter(|w| !w.is_empty())
            .map(str::to_owned)
            .collect();
        if words.len() > MAX_VALUES {
            return Err(Error::invalid(format!("{name} has more than {MAX_VALUES} values")));
        }
        Ok(words)
    }

    /// A yes or no; anything else does not filter.
    pub(crate) fn flag(&self, name: &str) -> Result<Option<bool>> {
        let Some(text) = self.get(name) else { return Ok(None) };
        parse_flag(text)
            .map(Some)
            .ok_or_else(|| Error::invalid(format!("{name} must be true or false, not {text:?}")))
    }

    /// Names that nobody looks at.
    pub(crate) fn unknown(&self, known: &[&str]) -> Vec<&str> {
        self.0
            .iter()
            .map(|(name, _)| name.as_str())
            .filter(|name| !known.contains(name))
            .collect()
    }
}
