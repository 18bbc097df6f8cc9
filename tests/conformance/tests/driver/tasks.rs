//! Calls on tasks; typed tasks are shown as the rows that the other languages get.

use std::time::Duration;

use octopoid_core::{
    Result,
    id::{ProjectId, TaskId},
    model::{Priority, QueueKind, QueueName, Role, Sort, Task, TaskFilter},
    queue::{HandIn, Take},
    wire::{self, Fields},
};
use serde_json::{Value, json};

use super::{Args, Player, maybe, nothing, plain, unknown};

/// Seconds of a lease when none are named.
const LEASE: i64 = 300;

fn lease(args: &mut Args) -> Duration {
    let seconds = args.int("lease_duration_seconds").unwrap_or(LEASE);
    Duration::from_secs(u64::try_from(seconds).unwrap())
}

fn filter(mut args: Args) -> Result<TaskFilter> {
    let queues = args.names("queue");
    let number = |n: Option<i64>| n.map(|n| u32::try_from(n).unwrap());
    let filter = TaskFilter {
        queues: queues.iter().map(|q| QueueName::parse(q)).collect::<Result<_>>()?,
        priorities: args
            .names("priority")
            .iter()
            .map(|p| p.parse::<Priority>())
            .collect::<Result<_>>()?,
        roles: args
            .names("role")
            .iter()
            .map(|r| Role::parse(r))
            .collect::<Result<_>>()?,
        types: args.names("type"),
        project_id: args
            .maybe_text("project_id")
            .map(|p| ProjectId::parse(&p))
            .transpose()?,
        blocked_by: args.id("blocked_by")?,
        claimed_by: args.maybe_text("claimed_by"),
        orchestrator_id: args.maybe_text("orchestrator_id"),
        open_only: args.value("open") == Some(json!(true)),
        sort: match args.maybe_text("sort").as_deref() {
            Some("priority") => Sort::Priority,
            Some("urgency") => Sort::Urgency,
            Some("newest") => Sort::Newest,
            other => panic!("a list must say its order in `sort`, not {other:?}; without one, languages differ"),
        },
        limit: number(args.int("limit")),
        offset: number(args.int("offset")).unwrap_or(0),
        ..TaskFilter::default()
    };
    args.end();
    Ok(filter)
}

impl Player {
    /// The row of a task, as the routes make it.
    async fn row(&self, task: Task) -> Result<Value> {
        let mut waits_for = Vec::new();
        if task.open_blockers > 0 {
            let view = self.octopoid.tasks().show(&task.id).await?;
            for blocker in view.blockers.unwrap_or_default() {
                if blocker.queue.kind() != QueueKind::Done {
                    waits_for.push(blocker.id);
                }
            }
        }
        Ok(wire::task_row(&task, &waits_for))
    }

    async fn rows(&self, tasks: Vec<Task>) -> Result<Vec<Value>> {
        let mut rows = Vec::with_capacity(tasks.len());
        for task in tasks {
            rows.push(self.row(task).await?);
        }
        Ok(rows)
    }

