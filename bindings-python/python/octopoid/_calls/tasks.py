"""Tasks: create, read, list, change, decide."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .._request import Answer, Request, Session, fields, path
from ..records import HistoryEntry, Message, Page, Record, Task

Words = str | Iterable[str] | None
"""One word, several with commas between them, or a list of them."""


CLAIM_COLUMNS = frozenset({"queue", "claimed_by", "claimed_at", "orchestrator_id", "lease_expires_at"})
"""Columns that only the holder of a claim may write."""


def page_query(limit: int | None, offset: int, filters: Mapping[str, Any], **values: Any) -> dict[str, Any]:
    """The query of a list; an offset of 0 is not sent."""
    return {**values, "limit": limit, "offset": offset or None, **filters}


def create(
    session: Session,
    /,
    id: str | None = None,
    file_path: str | None = None,
    queue: str | None = None,
    priority: str | None = None,
    role: str | None = None,
    branch: str | None = None,
    project_id: str | None = None,
    *,
    title: str | None = None,
    content: str | None = None,
    complexity: str | None = None,
    type: str | None = None,
    blocked_by: str | Sequence[str] | None = None,
    checks: Sequence[str] | None = None,
    paths: Sequence[str] | None = None,
    flow: str | None = None,
    auto_accept: bool | None = None,
    metadata: Mapping[str, Any] | None = None,
    idempotency_key: str | None = None,
    **more: Any,
) -> Request[Task]:
    """Creates a task. A title alone is enough.

    `id`: generated when not given. `priority`: `P0` to `P3`, `P2` when not given. `role`: who takes it, such as
    `implement`. `content`: what is to be done, as markdown. `blocked_by`: ids of tasks that must be done first.
    `checks`: commands that must pass. `paths`: globs of files that may be changed. `branch`: where the work is merged.
    `queue`: where it begins. With `idempotency_key`, repeating the call gives the same task. Further fields of the wire
    go as they are.

    Raises `OctopoidConflictError` where the id is taken, and `OctopoidAPIError` for a value that the server does not
    accept.
    """
    body = fields(
        id=id,
        file_path=file_path,
        title=title,
        content=content,
        queue=queue,
        priority=priority,
        complexity=complexity,
        role=role,
        type=type,
        branch=branch,
        project_id=project_id,
        blocked_by=blocked_by,
        checks=checks,
        paths=paths,
        flow=flow,
        auto_accept=auto_accept,
        metadata=metadata,
        **more,
    )
    return Request(
        "POST", path("tasks"), lambda answer: answer.record(Task), body=body, idempotency_key=idempotency_key
    )


def create_many(session: Session, /, tasks: Iterable[Mapping[str, Any]]) -> Request[Page[Task]]:
    """Creates 1 to 1,000 tasks, all or none. Each is a mapping with the arguments of `create`.

    A task may wait for one that comes before it in the list.
    """
    body = {"tasks": [dict(task) for task in tasks]}
    return Request("POST", path("tasks", "batch"), lambda answer: answer.page(Task, "tasks"), body=body)


def get(session: Session, /, task_id: str) -> Request[Task | None]:
    """One task, or `None` where none has the id."""
    return Request("GET", path("tasks", task_id), lambda answer: answer.optional(Task))


def list(
    session: Session,
    /,
    queue: Words = None,
    priority: Words = None,
    role: Words = None,
    limit: int | None = 100,
    offset: int = 0,
    **filters: Any,
) -> Request[Page[Task]]:
    """A page of tasks; `.total` says how many fit on all pages.

    `queue`, `priority` and `role` take a word, several with commas between them, or a list. More filters: `project_id`,
    `claimed_by`, `orchestrator_id`, `type`, `flow`, `pr_number`, `blocked_by`, `needs_intervention`, `open`, `sort`
    (`priority`, `urgency`, `newest`).
    """
    query = page_query(limit, offset, filters, queue=queue, priority=priority, role=role)
    return Request("GET", path("tasks"), lambda answer: answer.page(Task, "tasks"), query=query)


def update(session: Session, /, task_id: str, **changes: Any) -> Request[Task]:
    """Writes columns of a task: `title`, `content`, `priority`, `role`, `blocked_by`, `pr_number`, … `None` empties
    one.

    With `version`, the call is refused where somebody else changed the task in between (`OctopoidConflictError`).
    """
    secret = session.token(task_id, None)
    if secret is not None and not CLAIM_COLUMNS.isdisjoint(changes):
        changes.setdefault("claim_token", secret)
    return Request("PATCH", path("tasks", task_id), lambda answer: answer.record(Task), body=changes)


def delete(session: Session, /, task_id: str) -> Request[Record]:
    """Deletes a task in any queue; its history stays."""
    return Request("DELETE", path("tasks", task_id), lambda answer: answer.record(Record))


def _decide(session: Session, task_id: str, what: str, /, **body: Any) -> Request[Task]:
    def decode(answer: Answer) -> Task:
        if answer.status < 300 and what not in ("hold", "unhold"):
            # Whatever was claimed is not any more.
            session.forget(task_id)
        return answer.record(Task)

    return Request("POST", path("tasks", task_id, what), decode, body=fields(**body))


def accept(session: Session, /, task_id: str, accepted_by: str | None = "manual-review") -> Request[Task]:
    """Accepts work that was handed in. Work with evidence is approved and then merged; other work is done."""
    return _decide(session, task_id, "accept", accepted_by=accepted_by or "manual-review")


def approve(session: Session, /, task_id: str, by: str | None = None) -> Request[Task]:
    """The same as `accept`: a person's yes to what is in `provisional`."""
    return _decide(session, task_id, "accept", accepted_by=by or "manual-review")


