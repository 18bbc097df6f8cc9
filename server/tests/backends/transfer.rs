//! Everything from one database into another and out again: the same bytes, and nothing on the way.

use octopoid_core::{
    ErrorCode,
    backend::{Backend, Heartbeat},
    client::{Admin, Client},
    engine::ClaimRequest,
    id::TaskId,
    lifecycle::{Command, Failure},
    model::{CreateTask, EditTask, Priority, Role, Usage, Verdict},
};
use serde_json::{Value, json};

use crate::{
    postgres::Postgres,
    server::{Raw, SCOPE, Server},
    suite::{LONG, edit, evidence, fail, finish, hold, judge, reviewing, submit, take, titled, work},
    worlds::{client, sqlite},
};

const ADMIN: &str = "an-administrators-secret-0123456789";
const ARGS: &[&str] = &["--admin-token", ADMIN];

fn admin(server: &Server) -> Admin {
    Admin::new(server.url(), ADMIN.to_owned()).unwrap()
}

/// The first line that differs, for people.
fn difference(a: &str, b: &str) -> String {
    let lines = a.lines().map(Some).chain(std::iter::repeat(None));
    let others = b.lines().map(Some).chain(std::iter::repeat(None));
    lines
        .zip(others)
        .take_while(|(a, b)| a.is_some() || b.is_some())
        .enumerate()
        .find(|(_, (a, b))| a != b)
        .map_or_else(
            || "the same lines".to_owned(),
            |(n, (a, b))| format!("line {}:\n{}\n{}", n + 1, a.unwrap_or("-"), b.unwrap_or("-")),
        )
}

fn named(id: &str) -> CreateTask {
    CreateTask {
        id: Some(TaskId::parse(id).unwrap()),
        idempotency_key: Some(format!("key of {id}")),
        ..titled(id)
    }
}

/// A bit of everything, in every table. Names begin with large and small letters and with digits.
async fn fill(server: &Server) {
    let b: Client = client(server.url());
    let beat = Heartbeat {
        cluster: "c".into(),
        machine_id: "m".into(),
        repo_url: "https://example.org/r.git".into(),
        roles: vec![Role::implement(), Role::parse("gatekeeper").unwrap()],
    };
    assert!(b.heartbeat(&beat).await.unwrap());
    admin(server)
        .create_key(&octopoid_core::id::Scope::parse(SCOPE).unwrap(), "vm ✓")
        .await
        .unwrap();

    let first = b.create(named("Done-1")).await.unwrap();
    let waits = CreateTask {
        blocked_by: vec![first.id.clone()],
        content: Some("# \"quoted\" \\ ü ✓ 🦑\n\ttab \u{1} end".into()),
        checks: vec!["make 'test'".into(), "true".into()],
        paths: vec!["src/**".into()],
        priority: Some(Priority::P3),
        created_by: Some("me".into()),
        ..named("after-1")
    };
    b.create(waits).await.unwrap();
    finish(&b, &first.id).await;

    // A rejection, with what it cost in fractions.
    let rejected = b.create(named("b-rejected")).await.unwrap();
    let claim = take(&b, urgent(&b, &rejected.id).await).await;
    let work_done = Command::Submit {
        token: claim.token,
        evidence: Box::new(evidence("h1")),
        usage: Usage {
            input_tokens: 1,
            output_tokens: 2,
            cost_usd: 0.1 + 0.2,
            turns: 7,
        },
        checks_required: false,
    };
    b.apply(&rejected.id, work_done).await.unwrap();
    let review = take(&b, reviewing()).await;
    let reject = judge(&review.token, Verdict::Reject, "h1", "not “good” yet\nreally");
    b.apply(&rejected.id, reject).await.unwrap();
    b.apply(&rejected.id, hold("wait")).await.unwrap();

    let paused = b.create(named("Z-paused")).await.unwrap();
    let claim = take(&b, urgent(&b, &paused.id).await).await;
    b.apply(&paused.id, fail(&claim.token, Failure::Remote, None))
        .await
        .unwrap();
    b.apply(&paused.id, hold("wait")).await.unwrap();
    let running = b.create(named("0-running")).await.unwrap();
    take(&b, urgent(&b, &running.id).await).await;
    let under_review = b.create(named("under-review")).await.unwrap();
    let claim = take(&b, urgent(&b, &under_review.id).await).await;
    b.apply(&under_review.id, submit(&claim.token, "h2")).await.unwrap();
    take(&b, reviewing()).await;
    let gone = b.create(named("gone")).await.unwrap();
    b.delete(&gone.id, "me").await.unwrap();
    let cancel = Command::Cancel {
        by: "me".into(),
        reason: String::new(),
    };
    let cancelled = b.create(named("Cancelled")).await.unwrap();
    b.apply(&cancelled.id, cancel).await.unwrap();

    let raw = Raw::fresh();
    for (path, body) in [
        (
            "/api/v1/projects",
            json!({ "id": "P1", "title": "p ✓", "branch": "feature/p" }),
        ),
        (
            "/api/v1/projects",
            json!({ "id": "a1", "title": "q", "branch": "feature/q" }),
        ),
        (
            "/api/v1/drafts",
            json!({ "title": "an idea", "author": "me", "tags": ["x"] }),
        ),
        (
            "/api/v1/messages",
            json!({ "task_id": "after-1", "from_actor": "human", "type": "comment", "content": "hi\u{7f}" }),
        ),
        (
            "/api/v1/actions",
            json!({ "entity_type": "task", "entity_id": "after-1", "label": "Do it", "proposed_by": "agent" }),
        ),
        (
            "/api/v1/tasks",
            json!({ "id": "by-word", "file_path": "x.md", "project_id": "P1", "metadata": { "a": [1.5, null] } }),
        ),
    ] {
        let mut body: Value = body;
        body["scope"] = json!(SCOPE);
        raw.post(&server.at(path), &body, 201).await;
    }
}

