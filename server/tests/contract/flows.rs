//! What a registered flow changes: who may be accepted, which queues there are, where submitted work goes.

use serde_json::{Value, json};

use crate::{
    harness::{Api, Server, text, with},
    lifecycle::{assert_wrong_state, claimed},
};

/// Registers a flow that has the states of every flow and these besides.
async fn flow(server: &Api, name: &str, states: &[&str], edges: &[(&str, &str)]) {
    let all: Vec<&str> = ["incoming", "claimed", "done", "failed"]
        .into_iter()
        .chain(states.iter().copied())
        .collect();
    let edges: Vec<Value> = edges
        .iter()
        .map(|(from, to)| json!({ "from": from, "to": to }))
        .collect();
    let body = json!({ "scope": "s", "states": all, "transitions": edges });
    server.put(&format!("/api/v1/flows/{name}"), body).await.expect(200);
}

#[tokio::test]
async fn a_registered_flow_decides_who_may_be_accepted() {
    let server = Server::start(&[]);
    let orchestrator = server.orchestrator("s").await;
    let edges = [("incoming", "claimed"), ("claimed", "provisional"), ("checked", "done")];
    flow(&server, "strict", &["provisional", "checked"], &edges).await;
    let id = server.submitted("s", &orchestrator, json!({ "flow": "strict" })).await;
    server
        .act(&id, "accept", json!({ "accepted_by": "mia" }))
        .await
        .error(409);
    server
        .act(&id, "reject", json!({ "reason": "r", "rejected_by": "noa" }))
        .await
        .error(409);
    let path = format!("/api/v1/tasks/{id}");
    let refused = server.patch(&path, json!({ "queue": "elsewhere" })).await.error(400);
    let sentence = text(&refused["error"]);
    assert!(
        sentence.contains("elsewhere") && sentence.contains("strict"),
        "{refused}"
    );
    let force = json!({ "queue": "elsewhere", "reason": "r" });
    server.act(&id, "force-queue", force).await.error(400);
    server.patch(&path, json!({ "queue": "checked" })).await.expect(200);
    let task = server
        .act(&id, "accept", json!({ "accepted_by": "mia" }))
        .await
        .expect(200);
    assert_eq!(task["queue"], "done");
}

#[tokio::test]
async fn work_can_always_be_given_back() {
    // A flow that forgets the way from `claimed` back to `incoming` does not trap its tasks.
    let server = Server::start(&["--lease-sweep-seconds", "1"]);
    let orchestrator = server.orchestrator("s").await;
    flow(
        &server,
        "forgetful",
        &["provisional"],
        &[("incoming", "claimed"), ("claimed", "provisional")],
    )
    .await;
    let id = claimed(&server, &orchestrator, json!({ "flow": "forgetful" })).await;
    let task = server.act(&id, "requeue", json!({})).await.expect(200);
    assert_eq!(task["queue"], "incoming");
    server
        .claim("s", &orchestrator, json!({ "lease_duration_seconds": 1 }))
        .await;
    for _ in 0..100 {
        if server.read(&id).await["queue"] == "incoming" {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("the lease did not run out: {}", server.read(&id).await);
}

#[tokio::test]
async fn submitted_work_goes_where_its_flow_says() {
    let server = Server::start(&[]);
    let orchestrator = server.orchestrator("s").await;
    flow(
        &server,
        "own",
        &["testing"],
        &[("claimed", "testing"), ("claimed", "failed"), ("testing", "done")],
    )
    .await;
    let id = claimed(&server, &orchestrator, json!({ "flow": "own" })).await;
    assert_eq!(server.submit(&id).await["queue"], "testing");
    let done = server
        .act(&id, "accept", json!({ "accepted_by": "mia" }))
        .await
        .expect(200);
    assert_eq!(done["queue"], "done");

    flow(&server, "two", &["a", "b"], &[("claimed", "a"), ("claimed", "b")]).await;
    let id = claimed(&server, &orchestrator, json!({ "flow": "two" })).await;
    let body = json!({ "commits_count": 1, "turns_used": 1 });
    assert_wrong_state(&server.act(&id, "submit", body).await.error(409));
    assert_eq!(server.read(&id).await["queue"], "claimed");
}

#[tokio::test]
async fn a_queue_must_belong_to_the_flow() {
    let server = Server::start(&[]);
    let orchestrator = server.orchestrator("s").await;
    flow(&server, "default", &["provisional"], &[("claimed", "provisional")]).await;
    flow(&server, "own", &["testing"], &[("claimed", "testing")]).await;
    let base = json!({ "scope": "s", "title": "x" });
    for (flow, queue, status) in [
        ("own", "testing", 201),
        ("own", "nowhere", 400),
        ("free", "anything", 201),
    ] {
        let body = with(base.clone(), json!({ "flow": flow, "queue": queue }));
        let reply = server.post("/api/v1/tasks", body).await;
        assert_eq!(reply.status, status, "{reply}");
    }
    // A state of any flow of the scope can be claimed from, also when `default` has none of that name.
    let task = server.claim("s", &orchestrator, json!({ "queue": "testing" })).await;
    assert_eq!(task["flow"], "own");
    // Flow and queue of one patch are judged together.
    let id = server.task("s", json!({})).await;
    let path = format!("/api/v1/tasks/{id}");
    server.patch(&path, json!({ "queue": "testing" })).await.error(400);
    let task = server
        .patch(&path, json!({ "queue": "testing", "flow": "own" }))
        .await
        .expect(200);
    assert_eq!(
        (task["queue"].as_str(), task["flow"].as_str()),
        (Some("testing"), Some("own"))
    );
}

#[tokio::test]
async fn parts_of_a_project_follow_the_child_flow() {
    let server = Server::start(&[]);
    let orchestrator = server.orchestrator("s").await;
    let project = json!({ "id": "p1", "title": "P", "branch": "p1", "scope": "s" });
    server.post("/api/v1/projects", project).await.expect(201);
    let body = json!({
        "scope": "s", "states": ["incoming", "claimed", "provisional", "done", "failed"],
        "transitions": [{ "from": "claimed", "to": "provisional" }, { "from": "provisional", "to": "done" }],
        "child_flow": { "transitions": [{ "from": "incoming", "to": "claimed" }, { "from": "claimed", "to": "done" }] },
    });
    server.put("/api/v1/flows/project", body).await.expect(200);
    let part = claimed(&server, &orchestrator, json!({ "flow": "project", "project_id": "p1" })).await;
    let task = server
        .act(&part, "accept", json!({ "accepted_by": "mia" }))
        .await
        .expect(200);
    assert_eq!(task["queue"], "done");
    let single = claimed(&server, &orchestrator, json!({ "flow": "project" })).await;
    server
        .act(&single, "accept", json!({ "accepted_by": "mia" }))
        .await
        .error(409);
}
