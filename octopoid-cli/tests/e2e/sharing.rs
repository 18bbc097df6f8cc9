//! Commits travel through the remote: work that it does not take is not handed in, and is not lost either.

use std::{fs, os::unix::fs::PermissionsExt as _, thread, time::Duration};

use serde_json::{Value, json};

use crate::{
    harness::{Project, eventually},
    machines::{CHECK, Fleet, count, done_once},
};

/// Notes each run of the implementer in the machine's home folder.
const SCRIPT: &str = r#"
plays:
  - role: gatekeeper
    steps: [{verdict: {verdict: approve}}]
  - steps:
      - run: "echo $OCTOPOID_ATTEMPT >> \"$HOME/runs\"; echo x > $OCTOPOID_TASK_ID.txt"
      - commit: work
"#;

const PAUSED: &str = "paused: true\n";

/// What the orchestrator says while it waits for the remote.
const WAITS: &str = "is not handed in before the remote has it";

/// From now on nobody can push anything.
fn close(fleet: &Fleet) {
    let hook = fleet.remote.join("hooks/pre-receive");
    fs::write(&hook, "#!/bin/sh\n[ ! -e closed ] || { echo closed >&2; exit 1; }\n").unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(fleet.remote.join("closed"), "").unwrap();
}

fn open(fleet: &Fleet) {
    fs::remove_file(fleet.remote.join("closed")).unwrap();
}

fn runs(machine: &Project) -> usize {
    machine.read("../runs").lines().count()
}

#[test]
fn work_is_not_handed_in_before_the_remote_has_it() {
    let fleet = Fleet::new(&[], CHECK);
    let lease = "orchestrator: {lease_seconds: 4}\n";
    let (a, b) = (fleet.machine("a", SCRIPT, lease), fleet.machine("b", SCRIPT, ""));
    a.scripted("gatekeeper", "gatekeeper", PAUSED);
    b.scripted("implementer", "implement", PAUSED);
    let id = a.enqueue(&["Held back"]);
    close(&fleet);
    let mut daemon = a.start(&[], &[]);
    let waits = || a.read("../start.log").contains(WAITS);
    eventually("the remote is asked", waits);
    // For longer than the lease: it is renewed, and nobody else is told to go on with what he cannot have.
    thread::sleep(Duration::from_secs(5));
    let task = b.expect_queue(&id, "claimed");
    assert_eq!(
        (&task["epoch"], &task["head_sha"]),
        (&json!(1), &Value::Null),
        "{task:#}"
    );
    b.run(&["start", "--once"]).ok();
    assert_eq!(count(&fleet.server.story(&id), "submitted"), 0);
    // The agent has ended; an orchestrator that is told to stop leaves the rest to the next one.
    daemon.signal("TERM");
    assert_eq!(daemon.wait(), 0);
    b.expect_queue(&id, "claimed");
    let mut daemon = a.start(&[], &[]);
    eventually("the next one asks again", waits);
    assert_eq!(b.expect_queue(&id, "claimed")["epoch"], 1);

    open(&fleet);
    eventually("it is handed in", || b.queue(&id) == "provisional");
    b.run(&["start", "--once"]).ok().says("approved by gatekeeper");
    eventually("one of them merges it", || b.queue(&id) == "done");
    let story = fleet.server.story(&id);
    done_once(&story);
    assert_eq!((count(&story, "claimed"), count(&story, "submitted")), (1, 1));
    assert_eq!((runs(&a), runs(&b)), (1, 0), "the agent worked once");
    assert_eq!(fleet.merges_of(&id), 1);
    daemon.signal("TERM");
    assert_eq!(daemon.wait(), 0);
    a.closing_checks();
    b.closing_checks();
}

#[test]
fn a_remote_that_takes_nothing_for_long_costs_the_task_no_attempt() {
    let fleet = Fleet::new(&[], CHECK);
    let a = fleet.machine("a", SCRIPT, "orchestrator: {lease_seconds: 3}\n");
    let id = a.enqueue(&["For nothing"]);
    close(&fleet);
    let mut daemon = a.start(&[], &[]);
    eventually("it was tried again and again", || {
        a.show(&id)["transient_count"].as_i64().unwrap() >= 3
    });
    let task = a.show(&id);
    assert_eq!(
        (&task["failure_count"], &task["head_sha"]),
        (&json!(0), &Value::Null),
        "{task:#}"
    );
    let story = fleet.server.story(&id);
    assert_eq!((count(&story, "submitted"), count(&story, "requeued")), (0, 0));
    for failed in story.iter().filter(|e| e["type"] == "failed_attempt") {
        assert_eq!(failed["details"]["failure"], "remote", "{failed}");
    }
    assert_eq!(runs(&a), 1, "no agent works on what cannot be handed in");
    // Its commits are kept on its branch.
    let branch = format!("agent/{id}");
    assert_eq!(a.git(&["log", "-1", "--format=%s", &branch]), "work");

    open(&fleet);
    eventually("it goes on by itself", || a.queue(&id) == "done");
    done_once(&fleet.server.story(&id));
    assert_eq!(runs(&a), 2);
    assert_eq!(a.attempts(&id, "review"), 1);
    assert_eq!(fleet.on_base(&format!("{id}.txt")), "x");
    assert_eq!(fleet.merges_of(&id), 1);
    daemon.signal("TERM");
    assert_eq!(daemon.wait(), 0);
    a.closing_checks();
}
