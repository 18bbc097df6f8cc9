//! Messages, which make threads, and actions, which are proposed and executed once.

use serde_json::{Value, json};

use crate::harness::{Server, ids, is_wire_time, number, of, text, with};

const MESSAGES: &str = "/api/v1/messages";
const ACTIONS: &str = "/api/v1/actions";

fn message(task: &str, extra: Value) -> Value {
    with(
        json!({ "task_id": task, "from_actor": "human", "type": "comment", "content": "hi", "scope": "s" }),
        extra,
    )
}

fn action(extra: Value) -> Value {
    with(
        json!({ "entity_type": "task", "entity_id": "t", "label": "Do it", "proposed_by": "agent", "scope": "s" }),
        extra,
    )
}

#[tokio::test]
async fn messages_make_threads() {
    let server = Server::start(&[]);
    let ask = message(
        "t1",
        json!({ "type": "question", "to_actor": "human", "content": "which?" }),
    );
    let question = server.post(MESSAGES, ask).await.expect(201);
    assert!(text(&question["id"]).starts_with("msg-"), "{question}");
    assert!(is_wire_time(&question["created_at"]), "{question}");
    assert_eq!(
        (&question["parent_message_id"], question["scope"].as_str()),
        (&Value::Null, Some("s"))
    );
    let unreplied = "/api/v1/messages?scope=s&unreplied=true&to_actor=human";
    assert_eq!(ids(&server.get(unreplied).await.expect(200)["messages"]).len(), 1);
    let reply = message("t1", json!({ "parent_message_id": question["id"], "content": "this" }));
    let answer = server.post(MESSAGES, reply).await.expect(201);
    assert_eq!(server.get(unreplied).await.expect(200)["messages"], json!([]));
    let nested = message("t1", json!({ "parent_message_id": answer["id"], "content": "thanks" }));
    let thanks = server.post(MESSAGES, nested).await.expect(201);
    server.post(MESSAGES, message("t1", json!({}))).await.expect(201);

    let all = [text(&question["id"]), text(&answer["id"]), text(&thanks["id"])];
    for (start, expected) in [
        (&all[0], &all[..]),
        (&all[1], &all[1..]),
        (&"msg-nobody".to_owned(), &all[3..]),
    ] {
        let thread = server
            .get(&format!("{MESSAGES}?scope=s&thread_id={start}"))
            .await
            .expect(200);
        assert_eq!(ids(&thread["messages"]), expected);
        assert_eq!(number(&thread["total"]), i64::try_from(expected.len()).unwrap());
    }
    for parent in [json!("msg-nobody"), question["id"].clone()] {
        let lost = message("t2", json!({ "parent_message_id": parent }));
        let refused = server.post(MESSAGES, lost).await.error(400);
        if parent == "msg-nobody" {
            assert!(
                text(&refused["error"]).contains("Parent message not found"),
                "{refused}"
            );
        }
    }
    for (query, count) in [
        ("&task_id=t1", 4),
        ("&type=question", 1),
        ("&task_id=t2", 0),
        ("&task_id=t1&limit=2&offset=3", 1),
    ] {
        let list = server.get(&format!("{MESSAGES}?scope=s{query}")).await.expect(200);
        assert_eq!(ids(&list["messages"]).len(), count, "{query}");
    }
    server.get(MESSAGES).await.error(400);
    assert_eq!(server.get(&of(MESSAGES, "other")).await.expect(200)["total"], 0);
}

#[tokio::test]
async fn messages_ask_for_their_fields_and_their_scope() {
    let server = Server::start(&[]);
    for key in ["task_id", "from_actor", "type", "content"] {
        let refused = server
            .post(MESSAGES, message("t1", json!({ key: null })))
            .await
            .error(400);
        assert!(text(&refused["error"]).contains("Missing required fields"), "{refused}");
    }
    let refused = server
        .post(MESSAGES, message("t1", json!({ "scope": null })))
        .await
        .error(400);
    assert!(text(&refused["error"]).contains("scope"), "{refused}");
    let foreign = server.task("other", json!({})).await;
    let reply = server.post(MESSAGES, message(&foreign, json!({}))).await;
    assert!(
        (400..500).contains(&reply.status),
        "a task of another scope takes no message: {reply}"
    );
    assert_eq!(server.get(&of(MESSAGES, "s")).await.expect(200)["total"], 0);
}

#[tokio::test]
async fn a_client_without_paging_sees_the_newest_messages() {
    let server = Server::start(&[]);
    let mut made = Vec::new();
    for n in 0..60 {
        let sent = message("t1", json!({ "content": format!("{n}") }));
        made.push(text(&server.post(MESSAGES, sent).await.expect(201)["id"]));
    }
    for path in [of(MESSAGES, "s"), of("/api/v1/tasks/t1/messages", "s")] {
        let list = server.get(&path).await.expect(200);
        let seen = ids(&list["messages"]);
        assert!(seen.len() >= 50, "{path}: only {}", seen.len());
        assert_eq!(
            seen,
            made[60 - seen.len()..],
            "{path}: the newest, the oldest of them first"
        );
        assert_eq!(list["total"], 60);
        let first = server.get(&format!("{path}&limit=10&offset=0")).await.expect(200);
        assert_eq!(ids(&first["messages"]), made[..10], "{path}: a page that is asked for");
    }
}

