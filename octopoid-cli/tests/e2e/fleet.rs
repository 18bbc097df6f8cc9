//! Several machines and one server: each task is done once, wherever it is worked on, reviewed and merged.

use std::{fs, os::unix::fs::PermissionsExt as _};

use serde_json::json;

use crate::{
    harness::{BASE, Project, WORKS, eventually},
    machines::{CHECK, Fleet, SCOPE, claimers, count, done_once, sound},
};

/// An agent that is paused takes no tasks.
const PAUSED: &str = "paused: true\n";

#[test]
fn a_task_written_down_here_is_done_there_once() {
    let fleet = Fleet::new(&[], CHECK);
    let (a, b) = (fleet.machine("a", WORKS, ""), fleet.machine("b", WORKS, ""));
    let id = a.enqueue(&["Anywhere"]);
    assert_eq!(b.queue(&id), "incoming");
    b.run(&["start", "--once"]).ok().says("merged into trunk");
    let merged = fleet.git(&["rev-parse", BASE]);
    for machine in [&a, &b] {
        assert_eq!(machine.expect_queue(&id, "done")["merged_sha"], merged);
    }
    assert_eq!(fleet.on_base(&format!("{id}.txt")), "Anywhere");
    assert_eq!(
        b.git(&["rev-parse", BASE]),
        merged,
        "the merging machine's branch followed"
    );
    // The other machine finds nothing left to do.
    a.run(&["start", "--once"]).ok();
    let story = fleet.server.story(&id);
    done_once(&story);
    assert_eq!(claimers(&story), ["c-b", "c-b", "c-b"]);
    assert_eq!(
        (a.attempts(&id, "work"), a.attempts(&id, "review"), fleet.merges_of(&id)),
        (1, 1, 1)
    );
    a.closing_checks();
    b.closing_checks();
}

#[test]
fn what_one_machine_made_another_reviews_and_merges() {
    let fleet = Fleet::new(&[], CHECK);
    let (a, b) = (fleet.machine("a", WORKS, ""), fleet.machine("b", WORKS, ""));
    a.scripted("gatekeeper", "gatekeeper", PAUSED);
    b.scripted("implementer", "implement", PAUSED);
    let id = b.enqueue(&["Both"]);
    a.run(&["start", "--once"]).ok();
    let head = a.expect_queue(&id, "provisional")["head_sha"]
        .as_str()
        .unwrap()
        .to_owned();
    let shared = format!("refs/octopoid/shared/{id}/{head}");
    assert!(
        fleet.git(&["for-each-ref", "--format=%(refname)"]).contains(&shared),
        "the commit is on the remote before anybody is told of it"
    );
    assert!(
        !b.git(&["rev-list", "--all"]).contains(&head),
        "the other machine does not have it yet"
    );
    b.run(&["start", "--once"])
        .ok()
        .says("approved by gatekeeper")
        .says("merged into trunk");
    assert_eq!(b.git(&["cat-file", "-t", &head]), "commit");
    assert!(b.prompt(&id, 2).contains("Both"), "the review was there");
    let story = fleet.server.story(&id);
    done_once(&story);
    assert_eq!(claimers(&story), ["c-a", "c-b", "c-b"]);
    for machine in [&a, &b] {
        machine.expect_queue(&id, "done");
        machine.run(&["diff", &id]).ok().says("+Both");
        machine.closing_checks();
    }
    assert_eq!(fleet.on_base(&format!("{id}.txt")), "Both");
    assert_eq!(
        fleet.git(&["for-each-ref", "refs/octopoid/"]),
        "",
        "names of merged work are gone"
    );
}

#[test]
fn what_a_person_approves_here_is_merged_there() {
    let fleet = Fleet::new(&[], CHECK);
    let (a, b) = (fleet.machine("a", WORKS, ""), fleet.machine("b", WORKS, ""));
    a.scripted("gatekeeper", "gatekeeper", PAUSED);
    b.scripted("gatekeeper", "gatekeeper", PAUSED);
    b.scripted("implementer", "implement", PAUSED);
    let id = a.enqueue(&["By hand"]);
    a.run(&["start", "--once"]).ok();
    let head = a.expect_queue(&id, "provisional")["head_sha"]
        .as_str()
        .unwrap()
        .to_owned();
    // This machine neither worked on it nor reviewed it: the landing has to fetch the commit.
    b.run(&["approve", &id, "--by", "alice"]).ok();
    assert!(!b.git(&["rev-list", "--all"]).contains(&head));
    b.run(&["start", "--once"]).ok().says("merged into trunk");
    b.run(&["diff", &id]).ok().says("+By hand");
    assert_eq!(a.expect_queue(&id, "done")["head_sha"], head);
    assert_eq!(b.show(&id)["reviews"][0]["by"], "alice");
    assert_eq!(claimers(&fleet.server.story(&id)), ["c-a", "c-b"]);
    assert_eq!(fleet.merges_of(&id), 1);
    a.closing_checks();
    b.closing_checks();
}

