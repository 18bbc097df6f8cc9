//! kill -9 at every boundary: the same end state, one merge, no orphan, no lost commit.

use crate::harness::{Project, WORKS, eventually};

const STORY: &str = r#"
plays:
  - role: gatekeeper
    attempt: 2
    steps: [{verdict: {verdict: reject, summary: "once more"}}]
  - role: gatekeeper
    steps: [{verdict: {verdict: approve}}]
  - steps:
      - run: "echo $OCTOPOID_ATTEMPT >> work.txt"
      - commit: work
"#;

#[test]
fn killed_at_each_journal_boundary_the_story_ends_the_same() {
    let mut boundary = 0;
    loop {
        boundary += 1;
        assert!(boundary < 300, "the story does not get through");
        let project = Project::new(STORY);
        let id = project.enqueue(&["Story"]);
        let kill = boundary.to_string();
        let env = [("OCTOPOID_FAULT_KILL_AT", kill.as_str())];
        let first = project.run_with(&["start", "--once"], &env).code;
        let ended = first == 0;
        if !ended {
            assert_eq!(first, -1, "boundary {boundary}: killed by a signal");
            // Twice in a row, at the same boundary of the second life.
            project.run_with(&["start", "--once"], &env);
            let last = project.run(&["start", "--once"]);
            assert_eq!(
                last.code,
                0,
                "boundary {boundary}: {}\n{}",
                last.err,
                project.run(&["why", &id]).out
            );
        }
        let task = project.expect_queue(&id, "done");
        assert_eq!(project.merges_of(&id), 1, "boundary {boundary}");
        assert_eq!(
            task["merged_sha"],
            project.git(&["rev-parse", "trunk"]),
            "boundary {boundary}"
        );
        let live = task["attempts"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|a| a["ended_at"].is_null())
            .count();
        assert_eq!(live, 0, "boundary {boundary}");
        assert_eq!(
            task["failure_count"], 0,
            "boundary {boundary}: a crash is not the task's fault\n{task:#}"
        );
        project.closing_checks();
        if ended {
            break;
        }
    }
    assert!(boundary > 40, "only {boundary} boundaries: the faults are not injected");
}

#[test]
fn killed_while_agents_work_they_are_taken_up() {
    let project = Project::new(
        "plays:\n  - role: gatekeeper\n    steps: [{verdict: {verdict: approve}}]\n  - steps: [{run: \"echo $OCTOPOID_ATTEMPT >> a\"}, {print: ready}, {run: \"while [ ! -e $HOME/go ]; do sleep 0.05; done\"}, {commit: done}]\n",
    );
    let id = project.enqueue(&["Survive"]);
    for _ in 0..2 {
        let mut daemon = project.start(&[], &[]);
        eventually("the agent is ready", || {
            project.run(&["logs", &id]).out.contains("ready")
        });
        daemon.kill();
    }
    project.run(&["status"]).code(1).says("ended without being stopped");
    std::fs::write(project.path("../go"), "").unwrap();
    project.run(&["start", "--once"]).ok();
    project.expect_queue(&id, "done");
    assert_eq!((project.attempts(&id, "work"), project.merges_of(&id)), (1, 1));
    assert_eq!(project.on_base("a"), "1", "the agent ran once");
    project.closing_checks();
}

#[test]
fn orchestrator_and_agent_killed_together_cost_no_attempt() {
    let project = Project::new(
        "plays:\n  - role: gatekeeper\n    steps: [{verdict: {verdict: approve}}]\n  - attempt: 1\n    steps: [{write: {a: \"1\\n\"}}, {commit: half}, {write: {b: \"2\\n\"}}, {print: ready}, {hang: {}}]\n  - steps: [{write: {c: \"3\\n\"}}, {commit: rest}]\n",
    );
    let id = project.enqueue(&["Power cut"]);
    let mut daemon = project.start(&[], &[]);
    eventually("the agent is ready", || {
        project.run(&["logs", &id]).out.contains("ready")
    });
    daemon.kill();
    // The wrapper too: nobody is left to write an exit code.
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let environ = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        let ours = format!("OCTOPOID_ATTEMPT_DIR={}", project.root.display());
        if environ.split(|b| *b == 0).any(|e| e.starts_with(ours.as_bytes())) {
            std::process::Command::new("kill")
                .arg("-9")
                .arg(entry.file_name())
                .status()
                .unwrap();
        }
    }
    project.run(&["start", "--once"]).ok();
    let task = project.expect_queue(&id, "done");
    assert_eq!(
        (&task["failure_count"], &task["attempts"][0]["failure"]),
        (&0.into(), &"agent_lost".into())
    );
    assert!(["a", "b", "c"].iter().all(|f| project.base_has(f)));
    assert_eq!(project.merges_of(&id), 1);
    project.closing_checks();
}

#[test]
fn a_removed_worktree_and_stale_metadata_are_made_good() {
    let project = Project::new(
        "plays:\n  - role: gatekeeper\n    attempt: 2\n    steps: [{verdict: {verdict: reject, summary: again}}]\n  - role: gatekeeper\n    steps: [{verdict: {verdict: approve}}]\n  - steps: [{run: \"echo $OCTOPOID_ATTEMPT >> a\"}, {commit: work}]\n",
    );
    std::fs::rename(
        project.path(".octopoid/agents/gatekeeper.yaml"),
        project.path("../gatekeeper.yaml"),
    )
    .unwrap();
    let id = project.enqueue(&["Lost folder"]);
    project.run(&["start", "--once"]).ok();
    std::fs::remove_dir_all(project.path(&format!(".octopoid/runtime/worktrees/{id}"))).unwrap();
    std::fs::rename(
        project.path("../gatekeeper.yaml"),
        project.path(".octopoid/agents/gatekeeper.yaml"),
    )
    .unwrap();
    project.run(&["start", "--once"]).ok();
    project.expect_queue(&id, "done");
    assert_eq!(project.on_base("a"), "1\n3", "the first attempt's work was there");
    project
        .run(&["worktrees", "--clean", "--dry-run"])
        .ok()
        .says("would be removed");
    project.run(&["worktrees", "--clean"]).ok().says("removed");
    assert!(!project.path(&format!(".octopoid/runtime/worktrees/{id}")).exists());
    project.run(&["diff", &id]).ok().says("+3");
    project.closing_checks();
}

#[test]
fn a_branch_held_by_the_person_is_told_and_not_taken() {
    let project = Project::new(WORKS);
    let id = project.enqueue(&["Mine", "--id", "mine"]);
    project.git(&["checkout", "--quiet", "-b", "agent/mine"]);
    project.run(&["start", "--once"]).code(1);
    project.expect_queue(&id, "needs_attention");
    project.run(&["why", &id]).ok().says("is checked out in");
    assert_eq!(project.git(&["branch", "--show-current"]), "agent/mine");
    project.git(&["checkout", "--quiet", "trunk"]);
    project.run(&["retry", &id]).ok();
    project.run(&["start", "--once"]).ok();
    project.expect_queue(&id, "done");
}
