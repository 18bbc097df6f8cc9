//! What things cost, as ratios taken in one run on one machine: `cargo xtask bench`.
//!
//! Each figure is set against something that everybody knows the price of: a raw SQLite insert, a `git`
//! command, the same operation on a smaller table.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a program that prints measurements"
)]

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use octopoid_core::{
    clock::Timestamp,
    engine::{ClaimRequest, Engine, Rules},
    flow::Flows,
    git::{Checkout, Repo},
    id::{OrchestratorId, Scope},
    lifecycle::Limits,
    model::{CreateTask, QueueName, Role},
    store::SqliteStore,
};

fn main() {
    // Under `cargo test --benches` only that it starts is of interest.
    if std::env::args().any(|a| a == "--test") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    println!(
        "{:<58} {:>12} {:>12} {:>8}   target",
        "what / compared with", "what", "compared", "ratio"
    );
    let wanted = |name: &str| {
        std::env::args()
            .skip(1)
            .all(|a| a.starts_with('-') || name.contains(&a))
    };
    if wanted("claims") {
        runtime.block_on(claims());
    }
    if wanted("worktrees") {
        worktrees();
    }
    if wanted("list") {
        list();
    }
    if wanted("start") {
        runtime.block_on(start_latency());
    }
}

fn row(name: &str, what: f64, with: f64, target: &str, unit: &str) {
    println!(
        "{name:<58} {:>12} {:>12} {:>8.2}   {target}",
        format!("{what:.1} {unit}"),
        format!("{with:.1} {unit}"),
        what / with
    );
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

fn engine(dir: &Path) -> Engine {
    let rules = Rules {
        open: false,
        scope: Scope::parse("bench").unwrap(),
        flows: Flows::shipped().unwrap(),
        limits: Limits::default(),
        base_branch: "trunk".into(),
        roles: None,
    };
    Engine::new(Arc::new(SqliteStore::open(&dir.join("state.db")).unwrap()), rules)
}

/// Puts `count` waiting tasks into the file, copied from one that the engine made.
async fn fill(dir: &Path, count: u64) -> Engine {
    let engine = engine(dir);
    let first = engine
        .create(CreateTask {
            title: Some("task".into()),
            ..CreateTask::default()
        })
        .await
        .unwrap();
    let db = rusqlite::Connection::open(dir.join("state.db")).unwrap();
    let columns: Vec<String> = db
        .prepare("SELECT name FROM pragma_table_info('tasks')")
        .unwrap()
        .query_map([], |r| r.get(0))
        .unwrap()
        .collect::<Result<Vec<String>, _>>()
        .unwrap()
        .into_iter()
        // The database numbers its rows itself.
        .filter(|c| c != "seq")
        .collect();
    let values: Vec<String> = columns
        .iter()
        .map(|c| match c.as_str() {
            "id" => "printf('task-%08x', value)".to_owned(),
            "created_at" | "updated_at" => format!("{c} + value"),
            "priority" => "'P' || (value % 4)".to_owned(),
            other => other.to_owned(),
        })
        .collect();
    db.execute_batch("PRAGMA synchronous = OFF").unwrap();
    db.execute(
        &format!(
            "WITH RECURSIVE n(value) AS (VALUES (1) UNION ALL SELECT value + 1 FROM n WHERE value < {count}) \
             INSERT INTO tasks ({}) SELECT {} FROM n JOIN tasks WHERE tasks.id = ?1",
            columns.join(", "),
            values.join(", ")
        ),
        [first.id.as_str()],
    )
    .unwrap();
    db.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    engine
}

fn claim_request() -> ClaimRequest {
    ClaimRequest {
        token: None,
        queues: vec![QueueName::incoming()],
        answers_to: vec!["implement".into()],
        agent: "a".into(),
        role: Role::implement(),
        orchestrator: OrchestratorId::parse("c-m").unwrap(),
        lease: Duration::from_secs(300),
    }
}

/// Claims by 64 claimers at the same time, in claims per second.
async fn claim_rate(engine: &Engine, count: usize) -> f64 {
    let begun = Instant::now();
    let mut claimers = tokio::task::JoinSet::new();
    for _ in 0..64 {
        let engine = engine.clone();
        claimers.spawn(async move {
            for _ in 0..count / 64 {
                engine.claim(claim_request()).await.unwrap().unwrap();
            }
        });
    }
    while let Some(done) = claimers.join_next().await {
        done.unwrap();
    }
    (count / 64 * 64) as f64 / begun.elapsed().as_secs_f64()
}

/// What a claim leaves (a task's row, an attempt, an event), inserted without any of our code: the same schema, the same
/// durability, 64 to a transaction. In claims per second.
fn raw_rate(dir: &Path, round: usize, count: usize) -> f64 {
    let mut db = rusqlite::Connection::open(dir.join("state.db")).unwrap();
    db.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL")
        .unwrap();
    let sample = |sql: &str| -> (usize, Vec<rusqlite::types::Value>) {
        let mut statement = db.prepare(sql).unwrap();
        let columns = statement.column_count();
        (
            columns,
            statement
                .query_row([], |r| (0..columns).map(|i| r.get(i)).collect())
                .unwrap(),
        )
    };
    let tables = [
        (
            "tasks",
            sample("SELECT * FROM tasks WHERE claim_token IS NOT NULL LIMIT 1"),
            1,
        ),
        ("attempts", sample("SELECT * FROM attempts LIMIT 1"), 1),
        (
            "events",
            sample("SELECT scope, task_id, kind, at, by, version, details FROM events LIMIT 1"),
            1,
        ),
    ];
    let begun = Instant::now();
    for batch in 0..count / 64 {
        let tx = db.transaction().unwrap();
        for n in 0..64 {
            let id = rusqlite::types::Value::Text(format!("raw-{round}-{batch}-{n}"));
            for (table, (columns, values), id_at) in &tables {
                let names = if *table == "events" {
                    " (scope, task_id, kind, at, by, version, details)"
                } else {
                    ""
                };
                let sql = format!("INSERT INTO {table}{names} VALUES ({})", vec!["?"; *columns].join(", "));
                let bound = values
                    .iter()
                    .enumerate()
                    .map(|(i, v)| if i == *id_at { &id } else { v });
                tx.prepare_cached(&sql)
                    .unwrap()
                    .execute(rusqlite::params_from_iter(bound))
                    .unwrap();
            }
        }
        tx.commit().unwrap();
    }
    (count / 64 * 64) as f64 / begun.elapsed().as_secs_f64()
}

async fn claims() {
    let (small, large) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let engine = fill(small.path(), 20_000).await;
    let (mut ours, mut raw) = (Vec::new(), Vec::new());
    for round in 0..3 {
        ours.push(claim_rate(&engine, 3200).await);
        raw.push(raw_rate(small.path(), round, 3200));
    }
    row(
        "claims/s, 64 claimers / raw inserts of the same 3 rows",
        median(ours),
        median(raw),
        ">= 0.33",
        "/s",
    );

    let thousand = tempfile::tempdir().unwrap();
    let few = fill(thousand.path(), 1_000).await;
    let many = fill(large.path(), 1_000_000).await;
    let (mut at_few, mut at_many) = (Vec::new(), Vec::new());
    for _ in 0..200 {
        for (engine, samples) in [(&few, &mut at_few), (&many, &mut at_many)] {
            let begun = Instant::now();
            engine.claim(claim_request()).await.unwrap().unwrap();
            samples.push(begun.elapsed().as_secs_f64() * 1e3);
        }
    }
    row(
        "one claim at 1,000,000 tasks / at 1,000",
        median(at_many),
        median(at_few),
        "<= 1.3",
        "ms",
    );
}

fn git(dir: &Path, args: &[&str]) {
    let status = Command::new("git")
        .args(args)
        .current_dir(dir)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "git {args:?}");
}

