//! Columns that a client writes directly, as earlier clients do.

use serde::{Deserialize, Deserializer, Serialize};

use super::{Complexity, Priority, QueueName, Role};
use crate::{
    clock::Timestamp,
    id::{OrchestratorId, ProjectId, TaskId},
};

/// Keeps the difference between a field that is null and one that is not there.
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(d: D) -> Result<Option<Option<T>>, D::Error> {
    Option::<T>::deserialize(d).map(Some)
}

/// New values of columns; what is not named stays as it is, what is null is cleared.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs, reason = "same names and meanings as in Task")]
pub struct PatchTask {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<QueueName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub content: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub complexity: Option<Option<Complexity>>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub role: Option<Option<Role>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flow: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub project_id: Option<Option<ProjectId>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocked_by: Option<Vec<TaskId>>,
    /// Commands that must pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checks: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paths: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub claimed_by: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub claimed_at: Option<Option<Timestamp>>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub orchestrator_id: Option<Option<OrchestratorId>>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub lease_expires_at: Option<Option<Timestamp>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commits_count: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turns_used: Option<i64>,
    /// On the wire `attempt_count`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_count: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rejection_count: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub pr_number: Option<Option<i64>>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub pr_url: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub submitted_at: Option<Option<Timestamp>>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub completed_at: Option<Option<Timestamp>>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub execution_notes: Option<Option<String>>,
    /// Laid over the task's annotations; null clears a field.
    #[serde(skip_serializing_if = "serde_json::Map::is_empty")]
    pub annotations: serde_json::Map<String, serde_json::Value>,
    /// Refused when the task's version is another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<i64>,
    /// The claim token, where the sender holds a fenced claim.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

impl PatchTask {
    /// Whether nothing is to be changed.
    pub fn is_empty(&self) -> bool {
        Self {
            version: self.version,
            token: self.token.clone(),
            ..Self::default()
        } == *self
    }

    /// Whether it writes columns that belong to the holder of the claim.
    pub fn touches_claim(&self) -> bool {
        self.claimed_by.is_some()
            || self.claimed_at.is_some()
            || self.orchestrator_id.is_some()
            || self.lease_expires_at.is_some()
    }
}
