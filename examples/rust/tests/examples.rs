//! Runs each example as a user would, in fresh folders and repositories, and looks at what it said and what it changed.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]
#![allow(
    unreachable_pub,
    missing_debug_implementations,
    reason = "nothing here is seen from outside"
)]

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::{Command, Output, Stdio},
    time::Duration,
};

use octopoid_core::{git::Repo, model, prelude::*};

include!("support/server.rs");

const QUICK_START: &str = env!("CARGO_BIN_EXE_quick_start");
const BATCH_IMPORT: &str = env!("CARGO_BIN_EXE_batch_import");
const AUTO_APPROVE: &str = env!("CARGO_BIN_EXE_auto_approve");
const DAILY_REPORT: &str = env!("CARGO_BIN_EXE_daily_report");
const POLL_TO_COMPLETION: &str = env!("CARGO_BIN_EXE_poll_to_completion");
const CUSTOM_ROLE: &str = env!("CARGO_BIN_EXE_custom_role");
const CUSTOM_FLOW: &str = env!("CARGO_BIN_EXE_custom_flow");
const EMBEDDED_SERVICE: &str = env!("CARGO_BIN_EXE_embedded_service");

fn command(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).env_remove("OCTOPOID_API_KEY");
    command
}

fn run(program: &str, arguments: &[&str]) -> Output {
    command(program, arguments).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Runs a program that must succeed; gives what it printed.
fn succeeds(program: &str, arguments: &[&str]) -> String {
    let output = run(program, arguments);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    said(&output)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn repository() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("README.md"), "# Here\n").unwrap();
    Repo::create(folder.path(), "trunk", "first").unwrap();
    folder
}

fn git(repo: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .arg("-C")
        .arg(repo)
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "git {arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

async fn in_queue(octopoid: &Octopoid, queue: &QueueName) -> Vec<Task> {
    let filter = TaskFilter {
        queues: vec![queue.clone()],
        ..TaskFilter::default()
    };
    octopoid.tasks().list(&filter).await.unwrap().tasks
}

/// Creates a task and hands it in with that many commits.
async fn handed_in(octopoid: &Octopoid, title: &str, role: &str, commits: i64) -> TaskId {
    let wanted = CreateTask {
        title: Some(title.into()),
        role: Some(model::Role::parse(role).unwrap()),
        ..CreateTask::default()
    };
    octopoid.tasks().create(wanted).await.unwrap();
    let known = serde_json::json!({ "cluster": "examples", "machine_id": "test", "repo_url": "none" });
    octopoid.orchestrators().register(known).await.unwrap();
    let take = Take::new("examples-test", "test").unwrap();
    let claim = octopoid.tasks().claim(take).await.unwrap().unwrap();
    let work = HandIn {
        commits,
        turns: 2,
        ..HandIn::default()
    };
    octopoid.tasks().submit(&claim.task.id, work).await.unwrap();
    claim.task.id
}

#[tokio::test]
async fn quick_start_brings_a_task_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let out = succeeds(QUICK_START, &[text(folder.path())]);
    assert!(out.contains(" in incoming\n") && out.contains(" is done\n"), "{out}");

    let octopoid = Octopoid::local(folder.path()).unwrap();
    let done = in_queue(&octopoid, &QueueName::done()).await;
    assert_eq!(done.len(), 1);
    assert_eq!(done[0].title, "Greet the reader");
    assert_eq!((done[0].commits_count, done[0].turns_used), (1, 3));
    for event in octopoid.events().list(Some(&done[0].id), 0, 100).await.unwrap() {
        assert!(out.contains(&format!("{}  {}\n", event.at, event.kind)), "{out}");
    }
}

