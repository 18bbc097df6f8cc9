//! Rows that move: exports, imports and backups; and the keys that open them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::json;

use crate::{
    harness::{BIN, Project, Ran, WORKS, eventually},
    machines::{ADMIN, CHECK, Fleet, SCOPE, count, done_once},
};

/// A database in a file of the project's home folder, as it is named on command lines.
fn database(project: &Project, name: &str) -> String {
    format!("sqlite:{}", project.root.parent().unwrap().join(name).display())
}

#[track_caller]
fn export(project: &Project, database: &str) -> String {
    project.run(&["export", "--database", database]).ok().out
}

/// A project in which something of every kind has happened.
fn lively() -> Project {
    let project = Project::new(
        r#"
plays:
  - role: gatekeeper
    attempt: 2
    steps: [{verdict: {verdict: reject, summary: "not \"yet\" – ünïcode\n"}}]
  - role: gatekeeper
    steps: [{verdict: {verdict: approve, summary: fine}}]
  - steps: [{run: "echo $OCTOPOID_ATTEMPT >> $OCTOPOID_TASK_ID.txt"}, {commit: work}]
"#,
    );
    project.enqueue(&["Done", "--id", "done-one"]);
    project.run(&["start", "--once"]).ok();
    project.expect_queue("done-one", "done");
    project.enqueue(&["Waits", "--id", "waits", "--after", "done-one"]);
    project.enqueue(&[
        "Blocked", "--id", "blocked", "--after", "waits", "--check", "true", "--path", "*.txt",
    ]);
    project.run(&["hold", "waits", "--reason", "later"]).ok();
    project.enqueue(&["Off", "--id", "off", "--idempotency-key", "k"]);
    project.run(&["cancel", "off", "--reason", "no"]).ok();
    project
}

#[test]
fn an_export_comes_back_byte_for_byte() {
    let project = lively();
    let first = project.path("../first.jsonl");
    let told = project.json(&["export", "--out", "../first.jsonl"]);
    let text = fs::read_to_string(&first).unwrap();
    assert_eq!(told["lines"], text.lines().count());
    for table in ["tasks", "blockers", "attempts", "reviews", "messages", "events"] {
        assert!(text.contains(&format!("{{\"table\":\"{table}\",")), "no {table}");
    }
    assert_eq!(project.run(&["export"]).ok().out, text, "standard output is the same");

    let copy = database(&project, "copy.db");
    let empty = export(&project, &copy);
    let import = |extra: &[&str]| {
        let mut args = vec!["import", "../first.jsonl", "--database", copy.as_str()];
        args.extend(extra);
        project.json(&args)
    };
    // The first line and the last are no rows.
    let rows = text.lines().count() - 2;
    let imported = |written: usize, present: usize| json!({ "written": written, "present": present, "tasks": 4 });
    let dry = import(&["--dry-run"]);
    assert_eq!(dry, json!({ "dry_run": true, "imported": imported(rows, 0) }));
    assert_eq!(export(&project, &copy), empty, "a dry run writes nothing");
    let done = import(&[]);
    assert_eq!(done, json!({ "dry_run": false, "imported": imported(rows, 0) }));
    assert_eq!(export(&project, &copy), text, "every byte came back");
    let again = import(&[]);
    assert_eq!(again, json!({ "dry_run": false, "imported": imported(0, rows) }));
    assert_eq!(export(&project, &copy), text);

    // From a pipe, into the database that a project works on: it goes on where the other one was.
    let other = Project::new(WORKS);
    other.config("scope: repo\n");
    let mut command = other.command(&["import", "-", "--json"]);
    command.stdin(fs::File::open(&first).unwrap());
    assert!(command.output().unwrap().status.success());
    assert_eq!(other.run(&["export"]).ok().out, text);
    other.run(&["unhold", "waits"]).ok();
    other.run(&["start", "--once"]).ok();
    other.expect_queue("waits", "done");
}

