//! Roles: what is done with a claimed task. One trait; working and reviewing agents are built on it.

mod agent;
mod assignment;

use std::fmt;

use async_trait::async_trait;

pub use agent::AgentRole;
pub use assignment::{Assignment, RunRecord, RunState};

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

    /// Adds what it cost.
    #[must_use]
    pub fn with_usage(mut self, usage: Usage) -> Self {
        self.reading.usage = usage;
        self
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
}

impl RoleError {
    /// The work itself failed.
    pub fn failed(message: impl Into<String>) -> Self {
        Self {
            failure: Failure::AgentReported,
            message: message.into(),
            retry_at: None,
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
        Self {
            failure,
            message,
            retry_at: None,
        }
    }
}
