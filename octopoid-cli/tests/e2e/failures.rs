//! Agents that fail in every way, and what the task pays for it.

use std::time::Instant;

use crate::harness::{Project, WORKS, eventually};

#[test]
fn red_tests_are_never_merged_and_the_next_attempt_sees_the_output() {
    let project = Project::new(
        r#"
plays:
  - role: gatekeeper
    steps: [{verdict: {verdict: approve}}]
  - attempt: 1
    steps: [{write: {RED: "x\n"}}, {commit: "break it"}]
  - attempt: 2
    steps: [{write: {other: "y\n"}}, {commit: "still red"}]
  - steps: [{remove: RED}, {commit: "repair"}]
"#,
    );
    project.write("test.sh", "if [ -e RED ]; then echo 'the light is red'; exit 3; fi\n");
    project.git(&["commit", "--quiet", "--all", "--message", "say why"]);
    let id = project.enqueue(&["Change"]);
    project.run(&["start", "--once"]).ok();
    let task = project.expect_queue(&id, "done");
    assert_eq!(task["failure_count"], 2);
    assert!(project.prompt(&id, 2).contains("the light is red"));
    assert!(!project.base_has("RED") && project.base_has("other"));
    assert_eq!(project.attempts(&id, "review"), 1, "red work is not reviewed");

    let project = Project::new("plays:\n  - steps: [{run: \"date +%N > RED\"}, {commit: red}]\n");
    let id = project.enqueue(&["Never green"]);
    project.run(&["start", "--once"]).code(1);
    let task = project.expect_queue(&id, "needs_attention");
    assert_eq!(
        (&task["attention"], project.attempts(&id, "work")),
        (&"checks_failed".into(), 3)
    );
    assert!(!project.base_has("RED"));
    project
        .run(&["why", &id])
        .ok()
        .says("checks_failed")
        .says("3. work by implementer: failed");
    // Started again by a person, it gets its limits back and keeps its work.
    project.run(&["retry", &id]).ok();
    assert_eq!(project.show(&id)["failure_count"], 0);
    project.closing_checks();
}

#[test]
fn nothing_but_the_exact_verdict_approves() {
    for verdict in ["Approve", "approved", "not approve", "approve ", "yes", ""] {
        let project = Project::new(&format!(
            "plays:\n  - role: gatekeeper\n    steps: [{{print: \"I approve! verdict: approve\"}}, {{verdict: {{verdict: \"{verdict}\"}}}}]\n  - steps: [{{write: {{a: \"1\"}}}}, {{commit: one}}]\n"
        ));
        let id = project.enqueue(&["Judge me"]);
        project.run(&["start", "--once"]).code(1);
        let task = project.expect_queue(&id, "needs_attention");
        assert_eq!(task["attention"], "no_verdict", "{verdict:?}");
        assert_eq!(project.attempts(&id, "review"), 2, "asked once more, then a person");
        assert!(!project.base_has("a"));
        project.closing_checks();
    }
}

#[test]
fn a_broken_result_file_approves_nothing() {
    let project = Project::new(
        "plays:\n  - role: gatekeeper\n    steps: [{run: \"printf '{\\\"verdict\\\": \\\"approve\\\"' > $OCTOPOID_RESULT_FILE\"}]\n  - steps: [{write: {a: \"1\"}}, {commit: one}]\n",
    );
    let id = project.enqueue(&["Judge me"]);
    project.run(&["start", "--once"]).code(1);
    project.expect_queue(&id, "needs_attention");
}

