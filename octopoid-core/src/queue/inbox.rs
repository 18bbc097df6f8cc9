//! What waits for a person, and a person's answers to it.

use serde::Serialize;
use serde_json::{Value, json};

use super::Octopoid;
use crate::{
    error::{Error, ErrorCode, Result},
    flow::actor,
    id::TaskId,
    lifecycle::Failure,
    model::{QueueKind, Task},
};

/// How many proposals are asked for at once.
const PROPOSALS: &str = "200";

/// Why something waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum InboxKind {
    /// Handed in, and no agent of this project reviews it.
    Review,
    /// An agent asks something.
    Question,
    /// Octopoid cannot go on by itself.
    Attention,
    /// Somebody proposes to do something.
    Proposal,
}

/// Something that waits for a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InboxItem {
    /// The task or the action.
    pub id: String,
    /// Why it waits.
    pub kind: InboxKind,
    /// The task's title, or what is proposed.
    pub title: String,
    /// The question, what went wrong, or what the proposal is about.
    pub text: Option<String>,
    /// Answers; a question takes any other text too.
    pub choices: Vec<&'static str>,
}

/// What became of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Answered {
    /// The task or the action.
    pub id: String,
    /// What was done: one of the choices, or `answer` where a question was answered in words.
    pub choice: &'static str,
    /// Where it is now: a task's queue, or an action's status.
    pub state: String,
}

impl InboxKind {
    /// The answers that it takes.
    const fn choices(self) -> &'static [&'static str] {
        match self {
            Self::Review => &["approve", "reject"],
            Self::Question | Self::Attention => &["retry", "cancel"],
            Self::Proposal => &["execute", "dismiss"],
        }
    }

    /// Why a task waits for an answer that a person may give, if it does.
    fn of(task: &Task) -> Option<Self> {
        match task.kind() {
            QueueKind::Attention if task.attention.as_deref() == Some(Failure::Question.as_str()) => {
                Some(Self::Question)
            }
            QueueKind::Attention => Some(Self::Attention),
            QueueKind::Review if task.claim_token.is_none() && task.awaiting.as_deref() != Some(actor::ENGINE) => {
                Some(Self::Review)
            }
            _ => None,
        }
    }
}

fn is_action(id: &str) -> bool {
    id.starts_with("act-")
}

fn word(row: &Value, name: &str) -> Option<String> {
    row.get(name)?.as_str().map(str::to_owned)
}

impl Octopoid {
    /// What waits for a person: tasks by their own order, then proposals, the newest first. While the server is away, only
    /// tasks.
    pub async fn inbox(&self) -> Result<Vec<InboxItem>> {
        let status = self.status().await?;
        let mut items = Vec::new();
        for task in status.attention.iter().chain(&status.review) {
            let Some(kind) = InboxKind::of(task) else { continue };
            if self.has_agent_for(task) {
                continue;
            }
            let text = match kind {
                InboxKind::Review => None,
                InboxKind::Question => known(self.question(&task.id).await)?.flatten(),
                _ => known(self.backend().why(&task.id).await)?.and_then(|why| why.last_error),
            };
            items.push(InboxItem {
                id: task.id.to_string(),
                kind,
                title: task.title.clone(),
                text: text.or_else(|| task.attention.clone()),
                choices: kind.choices().to_vec(),
            });
        }
        // Proposals are not copied; the tasks are all that is known without the server.
        let proposals = known(self.proposals().await)?.unwrap_or_default();
        items.extend(proposals.iter().map(|row| InboxItem {
            id: word(row, "id").unwrap_or_default(),
            kind: InboxKind::Proposal,
            title: word(row, "label").unwrap_or_default(),
            text: word(row, "description"),
            choices: InboxKind::Proposal.choices().to_vec(),
        }));
        Ok(items)
    }

    /// Whether an agent of this project is the one that acts on a task.
    fn has_agent_for(&self, task: &Task) -> bool {
        task.awaiting.as_ref().is_some_and(|who| {
            let mut blueprints = self.settings().blueprints.iter();
            blueprints.any(|b| !b.paused && b.answers_to().contains(who))
        })
    }

    /// What the agent asked last.
    async fn question(&self, id: &TaskId) -> Result<Option<String>> {
        let messages = self.backend().messages(id).await?;
        let asked = messages.into_iter().rev().find(|m| m.kind == "question");
        Ok(asked.map(|m| m.content))
    }