#[test]
fn an_altered_line_is_refused_and_nothing_is_written() {
    let project = lively();
    let text = project.run(&["export"]).ok().out;
    let copy = database(&project, "copy.db");
    project.run(&["export", "--out", "../first.jsonl"]).ok();
    project.run(&["import", "../first.jsonl", "--database", &copy]).ok();
    // A new row comes first, then one that is there and differs.
    let lines: Vec<&str> = text.lines().collect();
    let off = lines.iter().find(|l| l.contains("\"id\":\"off\"")).unwrap();
    let fresh = off
        .replace("\"id\":\"off\"", "\"id\":\"fresh\"")
        .replace("\"seq\":4", "\"seq\":9");
    assert_ne!(fresh, **off);
    let altered = lines[1].replace("\"title\":\"Done\"", "\"title\":\"Undone\"");
    assert_ne!(altered, lines[1]);
    let mixed = format!("{}\n{fresh}\n{altered}\n", lines[0]);
    project.write("../mixed.jsonl", &mixed);
    for extra in [&["--dry-run"][..], &[]] {
        let mut args = vec!["import", "../mixed.jsonl", "--database", copy.as_str()];
        args.extend(extra);
        project
            .run(&args)
            .code(4)
            .says("line 3: tasks has another row")
            .says("nothing was written");
    }
    assert_eq!(export(&project, &copy), text);
    // Alone, the new row would have been taken.
    let end = "{\"octopoid\":\"end\",\"rows\":1}";
    project.write("../alone.jsonl", &format!("{}\n{fresh}\n{end}\n", lines[0]));
    project.run(&["import", "../alone.jsonl", "--database", &copy]).ok();
    assert_ne!(export(&project, &copy), text);
}

#[test]
fn junk_is_no_export() {
    let project = lively();
    let before = project.run(&["export"]).ok().out;
    let header = "{\"octopoid\":\"export\",\"format\":1}\n";
    let whole = before.clone();
    let lines: Vec<&str> = whole.lines().collect();
    let cut = lines[..lines.len() - 1].join("\n");
    let half = &cut[..cut.len() - 40];
    let none = format!("{header}{{\"octopoid\":\"end\",\"rows\":0}}\n");
    let more = format!("{whole}{}\n", lines[1]);
    let without = |what: &str| -> String {
        let kept: Vec<&str> = lines.iter().copied().filter(|l| !l.contains(what)).collect();
        let counted = format!("{{\"octopoid\":\"end\",\"rows\":{}}}", kept.len() - 2);
        format!("{}\n{counted}\n", kept[..kept.len() - 1].join("\n"))
    };
    let lost = without("\"table\":\"blockers\"");
    let fewer = [&lines[..lines.len() - 2], &lines[lines.len() - 1..]]
        .concat()
        .join("\n");
    let cases: [(&str, &str); 13] = [
        ("", "is empty"),
        ("\n \n", "is empty"),
        ("junk\n", "line 1: not JSON"),
        ("{}\n", "line 1: this is no export"),
        ("{\"octopoid\":\"export\",\"format\":99}\n", "line 1: this is no export"),
        (
            &format!("{header}{{\"table\":\"secrets\",\"row\":{{}}}}\n"),
            "line 2: unknown table",
        ),
        (
            &format!("{header}{{\"table\":\"tasks\",\"row\":{{\"id\":\"x\"}}}}\n"),
            "is missing",
        ),
        (&before.replace("\"version\":", "\"verzion\":"), "has no column verzion"),
        (half, "not JSON"),
        (&lost, "do not add up"),
        (&cut, "not whole"),
        (&fewer, "rows came before"),
        (&more, "more after"),
    ];
    let target = database(&project, "target.db");
    for (text, says) in cases {
        project.write("../junk.jsonl", text);
        project
            .run(&["import", "../junk.jsonl", "--database", &target])
            .code(2)
            .says(says);
        assert_eq!(export(&project, &target), none, "{says}");
    }
    // A task that others wait for is not there.
    project.write("../junk.jsonl", &without("\"id\":\"waits\""));
    let ran = project.run(&["import", "../junk.jsonl", "--database", &target]);
    assert!(ran.code > 0, "{ran:?}");
    assert_eq!(export(&project, &target), none);
    project
        .run(&["import", "../missing.jsonl"])
        .code(1)
        .says("missing.jsonl");
    project
        .run(&["export", "--database", "mysql:somewhere"])
        .code(2)
        .says("sqlite:FILE");
    assert_eq!(project.run(&["export"]).ok().out, before);
}

