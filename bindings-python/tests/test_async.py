"""The client for asyncio."""

from __future__ import annotations

import asyncio
import inspect
import time
from pathlib import Path

import pytest

import octopoid
from conftest import Server, run_python
from octopoid import AsyncOctopoid, Octopoid, OctopoidError, OctopoidNotFoundError, Task

GROUPS = ("tasks", "projects", "drafts", "orchestrators", "flows", "messages", "actions")
GROUPS += ("history", "events", "status", "system")


def test_the_same_methods_as_the_blocking_client(tmp_path: Path) -> None:
    blocking, awaited = Octopoid.local(tmp_path / "a"), AsyncOctopoid.local(tmp_path / "b")
    for group in GROUPS:
        one, other = getattr(blocking, group), getattr(awaited, group)
        names = {name for name in dir(one) if not name.startswith("_")}
        assert names == {name for name in dir(other) if not name.startswith("_")}
        for name in names:
            left, right = getattr(one, name), getattr(other, name)
            assert list(inspect.signature(left).parameters.values()) == list(
                inspect.signature(right).parameters.values()
            )
            assert left.__doc__ and right.__doc__, (group, name)
            assert not inspect.iscoroutinefunction(left)
            assert inspect.iscoroutinefunction(right) or inspect.isasyncgenfunction(right), (group, name)


def test_a_life(remote: Octopoid, scope: str) -> None:
    async def life() -> Task:
        async with AsyncOctopoid(remote.server_url, scope=scope) as client:
            task = await client.tasks.create(title="Async")
            claimed = await client.tasks.claim("test-1", "worker", fenced=True)
            assert claimed and claimed.id == task.id
            await client.tasks.submit(task.id, "https://example.com/1", 1, 2)
            assert await client.tasks.get("nobody") is None
            with pytest.raises(OctopoidNotFoundError):
                await client.tasks.accept("nobody")
            assert [t.id async for t in client.tasks.iterate(page_size=1)] == [task.id]
            assert (await client.poll("test-1")).queue_counts.provisional == 1
            return await client.tasks.accept(task.id)

    done = asyncio.run(life())
    assert done.queue == "done" and done.pr_url == "https://example.com/1"


def test_in_a_folder_and_several_loops(tmp_path: Path) -> None:
    client = AsyncOctopoid.local(tmp_path)
    task = asyncio.run(client.tasks.create(title="One loop"))
    found = asyncio.run(client.tasks.get(task.id))
    assert found == task
    client.close()
    with pytest.raises(OctopoidError, match="closed"):
        asyncio.run(client.tasks.list())


def test_calls_overlap(remote: Octopoid, scope: str) -> None:
    async def many() -> float:
        async with AsyncOctopoid(remote.server_url, scope=scope) as client:
            begun = time.monotonic()
            claims = await asyncio.gather(
                *(client.tasks.claim("test-1", f"worker-{n}", wait_seconds=1) for n in range(50))
            )
            assert all(not claim and claim.reason == "empty" for claim in claims)
            return time.monotonic() - begun

    assert asyncio.run(many()) < 15


def test_the_loop_runs_on(remote: Octopoid, scope: str) -> None:
    async def count() -> int:
        async with AsyncOctopoid(remote.server_url, scope=scope) as client:
            claim = asyncio.create_task(client.tasks.claim("test-1", "worker", wait_seconds=2))
            steps = 0
            while not claim.done():
                await asyncio.sleep(0.01)
                steps += 1
            return steps

    assert asyncio.run(count()) > 50


def test_a_call_that_is_cancelled_is_dropped(remote: Octopoid, scope: str) -> None:
    async def cancel() -> float:
        async with AsyncOctopoid(remote.server_url, scope=scope) as client:
            begun = time.monotonic()
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(client.tasks.claim("test-1", "worker", wait_seconds=30), 0.3)
            # The server has heard of it: nobody is left who would take this task.
            await asyncio.sleep(0.5)
            task = await client.tasks.create(title="For the next one")
            await asyncio.sleep(0.5)
            found = await client.tasks.get(task.id)
            assert found is not None and found.queue == "incoming"
            return time.monotonic() - begun

    assert asyncio.run(cancel()) < 10


def test_closing_ends_calls_that_wait(tmp_path: Path) -> None:
    async def close() -> None:
        client = AsyncOctopoid.local(tmp_path)
        waiting = asyncio.create_task(client.events.list(after=10**9, wait_seconds=30))
        await asyncio.sleep(0.2)
        await client.close()
        with pytest.raises(OctopoidError, match="closed"):
            await asyncio.wait_for(waiting, 5)

    asyncio.run(close())


def test_a_loop_that_is_closed_meanwhile_makes_no_noise(server: Server) -> None:
    program = f"""
import asyncio, time
from octopoid import AsyncOctopoid
client = AsyncOctopoid({server.url!r}, scope="noise")
loop = asyncio.new_event_loop()
future = None
async def begin():
    global future
    query = [("after", "999999"), ("wait_seconds", "1")]
    future = client._connection.request_async("GET", "/api/v1/events", query, None, None, 1.0)
loop.run_until_complete(begin())
loop.close()
time.sleep(1.5)
async def again():
    return await client.status.health()
print(asyncio.run(again()).status)
"""
    done = run_python(program)
    assert (done.returncode, done.stdout, done.stderr) == (0, "healthy\n", "")


def test_outside_of_a_loop(tmp_path: Path) -> None:
    client = AsyncOctopoid.local(tmp_path)
    with pytest.raises(RuntimeError, match="no running event loop"):
        client._connection.request_async("GET", "/api/health", [], None, None, 0.0)
    assert octopoid.AsyncOctopoid is AsyncOctopoid
