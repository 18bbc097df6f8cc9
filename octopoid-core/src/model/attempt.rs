//! An attempt: one claim of a task by one agent, and what came of it.

use serde::{Deserialize, Serialize};

use super::words::words_macro as words;
use super::{QueueName, Role};
use crate::{
    clock::Timestamp,
    error::{Error, Result},
    id::{OrchestratorId, TaskId},
};
use std::{fmt, str::FromStr};

words! {
    /// What a claim is for.
    AttemptKind("kind of claim") {
        /// An agent changes files on the task's branch.
        Work = "work",
        /// An agent judges one commit.
        Review = "review",
        /// The orchestrator itself brings approved work into the base branch.
        Land = "land",
    }

    /// How an attempt ended.
    AttemptOutcome("outcome") {
        /// Work handed in with passing checks.
        Submitted = "submitted",
        /// The reviewer approved the commit that it saw.
        Approved = "approved",
        /// The reviewer refused the commit that it saw.
        Rejected = "rejected",
        /// Did not bring what it had to; counts against the limit.
        Failed = "failed",
        /// More turns are needed; the same worktree goes on.
        Continued = "continued",
        /// A question for a person.
        Question = "question",
        /// The lease ran out.
        Expired = "expired",
        /// Given back without blame.
        Released = "released",
        /// Ended by a person or overtaken by a decision.
        Superseded = "superseded",
    }
}

/// What an agent used up; sums of these are shown on the task.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Usage {
    /// Tokens read by the model.
    pub input_tokens: u64,
    /// Tokens written by the model.
    pub output_tokens: u64,
    /// US dollars.
    pub cost_usd: f64,
    /// Rounds with the model.
    pub turns: u64,
}

/// One check run by us on one commit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckResult {
    /// The command line.
    pub command: String,
    /// The commit that was checked out.
    pub sha: String,
    /// Whether it exited with 0.
    pub passed: bool,
    /// The exit code, null when it was ended by a signal or a time limit.
    pub exit_code: Option<i32>,
    /// The end of what it printed.
    pub tail: String,
    /// Milliseconds that it took.
    pub millis: u64,
}

/// What we saw ourselves of an attempt; decisions are made from this, never from an agent's prose.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Evidence {
    /// Tip of the work when the attempt ended.
    pub head_sha: Option<String>,
    /// Commits over the attempt's base.
    pub commits: u64,
    /// Whether uncommitted files were committed for the agent.
    pub saved_dirty_files: bool,
    /// Exit code of the agent's process.
    pub exit_code: Option<i32>,
    /// Signal that ended it.
    pub signal: Option<i32>,
    /// What was run on the tip.
    pub checks: Vec<CheckResult>,
    /// What the agent says that it did.
    pub summary: Option<String>,
    /// Session of the agent's own program, to go on from.
    pub session_id: Option<String>,
    /// The end of what the agent printed, when it failed.
    pub tail: Option<String>,
    /// The agent states that nothing has to be changed.
    pub no_change: bool,
}

/// One claim of a task by one agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "fields are named by the glossary")]
pub struct Attempt {
    pub task_id: TaskId,
    pub number: i64,
    pub kind: AttemptKind,
    pub role: Role,
    pub agent: String,
    pub orchestrator_id: OrchestratorId,
    pub epoch: i64,
    #[serde(skip)]
    pub token: String,
    pub claimed_from: QueueName,
    pub body_revision: i64,
    pub base_sha: Option<String>,
    pub started_at: Timestamp,
    /// Null while the attempt lives.
    pub ended_at: Option<Timestamp>,
    pub outcome: Option<AttemptOutcome>,
    /// Code of the failure, see `docs/errors.md`.
    pub failure: Option<String>,
    pub reason: Option<String>,
    pub evidence: Evidence,
    pub usage: Usage,
}
