//! A flow of one's own: a role reviews the work, then a script measures it, then it is merged.
//!
//! ```text
//! custom_flow REPOSITORY        a git repository with a commit; the queue is in it
//! ```
//!
//! The role's first try is too long: the script sends it back, and the second try is shorter.
#![allow(clippy::print_stdout, reason = "an example talks")]

use std::{fs, path::Path, process::ExitCode};

use octopoid_core::{Result, prelude::*};
use octopoid_examples::{arguments, end};

/// The engine runs the script on exactly the commit that was approved; exit code 0 is yes.
const FLOW: &str = r#"name: measured
description: After the review, a script measures
transitions:
  "incoming -> claimed": {agent: implement}
  "claimed -> provisional": {runs: [run_tests]}
  "provisional -> done":
    conditions:
      - {name: review, type: agent, agent: gatekeeper}
      - {name: short, type: script, script: "test $(wc -l < PAGE.md) -le 10", on_fail: incoming}
    runs: [rebase_on_base, run_tests, merge]
"#;

/// Writes a page: too long at first, shorter after it has been told so.
#[derive(Debug)]
struct Writer;

#[async_trait]
impl Role for Writer {
    fn name(&self) -> &str {
        "implement"
    }

    async fn run(&self, cx: &Assignment) -> Result<Outcome, RoleError> {
        let file = cx.worktree.join("PAGE.md");
        let lines = if cx.feedback.is_empty() { 30 } else { 5 };
        let text: String = (1..=lines)
            .map(|n| format!("Line {n} of {}.\n", cx.task.title))
            .collect();
        fs::write(&file, text).map_err(|e| Error::io("write", &file, e))?;
        Ok(Outcome::done(format!("{lines} lines")))
    }
}

#[derive(Debug)]
struct Reader;

#[async_trait]
impl Role for Reader {
    fn name(&self) -> &str {
        "gatekeeper"
    }

    async fn run(&self, _: &Assignment) -> Result<Outcome, RoleError> {
        Ok(Outcome::verdict(Verdict::Approve, "reads well"))
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    end(run().await)
}

fn write_flow(repo: &Path) -> Result<()> {
    let folder = repo.join(".octopoid/flows");
    fs::create_dir_all(&folder).map_err(|e| Error::io("create", &folder, e))?;
    let file = folder.join("measured.yaml");
    fs::write(&file, FLOW).map_err(|e| Error::io("write", &file, e))
}

async fn run() -> Result<ExitCode> {
    let given = arguments(1..=1, "custom_flow REPOSITORY")?;
    let repo = Path::new(&given[0]);
    write_flow(repo)?;

    // The handle reads the flows when it is opened.
    let octopoid = Octopoid::local(repo)?;
    let wanted = CreateTask {
        title: Some("A page about flows".into()),
        flow: Some("measured".into()),
        ..CreateTask::default()
    };
    let id = octopoid.tasks().create(wanted).await?.id;
    Orchestrator::builder()
        .octopoid(octopoid.clone())
        .repo(repo)
        .role(Writer)
        .role(Reader)
        .build()?
        .run_once()
        .await?;

    let view = octopoid.tasks().show(&id).await?;
    for message in view.thread.unwrap_or_default() {
        println!("{} from {}: {}", message.kind, message.from, message.content.trim());
    }
    for review in view.reviews.unwrap_or_default() {
        println!("{:?} by {}: {}", review.verdict, review.by, review.reason);
    }
    println!("{id} is {}", view.task.queue);
    let is_done = view.task.queue == QueueName::done();
    Ok(if is_done { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
