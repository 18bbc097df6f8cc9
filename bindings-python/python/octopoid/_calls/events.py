"""The change feed."""

from __future__ import annotations

from .._request import Request, Session, path
from ..records import Event, Page

WAIT_SECONDS = 30
"""How long one look of a watch lets the server wait."""


def list(
    session: Session,
    /,
    after: int = 0,
    task_id: str | None = None,
    limit: int | None = None,
    *,
    wait_seconds: int | None = None,
) -> Request[Page[Event]]:
    """Events after a cursor, oldest first. `wait_seconds` (0 to 60): how long the server may wait for the first one."""
    query = {"after": after, "task_id": task_id, "limit": limit, "wait_seconds": wait_seconds}
    return Request(
        "GET",
        path("events"),
        lambda answer: answer.page(Event, "events"),
        query=query,
        wait=float(wait_seconds or 0),
    )
