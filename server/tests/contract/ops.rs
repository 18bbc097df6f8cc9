//! Running a server: health, metrics, its description, limits, ending in good order, and surviving being killed.

use std::{
    collections::{BTreeSet, HashSet},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::harness::{Server, ids, is_wire_time, of, text};

const ADMIN: &str = "an-administrators-secret-0123456789";

/// Each documented route, with its parameters as `{}`.
const ROUTES: &[(&str, &str)] = &[
    ("get", "/api/health"),
    ("get", "/api/v1/tasks"),
    ("post", "/api/v1/tasks"),
    ("post", "/api/v1/tasks/batch"),
    ("post", "/api/v1/tasks/claim"),
    ("get", "/api/v1/tasks/{}"),
    ("patch", "/api/v1/tasks/{}"),
    ("delete", "/api/v1/tasks/{}"),
    ("get", "/api/v1/tasks/{}/messages"),
    ("get", "/api/v1/tasks/{}/history"),
    ("get", "/api/v1/tasks/{}/attempts"),
    ("get", "/api/v1/tasks/{}/why"),
    ("post", "/api/v1/tasks/{}/submit"),
    ("post", "/api/v1/tasks/{}/accept"),
    ("post", "/api/v1/tasks/{}/reject"),
    ("post", "/api/v1/tasks/{}/requeue"),
    ("post", "/api/v1/tasks/{}/force-queue"),
    ("post", "/api/v1/tasks/{}/hooks/{}/complete"),
    ("post", "/api/v1/tasks/{}/renew"),
    ("post", "/api/v1/tasks/{}/release"),
    ("post", "/api/v1/tasks/{}/fail"),
    ("post", "/api/v1/tasks/{}/progress"),
    ("post", "/api/v1/tasks/{}/hold"),
    ("post", "/api/v1/tasks/{}/unhold"),
    ("post", "/api/v1/tasks/{}/cancel"),
    ("post", "/api/v1/tasks/{}/recover"),
    ("post", "/api/v1/orchestrators/register"),
    ("get", "/api/v1/orchestrators"),
    ("get", "/api/v1/orchestrators/{}"),
    ("patch", "/api/v1/orchestrators/{}"),
    ("post", "/api/v1/orchestrators/{}/heartbeat"),
    ("post", "/api/v1/orchestrators/scopes/{}/rotate-key"),
    ("get", "/api/v1/projects"),
    ("post", "/api/v1/projects"),
    ("get", "/api/v1/projects/{}"),
    ("patch", "/api/v1/projects/{}"),
    ("delete", "/api/v1/projects/{}"),
    ("get", "/api/v1/projects/{}/tasks"),
    ("get", "/api/v1/drafts"),
    ("post", "/api/v1/drafts"),
    ("get", "/api/v1/drafts/{}"),
    ("patch", "/api/v1/drafts/{}"),
    ("delete", "/api/v1/drafts/{}"),
    ("post", "/api/v1/roles/register"),
    ("get", "/api/v1/roles"),
    ("get", "/api/v1/roles/{}"),
    ("get", "/api/v1/flows"),
    ("put", "/api/v1/flows/{}"),
    ("get", "/api/v1/flows/{}"),
    ("delete", "/api/v1/flows/{}"),
    ("get", "/api/v1/messages"),
    ("post", "/api/v1/messages"),
    ("get", "/api/v1/actions"),
    ("post", "/api/v1/actions"),
    ("patch", "/api/v1/actions/{}"),
    ("post", "/api/v1/actions/{}/execute"),
    ("post", "/api/v1/actions/{}/complete"),
    ("post", "/api/v1/actions/{}/fail"),
    ("get", "/api/v1/scheduler/poll"),
    ("get", "/api/v1/events"),
    ("get", "/api/v1/status"),
    ("get", "/api/v1/admin/export"),
    ("post", "/api/v1/admin/import"),
    ("get", "/api/v1/admin/keys"),
    ("post", "/api/v1/admin/keys"),
    ("delete", "/api/v1/admin/keys/{}"),
];

/// A path of the description with the names of its parameters taken out.
fn nameless(path: &str) -> String {
    let parts = path
        .split('/')
        .map(|part| if part.starts_with('{') { "{}" } else { part });
    parts.collect::<Vec<_>>().join("/")
}

#[tokio::test]
async fn the_port_that_it_says_is_the_port_that_it_has() {
    let server = Server::start(&[]);
    assert!(server.base.starts_with("http://127.0.0.1:"), "{}", server.base);
    assert!(!server.base.ends_with(":0"), "{}", server.base);
    assert!(
        server.said().contains(&format!("listening on {}", server.base)),
        "{}",
        server.said()
    );
    for path in ["/healthz", "/readyz", "/api/health"] {
        server.get(path).await.expect(200);
    }
}

#[tokio::test]
async fn metrics_count_requests() {
    let server = Server::start(&[]);
    server.task("s", json!({})).await;
    let reply = server.get("/metrics").await;
    assert_eq!(reply.status, 200, "{reply}");
    assert!(reply.header("content-type").starts_with("text/plain"), "{reply}");
    assert!(reply.text.contains("# TYPE "), "{reply}");
    let samples: Vec<&str> = reply
        .text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .collect();
    for sample in &samples {
        let value = sample.rsplit(' ').next().unwrap_or_default();
        assert!(value.parse::<f64>().is_ok(), "not a sample: {sample}");
    }
    let positive = samples.iter().any(|s| {
        s.rsplit(' ')
            .next()
            .and_then(|v| v.parse::<f64>().ok())
            .is_some_and(|v| v > 0.0)
    });
    assert!(positive, "nothing was counted: {reply}");
}

#[tokio::test]
async fn the_description_names_each_route() {
    let server = Server::start(&[]);
    let document = server.get("/api/openapi.json").await.expect(200);
    assert!(text(&document["openapi"]).starts_with("3."), "{}", document["openapi"]);
    assert_eq!(document["info"]["version"], "2.0.0");
    let mut described = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            described.insert(format!("{method} {}", nameless(path)));
        }
    }
    let missing: Vec<String> = ROUTES
        .iter()
        .map(|(method, path)| format!("{method} {path}"))
        .filter(|route| !described.contains(route))
        .collect();
    assert!(missing.is_empty(), "not described: {missing:?}");
}

