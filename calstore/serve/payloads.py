"""Payloads in memory, each made once for all who ask at the same time, and how they are sent."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from starlette.responses import Response

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from calstore.repository.psana2 import Served

KEPT_BYTES: Final = 512 * 1024 * 1024
"""Of payloads that nobody is reading; those that are being sent are in memory besides."""

_AT_ONCE: Final = 2
_PIECE: Final = 1024 * 1024


class Payloads:
    """The payloads that were asked for last, verified when they were read from the store."""

    def __init__(self, kept_bytes: int = KEPT_BYTES) -> None:
        self._kept_bytes = kept_bytes
        self._size = 0
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._making: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()
        self._turns = threading.Semaphore(_AT_ONCE)

    def get(self, served: Served) -> bytes:
        """The payload of a constant; `Corrupt` when what is stored is not what was."""
        identity = served.id_data
        with self._lock:
            if (data := self._found(identity)) is not None:
                return data
            making = self._making.setdefault(identity, threading.Lock())
        with making:
            with self._lock:
                if (data := self._found(identity)) is not None:
                    return data
            try:
                with self._turns:
                    data = served.payload()
                self._keep(identity, data)
            finally:
                with self._lock:
                    self._making.pop(identity, None)
        return data

    def _found(self, identity: str) -> bytes | None:
        data = self._kept.get(identity)
        if data is not None:
            self._kept.move_to_end(identity)
        return data

    def _keep(self, identity: str, data: bytes) -> None:
        with self._lock:
            if len(data) > self._kept_bytes or identity in self._kept:
                return
            self._kept[identity] = data
            self._size += len(data)
            while self._size > self._kept_bytes:
                _, dropped = self._kept.popitem(last=False)
                self._size -= len(dropped)


class BytesResponse(Response):
    """Bytes that are sent piece by piece, so that a slow reader has no copy of them all."""

    def __init__(
        self,
        parts: Sequence[bytes | memoryview],
        headers: Mapping[str, str],
        media_type: str = "application/octet-stream",
        status_code: int = 200,
    ) -> None:
        super().__init__(None, status_code, headers, media_type)
        self._parts = [memoryview(part).cast("B") for part in parts]
        self.headers["content-length"] = str(sum(part.nbytes for part in self._parts))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send all; the server waits for the reader between the pieces."""
        del receive
        start = {"status": self.status_code, "headers": self.raw_headers}
        await send({"type": "http.response.start", **start})
        for part in self._parts if scope["method"] != "HEAD" else ():
            for at in range(0, part.nbytes, _PIECE):
                piece = part[at : at + _PIECE]
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
