//! Many tasks at once, all or nothing; and requests that are sent twice but happen once.

use serde_json::{Value, json};

use crate::harness::{Server, ids, of, text, unique};

const BATCH: &str = "/api/v1/tasks/batch";

fn batch(scope: &str, tasks: Vec<Value>) -> Value {
    json!({ "scope": scope, "tasks": tasks })
}

async fn total(server: &Server, scope: &str) -> Value {
    server.get(&of("/api/v1/tasks", scope)).await.expect(200)["total"].clone()
}

#[tokio::test]
async fn a_batch_creates_all_its_tasks_in_order() {
    let server = Server::start(&[]);
    let orchestrator = server.orchestrator("s").await;
    let names: Vec<String> = (0..5).map(|_| unique("b")).collect();
    let tasks = names
        .iter()
        .map(|id| json!({ "id": id, "title": format!("task {id}") }))
        .collect();
    let reply = server.post(BATCH, batch("s", tasks)).await;
    assert!(matches!(reply.status, 200 | 201), "{reply}");
    assert_eq!(ids(&reply.json["tasks"]), names);
    assert_eq!(total(&server, "s").await, 5);
    for id in &names {
        assert_eq!(server.read(id).await["title"], format!("task {id}"));
        assert_eq!(server.history(id).await.len(), 1, "each has its event");
        assert_eq!(server.claim("s", &orchestrator, json!({})).await["id"], id.as_str());
    }
}

#[tokio::test]
async fn a_thousand_are_taken_and_one_more_is_not() {
    let server = Server::start(&[]);
    let tasks = |n: usize| {
        (0..n)
            .map(|i| json!({ "title": format!("task {i}") }))
            .collect::<Vec<_>>()
    };
    server.post(BATCH, batch("s", tasks(1001))).await.error(400);
    assert_eq!(total(&server, "s").await, 0);
    let reply = server.post(BATCH, batch("s", tasks(1000))).await;
    assert!(matches!(reply.status, 200 | 201), "{reply}");
    assert_eq!(total(&server, "s").await, 1000);
}

#[tokio::test]
async fn one_bad_task_spoils_the_batch() {
    let server = Server::start(&[]);
    let taken = server.task("s", json!({})).await;
    let good = || json!({ "id": unique("b"), "title": "good" });
    for (bad, status) in [
        (json!({ "id": taken, "title": "x" }), 409),
        (json!({ "title": "x", "blocked_by": "nobody" }), 400),
        (json!({ "title": { "a": 1 } }), 400),
        (json!({ "id": "no id", "title": "x" }), 400),
        (json!("x"), 400),
    ] {
        for tasks in [
            vec![good(), good(), bad.clone()],
            vec![bad.clone(), good()],
            vec![good(), bad.clone(), good()],
        ] {
            let reply = server.post(BATCH, batch("s", tasks)).await;
            assert!(reply.json["code"].is_string(), "{reply}");
            reply.error(status);
            assert_eq!(total(&server, "s").await, 1, "{bad}");
        }
    }
    let same = json!({ "id": "twice", "title": "x" });
    let reply = server.post(BATCH, batch("s", vec![same.clone(), same])).await;
    assert!(matches!(reply.status, 400 | 409), "{reply}");
    assert_eq!(total(&server, "s").await, 1);
    let events = server.get(&of("/api/v1/events", "s")).await.expect(200);
    assert_eq!(
        events["events"].as_array().unwrap().len(),
        1,
        "nothing of it has happened: {events}"
    );
}

#[tokio::test]
async fn the_same_key_and_body_is_the_same_task() {
    let server = Server::start(&[]);
    let body = json!({ "title": "once", "scope": "s", "idempotency_key": "k-1" });
    let first = server.post("/api/v1/tasks", body.clone()).await.expect(201);
    let again = server.post("/api/v1/tasks", body).await.expect(200);
    assert_eq!(again["id"], first["id"]);
    assert_eq!(total(&server, "s").await, 1);
    let other = json!({ "title": "another", "scope": "s", "idempotency_key": "k-1" });
    server
        .post("/api/v1/tasks", other)
        .await
        .code(409, "idempotency_conflict");
    assert_eq!(total(&server, "s").await, 1);
    // Another scope knows nothing of it.
    let elsewhere = json!({ "title": "once", "scope": "t", "idempotency_key": "k-1" });
    let foreign = server.post("/api/v1/tasks", elsewhere).await.expect(201);
    assert_ne!(foreign["id"], first["id"]);
}

#[tokio::test]
async fn the_key_can_be_a_header_and_outlives_a_crash() {
    let mut server = Server::start(&[]);
    let headers = [("Idempotency-Key", "k-2")];
    let body = br#"{"title":"once","scope":"s"}"#.to_vec();
    let first = server
        .send("POST", "/api/v1/tasks", &headers, body.clone())
        .await
        .expect(201);
    server.kill9();
    server.restart().await;
    let again = server.send("POST", "/api/v1/tasks", &headers, body).await.expect(200);
    assert_eq!(again["id"], first["id"]);
    let other = br#"{"title":"another","scope":"s"}"#.to_vec();
    let refused = server.send("POST", "/api/v1/tasks", &headers, other).await;
    refused.code(409, "idempotency_conflict");
    // The order of the keys and the white space are no difference.
    let spaced = b"{ \"scope\": \"s\",  \"title\": \"once\" }".to_vec();
    let same = server.send("POST", "/api/v1/tasks", &headers, spaced).await.expect(200);
    assert_eq!(same["id"], first["id"]);
    assert_eq!(total(&server, "s").await, 1);
}

