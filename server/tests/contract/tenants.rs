//! Two scopes on one server: whoever holds the key of one sees and touches nothing of the other.

use serde_json::{Value, json};

use crate::harness::{Api, Server, of, text};

/// What one tenant has: one of everything. Every name in it contains the scope's name.
struct Tenant {
    api: Api,
    orchestrator: String,
    waiting: String,
    claimed: String,
    review: String,
    project: String,
    draft: String,
    action: String,
    message: String,
    role: String,
    flow: String,
}

impl Tenant {
    async fn new(server: &Server, scope: &str) -> Tenant {
        let body = json!({ "cluster": scope, "machine_id": "m", "repo_url": scope, "scope": scope });
        let registered = server.post("/api/v1/orchestrators/register", body).await.expect(201);
        let api = server.keyed(&text(&registered["api_key"]));
        let orchestrator = text(&registered["orchestrator_id"]);
        let make = |path: &str, body: Value| {
            let (api, path) = (api.clone(), path.to_owned());
            async move {
                let made = api.post(&path, body).await.expect(201);
                match &made["id"] {
                    Value::String(id) => id.clone(),
                    other => other.to_string(),
                }
            }
        };
        let task = |name: &str| json!({ "id": format!("{scope}-{name}"), "title": format!("{scope} {name}"), "hooks": "[{\"name\":\"h\"}]" });
        let review = make("/api/v1/tasks", task("review")).await;
        api.claim(scope, &orchestrator, json!({})).await;
        api.submit(&review).await;
        let claimed = make("/api/v1/tasks", task("claimed")).await;
        api.claim(scope, &orchestrator, json!({})).await;
        let waiting = make("/api/v1/tasks", task("waiting")).await;
        let project = json!({ "id": format!("{scope}-p"), "title": format!("{scope} p"), "branch": "b" });
        let project = make("/api/v1/projects", project).await;
        let draft = make(
            "/api/v1/drafts",
            json!({ "title": format!("{scope} d"), "author": scope }),
        )
        .await;
        let message = json!({ "task_id": waiting, "from_actor": scope, "type": "comment", "content": scope });
        let message = make("/api/v1/messages", message).await;
        let action = json!({ "entity_type": "task", "entity_id": waiting, "label": scope, "proposed_by": scope });
        let action = make("/api/v1/actions", action).await;
        let role = format!("{scope}-role");
        let body = json!({ "orchestrator_id": orchestrator, "roles": [{ "name": role }] });
        api.post("/api/v1/roles/register", body).await.expect(200);
        let flow = format!("{scope}-flow");
        let states = ["incoming", "claimed", "provisional", "done", "failed"];
        let body = json!({ "states": states, "transitions": [] });
        api.put(&format!("/api/v1/flows/{flow}"), body).await.expect(200);
        Tenant {
            api,
            orchestrator,
            waiting,
            claimed,
            review,
            project,
            draft,
            action,
            message,
            role,
            flow,
        }
    }

    /// Everything that the tenant can read, to see whether it has changed.
    async fn snapshot(&self) -> Vec<Value> {
        let mut seen = Vec::new();
        for path in [
            "/api/v1/tasks".to_owned(),
            format!("/api/v1/orchestrators/{}", self.orchestrator),
            "/api/v1/projects".to_owned(),
            "/api/v1/drafts".to_owned(),
            "/api/v1/messages".to_owned(),
            "/api/v1/actions".to_owned(),
            "/api/v1/roles".to_owned(),
            "/api/v1/flows".to_owned(),
            "/api/v1/events".to_owned(),
        ] {
            seen.push(self.api.get(&path).await.expect(200));
        }
        seen
    }
}

