"""Projects: several tasks on one shared branch."""

from __future__ import annotations

from typing import Any

from .._request import Request, Session, fields, path
from ..records import Page, Project, Record, Task
from .tasks import page_query


def create(
    session: Session,
    /,
    id: str | None = None,
    name: str | None = None,
    description: str | None = None,
    *,
    title: str | None = None,
    branch: str | None = None,
    base_branch: str | None = None,
    auto_accept: bool | None = None,
    **more: Any,
) -> Request[Project]:
    """Creates a project.

    `name` is an older word for `title`. Without an `id`, one is made; without a `branch`, it is `project/<id>`.
    """
    if id is None:
        from .. import _native

        id = _native.generate_task_id().replace("task-", "project-")
    body = fields(
        id=id,
        title=title or name,
        description=description,
        branch=branch or f"project/{id}",
        base_branch=base_branch,
        auto_accept=auto_accept,
        **more,
    )
    return Request("POST", path("projects"), lambda answer: answer.record(Project), body=body)


def get(session: Session, /, project_id: str) -> Request[Project | None]:
    """One project, or `None` where none has the id."""
    return Request("GET", path("projects", project_id), lambda answer: answer.optional(Project))


def list(
    session: Session, /, status: str | None = None, limit: int | None = None, offset: int = 0, **filters: Any
) -> Request[Page[Project]]:
    """A page of projects, the newest first. Further filter: `created_by`."""
    query = page_query(limit, offset, filters, status=status)
    return Request("GET", path("projects"), lambda answer: answer.page(Project, "projects"), query=query)


def update(session: Session, /, project_id: str, **changes: Any) -> Request[Project]:
    """Changes `title`, `description`, `status`, `branch`, `base_branch`, `auto_accept` or `completed_at`."""
    return Request("PATCH", path("projects", project_id), lambda answer: answer.record(Project), body=changes)


def get_tasks(session: Session, /, project_id: str) -> Request[Page[Task]]:
    """All tasks of a project, by priority."""
    return Request("GET", path("projects", project_id, "tasks"), lambda answer: answer.page(Task, "tasks"))


def delete(session: Session, /, project_id: str) -> Request[Record]:
    """Deletes a project that has no tasks."""
    return Request("DELETE", path("projects", project_id), lambda answer: answer.record(Record))
