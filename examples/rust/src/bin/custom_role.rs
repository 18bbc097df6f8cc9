//! Roles of one's own: one that notes tasks in a changelog, one that reviews it. Claim, worktree, commit, checks and
//! merge are done for them.
//!
//! ```text
//! custom_role REPOSITORY [TITLE]        a git repository with a commit; the queue is in it
//! ```
#![allow(clippy::print_stdout, reason = "an example talks")]

use std::{fs, io, process::ExitCode};

use octopoid_core::{Result, git::tools, model, orchestrator::Ended, prelude::*};
use octopoid_examples::{arguments, end};

/// Adds the task's title to CHANGELOG.md. What it writes is committed for it.
#[derive(Debug)]
struct Changelog;

#[async_trait]
impl Role for Changelog {
    fn name(&self) -> &str {
        "changelog"
    }

    async fn run(&self, cx: &Assignment) -> Result<Outcome, RoleError> {
        let file = cx.worktree.join("CHANGELOG.md");
        let mut text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => "# Changelog\n\n".to_owned(),
            Err(e) => return Err(Error::io("read", &file, e).into()),
        };
        text.push_str(&format!("* {}\n", cx.task.title));
        fs::write(&file, text).map_err(|e| Error::io("write", &file, e))?;
        cx.log(&format!("attempt {}: one line more", cx.attempt.number))?;
        Ok(Outcome::done(format!("noted: {}", cx.task.title)))
    }
}

/// Approves what changes nothing but the changelog.
#[derive(Debug)]
struct Review;

#[async_trait]
impl Role for Review {
    fn name(&self) -> &str {
        "gatekeeper"
    }

    async fn run(&self, cx: &Assignment) -> Result<Outcome, RoleError> {
        let stat = tools::diff_stat(&cx.worktree, &cx.base_sha)?;
        if stat.files != 1 || !cx.worktree.join("CHANGELOG.md").exists() {
            return Ok(Outcome::verdict(
                Verdict::Reject,
                format!("change the changelog and nothing else; {} files differ", stat.files),
            ));
        }
        Ok(Outcome::verdict(
            Verdict::Approve,
            format!("{} new lines", stat.insertions),
        ))
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    end(run().await)
}

async fn run() -> Result<ExitCode> {
    let given = arguments(1..=2, "custom_role REPOSITORY [TITLE]")?;
    let repo = &given[0];
    let octopoid = Octopoid::local(repo)?;
    let wanted = CreateTask {
        title: Some(
            given
                .get(1)
                .cloned()
                .unwrap_or_else(|| "Roles may be written in Rust".into()),
        ),
        role: Some(model::Role::parse("changelog")?),
        ..CreateTask::default()
    };
    let task = octopoid.tasks().create(wanted).await?;

    let mut orchestrator = Orchestrator::builder()
        .octopoid(octopoid.clone())
        .repo(repo)
        .role(Changelog)
        .role(Review)
        .build()?;
    let mut notices = orchestrator.notices();
    let ended = orchestrator.run_once().await?;
    while let Ok(notice) = notices.try_recv() {
        println!("{}", notice.text);
    }
    println!("{} is {}", task.id, octopoid.tasks().get(&task.id).await?.queue);
    let is_clean = ended == Ended::Clean;
    Ok(if is_clean { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
