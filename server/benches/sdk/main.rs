//! What one call costs from each language, on one server in one run: `cargo xtask bench`, once the packages are built.
//!
//! `OCTOPOID_BENCH_PYTHON` names a Python that has the package, `OCTOPOID_BENCH_NODE` a folder whose `node_modules` has it;
//! what is not named is not measured, and said so.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
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
    io::{BufRead as _, BufReader, Lines, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio},
    time::Instant,
};

use octopoid_core::{Octopoid, id::TaskId, model::CreateTask};
use server::{Server, sqlite};
use tokio::runtime::Runtime;

const CALLS: usize = 500;
/// Measurements of each figure. Languages take turns, so that whatever slows the machine down for a while slows all of them;
/// the middle one of the differences to Rust just before counts.
const ROUNDS: usize = 21;

/// Microseconds a call of reading and of creating a task.
#[derive(Clone, Copy)]
struct Cost {
    get: f64,
    create: f64,
}

/// What one way of calling cost in all rounds, and what Rust cost just before each.
struct Way {
    name: String,
    costs: Vec<(Cost, Cost)>,
}

impl Way {
    /// The middle one of what is taken from each round.
    fn median(&self, of: impl Fn(&(Cost, Cost)) -> f64) -> f64 {
        let mut all: Vec<f64> = self.costs.iter().map(of).collect();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    }
}

struct Rust {
    runtime: Runtime,
    octopoid: Octopoid,
    id: TaskId,
}

fn titled() -> CreateTask {
    CreateTask {
        title: Some("bench".into()),
        ..CreateTask::default()
    }
}

impl Rust {
    fn new(url: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .unwrap();
        let octopoid = Octopoid::connect(url).build().unwrap();
        let task = runtime.block_on(async { octopoid.tasks().create(titled()).await.unwrap() });
        Self {
            runtime,
            octopoid,
            id: task.id,
        }
    }

    fn measure(&self) -> Cost {
        self.runtime.block_on(async {
            let tasks = self.octopoid.tasks();
            let begun = Instant::now();
            for _ in 0..CALLS {
                tasks.get(&self.id).await.unwrap();
            }
            let get = each(begun);
            let begun = Instant::now();
            for _ in 0..CALLS {
                tasks.create(titled()).await.unwrap();
            }
            Cost {
                get,
                create: each(begun),
            }
        })
    }
}

fn each(begun: Instant) -> f64 {
    begun.elapsed().as_secs_f64() * 1e6 / CALLS as f64
}

/// A program that, for each line it is sent, prints `NAME GET CREATE` lines, in microseconds a call, and an empty one.
struct Other {
    child: Child,
    orders: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Other {
    fn start(command: &mut Command, url: &str) -> Self {
        let mut child = command
            .args([url, &CALLS.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            orders: child.stdin.take().unwrap(),
            lines: BufReader::new(child.stdout.take().unwrap()).lines(),
            child,
        }
    }

    fn measure(&mut self) -> Vec<(String, Cost)> {
        writeln!(self.orders).unwrap();
        let mut found = Vec::new();
        loop {
            let line = self.lines.next().expect("the program goes on").unwrap();
            let words: Vec<&str> = line.split_whitespace().collect();
            let [name, get, create] = words[..] else {
                return found;
            };
            let cost = Cost {
                get: get.parse().unwrap(),
                create: create.parse().unwrap(),
            };
            found.push((name.to_owned(), cost));
        }
    }

    fn end(mut self) {
        drop(self.orders);
        assert!(self.child.wait().unwrap().success());
    }
}

fn others(url: &str) -> Vec<Other> {
    let top = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let mut others = Vec::new();
    match std::env::var("OCTOPOID_BENCH_PYTHON") {
        Ok(python) => {
            let script = format!("{top}/bindings-python/bench/calls.py");
            others.push(Other::start(Command::new(python).arg(script), url));
        }
        Err(_) => eprintln!("python is not measured: OCTOPOID_BENCH_PYTHON names none"),
    }
    match std::env::var("OCTOPOID_BENCH_NODE") {
        Ok(folder) => {
            let script = format!("{top}/bindings-node/bench/calls.cjs");
            others.push(Other::start(
                Command::new("node").arg(script).env("NODE_PATH", folder),
                url,
            ));
        }
        Err(_) => eprintln!("node is not measured: OCTOPOID_BENCH_NODE names none"),
    }
    others
}

fn main() -> ExitCode {
    if std::env::args().any(|a| a == "--test" || a == "--list") {
        return ExitCode::SUCCESS;
    }
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&sqlite(dir.path()));
    let url = format!("http://{}", server.at);
    let rust = Rust::new(&url);
    let mut others = others(&url);
    let mut ways: Vec<Way> = Vec::new();
    let mut note = |name: String, cost: Cost, base: Cost| match ways.iter_mut().find(|w| w.name == name) {
        Some(way) => way.costs.push((cost, base)),
        None => ways.push(Way {
            name,
            costs: vec![(cost, base)],
        }),
    };
    rust.measure();
    for _ in 0..ROUNDS {
        let base = rust.measure();
        // Against itself: what the differences of the others can be trusted to show.
        note("rust".into(), rust.measure(), base);
        for other in &mut others {
            let base = rust.measure();
            for (name, cost) in other.measure() {
                note(name, cost, base);
            }
        }
    }
    others.into_iter().for_each(Other::end);
    println!(
        "{:<12} {:>8} {:>10} {:>8} {:>10}",
        "from", "get/s", "over rust", "create/s", "over rust"
    );
    for way in ways {
        println!(
            "{:<12} {:>8.0} {:>7.1} µs {:>8.0} {:>7.1} µs",
            way.name,
            1e6 / way.median(|(cost, _)| cost.get),
            way.median(|(cost, base)| cost.get - base.get),
            1e6 / way.median(|(cost, _)| cost.create),
            way.median(|(cost, base)| cost.create - base.create),
        );
    }
    ExitCode::SUCCESS
}
