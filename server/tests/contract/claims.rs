//! Claiming: order, filters, who may, fenced claims, several at once, waiting for work, many clients.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::harness::{Reply, Server, ids, number, text, unique};

/// Checks that the claim found nothing, told as earlier clients expect it.
#[track_caller]
fn empty(reply: Reply) {
    let body = reply.expect(404);
    assert_eq!(body, json!({ "message": "No tasks available" }), "exactly this body");
}

#[tokio::test]
async fn urgent_first_then_oldest_first() {
    let server = Server::start(&[]);
    let orchestrator = server.orchestrator("s").await;
    let mut expected = Vec::new();
    for priority in ["P3", "P1", "P2", "P0"] {
        for _ in 0..3 {
            expected.push((priority, server.task("s", json!({ "priority": priority })).await));
        }
    }
    // The order of creation within a priority stays.
    expected.sort_by_key(|(priority, _)| *priority);
    for (priority, id) in expected {
        let task = server.claim("s", &orchestrator, json!({})).await;
        assert_eq!(task["id"], id.as_str(), "next of {priority}");
    }
    empty(server.try_claim("s", &orchestrator, json!({})).await);
}

#[tokio::test]
async fn a_claim_fills_in_who_and_until_when() {
    let server = Server::start(&[]);
    let orchestrator = server.orchestrator("s").await;
    let id = server
        .task("s", json!({ "content": "do it", "role": "implement" }))
        .await;
    let patch = json!({ "needs_intervention": true });
    server.patch(&format!("/api/v1/tasks/{id}"), patch).await.expect(200);
    let before = server.read(&id).await;
    let task = server.claim("s", &orchestrator, json!({ "agent_name": "ann" })).await;
    assert_eq!(task["id"], id.as_str());
    assert_eq!(task["queue"], "claimed");
    assert_eq!(task["claimed_by"], "ann");
    assert_eq!(task["orchestrator_id"], orchestrator.as_str());
    assert_eq!(task["content"], "do it");
    assert_eq!(task["needs_intervention"], 0, "a transition clears the flag");
    assert!(number(&task["version"]) > number(&before["version"]));
    let row = server.history_row(&id, "claimed").await;
    assert_eq!(row["agent"], "ann");
}

/// Milliseconds of a time of day on the wire; enough to compare times that lie within one day.
fn clock(value: &Value) -> i64 {
    let time = text(value);
    let part = |range: std::ops::Range<usize>| time[range].parse::<i64>().unwrap();
    ((part(11..13) * 60 + part(14..16)) * 60 + part(17..19)) * 1000 + part(20..23)
}

#[tokio::test]
async fn leases_last_as_long_as_asked() {
    let server = Server::start(&[]);
    let orchestrator = server.orchestrator("s").await;
    let day = 24 * 3600 * 1000;
    for (asked, seconds) in [
        (json!({}), 300),
        (json!({ "lease_duration_seconds": 60 }), 60),
        (json!({ "lease_duration_seconds": 0 }), 300),
        (json!({ "lease_duration_seconds": 14400 }), 14400),
    ] {
        server.task("s", json!({})).await;
        let task = server.claim("s", &orchestrator, asked.clone()).await;
        let lasts = (clock(&task["lease_expires_at"]) - clock(&task["claimed_at"])).rem_euclid(day);
        assert!((lasts - seconds * 1000).abs() <= 1000, "{asked}: {lasts} ms");
    }
    let id = server.task("s", json!({})).await;
    let junk = json!({ "lease_duration_seconds": "soon" });
    server.try_claim("s", &orchestrator, junk).await.error(400);
    assert_eq!(server.read(&id).await["queue"], "incoming");
}

#[tokio::test]
async fn what_is_missing_is_named() {
    let server = Server::start(&[]);
    let orchestrator = server.orchestrator("s").await;
    server.task("s", json!({})).await;
    let path = "/api/v1/tasks/claim";
    server
        .post(path, json!({ "agent_name": "a", "scope": "s" }))
        .await
        .error(400);
    let body = json!({ "orchestrator_id": orchestrator, "scope": "s" });
    server.post(path, body).await.error(400);
    let body = json!({ "orchestrator_id": orchestrator, "agent_name": "a" });
    let refused = server.post(path, body).await.error(400);
    assert!(text(&refused["error"]).contains("scope"), "{refused}");
}

