//! The real Claude Code program, headless, against a server of ours that speaks its API over a socket.

use std::path::PathBuf;

use octopoid_bench_world::messages_api::{Api, Script, Turn};
use serde_json::json;

use crate::harness::{BIN, Project};

/// Where `cargo xtask tools` puts the program. Not there is a failure, not a reason to skip.
fn claude_dir() -> PathBuf {
    let target = PathBuf::from(BIN).ancestors().nth(2).unwrap().to_path_buf();
    let packages = target.join("tools/claude-code/node_modules/@anthropic-ai");
    let found = std::fs::read_dir(&packages)
        .ok()
        .and_then(|dirs| dirs.flatten().map(|d| d.path()).find(|d| d.join("claude").is_file()));
    found.unwrap_or_else(|| panic!("no claude program in {}; run `cargo xtask tools`", packages.display()))
}

fn project(script: Script) -> (Project, Api) {
    let api = Api::start(script).unwrap();
    let mut project = Project::new("plays: []\n");
    let path = format!("{}:{}", claude_dir().display(), project.env["PATH"]);
    project.env.insert("PATH".into(), path);
    project.env.insert("ANTHROPIC_BASE_URL".into(), api.url());
    project.env.insert("ANTHROPIC_API_KEY".into(), "sk-ant-test".into());
    for (name, role) in [("implementer", "implement"), ("gatekeeper", "gatekeeper")] {
        let env = "env: {CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: \"1\", DISABLE_AUTOUPDATER: \"1\", CLAUDE_CODE_MAX_RETRIES: \"0\"}";
        project.write(
            &format!(".octopoid/agents/{name}.yaml"),
            &format!("role: {role}\nagent: claude\nmodel: claude-sonnet-4-5\nmax_turns: 10\n{env}\n"),
        );
    }
    (project, api)
}

fn bash(command: &str) -> Turn {
    Turn::Tool {
        name: "Bash".into(),
        input: json!({ "command": command, "description": "work" }),
    }
}

fn structured(value: serde_json::Value) -> Turn {
    Turn::Tool {
        name: "StructuredOutput".into(),
        input: value,
    }
}

#[test]
fn claude_code_carries_a_task_to_a_merged_commit() {
    let (project, api) = project(Script {
        work: vec![
            bash(
                "echo 'written by claude' > hello.txt && git add hello.txt && git commit --quiet --message 'Add hello.txt'",
            ),
            structured(json!({ "outcome": "done", "summary": "added hello.txt" })),
        ],
        review: vec![
            bash("git log --oneline -1"),
            structured(json!({ "verdict": "approve", "summary": "does what was asked" })),
        ],
    });
    let id = project.enqueue(&["Add hello.txt", "--body", "It must say who wrote it."]);
    project.run(&["start", "--once"]).ok();
    let task = project.expect_queue(&id, "done");
    assert_eq!(project.on_base("hello.txt"), "written by claude");
    assert_eq!(task["execution_notes"], "added hello.txt");
    assert_eq!(task["reviews"][0]["reason"], "does what was asked");
    let attempts = task["attempts"].as_array().unwrap();
    for attempt in attempts {
        assert!(attempt["usage"]["input_tokens"].as_u64().unwrap() >= 100, "{attempt:#}");
        assert!(attempt["usage"]["turns"].as_u64().unwrap() >= 1);
        assert!(attempt["evidence"]["session_id"].is_string());
    }
    assert!(task["turns_used"].as_i64().unwrap() >= 2);
    let prompts = api.prompts();
    assert!(
        prompts.iter().any(|p| p.contains("It must say who wrote it.")),
        "the prompt reached the model"
    );
    assert!(
        prompts
            .iter()
            .any(|p| p.contains("Only the exact word `approve` approves."))
    );
    let argv = project.read(&format!(".octopoid/runtime/attempts/{id}/1/env.json"));
    assert!(
        !argv.contains("It must say who wrote it.") && !argv.contains("sk-ant-test"),
        "neither prompt nor key in argv or files"
    );
    assert!(
        project
            .read(&format!(".octopoid/runtime/attempts/{id}/1/stdout.jsonl"))
            .contains("\"type\":\"result\""),
        "the stream is kept raw"
    );
    project.closing_checks();
}

#[test]
fn a_refused_key_pauses_the_agent_and_costs_the_task_nothing() {
    let (project, _api) = project(Script {
        work: vec![Turn::Error {
            status: 401,
            kind: "authentication_error".into(),
            message: "invalid x-api-key".into(),
        }],
        review: vec![],
    });
    let id = project.enqueue(&["No key"]);
    project.run(&["start", "--once"]).code(1).says("agent_auth");
    let task = project.expect_queue(&id, "incoming");
    assert_eq!(
        (&task["failure_count"], &task["attempts"][0]["outcome"]),
        (&0.into(), &"released".into())
    );
    project.run(&["status"]).code(1).says("agent_auth");
    project.closing_checks();
}

#[test]
fn running_out_of_turns_continues_in_the_same_worktree_up_to_a_cap() {
    let (project, _api) = project(Script {
        work: vec![bash("date >> log.txt")],
        review: vec![],
    });
    let blueprint = project
        .read(".octopoid/agents/implementer.yaml")
        .replace("max_turns: 10", "max_turns: 2");
    project.write(".octopoid/agents/implementer.yaml", &blueprint);
    let id = project.enqueue(&["Endless"]);
    project.run(&["start", "--once"]).code(1);
    let task = project.expect_queue(&id, "needs_attention");
    assert_eq!(
        (&task["attention"], task["attempts"].as_array().unwrap().len()),
        (&"too_many_continuations".into(), 3)
    );
    let argv = project.read(&format!(".octopoid/runtime/attempts/{id}/2/env.json"));
    let session = task["attempts"][0]["evidence"]["session_id"].as_str().unwrap();
    assert!(
        argv.contains("--resume") && argv.contains(session),
        "the second attempt resumes the first one's session"
    );
    assert!(
        task["head_sha"].is_null() || task["attempts"][2]["evidence"]["commits"].as_u64().unwrap() >= 1,
        "the work is kept"
    );
    project.closing_checks();
}
