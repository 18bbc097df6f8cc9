//! A row of the audit trail, which is also the change feed.

use serde::{Deserialize, Serialize};

use crate::{clock::Timestamp, id::TaskId};

/// One change of one task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Position in the feed; strictly increasing.
    pub cursor: i64,
    /// The task that changed.
    pub task_id: TaskId,
    /// What happened, such as `created` or `claimed`.
    #[serde(rename = "type")]
    pub kind: String,
    /// When.
    pub at: Timestamp,
    /// Who: an agent, a person, `engine`.
    pub by: Option<String>,
    /// The task's version after the change.
    pub version: i64,
    /// Facts, by kind of event.
    pub details: serde_json::Value,
}
