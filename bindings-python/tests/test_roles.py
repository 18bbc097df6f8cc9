"""Roles of Python inside the orchestrator."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import octopoid
from conftest import git, run_python
from octopoid import Assignment, Cancelled, Octopoid, Orchestrator, Outcome, Role, RunRecord


def limits(repo: Path, text: str) -> None:
    """Sets up `.octopoid/` with limits."""
    folder = repo / ".octopoid"
    folder.mkdir(exist_ok=True)
    (folder / "config.yaml").write_text(f"mode: local\nlimits: {{{text}}}\n")
    git(repo, "add", "--all", "--force")
    git(repo, "commit", "--quiet", "--message", "Set up")


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Octopoid]:
    with Octopoid.local(tmp_path / "queue") as client:
        yield client


def once(queue: Octopoid, repo: Path, *roles: Any, **options: Any) -> RunRecord:
    return Orchestrator(octopoid=queue, repo=repo, roles=roles, **options).run_once()


def attempt_of(queue: Octopoid, task_id: str, number: int = 1) -> Any:
    return next(a for a in queue.tasks.attempts(task_id) if a.number == number)


def write(cx: Assignment, name: str = "note.txt") -> None:
    (cx.worktree / name).write_text(f"{cx.task.id}\n")


class Approve(Role):
    name = "gatekeeper"

    def run(self, cx: Assignment) -> Outcome:
        assert cx.is_review
        return Outcome.approve("good")


class Write(Role):
    name = "implement"

    def run(self, cx: Assignment) -> Any:
        write(cx)
        return Outcome.done("written")


class WriteLater(Role):
    name = "implement"

    async def run(self, cx: Assignment) -> Outcome:
        await asyncio.sleep(0.05)
        write(cx)
        return Outcome.done("written")


class NeverAwaits(Role):
    name = "implement"

    async def run(self, cx: Assignment) -> dict[str, str]:
        write(cx)
        return {"outcome": "done", "summary": "written"}


class ReturnsCoroutine(Role):
    name = "implement"

    def run(self, cx: Assignment) -> Any:
        return WriteLater().run(cx)


class ReturnsObject:
    name = "implement"

    def run(self, cx: Assignment) -> object:
        write(cx)
        return SimpleNamespace(outcome="done", summary="written")


@pytest.mark.parametrize("role", [Write(), WriteLater(), NeverAwaits(), ReturnsCoroutine(), ReturnsObject()])
def test_from_a_task_to_a_merge(queue: Octopoid, repo: Path, role: Any) -> None:
    task = queue.tasks.create(title="Write a note", role="implement")
    record = once(queue, repo, role, Approve())
    assert record.ended == "clean" and record.tasks == [task.id] and record.steps
    done = queue.tasks.get(task.id)
    assert done is not None and done.queue == "done" and done.merged_sha
    assert (repo / "note.txt").read_text() == f"{task.id}\n"
    assert git(repo, "status", "--porcelain") == ""


def test_what_a_role_is_given(queue: Octopoid, repo: Path) -> None:
    seen: list[Any] = []

    class Look(Role):
        name = "implement"

        def run(self, cx: Assignment) -> Outcome:
            cx.log("I am looking")
            seen.append(cx)
            assert git(cx.worktree, "branch", "--show-current") == f"agent/{cx.task.id}"
            assert not cx.cancelled and not cx.is_review
            write(cx, f"note-{cx.attempt}.txt")
            return Outcome.done("written", usage={"input_tokens": 5, "turns": 2})

    class Judge(Role):
        name = "gatekeeper"

        def run(self, cx: Assignment) -> Outcome:
            seen.append(cx)
            assert git(cx.worktree, "rev-parse", "HEAD") == cx.head_sha
            if len(seen) == 2:
                return Outcome.reject("one is not enough", blocking=["write two"])
            return Outcome.approve()

    task = queue.tasks.create(title="Look", content="around", role="implement")
    assert once(queue, repo, Look(), Judge()).ended == "clean"
    work, review, again, _ = seen
    assert isinstance(work.task, octopoid.Task) and work.task.content == "around" and work.task["id"] == task.id
    assert isinstance(work.worktree, Path) and work.feedback == []
    assert work.attempt == 1 and work.attempt.number == 1 and work.attempt["role"] == "implement"
    assert f"{work.attempt}" == "1" and "Attempt" not in str(work.attempt)
    assert work.base_sha == git(repo, "rev-list", "--max-parents=0", "HEAD")
    assert review.is_review and review.head_sha != work.base_sha
    assert "one is not enough" in again.feedback[0].content and "write two" in again.feedback[0].content
    assert again.feedback[0].type == "rejection" and again.attempt == 3
    assert "Look" in work.prompt() and "one is not enough" in again.prompt()
    assert "I am looking" in (work.attempt_dir / "stdout.jsonl").read_text()
    assert attempt_of(queue, task.id).usage.turns == 2
    assert sorted(p.name for p in repo.glob("note-*")) == ["note-1.txt", "note-3.txt"]


def test_a_role_that_raises(queue: Octopoid, repo: Path) -> None:
    limits(repo, "attempts: 1")

    class Raise(Role):
        name = "implement"

        def run(self, cx: Assignment) -> Outcome:
            return self.deeper({})

        def deeper(self, found: dict[str, Outcome]) -> Outcome:
            return found["what is missing"]

    task = queue.tasks.create(title="x", role="implement")
    assert once(queue, repo, Raise()).ended == "needs_attention"
    attempt = attempt_of(queue, task.id)
    assert attempt.outcome == "failed"
    assert "KeyError" in attempt.reason and "what is missing" in attempt.reason
    evidence = attempt.evidence.tail
    assert evidence.startswith("Traceback") and "in deeper" in evidence and "_play.py" not in evidence
    assert "KeyError" in str(queue.tasks.why(task.id))


def test_an_awaiting_role_that_raises(queue: Octopoid, repo: Path) -> None:
    limits(repo, "attempts: 1")

    class Raise(Role):
        name = "implement"

        async def run(self, cx: Assignment) -> Outcome:
            await asyncio.sleep(0)
            raise ValueError("not today")

    task = queue.tasks.create(title="x", role="implement")
    once(queue, repo, Raise())
    attempt = attempt_of(queue, task.id)
    assert "ValueError: not today" in attempt.reason
    assert "asyncio" not in attempt.evidence.tail and "in run" in attempt.evidence.tail


NONSENSE: list[Any] = [
    None,
    "done",
    42,
    ["done"],
    {},
    {"outcome": "finished"},
    {"verdict": "maybe"},
    {"outcome": "done", "colour": "red"},
    {"outcome": 3},
    object(),
    {"outcome": "done", "summary": object()},
]


@pytest.mark.parametrize("value", NONSENSE, ids=lambda value: repr(value).split(" at ")[0])
def test_a_role_that_returns_nonsense(queue: Octopoid, repo: Path, value: Any) -> None:
    limits(repo, "attempts: 1")

    class Odd(Role):
        name = "implement"

        def run(self, cx: Assignment) -> Any:
            write(cx)
            return value

    task = queue.tasks.create(title="x", role="implement")
    once(queue, repo, Odd())
    found = queue.tasks.get(task.id)
    assert found is not None and found.queue == "needs_attention"
    attempt = attempt_of(queue, task.id)
    assert attempt.outcome == "failed"
    # What would be right is said.
    assert "verdict" in attempt.reason or "approve" in attempt.reason
    assert "done" in attempt.reason


def test_a_failure_and_a_question(queue: Octopoid, repo: Path) -> None:
    limits(repo, "attempts: 1")
    outcomes = {"fails": Outcome.failed("too hard"), "asks": Outcome.question("which one?")}

    class Answer(Role):
        name = "implement"

        def run(self, cx: Assignment) -> Outcome:
            return outcomes[cx.task.title]

    fails = queue.tasks.create(title="fails", role="implement")
    asks = queue.tasks.create(title="asks", role="implement")
    once(queue, repo, Answer())
    assert "too hard" in attempt_of(queue, fails.id).reason
    assert "which one?" in str(queue.tasks.thread(asks.id))


def leftover() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("octopoid-")]


def gone(seconds: float = 5) -> bool:
    until = time.monotonic() + seconds
    while leftover() and time.monotonic() < until:
        time.sleep(0.02)
    return not leftover()


class HangSync(Role):
    name = "implement"

    def __init__(self) -> None:
        self.ended: list[Any] = []

    def run(self, cx: Assignment) -> Outcome:
        try:
            while True:
                time.sleep(0.02)
        except Cancelled:
            self.ended.append(cx.cancelled)
            raise


class HangAsync(HangSync):
    async def run(self, cx: Assignment) -> Outcome:  # type: ignore[override]
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            self.ended.append(cx.cancelled)
            raise
        return Outcome.done()


class HangBlocked(HangSync):
    async def run(self, cx: Assignment) -> Outcome:  # type: ignore[override]
        return super().run(cx)


@pytest.mark.parametrize("role_type", [HangSync, HangAsync, HangBlocked])
def test_the_time_limit(queue: Octopoid, repo: Path, role_type: type[HangSync]) -> None:
    limits(repo, "attempts: 1, wall_minutes: 0.02")
    role = role_type()
    task = queue.tasks.create(title="x", role="implement")
    begun = time.monotonic()
    once(queue, repo, role)
    assert time.monotonic() - begun < 10
    attempt = attempt_of(queue, task.id)
    assert attempt.outcome == "failed" and "1.2 s" in attempt.reason
    assert gone(), leftover()
    assert role.ended == [True]


def test_a_role_that_swallows_exceptions_still_ends(queue: Octopoid, repo: Path) -> None:
    limits(repo, "attempts: 1, wall_minutes: 0.01")

    class Stubborn(Role):
        name = "implement"

        def run(self, cx: Assignment) -> Outcome:
            while True:
                try:
                    time.sleep(0.01)
                except Exception:
                    continue

    queue.tasks.create(title="x", role="implement")
    once(queue, repo, Stubborn())
    assert gone(), leftover()


def test_no_attempt_begins_while_a_blocked_one_is_still_there(queue: Octopoid, repo: Path) -> None:
    limits(repo, "attempts: 2, wall_minutes: 0.01")

    class Blocked(Role):
        name = "implement"
        seen: list[str] = []

        def run(self, cx: Assignment) -> Outcome:
            first = not self.seen
            self.seen.append("begun")
            try:
                # One call of C, which no exception reaches.
                if first:
                    time.sleep(9)
            finally:
                self.seen.append("gone")
            write(cx)
            return Outcome.done("written")

    task = queue.tasks.create(title="x", role="implement")
    once(queue, repo, Blocked())
    assert Blocked.seen == ["begun", "gone", "begun", "gone"]
    failures = [a.failure for a in queue.tasks.attempts(task.id)]
    assert failures[:2] == ["timeout_wall", "repository_busy"] and failures[-1] is None


@pytest.mark.parametrize("role_type", [HangSync, HangAsync])
def test_a_task_that_is_cancelled_ends_its_role(queue: Octopoid, repo: Path, role_type: type[HangSync]) -> None:
    role = role_type()
    task = queue.tasks.create(title="x", role="implement")
    threading.Timer(0.7, lambda: queue.tasks.cancel(task.id, "not needed", by="me")).start()
    begun = time.monotonic()
    once(queue, repo, role)
    assert time.monotonic() - begun < 10
    found = queue.tasks.get(task.id)
    assert found is not None and found.queue == "cancelled"
    assert role.ended == [True] and gone()


def test_roles_run_side_by_side_and_use_clients(queue: Octopoid, repo: Path, tmp_path: Path) -> None:
    together = threading.Barrier(3, timeout=20)

    class Meet(Role):
        name = "implement"

        def run(self, cx: Assignment) -> Outcome:
            assert queue.tasks.get(cx.task.id)
            together.wait()
            write(cx, f"{cx.task.id}.txt")
            return Outcome.done()

    class Judge(Role):
        name = "gatekeeper"

        async def run(self, cx: Assignment) -> Outcome:
            async with octopoid.AsyncOctopoid.local(tmp_path / "queue") as own:
                assert await own.tasks.get(cx.task.id)
            return Outcome.approve()

    created = queue.tasks.create_many([{"title": f"Task {n}", "role": "implement"} for n in range(3)])
    assert once(queue, repo, Meet(), Judge(), max_agents=3).ended == "clean"
    assert {queue.tasks.get(t.id).queue for t in created} == {"done"}  # type: ignore[union-attr]
    assert len(list(repo.glob("task-*.txt"))) == 3


def test_one_role_for_its_own_tasks(queue: Octopoid, repo: Path) -> None:
    class Docs(Role):
        name = "docs"

        def run(self, cx: Assignment) -> Outcome:
            assert cx.task.role == "docs"
            write(cx)
            return Outcome.done()

    other = queue.tasks.create(title="Other", role="implement")
    docs = queue.tasks.create(title="Docs", role="docs")
    once(queue, repo, Docs(), Approve())
    assert queue.tasks.get(docs.id).queue == "done"  # type: ignore[union-attr]
    assert queue.tasks.get(other.id).queue == "incoming"  # type: ignore[union-attr]


def test_what_is_no_role(queue: Octopoid, repo: Path) -> None:
    class Nameless(Role):
        pass

    for bad in (Nameless(), object(), Write, SimpleNamespace(name="x"), SimpleNamespace(name=3, run=print), None):
        with pytest.raises(ValueError, match=r"role|name"):
            Orchestrator(octopoid=queue, repo=repo, roles=[bad])  # type: ignore[list-item]
    with pytest.raises(NotImplementedError):
        Nameless().run(None)  # type: ignore[arg-type]


def test_leaving_while_a_role_runs(tmp_path: Path, repo: Path) -> None:
    program = f"""
import threading, time
from octopoid import Octopoid, Orchestrator, Role
class Hang(Role):
    name = "implement"
    def run(self, cx):
        started.set()
        while True:
            pass
started = threading.Event()
queue = Octopoid.local({str(tmp_path / "queue")!r})
queue.tasks.create(title="x", role="implement")
orchestrator = Orchestrator(octopoid=queue, repo={str(repo)!r}, roles=[Hang()])
threading.Thread(target=orchestrator.run, daemon=True).start()
started.wait()
print("leaving")
"""
    begun = time.monotonic()
    done = run_python(program, timeout=30)
    assert (done.returncode, done.stdout, done.stderr) == (0, "leaving\n", "")
    assert time.monotonic() - begun < 15