/// Makes, lists, changes and revokes a key at `place`; `opens` tells whether a key opens the scope.
fn life_of_a_key(at: &dyn Fn(&[&str]) -> Ran, opens: &dyn Fn(&str) -> bool) {
    let secret = |ran: Ran| -> String {
        let text = ran.ok().out.trim().to_owned();
        assert!(text.starts_with("oct_") && text.len() == 68, "{text}");
        text
    };
    let made = at(&["create", "--scope", SCOPE, "--name", "vm 1", "--json"])
        .ok()
        .json();
    let (id, first) = (made["id"].as_str().unwrap(), made["key"].as_str().unwrap());
    assert_eq!((&made["scope"], &made["name"]), (&SCOPE.into(), &"vm 1".into()));
    assert!(opens(first));
    let other = secret(at(&["create", "--scope", "other", "--name", "vm-2"]));
    assert!(!opens(&other), "a key of another scope");

    let listed = at(&["list", "--json"]).ok();
    assert!(!listed.out.contains("oct_"), "no secret is listed:\n{}", listed.out);
    let listed = listed.json();
    assert_eq!((&listed["total"], &listed["keys"][0]["id"]), (&2.into(), &json!(id)));
    let some = at(&["list", "--scope", "other", "--json"]).ok().json();
    assert_eq!((&some["total"], &some["keys"][0]["name"]), (&1.into(), &"vm-2".into()));
    assert!(listed["keys"][0]["last_used_at"].is_string(), "{listed}");
    at(&["list"]).ok().says(id).says("vm 1");

    let second = secret(at(&["rotate", id]));
    assert_ne!(second, first);
    eventually("the old secret is worthless", || !opens(first));
    assert!(opens(&second));
    let listed = at(&["list", "--json"]).ok().json();
    assert_eq!((&listed["total"], &listed["keys"][0]["id"]), (&2.into(), &json!(id)));

    at(&["revoke", id]).ok();
    eventually("the key is worthless", || !opens(&second));
    assert_eq!(at(&["list", "--json"]).ok().json()["total"], 1);
    for gone in [&["revoke", id][..], &["rotate", id]] {
        at(gone).code(3).says(id);
    }
    at(&["create", "--scope", "no scope", "--name", "x"])
        .code(2)
        .says("no scope");
    at(&["create", "--scope", SCOPE, "--name", ""]).code(2).says("name");
}

#[test]
fn keys_are_managed_in_a_database_or_through_its_server() {
    for through_server in [false, true] {
        let fleet = Fleet::new(&["--auth", "required"], CHECK);
        let a = fleet.machine("a", WORKS, "");
        let database = fleet.server.database();
        let place = if through_server {
            ["--server", fleet.server.url.as_str()]
        } else {
            ["--database", database.as_str()]
        };
        let token = [("OCTOPOID_ADMIN_TOKEN", ADMIN)];
        let env: &[(&str, &str)] = if through_server { &token } else { &[] };
        let at = |args: &[&str]| {
            let mut all = vec!["key"];
            all.extend(args);
            all.extend(place);
            a.run_with(&all, env)
        };
        let opens = |key: &str| match a.run_with(&["list"], &[("OCTOPOID_API_KEY", key)]).code {
            0 => true,
            6 => false,
            other => panic!("exit code {other}"),
        };
        life_of_a_key(&at, &opens);
        let text = export(&a, &database);
        assert!(
            text.contains("vm-2") && !text.contains("oct_"),
            "a backup has the keys' names and hashes, but no key"
        );
    }
}

