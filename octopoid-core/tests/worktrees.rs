//! Worktrees as desired state: whatever stands at the place, the result is the wanted checkout or a typed error.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use octopoid_core::{
    ErrorCode,
    git::{Checkout, Merged, Repo, Standing},
};

struct Place {
    _dir: tempfile::TempDir,
    root: PathBuf,
    repo: Repo,
    base: String,
    path: PathBuf,
}

fn place() -> Place {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap().join("repo");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("a.txt"), "1\n").unwrap();
    let repo = Repo::create(&root, "trunk", "first").unwrap();
    let base = repo.branch_tip("trunk").unwrap().unwrap();
    let path = root.join("../trees/t");
    fs::create_dir(root.join("../trees")).unwrap();
    Place {
        path: path.parent().unwrap().canonicalize().unwrap().join("t"),
        _dir: dir,
        root,
        repo,
        base,
    }
}

fn git(dir: &Path, args: &[&str]) -> String {
    let identity = ["-c", "user.name=t", "-c", "user.email=t@t"];
    let output = Command::new("git")
        .args(identity)
        .args(args)
        .current_dir(dir)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "git {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

impl Place {
    fn ensure(&self) -> octopoid_core::Result<Standing> {
        self.repo.ensure_worktree(
            &self.path,
            Checkout::Branch {
                name: "agent/t",
                base: &self.base,
            },
            "t/1",
        )
    }

    /// The wanted end: the branch checked out, everything of the base there.
    #[track_caller]
    fn is_right(&self) {
        assert_eq!(git(&self.path, &["branch", "--show-current"]), "agent/t");
        assert_eq!(git(&self.path, &["status", "--porcelain"]), "");
        assert!(self.path.join("a.txt").exists());
        let lost = git(&self.root, &["fsck", "--unreachable", "--no-reflogs"]);
        assert!(!lost.contains(" commit "), "{lost}");
    }
}

#[test]
fn every_state_leads_to_the_wanted_one() {
    let p = place();
    assert_eq!(p.ensure().unwrap(), Standing::Created, "nothing there");
    p.is_right();
    fs::write(p.path.join("b.txt"), "work\n").unwrap();
    assert_eq!(
        p.ensure().unwrap(),
        Standing::Reused,
        "right already: nothing is touched"
    );
    assert!(p.path.join("b.txt").exists());
    let saved = p.repo.save(&p.path, "wip").unwrap();
    assert!(saved.was_dirty);

    git(&p.path, &["checkout", "--quiet", "-b", "other"]);
    fs::write(p.path.join("c.txt"), "on the wrong branch\n").unwrap();
    assert_eq!(p.ensure().unwrap(), Standing::Repaired, "on another branch");
    p.is_right();
    assert!(
        git(&p.root, &["log", "--format=%s", "refs/octopoid/keep/t/1"]).contains("work in progress"),
        "its work is kept"
    );

    git(&p.path, &["checkout", "--quiet", "--detach"]);
    assert_eq!(p.ensure().unwrap(), Standing::Repaired, "detached");
    p.is_right();

    fs::remove_dir_all(&p.path).unwrap();
    assert_eq!(p.ensure().unwrap(), Standing::Repaired, "metadata without a folder");
    p.is_right();
    assert_eq!(
        p.repo.head_of(&p.path).unwrap(),
        saved.head,
        "the branch still has its work"
    );

    git(
        &p.root,
        &["worktree", "remove", "--force", &p.path.display().to_string()],
    );
    fs::create_dir(&p.path).unwrap();
    fs::write(p.path.join("mine"), "x").unwrap();
    assert_eq!(p.ensure().unwrap(), Standing::Repaired, "a folder without metadata");
    p.is_right();
    assert!(
        p.path.with_file_name("t+found-1").join("mine").exists(),
        "it was moved aside"
    );

    let admin = p.root.join(".git/worktrees/octopoid+t");
    fs::remove_file(admin.join("octopoid-complete")).unwrap();
    fs::remove_file(p.path.join("a.txt")).unwrap();
    assert_eq!(
        p.ensure().unwrap(),
        Standing::Repaired,
        "half made: its missing files are no work"
    );
    p.is_right();

    git(
        &p.root,
        &["worktree", "remove", "--force", &p.path.display().to_string()],
    );
    fs::create_dir_all(&admin).unwrap();
    fs::write(admin.join("HEAD"), "ref: refs/heads/agent/t\n").unwrap();
    assert_eq!(p.ensure().unwrap(), Standing::Created, "half-made metadata");
    p.is_right();
}

#[test]
fn a_branch_that_somebody_holds_is_a_typed_error_and_stays() {
    let p = place();
    git(&p.root, &["checkout", "--quiet", "-b", "agent/t"]);
    let error = p.ensure().unwrap_err();
    assert_eq!(error.code(), ErrorCode::Git);
    assert!(error.to_string().contains("is checked out in"), "{error}");
    assert!(!p.path.exists());
    assert_eq!(git(&p.root, &["branch", "--show-current"]), "agent/t");
}

#[test]
fn a_checkout_of_a_commit_is_detached_and_leaves_no_branch() {
    let p = place();
    p.repo
        .ensure_worktree(&p.path, Checkout::Commit(&p.base), "t/r")
        .unwrap();
    assert_eq!(
        (git(&p.path, &["rev-parse", "HEAD"]), p.repo.branch_of(&p.path).unwrap()),
        (p.base.clone(), None)
    );
    assert_eq!(git(&p.root, &["branch", "--list", "octopoid*"]), "");
    fs::write(p.path.join("note"), "x").unwrap();
    p.repo.remove_worktree(&p.path, "t/r").unwrap();
    assert!(!p.path.exists());
    assert_eq!(git(&p.root, &["show", "refs/octopoid/keep/t/r:note"]), "x");
    p.repo.remove_worktree(&p.path, "t/r").unwrap();
}

#[test]
fn an_unresolved_merge_is_saved_as_work_and_not_as_a_merge() {
    let p = place();
    p.ensure().unwrap();
    fs::write(p.path.join("a.txt"), "ours\n").unwrap();
    p.repo.save(&p.path, "ours").unwrap();
    fs::write(p.root.join("a.txt"), "theirs\n").unwrap();
    git(&p.root, &["commit", "--quiet", "--all", "--message", "theirs"]);
    let base = p.repo.branch_tip("trunk").unwrap().unwrap();
    assert_eq!(p.repo.begin_merge(&p.path, &base).unwrap(), ["a.txt"]);
    assert_eq!(p.repo.merge_under_way(&p.path).unwrap(), Some(vec!["a.txt".to_owned()]));
    let head = p.repo.save(&p.path, "wip").unwrap().head;
    assert!(
        !p.repo.is_ancestor(&base, &head).unwrap(),
        "what is not resolved is not merged"
    );
    assert_eq!(p.repo.merge_under_way(&p.path).unwrap(), None);
    assert_eq!(p.repo.conflict_markers(&base, &head).unwrap(), ["a.txt"]);
    assert!(matches!(
        p.repo.combine(&base, &head, octopoid_core::config::MergeMethod::Squash, "m").unwrap(),
        Merged::Conflict(paths) if paths == ["a.txt"]
    ));
}

#[test]
fn branches_move_only_from_where_they_were_seen() {
    let p = place();
    fs::write(p.root.join("a.txt"), "2\n").unwrap();
    git(&p.root, &["commit", "--quiet", "--all", "--message", "second"]);
    let second = p.repo.branch_tip("trunk").unwrap().unwrap();
    let moved = p.repo.move_branch("trunk", Some(&p.base), &p.base, "test");
    assert_eq!(moved.unwrap_err().code(), ErrorCode::VersionConflict);
    assert_eq!(p.repo.branch_tip("trunk").unwrap().unwrap(), second);
    assert_eq!(
        p.repo.move_branch("trunk", None, &p.base, "test").unwrap_err().code(),
        ErrorCode::VersionConflict
    );
}

#[test]
fn submodules_and_names_with_spaces_are_saved_like_anything_else() {
    let p = place();
    let sub = p.root.join("../sub");
    fs::create_dir(&sub).unwrap();
    fs::write(sub.join("s"), "s\n").unwrap();
    Repo::create(&sub, "trunk", "sub").unwrap();
    git(
        &p.root,
        &[
            "-c",
            "protocol.file.allow=always",
            "submodule",
            "--quiet",
            "add",
            "../sub",
            "lib/sub",
        ],
    );
    git(&p.root, &["commit", "--quiet", "--message", "submodule"]);
    let base = p.repo.branch_tip("trunk").unwrap().unwrap();
    p.repo
        .ensure_worktree(
            &p.path,
            Checkout::Branch {
                name: "agent/t",
                base: &base,
            },
            "t/1",
        )
        .unwrap();
    assert!(p.repo.is_clean(&p.path).unwrap());
    fs::write(p.path.join("näme with 'quotes' and $"), "x\n").unwrap();
    let saved = p.repo.save(&p.path, "wip").unwrap();
    let changed = p.repo.changed_files(&base, &saved.head).unwrap();
    assert_eq!(
        changed.iter().map(|c| c.path.as_str()).collect::<Vec<_>>(),
        ["näme with 'quotes' and $"]
    );
    assert!(
        git(&p.root, &["ls-tree", "-r", &saved.head]).contains("commit"),
        "the submodule is still one"
    );
}