#[tokio::test]
async fn another_scopes_ids_do_not_exist_for_any_verb() {
    let server = Server::start(&[]);
    let mine = Tenant::new(&server, "mine").await;
    let theirs = Tenant::new(&server, "theirs").await;
    let before = theirs.snapshot().await;
    let (w, c, r) = (&theirs.waiting, &theirs.claimed, &theirs.review);
    let tasks = "/api/v1/tasks";
    let nothing = || json!({});
    let person = || json!({ "by": "x", "reason": "x" });
    let table: Vec<(&str, String, Value)> = vec![
        ("GET", format!("{tasks}/{w}"), nothing()),
        ("PATCH", format!("{tasks}/{w}"), json!({ "title": "x" })),
        ("PATCH", format!("{tasks}/{w}"), json!({ "queue": "failed" })),
        ("DELETE", format!("{tasks}/{w}"), nothing()),
        (
            "POST",
            format!("{tasks}/{c}/submit"),
            json!({ "commits_count": 1, "turns_used": 1 }),
        ),
        ("POST", format!("{tasks}/{r}/accept"), json!({ "accepted_by": "x" })),
        (
            "POST",
            format!("{tasks}/{r}/reject"),
            json!({ "reason": "x", "rejected_by": "x" }),
        ),
        ("POST", format!("{tasks}/{c}/requeue"), nothing()),
        (
            "POST",
            format!("{tasks}/{w}/force-queue"),
            json!({ "queue": "done", "reason": "x" }),
        ),
        (
            "POST",
            format!("{tasks}/{w}/hooks/h/complete"),
            json!({ "status": "passed" }),
        ),
        ("POST", format!("{tasks}/{c}/renew"), json!({ "claim_token": "x" })),
        ("POST", format!("{tasks}/{c}/release"), json!({ "claim_token": "x" })),
        (
            "POST",
            format!("{tasks}/{c}/progress"),
            json!({ "claim_token": "x", "note": "x" }),
        ),
        ("POST", format!("{tasks}/{w}/fail"), json!({ "reason": "x" })),
        ("POST", format!("{tasks}/{w}/hold"), person()),
        ("POST", format!("{tasks}/{w}/unhold"), person()),
        ("POST", format!("{tasks}/{w}/cancel"), person()),
        (
            "POST",
            format!("{tasks}/{w}/recover"),
            json!({ "by": "x", "to": "failed", "reason": "x" }),
        ),
        ("GET", format!("{tasks}/{w}/history"), nothing()),
        ("GET", format!("{tasks}/{w}/attempts"), nothing()),
        ("GET", format!("{tasks}/{w}/why"), nothing()),
        ("GET", format!("/api/v1/projects/{}", theirs.project), nothing()),
        ("GET", format!("/api/v1/projects/{}/tasks", theirs.project), nothing()),
        (
            "PATCH",
            format!("/api/v1/projects/{}", theirs.project),
            json!({ "title": "x" }),
        ),
        ("DELETE", format!("/api/v1/projects/{}", theirs.project), nothing()),
        ("GET", format!("/api/v1/drafts/{}", theirs.draft), nothing()),
        (
            "PATCH",
            format!("/api/v1/drafts/{}", theirs.draft),
            json!({ "title": "x" }),
        ),
        ("DELETE", format!("/api/v1/drafts/{}", theirs.draft), nothing()),
        (
            "GET",
            format!("/api/v1/orchestrators/{}", theirs.orchestrator),
            nothing(),
        ),
        (
            "PATCH",
            format!("/api/v1/orchestrators/{}", theirs.orchestrator),
            json!({ "status": "offline" }),
        ),
        (
            "POST",
            format!("/api/v1/orchestrators/{}/heartbeat", theirs.orchestrator),
            nothing(),
        ),
        ("POST", format!("/api/v1/actions/{}/execute", theirs.action), nothing()),
        ("POST", format!("/api/v1/actions/{}/complete", theirs.action), nothing()),
        ("POST", format!("/api/v1/actions/{}/fail", theirs.action), nothing()),
        (
            "PATCH",
            format!("/api/v1/actions/{}", theirs.action),
            json!({ "status": "failed" }),
        ),
        ("GET", format!("/api/v1/roles/{}", theirs.role), nothing()),
        ("GET", format!("/api/v1/flows/{}", theirs.flow), nothing()),
        ("DELETE", format!("/api/v1/flows/{}", theirs.flow), nothing()),
    ];
    for (method, path, body) in table {
        let sent = match method {
            "GET" | "DELETE" => Vec::new(),
            _ => body.to_string().into_bytes(),
        };
        mine.api.send(method, &path, &[], sent).await.error(404);
    }
    // Just as those which nobody has.
    let foreign = mine.api.get(&format!("{tasks}/{w}")).await;
    let unknown = mine.api.get(&format!("{tasks}/nobody")).await;
    assert_eq!(foreign.text.replace(w.as_str(), "nobody"), unknown.text);
    assert_eq!(theirs.snapshot().await, before, "something has changed");
}

#[tokio::test]
async fn lists_show_the_own_scope_only() {
    let server = Server::start(&[]);
    let mine = Tenant::new(&server, "mine").await;
    let theirs = Tenant::new(&server, "theirs").await;
    for path in [
        "/api/v1/tasks".to_owned(),
        "/api/v1/orchestrators".to_owned(),
        "/api/v1/projects".to_owned(),
        "/api/v1/drafts".to_owned(),
        "/api/v1/roles".to_owned(),
        "/api/v1/flows".to_owned(),
        "/api/v1/messages".to_owned(),
        "/api/v1/actions".to_owned(),
        "/api/v1/events".to_owned(),
        "/api/v1/status".to_owned(),
        "/api/v1/scheduler/poll".to_owned(),
    ] {
        let reply = mine.api.get(&path).await;
        assert!(reply.text.contains("mine"), "{reply}");
        assert!(!reply.text.contains("theirs"), "{reply}");
        reply.expect(200);
    }
    for path in [
        format!("/api/v1/scheduler/poll?orchestrator_id={}", theirs.orchestrator),
        format!("/api/v1/messages?thread_id={}", theirs.message),
        format!("/api/v1/messages?task_id={}", theirs.waiting),
        format!("/api/v1/tasks/{}/messages", theirs.waiting),
        format!("/api/v1/events?task_id={}", theirs.waiting),
        format!(
            "/api/v1/tasks?claimed_by=agent-1&orchestrator_id={}",
            theirs.orchestrator
        ),
    ] {
        let reply = mine.api.get(&path).await;
        assert!(matches!(reply.status, 200 | 404), "{reply}");
        for secret in ["theirs waiting", "theirs claimed", "\"theirs\"", "theirs-flow"] {
            assert!(!reply.text.contains(secret), "{secret}: {reply}");
        }
    }
}

