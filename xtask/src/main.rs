//! `cargo xtask`: the project's own chores. `test` is what a newcomer and CI run; it installs what it needs.

#[allow(
    dead_code,
    unreachable_pub,
    missing_debug_implementations,
    clippy::unwrap_used,
    clippy::panic,
    reason = "the same private PostgreSQL as in the server's tests"
)]
#[path = "../../server/tests/backends/postgres.rs"]
mod postgres;

mod api;
mod packages;

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::Instant,
};

/// The version of Claude Code that the tests run; recordings in the tree are of the same one.
const CLAUDE_CODE: &str = "@anthropic-ai/claude-code@2.1.330";
/// What `server/tests/fuzz.rs` runs, each package with its version.
const SCHEMATHESIS: &str = "server/tests/fuzz.requirements.txt";
/// Where Debian has the programs of PostgreSQL, a folder for each version.
const POSTGRESQL: &str = "/usr/lib/postgresql";

const HELP: &str = "usage: cargo xtask COMMAND

  test    formatting, lints, documentation, and all tests; installs what they need under target/tools
  ci      the same
  tools   only install what the tests need
  bench   measure, as ratios in one run
  api     look for types of other crates in the public interface of octopoid-core; a part of `test`
  semver REVISION  look for what the public interface of octopoid-core lost or changed since a commit or tag
  packages  the part of `test` that builds, installs and tests the packages of Python and Node
  dist    build everything that is given away into target/dist, and install and use each of it
  chaos   kill daemons, break connections and restart databases, for longer than `test` does";

/// Features of the core, each of which compiles alone.
const FEATURES: [&str; 5] = ["sqlite", "postgres", "client", "git", "orchestrator"];

type Outcome = Result<(), String>;

