//! Fields with values of another type, or that no such field can have: each is refused, and nothing has changed.

use serde_json::{Value, json};

use crate::bad_input::{World, assert_refused};

/// A method, a path, a body that would be good, and the fields that spoil it.
type Case<'a> = (&'a str, String, &'a Value, Vec<(&'a str, Value)>);

#[tokio::test]
async fn every_field_has_a_type() {
    let world = World::new().await;
    let before = world.snapshot().await;
    let object = json!({ "a": 1 });
    // Route by its place in the list, fields that make the request good, and one of them or one more that is not.
    let task = json!({ "title": "x", "scope": "s" });
    let claim = json!({ "orchestrator_id": world.orchestrator, "agent_name": "a", "scope": "s" });
    let patch = json!({});
    let submit = json!({ "commits_count": 1, "turns_used": 1 });
    let accept = json!({ "accepted_by": "a" });
    let reject = json!({ "reason": "r", "rejected_by": "a" });
    let force = json!({ "queue": "backlog", "reason": "r" });
    let hook = json!({ "status": "passed" });
    let machine = json!({ "cluster": "c", "machine_id": "m", "repo_url": "r", "scope": "s" });
    let project = json!({ "id": "q", "title": "Q", "branch": "b", "scope": "s" });
    let draft = json!({ "title": "D", "author": "a", "scope": "s" });
    let message = json!({ "task_id": "t", "from_actor": "a", "type": "c", "content": "c", "scope": "s" });
    let action = json!({ "entity_type": "t", "entity_id": "t", "label": "l", "proposed_by": "a", "scope": "s" });
    let person = json!({ "by": "a", "reason": "r" });
    let key = json!({ "scope": "k", "name": "n" });
    let (w, c, r) = (&world.waiting, &world.claimed, &world.review);
    let at = |id: &str, action: &str| format!("/api/v1/tasks/{id}/{action}");
    let table: Vec<Case> = vec![
        (
            "POST",
            "/api/v1/tasks".to_owned(),
            &task,
            vec![
                ("id", object.clone()),
                ("id", json!("a b")),
                ("id", json!("../x")),
                ("id", json!("-x")),
                ("id", json!("x".repeat(129))),
                ("id", json!("a\0b")),
                ("title", object.clone()),
                ("title", json!("a\0b")),
                ("content", json!(["x"])),
                ("content", json!("a\0b")),
                ("priority", object.clone()),
                ("priority", json!("urgent")),
                ("role", object.clone()),
                ("role", json!("a\0b")),
                ("branch", object.clone()),
                ("branch", json!("a\0b")),
                ("file_path", object.clone()),
                ("blocked_by", json!(5)),
                ("blocked_by", json!([5])),
                ("blocked_by", object.clone()),
                ("auto_accept", json!("yes")),
                ("queue", object.clone()),
                ("queue", json!("a\nb")),
                ("scope", object.clone()),
                ("scope", json!("a\0b")),
                ("idempotency_key", object.clone()),
                ("project_id", json!("nobody")),
            ],
        ),
        (
            "PATCH",
            format!("/api/v1/tasks/{w}"),
            &patch,
            vec![
                ("title", object.clone()),
                ("title", json!("a\0b")),
                ("commits_count", json!("abc")),
                ("commits_count", object.clone()),
                ("turns_used", json!([1])),
                ("attempt_count", json!("many")),
                ("pr_number", object.clone()),
                ("pr_number", json!("x")),
                ("auto_accept", json!("yes")),
                ("needs_intervention", json!(7)),
                ("lease_expires_at", json!("soon")),
                ("lease_expires_at", object.clone()),
                ("completed_at", json!("2026-13-45 00:00:00")),
                ("queue", object.clone()),
                ("queue", json!("")),
                ("priority", object.clone()),
                ("blocked_by", object.clone()),
                ("blocked_by", json!("nobody")),
                ("project_id", json!("nobody")),
                ("version", json!("new")),
                ("content", json!("a\0b")),
            ],
        ),
        (
            "POST",
            "/api/v1/tasks/claim".to_owned(),
            &claim,
            vec![
                ("orchestrator_id", object.clone()),
                ("agent_name", object.clone()),
                ("agent_name", json!("a\0b")),
                ("scope", json!(["s"])),
                ("role_filter", json!(5)),
                ("role_filter", json!([5])),
                ("type_filter", object.clone()),
                ("queue", object.clone()),
                ("lease_duration_seconds", json!("soon")),
                ("lease_duration_seconds", object.clone()),
                ("max", json!("many")),
                ("max", json!(-1)),
                ("wait_seconds", json!("long")),
                ("wait_seconds", json!(-1)),
                ("fenced", json!("maybe")),
            ],
        ),
        (
            "POST",
            at(c, "submit"),
            &submit,
            vec![
                ("commits_count", json!("abc")),
                ("commits_count", object.clone()),
                ("commits_count", json!(-1)),
                ("turns_used", json!([])),
                ("turns_used", json!(-5)),
                ("turns_used", json!(1e30)),
                ("check_results", json!("a\0b")),
                ("execution_notes", json!("a\0b")),
            ],
        ),
        (
            "POST",
            at(r, "accept"),
            &accept,
            vec![("accepted_by", object.clone()), ("completed_at", json!("soon"))],
        ),
        (
            "POST",
            at(r, "reject"),
            &reject,
            vec![
                ("reason", object.clone()),
                ("reason", json!("a\0b")),
                ("rejected_by", json!(["a"])),
            ],
        ),
        (
            "POST",
            at(w, "force-queue"),
            &force,
            vec![
                ("queue", json!(5)),
                ("queue", json!("a\0b")),
                ("reason", object.clone()),
                ("reason", json!("a\0b")),
            ],
        ),
        (
            "POST",
            at(c, "hooks/h/complete"),
            &hook,
            vec![("status", json!("maybe")), ("status", object.clone())],
        ),
        (
            "POST",
            "/api/v1/orchestrators/register".to_owned(),
            &machine,
            vec![
                ("cluster", object.clone()),
                ("machine_id", json!(["m"])),
                ("cluster", json!("a\0b")),
                ("repo_url", object.clone()),
            ],
        ),
        (
            "POST",
            "/api/v1/projects".to_owned(),
            &project,
            vec![
                ("title", object.clone()),
                ("title", json!("a\0b")),
                ("branch", object.clone()),
                ("auto_accept", json!("yes")),
            ],
        ),
        (
            "PATCH",
            "/api/v1/projects/p".to_owned(),
            &patch,
            vec![("title", object.clone()), ("title", Value::Null), ("status", json!(""))],
        ),
        (
            "POST",
            "/api/v1/drafts".to_owned(),
            &draft,
            vec![
                ("title", object.clone()),
                ("title", json!("a\0b")),
                ("author", json!(["a"])),
                ("tags", json!("text")),
            ],
        ),
        (
            "POST",
            "/api/v1/messages".to_owned(),
            &message,
            vec![
                ("content", object.clone()),
                ("content", json!("a\0b")),
                ("parent_message_id", json!(5)),
                ("task_id", object.clone()),
            ],
        ),
        (
            "POST",
            "/api/v1/actions".to_owned(),
            &action,
            vec![
                ("label", object.clone()),
                ("label", json!("a\0b")),
                ("expires_at", json!("soon")),
                ("entity_id", json!([])),
            ],
        ),
        (
            "PATCH",
            format!("/api/v1/actions/{}", world.action),
            &patch,
            vec![("status", json!("later")), ("status", object.clone())],
        ),
        (
            "POST",
            at(w, "hold"),
            &person,
            vec![
                ("reason", object.clone()),
                ("by", json!(["a"])),
                ("reason", json!("a\0b")),
            ],
        ),
        (
            "POST",
            at(w, "cancel"),
            &person,
            vec![("reason", object.clone()), ("by", json!(5)), ("colour", json!("red"))],
        ),
        (
            "POST",
            at(w, "recover"),
            &person,
            vec![("to", json!(5)), ("to", json!("a\0b")), ("colour", json!("red"))],
        ),
        (
            "POST",
            at(w, "fail"),
            &person,
            vec![("reason", object.clone()), ("reason", json!("a\0b"))],
        ),
        (
            "POST",
            "/api/v1/admin/keys".to_owned(),
            &key,
            vec![("scope", json!(5)), ("name", object.clone()), ("scope", json!("a\0b"))],
        ),
    ];
    for (method, path, good, wrong) in table {
        for (field, value) in wrong {
            let mut body = good.clone();
            body[field] = value;
            let reply = world
                .api(&path)
                .send(method, &path, &[], body.to_string().into_bytes())
                .await;
            assert_refused(&reply);
            assert!(matches!(reply.status, 400 | 404), "{reply}");
        }
    }
    assert_eq!(world.snapshot().await, before);
}
