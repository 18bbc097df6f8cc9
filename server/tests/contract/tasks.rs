//! Tasks as resources: creating, reading, listing, patching, hooks, deleting.

use serde_json::{Value, json};

use crate::harness::{Server, ids, is_wire_time, number, of, unique};

/// Every key that a task has on the wire, with its value when only id, path, branch and scope were given.
fn fresh(id: &str) -> Value {
    json!({
        "id": id, "file_path": "tasks/fresh.md", "title": id, "queue": "incoming", "priority": "P2",
        "complexity": null, "role": null, "type": null, "branch": "main", "blocked_by": null,
        "claimed_by": null, "claimed_at": null, "orchestrator_id": null, "lease_expires_at": null,
        "version": 1, "commits_count": 0, "turns_used": null, "attempt_count": 0, "rejection_count": 0,
        "review_round": 0, "has_plan": 0, "plan_id": null, "project_id": null, "auto_accept": 0,
        "pr_number": null, "pr_url": null, "checks": null, "check_results": null, "needs_rebase": 0,
        "last_rebase_attempt_at": null, "staging_url": null, "submitted_at": null, "completed_at": null,
        "needs_breakdown": 0, "needs_intervention": 0, "execution_notes": null, "hooks": null,
        "flow": "default", "flow_overrides": null, "content": null, "scope": "s",
    })
}

#[tokio::test]
async fn a_new_task_has_every_key_and_its_default() {
    let server = Server::start(&[]);
    let body = json!({ "id": "fresh-1", "file_path": "tasks/fresh.md", "branch": "main", "scope": "s" });
    let task = server.post("/api/v1/tasks", body).await.expect(201);
    for (key, expected) in fresh("fresh-1").as_object().unwrap() {
        assert_eq!(task.get(key), Some(expected), "{key} of {task}");
    }
    assert!(is_wire_time(&task["created_at"]), "{task}");
    assert_eq!(task["created_at"], task["updated_at"]);
    assert_eq!(
        server.read("fresh-1").await,
        task,
        "what was answered is what is stored"
    );
    let rows = server.history("fresh-1").await;
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(rows[0]["event"], "created");
}

#[tokio::test]
async fn a_title_is_enough() {
    let server = Server::start(&[]);
    let body = json!({ "title": "Say hello", "scope": "s" });
    let task = server.post("/api/v1/tasks", body).await.expect(201);
    let id = task["id"].as_str().unwrap();
    let hex = id.strip_prefix("task-").unwrap_or_default();
    assert!(
        hex.len() == 8 && hex.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f')),
        "{id}"
    );
    assert_eq!(task["title"], "Say hello");
    assert_eq!(task["file_path"], Value::Null);
    assert!(!task["branch"].as_str().unwrap().is_empty(), "{task}");
}

#[tokio::test]
async fn what_was_sent_comes_back() {
    let server = Server::start(&[]);
    let sent = json!({
        "id": "full-1", "title": "Ünïcödé ✓", "priority": "P0", "complexity": "M", "role": "docs", "type": "hotfix",
        "branch": "release/1", "content": "# Body\n\ntext\n", "flow": "default", "file_path": "tasks/full.md",
        "hooks": "[{\"name\":\"lint\"}]", "flow_overrides": "{\"a\":1}", "auto_accept": true, "scope": "s",
    });
    let task = server.post("/api/v1/tasks", sent.clone()).await.expect(201);
    for (key, value) in sent.as_object().unwrap() {
        if key != "auto_accept" {
            assert_eq!(task[key], *value, "{key}");
        }
    }
    assert_eq!(task["auto_accept"], 1);
    assert_eq!(server.read("full-1").await, task);
}

#[tokio::test]
async fn the_content_type_does_not_matter() {
    let server = Server::start(&[]);
    let body = br#"{"id":"plain-1","scope":"s"}"#.to_vec();
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    server.send("POST", "/api/v1/tasks", &headers, body).await.expect(201);
    let body = br#"{"title":"x"}"#.to_vec();
    let patched = server.send("PATCH", "/api/v1/tasks/plain-1", &[], body).await;
    assert!(
        patched.header("content-type").starts_with("application/json"),
        "{patched}"
    );
    assert_eq!(patched.expect(200)["title"], "x");
}

