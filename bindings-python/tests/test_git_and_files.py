"""`octopoid.git` in real repositories, `octopoid.queue` in real folders."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from conftest import git as run_git
from octopoid import Octopoid, OctopoidConflictError, OctopoidError, OctopoidNotFoundError, git, queue


def test_a_worktree(repo: Path, tmp_path: Path) -> None:
    tree = git.ensure_worktree(repo, "task-1", "main")
    assert isinstance(tree, Path) and git.current_branch(tree) == "agent/task-1"
    assert git.ensure_worktree(str(repo), "task-1", "main") == tree
    assert [(w.branch, Path(w.path)) for w in git.list_worktrees(repo)] == [("main", repo), ("agent/task-1", tree)]
    assert not git.has_uncommitted_changes(tree)
    assert git.commit_changes(tree, "Nothing") is None
    (tree / "README.md").write_text("# Example\n\nMore\n")
    (tree / "new.txt").write_text("new\n")
    assert git.has_uncommitted_changes(tree)
    commit = git.commit_changes(tree, "Say more")
    assert commit == run_git(tree, "rev-parse", "HEAD")
    assert run_git(tree, "log", "-1", "--format=%s") == "Say more"
    assert git.commit_count(tree, "main") == 1
    stat = git.diff_stat(tree, "main")
    assert (stat.files, stat.insertions, stat["deletions"]) == (2, 3, 0)
    git.remove_worktree(tree)
    assert not tree.exists() and len(git.list_worktrees(repo)) == 1
    assert run_git(repo, "rev-parse", "agent/task-1") == commit


def test_pushing(repo: Path, tmp_path: Path) -> None:
    hub = tmp_path / "hub.git"
    run_git(tmp_path, "init", "--quiet", "--bare", str(hub))
    run_git(repo, "remote", "add", "origin", str(hub))
    git.push(repo, "origin", "main")
    assert run_git(hub, "rev-parse", "main") == run_git(repo, "rev-parse", "HEAD")
    (repo / "a.txt").write_text("a")
    ahead = git.commit_changes(repo, "Ahead")
    git.push(repo, "origin", "main")
    assert run_git(hub, "rev-parse", "main") == ahead
    run_git(repo, "reset", "--quiet", "--hard", "HEAD~1")
    (repo / "b.txt").write_text("b")
    git.commit_changes(repo, "Beside")
    with pytest.raises(OctopoidConflictError) as behind:
        git.push(repo, "origin", "main")
    assert behind.value.hint and run_git(hub, "rev-parse", "main") == ahead
    assert git.current_branch(repo) == "main"
    run_git(repo, "checkout", "--quiet", "--detach")
    assert git.current_branch(repo) is None


def test_git_refuses(repo: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    with pytest.raises(OctopoidError) as nowhere:
        git.current_branch(outside)
    assert nowhere.value.code == "not_a_repository"
    with pytest.raises(OctopoidNotFoundError, match="no-such-branch"):
        git.ensure_worktree(repo, "task-1", "no-such-branch")
    with pytest.raises(ValueError):
        git.ensure_worktree(repo, "../escape", "main")
    with pytest.raises(ValueError, match="main checkout"):
        git.remove_worktree(repo)
    with pytest.raises(ValueError, match="message"):
        git.commit_changes(repo, " ")
    with pytest.raises(TypeError):
        git.commit_count(repo)  # type: ignore[call-arg]


def test_task_files(tmp_path: Path) -> None:
    folder = tmp_path / "incoming"
    assert queue.list_task_files(folder) == []
    fields = {
        "title": "Write",
        "content": "Body\n\nMore: text\n",
        "role": "docs",
        "priority": "P1",
        "blocked_by": ["other"],
    }
    file = queue.write_task_file(folder, fields, checks=["true"])
    assert isinstance(file, Path) and file.name.startswith("TASK-task-")
    read = queue.read_task_file(str(file))
    assert {name: read[name] for name in fields} == fields
    assert (read.checks, read.path, f"TASK-{read.id}.md") == (["true"], os.fspath(file), file.name)
    named = queue.write_task_file(folder / "own.md", id="own", title="Own", priority="P0")
    assert named == folder / "own.md"
    assert [t.id for t in queue.list_task_files(folder)] == ["own", read.id]
    moved = queue.move_task_file(named, tmp_path / "done")
    assert moved == tmp_path / "done" / "own.md" and not named.exists()
    again = queue.write_task_file(folder / "own.md", id="own", title="Another")
    with pytest.raises(OctopoidError, match="already"):
        queue.move_task_file(again, tmp_path / "done")
    assert again.exists() and queue.read_task_file(moved).title == "Own"


def test_an_older_file(tmp_path: Path) -> None:
    file = tmp_path / "TASK-abc123.md"
    file.write_text("# [TASK-abc123] Fix it\n\nROLE: implement\nPRIORITY: P1\nBRANCH: main\n\n## Context\nBroken.\n")
    read = queue.read_task_file(file)
    assert (read.id, read.role, read.priority, read.branch) == ("abc123", "implement", "P1", "main")
    assert "Broken." in str(read.content)


def test_a_file_becomes_a_task(local: Octopoid, tmp_path: Path) -> None:
    file = queue.write_task_file(tmp_path, title="From a file", role="implement", checks=["true"])
    fields = queue.read_task_file(file)
    task = local.tasks.create(**{name: value for name, value in fields.items() if name != "path"})
    assert (task.id, task.title) == (fields.id, "From a file")


def test_files_refuse(tmp_path: Path) -> None:
    with pytest.raises(OctopoidError) as missing:
        queue.read_task_file(tmp_path / "none.md")
    assert missing.value.code == "io" and "none.md" in str(missing.value)
    bad = tmp_path / "bad.md"
    bad.write_text("---\ntitle: x\nprority: P1\n---\n")
    with pytest.raises(ValueError, match="prority"):
        queue.read_task_file(bad)
    with pytest.raises(ValueError, match="colour"):
        queue.write_task_file(tmp_path, title="x", colour="red")
    with pytest.raises(ValueError, match="title or a content"):
        queue.write_task_file(tmp_path, role="docs")
    with pytest.raises(OctopoidNotFoundError):
        queue.move_task_file(tmp_path / "none.md", tmp_path / "there")


def test_ids() -> None:
    ids = {queue.generate_task_id() for _ in range(100)}
    assert len(ids) == 100 and all(len(i) == 13 and i.startswith("task-") for i in ids)
