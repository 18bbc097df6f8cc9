//! Installations of each generation, made in a folder, read, and found unchanged.

mod broken;
mod text;

use std::{collections::BTreeMap, fs, path::Path};

use rusqlite::Connection;
use serde_json::json;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::*;
use crate::id::to_hex;

fn put(root: &Path, name: &str, bytes: impl AsRef<[u8]>) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn database(root: &Path, name: &str, statements: &str) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    Connection::open(path).unwrap().execute_batch(statements).unwrap();
}

/// Every folder and file below `root` with the hash of what is in it.
fn tree(root: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.insert(path.display().to_string(), String::new());
            found.extend(tree(&path));
        } else {
            let hash = to_hex(&Sha256::digest(fs::read(&path).unwrap()));
            found.insert(path.display().to_string(), hash);
        }
    }
    found
}

/// Reads twice: the same both times, and the folder is as it was.
fn read_unchanged(root: &Path) -> Installation {
    let before = tree(root);
    let found = read(root).unwrap();
    assert_eq!(tree(root), before);
    let again = read(root).unwrap();
    assert_eq!(found.tasks, again.tasks);
    assert_eq!(found.problems, again.problems);
    found
}

fn task<'a>(found: &'a Installation, id: &str) -> &'a OldTask {
    found.tasks.iter().find(|task| task.id == id).unwrap()
}

fn has_problem(found: &Installation, source: &str, what: &str) -> bool {
    let fits = |p: &Problem| p.source.contains(source) && p.what.contains(what);
    found.problems.iter().any(fits)
}

fn at(text: &str) -> Option<Timestamp> {
    Some(text.parse().unwrap())
}

const VERSION_1: &str = "
    CREATE TABLE tasks (id TEXT PRIMARY KEY, file_path TEXT NOT NULL UNIQUE, queue TEXT NOT NULL DEFAULT 'incoming',
        priority TEXT DEFAULT 'P2', complexity TEXT, role TEXT, branch TEXT DEFAULT 'main', blocked_by TEXT,
        claimed_by TEXT, claimed_at DATETIME, commits_count INTEGER DEFAULT 0, attempt_count INTEGER DEFAULT 0,
        project_id TEXT, rejection_count INTEGER DEFAULT 0, pr_number INTEGER, pr_url TEXT, checks TEXT,
        completed_at TEXT, created_at DATETIME DEFAULT CURRENT_TIMESTAMP);
    CREATE TABLE projects (id TEXT PRIMARY KEY, title TEXT NOT NULL, status TEXT, created_at DATETIME);
    CREATE TABLE task_history (id INTEGER PRIMARY KEY AUTOINCREMENT, task_id TEXT NOT NULL, event TEXT NOT NULL,
        agent TEXT, details TEXT, timestamp DATETIME);
    CREATE TABLE agents (name TEXT PRIMARY KEY);
    INSERT INTO agents VALUES ('impl-1');
    INSERT INTO tasks (id, file_path, queue, priority, project_id, attempt_count, rejection_count, pr_number, created_at, completed_at)
        VALUES ('aaaa0001', '/gone/TASK-aaaa0001.md', 'done', 'P1', 'PROJ-1', 2, 1, 12,
                '2026-02-03 21:40:43', '2026-02-04T06:55:00.500000');
    INSERT INTO tasks (id, file_path, queue, claimed_by, created_at)
        VALUES ('bbbb0002', '/gone/TASK-bbbb0002.md', 'claimed', 'impl-2', '2026-02-05T10:00:00+01:00');
    INSERT INTO projects VALUES ('PROJ-1', 'A feature', 'active', '2026-02-01 00:00:00');
    INSERT INTO task_history (task_id, event, timestamp) VALUES ('aaaa0001', 'created', '2026-02-03 21:40:43');
    INSERT INTO task_history (task_id, event, timestamp) VALUES ('aaaa0001', 'accepted', '2026-02-04 06:55:00');
";

