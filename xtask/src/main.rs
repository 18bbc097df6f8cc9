//! `cargo xtask`: the project's own chores. `test` is what a newcomer and CI run; it installs what it needs.

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::Instant,
};

/// The version of Claude Code that the tests run; recordings in the tree are of the same one.
const CLAUDE_CODE: &str = "@anthropic-ai/claude-code@2.1.330";

const HELP: &str = "usage: cargo xtask COMMAND

  test    formatting, lints, documentation, and all tests; installs what they need under target/tools
  ci      the same
  tools   only install what the tests need
  bench   measure, as ratios in one run";

type Outcome = Result<(), String>;

#[expect(clippy::print_stderr, reason = "a program for the shell")]
fn main() -> ExitCode {
    let command = std::env::args().nth(1).unwrap_or_default();
    let begun = Instant::now();
    let outcome = match command.as_str() {
        "test" | "ci" => test(),
        "tools" => tools(),
        "bench" => bench(),
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
    run("cargo", &["test", "--doc", "--workspace", "--quiet"], &[])?;
    if nextest().is_ok() {
        run("cargo", &["nextest", "run", "--workspace", "--no-fail-fast"], &[])
    } else {
        run(
            "cargo",
            &["test", "--workspace", "--no-fail-fast", "--lib", "--bins", "--tests"],
            &[],
        )
    }
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
    let dir = target().join("tools/claude-code");
    let stamp = dir.join("installed");
    if std::fs::read_to_string(&stamp).is_ok_and(|s| s == CLAUDE_CODE) {
        return Ok(());
    }
    if !has("npm") {
        debian(&["npm"])?;
    }
    std::fs::create_dir_all(&dir).map_err(|e| format!("cannot create {}: {e}", dir.display()))?;
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
    )?;
    std::fs::write(&stamp, CLAUDE_CODE).map_err(|e| format!("cannot write {}: {e}", stamp.display()))
}

fn debian(packages: &[&str]) -> Outcome {
    run("apt-get", &["update", "--quiet"], &[])?;
    let mut args = vec!["install", "--yes", "--quiet", "--no-install-recommends"];
    args.extend(packages);
    run("apt-get", &args, &[("DEBIAN_FRONTEND", "noninteractive")])
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
    )
}
