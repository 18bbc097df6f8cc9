//! A task and the requests that create, edit and list tasks.

use serde::{Deserialize, Serialize};

use super::{Annotations, AttemptKind, Complexity, Priority, QueueKind, QueueName, Role};
use crate::{
    clock::Timestamp,
    id::{OrchestratorId, ProjectId, Scope, TaskId},
};

/// A unit of work with a markdown body, in exactly one queue of its flow.
///
/// Serialises to the JSON that every surface shows; the claim token is never part of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(
    missing_docs,
    reason = "fields are named by the glossary; those that need words have them"
)]
pub struct Task {
    pub id: TaskId,
    pub scope: Scope,
    pub title: String,
    /// The markdown body.
    pub content: String,
    /// Increases with each edit of the body.
    pub body_revision: i64,
    pub queue: QueueName,
    pub priority: Priority,
    pub complexity: Option<Complexity>,
    pub role: Role,
    /// The base branch: where work starts and where it is merged.
    pub branch: String,
    pub flow: String,
    pub project_id: Option<ProjectId>,
    /// Commands that must pass besides the project's own test command.
    pub checks: Vec<String>,
    /// Globs; the work may touch only matching files. Empty means all.
    pub paths: Vec<String>,
    pub created_by: Option<String>,

    /// Who must act next: a role or blueprint name, `engine`, `human`, or null at the end.
    pub awaiting: Option<String>,
    /// Number of blockers that are not done.
    pub open_blockers: i64,

    /// Name of the agent that holds the claim.
    pub claimed_by: Option<String>,
    pub orchestrator_id: Option<OrchestratorId>,
    pub claim_kind: Option<AttemptKind>,
    pub claimed_from: Option<QueueName>,
    pub claimed_at: Option<Timestamp>,
    pub lease_expires_at: Option<Timestamp>,
    #[serde(skip)]
    pub claim_token: Option<String>,
    /// Increases with each claim; an older one cannot write.
    pub epoch: i64,

    /// Increases with each change of the row.
    pub version: i64,
    /// Number of attempts begun so far; also the number of the latest one.
    pub attempt_count: i64,
    /// Attempts that ended in a failure of the task itself, since the last retry by a person.
    pub failure_count: i64,
    /// Passing troubles (network and the like) since the last retry by a person.
    pub transient_count: i64,
    pub rejection_count: i64,
    pub continuation_count: i64,
    /// Reviews in a row that ended without a verdict.
    pub unclear_reviews: i64,
    pub commits_count: i64,
    pub turns_used: i64,

    /// Commit on which the work stands.
    pub base_sha: Option<String>,
    /// Commit that was handed in.
    pub head_sha: Option<String>,
    /// Commit in the base branch that brought the work in; set exactly in `done`.
    pub merged_sha: Option<String>,
    pub pr_number: Option<i64>,
    pub pr_url: Option<String>,

    /// Why nobody may claim it for now; null when it may be claimed.
    pub hold: Option<String>,
    /// No claim before this moment.
    pub not_before: Option<Timestamp>,
    /// Code of the failure that brought it to `needs_attention` or `failed`.
    pub attention: Option<String>,
    pub execution_notes: Option<String>,

    /// Whether a client drives it on its own word, without evidence that the engine could check.
    #[serde(default, skip_serializing_if = "is_false")]
    pub external: bool,
    /// What clients keep on it.
    #[serde(default, skip_serializing_if = "Annotations::is_empty")]
    pub annotations: Annotations,

    pub submitted_at: Option<Timestamp>,
    pub completed_at: Option<Timestamp>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the form that serde asks for")]
fn is_false(value: &bool) -> bool {
    !value
}

impl Task {
    /// The kind of the queue that the task is in.
    pub fn kind(&self) -> QueueKind {
        self.queue.kind()
    }

    /// Whether it waits for blockers.
    pub fn is_blocked(&self) -> bool {
        self.open_blockers > 0 && !self.kind().is_terminal()
    }

    /// Whether each write of the claim's holder must carry its token.
    pub fn is_fenced(&self) -> bool {
        self.claim_token
            .as_ref()
            .is_some_and(|t| !t.starts_with(Self::OPEN_CLAIM))
    }

    /// How the tokens of claims begin that were given to clients which know of no tokens.
    pub const OPEN_CLAIM: &'static str = "open-";

    /// The branch that carries the work.
    pub fn work_branch(&self) -> String {
        format!("agent/{}", self.id)
    }
}

/// A task that another one waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blocker {
    /// The task waited for.
    pub id: TaskId,
    /// Where it is now.
    pub queue: QueueName,
}

/// What a new task is made of. Only a title or a body is needed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "same names and meanings as in Task")]
pub struct CreateTask {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<TaskId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub complexity: Option<Complexity>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flow: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project_id: Option<ProjectId>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blocked_by: Vec<TaskId>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// The queue that it begins in; null is `incoming`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<QueueName>,
    /// What clients keep on it.
    #[serde(default, skip_serializing_if = "Annotations::is_empty")]
    pub annotations: Annotations,
}

/// What a person may change of a task; everything else changes by commands only.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "same names and meanings as in Task")]
pub struct EditTask {
    pub title: Option<String>,
    pub content: Option<String>,
    pub role: Option<Role>,
    pub priority: Option<Priority>,
    pub complexity: Option<Complexity>,
    pub branch: Option<String>,
    pub checks: Option<Vec<String>>,
    pub paths: Option<Vec<String>>,
    /// Replaces all blockers.
    pub blocked_by: Option<Vec<TaskId>>,
    /// Refused when the task's version is another one.
    pub version: Option<i64>,
}

impl EditTask {
    /// Whether nothing is to be changed.
    pub fn is_empty(&self) -> bool {
        Self {
            version: self.version,
            ..Self::default()
        } == *self
    }
}

/// The order of a list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Sort {
    /// Unfinished tasks first, then by priority and age.
    #[default]
    Urgency,
    /// By priority and age.
    Priority,
    /// The youngest first.
    Newest,
}

/// Which tasks to list; empty lists do not filter.
#[derive(Debug, Clone, Default, PartialEq)]
#[allow(missing_docs, reason = "same names and meanings as in Task")]
pub struct TaskFilter {
    pub queues: Vec<QueueName>,
    pub priorities: Vec<Priority>,
    pub roles: Vec<Role>,
    /// Only tasks whose creator named the role.
    pub role_named: bool,
    pub project_id: Option<ProjectId>,
    /// Only tasks that have not come to their end.
    pub open_only: bool,
    pub claimed_by: Option<String>,
    pub orchestrator_id: Option<String>,
    pub flow: Option<String>,
    pub types: Vec<String>,
    pub pr_number: Option<i64>,
    pub needs_intervention: Option<bool>,
    pub has_plan: Option<bool>,
    pub auto_accept: Option<bool>,
    pub needs_rebase: Option<bool>,
    /// Only tasks that wait for this one.
    pub blocked_by: Option<TaskId>,
    pub sort: Sort,
    pub limit: Option<u32>,
    pub offset: u32,
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct TaskPage {
    pub tasks: Vec<Task>,
    /// How many match in all.
    pub total: u64,
    pub offset: u32,
    pub limit: u32,
}
