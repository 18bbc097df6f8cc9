//! Commands on the queue: what they print, and that they do what they say.

use crate::harness::{Project, WORKS};

#[test]
fn tasks_are_listed_by_queue_priority_and_age() {
    let project = Project::new(WORKS);
    let low = project.enqueue(&["Low", "--priority", "P3", "--id", "low"]);
    let first = project.enqueue(&["First", "--priority", "P1", "--id", "first"]);
    let second = project.enqueue(&["Second", "--priority", "P1", "--id", "second"]);
    let held = project.enqueue(&["Held", "--id", "held", "--role", "research"]);
    project.run(&["hold", &held, "--reason", "later"]).ok();
    let text = project.run(&["list"]).ok().out;
    assert!(text.starts_with("INCOMING (4):\n  P1 first - implement  First\n  P1 second - implement  Second\n  P2 held - research  Held  (on hold: later)\n  P3 low - implement  Low"), "{text}");
    let page = project.json(&["list"]);
    let ids: Vec<_> = page["tasks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| t["id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(ids, [first, second, held, low]);
    assert_eq!(
        (&page["total"], &page["offset"], &page["limit"]),
        (&4.into(), &0.into(), &50.into())
    );
    assert_eq!(project.json(&["list", "--limit", "1"])["total"], 4);
    let some = |args: &[&str]| project.json(args)["tasks"].as_array().unwrap().len();
    assert_eq!(some(&["list", "--priority", "P1,P3"]), 3);
    assert_eq!(some(&["list", "--role", "research"]), 1);
    assert_eq!(some(&["list", "--queue", "done,failed"]), 0);
    project.run(&["list", "--quiet", "--queue", "done"]).ok();
}

#[test]
fn a_task_file_goes_in_and_comes_out_the_same() {
    let project = Project::new(WORKS);
    project.enqueue(&["Before", "--id", "before"]);
    project.write("task.md", "---\ntitle: 'Fix: the thing'\nrole: test\npriority: P1\ncomplexity: S\nblocked_by: [before]\nchecks: [\"sh test.sh\", 'true']\npaths: [src/**]\n---\n\n# Heading\n\nBody with `code`.\n");
    let id = project.enqueue(&["--file", "task.md"]);
    let task = project.show(&id);
    assert_eq!(
        (&task["title"], &task["role"], &task["priority"], &task["complexity"]),
        (&"Fix: the thing".into(), &"test".into(), &"P1".into(), &"S".into())
    );
    assert_eq!(task["content"], "# Heading\n\nBody with `code`.\n");
    assert_eq!(
        (&task["blocked_by"], &task["blocked"], &task["checks"]),
        (
            &serde_json::json!(["before"]),
            &true.into(),
            &serde_json::json!(["sh test.sh", "true"])
        )
    );
    let md = project.run(&["show", &id, "--format", "md"]).ok().out;
    project.write("again.md", &md.replace(&id, "copy"));
    let copy = project.show(&project.enqueue(&["--file", "again.md"]));
    for key in [
        "title",
        "role",
        "priority",
        "complexity",
        "content",
        "blocked_by",
        "checks",
        "paths",
        "branch",
        "flow",
    ] {
        assert_eq!(copy[key], task[key], "{key}");
    }
    let mut command = project.command(&["enqueue", "Title", "-", "--json"]);
    let mut child = command
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"body from a pipe\n").unwrap();
    let out: serde_json::Value = serde_json::from_slice(&child.wait_with_output().unwrap().stdout).unwrap();
    assert_eq!(
        (&out["title"], &out["content"]),
        (&"Title".into(), &"body from a pipe\n".into())
    );
}

#[test]
fn the_same_key_creates_one_task() {
    let project = Project::new(WORKS);
    let first = project.enqueue(&["Once", "--idempotency-key", "k1"]);
    assert_eq!(project.enqueue(&["Once", "--idempotency-key", "k1"]), first);
    project
        .run(&["enqueue", "Other", "--idempotency-key", "k1"])
        .code(4)
        .says(&first);
    assert_eq!(project.json(&["list"])["total"], 1);
}

