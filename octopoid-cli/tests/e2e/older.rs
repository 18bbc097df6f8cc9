//! The tasks of an older installation move into a project or to a server, and nothing changes where they were.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::SystemTime,
};

use serde_json::{Value, json};

use crate::{
    harness::{Project, WORKS},
    machines::{CHECK, Fleet},
};

/// What lies below a folder: each file's bytes and time of change.
fn tree(folder: &Path) -> BTreeMap<PathBuf, (Vec<u8>, SystemTime)> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(tree(&path));
        } else {
            let changed = fs::metadata(&path).unwrap().modified().unwrap();
            found.insert(path.clone(), (fs::read(&path).unwrap(), changed));
        }
    }
    found
}

/// An installation of version 1 in `../old`: task files in folders of queues, and a database beside them.
fn older_installation(project: &Project) -> PathBuf {
    let queue = "../old/.orchestrator/shared/queue";
    let files = [
        (
            "incoming/TASK-aaaa0001.md",
            "# [TASK-aaaa0001] First\n\nROLE: implement\nPRIORITY: P1\nBRANCH: trunk\nCREATED: 2026-02-03T21:40:43Z\nCREATED_BY: human\n\n## Context\nAll of it\n",
        ),
        (
            "incoming/TASK-bbbb0002.md",
            "# [TASK-bbbb0002] Second\n\nROLE: implement\nPRIORITY: P0\nBRANCH: trunk\nBLOCKED_BY: TASK-aaaa0001, cccc0003\n\nSecond body\n",
        ),
        (
            "done/TASK-cccc0003.md",
            "# [TASK-cccc0003] Third\n\nROLE: implement\nCOMPLEXITY: S\n\nThird body\n\nCOMPLETED_AT: 2026-02-06T00:00:00\n",
        ),
        (
            "provisional/TASK-dddd0004.md",
            "# [TASK-dddd0004] Fourth\n\nROLE: test\n\nFourth body\n",
        ),
        (
            "backlog/TASK-eeee0005.md",
            "# [TASK-eeee0005] Fifth\n\nROLE: implement\n\nFifth body\n",
        ),
        (
            "incoming/TASK-ffff0006.md",
            "# [TASK-ffff0006] Sixth\n\nROLE: implement\nBLOCKED_BY: TASK-99999999\n\nSixth body\n",
        ),
    ];
    for (name, text) in files {
        project.write(&format!("{queue}/{name}"), text);
    }
    project.write("../old/.orchestrator/agents.yaml", "agents: []\n");
    let statements = "
CREATE TABLE tasks (id TEXT PRIMARY KEY, file_path TEXT NOT NULL UNIQUE, queue TEXT NOT NULL DEFAULT 'incoming',
  priority TEXT DEFAULT 'P2', complexity TEXT, role TEXT, branch TEXT DEFAULT 'main', blocked_by TEXT, claimed_by TEXT,
  attempt_count INTEGER DEFAULT 0, rejection_count INTEGER DEFAULT 0, completed_at TEXT, created_at DATETIME);
INSERT INTO tasks (id, file_path, queue, role, branch, blocked_by, claimed_by, created_at) VALUES
  ('gggg0007', '/gone/TASK-gggg0007.md', 'claimed', 'implement', 'trunk', 'dddd0004,aaaa0001', 'impl-1', '2026-02-05T10:00:00+01:00');
INSERT INTO tasks (id, file_path, queue, role, branch, attempt_count, created_at) VALUES
  ('hhhh0008', '/gone/TASK-hhhh0008.md', 'failed', 'implement', 'trunk', 2, '2026-02-05 10:00:00');
";
    project.write("../old.sql", statements);
    let code =
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.executescript(open(sys.argv[2]).read()); c.close()";
    let made = Command::new("python3")
        .args(["-c", code, "../old/.orchestrator/state.db", "../old.sql"])
        .current_dir(&project.root)
        .status()
        .unwrap();
    assert!(made.success());
    project.root.parent().unwrap().join("old")
}

/// Where each task of the older installation goes.
const MOVED: [(&str, &str, &str); 8] = [
    ("aaaa0001", "incoming", "incoming"),
    ("bbbb0002", "incoming", "incoming"),
    ("cccc0003", "done", "done"),
    ("dddd0004", "provisional", "needs_attention"),
    ("eeee0005", "backlog", "incoming"),
    ("ffff0006", "incoming", "incoming"),
    ("gggg0007", "claimed", "incoming"),
    ("hhhh0008", "failed", "failed"),
];