    /// Answers something of the inbox. `reason` is needed for `reject`, and kept with `cancel` and `dismiss`. Any other text is
    /// the answer to a question: it is put into the task's thread, and the task starts again.
    pub async fn answer(&self, id: &str, choice: &str, reason: Option<&str>, by: &str) -> Result<Answered> {
        let choice = choice.trim();
        if choice.is_empty() {
            return Err(Error::invalid("the answer is empty").with_hint("`octopoid inbox` shows the choices"));
        }
        if reason.is_some_and(|r| !r.trim().is_empty()) && !matches!(choice, "reject" | "cancel" | "dismiss") {
            return Err(Error::invalid(format!(
                "a reason goes with reject, cancel and dismiss, not with {choice:?}"
            ))
            .with_hint("the answer to a question is the text itself: octopoid answer ID \"…\""));
        }
        let (choice, state) = if is_action(id) {
            self.answer_proposal(id, choice, reason, by).await?
        } else {
            let (choice, task) = self.answer_task(&TaskId::parse(id)?, choice, reason, by).await?;
            (choice, task.queue.to_string())
        };
        Ok(Answered {
            id: id.to_owned(),
            choice,
            state,
        })
    }

    async fn answer_task(
        &self,
        id: &TaskId,
        choice: &str,
        reason: Option<&str>,
        by: &str,
    ) -> Result<(&'static str, Task)> {
        let tasks = self.tasks();
        let task = tasks.get(id).await?;
        let Some(kind) = InboxKind::of(&task) else {
            return Err(Error::new(
                ErrorCode::IllegalTransition,
                format!("task {id} waits for no person's answer; it is in {}", task.queue),
            )
            .with_hint(format!("`octopoid why {id}` tells what it waits for")));
        };
        match (kind, choice) {
            (InboxKind::Review, "approve") => Ok(("approve", tasks.approve(id, by).await?)),
            (InboxKind::Review, "reject") => {
                let reason = reason.map(str::trim).filter(|r| !r.is_empty()).ok_or_else(|| {
                    Error::invalid("a rejection needs a reason; the next attempt gets it")
                        .with_hint(format!("octopoid answer {id} reject --reason \"…\""))
                })?;
                Ok(("reject", tasks.reject(id, by, reason).await?))
            }
            (InboxKind::Question | InboxKind::Attention, "retry") => Ok(("retry", tasks.retry(id, by).await?)),
            (InboxKind::Question | InboxKind::Attention, "cancel") => {
                Ok(("cancel", tasks.cancel(id, by, reason.unwrap_or_default()).await?))
            }
            // Meant for something else: the task is not any more what the person looked at.
            (InboxKind::Question, word @ ("approve" | "reject" | "execute" | "dismiss")) => {
                Err(unknown(id.as_str(), word, kind))
            }
            (InboxKind::Question, text) => {
                let message = json!({ "task_id": id, "from_actor": by, "type": "answer", "content": text });
                // The answer first: a task that starts again without it would only ask again.
                self.messages().create(message).await?;
                Ok(("answer", tasks.retry(id, by).await?))
            }
            (kind, other) => Err(unknown(id.as_str(), other, kind)),
        }
    }

    async fn answer_proposal(
        &self,
        id: &str,
        choice: &str,
        reason: Option<&str>,
        by: &str,
    ) -> Result<(&'static str, String)> {
        let (choice, row) = match choice {
            "execute" => ("execute", self.actions().execute(id).await?),
            "dismiss" => {
                let waiting = self.proposals().await?;
                if !waiting.iter().any(|row| word(row, "id").as_deref() == Some(id)) {
                    return Err(Error::new(
                        ErrorCode::IllegalTransition,
                        format!("{id} is no proposal that waits for an answer"),
                    )
                    .with_hint("`octopoid inbox` shows those that do"));
                }
                let result = json!({ "dismissed_by": by, "reason": reason });
                ("dismiss", self.actions().fail(id, result).await?)
            }
            other => return Err(unknown(id, other, InboxKind::Proposal)),
        };
        Ok((choice, word(&row, "status").unwrap_or_default()))
    }

    async fn proposals(&self) -> Result<Vec<Value>> {
        let mut rows: Vec<Value> = Vec::new();
        loop {
            let offset = rows.len().to_string();
            let page = [
                ("status", "proposed"),
                ("limit", PROPOSALS),
                ("offset", offset.as_str()),
            ];
            let listing = self.actions().list(&page).await?;
            let is_last = listing.rows.is_empty() || rows.len() + listing.rows.len() >= listing.total;
            rows.extend(listing.rows);
            if is_last {
                return Ok(rows);
            }
        }
    }
}

/// What was answered; nothing while the server is away.
fn known<T>(answer: Result<T>) -> Result<Option<T>> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(error) if matches!(error.code(), ErrorCode::Offline | ErrorCode::Timeout) => Ok(None),
        Err(error) => Err(error),
    }
}

fn unknown(id: &str, choice: &str, kind: InboxKind) -> Error {
    Error::invalid(format!(
        "{choice:?} is no answer to {id}; allowed: {}",
        kind.choices().join(", ")
    ))
}
