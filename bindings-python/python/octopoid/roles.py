"""Roles: code of your own that works on tasks, or judges work, inside the orchestrator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from . import _native
from .records import Message, Record, Task

__all__ = ["Assignment", "AttemptNumber", "Cancelled", "Outcome", "Role"]


class Cancelled(BaseException):
    """Raised inside a role that nobody needs any more: its task was called off, its time is over, or the orchestrator
    stops.

    Like `asyncio.CancelledError` it is no `Exception`, so that `except Exception` does not swallow it.
    """


class AttemptNumber(int):
    """The number of an attempt, with the attempt's other fields as attributes and items."""

    _record: Record

    def __new__(cls, record: Mapping[str, Any]) -> AttemptNumber:
        number = super().__new__(cls, record["number"])
        number._record = Record(record)
        return number

    def __getattr__(self, name: str) -> Any:
        if name == "_record":
            raise AttributeError(name)
        return getattr(self._record, name)

    def __getitem__(self, name: str) -> Any:
        return self._record[name]


class Assignment:
    """One claimed task in the hands of a role."""

    task: Task
    """The task as it was when it was claimed."""
    worktree: Path
    """The checkout: on the branch `agent/<task id>` for work, exactly at `head_sha` for a review."""
    attempt: AttemptNumber
    """The number of the attempt, from 1; `attempt.agent`, `attempt.role` and more are the attempt's fields."""
    feedback: list[Message]
    """Rejections, failures and answers so far, oldest first."""
    is_review: bool
    """Whether a commit is to be judged."""
    base_sha: str
    """Commit on which the work stands."""
    head_sha: str
    """Commit that is judged, or from which work goes on."""
    attempt_dir: Path
    """Folder of this attempt's files."""

    def __init__(self, native: _native.Assignment) -> None:
        self._native = native
        self.task = Task(_native.decode(native.task, Record))
        self.attempt = AttemptNumber(_native.decode(native.attempt, Record))
        self.feedback = [Message(row) for row in _native.decode(native.feedback, Record)]
        self.worktree = Path(native.worktree)
        self.attempt_dir = Path(native.attempt_dir)
        self.is_review = native.is_review
        self.base_sha = native.base_sha
        self.head_sha = native.head_sha

    @property
    def cancelled(self) -> bool:
        """Whether nobody needs the result any more."""
        return self._native.cancelled

    def log(self, text: object) -> None:
        """Writes a line to the attempt's log, which `octopoid logs` shows."""
        self._native.log(str(text))

    def prompt(self) -> str:
        """What an agent program would be told: task, feedback, facts."""
        return self._native.prompt()

    def __repr__(self) -> str:
        return f"Assignment(task={self.task.id!r}, attempt={int(self.attempt)})"


class Outcome(dict[str, Any]):
    """What a role returns. Made by `done`, `failed` and the others; a dictionary of the same keys does as well."""

    __slots__ = ()

    @classmethod
    def _of(cls, usage: Mapping[str, Any] | None, **values: Any) -> Outcome:
        outcome = cls((name, value) for name, value in values.items() if value is not None)
        if usage is not None:
            outcome["usage"] = dict(usage)
        return outcome

    @classmethod
    def done(cls, summary: str = "", *, usage: Mapping[str, Any] | None = None) -> Outcome:
        """The work is finished. It still has to have brought commits, and checks and review still follow."""
        return cls._of(usage, outcome="done", summary=summary)

    @classmethod
    def failed(cls, reason: str, *, usage: Mapping[str, Any] | None = None) -> Outcome:
        """It could not be done; the reason reaches the next attempt."""
        return cls._of(usage, outcome="failed", summary=reason)

    @classmethod
    def needs_continuation(cls, summary: str, *, usage: Mapping[str, Any] | None = None) -> Outcome:
        """More is to do; the same worktree goes on in another attempt."""
        return cls._of(usage, outcome="needs_continuation", summary=summary)

    @classmethod
    def question(cls, question: str, *, usage: Mapping[str, Any] | None = None) -> Outcome:
        """A person has to answer first."""
        return cls._of(usage, outcome="question", summary=question)

    @classmethod
    def no_change(cls, summary: str, *, usage: Mapping[str, Any] | None = None) -> Outcome:
        """Nothing has to be changed; no commits are expected."""
        return cls._of(usage, outcome="no_change", summary=summary)

    @classmethod
    def approve(
        cls, reason: str = "", *, advice: Sequence[str] | None = None, usage: Mapping[str, Any] | None = None
    ) -> Outcome:
        """A reviewer's yes to exactly the commit that it saw."""
        return cls._of(usage, verdict="approve", summary=reason, advice=list(advice) if advice else None)

    @classmethod
    def reject(
        cls, reason: str, *, blocking: Sequence[str] | None = None, usage: Mapping[str, Any] | None = None
    ) -> Outcome:
        """A reviewer's no; the reason and what blocks reach the next attempt."""
        return cls._of(usage, verdict="reject", summary=reason, blocking=list(blocking) if blocking else None)


class Role:
    """A role of your own. Give it a `name` and a `run`, which may be `def` or `async def`.

    `implement` works on tasks in `incoming` whose role is `implement`; `gatekeeper` judges work; any other name takes
    tasks with that role. `run` gets an `Assignment` and returns an `Outcome`. What it raises makes a failed attempt,
    with the traceback as evidence. It runs in a thread of its own; `async def` in an event loop of its own. When nobody
    needs the result any more, an `async def` is cancelled, and in a `def` `octopoid.Cancelled` is raised.
    """

    name: str = ""

    def run(self, cx: Assignment) -> Any:
        """Works on one assignment and returns an `Outcome`, or a coroutine that does."""
        raise NotImplementedError(f"the role {self.name or type(self).__name__} has no run(self, cx)")
