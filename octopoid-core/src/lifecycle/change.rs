//! The result of a transition: everything that is written, in one transaction, or nothing.

use crate::{
    error::{Error, ErrorCode},
    id::TaskId,
    model::{Attempt, AttemptOutcome, Evidence, Review, Task, Usage},
};

/// A new row of the audit trail.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvent {
    /// What happened.
    pub kind: &'static str,
    /// Who did it.
    pub by: Option<String>,
    /// Facts.
    pub details: serde_json::Value,
}

/// A new note in the task's thread.
#[derive(Debug, Clone, PartialEq)]
pub struct NewMessage {
    /// Who says it.
    pub from: String,
    /// What kind of note it is.
    pub kind: &'static str,
    /// The text.
    pub content: String,
}

/// What happens to the live attempt.
#[derive(Debug, Clone, PartialEq)]
pub enum AttemptChange {
    /// A new one begins.
    Start(Box<Attempt>),
    /// Its base is known.
    Base(String),
    /// It ends.
    End {
        /// How.
        outcome: AttemptOutcome,
        /// Code of the failure.
        failure: Option<&'static str>,
        /// In words.
        reason: Option<String>,
        /// What was seen; null keeps what is stored.
        evidence: Option<Box<Evidence>>,
        /// What it cost; null keeps what is stored.
        usage: Option<Usage>,
    },
}

/// All that one command changes.
#[derive(Debug, Clone)]
pub struct Change {
    /// Version that the row must still have; 0 for a new row.
    pub before_version: i64,
    /// The row afterwards.
    pub after: Task,
    /// Whether what is asked for changed too, and not only where the task stands.
    pub edits: bool,
    /// Exactly one event.
    pub event: NewEvent,
    /// The live attempt, where it changes.
    pub attempt: Option<AttemptChange>,
    /// A note for the thread.
    pub message: Option<NewMessage>,
    /// A verdict.
    pub review: Option<Review>,
    /// A new set of blockers.
    pub blockers: Option<Vec<TaskId>>,
    /// Whether tasks that wait for this one have to be counted anew.
    pub touches_dependents: bool,
}

/// Why a command was refused; nothing changes then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The guard that said no.
    pub guard: &'static str,
    /// The code that users see.
    pub code: ErrorCode,
    /// The sentence that users see.
    pub message: String,
    /// The next step.
    pub hint: Option<String>,
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        let error = Error::new(refusal.code, refusal.message);
        match refusal.hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }
}