#[tokio::test]
async fn an_unknown_orchestrator_gets_nothing() {
    let server = Server::start(&[]);
    empty(server.try_claim("s", "nobody-1", json!({})).await);
    let id = server.task("s", json!({})).await;
    server.try_claim("s", "nobody-1", json!({})).await.error(400);
    let task = server.read(&id).await;
    assert_eq!(
        (task["queue"].as_str(), &task["claimed_by"]),
        (Some("incoming"), &Value::Null)
    );
    // One that registered elsewhere may claim here.
    let foreign = server.orchestrator("elsewhere").await;
    assert_eq!(server.claim("s", &foreign, json!({})).await["id"], id.as_str());
}

#[tokio::test]
async fn filters_narrow_the_choice() {
    let server = Server::start(&[]);
    let orchestrator = server.orchestrator("s").await;
    server.task("s", json!({ "priority": "P0" })).await;
    server
        .task("other", json!({ "role": "review", "priority": "P0" }))
        .await;
    let review = server.task("s", json!({ "role": "review" })).await;
    let hotfix = server.task("s", json!({ "role": "fix", "type": "hotfix" })).await;
    let product = server.task("s", json!({ "role": "fix", "type": "product" })).await;

    let role = json!({ "role_filter": "review" });
    assert_eq!(
        server.claim("s", &orchestrator, role.clone()).await["id"],
        review.as_str()
    );
    empty(server.try_claim("s", &orchestrator, role).await);
    let kind = json!({ "role_filter": ["implement", "fix"], "type_filter": ["product"] });
    assert_eq!(
        server.claim("s", &orchestrator, kind.clone()).await["id"],
        product.as_str()
    );
    empty(server.try_claim("s", &orchestrator, kind).await);
    let kind = json!({ "type_filter": "hotfix" });
    assert_eq!(server.claim("s", &orchestrator, kind).await["id"], hotfix.as_str());
    // An empty list filters nothing.
    let open = json!({ "role_filter": [], "type_filter": [] });
    let task = server.claim("s", &orchestrator, open).await;
    assert_eq!(
        (task["priority"].as_str(), task["scope"].as_str()),
        (Some("P0"), Some("s"))
    );
}

#[tokio::test]
async fn a_queue_can_be_named() {
    let server = Server::start(&[]);
    let orchestrator = server.orchestrator("s").await;
    let parked = server.task("s", json!({ "queue": "backlog" })).await;
    empty(server.try_claim("s", &orchestrator, json!({})).await);
    let task = server.claim("s", &orchestrator, json!({ "queue": "backlog" })).await;
    assert_eq!(
        (task["id"].as_str(), task["queue"].as_str()),
        (Some(parked.as_str()), Some("claimed"))
    );
    // Naming the queue of claimed tasks steals none of them.
    empty(
        server
            .try_claim("s", &orchestrator, json!({ "queue": "claimed", "agent_name": "thief" }))
            .await,
    );
    assert_eq!(server.read(&parked).await["claimed_by"], "agent-1");
    for queue in ["done", "failed"] {
        let reply = server.try_claim("s", &orchestrator, json!({ "queue": queue })).await;
        reply.error(400);
    }
}

#[tokio::test]
async fn a_role_can_claim_from_another_queue() {
    let server = Server::start(&[]);
    let orchestrator = server.orchestrator("s").await;
    let roles = json!([{ "name": "gatekeeper", "claims_from": "provisional" }, { "name": "implement" }]);
    let body = json!({ "orchestrator_id": orchestrator, "roles": roles });
    server.post("/api/v1/roles/register", body).await.expect(200);
    let id = server
        .submitted("s", &orchestrator, json!({ "role": "gatekeeper" }))
        .await;
    let task = server
        .claim("s", &orchestrator, json!({ "role_filter": "gatekeeper" }))
        .await;
    assert_eq!(
        (task["id"].as_str(), task["queue"].as_str()),
        (Some(id.as_str()), Some("provisional"))
    );
    let unknown = server
        .try_claim("s", &orchestrator, json!({ "role_filter": "cook" }))
        .await
        .error(400);
    let sentence = text(&unknown["error"]);
    assert!(
        sentence.contains("Unknown role") && sentence.contains("cook"),
        "{unknown}"
    );
}

