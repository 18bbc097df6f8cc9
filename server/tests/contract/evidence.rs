//! Claims that carry a token, and work that was handed in with evidence: nobody's mere word gets past either.

use serde_json::{Value, json};

use crate::harness::{Server, text, with};

const TYPED: &[(&str, &str)] = &[
    ("content-type", "application/json"),
    ("accept", "application/vnd.octopoid+json"),
];

/// What is true of a task besides its row: everything that happened to it.
async fn whole(server: &Server, id: &str) -> Value {
    json!([server.read(id).await, server.history(id).await])
}

/// Claims a task as an orchestrator does, which says what it answers to; gives the task's id and the claim's token.
async fn take(server: &Server, orchestrator: &str, queue: &str, answers_to: &str) -> (String, String) {
    let ask = json!({ "queues": [queue], "answers_to": [answers_to], "role": "implement" });
    let claimed = server.claim("s", orchestrator, ask).await;
    (text(&claimed["id"]), text(&claimed["claim_token"]))
}

/// A task whose commit an orchestrator has handed in.
async fn handed_in(server: &Server, orchestrator: &str) -> String {
    let id = server.task("s", json!({ "role": "implement" })).await;
    let (claimed, token) = take(server, orchestrator, "incoming", "implement").await;
    assert_eq!(claimed, id, "another task was in the way");
    let command = json!({
        "command": "submit", "token": token, "usage": {}, "checks_required": false,
        "evidence": { "head_sha": "0123456789abcdef0123456789abcdef01234567", "commits": 1 },
    });
    let task = server.act(&id, "commands", command).await.expect(200);
    assert_eq!(task["queue"], "provisional", "{task}");
    id
}

/// Which commit the server has for the task's work.
async fn head(server: &Server, id: &str) -> Value {
    let path = format!("/api/v1/tasks/{id}?scope=s");
    server.send("GET", &path, TYPED, Vec::new()).await.expect(200)["head_sha"].clone()
}

#[tokio::test]
async fn a_patch_moves_no_task_past_the_token_of_its_claim() {
    let server = Server::start(&[]);
    let orchestrator = server.orchestrator("s").await;
    for typed in [false, true] {
        let id = server.task("s", json!({ "role": "implement" })).await;
        let (claimed, token) = if typed {
            take(&server, &orchestrator, "incoming", "implement").await
        } else {
            let task = server.claim("s", &orchestrator, json!({ "fenced": true })).await;
            (text(&task["id"]), text(&task["claim_token"]))
        };
        assert_eq!(claimed, id);
        let before = whole(&server, &id).await;
        let path = format!("/api/v1/tasks/{id}");
        for queue in ["incoming", "provisional", "backlog", "failed", "blocked"] {
            for more in [
                json!({}),
                json!({ "claim_token": "nonsense" }),
                json!({ "claimed_by": null, "orchestrator_id": null, "lease_expires_at": null }),
                json!({ "version": server.read(&id).await["version"] }),
            ] {
                let body = with(json!({ "queue": queue }), more);
                server.patch(&path, body.clone()).await.code(409, "stale_claim");
                assert_eq!(whole(&server, &id).await, before, "{body} changed something");
            }
            let headers = [
                ("content-type", "application/json"),
                ("Octopoid-Claim-Token", "nonsense"),
            ];
            let body = json!({ "queue": queue }).to_string().into_bytes();
            let refused = server.send("PATCH", &path, &headers, body).await;
            refused.code(409, "stale_claim");
        }
        // The lease is the holder's too; what nobody holds can still be written.
        let lease = json!({ "lease_expires_at": "2020-01-01T00:00:00.000Z" });
        server.patch(&path, lease).await.code(409, "stale_claim");
        assert_eq!(whole(&server, &id).await, before);
        let task = server.patch(&path, json!({ "title": "clearer" })).await.expect(200);
        assert_eq!((&task["queue"], &task["title"]), (&json!("claimed"), &json!("clearer")));
        let body = json!({ "queue": "backlog", "claim_token": token });
        let task = server.patch(&path, body).await.expect(200);
        assert_eq!((&task["queue"], &task["claimed_by"]), (&json!("backlog"), &Value::Null));
    }
}

