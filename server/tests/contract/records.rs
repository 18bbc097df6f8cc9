//! Projects and drafts.

use serde_json::{Value, json};

use crate::harness::{Server, ids, is_wire_time, number, of, text, unique, with};

fn project(id: &str, extra: Value) -> Value {
    with(
        json!({ "id": id, "title": "P", "branch": "feature/p", "scope": "s" }),
        extra,
    )
}

#[tokio::test]
async fn a_project_is_made_read_and_changed() {
    let server = Server::start(&[]);
    let made = server
        .post("/api/v1/projects", project("p1", json!({ "auto_accept": true })))
        .await
        .expect(201);
    for (key, value) in [
        ("id", json!("p1")),
        ("title", json!("P")),
        ("description", Value::Null),
        ("status", json!("draft")),
        ("branch", json!("feature/p")),
        ("base_branch", json!("main")),
        ("auto_accept", json!(true)),
        ("created_by", Value::Null),
        ("completed_at", Value::Null),
        ("scope", json!("s")),
    ] {
        assert_eq!(made.get(key), Some(&value), "{key} of {made}");
    }
    assert!(is_wire_time(&made["created_at"]), "{made}");
    assert_eq!(server.get("/api/v1/projects/p1").await.expect(200), made);
    server.get(&of("/api/v1/projects/p1", "other")).await.error(404);
    server
        .post("/api/v1/projects", project("p1", json!({})))
        .await
        .error(409);
    for key in ["id", "title", "branch"] {
        server
            .post("/api/v1/projects", project("p2", json!({ key: null })))
            .await
            .error(400);
    }
    // An older spelling of the title.
    let body = json!({ "id": "p3", "name": "Named", "branch": "b", "scope": "s" });
    assert_eq!(
        server.post("/api/v1/projects", body).await.expect(201)["title"],
        "Named"
    );

    let path = "/api/v1/projects/p1";
    let done = server.patch(path, json!({ "status": "completed" })).await.expect(200);
    assert!(is_wire_time(&done["completed_at"]), "{done}");
    let open = server
        .patch(path, json!({ "status": "active", "auto_accept": false }))
        .await
        .expect(200);
    assert_eq!(
        (&open["completed_at"], &open["auto_accept"]),
        (&Value::Null, &json!(false))
    );
    server.patch(path, json!({})).await.error(400);
    server
        .patch("/api/v1/projects/nobody", json!({ "title": "x" }))
        .await
        .error(404);
}

#[tokio::test]
async fn projects_are_listed_by_status() {
    let server = Server::start(&[]);
    for (id, status) in [("p1", "active"), ("p2", "completed"), ("p3", "archived")] {
        server
            .post("/api/v1/projects", project(id, json!({ "status": status })))
            .await
            .expect(201);
    }
    server
        .post("/api/v1/projects", project("p4", json!({ "scope": "other" })))
        .await
        .expect(201);
    for (query, expected) in [
        ("", vec!["p3", "p2", "p1"]),
        ("&status=active", vec!["p1"]),
        ("&status=active,archived", vec!["p3", "p1"]),
        ("&limit=1&offset=1", vec!["p2"]),
        ("&created_by=nobody", vec![]),
    ] {
        let list = server
            .get(&format!("/api/v1/projects?scope=s{query}"))
            .await
            .expect(200);
        assert_eq!(ids(&list["projects"]), expected, "{query}");
    }
}