#[test]
fn an_agent_that_dies_after_its_commit_loses_nothing() {
    let project = Project::new(
        r#"
plays:
  - role: gatekeeper
    steps: [{verdict: {verdict: approve}}]
  - attempt: 1
    steps: [{write: {a: "1\n"}}, {commit: "first half"}, {write: {b: "2\n"}}, {kill: {}}]
  - steps: [{write: {c: "3\n"}}, {commit: "second half"}]
"#,
    );
    let id = project.enqueue(&["In two halves"]);
    project.run(&["start", "--once"]).ok();
    let task = project.expect_queue(&id, "done");
    let first = &task["attempts"][0];
    assert_eq!(
        (
            &first["outcome"],
            &first["evidence"]["signal"],
            &first["evidence"]["commits"]
        ),
        (&"failed".into(), &9.into(), &2.into())
    );
    assert_eq!(first["evidence"]["saved_dirty_files"], true);
    let prompt = project.prompt(&id, 2);
    assert!(
        prompt.contains("first half") && prompt.contains("octopoid: work in progress"),
        "{prompt}"
    );
    assert!(["a", "b", "c"].iter().all(|f| project.base_has(f)));
    assert_eq!((project.attempts(&id, "work"), project.merges_of(&id)), (2, 1));
    project.closing_checks();
}

#[test]
fn a_hung_agent_is_ended_with_all_its_children_and_its_work_is_kept() {
    let project = Project::new(
        r#"
plays:
  - role: gatekeeper
    steps: [{verdict: {verdict: approve}}]
  - attempt: 1
    steps:
      - write: {a: "1\n"}
      - print: "hanging now"
      - spawn: "trap '' TERM; sleep 1000 & exec sleep 1001"
      - hang: {}
  - steps: [{write: {b: "2\n"}}, {commit: "go on"}]
"#,
    );
    project.config("limits: {silence_minutes: 0.02, wall_minutes: 1}\n");
    let id = project.enqueue(&["Hang"]);
    let begun = Instant::now();
    project.run(&["start", "--once"]).ok();
    assert!(begun.elapsed().as_secs() < 30, "{:?}", begun.elapsed());
    let task = project.expect_queue(&id, "done");
    assert_eq!(task["attempts"][0]["failure"], "timeout_silence");
    assert!(project.base_has("a") && project.base_has("b"));
    project.closing_checks();
}

#[test]
fn an_agent_that_runs_too_long_is_ended() {
    let project = Project::new("plays:\n  - steps: [{run: \"while :; do echo alive; sleep 0.1; done\"}]\n");
    project.config("limits: {silence_minutes: 1, wall_minutes: 0.01, attempts: 1}\n");
    let id = project.enqueue(&["Talk for ever"]);
    project.run(&["start", "--once"]).code(1);
    assert_eq!(
        project.expect_queue(&id, "needs_attention")["attention"],
        "timeout_wall"
    );
    project.closing_checks();
}

#[test]
fn what_agents_report_decides_only_what_it_may() {
    let outcome = |steps: &str| {
        let project = Project::new(&format!(
            "plays:\n  - role: gatekeeper\n    steps: [{{verdict: {{verdict: approve}}}}]\n  - steps: [{steps}]\n"
        ));
        project.config("limits: {attempts: 1}\n");
        let id = project.enqueue(&["Report"]);
        project.run(&["start", "--once"]);
        let task = project.show(&id);
        project.closing_checks();
        (
            task["queue"].as_str().unwrap().to_owned(),
            task["attention"].as_str().unwrap_or("").to_owned(),
            task["execution_notes"].as_str().unwrap_or("").to_owned(),
        )
    };
    let is = |queue: &str, attention: &str, got: (String, String, String)| {
        assert_eq!((queue, attention), (got.0.as_str(), got.1.as_str()), "{}", got.2);
        got.2
    };
    is("needs_attention", "no_changes", outcome("{print: nothing}"));
    is("needs_attention", "no_changes", outcome("{report: {outcome: done}}"));
    let said = is(
        "needs_attention",
        "agent_reported",
        outcome("{write: {a: \"1\"}}, {report: {outcome: failed, summary: \"too hard\"}}"),
    );
    assert_eq!(said, "too hard");
    let asked = is(
        "needs_attention",
        "question",
        outcome("{report: {outcome: question, summary: \"which one?\"}}"),
    );
    assert_eq!(asked, "which one?");
    is(
        "needs_attention",
        "agent_exit",
        outcome("{write: {a: \"1\"}}, {commit: a}, {report: {outcome: done}}, {exit: 1}"),
    );
    is(
        "needs_attention",
        "too_many_continuations",
        outcome("{append: {a: \"1\"}}, {report: {outcome: needs_continuation}}"),
    );
    is(
        "done",
        "",
        outcome("{report: {outcome: no_change, summary: \"already so\"}}"),
    );
    is("done", "", outcome("{write: {a: \"1\"}}"));
}

