//! `octopoid demo`: the whole story on a small real repository, with the shipped scripted agent.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use octopoid_core::{
    Error, ErrorCode, Octopoid, Orchestrator,
    git::Repo,
    model::{CreateTask, QueueKind},
    queue::{InitRequest, init},
};

use crate::output::{Output, Tone};

const BRANCH: &str = "trunk";

/// The project: a shell program, and a test of it that does not pass yet.
const FILES: &[(&str, &str)] = &[
    ("README.md", include_str!("project/README.md")),
    ("greet.sh", include_str!("project/greet.sh")),
    ("test.sh", include_str!("project/test.sh")),
];
const SCRIPT: &str = include_str!("project/agent.yaml");

pub(crate) async fn run(keep: Option<PathBuf>, output: &Output) -> Result<u8, Error> {
    let begun = Instant::now();
    let temporary = match &keep {
        Some(_) => None,
        None => Some(tempfile::tempdir().map_err(|e| Error::io("create", Path::new("a temporary folder"), e))?),
    };
    let root = match (&keep, &temporary) {
        (Some(dir), _) => {
            if fs::read_dir(dir).is_ok_and(|mut d| d.next().is_some()) {
                return Err(
                    Error::new(ErrorCode::AlreadyExists, format!("{} is not empty", dir.display()))
                        .with_hint("name a folder that is not there yet"),
                );
            }
            fs::create_dir_all(dir).map_err(|e| Error::io("create", dir, e))?;
            dir.canonicalize().map_err(|e| Error::io("open", dir, e))?
        }
        (None, Some(temporary)) => temporary
            .path()
            .canonicalize()
            .map_err(|e| Error::io("open", temporary.path(), e))?,
        (None, None) => return Err(Error::new(ErrorCode::Internal, "the demo has no folder")),
    };
    let heading =
        |n: u8, text: &str| output.text(&format!("\n{} {text}", output.paint(Tone::Strong, &format!("{n}."))));

    heading(
        1,
        &format!("A small repository with a failing test, in {}", root.display()),
    )?;
    for (name, text) in FILES {
        let path = root.join(name);
        fs::write(&path, text).map_err(|e| Error::io("write", &path, e))?;
    }
    let repo = Repo::create(&root, BRANCH, "A greeting that does not greet yet")?;
    output.text(&format!("   ./test.sh on {BRANCH}: {}", told(test(&root)?)))?;

    heading(2, "octopoid init --local")?;
    init(
        &root,
        &InitRequest {
            agent: Some("command".into()),
            ..InitRequest::default()
        },
    )?;
    set_up_agents(&root)?;
    output.text("   an implementer and a gatekeeper, both played by the shipped scripted agent; test: ./test.sh")?;

    heading(3, "octopoid enqueue, twice: the second task waits for the first")?;
    let octopoid = Octopoid::open(&root)?;
    let create = |title: &str, body: &str, after: Vec<octopoid_core::id::TaskId>| CreateTask {
        title: Some(title.to_owned()),
        content: Some(body.to_owned()),
        blocked_by: after,
        created_by: Some("demo".into()),
        ..CreateTask::default()
    };
    let first = octopoid
        .tasks()
        .create(create(
            "Greet the named person",
            "`./greet.sh Ada` must print `Hello, Ada!`.",
            vec![],
        ))
        .await?;
    let second = octopoid
        .tasks()
        .create(create(
            "Greet the world when nobody is named",
            "`./greet.sh` must print `Hello, world!`, and the README must say so.",
            vec![first.id.clone()],
        ))
        .await?;
    output.text(&format!(
        "   {}  {}\n   {}  {} (after {})",
        first.id, first.title, second.id, second.title, first.id
    ))?;

    heading(4, "octopoid start --once")?;
    let mut orchestrator = Orchestrator::builder().octopoid(octopoid.clone()).build()?;
    let mut notices = orchestrator.notices();
    let (quiet, json) = (output.paint(Tone::Faint, ""), output.is_json());
    let printer = tokio::spawn(async move {
        let mut lines = Vec::new();
        while let Some(notice) = notices.recv().await {
            let line = format!(
                "   {quiet}{}  {}",
                notice.task.map(|t| t.to_string()).unwrap_or_default(),
                notice.text
            );
            if !json {
                print_line(&line);
            }
            lines.push(line);
        }
        lines.len()
    });
    orchestrator.run_once().await?;
    let steps = printer.await.unwrap_or(0);

    heading(5, &format!("What is on {BRANCH} now"))?;
    let tip = repo.branch_tip(BRANCH)?.unwrap_or_default();
    let log = repo.log(None, &tip, 10)?;
    log.iter()
        .try_for_each(|line| output.text(&format!("   {} {}", &line.sha[..10], line.summary)))?;
    let passed = test(&root)?;
    output.text(&format!("   ./test.sh on {BRANCH}: {}", told(passed)))?;

    let (first, second) = (
        octopoid.tasks().get(&first.id).await?,
        octopoid.tasks().get(&second.id).await?,
    );
    let done = [&first, &second].iter().all(|t| t.kind() == QueueKind::Done);
    output.json(&serde_json::json!({
        "directory": root, "tasks": octopoid.tasks().views(vec![first.clone(), second.clone()]).await?,
        "log": log, "tests_pass": passed, "steps": steps, "seconds": begun.elapsed().as_secs_f64(),
    }))?;
    if !done || !passed {
        for task in [&first, &second].iter().filter(|t| t.kind() != QueueKind::Done) {
            output.message(&format!(
                "{} is in {}: {}",
                task.id,
                task.queue,
                task.execution_notes.as_deref().unwrap_or("")
            ));
        }
        return Err(
            Error::new(ErrorCode::NeedsAttention, "the demo did not end as it should")
                .with_hint("repeat it with --keep DIR, then look with `octopoid -C DIR why ID`"),
        );
    }
    output.text(&format!(
        "\nBoth tasks are done, in {:.1} s.",
        begun.elapsed().as_secs_f64()
    ))?;
    if keep.is_some() {
        output.message(&format!(
            "Look around: octopoid -C {} show {}",
            root.display(),
            second.id
        ));
    }
    Ok(0)
}

fn told(passed: bool) -> &'static str {
    if passed { "passes" } else { "fails" }
}

#[expect(
    clippy::print_stdout,
    reason = "the demo's story is its data; it is told while it happens"
)]
fn print_line(line: &str) {
    println!("{line}");
}

/// The blueprints that `init` wrote, with the scripted agent in them, and the project's test.
fn set_up_agents(root: &Path) -> Result<(), Error> {
    let dir = root.join(".octopoid");
    let write = |name: &str, text: String| {
        let path = dir.join(name);
        fs::write(&path, text).map_err(|e| Error::io("write", &path, e))
    };
    write("agents/demo.script.yml.txt", SCRIPT.to_owned())?;
    for (name, role) in [("implementer", "implement"), ("gatekeeper", "gatekeeper")] {
        write(
            &format!("agents/{name}.yaml"),
            format!("role: {role}\nagent: scripted\nscript: .octopoid/agents/demo.script.yml.txt\n"),
        )?;
    }
    write(
        "config.yaml",
        format!("mode: local\nscope: demo\nrepo:\n  base_branch: {BRANCH}\n  test: sh test.sh\n"),
    )
}

/// Whether the project's test passes in the main checkout.
fn test(root: &Path) -> Result<bool, Error> {
    let answer = std::process::Command::new("/bin/sh")
        .arg("test.sh")
        .current_dir(root)
        .output();
    answer
        .map(|a| a.status.success())
        .map_err(|e| Error::io("run", &root.join("test.sh"), e))
}
