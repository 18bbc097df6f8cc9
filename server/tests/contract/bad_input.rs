//! Requests that make no sense: each is refused with a reason, none breaks the server, and nothing has changed.

use serde_json::{Value, json};

use crate::harness::{Api, Reply, Server, of, text};

const ADMIN: &str = "an-administrators-secret-0123456789";

/// A server with one of everything, to be addressed by the requests.
pub struct World {
    server: Server,
    pub orchestrator: String,
    pub waiting: String,
    pub claimed: String,
    pub review: String,
    draft: String,
    pub action: String,
}

impl World {
    pub async fn new() -> World {
        let server = Server::start(&["--admin-token", ADMIN]);
        let orchestrator = server.orchestrator("s").await;
        let review = server.submitted("s", &orchestrator, json!({})).await;
        let hooks = json!([{ "name": "h" }]).to_string();
        let claimed = server.task("s", json!({ "hooks": hooks })).await;
        server.claim("s", &orchestrator, json!({})).await;
        let waiting = server.task("s", json!({})).await;
        let project = json!({ "id": "p", "title": "P", "branch": "b", "scope": "s" });
        server.post("/api/v1/projects", project).await.expect(201);
        let draft = json!({ "title": "D", "author": "a", "scope": "s" });
        let draft = server.post("/api/v1/drafts", draft).await.expect(201)["id"].to_string();
        let action = json!({ "entity_type": "task", "entity_id": "t", "label": "l", "proposed_by": "a", "scope": "s" });
        let action = text(&server.post("/api/v1/actions", action).await.expect(201)["id"]);
        World {
            server,
            orchestrator,
            waiting,
            claimed,
            review,
            draft,
            action,
        }
    }

    /// Everything that can be read, to see whether it has changed.
    pub async fn snapshot(&self) -> Vec<Value> {
        let mut seen = Vec::new();
        for name in [
            "tasks", "projects", "drafts", "messages", "actions", "flows", "roles", "events",
        ] {
            seen.push(self.server.get(&of(&format!("/api/v1/{name}"), "s")).await.expect(200));
        }
        let path = format!("/api/v1/orchestrators/{}", self.orchestrator);
        seen.push(self.server.get(&path).await.expect(200));
        seen
    }

    /// Who may ask there.
    pub fn api(&self, path: &str) -> Api {
        if path.contains("/admin/") {
            self.server.keyed(ADMIN)
        } else {
            self.server.api()
        }
    }

    /// Each route that reads a body, and whether any JSON at all is good enough for it.
    fn routes(&self) -> Vec<(&'static str, String, bool)> {
        let task = |id: &str, action: &str| format!("/api/v1/tasks/{id}/{action}");
        let (w, c, r) = (&self.waiting, &self.claimed, &self.review);
        let mut routes = vec![
            ("POST", "/api/v1/tasks".to_owned(), false),
            ("POST", "/api/v1/tasks/batch".to_owned(), false),
            ("POST", "/api/v1/tasks/claim".to_owned(), false),
            ("PATCH", format!("/api/v1/tasks/{w}"), false),
            ("POST", task(c, "submit"), false),
            ("POST", task(r, "accept"), false),
            ("POST", task(r, "reject"), false),
            ("POST", task(w, "force-queue"), false),
            ("POST", task(c, "hooks/h/complete"), false),
            ("POST", "/api/v1/orchestrators/register".to_owned(), false),
            ("PATCH", format!("/api/v1/orchestrators/{}", self.orchestrator), false),
            ("POST", "/api/v1/projects".to_owned(), false),
            ("PATCH", "/api/v1/projects/p".to_owned(), false),
            ("POST", "/api/v1/drafts".to_owned(), false),
            ("PATCH", format!("/api/v1/drafts/{}", self.draft), false),
            ("POST", "/api/v1/roles/register".to_owned(), false),
            ("PUT", "/api/v1/flows/own".to_owned(), false),
            ("POST", "/api/v1/messages".to_owned(), false),
            ("POST", "/api/v1/actions".to_owned(), false),
            ("PATCH", format!("/api/v1/actions/{}", self.action), false),
            // Their only field may be left out.
            ("POST", format!("/api/v1/actions/{}/complete", self.action), true),
            ("POST", format!("/api/v1/actions/{}/fail", self.action), true),
            ("POST", "/api/v1/admin/keys".to_owned(), false),
        ];
        for action in [
            "renew", "release", "fail", "progress", "hold", "unhold", "cancel", "recover",
        ] {
            routes.push(("POST", task(w, action), false));
        }
        routes
    }
}

