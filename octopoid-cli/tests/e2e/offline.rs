//! A server that goes away: agents go on, what they made waits in the outbox, and arrives once when it is back.

use serde_json::{Value, json};

use crate::{
    harness::{Project, WORKS, eventually},
    machines::{CHECK, Fleet, claimers, count, done_once},
};

/// The task called Slow waits for a file in the machine's home folder; others do not wait.
const SLOW: &str = r#"
plays:
  - role: gatekeeper
    steps: [{verdict: {verdict: approve}}]
  - task: Slow
    steps:
      - run: "echo $OCTOPOID_ATTEMPT >> slow.txt"
      - print: ready
      - run: "n=0; while [ ! -e \"$HOME/go\" ]; do n=$((n+1)); [ $n -gt 1200 ] && exit 1; sleep 0.05; done"
      - commit: slow
  - steps: [{run: "echo x > $OCTOPOID_TASK_ID.txt"}, {commit: quick}]
"#;

/// What `status` says of the server, whatever else it says.
#[track_caller]
fn server(machine: &Project) -> Value {
    machine.run(&["status", "--json"]).json()["server"].clone()
}

fn agent_is_ready(machine: &Project, id: &str) {
    eventually("the agent is ready", || {
        machine.run(&["logs", id]).out.contains("ready")
    });
}

fn let_it_end(machine: &Project) {
    std::fs::write(machine.path("../go"), "").unwrap();
}

