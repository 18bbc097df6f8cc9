//! What clients keep on a task and the engine does not act on.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the form that serde asks for")]
fn is_false(value: &bool) -> bool {
    !value
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the form that serde asks for")]
fn is_zero(value: &i64) -> bool {
    *value == 0
}

/// Columns that clients write and read; texts that hold JSON are kept as they came.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs, reason = "named as on the wire")]
pub struct Annotations {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_path: Option<String>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan_id: Option<String>,
    #[serde(skip_serializing_if = "is_false")]
    pub has_plan: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub auto_accept: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub needs_rebase: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub needs_breakdown: bool,
    /// A person or a fixing agent has to look; ends with the next change of state.
    #[serde(skip_serializing_if = "is_false")]
    pub needs_intervention: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_rebase_attempt_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub staging_url: Option<String>,
    /// JSON array of `{name, status, evidence, …}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hooks: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flow_overrides: Option<String>,
    /// Names of checks that a client runs itself; not the commands that the engine runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_checks: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub check_results: Option<String>,
    #[serde(skip_serializing_if = "is_zero")]
    pub review_round: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<serde_json::Value>,
    /// The creator named no role.
    #[serde(skip_serializing_if = "is_false")]
    pub role_unset: bool,
    /// The creator gave no body.
    #[serde(skip_serializing_if = "is_false")]
    pub content_unset: bool,
}

impl Annotations {
    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