fn version_1(root: &Path) {
    let queue = |name: &str| format!(".orchestrator/shared/queue/{name}");
    put(root, ".orchestrator/agents.yaml", "agents: []\n");
    put(
        root,
        &queue("incoming/TASK-aaaa0001.md"),
        "# [TASK-aaaa0001] First\n\nROLE: implement\nPRIORITY: P2\nBRANCH: main\nCREATED: 2026-02-03T21:40:43Z\nCREATED_BY: human\nCHECKS: gk-qa\n\n## Context\nText: all of it\n\nCLAIMED_BY: impl-1\nCLAIMED_AT: 2026-02-03T21:44:22.842159\n",
    );
    put(
        root,
        &queue("needs_continuation/TASK-bbbb0002.md"),
        "# [TASK-bbbb0002] Second\r\n\r\nROLE: test\r\nBLOCKED_BY: TASK-cccc0003, aaaa0001\r\n\r\n## Context\r\nb\r\n",
    );
    put(
        root,
        &queue("provisional/TASK-cccc0003.md"),
        "# Third\n\nCREATED: 2026-02-04T15:30:00Z\nPRIORITY: P0\nCOMPLEXITY: S\nSKIP_PR: true\nBLOCKED_BY: None\n\nc\n",
    );
    put(
        root,
        &queue("incoming/TASK-dddd0004.md"),
        "# [TASK-dddd0004] Fourth\n\nold\n",
    );
    put(
        root,
        &queue("completed/TASK-dddd0004.md"),
        "# [TASK-dddd0004] Fourth\n\nnew\n\nCOMPLETED_AT: 2026-02-06T00:00:00\n\n## Result\nMerged\n",
    );
    put(root, &queue("incoming/.claim.lock"), "");
    put(root, &queue(".pr_cache.json"), "{}");
    put(
        root,
        ".orchestrator/shared/projects/PROJ-1.yaml",
        "id: PROJ-1\ntitle: Old\nbranch: feature/1\n",
    );
}

#[test]
fn version_1_with_files_and_a_database() {
    let root = TempDir::new().unwrap();
    version_1(root.path());
    database(root.path(), ".orchestrator/state.db", VERSION_1);
    let found = read_unchanged(root.path());

    let ids: Vec<&str> = found.tasks.iter().map(|task| task.id.as_str()).collect();
    assert_eq!(ids, ["aaaa0001", "cccc0003", "bbbb0002", "dddd0004"]);

    let first = task(&found, "aaaa0001");
    assert_eq!(first.title.as_deref(), Some("First"));
    assert_eq!(first.content.as_deref(), Some("## Context\nText: all of it\n"));
    assert_eq!((first.queue.as_str(), first.priority.as_deref()), ("done", Some("P1")));
    assert_eq!(
        (first.attempt_count, first.rejection_count, first.pr_number),
        (2, 1, Some(12))
    );
    assert_eq!(first.created_at, at("2026-02-03T21:40:43Z"));
    assert_eq!(first.completed_at, at("2026-02-04T06:55:00.500Z"));
    assert_eq!(first.created_by.as_deref(), Some("human"));
    assert_eq!(first.project_id.as_deref(), Some("PROJ-1"));
    assert_eq!(first.extra["file_queue"], "incoming");
    assert_eq!(first.extra["checks"], "gk-qa");
    assert_eq!(first.extra["claimed_by"], "impl-1");
    assert_eq!(first.extra["history"].as_array().unwrap().len(), 2);
    assert!(first.source.contains("state.db table tasks row 1"), "{}", first.source);

    let second = task(&found, "bbbb0002");
    assert_eq!(
        (second.queue.as_str(), second.role.as_deref()),
        ("claimed", Some("test"))
    );
    assert_eq!(second.created_at, at("2026-02-05T09:00:00Z"));
    assert_eq!(second.content.as_deref(), Some("## Context\nb\n"));
    assert_eq!(second.blocked_by, Vec::<String>::new());
    assert_eq!(second.extra["file_blocked_by"], json!(["cccc0003", "aaaa0001"]));
    assert!(has_problem(
        &found,
        "TASK-bbbb0002.md",
        "lies in needs_continuation, but the database says claimed"
    ));
    assert!(has_problem(&found, "TASK-bbbb0002.md", "waits for cccc0003 here"));

    let third = task(&found, "cccc0003");
    assert_eq!(
        (third.queue.as_str(), third.complexity.as_deref()),
        ("provisional", Some("S"))
    );
    assert_eq!(
        (third.title.as_deref(), third.content.as_deref()),
        (Some("Third"), Some("c\n"))
    );

    let fourth = task(&found, "dddd0004");
    assert_eq!(
        (fourth.queue.as_str(), fourth.content.as_deref()),
        ("completed", Some("new\n\n\n## Result\nMerged\n"))
    );
    assert_eq!(fourth.completed_at, at("2026-02-06T00:00:00Z"));
    assert!(has_problem(&found, "incoming/TASK-dddd0004.md", "there twice"));

    assert_eq!(found.projects.len(), 1);
    let project = &found.projects[0];
    assert_eq!(
        (&project.body["title"], &project.body["branch"]),
        (&json!("A feature"), &json!("feature/1"))
    );
    assert_eq!(found.problems.len(), 3, "{:?}", found.problems);
    assert!(
        found.forms.iter().any(|form| form.contains("5 task files")),
        "{:?}",
        found.forms
    );
    assert!(
        found.forms.iter().any(|form| form.contains("not taken over: agents")),
        "{:?}",
        found.forms
    );
}

