"""The orchestrator inside a Python program."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path

import pytest

from conftest import git, run_python
from octopoid import AsyncOctopoid, Octopoid, OctopoidConflictError, OctopoidError, Orchestrator, Outcome, Role
from test_roles import Approve, HangSync, Write


def until(condition: object, seconds: float = 20) -> None:
    """Waits for something to become true."""
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def test_a_repository_that_was_not_set_up(local: Octopoid, repo: Path) -> None:
    task = local.tasks.create(title="x", role="implement")
    orchestrator = Orchestrator(octopoid=local, repo=repo, roles=[Write(), Approve()])
    assert orchestrator.run_once().tasks == [task.id]
    assert local.tasks.get(task.id).queue == "done"  # type: ignore[union-attr]
    # The same object works again, and finds nothing.
    record = orchestrator.run_once()
    assert (record.ended, record.steps, record.tasks) == ("clean", [], [])
    assert not (repo / ".octopoid" / "config.yaml").exists()
    assert git(repo, "status", "--porcelain") == ""


def test_on_a_server(remote: Octopoid, repo: Path) -> None:
    task = remote.tasks.create(title="x", role="implement", branch="main")
    assert Orchestrator(octopoid=remote, repo=repo, roles=[Write(), Approve()]).run_once().ended == "clean"
    assert remote.tasks.get(task.id).queue == "done"  # type: ignore[union-attr]
    assert (repo / "note.txt").exists()


def test_awaited(tmp_path: Path, repo: Path) -> None:
    async def run() -> str:
        async with AsyncOctopoid.local(tmp_path / "queue") as queue:
            task = await queue.tasks.create(title="x", role="implement")
            ticks = 0

            async def tick() -> None:
                nonlocal ticks
                while True:
                    ticks += 1
                    await asyncio.sleep(0.01)

            ticking = asyncio.create_task(tick())
            record = await Orchestrator(octopoid=queue, repo=repo, roles=[Write(), Approve()]).run_once_async()
            ticking.cancel()
            assert record.ended == "clean" and ticks > 3
            found = await queue.tasks.get(task.id)
            assert found is not None
            return found.queue

    assert asyncio.run(run()) == "done"


def test_cancelling_ends_in_order(tmp_path: Path, repo: Path) -> None:
    role = HangSync()

    async def run() -> str:
        async with AsyncOctopoid.local(tmp_path / "queue") as queue:
            task = await queue.tasks.create(title="x", role="implement")
            orchestrator = Orchestrator(octopoid=queue, repo=repo, roles=[role])
            running = asyncio.create_task(orchestrator.run_async())
            while (await queue.status.get()).counts.get("claimed") != 1:
                await asyncio.sleep(0.02)
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            assert not orchestrator.is_running
            found = await queue.tasks.get(task.id)
            assert found is not None
            return found.queue

    assert asyncio.run(run()) == "incoming"
    assert role.ended == [True]


def test_a_run_that_is_stopped(local: Octopoid, repo: Path) -> None:
    orchestrator = Orchestrator(octopoid=local, repo=repo, roles=[Write(), Approve()], tick_seconds=1)
    assert not orchestrator.stop() and not orchestrator.is_running
    ended: list[str] = []
    thread = threading.Thread(target=lambda: ended.append(orchestrator.run().ended))
    thread.start()
    until(lambda: orchestrator.is_running)
    with pytest.raises(OctopoidConflictError) as running:
        orchestrator.run_once()
    assert running.value.code == "already_running"
    # What comes while it runs is done.
    task = local.tasks.create(title="x", role="implement")
    until(lambda: local.tasks.get(task.id).queue == "done")  # type: ignore[union-attr]
    assert orchestrator.stop()
    thread.join(20)
    assert ended == ["stopped"] and not orchestrator.is_running


def test_two_orchestrators_of_one_repository(local: Octopoid, repo: Path) -> None:
    role = HangSync()
    local.tasks.create(title="x", role="implement")
    first = Orchestrator(octopoid=local, repo=repo, roles=[role])
    thread = threading.Thread(target=first.run)
    thread.start()
    until(lambda: local.status.get().counts.get("claimed") == 1)
    with pytest.raises(OctopoidConflictError) as second:
        Orchestrator(octopoid=local, repo=repo, roles=[Write()]).run_once()
    assert second.value.code == "already_running"
    assert first.stop(now=True)
    thread.join(20)
    assert not thread.is_alive() and role.ended == [True]


INTERRUPTED = """
import os, signal, threading, time
from octopoid import Octopoid, Orchestrator, Role
class Hang(Role):
    name = "implement"
    {kind} run(self, cx):
        threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        {wait}
