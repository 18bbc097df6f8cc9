"""The change feed."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from pathlib import Path

from conftest import start_server
from octopoid import AsyncOctopoid, Octopoid


def test_pages(client: Octopoid) -> None:
    one, two = client.tasks.create(title="One"), client.tasks.create(title="Two")
    events = client.events.list()
    assert [(e.task_id, e.type) for e in events] == [(one.id, "created"), (two.id, "created")]
    assert [e.task_id for e in client.events.list(after=events[0].cursor)] == [two.id]
    assert [e.task_id for e in client.events.list(task_id=one.id)] == [one.id]
    assert len(client.events.list(limit=1)) == 1
    assert client.status.get().cursor == events[-1].cursor


def test_a_watch_sees_what_happens(client: Octopoid) -> None:
    before = client.tasks.create(title="Before")
    seen: list[tuple[str, str]] = []

    def act() -> None:
        time.sleep(0.3)
        for n in range(20):
            client.tasks.update(before.id, title=f"Title {n}")

    threading.Thread(target=act).start()
    for event in client.events.watch():
        seen.append((event.task_id, event.type))
        if len(seen) == 21:
            break
    assert seen[0] == (before.id, "created")
    assert len(client.events.list(after=0)) == 21


def test_a_watch_of_a_folder_sees_other_processes(tmp_path: Path) -> None:
    with Octopoid.local(tmp_path) as client:
        begun = time.monotonic()
        other = subprocess.Popen(
            [
                sys.executable,
                "-c",
                "import sys, time; from octopoid import Octopoid; time.sleep(0.5);"
                "Octopoid.local(sys.argv[1]).tasks.create('other', title='x')",
                str(tmp_path),
            ]
        )
        assert next(client.events.watch()).task_id == "other"
        assert time.monotonic() - begun < 10
        assert other.wait(20) == 0


def test_iterating(client: Octopoid) -> None:
    task = client.tasks.create(title="One")
    assert next(iter(client.events)).task_id == task.id


def test_a_watch_ends_with_its_client(client: Octopoid) -> None:
    threading.Timer(0.3, client.close).start()
    assert list(client.events.watch()) == []


def test_an_awaited_watch(tmp_path: Path) -> None:
    async def watch() -> list[str]:
        async with AsyncOctopoid.local(tmp_path) as client:

            async def act() -> None:
                await asyncio.sleep(0.2)
                for n in range(5):
                    await client.tasks.create(title=f"Task {n}")

            acting = asyncio.create_task(act())
            seen = []
            async for event in client.events:
                seen.append(event.type)
                if len(seen) == 5:
                    break
            await acting
            return seen

    assert asyncio.run(watch()) == ["created"] * 5


def test_a_watch_survives_a_restart_of_the_server(tmp_path: Path) -> None:
    server = start_server(tmp_path)
    address = server.url.removeprefix("http://")
    with Octopoid(server.url, scope="s") as client:
        first = client.tasks.create(title="First")
        watch = client.events.watch(wait_seconds=1)
        assert next(watch).task_id == first.id
        server.stop()

        def come_back() -> None:
            time.sleep(1)
            nonlocal server
            server = start_server(tmp_path, listen=address)
            with Octopoid(server.url, scope="s") as other:
                other.tasks.create("second", title="Second")

        back = threading.Thread(target=come_back)
        back.start()
        assert next(watch).task_id == "second"
        back.join()
    server.stop()
