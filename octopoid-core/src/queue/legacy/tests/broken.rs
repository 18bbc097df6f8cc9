//! Broken files, databases of this version, and folders that hold nothing.

use super::*;

#[test]
fn what_is_broken_becomes_a_problem_and_the_rest_goes_on() {
    let root = TempDir::new().unwrap();
    let dir = root.path();
    let queue = ".orchestrator/shared/queue";
    put(
        dir,
        &format!("{queue}/incoming/TASK-good.md"),
        "# [TASK-good] Good\n\nROLE: test\n\nok\n",
    );
    put(
        dir,
        &format!("{queue}/incoming/TASK-bytes.md"),
        b"# [TASK-bytes] x\n\n\xff\xfe\n",
    );
    put(dir, &format!("{queue}/incoming/TASK-empty.md"), "\n");
    put(dir, &format!("{queue}/failed/TASK-open.md"), "---\nid: open\n");
    put(dir, &format!("{queue}/failed/notes.txt"), "x");
    put(
        dir,
        &format!("{queue}/failed/TASK-odd.md"),
        "# [TASK-odd] Odd\n\nCREATED: yesterday\nATTEMPT_COUNT: many\n\nx\n",
    );
    fs::create_dir_all(dir.join(queue).join("done/TASK-folder.md")).unwrap();
    put(
        dir,
        ".orchestrator/state.db",
        "this is no database at all, but it is long enough to be one",
    );
    put(dir, ".orchestrator/agents.yaml", "agents: [\n");
    put(dir, ".orchestrator/shared/projects/PROJ-1.yaml", "title: [\n");
    put(
        dir,
        ".orchestrator/shared/proposals/active/PROP-1.md",
        "# Proposal: P\n\n**Complexity:** S\n",
    );
    database(dir, ".orchestrator/whole.db", VERSION_1);
    let whole = fs::read(dir.join(".orchestrator/whole.db")).unwrap();
    fs::remove_file(dir.join(".orchestrator/whole.db")).unwrap();
    put(dir, ".orchestrator/runtime/cache.db", &whole[..whole.len() / 3]);

    let found = read_unchanged(dir);
    let ids: Vec<&str> = found.tasks.iter().map(|task| task.id.as_str()).collect();
    assert!(ids.contains(&"good") && ids.contains(&"odd"), "{ids:?}");
    for (source, what) in [
        ("TASK-bytes.md", "line 3 is not UTF-8"),
        ("TASK-empty.md", "empty"),
        ("TASK-open.md", "not closed"),
        ("notes.txt", "no task file"),
        ("TASK-odd.md", "created_at: \"yesterday\" is not a time"),
        ("TASK-odd.md", "attempt_count: \"many\" is not a whole number"),
        ("TASK-folder.md", "no task file"),
        ("state.db", "not an SQLite file"),
        ("cache.db", "cannot be read"),
        ("agents.yaml", "cannot be read"),
        ("PROJ-1.yaml", ""),
    ] {
        assert!(
            has_problem(&found, source, what),
            "{source}: {what}: {:?}",
            found.problems
        );
    }
    assert_eq!(task(&found, "odd").extra["attempt_count"], "many");
    assert_eq!(found.drafts[0].body["status"], "active");
    assert_eq!(found.drafts[0].body["complexity"], "S");
}

#[test]
fn our_own_database_and_foreign_folders_are_left_alone() {
    let root = TempDir::new().unwrap();
    assert_eq!(read(root.path()).unwrap_err().code(), ErrorCode::NotFound);
    assert_eq!(read(&root.path().join("none")).unwrap_err().code(), ErrorCode::Io);
    put(root.path(), "app.db", "x");
    assert!(read(&root.path().join("app.db")).is_err());

    let root = TempDir::new().unwrap();
    database(
        root.path(),
        ".octopoid/state.db",
        "CREATE TABLE migrations (number INTEGER); CREATE TABLE attempts (id); CREATE TABLE events (id);
         CREATE TABLE reviews (id); CREATE TABLE tasks (id TEXT, queue TEXT); INSERT INTO tasks VALUES ('new', 'incoming');",
    );
    let found = read_unchanged(root.path());
    assert!(found.tasks.is_empty() && found.problems.is_empty());
    assert!(found.forms[0].contains("of this version"), "{:?}", found.forms);
}
