//! `octopoid doctor`: what is missing or wrong, each with its repair.

use octopoid_core::{
    Error, Octopoid,
    config::Paths,
    git::Repo,
    orchestrator::{DaemonInfo, Journal, Orchestrator},
};
use serde::Serialize;

use super::agents::program;
use crate::{
    cli::Global,
    directory,
    output::{Output, Tone},
};

#[derive(Debug, Serialize)]
struct Finding {
    ok: bool,
    what: String,
    repair: Option<String>,
}

fn good(what: impl Into<String>) -> Finding {
    Finding {
        ok: true,
        what: what.into(),
        repair: None,
    }
}

fn bad(what: impl Into<String>, repair: impl Into<String>) -> Finding {
    Finding {
        ok: false,
        what: what.into(),
        repair: Some(repair.into()),
    }
}

pub(crate) async fn run(global: &Global, output: &Output) -> Result<u8, Error> {
    let dir = directory(global)?;
    let mut found = Vec::new();
    found.push(match std::process::Command::new("git").arg("--version").output() {
        Ok(answer) if answer.status.success() => good(String::from_utf8_lossy(&answer.stdout).trim().to_owned()),
        _ => bad("the git program does not run", "install git and put it on the PATH"),
    });
    match Repo::discover(&dir) {
        Ok(repo) => {
            found.push(good(format!("repository {}", repo.root().display())));
            if !repo.has_identity() {
                found.push(bad(
                    "git has no user name and address here; commits are made as Octopoid",
                    "git config --global user.name \"…\" && git config --global user.email \"…\"",
                ));
            }
        }
        Err(error) => found.push(from_error(&error)),
    }
    match Octopoid::open(&dir) {
        Ok(octopoid) => project(&octopoid, &mut found).await?,
        Err(error) => found.push(from_error(&error)),
    }
    let problems = found.iter().filter(|f| !f.ok).count();
    output.json(&serde_json::json!({ "findings": found, "problems": problems }))?;
    for finding in &found {
        let sign = if finding.ok {
            output.paint(Tone::Good, "✓")
        } else {
            output.paint(Tone::Bad, "✗")
        };
        output.text(&format!("{sign} {}", finding.what))?;
        if let Some(repair) = &finding.repair {
            output.text(&format!("    {repair}"))?;
        }
    }
    Ok(u8::from(problems > 0))
}

fn from_error(error: &Error) -> Finding {
    bad(error.to_string(), error.hint().unwrap_or("see docs/errors.md"))
}

async fn project(octopoid: &Octopoid, found: &mut Vec<Finding>) -> Result<(), Error> {
    let paths = Paths::new(octopoid.root());
    let settings = octopoid.settings();
    found.push(good(format!(
        "settings, {} agents, {} flows",
        settings.blueprints.len(),
        settings.flows.iter().count()
    )));
    if settings.blueprints.is_empty() {
        found.push(bad(
            "no agents are configured",
            "add a file such as .octopoid/agents/implementer.yaml",
        ));
    }
    if settings.config.repo.test.is_none() {
        found.push(bad(
            "no test command is set: every commit passes",
            "set repo.test in .octopoid/config.yaml",
        ));
    }
    if let Some(answer) = octopoid.ask_server().await {
        found.push(match answer {
            Ok((url, took)) => good(format!("server {url} answered in {} ms", took.as_millis())),
            Err(error) => from_error(&error),
        });
    }
    let base = &octopoid.backend().rules().base_branch;
    let repo = Repo::at(octopoid.root())?;
    if repo.branch_tip(base)?.is_none()
        && repo
            .default_remote()?
            .map(|r| repo.remote_tip(&r, base))
            .transpose()?
            .flatten()
            .is_none()
    {
        found.push(bad(
            format!("the base branch {base} does not exist"),
            "create it, or correct repo.base_branch in .octopoid/config.yaml",
        ));
    }
    for blueprint in &settings.blueprints {
        found.push(match program(blueprint, octopoid) {
            Ok(program) => good(format!("agent {}: {}", blueprint.name, program.display())),
            Err(error) => from_error(&error),
        });
    }
    match (DaemonInfo::read(&paths), DaemonInfo::read_alive(&paths)) {
        (_, Some(info)) => found.push(good(format!("orchestrator runs as process {}", info.process.pid))),
        (Some(_), None) => found.push(bad(
            "the orchestrator ended without being stopped",
            "octopoid start takes up what it left",
        )),
        (None, None) => found.push(good("no orchestrator runs")),
    }
    if paths.journal_db().exists() {
        for finding in Journal::open(&paths.journal_db())?.findings()? {
            found.push(bad(
                format!("{}: {}", finding.code, finding.message),
                format!("see {} in docs/errors.md", finding.code),
            ));
        }
    }
    let idle = Orchestrator::worktrees(octopoid)
        .await?
        .into_iter()
        .filter(|w| w.kept.is_none())
        .count();
    if idle > 0 {
        found.push(bad(
            format!("{idle} worktrees are not needed any more"),
            "octopoid worktrees --clean",
        ));
    }
    Ok(())
}