queue = Octopoid.local({queue!r})
task = queue.tasks.create(title="x", role="implement")
orchestrator = Orchestrator(octopoid=queue, repo={repo!r}, roles=[Hang()])
begun = time.monotonic()
try:
    orchestrator.{method}()
except KeyboardInterrupt:
    print("interrupted", queue.tasks.get(task.id).queue, orchestrator.is_running, time.monotonic() - begun < 10)
"""


@pytest.mark.parametrize("method", ["run", "run_once"])
@pytest.mark.parametrize(
    ("kind", "wait"),
    [("def", "while True: time.sleep(0.05)"), ("async def", "import asyncio; await asyncio.sleep(60)")],
)
def test_ctrl_c_ends_a_run_in_order(tmp_path: Path, repo: Path, method: str, kind: str, wait: str) -> None:
    program = INTERRUPTED.format(queue=str(tmp_path / "queue"), repo=str(repo), method=method, kind=kind, wait=wait)
    done = run_python(program, timeout=30)
    assert (done.returncode, done.stdout, done.stderr) == (0, "interrupted incoming False True\n", "")


def test_bad_arguments(local: Octopoid, repo: Path, tmp_path: Path) -> None:
    for wrong in (0, 1.5, "x"):
        with pytest.raises(ValueError, match="max_agents"):
            Orchestrator(octopoid=local, repo=repo, roles=[Write()], max_agents=wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="Octopoid"):
        Orchestrator(octopoid="http://example.com", repo=repo, roles=[Write()])  # type: ignore[arg-type]
    with pytest.raises(OctopoidError, match="tick"):
        Orchestrator(octopoid=local, repo=repo, roles=[Write()], tick_seconds=0.1).run_once()
    empty = tmp_path / "no-repository"
    empty.mkdir()
    with pytest.raises(OctopoidError) as nowhere:
        Orchestrator(octopoid=local, repo=empty, roles=[Write()]).run_once()
    assert nowhere.value.code == "not_a_repository"
    with pytest.raises(OctopoidError):
        Orchestrator(octopoid=local, repo=repo).run_once()
    local.close()
    with pytest.raises(OctopoidError, match="closed"):
        Orchestrator(octopoid=local, repo=repo, roles=[Write()]).run_once()


def test_the_queue_of_the_project(repo: Path) -> None:
    (repo / ".octopoid").mkdir()
    (repo / ".octopoid" / "config.yaml").write_text("mode: local\n")
    with Octopoid.local(repo) as queue:
        task = queue.tasks.create(title="x", role="implement")
    record = Orchestrator(repo=repo, roles=[Write(), Approve()]).run_once()
    assert record.tasks == [task.id]


def test_checks_decide(local: Octopoid, repo: Path) -> None:
    class Twice(Role):
        name = "implement"

        def run(self, cx: object) -> Outcome:
            text = "good" if cx.feedback else "bad"  # type: ignore[attr-defined]
            (cx.worktree / "state.txt").write_text(text)  # type: ignore[attr-defined]
            return Outcome.done()

    task = local.tasks.create(title="x", role="implement", checks=["grep -q good state.txt"])
    Orchestrator(octopoid=local, repo=repo, roles=[Twice(), Approve()]).run_once()
    assert local.tasks.get(task.id).queue == "done"  # type: ignore[union-attr]
    assert [a.outcome for a in local.tasks.attempts(task.id)][:2] == ["failed", "submitted"]
