//! What surrounds the tasks: orchestrators, roles, flows, and the scheduler's poll.

use serde_json::{Value, json};

use crate::harness::{Server, is_wire_time, of, text, unique, with};

const REGISTER: &str = "/api/v1/orchestrators/register";

fn machine(name: &str) -> Value {
    json!({ "cluster": "c", "machine_id": name, "repo_url": "https://example.org/r.git", "scope": "s" })
}

#[tokio::test]
async fn registering_again_keeps_what_is_not_said() {
    let server = Server::start(&[]);
    let full = json!({ "hostname": "h", "version": "1.2", "capabilities": { "roles": ["implement"] } });
    let first = server.post(REGISTER, with(machine("m1"), full)).await.expect(201);
    assert_eq!(
        (first["orchestrator_id"].as_str(), first["status"].as_str()),
        (Some("c-m1"), Some("active"))
    );
    let stored = server.get("/api/v1/orchestrators/c-m1").await.expect(200);
    for key in [
        "id",
        "cluster",
        "machine_id",
        "hostname",
        "repo_url",
        "registered_at",
        "last_heartbeat",
        "status",
        "version",
        "capabilities",
        "scope",
    ] {
        assert!(!stored[key].is_null(), "{key} of {stored}");
    }
    let capabilities: Value = serde_json::from_str(&text(&stored["capabilities"])).unwrap();
    assert_eq!(capabilities, json!({ "roles": ["implement"] }), "they travel as text");

    let second = server.post(REGISTER, machine("m1")).await.expect(200);
    assert_eq!(second["registered_at"], first["registered_at"]);
    let again = server.get("/api/v1/orchestrators/c-m1").await.expect(200);
    for key in ["hostname", "version", "capabilities", "registered_at"] {
        assert_eq!(again[key], stored[key], "{key}");
    }
    let changed = server
        .post(REGISTER, with(machine("m1"), json!({ "hostname": "h2" })))
        .await;
    changed.expect(200);
    assert_eq!(
        server.get("/api/v1/orchestrators/c-m1").await.expect(200)["hostname"],
        "h2"
    );
}

#[tokio::test]
async fn registering_asks_for_what_it_needs() {
    let server = Server::start(&[]);
    for key in ["cluster", "machine_id", "repo_url", "scope"] {
        for body in [
            with(machine("m"), json!({ key: "" })),
            with(machine("m"), json!({ key: null })),
        ] {
            let refused = server.post(REGISTER, body).await.error(400);
            if key == "scope" {
                assert!(text(&refused["error"]).contains("scope"), "{refused}");
            }
        }
    }
    let list = server.get(&of("/api/v1/orchestrators", "s")).await.expect(200);
    assert_eq!(list["total"], 0);
}

#[tokio::test]
async fn two_machines_cannot_share_an_id() {
    let server = Server::start(&[]);
    let first = json!({ "cluster": "a-b", "machine_id": "c", "repo_url": "r", "scope": "s" });
    server.post(REGISTER, first).await.expect(201);
    let before = server.get("/api/v1/orchestrators/a-b-c").await.expect(200);
    let second = json!({ "cluster": "a", "machine_id": "b-c", "repo_url": "other", "scope": "t" });
    server.post(REGISTER, second).await.error(409);
    assert_eq!(server.get("/api/v1/orchestrators/a-b-c").await.expect(200), before);
}

