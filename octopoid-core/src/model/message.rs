//! The thread of a task: feedback for the next attempt, questions, verdicts.

use serde::{Deserialize, Serialize};

use super::QueueName;
use crate::{clock::Timestamp, id::TaskId};

/// A note in a task's thread; never changed, never deleted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Position in the store.
    pub id: i64,
    /// The task.
    pub task_id: TaskId,
    /// Who wrote it.
    pub from: String,
    /// `rejection`, `check_failure`, `question`, `failure`, `conflict`, `comment`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The text, verbatim.
    pub content: String,
    /// When.
    pub at: Timestamp,
}

/// What a reviewer decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The commit may be merged.
    Approve,
    /// The commit must be changed.
    Reject,
}

/// A verdict on one commit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Review {
    /// The task.
    pub task_id: TaskId,
    /// The state in which the verdict was given.
    pub queue: QueueName,
    /// Who reviewed: a blueprint, or a person's name.
    pub by: String,
    /// Which condition of the flow it answers; a person answers all.
    pub condition: Option<String>,
    /// The commit that was seen.
    pub sha: String,
    /// What was decided.
    pub verdict: Verdict,
    /// Why.
    pub reason: String,
    /// When.
    pub at: Timestamp,
}
