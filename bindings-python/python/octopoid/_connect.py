"""Where a client's server, key and scope come from, and how it waits for a server that is away."""

from __future__ import annotations

import os

from . import _native
from ._bind import Native
from .errors import OctopoidError, OctopoidValueError


def remote(
    server_url: str | None, api_key: str | None, timeout: float, scope: str | None, *, awaited: bool
) -> _native.Connection:
    """The connection to a server; what is not given comes from the environment."""
    url = (server_url or os.environ.get("OCTOPOID_SERVER_URL") or "").rstrip("/")
    if not url:
        raise OctopoidValueError(
            'no server is named: pass server_url="https://…" or set OCTOPOID_SERVER_URL',
            hint="without a server, use Octopoid.local(path)",
        )
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not timeout > 0:
        raise OctopoidValueError(f"timeout must be a number of seconds above 0, not {timeout!r}")
    key = api_key or os.environ.get("OCTOPOID_API_KEY") or None
    scope = scope or os.environ.get("OCTOPOID_SCOPE") or None
    return _native.Connection.remote(url, key, scope, float(timeout), awaited)


def looks(connection: Native, wait_seconds: int) -> int:
    """How long one look of a watch may wait: a folder may be written by another process, which wakes up nobody here."""
    return wait_seconds if connection.url is not None else min(wait_seconds, 2)


class Backoff:
    """Pauses of a watch whose server is away: half a second to ten, and none before it has answered once."""

    def __init__(self) -> None:
        self._pause: float | None = None

    def reached(self) -> None:
        """The server has answered."""
        self._pause = 0.5

    def pause_after(self, error: OctopoidError) -> float:
        """Seconds to wait after an error; raises it where the server was never there."""
        if self._pause is None:
            raise error
        pause, self._pause = self._pause, min(self._pause * 2, 10.0)
        return pause
