//! `octopoid mcp`: the queue as tools of the Model Context Protocol, for a person's own assistant.

use octopoid_core::{
    Error, ErrorCode, Octopoid,
    id::TaskId,
    model::{CreateTask, Priority, QueueName, Role, TaskFilter},
};
use rmcp::{
    ServiceExt as _,
    handler::server::wrapper::Parameters,
    model::CallToolResult,
    schemars::{self, JsonSchema},
    tool, tool_handler, tool_router,
    transport::io::stdio_pipes,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{may_accept, me};
use crate::{cli::Global, open};

/// Tasks of one answer when no limit is asked for.
const PAGE: u32 = 50;

/// Serves the tools on standard input and output until the input ends.
pub(crate) async fn run(global: &Global) -> Result<u8, Error> {
    may_accept()?;
    let server = Server {
        octopoid: open(global)?,
    };
    let broke = |what: String| Error::new(ErrorCode::Io, format!("the client of the tools is gone: {what}"));
    let service = server.serve(stdio_pipes()).await.map_err(|e| broke(e.to_string()))?;
    service.waiting().await.map_err(|e| broke(e.to_string()))?;
    Ok(0)
}

struct Server {
    octopoid: Octopoid,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// Only these queues, such as `incoming`, `claimed`, `provisional`, `needs_attention`, `done`.
    #[serde(default)]
    queues: Vec<String>,
    /// At most so many; 50 when not given.
    limit: Option<u32>,
    /// Skip so many.
    #[serde(default)]
    offset: u32,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OneTask {
    /// The task's id, such as `task-1a2b3c4d`.
    id: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NewTask {
    /// What should change, in a line.
    title: String,
    /// What should change, in full, as markdown.
    body: Option<String>,
    /// `P0` (first) to `P3`; `P2` when not given.
    priority: Option<String>,
    /// What an agent does with it, such as `implement`.
    role: Option<String>,
    /// Ids of tasks that must be done first.
    #[serde(default)]
    after: Vec<String>,
    /// Commands that must pass besides the project's own.
    #[serde(default)]
    checks: Vec<String>,
    /// Globs of the files that may be changed; all when empty.
    #[serde(default)]
    paths: Vec<String>,
    /// The same key gives the same task again.
    idempotency_key: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CallOff {
    /// The task's id.
    id: String,
    /// Why.
    #[serde(default)]
    reason: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct AnswerTo {
    /// The id of the item.
    id: String,
    /// One of its choices; for a question, any text.
    choice: String,
    /// Why; needed to reject.
    reason: Option<String>,
}

type Told = Result<CallToolResult, rmcp::ErrorData>;

/// What came out as the tool's result; refusals are results too, so that the assistant reads them.
fn told<T: Serialize>(result: Result<T, Error>) -> Told {
    let value = result.and_then(|value| {
        serde_json::to_value(value).map_err(|e| Error::new(ErrorCode::Internal, format!("no JSON: {e}")))
    });
    Ok(match value {
        Ok(value) => CallToolResult::structured(value),
        Err(error) => CallToolResult::structured_error(
            json!({ "code": error.code().as_str(), "error": error.to_string(), "hint": error.hint() }),
        ),
    })
}

fn ids(texts: &[String]) -> Result<Vec<TaskId>, Error> {
    texts.iter().map(|text| TaskId::parse(text)).collect()
}

impl Server {
    async fn page(&self, wanted: Wanted) -> Result<serde_json::Value, Error> {
        let filter = TaskFilter {
            queues: wanted
                .queues
                .iter()
                .map(|q| QueueName::parse(q))
                .collect::<Result<_, _>>()?,
            limit: Some(wanted.limit.unwrap_or(PAGE)),
            offset: wanted.offset,
            ..TaskFilter::default()
        };
        let tasks = self.octopoid.tasks();
        let page = tasks.list(&filter).await?;
        let (total, offset, limit) = (page.total, page.offset, page.limit);
        let views = tasks.views(page.tasks).await?;
        Ok(json!({ "tasks": views, "total": total, "offset": offset, "limit": limit }))
    }

    async fn create(&self, new: NewTask) -> Result<octopoid_core::model::Task, Error> {
        let request = CreateTask {
            title: Some(new.title),
            content: new.body,
            priority: new.priority.as_deref().map(str::parse::<Priority>).transpose()?,
            role: new.role.as_deref().map(Role::parse).transpose()?,
            blocked_by: ids(&new.after)?,
            checks: new.checks,
            paths: new.paths,
            idempotency_key: new.idempotency_key,
            created_by: Some(me()),
            ..CreateTask::default()
        };
        self.octopoid.tasks().create(request).await
    }
}

#[tool_router]
impl Server {
    /// How everything stands: tasks per queue, what is at work, what waits for a person.
    #[tool(annotations(read_only_hint = true))]
    async fn status(&self) -> Told {
        told(self.octopoid.status().await)
    }

    /// Tasks, the most urgent first.
    #[tool(annotations(read_only_hint = true))]
    async fn list_tasks(&self, Parameters(wanted): Parameters<Wanted>) -> Told {
        told(self.page(wanted).await)
    }

    /// One task with its body, blockers, attempts, thread and usage.
    #[tool(annotations(read_only_hint = true))]
    async fn show_task(&self, Parameters(one): Parameters<OneTask>) -> Told {
        told(async { self.octopoid.tasks().show(&TaskId::parse(&one.id)?).await }.await)
    }

    /// Why a task is where it is: what holds it, what was tried, what went wrong, what helps.
    #[tool(annotations(read_only_hint = true))]
    async fn why_task(&self, Parameters(one): Parameters<OneTask>) -> Told {
        told(async { self.octopoid.tasks().why(&TaskId::parse(&one.id)?).await }.await)
    }

    /// Writes down what should change; an agent works on it, and it is checked, reviewed and merged.
    #[tool(annotations(destructive_hint = false))]
    async fn create_task(&self, Parameters(new): Parameters<NewTask>) -> Told {
        told(self.create(new).await)
    }

    /// Calls a task off; its agent is ended, its work is kept.
    #[tool(annotations(destructive_hint = true))]
    async fn cancel_task(&self, Parameters(off): Parameters<CallOff>) -> Told {
        told(
            async {
                self.octopoid
                    .tasks()
                    .cancel(&TaskId::parse(&off.id)?, &me(), &off.reason)
                    .await
            }
            .await,
        )
    }

    /// Starts a failed, cancelled or stuck task again, with fresh limits and its work kept.
    #[tool(annotations(destructive_hint = false))]
    async fn retry_task(&self, Parameters(one): Parameters<OneTask>) -> Told {
        told(async { self.octopoid.tasks().retry(&TaskId::parse(&one.id)?, &me()).await }.await)
    }

    /// What waits for a person: reviews, questions of agents, what is stuck, proposals; each with its choices.
    #[tool(annotations(read_only_hint = true))]
    async fn inbox(&self) -> Told {
        told(self.octopoid.inbox().await.map(|items| json!({ "items": items })))
    }

    /// Answers an item of the inbox, in the name of the person who asked for it. Approving has the work merged.
    #[tool(annotations(destructive_hint = true))]
    async fn answer(&self, Parameters(to): Parameters<AnswerTo>) -> Told {
        told(
            self.octopoid
                .answer(&to.id, &to.choice, to.reason.as_deref(), &me())
                .await,
        )
    }
}

#[tool_handler(
    name = "octopoid",
    instructions = "The queue of a repository whose tasks coding agents work on. Create tasks, see how they stand, and answer what waits for the person you work for; approve only what that person told you to."
)]
impl rmcp::ServerHandler for Server {}