#[test]
fn the_folder_itself_or_its_queues_may_be_named() {
    let root = TempDir::new().unwrap();
    version_1(root.path());
    for name in [".orchestrator", ".orchestrator/shared/queue"] {
        let found = read_unchanged(&root.path().join(name));
        assert!(found.tasks.len() >= 3, "{name}: {:?}", found.tasks);
    }
}

#[test]
fn what_is_only_in_the_write_ahead_log_is_read() {
    let (making, root) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let connection = Connection::open(making.path().join("state.db")).unwrap();
    connection.pragma_update(None, "journal_mode", "WAL").unwrap();
    connection.pragma_update(None, "wal_autocheckpoint", 0).unwrap();
    connection.execute_batch(VERSION_1).unwrap();
    // As after a crash: the connection is open, so nothing is in the main file yet.
    fs::create_dir(root.path().join(".orchestrator")).unwrap();
    for name in ["state.db", "state.db-wal"] {
        fs::copy(making.path().join(name), root.path().join(".orchestrator").join(name)).unwrap();
    }
    drop(connection);
    let found = read_unchanged(root.path());
    assert_eq!(found.tasks.len(), 2);
    // A done task without its file is no problem; one that is still to be done is.
    assert!(has_problem(&found, "state.db", "task bbbb0002 has no text"));
    assert!(!has_problem(&found, "state.db", "task aaaa0001 has no text"));
}

#[test]
fn the_offline_cache_of_the_command_line() {
    let root = TempDir::new().unwrap();
    let dir = root.path();
    put(
        dir,
        ".octopoid/config.yaml",
        "mode: local\nrepo:\n  path: /elsewhere\n  main_branch: main\n",
    );
    put(
        dir,
        "tasks/claimed/TASK-lq1-0a0b0c0d.md",
        "# [TASK-lq1-0a0b0c0d] From a file\n\nROLE: fix\n\n## Description\nd\n",
    );
    put(dir, "tasks/plan.md", "# Our plan\n");
    put(dir, "tasks/archive/old.md", "# Old\n");
    database(
        dir,
        ".octopoid/runtime/cache.db",
        r#"CREATE TABLE tasks (id TEXT PRIMARY KEY, file_path TEXT NOT NULL, queue TEXT NOT NULL, priority TEXT NOT NULL,
               role TEXT, branch TEXT DEFAULT 'main', blocked_by TEXT, version INTEGER DEFAULT 1, created_at TEXT);
           CREATE TABLE sync_queue (id INTEGER PRIMARY KEY AUTOINCREMENT, operation TEXT NOT NULL, task_id TEXT NOT NULL,
               payload TEXT NOT NULL, created_at TEXT, synced_at TEXT, error TEXT);
           INSERT INTO tasks VALUES ('task-abc', 'tasks/task-abc.md', 'incoming', 'P2', 'implement', 'main', NULL, 1, '2026-02-11T12:11:00.123Z');
           INSERT INTO sync_queue (operation, task_id, payload) VALUES ('create', 'task-abc',
               '{"id":"task-abc","title":"From the command line","complexity":"M","blocked_by":"task-x","queue":"incoming"}');
           INSERT INTO sync_queue (operation, task_id, payload, error) VALUES ('submit', 'task-abc', '{}', 'API error (409)');"#,
    );
    let found = read_unchanged(dir);
    assert_eq!(found.tasks.len(), 2, "{:?}", found.tasks);
    let row = task(&found, "task-abc");
    assert_eq!(
        (row.title.as_deref(), row.complexity.as_deref()),
        (Some("From the command line"), Some("M"))
    );
    assert_eq!(row.blocked_by, ["task-x"]);
    assert_eq!(row.created_at, at("2026-02-11T12:11:00.123Z"));
    assert!(has_problem(
        &found,
        "sync_queue row 2",
        "submit was refused by the server: API error (409)"
    ));
    assert_eq!(task(&found, "lq1-0a0b0c0d").queue, "claimed");
}