#[tokio::test]
async fn orchestrators_are_listed_read_and_set() {
    let server = Server::start(&[]);
    server.post(REGISTER, machine("m1")).await.expect(201);
    server.post(REGISTER, machine("m2")).await.expect(201);
    let path = "/api/v1/orchestrators/c-m2";
    let set = server.patch(path, json!({ "status": "maintenance" })).await.expect(200);
    assert_eq!(
        (set["id"].as_str(), set["status"].as_str()),
        (Some("c-m2"), Some("maintenance"))
    );
    server.patch(path, json!({})).await.error(400);
    server
        .patch("/api/v1/orchestrators/nobody", json!({ "status": "active" }))
        .await
        .error(404);
    server.get("/api/v1/orchestrators/nobody").await.error(404);
    for (query, total) in [
        ("", 2),
        ("?cluster=c", 2),
        ("?cluster=d", 0),
        ("?status=maintenance", 1),
        ("?status=active,maintenance", 2),
        ("?status=offline", 0),
    ] {
        let list = server.get(&format!("/api/v1/orchestrators{query}")).await.expect(200);
        assert_eq!(list["total"], total, "{query}");
        assert_eq!(list["orchestrators"].as_array().unwrap().len(), total, "{query}");
    }
}

#[tokio::test]
async fn a_heartbeat_shows_life_and_nothing_else() {
    let server = Server::start(&[]);
    server.post(REGISTER, machine("m1")).await.expect(201);
    let path = "/api/v1/orchestrators/c-m1";
    server.patch(path, json!({ "status": "offline" })).await.expect(200);
    let beat = server.post(&format!("{path}/heartbeat"), json!({})).await.expect(200);
    assert_eq!(beat["success"], true);
    assert!(is_wire_time(&beat["last_heartbeat"]), "{beat}");
    assert_eq!(server.get(path).await.expect(200)["status"], "active");
    server.patch(path, json!({ "status": "maintenance" })).await.expect(200);
    server.post(&format!("{path}/heartbeat"), json!({})).await.expect(200);
    server.post(REGISTER, machine("m1")).await.expect(200);
    assert_eq!(
        server.get(path).await.expect(200)["status"],
        "maintenance",
        "only a person ends maintenance"
    );
}

#[tokio::test]
async fn roles_are_registered_for_a_scope() {
    let server = Server::start(&[]);
    let orchestrator = server.orchestrator("s").await;
    let path = "/api/v1/roles/register";
    let roles =
        json!([{ "name": "builder", "description": "builds" }, { "name": "judge", "claims_from": "provisional" }]);
    let body = json!({ "orchestrator_id": orchestrator, "roles": roles });
    let answer = server.post(path, body).await.expect(200);
    assert_eq!(answer["roles"].as_array().unwrap().len(), 2, "{answer}");
    let builder = server.get(&of("/api/v1/roles/builder", "s")).await.expect(200);
    assert_eq!(
        (builder["name"].as_str(), builder["claims_from"].as_str()),
        (Some("builder"), Some("incoming"))
    );
    assert_eq!(
        (builder["description"].as_str(), builder["orchestrator_id"].as_str()),
        (Some("builds"), Some(orchestrator.as_str()))
    );

    // Again, with other words; the first registration's time stays, and so does the other role.
    let body = json!({ "orchestrator_id": orchestrator, "roles": [{ "name": "builder", "description": "mends" }] });
    server.post(path, body).await.expect(200);
    let list = server.get(&of("/api/v1/roles", "s")).await.expect(200);
    let names: Vec<&str> = list["roles"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|r| r["name"].as_str())
        .collect();
    assert_eq!(names, ["builder", "judge"]);
    assert_eq!(list["roles"][0]["description"], "mends");
    assert_eq!(list["roles"][0]["created_at"], builder["created_at"]);
    assert_eq!(
        server.get(&of("/api/v1/roles", "other")).await.expect(200)["roles"],
        json!([])
    );
    server.get(&of("/api/v1/roles/nobody", "s")).await.error(404);
}

#[tokio::test]
async fn registered_roles_bind_their_own_scope_only() {
    let server = Server::start(&[]);
    let create = |role: &str, scope: &str| json!({ "id": unique("t"), "title": "x", "role": role, "scope": scope });
    let tasks = "/api/v1/tasks";
    server.post(tasks, create("anything", "s")).await.expect(201);
    let orchestrator = server.orchestrator("s").await;
    let body = json!({ "orchestrator_id": orchestrator, "roles": [{ "name": "builder" }] });
    server.post("/api/v1/roles/register", body).await.expect(200);
    server.post(tasks, create("builder", "s")).await.expect(201);
    let refused = server.post(tasks, create("cook", "s")).await.error(400);
    let sentence = text(&refused["error"]);
    assert!(
        sentence.contains("Unknown role") && sentence.contains("cook"),
        "{refused}"
    );
    server.post(tasks, create("cook", "other")).await.expect(201);
}

