//! The store through the engine: claims under load, keys, blockers, feed, crash of the process, two processes.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::{collections::HashSet, path::Path, sync::Arc, time::Duration};

use octopoid_core::{
    ErrorCode,
    clock::{Clock, ManualClock, Timestamp},
    engine::{ClaimRequest, Engine, Rules},
    flow::Flows,
    id::{OrchestratorId, Scope, SystemEntropy, TaskId},
    lifecycle::{Command, Limits, matrix},
    model::{CreateTask, EditTask, Evidence, Priority, QueueName, Role, TaskFilter, Usage},
    store::SqliteStore,
};

fn engine(dir: &Path, clock: &Arc<ManualClock>) -> Engine {
    let rules = Rules {
        open: false,
        scope: Scope::parse("test").unwrap(),
        flows: Flows::shipped().unwrap(),
        limits: Limits::default(),
        base_branch: "trunk".into(),
        roles: None,
    };
    let store = Arc::new(SqliteStore::open(&dir.join("state.db")).unwrap());
    let clock: Arc<dyn Clock> = Arc::clone(clock) as Arc<dyn Clock>;
    Engine::with(store, rules, clock, Arc::new(SystemEntropy))
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::at(Timestamp(1_700_000_000_000)))
}

fn titled(title: &str) -> CreateTask {
    CreateTask {
        title: Some(title.into()),
        ..CreateTask::default()
    }
}

fn request(lease: u64) -> ClaimRequest {
    ClaimRequest {
        token: None,
        queues: vec![QueueName::incoming()],
        answers_to: vec!["implement".into()],
        agent: "a".into(),
        role: Role::implement(),
        orchestrator: OrchestratorId::parse("c-m").unwrap(),
        lease: Duration::from_secs(lease),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_task_is_given_twice_and_the_order_is_priority_then_age() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
    // Two engines on one file, as two processes would have.
    let engines = [engine(dir.path(), &clock), engine(dir.path(), &clock)];
    for n in 0..200 {
        clock.advance(Duration::from_millis(1));
        let priority = [Priority::P3, Priority::P1, Priority::P0, Priority::P2][n % 4];
        engines[0]
            .create(CreateTask {
                priority: Some(priority),
                ..titled(&format!("{n}"))
            })
            .await
            .unwrap();
    }
    let first = engines[1].claim(request(300)).await.unwrap().unwrap();
    assert_eq!((first.task.priority, first.task.title.as_str()), (Priority::P0, "2"));
    let mut claimers = tokio::task::JoinSet::new();
    for n in 0..16 {
        let engine = engines[n % 2].clone();
        claimers.spawn(async move {
            let mut got = Vec::new();
            while let Some(claim) = engine.claim(request(300)).await.unwrap() {
                got.push(claim.task.id);
            }
            got
        });
    }
    let mut seen = HashSet::from([first.task.id]);
    while let Some(got) = claimers.join_next().await {
        for id in got.unwrap() {
            assert!(seen.insert(id), "given twice");
        }
    }
    assert_eq!(seen.len(), 200);
    for task in engines[0].claimed().await.unwrap() {
        assert!(matrix::violations(&task).is_empty());
    }
}

#[tokio::test]
async fn a_lease_that_runs_out_returns_the_task_and_history_names_the_owner() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
    let engine = engine(dir.path(), &clock);
    let task = engine.create(titled("t")).await.unwrap();
    let claim = engine.claim(request(10)).await.unwrap().unwrap();
    clock.advance(Duration::from_secs(9));
    assert!(engine.expire().await.unwrap().is_empty());
    engine
        .apply(
            &task.id,
            Command::Renew {
                token: claim.token.clone(),
                lease: Duration::from_secs(10),
            },
        )
        .await
        .unwrap();
    clock.advance(Duration::from_secs(9));
    assert!(engine.expire().await.unwrap().is_empty());
    clock.advance(Duration::from_secs(2));
    assert_eq!(engine.expire().await.unwrap(), std::slice::from_ref(&task.id));
    let now = engine.task(&task.id).await.unwrap();
    assert_eq!((now.queue.as_str(), now.attempt_count), ("incoming", 1));
    let late = engine
        .apply(
            &task.id,
            Command::Release {
                token: claim.token,
                reason: "late".into(),
            },
        )
        .await
        .unwrap_err();
    assert!(matches!(
        late.code(),
        ErrorCode::StaleClaim | ErrorCode::IllegalTransition
    ));
    let events = engine.events(Some(&task.id), 0, 100).await.unwrap();
    let expired = events.iter().find(|e| e.kind == "requeued").unwrap();
    assert_eq!(expired.details["owner"], "a");
    let versions: Vec<i64> = events.iter().map(|e| e.version).collect();
    assert_eq!(
        versions,
        (1..=now.version).collect::<Vec<_>>(),
        "one event for each version"
    );
    assert!(events.windows(2).all(|w| w[0].cursor < w[1].cursor));
}

