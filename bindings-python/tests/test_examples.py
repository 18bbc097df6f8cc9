"""The programs of `examples/python`, run as a reader would run them."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import pytest

from conftest import Server, git
from octopoid import Octopoid

EXAMPLES = Path(__file__).parent.parent.parent / "examples" / "python"


def example(name: str, *arguments: object, environment: dict[str, str] | None = None, code: int = 0) -> str:
    """Runs one and gives what it prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / f"{name}.py"), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **(environment or {})},
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "queue"


@pytest.fixture
def queue(folder: Path) -> Iterator[Octopoid]:
    with Octopoid.local(folder) as client:
        yield client


def handed_in(queue: Octopoid, title: str, role: str, commits: int) -> str:
    """A task in `provisional`."""
    task = queue.tasks.create(title=title, role=role)
    assert queue.tasks.claim("test-1", "worker", role_filter=role)
    queue.tasks.submit(task.id, commits_count=commits, turns_used=1)
    return task.id


def test_every_example_is_tested() -> None:
    tested = set(re.findall(r'example\(\s*"(\w+)"', Path(__file__).read_text())) | {"embedded_service"}
    assert tested == {file.stem for file in EXAMPLES.glob("*.py")}


def test_quick_start(queue: Octopoid, folder: Path, server: Server, scope: str) -> None:
    printed = example("quick_start", folder)
    (task,) = queue.tasks.list()
    assert task.queue == "done" and f"{task.id} is done" in printed
    assert re.findall(r"Z  (\w+)", printed) == ["created", "claimed", "progress", "submitted", "accepted"]
    environment = {"OCTOPOID_SERVER_URL": server.url, "OCTOPOID_SCOPE": scope}
    assert "is done" in example("quick_start", environment=environment)
    with Octopoid(server.url, scope=scope) as client:
        assert client.tasks.list(queue="done").total == 1


def test_batch_import(queue: Octopoid, folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "tasks.json"
    file.write_text(json.dumps([{"title": f"Task {n}", "priority": "P1", "role": "docs"} for n in range(7)]))
    assert example("batch_import", file, folder).endswith("imported 7 tasks\n")
    assert queue.tasks.list(priority="P1", role="docs").total == 7
    file.write_text(json.dumps([{"title": "Good"}, {"title": "Bad", "priority": "P9"}]))
    example("batch_import", file, folder, code=1)
    assert queue.tasks.list().total == 7


def test_auto_approve(queue: Octopoid, folder: Path) -> None:
    docs = handed_in(queue, "Docs", "docs", 2)
    empty = handed_in(queue, "Empty", "test", 0)
    code = handed_in(queue, "Code", "implement", 2)
    printed = example("auto_approve", folder)
    assert f"approved {docs}: Docs" in printed
    assert f"left {empty}: it has no commits" in printed and f"left {code}: its role is implement" in printed
    assert [t.id for t in queue.tasks.list(queue="done")] == [docs]
    assert queue.tasks.list(queue="provisional").total == 2


def test_daily_report(queue: Octopoid, folder: Path) -> None:
    queue.tasks.create(title="Waiting")
    queue.tasks.accept(handed_in(queue, "Finished", "docs", 3))
    stuck = queue.tasks.create(title="Stuck")
    queue.tasks.recover(stuck.id, "needs_attention", "look")
    day = datetime.now(timezone.utc).date().isoformat()
    printed = example("daily_report", "--day", day, folder)
    assert re.search(r"incoming +1\n", printed) and re.search(r"done +1\n", printed)
    assert "done on this day: 1" in printed and "Finished (3 commits, 1 turns)" in printed
    assert f"needs a person: {stuck.id}" in printed
    assert "done on this day: 0" in example("daily_report", "--day", "2001-01-01", folder)


def test_poll_to_completion(queue: Octopoid, folder: Path) -> None:
    task = queue.tasks.create(title="x")

    def act() -> None:
        queue.tasks.claim("test-1", "worker")
        queue.tasks.submit(task.id, commits_count=1)
        queue.tasks.accept(task.id)

    threading.Timer(1.5, act).start()
    printed = example("poll_to_completion", task.id, folder)
    assert printed.startswith(f"{task.id}: incoming\n") and printed.endswith(f"{task.id}: done\n")
    example("poll_to_completion", "nobody", folder, code=3)
    waiting = queue.tasks.create(title="y")
    example("poll_to_completion", "--seconds", "1", waiting.id, folder, code=1)


def test_custom_role(repo: Path) -> None:
    printed = example("custom_role", repo, "A new thing")
    assert printed.endswith("is done\n") and "approved by" in printed
    assert (repo / "CHANGELOG.md").read_text() == "# Changelog\n\n* A new thing\n"
    assert git(repo, "status", "--porcelain") == ""


def test_custom_flow(queue: Octopoid, folder: Path) -> None:
    printed = example("custom_flow", folder)
    (task,) = queue.tasks.list()
    assert f"{task.id}: proofread, then provisional" in printed and printed.endswith(f"{task.id} is done\n")
    assert [m.content for m in queue.messages.list(task_id=task.id)] == ["clean"]
    assert [f.name for f in queue.flows.list()] == ["proofread"]


def test_embedded_service(repo: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-W", "error", str(EXAMPLES / "embedded_service.py"), str(repo)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        port = int(process.stdout.readline().rpartition(" ")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
            connection.sendall(b"A line\n")
            answer = connection.makefile().readline()
        task_id, queue = answer.split()
        assert queue == "done"
        assert (repo / f"{task_id}.txt").read_text() == "A line\n"
        process.terminate()
        assert process.stdout.read() == "orchestrator: stopped\n"
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.stdout.close()
        process.wait()
