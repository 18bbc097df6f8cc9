//! With a remote, the truth about the base branch is there: it moves first, by compare-and-swap.

use crate::harness::{BASE, Project, WORKS};

fn with_remote(script: &str) -> (Project, String) {
    let project = Project::new(script);
    let remote = project.path("../remote.git").display().to_string();
    project.git(&["clone", "--quiet", "--bare", ".", &remote]);
    project.git(&["remote", "add", "origin", &remote]);
    project.git(&["fetch", "--quiet", "origin"]);
    (project, remote)
}

#[test]
fn the_remote_moves_first_and_the_local_branch_follows() {
    let (project, remote) = with_remote(WORKS);
    // Somebody else pushed meanwhile: the work begins there.
    project.git(&["clone", "--quiet", &remote, "../other"]);
    let other = project.path("../other");
    std::fs::write(other.join("theirs"), "x\n").unwrap();
    project.git_in(&other, &["add", "--all"]);
    project.git_in(&other, &["commit", "--quiet", "--message", "theirs"]);
    project.git_in(&other, &["push", "--quiet", "origin", BASE]);
    let id = project.enqueue(&["Ours"]);
    project.run(&["start", "--once"]).ok();
    let task = project.expect_queue(&id, "done");
    let there = project.git(&["ls-remote", "origin", &format!("refs/heads/{BASE}")]);
    assert!(there.starts_with(task["merged_sha"].as_str().unwrap()), "{there}");
    assert_eq!(project.git(&["rev-parse", BASE]), task["merged_sha"]);
    assert!(project.base_has("theirs") && project.base_has(&format!("{id}.txt")));
    assert!(
        project
            .git(&["ls-remote", "origin", &format!("agent/{id}")])
            .contains(task["head_sha"].as_str().unwrap())
    );
    assert!(project.path("theirs").exists(), "the clean main checkout followed");
    project.closing_checks();
}

#[test]
fn a_push_that_is_overtaken_is_combined_again() {
    let (project, remote) = with_remote(WORKS);
    let hook = project.path("../remote.git/hooks/pre-receive");
    // The first push to the base is answered by somebody else's commit that came a moment earlier.
    std::fs::write(
        &hook,
        "#!/bin/sh\nread old new ref\n[ \"$ref\" = refs/heads/trunk ] || exit 0\n[ -e raced ] && exit 0\ntouch raced\ntree=$(git rev-parse refs/heads/trunk^{tree})\nrace=$(GIT_AUTHOR_NAME=r GIT_AUTHOR_EMAIL=r GIT_COMMITTER_NAME=r GIT_COMMITTER_EMAIL=r git commit-tree -p refs/heads/trunk -m race $tree)\nenv -u GIT_QUARANTINE_PATH git update-ref refs/heads/trunk $race\n",
    )
    .unwrap();
    std::process::Command::new("chmod")
        .arg("+x")
        .arg(&hook)
        .status()
        .unwrap();
    let id = project.enqueue(&["Race"]);
    project.run(&["start", "--once"]).ok().says("moved meanwhile");
    project.expect_queue(&id, "done");
    let log = project.git(&["log", "--format=%s", "-3", BASE]);
    assert_eq!(log.lines().collect::<Vec<_>>(), ["Race", "race", "a test"]);
    assert_eq!(project.merges_of(&id), 1);
    drop(remote);
    project.closing_checks();
}

#[test]
fn a_remote_that_is_away_costs_the_task_nothing() {
    let (project, remote) = with_remote(WORKS);
    let hidden = format!("{remote}.away");
    std::fs::rename(&remote, &hidden).unwrap();
    let id = project.enqueue(&["Offline"]);
    let mut daemon = project.start(&[], &[]);
    crate::harness::eventually("it was tried", || {
        project.show(&id)["transient_count"].as_i64().unwrap() >= 1
    });
    let task = project.show(&id);
    assert_eq!(
        (&task["failure_count"], &task["queue"]),
        (&0.into(), &"incoming".into())
    );
    std::fs::rename(&hidden, &remote).unwrap();
    crate::harness::eventually("it goes on by itself", || project.queue(&id) == "done");
    daemon.signal("TERM");
    daemon.wait();
    project.closing_checks();
}

#[test]
fn a_base_that_the_remote_lacks_is_told() {
    let (project, _) = with_remote(WORKS);
    let id = project.enqueue(&["Nowhere", "--branch", "release/9"]);
    project.run(&["start", "--once"]).code(1);
    project.expect_queue(&id, "needs_attention");
    project
        .run(&["why", &id])
        .ok()
        .says("branch release/9 in the remote origin does not exist");
}