#[tokio::test]
async fn an_action_is_proposed_and_executed_once() {
    let server = Server::start(&[]);
    let data = json!({ "action_data": { "command": "merge" }, "metadata": "{\"a\":1}" });
    let made = server.post(ACTIONS, action(data)).await.expect(201);
    let id = text(&made["id"]);
    assert!(id.starts_with("act-"), "{made}");
    assert_eq!(
        (made["status"].as_str(), made["action_type"].as_str()),
        (Some("proposed"), Some("proposal"))
    );
    assert_eq!(
        serde_json::from_str::<Value>(&text(&made["action_data"])).unwrap(),
        json!({ "command": "merge" })
    );
    assert_eq!(made["metadata"], "{\"a\":1}");
    let path = format!("{ACTIONS}/{id}/execute");
    let mut running = Vec::new();
    for _ in 0..6 {
        let (api, path) = (server.api(), path.clone());
        running.push(tokio::spawn(async move {
            api.send("POST", &path, &[], b"{garbage".to_vec()).await
        }));
    }
    let mut executed = 0;
    for one in running {
        let reply = one.await.unwrap();
        if reply.status == 200 {
            executed += 1;
            assert_eq!(reply.json["status"], "execute_requested");
            assert!(is_wire_time(&reply.json["executed_at"]), "{reply}");
        } else {
            let refused = reply.error(400);
            assert!(text(&refused["error"]).contains("execute_requested"), "{refused}");
        }
    }
    assert_eq!(executed, 1);
    server
        .post(&format!("{ACTIONS}/nobody/execute"), json!({}))
        .await
        .error(404);
}

#[tokio::test]
async fn an_action_goes_forward_only() {
    let server = Server::start(&[]);
    let id = text(&server.post(ACTIONS, action(json!({}))).await.expect(201)["id"]);
    let path = format!("{ACTIONS}/{id}");
    let refused = server.patch(&path, json!({ "status": "elsewhere" })).await.error(400);
    assert!(text(&refused["error"]).contains("Invalid status"), "{refused}");
    server.patch(&path, json!({})).await.error(400);
    server.post(&format!("{path}/execute"), json!({})).await.expect(200);
    for status in ["executing", "completed"] {
        let body = json!({ "status": status, "result": status });
        let action = server.patch(&path, body).await.expect(200);
        assert_eq!(
            (action["status"].as_str(), action["result"].as_str()),
            (Some(status), Some(status))
        );
    }
    for back in ["proposed", "executing"] {
        server.patch(&path, json!({ "status": back })).await.error(409);
    }
    server
        .patch(&format!("{ACTIONS}/nobody"), json!({ "status": "completed" }))
        .await
        .error(404);

    for (verb, status) in [("complete", "completed"), ("fail", "failed")] {
        let id = text(&server.post(ACTIONS, action(json!({}))).await.expect(201)["id"]);
        let body = json!({ "result": { "ok": true } });
        let ended = server
            .post(&format!("{ACTIONS}/{id}/{verb}"), body.clone())
            .await
            .expect(200);
        assert_eq!(ended["status"], status);
        assert_eq!(
            serde_json::from_str::<Value>(&text(&ended["result"])).unwrap(),
            json!({ "ok": true })
        );
        server.post(&format!("{ACTIONS}/nobody/{verb}"), body).await.error(404);
    }
}

#[tokio::test]
async fn an_expired_action_is_neither_shown_nor_executed() {
    let server = Server::start(&[]);
    let fresh = text(
        &server
            .post(ACTIONS, action(json!({ "expires_at": "2099-01-01 00:00:00" })))
            .await
            .expect(201)["id"],
    );
    // A second ago in the other spelling is what a comparison of texts gets wrong for the rest of the day.
    let health = server.get("/api/health").await.expect(200);
    let just_now = text(&health["timestamp"]);
    let mut expired = Vec::new();
    for past in [
        just_now.as_str(),
        "2020-01-01 00:00:00",
        "2020-01-01T00:00:00.123456+00:00",
    ] {
        let made = server
            .post(ACTIONS, action(json!({ "expires_at": past })))
            .await
            .expect(201);
        expired.push(text(&made["id"]));
    }
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    let list = server.get(&of(ACTIONS, "s")).await.expect(200);
    assert_eq!(ids(&list["actions"]), [fresh]);
    assert_eq!(list["total"], 1);
    for id in expired {
        let refused = server
            .post(&format!("{ACTIONS}/{id}/execute"), json!({}))
            .await
            .error(400);
        assert!(text(&refused["error"]).contains("expired"), "{refused}");
    }
}

#[tokio::test]
async fn actions_are_filtered() {
    let server = Server::start(&[]);
    let one = text(
        &server
            .post(ACTIONS, action(json!({ "entity_id": "t1" })))
            .await
            .expect(201)["id"],
    );
    let two = text(
        &server
            .post(ACTIONS, action(json!({ "entity_type": "draft", "entity_id": "7" })))
            .await
            .expect(201)["id"],
    );
    server
        .post(&format!("{ACTIONS}/{two}/execute"), json!({}))
        .await
        .expect(200);
    for key in ["entity_type", "entity_id", "label", "proposed_by"] {
        let refused = server.post(ACTIONS, action(json!({ key: null }))).await.error(400);
        assert!(text(&refused["error"]).contains("Missing required fields"), "{refused}");
    }
    for (query, expected) in [
        ("", vec![two.clone(), one.clone()]),
        ("&entity_type=draft", vec![two.clone()]),
        ("&entity_id=t1", vec![one.clone()]),
        ("&status=proposed", vec![one.clone()]),
        ("&status=pending", vec![one.clone()]),
        ("&status=execute_requested", vec![two.clone()]),
        ("&limit=1", vec![two.clone()]),
    ] {
        let list = server.get(&format!("{ACTIONS}?scope=s{query}")).await.expect(200);
        assert_eq!(ids(&list["actions"]), expected, "{query}");
    }
    server.get(ACTIONS).await.error(400);
}