#[test]
fn tasks_are_edited_held_cancelled_deleted_and_brought_back() {
    let project = Project::new(WORKS);
    let id = project.enqueue(&["Draft"]);
    let version = project.show(&id)["version"].as_i64().unwrap();
    project
        .run(&[
            "edit",
            &id,
            "--title",
            "Final",
            "--priority",
            "P0",
            "--body",
            "new body",
            "--check",
            "true",
        ])
        .ok();
    let task = project.show(&id);
    assert_eq!(
        (
            &task["title"],
            &task["priority"],
            &task["content"],
            &task["body_revision"]
        ),
        (&"Final".into(), &"P0".into(), &"new body".into(), &2.into())
    );
    assert_eq!(task["version"], version + 1);
    project.run(&["hold", &id]).ok();
    project.run(&["start", "--once"]).ok();
    project.expect_queue(&id, "incoming");
    project
        .run(&["why", &id])
        .ok()
        .says("on hold")
        .says(&format!("octopoid unhold {id}"));
    project.run(&["unhold", &id]).ok();
    project.run(&["cancel", &id]).ok();
    project.run(&["cancel", &id]).code(4);
    project.run(&["retry", &id]).ok();
    let dependent = project.enqueue(&["After", "--after", &id]);
    project.run(&["cancel", &id, "--reason", "not now"]).ok();
    project
        .run(&["why", &dependent])
        .ok()
        .says("releases nobody")
        .says("--after")
        .says("recover");
    project.run(&["edit", &dependent, "--after", "none"]).ok();
    project.run(&["start", "--once"]).ok();
    project.expect_queue(&dependent, "done");
    project
        .run(&["recover", &id, "--to", "incoming", "--reason", "now after all"])
        .ok();
    project.run(&["delete", &id]).ok();
    project.run(&["show", &id]).code(3);
    project.run(&["approve", &dependent]).code(4).says("it is in done");
}

#[test]
fn work_that_a_person_merged_is_recovered_to_done_only_when_it_is_there() {
    let project = Project::new(WORKS);
    std::fs::remove_file(project.path(".octopoid/agents/gatekeeper.yaml")).unwrap();
    let id = project.enqueue(&["By hand"]);
    project.run(&["start", "--once"]).ok();
    project
        .run(&["recover", &id, "--to", "done", "--reason", "merged"])
        .code(4);
    project.git(&["merge", "--quiet", &format!("agent/{id}")]);
    project
        .run(&["recover", &id, "--to", "done", "--reason", "merged"])
        .ok();
    let task = project.expect_queue(&id, "done");
    assert_eq!(task["merged_sha"], project.git(&["rev-parse", "trunk"]));
}

#[test]
fn help_and_completion_know_every_command() {
    let project = Project::bare_bones();
    let help = project.run(&["--help"]).ok().out;
    let commands = [
        "demo",
        "init",
        "enqueue",
        "list",
        "show",
        "why",
        "logs",
        "diff",
        "approve",
        "reject",
        "retry",
        "requeue",
        "cancel",
        "hold",
        "unhold",
        "recover",
        "edit",
        "delete",
        "start",
        "stop",
        "pause",
        "resume",
        "status",
        "worktrees",
        "flow",
        "validate",
        "config",
        "report",
        "completions",
        "man",
        "doctor",
    ];
    for command in commands {
        assert!(help.contains(&format!("\n  {command} ")), "{command} is not in --help");
        let own = project.run(&[command, "--help"]).ok().out;
        assert!(own.contains("Example"), "{command} --help has no example:\n{own}");
    }
    for shell in ["bash", "zsh", "fish"] {
        assert!(project.run(&["completions", shell]).ok().out.contains("enqueue"));
    }
}

#[test]
fn status_and_doctor_tell_the_truth() {
    let project = Project::new(WORKS);
    let status = project.json(&["status"]);
    assert_eq!(
        (&status["daemon"], &status["mode"], &status["stalled"]),
        (&serde_json::Value::Null, &"local".into(), &serde_json::json!([]))
    );
    project
        .run(&["status"])
        .ok()
        .says("✓ local store")
        .says("octopoid start");
    project.run(&["doctor"]).ok().says("agent implementer");
    let id = project.enqueue(&["x"]);
    assert_eq!(project.json(&["status"])["queues"]["incoming"], 1);
    project.run(&["start", "--once"]).ok();
    assert_eq!(project.json(&["status"])["queues"], serde_json::json!({ "done": 1 }));
    project.run(&["doctor"]).code(1).says("octopoid worktrees --clean");
    project.run(&["worktrees", "--clean"]).ok();
    project.run(&["doctor"]).ok();
    project.run(&["flow", "list"]).ok().says("default").says("project");
    let shown = project.run(&["flow", "show", "default"]).ok().out;
    project.write(".octopoid/flows/default.yaml", &shown);
    project.run(&["flow", "validate", "default"]).ok();
    project.expect_queue(&id, "done");
}
