//! Git and task files for scripts, in real repositories and folders.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::{fs, process::Command};

use octopoid_core::{
    ErrorCode,
    git::{Repo, tools},
    queue::{files, generate_task_id},
};
use serde_json::json;

fn repository() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    Repo::create(folder.path(), "trunk", "first").unwrap();
    folder
}

#[test]
fn a_worktree_from_its_beginning_to_its_end() {
    let folder = repository();
    let path = tools::ensure_worktree(folder.path(), "t-1", "trunk").unwrap();
    assert_eq!(tools::ensure_worktree(folder.path(), "t-1", "trunk").unwrap(), path);
    assert_eq!(tools::current_branch(&path).unwrap().as_deref(), Some("agent/t-1"));
    assert!(!tools::has_uncommitted_changes(&path).unwrap());
    assert_eq!(tools::commit_changes(&path, "nothing").unwrap(), None);

    fs::write(path.join("a.txt"), "one\ntwo\n").unwrap();
    assert!(tools::has_uncommitted_changes(&path).unwrap());
    fs::create_dir(path.join("inner")).unwrap();
    assert!(
        tools::has_uncommitted_changes(&path.join("inner")).unwrap(),
        "from anywhere inside"
    );
    let sha = tools::commit_changes(&path, "add a").unwrap().unwrap();
    assert_eq!(tools::commit_count(&path, "trunk").unwrap(), 1);
    let stat = tools::diff_stat(&path, "trunk").unwrap();
    assert_eq!((stat.files, stat.insertions, stat.deletions), (1, 2, 0));
    let listed = tools::list_worktrees(folder.path()).unwrap();
    assert_eq!(listed.len(), 2);
    assert_eq!(listed[1].head.as_deref(), Some(sha.as_str()));

    fs::write(path.join("b.txt"), "not committed").unwrap();
    fs::create_dir_all(path.join("sub")).unwrap();
    for place in [path.join("b.txt"), path.join("sub")] {
        assert!(tools::remove_worktree(&place).is_err(), "only worktrees are removed");
        assert!(place.exists());
    }
    tools::remove_worktree(&path).unwrap();
    assert!(!path.exists());
    let kept = Command::new("git")
        .args(["for-each-ref", "--format=%(refname)", "refs/octopoid/keep/"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(!kept.stdout.is_empty(), "what was not committed is kept");
    assert_eq!(
        tools::remove_worktree(folder.path()).unwrap_err().code(),
        ErrorCode::InvalidArgument,
        "the main checkout is nobody's to remove"
    );
}

#[test]
fn a_persons_branch_keeps_a_persons_commits() {
    let folder = repository();
    fs::write(folder.path().join("mine.txt"), "x").unwrap();
    let sha = tools::commit_changes(folder.path(), "mine").unwrap().unwrap();
    assert_eq!(tools::current_branch(folder.path()).unwrap().as_deref(), Some("trunk"));
    assert_eq!(Repo::at(folder.path()).unwrap().branch_tip("trunk").unwrap(), Some(sha));
    assert!(
        tools::commit_changes(folder.path(), " ").is_err(),
        "a commit has a message"
    );
    let error = tools::commit_count(folder.path(), "nowhere").unwrap_err();
    assert!(error.to_string().contains("nowhere"), "{error}");
}

#[test]
fn a_push_never_overwrites() {
    let folder = repository();
    let remote = tempfile::tempdir().unwrap();
    let git = |args: &[&str]| {
        let done = Command::new("git")
            .args(args)
            .current_dir(folder.path())
            .output()
            .unwrap();
        assert!(done.status.success(), "{done:?}");
    };
    git(&["init", "--quiet", "--bare", remote.path().to_str().unwrap()]);
    git(&["remote", "add", "origin", remote.path().to_str().unwrap()]);
    let one = tools::ensure_worktree(folder.path(), "one", "trunk").unwrap();
    let two = tools::ensure_worktree(folder.path(), "two", "trunk").unwrap();
    for path in [&one, &two] {
        fs::write(path.join("x"), path.display().to_string()).unwrap();
        tools::commit_changes(path, "x").unwrap().unwrap();
    }
    tools::push(&one, "origin", "shared").unwrap();
    let unknown = tools::push(&one, "nowhere", "shared").unwrap_err();
    assert_eq!(unknown.code(), ErrorCode::NotFound, "{unknown}");
    let error = tools::push(&two, "origin", "shared").unwrap_err();
    assert_eq!(error.code(), ErrorCode::VersionConflict);
    let tip = Repo::at(folder.path()).unwrap().remote_tip("origin", "shared").unwrap();
    assert_eq!(
        tip.as_deref(),
        Some(Repo::at(folder.path()).unwrap().head_of(&one).unwrap().as_str())
    );
}

#[test]
fn task_files_are_written_listed_and_moved() {
    let folder = tempfile::tempdir().unwrap();
    let (incoming, done) = (folder.path().join("incoming"), folder.path().join("done"));
    assert_eq!(
        files::list_task_files(&incoming).unwrap(),
        Vec::<serde_json::Value>::new()
    );
    let late = json!({ "id": "late", "title": "Late", "priority": "P3", "content": "Body\n" });
    let file = files::write_task_file(&incoming, &late).unwrap();
    assert_eq!(file, incoming.join("TASK-late.md"));
    let soon = files::write_task_file(&incoming, &json!({ "title": "Soon", "priority": "P0" })).unwrap();
    let read = files::read_task_file(&file).unwrap();
    assert_eq!(
        (&read["id"], &read["content"], &read["priority"]),
        (&json!("late"), &json!("Body\n"), &json!("P3"))
    );
    let titles: Vec<_> = files::list_task_files(&incoming)
        .unwrap()
        .iter()
        .map(|t| t["title"].clone())
        .collect();
    assert_eq!(titles, [json!("Soon"), json!("Late")], "by priority");

    let shared = std::path::Path::new("/dev/shm");
    if shared.is_dir() {
        // Another file system than that of temporary folders, on most machines.
        let other = tempfile::tempdir_in(shared).unwrap();
        let there = files::move_task_file(&soon, other.path()).unwrap();
        assert_eq!(files::move_task_file(&there, &incoming).unwrap(), soon);
    }
    fs::write(incoming.join("my notes.md"), "# Notes\n").unwrap();
    let notes = files::read_task_file(&incoming.join("my notes.md")).unwrap();
    assert_eq!(
        (&notes["id"], &notes["title"]),
        (&json!(null), &json!("Notes")),
        "no task has such a name"
    );
    fs::remove_file(incoming.join("my notes.md")).unwrap();

    let moved = files::move_task_file(&soon, &done).unwrap();
    assert!(moved.exists() && !soon.exists());
    fs::write(incoming.join(moved.file_name().unwrap()), "# Other\n").unwrap();
    assert!(files::move_task_file(&soon, &done).is_err(), "nothing is overwritten");
    assert!(soon.exists());
    for bad in [
        json!({}),
        json!([]),
        json!({ "title": "x", "speed": 1 }),
        json!({ "title": "x", "priority": "P9" }),
    ] {
        assert!(files::write_task_file(&incoming, &bad).is_err(), "{bad}");
    }
    assert_eq!(
        files::list_task_files(&incoming).unwrap().len(),
        2,
        "refusals write nothing"
    );
    assert_ne!(generate_task_id().unwrap(), generate_task_id().unwrap());
}
