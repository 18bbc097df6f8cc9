"""Orchestrators: the machines that claim tasks."""

from __future__ import annotations

from typing import Any

from .._request import Request, Session, fields, path
from ..records import OrchestratorRecord, Page, Record


def register(
    session: Session,
    /,
    cluster: str,
    machine_id: str,
    repo_url: str | None = None,
    *,
    hostname: str | None = None,
    **more: Any,
) -> Request[Record]:
    """Makes an orchestrator known; its id is `<cluster>-<machine_id>`. May be repeated.

    Gives `orchestrator_id`, `status`, `registered_at` and, the first time in a scope, `api_key`.
    """
    body = fields(cluster=cluster, machine_id=machine_id, repo_url=repo_url or "none", hostname=hostname, **more)
    return Request("POST", path("orchestrators", "register"), lambda answer: answer.record(Record), body=body)


def get(session: Session, /, orchestrator_id: str) -> Request[OrchestratorRecord | None]:
    """One orchestrator, or `None` where none has the id."""
    return Request("GET", path("orchestrators", orchestrator_id), lambda answer: answer.optional(OrchestratorRecord))


def list(
    session: Session, /, cluster: str | None = None, status: str | None = None
) -> Request[Page[OrchestratorRecord]]:
    """Orchestrators, the one heard of last first."""
    query = {"cluster": cluster, "status": status}
    return Request(
        "GET", path("orchestrators"), lambda answer: answer.page(OrchestratorRecord, "orchestrators"), query=query
    )


def heartbeat(session: Session, /, orchestrator_id: str) -> Request[Record]:
    """A sign of life."""
    where = path("orchestrators", orchestrator_id, "heartbeat")
    return Request("POST", where, lambda answer: answer.record(Record), body={})


def set_status(session: Session, /, orchestrator_id: str, status: str) -> Request[OrchestratorRecord]:
    """Sets `active`, `offline` or `maintenance`; in maintenance, claims give nothing and say `paused`."""
    where = path("orchestrators", orchestrator_id)
    return Request("PATCH", where, lambda answer: answer.record(OrchestratorRecord), body={"status": status})