#[test]
fn the_admin_routes_need_their_token() {
    let fleet = Fleet::new(&[], CHECK);
    let a = fleet.machine("a", WORKS, "");
    let url = fleet.server.url.as_str();
    a.run(&["export", "--out", "../empty.jsonl", "--database", &database(&a, "e.db")])
        .ok();
    for args in [
        &["key", "list", "--server", url][..],
        &["key", "create", "--scope", "s", "--name", "n", "--server", url],
        &["export", "--server", url],
        &["import", "../empty.jsonl", "--server", url],
    ] {
        a.run(args).code(6).says("OCTOPOID_ADMIN_TOKEN");
        for wrong in ["wrong", "oct_0000"] {
            a.run_with(args, &[("OCTOPOID_ADMIN_TOKEN", wrong)]).code(6);
        }
    }
    let token = [("OCTOPOID_ADMIN_TOKEN", ADMIN)];
    // In a project with a server, that server is meant.
    assert_eq!(a.run_with(&["key", "list", "--json"], &token).ok().json()["total"], 0);
    a.enqueue(&["Something"]);
    let told = a.run_with(&["export"], &token).ok().out;
    assert_eq!(told, export(&a, &fleet.server.database()));
}

/// The command of the backup unit, as a shell gets it when systemd has read it.
fn backup_command() -> String {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../server/deploy/octopoid-backup.service");
    let text = fs::read_to_string(unit).unwrap();
    let line = text
        .lines()
        .find_map(|l| l.strip_prefix("ExecStart=/bin/sh -euc '"))
        .unwrap();
    let command = line.strip_suffix('\'').unwrap();
    assert!(command.contains("/usr/local/bin/octopoid export"), "{command}");
    command
        .replace("$$", "$")
        .replace("%%", "%")
        .replace("/usr/local/bin/octopoid", BIN)
}

#[test]
fn a_backup_of_a_running_server_is_restored_and_the_work_goes_on() {
    let mut fleet = Fleet::new(&[], CHECK);
    let a = fleet.machine(
        "a",
        r#"
plays:
  - role: gatekeeper
    steps: [{verdict: {verdict: approve}}]
  - task: Slow
    steps: [{print: ready}, {run: "n=0; while [ ! -e \"$HOME/go\" ]; do n=$((n+1)); [ $n -gt 1200 ] && exit 1; sleep 0.05; done"}, {write: {slow.txt: "1\n"}}, {commit: slow}]
  - steps: [{run: "echo x > $OCTOPOID_TASK_ID.txt"}, {commit: quick}]
"#,
        "",
    );
    let before = a.enqueue(&["Before"]);
    a.run(&["start", "--once"]).ok();
    let slow = a.enqueue(&["Slow"]);
    let waits = a.enqueue(&["Waits", "--after", &slow]);
    let mut daemon = a.start(&[], &[]);
    eventually("the agent is ready", || a.run(&["logs", &slow]).out.contains("ready"));

    let folder = fleet.folder().join("backup");
    fs::create_dir(&folder).unwrap();
    let backup = Command::new("sh")
        .arg("-euc")
        .arg(backup_command())
        .current_dir(&folder)
        .env("OCTOPOID_DATABASE_URL", fleet.server.database())
        .output()
        .unwrap();
    assert!(backup.status.success(), "{backup:?}");
    let files: Vec<PathBuf> = fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    let name = files[0].file_name().unwrap().to_string_lossy().into_owned();
    assert!(name.starts_with("octopoid-20") && name.ends_with("Z.jsonl"), "{name}");
    let text = fs::read_to_string(&files[0]).unwrap();

    // The disk is lost while the agent works.
    fleet.server.kill();
    fleet.server.lose_database();
    let (file, place) = (files[0].display().to_string(), fleet.server.database());
    let dry = a.json(&["import", &file, "--database", &place, "--dry-run"]);
    assert_eq!(dry["imported"]["tasks"], 3, "{dry}");
    a.run(&["import", &file, "--database", &place]).ok();
    assert_eq!(export(&a, &place), text, "before the server starts, it is the same");
    fleet.server.restart();
    a.expect_queue(&before, "done");
    a.expect_queue(&slow, "claimed");
    fs::write(a.path("../go"), "").unwrap();
    for id in [&slow, &waits] {
        eventually("the work goes on", || a.queue(id) == "done");
    }
    for id in [&before, &slow, &waits] {
        let story = fleet.server.story(id);
        done_once(&story);
        assert_eq!(count(&story, "claimed"), 1, "the claim was in the backup");
        assert_eq!(fleet.merges_of(id), 1);
    }
    daemon.signal("TERM");
    assert_eq!(daemon.wait(), 0);
    a.closing_checks();
}
