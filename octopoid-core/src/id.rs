//! Identifiers: newtypes that are parsed once, and the source of fresh ones.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorCode, Result};

/// Longest identifier, in bytes.
pub const MAX_ID: usize = 128;

fn check(kind: &str, text: &str) -> Result<()> {
    let mut chars = text.bytes();
    let good = chars.next().is_some_and(|c| c.is_ascii_alphanumeric())
        && text.len() <= MAX_ID
        && chars.all(|c| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-'))
        // Git refuses these in a branch name, and the id becomes part of one.
        && !text.contains("..")
        && !text.ends_with('.')
        && !text.ends_with(".lock");
    if good {
        return Ok(());
    }
    let mut shown: String = text.chars().take(40).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    Err(Error::invalid(format!("{shown:?} is not a {kind} id")).with_hint(format!(
        "an id starts with a letter or digit and has at most {MAX_ID} of the characters A-Z a-z 0-9 . _ - (no '..', no '.lock' at the end)"
    )))
}

macro_rules! ids {
    ($($(#[doc = $doc:literal])+ $name:ident($kind:literal);)+) => {$(
        $(#[doc = $doc])+
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Parses the id; refused with the allowed form.
            pub fn parse(text: &str) -> Result<Self> { check($kind, text)?; Ok(Self(text.to_owned())) }
            /// The id as text.
            pub fn as_str(&self) -> &str { &self.0 }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.pad(&self.0) }
        }
        impl FromStr for $name {
            type Err = Error;
            fn from_str(s: &str) -> Result<Self> { Self::parse(s) }
        }
        impl TryFrom<String> for $name {
            type Error = Error;
            fn try_from(s: String) -> Result<Self> { check($kind, &s)?; Ok(Self(s)) }
        }
        impl From<$name> for String { fn from(id: $name) -> String { id.0 } }
        impl AsRef<str> for $name { fn as_ref(&self) -> &str { &self.0 } }
    )+};
}

ids! {
    /// A task.
    TaskId("task");
    /// A project: several tasks on one branch.
    ProjectId("project");
    /// An orchestrator, `<cluster>-<machine_id>`.
    OrchestratorId("orchestrator");
    /// A tenant.
    Scope("scope");
}

impl OrchestratorId {
    /// The id of the orchestrator of one machine.
    pub fn of(cluster: &str, machine_id: &str) -> Result<Self> {
        Self::parse(&format!("{cluster}-{machine_id}"))
    }
}

/// Where random bytes come from.
pub trait Entropy: Send + Sync + fmt::Debug {
    /// Fills `buffer` with random bytes.
    fn fill(&self, buffer: &mut [u8]) -> Result<()>;
}

/// The operating system's random numbers.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, buffer: &mut [u8]) -> Result<()> {
        getrandom::fill(buffer)
            .map_err(|e| Error::new(ErrorCode::Internal, format!("the system gives no random numbers: {e}")))
    }
}

/// `bytes` random bytes in lower-case hex.
pub fn random_hex(entropy: &dyn Entropy, bytes: usize) -> Result<String> {
    let mut buffer = vec![0; bytes];
    entropy.fill(&mut buffer)?;
    Ok(to_hex(&buffer))
}

/// Lower-case hex of `bytes`.
pub fn to_hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, b| {
            // Writing to a String cannot fail.
            let _ = write!(text, "{b:02x}");
            text
        })
}

/// A fresh task id, `task-` and eight hex digits.
pub fn new_task_id(entropy: &dyn Entropy) -> Result<TaskId> {
    TaskId::parse(&format!("task-{}", random_hex(entropy, 4)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_the_documented_form_and_nothing_else() {
        for good in ["a", "task-0a1b2c3d", "GH.1_x-2", &"x".repeat(128)] {
            assert_eq!(TaskId::parse(good).unwrap().as_str(), good);
        }
        for bad in [
            "",
            "-a",
            ".a",
            "a b",
            "a/b",
            "é",
            "a..b",
            "a.lock",
            "a.",
            &"x".repeat(129),
            "../x",
            "a\n",
        ] {
            assert_eq!(
                TaskId::parse(bad).unwrap_err().code(),
                ErrorCode::InvalidArgument,
                "{bad:?}"
            );
        }
    }
}