/// Checks that the request was refused in a way that a client can read and that tells nothing of the inside.
#[track_caller]
pub fn assert_refused(reply: &Reply) {
    assert!((400..500).contains(&reply.status), "{reply}");
    let sentence = reply.json["error"].as_str().unwrap_or_default();
    assert!(!sentence.is_empty(), "no sentence under `error`: {reply}");
    assert!(reply.json["code"].is_string(), "no code: {reply}");
    assert!(reply.header("content-type").starts_with("application/json"), "{reply}");
    for inside in [
        "SELECT ",
        "INSERT ",
        "UNIQUE",
        "sqlite",
        "rusqlite",
        "panicked",
        ".rs:",
        "constraint failed",
    ] {
        assert!(!reply.text.contains(inside), "{inside} is told: {reply}");
    }
}

#[tokio::test]
async fn every_route_refuses_what_is_no_json() {
    let world = World::new().await;
    let before = world.snapshot().await;
    let deep = [vec![b'['; 100_000], vec![b']'; 100_000]].concat();
    let broken: Vec<Vec<u8>> = vec![
        b"{\"a\":".to_vec(),
        b"{'title': 'x'}".to_vec(),
        b"{\"title\":\"x\"} and more".to_vec(),
        b"title=x&scope=s".to_vec(),
        b"\0".to_vec(),
    ];
    // These look like JSON; what is wrong with them may be told in other words.
    let odd: Vec<Vec<u8>> = vec![
        b"{\"title\":\"\xff\xfe\",\"scope\":\"s\",\"reason\":\"\xc3\x28\"}".to_vec(),
        b"{\"title\":\"\\ud800\",\"reason\":\"\\ud800\"}".to_vec(),
        b"{\"title\":\"a\nb\",\"reason\":\"a\nb\"}".to_vec(),
        deep,
    ];
    for (method, path, lenient) in world.routes() {
        for body in &broken {
            let reply = world.api(&path).send(method, &path, &[], body.clone()).await;
            assert_refused(&reply);
            assert_eq!(reply.status, 400, "{reply}");
            assert_eq!(reply.json["code"], "invalid_json", "{reply}");
        }
        for body in odd.iter().filter(|_| !lenient) {
            let reply = world.api(&path).send(method, &path, &[], body.clone()).await;
            assert_refused(&reply);
        }
    }
    assert_eq!(world.snapshot().await, before);
}

#[tokio::test]
async fn every_route_refuses_what_is_no_object() {
    let world = World::new().await;
    let before = world.snapshot().await;
    for (method, path, lenient) in world.routes() {
        if lenient {
            continue;
        }
        for body in ["null", "[]", "\"text\"", "5", "true", "[{\"title\":\"x\"}]"] {
            let reply = world
                .api(&path)
                .send(method, &path, &[], body.as_bytes().to_vec())
                .await;
            assert_refused(&reply);
        }
    }
    // No body at all is an empty object, and that lacks what these need.
    for (method, path, _) in world.routes().into_iter().take(11) {
        let reply = world.api(&path).send(method, &path, &[], Vec::new()).await;
        assert_refused(&reply);
    }
    assert_eq!(world.snapshot().await, before);
}

