//! What people and scripts are shown of a task, and why it is where it is.

use serde::{Deserialize, Serialize};

use super::Engine;
use crate::{
    clock::Timestamp,
    error::Result,
    flow::actor,
    id::TaskId,
    model::{Attempt, AttemptOutcome, Blocker, Message, QueueKind, QueueName, Review, Task, Usage},
    store::QueueCount,
};

/// A task as JSON shows it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TaskView {
    /// The stored columns.
    #[serde(flatten)]
    pub task: Task,
    /// Whether it waits for blockers.
    pub blocked: bool,
    /// What it waits for, done or not.
    pub blocked_by: Vec<TaskId>,
    /// Blockers with the queue that each is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blockers: Option<Vec<Blocker>>,
    /// Attempts, oldest first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<Vec<Attempt>>,
    /// Feedback, questions, failures, oldest first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread: Option<Vec<Message>>,
    /// Verdicts, oldest first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reviews: Option<Vec<Review>>,
    /// The branch that carries the work.
    pub work_branch: String,
    /// Sum over the attempts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
}

/// Why a task is where it is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Why {
    /// The task.
    pub id: TaskId,
    /// Its title.
    pub title: String,
    /// Where it is.
    pub queue: QueueName,
    /// Who has to act.
    pub awaiting: Option<String>,
    /// What holds it, in a sentence; null when nothing does.
    pub held_by: Option<String>,
    /// What was tried so far, one line for each attempt.
    pub tried: Vec<String>,
    /// What went wrong last.
    pub last_error: Option<String>,
    /// The end of the output that goes with it.
    pub last_output: Option<String>,
    /// What happens next.
    pub next: String,
    /// Commands that help.
    pub commands: Vec<String>,
}

/// Counts and claims, in one look.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Status {
    /// Tasks per queue, in the order of a task's life.
    pub queues: Vec<QueueCount>,
    /// Claimed tasks.
    pub running: Vec<Task>,
    /// Tasks that a person has to look at.
    pub attention: Vec<Task>,
    /// Tasks that wait for a person's review.
    pub review: Vec<Task>,
}

impl Engine {
    /// The tasks of a page as JSON shows them.
    pub async fn views(&self, tasks: Vec<Task>) -> Result<Vec<TaskView>> {
        let ids: Vec<TaskId> = tasks.iter().map(|t| t.id.clone()).collect();
        let mut blockers = self
            .store
            .blockers_of(&self.rules.scope, &ids)
            .await?
            .into_iter()
            .peekable();
        let mut views = Vec::with_capacity(tasks.len());
        for task in tasks {
            let mut blocked_by = Vec::new();
            while let Some((_, blocker)) = blockers.next_if(|(id, _)| *id == task.id) {
                blocked_by.push(blocker.id);
            }
            views.push(view(task, blocked_by));
        }
        Ok(views)
    }

    /// One task with everything that belongs to it.
    pub async fn show(&self, id: &TaskId) -> Result<TaskView> {
        let task = self.task(id).await?;
        let blockers = self.store.blockers(&self.rules.scope, id).await?;
        let attempts = self.attempts(id).await?;
        let usage = attempts.iter().fold(Usage::default(), |sum, a| Usage {
            input_tokens: sum.input_tokens.saturating_add(a.usage.input_tokens),
            output_tokens: sum.output_tokens.saturating_add(a.usage.output_tokens),
            cost_usd: sum.cost_usd + a.usage.cost_usd,
            turns: sum.turns.saturating_add(a.usage.turns),
        });
        Ok(TaskView {
            attempts: Some(attempts),
            thread: Some(self.messages(id).await?),
            reviews: Some(self.reviews(id).await?),
            usage: Some(usage),
            blockers: Some(blockers.clone()),
            ..view(task, blockers.into_iter().map(|b| b.id).collect())
        })
    }

    /// Tasks per queue, in the order of a task's life.
    pub async fn status_counts(&self) -> Result<Vec<QueueCount>> {
        let mut queues = self.store.counts(&self.rules.scope).await?;
        let place = |queue: &QueueName| {
            QueueName::BUILT_IN
                .iter()
                .position(|(name, _)| *name == queue.as_str())
                .unwrap_or(usize::MAX)
        };
        queues.sort_by_key(|c| (place(&c.queue), c.queue.clone()));
        Ok(queues)
    }

