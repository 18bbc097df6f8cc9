"""The blocking client. Other threads run on while a call waits, and Ctrl-C ends the wait."""

from __future__ import annotations

import time
from collections.abc import Iterator
from os import PathLike
from types import TracebackType
from typing import Any, TypeVar

from . import _native
from ._bind import Calls, blocking
from ._calls import actions, drafts, events, flows, history, messages, orchestrators, projects, status, tasks, work
from ._calls.events import WAIT_SECONDS
from ._calls.tasks import Words
from ._connect import Backoff, looks, remote
from ._request import Session
from .errors import OctopoidError, OctopoidOfflineError, OctopoidTimeoutError
from .records import Event, Record, Task


class Tasks(Calls):
    """Tasks: create, read, change, claim, decide."""

    create = blocking(tasks.create)
    create_many = blocking(tasks.create_many)
    get = blocking(tasks.get)
    list = blocking(tasks.list)
    update = blocking(tasks.update)
    delete = blocking(tasks.delete)
    claim = blocking(work.claim)
    claim_many = blocking(work.claim_many)
    submit = blocking(work.submit)
    renew = blocking(work.renew)
    release = blocking(work.release)
    progress = blocking(work.progress)
    fail = blocking(work.fail)
    accept = blocking(tasks.accept)
    approve = blocking(tasks.approve)
    reject = blocking(tasks.reject)
    requeue = blocking(tasks.requeue)
    retry = blocking(tasks.retry)
    cancel = blocking(tasks.cancel)
    hold = blocking(tasks.hold)
    unhold = blocking(tasks.unhold)
    recover = blocking(tasks.recover)
    why = blocking(tasks.why)
    attempts = blocking(tasks.attempts)
    reviews = blocking(tasks.reviews)
    thread = blocking(tasks.thread)
    history = blocking(tasks.history)
    messages = blocking(tasks.messages)

    def iterate(
        self, queue: Words = None, priority: Words = None, role: Words = None, page_size: int = 100, **filters: Any
    ) -> Iterator[Task]:
        """All tasks that fit, fetched a page at a time. Arguments as of `list`.

        A task that changes its place in the list meanwhile may be seen twice or not at all.
        """
        offset = 0
        while True:
            page = self.list(queue, priority, role, page_size, offset, **filters)
            yield from page
            offset += len(page)
            if not page or offset >= page.total:
                return


class Projects(Calls):
    """Projects: several tasks on one shared branch."""

    create = blocking(projects.create)
    get = blocking(projects.get)
    list = blocking(projects.list)
    update = blocking(projects.update)
    get_tasks = blocking(projects.get_tasks)
    delete = blocking(projects.delete)


class Drafts(Calls):
    """Drafts: ideas that are kept before they are tasks."""

    create = blocking(drafts.create)
    get = blocking(drafts.get)
    list = blocking(drafts.list)
    update = blocking(drafts.update)
    delete = blocking(drafts.delete)
    promote = blocking(drafts.promote)


class Orchestrators(Calls):
    """Orchestrators: the machines that claim tasks."""

    register = blocking(orchestrators.register)
    get = blocking(orchestrators.get)
    list = blocking(orchestrators.list)
    heartbeat = blocking(orchestrators.heartbeat)
    set_status = blocking(orchestrators.set_status)


class Flows(Calls):
    """Flows that clients register."""

    register = blocking(flows.register)
    get = blocking(flows.get)
    list = blocking(flows.list)
    delete = blocking(flows.delete)


class Messages(Calls):
    """Messages between agents, orchestrators and people."""

    create = blocking(messages.create)
    list = blocking(messages.list)
    list_for_task = blocking(messages.list_for_task)


class Actions(Calls):
    """Actions: what an agent proposes and a person has executed."""

    create = blocking(actions.create)
    list = blocking(actions.list)
    execute = blocking(actions.execute)
    complete = blocking(actions.complete)
    fail = blocking(actions.fail)


class History(Calls):
    """The audit trail of all tasks."""

    list = blocking(history.list)


