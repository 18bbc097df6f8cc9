//! The packages of other languages: built, installed where nothing else is, and tested from there.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{Outcome, debian, has, once, root, run, target};

/// Builds wheels.
const MATURIN: &str = "maturin==1.16.0";
const PYTHON_TESTS: &str = "bindings-python/tests/requirements.txt";

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn failed(what: &str, path: &Path, error: &std::io::Error) -> String {
    format!("cannot {what} {}: {error}", path.display())
}

/// An empty folder.
fn fresh(path: &Path) -> Result<(), String> {
    if path.exists() {
        fs::remove_dir_all(path).map_err(|e| failed("empty", path, &e))?;
    }
    fs::create_dir_all(path).map_err(|e| failed("create", path, &e))
}

/// The one file of a folder with this ending.
fn only(folder: &Path, ending: &str) -> Result<PathBuf, String> {
    let entries = fs::read_dir(folder).map_err(|e| failed("read", folder, &e))?;
    let mut found = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.to_string_lossy().ends_with(ending));
    match (found.next(), found.next()) {
        (Some(path), None) => Ok(path),
        _ => Err(format!("{} should hold exactly one *{ending}", folder.display())),
    }
}

fn environment(dir: &Path) -> Outcome {
    let home = text(dir);
    let make = || run("python3", &["-m", "venv", "--clear", &home], &[]);
    if make().is_err() {
        // Debian's Python comes without what makes environments.
        debian(&["python3", "python3-venv"])?;
        make()?;
    }
    Ok(())
}

fn pip(dir: &Path, args: &[&str]) -> Outcome {
    let quiet = [
        ("PIP_DISABLE_PIP_VERSION_CHECK", "1"),
        ("CARGO_TARGET_DIR", &*text(&target())),
    ];
    let args = [&["-m", "pip", "install", "--quiet"], args].concat();
    run(&text(&dir.join("bin/python")), &args, &quiet)
}

/// An environment with what tests the Python package, without the package.
fn python_tools() -> Result<PathBuf, String> {
    let list = root().join(PYTHON_TESTS);
    let wanted = fs::read_to_string(&list).map_err(|e| failed("read", &list, &e))?;
    once("python", &format!("{MATURIN}\n{wanted}"), |dir| {
        environment(dir)?;
        pip(dir, &[MATURIN, "--requirement", PYTHON_TESTS])
    })?;
    Ok(target().join("tools/python"))
}

/// Builds a wheel into `out`.
fn wheel(tools: &Path, out: &Path, args: &[&str]) -> Outcome {
    let (manifest, place) = (text(&root().join("bindings-python/Cargo.toml")), text(out));
    let args = [&["build", "--manifest-path", &manifest, "--out", &place], args].concat();
    let dir = text(&target());
    run(&text(&tools.join("bin/maturin")), &args, &[("CARGO_TARGET_DIR", &dir)])
}

fn npm(args: &[&str]) -> Outcome {
    if !has("npm") {
        debian(&["npm"])?;
    }
    let (package, dir) = (text(&root().join("bindings-node")), text(&target()));
    let args = [&["--prefix", package.as_str(), "--loglevel", "error"], args].concat();
    run("npm", &args, &[("CARGO_TARGET_DIR", &dir)])
}

/// Installs the packages of Python and Node as a user would, and runs their tests, examples and the scenarios that all languages
/// share against what was installed.
pub(super) fn test() -> Outcome {
    let tools = python_tools()?;
    let out = target().join("packages");
    fresh(&out)?;
    wheel(&tools, &out, &["--profile", "dev"])?;
    pip(&tools, &["--force-reinstall", "--no-deps", &text(&only(&out, ".whl")?)])?;
    let python = text(&tools.join("bin/python"));
    let pytest = ["-m", "pytest", "--quiet", "bindings-python/tests"];
    run(&python, &pytest, &[])
        .or_else(|said| again(&said, || run(&python, &[&pytest[..], &["--last-failed"]].concat(), &[])))?;

    node_modules()?;
    npm(&["run", "build:debug"])?;
    npm(&["test"]).or_else(|said| again(&said, || npm(&["test"])))?;
    run(&python, &["tests/conformance/driver.py"], &[])?;
    run("node", &["tests/conformance/driver.mjs"], &[])
}

/// What builds and tests the Node package. Not `npm ci`: it refuses a lock file without the packages of other platforms, and npm
/// itself leaves these out.
fn node_modules() -> Outcome {
    npm(&["install", "--no-save", "--no-audit", "--no-fund"])
}