#[tokio::test]
async fn what_is_no_route_is_not_found() {
    let server = Server::start(&[]);
    for (method, path) in [
        ("GET", "/api/v1/nothing"),
        ("GET", "/api/v2/tasks"),
        ("GET", "/API/v1/tasks"),
        ("PUT", "/api/v1/tasks"),
        ("DELETE", "/api/v1/tasks"),
        ("POST", "/api/health"),
    ] {
        let reply = server.send(method, path, &[], Vec::new()).await;
        assert_eq!(reply.json["error"], "Not Found", "{reply}");
        assert!(
            reply.json["message"].is_string() && is_wire_time(&reply.json["timestamp"]),
            "{reply}"
        );
        reply.expect(404);
    }
}

#[tokio::test]
async fn the_root_is_a_board_for_browsers_and_an_index_for_others() {
    let server = Server::start(&[]);
    let index = server.get("/").await.expect(200);
    assert_eq!(
        (index["name"].as_str(), index["version"].as_str()),
        (Some("Octopoid Server"), Some("2.0.0"))
    );
    assert!(!index["endpoints"].as_array().unwrap().is_empty());
    let headers = [("accept", "text/html,application/xhtml+xml,*/*;q=0.8")];
    let board = server.send("GET", "/", &headers, Vec::new()).await;
    assert_eq!(board.status, 200, "{board}");
    assert!(board.header("content-type").starts_with("text/html"), "{board}");
    assert!(board.text.to_ascii_lowercase().contains("<html"), "{board}");
}

#[tokio::test]
async fn each_answer_has_an_id_of_its_own() {
    let server = Server::start(&[]);
    let mut seen = HashSet::new();
    for path in [
        "/api/health",
        "/api/v1/tasks?scope=s",
        "/api/v1/tasks",
        "/api/v1/nothing",
        "/healthz",
    ] {
        let reply = server.get(path).await;
        let id = reply.header("x-request-id");
        assert!(!id.is_empty(), "{reply}");
        assert!(seen.insert(id), "an id was used twice: {reply}");
    }
}

#[tokio::test]
async fn other_web_pages_get_no_permission_unless_they_are_named() {
    let origin = [("origin", "https://board.example.org")];
    let server = Server::start(&[]);
    let reply = server.send("GET", "/api/v1/tasks?scope=s", &origin, Vec::new()).await;
    assert_eq!(reply.header("access-control-allow-origin"), "", "{reply}");
    let server = Server::start(&["--cors-origin", "https://board.example.org"]);
    let reply = server.send("GET", "/api/v1/tasks?scope=s", &origin, Vec::new()).await;
    assert_eq!(
        reply.header("access-control-allow-origin"),
        "https://board.example.org",
        "{reply}"
    );
    let asked = [
        origin[0],
        ("access-control-request-method", "PATCH"),
        ("access-control-request-headers", "authorization"),
    ];
    let reply = server.send("OPTIONS", "/api/v1/tasks", &asked, Vec::new()).await;
    assert!(matches!(reply.status, 200 | 204), "{reply}");
    assert_eq!(
        reply.header("access-control-allow-origin"),
        "https://board.example.org",
        "{reply}"
    );
    let foreign = [("origin", "https://evil.example.org")];
    let reply = server.send("GET", "/api/v1/tasks?scope=s", &foreign, Vec::new()).await;
    assert_ne!(
        reply.header("access-control-allow-origin"),
        "https://evil.example.org",
        "{reply}"
    );
    assert_ne!(reply.header("access-control-allow-origin"), "*", "{reply}");
}