#[tokio::test]
async fn an_id_is_taken_once() {
    let server = Server::start(&[]);
    let id = server.task("s", json!({ "title": "first" })).await;
    let before = server.read(&id).await;
    for scope in ["s", "other"] {
        let body = json!({ "id": id, "title": "second", "scope": scope });
        server.post("/api/v1/tasks", body).await.code(409, "already_exists");
    }
    assert_eq!(server.read(&id).await, before);
    // A path is no id: another tenant may use the same one.
    let body = json!({ "id": unique("t"), "file_path": before["file_path"], "scope": "other" });
    server.post("/api/v1/tasks", body).await.expect(201);
}

#[tokio::test]
async fn reading_knows_ids_scopes_and_escapes() {
    let server = Server::start(&[]);
    let id = server.task("s", json!({})).await;
    assert_eq!(
        server.get(&of(&format!("/api/v1/tasks/{id}"), "s")).await.expect(200)["id"],
        id.as_str()
    );
    let foreign = server
        .get(&of(&format!("/api/v1/tasks/{id}"), "other"))
        .await
        .error(404);
    assert_eq!(foreign["task_id"], id.as_str());
    let unknown = server.get("/api/v1/tasks/nobody").await.code(404, "not_found");
    assert_eq!(unknown["error"], "Task not found");
    assert_eq!(unknown["task_id"], "nobody");
    let escaped = id.replace('-', "%2D");
    assert_eq!(
        server.get(&format!("/api/v1/tasks/{escaped}")).await.expect(200)["id"],
        id.as_str()
    );
    // Only POST has a route of that name; otherwise it is an id.
    let named = server.get("/api/v1/tasks/claim").await.error(404);
    assert_eq!(named["task_id"], "claim");
    let head = server
        .send("HEAD", &format!("/api/v1/tasks/{id}"), &[], Vec::new())
        .await;
    assert_eq!((head.status, head.text.as_str()), (200, ""), "{head}");
}

#[tokio::test]
async fn a_list_needs_a_scope_and_stays_in_it() {
    let server = Server::start(&[]);
    let refused = server.get("/api/v1/tasks").await.error(400);
    assert!(refused["error"].as_str().unwrap().contains("scope"), "{refused}");
    let body = json!({ "id": unique("t"), "title": "x" });
    let refused = server.post("/api/v1/tasks", body).await.error(400);
    assert!(refused["error"].as_str().unwrap().contains("scope"), "{refused}");
    let mine = server.task("mine", json!({})).await;
    server.task("theirs", json!({})).await;
    let list = server.get(&of("/api/v1/tasks", "mine")).await.expect(200);
    assert_eq!(ids(&list["tasks"]), [mine]);
    assert_eq!(list["total"], 1);
    assert_eq!((number(&list["offset"]), number(&list["limit"])), (0, 50));
}

#[tokio::test]
async fn filters_select_what_they_name() {
    let server = Server::start(&[]);
    let a = server
        .task("s", json!({ "priority": "P0", "role": "implement", "type": "hotfix" }))
        .await;
    let b = server
        .task(
            "s",
            json!({ "priority": "P1", "role": "review", "queue": "provisional" }),
        )
        .await;
    let c = server
        .task("s", json!({ "priority": "P3", "flow": "other", "auto_accept": true }))
        .await;
    let orchestrator = server.orchestrator("s").await;
    let claimed = server
        .claim("s", &orchestrator, json!({ "role_filter": "implement" }))
        .await;
    assert_eq!(claimed["id"], a.as_str());
    let patch = json!({ "pr_number": 7, "needs_rebase": true, "has_plan": 1 });
    server.patch(&format!("/api/v1/tasks/{b}"), patch).await.expect(200);

    let orchestrated = format!("orchestrator_id={orchestrator}");
    let (a, b, c) = (a.as_str(), b.as_str(), c.as_str());
    let table: &[(&str, &[&str])] = &[
        ("queue=claimed", &[a]),
        ("queue=claimed,provisional", &[a, b]),
        ("queue=nothing-is-here", &[]),
        ("priority=P0,P3", &[a, c]),
        ("priority=P0&queue=incoming", &[]),
        ("role=review", &[b]),
        ("role=implement,review", &[a, b]),
        ("claimed_by=agent-1", &[a]),
        ("claimed_by=nobody", &[]),
        ("type=hotfix", &[a]),
        ("flow=other", &[c]),
        ("auto_accept=true", &[c]),
        ("needs_rebase=1", &[b]),
        ("has_plan=True", &[b]),
        ("pr_number=7", &[b]),
        ("pr_number=8", &[]),
        (&orchestrated, &[a]),
        ("queue=", &[a, b, c]),
    ];
    for (query, expected) in table {
        let path = format!("/api/v1/tasks?scope=s&{query}");
        let list = server.get(&path).await.expect(200);
        let mut found = ids(&list["tasks"]);
        found.sort_unstable();
        let mut expected: Vec<String> = expected.iter().map(|id| (*id).to_owned()).collect();
        expected.sort_unstable();
        assert_eq!(found, expected, "{query}");
        assert_eq!(list["total"], expected.len(), "{query}");
    }
}

