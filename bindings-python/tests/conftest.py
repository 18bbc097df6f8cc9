"""A real server, folders with a queue, and git repositories for the tests."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import sysconfig
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from octopoid import Octopoid

START_SECONDS = 30

# A shell that runs this in the background has Ctrl-C ignored, and programs inherit that; the tests mean the ordinary case.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def command() -> list[str]:
    """The command under test: the one that is named, else that of the installed package."""
    named = os.environ.get("OCTOPOID_BIN")
    if named:
        return [named]
    script = Path(sysconfig.get_path("scripts")) / "octopoid"
    return [str(script)] if script.exists() else [sys.executable, "-m", "octopoid"]


@dataclass
class Server:
    """A running server."""

    url: str
    process: subprocess.Popen[bytes]

    def stop(self) -> None:
        """Ends it; an orderly end is part of the test."""
        self.process.terminate()
        assert self.process.wait(20) == 0


def start_server(folder: Path, *options: str, listen: str = "127.0.0.1:0") -> Server:
    """Starts a server with a database in `folder`."""
    arguments = [*command(), "serve", "--listen", listen, "--database", f"sqlite:{folder}/server.db", *options]
    log = folder / "server.log"
    with log.open("w") as out:
        process = subprocess.Popen(arguments, stderr=out, stdout=out, cwd=folder)
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        found = re.findall(r"listening on (http://\S+)\n", log.read_text())
        if found:
            return Server(found[-1], process)
        time.sleep(0.02)
    process.kill()
    process.wait()
    raise AssertionError(f"the server did not start: {log.read_text()}")


@pytest.fixture(scope="session", autouse=True)
def plain_environment() -> None:
    """What the user's own environment says must not decide about tests."""
    for name in ("OCTOPOID_SERVER_URL", "OCTOPOID_API_KEY", "OCTOPOID_SCOPE", "OCTOPOID_MACHINE_ID"):
        os.environ.pop(name, None)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests; each works in a scope of its own."""
    running = start_server(tmp_path_factory.mktemp("server"), "--default-scope", "default")
    yield running
    running.stop()


@pytest.fixture
def scope() -> str:
    """A scope that nobody else uses."""
    return f"scope-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def remote(server: Server, scope: str) -> Iterator[Octopoid]:
    """A client of the server, with an orchestrator `test-1` that is registered."""
    with Octopoid(server.url, scope=scope) as client:
        client.orchestrators.register("test", "1")
        yield client


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Octopoid]:
    """A client of a folder."""
    with Octopoid.local(tmp_path / "queue") as client:
        yield client


@pytest.fixture(params=["server", "folder"])
def client(request: pytest.FixtureRequest) -> Octopoid:
    """The same test against a server and against a folder."""
    found = request.getfixturevalue("remote" if request.param == "server" else "local")
    assert isinstance(found, Octopoid)
    return found


def git(folder: Path, *arguments: str) -> str:
    """Runs git and gives what it prints."""
    done = subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A git repository with one commit on `main`."""
    folder = tmp_path / "repo"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch", "main")
    git(folder, "config", "user.name", "Test")
    git(folder, "config", "user.email", "test@example.com")
    (folder / "README.md").write_text("# Example\n")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "Begin")
    return folder


def run_python(
    code: str, *, timeout: float = 60, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs a program in an interpreter of its own; warnings are errors there."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, **(env or {})},
    )