#[test]
fn a_rejection_goes_on_from_the_commits_of_whoever_worked_before() {
    let script = r#"
plays:
  - role: gatekeeper
    attempt: 2
    steps: [{verdict: {verdict: reject, summary: "first refusal"}}]
  - role: gatekeeper
    attempt: 4
    steps: [{verdict: {verdict: reject, summary: "second refusal", blocking: ["say it twice"]}}]
  - role: gatekeeper
    steps: [{verdict: {verdict: approve}}]
  - steps:
      - run: "git log --format=%s > \"$HOME/seen-$OCTOPOID_ATTEMPT\""
      - run: "echo $OCTOPOID_ATTEMPT >> steps.txt; git add steps.txt; git commit --quiet --message work-$OCTOPOID_ATTEMPT"
"#;
    let fleet = Fleet::new(&[], CHECK);
    let (a, b) = (fleet.machine("a", script, ""), fleet.machine("b", script, ""));
    a.scripted("gatekeeper", "gatekeeper", PAUSED);
    b.scripted("implementer", "implement", PAUSED);
    let id = a.enqueue(&["Thrice"]);
    let once = |machine: &Project| {
        machine.run(&["start", "--once"]).ok();
    };
    once(&a);
    once(&b);
    let task = a.expect_queue(&id, "incoming");
    assert_eq!(task["rejection_count"], 1);
    // Back to the machine that it came from …
    once(&a);
    assert!(
        a.prompt(&id, 3).contains("first refusal"),
        "the reason came through the server"
    );
    assert_eq!(
        a.read("../seen-3").lines().collect::<Vec<_>>(),
        ["work-1", "a test", "first"]
    );
    once(&b);
    // … and then to the other one, which goes on from both commits of the first.
    b.scripted("implementer", "implement", "");
    once(&b);
    let prompt = b.prompt(&id, 5);
    assert!(
        prompt.contains("second refusal") && prompt.contains("- say it twice"),
        "{prompt}"
    );
    assert!(
        prompt.contains("Go on from them; do not start over.") && prompt.contains(" work-3"),
        "{prompt}"
    );
    assert_eq!(
        b.read("../seen-5").lines().collect::<Vec<_>>(),
        ["work-3", "work-1", "a test", "first"]
    );
    assert_eq!(fleet.on_base("steps.txt"), "1\n3\n5");
    let story = fleet.server.story(&id);
    done_once(&story);
    assert_eq!(count(&story, "rejected"), 2);
    assert_eq!(
        claimers(&story),
        ["c-a", "c-b", "c-a", "c-b", "c-b", "c-b", "c-b"],
        "work, review, work, review, work, review, landing"
    );
    for machine in [&a, &b] {
        machine.expect_queue(&id, "done");
        machine.closing_checks();
    }
}

#[test]
fn two_machines_at_once_do_each_task_once() {
    // The first agents of both wait for each other, so that both machines are at work at the same time.
    let script = r#"
plays:
  - role: gatekeeper
    steps: [{verdict: {verdict: approve}}]
  - steps:
      - run: "touch \"$MEET/$OCTOPOID_TASK_ID\"; n=0; while [ $(ls \"$MEET\" | wc -l) -lt 2 ]; do n=$((n+1)); [ $n -gt 400 ] && exit 1; sleep 0.05; done; exit 0"
      - run: "echo $OCTOPOID_TASK_ID > $OCTOPOID_TASK_ID.txt"
      - commit: work
"#;
    let fleet = Fleet::new(&[], CHECK);
    let meet = fleet.folder().join("meet");
    fs::create_dir(&meet).unwrap();
    let machines = ["a", "b"].map(|name| {
        let machine = fleet.machine(name, script, "");
        machine.scripted(
            "implementer",
            "implement",
            &format!("env: {{MEET: \"{}\"}}\n", meet.display()),
        );
        machine
    });
    let before: usize = fleet.git(&["rev-list", "--count", BASE]).parse().unwrap();
    let ids: Vec<String> = (0..6)
        .map(|n| machines[n % 2].enqueue(&[&format!("task {n}")]))
        .collect();
    let mut running = machines.each_ref().map(|machine| machine.start(&["--once"], &[]));
    for (machine, process) in machines.iter().zip(&mut running) {
        assert_eq!(process.wait(), 0, "{}", machine.read("../start.log"));
    }
    let mut who = Vec::new();
    for id in &ids {
        let story = fleet.server.story(id);
        done_once(&story);
        who.push(claimers(&story).remove(0));
        for machine in &machines {
            machine.expect_queue(id, "done");
        }
        assert_eq!(fleet.on_base(&format!("{id}.txt")), *id);
        assert_eq!(fleet.merges_of(id), 1, "{id}");
        let file = format!("{id}.txt");
        let added = fleet.git(&["log", "--format=%H", "--diff-filter=A", BASE, "--", &file]);
        assert_eq!(added.lines().count(), 1, "{id} came into the branch once");
    }
    assert!(
        ["c-a", "c-b"].iter().all(|machine| who.iter().any(|w| w == machine)),
        "both worked: {who:?}"
    );
    let after: usize = fleet.git(&["rev-list", "--count", BASE]).parse().unwrap();
    assert_eq!(after, before + ids.len(), "one commit for each task");
    assert_eq!(fleet.git(&["rev-list", "--merges", BASE]), "", "one after the other");
    fleet.git(&["fsck", "--no-dangling"]);
    for machine in &machines {
        assert_eq!(machine.processes(), Vec::<String>::new());
    }
}