#[tokio::test]
async fn the_intervention_filter_takes_every_spelling_of_a_truth() {
    let server = Server::start(&[]);
    let calm = server.task("s", json!({})).await;
    let stuck = server.task("s", json!({})).await;
    let patched = server
        .patch(&format!("/api/v1/tasks/{stuck}"), json!({ "needs_intervention": true }))
        .await
        .expect(200);
    assert_eq!(patched["needs_intervention"], 1);
    for (value, expected) in [
        ("true", &stuck),
        ("True", &stuck),
        ("1", &stuck),
        ("false", &calm),
        ("False", &calm),
        ("0", &calm),
    ] {
        let path = format!("/api/v1/tasks?scope=s&needs_intervention={value}");
        let list = server.get(&path).await.expect(200);
        assert_eq!(ids(&list["tasks"]), [expected.as_str()], "needs_intervention={value}");
    }
    // A filter that does not exist filters nothing, and the answer says so.
    let reply = server.get("/api/v1/tasks?scope=s&colour=red").await;
    assert!(reply.header("x-octopoid-ignored").contains("colour"), "{reply}");
    assert_eq!(reply.expect(200)["total"], 2);
}

#[tokio::test]
async fn pages_cover_the_list_without_gap_or_double() {
    let server = Server::start(&[]);
    let mut made = Vec::new();
    for _ in 0..7 {
        made.push(server.task("s", json!({})).await);
    }
    let mut seen = Vec::new();
    for offset in [0, 3, 6, 9] {
        let path = format!("/api/v1/tasks?scope=s&limit=3&offset={offset}");
        let page = server.get(&path).await.expect(200);
        assert_eq!((number(&page["limit"]), number(&page["offset"])), (3, offset));
        assert_eq!(page["total"], 7);
        seen.extend(ids(&page["tasks"]));
    }
    made.reverse();
    assert_eq!(seen, made, "the newest first");
    let none = server.get("/api/v1/tasks?scope=s&limit=0").await.expect(200);
    assert_eq!((none["tasks"].clone(), none["total"].clone()), (json!([]), json!(7)));
    let capped = server.get("/api/v1/tasks?scope=s&limit=10000").await.expect(200);
    assert_eq!(capped["limit"], 500);
    assert_eq!(ids(&capped["tasks"]).len(), 7);
}

#[tokio::test]
async fn the_page_sizes_of_the_server_can_be_set() {
    let server = Server::start(&["--page-size", "2", "--max-page-size", "3"]);
    for _ in 0..5 {
        server.task("s", json!({})).await;
    }
    let page = server.get(&of("/api/v1/tasks", "s")).await.expect(200);
    assert_eq!((ids(&page["tasks"]).len(), number(&page["limit"])), (2, 2));
    let page = server.get("/api/v1/tasks?scope=s&limit=100").await.expect(200);
    assert_eq!((ids(&page["tasks"]).len(), number(&page["limit"])), (3, 3));
}

#[tokio::test]
async fn sorting_by_priority_then_age() {
    let server = Server::start(&[]);
    let p2 = server.task("s", json!({})).await;
    let p3 = server.task("s", json!({ "priority": "P3" })).await;
    let p0 = server.task("s", json!({ "priority": "P0" })).await;
    let late = server.task("s", json!({ "priority": "P0" })).await;
    let list = server.get("/api/v1/tasks?scope=s&sort=priority").await.expect(200);
    assert_eq!(ids(&list["tasks"]), [p0, late, p2, p3]);
}

