"""Flows that clients register."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .._request import Request, Session, fields, path
from ..records import Flow, Page, Record


def register(
    session: Session,
    /,
    name: str,
    states: Sequence[str],
    transitions: Sequence[Mapping[str, Any]] | None = None,
    description: str | None = None,
    child_flow: Any = None,
) -> Request[Flow]:
    """Registers a flow, or replaces the one of that name.

    `states` must have `incoming`, `claimed`, `done` and `failed`. A transition is `{"from": …, "to": …}`; without,
    all are allowed.
    """
    body = fields(states=[*states], transitions=[*(transitions or ())], description=description, child_flow=child_flow)
    return Request("PUT", path("flows", name), lambda answer: answer.record(Flow), body=body)


def get(session: Session, /, name: str) -> Request[Flow | None]:
    """One flow, or `None` where none has the name."""
    return Request("GET", path("flows", name), lambda answer: answer.optional(Flow))


def list(session: Session, /) -> Request[Page[Flow]]:
    """All flows, by name."""
    return Request("GET", path("flows"), lambda answer: answer.page(Flow, "flows"))


def delete(session: Session, /, name: str) -> Request[Record]:
    """Deletes a flow."""
    return Request("DELETE", path("flows", name), lambda answer: answer.record(Record))
