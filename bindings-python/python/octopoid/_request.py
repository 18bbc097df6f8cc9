"""Requests as data, what is done with their answers, and what a client remembers. No waiting happens here."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, TypeVar

from . import _native
from .errors import OctopoidValueError, from_answer
from .records import Page, Record

T = TypeVar("T")
R = TypeVar("R", bound=Record)

TOKENS_KEPT = 10_000
"""Claims that a client remembers; a worker has a handful."""


class Answer:
    """What came back: HTTP status, body, and why a claim found nothing."""

    __slots__ = ("reason", "status", "text")

    def __init__(self, status: int, text: str, reason: str | None) -> None:
        self.status = status
        self.text = text
        self.reason = reason

    def body(self) -> Any:
        """The JSON, with objects as records; `None` for an empty or foreign body."""
        if not self.text:
            return None
        try:
            return _native.decode(self.text, Record)
        except ValueError:
            return None

    def data(self) -> Any:
        """The JSON of a success; raises what the server refused."""
        body = self.body()
        if self.status >= 400:
            raise from_answer(self.status, body, self.text)
        if body is None and self.text:
            raise from_answer(502, None, f"the answer is not JSON: {self.text.strip()[:200]}")
        return body

    def record(self, kind: type[R]) -> R:
        """The one row of a success."""
        return kind(self.data() or {})

    def optional(self, kind: type[R]) -> R | None:
        """The one row, or `None` where the server says that there is none."""
        if self.status == 404 and isinstance(self.body(), dict):
            return None
        return self.record(kind)

    def page(self, kind: type[R], name: str) -> Page[R]:
        """The rows of a list under `name`."""
        body = self.data()
        rows = body.get(name, []) if isinstance(body, dict) else body or []
        found = body if isinstance(body, dict) else {}
        return Page(
            (kind(row) for row in rows),
            total=found.get("total"),
            offset=found.get("offset", 0),
            limit=found.get("limit"),
        )


class Request(Generic[T]):
    """One request and how its answer is read. Reading may ask for another request, which then gives the result."""

    __slots__ = ("body", "decode", "idempotency_key", "method", "path", "query", "wait")

    def __init__(
        self,
        method: str,
        path: str,
        decode: Callable[[Answer], T | Request[T]],
        *,
        query: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
        wait: float = 0.0,
    ) -> None:
        self.method = method
        self.path = path
        self.decode = decode
        self.query = query
        self.body = body
        self.idempotency_key = idempotency_key
        self.wait = wait

    def arguments(self) -> tuple[str, str, list[tuple[str, str]], str | None, str | None, float]:
        """The request as the native connection takes it."""
        query = [(name, _query_text(value)) for name, value in (self.query or {}).items() if value is not None]
        body = None if self.body is None else _json_text(self.body)
        return self.method, self.path, query, body, self.idempotency_key, self.wait

    def read(self, answer: tuple[int, str, str | None]) -> T | Request[T]:
        """The result, or the request that comes next."""
        return self.decode(Answer(*answer))


class Session:
    """What one client remembers: the secrets of its own claims, by task."""

    __slots__ = ("_tokens",)

    def __init__(self) -> None:
        self._tokens: dict[str, str] = {}

    def remember(self, row: Mapping[str, Any]) -> None:
        """Keeps the secret of a claim."""
        token = row.get("claim_token")
        if not token:
            return
        self._tokens[row["id"]] = token
        while len(self._tokens) > TOKENS_KEPT:
            self._tokens.pop(next(iter(self._tokens)), None)

    def forget(self, task_id: str) -> None:
        """The claim is over."""
        self._tokens.pop(task_id, None)

    def token(self, task_id: str, given: str | None) -> str | None:
        """The secret to send for a task: the given one, else that of this client's claim."""
        return given if given is not None else self._tokens.get(task_id)


def path(*parts: str) -> str:
    """A path below `/api/v1/`, its parts encoded."""
    return "/api/v1/" + "/".join(map(_segment, parts))


def _segment(part: object) -> str:
    text = part if isinstance(part, str) else str(part)
    plain = text.replace("-", "").replace("_", "").replace(".", "")
    if plain.isascii() and plain.isalnum():
        return text
    if text in ("", ".", ".."):
        raise OctopoidValueError(f"{text!r} cannot be an id", hint="ids begin with a letter or a digit")
    from urllib.parse import quote

    return quote(text, safe="")


def fields(**values: Any) -> dict[str, Any]:
    """The values that were given."""
    return {name: value for name, value in values.items() if value is not None}


def _query_text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    if isinstance(value, Iterable):
        return ",".join(map(str, value))
    return str(value)


def _json_text(body: Mapping[str, Any]) -> str:
    try:
        text = _ENCODER.encode(body)
        # Half of a surrogate pair is a text in Python and in no JSON.
        text.encode()
        return text
    except (TypeError, ValueError) as error:
        raise OctopoidValueError(
            f"the arguments cannot be sent as JSON: {error}", hint="use texts, numbers, lists and dictionaries"
        ) from error


def _plain(value: object) -> Any:
    """Paths, times and sets are sent as what they are in JSON."""
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if isinstance(value, tuple):
        return list(value)
    if hasattr(value, "__fspath__"):
        return str(value)
    if hasattr(value, "isoformat"):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} is no JSON")


_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=_plain)
