//! The rules of the house: floors, one sentence for each module, a size that one can read, errors that are documented.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use octopoid_core::{ErrorCode, lifecycle::Failure};

/// Modules by floor, the lowest first. A module uses only what is below it.
const FLOORS: &[&[&str]] = &[
    &["error"],
    &["clock", "id"],
    &["model"],
    &["lifecycle", "flow", "config", "wire"],
    &["store", "git", "agent", "prompt"],
    &["engine"],
    &["backend", "client", "offline"],
    &["queue"],
    &["role"],
    &["orchestrator"],
];

/// Pairs on one floor, each with its reason.
const SAME_FLOOR: &[(&str, &str)] = &[
    ("lifecycle", "flow"),   // a transition follows its flow
    ("config", "flow"),      // flows are files of the project
    ("config", "lifecycle"), // limits are settings
    ("client", "backend"),   // a server is a backend
    ("offline", "backend"),  // and so is one that is not always there
    ("offline", "client"),   // which it asks first
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn files(dir: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            found.extend(files(&path, ending));
        } else if name.ends_with(ending) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn floor(module: &str) -> usize {
    FLOORS
        .iter()
        .position(|f| f.contains(&module))
        .unwrap_or_else(|| panic!("{module} stands on no floor"))
}

/// Modules named after `crate::` in the text, also inside braces.
fn imports(text: &str) -> Vec<String> {
    let code: String = text
        .lines()
        .filter(|l| !l.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n");
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        if code[..at].ends_with('(') {
            continue; // a visibility such as pub(in crate::x)
        }
        let rest = &code[at + 7..];
        if let Some(list) = rest.strip_prefix('{') {
            let (mut depth, mut word) = (1, String::new());
            for c in list.chars() {
                match c {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    _ => {}
                }
                if depth == 1 && (c.is_alphanumeric() || c == '_') {
                    word.push(c);
                } else if depth == 1 && (c == ',' || c == ':') || depth == 0 {
                    found.push(std::mem::take(&mut word));
                } else if depth == 1 {
                    // white space and the like
                }
                if c == ',' && depth == 1 {
                    word.clear();
                }
                if depth == 0 {
                    break;
                }
            }
        } else {
            found.push(rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect());
        }
    }
    let known: Vec<&str> = FLOORS.iter().flat_map(|f| f.iter().copied()).collect();
    found.retain(|m| known.contains(&m.as_str()));
    found.sort();
    found.dedup();
    found
}

#[test]
fn modules_use_only_what_is_below_them() {
    let src = root().join("octopoid-core/src");
    let mut edges = 0;
    for path in files(&src, ".rs") {
        let inside = path.strip_prefix(&src).unwrap();
        let module = inside
            .components()
            .next()
            .unwrap()
            .as_os_str()
            .to_string_lossy()
            .trim_end_matches(".rs")
            .to_owned();
        if module == "lib" {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        for import in imports(code).into_iter().filter(|i| *i != module) {
            edges += 1;
            let fine = floor(&import) < floor(&module) || SAME_FLOOR.contains(&(module.as_str(), import.as_str()));
            assert!(fine, "{}: {module} must not know {import}", inside.display());
        }
    }
    assert!(
        edges > 50,
        "only {edges} imports were seen: this test reads them wrongly"
    );
}

#[test]
fn each_file_says_what_it_is_for_and_can_be_read_in_one_go() {
    for dir in [
        "octopoid-core/src",
        "octopoid-core/tests",
        "octopoid-core/benches",
        "octopoid-cli/src",
        "octopoid-cli/tests",
        "tests/bench/src",
        "xtask/src",
    ] {
        for path in files(&root().join(dir), ".rs") {
            let text = fs::read_to_string(&path).unwrap();
            assert!(
                text.starts_with("//! "),
                "{} does not begin with a sentence",
                path.display()
            );
            let lines = text.lines().count();
            let most = if dir.contains("/src") { 500 } else { 620 };
            assert!(lines <= most, "{} has {lines} lines; split it", path.display());
        }
    }
}

#[test]
fn one_wrapper_runs_git_and_nothing_discards_work() {
    for path in files(&root().join("octopoid-core/src"), ".rs") {
        let text = fs::read_to_string(&path).unwrap();
        let code: String = text
            .split("#[cfg(test)]")
            .next()
            .unwrap()
            .lines()
            .filter(|l| !l.trim_start().starts_with("//"))
            .collect::<Vec<_>>()
            .join("\n");
        let name = path.display().to_string();
        // The scripted agent is an agent: it commits as any agent does.
        if !name.contains("/git/") && !name.ends_with("agent/scripted.rs") {
            assert!(
                !code.contains("Command::new(\"git\")") && !code.contains("git2::"),
                "{name} goes around the wrapper"
            );
        }
        for word in [
            "\"stash\"",
            "\"clean\"",
            "\"--hard\"",
            "\"--force\"",
            "ResetType::Hard",
            ".force()",
        ] {
            assert!(!code.contains(word), "{name} uses {word}");
        }
        // On the wire, earlier clients rely on a name.
        assert!(
            name.ends_with("wire/mod.rs") || !code.contains("\"main\"") && !code.contains("\"master\""),
            "{name} assumes the name of a branch"
        );
    }
}

#[test]
fn every_error_and_failure_is_documented_and_nothing_else() {
    let text = fs::read_to_string(root().join("docs/errors.md")).unwrap();
    let mut documented: Vec<&str> = text.lines().filter_map(|l| l.strip_prefix("### ")).collect();
    let mut known: Vec<&str> = ErrorCode::ALL
        .iter()
        .map(|c| c.as_str())
        .chain(Failure::ALL.iter().map(|f| f.as_str()))
        .collect();
    documented.sort_unstable();
    known.sort_unstable();
    known.dedup();
    assert_eq!(documented, known);
}