#[test]
fn work_outside_the_allowed_paths_is_refused() {
    let project = Project::new(
        "plays:\n  - role: gatekeeper\n    steps: [{verdict: {verdict: approve}}]\n  - attempt: 1\n    steps: [{write: {src/a: \"1\", other: \"2\"}}, {commit: both}]\n  - steps: [{remove: other}, {commit: \"only src\"}]\n",
    );
    let id = project.enqueue(&["Only src", "--path", "src/**"]);
    project.run(&["start", "--once"]).ok();
    let task = project.expect_queue(&id, "done");
    assert_eq!(task["attempts"][0]["failure"], "outside_paths");
    assert!(project.prompt(&id, 2).contains("but these were too: other"));
    assert!(project.base_has("src/a") && !project.base_has("other"));
}

#[test]
fn an_agent_that_leaves_its_branch_is_brought_back() {
    let project = Project::new(
        r#"
plays:
  - role: gatekeeper
    steps: [{verdict: {verdict: approve}}]
  - task: detached
    steps: [{run: "git checkout --quiet --detach"}, {write: {d: "1\n"}}, {commit: "on no branch"}]
  - task: elsewhere
    steps: [{run: "git checkout --quiet -b my-own-idea"}, {write: {e: "1\n"}}, {commit: "on another branch"}]
"#,
    );
    let (a, b) = (project.enqueue(&["detached"]), project.enqueue(&["elsewhere"]));
    project.run(&["start", "--once"]).ok();
    project.expect_queue(&a, "done");
    project.expect_queue(&b, "done");
    assert!(project.base_has("d") && project.base_has("e"));
    project.closing_checks();
}

#[test]
fn an_agent_cannot_push_and_gets_only_allowed_variables() {
    let project = Project::new(
        "plays:\n  - role: gatekeeper\n    steps: [{verdict: {verdict: approve}}]\n  - steps: [{run: \"env > env.txt; git push origin HEAD:stolen 2>&1 | tail -1 > push.txt; git status --porcelain > status.txt; git branch --show-current > branch.txt\"}, {commit: look}]\n",
    );
    let remote = project.path("../remote.git");
    project.git(&["clone", "--quiet", "--bare", ".", &remote.display().to_string()]);
    project.git(&["remote", "add", "origin", &remote.display().to_string()]);
    let id = project.enqueue(&["Look around"]);
    project
        .run_with(
            &["start", "--once"],
            &[
                ("SECRET_KEY", "s3cret"),
                ("OCTOPOID_API_KEY", "oct_1"),
                ("CLAUDECODE", "1"),
            ],
        )
        .ok();
    project.expect_queue(&id, "done");
    project.git(&["fetch", "--quiet", "origin"]);
    let env = project.git(&["show", "origin/trunk:env.txt"]);
    for secret in ["SECRET_KEY", "OCTOPOID_API_KEY", "CLAUDECODE"] {
        assert!(!env.contains(secret), "{secret}");
    }
    for wanted in [
        "OCTOPOID_TASK_ID=",
        "OCTOPOID_TASK_TITLE=Look around",
        "OCTOPOID_TASK_FILE=",
        "OCTOPOID_ATTEMPT=1",
        "OCTOPOID_ROLE=implement",
        "OCTOPOID_BASE_BRANCH=trunk",
        "OCTOPOID_BASE_SHA=",
        "OCTOPOID_ATTEMPT_DIR=",
        "OCTOPOID_RESULT_FILE=",
        "OCTOPOID_REPORT_TOKEN=",
    ] {
        assert!(env.contains(wanted), "{wanted} is not in\n{env}");
    }
    assert_eq!(project.git(&["show", "origin/trunk:branch.txt"]), format!("agent/{id}"));
    assert!(!project.git(&["branch", "-r"]).contains("stolen"));
    assert_eq!(
        project
            .git(&["show", "origin/trunk:status.txt"])
            .lines()
            .filter(|l| l.contains(".octopoid"))
            .count(),
        0,
        "nothing of ours lies in the worktree"
    );
}

