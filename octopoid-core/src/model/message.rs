//! The thread of a task: feedback for the next attempt, questions, verdicts.

use serde::{Deserialize, Serialize};

use super::QueueName;
use crate::{clock::Timestamp, id::TaskId};

/// A note in a task's thread; never changed, never deleted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Position in the store.
    pub id: i64,
    /// Its name, `msg-` and more.
    pub uid: String,
    /// The task.
    pub task_id: TaskId,
    /// Who wrote it.
    pub from: String,
    /// Whom it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// The message that it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// `rejection`, `check_failure`, `question`, `failure`, `conflict`, `comment`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The text, verbatim.
    pub content: String,
    /// When.
    pub at: Timestamp,
}

/// A message to be kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Post {
    /// Its name.
    pub uid: String,
    /// The task; it need not exist.
    pub task_id: TaskId,
    /// Who writes.
    pub from: String,
    /// Whom it is for.
    pub to: Option<String>,
    /// Free word.
    pub kind: String,
    /// The text.
    pub content: String,
    /// The message that it answers; in the same scope and on the same task.
    pub parent: Option<String>,
}

/// Which messages to list.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MessageFilter {
    /// Of one task.
    pub task_id: Option<String>,
    /// For one reader.
    pub to: Option<String>,
    /// Of one kind.
    pub kind: Option<String>,
    /// Only those that nobody has answered.
    pub unreplied: bool,
    /// A message and all that answers it; the other conditions do not count then.
    pub thread: Option<String>,
    /// Page; without one, the newest.
    pub page: Option<(u32, u32)>,
    /// How many of the newest, where no page is asked for.
    pub newest: u32,
}

/// One page of messages, oldest first.
#[derive(Debug, Clone, PartialEq)]
pub struct MessagePage {
    /// The messages.
    pub messages: Vec<Message>,
    /// How many match in all.
    pub total: u64,
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
