"""Messages between agents, orchestrators and people."""

from __future__ import annotations

from .._request import Request, Session, fields, path
from ..records import Message, Page
from .tasks import page_query


def create(
    session: Session,
    /,
    task_id: str,
    from_actor: str,
    type: str,
    content: str,
    to_actor: str | None = None,
    parent_message_id: str | None = None,
) -> Request[Message]:
    """Keeps a message about a task; with `parent_message_id` it is an answer to another."""
    body = fields(
        task_id=task_id,
        from_actor=from_actor,
        type=type,
        content=content,
        to_actor=to_actor,
        parent_message_id=parent_message_id,
    )
    return Request("POST", path("messages"), lambda answer: answer.record(Message), body=body)


def list(
    session: Session,
    /,
    task_id: str | None = None,
    to_actor: str | None = None,
    type: str | None = None,
    thread_id: str | None = None,
    *,
    unreplied: bool | None = None,
    limit: int | None = None,
    offset: int = 0,
) -> Request[Page[Message]]:
    """Messages, oldest first; without a page the newest of them. `thread_id` is the first message of a thread."""
    query = page_query(
        limit, offset, {}, task_id=task_id, to_actor=to_actor, type=type, thread_id=thread_id, unreplied=unreplied
    )
    return Request("GET", path("messages"), lambda answer: answer.page(Message, "messages"), query=query)


def list_for_task(session: Session, /, task_id: str) -> Request[Page[Message]]:
    """The messages about a task, oldest first."""
    return Request("GET", path("tasks", task_id, "messages"), lambda answer: answer.page(Message, "messages"))