#[tokio::test]
async fn a_page_is_never_larger_than_allowed() {
    let world = World::new().await;
    let lists = ["tasks", "projects", "drafts", "messages", "actions"];
    for list in lists {
        for limit in [
            "-1",
            "-9223372036854775808",
            "99999999999999999999",
            "12abc",
            "x",
            "1e3",
            "501",
            "1000000",
            "%00",
        ] {
            let reply = world.server.get(&format!("/api/v1/{list}?scope=s&limit={limit}")).await;
            if reply.status == 200 {
                let echoed = reply.json["limit"].as_i64().unwrap_or(-1);
                assert!((0..=500).contains(&echoed), "{reply}");
            } else {
                assert_refused(&reply);
            }
        }
        for offset in ["-1", "99999999999999999999", "x", "1000000"] {
            let reply = world
                .server
                .get(&format!("/api/v1/{list}?scope=s&offset={offset}"))
                .await;
            if reply.status == 200 {
                let echoed = reply.json["offset"].as_i64().unwrap_or(-1);
                assert!(echoed >= 0, "{reply}");
            } else {
                assert_refused(&reply);
            }
        }
    }
    // What is asked for within reason is never refused.
    for limit in ["0", "500", "10000"] {
        world
            .server
            .get(&format!("/api/v1/tasks?scope=s&limit={limit}"))
            .await
            .expect(200);
    }
}

#[tokio::test]
async fn queries_that_make_no_sense_are_refused() {
    let world = World::new().await;
    let many = vec!["q"; 5000].join(",");
    for query in [
        "tasks?scope=%00".to_owned(),
        "tasks?scope=%ff%fe".to_owned(),
        format!("tasks?scope={}", "x".repeat(5000)),
        format!("tasks?scope=s&queue={many}"),
        "tasks?scope=s&pr_number=x".to_owned(),
        "events?scope=s&after=x".to_owned(),
        "events?scope=s&wait_seconds=-1".to_owned(),
        "events?scope=s&wait_seconds=x".to_owned(),
        "status".to_owned(),
        "status?scope=%00".to_owned(),
        "flows".to_owned(),
    ] {
        assert_refused(&world.server.get(&format!("/api/v1/{query}")).await);
    }
}

#[tokio::test]
async fn ids_that_nothing_can_have_are_unknown() {
    let world = World::new().await;
    let long = "x".repeat(3000);
    for id in [
        "%00",
        "%FF",
        "a%20b",
        "a%2Fb",
        "%2e%2e%2fetc",
        "%",
        "%zz",
        "'%20OR%201=1--",
        long.as_str(),
    ] {
        for kind in ["tasks", "projects", "orchestrators"] {
            let path = format!("/api/v1/{kind}/{id}");
            for method in ["GET", "DELETE", "PATCH"] {
                if kind == "orchestrators" && method == "DELETE" {
                    continue;
                }
                let body = if method == "PATCH" {
                    br#"{"title":"x","status":"active"}"#.to_vec()
                } else {
                    Vec::new()
                };
                let reply = world.server.send(method, &path, &[], body).await;
                assert_refused(&reply);
                assert!(matches!(reply.status, 400 | 404 | 414), "{reply}");
            }
        }
    }
}

#[tokio::test]
async fn bad_input_has_no_later_effects() {
    let world = World::new().await;
    // Text that means something elsewhere is only text here.
    for title in [
        "'); DROP TABLE tasks; --",
        "<script>alert(1)</script>",
        "{{7*7}}",
        "\u{202e}evil",
        "a%00b",
    ] {
        let made = world
            .server
            .post("/api/v1/tasks", json!({ "title": title, "scope": "x" }))
            .await
            .expect(201);
        assert_eq!(made["title"], title);
        assert_eq!(world.server.read(&text(&made["id"])).await["title"], title);
    }
    let list = world.server.get("/api/v1/tasks?scope=x").await.expect(200);
    assert_eq!(list["total"], 5);
    let board = world
        .server
        .send("GET", "/?scope=x", &[("accept", "text/html")], Vec::new())
        .await;
    assert!(
        !board.text.contains("<script>alert(1)"),
        "the board shows a title as code"
    );
    world.server.get("/readyz").await.expect(200);
}
