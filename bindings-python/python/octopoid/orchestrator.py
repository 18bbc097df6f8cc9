"""The orchestrator inside a Python program: claims tasks, runs roles in worktrees, checks, reviews and merges."""

from __future__ import annotations

from collections.abc import Iterable
from os import PathLike
from typing import Literal, Protocol

from . import _native
from ._async import AsyncOctopoid
from ._sync import Octopoid
from .errors import OctopoidValueError
from .records import Record
from .roles import Role

__all__ = ["Orchestrator", "RoleLike", "RunRecord"]


class RoleLike(Protocol):
    """Any object with a `name` and a `run`; a subclass of `Role` is one."""

    @property
    def name(self) -> str:
        """The role's name."""

    @property
    def run(self) -> object:
        """Works on one assignment."""


class RunRecord(Record):
    """What a run of the orchestrator came to."""

    __slots__ = ()

    ended: Literal["clean", "needs_attention", "stopped"]
    """`clean`: nothing is left to do; `needs_attention`: something needs a person; `stopped`: it was told to stop."""
    steps: list[Record]
    """What was done, in order, as `task_id` and `text`; empty for `run()`."""
    tasks: list[str]
    """Ids of the tasks that something was done with, each once."""


class Orchestrator:
    """Runs roles on a queue, in a repository, with leases, worktrees, checks, review and merge done for them.

    `octopoid`: the queue, an `Octopoid` or `AsyncOctopoid`; without one, that of the project which `repo` lies in.
    `repo`: a folder in the git repository that is worked in; it need not have `.octopoid/`. `roles`: objects with
    `name` and `run`, beside those that are configured in `.octopoid/agents/`. `max_agents`: how many roles run at the
    same time. `tick_seconds`: longest time between two looks at the queue, from 1.

    An object can run several times, one run at a time. Raises `ValueError` for a role without a name or without `run`.
    """

    def __init__(
        self,
        octopoid: Octopoid | AsyncOctopoid | None = None,
        repo: str | PathLike[str] = ".",
        roles: Iterable[RoleLike | Role] = (),
        max_agents: int | None = None,
        tick_seconds: float | None = None,
    ) -> None:
        if octopoid is not None and not isinstance(octopoid, (Octopoid, AsyncOctopoid)):
            raise OctopoidValueError(f"octopoid must be an Octopoid or an AsyncOctopoid, not {type(octopoid).__name__}")
        if max_agents is not None and (not isinstance(max_agents, int) or max_agents < 1):
            raise OctopoidValueError(f"max_agents is a whole number from 1, not {max_agents!r}")
        self.roles = tuple(roles)
        named: list[tuple[str, object]] = []
        for role in self.roles:
            name = getattr(role, "name", None)
            if isinstance(role, type) or not callable(getattr(role, "run", None)):
                hint = "a role is an object with a name and run(self, cx)"
                raise OctopoidValueError(f"{role!r} is no role", hint=hint)
            if not isinstance(name, str) or not name:
                hint = 'give its class a name, such as name = "implement"'
                raise OctopoidValueError(f"{role!r} has no name", hint=hint)
            named.append((name, role))
        self._octopoid = octopoid
        connection = None if octopoid is None else octopoid._connection
        self._native = _native.Orchestrator(connection, repo, named, max_agents, tick_seconds)

    @property
    def is_running(self) -> bool:
        """Whether a run is on its way."""
        return self._native.running

    def run_once(self) -> RunRecord:
        """Does all work that is ready, waits for the roles that it starts, and says what was done.

        Ctrl-C ends it in order: roles are cancelled, their work is kept, their claims are given back; then
        `KeyboardInterrupt` is raised. Raises `OctopoidConflictError` where an orchestrator of this repository runs
        already.
        """
        return _record(self._native.run(True))

    def run(self) -> RunRecord:
        """Runs until `stop()` is called or Ctrl-C is pressed, which ends it like `run_once`."""
        return _record(self._native.run(False))

    async def run_once_async(self) -> RunRecord:
        """`run_once` to be awaited. Cancelling it ends the run in order first."""
        return await self._run_async(True)

    async def run_async(self) -> RunRecord:
        """`run` to be awaited. Cancelling it ends the run in order first."""
        return await self._run_async(False)

    async def _run_async(self, once: bool) -> RunRecord:
        import asyncio

        run = self._native.run_async(once)
        try:
            return _record(await asyncio.shield(run))
        except asyncio.CancelledError:
            self._native.stop(True)
            await run
            raise

    def stop(self, now: bool = False) -> bool:
        """Ends the run that is on its way: no new claims; steps and roles finish. With `now`, roles are cancelled.

        May be called from any thread. `False` when none was running.
        """
        return self._native.stop(now)


def _record(text: str) -> RunRecord:
    record = RunRecord(_native.decode(text, Record))
    record["tasks"] = list(dict.fromkeys(step.task_id for step in record.steps if step.task_id))
    return record