#[test]
fn a_machine_in_maintenance_claims_nothing() {
    let fleet = Fleet::new(&[], CHECK);
    let a = fleet.machine("a", WORKS, "orchestrator: {heartbeat_seconds: 1}\n");
    let path = "/api/v1/orchestrators/c-a";
    let heard = || fleet.server.ask("GET", path, None).1["last_heartbeat"].to_string();
    let mut daemon = a.start(&[], &[]);
    eventually("it is known", || fleet.server.ask("GET", path, None).0 == 200);
    let (status, row) = fleet
        .server
        .ask("PATCH", path, Some(&json!({ "status": "maintenance" })));
    assert_eq!((status, &row["status"]), (200, &"maintenance".into()));
    let id = a.enqueue(&["Later"]);
    for _ in 0..2 {
        let last = heard();
        eventually("it gives a sign of life", || heard() != last);
    }
    a.expect_queue(&id, "incoming");
    assert_eq!(fleet.server.ask("GET", path, None).1["status"], "maintenance");
    assert_eq!(count(&fleet.server.story(&id), "claimed"), 0);
    // Another machine is not held back by that; this one only while it lasts.
    let b = fleet.machine("b", WORKS, "");
    b.run(&["start", "--once"]).ok();
    b.expect_queue(&id, "done");
    let second = a.enqueue(&["Again"]);
    let (status, _) = fleet.server.ask("PATCH", path, Some(&json!({ "status": "active" })));
    assert_eq!(status, 200);
    eventually("it claims again", || a.queue(&second) == "done");
    assert!(claimers(&fleet.server.story(&second)).iter().all(|who| who == "c-a"));
    sound(&fleet.server.story(&second));
    daemon.signal("TERM");
    assert_eq!(daemon.wait(), 0);
    a.closing_checks();
}

#[test]
fn status_tells_of_the_server_and_init_of_the_machine() {
    let fleet = Fleet::new(&[], CHECK);
    let bare = Project::clone_of(&fleet.remote);
    let done = bare.json(&[
        "init",
        "--server",
        &fleet.server.url,
        "--cluster",
        "prod",
        "--machine-id",
        "vm-001",
    ]);
    assert_eq!(done["server"], fleet.server.url);
    let shown = bare.json(&["config", "show"]);
    assert_eq!(
        shown["server"],
        json!({ "url": fleet.server.url, "cluster": "prod", "machine_id": "vm-001" })
    );
    // The machine's own name stays on the machine; the rest is for everybody who clones.
    assert!(bare.read(".octopoid/local.yaml").contains("vm-001"));
    assert!(!bare.read(".octopoid/config.yaml").contains("vm-001"));
    bare.git(&["check-ignore", "--quiet", ".octopoid/local.yaml"]);

    let a = fleet.machine("a", WORKS, "");
    a.enqueue(&["Something"]);
    let status = a.json(&["status"]);
    assert_eq!((&status["mode"], &status["store"]), (&"remote".into(), &json!(null)));
    assert_eq!(status["scope"], SCOPE);
    let server = &status["server"];
    assert_eq!(
        (
            &server["url"],
            &server["connected"],
            &server["outbox"],
            &server["dropped"]
        ),
        (&json!(fleet.server.url), &true.into(), &0.into(), &0.into())
    );
    assert!(server["latency_ms"].is_u64(), "{server}");
    assert!(server.get("offline_since").is_none(), "{server}");
    assert_eq!(status["queues"], json!({ "incoming": 1 }));
    a.run(&["status"])
        .ok()
        .says(&format!("Connected to server {}", fleet.server.url));
    assert!(!a.path(".octopoid/state.db").exists(), "the tasks are not kept here");
}