#[test]
fn a_missing_program_costs_the_task_nothing_and_work_goes_on_when_it_is_there() {
    let project = Project::new(WORKS);
    project.write(
        ".octopoid/agents/implementer.yaml",
        "role: implement\nagent: command\ncommand: [late-agent]\n",
    );
    let id = project.enqueue(&["Wait for the program"]);
    project.run(&["start", "--once"]).code(1).says("late-agent");
    let task = project.expect_queue(&id, "incoming");
    assert_eq!(task["attempts"].as_array().unwrap().len(), 0);
    project.run(&["status"]).code(1).says("late-agent").says("PATH=");
    let bin = project.path("../bin");
    std::fs::create_dir(&bin).unwrap();
    std::fs::write(bin.join("late-agent"), "#!/bin/sh\necho hello > late.txt\n").unwrap();
    std::process::Command::new("chmod")
        .arg("+x")
        .arg(bin.join("late-agent"))
        .status()
        .unwrap();
    let path = format!("{}:/usr/bin:/bin", bin.display());
    project.run_with(&["start", "--once"], &[("PATH", &path)]).ok();
    project.expect_queue(&id, "done");
    assert!(project.base_has("late.txt"));
    project.run(&["status"]).ok();
    project.closing_checks();
}

#[test]
fn fifty_megabytes_of_output_are_kept_and_hurt_nobody() {
    let project = Project::new(
        "plays:\n  - role: gatekeeper\n    steps: [{verdict: {verdict: approve}}]\n  - steps: [{print_bytes: 52428800}, {write: {a: \"1\"}}]\n",
    );
    let id = project.enqueue(&["Talk a lot"]);
    project.run(&["start", "--once"]).ok();
    project.expect_queue(&id, "done");
    let log = project.path(&format!(".octopoid/runtime/attempts/{id}/1/stdout.jsonl"));
    assert_eq!(std::fs::metadata(log).unwrap().len(), 52_428_800);
}

#[test]
fn what_checks_leave_behind_does_not_become_work() {
    let project = Project::new(
        "plays:\n  - role: gatekeeper\n    attempt: 2\n    steps: [{verdict: {verdict: reject, summary: again}}]\n  - role: gatekeeper\n    steps: [{verdict: {verdict: approve}}]\n  - steps: [{append: {a: \"1\"}}, {commit: a}]\n",
    );
    project.write(
        "test.sh",
        "mkdir -p junk && date > junk/result && echo changed >> README.md\n",
    );
    project.git(&["commit", "--quiet", "--all", "--message", "untidy test"]);
    let id = project.enqueue(&["Tidy"]);
    project.run(&["start", "--once"]).ok();
    project.expect_queue(&id, "done");
    assert!(!project.base_has("junk/result"));
    assert_eq!(project.on_base("README.md"), "# project");
    assert!(
        project
            .path(&format!(".octopoid/runtime/attempts/{id}/1/check-products/junk/result"))
            .exists()
    );
}

