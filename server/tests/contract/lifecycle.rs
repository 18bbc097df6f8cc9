//! How a task moves: submit, burnout, accept, reject, requeue, force-queue.

use serde_json::{Value, json};

use crate::harness::{Api, Server, is_wire_time, number, of, text};

const CLAIM_KEYS: [&str; 4] = ["claimed_by", "claimed_at", "orchestrator_id", "lease_expires_at"];

#[track_caller]
fn assert_unclaimed(task: &Value) {
    for key in CLAIM_KEYS {
        assert_eq!(task[key], Value::Null, "{key} of {task}");
    }
    assert_eq!(task["needs_intervention"], 0);
}

/// A refusal because of the task's state: a sentence, and one detail.
#[track_caller]
pub fn assert_wrong_state(body: &Value) {
    let details = body["details"].as_array();
    assert!(details.is_some_and(|d| !d.is_empty()), "no details: {body}");
    assert!(body["code"].is_string(), "{body}");
}

pub async fn claimed(server: &Api, orchestrator: &str, extra: Value) -> String {
    let id = server.task("s", extra).await;
    let task = server.claim("s", orchestrator, json!({ "agent_name": "ann" })).await;
    assert_eq!(task["id"], id.as_str());
    id
}

#[tokio::test]
async fn submitting_hands_the_work_in() {
    let server = Server::start(&[]);
    let orchestrator = server.orchestrator("s").await;
    let id = claimed(&server, &orchestrator, json!({})).await;
    let before = server.read(&id).await;
    let body = json!({
        "commits_count": 3, "turns_used": 17, "check_results": "{\"lint\":\"ok\"}", "execution_notes": "went well",
    });
    let task = server.act(&id, "submit", body.clone()).await.expect(200);
    assert_eq!(task["queue"], "provisional");
    for (key, value) in body.as_object().unwrap() {
        assert_eq!(task[key], *value, "{key}");
    }
    assert_unclaimed(&task);
    assert!(is_wire_time(&task["submitted_at"]), "{task}");
    assert!(number(&task["version"]) > number(&before["version"]));
    assert_eq!(server.read(&id).await, task);
    assert_eq!(server.history_row(&id, "submitted").await["agent"], "ann");
}

#[tokio::test]
async fn submitting_asks_for_the_facts_and_the_state() {
    let server = Server::start(&[]);
    let orchestrator = server.orchestrator("s").await;
    let id = claimed(&server, &orchestrator, json!({})).await;
    let before = server.read(&id).await;
    server.act(&id, "submit", json!({ "turns_used": 1 })).await.error(400);
    server
        .act(&id, "submit", json!({ "commits_count": 1 }))
        .await
        .error(400);
    assert_eq!(server.read(&id).await, before);
    let full = json!({ "commits_count": 0, "turns_used": 0 });
    let unknown = server.act("nobody", "submit", full.clone()).await.error(404);
    assert_eq!(unknown["task_id"], "nobody");
    let waiting = server.task("s", json!({})).await;
    assert_wrong_state(&server.act(&waiting, "submit", full.clone()).await.error(409));
    assert_eq!(server.read(&waiting).await["queue"], "incoming");
    // Nought is a number like any other.
    assert_eq!(
        server.act(&id, "submit", full).await.expect(200)["queue"],
        "provisional"
    );
}

#[tokio::test]
async fn many_turns_are_a_burnout() {
    let server = Server::start(&[]);
    let orchestrator = server.orchestrator("s").await;
    for (turns, commits, queue) in [
        (79, 0, "provisional"),
        (80, 0, "needs_continuation"),
        (80, 1, "provisional"),
        (99, 1, "provisional"),
        (100, 5, "needs_continuation"),
    ] {
        let id = claimed(&server, &orchestrator, json!({})).await;
        let body = json!({ "commits_count": commits, "turns_used": turns });
        let task = server.act(&id, "submit", body).await.expect(200);
        assert_eq!(task["queue"], queue, "{turns} turns, {commits} commits");
        assert_unclaimed(&task);
        let burnt = server
            .history(&id)
            .await
            .iter()
            .any(|row| row["event"] == "burnout_detected");
        assert_eq!(burnt, queue == "needs_continuation", "{turns} turns, {commits} commits");
    }
    // The way out is to claim it from there.
    let task = server
        .claim("s", &orchestrator, json!({ "queue": "needs_continuation" }))
        .await;
    assert_eq!(task["queue"], "claimed");
}

