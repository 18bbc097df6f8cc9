//! Bad input: a clear error that names the object and the next step, the documented exit code, nothing changed.

use std::fs;

use crate::harness::{Project, Ran, WORKS};

/// The tasks and their history, to compare before and after.
fn everything(project: &Project) -> (serde_json::Value, Vec<u8>) {
    let list = project.json(&["list", "--all"]);
    (list, fs::read(project.path(".octopoid/config.yaml")).unwrap())
}

#[track_caller]
fn refused(project: &Project, args: &[&str], code: i32, says: &str) {
    let before = everything(project);
    let plain = project.run(args).code(code);
    assert!(plain.err.contains(says), "{says:?} is not in {:?}", plain.err);
    assert!(plain.out.is_empty(), "{}", plain.out);
    let mut all = args.to_vec();
    all.push("--json");
    let error = project.run(&all).code(code).json()["error"].clone();
    assert!(
        error["code"].is_string() && error["message"].is_string() && error.get("hint").is_some(),
        "{error}"
    );
    assert_eq!(everything(project), before, "{args:?} changed something");
}

#[test]
fn bad_values_are_refused_by_name_and_nothing_changes() {
    let project = Project::new(WORKS);
    let id = project.enqueue(&["A task", "--id", "here"]);
    for (args, code, says) in [
        (&["enqueue"][..], 2, "say what should change"),
        (&["enqueue", ""], 2, "title is empty"),
        (&["enqueue", "  \n "], 2, "title is empty"),
        (&["enqueue", "x", "--role", "wizard"], 2, "wizard"),
        (&["enqueue", "x", "--role", "not a role"], 2, "not a role"),
        (&["enqueue", "x", "--priority", "P9"], 2, "P9"),
        (&["enqueue", "x", "--complexity", "XXL"], 2, "XXL"),
        (&["enqueue", "x", "--flow", "nowhere"], 3, "nowhere"),
        (&["enqueue", "x", "--after", "nobody"], 3, "nobody"),
        (&["enqueue", "x", "--id", "here"], 4, "here exists already"),
        (&["enqueue", "x", "--id", "../up"], 2, "../up"),
        (&["enqueue", "x", "--id", "new", "--after", "new"], 2, "wait for itself"),
        (&["enqueue", "x", "--branch=-oops"], 2, "oops"),
        (&["enqueue", "x", "--branch=a..b"], 2, "a..b"),
        (&["enqueue", "x", "--check", " "], 2, "check is empty"),
        (&["enqueue", "x", "--file", "missing.md"], 1, "missing.md"),
        (&["enqueue", "x", "--colour", "red"], 2, "--colour"),
        (&["list", "--queue", "nowhere"], 2, "nowhere"),
        (&["list", "--queue", "In Coming"], 2, "In Coming"),
        (&["list", "--limit", "0"], 2, "0"),
        (&["show", "nobody"], 3, "nobody"),
        (&["show", "a b"], 2, "a b"),
        (&["why", "nobody"], 3, "nobody"),
        (&["diff", "nobody"], 3, "nobody"),
        (&["logs", "here"], 3, "nobody has worked on it yet"),
        (&["approve", "here"], 4, "incoming"),
        (&["reject", "here", "--reason", "no"], 4, "incoming"),
        (&["reject", "here"], 2, "--reason"),
        (&["retry", "here"], 4, "incoming"),
        (&["requeue", "here"], 4, "incoming"),
        (&["unhold", "here"], 4, "not on hold"),
        (&["recover", "here", "--to", "done", "--reason", "x"], 4, "not in trunk"),
        (&["recover", "here", "--to", "claimed", "--reason", "x"], 4, "claimed"),
        (
            &["recover", "here", "--to", "provisional", "--reason", "x"],
            4,
            "no work was handed in",
        ),
        (&["recover", "here", "--to", "mars", "--reason", "x"], 2, "mars"),
        (
            &["recover", "here", "--to", "incoming", "--reason", " "],
            2,
            "needs a reason",
        ),
        (&["edit", "here"], 2, "nothing to change"),
        (&["edit", "here", "--title", " "], 2, "title is empty"),
        (&["edit", "here", "--after", "nobody"], 3, "nobody"),
        (&["edit", "here", "--after", "here"], 2, "wait for itself"),
        (&["delete", "nobody"], 3, "nobody"),
        (&["start", "--once", "--max-agents", "0"], 2, "max_agents"),
        (&["start", "--once", "--tick-interval", "0.5"], 2, "tick"),
        (&["flow", "show", "nowhere"], 3, "nowhere"),
        (&["report", "--outcome", "done"], 2, "OCTOPOID_RESULT_FILE"),
        (&["report", "--outcome", "great"], 2, "great"),
        (&["fly"], 2, "fly"),
    ] {
        refused(&project, args, code, says);
    }
    project.enqueue(&["B", "--id", "b", "--after", &id]);
    refused(&project, &["edit", "here", "--after", "b"], 2, "for ever");
    refused(&project, &["delete", "here"], 4, "b waits for here");
}