#[tokio::test]
async fn the_same_programs_work_on_a_server() {
    let folder = tempfile::tempdir().unwrap();
    let url = start_server(folder.path());
    let out = succeeds(QUICK_START, &[&url]);
    assert!(out.contains(" is done\n"), "{out}");

    let octopoid = Octopoid::connect(&url).build().unwrap();
    assert_eq!(in_queue(&octopoid, &QueueName::done()).await.len(), 1);
    let id = handed_in(&octopoid, "Explain", "docs", 1).await;
    let out = succeeds(AUTO_APPROVE, &[&url]);
    assert_eq!(out, format!("approved {id}: Explain\n"));
    assert_eq!(in_queue(&octopoid, &QueueName::done()).await.len(), 2);
}

#[tokio::test]
async fn batch_import_creates_what_the_file_says_once() {
    let folder = tempfile::tempdir().unwrap();
    let (file, queue) = (folder.path().join("tasks.json"), folder.path().join("queue"));
    fs::write(
        &file,
        r#"[{"id": "index", "title": "Index", "priority": "P0", "checks": ["true"]},
            {"id": "search", "title": "Search", "role": "implement", "blocked_by": ["index"]}]"#,
    )
    .unwrap();
    let out = succeeds(BATCH_IMPORT, &[text(&file), text(&queue)]);
    assert_eq!(out, "index  P0  Index\nsearch  P2  Search\nimported 2 tasks\n");

    let octopoid = Octopoid::local(&queue).unwrap();
    let index = octopoid.tasks().get(&TaskId::parse("index").unwrap()).await.unwrap();
    assert_eq!((index.priority, index.checks), (Priority::P0, vec!["true".to_owned()]));
    let search = octopoid.tasks().get(&TaskId::parse("search").unwrap()).await.unwrap();
    assert!(search.is_blocked());

    let again = succeeds(BATCH_IMPORT, &[text(&file), text(&queue)]);
    assert_eq!(again, "there already: Index\nthere already: Search\nimported 0 tasks\n");
    assert_eq!(in_queue(&octopoid, &QueueName::incoming()).await.len(), 2);
}

#[tokio::test]
async fn batch_import_creates_nothing_from_a_file_with_a_mistake() {
    let folder = tempfile::tempdir().unwrap();
    let (file, queue) = (folder.path().join("tasks.json"), folder.path().join("queue"));
    fs::write(
        &file,
        r#"[{"id": "good", "title": "Good"}, {"id": "bad", "titel": "Bad"}]"#,
    )
    .unwrap();
    let output = run(BATCH_IMPORT, &[text(&file), text(&queue)]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("tasks.json") && error.contains("titel"), "{error}");

    let octopoid = Octopoid::local(&queue).unwrap();
    assert!(in_queue(&octopoid, &QueueName::incoming()).await.is_empty());
}

#[tokio::test]
async fn auto_approve_accepts_by_rule_and_leaves_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let octopoid = Octopoid::local(folder.path()).unwrap();
    let docs = handed_in(&octopoid, "Explain", "docs", 2).await;
    let empty = handed_in(&octopoid, "Nothing", "docs", 0).await;
    let large = handed_in(&octopoid, "Try it", "test", 6).await;
    let code = handed_in(&octopoid, "Change it", "implement", 1).await;

    let out = succeeds(AUTO_APPROVE, &[text(folder.path())]);
    assert!(out.contains(&format!("approved {docs}: Explain\n")), "{out}");
    assert!(out.contains(&format!("left {empty}: it has no commits\n")), "{out}");
    assert!(out.contains(&format!("left {large}: 6 commits are many\n")), "{out}");
    assert!(out.contains(&format!("left {code}: its role is implement\n")), "{out}");
    assert_eq!(octopoid.tasks().get(&docs).await.unwrap().queue, QueueName::done());
    assert_eq!(in_queue(&octopoid, &QueueName::provisional()).await.len(), 3);
}