#[expect(clippy::print_stderr, reason = "a program for the shell")]
fn main() -> ExitCode {
    let command = std::env::args().nth(1).unwrap_or_default();
    let begun = Instant::now();
    let outcome = match command.as_str() {
        "test" | "ci" => test(),
        "tools" => tools(),
        "bench" => bench(),
        "chaos" => chaos(),
        "api" => api::check(),
        "semver" => api::semver(std::env::args().nth(2).as_deref()),
        "dist" => packages::dist(),
        "packages" => tools().and_then(|()| packages::test()),
        _ => Err(HELP.to_owned()),
    };
    match outcome {
        Ok(()) => {
            eprintln!("xtask {command}: ok, {} s", begun.elapsed().as_secs());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map(Path::to_path_buf)
        .unwrap_or_default()
}

fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

#[expect(clippy::print_stderr, reason = "a program for the shell")]
fn run(program: &str, args: &[&str], env: &[(&str, &str)]) -> Outcome {
    eprintln!("+ {program} {}", args.join(" "));
    let status = Command::new(program)
        .args(args)
        .envs(env.iter().copied())
        .current_dir(root())
        .status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{program} {}: {status}", args.join(" "))),
        Err(error) => Err(format!("{program} does not start: {error}")),
    }
}

fn has(program: &str) -> bool {
    Command::new(program)
        .arg("--version")
        .output()
        .is_ok_and(|o| o.status.success())
}

fn test() -> Outcome {
    tools()?;
    run("cargo", &["fmt", "--all", "--check"], &[])?;
    run(
        "cargo",
        &[
            "clippy",
            "--workspace",
            "--all-targets",
            "--quiet",
            "--",
            "--deny",
            "warnings",
        ],
        &[],
    )?;
    run(
        "cargo",
        &["doc", "--workspace", "--no-deps", "--quiet"],
        &[("RUSTDOCFLAGS", "--deny warnings")],
    )?;
    api::check()?;
    for feature in FEATURES {
        let alone = [
            "--package",
            "octopoid-core",
            "--no-default-features",
            "--features",
            feature,
        ];
        let lint = ["--quiet", "--", "--deny", "warnings"];
        run("cargo", &[&["clippy"], &alone[..], &lint].concat(), &[])?;
    }
    run("cargo", &["test", "--doc", "--workspace", "--quiet"], &[])?;
    if nextest().is_ok() {
        run("cargo", &["nextest", "run", "--workspace", "--no-fail-fast"], &[])?;
    } else {
        run(
            "cargo",
            &["test", "--workspace", "--no-fail-fast", "--lib", "--bins", "--tests"],
            &[],
        )?;
    }
    contract_on_postgresql()?;
    packages::test()
}

/// The black-box suite of the HTTP routes once more, over the other database.
fn contract_on_postgresql() -> Outcome {
    let cluster = postgres::Postgres::start();
    let url = cluster.url("contract");
    let server = url.strip_suffix("/contract").unwrap_or(&url);
    let place = [("OCTOPOID_CONTRACT_POSTGRES", server)];
    let package = ["--package", "octopoid-server", "--test", "contract", "--no-fail-fast"];
    let head: &[&str] = if nextest().is_ok() {
        &["nextest", "run"]
    } else {
        &["test"]
    };
    run("cargo", &[head, &package].concat(), &place)
}

fn nextest() -> Outcome {
    let found = Command::new("cargo")
        .args(["nextest", "--version"])
        .output()
        .is_ok_and(|o| o.status.success());
    if found {
        Ok(())
    } else {
        Err("cargo-nextest is not installed".into())
    }
}

/// What the tests need and the machine may lack, in a cache folder.
fn tools() -> Outcome {
    if !has("git") {
        debian(&["git"])?;
    }
    claude_code()?;
    schemathesis()?;
    postgresql()
}

/// Fills a folder below `target/tools` unless it says that it holds exactly this.
fn once(folder: &str, what: &str, install: impl FnOnce(&Path) -> Outcome) -> Outcome {
    let dir = target().join("tools").join(folder);
    let stamp = dir.join("installed");
    if std::fs::read_to_string(&stamp).is_ok_and(|s| s == what) {
        return Ok(());
    }
    std::fs::create_dir_all(&dir).map_err(|e| format!("cannot create {}: {e}", dir.display()))?;
    install(&dir)?;
    std::fs::write(&stamp, what).map_err(|e| format!("cannot write {}: {e}", stamp.display()))
}

fn claude_code() -> Outcome {
    once("claude-code", CLAUDE_CODE, |dir| {
        if !has("npm") {
            debian(&["npm"])?;
        }
        let prefix = dir.display().to_string();
        run(
            "npm",
            &[
                "install",
                "--prefix",
                &prefix,
                "--no-audit",
                "--no-fund",
                "--loglevel",
                "error",
                CLAUDE_CODE,
            ],
            &[],
        )
    })
}

/// Schemathesis in a virtual environment of Python; `server/tests/fuzz.rs` makes the same one where this has not run.
fn schemathesis() -> Outcome {
    let list = root().join(SCHEMATHESIS);
    let wanted = std::fs::read_to_string(&list).map_err(|e| format!("cannot read {}: {e}", list.display()))?;
    once("schemathesis", &wanted, |dir| {
        let home = dir.display().to_string();
        let make = || run("python3", &["-m", "venv", "--clear", &home], &[]);
        if make().is_err() {
            // Debian's Python comes without what makes environments.
            debian(&["python3", "python3-venv"])?;
            make()?;
        }
        run(
            &format!("{home}/bin/python"),
            &["-m", "pip", "install", "--quiet", "--requirement", SCHEMATHESIS],
            &[("PIP_DISABLE_PIP_VERSION_CHECK", "1")],
        )
    })
}

fn postgresql() -> Outcome {
    let found = std::fs::read_dir(POSTGRESQL).is_ok_and(|mut versions| {
        versions.any(|version| version.is_ok_and(|version| version.path().join("bin/initdb").is_file()))
    });
    if found {
        return Ok(());
    }
    let is_root = Command::new("id")
        .arg("-u")
        .output()
        .is_ok_and(|o| o.stdout.trim_ascii() == b"0");
    if !is_root {
        return Err(format!(
            "the tests start databases with the programs below {POSTGRESQL}, and there are none: \
             install Debian's package postgresql (`apt-get install postgresql`)"
        ));
    }
    debian(&["postgresql"])
}

fn debian(packages: &[&str]) -> Outcome {
    run("apt-get", &["update", "--quiet"], &[])?;
    let mut args = vec!["install", "--yes", "--quiet", "--no-install-recommends"];
    args.extend(packages);
    run("apt-get", &args, &[("DEBIAN_FRONTEND", "noninteractive")])
}

/// The tests of kills and outages, with more of both. Nothing but their assertions says how it went.
fn chaos() -> Outcome {
    tools()?;
    let longer = [
        ("OCTOPOID_CHAOS_TASKS", "200"),
        ("OCTOPOID_CHAOS_KILLS", "all"),
        ("OCTOPOID_STORM_TASKS", "5000"),
    ];
    for (package, test) in [("octopoid-cli", "chaos"), ("octopoid-server", "storm")] {
        let chosen = format!("test({test})");
        let args: &[&str] = if nextest().is_ok() {
            &["nextest", "run", "--package", package, "-E", &chosen, "--no-capture"]
        } else {
            &["test", "--package", package, "--tests", "--", test, "--nocapture"]
        };
        run("cargo", args, &longer)?;
    }
    Ok(())
}

fn bench() -> Outcome {
    run(
        "cargo",
        &["build", "--profile", "bench", "--package", "octopoid-cli"],
        &[],
    )?;
    run(
        "cargo",
        &["bench", "--package", "octopoid-core", "--bench", "ratios"],
        &[],
    )?;
    run(
        "cargo",
        &["bench", "--package", "octopoid-server", "--bench", "http"],
        &[],
    )?;
    let packages = packages::for_bench()?;
    let places: Vec<(&str, &str)> = packages.iter().map(|(n, p)| (*n, p.as_str())).collect();
    run(
        "cargo",
        &["bench", "--package", "octopoid-server", "--bench", "sdk"],
        &places,
    )
}
