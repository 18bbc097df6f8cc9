"""Git for scripts: worktrees of tasks, commits in them, what changed, and pushing.

Paths may be texts or `pathlib.Path`. Every function raises `OctopoidError` with the code `not_a_repository` outside a
repository, `not_found` for a branch or commit that is not there, and `git` where git itself fails.
"""

from __future__ import annotations

import json
from os import PathLike
from pathlib import Path

from . import _native
from .records import Record

__all__ = [
    "DiffStat",
    "Worktree",
    "commit_changes",
    "commit_count",
    "current_branch",
    "diff_stat",
    "ensure_worktree",
    "has_uncommitted_changes",
    "list_worktrees",
    "push",
    "remove_worktree",
]

AnyPath = str | PathLike[str]


class Worktree(Record):
    """One checkout of a repository."""

    __slots__ = ()

    path: str
    branch: str | None
    """The branch that is checked out; `None` on a detached HEAD."""
    head: str | None
    """Its tip; `None` while it has no commit, or where its folder is gone."""


class DiffStat(Record):
    """How much differs."""

    __slots__ = ()

    files: int
    insertions: int
    """Lines that were added."""
    deletions: int
    """Lines that were removed."""


def ensure_worktree(repo: AnyPath, task_id: str, base: str) -> Path:
    """Makes sure that a task has a worktree with its branch `agent/<task_id>` checked out; gives its folder.

    A new branch begins at `base`, a branch or a whole commit id. What was there is kept.
    """
    return Path(_native.ensure_worktree(repo, task_id, base))


def remove_worktree(path: AnyPath) -> None:
    """Removes a worktree; what it holds is committed and kept under `refs/octopoid/keep/` first."""
    _native.remove_worktree(path)


def list_worktrees(repo: AnyPath) -> list[Worktree]:
    """The main checkout and all linked worktrees."""
    return [Worktree(row) for row in json.loads(_native.list_worktrees(repo))]


def current_branch(path: AnyPath) -> str | None:
    """The branch that is checked out at `path`; `None` on a detached HEAD."""
    return _native.current_branch(path)


def has_uncommitted_changes(path: AnyPath) -> bool:
    """Whether files at `path` differ from its tip, ignored ones aside."""
    return _native.has_uncommitted_changes(path)


def commit_changes(path: AnyPath, message: str) -> str | None:
    """Commits every changed and new file at `path`; gives the commit, or `None` when there was nothing to commit."""
    return _native.commit_changes(path, message)


def commit_count(path: AnyPath, base: str) -> int:
    """How many commits the tip of `path` has that `base` has not."""
    return _native.commit_count(path, base)


def diff_stat(path: AnyPath, base: str) -> DiffStat:
    """What the files at `path` differ in from where the work left `base`; uncommitted changes of known files count."""
    return DiffStat(json.loads(_native.diff_stat(path, base)))


def push(path: AnyPath, remote: str, branch: str) -> None:
    """Pushes the tip of `path` as `branch` to `remote`. Never by force.

    Raises `OctopoidConflictError` where the remote's branch has other commits.
    """
    _native.push(path, remote, branch)
