"""The page on Python: its blocks run as one program, and its headings are those of the other languages' pages."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from conftest import Server, start_server
from octopoid import Octopoid

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "sdk-python.md"
README = ROOT / "bindings-python" / "README.md"
HEADINGS = [
    "Install",
    "Connect",
    "Tasks",
    "Claims",
    "Reviews",
    "Events",
    "Projects and drafts",
    "Messages and actions",
    "Flows",
    "Errors",
    "Write a role",
    "Run the orchestrator",
    "Git and task files",
    "Coming from earlier versions",
]


def blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def run(page: Path, server: Server, folder: Path) -> str:
    program = "\n".join(blocks(page)).replace("http://localhost:8787", server.url)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=folder,
        env={**os.environ, "OCTOPOID_SERVER_URL": server.url},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return done.stdout


def test_headings() -> None:
    assert re.findall(r"^## (.*)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE) == HEADINGS


def test_the_page(tmp_path: Path, repo: Path) -> None:
    server = start_server(tmp_path, "--default-scope", "default")
    try:
        printed = run(PAGE, server, repo)
        with Octopoid(server.url) as client:
            assert client.tasks.list(queue="done").total == 2
    finally:
        server.stop()
    for line in (
        "['Number 0', 'Number 1', 'Number 2']",
        "2 of 5",
        "empty",
        "incoming There is no test.",
        "['Which version?', 'The next one.']",
        "not_found 404 nobody",
        "clean",
        "done Take a note, attempt 1",
        "agent/task-by-hand False 3",
        "healthy",
    ):
        assert line in printed.splitlines(), (line, printed)
    assert (repo / "NOTES.md").exists()


def test_the_readme(tmp_path: Path, repo: Path) -> None:
    server = start_server(tmp_path, "--default-scope", "default")
    try:
        assert "is done" in run(README, server, repo)
    finally:
        server.stop()


def test_every_name_is_documented() -> None:
    import octopoid

    for name in octopoid.__all__:
        found = getattr(octopoid, name)
        if not isinstance(found, str):
            assert found.__doc__ and not found.__doc__.startswith("str("), name
