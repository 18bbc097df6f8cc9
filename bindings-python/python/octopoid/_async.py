"""The client for asyncio: the same groups and methods, as coroutines."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Generator
from os import PathLike
from types import TracebackType
from typing import Any, TypeVar

from . import _native
from ._bind import Calls, awaited
from ._calls import actions, drafts, events, flows, history, messages, orchestrators, projects, status, tasks, work
from ._calls.events import WAIT_SECONDS
from ._calls.tasks import Words
from ._connect import Backoff, looks, remote
from ._request import Session
from .errors import OctopoidError, OctopoidOfflineError, OctopoidTimeoutError
from .records import Event, Record, Task


class AsyncTasks(Calls):
    """Tasks: create, read, change, claim, decide."""

    create = awaited(tasks.create)
    create_many = awaited(tasks.create_many)
    get = awaited(tasks.get)
    list = awaited(tasks.list)
    update = awaited(tasks.update)
    delete = awaited(tasks.delete)
    claim = awaited(work.claim)
    claim_many = awaited(work.claim_many)
    submit = awaited(work.submit)
    renew = awaited(work.renew)
    release = awaited(work.release)
    progress = awaited(work.progress)
    fail = awaited(work.fail)
    accept = awaited(tasks.accept)
    approve = awaited(tasks.approve)
    reject = awaited(tasks.reject)
    requeue = awaited(tasks.requeue)
    retry = awaited(tasks.retry)
    cancel = awaited(tasks.cancel)
    hold = awaited(tasks.hold)
    unhold = awaited(tasks.unhold)
    recover = awaited(tasks.recover)
    why = awaited(tasks.why)
    attempts = awaited(tasks.attempts)
    reviews = awaited(tasks.reviews)
    thread = awaited(tasks.thread)
    history = awaited(tasks.history)
    messages = awaited(tasks.messages)

    async def iterate(
        self, queue: Words = None, priority: Words = None, role: Words = None, page_size: int = 100, **filters: Any
    ) -> AsyncIterator[Task]:
        """All tasks that fit, fetched a page at a time. Arguments as of `list`.

        A task that changes its place in the list meanwhile may be seen twice or not at all.
        """
        offset = 0
        while True:
            page = await self.list(queue, priority, role, page_size, offset, **filters)
            for task in page:
                yield task
            offset += len(page)
            if not page or offset >= page.total:
                return


class AsyncProjects(Calls):
    """Projects: several tasks on one shared branch."""

    create = awaited(projects.create)
    get = awaited(projects.get)
    list = awaited(projects.list)
    update = awaited(projects.update)
    get_tasks = awaited(projects.get_tasks)
    delete = awaited(projects.delete)


class AsyncDrafts(Calls):
    """Drafts: ideas that are kept before they are tasks."""

    create = awaited(drafts.create)
    get = awaited(drafts.get)
    list = awaited(drafts.list)
    update = awaited(drafts.update)
    delete = awaited(drafts.delete)
    promote = awaited(drafts.promote)


class AsyncOrchestrators(Calls):
    """Orchestrators: the machines that claim tasks."""

    register = awaited(orchestrators.register)
    get = awaited(orchestrators.get)
    list = awaited(orchestrators.list)
    heartbeat = awaited(orchestrators.heartbeat)
    set_status = awaited(orchestrators.set_status)


class AsyncFlows(Calls):
    """Flows that clients register."""

    register = awaited(flows.register)
    get = awaited(flows.get)
    list = awaited(flows.list)
    delete = awaited(flows.delete)


class AsyncMessages(Calls):
    """Messages between agents, orchestrators and people."""

    create = awaited(messages.create)
    list = awaited(messages.list)
    list_for_task = awaited(messages.list_for_task)


class AsyncActions(Calls):
    """Actions: what an agent proposes and a person has executed."""

    create = awaited(actions.create)
    list = awaited(actions.list)
    execute = awaited(actions.execute)
    complete = awaited(actions.complete)
    fail = awaited(actions.fail)


class AsyncHistory(Calls):
    """The audit trail of all tasks."""

    list = awaited(history.list)


class AsyncEvents(Calls):
    """The change feed. Iterating goes through all events from the first, and waits for more."""

    list = awaited(events.list)

    async def watch(
        self, after: int = 0, task_id: str | None = None, *, wait_seconds: int = WAIT_SECONDS, limit: int | None = None
    ) -> AsyncIterator[Event]:
        """Events after a cursor as they happen: no gap, none twice. Ends when the client is closed.

        Begins with the first event of all; `(await client.status.get()).cursor` is the way to begin now. A server that
        cannot be reached is an error at first; after the first answer it is waited for.
        """
        from asyncio import sleep

        backoff = Backoff()
        wait_seconds = looks(self._native, wait_seconds)
        while True:
            try:
                found = await self.list(after, task_id, limit, wait_seconds=wait_seconds)
            except (OctopoidOfflineError, OctopoidTimeoutError) as error:
                await sleep(backoff.pause_after(error))
                continue
            except OctopoidError as error:
                if error.code == "closed":
                    return
                raise
            backoff.reached()
            for event in found:
                after = event.cursor
                yield event

    def __aiter__(self) -> AsyncIterator[Event]:
        return self.watch()


class AsyncSystemStatus(Calls):
    """Counts and health."""

    get = awaited(status.get)
    health = awaited(status.health)
    health_check = awaited(status.health_check)
    poll = awaited(status.poll)


Self = TypeVar("Self", bound="AsyncOctopoid")


class _Closed:
    """Nothing is left to wait for; may be awaited all the same."""

    def __await__(self) -> Generator[None, None, None]:
        return
        yield


class AsyncOctopoid:
    """`Octopoid` for asyncio: the same arguments, groups and methods; every call is a coroutine.

    A call that is cancelled is dropped at once; whether the server did it is then not known. May be used from several
    loops.

    Raises `ValueError` without a URL, and for arguments that are not acceptable.
    """

    tasks: AsyncTasks
    projects: AsyncProjects
    drafts: AsyncDrafts
    orchestrators: AsyncOrchestrators
    flows: AsyncFlows
    messages: AsyncMessages
    actions: AsyncActions
    history: AsyncHistory
    events: AsyncEvents
    status: AsyncSystemStatus
    system: AsyncSystemStatus

    def __init__(
        self,
        server_url: str | None = None,
        api_key: str | None = None,
        timeout: float = 30,
        scope: str | None = None,
    ) -> None:
        self._open(remote(server_url, api_key, timeout, scope, awaited=True))

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
        self.tasks = AsyncTasks(connection, session)
        self.projects = AsyncProjects(connection, session)
        self.drafts = AsyncDrafts(connection, session)
        self.orchestrators = AsyncOrchestrators(connection, session)
        self.flows = AsyncFlows(connection, session)
        self.messages = AsyncMessages(connection, session)
        self.actions = AsyncActions(connection, session)
        self.history = AsyncHistory(connection, session)
        self.events = AsyncEvents(connection, session)
        self.status = AsyncSystemStatus(connection, session)
        self.system = self.status

    @property
    def server_url(self) -> str | None:
        """The server's address; `None` for a folder."""
        return self._connection.url

    @property
    def closed(self) -> bool:
        """Whether the client was closed."""
        return self._connection.closed

    async def poll(self, orchestrator_id: str | None = None) -> Record:
        """What a polling scheduler needs: `queue_counts`, `provisional_tasks`, `orchestrator_registered`, `flows`."""
        return await self.status.poll(orchestrator_id)

    def close(self) -> Awaitable[None]:
        """Lets go of connections and files at once; calls under way end with an error. May be awaited and repeated."""
        self._connection.close()
        return _Closed()

    aclose = close

    async def __aenter__(self: Self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        place = self.server_url or "local"
        return f"{type(self).__name__}({place!r}{', closed' if self.closed else ''})"
