//! Thousands of made-up requests over all that `/api/openapi.json` describes: none breaks the server, each answer is one
//! that the document promises. Schemathesis makes them, the same ones in each run.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::large_futures,
    reason = "tests fail by panicking"
)]

#[path = "contract/harness.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    missing_debug_implementations,
    reason = "the tests of the contract use more of it"
)]
mod harness;

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Output},
};

use harness::{Api, Server, text};
use serde_json::{Value, json};

const ADMIN: &str = "an-administrators-secret-0123456789";
const REQUIREMENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fuzz.requirements.txt");
/// Unknown methods are unknown routes by contract, so `unsupported_method` is not among them. Nor are the two about
/// right and wrong data: an empty text is none, and earlier clients send less than the document asks for.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_schema_conformance,response_headers_conformance";

fn told(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!("{}{}", String::from_utf8_lossy(out), String::from_utf8_lossy(err))
}

/// Runs a program that has to end well.
fn must(command: &mut Command) {
    match command.output() {
        Ok(output) if output.status.success() => {}
        Ok(output) => panic!("{command:?}: {}\n{}", output.status, told(&output)),
        Err(error) => panic!("{command:?} does not start: {error}"),
    }
}

/// The program, installed where `cargo xtask tools` has not done so.
fn schemathesis() -> PathBuf {
    let tools = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../tools");
    fs::create_dir_all(&tools).unwrap();
    let home = tools.canonicalize().unwrap().join("schemathesis");
    let (stamp, wanted) = (home.join("installed"), fs::read_to_string(REQUIREMENTS).unwrap());
    // Each test may be a process of its own; one of them installs.
    let lock = File::create(tools.join("schemathesis.lock")).unwrap();
    lock.lock().unwrap();
    if !fs::read_to_string(&stamp).is_ok_and(|s| s == wanted) {
        must(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&home));
        must(
            Command::new(home.join("bin/python"))
                .args([
                    "-m",
                    "pip",
                    "install",
                    "--quiet",
                    "--disable-pip-version-check",
                    "--requirement",
                    REQUIREMENTS,
                ])
                .stdin(std::process::Stdio::null()),
        );
        fs::write(&stamp, &wanted).unwrap();
    }
    home.join("bin/schemathesis")
}

/// Writes a list of names for `fuzz.toml`.
fn dictionary(dir: &Path, name: &str, values: &[String]) {
    let lines: String = values.iter().map(|value| format!("\"{value}\"\n")).collect();
    fs::write(dir.join(format!("{name}.dict")), lines).unwrap();
}

/// Makes one thing more.
async fn made(api: &Api, path: &str, body: Value) -> Value {
    api.post(path, body).await.expect(201)
}

