//! Keys: where they come from, what they open, how they end; the administrator's token; servers that require a key.

use serde_json::{Value, json};

use crate::harness::{Api, Server, of, text, unique};

const ADMIN: &str = "an-administrators-secret-0123456789";
const KEYS: &str = "/api/v1/admin/keys";

fn registration(scope: &str) -> Value {
    json!({ "cluster": "c", "machine_id": unique("m"), "repo_url": "r", "scope": scope })
}

/// Registers a machine and gives the key that the scope gets with its first one.
async fn first_key(server: &Api, scope: &str) -> String {
    let path = "/api/v1/orchestrators/register";
    let answer = server.post(path, registration(scope)).await.expect(201);
    text(&answer["api_key"])
}

#[track_caller]
fn assert_key_form(key: &str) {
    let hex = key.strip_prefix("oct_").unwrap_or_default();
    let good = hex.len() == 64 && hex.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'));
    assert!(good, "not oct_ and 64 hex digits: {key}");
}

/// A scope's key made by the administrator: its id and its text.
async fn made_key(admin: &Api, scope: &str, name: &str) -> (String, String) {
    let made = admin
        .post(KEYS, json!({ "scope": scope, "name": name }))
        .await
        .expect(201);
    assert_eq!(
        (made["scope"].as_str(), made["name"].as_str()),
        (Some(scope), Some(name))
    );
    let key = text(&made["key"]);
    assert_key_form(&key);
    let id = match &made["id"] {
        Value::String(id) => id.clone(),
        other => other.to_string(),
    };
    (id, key)
}

#[tokio::test]
async fn the_first_registration_of_a_scope_brings_its_key() {
    let server = Server::start(&[]);
    let path = "/api/v1/orchestrators/register";
    let key = first_key(&server, "s").await;
    assert_key_form(&key);
    let second = server.post(path, registration("s")).await.expect(201);
    assert!(second.get("api_key").is_none(), "a scope gets one key: {second}");
    assert_ne!(first_key(&server, "t").await, key);
    // Where a key is optional, those without one still may do everything.
    server.post(path, registration("s")).await.expect(201);
    server.get(&of("/api/v1/tasks", "s")).await.expect(200);
}

#[tokio::test]
async fn one_of_many_first_registrations_gets_the_key() {
    let server = Server::start(&[]);
    let mut running = Vec::new();
    for _ in 0..8 {
        let api = server.api();
        running.push(tokio::spawn(async move {
            api.post("/api/v1/orchestrators/register", registration("s"))
                .await
                .expect(201)
        }));
    }
    let mut keys = Vec::new();
    for one in running {
        let answer = one.await.unwrap();
        keys.extend(answer.get("api_key").map(text));
    }
    assert_eq!(keys.len(), 1, "{keys:?}");
    server.keyed(&keys[0]).get("/api/v1/tasks").await.expect(200);
}

#[tokio::test]
async fn a_key_is_enough_to_name_the_scope() {
    let server = Server::start(&[]);
    let api = server.keyed(&first_key(&server, "s").await);
    for (path, body) in [
        ("/api/v1/tasks", json!({ "title": "x" })),
        ("/api/v1/projects", json!({ "id": "p", "title": "P", "branch": "b" })),
        ("/api/v1/drafts", json!({ "title": "D", "author": "a" })),
        (
            "/api/v1/messages",
            json!({ "task_id": "t", "from_actor": "a", "type": "comment", "content": "c" }),
        ),
        (
            "/api/v1/actions",
            json!({ "entity_type": "task", "entity_id": "t", "label": "l", "proposed_by": "a" }),
        ),
    ] {
        assert_eq!(api.post(path, body).await.expect(201)["scope"], "s", "{path}");
        assert_eq!(api.get(path).await.expect(200)["total"], 1, "{path}");
    }
    assert_eq!(server.get(&of("/api/v1/tasks", "s")).await.expect(200)["total"], 1);
    assert_eq!(api.get("/api/v1/scheduler/poll").await.expect(200)["scope"], "s");
    api.get("/api/v1/events").await.expect(200);
    api.get("/api/v1/status").await.expect(200);
}

