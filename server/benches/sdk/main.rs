//! What one call costs from each language, on one server in one run: `cargo xtask bench`, once the packages are built.
//!
//! `OCTOPOID_BENCH_PYTHON` names a Python that has the package, `OCTOPOID_BENCH_NODE` a folder whose `node_modules` has it;
//! what is not named is not measured, and said so.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program that prints measurements"
)]

#[path = "../http/client.rs"]
#[allow(dead_code, reason = "the other bench uses more of it")]
mod client;
#[path = "../http/server.rs"]
#[allow(dead_code, reason = "the other bench uses more of it")]
mod server;

use std::{
    process::{Command, ExitCode},
    time::Instant,
};

use octopoid_core::{Octopoid, model::CreateTask};
use server::{Server, sqlite};

const CALLS: usize = 3000;
/// Measurements of each figure; the fastest counts, for whatever disturbs makes slower.
const ROUNDS: usize = 5;

/// Microseconds a call of reading and of creating a task.
#[derive(Clone, Copy)]
struct Cost {
    get: f64,
    create: f64,
}

async fn rust(url: &str) -> Cost {
    let octopoid = Octopoid::connect(url).build().unwrap();
    let tasks = octopoid.tasks();
    let titled = || CreateTask {
        title: Some("bench".into()),
        ..CreateTask::default()
    };
    let id = tasks.create(titled()).await.unwrap().id;
    let mut best = Cost {
        get: f64::MAX,
        create: f64::MAX,
    };
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        for _ in 0..CALLS {
            tasks.get(&id).await.unwrap();
        }
        best.get = best.get.min(each(begun));
        let begun = Instant::now();
        for _ in 0..CALLS {
            tasks.create(titled()).await.unwrap();
        }
        best.create = best.create.min(each(begun));
    }
    best
}

fn each(begun: Instant) -> f64 {
    begun.elapsed().as_secs_f64() * 1e6 / CALLS as f64
}

/// Runs a program that prints `NAME GET CREATE` lines, in microseconds a call.
fn others(command: &mut Command, url: &str) -> Vec<(String, Cost)> {
    let output = command
        .args([url, &CALLS.to_string(), &ROUNDS.to_string()])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let cost = Cost {
                get: words[1].parse().unwrap(),
                create: words[2].parse().unwrap(),
            };
            (words[0].to_owned(), cost)
        })
        .collect()
}

fn main() -> ExitCode {
    if std::env::args().any(|a| a == "--test" || a == "--list") {
        return ExitCode::SUCCESS;
    }
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&sqlite(dir.path()));
    let url = format!("http://{}", server.at);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let base = runtime.block_on(rust(&url));
    let mut rows = vec![("rust".to_owned(), base)];
    let top = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    match std::env::var("OCTOPOID_BENCH_PYTHON") {
        Ok(python) => {
            let script = format!("{top}/bindings-python/bench/calls.py");
            rows.extend(others(Command::new(python).arg(script), &url));
        }
        Err(_) => eprintln!("python is not measured: OCTOPOID_BENCH_PYTHON names none"),
    }
    match std::env::var("OCTOPOID_BENCH_NODE") {
        Ok(folder) => {
            let script = format!("{top}/bindings-node/bench/calls.cjs");
            rows.extend(others(Command::new("node").arg(script).env("NODE_PATH", folder), &url));
        }
        Err(_) => eprintln!("node is not measured: OCTOPOID_BENCH_NODE names none"),
    }
    println!(
        "{:<12} {:>8} {:>10} {:>8} {:>10}",
        "from", "get/s", "over rust", "create/s", "over rust"
    );
    for (name, cost) in rows {
        println!(
            "{name:<12} {:>8.0} {:>7.1} µs {:>8.0} {:>7.1} µs",
            1e6 / cost.get,
            cost.get - base.get,
            1e6 / cost.create,
            cost.create - base.create,
        );
    }
    ExitCode::SUCCESS
}
