//! What people do with tasks and are told about them: hold, cancel, recover, history, attempts, why, status.

use serde_json::{Value, json};

use crate::harness::{Server, is_wire_time, number, of, text};

/// The last row of a history, checked to name who and why.
#[track_caller]
fn assert_told(rows: &[Value], by: &str, reason: &str) {
    let last = rows.last().expect("a row");
    assert_eq!(last["agent"], by, "{last}");
    assert!(last["details"].to_string().contains(reason), "{last}");
}

/// The number that stands for a queue, however the counts are laid out.
fn count_of(value: &Value, queue: &str) -> Option<i64> {
    match value {
        Value::Object(map) => {
            if let Some(count) = map.get(queue).and_then(Value::as_i64) {
                return Some(count);
            }
            if map.get("queue").is_some_and(|q| q == queue)
                && let Some(count) = map.get("count").and_then(Value::as_i64)
            {
                return Some(count);
            }
            map.values().find_map(|inner| count_of(inner, queue))
        }
        Value::Array(items) => items.iter().find_map(|inner| count_of(inner, queue)),
        _ => None,
    }
}

#[tokio::test]
async fn a_hold_stops_claims_until_it_is_lifted() {
    let server = Server::start(&[]);
    let orchestrator = server.orchestrator("s").await;
    let id = server.task("s", json!({})).await;
    let body = json!({ "by": "mia", "reason": "wait for the release" });
    let task = server.act(&id, "hold", body).await.expect(200);
    assert_eq!(
        (task["id"].as_str(), task["queue"].as_str()),
        (Some(id.as_str()), Some("incoming"))
    );
    server.try_claim("s", &orchestrator, json!({})).await.expect(404);
    assert_told(&server.history(&id).await, "mia", "wait for the release");
    let why = server.get(&format!("/api/v1/tasks/{id}/why")).await.expect(200);
    assert!(text(&why["held_by"]).contains("wait for the release"), "{why}");

    server.act(&id, "unhold", json!({ "by": "noa" })).await.expect(200);
    assert_told(&server.history(&id).await, "noa", "");
    assert_eq!(server.claim("s", &orchestrator, json!({})).await["id"], id.as_str());
}

#[tokio::test]
async fn a_hold_leaves_a_running_claim_alone() {
    let server = Server::start(&[]);
    let orchestrator = server.orchestrator("s").await;
    let id = server.task("s", json!({})).await;
    let claim = server.claim("s", &orchestrator, json!({ "fenced": true })).await;
    server
        .act(&id, "hold", json!({ "by": "mia", "reason": "r" }))
        .await
        .expect(200);
    assert_eq!(server.read(&id).await["claimed_by"], "agent-1");
    let body = json!({ "claim_token": claim["claim_token"], "commits_count": 1, "turns_used": 1 });
    let task = server.act(&id, "submit", body).await.expect(200);
    assert_eq!(task["queue"], "provisional");
    server
        .try_claim("s", &orchestrator, json!({ "queue": "provisional" }))
        .await
        .expect(404);
}

#[tokio::test]
async fn cancelling_ends_the_claim() {
    let server = Server::start(&[]);
    let orchestrator = server.orchestrator("s").await;
    let id = server.task("s", json!({})).await;
    let claim = server.claim("s", &orchestrator, json!({ "fenced": true })).await;
    let body = json!({ "by": "mia", "reason": "not needed" });
    let task = server.act(&id, "cancel", body).await.expect(200);
    assert_eq!(
        (task["queue"].as_str(), &task["claimed_by"]),
        (Some("cancelled"), &Value::Null)
    );
    assert_told(&server.history(&id).await, "mia", "not needed");
    let late = json!({ "claim_token": claim["claim_token"], "commits_count": 1, "turns_used": 1 });
    server.act(&id, "submit", late).await.code(409, "stale_claim");
    assert_eq!(server.read(&id).await["queue"], "cancelled");
    server.try_claim("s", &orchestrator, json!({})).await.expect(404);
}

#[tokio::test]
async fn what_is_done_is_not_cancelled() {
    let server = Server::start(&[]);
    let orchestrator = server.orchestrator("s").await;
    let id = server.submitted("s", &orchestrator, json!({})).await;
    let done = server
        .act(&id, "accept", json!({ "accepted_by": "mia" }))
        .await
        .expect(200);
    server
        .act(&id, "cancel", json!({ "by": "mia", "reason": "r" }))
        .await
        .code(409, "illegal_transition");
    assert_eq!(server.read(&id).await, done);
}