/// Migrates into `project`: first dry, then really, then again; looks at what came of it.
#[track_caller]
fn migrate(project: &Project) {
    let old = older_installation(project);
    let before = tree(&old);
    let check = |extra: &[&str], outcome: &str| -> Value {
        let mut args = vec!["migrate", "--from", "../old"];
        args.extend(extra);
        let told = project.json(&args);
        let mut tasks: Vec<(&str, &str, &str)> = told["tasks"]
            .as_array()
            .unwrap()
            .iter()
            .map(|t| {
                assert_eq!(t["outcome"], outcome, "{t}");
                (
                    t["id"].as_str().unwrap(),
                    t["from"].as_str().unwrap(),
                    t["to"].as_str().unwrap(),
                )
            })
            .collect();
        tasks.sort_unstable();
        assert_eq!(tasks, MOVED);
        let queues = json!({ "done": 1, "failed": 1, "incoming": 5, "needs_attention": 1 });
        assert_eq!(
            (&told["queues"], &told["dependencies"], &told["failed"]),
            (&queues, &4.into(), &0.into())
        );
        assert!(
            told["problems"]
                .to_string()
                .contains("waits for 99999999, which is nowhere"),
            "{told:#}"
        );
        assert_eq!(tree(&old), before, "the older installation is as it was");
        told
    };
    assert_eq!(check(&["--dry-run"], "would be created")["dry_run"], true);
    assert_eq!(project.json(&["list", "--all"])["total"], 0, "a dry run writes nothing");
    assert_eq!(check(&[], "created")["dry_run"], false);
    let all = project.json(&["list", "--all"]);
    assert_eq!(all["total"], 8);
    check(&[], "present");
    assert_eq!(project.json(&["list", "--all"]), all, "a second run changes nothing");
    check(&["--dry-run"], "present");

    let second = project.show("bbbb0002");
    assert_eq!(second["blocked_by"], json!(["aaaa0001", "cccc0003"]));
    assert_eq!(
        (
            &second["title"],
            &second["content"],
            &second["priority"],
            &second["blocked"]
        ),
        (&"Second".into(), &"Second body\n".into(), &"P0".into(), &true.into())
    );
    assert_eq!(project.show("gggg0007")["blocked_by"], json!(["dddd0004", "aaaa0001"]));
    assert_eq!(project.show("cccc0003")["complexity"], "S");
    for (id, reason) in [("eeee0005", "backlog"), ("ffff0006", "99999999")] {
        let hold = project.show(id)["hold"].as_str().unwrap_or_default().to_owned();
        assert!(hold.contains(reason), "{id}: {hold}");
    }
    // What may be worked on is worked on, in its order; what is held or waits stays.
    project.run(&["start", "--once"]).code(1);
    for (id, queue) in [
        ("aaaa0001", "done"),
        ("bbbb0002", "done"),
        ("dddd0004", "needs_attention"),
        ("eeee0005", "incoming"),
        ("ffff0006", "incoming"),
        ("gggg0007", "incoming"),
    ] {
        project.expect_queue(id, queue);
    }
    check(&[], "present");
}

#[test]
fn an_older_installation_moves_into_a_project() {
    let project = Project::new(WORKS);
    migrate(&project);
    project
        .run(&["migrate", "--from", "../nowhere"])
        .code(1)
        .says("nowhere");
    project.write("../nothing/README.md", "# nothing\n");
    project
        .run(&["migrate", "--from", "../nothing"])
        .code(3)
        .says("no older installation");
    // A task of the same name that somebody else made is not touched, and it is told.
    let other = Project::new(WORKS);
    older_installation(&other);
    other.enqueue(&["Mine", "--id", "aaaa0001"]);
    let told = other.run(&["migrate", "--from", "../old", "--json"]).code(1).json();
    assert_eq!(told["failed"], 1, "{told:#}");
    assert!(
        told["problems"]
            .to_string()
            .contains("does not come from an older installation")
    );
    assert_eq!(other.show("aaaa0001")["title"], "Mine");
}

#[test]
fn an_older_installation_moves_to_a_server() {
    let fleet = Fleet::new(&[], CHECK);
    migrate(&fleet.machine("a", WORKS, ""));
    assert_eq!(fleet.machine("b", WORKS, "").json(&["list", "--all"])["total"], 8);
}