#[tokio::test]
async fn daily_report_tells_what_was_done_on_that_day() {
    let folder = tempfile::tempdir().unwrap();
    let octopoid = Octopoid::local(folder.path()).unwrap();
    let id = handed_in(&octopoid, "Explain", "docs", 2).await;
    let done = octopoid.tasks().accept(&id, "me").await.unwrap();
    handed_in(&octopoid, "Waits", "docs", 1).await;
    let at = done.completed_at.unwrap().to_string();
    let day = at.split_once('T').unwrap().0;

    let out = succeeds(DAILY_REPORT, &[text(folder.path()), day]);
    assert!(out.starts_with(&format!("Octopoid on {day}\n")), "{out}");
    let counted: Vec<Vec<&str>> = out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert!(counted.contains(&vec!["done", "1"]), "{out}");
    assert!(counted.contains(&vec!["provisional", "1"]), "{out}");
    assert!(out.contains("done on this day: 1\n"), "{out}");
    assert!(
        out.contains(&format!("  {id}  Explain (2 commits, 2 turns)\n")),
        "{out}"
    );

    let before = succeeds(DAILY_REPORT, &[text(folder.path()), "2001-01-01"]);
    assert!(
        before.contains("done on this day: 0\n") && !before.contains("Explain"),
        "{before}"
    );
}