#[test]
fn task_files_that_cannot_be_read_are_refused_with_their_line() {
    let project = Project::new(WORKS);
    project.write("unknown.md", "---\ntitle: x\nspeed: 3\n---\nbody\n");
    fs::write(project.path("latin1.md"), b"# Title\n\nGr\xfc\xdfe\n").unwrap();
    project.write("role.md", "---\nrole: [1]\n---\nbody\n");
    refused(&project, &["enqueue", "--file", "unknown.md"], 2, "unknown.md:3");
    refused(&project, &["enqueue", "--file", "latin1.md"], 2, "latin1.md:3");
    refused(&project, &["enqueue", "--file", "role.md"], 2, "role.md:2");
    project.write("big.md", &format!("# Big\n\n{}", "x".repeat(1 << 20)));
    project.write("huge.md", &format!("# Huge\n\n{}", "x".repeat((1 << 20) + 10)));
    let nasty = "$(rm -rf /) `id` {{ task.id }} {% if %} ' \" \\ \u{202e} \u{1f419}\n".repeat(15_000);
    project.write("nasty.md", &format!("# Nasty $(id) {{{{ x }}}}\n\n{nasty}"));
    refused(&project, &["enqueue", "--file", "huge.md"], 2, "at most 1048576");
    let id = project.enqueue(&["--file", "nasty.md"]);
    assert_eq!(project.show(&id)["content"].as_str().unwrap().len(), nasty.len());
    project.run(&["start", "--once"]).ok();
    project.expect_queue(&id, "done");
    assert!(project.prompt(&id, 1).contains(&nasty));
    assert_eq!(
        project.read(&format!(".octopoid/runtime/attempts/{id}/1/task.md")),
        nasty
    );
}

