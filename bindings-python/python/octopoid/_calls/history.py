"""The audit trail."""

from __future__ import annotations

from .._request import Request, Session, path
from ..records import HistoryEntry, Page


def list(
    session: Session, /, task_id: str | None = None, after: int | None = None, limit: int | None = None
) -> Request[Page[HistoryEntry]]:
    """What happened, oldest first, after the entry with the id `after`."""
    query = {"task_id": task_id, "after": after, "limit": limit}
    return Request("GET", path("history"), lambda answer: answer.page(HistoryEntry, "history"), query=query)
