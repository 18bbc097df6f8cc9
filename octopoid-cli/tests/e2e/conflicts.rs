//! Two tasks that meet: combined and checked again, or handed over with both sides kept.

use crate::harness::{BASE, Project};

/// Two tasks that begin at the same commit: each waits until both have begun.
fn two_at_once(steps: &str) -> Project {
    let project = Project::new(&format!(
        r#"
plays:
  - role: gatekeeper
    steps: [{{verdict: {{verdict: approve}}}}]
  - role: conflict
    steps:
      - run: "grep -q '^<<<<<<< ' shared.txt"
      - write: {{shared.txt: "first\nsecond\n"}}
      - commit: "keep both"
  - steps:
      - run: "touch \"$HOME/here-$OCTOPOID_TASK_ID-$OCTOPOID_ATTEMPT\"; n=0; while [ $(ls $HOME | grep -c '^here-') -lt 2 ]; do n=$((n+1)); [ $n -gt 400 ] && exit 1; sleep 0.05; done"
{steps}
"#
    ));
    project.scripted("implementer", "implement", "max_instances: 2\n");
    project
}

#[test]
fn the_second_is_combined_with_the_first_and_checked_again() {
    let project =
        two_at_once("      - run: \"echo $OCTOPOID_TASK_TITLE > $OCTOPOID_TASK_TITLE.txt\"\n      - commit: work\n");
    project.write(
        "test.sh",
        "ls *.txt 2>/dev/null | tr '\\n' ' ' >> \"$HOME/tested\"; echo >> \"$HOME/tested\"\n",
    );
    project.git(&["commit", "--quiet", "--all", "--message", "test tells what it sees"]);
    let (a, b) = (project.enqueue(&["a"]), project.enqueue(&["b"]));
    project.run(&["start", "--once"]).ok();
    project.expect_queue(&a, "done");
    project.expect_queue(&b, "done");
    assert!(project.base_has("a.txt") && project.base_has("b.txt"));
    let tested = project.read("../tested");
    assert!(
        tested.lines().any(|l| l.trim() == "a.txt b.txt"),
        "the combination was checked: {tested}"
    );
    project.closing_checks();
}

#[test]
fn work_that_is_red_on_the_new_base_is_not_merged() {
    // Both are green alone; together they are not.
    let project = two_at_once("      - run: \"echo x > $OCTOPOID_TASK_TITLE.txt\"\n      - commit: work\n");
    project.write(
        "test.sh",
        "! [ -e a.txt -a -e b.txt ] || { echo 'a and b together'; exit 1; }\n",
    );
    project.git(&["commit", "--quiet", "--all", "--message", "stricter"]);
    project.config("limits: {attempts: 2}\n");
    let (a, b) = (project.enqueue(&["a"]), project.enqueue(&["b"]));
    project.run(&["start", "--once"]).code(1);
    let (first, second) = if project.queue(&a) == "done" { (a, b) } else { (b, a) };
    project.expect_queue(&first, "done");
    let task = project.expect_queue(&second, "needs_attention");
    assert_eq!(task["attention"], "checks_failed");
    assert!(
        project.base_has("a.txt") != project.base_has("b.txt"),
        "only one was merged"
    );
    let retried = project.prompt(&second, 3);
    assert!(
        retried.contains("a and b together") && retried.contains("but not after it was combined with trunk"),
        "{retried}"
    );
    project.closing_checks();
}

#[test]
fn without_a_resolver_a_conflict_goes_to_a_person_with_both_sides_kept() {
    let project = two_at_once("      - run: \"echo $OCTOPOID_TASK_TITLE > shared.txt\"\n      - commit: work\n");
    let (a, b) = (project.enqueue(&["first"]), project.enqueue(&["second"]));
    project
        .run(&["start", "--once"])
        .code(1)
        .says("both changed shared.txt");
    let (merged, stuck) = if project.queue(&a) == "done" { (a, b) } else { (b, a) };
    project.expect_queue(&merged, "done");
    let task = project.expect_queue(&stuck, "needs_attention");
    assert_eq!(
        (&task["attention"], &task["rejection_count"]),
        (&"merge_conflict".into(), &0.into())
    );
    assert_eq!(
        (project.attempts(&stuck, "work"), project.attempts(&stuck, "review")),
        (1, 1),
        "nobody starts over"
    );
    let theirs = project.git(&["show", &format!("agent/{stuck}:shared.txt")]);
    assert_ne!(theirs, project.on_base("shared.txt"));
    project.run(&["why", &stuck]).ok().says("recover");

    // The person resolves it in the worktree and hands it back.
    let worktree = project.path(&format!(".octopoid/runtime/worktrees/{stuck}"));
    let merge = std::process::Command::new("git")
        .args(["merge", BASE])
        .current_dir(&worktree)
        .env_clear()
        .envs(&project.env)
        .output()
        .unwrap();
    assert!(!merge.status.success());
    std::fs::write(worktree.join("shared.txt"), "first\nsecond\n").unwrap();
    project.git_in(&worktree, &["commit", "--quiet", "--all", "--message", "both"]);
    project.run(&["retry", &stuck]).ok();
    project.closing_checks();
}

#[test]
fn a_conflict_agent_resolves_it_in_the_existing_worktree() {
    let project = two_at_once("      - run: \"echo $OCTOPOID_TASK_TITLE > shared.txt\"\n      - commit: work\n");
    project.scripted("resolver", "conflict", "");
    let (a, b) = (project.enqueue(&["first"]), project.enqueue(&["second"]));
    project.run(&["start", "--once"]).ok();
    let (first, second) = (project.expect_queue(&a, "done"), project.expect_queue(&b, "done"));
    assert_eq!(project.on_base("shared.txt"), "first\nsecond");
    let resolved = if first["attempts"].as_array().unwrap().len() > 2 {
        &first
    } else {
        &second
    };
    let roles: Vec<_> = resolved["attempts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|a| a["role"].as_str().unwrap())
        .collect();
    assert_eq!(roles, ["implement", "gatekeeper", "conflict", "gatekeeper"]);
    assert_eq!(resolved["rejection_count"], 0);
    let id = resolved["id"].as_str().unwrap();
    let prompt = project.prompt(id, 3);
    assert!(
        prompt.contains("A merge to finish") && prompt.contains("- shared.txt"),
        "{prompt}"
    );
    project.closing_checks();
}

#[test]
fn every_merge_method_brings_the_same_tree() {
    for method in ["squash", "merge", "rebase"] {
        let project = Project::new(
            "plays:\n  - role: gatekeeper\n    steps: [{verdict: {verdict: approve}}]\n  - steps: [{write: {a: \"1\"}}, {commit: one}, {write: {b: \"2\"}}, {commit: two}]\n",
        );
        project.config(&format!("merge: {{method: {method}}}\n"));
        let id = project.enqueue(&["Two commits"]);
        project.run(&["start", "--once"]).ok();
        project.expect_queue(&id, "done");
        assert!(project.base_has("a") && project.base_has("b"), "{method}");
        let log = project.git(&["log", "--topo-order", "--format=%s", BASE]);
        let expected: &[&str] = match method {
            "squash" => &["Two commits", "a test"],
            "merge" => &["Two commits", "two", "one", "a test"],
            _ => &["two", "one", "a test"],
        };
        let lines: Vec<&str> = log.lines().collect();
        assert_eq!(&lines[..expected.len()], expected, "{method}");
        project.closing_checks();
    }
}