#[tokio::test]
async fn a_header_that_is_no_good_key_is_refused_everywhere() {
    let server = Server::start(&[]);
    let key = first_key(&server, "s").await;
    let unknown = format!("Bearer oct_{}", "0".repeat(64));
    let table = [
        (unknown.as_str(), "Invalid API key"),
        ("Bearer something-else", "oct_"),
        ("Basic dXNlcjpwYXNz", ""),
        ("Bearer", ""),
    ];
    for (header, said) in table {
        let headers = [("authorization", header)];
        for path in ["/api/v1/tasks?scope=s", "/api/v1/no/such/path"] {
            let refused = server
                .send("GET", path, &headers, Vec::new())
                .await
                .code(401, "unauthorized");
            assert!(text(&refused["error"]).contains(said), "{header}: {refused}");
        }
        let body = br#"{"id":"never","title":"x","scope":"s"}"#.to_vec();
        server.send("POST", "/api/v1/tasks", &headers, body).await.error(401);
        for path in ["/api/health", "/"] {
            server.send("GET", path, &headers, Vec::new()).await.expect(200);
        }
    }
    server.get("/api/v1/tasks/never").await.error(404);
    // The scheme is not case-sensitive, and blanks do not count; an empty header is none.
    for header in [format!("bearer {key}"), format!("BEARER   {key}"), String::new()] {
        let headers = [("authorization", header.as_str())];
        server
            .send("GET", "/api/v1/tasks?scope=s", &headers, Vec::new())
            .await
            .expect(200);
    }
}

#[tokio::test]
async fn a_key_opens_its_own_scope_only() {
    let server = Server::start(&[]);
    let api = server.keyed(&first_key(&server, "s").await);
    let refused = api.get(&of("/api/v1/tasks", "other")).await.error(403);
    assert!(text(&refused["error"]).contains("mismatch"), "{refused}");
    let states = ["incoming", "claimed", "done", "failed"];
    for (method, path, body) in [
        (
            "POST",
            "/api/v1/tasks",
            json!({ "id": "never", "title": "x", "scope": "other" }),
        ),
        (
            "PATCH",
            "/api/v1/tasks/never",
            json!({ "title": "x", "scope": "other" }),
        ),
        (
            "PUT",
            "/api/v1/flows/f",
            json!({ "scope": "other", "states": states, "transitions": [] }),
        ),
        ("POST", "/api/v1/orchestrators/register", registration("other")),
        (
            "POST",
            "/api/v1/tasks/batch",
            json!({ "scope": "other", "tasks": [{ "title": "x" }] }),
        ),
    ] {
        let reply = api.send(method, path, &[], body.to_string().into_bytes()).await;
        let refused = reply.error(403);
        assert!(
            text(&refused["error"]).contains("mismatch"),
            "{method} {path}: {refused}"
        );
    }
    assert_eq!(server.get(&of("/api/v1/tasks", "other")).await.expect(200)["total"], 0);
    assert_eq!(
        server.get(&of("/api/v1/flows", "other")).await.expect(200)["flows"],
        json!([])
    );
    api.get(&of("/api/v1/tasks", "s")).await.expect(200);
}

#[tokio::test]
async fn a_batch_cannot_smuggle_in_another_scope() {
    let server = Server::start(&[]);
    let api = server.keyed(&first_key(&server, "s").await);
    let body = json!({ "tasks": [{ "title": "x" }, { "id": "smuggled", "title": "y", "scope": "other" }] });
    let reply = api.post("/api/v1/tasks/batch", body).await;
    assert!(matches!(reply.status, 400 | 403), "{reply}");
    for scope in ["s", "other"] {
        assert_eq!(
            server.get(&of("/api/v1/tasks", scope)).await.expect(200)["total"],
            0,
            "{scope}"
        );
    }
}

