"""The native module: connections, roles, the orchestrator, git, task files, the command line. JSON crosses as text.

Private: use `octopoid` and its submodules.
"""

from asyncio import Future
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Final, final

__all__ = [
    "Assignment",
    "Connection",
    "Orchestrator",
    "Report",
    "__version__",
    "commit_changes",
    "commit_count",
    "current_branch",
    "decode",
    "diff_stat",
    "ensure_worktree",
    "generate_task_id",
    "has_uncommitted_changes",
    "list_task_files",
    "list_worktrees",
    "main",
    "move_task_file",
    "push",
    "raise_in_thread",
    "read_task_file",
    "remove_worktree",
    "write_task_file",
]

__version__: Final[str]

_Path = str | PathLike[str]
_Answer = tuple[int, str, str | None]

@final
class Connection:
    """A queue: a server, or a folder of this machine."""

    @staticmethod
    def remote(url: str, api_key: str | None, scope: str | None, timeout: float, awaited: bool) -> Connection:
        """A server; nothing is sent yet. `awaited`: whether calls are awaited; a connection has calls of one kind only."""

    @staticmethod
    def local(folder: _Path) -> Connection:
        """A store in a folder, which is made when it is not there."""

    @property
    def url(self) -> str | None:
        """The server's address; `None` for a folder."""

    @property
    def closed(self) -> bool:
        """Whether it was closed."""

    def request(
        self,
        method: str,
        path: str,
        query: Sequence[tuple[str, str]],
        body: str | None,
        idempotency_key: str | None,
        wait: float,
    ) -> _Answer:
        """Sends a request and waits: status, body, and why a claim found nothing."""

    def request_async(
        self,
        method: str,
        path: str,
        query: Sequence[tuple[str, str]],
        body: str | None,
        idempotency_key: str | None,
        wait: float,
    ) -> Future[_Answer]:
        """The same, to be awaited in the running loop."""

    def close(self) -> None:
        """Ends calls that are on their way, and takes no more."""

@final
class Assignment:
    """One assignment in the hands of a role."""

    @property
    def task(self) -> str:
        """The task as a row of JSON."""

    @property
    def attempt(self) -> str:
        """The attempt as JSON."""

    @property
    def feedback(self) -> str:
        """Messages as rows of JSON."""

    @property
    def worktree(self) -> Path:
        """The checkout."""

    @property
    def attempt_dir(self) -> Path:
        """Folder of the attempt's files."""

    @property
    def base_sha(self) -> str:
        """Commit on which the work stands."""

    @property
    def head_sha(self) -> str:
        """Commit that is judged, or from which work goes on."""

    @property
    def is_review(self) -> bool:
        """Whether a commit is to be judged."""

    @property
    def cancelled(self) -> bool:
        """Whether nobody needs the result any more."""

    def prompt(self) -> str:
        """What an agent program would be told."""

    def log(self, text: str) -> None:
        """Writes a line to the attempt's log."""

@final
class Report:
    """Where a run of a role tells what it came to."""

    def __call__(self, is_outcome: bool, text: str, traceback: str | None) -> None:
        """An outcome as JSON, or a sentence and a traceback; only the first word counts."""

@final
class Orchestrator:
    """Runs roles on a queue; one run at a time."""

    def __new__(
        cls,
        connection: Connection | None,
        repo: _Path,
        roles: Sequence[tuple[str, object]],
        max_agents: int | None,
        tick_seconds: float | None,
    ) -> Orchestrator: ...
    @property
    def running(self) -> bool:
        """Whether a run is on its way."""

    def run(self, once: bool) -> str:
        """Runs and waits for the end; what was done, as JSON."""

    def run_async(self, once: bool) -> Future[str]:
        """The same, to be awaited in the running loop."""

    def stop(self, now: bool) -> bool:
        """Ends the run in order; with `now`, its roles too. False when none is."""

def raise_in_thread(ident: int, exception: type[BaseException]) -> bool:
    """Has a thread raise an exception at its next step in Python."""

def decode(text: str, kind: type[dict[str, Any]]) -> Any:
    """Reads one JSON value; objects become instances of `kind`. Raises `ValueError` for anything else."""

def main(args: Sequence[str]) -> int:
    """Runs one command line, the program's name first; its exit code."""

def ensure_worktree(repo: _Path, task_id: str, base: str) -> Path: ...
def remove_worktree(path: _Path) -> None: ...
def list_worktrees(repo: _Path) -> str: ...
def current_branch(path: _Path) -> str | None: ...
def has_uncommitted_changes(path: _Path) -> bool: ...
def commit_changes(path: _Path, message: str) -> str | None: ...
def commit_count(path: _Path, base: str) -> int: ...
def diff_stat(path: _Path, base: str) -> str: ...
def push(path: _Path, remote: str, branch: str) -> None: ...
def generate_task_id() -> str: ...
def read_task_file(path: _Path) -> str: ...
def write_task_file(folder: _Path, task: str) -> Path: ...
def list_task_files(folder: _Path) -> str: ...
def move_task_file(path: _Path, folder: _Path) -> Path: ...
