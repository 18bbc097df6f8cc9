//! The one step that cannot be taken back: who lost the server does not take it, and nobody takes it twice.

use std::{fs, os::unix::fs::PermissionsExt as _};

use serde_json::Value;

use crate::{
    harness::{BASE, WORKS, eventually},
    machines::{CHECK, Fleet, claimers, count, done_once},
};

const PAUSED: &str = "paused: true\n";

/// The commit that holds both the task's file and somebody else's is the one that is about to be merged: its check
/// waits for a file in the machine's home folder.
const SLOW_LANDING: &str = r#"test ! -e RED || exit 1
if [ -e theirs ] && [ -e mine ]; then
  touch "$HOME/landing"
  n=0
  while [ ! -e "$HOME/go" ]; do
    n=$((n+1))
    [ $n -gt 1200 ] && exit 1
    sleep 0.05
  done
fi
"#;

/// Somebody pushes a commit to the base branch.
fn push(fleet: &Fleet, clone: &str, file: &str, text: &str) {
    let place = fleet.folder().join(clone);
    let (remote, to) = (fleet.remote.display().to_string(), place.display().to_string());
    fleet.git_in(&fleet.folder(), &["clone", "--quiet", "--branch", BASE, &remote, &to]);
    fs::write(place.join(file), text).unwrap();
    fleet.git_in(&place, &["add", "--all"]);
    fleet.git_in(&place, &["commit", "--quiet", "--message", clone]);
    fleet.git_in(&place, &["push", "--quiet", "origin", BASE]);
}

#[test]
fn who_has_lost_the_server_does_not_move_the_base() {
    let script = "plays:\n  - steps: [{write: {mine: \"x\\n\"}}, {commit: work}]\n";
    let mut fleet = Fleet::new(&[], SLOW_LANDING);
    let a = fleet.machine("a", script, "");
    a.scripted("gatekeeper", "gatekeeper", PAUSED);
    let id = a.enqueue(&["Mine"]);
    let mut daemon = a.start(&[], &[]);
    eventually("it is handed in", || a.queue(&id) == "provisional");
    push(&fleet, "somebody", "theirs", "x\n");
    let before = fleet.git(&["rev-parse", BASE]);
    a.run(&["approve", &id, "--by", "alice"]).ok();
    eventually("the commit is checked", || a.path("../landing").exists());

    // The checks pass while the server is away: it may have given the task to another machine since.
    fleet.server.kill();
    fs::write(a.path("../go"), "").unwrap();
    let server = || a.run(&["status", "--json"]).json()["server"].clone();
    eventually("the landing has ended", || server()["outbox"] == 1);
    assert_eq!(fleet.git(&["rev-parse", BASE]), before, "the base was moved on a guess");
    assert_ne!(a.queue(&id), "done");
    assert_eq!(server()["connected"], false);

    fleet.server.restart();
    eventually("it lands when the server is back", || a.queue(&id) == "done");
    let story = fleet.server.story(&id);
    done_once(&story);
    assert_eq!(
        (count(&story, "landing"), count(&story, "submitted")),
        (2, 1),
        "{story:#?}"
    );
    assert_eq!(a.show(&id)["failure_count"], 0, "it was not the work's fault");
    assert_eq!(fleet.merges_of(&id), 1);
    assert_eq!(
        (fleet.on_base("mine"), fleet.on_base("theirs")),
        ("x".into(), "x".into())
    );
    daemon.signal("TERM");
    assert_eq!(daemon.wait(), 0);
    a.closing_checks();
}

/// A machine dies in the moment in which the remote has its merge, before it can tell anybody.
fn merged_and_not_told(tidied: bool) {
    let fleet = Fleet::new(&[], CHECK);
    let (a, b) = (
        fleet.machine("a", WORKS, "orchestrator: {lease_seconds: 3}\n"),
        fleet.machine("b", WORKS, ""),
    );
    b.scripted("implementer", "implement", PAUSED);
    b.scripted("gatekeeper", "gatekeeper", PAUSED);
    let hook = fleet.remote.join("hooks/post-receive");
    let script = format!(
        "#!/bin/sh\nwhile read old new ref; do\n  [ \"$ref\" = refs/heads/{BASE} ] && [ -e pid ] && kill -9 $(cat pid) && rm pid\ndone\nexit 0\n"
    );
    fs::write(&hook, script).unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    let id = a.enqueue(&["Once"]);
    let before: usize = fleet.git(&["rev-list", "--count", BASE]).parse().unwrap();
    // Its process id is known before it has anything to push: the hold is lifted after that.
    a.run(&["hold", &id, "--reason", "not yet"]).ok();
    let mut daemon = a.start(&[], &[]);
    fs::write(fleet.remote.join("pid"), daemon.pid().to_string()).unwrap();
    a.run(&["unhold", &id]).ok();
    assert_eq!(daemon.wait(), -1, "it was killed");
    let merged = fleet.git(&["rev-parse", BASE]);
    let count_of = || -> usize { fleet.git(&["rev-list", "--count", BASE]).parse().unwrap() };
    assert_eq!((count_of(), fleet.merges_of(&id)), (before + 1, 1));
    let body = fleet.git(&["log", "-1", "--format=%B", BASE]);
    let head = b.show(&id)["head_sha"].as_str().unwrap().to_owned();
    assert!(body.lines().any(|l| l == format!("Octopoid-Head: {head}")), "{body}");
    assert_eq!(count(&fleet.server.story(&id), "done"), 0, "the server does not know");

    // Work goes on: the very file is changed again, so that merging the same work once more could only do harm.
    push(&fleet, "later", &format!("{id}.txt"), "changed since\n");
    if tidied {
        for name in fleet
            .git(&["for-each-ref", "--format=%(refname)", "refs/octopoid/"])
            .lines()
        {
            fleet.git(&["update-ref", "-d", name]);
        }
    }
    eventually("the dead machine's lease runs out", || {
        b.show(&id)["claimed_by"] == Value::Null
    });
    b.run(&["start", "--once"]).ok();
    let task = b.expect_queue(&id, "done");
    assert_eq!(task["merged_sha"], merged, "the merge that was made is the merge");
    let story = fleet.server.story(&id);
    done_once(&story);
    assert_eq!(claimers(&story), ["c-a", "c-a", "c-a", "c-b"]);
    assert_eq!(
        (count_of(), fleet.merges_of(&id)),
        (before + 2, 1),
        "nothing was merged twice"
    );
    assert_eq!(fleet.on_base(&format!("{id}.txt")), "changed since");
    b.closing_checks();
}

#[test]
fn a_merge_that_was_made_and_not_told_is_recognised_by_another_machine() {
    merged_and_not_told(false);
}

#[test]
fn it_is_recognised_also_when_the_work_itself_is_gone_from_the_remote() {
    merged_and_not_told(true);
}
