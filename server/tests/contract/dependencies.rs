//! Tasks that wait for other tasks, and what sets them free.

use serde_json::{Value, json};

use crate::harness::{Api, Server, text};

async fn finish(server: &Api, id: &str) {
    let body = json!({ "queue": "done", "reason": "test" });
    server.act(id, "force-queue", body).await.expect(200);
}

/// A task that nobody can claim by chance.
async fn parked(server: &Api) -> String {
    server.task("s", json!({ "queue": "backlog" })).await
}

async fn blocked_by(server: &Api, id: &str) -> Value {
    server.read(id).await["blocked_by"].clone()
}

#[tokio::test]
async fn a_chain_is_released_link_by_link() {
    let server = Server::start(&[]);
    let orchestrator = server.orchestrator("s").await;
    let first = server.task("s", json!({})).await;
    let second = server.task("s", json!({ "blocked_by": first, "priority": "P0" })).await;
    let third = server
        .task("s", json!({ "blocked_by": second, "priority": "P0" }))
        .await;
    for (id, next) in [(&first, Some(&second)), (&second, Some(&third)), (&third, None)] {
        let task = server.claim("s", &orchestrator, json!({})).await;
        assert_eq!(task["id"], id.as_str(), "the urgent ones are blocked");
        server.try_claim("s", &orchestrator, json!({})).await.expect(404);
        server.submit(id).await;
        let Some(next) = next else { break };
        assert_eq!(blocked_by(&server, next).await, id.as_str(), "submitted is not done");
        server
            .act(id, "accept", json!({ "accepted_by": "mia" }))
            .await
            .expect(200);
        assert_eq!(blocked_by(&server, next).await, Value::Null);
        let row = server.history_row(next, "unblocked").await;
        assert!(row["details"].to_string().contains(id.as_str()), "{row}");
    }
}

#[tokio::test]
async fn several_blockers_as_a_list_or_with_commas() {
    let server = Server::start(&[]);
    let orchestrator = server.orchestrator("s").await;
    for as_list in [false, true] {
        let (a, b) = (parked(&server).await, parked(&server).await);
        let wanted = if as_list {
            json!([a, b])
        } else {
            json!(format!("{a},{b}"))
        };
        let id = server.task("s", json!({ "blocked_by": wanted })).await;
        let shown = text(&blocked_by(&server, &id).await);
        assert!(shown == format!("{a},{b}") || shown == format!("{b},{a}"), "{shown}");
        server.try_claim("s", &orchestrator, json!({})).await.expect(404);
        let version = server.read(&id).await["version"].as_i64();
        finish(&server, &a).await;
        assert_eq!(
            blocked_by(&server, &id).await,
            b.as_str(),
            "only the finished one is gone"
        );
        assert!(server.read(&id).await["version"].as_i64() > version);
        server.try_claim("s", &orchestrator, json!({})).await.expect(404);
        finish(&server, &b).await;
        assert_eq!(blocked_by(&server, &id).await, Value::Null);
        assert_eq!(server.claim("s", &orchestrator, json!({})).await["id"], id.as_str());
    }
}

#[tokio::test]
async fn one_end_releases_all_who_wait_for_it() {
    let server = Server::start(&[]);
    let orchestrator = server.orchestrator("s").await;
    let blocker = parked(&server).await;
    let mut waiting = Vec::new();
    for _ in 0..30 {
        waiting.push(server.task("s", json!({ "blocked_by": blocker })).await);
    }
    let path = format!("/api/v1/tasks?scope=s&blocked_by={blocker}");
    assert_eq!(server.get(&path).await.expect(200)["total"], 30);
    finish(&server, &blocker).await;
    assert_eq!(server.get(&path).await.expect(200)["total"], 0);
    for id in waiting {
        assert_eq!(server.claim("s", &orchestrator, json!({})).await["id"], id.as_str());
    }
}