#[test]
fn settings_that_are_not_understood_are_named_with_file_and_line() {
    let project = Project::new(WORKS);
    let check = |file: &str, text: &str, place: &str, says: &str| {
        let before = project.read(file);
        project.write(file, text);
        let ran = project.run(&["validate"]).code(7);
        assert!(
            ran.err.contains(place) && ran.err.contains(says),
            "{place:?} and {says:?} are not in {:?}",
            ran.err
        );
        project.run(&["start", "--once"]).code(7);
        project.run(&["enqueue", "x"]).code(7);
        if before.is_empty() {
            fs::remove_file(project.path(file)).unwrap();
        } else {
            project.write(file, &before);
        }
    };
    let config = ".octopoid/config.yaml";
    check(config, "mode: local\nfleet: 3\n", "config.yaml:2: ", "fleet");
    check(config, "repo: {}\n", "config.yaml:1: ", "mode");
    check(config, "mode: somewhere\n", "config.yaml:1: ", "somewhere");
    check(
        config,
        "mode: local\norchestrator:\n  lease_seconds: 1\n",
        "config.yaml:3: ",
        "at least 3",
    );
    check(
        config,
        "mode: local\nlimits: {attempts: 0}\n",
        "config.yaml:2: ",
        "attempts",
    );
    check(
        config,
        "mode: local\nlimits: {wall_minutes: -1}\n",
        "config.yaml:2: ",
        "wall_minutes",
    );
    check(
        config,
        "mode: local\nmerge: {method: teleport}\n",
        "config.yaml:2: ",
        "teleport",
    );
    check(
        config,
        "mode: local\nmerge: {strategy: github}\n",
        "config.yaml:2: ",
        "local",
    );
    check(config, "mode: [\n", "config.yaml:", "config.yaml");
    let agent = ".octopoid/agents/other.yaml";
    check(
        agent,
        "role: implement\nagent: command\ncommand: [x]\nspeed: 3\n",
        "agents/other.yaml:4: ",
        "speed",
    );
    check(
        agent,
        "role: wizard\nagent: command\ncommand: [x]\n",
        "agents/other.yaml:1: ",
        "wizard",
    );
    check(
        agent,
        "role: implement\nagent: hal9000\n",
        "agents/other.yaml:2: ",
        "allowed: claude, command, scripted",
    );
    check(
        agent,
        "role: implement\nagent: command\n",
        "agents/other.yaml:1: ",
        "command",
    );
    check(
        agent,
        "role: implement\nagent: claude\nclaims_from: mars\n",
        "agents/other.yaml:3: ",
        "mars",
    );
    check(
        agent,
        "role: implement\nagent: claude\nmax_instances: 0\n",
        "agents/other.yaml:3: ",
        "at least 1",
    );
    check(
        agent,
        "role: implement\nagent: claude\nenv: {OCTOPOID_API_KEY: x}\n",
        "agents/other.yaml:3: ",
        "OCTOPOID_API_KEY",
    );
    let flow = ".octopoid/flows/mine.yaml";
    check(
        flow,
        "name: mine\ntransitions:\n  \"incoming -> claimed\": {agent: implement}\n  \"claimed -> provisional\": {}\n  \"provisional -> done\": {runs: [merge]}\n",
        "flows/mine.yaml:5: ",
        "run_tests",
    );
    check(
        flow,
        "name: other\ntransitions: {}\n",
        "flows/mine.yaml:1: ",
        "must agree",
    );
    project.run(&["validate"]).ok();
    let shown = project.run(&["config", "show", "--origin"]).ok().out;
    assert!(
        shown.contains("repo.base_branch: trunk  # .octopoid/config.yaml:2"),
        "{shown}"
    );
    assert!(shown.contains("limits.attempts: 3  # default"), "{shown}");
}

#[test]
fn places_that_are_no_project_say_what_to_do() {
    let project = Project::bare_bones();
    for args in [
        &["list"][..],
        &["enqueue", "x"],
        &["start"],
        &["status"],
        &["validate"],
        &["stop"],
        &["show", "x"],
    ] {
        project.run(args).code(1).says("octopoid init");
    }
    let outside = tempfile::tempdir().unwrap();
    let there = outside.path().display().to_string();
    let run = |args: &[&str]| -> Ran {
        let mut all = vec!["-C", there.as_str()];
        all.extend(args);
        project.run(&all)
    };
    run(&["init", "--local"]).code(1).says("git init");
    run(&["list"]).code(1).says("octopoid init");
    run(&["list", "--json"]).code(1);
    assert_eq!(run(&["list", "--json"]).json()["error"]["code"], "not_initialised");
    project.git_in(outside.path(), &["init", "--quiet"]);
    run(&["init", "--local"]).code(1).says("no commits yet");
    assert!(!outside.path().join(".octopoid").exists());
    let bare = tempfile::tempdir().unwrap();
    project.git_in(bare.path(), &["init", "--quiet", "--bare"]);
    project
        .run(&["-C", &bare.path().display().to_string(), "init", "--local"])
        .code(1)
        .says("bare repository");
    project
        .run(&["-C", "/nowhere/at/all", "list"])
        .code(1)
        .says("/nowhere/at/all");
    {
        let args = &["doctor"][..];
        project.run(args).code(1);
    }
    project.run(&["completions", "bash"]).ok().says("octopoid");
    project.run(&["man"]).ok().says("octopoid");
    project.run(&["--version"]).ok().says("2.0.0");
}