#[tokio::test]
async fn a_patch_writes_what_it_names_and_is_recorded() {
    let server = Server::start(&[]);
    let id = server.task("s", json!({ "complexity": "S", "role": "fix" })).await;
    let path = format!("/api/v1/tasks/{id}");
    let sent = json!({
        "title": "new", "priority": "P1", "complexity": null, "type": "infra", "branch": "dev", "commits_count": 4,
        "turns_used": 9, "attempt_count": 2, "rejection_count": 1, "plan_id": "p", "pr_number": 12,
        "pr_url": "https://example.org/12", "checks": "[\"lint\"]", "check_results": "{}", "staging_url": "u",
        "hooks": "[]", "flow_overrides": "{}", "content": "new body", "execution_notes": "why it failed", "review_round": 3,
    });
    let patched = server.patch(&path, sent.clone()).await;
    assert_eq!(patched.header("x-octopoid-ignored"), "", "{patched}");
    let patched = patched.expect(200);
    for (key, value) in sent.as_object().unwrap() {
        assert_eq!(patched[key], *value, "{key}");
    }
    assert_eq!(patched["role"], "fix", "what was not named stays");
    assert_eq!(patched["version"], 2);
    assert_eq!(server.read(&id).await, patched);
    assert_eq!(server.history(&id).await.len(), 2, "created, and one for the patch");
}

#[tokio::test]
async fn a_patch_names_what_it_ignored() {
    let server = Server::start(&[]);
    let id = server.task("s", json!({})).await;
    let path = format!("/api/v1/tasks/{id}");
    let reply = server
        .patch(
            &path,
            json!({ "title": "x", "colour": "red", "scope": "s", "context": {} }),
        )
        .await;
    let ignored = reply.header("x-octopoid-ignored");
    assert!(ignored.contains("colour") && ignored.contains("context"), "{reply}");
    let task = reply.expect(200);
    assert_eq!((task["title"].as_str(), task["scope"].as_str()), (Some("x"), Some("s")));
    let before = server.read(&id).await;
    server.patch(&path, json!({})).await.error(400);
    server
        .patch("/api/v1/tasks/nobody", json!({ "title": "x" }))
        .await
        .error(404);
    assert_eq!(server.read(&id).await, before);
}

#[tokio::test]
async fn a_patch_cannot_finish_a_task() {
    let server = Server::start(&[]);
    let id = server.task("s", json!({})).await;
    for id in [id.as_str(), "nobody"] {
        let refused = server
            .patch(&format!("/api/v1/tasks/{id}"), json!({ "queue": "done" }))
            .await
            .error(400);
        let sentence = refused["error"].as_str().unwrap();
        assert!(sentence.contains("Cannot set queue to \"done\""), "{refused}");
        assert!(sentence.contains("/accept"), "{refused}");
    }
    for queue in ["", "Done", "done ", "a\nb", &"q".repeat(65)] {
        server
            .patch(&format!("/api/v1/tasks/{id}"), json!({ "queue": queue }))
            .await
            .error(400);
    }
    assert_eq!(server.read(&id).await["version"], 1, "a refusal changes nothing");
}

#[tokio::test]
async fn a_patch_moves_a_task_with_bookkeeping() {
    let server = Server::start(&[]);
    let orchestrator = server.orchestrator("s").await;
    let id = server.task("s", json!({})).await;
    let path = format!("/api/v1/tasks/{id}");
    let moved = server.patch(&path, json!({ "queue": "backlog" })).await.expect(200);
    assert_eq!(
        (moved["queue"].as_str(), number(&moved["version"])),
        (Some("backlog"), 2)
    );
    let row = server.history(&id).await.pop().unwrap();
    let details = row["details"].to_string();
    assert!(details.contains("incoming") && details.contains("backlog"), "{row}");

    server.patch(&path, json!({ "queue": "incoming" })).await.expect(200);
    server.claim("s", &orchestrator, json!({})).await;
    let failed = server
        .patch(&path, json!({ "queue": "failed", "execution_notes": "broken" }))
        .await
        .expect(200);
    assert_eq!(failed["execution_notes"], "broken");
    for key in ["claimed_by", "claimed_at", "orchestrator_id", "lease_expires_at"] {
        assert_eq!(failed[key], Value::Null, "{key}");
    }
}