#[tokio::test]
async fn recovering_needs_a_reason_and_a_place() {
    let server = Server::start(&[]);
    let orchestrator = server.orchestrator("s").await;
    let id = server.task("s", json!({})).await;
    let failed = server.act(&id, "fail", json!({ "reason": "no" })).await.expect(200);
    for body in [
        json!({ "by": "mia", "to": "incoming" }),
        json!({ "by": "mia", "to": "incoming", "reason": " " }),
        json!({ "by": "mia", "reason": "r" }),
        json!({ "by": "mia", "to": "no queue", "reason": "r" }),
    ] {
        server.act(&id, "recover", body.clone()).await.error(400);
        assert_eq!(server.read(&id).await, failed, "{body}");
    }
    for to in ["done", "claimed"] {
        let body = json!({ "by": "mia", "to": to, "reason": "r" });
        server.act(&id, "recover", body).await.code(409, "illegal_transition");
        assert_eq!(server.read(&id).await, failed, "{to}");
    }
    let body = json!({ "by": "mia", "to": "incoming", "reason": "the cause is mended" });
    let task = server.act(&id, "recover", body).await.expect(200);
    assert_eq!(
        (task["queue"].as_str(), &task["completed_at"]),
        (Some("incoming"), &Value::Null)
    );
    assert_told(&server.history(&id).await, "mia", "the cause is mended");
    assert_eq!(server.claim("s", &orchestrator, json!({})).await["id"], id.as_str());
}

#[tokio::test]
async fn unknown_tasks_are_told_so_by_each_verb() {
    let server = Server::start(&[]);
    for action in [
        "hold", "unhold", "cancel", "recover", "renew", "release", "fail", "progress",
    ] {
        let sent = match action {
            "recover" => json!({ "by": "mia", "reason": "r", "to": "incoming" }),
            "hold" | "unhold" | "cancel" => json!({ "by": "mia", "reason": "r" }),
            "fail" => json!({ "claim_token": "x", "reason": "r" }),
            "progress" => json!({ "claim_token": "x", "note": "n" }),
            _ => json!({ "claim_token": "x" }),
        };
        server.act("nobody", action, sent).await.code(404, "not_found");
    }
    for view in ["history", "attempts", "why"] {
        server
            .get(&format!("/api/v1/tasks/nobody/{view}"))
            .await
            .code(404, "not_found");
    }
    // New bodies name what they do not know, and do nothing then.
    let id = server.task("s", json!({})).await;
    let body = json!({ "by": "mia", "reason": "r", "colour": "red" });
    let refused = server.act(&id, "hold", body).await.code(400, "unknown_field");
    assert!(text(&refused["error"]).contains("colour"), "{refused}");
    assert_eq!(server.history(&id).await.len(), 1);
}

#[tokio::test]
async fn the_history_is_complete_and_in_order() {
    let server = Server::start(&[]);
    let orchestrator = server.orchestrator("s").await;
    let id = server.submitted("s", &orchestrator, json!({})).await;
    server
        .act(&id, "reject", json!({ "reason": "r", "rejected_by": "noa" }))
        .await
        .expect(200);
    let path = format!("/api/v1/tasks/{id}/history");
    let whole = server.get(&path).await.expect(200);
    assert_eq!(
        (
            number(&whole["total"]),
            number(&whole["offset"]),
            number(&whole["limit"])
        ),
        (4, 0, 50)
    );
    let rows = whole["history"].as_array().unwrap();
    let events: Vec<&str> = rows.iter().filter_map(|row| row["event"].as_str()).collect();
    assert_eq!(events, ["created", "claimed", "submitted", "rejected"]);
    for row in rows {
        assert_eq!(row["task_id"], id.as_str());
        assert!(is_wire_time(&row["timestamp"]), "{row}");
        for key in ["id", "event", "agent", "details"] {
            assert!(row.get(key).is_some(), "{key} of {row}");
        }
    }
    let page = server.get(&format!("{path}?limit=2&offset=1")).await.expect(200);
    assert_eq!(page["history"], json!(rows[1..3]));
    assert_eq!(
        (number(&page["total"]), number(&page["offset"]), number(&page["limit"])),
        (4, 1, 2)
    );
}