#[tokio::test]
async fn poll_to_completion_waits_for_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let octopoid = Octopoid::local(folder.path()).unwrap();
    let id = handed_in(&octopoid, "Explain", "docs", 1).await;

    let arguments = [id.as_str(), text(folder.path()), "0.2"];
    let impatient = run(POLL_TO_COMPLETION, &arguments);
    assert_eq!(impatient.status.code(), Some(1), "{impatient:?}");
    assert!(said(&impatient).contains(&format!("{id} is still in provisional")));

    let mut waiting = command(POLL_TO_COMPLETION, &[id.as_str(), text(folder.path()), "30"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(waiting.stdout.take().unwrap());
    let mut seen = String::new();
    // It has seen all that happened so far, and waits.
    while !seen.contains("submitted") {
        assert_ne!(out.read_line(&mut seen).unwrap(), 0, "{seen}");
    }
    octopoid.tasks().accept(&id, "me").await.unwrap();
    out.read_to_string(&mut seen).unwrap();
    assert_eq!(waiting.wait().unwrap().code(), Some(0));
    assert!(seen.ends_with(&format!("{id} is in done\n")), "{seen}");

    let cancelled = handed_in(&octopoid, "Never mind", "docs", 1).await;
    octopoid.tasks().cancel(&cancelled, "me", "not needed").await.unwrap();
    let output = run(POLL_TO_COMPLETION, &[cancelled.as_str(), text(folder.path())]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(said(&output), format!("{cancelled} is in cancelled\n"));
}

#[tokio::test]
async fn custom_role_merges_its_work() {
    let repo = repository();
    let out = succeeds(CUSTOM_ROLE, &[text(repo.path()), "Faster start"]);
    assert!(out.contains("approved by gatekeeper\n"), "{out}");
    assert!(out.ends_with(" is done\n"), "{out}");
    succeeds(CUSTOM_ROLE, &[text(repo.path()), "Smaller downloads"]);

    let octopoid = Octopoid::local(repo.path()).unwrap();
    let done = in_queue(&octopoid, &QueueName::done()).await;
    assert_eq!(done.len(), 2);
    let tip = git(repo.path(), &["rev-parse", "trunk"]);
    assert!(
        done.iter().any(|t| t.merged_sha.as_deref() == Some(tip.trim())),
        "{done:?}"
    );
    let merged = git(repo.path(), &["show", "trunk:CHANGELOG.md"]);
    assert_eq!(merged, "# Changelog\n\n* Faster start\n* Smaller downloads\n");
}

#[tokio::test]
async fn custom_flow_sends_back_what_the_script_refuses() {
    let repo = repository();
    let out = succeeds(CUSTOM_FLOW, &[text(repo.path())]);
    assert!(out.contains("failure from engine: condition short: "), "{out}");
    assert!(out.contains("Approve by gatekeeper: reads well\n"), "{out}");
    assert!(out.ends_with(" is done\n"), "{out}");

    let octopoid = Octopoid::local(repo.path()).unwrap();
    let done = in_queue(&octopoid, &QueueName::done()).await;
    assert_eq!(done.len(), 1);
    assert_eq!(done[0].flow, "measured");
    // Two tries, each reviewed; only the second one passed the script.
    let attempts = octopoid.tasks().attempts(&done[0].id).await.unwrap();
    let roles: Vec<&str> = attempts.iter().map(|a| a.role.as_str()).collect();
    assert_eq!(roles, ["implement", "gatekeeper", "implement", "gatekeeper"]);
    let tip = git(repo.path(), &["rev-parse", "trunk"]);
    assert_eq!(done[0].merged_sha.as_deref(), Some(tip.trim()));
    let page = git(repo.path(), &["show", "trunk:PAGE.md"]);
    assert_eq!(page.lines().count(), 5);
}

/// Starts the service; gives it and the address that it told.
fn service(arguments: &[&str]) -> (std::process::Child, String, BufReader<std::process::ChildStdout>) {
    let mut child = command(EMBEDDED_SERVICE, arguments)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("listening on ").unwrap().to_owned();
    (child, address, out)
}

#[tokio::test]
async fn embedded_service_answers_and_stops_at_a_signal() {
    let repo = repository();
    let (mut child, address, mut out) = service(&[text(repo.path())]);
    let mut answers = Vec::new();
    for title in ["One", "Two"] {
        let mut stream = TcpStream::connect(&address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.write_all(format!("{title}\n").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (id, queue) = answer.trim().split_once(' ').unwrap();
        assert_eq!(queue, "done", "{answer}");
        answers.push((id.to_owned(), title));
    }
    for (id, title) in &answers {
        assert_eq!(
            git(repo.path(), &["show", &format!("trunk:{id}.txt")]),
            format!("{title}\n")
        );
    }

    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(rest, "orchestrator: Stopped\n");

    let octopoid = Octopoid::local(repo.path()).unwrap();
    assert_eq!(in_queue(&octopoid, &QueueName::done()).await.len(), 2);
}

#[test]
fn embedded_service_stops_after_its_time() {
    let repo = repository();
    let (mut child, _, mut out) = service(&[text(repo.path()), "0.5"]);
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(rest, "orchestrator: Stopped\n");
}

#[test]
fn every_example_says_what_is_wrong_and_does_not_panic() {
    let folder = tempfile::tempdir().unwrap();
    let (plain, nowhere) = (text(folder.path()), "http://127.0.0.1:9");
    let cases: &[(&str, &[&str], i32, &str)] = &[
        (QUICK_START, &[], 2, "usage: quick_start PLACE"),
        (QUICK_START, &[nowhere], 5, "[offline]"),
        (BATCH_IMPORT, &["no-such-file.json", plain], 1, "no-such-file.json"),
        (AUTO_APPROVE, &[nowhere], 5, "[offline]"),
        (DAILY_REPORT, &[plain], 2, "usage: daily_report PLACE DAY"),
        (POLL_TO_COMPLETION, &["nobody", plain], 3, "[not_found]"),
        (
            POLL_TO_COMPLETION,
            &["nobody", plain, "soon"],
            2,
            "\"soon\" is not a number of seconds",
        ),
        (CUSTOM_ROLE, &[plain], 1, "[not_a_repository]"),
        (CUSTOM_FLOW, &[plain], 1, "[not_a_repository]"),
        (EMBEDDED_SERVICE, &[plain], 1, "[not_a_repository]"),
    ];
    for (program, arguments, code, word) in cases {
        let output = run(program, arguments);
        let error = String::from_utf8(output.stderr.clone()).unwrap();
        assert_eq!(output.status.code(), Some(*code), "{program} {arguments:?}: {output:?}");
        assert!(
            error.starts_with("error: ") && error.contains(word),
            "{program}: {error}"
        );
        assert!(!error.contains("panicked"), "{program}: {error}");
    }
}