    /// Counts, claims, and what needs a person.
    pub async fn status(&self) -> Result<Status> {
        let scope = &self.rules.scope;
        let queues = self.status_counts().await?;
        let mut unfinished = Vec::new();
        for count in queues
            .iter()
            .filter(|c| matches!(c.queue.kind(), QueueKind::Attention | QueueKind::Review))
        {
            let filter = crate::model::TaskFilter {
                queues: vec![count.queue.clone()],
                limit: Some(200),
                ..crate::model::TaskFilter::default()
            };
            unfinished.extend(self.store.list(scope, &filter).await?.tasks);
        }
        let (attention, reviews): (Vec<_>, Vec<_>) =
            unfinished.into_iter().partition(|t| t.kind() == QueueKind::Attention);
        let review = reviews.into_iter().filter(|t| t.claim_token.is_none()).collect();
        Ok(Status {
            queues,
            running: self.claimed().await?,
            attention,
            review,
        })
    }

    /// Where a task is, what holds it, what was tried, and what helps.
    pub async fn why(&self, id: &TaskId) -> Result<Why> {
        let task = self.task(id).await?;
        let blockers = self.store.blockers(&self.rules.scope, id).await?;
        let attempts = self.attempts(id).await?;
        let tried = attempts.iter().map(tell_attempt).collect();
        let last = attempts.iter().rev().find(|a| {
            matches!(a.outcome, Some(o) if !matches!(o, AttemptOutcome::Submitted | AttemptOutcome::Approved | AttemptOutcome::Superseded))
        });
        let failed_check = last.and_then(|a| a.evidence.checks.iter().find(|c| !c.passed));
        let last_output = failed_check
            .map(|c| c.tail.clone())
            .or_else(|| last.and_then(|a| a.evidence.tail.clone()))
            .filter(|t| !t.trim().is_empty());
        let last_error = match (&task.attention, last.and_then(|a| a.reason.clone())) {
            (Some(code), Some(reason)) => Some(format!("{code}: {reason}")),
            (Some(code), None) => Some(format!("{code}: {}", task.execution_notes.clone().unwrap_or_default())),
            (None, reason) => reason,
        };
        let (held_by, next, commands) = self.outlook(&task, &blockers);
        Ok(Why {
            id: task.id,
            title: task.title,
            queue: task.queue,
            awaiting: task.awaiting,
            held_by,
            tried,
            last_error,
            last_output,
            next,
            commands,
        })
    }