#[test]
fn a_database_of_the_server_with_messages_and_drafts() {
    let root = TempDir::new().unwrap();
    let dir = root.path();
    database(
        dir,
        ".wrangler/state/v3/d1/miniflare-D1DatabaseObject/0a.sqlite",
        "CREATE TABLE tasks (ID TEXT PRIMARY KEY, file_path TEXT, title TEXT, queue TEXT, blocked_by TEXT, attempt_count TEXT,
             content TEXT, scope TEXT, flow TEXT, created_at TEXT, note BLOB, completed_at TEXT);
         INSERT INTO tasks VALUES ('e1', 'TASK-e1.md', 'e1', 'review', NULL, '2', '# [TASK-e1] Do it' || char(10) || char(10) ||
             'ROLE: fix' || char(10) || 'CREATED_BY: bot' || char(10) || 'BLOCKED_BY: zz' || char(10) || char(10) || 'Body' || char(10),
             'shop', 'default', '2026-03-01 10:00:00', X'FF00', 'soon');
         INSERT INTO tasks VALUES (NULL, 'x', NULL, 'incoming', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
         CREATE TABLE messages (id TEXT PRIMARY KEY, task_id TEXT, from_actor TEXT, to_actor TEXT, type TEXT, content TEXT,
             created_at TEXT, scope TEXT, parent_message_id TEXT);
         INSERT INTO messages VALUES ('msg-2', 'e1', 'human', 'agent', 'answer', 'Yes.', '2026-03-02T00:00:01.000Z', 'shop', 'msg-1');
         INSERT INTO messages VALUES ('msg-1', 'e1', 'agent', 'human', 'question', 'Blue?', '2026-03-02T00:00:00.000Z', 'shop', NULL);
         CREATE TABLE drafts (id INTEGER PRIMARY KEY AUTOINCREMENT, title TEXT, status TEXT, file_path TEXT, created_at TEXT);
         INSERT INTO drafts VALUES (7, 'An idea', 'idea', NULL, '2026-02-20T00:00:00.000Z');
         CREATE TABLE actions (id TEXT); INSERT INTO actions VALUES ('act-1');
         CREATE TABLE flows (name TEXT);",
    );
    put(
        dir,
        "project-management/drafts/7-2026-02-20-an-idea.md",
        "# An idea\n\n**Author:** ann\n\nText\n",
    );
    let found = read_unchanged(dir);
    let row = task(&found, "e1");
    assert_eq!(
        (row.title.as_deref(), row.content.as_deref()),
        (Some("Do it"), Some("Body\n"))
    );
    assert_eq!(
        (row.role.as_deref(), row.created_by.as_deref()),
        (Some("fix"), Some("bot"))
    );
    assert!(row.blocked_by.is_empty());
    assert_eq!((row.attempt_count, row.completed_at), (2, None));
    assert_eq!(row.extra["scope"], "shop");
    assert_eq!(row.extra["note"], "ff00");
    assert_eq!(row.extra["completed_at"], "soon");
    assert!(has_problem(&found, "table tasks row 1", "completed_at"));
    assert!(has_problem(&found, "table tasks row 2", "has no id"));
    assert!(has_problem(&found, "table actions", "not read"));

    let kinds: Vec<&str> = found.messages.iter().map(|message| message.kind.as_str()).collect();
    assert_eq!(kinds, ["question", "answer"]);
    assert_eq!(found.messages[1].parent, found.messages[0].id);
    assert_eq!(found.messages[1].from.as_deref(), Some("human"));

    assert_eq!(found.drafts.len(), 1, "{:?}", found.drafts);
    let draft = &found.drafts[0];
    assert_eq!((draft.id.as_str(), &draft.body["author"]), ("7", &json!("ann")));
    assert!(draft.body["content"].as_str().unwrap().ends_with("Text\n"));
}