#[tokio::test]
async fn the_same_key_gives_the_same_task_and_another_body_is_refused() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
    let engine = engine(dir.path(), &clock);
    let keyed = |title: &str| CreateTask {
        idempotency_key: Some("k".into()),
        ..titled(title)
    };
    let first = engine.create(keyed("t")).await.unwrap();
    assert_eq!(engine.create(keyed("t")).await.unwrap().id, first.id);
    assert_eq!(
        engine.create(keyed("other")).await.unwrap_err().code(),
        ErrorCode::IdempotencyConflict
    );
    let twin = CreateTask {
        id: Some(first.id.clone()),
        ..titled("x")
    };
    assert_eq!(engine.create(twin).await.unwrap_err().code(), ErrorCode::AlreadyExists);
    assert_eq!(engine.list(&TaskFilter::default()).await.unwrap().total, 1);
}

#[tokio::test]
async fn blockers_hold_until_all_are_done_and_cycles_are_refused() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
    let engine = engine(dir.path(), &clock);
    let after = |ids: &[&TaskId]| CreateTask {
        blocked_by: ids.iter().map(|i| (*i).clone()).collect(),
        ..titled("t")
    };
    let a = engine.create(titled("a")).await.unwrap().id;
    clock.advance(Duration::from_millis(1));
    let b = engine.create(titled("b")).await.unwrap().id;
    let c = engine.create(after(&[&a, &b, &a])).await.unwrap();
    let d = engine.create(after(&[&c.id])).await.unwrap().id;
    assert_eq!(engine.show(&c.id).await.unwrap().blocked_by, [a.clone(), b.clone()]);
    let unknown = TaskId::parse("nobody").unwrap();
    assert_eq!(
        engine.create(after(&[&unknown])).await.unwrap_err().code(),
        ErrorCode::NotFound
    );
    for circle in [&d, &a] {
        let edit = EditTask {
            blocked_by: Some(vec![circle.clone()]),
            ..EditTask::default()
        };
        assert_eq!(
            engine
                .apply(
                    &a,
                    Command::Edit {
                        by: "me".into(),
                        edit: Box::new(edit)
                    }
                )
                .await
                .unwrap_err()
                .code(),
            ErrorCode::InvalidArgument,
            "{circle}"
        );
    }
    for id in [&a, &b] {
        let claim = engine.claim(request(300)).await.unwrap().unwrap();
        assert_eq!(claim.task.id, *id, "blocked tasks are not given out");
        let evidence = Evidence {
            head_sha: Some("h".into()),
            commits: 1,
            ..Evidence::default()
        };
        engine
            .apply(
                id,
                Command::Submit {
                    token: claim.token,
                    evidence: Box::new(evidence),
                    usage: Usage::default(),
                    checks_required: false,
                },
            )
            .await
            .unwrap();
        assert!(engine.task(&c.id).await.unwrap().is_blocked(), "handed in is not done");
        if *id == b {
            // The last way to done that is left to test: by a person, with a verified commit.
            let done = QueueName::done();
            engine
                .apply(
                    id,
                    Command::Recover {
                        by: "me".into(),
                        to: done,
                        reason: "merged by hand".into(),
                        merged_sha: Some("m".into()),
                        head_sha: None,
                    },
                )
                .await
                .unwrap();
        } else {
            engine.apply(id, Command::Approve { by: "me".into() }).await.unwrap();
            let landing = ClaimRequest {
                queues: vec![QueueName::provisional()],
                answers_to: vec!["engine".into()],
                ..request(300)
            };
            let claim = engine.claim(landing).await.unwrap().unwrap();
            engine
                .apply(
                    id,
                    Command::Advance {
                        token: claim.token,
                        merged_sha: Some("m".into()),
                    },
                )
                .await
                .unwrap();
        }
    }
    let c = engine.task(&c.id).await.unwrap();
    assert_eq!(c.open_blockers, 0);
    assert_eq!(engine.claim(request(300)).await.unwrap().unwrap().task.id, c.id);
    assert!(engine.claim(request(300)).await.unwrap().is_none(), "d waits for c");
    let e = engine.create(titled("e")).await.unwrap().id;
    let f = engine.create(after(&[&e])).await.unwrap().id;
    let refused = engine.delete(&e, "me", false).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::IllegalTransition, "f waits for it");
    engine.delete(&f, "me", false).await.unwrap();
    engine.delete(&e, "me", false).await.unwrap();
    engine.delete(&a, "me", false).await.unwrap();
    engine
        .apply(
            &c.id,
            Command::Cancel {
                by: "me".into(),
                reason: String::new(),
            },
        )
        .await
        .unwrap();
    assert!(
        engine.task(&d).await.unwrap().is_blocked(),
        "a cancelled blocker releases nobody"
    );
    let why = engine.why(&d).await.unwrap();
    assert!(
        why.next.contains("releases nobody") && why.commands.iter().any(|c| c.contains("--after")),
        "{why:?}"
    );
    engine.delete(&d, "me", false).await.unwrap();
    assert_eq!(engine.task(&d).await.unwrap_err().code(), ErrorCode::NotFound);
    assert_eq!(
        engine.events(Some(&d), 0, 10).await.unwrap().last().unwrap().kind,
        "deleted",
        "its history stays"
    );
}

