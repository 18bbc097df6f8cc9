"""Octopoid: a queue of tasks for AI coding agents, each worked on in a git worktree of its own, checked, reviewed and
merged.

    from octopoid import Octopoid

    with Octopoid.local("my-repository") as octopoid:
        task = octopoid.tasks.create(title="Fix the typo in the greeting", role="implement")
        print(task.id, task.queue)

`Octopoid(server_url)` speaks to a server, `AsyncOctopoid` is the same for asyncio, `Role` and `Orchestrator` run code
of your own on tasks, `octopoid.git` and `octopoid.queue` are for scripts.
"""

from __future__ import annotations

from . import git, queue
from ._async import AsyncOctopoid
from ._native import __version__
from ._sync import Octopoid, OctopoidSDK
from .client import OctopoidClient
from .errors import (
    OctopoidAPIError,
    OctopoidAuthenticationError,
    OctopoidConflictError,
    OctopoidError,
    OctopoidNotFoundError,
    OctopoidOfflineError,
    OctopoidRateLimitError,
    OctopoidTimeoutError,
    OctopoidValueError,
)
from .orchestrator import Orchestrator, RunRecord
from .records import (
    Action,
    Draft,
    Event,
    Flow,
    HistoryEntry,
    Message,
    NoTask,
    OrchestratorRecord,
    Page,
    Project,
    Record,
    Status,
    Task,
)
from .roles import Assignment, Cancelled, Outcome, Role

__all__ = [
    "Action",
    "Assignment",
    "AsyncOctopoid",
    "Cancelled",
    "Draft",
    "Event",
    "Flow",
    "HistoryEntry",
    "Message",
    "NoTask",
    "Octopoid",
    "OctopoidAPIError",
    "OctopoidAuthenticationError",
    "OctopoidClient",
    "OctopoidConflictError",
    "OctopoidError",
    "OctopoidNotFoundError",
    "OctopoidOfflineError",
    "OctopoidRateLimitError",
    "OctopoidSDK",
    "OctopoidTimeoutError",
    "OctopoidValueError",
    "Orchestrator",
    "OrchestratorRecord",
    "Outcome",
    "Page",
    "Project",
    "Record",
    "Role",
    "RunRecord",
    "Status",
    "Task",
    "__version__",
    "git",
    "queue",
]
