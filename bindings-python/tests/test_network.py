"""Blocking calls, whose threads drive the network themselves: nobody else's calls and sockets may be left behind."""

from __future__ import annotations

import gc
import json
import os
import signal
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from conftest import Server, start_server
from octopoid import Event, Octopoid, OctopoidError, _native
from octopoid.records import Record


def test_a_server_that_came_back(tmp_path: Path) -> None:
    server = start_server(tmp_path, "--default-scope", "default")
    address = server.url.removeprefix("http://")
    with Octopoid(server.url) as client:
        for n in range(5):
            # Its connection of before was closed while nobody called; a write is not sent there, for it is sent once.
            assert client.tasks.create(title=f"task {n}").title == f"task {n}"
            server.stop()
            server = start_server(tmp_path, "--default-scope", "default", listen=address)
        assert client.tasks.list().total == 5
    server.stop()


def sockets() -> int:
    """How many this process has."""
    count = 0
    for name in os.listdir("/proc/self/fd"):
        try:
            count += os.readlink(f"/proc/self/fd/{name}").startswith("socket:")
        except FileNotFoundError:
            continue
    return count


@pytest.mark.parametrize("closed", [True, False])
def test_sockets_go_with_the_client(server: Server, scope: str, closed: bool) -> None:
    client = Octopoid(server.url, scope=scope)
    before = sockets()
    with ThreadPoolExecutor(8) as pool:
        events = list(pool.map(lambda _: client.events.list(wait_seconds=1), range(8)))
    assert not any(events)
    assert sockets() > before
    if closed:
        client.close()
    else:
        del client
        gc.collect()
    assert sockets() == before


@pytest.mark.parametrize("end", ["close", "ctrl-c"])
def test_the_server_hears_that_nobody_waits(server: Server, scope: str, end: str) -> None:
    client = Octopoid(server.url, scope=scope)
    client.orchestrators.register("network", "1")
    before = sockets()
    refused: list[BaseException] = []

    def wait() -> None:
        try:
            client.tasks.claim("network-1", "worker", wait_seconds=30)
        except (OctopoidError, KeyboardInterrupt) as error:
            refused.append(error)

    # No call comes after these, and the task below is nobody's.
    if end == "close":
        thread = threading.Thread(target=wait)
        thread.start()
        time.sleep(0.5)
        client.close()
        thread.join(10)
    else:
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
        wait()
    assert len(refused) == 1
    assert sockets() == before - 1
    with Octopoid(server.url, scope=scope) as other:
        time.sleep(0.2)
        task = other.tasks.create(title="still there")
        time.sleep(0.3)
        again = other.tasks.get(task.id)
        assert again is not None and again.queue == "incoming"


def test_who_drives_may_leave(server: Server, scope: str) -> None:
    def create() -> None:
        body = json.dumps({"title": "news", "scope": scope}).encode()
        request = urllib.request.Request(
            f"{server.url}/api/v1/tasks", body, {"content-type": "application/json"}, method="POST"
        )
        urllib.request.urlopen(request, timeout=30).close()

    found: list[Event] = []
    with Octopoid(server.url, scope=scope) as client:
        client.orchestrators.register("network", "1")
        first = threading.Thread(target=lambda: client.tasks.claim("network-1", "worker", wait_seconds=1))
        second = threading.Thread(target=lambda: found.extend(client.events.list(wait_seconds=30)))
        first.start()
        time.sleep(0.3)
        second.start()
        first.join()
        time.sleep(0.2)
        begun = time.monotonic()
        create()
        second.join()
        assert found[0].type == "created"
        assert time.monotonic() - begun < 10


def test_quick_calls_beside_a_slow_one(server: Server, scope: str) -> None:
    with Octopoid(server.url, scope=scope) as client:
        slow = threading.Thread(target=lambda: client.events.list(wait_seconds=3))
        slow.start()
        time.sleep(0.2)
        for _ in range(20):
            assert client.tasks.list().total == 0
        assert slow.is_alive()
        slow.join()


@pytest.mark.parametrize(
    "text",
    [
        "null",
        "true",
        "-3",
        "18446744073709551615",
        "0.1",
        '"a \\"b\\" \\u00e9 \\ud83d\\ude00 €"',
        "[]",
        '[1, [2, {"a": []}]]',
        '{"a": {"b": [{"c": null}]}, "": "x", "a b": 1e3}',
    ],
)
def test_answers_are_read_as_json(text: str) -> None:
    assert _native.decode(text, Record) == json.loads(text)
    assert repr(_native.decode(text, dict)) == repr(json.loads(text))


def test_objects_are_records() -> None:
    read = _native.decode('{"a": {"b": [{"c": 1}]}}', Record)
    assert type(read) is type(read.a) is type(read.a.b[0]) is Record


@pytest.mark.parametrize("text", ["", "{", "[1,]", "{}{}", "NaN", "<html>", '{"a": 1,}', "[" * 100_000])
def test_what_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        _native.decode(text, Record)