#[tokio::test]
async fn a_blocker_that_is_done_already_blocks_nobody() {
    let server = Server::start(&[]);
    let orchestrator = server.orchestrator("s").await;
    let (done, open) = (parked(&server).await, parked(&server).await);
    finish(&server, &done).await;
    let id = server.task("s", json!({ "blocked_by": done })).await;
    assert_eq!(blocked_by(&server, &id).await, Value::Null);
    assert_eq!(server.claim("s", &orchestrator, json!({})).await["id"], id.as_str());
    let id = server.task("s", json!({ "blocked_by": [done, open] })).await;
    assert_eq!(blocked_by(&server, &id).await, open.as_str());
}

#[tokio::test]
async fn what_can_never_end_is_refused() {
    let server = Server::start(&[]);
    let a = server.task("s", json!({})).await;
    let b = server.task("s", json!({ "blocked_by": a })).await;
    let c = server.task("s", json!({ "blocked_by": b })).await;
    let foreign = server.task("other", json!({})).await;
    let body = json!({ "id": "itself", "title": "x", "scope": "s", "blocked_by": "itself" });
    server.post("/api/v1/tasks", body).await.error(400);
    for unknown in ["nobody", foreign.as_str()] {
        let body = json!({ "id": "lost", "title": "x", "scope": "s", "blocked_by": unknown });
        let refused = server.post("/api/v1/tasks", body).await.error(400);
        assert!(text(&refused["error"]).contains(unknown), "{refused}");
    }
    let path = format!("/api/v1/tasks/{a}");
    let before = server.read(&a).await;
    for circle in [&a, &b, &c] {
        server.patch(&path, json!({ "blocked_by": circle })).await.error(400);
    }
    assert_eq!(server.read(&a).await, before);
    for id in ["itself", "lost"] {
        server.get(&format!("/api/v1/tasks/{id}")).await.error(404);
    }
}

#[tokio::test]
async fn a_patch_can_add_and_take_away_blockers() {
    let server = Server::start(&[]);
    let orchestrator = server.orchestrator("s").await;
    let blocker = parked(&server).await;
    let id = server.task("s", json!({})).await;
    let path = format!("/api/v1/tasks/{id}");
    let task = server.patch(&path, json!({ "blocked_by": blocker })).await.expect(200);
    assert_eq!(task["blocked_by"], blocker.as_str());
    server.try_claim("s", &orchestrator, json!({})).await.expect(404);
    let task = server.patch(&path, json!({ "blocked_by": null })).await.expect(200);
    assert_eq!(task["blocked_by"], Value::Null);
    assert_eq!(server.claim("s", &orchestrator, json!({})).await["id"], id.as_str());
}

#[tokio::test]
async fn a_failed_or_cancelled_blocker_releases_nobody() {
    let server = Server::start(&[]);
    let orchestrator = server.orchestrator("s").await;
    for (action, body, queue) in [
        ("fail", json!({ "reason": "no" }), "failed"),
        ("cancel", json!({ "by": "mia", "reason": "no" }), "cancelled"),
    ] {
        let blocker = parked(&server).await;
        let id = server.task("s", json!({ "blocked_by": blocker })).await;
        let ended = server.act(&blocker, action, body).await.expect(200);
        assert_eq!(ended["queue"], queue);
        assert_eq!(blocked_by(&server, &id).await, blocker.as_str());
        server.try_claim("s", &orchestrator, json!({})).await.expect(404);
        let why = server.get(&format!("/api/v1/tasks/{id}/why")).await.expect(200);
        let held = text(&why["held_by"]);
        assert!(held.contains(&blocker) && held.contains(queue), "{why}");
        server.delete(&format!("/api/v1/tasks/{id}")).await.expect(200);
    }
}

#[tokio::test]
async fn a_deleted_blocker_releases_who_waits_for_it() {
    let server = Server::start(&[]);
    let orchestrator = server.orchestrator("s").await;
    let (gone, stays) = (parked(&server).await, parked(&server).await);
    let one = server.task("s", json!({ "blocked_by": gone })).await;
    let two = server.task("s", json!({ "blocked_by": [gone, stays] })).await;
    server.delete(&format!("/api/v1/tasks/{gone}")).await.expect(200);
    assert_eq!(blocked_by(&server, &one).await, Value::Null);
    assert_eq!(blocked_by(&server, &two).await, stays.as_str());
    let row = server.history_row(&one, "unblocked").await;
    assert!(row["details"].to_string().contains(&gone), "{row}");
    assert_eq!(server.claim("s", &orchestrator, json!({})).await["id"], one.as_str());
    server.try_claim("s", &orchestrator, json!({})).await.expect(404);
}