def reject(session: Session, /, task_id: str, reason: str, rejected_by: str | None = "manual-review") -> Request[Task]:
    """Sends work back. The reason reaches the next attempt word for word."""
    return _decide(session, task_id, "reject", reason=reason, rejected_by=rejected_by or "manual-review")


def requeue(session: Session, /, task_id: str) -> Request[Task]:
    """Puts a task back to `incoming`; its work is kept."""
    return _decide(session, task_id, "requeue")


def retry(session: Session, /, task_id: str, by: str | None = None) -> Request[Task]:
    """Starts a stuck or ended task again with fresh limits; its work is kept."""
    return _decide(session, task_id, "retry", by=by)


def cancel(session: Session, /, task_id: str, reason: str | None = None, by: str | None = None) -> Request[Task]:
    """Calls a task off; a running agent is stopped, its work is kept."""
    return _decide(session, task_id, "cancel", reason=reason, by=by)


def hold(session: Session, /, task_id: str, reason: str | None = None, by: str | None = None) -> Request[Task]:
    """Lets nobody claim a task until `unhold`."""
    return _decide(session, task_id, "hold", reason=reason, by=by)


def unhold(session: Session, /, task_id: str, by: str | None = None) -> Request[Task]:
    """Lets a task be claimed again."""
    return _decide(session, task_id, "unhold", by=by)


def recover(
    session: Session, /, task_id: str, to: str, reason: str, by: str | None = None, merged_sha: str | None = None
) -> Request[Task]:
    """Moves a task by decision of a person. For `done`, `merged_sha` names the commit that is in the base branch."""
    return _decide(session, task_id, "recover", to=to, reason=reason, by=by, merged_sha=merged_sha)


def why(session: Session, /, task_id: str) -> Request[Record]:
    """Why a task is where it is: `queue`, `held_by`, `tried`, `last_error`, `next`, and `commands` that help."""
    return Request("GET", path("tasks", task_id, "why"), lambda answer: answer.record(Record))


def attempts(session: Session, /, task_id: str) -> Request[Page[Record]]:
    """The claims of a task, oldest first: `number`, `agent`, `outcome`, `reason`, `evidence`, `usage`."""
    return Request("GET", path("tasks", task_id, "attempts"), lambda answer: answer.page(Record, "attempts"))


def reviews(session: Session, /, task_id: str) -> Request[Page[Record]]:
    """Verdicts on a task, oldest first."""
    return Request("GET", path("tasks", task_id, "reviews"), lambda answer: answer.page(Record, "reviews"))


def thread(session: Session, /, task_id: str) -> Request[Page[Record]]:
    """Feedback, questions and failures of a task, oldest first, as the next attempt gets them."""
    return Request("GET", path("tasks", task_id, "thread"), lambda answer: answer.page(Record, "messages"))


def history(
    session: Session, /, task_id: str, limit: int | None = None, offset: int = 0
) -> Request[Page[HistoryEntry]]:
    """What happened to a task, oldest first."""
    query = page_query(limit, offset, {})
    return Request(
        "GET", path("tasks", task_id, "history"), lambda answer: answer.page(HistoryEntry, "history"), query=query
    )


def messages(session: Session, /, task_id: str, limit: int | None = None, offset: int = 0) -> Request[Page[Message]]:
    """The messages about a task, oldest first."""
    query = page_query(limit, offset, {})
    return Request(
        "GET", path("tasks", task_id, "messages"), lambda answer: answer.page(Message, "messages"), query=query
    )
