//! Ways in which a task could be called done, or a person's files be lost, that must not exist.

use crate::harness::{BASE, Project, WORKS};

const APPROVE: &str = "plays:\n  - role: gatekeeper\n    steps: [{verdict: {verdict: approve}}]\n";

#[test]
fn a_new_task_of_an_old_name_is_worked_on_and_merged_itself() {
    let project = Project::new(&format!(
        "{APPROVE}  - task: first\n    steps: [{{write: {{one: \"1\"}}}}, {{commit: one}}]\n  - task: second\n    steps: [{{write: {{two: \"2\"}}}}, {{commit: two}}]\n"
    ));
    project.enqueue(&["first", "--id", "t1"]);
    project.run(&["start", "--once"]).ok();
    project.run(&["delete", "t1"]).ok();
    project.enqueue(&["second", "--id", "t1"]);
    project.run(&["start", "--once"]).ok();
    let task = project.expect_queue("t1", "done");
    assert!(project.base_has("one") && project.base_has("two"));
    assert_eq!(task["merged_sha"], project.git(&["rev-parse", BASE]));

    // Rejected work of a deleted task does not come in with a new one of its name.
    project.write(".octopoid/script.txt", "plays:\n  - role: gatekeeper\n    task: bad\n    steps: [{verdict: {verdict: reject, summary: never}}]\n  - role: gatekeeper\n    steps: [{verdict: {verdict: approve}}]\n  - task: bad\n    steps: [{append: {bad: \"x\"}}, {commit: bad}]\n  - steps: [{write: {good: \"x\"}}, {commit: good}]\n");
    project.enqueue(&["bad", "--id", "t2"]);
    project.run(&["start", "--once"]).code(1);
    project.run(&["cancel", "t2"]).ok();
    project.run(&["delete", "t2"]).ok();
    project.enqueue(&["good", "--id", "t2"]);
    project.run(&["start", "--once"]).ok();
    assert!(project.base_has("good") && !project.base_has("bad"));
    assert!(
        project
            .git(&["log", "--format=%s", "refs/octopoid/keep/t2/before"])
            .contains("bad"),
        "it is kept"
    );
    project.closing_checks();
}

#[test]
fn files_left_on_somebody_elses_branch_are_not_committed_there() {
    let project = Project::new(&format!(
        "{APPROVE}  - steps: [{{run: \"git checkout --quiet trunk\"}}, {{write: {{stray: \"x\"}}}}]\n"
    ));
    project.git(&["checkout", "--quiet", "-b", "feature"]);
    let before = project.git(&["rev-parse", BASE]);
    project.config("limits: {attempts: 1}\n");
    let id = project.enqueue(&["Wander off"]);
    project.run(&["start", "--once"]);
    let log = project.git(&["log", "--format=%s", &format!("{before}..{BASE}")]);
    assert!(!log.contains("work in progress"), "{log}");
    if project.queue(&id) == "done" {
        assert_eq!(project.attempts(&id, "review"), 1, "what got in was reviewed");
    }
    project.closing_checks();
}

#[test]
fn a_rejected_commit_is_not_merged_by_handing_it_in_again() {
    let project = Project::new(
        "plays:\n  - attempt: 1\n    steps: [{write: {a: \"1\"}}, {commit: a}]\n  - steps: [{print: \"nothing to do\"}]\n",
    );
    let flow = project.run(&["flow", "show", "default"]).ok().out;
    project.write(
        ".octopoid/flows/default.yaml",
        &flow.replace("type: agent\n        agent: gatekeeper", "type: manual"),
    );
    project.config("limits: {attempts: 1}\n");
    let id = project.enqueue(&["Judge twice"]);
    project.run(&["start", "--once"]).ok();
    project.run(&["approve", &id]).ok();
    project.run(&["reject", &id, "--reason", "on second thoughts, no"]).ok();
    project.run(&["start", "--once"]).code(1);
    assert_eq!(project.expect_queue(&id, "needs_attention")["attention"], "no_changes");
    assert!(!project.base_has("a"));
}

#[test]
fn a_checkout_that_was_left_alone_catches_up_when_it_is_clean() {
    let project = Project::new(WORKS);
    project.write("README.md", "# being edited\n");
    let first = project.enqueue(&["One"]);
    project.run(&["start", "--once"]).ok().says("was left alone");
    project.run(&["status"]).ok().says("git read-tree -m -u");
    let second = project.enqueue(&["Two"]);
    project.run(&["start", "--once"]).ok().says("was left alone");
    project.write("README.md", "# project\n");
    let third = project.enqueue(&["Three"]);
    project.run(&["start", "--once"]).ok();
    for id in [&first, &second, &third] {
        assert!(
            project.path(&format!("{id}.txt")).exists(),
            "{}",
            project.git(&["status", "--short"])
        );
    }
    assert_eq!(project.git(&["status", "--porcelain", "--untracked-files=no"]), "");
    assert!(!project.run(&["status"]).ok().out.contains("read-tree"));
}