#[tokio::test]
async fn a_claim_takes_nothing_from_another_scope() {
    let server = Server::start(&[]);
    let mine = Tenant::new(&server, "mine").await;
    let theirs = Tenant::new(&server, "theirs").await;
    let own = mine.api.claim("mine", &mine.orchestrator, json!({})).await;
    assert_eq!(own["id"], mine.waiting.as_str());
    mine.api
        .try_claim("mine", &mine.orchestrator, json!({}))
        .await
        .expect(404);
    mine.api
        .try_claim("theirs", &mine.orchestrator, json!({}))
        .await
        .error(403);
    let review = json!({ "queue": "provisional" });
    let reply = mine.api.claim("mine", &mine.orchestrator, review).await;
    assert_eq!(reply["id"], mine.review.as_str());
    assert_eq!(theirs.api.read(&theirs.waiting).await["claimed_by"], Value::Null);
}

#[tokio::test]
async fn new_things_cannot_lean_on_another_scopes() {
    let server = Server::start(&[]);
    let mine = Tenant::new(&server, "mine").await;
    let theirs = Tenant::new(&server, "theirs").await;
    let before = theirs.snapshot().await;
    for (path, body) in [
        (
            "/api/v1/tasks",
            json!({ "id": "leaning", "title": "x", "blocked_by": theirs.waiting }),
        ),
        (
            "/api/v1/tasks",
            json!({ "id": "leaning", "title": "x", "project_id": theirs.project }),
        ),
        (
            "/api/v1/messages",
            json!({ "task_id": theirs.waiting, "from_actor": "x", "type": "x", "content": "x" }),
        ),
        (
            "/api/v1/messages",
            json!({ "task_id": "x", "from_actor": "x", "type": "x", "content": "x", "parent_message_id": theirs.message }),
        ),
        (
            "/api/v1/roles/register",
            json!({ "orchestrator_id": theirs.orchestrator, "roles": [{ "name": "x" }] }),
        ),
    ] {
        let reply = mine.api.post(path, body).await;
        assert!(matches!(reply.status, 400 | 403 | 404), "{reply}");
    }
    mine.api.get("/api/v1/tasks/leaning").await.error(404);
    assert_eq!(theirs.snapshot().await, before);
    // Deleting an own task that has the other's name as blocker would be a way in; there is none to begin with.
    let patch = json!({ "blocked_by": theirs.waiting });
    let path = format!("/api/v1/tasks/{}", mine.waiting);
    mine.api.patch(&path, patch).await.error(400);
}

#[tokio::test]
async fn a_scope_that_is_named_twice_or_in_disguise_opens_nothing() {
    let server = Server::start(&[]);
    let mine = Tenant::new(&server, "mine").await;
    Tenant::new(&server, "theirs").await;
    for query in [
        "?scope=mine&scope=theirs",
        "?scope=theirs&scope=mine",
        "?%73cope=mine&scope=theirs",
        "?scope=mine&%73cope=theirs",
        "?scope=mine&s%63ope=theirs",
        "?scope=mine&scope=mine",
    ] {
        for api in [&mine.api, &server.api()] {
            for route in ["tasks", "events", "messages", "flows", "scheduler/poll"] {
                let reply = api.get(&format!("/api/v1/{route}{query}")).await;
                assert!(!reply.text.contains("theirs-"), "{reply}");
                reply.error(400);
            }
        }
    }
    // One name in disguise is still that name.
    let reply = mine.api.get("/api/v1/tasks?%73cope=theirs").await;
    assert!(!reply.text.contains("theirs-"), "{reply}");
    reply.error(403);
    let own = mine.api.get("/api/v1/tasks?%73cope=mine").await.expect(200);
    assert_eq!(own["total"], 3);
}

#[tokio::test]
async fn a_machine_cannot_be_taken_into_another_scope() {
    let server = Server::start(&[]);
    let mine = Tenant::new(&server, "mine").await;
    let theirs = Tenant::new(&server, "theirs").await;
    let before = theirs.snapshot().await;
    let body = json!({ "cluster": "theirs", "machine_id": "m", "repo_url": "stolen", "scope": "mine" });
    let reply = mine.api.post("/api/v1/orchestrators/register", body).await;
    assert!((400..500).contains(&reply.status), "{reply}");
    assert_eq!(theirs.snapshot().await, before);
    assert_eq!(server.get(&of("/api/v1/tasks", "theirs")).await.expect(200)["total"], 3);
}