#[tokio::test]
async fn tasks_of_a_project_work_on_its_branch() {
    let server = Server::start(&[]);
    server
        .post("/api/v1/projects", project("p1", json!({})))
        .await
        .expect(201);
    let id = server.task("s", json!({ "project_id": "p1", "branch": "mine" })).await;
    assert_eq!(server.read(&id).await["branch"], "feature/p");
    let list = server.get("/api/v1/projects/p1/tasks").await.expect(200);
    assert_eq!(
        (ids(&list["tasks"]), list["project_id"].as_str(), number(&list["total"])),
        (vec![id.clone()], Some("p1"), 1)
    );
    server.get("/api/v1/projects/nobody/tasks").await.error(404);
    let filtered = server.get("/api/v1/tasks?scope=s&project_id=p1").await.expect(200);
    assert_eq!(ids(&filtered["tasks"]), [id.as_str()]);

    let refused = server.delete("/api/v1/projects/p1").await.error(409);
    assert!(!text(&refused["hint"]).is_empty(), "{refused}");
    server.delete(&format!("/api/v1/tasks/{id}")).await.expect(200);
    let gone = server.delete("/api/v1/projects/p1").await.expect(200);
    assert!(text(&gone["message"]).contains("p1"), "{gone}");
    server.delete("/api/v1/projects/p1").await.error(404);

    // One that is not there, or is another tenant's, takes no tasks.
    server
        .post("/api/v1/projects", project("theirs", json!({ "scope": "other" })))
        .await
        .expect(201);
    for project in ["nobody", "theirs"] {
        let body = json!({ "id": unique("t"), "title": "x", "scope": "s", "project_id": project });
        let reply = server.post("/api/v1/tasks", body).await;
        assert!(matches!(reply.status, 400 | 404), "{reply}");
    }
}

#[tokio::test]
async fn drafts_have_numbers() {
    let server = Server::start(&[]);
    let path = "/api/v1/drafts";
    let body = json!({ "id": "mine", "title": "T", "author": "mia", "tags": ["a", "b"], "scope": "s" });
    let made = server.post(path, body).await.expect(201);
    let id = number(&made["id"]);
    for (key, value) in [
        ("title", json!("T")),
        ("status", json!("idea")),
        ("author", json!("mia")),
        ("domain", Value::Null),
        ("file_path", Value::Null),
        ("linked_task_id", Value::Null),
        ("linked_project_id", Value::Null),
        ("scope", json!("s")),
    ] {
        assert_eq!(made.get(key), Some(&value), "{key} of {made}");
    }
    let tags: Value = serde_json::from_str(&text(&made["tags"])).unwrap();
    assert_eq!(tags, json!(["a", "b"]));
    let one = format!("{path}/{id}");
    assert_eq!(server.get(&one).await.expect(200), made);
    for bad in ["1abc", "x", "1.5"] {
        server.get(&format!("{path}/{bad}")).await.error(400);
    }
    server.get(&format!("{path}/999999")).await.error(404);
    server
        .post(path, json!({ "title": "T", "scope": "s" }))
        .await
        .error(400);
    server
        .post(path, json!({ "author": "mia", "scope": "s" }))
        .await
        .error(400);

    let changed = server
        .patch(&one, json!({ "status": "superseded", "tags": null, "domain": "ui" }))
        .await
        .expect(200);
    assert_eq!(
        (changed["status"].as_str(), &changed["tags"]),
        (Some("superseded"), &Value::Null)
    );
    assert_eq!(
        (changed["domain"].as_str(), changed["title"].as_str()),
        (Some("ui"), Some("T"))
    );
    server.patch(&one, json!({ "tags": "text" })).await.error(400);
    server.patch(&one, json!({})).await.error(400);
    server
        .patch(&format!("{path}/999999"), json!({ "title": "x" }))
        .await
        .error(404);

    let body = json!({ "title": "U", "author": "noa", "scope": "s", "linked_task_id": "t-9" });
    let other = number(&server.post(path, body).await.expect(201)["id"]);
    assert!(other > id);
    for (query, expected) in [
        ("", vec![other, id]),
        ("&status=superseded", vec![id]),
        ("&author=noa", vec![other]),
        ("&domain=ui", vec![id]),
        ("&linked_task_id=t-9", vec![other]),
        ("&limit=1", vec![other]),
    ] {
        let list = server.get(&format!("{path}?scope=s{query}")).await.expect(200);
        let found: Vec<i64> = list["drafts"]
            .as_array()
            .unwrap()
            .iter()
            .map(|d| number(&d["id"]))
            .collect();
        assert_eq!(found, expected, "{query}");
    }
    let gone = server.delete(&one).await.expect(200);
    assert!(text(&gone["message"]).contains(&id.to_string()), "{gone}");
    server.delete(&one).await.error(404);
    let body = json!({ "title": "V", "author": "noa", "scope": "s" });
    assert!(
        number(&server.post(path, body).await.expect(201)["id"]) > other,
        "numbers are not used twice"
    );
}