#[tokio::test]
async fn a_review_claim_leaves_the_task_in_its_queue_and_is_given_once() {
    let server = Server::start(&[]);
    let orchestrator = server.orchestrator("s").await;
    let id = server.submitted("s", &orchestrator, json!({})).await;
    let ask = |agent: &str| json!({ "queue": "provisional", "agent_name": agent });
    let task = server.claim("s", &orchestrator, ask("rita")).await;
    assert_eq!(task["id"], id.as_str());
    assert_eq!(task["queue"], "provisional");
    assert_eq!(task["claimed_by"], "rita");
    assert_eq!(server.history_row(&id, "review_claimed").await["agent"], "rita");
    empty(server.try_claim("s", &orchestrator, ask("ruth")).await);
    let accepted = server
        .act(&id, "accept", json!({ "accepted_by": "rita" }))
        .await
        .expect(200);
    assert_eq!(
        (accepted["queue"].as_str(), &accepted["claimed_by"]),
        (Some("done"), &Value::Null)
    );
}

#[tokio::test]
async fn an_orchestrator_in_maintenance_gets_no_work() {
    let server = Server::start(&[]);
    let orchestrator = server.orchestrator("s").await;
    let path = format!("/api/v1/orchestrators/{orchestrator}");
    let id = server.task("s", json!({})).await;
    server
        .patch(&path, json!({ "status": "maintenance" }))
        .await
        .expect(200);
    empty(server.try_claim("s", &orchestrator, json!({})).await);
    // A sign of life does not end it.
    server.post(&format!("{path}/heartbeat"), json!({})).await.expect(200);
    empty(server.try_claim("s", &orchestrator, json!({})).await);
    server.patch(&path, json!({ "status": "active" })).await.expect(200);
    assert_eq!(server.claim("s", &orchestrator, json!({})).await["id"], id.as_str());
}

#[tokio::test]
async fn a_fenced_claim_answers_with_its_token_and_keeps_it_secret() {
    let server = Server::start(&[]);
    let orchestrator = server.orchestrator("s").await;
    let id = server.task("s", json!({})).await;
    let first = server.claim("s", &orchestrator, json!({ "fenced": true })).await;
    let token = text(&first["claim_token"]);
    assert!(token.len() >= 16, "a token that cannot be guessed: {token}");
    assert_eq!((number(&first["epoch"]), number(&first["attempt"])), (1, 1));
    for path in [
        format!("/api/v1/tasks/{id}"),
        "/api/v1/tasks?scope=s".to_owned(),
        format!("/api/v1/tasks/{id}/history"),
        format!("/api/v1/tasks/{id}/attempts"),
        "/api/v1/events?scope=s".to_owned(),
        "/api/v1/status?scope=s".to_owned(),
    ] {
        let reply = server.get(&path).await;
        assert!(!reply.text.contains(&token), "the token is told by {path}");
        reply.expect(200);
    }
    server
        .act(&id, "release", json!({ "claim_token": token }))
        .await
        .expect(200);
    let second = server.claim("s", &orchestrator, json!({ "fenced": true })).await;
    assert_eq!((number(&second["epoch"]), number(&second["attempt"])), (2, 2));
    assert_ne!(text(&second["claim_token"]), token);
}

#[tokio::test]
async fn several_tasks_in_one_claim() {
    let server = Server::start(&[]);
    let orchestrator = server.orchestrator("s").await;
    let mut made = Vec::new();
    for _ in 0..4 {
        made.push(server.task("s", json!({})).await);
    }
    let three = server
        .claim("s", &orchestrator, json!({ "max": 3, "fenced": true }))
        .await;
    assert_eq!(ids(&three["tasks"]), made[..3], "in order");
    let mut tokens = HashSet::new();
    for task in three["tasks"].as_array().unwrap() {
        assert_eq!(task["queue"], "claimed");
        tokens.insert(text(&task["claim_token"]));
    }
    assert_eq!(tokens.len(), 3, "each task has a token of its own");
    let rest = server.claim("s", &orchestrator, json!({ "max": 3 })).await;
    assert_eq!(ids(&rest["tasks"]), made[3..]);
    for max in [json!(0), json!(101), json!(-1), json!("many")] {
        server
            .try_claim("s", &orchestrator, json!({ "max": max }))
            .await
            .error(400);
    }
}

#[tokio::test]
async fn waiting_ends_when_a_task_comes() {
    let server = Server::start(&[]);
    let orchestrator = server.orchestrator("s").await;
    let (api, who) = (server.api(), orchestrator.clone());
    let begun = Instant::now();
    let waiting = tokio::spawn(async move {
        api.claim("s", &who, json!({ "wait_seconds": 30, "role_filter": "fix" }))
            .await
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    server.task("s", json!({ "role": "implement" })).await;
    server.task("other", json!({ "role": "fix" })).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!waiting.is_finished(), "neither task is for this claim");
    let id = server.task("s", json!({ "role": "fix" })).await;
    let task = waiting.await.unwrap();
    assert_eq!(task["id"], id.as_str());
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "it waited for its time instead of the task"
    );
}

