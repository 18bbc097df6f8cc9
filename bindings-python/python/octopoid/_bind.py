"""From one description of a call to its blocking and its awaited method; signature and documentation stay."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from functools import update_wrapper
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from ._request import Request, Session

P = ParamSpec("P")
T = TypeVar("T")


class Native(Protocol):
    """What is used of the native connection."""

    @property
    def url(self) -> str | None: ...

    def request(
        self,
        method: str,
        path: str,
        query: list[tuple[str, str]],
        body: str | None,
        idempotency_key: str | None,
        wait: float,
    ) -> tuple[int, str, str | None]: ...

    def request_async(
        self,
        method: str,
        path: str,
        query: list[tuple[str, str]],
        body: str | None,
        idempotency_key: str | None,
        wait: float,
    ) -> Awaitable[tuple[int, str, str | None]]: ...


class Calls:
    """A group of calls on one connection."""

    def __init__(self, native: Native, session: Session) -> None:
        self._native = native
        self._session = session

    def _send(self, request: Request[T]) -> T:
        while True:
            result = request.read(self._native.request(*request.arguments()))
            if not isinstance(result, Request):
                return result
            request = result

    async def _send_async(self, request: Request[T]) -> T:
        while True:
            result = request.read(await self._native.request_async(*request.arguments()))
            if not isinstance(result, Request):
                return result
            request = result


def blocking(build: Callable[Concatenate[Session, P], Request[T]]) -> Callable[Concatenate[Any, P], T]:
    """A method that sends what `build` describes, waits, and gives the result."""

    def method(self: Calls, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._send(build(self._session, *args, **kwargs))

    return _like(method, build)


def awaited(
    build: Callable[Concatenate[Session, P], Request[T]],
) -> Callable[Concatenate[Any, P], Coroutine[Any, Any, T]]:
    """A coroutine method that sends what `build` describes, and gives the result."""

    async def method(self: Calls, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._send_async(build(self._session, *args, **kwargs))

    return _like(method, build)


F = TypeVar("F", bound=Callable[..., Any])


def _like(method: F, build: Callable[..., Any]) -> F:
    # `help()` follows the wrapped function; it shall show the result and not the request for it.
    annotations = build.__annotations__
    returned = annotations.get("return")
    if isinstance(returned, str) and returned.startswith("Request["):
        annotations["return"] = returned[len("Request[") : -1]
    update_wrapper(method, build)
    return method
