"""What calls return: rows of JSON as dictionaries whose fields are attributes too.

`task["id"]`, `task.get("role")` and `task.id` are the same. A record is a copy: changing it changes nothing on the
server.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Generic, Literal, NoReturn, TypeVar

__all__ = [
    "Action",
    "Draft",
    "Event",
    "Flow",
    "HistoryEntry",
    "Message",
    "NoTask",
    "OrchestratorRecord",
    "Page",
    "Project",
    "Record",
    "Status",
    "Task",
]


class Record(dict[str, Any]):
    """One row. Its fields are items and attributes; an unknown attribute is an `AttributeError`."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            known = ", ".join(self)
            raise AttributeError(f"this {type(self).__name__} has no field {name!r}; it has: {known}") from None

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise AttributeError(f"a {type(self).__name__} is a copy; use the client's update() to change {name!r}")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a {type(self).__name__} is a copy; its field {name!r} cannot be deleted")

    def __dir__(self) -> Iterable[str]:
        return [*super().__dir__(), *(name for name in self if name.isidentifier())]

    def __repr__(self) -> str:
        # What opens something is not for logs.
        shown = {name: "..." if name in ("claim_token", "api_key") and value else value for name, value in self.items()}
        return f"{type(self).__name__}({shown!r})"


class Task(Record):
    """A task. All columns are always there; flags are 0 or 1; times are RFC 3339 texts in UTC."""

    __slots__ = ()

    id: str
    title: str
    queue: str
    priority: str
    role: str | None
    complexity: str | None
    content: str | None
    branch: str
    file_path: str | None
    flow: str
    project_id: str | None
    blocked: bool
    blocked_by: str | None
    """Ids of unfinished blockers with commas between them."""
    claimed_by: str | None
    orchestrator_id: str | None
    claim_token: str
    """Secret of the claim; only in the answer to one's own claim."""
    lease_expires_at: str | None
    attempt: int
    attempt_count: int
    rejection_count: int
    commits_count: int
    turns_used: int | None
    pr_number: int | None
    pr_url: str | None
    execution_notes: str | None
    merged_sha: str | None
    head_sha: str | None
    base_sha: str | None
    work_branch: str
    version: int
    scope: str
    created_at: str
    updated_at: str
    submitted_at: str | None
    completed_at: str | None


class NoTask(Record):
    """What a claim gives when nothing was there: falsy and empty. `reason` is `empty`, `paused` or `at_capacity`."""

    __slots__ = ("reason",)

    reason: Literal["empty", "paused", "at_capacity"]

    def __init__(self, reason: str) -> None:
        super().__init__()
        object.__setattr__(self, "reason", reason)

    def __bool__(self) -> Literal[False]:
        return False

    def __reduce__(self) -> tuple[type[NoTask], tuple[str]]:
        return NoTask, (self.reason,)

    def __repr__(self) -> str:
        return f"NoTask(reason={self.reason!r})"


class Project(Record):
    """Several tasks on one shared branch."""

    __slots__ = ()

    id: str
    title: str
    description: str | None
    status: str
    branch: str
    base_branch: str
    auto_accept: bool
    created_by: str | None
    created_at: str
    updated_at: str
    completed_at: str | None
    scope: str


class Draft(Record):
    """An idea that is kept before it is a task. `id` is a number."""

    __slots__ = ()

    id: int
    title: str
    author: str
    status: str
    content: str | None
    file_path: str | None
    linked_task_id: str | None
    linked_project_id: str | None
    created_at: str
    updated_at: str
    scope: str


class OrchestratorRecord(Record):
    """A machine that claims tasks, as the server knows it."""

    __slots__ = ()

    id: str
    cluster: str
    machine_id: str
    repo_url: str
    status: str
    registered_at: str
    last_heartbeat: str
    scope: str


class Flow(Record):
    """A registered flow. `states` and `transitions` are texts that hold JSON."""

    __slots__ = ()

    name: str
    states: str
    transitions: str
    description: str | None
    scope: str


class Message(Record):
    """A message between agents, orchestrators and people."""

    __slots__ = ()

    id: str
    task_id: str
    from_actor: str
    to_actor: str | None
    type: str
    content: str
    parent_message_id: str | None
    created_at: str
    scope: str


class Action(Record):
    """Something that an agent proposes and a person has executed. `action_data` and `result` are texts."""

    __slots__ = ()

    id: str
    entity_type: str
    entity_id: str
    action_type: str
    label: str
    status: str
    proposed_by: str
    proposed_at: str
    executed_at: str | None
    result: str | None
    action_data: str | None
    expires_at: str | None
    scope: str


class HistoryEntry(Record):
    """One step in a task's life. `details` is a text that holds JSON."""

    __slots__ = ()

    id: int
    task_id: str
    event: str
    agent: str | None
    details: str | None
    timestamp: str


class Event(Record):
    """One row of the change feed; `cursor` grows and is where to go on from."""

    __slots__ = ()

    cursor: int
    task_id: str
    type: str
    at: str
    by: str | None
    version: int
    details: Any


class Status(Record):
    """Counts and claims of a scope, in one look."""

    __slots__ = ()

    counts: dict[str, int]
    """Tasks per queue."""
    queues: list[Record]
    running: list[Record]
    attention: list[Record]
    review: list[Record]
    orchestrators: list[Record]
    scope: str
    cursor: int
    """Cursor of the latest event."""


R = TypeVar("R", bound=Record)


class Page(list[R], Generic[R]):
    """A list that knows of how many rows it is a part."""

    total: int
    """Rows that fit, on all pages."""
    offset: int
    """Rows before the first one here."""
    limit: int
    """Rows that a page may have."""

    def __init__(
        self, rows: Iterable[R] = (), *, total: int | None = None, offset: int = 0, limit: int | None = None
    ) -> None:
        super().__init__(rows)
        self.total = len(self) if total is None else total
        self.offset = offset
        self.limit = len(self) if limit is None else limit