#[tokio::test]
async fn a_body_has_a_limit() {
    let server = Server::start(&[]);
    let body = |n: usize| json!({ "title": "x", "content": "y".repeat(n), "scope": "s" });
    let made = server.post("/api/v1/tasks", body(900_000)).await.expect(201);
    assert_eq!(text(&made["content"]).len(), 900_000);
    let reply = server.post("/api/v1/tasks", body(1_200_000)).await;
    assert!(reply.json["code"].is_string(), "{reply}");
    reply.error(413);
    let small = Server::start(&["--max-body", "2KiB"]);
    small.post("/api/v1/tasks", body(1000)).await.expect(201);
    small.post("/api/v1/tasks", body(3000)).await.error(413);
    assert_eq!(small.get(&of("/api/v1/tasks", "s")).await.expect(200)["total"], 1);
}

#[tokio::test]
async fn sigterm_lets_requests_finish_and_ends_with_nought() {
    let mut server = Server::start(&[]);
    let orchestrator = server.orchestrator("s").await;
    let id = server.task("s", json!({ "queue": "backlog" })).await;
    let (api, who) = (server.api(), orchestrator.clone());
    let waiting = tokio::spawn(async move {
        let ask = json!({ "orchestrator_id": who, "agent_name": "a", "scope": "s", "wait_seconds": 3 });
        api.try_send("POST", "/api/v1/tasks/claim", &[], ask.to_string().into_bytes())
            .await
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    let begun = Instant::now();
    server.terminate();
    let status = server.ended(Duration::from_secs(20)).await;
    assert_eq!(status.and_then(|s| s.code()), Some(0), "it said:\n{}", server.said());
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    let reply = waiting
        .await
        .unwrap()
        .expect("the request that was under way has its answer");
    assert!(matches!(reply.status, 404 | 503), "{reply}");
    server.restart().await;
    assert_eq!(server.read(&id).await["queue"], "backlog");
}

#[tokio::test]
async fn sigterm_does_not_wait_for_streams() {
    let mut server = Server::start(&[]);
    server.task("s", json!({})).await;
    let path = "/api/v1/events?scope=s&after=0";
    let request = server.request("GET", path, &[("accept", "text/event-stream")]);
    let mut stream = request.send().await.unwrap();
    assert!(stream.chunk().await.unwrap().is_some());
    server.terminate();
    let status = server.ended(Duration::from_secs(20)).await;
    assert_eq!(status.and_then(|s| s.code()), Some(0), "it said:\n{}", server.said());
}

/// The ids of all tasks of the scope, page by page.
async fn all_ids(server: &Server) -> HashSet<String> {
    let mut all = HashSet::new();
    loop {
        let path = format!("/api/v1/tasks?scope=s&limit=500&offset={}", all.len());
        let page = ids(&server.get(&path).await.expect(200)["tasks"]);
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_being_killed() {
    let mut server = Server::start(&[]);
    for round in 0..3 {
        let mut writers = Vec::new();
        for _ in 0..4 {
            let api = server.api();
            writers.push(tokio::spawn(async move {
                let mut acknowledged = Vec::new();
                loop {
                    let body = json!({ "title": "x", "scope": "s" }).to_string().into_bytes();
                    match api.try_send("POST", "/api/v1/tasks", &[], body).await {
                        Ok(reply) if reply.status == 201 => acknowledged.push(text(&reply.json["id"])),
                        Ok(reply) => panic!("{reply}"),
                        Err(_) => return acknowledged,
                    }
                }
            }));
        }
        tokio::time::sleep(Duration::from_millis(400)).await;
        server.kill9();
        let mut acknowledged = Vec::new();
        for writer in writers {
            acknowledged.extend(writer.await.unwrap());
        }
        assert!(!acknowledged.is_empty(), "nothing was written in round {round}");
        server.restart().await;
        let kept = all_ids(&server).await;
        for id in &acknowledged {
            assert!(kept.contains(id), "{id} was acknowledged and is gone");
        }
        for id in acknowledged.iter().rev().take(20) {
            assert_eq!(server.history(id).await.len(), 1, "a task and its event go together");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_between_end_and_release_strands_nobody() {
    let mut server = Server::start(&[]);
    let mut pairs = Vec::new();
    for _ in 0..40 {
        let blocker = server.task("s", json!({ "queue": "provisional" })).await;
        let waiting = server.task("s", json!({ "blocked_by": blocker })).await;
        pairs.push((blocker, waiting));
    }
    let (api, all) = (server.api(), pairs.clone());
    let writer = tokio::spawn(async move {
        for (blocker, _) in all {
            let path = format!("/api/v1/tasks/{blocker}/accept");
            let body = br#"{"accepted_by":"mia"}"#.to_vec();
            if api.try_send("POST", &path, &[], body).await.is_err() {
                return;
            }
        }
    });
    tokio::time::sleep(Duration::from_millis(60)).await;
    server.kill9();
    writer.await.unwrap();
    server.restart().await;
    for (blocker, waiting) in pairs {
        let done = server.read(&blocker).await["queue"] == "done";
        let blocked = server.read(&waiting).await["blocked_by"].clone();
        let expected = if done { Value::Null } else { json!(blocker) };
        assert_eq!(blocked, expected, "{blocker} is done: {done}");
    }
}

#[tokio::test]
async fn claims_and_their_tokens_outlive_a_restart() {
    let mut server = Server::start(&[]);
    let orchestrator = server.orchestrator("s").await;
    let id = server.task("s", json!({})).await;
    let claim = server.claim("s", &orchestrator, json!({ "fenced": true })).await;
    server.restart().await;
    let task = server.read(&id).await;
    assert_eq!(
        (&task["claimed_by"], &task["lease_expires_at"]),
        (&claim["claimed_by"], &claim["lease_expires_at"])
    );
    let body = json!({ "claim_token": claim["claim_token"], "commits_count": 1, "turns_used": 1 });
    assert_eq!(
        server.act(&id, "submit", body).await.expect(200)["queue"],
        "provisional"
    );
}

#[tokio::test]
async fn a_lease_that_ran_out_while_the_server_was_down_is_found() {
    let mut server = Server::start(&["--lease-sweep-seconds", "1"]);
    let orchestrator = server.orchestrator("s").await;
    let id = server.task("s", json!({})).await;
    server
        .claim("s", &orchestrator, json!({ "lease_duration_seconds": 1 }))
        .await;
    server.kill9();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    server.restart().await;
    let begun = Instant::now();
    while server.read(&id).await["queue"] != "incoming" {
        assert!(begun.elapsed() < Duration::from_secs(4), "{}", server.read(&id).await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(server.history_row(&id, "requeued").await["agent"], "agent-1");
}

#[tokio::test]
async fn an_export_can_be_read_into_another_server() {
    let server = Server::start(&["--admin-token", ADMIN]);
    let orchestrator = server.orchestrator("s").await;
    let done = server
        .submitted("s", &orchestrator, json!({ "title": "Ünïcödé", "content": "body\n" }))
        .await;
    server
        .act(&done, "accept", json!({ "accepted_by": "mia" }))
        .await
        .expect(200);
    let first = server.task("s", json!({ "queue": "backlog" })).await;
    let second = server.task("s", json!({ "blocked_by": first })).await;
    server.task("other", json!({})).await;
    let project = json!({ "id": "p", "title": "P", "branch": "b", "scope": "s" });
    server.post("/api/v1/projects", project).await.expect(201);
    let export = server.keyed(ADMIN).get("/api/v1/admin/export").await;
    assert_eq!(export.status, 200, "{export}");

    let copy = Server::start(&["--admin-token", ADMIN]);
    let body = export.text.clone().into_bytes();
    let reply = copy.keyed(ADMIN).send("POST", "/api/v1/admin/import", &[], body).await;
    assert!(matches!(reply.status, 200 | 201), "{reply}");
    for id in [&done, &first, &second] {
        assert_eq!(copy.read(id).await, server.read(id).await, "{id}");
        assert_eq!(copy.history(id).await.len(), server.history(id).await.len(), "{id}");
    }
    let tasks = of("/api/v1/tasks", "s");
    assert_eq!(
        ids(&copy.get(&tasks).await.expect(200)["tasks"]),
        ids(&server.get(&tasks).await.expect(200)["tasks"])
    );
    assert_eq!(
        copy.get("/api/v1/projects/p").await.expect(200),
        server.get("/api/v1/projects/p").await.expect(200)
    );
    assert_eq!(
        copy.keyed(ADMIN).get("/api/v1/admin/export").await.text,
        export.text,
        "byte by byte"
    );
}
