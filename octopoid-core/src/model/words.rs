//! Closed vocabularies and the two open ones: queue names and role names.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

macro_rules! words {
    ($($(#[doc = $doc:literal])+ $name:ident($kind:literal) { $($(#[doc = $vdoc:literal])+ $variant:ident = $text:literal),+ $(,)? })+) => {$(
        $(#[doc = $doc])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name { $($(#[doc = $vdoc])+ #[serde(rename = $text)] $variant,)+ }

        impl $name {
            /// Every value, in order.
            pub const ALL: &'static [$name] = &[$($name::$variant,)+];
            /// The word in JSON, files and the database.
            pub const fn as_str(self) -> &'static str { match self { $($name::$variant => $text,)+ } }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.pad(self.as_str()) }
        }
        impl FromStr for $name {
            type Err = Error;
            fn from_str(s: &str) -> Result<Self> {
                match s { $($text => Ok($name::$variant),)+ _ => Err(Error::invalid(format!(
                    "{s:?} is not a {}; allowed: {}", $kind, [$($text),+].join(", ")
                ))) }
            }
        }
    )+};
}
pub(crate) use words as words_macro;

words! {
    /// How urgent a task is; `P0` first.
    Priority("priority") {
        /// Before everything else.
        P0 = "P0",
        /// Soon.
        P1 = "P1",
        /// The default.
        P2 = "P2",
        /// When nothing else is there.
        P3 = "P3",
    }

    /// A rough size.
    Complexity("complexity") {
        /// Minutes.
        Xs = "XS",
        /// Under an hour.
        S = "S",
        /// Hours.
        M = "M",
        /// A day.
        L = "L",
        /// Should be broken down.
        Xl = "XL",
    }

    /// What a queue means for ownership; the column matrix is keyed by it.
    QueueKind("queue kind") {
        /// Nobody works on it; it can be claimed.
        Waiting = "waiting",
        /// An agent owns it.
        Working = "working",
        /// The work is handed in; it waits for or is under review, or is being landed.
        Review = "review",
        /// Somebody has to decide.
        Attention = "attention",
        /// Merged.
        Done = "done",
        /// Given up, work kept.
        Failed = "failed",
        /// Called off, work kept.
        Cancelled = "cancelled",
    }
}

impl QueueKind {
    /// Whether a task here has come to its end.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }
}

/// The state of a task: one of the built-in queues or one that its flow declares.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct QueueName(String);

impl QueueName {
    /// Queues that every flow has, with their kinds, in the order of a task's life.
    pub const BUILT_IN: &'static [(&'static str, QueueKind)] = &[
        ("incoming", QueueKind::Waiting),
        ("claimed", QueueKind::Working),
        ("provisional", QueueKind::Review),
        ("needs_continuation", QueueKind::Waiting),
        ("needs_attention", QueueKind::Attention),
        ("done", QueueKind::Done),
        ("failed", QueueKind::Failed),
        ("cancelled", QueueKind::Cancelled),
    ];

    /// Parses a queue name: letters, digits, `_` and `-`; no second spelling of a built-in queue.
    pub fn parse(text: &str) -> Result<Self> {
        let good = text.len() <= 64
            && text.bytes().next().is_some_and(|c| c.is_ascii_alphabetic())
            && text
                .bytes()
                .all(|c| c.is_ascii_alphanumeric() || c == b'_' || c == b'-');
        let misspelt = |name: &str| name != text && name.eq_ignore_ascii_case(text);
        if good && !Self::BUILT_IN.iter().any(|(name, _)| misspelt(name)) {
            return Ok(Self(text.to_owned()));
        }
        let built_in: Vec<_> = Self::BUILT_IN.iter().map(|(name, _)| *name).collect();
        Err(
            Error::invalid(format!("{text:?} is not a queue name")).with_hint(format!(
                "use {}, or a state that the task's flow declares",
                built_in.join(", ")
            )),
        )
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The kind: states that a flow adds are places of review.
    pub fn kind(&self) -> QueueKind {
        Self::BUILT_IN
            .iter()
            .find(|(name, _)| *name == self.0)
            .map_or(QueueKind::Review, |(_, kind)| *kind)
    }

    /// Whether every flow has this queue.
    pub fn is_built_in(&self) -> bool {
        Self::BUILT_IN.iter().any(|(name, _)| *name == self.0)
    }
}

macro_rules! built_in_queues {
    ($($fn:ident = $text:literal),+ $(,)?) => { impl QueueName { $(
        #[doc = concat!("The queue `", $text, "`.")]
        pub fn $fn() -> Self { Self($text.to_owned()) }
    )+ } };
}
built_in_queues! {
    incoming = "incoming", claimed = "claimed", provisional = "provisional",
    needs_continuation = "needs_continuation", needs_attention = "needs_attention",
    done = "done", failed = "failed", cancelled = "cancelled",
}

impl fmt::Display for QueueName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}
impl FromStr for QueueName {
    type Err = Error;
    fn from_str(s: &str) -> Result<Self> {
        Self::parse(s)
    }
}
impl TryFrom<String> for QueueName {
    type Error = Error;
    fn try_from(s: String) -> Result<Self> {
        Self::parse(&s)
    }
}
impl From<QueueName> for String {
    fn from(q: QueueName) -> String {
        q.0
    }
}

/// What an agent does with a task; the known ones and any that is registered or configured.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Role(String);

impl Role {
    /// Roles that are known without being configured.
    pub const KNOWN: &'static [&'static str] = &[
        "implement",
        "breakdown",
        "test",
        "review",
        "fix",
        "research",
        "gatekeeper",
        "conflict",
    ];

    /// Parses a role name: letters, digits, `_` and `-`.
    pub fn parse(text: &str) -> Result<Self> {
        let good = (1..=64).contains(&text.len())
            && text
                .bytes()
                .all(|c| c.is_ascii_alphanumeric() || c == b'_' || c == b'-');
        if good {
            Ok(Self(text.to_owned()))
        } else {
            Err(Error::invalid(format!(
                "{text:?} is not a role name; known roles: {}",
                Self::KNOWN.join(", ")
            )))
        }
    }

    /// The role that tasks have when none is given.
    pub fn implement() -> Self {
        Self("implement".to_owned())
    }

    /// The role that resolves merge conflicts.
    pub fn conflict() -> Self {
        Self("conflict".to_owned())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this role reviews: `gatekeeper` and `review` are two words for it.
    pub fn is_reviewer(&self) -> bool {
        matches!(self.as_str(), "gatekeeper" | "review")
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}
impl FromStr for Role {
    type Err = Error;
    fn from_str(s: &str) -> Result<Self> {
        Self::parse(s)
    }
}
impl TryFrom<String> for Role {
    type Error = Error;
    fn try_from(s: String) -> Result<Self> {
        Self::parse(&s)
    }
}
impl From<Role> for String {
    fn from(r: Role) -> String {
        r.0
    }
}