    pub(super) async fn tasks(&mut self, method: &str, mut args: Args) -> Result<Value> {
        match method {
            "create" => {
                let Value::Object(given) = args.rest() else {
                    unreachable!()
                };
                let request = wire::create_task(&Fields(given), false)?;
                let task = self.octopoid.tasks().create(request).await?;
                return self.row(task).await;
            }
            "list" => {
                let page = self.octopoid.tasks().list(&filter(args)?).await?;
                return Ok(json!({ "total": page.total, "rows": self.rows(page.tasks).await? }));
            }
            "claim" => return self.claim(args).await,
            _ => {}
        }
        let id = TaskId::parse(&args.text("task_id"))?;
        if let "renew" | "release" | "progress" | "submit" | "fail" = method {
            return self.as_holder(method, &id, args).await;
        }
        if let "update" = method {
            let Value::Object(given) = args.rest() else {
                unreachable!()
            };
            let (patch, ignored) = wire::patch_task(&Fields(given))?;
            assert!(ignored.is_empty(), "a task has no {ignored:?}");
            let task = self.octopoid.tasks().update(&id, "api", patch).await?;
            return self.row(task).await;
        }
        let tasks = self.octopoid.tasks();
        let by = ["accepted_by", "rejected_by", "by"]
            .iter()
            .find_map(|name| args.maybe_text(name))
            .unwrap_or_else(|| "api".to_owned());
        let reason = args.maybe_text("reason").unwrap_or_default();
        args.end();
        let task = match method {
            "get" => match tasks.get(&id).await {
                Ok(task) => task,
                Err(error) => return maybe(Err(error)),
            },
            "delete" => return nothing(tasks.delete(&id, &by).await),
            "attempts" => return Ok(json!({ "rows": plain(&tasks.attempts(&id).await?) })),
            "why" => return Ok(plain(&tasks.why(&id).await?)),
            "accept" => tasks.accept(&id, &by).await?,
            "reject" => tasks.reject(&id, &by, &reason).await?,
            "requeue" => tasks.requeue(&id, &by).await?,
            "retry" => tasks.retry(&id, &by).await?,
            "cancel" => tasks.cancel(&id, &by, &reason).await?,
            "hold" => tasks.hold(&id, &by, &reason).await?,
            "unhold" => tasks.unhold(&id, &by).await?,
            _ => unknown(method),
        };
        self.row(task).await
    }

    async fn claim(&mut self, mut args: Args) -> Result<Value> {
        let mut take = Take::new(&args.text("orchestrator_id"), args.text("agent_name"))?
            .roles(args.names("role_filter"))
            .lease(lease(&mut args));
        take.types = args.names("type_filter");
        if let Some(queue) = args.maybe_text("queue") {
            take = take.queue(QueueName::parse(&queue)?);
        }
        if let Some(seconds) = args.int("wait_seconds") {
            take = take.wait(Duration::from_secs(u64::try_from(seconds).unwrap()));
        }
        if args.value("fenced") == Some(json!(true)) {
            take = take.fenced();
        }
        args.end();
        let Some(claim) = self.octopoid.tasks().claim(take).await? else {
            return Ok(Value::Null);
        };
        self.tokens.insert(claim.task.id.to_string(), claim.token.clone());
        let mut row = self.row(claim.task).await?;
        row["claim_token"] = json!(claim.token);
        Ok(row)
    }

    /// What the holder of a claim writes, with its secret.
    async fn as_holder(&mut self, method: &str, id: &TaskId, mut args: Args) -> Result<Value> {
        let known = args
            .maybe_text("claim_token")
            .or_else(|| self.tokens.get(id.as_str()).cloned());
        let token = known.clone().unwrap_or_default();
        let tasks = self.octopoid.tasks();
        let task = match method {
            "renew" => {
                let lease = lease(&mut args);
                tasks.renew(id, &token, lease).await?
            }
            "release" => {
                let reason = args.maybe_text("reason").unwrap_or_default();
                tasks.release(id, &token, &reason).await?
            }
            "progress" => tasks.progress(id, &token, &args.text("note")).await?,
            "fail" => {
                let by = args.maybe_text("by").unwrap_or_else(|| "api".to_owned());
                tasks.fail(id, &by, &args.text("reason")).await?
            }
            _ => {
                let work = HandIn {
                    token: known,
                    commits: args.int("commits_count").unwrap_or(0),
                    turns: args.int("turns_used").unwrap_or(0),
                    check_results: args.maybe_text("check_results"),
                    notes: args.maybe_text("execution_notes"),
                };
                tasks.submit(id, work).await?
            }
        };
        args.end();
        if !matches!(method, "renew" | "progress") {
            self.tokens.remove(id.as_str());
        }
        self.row(task).await
    }
}
