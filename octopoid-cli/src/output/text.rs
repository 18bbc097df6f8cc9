//! Tasks as text for people.

use std::time::Duration;

use octopoid_core::{
    clock::Timestamp,
    engine::{TaskView, Why},
    model::{Priority, QueueKind, QueueName},
};

use super::{Output, Tone};

/// A length of time in its largest units.
pub(crate) fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..=59 => format!("{seconds}s"),
        60..=3599 => format!("{}m {}s", seconds / 60, seconds % 60),
        3600..=86_399 => format!("{}h {}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d {}h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// How long before `now` a moment was.
pub(crate) fn ago(at: Timestamp, now: Timestamp) -> String {
    format!("{} ago", duration(now.since(at)))
}

/// Tasks under a heading for each queue, in the order of a task's life.
pub(crate) fn task_rows(output: &Output, tasks: &[TaskView], counts: impl Fn(&QueueName) -> usize) -> String {
    let mut queues: Vec<&QueueName> = Vec::new();
    for task in tasks {
        if !queues.contains(&&task.task.queue) {
            queues.push(&task.task.queue);
        }
    }
    queues.sort_by_key(|q| {
        QueueName::BUILT_IN
            .iter()
            .position(|(name, _)| *name == q.as_str())
            .unwrap_or(3)
    });
    let mut text = String::new();
    for queue in queues {
        let heading = format!("{} ({}):", queue.as_str().to_uppercase(), counts(queue));
        text.push_str(&output.paint(Tone::Strong, &heading));
        text.push('\n');
        for view in tasks.iter().filter(|t| t.task.queue == *queue) {
            let task = &view.task;
            let priority = match task.priority {
                Priority::P0 => output.paint(Tone::Bad, "P0"),
                Priority::P1 => output.paint(Tone::Warn, "P1"),
                other => other.to_string(),
            };
            let mut note = String::new();
            if view.blocked {
                let blockers: Vec<_> = view.blocked_by.iter().map(ToString::to_string).collect();
                note.push_str(&format!("  (blocked by {})", blockers.join(", ")));
            }
            if let Some(reason) = &task.hold {
                note.push_str(&format!("  (on hold: {reason})"));
            }
            if let Some(agent) = &task.claimed_by {
                note.push_str(&format!("  [{agent}]"));
            }
            if let Some(code) = &task.attention {
                note.push_str(&format!("  ({code})"));
            }
            text.push_str(&format!(
                "  {priority} {} - {}  {}{}\n",
                task.id,
                task.role,
                task.title,
                output.paint(Tone::Faint, &note)
            ));
        }
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text
}

/// One task with everything that belongs to it.
pub(crate) fn task_text(output: &Output, view: &TaskView, now: Timestamp) -> String {
    let task = &view.task;
    let mut text = format!("{}  {}\n", output.paint(Tone::Strong, task.id.as_str()), task.title);
    let mut line = |name: &str, value: String| {
        if !value.is_empty() {
            text.push_str(&format!("  {name:<12} {value}\n"));
        }
    };
    line("queue", task.queue.to_string());
    line("waits for", task.awaiting.clone().unwrap_or_default());
    line("priority", task.priority.to_string());
    line("role", task.role.to_string());
    line("complexity", task.complexity.map(|c| c.to_string()).unwrap_or_default());
    line("flow", task.flow.clone());
    line("base", task.branch.clone());
    line("branch", view.work_branch.clone());
    let blockers = view
        .blockers
        .iter()
        .flatten()
        .map(|b| format!("{} ({})", b.id, b.queue))
        .collect::<Vec<_>>();
    line("blocked by", blockers.join(", "));
    line("on hold", task.hold.clone().unwrap_or_default());
    line("claimed by", task.claimed_by.clone().unwrap_or_default());
    line("head", task.head_sha.clone().unwrap_or_default());
    line("merged", task.merged_sha.clone().unwrap_or_default());
    line("attention", task.attention.clone().unwrap_or_default());
    line("pull request", task.pr_url.clone().unwrap_or_default());
    line("checks", task.checks.join("; "));
    line("paths", task.paths.join(" "));
    line("created", ago(task.created_at, now));
    if let Some(usage) = view.usage.as_ref().filter(|u| u.turns > 0 || u.input_tokens > 0) {
        let cost = format!(
            "{} turns, {} tokens in, {} out, ${:.4}",
            usage.turns, usage.input_tokens, usage.output_tokens, usage.cost_usd
        );
        line("usage", cost);
    }
    let attempts = view.attempts.as_deref().unwrap_or_default();
    if !attempts.is_empty() {
        text.push_str("\nAttempts:\n");
        for a in attempts {
            let outcome = a.outcome.map_or_else(|| "running".to_owned(), |o| o.to_string());
            let failure = a.failure.as_ref().map(|f| format!(" ({f})")).unwrap_or_default();
            let took = duration(a.ended_at.unwrap_or(now).since(a.started_at));
            text.push_str(&format!(
                "  {}. {} by {}: {outcome}{failure}, {took}, {} commits\n",
                a.number, a.kind, a.agent, a.evidence.commits
            ));
        }
    }
    let thread = view.thread.as_deref().unwrap_or_default();
    if !thread.is_empty() {
        text.push_str("\nThread:\n");
        for m in thread {
            text.push_str(&format!("  {} {} by {}:\n", m.at, m.kind, m.from));
            m.content.lines().for_each(|l| text.push_str(&format!("    {l}\n")));
        }
    }
    text.push_str("\nBody:\n");
    task.content.lines().for_each(|l| text.push_str(&format!("  {l}\n")));
    text
}

/// Why a task is where it is.
pub(crate) fn why_text(output: &Output, why: &Why) -> String {
    let tone = if why.queue.kind() == QueueKind::Attention {
        Tone::Bad
    } else {
        Tone::Strong
    };
    let mut text = format!("{}  {}\n\n", why.id, why.title);
    text.push_str(&format!("It is in {}", output.paint(tone, why.queue.as_str())));
    match &why.held_by {
        Some(held) => text.push_str(&format!(": {held}.\n")),
        None => text.push_str(".\n"),
    }
    if !why.tried.is_empty() {
        text.push_str("\nTried so far:\n");
        why.tried.iter().for_each(|t| text.push_str(&format!("  {t}\n")));
    }
    if let Some(error) = &why.last_error {
        text.push_str("\nLast error:\n");
        error.lines().take(12).for_each(|l| text.push_str(&format!("  {l}\n")));
    }
    if let Some(output) = why
        .last_output
        .as_ref()
        .filter(|o| why.last_error.as_ref().is_none_or(|e| !e.contains(o.trim())))
    {
        text.push_str("\nThe end of its output:\n");
        let lines: Vec<&str> = output.lines().collect();
        lines[lines.len().saturating_sub(15)..]
            .iter()
            .for_each(|l| text.push_str(&format!("  {l}\n")));
    }
    text.push_str(&format!("\nNext: {}.\n", why.next));
    if !why.commands.is_empty() {
        text.push_str("\nWhat helps:\n");
        why.commands.iter().for_each(|c| text.push_str(&format!("  {c}\n")));
    }
    text
}