#[test]
fn work_goes_on_without_the_server_and_is_handed_in_when_it_is_back() {
    let mut fleet = Fleet::new(&[], CHECK);
    let a = fleet.machine("a", SLOW, "");
    let held = a.enqueue(&["Seen before"]);
    a.run(&["hold", &held, "--reason", "not now"]).ok();
    let id = a.enqueue(&["Slow"]);
    let mut daemon = a.start(&[], &[]);
    agent_is_ready(&a, &id);
    fleet.server.kill();
    let_it_end(&a);
    eventually("the work waits in the outbox", || server(&a)["outbox"] == 1);

    let first = server(&a);
    assert_eq!(
        (&first["connected"], &first["dropped"], &first["url"]),
        (&false.into(), &0.into(), &json!(fleet.server.url))
    );
    let since = first["offline_since"].as_str().unwrap().to_owned();
    // The copy answers, and looking at it does not change since when the server is away.
    let list = a.json(&["list"]);
    let queues: Vec<(&str, &str)> = list["tasks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| (t["id"].as_str().unwrap(), t["queue"].as_str().unwrap()))
        .collect();
    assert!(
        queues.contains(&(held.as_str(), "incoming")) && queues.contains(&(id.as_str(), "provisional")),
        "{queues:?}"
    );
    assert_eq!(a.show(&held)["hold"], "not now");
    a.expect_queue(&id, "provisional");
    a.run(&["why", &id]).ok().says("provisional");
    a.run(&["why", &held]).ok().says("not now");
    a.run(&["diff", &id]).ok().says("slow.txt");
    assert_eq!(server(&a)["offline_since"], since);
    let text = a.run(&["status"]);
    let text = text.says("offline since").says("1 requests wait for the server");
    assert!(!text.out.contains("Connected"), "{}", text.out);
    for command in ["show", "why"] {
        a.run(&[command, "never-seen"]).code(5).says("was never seen from here");
    }
    let later = a.enqueue(&["Later"]);
    assert_eq!(server(&a)["outbox"], 2);
    assert_eq!(a.queue(&later), "incoming");

    fleet.server.restart();
    for task in [&id, &later] {
        eventually("it is done when the server is back", || a.queue(task) == "done");
    }
    let now = server(&a);
    assert_eq!(
        (&now["connected"], &now["outbox"], &now["dropped"]),
        (&true.into(), &0.into(), &0.into())
    );
    let story = fleet.server.story(&id);
    done_once(&story);
    assert_eq!((count(&story, "claimed"), count(&story, "submitted")), (1, 1));
    done_once(&fleet.server.story(&later));
    assert_eq!(count(&fleet.server.story(&later), "created"), 1);
    assert_eq!(fleet.on_base("slow.txt"), "1");
    assert_eq!((fleet.merges_of(&id), fleet.merges_of(&later)), (1, 1));
    daemon.signal("TERM");
    assert_eq!(daemon.wait(), 0);
    a.closing_checks();
}

#[test]
fn what_is_written_offline_is_delivered_in_order_and_once() {
    let mut fleet = Fleet::new(&[], CHECK);
    let (a, b) = (fleet.machine("a", WORKS, ""), fleet.machine("b", WORKS, ""));
    let known = a.enqueue(&["Known"]);
    fleet.server.kill();
    let first = a.enqueue(&["First", "--idempotency-key", "the-first"]);
    let second = a.enqueue(&["Second", "--after", &first]);
    a.run(&["hold", &known, "--reason", "by me"]).ok();
    a.run(&["edit", &first, "--priority", "P0"]).ok();
    // The same key is the same task, also while nobody is asked.
    assert_eq!(a.enqueue(&["First", "--idempotency-key", "the-first"]), first);
    let away = a.run(&["sync", "--json"]).code(5).json();
    assert_eq!(away["error"]["code"], "offline");

    fleet.server.restart();
    let synced = a.json(&["sync"]);
    assert_eq!(synced["dropped"], json!([]), "{synced}");
    assert_eq!(synced["waiting"], 0, "{synced}");
    assert_eq!(synced["refreshed"], 3, "{synced}");
    assert!(synced["delivered"].as_u64().unwrap() >= 4, "{synced}");
    let again = a.json(&["sync"]);
    assert_eq!(
        again,
        json!({ "delivered": 0, "dropped": [], "waiting": 0, "refreshed": 3 })
    );
    a.run(&["sync"]).ok().says("0 delivered, 0 waiting, 3 tasks refreshed");

    // Everybody sees them now.
    let list = b.json(&["list", "--all"]);
    assert_eq!(list["total"], 3, "{list}");
    let task = b.show(&first);
    assert_eq!((&task["title"], &task["priority"]), (&"First".into(), &"P0".into()));
    assert_eq!(b.show(&second)["blocked_by"], json!([first]));
    assert_eq!(b.show(&known)["hold"], "by me");
    let kinds: Vec<(String, String)> = fleet
        .server
        .events()
        .iter()
        .map(|e| {
            (
                e["task_id"].as_str().unwrap().to_owned(),
                e["type"].as_str().unwrap().to_owned(),
            )
        })
        .collect();
    let wanted = [
        (&known, "created"),
        (&first, "created"),
        (&second, "created"),
        (&known, "held"),
        (&first, "edited"),
    ]
    .map(|(id, kind)| (id.clone(), kind.to_owned()));
    assert_eq!(kinds, wanted, "in the order in which they were written, and once");
    b.run(&["start", "--once"]).ok();
    for id in [&first, &second] {
        a.expect_queue(id, "done");
    }
}

#[test]
fn what_the_server_refuses_is_dropped_told_and_kept() {
    let mut fleet = Fleet::new(&[], CHECK);
    let (a, b) = (fleet.machine("a", WORKS, ""), fleet.machine("b", WORKS, ""));
    let id = a.enqueue(&["Contested"]);
    fleet.server.kill();
    a.run(&["cancel", &id, "--reason", "not needed"]).ok();
    let other = a.enqueue(&["Unrelated"]);
    assert_eq!(a.queue(&id), "cancelled");
    fleet.server.restart();
    // Somebody else was faster.
    b.run(&["start", "--once"]).ok();
    b.expect_queue(&id, "done");

    let synced = a.json(&["sync"]);
    assert_eq!((&synced["delivered"], &synced["waiting"]), (&1.into(), &0.into()));
    let dropped = &synced["dropped"][0];
    assert_eq!(
        (&dropped["task_id"], &dropped["request"]),
        (&json!(id), &"cancel".into()),
        "{synced}"
    );
    assert!(
        dropped["reason"].as_str().unwrap().contains("it is in done"),
        "{synced}"
    );
    assert!(dropped["at"].as_str().unwrap().ends_with('Z'), "{synced}");
    // It is told again as often as somebody asks, and the server's word counts.
    assert_eq!(a.json(&["sync"])["dropped"], synced["dropped"]);
    a.run(&["sync"]).ok().says("dropped: cancel").says(&id);
    let now = server(&a);
    assert_eq!((&now["outbox"], &now["dropped"]), (&0.into(), &1.into()));
    a.run(&["status"]).ok().says("1 were dropped");
    a.expect_queue(&id, "done");
    assert_eq!(b.queue(&other), "incoming", "the request behind it arrived");
    assert_eq!(
        a.json(&["sync", "--forget"])["dropped"],
        synced["dropped"],
        "told once more"
    );
    assert_eq!(a.json(&["sync"])["dropped"], json!([]));
    done_once(&fleet.server.story(&id));
}

#[test]
fn work_that_comes_too_late_is_refused_and_kept() {
    let mut fleet = Fleet::new(&[], CHECK);
    let short = "orchestrator: {lease_seconds: 3}\n";
    let (a, b) = (fleet.machine("a", SLOW, short), fleet.machine("b", SLOW, short));
    let id = a.enqueue(&["Slow"]);
    let mut daemon = a.start(&[], &[]);
    agent_is_ready(&a, &id);
    fleet.server.kill();
    let_it_end(&a);
    eventually("the work waits in the outbox", || server(&a)["outbox"] == 1);
    daemon.kill();
    let late = a.git(&["rev-parse", &format!("agent/{id}")]);
    fleet.server.restart();
    eventually("the lease runs out", || b.queue(&id) == "incoming");
    let mut other = b.start(&[], &[]);
    agent_is_ready(&b, &id);

    // The task is claimed, but by somebody else: the old claim's word counts for nothing.
    let synced = a.json(&["sync"]);
    assert_eq!(
        (&synced["delivered"], &synced["waiting"]),
        (&0.into(), &0.into()),
        "{synced}"
    );
    assert_eq!(synced["dropped"][0]["request"], "submit", "{synced}");
    let task = b.expect_queue(&id, "claimed");
    assert_eq!((&task["orchestrator_id"], &task["epoch"]), (&"c-b".into(), &2.into()));
    a.run(&["start", "--once"]).ok();
    b.expect_queue(&id, "claimed");
    let_it_end(&b);
    eventually("the one who has the claim hands in", || b.queue(&id) == "done");

    let story = fleet.server.story(&id);
    done_once(&story);
    assert_eq!(claimers(&story), ["c-a", "c-b", "c-b", "c-b"]);
    assert_eq!((count(&story, "submitted"), count(&story, "requeued")), (1, 1));
    assert_eq!(fleet.on_base("slow.txt"), "2", "attempt 1 did not get in");
    assert_eq!(fleet.merges_of(&id), 1);
    let kept = a.git(&["for-each-ref", "--contains", &late, "--format=%(refname)"]);
    assert!(kept.contains(&format!("refs/octopoid/keep/{id}/1")), "{kept}");
    a.expect_queue(&id, "done");
    other.signal("TERM");
    assert_eq!(other.wait(), 0);
    a.closing_checks();
    b.closing_checks();
}

#[test]
fn killed_while_work_waits_the_next_process_delivers_it() {
    let mut fleet = Fleet::new(&[], CHECK);
    let a = fleet.machine("a", SLOW, "");
    let id = a.enqueue(&["Slow"]);
    let mut daemon = a.start(&[], &[]);
    agent_is_ready(&a, &id);
    fleet.server.kill();
    let_it_end(&a);
    eventually("the work waits in the outbox", || server(&a)["outbox"] == 1);
    daemon.kill();
    fleet.server.restart();
    assert_eq!(count(&fleet.server.story(&id), "submitted"), 0);
    let synced = a.json(&["sync"]);
    assert_eq!((&synced["delivered"], &synced["dropped"]), (&1.into(), &json!([])));
    let task = a.expect_queue(&id, "provisional");
    assert_eq!((&task["attempt_count"], &task["epoch"]), (&1.into(), &1.into()));
    a.run(&["start", "--once"]).ok();
    a.expect_queue(&id, "done");
    let story = fleet.server.story(&id);
    done_once(&story);
    assert_eq!((count(&story, "claimed"), count(&story, "submitted")), (1, 1));
    assert_eq!(fleet.on_base("slow.txt"), "1");
    a.closing_checks();
}

#[test]
fn an_orchestrator_that_starts_without_the_server_goes_on_with_its_agents() {
    let mut fleet = Fleet::new(&[], CHECK);
    let a = fleet.machine("a", SLOW, "");
    let id = a.enqueue(&["Slow"]);
    let mut daemon = a.start(&[], &[]);
    agent_is_ready(&a, &id);
    fleet.server.kill();
    daemon.kill();
    // A worker whose queue nobody lists is told how it stands all the same.
    let away = server(&a);
    assert_eq!(
        (&away["connected"], &away["outbox"]),
        (&false.into(), &0.into()),
        "{away}"
    );
    let mut daemon = a.start(&[], &[]);
    eventually("it is taken up", || a.read("../start.log").contains("taken up"));
    assert_eq!(a.queue(&id), "claimed", "{}", a.read("../start.log"));
    assert!(!a.processes().is_empty(), "the agent goes on");
    let_it_end(&a);
    eventually("the work waits in the outbox", || server(&a)["outbox"] == 1);
    a.expect_queue(&id, "provisional");
    fleet.server.restart();
    eventually("it is done when the server is back", || a.queue(&id) == "done");
    let story = fleet.server.story(&id);
    done_once(&story);
    assert_eq!((count(&story, "claimed"), count(&story, "submitted")), (1, 1));
    assert_eq!(fleet.on_base("slow.txt"), "1");
    daemon.signal("TERM");
    assert_eq!(daemon.wait(), 0);
    a.closing_checks();
}

#[test]
fn nothing_is_claimed_while_the_server_is_away() {
    let mut fleet = Fleet::new(&[], CHECK);
    let a = fleet.machine("a", WORKS, "");
    let id = a.enqueue(&["Only when it is there"]);
    a.run(&["list"]).ok();
    fleet.server.kill();
    let mut daemon = a.start(&["--tick-interval", "1"], &[]);
    // It looks at the queue several times, and lets the task lie.
    let look = || a.run(&["status", "--json"]).json()["daemon"]["last_tick"].clone();
    eventually("it looks", || look().is_string());
    for _ in 0..2 {
        let last = look();
        eventually("it looks again", || look() != last);
    }
    assert_eq!(a.queue(&id), "incoming");
    assert_eq!(server(&a)["outbox"], 0);
    fleet.server.restart();
    eventually("it is done when the server is back", || a.queue(&id) == "done");
    let story = fleet.server.story(&id);
    done_once(&story);
    daemon.signal("TERM");
    assert_eq!(daemon.wait(), 0);
    a.closing_checks();
}

#[test]
fn answers_from_the_copy_say_so() {
    let mut fleet = Fleet::new(&[], CHECK);
    let a = fleet.machine("a", WORKS, "");
    let id = a.enqueue(&["Seen"]);
    a.run(&["list"]).ok();
    fleet.server.kill();
    for args in [
        &["list"][..],
        &["show", id.as_str()],
        &["why", id.as_str()],
        &["enqueue", "Kept"],
    ] {
        a.run(args).ok().says("offline");
    }
}

#[test]
fn what_waits_for_one_server_is_never_sent_to_another() {
    let (mut fleet, other) = (Fleet::new(&[], CHECK), Fleet::new(&[], CHECK));
    let a = fleet.machine("a", WORKS, "");
    a.enqueue(&["Seen"]);
    fleet.server.kill();
    let id = a.enqueue(&["Waits"]);
    let elsewhere = [("OCTOPOID_SERVER_URL", other.server.url.as_str())];
    for args in [&["sync"][..], &["list"]] {
        a.run_with(args, &elsewhere)
            .code(7)
            .says("still wait here")
            .says("octopoid sync");
    }
    let (_, page) = other.server.ask("GET", "/api/v1/tasks", None);
    assert_eq!(page["total"], 0, "nothing arrived there: {page}");
    fleet.server.restart();
    assert_eq!(a.json(&["sync"])["delivered"], 1);
    assert_eq!(a.queue(&id), "incoming");
    // Nothing waits any more: the other server's queue is another queue, and the copy is not taken for it.
    a.run_with(&["list"], &elsewhere).ok();
    let listed = a.run_with(&["list", "--json"], &elsewhere).json();
    assert_eq!(listed["total"], 0, "{listed}");
}

#[test]
fn a_task_of_a_project_is_kept_for_the_server_too() {
    let mut fleet = Fleet::new(&[], CHECK);
    let a = fleet.machine("a", WORKS, "");
    a.run(&["project", "create", "pager", "--title", "Pager"]).ok();
    fleet.server.kill();
    let id = a.enqueue(&["Offline", "--project", "pager"]);
    fleet.server.restart();
    assert_eq!(a.json(&["sync"])["delivered"], 1);
    let task = a.json(&["show", &id]);
    assert_eq!(
        (&task["project_id"], &task["branch"]),
        (&json!("pager"), &json!("project/pager"))
    );
}
