"""A TCP proxy before an HTTP server, which makes trouble as a network and a busy server do.

moto answers one request a connection, so each connection is a request: it is forwarded, or
answered with 503, or delayed, or forwarded and its answer thrown away.
"""

from __future__ import annotations

import contextlib
import random
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator

_BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/xml\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%b"
)
_SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>"
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_PATIENCE_S = 60

Change = Callable[[bytes], bytes]


class FaultProxy:
    """Listens at ``port`` and passes on to another port of this host.

    Parameters
    ----------
    faulty
        The part of the requests that meet trouble.
    change
        What becomes of the head of each request before it is passed on.
    """

    def __init__(
        self, behind: int, faulty: float, *, seed: int = 0, change: Change = lambda head: head
    ) -> None:
        self._behind = behind
        self._faulty = faulty
        self._random = random.Random(seed)
        self._change = change
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port: int = self._listener.getsockname()[1]
        self.counts: Counter[str] = Counter()
        self.methods: Counter[str] = Counter()

    def close(self) -> None:
        self._listener.close()

    def serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._one, args=(client,), daemon=True).start()

    def _one(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client:
            client.settimeout(_PATIENCE_S)
            request = _request(client)
            if not request:
                return
            fate = self._fate(request)
            if fate == "busy":
                client.sendall(_BUSY % (len(_SLOW_DOWN), _SLOW_DOWN))
                return
            if fate == "late":
                time.sleep(0.2)
            answer = self._forward(request)
            if fate != "lost":
                client.sendall(answer)

    def _fate(self, request: bytes) -> str:
        with self._lock:
            is_faulty = self._random.random() < self._faulty
            fate = self._random.choice(["busy", "late", "lost"]) if is_faulty else "fine"
            self.counts[fate] += 1
            self.methods[_kind(request)] += 1
        return fate

    def _forward(self, request: bytes) -> bytes:
        head, blank, body = request.partition(b"\r\n\r\n")
        with socket.create_connection(("127.0.0.1", self._behind), _PATIENCE_S) as server:
            server.sendall(self._change(head) + blank + body)
            return b"".join(iter(lambda: server.recv(1 << 16), b""))


def _request(client: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        more = client.recv(1 << 16)
        if not more:
            return b""
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    if b"expect: 100-continue" in head.lower():
        client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    length = _LENGTH.search(head)
    missing = (int(length[1]) if length else 0) - len(body)
    while missing > 0:
        more = client.recv(1 << 16)
        if not more:
            return b""
        data += more
        missing -= len(more)
    return data


def _kind(request: bytes) -> str:
    """The method, and ``LIST`` for a get that lists."""
    method, _, rest = request.partition(b" ")
    return "LIST" if b"list-type=2" in rest.partition(b" ")[0] else method.decode()


@contextlib.contextmanager
def fault_proxy(
    behind: int, faulty: float, *, seed: int = 0, change: Change = lambda head: head
) -> Iterator[FaultProxy]:
    """A proxy that is served as long as it is needed."""
    proxy = FaultProxy(behind, faulty, seed=seed, change=change)
    threading.Thread(target=proxy.serve, daemon=True).start()
    try:
        yield proxy
    finally:
        proxy.close()


def without_condition(head: bytes) -> bytes:
    """The head of a request as a server reads it that knows of no ``If-None-Match``."""
    return re.sub(rb"\r\nif-none-match:[^\r]*", b"", head, flags=re.IGNORECASE)
