//! Lists of tasks: what is asked for becomes a condition, an order and a page.

use super::{Answer, Sql, Value, all, first, row};
use crate::{
    id::Scope,
    model::{Sort, TaskFilter, TaskPage},
};

/// Page size when none is asked for.
const PAGE: u32 = 50;

pub(in crate::store) fn list(c: &mut dyn Sql, scope: &Scope, filter: &TaskFilter) -> Answer<TaskPage> {
    const FINISHED: &str = "(CASE WHEN kind IN ('done', 'failed', 'cancelled') THEN 1 ELSE 0 END)";
    let mut condition = "scope = ?1".to_owned();
    let mut values = vec![Value::from(scope)];
    let mut among = |column: &str, words: Vec<String>| {
        if words.is_empty() {
            return;
        }
        let marks: Vec<String> = words
            .into_iter()
            .map(|word| {
                values.push(word.into());
                format!("?{}", values.len())
            })
            .collect();
        condition.push_str(&format!(" AND {column} IN ({})", marks.join(", ")));
    };
    among("queue", filter.queues.iter().map(ToString::to_string).collect());
    among("priority", filter.priorities.iter().map(ToString::to_string).collect());
    among("role", filter.roles.iter().map(ToString::to_string).collect());
    among("type", filter.types.clone());
    among(
        "project_id",
        filter.project_id.iter().map(ToString::to_string).collect(),
    );
    among("claimed_by", filter.claimed_by.iter().cloned().collect());
    among("orchestrator_id", filter.orchestrator_id.iter().cloned().collect());
    among("flow", filter.flow.iter().cloned().collect());
    let numbers = [
        ("pr_number", filter.pr_number),
        ("needs_intervention", filter.needs_intervention.map(i64::from)),
        ("has_plan", filter.has_plan.map(i64::from)),
        ("auto_accept", filter.auto_accept.map(i64::from)),
        ("needs_rebase", filter.needs_rebase.map(i64::from)),
    ];
    for (column, number) in numbers {
        if let Some(number) = number {
            values.push(number.into());
            condition.push_str(&format!(" AND {column} = ?{}", values.len()));
        }
    }
    if let Some(blocker) = &filter.blocked_by {
        values.push(blocker.into());
        condition.push_str(&format!(
            " AND id IN (SELECT b.task_id FROM blockers b JOIN tasks x ON x.scope = b.scope AND x.id = b.blocker_id \
             WHERE b.scope = ?1 AND b.blocker_id = ?{} AND x.kind <> 'done')",
            values.len()
        ));
    }
    if filter.role_named && !filter.roles.is_empty() {
        condition.push_str(" AND role_given = 1");
    }
    if filter.open_only {
        condition.push_str(&format!(" AND {FINISHED} = 0"));
    }
    // No filter but the queue: every one would have brought a value along, or is named here.
    let only_queues = values.len() == 1 + filter.queues.len() && !filter.open_only;
    let counted = if only_queues {
        format!(
            "SELECT CAST(coalesce(sum(n), 0) AS BIGINT) FROM {} c WHERE {condition}",
            c.counts()
        )
    } else {
        format!("SELECT count(*) FROM tasks WHERE {condition}")
    };
    let total = first(c, &counted, &values, |r| row::int(r, 0))?;
    let limit = filter.limit.unwrap_or(PAGE);
    values.push(i64::from(limit).into());
    values.push(i64::from(filter.offset).into());
    let order = match filter.sort {
        // All tasks of one queue are finished, or none is; without that word the index has them in this order.
        Sort::Urgency if filter.queues.len() == 1 => "priority, created_at, seq".to_owned(),
        Sort::Urgency => format!("{FINISHED}, priority, created_at, seq"),
        Sort::Priority => "priority, created_at, seq".to_owned(),
        Sort::Newest => "created_at DESC, seq DESC".to_owned(),
    };
    let sql = format!(
        "SELECT {} FROM tasks WHERE {condition} ORDER BY {order} LIMIT ?{} OFFSET ?{}",
        row::TASK,
        values.len() - 1,
        values.len()
    );
    Ok(TaskPage {
        tasks: all(c, &sql, &values, row::task)?,
        total: u64::try_from(total.unwrap_or(0)).unwrap_or(0),
        offset: filter.offset,
        limit,
    })
}
