//! Hooks: what has to pass before a task moves on, kept by the server as a record.

use serde_json::{Value, json};

use crate::harness::Server;

#[tokio::test]
async fn a_hook_keeps_its_status_and_evidence() {
    let server = Server::start(&[]);
    let hooks = json!([{ "name": "run tests", "point": "before_submit" }, { "name": "lint", "status": "pending" }]);
    let id = server.task("s", json!({ "hooks": hooks.to_string() })).await;
    let path = format!("/api/v1/tasks/{id}/hooks/run%20tests/complete");
    let body = json!({ "status": "passed", "evidence": { "log": "ok" } });
    let task = server.post(&path, body).await.expect(200);
    let stored: Value = serde_json::from_str(task["hooks"].as_str().unwrap()).unwrap();
    assert_eq!(stored[0]["status"], "passed");
    assert_eq!(stored[0]["evidence"], json!({ "log": "ok" }));
    assert_eq!(stored[0]["point"], "before_submit", "other keys stay");
    assert_eq!(stored[1], hooks[1], "other hooks stay");
    let task = server.post(&path, json!({ "status": "failed" })).await.expect(200);
    let stored: Value = serde_json::from_str(task["hooks"].as_str().unwrap()).unwrap();
    assert_eq!(stored[0]["status"], "failed");
    assert_eq!(stored[0]["evidence"], json!({ "log": "ok" }), "earlier evidence stays");

    server.post(&path, json!({ "status": "maybe" })).await.error(400);
    let missing = format!("/api/v1/tasks/{id}/hooks/nobody/complete");
    server.post(&missing, json!({ "status": "passed" })).await.error(404);
    let bare = server.task("s", json!({})).await;
    let path = format!("/api/v1/tasks/{bare}/hooks/lint/complete");
    server.post(&path, json!({ "status": "passed" })).await.error(404);
    let path = "/api/v1/tasks/nobody/hooks/lint/complete";
    server.post(path, json!({ "status": "passed" })).await.error(404);
}

#[tokio::test]
async fn hooks_that_complete_at_once_are_all_kept() {
    let server = Server::start(&[]);
    let hooks: Vec<Value> = (0..8).map(|n| json!({ "name": format!("h{n}") })).collect();
    let id = server.task("s", json!({ "hooks": json!(hooks).to_string() })).await;
    let mut running = Vec::new();
    for n in 0..8 {
        let api = server.api();
        let path = format!("/api/v1/tasks/{id}/hooks/h{n}/complete");
        running.push(tokio::spawn(async move {
            api.post(&path, json!({ "status": "passed" })).await
        }));
    }
    for one in running {
        one.await.unwrap().expect(200);
    }
    let task = server.read(&id).await;
    let stored: Value = serde_json::from_str(task["hooks"].as_str().unwrap()).unwrap();
    for hook in stored.as_array().unwrap() {
        assert_eq!(hook["status"], "passed", "{stored}");
    }
}
