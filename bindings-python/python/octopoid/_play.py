"""One run of a role: a thread of its own, an event loop where it needs one, and the ways to end it from outside."""

from __future__ import annotations

import inspect
import json
import threading
import traceback
from collections.abc import Mapping
from typing import Any

from . import _native
from .roles import Assignment, Cancelled

KEYS = ("outcome", "verdict", "summary", "reason", "blocking", "advice", "usage", "session_id")

Told = tuple[bool, str, "str | None"]


def start(role: Any, assignment: _native.Assignment, report: _native.Report) -> Run:
    """Starts a run; called by the orchestrator."""
    run = Run(role, assignment, report)
    run.thread.start()
    return run


class Run:
    """A run that has been started."""

    def __init__(self, role: Any, assignment: _native.Assignment, report: _native.Report) -> None:
        self._role = role
        self._assignment = assignment
        self._report = report
        self._lock = threading.Lock()
        self._over = False
        self._interrupted = False
        self._loop: Any = None
        self._task: Any = None
        # A daemon: a role that cannot be ended does not keep the program from ending.
        self.thread = threading.Thread(target=self._main, name=f"octopoid-{role.name}", daemon=True)

    def cancel(self) -> None:
        """Asks it to end: an awaiting role is cancelled, another gets `Cancelled`."""
        with self._lock:
            if self._over:
                return
            loop = self._loop
            if loop is not None:
                # The lock keeps the loop open: it is closed only after it was let go of.
                loop.call_soon_threadsafe(self._task.cancel)
                return
        self.interrupt()

    def interrupt(self) -> None:
        """Has `Cancelled` raised in its thread, once."""
        with self._lock:
            if self._over or self._interrupted:
                return
            self._interrupted = True
            ident = self.thread.ident
            if ident is not None:
                _native.raise_in_thread(ident, Cancelled)

    def _main(self) -> None:
        told: Told = (False, f"the role {self._role.name} was ended from outside", None)
        try:
            try:
                told = self._play()
            finally:
                with self._lock:
                    self._over = True
        except Cancelled:
            # It was put into the thread in the last moment before the end.
            pass
        self._report(*told)

    def _play(self) -> Told:
        try:
            cx = Assignment(self._assignment)
            if inspect.iscoroutinefunction(self._role.run):
                outcome = self._await(lambda: self._role.run(cx))
            else:
                outcome = self._role.run(cx)
                if inspect.isawaitable(outcome):
                    waiting = outcome
                    outcome = self._await(lambda: waiting)
            return self._read(outcome)
        except Cancelled:
            return False, f"the role {self._role.name} was ended from outside", None
        except BaseException as error:
            if self._assignment.cancelled and type(error).__name__ == "CancelledError":
                return False, f"the role {self._role.name} was ended from outside", None
            return False, f"the role {self._role.name} raised {_one_line(error)}", _traceback(error)

    def _await(self, begin: Any) -> Any:
        import asyncio

        async def play() -> Any:
            with self._lock:
                self._task = asyncio.current_task()
                self._loop = asyncio.get_running_loop()
            try:
                return await begin()
            finally:
                with self._lock:
                    self._loop = None

        return asyncio.run(play())

    def _read(self, outcome: Any) -> Told:
        if not isinstance(outcome, Mapping) and any(hasattr(outcome, name) for name in ("outcome", "verdict")):
            found = {name: getattr(outcome, name, None) for name in KEYS}
            outcome = {name: value for name, value in found.items() if value is not None}
        try:
            return True, json.dumps(dict(outcome) if isinstance(outcome, Mapping) else outcome), None
        except (TypeError, ValueError) as error:
            return (
                False,
                f"the role {self._role.name} returned {type(outcome).__name__}, which is no outcome ({error}); "
                "return Outcome.done(…), Outcome.failed(…), from a reviewer Outcome.approve(…) or Outcome.reject(…), "
                "or a dictionary of the same keys",
                None,
            )


def _one_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__


def _traceback(error: BaseException) -> str:
    """The traceback from the role's own code on."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename in (__file__, *_LOOP_FILES):
        frames = frames.tb_next
    return "".join(traceback.format_exception(type(error), error, frames or error.__traceback__))


def _loop_files() -> tuple[str, ...]:
    import sysconfig

    library = sysconfig.get_path("stdlib")
    return tuple(f"{library}/asyncio/{name}.py" for name in ("base_events", "runners"))


_LOOP_FILES = _loop_files()