#[tokio::test]
async fn attempts_are_numbered_and_say_how_they_ended() {
    let server = Server::start(&[]);
    let orchestrator = server.orchestrator("s").await;
    let id = server.task("s", json!({})).await;
    let path = format!("/api/v1/tasks/{id}/attempts");
    assert_eq!(server.get(&path).await.expect(200), json!({ "attempts": [] }));
    let ask = |agent: &str| json!({ "fenced": true, "agent_name": agent });
    let first = server.claim("s", &orchestrator, ask("ann")).await;
    let release = json!({ "claim_token": first["claim_token"] });
    server.act(&id, "release", release).await.expect(200);
    let second = server.claim("s", &orchestrator, ask("bob")).await;
    let answer = server.get(&path).await.expect(200);
    let attempts = answer["attempts"].as_array().unwrap();
    assert_eq!(attempts.len(), 2, "{answer}");
    for (n, (attempt, claim, agent)) in [(&attempts[0], &first, "ann"), (&attempts[1], &second, "bob")]
        .into_iter()
        .enumerate()
    {
        assert_eq!(attempt["number"], n + 1);
        assert_eq!(attempt["number"], claim["attempt"]);
        assert_eq!(attempt["epoch"], claim["epoch"]);
        assert!(attempt.to_string().contains(agent), "{attempt}");
    }
    assert!(attempts[0]["outcome"].is_string(), "the first has ended: {answer}");
    assert_eq!(attempts[1]["outcome"], Value::Null, "the second lives: {answer}");
    assert_eq!(
        number(&server.read(&id).await["attempt_count"]),
        0,
        "a claim is no failure"
    );
}

#[tokio::test]
async fn why_tells_what_holds_a_task_and_what_was_tried() {
    let server = Server::start(&[]);
    let orchestrator = server.orchestrator("s").await;
    let blocker = server.task("s", json!({})).await;
    let id = server.task("s", json!({ "blocked_by": blocker })).await;
    let path = format!("/api/v1/tasks/{id}/why");
    let why = server.get(&path).await.expect(200);
    assert!(text(&why["held_by"]).contains(&blocker), "{why}");
    assert!(!text(&why["next"]).is_empty(), "{why}");
    assert!(!why["commands"].as_array().unwrap().is_empty(), "{why}");
    assert_eq!(why["tried"], json!([]));

    server.claim("s", &orchestrator, json!({ "agent_name": "ann" })).await;
    server.submit(&blocker).await;
    server
        .act(&blocker, "accept", json!({ "accepted_by": "mia" }))
        .await
        .expect(200);
    let claim = server
        .claim("s", &orchestrator, json!({ "fenced": true, "agent_name": "bob" }))
        .await;
    let body = json!({ "claim_token": claim["claim_token"], "reason": "the compiler crashed" });
    server.act(&id, "fail", body).await.expect(200);
    let why = server.get(&path).await.expect(200);
    let tried = why["tried"].as_array().unwrap();
    assert_eq!(tried.len(), 1, "{why}");
    assert!(tried[0].to_string().contains("bob"), "{why}");
    assert!(why.to_string().contains("the compiler crashed"), "{why}");
    let commands = why["commands"].to_string();
    assert!(commands.contains(&id), "each command names the task: {why}");
}

#[tokio::test]
async fn the_status_is_one_look_at_everything() {
    let server = Server::start(&[]);
    let orchestrator = server.orchestrator("s").await;
    let running = server.task("s", json!({ "priority": "P0" })).await;
    server.task("s", json!({})).await;
    server.task("s", json!({})).await;
    let stuck = server.task("s", json!({ "queue": "needs_attention" })).await;
    let foreign = server.task("other", json!({})).await;
    server.claim("s", &orchestrator, json!({ "agent_name": "ann" })).await;
    let status = server.get(&of("/api/v1/status", "s")).await.expect(200);
    for (queue, count) in [("incoming", 2), ("claimed", 1), ("needs_attention", 1)] {
        assert_eq!(count_of(&status, queue), Some(count), "{queue}: {status}");
    }
    let told = status.to_string();
    for part in [running.as_str(), stuck.as_str(), orchestrator.as_str(), "ann"] {
        assert!(told.contains(part), "{part} is not in {status}");
    }
    assert!(!told.contains(&foreign), "{status}");
}

#[tokio::test]
async fn the_status_has_a_tag_that_changes_with_it() {
    let server = Server::start(&[]);
    let orchestrator = server.orchestrator("s").await;
    let path = of("/api/v1/status", "s");
    let first = server.get(&path).await;
    let tag = first.header("etag");
    assert!(!tag.is_empty(), "{first}");
    let same = server
        .send("GET", &path, &[("if-none-match", tag.as_str())], Vec::new())
        .await;
    assert_eq!((same.status, same.text.as_str()), (304, ""), "{same}");
    let mut seen = vec![tag];
    server.task("s", json!({})).await;
    for step in ["created", "claimed"] {
        if step == "claimed" {
            server.claim("s", &orchestrator, json!({})).await;
        }
        let old = seen.last().unwrap().clone();
        let changed = server
            .send("GET", &path, &[("if-none-match", old.as_str())], Vec::new())
            .await;
        let tag = changed.header("etag");
        assert!(!seen.contains(&tag), "{step} did not change the tag {tag}");
        changed.expect(200);
        seen.push(tag);
    }
}