#[tokio::test]
async fn rotating_ends_the_old_key_at_once() {
    let server = Server::start(&[]);
    let old = first_key(&server, "s").await;
    let foreign = first_key(&server, "other").await;
    let path = "/api/v1/orchestrators/scopes/s/rotate-key";
    server.post(path, json!({})).await.error(401);
    server.keyed(&foreign).post(path, json!({})).await.error(403);
    let answer = server.keyed(&old).post(path, json!({})).await.expect(200);
    let new = text(&answer["api_key"]);
    assert_key_form(&new);
    assert_eq!(answer["scope"], "s");
    assert_ne!(new, old);
    let refused = server.keyed(&old).get("/api/v1/tasks").await.error(401);
    assert!(text(&refused["error"]).contains("Invalid API key"), "{refused}");
    server.keyed(&new).get("/api/v1/tasks").await.expect(200);
    server.keyed(&foreign).get("/api/v1/tasks").await.expect(200);
}

#[tokio::test]
async fn the_administrator_makes_lists_and_revokes_keys() {
    let mut server = Server::start(&["--admin-token", ADMIN]);
    let admin = server.keyed(ADMIN);
    let (one, key_one) = made_key(&admin, "s", "laptop").await;
    let (two, key_two) = made_key(&admin, "s", "build machine").await;
    assert_ne!(one, two);
    assert_ne!(key_one, key_two);
    let list = admin.get(KEYS).await;
    for word in [one.as_str(), two.as_str(), "laptop", "build machine"] {
        assert!(list.text.contains(word), "{word} is not in {list}");
    }
    for key in [&key_one, &key_two] {
        assert!(!list.text.contains(key.as_str()), "a key is told once only: {list}");
        assert_eq!(
            server.keyed(key).get("/api/v1/scheduler/poll").await.expect(200)["scope"],
            "s"
        );
    }
    list.expect(200);

    let reply = admin.delete(&format!("{KEYS}/{one}")).await;
    assert!(matches!(reply.status, 200 | 204), "{reply}");
    server.keyed(&key_one).get("/api/v1/tasks").await.error(401);
    server.keyed(&key_two).get("/api/v1/tasks").await.expect(200);
    admin.delete(&format!("{KEYS}/nobody")).await.error(404);
    server.restart().await;
    server.keyed(&key_one).get("/api/v1/tasks").await.error(401);
    server.keyed(&key_two).get("/api/v1/tasks").await.expect(200);
    let exported = server.keyed(ADMIN).get("/api/v1/admin/export").await;
    assert!(exported.text.contains(&two), "the export has the key's row: {exported}");
    let mut places = vec![exported.text.into_bytes()];
    // With PostgreSQL there are no files here.
    for file in ["octopoid.db", "octopoid.db-wal"] {
        places.extend(std::fs::read(server.dir().join(file)));
    }
    for bytes in places {
        let found = bytes.windows(key_two.len()).any(|window| window == key_two.as_bytes());
        assert!(!found, "the key itself is in the database");
    }
}

