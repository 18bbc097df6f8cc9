//! The main job: a task becomes a merged commit.

use std::process::Command;

use crate::harness::{BASE, BIN, Project, WORKS};

#[test]
fn the_demo_tells_the_whole_story_in_a_bare_environment() {
    let home = tempfile::tempdir().unwrap();
    let begun = std::time::Instant::now();
    let output = Command::new(BIN)
        .arg("demo")
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", home.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        said.contains("./test.sh on trunk: fails") && said.contains("./test.sh on trunk: passes"),
        "{said}"
    );
    assert!(
        said.contains("rejected by gatekeeper") && said.contains("Both tasks are done"),
        "{said}"
    );
    assert!(begun.elapsed().as_secs() < 10, "{:?}", begun.elapsed());
}

#[test]
fn a_task_becomes_a_merged_commit_on_the_right_branch() {
    let project = Project::new(
        r#"
plays:
  - role: gatekeeper
    steps: [{verdict: {verdict: approve, summary: "looks right"}}]
  - steps:
      - write: {"src/new.txt": "made by an agent\n"}
      - commit: "Add new.txt"
      - report: {outcome: done, summary: "added the file"}
"#,
    );
    project.write(
        "test.sh",
        "git rev-parse HEAD >> \"$HOME/tested\"; test -z \"$(git status --porcelain --untracked-files=no)\"\n",
    );
    project.git(&["commit", "--quiet", "--all", "--message", "test tells what it tests"]);
    let id = project.enqueue(&[
        "Add a file",
        "--body",
        "Add src/new.txt; $(touch /tmp/never) {{ nothing }} `id`",
    ]);
    project.run(&["start", "--once"]).ok().says("merged into trunk");

    let task = project.expect_queue(&id, "done");
    assert_eq!(project.on_base("src/new.txt"), "made by an agent");
    assert_eq!(task["merged_sha"], project.git(&["rev-parse", BASE]));
    assert_eq!(project.merges_of(&id), 1);
    let head = task["head_sha"].as_str().unwrap();
    assert_eq!(
        project.read("../tested").lines().collect::<Vec<_>>(),
        [head],
        "the check ran on exactly the commit handed in"
    );
    assert_eq!(project.git(&["rev-parse", &format!("agent/{id}")]), head);
    let kinds: Vec<_> = task["attempts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|a| (a["kind"].as_str().unwrap(), a["outcome"].as_str().unwrap()))
        .collect();
    assert_eq!(kinds, [("work", "submitted"), ("review", "approved")]);
    // The clean main checkout followed; nothing else in it moved.
    assert_eq!(project.read("src/new.txt"), "made by an agent\n");
    assert_eq!(project.git(&["status", "--porcelain", "--untracked-files=no"]), "");
    assert!(
        project
            .prompt(&id, 1)
            .contains("$(touch /tmp/never) {{ nothing }} `id`")
    );
    let history = project.git(&["log", "--format=%s", BASE]);
    assert_eq!(history.lines().next(), Some("Add a file"));
    project.closing_checks();
}

#[test]
fn uncommitted_work_of_a_person_is_left_alone() {
    let project = Project::new(WORKS);
    project.write("README.md", "# project, being edited\n");
    project.write("notes.txt", "mine\n");
    let id = project.enqueue(&["One"]);
    project.run(&["start", "--once"]).ok().says("was left alone");
    project.expect_queue(&id, "done");
    assert!(project.base_has(&format!("{id}.txt")));
    assert_eq!(project.read("README.md"), "# project, being edited\n");
    assert_eq!(project.read("notes.txt"), "mine\n");
    assert!(!project.path(&format!("{id}.txt")).exists());
    // The way that the message names brings the rest up to date and keeps the person's edit.
    let before = project.git(&["rev-parse", &format!("{BASE}~1")]);
    project.git(&["read-tree", "-m", "-u", &before, "HEAD"]);
    assert!(project.path(&format!("{id}.txt")).exists());
    assert_eq!(project.read("README.md"), "# project, being edited\n");
    project.closing_checks();
}

#[test]
fn a_rejection_reaches_the_next_attempt_verbatim() {
    let project = Project::new(
        r#"
plays:
  - role: gatekeeper
    attempt: 2
    steps: [{verdict: {verdict: reject, summary: "Rename foo; \"quotes\" & {{ braces }} stay.", blocking: ["foo is no name"]}}]
  - role: gatekeeper
    steps: [{verdict: {verdict: approve}}]
  - attempt: 1
    steps: [{write: {foo.txt: "1\n"}}, {commit: "c1"}]
  - steps: [{run: "git mv foo.txt bar.txt"}, {commit: "c2"}]
"#,
    );
    let id = project.enqueue(&["Add bar"]);
    project.run(&["start", "--once"]).ok();
    let task = project.expect_queue(&id, "done");
    assert_eq!(task["rejection_count"], 1);
    let prompt = project.prompt(&id, 3);
    assert!(
        prompt.contains("Rename foo; \"quotes\" & {{ braces }} stay.") && prompt.contains("- foo is no name"),
        "{prompt}"
    );
    assert!(
        prompt.contains("Go on from them; do not start over.") && prompt.contains(" c1"),
        "{prompt}"
    );
    assert!(project.base_has("bar.txt") && !project.base_has("foo.txt"));
    assert_eq!(project.merges_of(&id), 1);
    project.closing_checks();
}

#[test]
fn as_many_rejections_as_allowed_end_with_a_person() {
    let project = Project::new(
        r#"
plays:
  - role: gatekeeper
    steps: [{verdict: {verdict: reject, summary: "never good enough"}}]
  - steps: [{append: {a.txt: "more\n"}}, {commit: "more"}]
"#,
    );
    project.config("limits: {rejections: 2}\n");
    let id = project.enqueue(&["Try"]);
    project
        .run(&["start", "--once"])
        .code(1)
        .says(&format!("octopoid why {id}"));
    let task = project.expect_queue(&id, "needs_attention");
    assert_eq!(
        (&task["rejection_count"], &task["attention"]),
        (&2.into(), &"rejected".into())
    );
    assert_eq!(project.attempts(&id, "work"), 2);
    project
        .run(&["why", &id])
        .ok()
        .says("never good enough")
        .says(&format!("octopoid retry {id}"));
    project.run(&["status"]).code(1).says(&id);
    project.closing_checks();
}

#[test]
fn a_chain_runs_in_order_and_each_begins_where_the_last_ended() {
    let project = Project::new(
        r#"
plays:
  - role: gatekeeper
    steps: [{verdict: {verdict: approve}}]
  - steps: [{run: "echo $OCTOPOID_TASK_TITLE >> order.txt"}, {commit: step}]
"#,
    );
    let first = project.enqueue(&["one"]);
    let second = project.enqueue(&["two", "--after", &first, "--priority", "P0"]);
    let third = project.enqueue(&["three", "--after", &first, "--after", &second, "--priority", "P0"]);
    let list = project.json(&["list"]);
    let row = list["tasks"]
        .as_array()
        .unwrap()
        .iter()
        .find(|t| t["id"] == third.as_str())
        .unwrap()
        .clone();
    assert_eq!(
        (&row["blocked"], &row["blocked_by"]),
        (&true.into(), &serde_json::json!([first, second]))
    );
    project.run(&["why", &third]).ok().says("blocked by");
    project.run(&["start", "--once"]).ok();
    assert_eq!(project.on_base("order.txt"), "one\ntwo\nthree");
    for id in [&first, &second, &third] {
        project.expect_queue(id, "done");
    }
    project.closing_checks();
}

#[test]
fn three_agents_work_at_the_same_time() {
    let project = Project::new(
        r#"
plays:
  - role: gatekeeper
    steps: [{verdict: {verdict: approve}}]
  - steps:
      - run: "touch \"$HOME/here-$OCTOPOID_TASK_ID\"; n=0; while [ $(ls $HOME | grep -c '^here-') -lt 3 ]; do n=$((n+1)); [ $n -gt 400 ] && exit 1; sleep 0.05; done"
      - run: "echo x > $OCTOPOID_TASK_ID.txt"
      - commit: work
"#,
    );
    project.scripted("implementer", "implement", "max_instances: 3\n");
    let ids: Vec<String> = (0..3).map(|n| project.enqueue(&[&format!("task {n}")])).collect();
    project.run(&["start", "--once", "--max-agents", "3"]).ok();
    for id in &ids {
        let task = project.expect_queue(id, "done");
        assert_eq!(task["failure_count"], 0);
        assert!(project.base_has(&format!("{id}.txt")));
    }
    project.closing_checks();
}

#[test]
fn without_a_gatekeeper_a_person_reviews() {
    let project = Project::new(WORKS);
    std::fs::remove_file(project.path(".octopoid/agents/gatekeeper.yaml")).unwrap();
    let id = project.enqueue(&["Needs a person"]);
    project.run(&["approve", &id]).code(4).says("it is in incoming");
    project.run(&["start", "--once"]).ok();
    project.expect_queue(&id, "provisional");
    project.run(&["diff", &id]).ok().says("+Needs a person");
    project.run(&["why", &id]).ok().says(&format!("octopoid approve {id}"));
    project
        .run(&["reject", &id, "--reason", "not yet", "--by", "alice"])
        .ok();
    project.expect_queue(&id, "incoming");
    project.run(&["start", "--once"]).ok();
    assert!(project.prompt(&id, 2).contains("not yet"));
    project.run(&["approve", &id, "--by", "alice"]).ok();
    project.run(&["approve", &id]).code(4);
    assert!(!project.base_has(&format!("{id}.txt")));
    project.run(&["start", "--once"]).ok();
    let task = project.expect_queue(&id, "done");
    assert_eq!(task["reviews"][1]["by"], "alice");
    assert!(project.base_has(&format!("{id}.txt")));
    project.closing_checks();
}

#[test]
fn a_custom_flow_with_one_more_review_is_followed() {
    let project = Project::new(
        r#"
plays:
  - role: test
    steps: [{verdict: {verdict: approve, summary: "tried by hand"}}]
  - role: gatekeeper
    steps: [{verdict: {verdict: approve}}]
  - steps: [{write: {a.txt: "a\n"}}, {commit: a}]
"#,
    );
    project.write(
        ".octopoid/flows/careful.yaml",
        r#"
name: careful
transitions:
  "incoming -> claimed": {agent: implement}
  "claimed -> provisional": {runs: [run_tests]}
  "provisional -> qa":
    conditions: [{name: review, type: agent, agent: gatekeeper}]
  "qa -> done":
    conditions:
      - {name: tried, type: agent, agent: test, on_fail: incoming}
      - {name: size, type: script, script: "test $(wc -c < a.txt) -lt 100"}
    runs: [rebase_on_base, run_tests, merge]
"#,
    );
    project.scripted("tester", "test", "claims_from: qa\n");
    project.run(&["validate"]).ok();
    let id = project.enqueue(&["With care", "--flow", "careful"]);
    project.run(&["start", "--once"]).ok();
    let task = project.expect_queue(&id, "done");
    let agents: Vec<_> = task["attempts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|a| a["agent"].as_str().unwrap())
        .collect();
    assert_eq!(agents, ["implementer", "gatekeeper", "tester"]);
    project.closing_checks();
}
