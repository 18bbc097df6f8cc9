//! The typed commands of orchestrators: what is in them is checked as anything else is.

use serde_json::{Value, json};

use crate::{
    bad_input::assert_refused,
    harness::{Server, number, text},
};

/// The texts of a value, each by its path.
fn texts(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::String(_) => found.push(path.to_owned()),
        Value::Array(items) => {
            for (n, item) in items.iter().enumerate() {
                texts(item, &format!("{path}/{n}"), found);
            }
        }
        Value::Object(map) => {
            for (name, item) in map {
                texts(item, &format!("{path}/{name}"), found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

const SHA: &str = "0123456789abcdef0123456789abcdef01234567";

fn evidence() -> Value {
    json!({
        "head_sha": SHA, "commits": 1, "summary": "did it", "session_id": "s-1", "tail": "the end", "exit_code": 0,
        "checks": [{
            "command": "make test", "sha": SHA, "passed": true, "exit_code": 0, "tail": "ok", "millis": 5,
        }],
    })
}

/// Commands for a task that is claimed with this token, complete with everything that may be in them.
fn of_the_holder(token: &str) -> Vec<Value> {
    vec![
        json!({ "command": "begin", "token": token, "base_sha": SHA }),
        json!({ "command": "renew", "token": token, "lease": 60000 }),
        json!({ "command": "progress", "token": token, "note": "half of it" }),
        json!({ "command": "submit", "token": token, "usage": {}, "checks_required": true, "evidence": evidence() }),
        json!({ "command": "continue", "token": token, "reason": "more", "usage": {}, "evidence": evidence() }),
        json!({ "command": "ask", "token": token, "question": "which?", "usage": {}, "evidence": evidence() }),
        json!({
            "command": "fail", "token": token, "failure": "agent_exit", "reason": "broke", "usage": {},
            "evidence": evidence(), "retry_at": null, "send_to": "incoming",
        }),
        json!({ "command": "release", "token": token, "reason": "not now" }),
        json!({ "command": "advance", "token": token, "merged_sha": SHA }),
        json!({
            "command": "hand_in", "token": token, "commits": 1, "turns": 1, "check_results": "fine", "notes": "n",
            "holder": "agent-1",
        }),
    ]
}

fn of_anybody() -> Vec<Value> {
    vec![
        json!({ "command": "approve", "by": "mia" }),
        json!({ "command": "reject", "by": "mia", "reason": "no" }),
        json!({ "command": "hold", "by": "mia", "reason": "no" }),
        json!({ "command": "unhold", "by": "mia" }),
        json!({ "command": "cancel", "by": "mia", "reason": "no" }),
        json!({ "command": "retry", "by": "mia" }),
        json!({ "command": "requeue", "by": "mia" }),
        json!({ "command": "recover", "by": "mia", "to": "provisional", "reason": "r", "merged_sha": SHA, "head_sha": SHA }),
        json!({ "command": "give_up", "by": "mia", "reason": "no" }),
        json!({ "command": "edit", "by": "mia", "edit": {
            "title": "t", "content": "c", "branch": "b", "role": "implement", "checks": ["make"], "paths": ["src/**"],
        } }),
        json!({ "command": "accept", "by": "mia", "completed_at": null }),
        json!({ "command": "send_back", "by": "mia", "reason": "no" }),
        json!({ "command": "force", "by": "mia", "to": "backlog", "reason": "no" }),
        json!({ "command": "patch", "by": "mia", "patch": {
            "title": "t", "content": "c", "branch": "b", "claimed_by": "me", "pr_url": "u", "execution_notes": "n",
            "checks": ["make"], "paths": ["src/**"], "annotations": { "type": "bug", "metadata": { "a": "b" } },
        } }),
        json!({ "command": "hook", "name": "h", "status": "passed", "evidence": { "a": "b" } }),
    ]
}

/// No text column of PostgreSQL can hold a NUL character, and what an agent's programs print may have some. Whatever the
/// server makes of one, it is no error of its own, and a refusal changes nothing.
#[tokio::test]
async fn a_nul_character_in_a_command_breaks_nothing() {
    let server = Server::start(&[]);
    let orchestrator = server.orchestrator("s").await;
    let (mut failed, mut taken, mut refused) = (Vec::new(), 0, 0);
    let fresh = async || {
        let hooks = json!([{ "name": "h" }]).to_string();
        let id = server.task("s", json!({ "role": "implement", "hooks": hooks })).await;
        let ask = json!({ "queues": ["incoming"], "answers_to": ["implement"], "role": "implement" });
        let claimed = server.claim("s", &orchestrator, ask).await;
        assert_eq!(claimed["id"], id.as_str(), "another task was in the way");
        (id, text(&claimed["claim_token"]))
    };
    let count = of_the_holder("").len() + of_anybody().len();
    for n in 0..count {
        let list = |token: &str| [of_the_holder(token), of_anybody()].concat().swap_remove(n);
        let mut paths = Vec::new();
        texts(&list("token"), "", &mut paths);
        for path in paths {
            let (id, token) = fresh().await;
            let before = (server.read(&id).await, server.history(&id).await);
            let mut command = list(&token);
            let place = command.pointer_mut(&path).unwrap();
            *place = json!(format!("{}\0z", text(place)));
            let reply = server.act(&id, "commands", command.clone()).await;
            match reply.status {
                200 => {
                    assert!(number(&server.read(&id).await["version"]) > number(&before.0["version"]));
                    assert_eq!(server.history(&id).await.len(), before.1.len() + 1, "{reply}");
                    taken += 1;
                }
                400..500 => {
                    assert_refused(&reply);
                    assert_eq!((server.read(&id).await, server.history(&id).await), before, "{reply}");
                    refused += 1;
                }
                status => failed.push(format!("{status} for {path}: {reply}")),
            }
            // Out of the way of the next one; it may have ended already.
            let cancel = json!({ "by": "mia", "reason": "seen" });
            let ended = server.act(&id, "cancel", cancel).await;
            assert!(matches!(ended.status, 200 | 409), "{ended}");
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert!(taken > 10 && refused > 10, "{taken} were taken and {refused} refused");
    server.get("/readyz").await.expect(200);
}