#[test]
fn a_key_opens_its_scope_and_nothing_else_does() {
    let fleet = Fleet::new(&["--auth", "required"], CHECK);
    let script = r#"
plays:
  - role: gatekeeper
    steps: [{verdict: {verdict: approve}}]
  - steps: [{run: "env > \"$HOME/env\""}, {run: "echo x > $OCTOPOID_TASK_ID.txt"}, {commit: work}]
"#;
    let (a, b) = (fleet.machine("a", script, ""), fleet.machine("b", script, ""));
    let database = fleet.server.database();
    let make = |scope: &str| {
        let made = a.run(&[
            "key",
            "create",
            "--scope",
            scope,
            "--name",
            "m",
            "--database",
            &database,
        ]);
        made.ok().out.trim().to_owned()
    };
    let (key, other) = (make(SCOPE), make("other"));
    assert!(key.starts_with("oct_") && key.len() == 68, "{key}");

    let forged = format!("oct_{}", "0".repeat(64));
    for wrong in ["", forged.as_str(), "nonsense", other.as_str()] {
        let env = [("OCTOPOID_API_KEY", wrong)];
        for args in [
            &["list"][..],
            &["enqueue", "No"],
            &["start", "--once"],
            &["start", "--daemon"],
            &["sync"],
            &["status"],
        ] {
            a.run_with(args, &env).code(6);
        }
        let error = a.run_with(&["enqueue", "No", "--json"], &env).code(6).json()["error"].clone();
        assert!(
            ["unauthorized", "forbidden"].contains(&error["code"].as_str().unwrap()),
            "{error}"
        );
    }
    a.run(&["list"]).code(6).says("octopoid key create");

    // From the environment.
    let env = [("OCTOPOID_API_KEY", key.as_str())];
    let first = a.run_with(&["enqueue", "One", "--json"], &env).ok().json();
    let first = first["id"].as_str().unwrap();
    a.run_with(&["start", "--once"], &env).ok();
    let shown = a.run_with(&["show", first, "--json"], &env).ok().json();
    assert_eq!(shown["queue"], "done");
    let status = a.run_with(&["status", "--json"], &env).ok().json();
    assert_eq!(
        status["server"]["outbox"], 0,
        "what was refused for its key is not kept: {status}"
    );
    assert!(
        !a.read("../env").contains("oct_"),
        "the agent does not get the key:\n{}",
        a.read("../env")
    );

    // From the file, which `init` writes for its owner only.
    let written = b
        .run_with(&["init", "--server", &fleet.server.url, "--json"], &env)
        .ok()
        .json();
    assert_eq!(written["written"], json!([".octopoid/credentials"]));
    let mode = fs::metadata(b.path(".octopoid/credentials"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    b.git(&["check-ignore", "--quiet", ".octopoid/credentials"]);
    let second = b.enqueue(&["Two"]);
    b.run(&["start", "--once"]).ok();
    b.expect_queue(&second, "done");
    // A variable wins over the file.
    b.run_with(&["list"], &[("OCTOPOID_API_KEY", forged.as_str())]).code(6);
    b.closing_checks();
}

#[test]
fn a_server_that_was_never_reached_is_an_error_with_a_hint() {
    let mut fleet = Fleet::new(&[], CHECK);
    let a = fleet.machine("a", WORKS, "");
    fleet.server.kill();
    for args in [&["sync"][..], &["show", "task-1"], &["why", "task-1"]] {
        a.run(args).code(5).says("cannot be reached").says("hint: ");
        let mut json = args.to_vec();
        json.push("--json");
        let error = a.run(&json).code(5).json()["error"].clone();
        assert_eq!(error["code"], "offline", "{error}");
        assert!(error["hint"].is_string(), "{error}");
    }
}

#[test]
fn a_queue_that_was_never_seen_is_not_called_empty() {
    let mut fleet = Fleet::new(&[], CHECK);
    let a = fleet.machine("a", WORKS, "");
    fleet.machine("b", WORKS, "").enqueue(&["It is there"]);
    fleet.server.kill();
    a.run(&["list"]).code(5).says("cannot be reached").says("hint: ");
    a.run(&["start", "--once"])
        .code(5)
        .says("cannot be reached")
        .says("hint: ");
}