#[tokio::test]
async fn roles_need_an_orchestrator() {
    let server = Server::start(&[]);
    let path = "/api/v1/roles/register";
    let roles = json!([{ "name": "builder" }]);
    let body = json!({ "orchestrator_id": "nobody", "roles": roles });
    server.post(path, body).await.error(400);
    let orchestrator = server.orchestrator("s").await;
    for body in [
        json!({ "roles": roles }),
        json!({ "orchestrator_id": orchestrator }),
        json!({ "orchestrator_id": orchestrator, "roles": "builder" }),
    ] {
        server.post(path, body).await.error(400);
    }
    assert_eq!(
        server.get(&of("/api/v1/roles", "s")).await.expect(200)["roles"],
        json!([])
    );
}

#[tokio::test]
async fn a_flow_comes_back_as_it_was_sent() {
    let server = Server::start(&[]);
    let states = json!(["incoming", "claimed", "provisional", "done", "failed"]);
    let transitions = json!([
        { "from": "incoming", "to": "claimed", "agent": "implement" },
        { "from": "claimed", "to": "provisional", "runs": ["run_tests"], "on_checks_fail": "incoming" },
        { "from": "provisional", "to": "done", "conditions": [{ "name": "review", "type": "agent" }] },
    ]);
    let child = json!({ "transitions": [{ "from": "claimed", "to": "done" }] });
    let path = "/api/v1/flows/own";
    let body = json!({
        "scope": "s", "states": states, "transitions": transitions, "description": "ours", "child_flow": child,
    });
    let flow = server.put(path, body).await.expect(200);
    assert_eq!(
        (flow["name"].as_str(), flow["scope"].as_str()),
        (Some("own"), Some("s"))
    );
    let decoded = |key: &str| serde_json::from_str::<Value>(&text(&flow[key])).unwrap();
    assert_eq!(decoded("states"), states);
    assert_eq!(
        decoded("transitions"),
        transitions,
        "keys that only the client knows stay"
    );
    assert_eq!(decoded("child_flow"), child);
    assert_eq!(flow["description"], "ours");
    assert!(is_wire_time(&flow["registered_at"]), "{flow}");
    assert_eq!(server.get(&of(path, "s")).await.expect(200), flow);

    let body = json!({ "scope": "s", "states": states });
    let again = server.put(path, body).await.expect(200);
    assert_eq!(again["transitions"], "[]", "none given means none");
    assert_eq!(again["registered_at"], flow["registered_at"]);
    let list = server.get(&of("/api/v1/flows", "s")).await.expect(200);
    assert_eq!(list["flows"].as_array().unwrap().len(), 1);
    assert_eq!(
        server.get(&of("/api/v1/flows", "other")).await.expect(200)["flows"],
        json!([])
    );
    server.get(&of(path, "other")).await.error(404);
}

#[tokio::test]
async fn a_flow_that_makes_no_sense_is_refused() {
    let server = Server::start(&[]);
    let states = json!(["incoming", "claimed", "done", "failed"]);
    let base = json!({ "scope": "s", "states": states, "transitions": [] });
    for wrong in [
        json!({ "states": ["incoming", "claimed", "done"] }),
        json!({ "states": "incoming" }),
        json!({ "states": [1, 2] }),
        json!({ "states": null }),
        json!({ "transitions": "x" }),
        json!({ "transitions": [null] }),
        json!({ "transitions": [{ "from": "incoming" }] }),
        json!({ "transitions": [{ "from": "incoming", "to": "nowhere" }] }),
        json!({ "transitions": [{ "from": 1, "to": 2 }] }),
        json!({ "scope": "" }),
    ] {
        server
            .put("/api/v1/flows/own", with(base.clone(), wrong.clone()))
            .await
            .error(400);
        server.get(&of("/api/v1/flows/own", "s")).await.error(404);
    }
}

