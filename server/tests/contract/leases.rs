//! What the holder of a claim may do, and what happens when the lease runs out.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Api, Server, number, text};

/// A lease of one second, one sweep of one second, one second of grace, and two for a busy machine.
const GONE_BY: Duration = Duration::from_secs(5);

/// Waits until nobody holds the task, and gives it as it is then.
async fn until_free(api: &Api, id: &str) -> Value {
    let begun = Instant::now();
    loop {
        let task = api.read(id).await;
        if task["claimed_by"].is_null() {
            return task;
        }
        assert!(begun.elapsed() < GONE_BY, "the claim did not run out: {task}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn fenced(api: &Api, orchestrator: &str, extra: Value) -> (String, String) {
    let mut ask = extra;
    ask["fenced"] = json!(true);
    let task = api.claim("s", orchestrator, ask).await;
    (text(&task["id"]), text(&task["claim_token"]))
}

#[tokio::test]
async fn a_lease_that_ran_out_gives_the_task_back_and_names_the_owner() {
    let server = Server::start(&["--lease-sweep-seconds", "1"]);
    let orchestrator = server.orchestrator("s").await;
    let id = server.task("s", json!({})).await;
    let bystander = server.task("s", json!({})).await;
    let ask = json!({ "agent_name": "ann", "lease_duration_seconds": 1 });
    let claimed = server.claim("s", &orchestrator, ask).await;
    assert_eq!(claimed["id"], id.as_str());
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(
        server.read(&id).await["claimed_by"],
        "ann",
        "the lease has not run out yet"
    );

    let task = until_free(&server, &id).await;
    assert_eq!(task["queue"], "incoming");
    for key in ["claimed_at", "orchestrator_id", "lease_expires_at"] {
        assert_eq!(task[key], Value::Null, "{key}");
    }
    assert!(number(&task["version"]) > number(&claimed["version"]));
    let row = server.history_row(&id, "requeued").await;
    assert_eq!(row["agent"], "ann", "{row}");
    assert!(row["details"].to_string().contains("Lease expired"), "{row}");
    assert_eq!(
        server.history(&bystander).await.len(),
        1,
        "only the task itself has the event"
    );
    let again = server.claim("s", &orchestrator, json!({ "agent_name": "bob" })).await;
    assert_eq!(again["id"], id.as_str());
}

#[tokio::test]
async fn a_late_submit_changes_nothing() {
    let server = Server::start(&["--lease-sweep-seconds", "1"]);
    let orchestrator = server.orchestrator("s").await;
    let id = server.task("s", json!({})).await;
    server
        .claim("s", &orchestrator, json!({ "lease_duration_seconds": 1 }))
        .await;
    let free = until_free(&server, &id).await;
    let body = json!({ "commits_count": 1, "turns_used": 1 });
    let refused = server.act(&id, "submit", body).await.error(409);
    assert!(refused["details"].is_array(), "{refused}");
    assert_eq!(server.read(&id).await, free);
}

#[tokio::test]
async fn the_first_owner_cannot_write_into_the_claim_of_the_second() {
    let server = Server::start(&["--lease-sweep-seconds", "1"]);
    let orchestrator = server.orchestrator("s").await;
    let id = server.task("s", json!({})).await;
    let (_, old) = fenced(&server, &orchestrator, json!({ "lease_duration_seconds": 1 })).await;
    until_free(&server, &id).await;
    let (again, new) = fenced(&server, &orchestrator, json!({ "agent_name": "bob" })).await;
    assert_eq!(again, id);
    let before = server.read(&id).await;
    for (action, body) in [
        ("renew", json!({})),
        ("release", json!({})),
        ("progress", json!({ "note": "n" })),
        ("fail", json!({ "reason": "r" })),
        ("submit", json!({ "commits_count": 1, "turns_used": 1 })),
    ] {
        for token in [Some(old.as_str()), Some("nonsense"), None] {
            let mut body = body.clone();
            if let Some(token) = token {
                body["claim_token"] = json!(token);
            }
            server.act(&id, action, body).await.code(409, "stale_claim");
            assert_eq!(
                server.read(&id).await,
                before,
                "{action} with {token:?} changed the task"
            );
        }
    }
    // A forged header is no better.
    let path = format!("/api/v1/tasks/{id}/submit");
    let body = br#"{"commits_count":1,"turns_used":1}"#.to_vec();
    let headers = [("Octopoid-Claim-Token", old.as_str())];
    server
        .send("POST", &path, &headers, body.clone())
        .await
        .code(409, "stale_claim");
    let headers = [("Octopoid-Claim-Token", new.as_str())];
    let submitted = server.send("POST", &path, &headers, body).await.expect(200);
    assert_eq!(submitted["queue"], "provisional");
    assert_eq!(server.history_row(&id, "submitted").await["agent"], "bob");
}

#[tokio::test]
async fn renewing_keeps_a_claim_alive() {
    let server = Server::start(&["--lease-sweep-seconds", "1"]);
    let orchestrator = server.orchestrator("s").await;
    let id = server.task("s", json!({})).await;
    let (_, token) = fenced(&server, &orchestrator, json!({ "lease_duration_seconds": 3 })).await;
    let mut until = text(&server.read(&id).await["lease_expires_at"]);
    for _ in 0..6 {
        tokio::time::sleep(Duration::from_millis(800)).await;
        let body = json!({ "claim_token": token, "lease_duration_seconds": 3 });
        server.act(&id, "renew", body).await.expect(200);
        let now = text(&server.read(&id).await["lease_expires_at"]);
        assert!(now > until, "{now} is not after {until}");
        until = now;
    }
    let task = server.read(&id).await;
    assert_eq!(
        (task["queue"].as_str(), task["claimed_by"].as_str()),
        (Some("claimed"), Some("agent-1"))
    );
}

#[tokio::test]
async fn releasing_gives_the_task_back_to_the_queue_it_came_from() {
    let server = Server::start(&[]);
    let orchestrator = server.orchestrator("s").await;
    let id = server.task("s", json!({ "queue": "backlog" })).await;
    let (_, token) = fenced(&server, &orchestrator, json!({ "queue": "backlog" })).await;
    let body = json!({ "claim_token": token });
    let task = server.act(&id, "release", body.clone()).await.expect(200);
    assert_eq!(task["queue"], "backlog");
    for key in ["claimed_by", "claimed_at", "orchestrator_id", "lease_expires_at"] {
        assert_eq!(task[key], Value::Null, "{key}");
    }
    server.act(&id, "release", body).await.code(409, "stale_claim");

    let incoming = server.task("s", json!({})).await;
    let (_, token) = fenced(&server, &orchestrator, json!({})).await;
    let task = server
        .act(&incoming, "release", json!({ "claim_token": token }))
        .await
        .expect(200);
    assert_eq!(task["queue"], "incoming");
    let (_, token) = fenced(&server, &orchestrator, json!({})).await;
    let body = json!({ "claim_token": token, "commits_count": 1, "turns_used": 1 });
    server.act(&incoming, "submit", body).await.expect(200);
    let (_, token) = fenced(&server, &orchestrator, json!({ "queue": "provisional" })).await;
    let task = server
        .act(&incoming, "release", json!({ "claim_token": token }))
        .await
        .expect(200);
    assert_eq!(
        (task["queue"].as_str(), &task["claimed_by"]),
        (Some("provisional"), &Value::Null)
    );
}

#[tokio::test]
async fn progress_is_recorded_and_moves_nothing() {
    let server = Server::start(&[]);
    let orchestrator = server.orchestrator("s").await;
    let id = server.task("s", json!({})).await;
    let (_, token) = fenced(&server, &orchestrator, json!({ "agent_name": "ann" })).await;
    let body = json!({ "claim_token": token, "note": "half of the tests pass" });
    server.act(&id, "progress", body).await.expect(200);
    let row = server.history_row(&id, "progress").await;
    assert_eq!(row["agent"], "ann");
    assert!(row["details"].to_string().contains("half of the tests pass"), "{row}");
    let task = server.read(&id).await;
    assert_eq!(
        (task["queue"].as_str(), task["claimed_by"].as_str()),
        (Some("claimed"), Some("ann"))
    );
}

#[tokio::test]
async fn failing_moves_to_failed_with_its_reason() {
    let server = Server::start(&[]);
    let orchestrator = server.orchestrator("s").await;
    let id = server.task("s", json!({})).await;
    let (_, token) = fenced(&server, &orchestrator, json!({})).await;
    let body = json!({ "claim_token": token, "reason": "cannot be built" });
    let task = server.act(&id, "fail", body).await.expect(200);
    assert_eq!(task["queue"], "failed");
    assert_eq!(task["execution_notes"], "cannot be built");
    assert_eq!(task["claimed_by"], Value::Null);
    let last = server.history(&id).await.pop().unwrap();
    assert!(last["details"].to_string().contains("cannot be built"), "{last}");

    // From any queue but `done`, and nobody needs a token where no fenced claim is held.
    let waiting = server.task("s", json!({})).await;
    let task = server
        .act(&waiting, "fail", json!({ "reason": "not wanted" }))
        .await
        .expect(200);
    assert_eq!(
        (task["queue"].as_str(), task["execution_notes"].as_str()),
        (Some("failed"), Some("not wanted"))
    );
    let done = server.submitted("s", &orchestrator, json!({})).await;
    let before = server
        .act(&done, "accept", json!({ "accepted_by": "me" }))
        .await
        .expect(200);
    server
        .act(&done, "fail", json!({ "reason": "too late" }))
        .await
        .error(409);
    assert_eq!(server.read(&done).await, before);
}

#[tokio::test]
async fn a_review_claim_that_ran_out_leaves_the_task_in_review() {
    let server = Server::start(&["--lease-sweep-seconds", "1"]);
    let orchestrator = server.orchestrator("s").await;
    let id = server.submitted("s", &orchestrator, json!({})).await;
    let ask = json!({ "queue": "provisional", "agent_name": "rita", "lease_duration_seconds": 1 });
    server.claim("s", &orchestrator, ask).await;
    let task = until_free(&server, &id).await;
    assert_eq!(task["queue"], "provisional");
    assert_eq!(task["lease_expires_at"], Value::Null);
    let last = server.history(&id).await.pop().unwrap();
    assert_eq!(last["agent"], "rita", "{last}");
    assert!(last["details"].to_string().contains("Lease expired"), "{last}");
    let ask = json!({ "queue": "provisional", "agent_name": "ruth" });
    assert_eq!(server.claim("s", &orchestrator, ask).await["id"], id.as_str());
}

#[tokio::test]
async fn a_lease_that_a_client_wrote_runs_out_too() {
    let server = Server::start(&["--lease-sweep-seconds", "1"]);
    let orchestrator = server.orchestrator("s").await;
    // Earlier today, in each spelling: a comparison of texts gets at least one of these wrong.
    for past in [
        "2020-01-01 00:00:00",
        "2020-01-01T00:00:00.123456+00:00",
        "2020-01-01T00:00:00.000Z",
    ] {
        let id = server.task("s", json!({})).await;
        server.claim("s", &orchestrator, json!({ "agent_name": "ann" })).await;
        let path = format!("/api/v1/tasks/{id}");
        server
            .patch(&path, json!({ "lease_expires_at": past }))
            .await
            .expect(200);
        let task = until_free(&server, &id).await;
        assert_eq!(task["queue"], "incoming", "{past}");
        assert_eq!(server.history_row(&id, "requeued").await["agent"], "ann");
        server.delete(&path).await.expect(200);
    }
}

#[tokio::test]
async fn a_task_can_begin_in_claimed_and_still_has_a_lease() {
    let server = Server::start(&[]);
    let id = server.task("s", json!({ "queue": "claimed" })).await;
    let task = server.read(&id).await;
    assert_eq!(task["queue"], "claimed");
    assert_ne!(
        task["lease_expires_at"],
        Value::Null,
        "without one it would be stuck for ever"
    );
    assert_eq!(server.submit(&id).await["queue"], "provisional");
}

#[tokio::test]
async fn a_client_that_renews_by_patch_keeps_its_claim() {
    let server = Server::start(&["--lease-sweep-seconds", "1"]);
    let orchestrator = server.orchestrator("s").await;
    let id = server.task("s", json!({})).await;
    server
        .claim("s", &orchestrator, json!({ "lease_duration_seconds": 2 }))
        .await;
    let path = format!("/api/v1/tasks/{id}");
    let later = json!({ "lease_expires_at": "2099-11-22T23:00:00.123456+00:00" });
    server.patch(&path, later).await.expect(200);
    tokio::time::sleep(Duration::from_secs(4)).await;
    let task = server.read(&id).await;
    assert_eq!(
        (task["queue"].as_str(), task["claimed_by"].as_str()),
        (Some("claimed"), Some("agent-1"))
    );
}

#[tokio::test]
async fn a_late_clean_up_by_an_earlier_client_does_no_harm() {
    // Each earlier orchestrator looks for expired leases itself and patches the tasks back, racing with the server.
    let server = Server::start(&["--lease-sweep-seconds", "1"]);
    let orchestrator = server.orchestrator("s").await;
    let id = server.task("s", json!({})).await;
    server
        .claim("s", &orchestrator, json!({ "lease_duration_seconds": 1 }))
        .await;
    until_free(&server, &id).await;
    let late = json!({
        "queue": "incoming", "claimed_by": null, "lease_expires_at": null, "attempt_count": 1, "needs_intervention": false,
    });
    let task = server.patch(&format!("/api/v1/tasks/{id}"), late).await.expect(200);
    assert_eq!(
        (task["queue"].as_str(), number(&task["attempt_count"])),
        (Some("incoming"), 1)
    );
    assert_eq!(server.claim("s", &orchestrator, json!({})).await["id"], id.as_str());
}
