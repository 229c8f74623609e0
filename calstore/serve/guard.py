"""Who may ask, how long and how much, and the line that the log keeps of it."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any, Final

import h11
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response
from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from calstore.serve.access import Access

MAX_BODY: Final = 1024 * 1024 * 1024
"""A Jungfrau of 16 million pixels has 403 MB of pedestals in float64."""

MAX_CONNECTIONS: Final = 2000
REQUEST_S: Final = 20.0
"""In which the head of a request must be there; and how long a body or a reader may pause."""

LEAST_RATE: Final = 100_000
"""Bytes per second of a body, from the first pause on."""

FACTS: Final = "calstore.facts"
"""In the scope of a request: what its handler wants the log to say."""

_access = logging.getLogger("calstore.access")


class Guard:
    """Around an application: tokens, limits and the access log."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self.app = app
        self.access = access
        self._open = 0
        self._last = time.monotonic()

    @property
    def quiet_s(self) -> float:
        """Since when there is no request, in seconds; 0 while there is one."""
        return 0.0 if self._open else time.monotonic() - self._last

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it; a line of the log either way."""
        if scope["type"] != "http":
            return
        started = time.monotonic()
        scope[FACTS] = []
        self._open += 1
        told: dict[str, Any] = {"status": 0, "size": 0}

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                told["status"] = message["status"]
            told["size"] += len(message.get("body", b""))
            try:
                await asyncio.wait_for(send(message), REQUEST_S)
            except TimeoutError:
                raise ClientDisconnect(f"a reader that took nothing for {REQUEST_S} s") from None

        try:
            refused = self._refused(scope)
            if refused is None:
                await self.app(scope, _limited(receive), counted)
            else:
                await refused(scope, receive, counted)
        except ClientDisconnect as gone:
            scope[FACTS].append(str(gone) or "the client went away")
        finally:
            self._open -= 1
            self._last = time.monotonic()
            _access.info(
                "%s %s %s %d %d B %.0f ms%s",
                _host(scope),
                scope["method"],
                scope["path"].encode("unicode_escape").decode()[:200],
                told["status"],
                told["size"],
                1000 * (time.monotonic() - started),
                "".join(f" {fact}" for fact in scope[FACTS]),
            )

    def _refused(self, scope: Scope) -> Response | None:
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        if not self.access.admits(scope["method"], headers.get(b"authorization", "")):
            if self.access.token is None:
                answer = _problem(405, "nothing can be written here")
                answer.headers["Allow"] = "GET, HEAD"
                return answer
            scope[FACTS].append("no token, or a wrong one")
            answer = _problem(401, "a token is needed: Authorization: Bearer …")
            answer.headers["WWW-Authenticate"] = "Bearer"
            return answer
        length = headers.get(b"content-length", "0")
        if not length.isdecimal() or int(length) > MAX_BODY:
            scope[FACTS].append(f"a body of {length[:20]} bytes")
            return _problem(413, f"a body of more than {MAX_BODY} bytes")
        return None


def _limited(receive: Receive) -> Receive:
    """Receive, but not for ever and not without end."""
    started = time.monotonic()
    size = 0

    async def limited() -> Message:
        nonlocal size
        left = started + REQUEST_S + size / LEAST_RATE - time.monotonic()
        try:
            message = await asyncio.wait_for(receive(), max(left, 0.0))
        except TimeoutError:
            raise _refusal(408, f"a body of which {size} bytes came in time") from None
        size += len(message.get("body", b""))
        if size > MAX_BODY:
            raise _refusal(413, f"a body of more than {MAX_BODY} bytes")
        return message

    return limited


def _refusal(status: int, message: str) -> HTTPException:
    """What the application answers with, whatever it was about to do."""
    return HTTPException(status, message, headers={"Connection": "close"})


def _problem(status: int, message: str) -> Response:
    return JSONResponse({"error": message}, status, headers={"Connection": "close"})


def _host(scope: Scope) -> str:
    client = scope.get("client")
    return client[0] if client else "?"


class ImpatientProtocol(H11Protocol):
    """HTTP/1.1 that closes a connection on which no whole head of a request comes in time."""

    _patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for the first request; one connection too many is closed at once."""
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            _access.warning("more than %d connections; one was closed", MAX_CONNECTIONS)
            transport.abort()
            return
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Take what came."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop()

    def on_response_complete(self) -> None:
        """Begin to wait for the next request."""
        super().on_response_complete()
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._stop()
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._stop()
        self._patience = self.loop.call_later(REQUEST_S, self._lost_patience)

    def _stop(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _lost_patience(self) -> None:
        is_answered = self.cycle is None or self.cycle.response_complete
        if self.conn.their_state is h11.IDLE and is_answered:
            host = self.client[0] if self.client else "?"
            _access.warning("%s: no request came in %.0f s; closed", host, REQUEST_S)
            self.transport.close()
