"""Exceptions. Every one that this package raises for a refusal or a failure is an `OctopoidError`.

`error.code` is the word of the closed list in the page on errors (`not_found`, `stale_claim`, `offline`, …),
`error.hint` says what to do, `error.status_code` is the HTTP status where a server answered.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "OctopoidAPIError",
    "OctopoidAuthenticationError",
    "OctopoidConflictError",
    "OctopoidError",
    "OctopoidNotFoundError",
    "OctopoidOfflineError",
    "OctopoidRateLimitError",
    "OctopoidTimeoutError",
    "OctopoidValueError",
]


class OctopoidError(Exception):
    """Something that was asked for was not done. `str(error)` is the sentence that says what and why."""

    code: str
    """Which error it is, as one word."""
    status_code: int | None
    """HTTP status of the answer; `None` where no server answered."""
    hint: str | None
    """What helps, where that is known."""
    details: dict[str, Any]
    """Other fields of the server's answer, such as `task_id`."""

    default_code = "internal"

    def __init__(
        self,
        message: str = "",
        status_code: int | None = None,
        code: str | None = None,
        *,
        hint: str | None = None,
        details: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.status_code = status_code
        self.code = code or self.default_code
        self.hint = hint
        self.details = details or {}
        # From Python 3.11 on, a traceback shows the hint below the message.
        if hint and hasattr(self, "add_note"):
            self.add_note(f"Hint: {hint}")

    @property
    def message(self) -> str:
        """The sentence, as in `str(error)`."""
        return str(self)


class OctopoidValueError(OctopoidError, ValueError):
    """An argument is not acceptable; nothing was sent."""

    default_code = "invalid_argument"


class OctopoidAPIError(OctopoidError):
    """A request was refused, or failed at the server."""


class OctopoidNotFoundError(OctopoidAPIError):
    """What the request names does not exist (404)."""

    default_code = "not_found"


class OctopoidAuthenticationError(OctopoidAPIError):
    """No key, a wrong key, or a key that is not for this (401, 403)."""

    default_code = "unauthorized"


class OctopoidConflictError(OctopoidAPIError):
    """It cannot be done now: the task is in another queue, the claim is stale, the id is taken (409)."""

    default_code = "illegal_transition"


class OctopoidRateLimitError(OctopoidAPIError):
    """More requests than the server takes from one client (429)."""

    default_code = "too_many_requests"


class OctopoidTimeoutError(OctopoidAPIError, TimeoutError):
    """The answer did not come within `timeout` seconds. Whether the request was done is not known."""

    default_code = "timeout"


class OctopoidOfflineError(OctopoidAPIError, ConnectionError):
    """No answer came. A server that cannot be reached did nothing; where the answer was lost, it may have done what was asked."""

    default_code = "offline"


_BY_STATUS: dict[int, type[OctopoidAPIError]] = {
    401: OctopoidAuthenticationError,
    403: OctopoidAuthenticationError,
    404: OctopoidNotFoundError,
    409: OctopoidConflictError,
    429: OctopoidRateLimitError,
}

_BY_CODE: dict[str, type[OctopoidError]] = {
    "invalid_argument": OctopoidValueError,
    "invalid_config": OctopoidValueError,
    "unknown_field": OctopoidValueError,
    "invalid_json": OctopoidValueError,
    "not_found": OctopoidNotFoundError,
    "unauthorized": OctopoidAuthenticationError,
    "forbidden": OctopoidAuthenticationError,
    "already_exists": OctopoidConflictError,
    "idempotency_conflict": OctopoidConflictError,
    "illegal_transition": OctopoidConflictError,
    "stale_claim": OctopoidConflictError,
    "version_conflict": OctopoidConflictError,
    "already_running": OctopoidConflictError,
    "too_many_requests": OctopoidRateLimitError,
    "offline": OctopoidOfflineError,
    "timeout": OctopoidTimeoutError,
}


def from_code(code: str, message: str, hint: str | None = None) -> OctopoidError:
    """The exception for an error that arose in this process, by its code."""
    return _BY_CODE.get(code, OctopoidError)(message, None, code, hint=hint)


def from_answer(status: int, body: object, text: str) -> OctopoidAPIError:
    """The exception for a refusal of the server, by its HTTP status; the message is the server's own text."""
    kind = _BY_STATUS.get(status, OctopoidAPIError)
    fields: dict[str, Any] = dict(body) if isinstance(body, dict) else {}
    message = fields.pop("error", None) or fields.get("message") or text.strip()[:500]
    if not message:
        message = f"the server answered with status {status} and nothing else"
    code = fields.pop("code", None)
    hint = fields.pop("hint", None)
    if status >= 500 and code == "internal" and fields.get("message"):
        message = f"{message}: {fields['message']}"
    return kind(
        str(message),
        status,
        code if isinstance(code, str) else _code_of(status),
        hint=hint if isinstance(hint, str) else None,
        details=fields,
    )


def _code_of(status: int) -> str:
    """The code of an answer that has none: something else than Octopoid answered."""
    known = _BY_STATUS.get(status)
    if known is not None:
        return known.default_code
    return "internal" if status >= 500 else "invalid_argument"