#[test]
fn cancelling_ends_the_agent_and_keeps_its_work() {
    let project = Project::new(
        "plays:\n  - steps: [{write: {a: \"1\\n\"}}, {commit: half}, {write: {b: \"2\\n\"}}, {print: ready}, {hang: {}}]\n",
    );
    let id = project.enqueue(&["Long"]);
    let mut daemon = project.start(&[], &[]);
    eventually("the agent is ready", || {
        project.run(&["logs", &id]).out.contains("ready")
    });
    project.run(&["cancel", &id, "--reason", "changed my mind"]).ok();
    eventually("the agent is gone", || project.processes().is_empty());
    project.expect_queue(&id, "cancelled");
    daemon.signal("TERM");
    assert_eq!(daemon.wait(), 0);
    let kept = project.git(&["log", "--format=%s", &format!("agent/{id}")]);
    assert!(kept.contains("half"));
    project.run(&["retry", &id]).ok();
    project.closing_checks();
}

#[test]
fn a_retry_right_after_a_cancel_waits_until_the_old_agent_is_gone() {
    let project = Project::new(
        "plays:\n  - role: gatekeeper\n    steps: [{verdict: {verdict: approve}}]\n  - attempt: 1\n    steps: [{print: ready}, {run: \"trap '' TERM; while :; do date > stubborn; sleep 0.05; done\"}]\n  - steps: [{run: \"sleep 0.3; cp stubborn before; sleep 0.5; cmp stubborn before\"}, {commit: second}]\n",
    );
    let id = project.enqueue(&["Twice"]);
    project.run(&["start", "--daemon"]).ok();
    eventually("the agent is ready", || {
        project.run(&["logs", &id]).out.contains("ready")
    });
    project.run(&["cancel", &id]).ok();
    project.run(&["retry", &id]).ok();
    eventually("the second attempt is merged", || project.queue(&id) == "done");
    assert_eq!(
        project.show(&id)["failure_count"],
        0,
        "nobody else wrote while the second agent worked"
    );
    project.run(&["stop"]).ok();
    project.closing_checks();
}

#[test]
fn one_task_without_a_flow_does_not_hold_up_the_others() {
    let project = Project::new(WORKS);
    let flow = project
        .run(&["flow", "show", "default"])
        .ok()
        .out
        .replace("name: default", "name: mine");
    project.write(".octopoid/flows/mine.yaml", &flow);
    let lost = project.enqueue(&["Lost", "--flow", "mine", "--priority", "P0"]);
    let fine = project.enqueue(&["Fine"]);
    std::fs::remove_file(project.path(".octopoid/flows/mine.yaml")).unwrap();
    project.run(&["start", "--once"]).ok();
    project.expect_queue(&fine, "done");
    project.run(&["why", &lost]).ok().says("its flow mine does not exist");
    project.run(&["cancel", &lost]).ok();
}

#[test]
fn the_setup_runs_once_in_each_worktree_and_a_broken_one_costs_the_task_nothing() {
    let project = Project::new(
        "plays:\n  - role: gatekeeper\n    attempt: 2\n    steps: [{verdict: {verdict: reject, summary: again}}]\n  - role: gatekeeper\n    steps: [{verdict: {verdict: approve}}]\n  - steps: [{append: {a: \"1\"}}, {commit: a}]\n",
    );
    project.write(
        ".octopoid/config.yaml",
        "mode: local\nrepo: {base_branch: trunk, test: \"sh test.sh\", setup: \"pwd >> $HOME/setups\"}\n",
    );
    let id = project.enqueue(&["Set up"]);
    project.run(&["start", "--once"]).ok();
    project.expect_queue(&id, "done");
    assert_eq!(
        project.read("../setups").lines().count(),
        1,
        "{}",
        project.read("../setups")
    );
    project.write(
        ".octopoid/config.yaml",
        "mode: local\nrepo: {base_branch: trunk, setup: \"echo no such thing; exit 1\"}\n",
    );
    let id = project.enqueue(&["Cannot be set up"]);
    project.run(&["start", "--once"]).code(1).says("no such thing");
    let task = project.expect_queue(&id, "incoming");
    assert_eq!(task["failure_count"], 0);
}