#[tokio::test]
async fn a_patch_with_an_old_version_is_refused() {
    let server = Server::start(&[]);
    let id = server.task("s", json!({})).await;
    let path = format!("/api/v1/tasks/{id}");
    let first = server
        .patch(&path, json!({ "title": "one", "version": 1 }))
        .await
        .expect(200);
    assert_eq!(first["version"], 2);
    server
        .patch(&path, json!({ "title": "two", "version": 1 }))
        .await
        .code(409, "version_conflict");
    assert_eq!(server.read(&id).await, first);
    let second = server
        .patch(&path, json!({ "title": "two", "version": 2 }))
        .await
        .expect(200);
    assert_eq!((second["title"].as_str(), number(&second["version"])), (Some("two"), 3));
}

#[tokio::test]
async fn truths_are_numbers_on_the_wire() {
    let server = Server::start(&[]);
    let id = server.task("s", json!({ "auto_accept": true })).await;
    assert_eq!(server.read(&id).await["auto_accept"], 1);
    let path = format!("/api/v1/tasks/{id}");
    let keys = [
        "has_plan",
        "auto_accept",
        "needs_rebase",
        "needs_breakdown",
        "needs_intervention",
    ];
    for key in keys {
        for (sent, stored) in [(json!(true), 1), (json!(false), 0), (json!(1), 1), (json!(0), 0)] {
            let task = server.patch(&path, json!({ key: sent })).await.expect(200);
            assert_eq!(task[key], stored, "{key} = {sent}");
        }
    }
}

#[tokio::test]
async fn times_are_understood_in_three_spellings_and_told_in_one() {
    let server = Server::start(&[]);
    let orchestrator = server.orchestrator("s").await;
    let id = server.task("s", json!({})).await;
    server.claim("s", &orchestrator, json!({})).await;
    let path = format!("/api/v1/tasks/{id}");
    for (sent, told) in [
        ("2099-01-02T03:04:05.678Z", "2099-01-02T03:04:05.678Z"),
        ("2099-01-02T03:04:05.123456+00:00", "2099-01-02T03:04:05.123Z"),
        ("2099-01-02 03:04:05", "2099-01-02T03:04:05.000Z"),
    ] {
        let task = server
            .patch(&path, json!({ "lease_expires_at": sent }))
            .await
            .expect(200);
        assert_eq!(task["lease_expires_at"], told, "{sent}");
    }
    server
        .patch(&path, json!({ "lease_expires_at": "garbage" }))
        .await
        .error(400);
    let task = server.read(&id).await;
    assert_eq!(task["lease_expires_at"], "2099-01-02T03:04:05.000Z");
    for key in ["created_at", "updated_at", "claimed_at"] {
        assert!(is_wire_time(&task[key]), "{key}: {}", task[key]);
    }
}

#[tokio::test]
async fn deleting_removes_the_task_in_any_queue() {
    let server = Server::start(&[]);
    let orchestrator = server.orchestrator("s").await;
    let claimed = server.task("s", json!({})).await;
    server.claim("s", &orchestrator, json!({})).await;
    let waiting = server.task("s", json!({})).await;
    for id in [claimed, waiting] {
        let path = format!("/api/v1/tasks/{id}");
        let answer = server.delete(&path).await.expect(200);
        assert_eq!(answer["message"], "Task deleted");
        assert_eq!(answer["task_id"], id.as_str());
        server.get(&path).await.error(404);
        server.delete(&path).await.error(404);
        let body = json!({ "commits_count": 1, "turns_used": 1 });
        server.act(&id, "submit", body).await.error(404);
    }
    assert_eq!(server.get(&of("/api/v1/tasks", "s")).await.expect(200)["total"], 0);
    let events = server.get(&of("/api/v1/events", "s")).await.expect(200);
    let deleted = events["events"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|e| e["type"] == "deleted");
    assert_eq!(deleted.count(), 2, "the audit trail outlives the task: {events}");
}
