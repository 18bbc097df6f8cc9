//! The five requests of the mission document, as they stand there, and the dialect that knows no scopes.

use serde_json::json;

use crate::harness::{Api, Server, is_wire_time, of};

const HEADERS: &[(&str, &str)] = &[("Content-Type", "application/json")];
const REGISTER: &str = r#"{"cluster":"test","machine_id":"test-1","repo_url":"https://github.com/..."}"#;
const CREATE: &str = r#"{"id":"test-123","file_path":"tasks/test-123.md","role":"implement"}"#;
const CLAIM: &str = r#"{"orchestrator_id":"test-test-1","agent_name":"test-agent","role_filter":"implement"}"#;

fn start() -> Server {
    Server::start(&["--default-scope", "default"])
}

async fn post(api: &Api, path: &str, body: &str) -> crate::harness::Reply {
    api.send("POST", path, HEADERS, body.as_bytes().to_vec()).await
}

#[tokio::test]
async fn the_five_requests_work_twice_on_one_database() {
    let server = start();

    let health = server.get("/api/health").await.expect(200);
    assert_eq!(health["status"], "healthy");
    assert_eq!(health["version"], "2.0.0");
    assert_eq!(health["database"], "connected");
    assert!(is_wire_time(&health["timestamp"]), "{health}");

    let registered = post(&server, "/api/v1/orchestrators/register", REGISTER)
        .await
        .expect(201);
    assert_eq!(registered["orchestrator_id"], "test-test-1");
    assert_eq!(registered["status"], "active");
    assert!(is_wire_time(&registered["registered_at"]), "{registered}");

    let task = post(&server, "/api/v1/tasks", CREATE).await.expect(201);
    assert_eq!(task["id"], "test-123");
    assert_eq!(task["file_path"], "tasks/test-123.md");
    assert_eq!(task["role"], "implement");
    assert_eq!(task["queue"], "incoming");
    assert_eq!(task["priority"], "P2");
    assert_eq!(task["branch"], "main");
    assert_eq!(task["title"], "test-123");
    assert_eq!(task["scope"], "default");

    let list = server.get("/api/v1/tasks").await.expect(200);
    assert_eq!(list["total"], 1);
    assert_eq!(list["tasks"][0]["id"], "test-123");

    let claimed = post(&server, "/api/v1/tasks/claim", CLAIM).await.expect(200);
    assert_eq!(claimed["id"], "test-123");
    assert_eq!(claimed["queue"], "claimed");
    assert_eq!(claimed["claimed_by"], "test-agent");
    assert_eq!(claimed["orchestrator_id"], "test-test-1");
    assert!(is_wire_time(&claimed["lease_expires_at"]), "{claimed}");

    // The same five again: registering repeats, an id is taken once, and nothing is left to claim.
    assert_eq!(server.get("/api/health").await.expect(200)["status"], "healthy");
    let again = post(&server, "/api/v1/orchestrators/register", REGISTER)
        .await
        .expect(200);
    assert_eq!(again["orchestrator_id"], "test-test-1");
    assert_eq!(
        again["registered_at"], registered["registered_at"],
        "the first registration counts"
    );
    post(&server, "/api/v1/tasks", CREATE).await.code(409, "already_exists");
    let list = server.get("/api/v1/tasks").await.expect(200);
    assert_eq!(list["total"], 1);
    assert_eq!(
        list["tasks"][0]["queue"], "claimed",
        "the second creation changed the task"
    );
    let nothing = post(&server, "/api/v1/tasks/claim", CLAIM).await;
    assert_eq!(nothing.status, 204, "{nothing}");
    assert_eq!(nothing.text, "", "a 204 has no body");
}

#[tokio::test]
async fn an_empty_claim_is_204_without_a_scope_and_404_with_one() {
    let server = start();
    let unscoped = post(&server, "/api/v1/tasks/claim", CLAIM).await;
    assert_eq!(unscoped.status, 204, "{unscoped}");
    assert_eq!(unscoped.text, "");

    let body = json!({ "orchestrator_id": "test-test-1", "agent_name": "a", "scope": "default" });
    let scoped = server.post("/api/v1/tasks/claim", body).await;
    assert_eq!(scoped.status, 404, "{scoped}");
    assert_eq!(
        scoped.json,
        json!({ "message": "No tasks available" }),
        "exactly this body"
    );
}

#[tokio::test]
async fn a_scope_that_is_named_wins_over_the_default_one() {
    let server = start();
    let other = server.task("other", json!({})).await;
    let own = server
        .post("/api/v1/tasks", json!({ "title": "mine" }))
        .await
        .expect(201);
    assert_eq!(own["scope"], "default");
    assert_eq!(own["branch"], "main");

    let unscoped = server.get("/api/v1/tasks").await.expect(200);
    assert_eq!(unscoped["total"], 1, "{unscoped}");
    assert_eq!(unscoped["tasks"][0]["id"], own["id"]);
    let scoped = server.get(&of("/api/v1/tasks", "other")).await.expect(200);
    assert_eq!(scoped["total"], 1, "{scoped}");
    assert_eq!(scoped["tasks"][0]["id"], other.as_str());
    // An empty value counts as absent.
    let empty = server.get("/api/v1/tasks?scope=").await.expect(200);
    assert_eq!(empty["tasks"][0]["id"], own["id"]);
}

#[tokio::test]
async fn heartbeats_need_no_body() {
    let server = start();
    post(&server, "/api/v1/orchestrators/register", REGISTER)
        .await
        .expect(201);
    let path = "/api/v1/orchestrators/test-test-1/heartbeat";
    let bare = server.send("POST", path, &[], Vec::new()).await.expect(200);
    assert_eq!(bare["success"], true);
    assert!(bare["last_heartbeat"].is_string(), "{bare}");
    let garbage = post(&server, path, "{not json").await.expect(200);
    assert_eq!(garbage["success"], true);
    let unknown = "/api/v1/orchestrators/nobody/heartbeat";
    server.send("POST", unknown, &[], Vec::new()).await.error(404);
}

#[tokio::test]
async fn a_machine_registers_without_a_repository() {
    // Earlier schedulers that have none configured; only where a default scope makes the server lenient.
    let server = start();
    let body = json!({ "cluster": "c", "machine_id": "m", "scope": "default" });
    let answer = server.post("/api/v1/orchestrators/register", body).await.expect(201);
    assert_eq!(answer["orchestrator_id"], "c-m");
    let body = json!({ "machine_id": "m", "repo_url": "r" });
    server.post("/api/v1/orchestrators/register", body).await.error(400);
}

#[tokio::test]
async fn the_whole_life_of_a_task_without_a_scope() {
    let server = start();
    post(&server, "/api/v1/orchestrators/register", REGISTER)
        .await
        .expect(201);
    post(&server, "/api/v1/tasks", CREATE).await.expect(201);
    post(&server, "/api/v1/tasks/claim", CLAIM).await.expect(200);
    let body = r#"{"commits_count":3,"turns_used":12}"#;
    let submitted = post(&server, "/api/v1/tasks/test-123/submit", body).await.expect(200);
    assert_eq!(submitted["queue"], "provisional");
    assert_eq!(submitted["commits_count"], 3);
    let body = r#"{"accepted_by":"me"}"#;
    let accepted = post(&server, "/api/v1/tasks/test-123/accept", body).await.expect(200);
    assert_eq!(accepted["queue"], "done");
    assert!(is_wire_time(&accepted["completed_at"]), "{accepted}");
    let list = server.get("/api/v1/tasks?queue=done").await.expect(200);
    assert_eq!(list["total"], 1);
}
