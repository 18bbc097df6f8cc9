"""Drafts: ideas that are kept before they are tasks."""

from __future__ import annotations

from typing import Any

from .._request import Answer, Request, Session, fields, path
from ..records import Draft, Page, Record, Task
from .tasks import page_query


def create(
    session: Session,
    /,
    title: str,
    author: str = "human",
    file_path: str | None = None,
    status: str | None = None,
    *,
    content: str | None = None,
    **more: Any,
) -> Request[Draft]:
    """Keeps an idea. Further fields: `domain`, `tags`, `linked_task_id`, `linked_project_id`."""
    body = fields(title=title, author=author, file_path=file_path, status=status, content=content, **more)
    return Request("POST", path("drafts"), lambda answer: answer.record(Draft), body=body)


def get(session: Session, /, draft_id: int | str) -> Request[Draft | None]:
    """One draft, or `None` where none has the number."""
    return Request("GET", path("drafts", str(draft_id)), lambda answer: answer.optional(Draft))


def list(
    session: Session, /, status: str | None = None, limit: int | None = None, offset: int = 0, **filters: Any
) -> Request[Page[Draft]]:
    """A page of drafts, the newest first. More filters: `author`, `domain`, `linked_task_id`, `linked_project_id`."""
    query = page_query(limit, offset, filters, status=status)
    return Request("GET", path("drafts"), lambda answer: answer.page(Draft, "drafts"), query=query)


def update(session: Session, /, draft_id: int | str, **changes: Any) -> Request[Draft]:
    """Changes fields of a draft; `None` empties one."""
    return Request("PATCH", path("drafts", str(draft_id)), lambda answer: answer.record(Draft), body=changes)


def delete(session: Session, /, draft_id: int | str) -> Request[Record]:
    """Deletes a draft."""
    return Request("DELETE", path("drafts", str(draft_id)), lambda answer: answer.record(Record))


def promote(session: Session, /, draft_id: int | str, **task: Any) -> Request[Task]:
    """Makes a draft a task and links the two. Arguments as of `tasks.create`; title and content are the draft's own.

    Promoting a draft twice gives the same task. Raises `OctopoidNotFoundError` where the draft does not exist.
    """
    where = path("drafts", str(draft_id))

    def link(created: Task) -> Request[Task]:
        def done(answer: Answer) -> Task:
            answer.data()
            return created

        return Request("PATCH", where, done, body={"linked_task_id": created.id, "status": "complete"})

    def create(answer: Answer) -> Request[Task]:
        draft = answer.record(Draft)
        if draft.linked_task_id:
            return Request("GET", path("tasks", draft.linked_task_id), lambda answer: answer.record(Task))
        body = {**fields(title=draft.title, content=draft.content), **task}
        return Request(
            "POST",
            path("tasks"),
            lambda answer: link(answer.record(Task)),
            body=body,
            idempotency_key=f"draft-{draft.id}",
        )

    return Request("GET", where, create)
