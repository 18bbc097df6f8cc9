"""Roles of your own: one that notes a task in a changelog, one that reviews it.

    python custom_role.py REPOSITORY [TITLE]

The queue is in the repository. Every task with the role `changelog` that is ready there is worked on, checked, reviewed
and merged.
"""

from __future__ import annotations

import sys

from octopoid import Assignment, Octopoid, Orchestrator, Outcome, Role, git


class Changelog(Role):
    """Adds the task's title to CHANGELOG.md. What it writes is committed for it."""

    name = "changelog"

    def run(self, cx: Assignment) -> Outcome:
        if not cx.task.title.strip():
            return Outcome.question("What shall the changelog say?")
        file = cx.worktree / "CHANGELOG.md"
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else ["# Changelog", ""]
        lines.append(f"* {cx.task.title}")
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        cx.log(f"attempt {cx.attempt}: {len(lines)} lines")
        return Outcome.done(f"noted: {cx.task.title}")


class Review(Role):
    """Approves what changes nothing but the changelog."""

    name = "gatekeeper"

    async def run(self, cx: Assignment) -> Outcome:
        stat = git.diff_stat(cx.worktree, cx.base_sha)
        if stat.files != 1 or not (cx.worktree / "CHANGELOG.md").exists():
            return Outcome.reject("Change the changelog and nothing else.", blocking=[f"{stat.files} files differ"])
        return Outcome.approve(f"{stat.insertions} new lines")


def main(repository: str, title: str = "Roles may be written in Python") -> int:
    with Octopoid.local(repository) as octopoid:
        task = octopoid.tasks.create(title=title, role="changelog")
        record = Orchestrator(octopoid=octopoid, repo=repository, roles=[Changelog(), Review()]).run_once()
        for step in record.steps:
            print(f"{step.task_id}: {step.text}")
        found = octopoid.tasks.get(task.id)
        print(f"{task.id} is {found.queue if found else 'gone'}")
    return 0 if record.ended == "clean" else 1


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