#[test]
fn an_ignored_file_of_a_person_is_not_overwritten() {
    let project = Project::new(&format!(
        "{APPROVE}  - steps: [{{write: {{.env: \"theirs\"}}}}, {{run: \"git add --force .env\"}}, {{commit: env}}]\n"
    ));
    project.write(".gitignore", ".env\n");
    project.git(&["add", "--all"]);
    project.git(&["commit", "--quiet", "--message", "ignore"]);
    project.write(".env", "my secret");
    let id = project.enqueue(&["Add .env"]);
    project.run(&["start", "--once"]).ok().says("was left alone");
    project.expect_queue(&id, "done");
    assert_eq!(project.read(".env"), "my secret");
    assert_eq!(project.on_base(".env"), "theirs");
}

#[test]
fn a_resolver_that_resolves_nothing_is_not_started_for_ever() {
    let project = Project::new(&format!(
        "{APPROVE}  - role: conflict\n    steps: [{{print: \"looks fine to me\"}}]\n  - steps:\n      - run: \"touch $HOME/here-$OCTOPOID_TASK_ID; n=0; while [ $(ls $HOME | grep -c '^here-') -lt 2 ]; do n=$((n+1)); [ $n -gt 400 ] && exit 1; sleep 0.05; done\"\n      - run: \"echo $OCTOPOID_TASK_TITLE > shared.txt\"\n      - commit: work\n"
    ));
    project.scripted("implementer", "implement", "max_instances: 2\n");
    project.scripted("resolver", "conflict", "");
    let (a, b) = (project.enqueue(&["first"]), project.enqueue(&["second"]));
    project.run(&["start", "--once"]).code(1);
    let stuck = if project.queue(&a) == "done" { b } else { a };
    let task = project.expect_queue(&stuck, "needs_attention");
    assert_eq!(
        (&task["attention"], task["attempts"].as_array().unwrap().len()),
        (&"conflict_unresolved".into(), 3)
    );

    // A person finishes the merge and hands it back for review.
    let worktree = project.path(&format!(".octopoid/runtime/worktrees/{stuck}"));
    let _ = std::process::Command::new("git")
        .args(["merge", BASE])
        .current_dir(&worktree)
        .env_clear()
        .envs(&project.env)
        .output();
    std::fs::write(worktree.join("shared.txt"), "first\nsecond\n").unwrap();
    project.git_in(&worktree, &["add", "--all"]);
    project.git_in(&worktree, &["commit", "--quiet", "--allow-empty", "--message", "both"]);
    project
        .run(&["recover", &stuck, "--to", "provisional", "--reason", "resolved by hand"])
        .ok();
    project.run(&["start", "--once"]).ok();
    project.expect_queue(&stuck, "done");
    assert_eq!(project.on_base("shared.txt"), "first\nsecond");
    project.closing_checks();
}

#[test]
fn programs_that_are_missing_do_not_make_anything_spin() {
    let project = Project::new(WORKS);
    let flow = project.run(&["flow", "show", "default"]).ok().out;
    project.write(
        ".octopoid/flows/default.yaml",
        &flow.replace(
            "    runs: [rebase",
            "      - {name: scan, type: script, script: no-such-scanner}\n    runs: [rebase",
        ),
    );
    let id = project.enqueue(&["Scan me"]);
    project.run(&["start", "--once"]).code(1).says("no-such-scanner");
    project.expect_queue(&id, "provisional");
    let landings = project.git(&["log", "-1", "--format=%s", BASE]);
    assert_eq!(landings, "a test");

    // A task's own misspelt check is its own failure; the others go on.
    let project = Project::new(WORKS);
    let bad = project.enqueue(&["Bad check", "--check", "npn test"]);
    let good = project.enqueue(&["Good"]);
    project.run(&["start", "--once"]).code(1);
    assert_eq!(
        project.expect_queue(&bad, "needs_attention")["attention"],
        "checks_failed"
    );
    project.expect_queue(&good, "done");

    // The project's own test program is missing: one attempt finds out, no other agent is started for nothing.
    let project = Project::new(WORKS);
    project.write(
        ".octopoid/config.yaml",
        "mode: local\nrepo: {base_branch: trunk, test: no-such-test}\n",
    );
    let ids = [project.enqueue(&["A"]), project.enqueue(&["B"])];
    project.run(&["start", "--once"]).code(1).says("no-such-test");
    assert_eq!(ids.iter().map(|id| project.attempts(id, "work")).sum::<usize>(), 1);
    project.config("");
    project.run(&["start", "--once"]).ok();
    ids.iter().for_each(|id| drop(project.expect_queue(id, "done")));
    project.run(&["status"]).ok();
}

