//! What can be asked of a task, with the facts that each request brings.

use std::time::Duration;

use super::{CommandKind, Failure};
use crate::{
    clock::Timestamp,
    id::{OrchestratorId, TaskId},
    model::{EditTask, Evidence, QueueName, Role, Usage, Verdict},
};

/// A request to change one task.
#[derive(Debug, Clone)]
pub enum Command {
    /// Take the task: for work, for review, or to land it.
    Claim {
        /// Name of the agent (blueprint), or of the orchestrator when it lands.
        agent: String,
        /// Role that the agent plays.
        role: Role,
        /// Names that the claimer answers to: role, blueprint, `engine`.
        answers_to: Vec<String>,
        /// Who claims.
        orchestrator: OrchestratorId,
        /// Fresh secret.
        token: String,
        /// Until when, from now.
        lease: Duration,
    },
    /// The worktree is ready; the work stands on this commit.
    Begin {
        /// Claim token.
        token: String,
        /// Tip of the base branch, as the work sees it.
        base_sha: String,
    },
    /// The agent lives; give it more time.
    Renew {
        /// Claim token.
        token: String,
        /// Until when, from now.
        lease: Duration,
    },
    /// Hand in work with its evidence.
    Submit {
        /// Claim token.
        token: String,
        /// What was seen.
        evidence: Box<Evidence>,
        /// What it cost.
        usage: Usage,
        /// Whether checks must have passed on the commit; decided by the flow's file.
        checks_required: bool,
    },
    /// A reviewer's verdict on one commit.
    Judge {
        /// Claim token.
        token: String,
        /// The decision.
        verdict: Verdict,
        /// The commit that was seen.
        sha: String,
        /// Why; required for a rejection.
        reason: String,
        /// What was seen.
        evidence: Box<Evidence>,
        /// What it cost.
        usage: Usage,
    },
    /// More turns are needed.
    Continue {
        /// Claim token.
        token: String,
        /// Why.
        reason: String,
        /// What was seen.
        evidence: Box<Evidence>,
        /// What it cost.
        usage: Usage,
    },
    /// The agent needs an answer from a person.
    Ask {
        /// Claim token.
        token: String,
        /// The question.
        question: String,
        /// What was seen.
        evidence: Box<Evidence>,
        /// What it cost.
        usage: Usage,
    },
    /// The attempt or the landing failed.
    Fail {
        /// Claim token.
        token: String,
        /// What went wrong.
        failure: Failure,
        /// In words, for the next attempt and for people.
        reason: String,
        /// What was seen.
        evidence: Box<Evidence>,
        /// What it cost.
        usage: Usage,
        /// Earliest next try, when the cause says so.
        retry_at: Option<Timestamp>,
        /// Where the flow sends the task, when a condition said no.
        send_to: Option<QueueName>,
    },
    /// Give the claim back without blame.
    Release {
        /// Claim token.
        token: String,
        /// Why.
        reason: String,
    },
    /// Everything that the flow asks for is done: enter the next state.
    Advance {
        /// Claim token.
        token: String,
        /// The commit in the base branch, verified; required to enter `done`.
        merged_sha: Option<String>,
    },
    /// The lease has run out.
    Expire,
    /// A person accepts the commit that is handed in.
    Approve {
        /// Who.
        by: String,
    },
    /// A person refuses it.
    Reject {
        /// Who.
        by: String,
        /// Why; reaches the next attempt verbatim.
        reason: String,
    },
    /// No claims until further notice.
    Hold {
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
    /// Claims are allowed again.
    Unhold {
        /// Who.
        by: String,
    },
    /// Call it off; the work is kept.
    Cancel {
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
    /// Start over with fresh limits; the work is kept.
    Retry {
        /// Who.
        by: String,
    },
    /// Put it back to `incoming`; the work and the counts are kept.
    Requeue {
        /// Who.
        by: String,
    },
    /// Move it by decision of a person.
    Recover {
        /// Who.
        by: String,
        /// Where to.
        to: QueueName,
        /// Why.
        reason: String,
        /// For `done`: the commit in the base branch, verified by the caller.
        merged_sha: Option<String>,
        /// For a review: the tip of the work as it is now; null keeps what was handed in.
        head_sha: Option<String>,
    },
    /// Move it to `failed` by decision of a person or script.
    GiveUp {
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
    /// Change what is asked for.
    Edit {
        /// Who.
        by: String,
        /// The new values.
        edit: Box<EditTask>,
    },
    /// A task that it waited for is done.
    Unblock {
        /// That task.
        blocker: TaskId,
    },
}

impl Command {
    /// Which row of the table decides.
    pub const fn kind(&self) -> CommandKind {
        match self {
            Self::Claim { .. } => CommandKind::Claim,
            Self::Begin { .. } => CommandKind::Begin,
            Self::Renew { .. } => CommandKind::Renew,
            Self::Submit { .. } => CommandKind::Submit,
            Self::Judge { .. } => CommandKind::Judge,
            Self::Continue { .. } => CommandKind::Continue,
            Self::Ask { .. } => CommandKind::Ask,
            Self::Fail { .. } => CommandKind::Fail,
            Self::Release { .. } => CommandKind::Release,
            Self::Advance { .. } => CommandKind::Advance,
            Self::Expire => CommandKind::Expire,
            Self::Approve { .. } => CommandKind::Approve,
            Self::Reject { .. } => CommandKind::Reject,
            Self::Hold { .. } => CommandKind::Hold,
            Self::Unhold { .. } => CommandKind::Unhold,
            Self::Cancel { .. } => CommandKind::Cancel,
            Self::Retry { .. } => CommandKind::Retry,
            Self::Requeue { .. } => CommandKind::Requeue,
            Self::Recover { .. } => CommandKind::Recover,
            Self::GiveUp { .. } => CommandKind::GiveUp,
            Self::Edit { .. } => CommandKind::Edit,
            Self::Unblock { .. } => CommandKind::Unblock,
        }
    }

    /// The claim token that a worker's command carries.
    pub fn token(&self) -> Option<&str> {
        match self {
            Self::Begin { token, .. }
            | Self::Renew { token, .. }
            | Self::Submit { token, .. }
            | Self::Judge { token, .. }
            | Self::Continue { token, .. }
            | Self::Ask { token, .. }
            | Self::Fail { token, .. }
            | Self::Release { token, .. }
            | Self::Advance { token, .. } => Some(token),
            _ => None,
        }
    }
}