#[tokio::test]
async fn work_with_evidence_is_approved_by_a_word_and_not_done() {
    let server = Server::start(&[]);
    let orchestrator = server.orchestrator("s").await;
    let id = handed_in(&server, &orchestrator).await;
    let body = json!({ "accepted_by": "mia", "completed_at": "2020-01-01T00:00:00.000Z" });
    let task = server.act(&id, "accept", body).await.expect(200);
    assert_eq!(
        (&task["queue"], &task["completed_at"]),
        (&json!("provisional"), &Value::Null),
        "approved, and still to be merged: {task}"
    );
    // Only a landing with the merged commit makes it done.
    let (landing, token) = take(&server, &orchestrator, "provisional", "engine").await;
    assert_eq!(landing, id);
    let advance = json!({ "command": "advance", "token": token, "merged_sha": null });
    server
        .act(&id, "commands", advance)
        .await
        .code(409, "illegal_transition");
    let advance = json!({ "command": "advance", "token": token, "merged_sha": "f00d" });
    let task = server.act(&id, "commands", advance).await.expect(200);
    assert_eq!(task["queue"], "done");
}

#[tokio::test]
async fn no_way_around_by_patch_makes_work_with_evidence_done() {
    let server = Server::start(&[]);
    let orchestrator = server.orchestrator("s").await;
    let accept = json!({ "accepted_by": "mia" });
    let hand_in = json!({ "commits_count": 1, "turns_used": 1 });
    for queue in [
        "incoming",
        "claimed",
        "backlog",
        "blocked",
        "provisional",
        "needs_continuation",
    ] {
        let id = handed_in(&server, &orchestrator).await;
        let path = format!("/api/v1/tasks/{id}");
        let sha = head(&server, &id).await;
        let moved = server.patch(&path, json!({ "queue": queue })).await.expect(200);
        assert_eq!(moved["queue"], queue);
        assert_eq!(head(&server, &id).await, sha, "what was handed in is not forgotten");
        // A word may send it into the review again; that is not the end.
        let accepted = server.act(&id, "accept", accept.clone()).await;
        if queue == "provisional" {
            assert_eq!(accepted.expect(200)["queue"], "provisional");
        } else {
            let before = moved["version"].clone();
            accepted.code(409, "illegal_transition");
            assert_eq!(server.read(&id).await["version"], before, "from {queue}");
        }
        server.patch(&path, json!({ "queue": "done" })).await.error(400);
        let command = json!({ "command": "patch", "by": null, "patch": { "queue": "done" } });
        let by_command = server.act(&id, "commands", command).await;
        assert!((400..500).contains(&by_command.status), "{by_command}");
        let force = json!({ "queue": "done", "reason": "because" });
        server
            .act(&id, "force-queue", force)
            .await
            .code(409, "illegal_transition");
        // Handed in by a word, the commit would be forgotten, and the next accept would end it.
        let again = server.act(&id, "submit", hand_in.clone()).await;
        again.code(409, "illegal_transition");
        let task = server.read(&id).await;
        assert_ne!(task["queue"], "done", "from {queue}");
        assert_eq!(task["completed_at"], Value::Null, "{task}");
        assert_eq!(head(&server, &id).await, sha);
        server.delete(&path).await.expect(200);
    }
}

#[tokio::test]
async fn a_client_that_takes_work_with_evidence_over_does_not_end_it() {
    let server = Server::start(&[]);
    let orchestrator = server.orchestrator("s").await;
    let id = handed_in(&server, &orchestrator).await;
    let path = format!("/api/v1/tasks/{id}");
    server.patch(&path, json!({ "queue": "incoming" })).await.expect(200);
    // As an earlier client does it: claim, submit, accept.
    let claimed = server.claim("s", &orchestrator, json!({})).await;
    assert_eq!(claimed["id"], id.as_str());
    let before = whole(&server, &id).await;
    let body = json!({ "commits_count": 1, "turns_used": 1 });
    server.act(&id, "submit", body).await.code(409, "illegal_transition");
    server
        .act(&id, "accept", json!({ "accepted_by": "mia" }))
        .await
        .code(409, "illegal_transition");
    assert_eq!(whole(&server, &id).await, before);
    // Without any evidence, the same words are good.
    let other = server.task("s", json!({})).await;
    server.claim("s", &orchestrator, json!({})).await;
    server.submit(&other).await;
    let done = server.act(&other, "accept", json!({ "accepted_by": "mia" })).await;
    assert_eq!(done.expect(200)["queue"], "done");
}