class Events(Calls):
    """The change feed. Iterating goes through all events from the first, and waits for more."""

    list = blocking(events.list)

    def watch(
        self, after: int = 0, task_id: str | None = None, *, wait_seconds: int = WAIT_SECONDS, limit: int | None = None
    ) -> Iterator[Event]:
        """Events after a cursor as they happen: no gap, none twice. Ends when the client is closed.

        Begins with the first event of all; `client.status.get().cursor` is the way to begin now. A server that cannot
        be reached is an error at first; after the first answer it is waited for.
        """
        backoff = Backoff()
        wait_seconds = looks(self._native, wait_seconds)
        while True:
            try:
                found = self.list(after, task_id, limit, wait_seconds=wait_seconds)
            except (OctopoidOfflineError, OctopoidTimeoutError) as error:
                time.sleep(backoff.pause_after(error))
                continue
            except OctopoidError as error:
                if error.code == "closed":
                    return
                raise
            backoff.reached()
            for event in found:
                after = event.cursor
                yield event

    def __iter__(self) -> Iterator[Event]:
        return self.watch()


class SystemStatus(Calls):
    """Counts and health."""

    get = blocking(status.get)
    health = blocking(status.health)
    health_check = blocking(status.health_check)
    poll = blocking(status.poll)


Self = TypeVar("Self", bound="Octopoid")


class Octopoid:
    """A queue of tasks: a server, or, with `Octopoid.local(path)`, a folder of this machine.

    `server_url`, `api_key` and `scope` fall back to `OCTOPOID_SERVER_URL`, `OCTOPOID_API_KEY` and `OCTOPOID_SCOPE`;
    empty counts as not given. `timeout`: seconds that an answer may take, waits that were asked for not counted.
    Nothing is sent before the first call. May be shared by threads. After `fork`, the child makes a client of its own.

    Raises `ValueError` without a URL, and for arguments that are not acceptable.
    """

    tasks: Tasks
    projects: Projects
    drafts: Drafts
    orchestrators: Orchestrators
    flows: Flows
    messages: Messages
    actions: Actions
    history: History
    events: Events
    status: SystemStatus
    system: SystemStatus

    def __init__(
        self,
        server_url: str | None = None,
        api_key: str | None = None,
        timeout: float = 30,
        scope: str | None = None,
    ) -> None:
        self._open(remote(server_url, api_key, timeout, scope, awaited=False))

    @classmethod
    def local(cls: type[Self], path: str | PathLike[str] = ".") -> Self:
        """The queue in a folder, as `octopoid init --local` makes it; made when it is not there. Needs no server.

        Raises `OctopoidError` where the folder cannot be used.
        """
        client = cls.__new__(cls)
        client._open(_native.Connection.local(path))
        return client

    def _open(self, connection: _native.Connection) -> None:
        self._connection = connection
        session = Session()
        self.tasks = Tasks(connection, session)
        self.projects = Projects(connection, session)
        self.drafts = Drafts(connection, session)
        self.orchestrators = Orchestrators(connection, session)
        self.flows = Flows(connection, session)
        self.messages = Messages(connection, session)
        self.actions = Actions(connection, session)
        self.history = History(connection, session)
        self.events = Events(connection, session)
        self.status = SystemStatus(connection, session)
        self.system = self.status

    @property
    def server_url(self) -> str | None:
        """The server's address; `None` for a folder."""
        return self._connection.url

    @property
    def closed(self) -> bool:
        """Whether the client was closed."""
        return self._connection.closed

    def poll(self, orchestrator_id: str | None = None) -> Record:
        """What a polling scheduler needs: `queue_counts`, `provisional_tasks`, `orchestrator_registered`, `flows`."""
        return self.status.poll(orchestrator_id)

    def close(self) -> None:
        """Lets go of connections and files; calls that are on their way end with an error. May be repeated."""
        self._connection.close()

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        place = self.server_url or "local"
        return f"{type(self).__name__}({place!r}{', closed' if self.closed else ''})"


class OctopoidSDK(Octopoid):
    """The name that earlier versions of the package had for `Octopoid`."""
