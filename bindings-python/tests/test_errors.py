"""Errors: which one, what it says, what it carries."""

from __future__ import annotations

import os
import pickle
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

import octopoid
from conftest import Server, start_server
from octopoid import (
    Octopoid,
    OctopoidAPIError,
    OctopoidAuthenticationError,
    OctopoidError,
    OctopoidNotFoundError,
    OctopoidOfflineError,
    OctopoidSDK,
    OctopoidTimeoutError,
)


def test_one_family() -> None:
    for name in octopoid.__all__:
        found = getattr(octopoid, name)
        if isinstance(found, type) and issubclass(found, Exception):
            assert issubclass(found, OctopoidError)
    assert issubclass(OctopoidTimeoutError, TimeoutError) and issubclass(OctopoidOfflineError, ConnectionError)
    for name in ("NotFound", "Authentication", "Conflict", "Timeout", "Offline"):
        assert issubclass(getattr(octopoid, f"Octopoid{name}Error"), OctopoidAPIError)
    error = OctopoidAPIError("text", 500)
    assert (str(error), error.status_code, error.code) == ("text", 500, "internal")


def test_no_server_named(monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
    for make in (Octopoid, OctopoidSDK, octopoid.OctopoidClient, octopoid.AsyncOctopoid):
        monkeypatch.setenv("OCTOPOID_SERVER_URL", "")
        with pytest.raises(ValueError, match="OCTOPOID_SERVER_URL"):
            make()
        monkeypatch.setenv("OCTOPOID_SERVER_URL", server.url + "///")
        assert make().server_url == server.url
    for bad in ("", "nonsense", "ftp://example.com", "http://"):
        with pytest.raises(ValueError):
            Octopoid(bad or " ")
    for timeout in (0, -1, float("nan"), "30", True):
        with pytest.raises(ValueError, match="timeout"):
            Octopoid(server.url, timeout=timeout)  # type: ignore[arg-type]


def test_environment(monkeypatch: pytest.MonkeyPatch, server: Server, scope: str) -> None:
    monkeypatch.setenv("OCTOPOID_SERVER_URL", server.url)
    monkeypatch.setenv("OCTOPOID_SCOPE", scope)
    with Octopoid() as client:
        assert client.tasks.create(title="x").scope == scope
    monkeypatch.setenv("OCTOPOID_SCOPE", "")
    with Octopoid() as client:
        assert client.tasks.create(title="x").scope == "default"
    monkeypatch.setenv("OCTOPOID_API_KEY", "oct_wrong")
    with Octopoid() as client, pytest.raises(OctopoidAuthenticationError):
        client.tasks.list()


def test_keys(tmp_path: Path) -> None:
    running = start_server(tmp_path, "--auth", "required", "--admin-token", "secret-admin-token")
    try:
        with Octopoid(running.url, scope="a") as client, pytest.raises(OctopoidAuthenticationError) as none:
            client.tasks.list()
        assert (none.value.status_code, none.value.code) == (401, "unauthorized")
        wrong = Octopoid(running.url, api_key="oct_nothing", scope="a")
        with wrong, pytest.raises(OctopoidAuthenticationError, match="Invalid API key"):
            wrong.tasks.list()
    finally:
        running.stop()


def test_a_refusal_carries_everything(client: Octopoid) -> None:
    with pytest.raises(OctopoidNotFoundError) as missing:
        client.tasks.accept("nobody", "me")
    error = missing.value
    assert (str(error), error.message) == ("Task not found", "Task not found")
    assert (error.status_code, error.code, error.details["task_id"]) == (404, "not_found", "nobody")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is OctopoidNotFoundError
    assert (str(again), again.code, again.status_code, again.details) == (
        str(error),
        error.code,
        error.status_code,
        error.details,
    )


def test_a_closed_client(client: Octopoid) -> None:
    client.close()
    client.close()
    assert client.closed and "closed" in repr(client)
    for call in (lambda: client.tasks.list(), lambda: client.tasks.create(title="x"), lambda: client.status.health()):
        with pytest.raises(OctopoidError, match="closed") as closed:
            call()
        assert closed.value.code == "closed" and closed.value.hint


def test_closing_ends_calls_that_wait(client: Octopoid) -> None:
    threading.Timer(0.3, client.close).start()
    begun = time.monotonic()
    with pytest.raises(OctopoidError, match="closed"):
        client.events.list(after=10**9, wait_seconds=30)
    assert time.monotonic() - begun < 5


def test_nobody_there() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with Octopoid(f"http://127.0.0.1:{port}", timeout=5) as client:
        with pytest.raises(OctopoidOfflineError) as offline:
            client.tasks.create(title="x")
        assert (offline.value.code, offline.value.status_code) == ("offline", None)
        assert str(port) in str(offline.value)
        with pytest.raises(ConnectionError):
            client.tasks.get("x")
        with pytest.raises(OctopoidOfflineError):
            next(client.events.watch())


@pytest.fixture
def stranger() -> Iterator[str]:
    """Something else that speaks HTTP."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            time.sleep(float(self.path.rpartition("slow-")[2] or 0) if "slow-" in self.path else 0)
            status = 502 if "broken" in self.path else 404 if "missing" in self.path else 200
            body = b"<html>not Octopoid</html>"
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    found = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=found.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{found.server_port}"
    found.shutdown()
    found.server_close()
    thread.join()


def test_somebody_else_there(stranger: str) -> None:
    with Octopoid(stranger) as client:
        with pytest.raises(OctopoidAPIError, match="not JSON"):
            client.tasks.get("fine")
        with pytest.raises(OctopoidAPIError) as broken:
            client.tasks.get("broken")
        assert broken.value.status_code == 502 and "not Octopoid" in str(broken.value)
        # A page that is missing is no task that is missing.
        with pytest.raises(OctopoidNotFoundError):
            client.tasks.get("missing")


def test_an_answer_that_takes_too_long(stranger: str) -> None:
    with Octopoid(stranger, timeout=0.3) as client:
        begun = time.monotonic()
        with pytest.raises(OctopoidTimeoutError) as late:
            client.tasks.get("slow-2")
        assert 0.2 < time.monotonic() - begun < 2
        assert (late.value.code, late.value.status_code) == ("timeout", None)
        assert isinstance(late.value, TimeoutError)


def test_waiting_is_no_timeout(remote: Octopoid, scope: str) -> None:
    with Octopoid(remote.server_url, timeout=0.5, scope=scope) as client:
        begun = time.monotonic()
        assert client.tasks.claim("test-1", "worker", wait_seconds=1).reason == "empty"
        assert time.monotonic() - begun >= 0.9


def test_a_folder_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OctopoidError) as bad:
        Octopoid.local(tmp_path / "file" / "queue")
    assert bad.value.code == "io" and os.fspath(tmp_path) in str(bad.value)