    fn outlook(&self, task: &Task, blockers: &[Blocker]) -> (Option<String>, String, Vec<String>) {
        let id = &task.id;
        let command = |text: &str| format!("octopoid {}", text.replace("ID", id.as_str()));
        if let Some(reason) = &task.hold {
            return (
                Some(format!("on hold: {reason}")),
                "it stays until the hold is lifted".into(),
                vec![command("unhold ID")],
            );
        }
        if task.is_blocked() {
            let open: Vec<_> = blockers.iter().filter(|b| b.queue.kind() != QueueKind::Done).collect();
            let names: Vec<_> = open.iter().map(|b| format!("{} ({})", b.id, b.queue)).collect();
            let held = Some(format!("blocked by {}", names.join(", ")));
            let dead: Vec<_> = open.iter().filter(|b| b.queue.kind().is_terminal()).collect();
            if let Some(blocker) = dead.first() {
                let next = format!(
                    "{} is {}; it releases nobody, so this task waits until you decide",
                    blocker.id, blocker.queue
                );
                let commands = vec![
                    format!("octopoid recover {} --to incoming --reason …", blocker.id),
                    command("edit ID --after OTHER"),
                    command("cancel ID"),
                ];
                return (held, next, commands);
            }
            return (
                held,
                "it can be claimed when all of them are done".into(),
                vec![format!("octopoid why {}", open.first().map_or("", |b| b.id.as_str()))],
            );
        }
        if let Some(at) = task.not_before.filter(|at| *at > self.now()) {
            return (
                Some(format!("waiting until {at} after a passing trouble")),
                "it is tried again then".into(),
                vec![command("logs ID")],
            );
        }
        let owner = task.claimed_by.as_deref().unwrap_or("");
        let awaiting = task.awaiting.as_deref().unwrap_or("");
        match task.kind() {
            QueueKind::Waiting => (
                None,
                format!("an orchestrator gives it to an agent with the role {awaiting}"),
                vec!["octopoid start".into(), "octopoid status".into()],
            ),
            QueueKind::Working => (
                None,
                format!("{owner} works on it; then the checks run on its commit"),
                vec![command("logs ID -f"), command("cancel ID")],
            ),
            QueueKind::Review if task.claim_token.is_some() && awaiting == actor::ENGINE => (
                None,
                format!("it is being merged into {}", task.branch),
                vec![command("show ID")],
            ),
            QueueKind::Review if task.claim_token.is_some() => {
                (None, format!("{owner} reviews it"), vec![command("logs ID -f")])
            }
            QueueKind::Review if awaiting == actor::ENGINE => (
                None,
                format!("it is approved; an orchestrator merges it into {}", task.branch),
                vec!["octopoid start".into()],
            ),
            QueueKind::Review => {
                let who = if awaiting == actor::HUMAN {
                    "you".to_owned()
                } else {
                    format!("an agent {awaiting}, or you,")
                };
                (
                    None,
                    format!("{who} must review {}", task.head_sha.as_deref().unwrap_or("it")),
                    vec![
                        command("diff ID"),
                        command("approve ID"),
                        command("reject ID --reason …"),
                    ],
                )
            }
            QueueKind::Attention if task.attention.as_deref() == Some("merge_conflict") => (
                Some("its work and the base branch changed the same lines".into()),
                format!(
                    "an agent with the role conflict takes it, or you resolve it in its worktree and recover it; both sides are kept ({} and {})",
                    task.work_branch(),
                    task.branch
                ),
                vec![
                    command("diff ID"),
                    command("recover ID --to provisional --reason …"),
                    command("retry ID"),
                ],
            ),
            QueueKind::Attention => (
                Some(format!(
                    "a person has to decide ({})",
                    task.attention.as_deref().unwrap_or("unknown")
                )),
                "nothing happens until you act; the work is kept".into(),
                vec![
                    command("logs ID"),
                    command("diff ID"),
                    command("retry ID"),
                    command("recover ID --to QUEUE --reason …"),
                    command("cancel ID"),
                ],
            ),
            QueueKind::Done => (
                None,
                format!("nothing; merged as {}", task.merged_sha.as_deref().unwrap_or("?")),
                vec![command("diff ID")],
            ),
            QueueKind::Failed | QueueKind::Cancelled => (
                None,
                "nothing; its work is kept".into(),
                vec![command("retry ID"), command("recover ID --to QUEUE --reason …")],
            ),
        }
    }

    /// What one orchestrator tick has to know: the earliest moment, if any, at which time alone changes something.
    pub async fn next_deadline(&self) -> Result<Option<Timestamp>> {
        let leases = self
            .claimed()
            .await?
            .into_iter()
            .filter_map(|t| t.lease_expires_at)
            .min();
        Ok([leases, self.next_retry().await?].into_iter().flatten().min())
    }
}

impl TaskView {
    /// A task without what belongs to it.
    pub(crate) fn of(task: Task, blocked_by: Vec<TaskId>) -> Self {
        view(task, blocked_by)
    }
}

fn view(task: Task, blocked_by: Vec<TaskId>) -> TaskView {
    TaskView {
        blocked: task.is_blocked(),
        work_branch: task.work_branch(),
        task,
        blocked_by,
        blockers: None,
        attempts: None,
        thread: None,
        reviews: None,
        usage: None,
    }
}

fn tell_attempt(a: &Attempt) -> String {
    let outcome = a.outcome.map_or("is running".to_owned(), |o| o.to_string());
    let reason = a
        .reason
        .as_deref()
        .map(|r| r.lines().next().unwrap_or_default())
        .filter(|r| !r.is_empty());
    let failure = a.failure.as_deref().map(|f| format!(" ({f})")).unwrap_or_default();
    let commits = if a.evidence.commits > 0 {
        format!(", {} commits", a.evidence.commits)
    } else {
        String::new()
    };
    format!(
        "{}. {} by {}: {outcome}{failure}{commits}{}",
        a.number,
        a.kind,
        a.agent,
        reason.map(|r| format!(": {r}")).unwrap_or_default()
    )
}
