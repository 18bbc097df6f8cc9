//! The queue as tools, as an assistant uses them: lines of JSON-RPC on standard input and output.

use std::{
    io::{BufRead as _, BufReader, Lines, Write as _},
    process::{Child, ChildStdin, ChildStdout, Stdio},
};

use serde_json::{Value, json};

use crate::harness::{Project, WORKS};

struct Client {
    child: Child,
    input: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    last: u64,
}

impl Client {
    fn start(project: &Project) -> Self {
        let mut command = project.command(&["mcp"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut client = Self {
            input: child.stdin.take().unwrap(),
            lines: BufReader::new(child.stdout.take().unwrap()).lines(),
            child,
            last: 0,
        };
        let hello = client.ask(
            "initialize",
            &json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": { "name": "test", "version": "1" } }),
        );
        assert_eq!(hello["serverInfo"]["name"], "octopoid");
        client.send(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
        client
    }

    fn send(&mut self, message: &Value) {
        writeln!(self.input, "{message}").unwrap();
    }

    fn ask(&mut self, method: &str, params: &Value) -> Value {
        self.last += 1;
        self.send(&json!({ "jsonrpc": "2.0", "id": self.last, "method": method, "params": params }));
        let answer: Value = serde_json::from_str(&self.lines.next().unwrap().unwrap()).unwrap();
        assert_eq!(answer["id"], self.last, "{answer}");
        answer.get("result").unwrap_or(&answer["error"]).clone()
    }

    /// What a tool that did its work gives.
    fn call(&mut self, tool: &str, arguments: Value) -> Value {
        let result = self.ask("tools/call", &json!({ "name": tool, "arguments": arguments }));
        assert_eq!(result["isError"], false, "{tool}: {result}");
        result["structuredContent"].clone()
    }

    /// How a tool refuses.
    fn refused(&mut self, tool: &str, arguments: Value) -> Value {
        let result = self.ask("tools/call", &json!({ "name": tool, "arguments": arguments }));
        assert_eq!(result["isError"], true, "{tool}: {result}");
        result["structuredContent"].clone()
    }

    /// The input ends, and so does the program.
    fn end(mut self) {
        drop(self.input);
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }
}

#[test]
fn an_assistant_drives_a_task_to_its_merge() {
    let project = Project::new(WORKS);
    std::fs::remove_file(project.path(".octopoid/agents/gatekeeper.yaml")).unwrap();
    let mut client = Client::start(&project);
    let tools = client.ask("tools/list", &json!({}));
    let mut names: Vec<&str> = Vec::new();
    for tool in tools["tools"].as_array().unwrap() {
        assert!(!tool["description"].as_str().unwrap().is_empty());
        assert_eq!(tool["inputSchema"]["type"], "object");
        names.push(tool["name"].as_str().unwrap());
    }
    names.sort_unstable();
    let all = [
        "answer",
        "cancel_task",
        "create_task",
        "inbox",
        "list_tasks",
        "retry_task",
        "show_task",
        "status",
        "why_task",
    ];
    assert_eq!(names, all);

    let wanted = json!({ "title": "Work", "body": "All of it.", "priority": "P1", "idempotency_key": "k" });
    let made = client.call("create_task", wanted.clone());
    let id = made["id"].as_str().unwrap().to_owned();
    assert_eq!(client.call("create_task", wanted)["id"], made["id"]);
    let later = client.call(
        "create_task",
        json!({ "title": "Later", "after": [id], "role": "implement" }),
    );
    assert_eq!(client.call("list_tasks", json!({ "queues": ["incoming"] }))["total"], 2);
    project.run(&["start", "--once"]);
    assert_eq!(client.call("why_task", json!({ "id": id }))["queue"], "provisional");
    let waiting = client.call("inbox", json!({}));
    assert_eq!(
        (&waiting["items"][0]["id"], &waiting["items"][0]["kind"]),
        (&made["id"], &json!("review"))
    );
    assert_eq!(
        client.call("answer", json!({ "id": id, "choice": "approve" }))["choice"],
        "approve"
    );
    let gone = client.call("cancel_task", json!({ "id": later["id"], "reason": "not needed" }));
    assert_eq!(gone["queue"], "cancelled");
    project.run(&["start", "--once"]).ok();
    let shown = client.call("show_task", json!({ "id": id }));
    assert_eq!((&shown["queue"], &shown["priority"]), (&json!("done"), &json!("P1")));
    assert!(shown["attempts"].as_array().is_some_and(|a| !a.is_empty()));
    assert!(client.call("status", json!({}))["queues"].is_array());
    client.end();
    project.closing_checks();
}

#[test]
fn what_is_wrong_is_told_and_changes_nothing() {
    let project = Project::new(WORKS);
    let mut client = Client::start(&project);
    assert_eq!(
        client.refused("show_task", json!({ "id": "task-99999999" }))["code"],
        "not_found"
    );
    assert_eq!(
        client.refused("create_task", json!({ "title": " " }))["code"],
        "invalid_argument"
    );
    assert_eq!(
        client.refused("create_task", json!({ "title": "x", "priority": "P9" }))["code"],
        "invalid_argument"
    );
    assert_eq!(
        client.refused("list_tasks", json!({ "queues": ["nowhere"] }))["code"],
        "invalid_argument"
    );
    for wrong in [json!({ "titel": "x" }), json!({ "title": "x", "prio": 1 }), json!({})] {
        let answer = client.ask("tools/call", &json!({ "name": "create_task", "arguments": wrong }));
        assert!(answer["code"].is_number() || answer["isError"] == true, "{answer}");
    }
    let answer = client.ask("tools/call", &json!({ "name": "drop_all", "arguments": {} }));
    assert!(answer["code"].is_number(), "{answer}");
    assert_eq!(client.call("list_tasks", json!({}))["total"], 0);
    client.end();
}

#[test]
fn an_agent_at_work_gets_no_tools() {
    let project = Project::new(WORKS);
    project
        .run_with(&["mcp"], &[("OCTOPOID_ATTEMPT_DIR", "/tmp")])
        .code(6)
        .says("cannot accept work");
    project.run(&["-C", "/", "mcp"]).code(1).says("octopoid init");
}
