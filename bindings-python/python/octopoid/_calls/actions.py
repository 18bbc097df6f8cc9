"""Actions: what an agent proposes and a person has executed."""

from __future__ import annotations

from typing import Any

from .._request import Request, Session, fields, path
from ..records import Action, Page
from .tasks import page_query


def create(
    session: Session,
    /,
    entity_type: str,
    entity_id: str,
    label: str,
    description: str | None = None,
    action_data: Any = None,
    action_type: str = "proposal",
    proposed_by: str | None = None,
    expires_at: Any = None,
    **more: Any,
) -> Request[Action]:
    """Proposes an action on a thing, such as `("draft", "7", "Do it")`. `expires_at`: a time, or RFC 3339 text."""
    body = fields(
        entity_type=entity_type,
        entity_id=entity_id,
        label=label,
        description=description,
        action_data=action_data,
        action_type=action_type,
        proposed_by=proposed_by or "api",
        expires_at=expires_at,
        **more,
    )
    return Request("POST", path("actions"), lambda answer: answer.record(Action), body=body)


def list(
    session: Session,
    /,
    entity_type: str | None = None,
    entity_id: str | None = None,
    status: str | None = None,
    *,
    limit: int | None = None,
    offset: int = 0,
) -> Request[Page[Action]]:
    """A page of actions that have not expired, the newest first. `status="pending"` is an older word for `proposed`."""
    query = page_query(limit, offset, {}, entity_type=entity_type, entity_id=entity_id, status=status)
    return Request("GET", path("actions"), lambda answer: answer.page(Action, "actions"), query=query)


def _step(action_id: str, what: str, /, **body: Any) -> Request[Action]:
    return Request("POST", path("actions", action_id, what), lambda answer: answer.record(Action), body=fields(**body))


def execute(session: Session, /, action_id: str) -> Request[Action]:
    """Asks for an action to be executed."""
    return _step(action_id, "execute")


def complete(session: Session, /, action_id: str, result: Any = None) -> Request[Action]:
    """Reports that it was executed."""
    return _step(action_id, "complete", result=result)


def fail(session: Session, /, action_id: str, result: Any = None) -> Request[Action]:
    """Reports that it failed."""
    return _step(action_id, "fail", result=result)