#[tokio::test]
async fn a_flow_is_deleted_in_its_scope() {
    let server = Server::start(&[]);
    let body = json!({ "scope": "s", "states": ["incoming", "claimed", "done", "failed"], "transitions": [] });
    server.put("/api/v1/flows/own", body).await.expect(200);
    let task = server.task("s", json!({ "flow": "own" })).await;
    for path in ["/api/v1/flows/own", "/api/v1/flows"] {
        let refused = server.get(path).await.error(400);
        assert!(text(&refused["error"]).contains("scope"), "{refused}");
    }
    server.delete("/api/v1/flows/own").await.error(400);
    server.delete(&of("/api/v1/flows/own", "other")).await.error(404);
    let gone = server.delete(&of("/api/v1/flows/own", "s")).await.expect(200);
    assert_eq!(gone, json!({ "message": "Flow deleted", "name": "own", "scope": "s" }));
    server.delete(&of("/api/v1/flows/own", "s")).await.error(404);
    assert_eq!(server.read(&task).await["flow"], "own", "its tasks are left alone");
}

#[tokio::test]
async fn a_default_scope_lets_earlier_clients_delete_flows() {
    let server = Server::start(&["--default-scope", "default"]);
    let body = json!({ "states": ["incoming", "claimed", "done", "failed"] });
    server.put("/api/v1/flows/own", body).await.expect(200);
    let gone = server.delete("/api/v1/flows/own").await.expect(200);
    assert_eq!(
        (gone["message"].as_str(), gone["scope"].as_str()),
        (Some("Flow deleted"), Some("default"))
    );
}

#[tokio::test]
async fn the_poll_tells_a_scheduler_all_it_needs() {
    let server = Server::start(&[]);
    let orchestrator = server.orchestrator("s").await;
    let states = json!(["incoming", "claimed", "provisional", "done", "failed"]);
    for scope in ["s", "other"] {
        let body = json!({ "scope": scope, "states": states, "transitions": [] });
        server
            .put(&format!("/api/v1/flows/flow-of-{scope}"), body)
            .await
            .expect(200);
    }
    let id = server.submitted("s", &orchestrator, json!({ "hooks": "[]" })).await;
    server
        .patch(&format!("/api/v1/tasks/{id}"), json!({ "pr_number": 4 }))
        .await
        .expect(200);
    server.task("s", json!({})).await;
    server.task("other", json!({})).await;

    let path = format!("/api/v1/scheduler/poll?orchestrator_id={orchestrator}");
    for path in [path.as_str(), "/api/v1/scheduler/poll?scope=s"] {
        let poll = server.get(path).await.expect(200);
        assert_eq!(
            poll["queue_counts"],
            json!({ "incoming": 1, "claimed": 0, "provisional": 1 })
        );
        assert_eq!(poll["scope"], "s");
        assert_eq!(poll["orchestrator_registered"], path.contains("orchestrator_id"));
        assert_eq!(
            poll["flows"],
            json!({ "flow-of-s": { "states": states } }),
            "flows of this scope only"
        );
        let expected = json!([{ "id": id, "hooks": "[]", "pr_number": 4, "claimed_by": null }]);
        assert_eq!(poll["provisional_tasks"], expected);
    }
    let unknown = server
        .get("/api/v1/scheduler/poll?scope=empty&orchestrator_id=nobody")
        .await
        .expect(200);
    assert_eq!(unknown["orchestrator_registered"], false);
    assert_eq!(
        unknown["queue_counts"],
        json!({ "incoming": 0, "claimed": 0, "provisional": 0 })
    );
    let refused = server.get("/api/v1/scheduler/poll").await.error(400);
    assert!(text(&refused["error"]).contains("scope"), "{refused}");
}