#[tokio::test]
async fn waiting_ends_when_a_task_is_set_free() {
    let server = Server::start(&[]);
    let orchestrator = server.orchestrator("s").await;
    let blocker = server.submitted("s", &orchestrator, json!({})).await;
    let id = server.task("s", json!({ "blocked_by": blocker })).await;
    let (api, who) = (server.api(), orchestrator.clone());
    let waiting = tokio::spawn(async move { api.claim("s", &who, json!({ "wait_seconds": 30 })).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!waiting.is_finished(), "the task is still blocked");
    let begun = Instant::now();
    server
        .act(&blocker, "accept", json!({ "accepted_by": "me" }))
        .await
        .expect(200);
    assert_eq!(waiting.await.unwrap()["id"], id.as_str());
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn waiting_in_vain_takes_as_long_as_asked() {
    let server = Server::start(&[]);
    let orchestrator = server.orchestrator("s").await;
    let begun = Instant::now();
    empty(server.try_claim("s", &orchestrator, json!({ "wait_seconds": 1 })).await);
    let took = begun.elapsed();
    assert!(
        took >= Duration::from_millis(900) && took < Duration::from_secs(10),
        "{took:?}"
    );
    let begun = Instant::now();
    empty(server.try_claim("s", &orchestrator, json!({ "wait_seconds": 0 })).await);
    assert!(begun.elapsed() < Duration::from_millis(900), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn one_task_goes_to_one_of_those_who_wait() {
    let server = Server::start(&[]);
    let orchestrator = server.orchestrator("s").await;
    let mut waiting = Vec::new();
    for _ in 0..4 {
        let (api, who) = (server.api(), orchestrator.clone());
        waiting.push(tokio::spawn(async move {
            api.try_claim("s", &who, json!({ "wait_seconds": 2 })).await
        }));
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let id = server.task("s", json!({})).await;
    let mut got = Vec::new();
    for one in waiting {
        let reply = one.await.unwrap();
        match reply.status {
            200 => got.push(text(&reply.json["id"])),
            _ => empty(reply),
        }
    }
    assert_eq!(got, [id]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixteen_clients_share_sixty_tasks_without_doubles_or_conflicts() {
    let server = Server::start(&[]);
    let orchestrator = server.orchestrator("s").await;
    let mut made = HashSet::new();
    for _ in 0..60 {
        made.insert(server.task("s", json!({})).await);
    }
    let mut clients = Vec::new();
    for n in 0..16 {
        let (api, who) = (server.api(), orchestrator.clone());
        let fenced = n % 2 == 0;
        clients.push(tokio::spawn(async move {
            let agent = unique("agent");
            let mut got = Vec::new();
            loop {
                let ask = json!({ "agent_name": agent, "fenced": fenced });
                let reply = api.try_claim("s", &who, ask).await;
                match reply.status {
                    200 => {
                        assert_eq!(reply.json["claimed_by"], agent.as_str());
                        got.push(text(&reply.json["id"]));
                    }
                    404 => return got,
                    _ => panic!("{reply}"),
                }
            }
        }));
    }
    let mut all = Vec::new();
    for client in clients {
        all.extend(client.await.unwrap());
    }
    let distinct: HashSet<String> = all.iter().cloned().collect();
    assert_eq!(all.len(), 60, "each is given once");
    assert_eq!(distinct, made, "and none is left over");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_takes_no_task_that_is_being_blocked() {
    // Blocking and claiming race; whichever comes first, a claim never holds a task that waits for another one.
    let server = Server::start(&[]);
    let orchestrator = server.orchestrator("s").await;
    let blocker = server.task("s", json!({ "queue": "backlog" })).await;
    for _ in 0..20 {
        let id = server.task("s", json!({})).await;
        let (api, who) = (server.api(), orchestrator.clone());
        let claim = tokio::spawn(async move { api.try_claim("s", &who, json!({})).await });
        let path = format!("/api/v1/tasks/{id}");
        let patched = server.patch(&path, json!({ "blocked_by": blocker })).await;
        let claimed = claim.await.unwrap();
        match claimed.status {
            200 => assert!(claimed.json["blocked_by"].is_null(), "{claimed}"),
            _ => empty(claimed),
        }
        assert!(matches!(patched.status, 200 | 409), "{patched}");
        server.delete(&path).await.expect(200);
    }
}