/// A repository with so many files.
fn repository(files: usize) -> (tempfile::TempDir, PathBuf) {
    let home = tempfile::tempdir().unwrap();
    let root = home.path().join("repo");
    std::fs::create_dir(&root).unwrap();
    for n in 0..files {
        let dir = root.join(format!("src/{}", n % 20));
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join(format!("{n}.txt")), format!("{n}\n").repeat(200)).unwrap();
    }
    let root = root.canonicalize().unwrap();
    Repo::create(&root, "trunk", "first").unwrap();
    (home, root)
}

fn worktrees() {
    let (_home, root) = repository(500);
    let repo = Repo::at(&root).unwrap();
    let base = repo.branch_tip("trunk").unwrap().unwrap();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for n in 0..15 {
        let path = root.join(format!("../ours-{n}"));
        let begun = Instant::now();
        let name = format!("agent/ours-{n}");
        repo.ensure_worktree(
            &path,
            Checkout::Branch {
                name: &name,
                base: &base,
            },
            "bench",
        )
        .unwrap();
        ours.push(begun.elapsed().as_secs_f64() * 1e3);
        let begun = Instant::now();
        git(
            &root,
            &[
                "worktree",
                "add",
                "--quiet",
                "-b",
                &format!("theirs-{n}"),
                &format!("../theirs-{n}"),
                "trunk",
            ],
        );
        theirs.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    row(
        "our worktree / git worktree add (500 files)",
        median(ours),
        median(theirs),
        "<= 1",
        "ms",
    );
}

/// The program that `cargo xtask bench` has built beside this one.
fn program() -> Option<PathBuf> {
    let here = std::env::current_exe().ok()?;
    let found = here.ancestors().nth(2)?.join("octopoid");
    found.is_file().then_some(found)
}

fn initialised(root: &Path) {
    octopoid_core::queue::init(
        root,
        &octopoid_core::queue::InitRequest {
            agent: Some("command".into()),
            ..Default::default()
        },
    )
    .unwrap();
}

fn list() {
    let Some(octopoid) = program() else {
        return println!("(octopoid is not built: run `cargo xtask bench`)");
    };
    let (_home, root) = repository(20);
    initialised(&root);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let handle = octopoid_core::Octopoid::open(&root).unwrap();
    runtime.block_on(async {
        let mut creators = tokio::task::JoinSet::new();
        for n in 0..10_000 {
            let handle = handle.clone();
            creators.spawn(async move {
                handle
                    .tasks()
                    .create(CreateTask {
                        title: Some(format!("task {n}")),
                        ..CreateTask::default()
                    })
                    .await
            });
        }
        while let Some(created) = creators.join_next().await {
            created.unwrap().unwrap();
        }
    });
    let time = |program: &Path, args: &[&str]| {
        let begun = Instant::now();
        let status = Command::new(program)
            .args(args)
            .current_dir(&root)
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(status.success());
        begun.elapsed().as_secs_f64() * 1e3
    };
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..21 {
        ours.push(time(&octopoid, &["list", "--json"]));
        theirs.push(time(Path::new("git"), &["--version"]));
    }
    row(
        "octopoid list --json, 10,000 tasks / git --version",
        median(ours),
        median(theirs),
        "< 15 ms",
        "ms",
    );
}

/// From the moment that a task is written to the moment that its agent runs, an idle daemon in between.
async fn start_latency() {
    let Some(octopoid) = program() else { return };
    let (_home, root) = repository(20);
    initialised(&root);
    let stamp = "#!/bin/sh\ndate +%s%N > \"$OCTOPOID_ATTEMPT_DIR/began\"\n";
    std::fs::write(root.join("../agent.sh"), stamp).unwrap();
    let agent = root.join("../agent.sh").canonicalize().unwrap();
    std::fs::write(
        root.join(".octopoid/agents/implementer.yaml"),
        format!(
            "role: implement\nagent: command\ncommand: [/bin/sh, {}]\n",
            agent.display()
        ),
    )
    .unwrap();
    std::fs::write(
        root.join(".octopoid/config.yaml"),
        "mode: local\nrepo: {base_branch: trunk}\nlimits: {attempts: 1}\n",
    )
    .unwrap();
    let mut daemon = Command::new(&octopoid)
        .args(["start", "--tick-interval", "3600", "--quiet"])
        .current_dir(&root)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let handle = octopoid_core::Octopoid::open(&root).unwrap();
    let mut samples = Vec::new();
    for n in 0..60 {
        let task = handle
            .tasks()
            .create(CreateTask {
                title: Some(format!("task {n}")),
                ..CreateTask::default()
            })
            .await
            .unwrap();
        let enqueued = task.created_at;
        let began = root.join(format!(".octopoid/runtime/attempts/{}/1/began", task.id));
        let waited = Instant::now();
        let nanos = loop {
            if let Some(nanos) = std::fs::read_to_string(&began)
                .ok()
                .and_then(|t| t.trim().parse::<i64>().ok())
            {
                break nanos;
            }
            assert!(waited.elapsed() < Duration::from_secs(10), "the agent does not start");
            tokio::time::sleep(Duration::from_millis(2)).await;
        };
        samples.push((Timestamp(nanos / 1_000_000).0 - enqueued.0) as f64);
        // The daemon is idle again before the next one.
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    samples.sort_by(f64::total_cmp);
    let at = |share: f64| samples[((samples.len() - 1) as f64 * share).round() as usize];
    println!(
        "{:<58} {:>12} {:>12} {:>8}   p50 < 50 ms, p99 < 150 ms",
        "enqueue -> agent runs (20 files), p50 and p99",
        format!("{:.0} ms", at(0.5)),
        format!("{:.0} ms", at(0.99)),
        ""
    );
}
