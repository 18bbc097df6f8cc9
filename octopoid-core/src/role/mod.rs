//! Roles: what is done with a claimed task. One trait; working and reviewing agents are built on it.

mod agent;
mod assignment;
mod at_work;

use std::fmt;

use async_trait::async_trait;

pub use agent::AgentRole;
pub use assignment::{Assignment, RunRecord, RunState};
pub use at_work::AtWork;

use crate::{
    agent::{Ending, Reading, Reported},
    clock::Timestamp,
    error::Error,
    lifecycle::Failure,
    model::{Usage, Verdict},
};

/// Does something with a task: changes files in its worktree, or judges a commit.
#[async_trait]
pub trait Role: Send + Sync + fmt::Debug {
    /// The role's name; tasks with this role are given to it.
    fn name(&self) -> &str;
    /// Works on one assignment. The engine decides from evidence what becomes of the task.
    async fn run(&self, cx: &Assignment) -> Result<Outcome, RoleError>;
}

/// What a role says that came of an assignment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outcome {
    /// What was reported.
    pub reading: Reading,
    /// How the process ended; null for a role that is no process.
    pub ending: Option<Ending>,
    /// The end of its output, for people and the next attempt.
    pub tail: String,
}

impl Outcome {
    /// The work is finished.
    pub fn done(summary: impl Into<String>) -> Self {
        Self::reported(Reported::Done, summary)
    }

    /// Any report with its summary.
    pub fn reported(what: Reported, summary: impl Into<String>) -> Self {
        let reading = Reading {
            reported: Some(what),
            summary: Some(summary.into()),
            ..Reading::default()
        };
        Self {
            reading,
            ..Self::default()
        }
    }

    /// A reviewer's decision.
    pub fn verdict(verdict: Verdict, reason: impl Into<String>) -> Self {
        let reading = Reading {
            verdict: Some(verdict),
            summary: Some(reason.into()),
            ..Reading::default()
        };
        Self {
            reading,
            ..Self::default()
        }
    }

    /// Reads what a role of another language returned: an object with the keys of the result file, at least `outcome`
    /// or `verdict`. Anything else is refused, with what would be right.
    pub fn from_value(value: &serde_json::Value) -> Result<Self, Error> {
        const KEYS: &[&str] = &[
            "outcome",
            "verdict",
            "summary",
            "reason",
            "blocking",
            "advice",
            "usage",
            "session_id",
        ];
        let legal = "return an object with outcome (done, failed, needs_continuation, question, no_change) or, \
                     from a reviewer, verdict (approve, reject), and a summary";
        let no = |what: String| Error::invalid(what).with_hint(legal);
        let Some(map) = value.as_object() else {
            return Err(no(format!("the role returned {}, which is no outcome", kind_of(value))));
        };
        if let Some(key) = map.keys().find(|k| !KEYS.contains(&k.as_str())) {
            return Err(no(format!("the role's outcome has the unknown key {key:?}")));
        }
        for key in ["outcome", "verdict", "summary", "reason", "session_id"] {
            if map.get(key).is_some_and(|v| !v.is_string() && !v.is_null()) {
                return Err(no(format!("the role's outcome has a {key} that is no text")));
            }
        }
        let mut reading = Reading::default();
        reading.take_result(value);
        if reading.summary.is_none() {
            reading.summary = map.get("reason").and_then(|v| v.as_str()).map(str::to_owned);
        }
        if let Some(unclear) = &reading.unclear {
            return Err(no(unclear.clone()));
        }
        if let Some(word) = map.get("verdict").and_then(|v| v.as_str())
            && reading.verdict.is_none()
        {
            return Err(no(format!("the verdict {word:?} is none that is known")));
        }
        if reading.reported.is_none() && reading.verdict.is_none() {
            return Err(no("the role's outcome has neither outcome nor verdict".to_owned()));
        }
        Ok(Self {
            reading,
            ..Self::default()
        })
    }

    /// Adds what it cost.
    #[must_use]
    pub fn with_usage(mut self, usage: Usage) -> Self {
        self.reading.usage = usage;
        self
    }
}

fn kind_of(value: &serde_json::Value) -> &'static str {
    use serde_json::Value;
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// Why a role could not bring an outcome.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct RoleError {
    /// Whose fault it is.
    pub failure: Failure,
    /// In words, for the next attempt and for people.
    pub message: String,
    /// Earliest next try.
    pub retry_at: Option<Timestamp>,
    /// What was seen: a traceback, the end of a log; kept with the attempt.
    pub evidence: Option<String>,
}

impl RoleError {
    /// Any failure.
    pub fn new(failure: Failure, message: impl Into<String>) -> Self {
        Self {
            failure,
            message: message.into(),
            retry_at: None,
            evidence: None,
        }
    }

    /// The work itself failed.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(Failure::AgentReported, message)
    }

    /// The role's own code raised an error; `traceback` is kept with the attempt.
    pub fn raised(message: impl Into<String>, traceback: impl Into<String>) -> Self {
        Self {
            evidence: Some(traceback.into()),
            ..Self::new(Failure::AgentExit, message)
        }
    }
}

impl From<Error> for RoleError {
    fn from(error: Error) -> Self {
        use crate::error::ErrorCode;
        let failure = match error.code() {
            ErrorCode::AgentMissing => Failure::AgentMissing,
            ErrorCode::Io | ErrorCode::StoreUnavailable => Failure::Disk,
            ErrorCode::Timeout | ErrorCode::Offline => Failure::Remote,
            ErrorCode::VersionConflict => Failure::RepositoryBusy,
            _ => Failure::Repository,
        };
        let message = match error.hint() {
            Some(hint) => format!("{error} ({hint})"),
            None => error.to_string(),
        };
        Self::new(failure, message)
    }
}
