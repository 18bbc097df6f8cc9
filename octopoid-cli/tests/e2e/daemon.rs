//! The orchestrator as a service: one at a time, woken by changes, patient in pauses, adopted after its death.

use crate::harness::{Project, WORKS, eventually};

#[test]
fn a_second_orchestrator_is_refused_and_names_the_first() {
    let project = Project::new(WORKS);
    project.run(&["start", "--daemon"]).ok();
    let pid = project.json(&["status"])["daemon"]["pid"].as_i64().unwrap();
    for args in [&["start"][..], &["start", "--once"], &["start", "--daemon"]] {
        project.run(args).code(4).says(&pid.to_string());
    }
    project.run(&["stop"]).ok();
    assert_eq!(project.json(&["status"])["daemon"], serde_json::Value::Null);
    project.run(&["start", "--once"]).ok();
    project.run(&["stop"]).ok().says("no orchestrator runs");
}

#[test]
fn a_daemon_takes_up_tasks_as_they_come() {
    let project = Project::new(WORKS);
    project.run(&["start", "--daemon", "--tick-interval", "3600"]).ok();
    for title in ["first", "second"] {
        let id = project.enqueue(&[title]);
        eventually("it is done long before the next tick", || project.queue(&id) == "done");
    }
    project.run(&["pause", "--reason", "release"]).ok();
    let waiting = project.enqueue(&["third"]);
    std::thread::sleep(std::time::Duration::from_millis(500));
    project.expect_queue(&waiting, "incoming");
    project.run(&["status"]).ok().says("release");
    project.run(&["resume"]).ok();
    eventually("it is done after the pause", || project.queue(&waiting) == "done");
    project.run(&["stop"]).ok();
    project.closing_checks();
}

#[test]
fn a_pause_longer_than_the_lease_costs_nothing() {
    let project = Project::new(
        "plays:\n  - role: gatekeeper\n    steps: [{verdict: {verdict: approve}}]\n  - steps: [{write: {a: \"1\\n\"}}, {print: ready}, {run: \"while [ ! -e $HOME/go ]; do sleep 0.1; done\"}]\n",
    );
    project.config("orchestrator: {lease_seconds: 3}\n");
    let id = project.enqueue(&["Slow"]);
    let mut daemon = project.start(&[], &[]);
    eventually("the agent is ready", || {
        project.run(&["logs", &id]).out.contains("ready")
    });
    project.run(&["pause"]).ok();
    std::thread::sleep(std::time::Duration::from_secs(8));
    let task = project.expect_queue(&id, "claimed");
    assert_eq!(task["attempt_count"], 1);
    std::fs::write(project.path("../go"), "").unwrap();
    eventually("its result is collected in the pause", || {
        project.queue(&id) == "provisional"
    });
    std::thread::sleep(std::time::Duration::from_millis(300));
    project.expect_queue(&id, "provisional");
    project.run(&["resume"]).ok();
    eventually("it is merged after the pause", || project.queue(&id) == "done");
    assert_eq!(project.attempts(&id, "work"), 1);
    daemon.signal("TERM");
    daemon.wait();
    project.closing_checks();
}

#[test]
fn a_stop_leaves_the_agent_at_work_and_the_next_start_takes_it_up() {
    let project = Project::new(
        "plays:\n  - role: gatekeeper\n    steps: [{verdict: {verdict: approve}}]\n  - steps: [{write: {a: \"1\\n\"}}, {print: ready}, {run: \"while [ ! -e $HOME/go ]; do sleep 0.05; done\"}, {commit: done}]\n",
    );
    let id = project.enqueue(&["Survive"]);
    let mut daemon = project.start(&[], &[]);
    eventually("the agent is ready", || {
        project.run(&["logs", &id]).out.contains("ready")
    });
    daemon.signal("TERM");
    assert_eq!(daemon.wait(), 0);
    assert!(!project.processes().is_empty(), "the agent goes on");
    project.expect_queue(&id, "claimed");
    // It ends while nobody looks.
    std::fs::write(project.path("../go"), "").unwrap();
    eventually("the agent has ended", || project.processes().is_empty());
    project
        .run(&["start", "--once"])
        .ok()
        .says("taken up where it was left");
    project.expect_queue(&id, "done");
    assert_eq!((project.attempts(&id, "work"), project.merges_of(&id)), (1, 1));
    project.closing_checks();
}

#[test]
fn stop_now_ends_agents_and_keeps_their_work() {
    let project = Project::new(
        "plays:\n  - role: gatekeeper\n    steps: [{verdict: {verdict: approve}}]\n  - attempt: 1\n    steps: [{write: {a: \"1\\n\"}}, {print: ready}, {hang: {}}]\n  - steps: [{write: {b: \"2\\n\"}}, {commit: more}]\n",
    );
    let id = project.enqueue(&["Interrupted"]);
    project.run(&["start", "--daemon"]).ok();
    eventually("the agent is ready", || {
        project.run(&["logs", &id]).out.contains("ready")
    });
    project.run(&["stop", "--now"]).ok();
    assert_eq!(project.processes(), Vec::<String>::new());
    let task = project.expect_queue(&id, "incoming");
    assert_eq!(
        (&task["failure_count"], &task["attempts"][0]["outcome"]),
        (&0.into(), &"released".into())
    );
    project.run(&["start", "--once"]).ok();
    assert!(project.base_has("a") && project.base_has("b"));
    project.closing_checks();
}

#[test]
fn logs_follow_an_attempt_to_its_end() {
    let project = Project::new(
        "plays:\n  - role: gatekeeper\n    steps: [{verdict: {verdict: approve}}]\n  - steps: [{print: one}, {sleep: 0.5}, {print: two}, {write: {a: \"1\"}}]\n",
    );
    let id = project.enqueue(&["Talk"]);
    project.run(&["logs", &id]).code(3).says("nobody has worked on it yet");
    project.run(&["start", "--daemon"]).ok();
    eventually("it has begun", || project.run(&["logs", &id]).out.contains("one"));
    assert_eq!(
        project.run(&["logs", &id, "--attempt", "1", "-f"]).ok().out,
        "one\ntwo\n"
    );
    project.run(&["logs", &id, "--attempt", "9"]).code(3);
    eventually("it is done", || project.queue(&id) == "done");
    project.run(&["stop"]).ok();
}