#[test]
fn version_2_in_remote_mode_leaves_copies() {
    let root = TempDir::new().unwrap();
    let dir = root.path();
    put(
        dir,
        ".octopoid/config.yaml",
        "scope: shop\nserver:\n  enabled: true\n  url: https://queue.example\n",
    );
    put(
        dir,
        ".octopoid/runtime/tasks/f1/task.json",
        r##"{"id": "f1", "title": "Remote", "queue": "claimed", "content": "# Remote\n\nx\n", "created_at": "2026-03-01 09:00:00"}"##,
    );
    put(
        dir,
        ".octopoid/logs/tasks/TASK-f1.log",
        "[2026-03-01T10:00:00] CREATED by=human\n[2026-03-01T10:01:00] CLAIMED by=a\n[2026-03-01T10:02:00] ACCEPTED accepted_by=b c\n",
    );
    put(
        dir,
        ".octopoid/runtime/shared/notes/TASK-f1.md",
        "# Agent Notes: TASK-f1\n",
    );
    put(
        dir,
        ".octopoid/runtime/shared/threads/TASK-f1.jsonl",
        "{\"role\":\"rejection\",\"content\":\"No.\",\"timestamp\":\"2026-03-01T10:01:30\",\"author\":\"gatekeeper\"}\n{broken\n",
    );
    put(
        dir,
        ".octopoid/messages/warning-20260301-111213-Disk.md",
        "# \u{26a0}\u{fe0f} Disk\n\n**Type:** warning\n**From:** impl-1\n**Task:** f1\n\n---\n\nIt is full.",
    );
    put(
        dir,
        ".octopoid/queue/incoming/gh-5-1234abcd.md",
        "---\nid: gh-5-1234abcd\ntitle: \"[GH-5] Say \"hello\" twice\"\npriority: P1\nrole: implement\nqueue: incoming\ncreated_by: monitor\ncreated_at: 2026-02-15T08:00:00.123456+00:00\ngithub_issue: 5\n---\n\n# Task: [GH-5] hello\n\nBody\n",
    );
    let found = read_unchanged(dir);
    assert!(has_problem(&found, "config.yaml", "https://queue.example"));
    let copy = task(&found, "f1");
    assert_eq!(
        (copy.queue.as_str(), &copy.extra["snapshot_queue"]),
        ("done", &json!("claimed"))
    );
    assert_eq!(copy.execution_notes.as_deref(), Some("# Agent Notes: TASK-f1\n"));
    assert!(has_problem(&found, "task.json", "known from this copy only"));

    let issue = task(&found, "gh-5-1234abcd");
    assert_eq!(issue.title.as_deref(), Some("[GH-5] Say \"hello\" twice"));
    assert_eq!(issue.created_at, at("2026-02-15T08:00:00.123Z"));
    assert_eq!(issue.content.as_deref(), Some("# Task: [GH-5] hello\n\nBody\n"));
    assert!(has_problem(&found, "gh-5-1234abcd.md", "not YAML"));

    assert_eq!(found.messages.len(), 2);
    assert_eq!(
        (found.messages[0].kind.as_str(), found.messages[0].from.as_deref()),
        ("rejection", Some("gatekeeper"))
    );
    assert_eq!(found.messages[0].task_id.as_deref(), Some("f1"));
    assert_eq!(found.messages[1].content, "Disk\n\nIt is full.");
    assert_eq!(
        (found.messages[1].kind.as_str(), found.messages[1].at),
        ("warning", at("2026-03-01T11:12:13Z"))
    );
    assert!(has_problem(&found, "TASK-f1.jsonl:2", "not JSON"));
}
