"""Claims: taking a task, and what its holder writes. A client sends the secrets of its own claims by itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .._request import Answer, Request, Session, fields, path
from ..errors import OctopoidValueError
from ..records import NoTask, Page, Task


def claim(
    session: Session,
    /,
    orchestrator_id: str,
    agent_name: str,
    role_filter: str | Iterable[str] | None = None,
    type_filter: str | Iterable[str] | None = None,
    lease_duration_seconds: int | None = None,
    max_claimed: int | None = None,
    queue: str | None = None,
    wait_seconds: int | None = None,
    *,
    fenced: bool | None = None,
    idempotency_key: str | None = None,
) -> Request[Task | NoTask]:
    """Claims the most urgent task that fits.

    Gives the task, or something falsy whose `reason` is `empty`, `paused` or `at_capacity`. `wait_seconds` (0 to 60):
    how long the server may wait for a task. `lease_duration_seconds`: how long the claim holds without `renew`, 300
    when not given. `max_claimed`: no more where the orchestrator holds that many. `fenced`: whoever writes must have
    the claim's secret. With `idempotency_key`, repeating the call gives the same task.
    """
    body = _wanted(
        orchestrator_id,
        agent_name,
        role_filter,
        type_filter,
        lease_duration_seconds,
        max_claimed,
        queue,
        wait_seconds,
        fenced,
    )
    return Request(
        "POST",
        path("tasks", "claim"),
        lambda answer: _claimed(session, answer),
        body=body,
        idempotency_key=idempotency_key,
        wait=float(wait_seconds or 0),
    )


def claim_many(
    session: Session,
    /,
    orchestrator_id: str,
    agent_name: str,
    max: int,
    role_filter: str | Iterable[str] | None = None,
    type_filter: str | Iterable[str] | None = None,
    lease_duration_seconds: int | None = None,
    queue: str | None = None,
    wait_seconds: int | None = None,
    *,
    fenced: bool | None = None,
) -> Request[Page[Task]]:
    """Claims up to `max` (1 to 100) tasks at once; an empty list where nothing is there."""
    body = _wanted(
        orchestrator_id, agent_name, role_filter, type_filter, lease_duration_seconds, None, queue, wait_seconds, fenced
    )
    body["max"] = max
    return Request(
        "POST",
        path("tasks", "claim"),
        lambda answer: _claimed_many(session, answer),
        body=body,
        wait=float(wait_seconds or 0),
    )


def _claimed(session: Session, answer: Answer) -> Task | NoTask:
    reason = _why_none(answer)
    if reason:
        return NoTask(reason)
    task = answer.record(Task)
    session.remember(task)
    return task


def _claimed_many(session: Session, answer: Answer) -> Page[Task]:
    if _why_none(answer):
        return Page()
    tasks = answer.page(Task, "tasks")
    for task in tasks:
        session.remember(task)
    return tasks


def _write(
    session: Session, task_id: str, what: str, body: Mapping[str, Any], token: str | None, *, ends: bool
) -> Request[Task]:
    """What a holder writes; the claim's secret goes along."""

    def decode(answer: Answer) -> Task:
        if ends and answer.status < 300:
            session.forget(task_id)
        return answer.record(Task)

    secret = session.token(task_id, token)
    return Request("POST", path("tasks", task_id, what), decode, body={**body, **fields(claim_token=secret)})


def submit(
    session: Session,
    /,
    task_id: str,
    pr_url: str | int | None = None,
    commits_count: int | None = None,
    turns_used: Any = None,
    check_results: Any = None,
    execution_notes: str | None = None,
    *,
    claim_token: str | None = None,
    agent_name: str | None = None,
) -> Request[Task]:
    """Hands in work; the task goes to `provisional`.

    Both earlier orders are understood: `submit(id, pr_url, commits_count, turns_used)` and
    `submit(id, commits_count, turns_used, check_results, execution_notes)`. A `pr_url` is written to the task first.
    """
    if isinstance(pr_url, int):
        # The later order begins with the number of commits: everything stands one place further left.
        if commits_count is not None:
            if turns_used is not None:
                execution_notes = execution_notes if check_results is None else check_results
                check_results = turns_used
            turns_used = commits_count
        pr_url, commits_count = None, pr_url
    if turns_used is not None and not isinstance(turns_used, int):
        raise OctopoidValueError(f"turns_used must be a whole number, not {turns_used!r}")
    body = {
        "commits_count": commits_count or 0,
        "turns_used": turns_used or 0,
        **fields(check_results=check_results, execution_notes=execution_notes, agent_name=agent_name),
    }
    hand_in = _write(session, task_id, "submit", body, claim_token, ends=True)
    if pr_url is None:
        return hand_in

    def then(answer: Answer) -> Request[Task]:
        answer.data()
        return hand_in

    secret = session.token(task_id, claim_token)
    note = {"pr_url": pr_url, **fields(claim_token=secret)}
    return Request("PATCH", path("tasks", task_id), then, body=note)


def fail(
    session: Session, /, task_id: str, reason: str, *, by: str | None = None, claim_token: str | None = None
) -> Request[Task]:
    """Moves a task to `failed` from any queue but `done`; the reason is in `execution_notes` and in the history."""
    return _write(session, task_id, "fail", fields(reason=reason, by=by), claim_token, ends=True)


def renew(
    session: Session, /, task_id: str, lease_duration_seconds: int | None = None, *, claim_token: str | None = None
) -> Request[Task]:
    """Makes the lease of a claim last that long from now, 300 seconds when not given."""
    body = fields(lease_duration_seconds=lease_duration_seconds)
    return _write(session, task_id, "renew", body, claim_token, ends=False)


def release(
    session: Session, /, task_id: str, reason: str | None = None, *, claim_token: str | None = None
) -> Request[Task]:
    """Gives a claim back without blame."""
    return _write(session, task_id, "release", fields(reason=reason), claim_token, ends=True)


def progress(session: Session, /, task_id: str, note: str, *, claim_token: str | None = None) -> Request[Task]:
    """Tells in words how far the work is; it is an event of the task."""
    return _write(session, task_id, "progress", fields(note=note), claim_token, ends=False)


def _wanted(
    orchestrator_id: str,
    agent_name: str,
    role_filter: str | Iterable[str] | None,
    type_filter: str | Iterable[str] | None,
    lease_duration_seconds: int | None,
    max_claimed: int | None,
    queue: str | None,
    wait_seconds: int | None,
    fenced: bool | None,
) -> dict[str, Any]:
    return fields(
        orchestrator_id=orchestrator_id,
        agent_name=agent_name,
        role_filter=_names(role_filter),
        type_filter=_names(type_filter),
        lease_duration_seconds=lease_duration_seconds,
        max_claimed=max_claimed,
        queue=queue,
        wait_seconds=wait_seconds,
        fenced=fenced,
    )


def _names(names: str | Iterable[str] | None) -> str | list[str] | None:
    return names if names is None or isinstance(names, str) else list(names)


def _why_none(answer: Answer) -> str | None:
    """Why a claim found nothing; `None` where it found something, or where it was refused."""
    if answer.reason:
        return answer.reason
    if answer.status == 204:
        return "empty"
    if answer.status == 404:
        body = answer.body()
        if isinstance(body, dict) and "error" not in body:
            return "empty"
    return None