#[tokio::test]
async fn being_blocked_stops_claims_only() {
    let server = Server::start(&[]);
    let blocker = parked(&server).await;
    let id = server
        .task("s", json!({ "blocked_by": blocker, "queue": "provisional" }))
        .await;
    let path = format!("/api/v1/tasks/{id}");
    server
        .patch(&path, json!({ "title": "still editable" }))
        .await
        .expect(200);
    let task = server
        .act(&id, "accept", json!({ "accepted_by": "mia" }))
        .await
        .expect(200);
    assert_eq!(task["queue"], "done");
}

#[tokio::test]
async fn a_blocker_that_leaves_done_is_waited_for_again() {
    let server = Server::start(&[]);
    let orchestrator = server.orchestrator("s").await;
    for by_patch in [false, true] {
        let (left, other) = (parked(&server).await, parked(&server).await);
        let one = server.task("s", json!({ "blocked_by": left })).await;
        let two = server.task("s", json!({ "blocked_by": [left, other] })).await;
        finish(&server, &left).await;
        assert_eq!(blocked_by(&server, &one).await, Value::Null);
        assert_eq!(blocked_by(&server, &two).await, other.as_str());
        let version = server.read(&one).await["version"].as_i64();

        // Somebody finds that it is not done after all.
        let back = if by_patch {
            server
                .patch(&format!("/api/v1/tasks/{left}"), json!({ "queue": "backlog" }))
                .await
        } else {
            let body = json!({ "queue": "backlog", "reason": "it is not done" });
            server.act(&left, "force-queue", body).await
        };
        assert_eq!(back.expect(200)["queue"], "backlog");
        assert_eq!(blocked_by(&server, &one).await, left.as_str());
        let both = text(&blocked_by(&server, &two).await);
        assert!(both.contains(&left) && both.contains(&other), "{both}");
        assert!(server.read(&one).await["version"].as_i64() > version);
        let row = server.history_row(&one, "blocked").await;
        assert!(row["details"].to_string().contains(&left), "{row}");
        server.try_claim("s", &orchestrator, json!({})).await.expect(404);
        let list = format!("/api/v1/tasks?scope=s&blocked_by={left}");
        assert_eq!(server.get(&list).await.expect(200)["total"], 2);

        // Each is counted once, however often it goes to and fro.
        finish(&server, &left).await;
        assert_eq!(blocked_by(&server, &one).await, Value::Null);
        finish(&server, &other).await;
        assert_eq!(blocked_by(&server, &two).await, Value::Null);
        for id in [&one, &two] {
            assert_eq!(server.claim("s", &orchestrator, json!({})).await["id"], id.as_str());
        }
    }
}

#[tokio::test]
async fn who_works_already_is_not_stopped_by_a_blocker_that_leaves_done() {
    let server = Server::start(&[]);
    let orchestrator = server.orchestrator("s").await;
    let blocker = parked(&server).await;
    let id = server.task("s", json!({ "blocked_by": blocker })).await;
    finish(&server, &blocker).await;
    let claimed = server.claim("s", &orchestrator, json!({ "fenced": true })).await;
    assert_eq!(claimed["id"], id.as_str());
    let body = json!({ "queue": "backlog", "reason": "it is not done" });
    server.act(&blocker, "force-queue", body).await.expect(200);
    let body = json!({ "claim_token": claimed["claim_token"] });
    server.act(&id, "renew", body.clone()).await.expect(200);
    assert_eq!(server.read(&id).await["queue"], "claimed");
    // Given back, it waits as any other does.
    server.act(&id, "release", body).await.expect(200);
    server.try_claim("s", &orchestrator, json!({})).await.expect(404);
    finish(&server, &blocker).await;
    assert_eq!(server.claim("s", &orchestrator, json!({})).await["id"], id.as_str());
}