/// Builds and installs the packages as they are given away, and tells the bench where they are.
pub(super) fn for_bench() -> Result<[(&'static str, String); 2], String> {
    let tools = python_tools()?;
    let out = target().join("packages");
    fresh(&out)?;
    wheel(&tools, &out, &["--release"])?;
    pip(&tools, &["--force-reinstall", "--no-deps", &text(&only(&out, ".whl")?)])?;
    node_modules()?;
    npm(&["run", "build"])?;
    let (modules, package) = (out.join("node_modules"), text(&root().join("bindings-node")));
    fresh(&modules)?;
    let linked = modules.join("octopoid");
    std::os::unix::fs::symlink(&package, &linked).map_err(|e| failed("link", &linked, &e))?;
    Ok([
        ("OCTOPOID_BENCH_PYTHON", text(&tools.join("bin/python"))),
        ("OCTOPOID_BENCH_NODE", text(&modules)),
    ])
}

/// Tests with processes and clocks meet machines that stand still for seconds: one more try, and it is said.
#[expect(clippy::print_stderr, reason = "a program for the shell")]
fn again(said: &str, run: impl FnOnce() -> Outcome) -> Outcome {
    eprintln!("{said}; FLAKY unless it fails once more");
    run()
}

/// Everything that is given away, in `target/dist`: the programs, wheel and source of the Python package, and the Node package.
/// Each is then installed where nothing else is, and used.
pub(super) fn dist() -> Outcome {
    let tools = python_tools()?;
    let out = target().join("dist");
    fresh(&out)?;
    let programs = [
        "build",
        "--release",
        "--locked",
        "--package",
        "octopoid-cli",
        "--package",
        "octopoid-server",
    ];
    run("cargo", &programs, &[])?;
    let release = target().join("release");
    let archive = text(&out.join(format!("octopoid-{}-{}.tar.gz", env!("CARGO_PKG_VERSION"), platform())));
    let (binaries, top) = (text(&release), text(&root()));
    let packed = [
        "-czf",
        &archive,
        "-C",
        &binaries,
        "octopoid",
        "octopoid-server",
        "-C",
        &top,
        "README.md",
        "LICENSE-MIT",
        "LICENSE-APACHE",
    ];
    run("tar", &packed, &[])?;
    wheel(&tools, &out, &["--release", "--sdist"])?;
    node_modules()?;
    npm(&["run", "build"])?;
    let place = text(&out);
    let package = text(&root().join("bindings-node"));
    run(
        "npm",
        &["pack", &package, "--pack-destination", &place, "--loglevel", "error"],
        &[],
    )?;
    smoke(&out, &archive)
}

fn platform() -> String {
    format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS)
}

/// A task through each package, in folders that hold nothing but it.
fn smoke(out: &Path, archive: &str) -> Outcome {
    const PYTHON: &str = "from octopoid import Octopoid; o = Octopoid.local('queue'); \
                          t = o.tasks.create(title='x'); assert o.tasks.get(t.id)['queue'] == 'incoming'";
    const NODE: &str = "const { Octopoid } = require('octopoid'); (async () => { const o = Octopoid.local('queue'); \
                        const t = await o.tasks.create({ title: 'x' }); \
                        if ((await o.tasks.get(t.id)).queue !== 'incoming') process.exit(1); })()";
    let dir = tempfile::tempdir().map_err(|e| format!("no temporary folder: {e}"))?;
    let at = |name: &str| text(&dir.path().join(name));
    let inside = |folder: &str, program: &str, args: &[&str]| {
        let script = format!("cd '{folder}' && exec \"$@\"");
        run("sh", &[&["-c", &script, "sh", program], args].concat(), &[])
    };

    fresh(Path::new(&at("programs")))?;
    run("tar", &["-xzf", archive, "-C", &at("programs")], &[])?;
    inside(&at("programs"), "./octopoid", &["demo"])?;
    inside(&at("programs"), "./octopoid-server", &["--version"])?;

    let source = out.join(format!("octopoid-{}.tar.gz", env!("CARGO_PKG_VERSION")));
    for (name, package) in [("wheel", only(out, ".whl")?), ("source", source)] {
        let home = dir.path().join(name);
        environment(&home)?;
        pip(&home, &[&text(&package)])?;
        inside(&at(name), "bin/python", &["-c", PYTHON])?;
        inside(&at(name), "bin/octopoid", &["--version"])?;
    }

    fresh(Path::new(&at("node")))?;
    let package = text(&only(out, ".tgz")?);
    inside(
        &at("node"),
        "npm",
        &["install", "--no-audit", "--no-fund", "--loglevel", "error", &package],
    )?;
    inside(&at("node"), "node", &["-e", NODE])?;
    inside(&at("node"), "npx", &["octopoid", "--version"])
}