#[test]
fn init_twice_is_safe_and_works_from_everywhere_in_the_repository() {
    let project = Project::bare_bones();
    project.write("src/deep/file", "x\n");
    project.write("Cargo.toml", "[package]\n");
    let done = project
        .run(&["-C", "src/deep", "init", "--local", "--json"])
        .ok()
        .json();
    assert_eq!(
        (&done["base_branch"], &done["test"]),
        (&"trunk".into(), &"cargo test".into())
    );
    project.write(
        ".octopoid/agents/implementer.yaml",
        "role: implement\nagent: command\ncommand: [mine]\n",
    );
    fs::remove_file(project.path(".octopoid/agents/gatekeeper.yaml")).unwrap();
    let config = project.read(".octopoid/config.yaml");
    project.run(&["init", "--local"]).ok().says("nothing was changed");
    assert_eq!(project.read(".octopoid/config.yaml"), config);
    assert!(project.read(".octopoid/agents/implementer.yaml").contains("mine"));
    assert!(!project.path(".octopoid/agents/gatekeeper.yaml").exists());
    project.git(&["worktree", "add", "--quiet", "../linked", "-b", "side"]);
    let linked = project.path("../linked").display().to_string();
    let id = project
        .run(&["-C", &linked, "enqueue", "From a linked worktree", "--json"])
        .ok()
        .json()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    project.expect_queue(&id, "incoming");
    assert!(!project.path("../linked/.octopoid").exists());
    project
        .run(&["-C", "src/deep", "list"])
        .ok()
        .says("From a linked worktree");
    assert_eq!(
        project.git(&["status", "--porcelain", ".octopoid/state.db"]),
        "",
        "the store is ignored by git"
    );
}

#[test]
#[expect(clippy::print_stderr, reason = "what was not tried is said")]
fn a_full_disk_or_a_closed_file_is_told_and_what_was_acknowledged_stays() {
    let project = Project::new(WORKS);
    let id = project.enqueue(&["Before"]);
    // Root writes everywhere: a full disk is the fault that stops it too.
    let small = project.path("../small");
    fs::create_dir(&small).unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=3m", "tmpfs"])
        .arg(&small)
        .status()
        .is_ok_and(|s| s.success());
    if mounted {
        let full = Full(small.clone());
        project.git(&["clone", "--quiet", ".", &small.join("repo").display().to_string()]);
        let there = small.join("repo").display().to_string();
        project.run(&["-C", &there, "init", "--local"]).ok();
        let first = project.run(&["-C", &there, "enqueue", "fits"]);
        let _ = fs::write(small.join("filler"), vec![0; 6 << 20]);
        first.ok();
        let mut refusals = 0;
        for n in 0..20 {
            let ran = project.run(&[
                "-C",
                &there,
                "enqueue",
                &format!("task {n}"),
                "--body",
                &"x".repeat(20_000),
            ]);
            if ran.code != 0 {
                assert_eq!(ran.code, 1, "{}", ran.err);
                assert!(ran.err.contains("disk"), "{}", ran.err);
                refusals += 1;
            }
        }
        assert!(refusals > 0, "the disk was not full");
        fs::remove_file(small.join("filler")).unwrap();
        let listed = project.run(&["-C", &there, "list", "--json", "--all"]).ok().json();
        assert_eq!(
            listed["total"].as_u64().unwrap(),
            21 - refusals,
            "what was acknowledged is there"
        );
        drop(full);
    }
    if !mounted {
        eprintln!("the full disk was not tried: no file system can be mounted here");
    }
    // A file that cannot be opened, for root too.
    for name in ["state.db", "state.db-wal", "state.db-shm"] {
        let _ = fs::rename(
            project.path(&format!(".octopoid/{name}")),
            project.path(&format!("../{name}")),
        );
    }
    fs::create_dir(project.path(".octopoid/state.db")).unwrap();
    let ran = project.run(&["enqueue", "After"]).code(1);
    assert!(
        ran.err.contains("state.db") && ran.err.contains("writable"),
        "{}",
        ran.err
    );
    fs::remove_dir(project.path(".octopoid/state.db")).unwrap();
    for name in ["state.db", "state.db-wal", "state.db-shm"] {
        let _ = fs::rename(
            project.path(&format!("../{name}")),
            project.path(&format!(".octopoid/{name}")),
        );
    }
    project.expect_queue(&id, "incoming");
}

/// A small file system, unmounted again.
struct Full(std::path::PathBuf);

impl Drop for Full {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg(&self.0).status();
    }
}