#[tokio::test]
async fn a_retry_finds_its_task_however_far_that_has_come() {
    let server = Server::start(&[]);
    let orchestrator = server.orchestrator("s").await;
    let body = json!({ "title": "once", "scope": "s", "idempotency_key": "k-3" });
    let first = server.post("/api/v1/tasks", body.clone()).await.expect(201);
    server.claim("s", &orchestrator, json!({})).await;
    let again = server.post("/api/v1/tasks", body).await.expect(200);
    assert_eq!(
        (again["id"].clone(), again["queue"].as_str()),
        (first["id"].clone(), Some("claimed"))
    );
}

#[tokio::test]
async fn the_key_of_a_deleted_task_brings_nothing_back() {
    let mut server = Server::start(&[]);
    let body = json!({ "title": "once", "scope": "s", "idempotency_key": "k-5" });
    let named = json!({ "id": unique("t"), "title": "named", "scope": "s", "idempotency_key": "k-6" });
    let mut gone = Vec::new();
    for body in [&body, &named] {
        let made = server.post("/api/v1/tasks", body.clone()).await.expect(201);
        gone.push(text(&made["id"]));
        let path = format!("/api/v1/tasks/{}", text(&made["id"]));
        server.delete(&path).await.expect(200);
    }
    // Also when the server has forgotten everything that is not on its disk.
    for crashed in [false, true] {
        if crashed {
            server.kill9();
            server.restart().await;
        }
        for body in [&body, &named] {
            let refused = server.post("/api/v1/tasks", body.clone()).await;
            let told = refused.code(409, "idempotency_conflict");
            assert!(text(&told["error"]).contains("deleted"), "{told}");
        }
        assert_eq!(total(&server, "s").await, 0);
        for id in &gone {
            server.get(&format!("/api/v1/tasks/{id}")).await.error(404);
            let path = format!("/api/v1/events?scope=s&task_id={id}");
            let events = server.get(&path).await.expect(200)["events"].clone();
            assert_eq!(events.as_array().map(Vec::len), Some(2), "made and deleted: {events}");
        }
    }
    // A fresh key makes a fresh task.
    let fresh = json!({ "title": "once", "scope": "s", "idempotency_key": "k-7" });
    let made = server.post("/api/v1/tasks", fresh).await.expect(201);
    assert!(!gone.contains(&text(&made["id"])));
}

#[tokio::test]
async fn a_repeated_step_of_a_deleted_task_does_nothing() {
    let server = Server::start(&[]);
    let orchestrator = server.orchestrator("s").await;
    let key = [("Idempotency-Key", "k-8"), ("content-type", "application/json")];
    for (action, body) in [
        ("hold", json!({ "by": "mia", "reason": "later" })),
        ("submit", json!({ "commits_count": 1, "turns_used": 1 })),
        ("commands", json!({ "command": "hold", "by": "mia", "reason": "later" })),
    ] {
        let id = server.task("s", json!({})).await;
        server.claim("s", &orchestrator, json!({})).await;
        let path = format!("/api/v1/tasks/{id}/{action}");
        let name = format!("k-8-{action}");
        let key = [("Idempotency-Key", name.as_str()), key[1]];
        let sent = body.to_string().into_bytes();
        let done = server.send("POST", &path, &key, sent.clone()).await.expect(200);
        let again = server.send("POST", &path, &key, sent.clone()).await.expect(200);
        assert_eq!(again["version"], done["version"], "{action} was done twice");
        server.delete(&format!("/api/v1/tasks/{id}")).await.expect(200);
        let reply = server.send("POST", &path, &key, sent).await;
        assert!(matches!(reply.status, 404 | 409), "{reply}");
        server.get(&format!("/api/v1/tasks/{id}")).await.error(404);
        assert_eq!(total(&server, "s").await, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_request_at_the_same_time_happens_once() {
    let server = Server::start(&[]);
    let mut running = Vec::new();
    for _ in 0..12 {
        let api = server.api();
        running.push(tokio::spawn(async move {
            let body = json!({ "title": "once", "scope": "s", "idempotency_key": "k-4" });
            api.post("/api/v1/tasks", body).await
        }));
    }
    let (mut made, mut found) = (Vec::new(), Vec::new());
    for one in running {
        let reply = one.await.unwrap();
        match reply.status {
            201 => made.push(text(&reply.json["id"])),
            _ => found.push(text(&reply.expect(200)["id"])),
        }
    }
    assert_eq!(made.len(), 1, "{made:?}");
    assert!(found.iter().all(|id| *id == made[0]), "{found:?}");
    assert_eq!(total(&server, "s").await, 1);
}
