//! What can be asked of a task, with the facts that each request brings.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{CommandKind, Failure};
use crate::{
    clock::Timestamp,
    id::{OrchestratorId, TaskId},
    model::{EditTask, Evidence, PatchTask, QueueName, Role, Usage, Verdict},
};

/// A request to change one task.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// Take the task: for work, for review, or to land it.
    Claim {
        /// Name of the agent (blueprint), or of the orchestrator when it lands.
        agent: String,
        /// Role that the agent plays.
        role: Role,
        /// Names that the claimer answers to: role, blueprint, `engine`.
        ///
        /// Empty for a client that takes what it finds.
        answers_to: Vec<String>,
        /// Who claims.
        orchestrator: OrchestratorId,
        /// Fresh secret.
        token: String,
        /// Until when, from now; milliseconds on the wire.
        #[serde(with = "millis")]
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
        /// Until when, from now; milliseconds on the wire.
        #[serde(with = "millis")]
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
    /// A task that it waits for became done, or is not done any more.
    Unblock {
        /// That task.
        blocker: TaskId,
        /// How many of those that it waits for are not done now.
        open: i64,
    },
    /// The holder tells how far it is.
    Progress {
        /// Claim token.
        token: String,
        /// In words.
        note: String,
    },
    /// A client hands in work on its own word, without evidence.
    HandIn {
        /// Claim token; needed where the claim is fenced.
        token: Option<String>,
        /// Commits that it says it made.
        commits: i64,
        /// Turns that it used.
        turns: i64,
        /// Results of its checks, as text.
        check_results: Option<String>,
        /// Notes.
        notes: Option<String>,
        /// Who it says it is, by agent or orchestrator; refused when the claim is somebody else's.
        holder: Option<String>,
    },
    /// A client accepts: work with evidence is approved, work on a client's word is done.
    Accept {
        /// Who.
        by: String,
        /// When it says it was completed.
        completed_at: Option<Timestamp>,
    },
    /// A client sends a task back to `incoming`.
    SendBack {
        /// Who.
        by: Option<String>,
        /// Why; with a reason it is a rejection.
        reason: Option<String>,
    },
    /// A client moves a task by decision of a person.
    Force {
        /// Who.
        by: Option<String>,
        /// Where to.
        to: QueueName,
        /// Why.
        reason: String,
    },
    /// A client writes columns.
    Patch {
        /// Who.
        by: Option<String>,
        /// The new values.
        patch: Box<PatchTask>,
    },
    /// A client completes a hook of the task.
    Hook {
        /// Its name.
        name: String,
        /// `passed` or `failed`.
        status: String,
        /// Anything.
        evidence: Option<serde_json::Value>,
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
            Self::Progress { .. } => CommandKind::Progress,
            Self::HandIn { .. } => CommandKind::HandIn,
            Self::Accept { .. } => CommandKind::Accept,
            Self::SendBack { .. } => CommandKind::SendBack,
            Self::Force { .. } => CommandKind::Force,
            Self::Patch { .. } => CommandKind::Patch,
            Self::Hook { .. } => CommandKind::Hook,
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
            | Self::Progress { token, .. }
            | Self::Advance { token, .. } => Some(token),
            _ => None,
        }
    }
}

/// A length of time as milliseconds.
mod millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &Duration, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_u64(u64::try_from(value.as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
        u64::deserialize(d).map(Duration::from_millis)
    }
}
