//! The column matrix: which columns a task must and must not have in each kind of queue.
//!
//! It is data. The database's CHECKs are generated from it and property tests compare every row with it.

use crate::model::{QueueKind, Task};

/// Whether a column is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// Always set.
    Required,
    /// Never set.
    Forbidden,
    /// Either.
    Optional,
}

/// One row of the matrix.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// The kind of queue.
    pub kind: QueueKind,
    /// `claim_token`, `claimed_by`, `orchestrator_id`, `claim_kind`, `claimed_from`, `claimed_at`, `lease_expires_at`.
    pub owner: Presence,
    /// `head_sha`: the work that was handed in.
    pub head: Presence,
    /// `merged_sha`: the commit in the base branch.
    pub merged: Presence,
    /// `completed_at`.
    pub completed: Presence,
    /// `attention`: the code of what went wrong.
    pub attention: Presence,
}

use Presence::{Forbidden, Optional, Required};

/// The matrix itself.
#[rustfmt::skip]
pub const MATRIX: &[Row] = &[
    Row { kind: QueueKind::Waiting,   owner: Forbidden, head: Optional, merged: Forbidden, completed: Forbidden, attention: Forbidden },
    Row { kind: QueueKind::Working,   owner: Required,  head: Optional, merged: Forbidden, completed: Forbidden, attention: Forbidden },
    Row { kind: QueueKind::Review,    owner: Optional,  head: Required, merged: Forbidden, completed: Forbidden, attention: Forbidden },
    Row { kind: QueueKind::Attention, owner: Forbidden, head: Optional, merged: Forbidden, completed: Forbidden, attention: Required  },
    Row { kind: QueueKind::Done,      owner: Forbidden, head: Optional, merged: Required,  completed: Required,  attention: Forbidden },
    Row { kind: QueueKind::Failed,    owner: Forbidden, head: Optional, merged: Forbidden, completed: Required,  attention: Required  },
    Row { kind: QueueKind::Cancelled, owner: Forbidden, head: Optional, merged: Forbidden, completed: Required,  attention: Forbidden },
];

/// Columns that belong together: all of a group are set, or none.
const OWNER_COLUMNS: &[&str] = &[
    "claim_token",
    "claimed_by",
    "orchestrator_id",
    "claim_kind",
    "claimed_from",
    "claimed_at",
    "lease_expires_at",
];

/// The SQL condition that a row of `tasks` must fulfil; `kind` is the column with the queue's kind.
pub fn sql_check() -> String {
    let group = |columns: &[&str], presence: Presence| -> Option<String> {
        let word = match presence {
            Required => "IS NOT NULL",
            Forbidden => "IS NULL",
            Optional => return None,
        };
        Some(
            columns
                .iter()
                .map(|c| format!("{c} {word}"))
                .collect::<Vec<_>>()
                .join(" AND "),
        )
    };
    let rows: Vec<String> = MATRIX
        .iter()
        .map(|row| {
            let conditions = [
                Some(format!("kind = '{}'", row.kind)),
                group(OWNER_COLUMNS, row.owner),
                group(&["head_sha"], row.head),
                group(&["merged_sha"], row.merged),
                group(&["completed_at"], row.completed),
                group(&["attention"], row.attention),
            ];
            format!(
                "({})",
                conditions.into_iter().flatten().collect::<Vec<_>>().join(" AND ")
            )
        })
        .collect();
    let all_or_none = format!(
        "({}) OR ({})",
        OWNER_COLUMNS
            .iter()
            .map(|c| format!("{c} IS NULL"))
            .collect::<Vec<_>>()
            .join(" AND "),
        OWNER_COLUMNS
            .iter()
            .map(|c| format!("{c} IS NOT NULL"))
            .collect::<Vec<_>>()
            .join(" AND "),
    );
    format!("({})\n  AND ({all_or_none})", rows.join("\n    OR "))
}

/// The condition with the exception for tasks that clients drive on their own word: these need an owner's lease only
/// while they are claimed, so that the claim can run out.
pub fn sql_check_with_external() -> String {
    format!(
        "(external = 1 AND (kind <> 'working' OR (claim_token IS NOT NULL AND lease_expires_at IS NOT NULL)))\n  OR (external = 0 AND {})",
        sql_check()
    )
}

/// What of the matrix `task` breaks; empty when nothing.
pub fn violations(task: &Task) -> Vec<String> {
    if task.external {
        let runs_out = task.claim_token.is_some() && task.lease_expires_at.is_some();
        return if task.kind() == QueueKind::Working && !runs_out {
            vec!["claim_token and lease_expires_at must be set in claimed".into()]
        } else {
            Vec::new()
        };
    }
    strict_violations(task)
}

/// What of the matrix `task` breaks when nobody's word is taken for anything.
pub fn strict_violations(task: &Task) -> Vec<String> {
    let mut found = Vec::new();
    let Some(row) = MATRIX.iter().find(|r| r.kind == task.kind()) else {
        return vec![format!("no row for {}", task.kind())];
    };
    let mut need = |column: &str, presence: Presence, set: bool| match presence {
        Required if !set => found.push(format!("{column} must be set in {}", task.queue)),
        Forbidden if set => found.push(format!("{column} must be null in {}", task.queue)),
        _ => {}
    };
    let owner = [
        ("claim_token", task.claim_token.is_some()),
        ("claimed_by", task.claimed_by.is_some()),
        ("orchestrator_id", task.orchestrator_id.is_some()),
        ("claim_kind", task.claim_kind.is_some()),
        ("claimed_from", task.claimed_from.is_some()),
        ("claimed_at", task.claimed_at.is_some()),
        ("lease_expires_at", task.lease_expires_at.is_some()),
    ];
    for (column, set) in owner {
        need(column, row.owner, set);
    }
    need("head_sha", row.head, task.head_sha.is_some());
    need("merged_sha", row.merged, task.merged_sha.is_some());
    need("completed_at", row.completed, task.completed_at.is_some());
    need("attention", row.attention, task.attention.is_some());
    if owner.iter().any(|(_, set)| *set) && !owner.iter().all(|(_, set)| *set) {
        found.push("the owner's columns are set only in part".into());
    }
    found
}
