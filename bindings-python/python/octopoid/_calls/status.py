"""Counts, health, and what a polling scheduler needs."""

from __future__ import annotations

from .._request import Request, Session, path
from ..records import Record, Status


def get(session: Session, /) -> Request[Status]:
    """Counts per queue, running claims, orchestrators, and what needs a person, in one look."""
    return Request("GET", path("status"), lambda answer: answer.record(Status))


def health(session: Session, /) -> Request[Record]:
    """Whether server and database work: `status`, `version`, `database`, `timestamp`."""
    return Request("GET", "/api/health", lambda answer: answer.record(Record))


def health_check(session: Session, /) -> Request[Record]:
    """The same as `health`."""
    return health(session)


def poll(session: Session, /, orchestrator_id: str | None = None) -> Request[Record]:
    """What a polling scheduler needs: `queue_counts`, `provisional_tasks`, `orchestrator_registered`, `flows`."""
    query = {"orchestrator_id": orchestrator_id}
    return Request("GET", path("scheduler", "poll"), lambda answer: answer.record(Record), query=query)