/// Makes something in the way of each request, with the names that `fuzz.toml` knows, and tells the others.
async fn furnish(server: &Server, dir: &Path) {
    let machine = json!({ "cluster": "c", "machine_id": "m", "repo_url": "r" });
    server.post("/api/v1/orchestrators/register", machine).await.expect(201);
    let roles = json!({ "orchestrator_id": "c-m", "roles": [
        { "name": "implement", "claims_from": "incoming" }, { "name": "review", "claims_from": "provisional" },
    ] });
    server.post("/api/v1/roles/register", roles).await.expect(200);
    for name in ["default", "own"] {
        let flow = json!({ "states": ["incoming", "claimed", "provisional", "done", "failed"], "transitions": [] });
        server.put(&format!("/api/v1/flows/{name}"), flow).await.expect(200);
    }
    for n in 0..3 {
        let project = json!({ "id": format!("p-{n}"), "title": "P", "branch": "b" });
        made(server, "/api/v1/projects", project).await;
    }
    let mut tasks = Vec::new();
    for n in 0..60 {
        let (id, hooks) = (format!("t-{n}"), json!([{ "name": "h" }]).to_string());
        let mut task = json!({ "id": id, "file_path": "f.md", "branch": "main", "content": "c", "hooks": hooks });
        match n % 6 {
            5 => task["blocked_by"] = json!(tasks.last()),
            4 => task["project_id"] = json!("p-1"),
            _ => {}
        }
        made(server, "/api/v1/tasks", task).await;
        tasks.push(id);
    }
    let mut tokens = Vec::new();
    for n in 0..20 {
        let claim = json!({ "orchestrator_id": "c-m", "agent_name": "a", "fenced": n % 2 == 0 });
        let claimed = server.post("/api/v1/tasks/claim", claim).await.expect(200);
        let (id, token) = (text(&claimed["id"]), text(&claimed["claim_token"]));
        let (step, body) = match n % 4 {
            1 => (
                "submit",
                json!({ "commits_count": 1, "turns_used": 1, "claim_token": token }),
            ),
            2 => ("fail", json!({ "reason": "it broke", "claim_token": token })),
            _ => ("renew", json!({ "claim_token": token })),
        };
        server.act(&id, step, body).await.expect(200);
        tokens.push(token);
    }
    let (mut actions, mut messages, mut keys) = (Vec::new(), Vec::new(), Vec::new());
    let admin = server.keyed(ADMIN);
    for n in 0..4 {
        made(server, "/api/v1/drafts", json!({ "title": "D", "author": "a" })).await;
        let action = json!({ "entity_type": "task", "entity_id": "t-1", "label": "l", "proposed_by": "a" });
        actions.push(text(&made(server, "/api/v1/actions", action).await["id"]));
        let message = json!({ "task_id": "t-1", "from_actor": "a", "type": "question", "content": "c" });
        messages.push(text(&made(server, "/api/v1/messages", message).await["id"]));
        let key = json!({ "scope": "default", "name": format!("k{n}") });
        keys.push(text(&made(&admin, "/api/v1/admin/keys", key).await["id"]));
    }
    for (name, values) in [
        ("task", tasks),
        ("token", tokens),
        ("action", actions),
        ("message", messages),
        ("key", keys),
    ] {
        dictionary(dir, name, &values);
    }
}

/// Runs Schemathesis over a server of its own; `least` requests must have been made.
async fn fuzz(least: u32, args: &[&str]) {
    let program = schemathesis();
    let server = Server::start(&["--default-scope", "default", "--admin-token", ADMIN]);
    let dir = tempfile::tempdir().unwrap();
    furnish(&server, dir.path()).await;
    fs::write(dir.path().join("fuzz.toml"), include_str!("fuzz.toml")).unwrap();
    let mut command = Command::new(program);
    command
        .args(["--no-color", "--config-file", "fuzz.toml", "run"])
        .arg(format!("{}/api/openapi.json", server.base))
        .args(["--phases", "examples,coverage,fuzzing", "--checks", CHECKS])
        .args(args)
        .current_dir(dir.path())
        .env("NO_PROXY", "127.0.0.1")
        .env("COLUMNS", "160");
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap();
    let output = output.unwrap();
    let report = told(&output);
    assert!(output.status.success(), "{}\n{report}", output.status);
    let made = report
        .split_once("Test cases:")
        .and_then(|(_, after)| after.split_whitespace().next()?.parse::<u32>().ok());
    assert!(made.is_some_and(|n| n >= least), "few requests were made:\n{report}");
    let said = server.said();
    assert!(!said.contains("panicked"), "{said}");
    // What was written can be read.
    for path in [
        "tasks?limit=500",
        "status",
        "scheduler/poll",
        "claims",
        "events?limit=500",
        "history?limit=500",
        "projects",
        "drafts",
        "messages",
        "actions",
        "flows",
        "roles",
        "orchestrators",
    ] {
        server.get(&format!("/api/v1/{path}")).await.expect(200);
    }
}

#[tokio::test]
async fn no_request_of_anybody_breaks_a_promise() {
    fuzz(2_000, &["--max-examples", "25"]).await;
}

#[tokio::test]
async fn no_request_of_the_administrator_breaks_a_promise() {
    let key = format!("Authorization: Bearer {ADMIN}");
    let args = [
        "--max-examples",
        "60",
        "--include-path-regex",
        "^/api/v1/admin/",
        "--header",
        &key,
    ];
    fuzz(100, &args).await;
}