#[tokio::test]
async fn nobody_else_is_an_administrator() {
    let server = Server::start(&["--admin-token", ADMIN]);
    let key = first_key(&server, "s").await;
    let guests = [
        server.api(),
        server.keyed("wrong"),
        server.keyed(&key),
        server.keyed(&format!("{ADMIN}x")),
    ];
    for guest in guests {
        for (method, path, body) in [
            ("POST", KEYS, r#"{"scope":"s","name":"stolen"}"#),
            ("GET", KEYS, ""),
            ("DELETE", "/api/v1/admin/keys/1", ""),
            ("GET", "/api/v1/admin/export", ""),
            ("POST", "/api/v1/admin/import", ""),
        ] {
            let reply = guest.send(method, path, &[], body.as_bytes().to_vec()).await;
            assert!(matches!(reply.status, 401 | 403), "{reply}");
            assert!(reply.json["code"].is_string(), "{reply}");
        }
    }
    let admin = server.keyed(ADMIN);
    assert!(!admin.get(KEYS).await.text.contains("stolen"));
    admin.post(KEYS, json!({ "name": "no scope" })).await.error(400);
    let body = json!({ "scope": "s", "name": "n", "colour": "red" });
    let refused = admin.post(KEYS, body).await.code(400, "unknown_field");
    assert!(text(&refused["error"]).contains("colour"), "{refused}");
}

#[tokio::test]
async fn without_an_admin_token_there_is_no_administrator() {
    let server = Server::start(&[]);
    for guest in [server.api(), server.keyed(""), server.keyed(ADMIN)] {
        let reply = guest.post(KEYS, json!({ "scope": "s", "name": "n" })).await;
        assert!(matches!(reply.status, 401 | 403 | 404), "{reply}");
        let reply = guest.get("/api/v1/admin/export").await;
        assert!(matches!(reply.status, 401 | 403 | 404), "{reply}");
    }
}

#[tokio::test]
async fn a_server_that_requires_keys_lets_nobody_in_without() {
    let server = Server::start(&["--auth", "required", "--admin-token", ADMIN]);
    for (method, path, body) in [
        ("GET", "/api/v1/tasks?scope=s", ""),
        ("POST", "/api/v1/tasks", r#"{"id":"never","title":"x","scope":"s"}"#),
        ("GET", "/api/v1/tasks/never", ""),
        ("DELETE", "/api/v1/tasks/never", ""),
        (
            "POST",
            "/api/v1/tasks/claim",
            r#"{"orchestrator_id":"o","agent_name":"a","scope":"s"}"#,
        ),
        (
            "POST",
            "/api/v1/orchestrators/register",
            r#"{"cluster":"c","machine_id":"m","repo_url":"r","scope":"s"}"#,
        ),
        ("GET", "/api/v1/orchestrators", ""),
        ("GET", "/api/v1/projects", ""),
        ("GET", "/api/v1/drafts", ""),
        ("GET", "/api/v1/roles", ""),
        ("GET", "/api/v1/flows?scope=s", ""),
        ("GET", "/api/v1/messages?scope=s", ""),
        ("GET", "/api/v1/actions?scope=s", ""),
        ("GET", "/api/v1/events?scope=s", ""),
        ("GET", "/api/v1/status?scope=s", ""),
        ("GET", "/api/v1/scheduler/poll?scope=s", ""),
        ("GET", "/api/v1/no/such/path", ""),
    ] {
        for headers in [&[][..], &[("authorization", "")][..]] {
            let reply = server.send(method, path, headers, body.as_bytes().to_vec()).await;
            reply.code(401, "unauthorized");
        }
    }
    for path in ["/api/health", "/healthz", "/readyz"] {
        server.get(path).await.expect(200);
    }
    let (_, key) = made_key(&server.keyed(ADMIN), "s", "n").await;
    let api = server.keyed(&key);
    assert_eq!(api.get("/api/v1/tasks").await.expect(200)["total"], 0);
    let body = json!({ "cluster": "c", "machine_id": "m", "repo_url": "r" });
    let machine = api.post("/api/v1/orchestrators/register", body).await.expect(201);
    assert!(machine.get("api_key").is_none(), "{machine}");
    let made = api.post("/api/v1/tasks", json!({ "title": "x" })).await.expect(201);
    let body = json!({ "orchestrator_id": "c-m", "agent_name": "a" });
    assert_eq!(
        api.post("/api/v1/tasks/claim", body).await.expect(200)["id"],
        made["id"]
    );
}

#[tokio::test]
async fn a_server_that_the_network_sees_requires_keys_by_itself() {
    let server = Server::start(&["--listen", "0.0.0.0:0"]);
    server.get(&of("/api/v1/tasks", "s")).await.code(401, "unauthorized");
    server.get("/api/health").await.expect(200);
}