#[tokio::test]
async fn counts_are_what_counting_finds() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let octopoid = octopoid_core::Octopoid::over(Arc::new(SqliteStore::open(&path).unwrap()), "s").unwrap();
    let tasks = octopoid.tasks();
    let mut ids = Vec::new();
    for n in 0..9 {
        let wanted = CreateTask {
            title: Some(format!("task {n}")),
            ..CreateTask::default()
        };
        ids.push(tasks.create(wanted).await.unwrap().id);
    }
    for id in &ids[..3] {
        tasks.cancel(id, "me", "no").await.unwrap();
    }
    tasks.delete(&ids[0], "me").await.unwrap();
    tasks.delete(&ids[8], "me").await.unwrap();
    let queues = ["incoming", "cancelled", "done"].map(|q| QueueName::parse(q).unwrap());
    for (queue, wanted) in queues.iter().zip([5, 2, 0]) {
        let filter = TaskFilter {
            queues: vec![queue.clone()],
            limit: Some(2),
            ..TaskFilter::default()
        };
        assert_eq!(tasks.list(&filter).await.unwrap().total, wanted, "{queue}");
    }
    let connection = rusqlite::Connection::open(&path).unwrap();
    let rows = |sql: &str| -> Vec<(String, i64)> {
        let mut statement = connection.prepare(sql).unwrap();
        let rows = statement.query_map([], |r| Ok((r.get(0)?, r.get(1)?))).unwrap();
        rows.collect::<Result<_, _>>().unwrap()
    };
    assert_eq!(
        rows("SELECT queue, n FROM queue_counts WHERE n <> 0 ORDER BY 1"),
        rows("SELECT queue, count(*) FROM tasks GROUP BY queue ORDER BY 1")
    );
}

#[tokio::test]
async fn a_damaged_or_newer_file_is_refused_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    std::fs::write(
        &path,
        "this is no database, it is a text of some length that SQLite must not take for one....",
    )
    .unwrap();
    let before = std::fs::read(&path).unwrap();
    assert_eq!(
        SqliteStore::open(&path).unwrap_err().code(),
        ErrorCode::StoreUnavailable
    );
    assert_eq!(std::fs::read(&path).unwrap(), before);
    std::fs::remove_file(&path).unwrap();
    drop(SqliteStore::open(&path).unwrap());
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection
        .execute("INSERT INTO migrations VALUES (99, 'later', 'x')", [])
        .unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    assert_eq!(SqliteStore::open(&path).unwrap_err().code(), ErrorCode::NewerSchema);
}

#[tokio::test]
async fn the_database_itself_refuses_rows_that_break_the_matrix() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
    let engine = engine(dir.path(), &clock);
    let task = engine.create(titled("t")).await.unwrap();
    let connection = rusqlite::Connection::open(dir.path().join("state.db")).unwrap();
    for change in [
        "claimed_by = 'x'",
        "queue = 'claimed', kind = 'working'",
        "queue = 'done', kind = 'done', completed_at = 1",
        "queue = 'needs_attention', kind = 'attention'",
        "merged_sha = 'm'",
        "priority = 'P9'",
        "kind = 'nonsense'",
    ] {
        let refused = connection.execute(&format!("UPDATE tasks SET {change} WHERE id = ?1"), [task.id.as_str()]);
        assert!(refused.is_err(), "{change}");
    }
}

/// Who watches the log of the database looks before the commit can be read, and is not told again.
#[tokio::test(flavor = "multi_thread")]
async fn every_commit_and_nothing_else_rings_the_bell_once_it_can_be_read() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
    let engine = engine(dir.path(), &clock);
    let bell = dir.path().join("state.db-wake");
    let task = engine.create(titled("one")).await.unwrap();
    assert!(!bell.exists(), "nobody watches");
    let rung = || {
        let was = std::fs::metadata(&bell).unwrap().len() > 0;
        std::fs::write(&bell, "").unwrap();
        was
    };
    std::fs::write(&bell, "").unwrap();
    engine.create(titled("two")).await.unwrap();
    assert!(rung());
    engine
        .apply(&task.id, Command::Retry { by: "me".into() })
        .await
        .unwrap_err();
    assert!(engine.list(&TaskFilter::default()).await.unwrap().total == 2 && !rung());
    for _ in 0..2 {
        assert!(engine.claim(request(60)).await.unwrap().is_some() && rung());
    }
    // A look for work that finds none would have everybody look again, who would find none again.
    assert!(engine.claim(request(60)).await.unwrap().is_none() && !rung());
}

#[test]
fn many_that_come_upon_a_fresh_file_at_the_same_moment_all_open_it() {
    for _ in 0..30 {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.db");
        let start = std::sync::Barrier::new(6);
        std::thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| {
                    start.wait();
                    SqliteStore::open(&path).unwrap();
                });
            }
        });
    }
}
