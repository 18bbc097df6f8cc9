//! What the server costs over HTTP, as ratios taken in one run on one machine: `cargo xtask bench`.
//!
//! The measure is what the same process answers to `GET /healthz`: a constant, through all layers but the store. Arguments
//! choose among `claims lifecycles lists wake postgres memory`.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program that prints measurements"
)]

mod client;
#[path = "../../tests/backends/postgres.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    missing_debug_implementations,
    reason = "the tests of the backends use more of it"
)]
mod postgres;
mod server;

use std::{
    net::SocketAddr,
    process::ExitCode,
    time::{Duration, Instant},
};

use client::{Client, field};
use postgres::Postgres;
use server::{Server, filled, sqlite};
use tokio::task::JoinSet;

const PARTS: [&str; 6] = ["claims", "lifecycles", "lists", "wake", "postgres", "memory"];
/// Measurements of each figure; the median counts.
const ROUNDS: usize = 3;
const CLAIM: &str = r#"{"orchestrator_id":"c-m","agent_name":"a","fenced":true}"#;
const WAITING_CLAIM: &str = r#"{"orchestrator_id":"c-m","agent_name":"a","fenced":true,"wait_seconds":30}"#;
const CREATE: &str = r#"{"title":"task"}"#;

fn main() -> ExitCode {
    let asked: Vec<String> = std::env::args().skip(1).collect();
    // Under `cargo test --benches` only that it starts is of interest.
    if asked.iter().any(|a| a == "--test" || a == "--list") {
        return ExitCode::SUCCESS;
    }
    let parts: Vec<&str> = asked
        .iter()
        .map(String::as_str)
        .filter(|a| !a.starts_with('-'))
        .collect();
    if let Some(unknown) = parts.iter().find(|p| !PARTS.contains(p)) {
        eprintln!("{unknown} is not measured here; known: {}", PARTS.join(" "));
        return ExitCode::FAILURE;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    println!(
        "{:<58} {:>12} {:>12} {:>8}   target",
        "what / compared with", "what", "compared", "ratio"
    );
    for part in PARTS {
        if !parts.is_empty() && !parts.contains(&part) {
            continue;
        }
        match part {
            "claims" => runtime.block_on(claims()),
            "lifecycles" => runtime.block_on(lifecycles()),
            "lists" => runtime.block_on(lists()),
            "wake" => runtime.block_on(wake()),
            "postgres" => runtime.block_on(on_postgres()),
            _ => runtime.block_on(memory()),
        }
    }
    ExitCode::SUCCESS
}

fn row(name: &str, what: f64, with: f64, target: &str, unit: &str) {
    println!(
        "{name:<58} {:>12} {:>12} {:>8.2}   {target}",
        format!("{what:.1} {unit}"),
        format!("{with:.1} {unit}"),
        what / with
    );
}

/// Prints p50 and p99 of samples in milliseconds.
fn spread(name: &str, mut samples: Vec<f64>) {
    samples.sort_by(f64::total_cmp);
    let at = |share: f64| samples[((samples.len() - 1) as f64 * share).round() as usize];
    println!(
        "{:<58} {:>12} {:>12} {:>8}",
        format!("{name}, p50 and p99"),
        format!("{:.2} ms", at(0.5)),
        format!("{:.2} ms", at(0.99)),
        ""
    );
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

fn millis(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

/// What a client does again and again.
#[derive(Debug, Clone, Copy)]
enum Work {
    /// Asks for the constant.
    Constant,
    /// Claims a task and hands it in.
    Claim,
    /// Creates a task, claims one, hands it in and accepts it.
    Lifecycle,
}

impl Work {
    /// Does it once, and gives the milliseconds of its claim or of the constant.
    async fn once(self, client: &mut Client) -> f64 {
        if matches!(self, Self::Lifecycle) {
            client.post("/api/v1/tasks", CREATE).await.expect(201);
        }
        let begun = Instant::now();
        if matches!(self, Self::Constant) {
            client.get("/healthz").await.expect(200);
            return millis(begun);
        }
        let claimed = client.post("/api/v1/tasks/claim", CLAIM).await.expect(200);
        let took = millis(begun);
        let (id, token) = (field(claimed, "id"), field(claimed, "claim_token"));
        let submit = format!("/api/v1/tasks/{id}/submit");
        let accept = format!("/api/v1/tasks/{id}/accept");
        let work = format!(r#"{{"commits_count":1,"turns_used":1,"claim_token":"{token}"}}"#);
        client.post(&submit, &work).await.expect(200);
        if matches!(self, Self::Lifecycle) {
            client.post(&accept, r#"{"accepted_by":"bench"}"#).await.expect(200);
        }
        took
    }
}

/// `count` times the work, shared by so many connections: how often a second, and the milliseconds of each.
async fn run(at: SocketAddr, work: Work, clients: usize, count: usize) -> (f64, Vec<f64>) {
    let mut connections = Vec::with_capacity(clients);
    for _ in 0..clients {
        connections.push(Client::connect(at).await);
    }
    let begun = Instant::now();
    let mut workers = JoinSet::new();
    for mut client in connections {
        workers.spawn(async move {
            let mut took = Vec::with_capacity(count / clients);
            for _ in 0..count / clients {
                took.push(work.once(&mut client).await);
            }
            took
        });
    }
    let mut took = Vec::with_capacity(count);
    while let Some(done) = workers.join_next().await {
        took.extend(done.unwrap());
    }
    (took.len() as f64 / begun.elapsed().as_secs_f64(), took)
}

async fn claims() {
    let dir = tempfile::tempdir().unwrap();
    let server = filled(dir.path(), 25_000).await;
    for (clients, count, target) in [(1, 400, ""), (8, 1_600, ""), (64, 4_800, ">= 0.5")] {
        let (mut pairs, mut constants, mut samples) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            constants.push(run(server.at, Work::Constant, clients, count * 8).await.0);
            let (rate, took) = run(server.at, Work::Claim, clients, count).await;
            pairs.push(rate);
            samples.extend(took);
        }
        let (pairs, constants) = (median(pairs), median(constants));
        // A claim and its acknowledgement are two requests: both countings are told, the target is for requests.
        row(
            &format!("claim and submit, requests, {clients} clients / constant"),
            pairs * 2.0,
            constants,
            target,
            "/s",
        );
        row(
            &format!("claim and submit, pairs, {clients} clients / constant"),
            pairs,
            constants,
            "",
            "/s",
        );
        if clients == 8 {
            spread("one claim of 8 clients", samples);
        }
    }
}

async fn lifecycles() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::with_tasks(&sqlite(dir.path()), 0).await;
    let (mut lives, mut constants) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        constants.push(run(server.at, Work::Constant, 8, 8_000).await.0);
        lives.push(run(server.at, Work::Lifecycle, 8, 1_200).await.0);
    }
    row(
        "create, claim, submit, accept, 8 clients / constant",
        median(lives),
        median(constants),
        "",
        "/s",
    );
}

async fn lists() {
    let (small, large) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let servers = [
        filled(small.path(), 10_000).await,
        filled(large.path(), 1_000_000).await,
    ];
    let [few, many] = &servers;
    let (mut few, mut many) = (Client::connect(few.at).await, Client::connect(many.at).await);
    for (name, path, target) in [
        ("list, first page", "/api/v1/tasks?scope=bench", ""),
        ("list by priority", "/api/v1/tasks?scope=bench&sort=priority", ""),
        ("scheduler/poll", "/api/v1/scheduler/poll?scope=bench", ""),
        ("one claim", "/api/v1/tasks/claim", "<= 1.3"),
    ] {
        let (mut at_few, mut at_many) = (Vec::new(), Vec::new());
        for round in 0..21 {
            for (client, samples) in [(&mut few, &mut at_few), (&mut many, &mut at_many)] {
                let begun = Instant::now();
                if path.ends_with("claim") {
                    client.post(path, CLAIM).await.expect(200);
                } else {
                    client.get(path).await.expect(200);
                }
                // The first one finds a cold cache.
                if round > 0 {
                    samples.push(millis(begun));
                }
            }
        }
        row(
            &format!("{name}, 1,000,000 tasks / 10,000"),
            median(at_many),
            median(at_few),
            target,
            "ms",
        );
    }
}

/// From the moment that a task is sent to the moment that a waiting claim on another connection has it.
async fn wake() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::with_tasks(&sqlite(dir.path()), 0).await;
    let mut waiter = Client::connect(server.at).await;
    let mut creator = Client::connect(server.at).await;
    let (mut woken, mut created) = (Vec::new(), Vec::new());
    for _ in 0..200 {
        let waiting = tokio::spawn(async move {
            waiter.post("/api/v1/tasks/claim", WAITING_CLAIM).await.expect(200);
            (waiter, Instant::now())
        });
        // By now it waits.
        tokio::time::sleep(Duration::from_millis(5)).await;
        let begun = Instant::now();
        creator.post("/api/v1/tasks", CREATE).await.expect(201);
        created.push(millis(begun));
        let at;
        (waiter, at) = waiting.await.unwrap();
        woken.push((at - begun).as_secs_f64() * 1e3);
    }
    spread("enqueue -> waiting claim answered", woken);
    spread("enqueue -> enqueue answered", created);
}

async fn on_postgres() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Postgres::start();
    let theirs = Server::with_tasks(&cluster.url("bench"), 4_000).await;
    let ours = Server::with_tasks(&sqlite(dir.path()), 4_000).await;
    let (mut at_theirs, mut at_ours) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        at_theirs.push(run(theirs.at, Work::Claim, 8, 800).await.0);
        at_ours.push(run(ours.at, Work::Claim, 8, 800).await.0);
    }
    row(
        "claim and submit, 8 clients, PostgreSQL / SQLite",
        median(at_theirs),
        median(at_ours),
        "",
        "/s",
    );
}

async fn memory() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::with_tasks(&sqlite(dir.path()), 0).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let idle = server.resident();
    run(server.at, Work::Lifecycle, 64, 6_400).await;
    row(
        "resident, after 6,400 lifecycles by 64 clients / idle",
        server.resident(),
        idle,
        "",
        "MB",
    );
}