#[tokio::test]
async fn accepting_finishes_a_task() {
    let server = Server::start(&[]);
    let orchestrator = server.orchestrator("s").await;
    let id = server.submitted("s", &orchestrator, json!({})).await;
    server.act(&id, "accept", json!({})).await.error(400);
    assert_eq!(server.read(&id).await["queue"], "provisional");
    let task = server
        .act(&id, "accept", json!({ "accepted_by": "mia" }))
        .await
        .expect(200);
    assert_eq!(task["queue"], "done");
    assert!(is_wire_time(&task["completed_at"]), "{task}");
    assert_unclaimed(&task);
    assert_eq!(server.history_row(&id, "accepted").await["agent"], "mia");

    // Straight from work, as for parts of a project; and with a time of the client's.
    let id = claimed(&server, &orchestrator, json!({})).await;
    let body = json!({ "accepted_by": "mia", "completed_at": "2026-01-02T03:04:05.678901+00:00" });
    let task = server.act(&id, "accept", body).await.expect(200);
    assert_eq!(
        (task["queue"].as_str(), task["completed_at"].as_str()),
        (Some("done"), Some("2026-01-02T03:04:05.678Z"))
    );

    let waiting = server.task("s", json!({})).await;
    let refused = server
        .act(&waiting, "accept", json!({ "accepted_by": "mia" }))
        .await
        .error(409);
    assert!(text(&refused["error"]).contains("Failed to accept task"), "{refused}");
    assert_wrong_state(&refused);
    let unknown = server
        .act("nobody", "accept", json!({ "accepted_by": "mia" }))
        .await
        .error(404);
    assert_eq!(unknown["task_id"], "nobody");
}

#[tokio::test]
async fn a_second_acceptance_changes_nothing() {
    let server = Server::start(&[]);
    let orchestrator = server.orchestrator("s").await;
    let id = server.submitted("s", &orchestrator, json!({})).await;
    let done = server
        .act(&id, "accept", json!({ "accepted_by": "mia" }))
        .await
        .expect(200);
    let again = server.act(&id, "accept", json!({ "accepted_by": "mia" })).await;
    assert!(matches!(again.status, 200 | 409), "{again}");
    assert_eq!(server.read(&id).await, done);
    server
        .act(&id, "reject", json!({ "reason": "late", "rejected_by": "noa" }))
        .await
        .error(409);
    server.act(&id, "requeue", json!({})).await.error(409);
    assert_eq!(server.read(&id).await, done);
}

#[tokio::test]
async fn a_rejection_keeps_its_reason() {
    let server = Server::start(&[]);
    let orchestrator = server.orchestrator("s").await;
    let id = server.submitted("s", &orchestrator, json!({})).await;
    server.act(&id, "reject", json!({ "reason": "x" })).await.error(400);
    server
        .act(&id, "reject", json!({ "rejected_by": "noa" }))
        .await
        .error(400);
    let body = json!({ "reason": "the test is missing", "rejected_by": "noa" });
    let task = server.act(&id, "reject", body.clone()).await.expect(200);
    assert_eq!(
        (task["queue"].as_str(), number(&task["rejection_count"])),
        (Some("incoming"), 1)
    );
    assert_unclaimed(&task);
    let row = server.history_row(&id, "rejected").await;
    assert_eq!(row["agent"], "noa");
    assert!(row["details"].to_string().contains("the test is missing"), "{row}");
    let path = of(&format!("/api/v1/tasks/{id}/messages"), "s");
    let messages = server.get(&path).await.expect(200);
    let told = messages["messages"]
        .as_array()
        .unwrap()
        .iter()
        .find(|m| m["type"] == "rejection");
    let told = told.unwrap_or_else(|| panic!("no rejection among {messages}"));
    assert_eq!(
        (told["content"].as_str(), told["from_actor"].as_str()),
        (Some("the test is missing"), Some("noa"))
    );
    assert_wrong_state(&server.act(&id, "reject", body.clone()).await.error(409));
    assert_eq!(
        server.act("nobody", "reject", body).await.error(404)["task_id"],
        "nobody"
    );
}

#[tokio::test]
async fn requeueing_counts_an_attempt() {
    let server = Server::start(&[]);
    let orchestrator = server.orchestrator("s").await;
    let id = claimed(&server, &orchestrator, json!({})).await;
    let path = format!("/api/v1/tasks/{id}/requeue");
    // The body is not read.
    let task = server.send("POST", &path, &[], b"{garbage".to_vec()).await.expect(200);
    assert_eq!(
        (task["queue"].as_str(), number(&task["attempt_count"])),
        (Some("incoming"), 1)
    );
    assert_unclaimed(&task);
    assert_eq!(server.history_row(&id, "requeued").await["agent"], "ann");
    assert_wrong_state(&server.send("POST", &path, &[], Vec::new()).await.error(409));
    assert_eq!(number(&server.read(&id).await["attempt_count"]), 1);
    server.claim("s", &orchestrator, json!({})).await;
    server.submit(&id).await;
    let task = server.send("POST", &path, &[], Vec::new()).await.expect(200);
    assert_eq!(
        (task["queue"].as_str(), number(&task["attempt_count"])),
        (Some("incoming"), 2)
    );
    let unknown = server.act("nobody", "requeue", json!({})).await.error(404);
    assert_eq!(unknown["task_id"], "nobody");
}