#[test]
fn a_repository_inside_the_worktree_does_not_hold_up_the_rest() {
    let project = Project::new(&format!(
        "{APPROVE}  - steps: [{{run: \"git init --quiet nested && echo x > nested/inner\"}}, {{write: {{a: \"1\"}}}}]\n"
    ));
    let id = project.enqueue(&["Nest"]);
    project.run(&["start", "--once"]).ok();
    project.expect_queue(&id, "done");
    assert!(project.base_has("a") && !project.base_has("nested/inner"));
    project.run(&["worktrees", "--clean"]).ok();
    let aside = project.path(&format!(
        ".octopoid/runtime/attempts/{id}/1/check-products/nested/inner"
    ));
    assert!(aside.exists(), "what no commit can hold is put away, not lost");
}

#[test]
fn a_report_that_is_not_understood_is_not_taken_for_done() {
    for report in ["{outcome: blocked, summary: \"could not finish\"}", "[1, 2]"] {
        let project = Project::new(&format!(
            "{APPROVE}  - steps: [{{write: {{a: \"1\"}}}}, {{commit: a}}, {{report: {report}}}]\n"
        ));
        project.config("limits: {attempts: 1}\n");
        let id = project.enqueue(&["Say something odd"]);
        project.run(&["start", "--once"]);
        assert_eq!(
            project.expect_queue(&id, "needs_attention")["attention"],
            "agent_reported",
            "{report}"
        );
        assert!(!project.base_has("a"));
    }
}

#[test]
fn the_merged_commit_says_what_was_done_and_not_what_failed_before() {
    let project = Project::new(&format!(
        "{APPROVE}  - attempt: 1\n    steps: [{{write: {{RED: \"1\"}}}}, {{commit: red}}]\n  - steps: [{{remove: RED}}, {{write: {{a: \"1\"}}}}, {{commit: green}}]\n"
    ));
    let id = project.enqueue(&["Green in the end"]);
    project.run(&["start", "--once"]).ok();
    assert_eq!(
        project.git(&["log", "-1", "--format=%B", BASE]),
        format!("Green in the end\n\nOctopoid-Task: {id}")
    );
    let after = project.enqueue(&["After", "--after", &id]);
    project.run(&["start", "--once"]).ok();
    project.expect_queue(&after, "done");
    project.run(&["delete", &id]).ok();
    assert_eq!(project.show(&after)["blocked"], false);
}

#[test]
fn killed_between_merge_and_report_the_clean_checkout_still_follows() {
    for boundary in 60..140 {
        let project = Project::new(WORKS);
        let id = project.enqueue(&["Follow"]);
        let kill = boundary.to_string();
        let code = project
            .run_with(&["start", "--once"], &[("OCTOPOID_FAULT_KILL_AT", &kill)])
            .code;
        project.run(&["start", "--once"]).ok();
        project.expect_queue(&id, "done");
        assert_eq!(
            project.git(&["status", "--porcelain", "--untracked-files=no"]),
            "",
            "boundary {boundary}"
        );
        assert!(project.path(&format!("{id}.txt")).exists(), "boundary {boundary}");
        if code == 0 {
            return;
        }
    }
    panic!("the story did not get through");
}

#[test]
fn an_agent_at_work_cannot_accept_its_own_work() {
    let bin = env!("CARGO_BIN_EXE_octopoid");
    let project = Project::new("plays: []\n");
    std::fs::remove_file(project.path(".octopoid/agents/gatekeeper.yaml")).unwrap();
    // What it was told is in the commit that it hands in.
    project.script(&format!(
        "plays:\n  - steps:\n      - run: \"{bin} approve $OCTOPOID_TASK_ID > told.txt 2>&1; {bin} answer $OCTOPOID_TASK_ID approve >> told.txt 2>&1; true\"\n      - commit: told\n"
    ));
    let id = project.enqueue(&["Try"]);
    project.run(&["start", "--once"]);
    project.expect_queue(&id, "provisional");
    let told = project.run(&["diff", &id]).ok();
    assert_eq!(told.out.matches("cannot accept work").count(), 2, "{}", told.out);
    // Not for the moment only: the same words of an agent change nothing about work that is handed in.
    let inside = [("OCTOPOID_ATTEMPT_DIR", "/tmp")];
    for command in [["approve", &id].as_slice(), &["answer", &id, "approve"]] {
        project.run_with(command, &inside).code(6).says("octopoid report");
    }
    project.expect_queue(&id, "provisional");
    project.run(&["approve", &id]).ok();
    project.closing_checks();
}
