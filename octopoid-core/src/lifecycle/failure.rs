//! Whose fault a failure is: a closed list, each with who acts on it and what it costs.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result},
    model::words_macro,
};

/// Who has to act on a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureClass {
    /// Passes by itself; tried again after a pause, up to a cap.
    Transient,
    /// The work itself; the next attempt is told, and it counts.
    Task,
    /// Nobody but a person (or a configured resolver) can go on.
    NeedsPerson,
    /// Nothing to do with this task; what it affects is paused and the task pays nothing.
    Systemic,
}

words_macro! {
    /// What went wrong with an attempt or a landing. The words are anchors in `docs/errors.md`.
    Failure("failure") {
        /// The agent's process ended with an error or by a signal.
        AgentExit = "agent_exit",
        /// The agent says that it failed.
        AgentReported = "agent_reported",
        /// The agent ended well but changed nothing.
        NoChanges = "no_changes",
        /// A check did not pass on the commit.
        ChecksFailed = "checks_failed",
        /// The agent ran longer than it may.
        WallTimeout = "timeout_wall",
        /// The agent showed no sign of life for longer than it may.
        SilenceTimeout = "timeout_silence",
        /// Files outside the task's paths were changed.
        OutsidePaths = "outside_paths",
        /// A script condition of the flow said no.
        ConditionFailed = "condition_failed",
        /// The agent that was to resolve a merge conflict left some of it.
        ConflictUnresolved = "conflict_unresolved",
        /// A review ended without an exact verdict.
        NoVerdict = "no_verdict",
        /// The work and the base branch changed the same lines.
        MergeConflict = "merge_conflict",
        /// The reviewer refused as often as it may.
        Rejected = "rejected",
        /// The agent asks a person.
        Question = "question",
        /// More continuations than allowed.
        TooManyContinuations = "too_many_continuations",
        /// The base branch or the worktree is not as it must be; nothing was changed.
        Repository = "repository",
        /// Another git process holds a lock, or a role that was told to end is still in the worktree.
        RepositoryBusy = "repository_busy",
        /// The agent's process is gone and nobody saw how it ended.
        AgentLost = "agent_lost",
        /// The task used more tokens than its budget allows.
        OverBudget = "over_budget",
        /// The remote could not be reached or refused.
        Remote = "remote",
        /// The base branch moved while the work was being merged, again and again.
        BaseMoved = "base_moved",
        /// The agent's program is not there.
        AgentMissing = "agent_missing",
        /// The agent's service refuses the key.
        AgentAuth = "agent_auth",
        /// The agent's service has no more quota for now.
        UsageLimit = "usage_limit",
        /// The program of a check is not there.
        CheckMissing = "check_missing",
        /// The base branch itself does not pass the checks.
        BaseRed = "base_red",
        /// No space, or files that cannot be written.
        Disk = "disk",
    }
}

impl Failure {
    /// Whose fault it is.
    pub const fn class(self) -> FailureClass {
        match self {
            Self::AgentExit
            | Self::AgentReported
            | Self::NoChanges
            | Self::ChecksFailed
            | Self::WallTimeout
            | Self::SilenceTimeout
            | Self::OutsidePaths
            | Self::ConditionFailed
            | Self::ConflictUnresolved
            | Self::NoVerdict => FailureClass::Task,
            Self::MergeConflict
            | Self::Rejected
            | Self::Question
            | Self::TooManyContinuations
            | Self::OverBudget
            | Self::Repository => FailureClass::NeedsPerson,
            Self::Remote | Self::BaseMoved | Self::AgentLost | Self::RepositoryBusy => FailureClass::Transient,
            Self::AgentMissing
            | Self::AgentAuth
            | Self::UsageLimit
            | Self::CheckMissing
            | Self::BaseRed
            | Self::Disk => FailureClass::Systemic,
        }
    }
}