#[tokio::test]
async fn forcing_moves_anywhere_and_says_why() {
    let server = Server::start(&[]);
    let orchestrator = server.orchestrator("s").await;
    let id = claimed(&server, &orchestrator, json!({})).await;
    let dependent = server.task("s", json!({ "blocked_by": id })).await;
    let body = json!({ "queue": "done", "reason": "done by hand" });
    let task = server.act(&id, "force-queue", body).await.expect(200);
    assert_eq!(task["queue"], "done");
    assert!(is_wire_time(&task["completed_at"]), "{task}");
    assert_unclaimed(&task);
    let details = server.history_row(&id, "force_queue").await["details"].to_string();
    for word in ["done by hand", "claimed", "done"] {
        assert!(details.contains(word), "{word} is not in {details}");
    }
    let messages = server
        .get(&of(&format!("/api/v1/tasks/{id}/messages"), "s"))
        .await
        .expect(200);
    let told = messages["messages"]
        .as_array()
        .unwrap()
        .iter()
        .find(|m| m["type"] == "force_queue");
    let told = told.unwrap_or_else(|| panic!("no message among {messages}"));
    assert_eq!(
        (told["content"].as_str(), told["from_actor"].as_str()),
        (Some("done by hand"), Some("system"))
    );
    assert_eq!(
        server.read(&dependent).await["blocked_by"],
        Value::Null,
        "done releases"
    );

    let back = json!({ "queue": "backlog", "reason": "not done after all" });
    let task = server.act(&id, "force-queue", back).await.expect(200);
    assert_eq!(
        (task["queue"].as_str(), &task["completed_at"]),
        (Some("backlog"), &Value::Null)
    );
}

#[tokio::test]
async fn a_force_that_is_refused_moves_nothing() {
    let server = Server::start(&[]);
    let id = server.task("s", json!({})).await;
    let before = server.read(&id).await;
    for body in [
        json!({ "queue": "done" }),
        json!({ "reason": "r" }),
        json!({ "queue": "done", "reason": { "a": 1 } }),
        json!({ "queue": "done", "reason": ["r"] }),
        json!({ "queue": 5, "reason": "r" }),
    ] {
        server.act(&id, "force-queue", body.clone()).await.error(400);
        assert_eq!(server.read(&id).await, before, "{body}");
    }
    assert_eq!(server.history(&id).await.len(), 1);
    let unknown = server
        .act("nobody", "force-queue", json!({ "queue": "done", "reason": "r" }))
        .await;
    assert_eq!(unknown.error(404)["task_id"], "nobody");
}

#[tokio::test]
async fn leaving_done_is_not_being_complete() {
    let server = Server::start(&[]);
    let orchestrator = server.orchestrator("s").await;
    let id = server.submitted("s", &orchestrator, json!({})).await;
    server
        .act(&id, "accept", json!({ "accepted_by": "mia" }))
        .await
        .expect(200);
    let patch = json!({ "queue": "incoming" });
    let task = server.patch(&format!("/api/v1/tasks/{id}"), patch).await.expect(200);
    assert_eq!(
        (task["queue"].as_str(), &task["completed_at"]),
        (Some("incoming"), &Value::Null)
    );
}

#[tokio::test]
async fn each_change_raises_the_version_and_leaves_a_row() {
    let server = Server::start(&[]);
    let orchestrator = server.orchestrator("s").await;
    let hooks = json!([{ "name": "lint" }]).to_string();
    let id = server.task("s", json!({ "hooks": hooks })).await;
    let mut version = number(&server.read(&id).await["version"]);
    let mut rows = server.history(&id).await.len();
    let path = format!("/api/v1/tasks/{id}");
    let steps: [(&str, &str, Value); 10] = [
        ("PATCH", "", json!({ "title": "x" })),
        ("POST", "/hooks/lint/complete", json!({ "status": "passed" })),
        ("CLAIM", "", Value::Null),
        ("POST", "/requeue", json!({})),
        ("CLAIM", "", Value::Null),
        ("POST", "/submit", json!({ "commits_count": 1, "turns_used": 1 })),
        ("POST", "/reject", json!({ "reason": "r", "rejected_by": "noa" })),
        ("CLAIM", "", Value::Null),
        ("POST", "/accept", json!({ "accepted_by": "mia" })),
        (
            "POST",
            "/force-queue",
            json!({ "queue": "incoming", "reason": "again" }),
        ),
    ];
    for (method, suffix, body) in steps {
        let reply = match method {
            "CLAIM" => server.try_claim("s", &orchestrator, json!({})).await,
            "PATCH" => server.patch(&path, body).await,
            _ => server.post(&format!("{path}{suffix}"), body).await,
        };
        let task = reply.expect(200);
        assert!(number(&task["version"]) > version, "{method} {suffix}");
        version = number(&task["version"]);
        let now = server.history(&id).await.len();
        assert!(now > rows, "{method} {suffix} left no row");
        rows = now;
    }
}