/// A claim that gets this very task.
async fn urgent(b: &dyn Backend, id: &TaskId) -> ClaimRequest {
    let first = EditTask {
        priority: Some(Priority::P0),
        ..EditTask::default()
    };
    b.apply(id, edit(first)).await.unwrap();
    work(LONG)
}

/// From SQLite into this PostgreSQL and out again.
async fn there_and_back(database: &str) {
    let dir = tempfile::tempdir().unwrap();
    let source = Server::start(&sqlite(&dir), ARGS);
    fill(&source).await;
    let export = admin(&source).export().await.unwrap();
    assert_eq!(
        admin(&source).export().await.unwrap(),
        export,
        "the same store, the same lines"
    );
    for table in [
        "tasks",
        "blockers",
        "attempts",
        "reviews",
        "messages",
        "events",
        "idempotency",
        "records",
        "counters",
    ] {
        assert!(
            export.contains(&format!("{{\"table\":\"{table}\"")),
            "nothing in {table}, so it is not tested"
        );
    }

    let target = Server::start(database, ARGS);
    let empty = admin(&target).export().await.unwrap();
    assert_eq!(empty.lines().count(), 2, "{empty}");
    let tried = admin(&target).import(export.clone(), true).await.unwrap();
    assert_eq!(tried["dry_run"], true, "{tried}");
    assert_eq!(tried["imported"]["written"], export.lines().count() - 2, "{tried}");
    assert_eq!(admin(&target).export().await.unwrap(), empty, "tried only");

    let done = admin(&target).import(export.clone(), false).await.unwrap();
    assert_eq!(done["imported"]["written"], export.lines().count() - 2, "{done}");
    let back = admin(&target).export().await.unwrap();
    assert!(back == export, "{}", difference(&export, &back));
    let again = admin(&target).import(export.clone(), false).await.unwrap();
    assert_eq!(
        (&again["imported"]["written"], &again["imported"]["present"]),
        (&json!(0), &json!(export.lines().count() - 2))
    );

    // What follows is numbered after what came.
    let (from, to) = (client(source.url()), client(target.url()));
    let before = to.events(None, 0, 500).await.unwrap();
    assert_eq!(before, from.events(None, 0, 500).await.unwrap());
    to.create(titled("new")).await.unwrap();
    let after = to.events(None, before.last().unwrap().cursor, 500).await.unwrap();
    assert_eq!(after.len(), 1, "{after:?}");
    assert_eq!(
        to.create(named("after-1")).await.unwrap_err().code(),
        ErrorCode::IdempotencyConflict
    );

    // A changed line among the others: nothing at all is written.
    let changed = export.replace("an idea", "another idea");
    assert_ne!(changed, export);
    let now = admin(&target).export().await.unwrap();
    let refused = admin(&target).import(changed, false).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::AlreadyExists, "{refused}");
    assert_eq!(admin(&target).export().await.unwrap(), now);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_goes_into_postgresql_and_comes_out_the_same() {
    let postgres = Postgres::start();
    there_and_back(&postgres.url("transfer")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_order_of_letters_the_database_has() {
    let postgres = Postgres::start();
    there_and_back(&postgres.url_for_people("transfer")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trial_leaves_no_trace_in_the_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let source = Server::start(&sqlite(&dir), ARGS);
    fill(&source).await;
    let export = admin(&source).export().await.unwrap();
    let postgres = Postgres::start();
    let target = Server::start(&postgres.url("trial"), ARGS);
    admin(&target).import(export, true).await.unwrap();
    let b = client(target.url());
    let task = b.create(titled("the first")).await.unwrap();
    let events = b.events(Some(&task.id), 0, 10).await.unwrap();
    assert_eq!(events[0].cursor, 1, "nothing was here before");
}
