"""Approves by rule: work on documentation and tests that brought commits. Everything else is left to people.

    python auto_approve.py [FOLDER]

With a folder, the queue is in it; otherwise it is on the server that OCTOPOID_SERVER_URL names.
"""

from __future__ import annotations

import sys

from octopoid import Octopoid, OctopoidConflictError, Task

ROLES = {"docs", "test"}
MOST_COMMITS = 5


def why_not(task: Task) -> str | None:
    """What keeps a task from being approved by rule."""
    if task.role not in ROLES:
        return f"its role is {task.role}"
    if not task.commits_count:
        return "it has no commits"
    if task.commits_count > MOST_COMMITS:
        return f"{task.commits_count} commits are many"
    return None


def main(arguments: list[str]) -> None:
    with Octopoid.local(arguments[0]) if arguments else Octopoid() as octopoid:
        for task in list(octopoid.tasks.iterate("provisional")):
            reason = why_not(task)
            if reason:
                print(f"left {task.id}: {reason}")
                continue
            try:
                octopoid.tasks.approve(task.id, by="auto-approve")
            except OctopoidConflictError as error:
                # Somebody else was faster.
                print(f"left {task.id}: {error}")
            else:
                print(f"approved {task.id}: {task.title}")


if __name__ == "__main__":
    main(sys.argv[1:])
