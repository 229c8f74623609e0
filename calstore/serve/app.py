"""The service as a whole, and how it is run."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import uvicorn
from starlette.applications import Starlette

from calstore.errors import Conflict
from calstore.serve.access import Access
from calstore.serve.guard import Guard, ImpatientProtocol
from calstore.serve.psana2 import Psana2

if TYPE_CHECKING:
    from starlette.routing import BaseRoute

    from calstore.serve.catalogue import Catalogue
    from calstore.serve.deposits import Deposits
    from calstore.serve.use_book import UseBook


def application(
    catalogue: Catalogue,
    book: UseBook,
    access: Access,
    *,
    deposits: Deposits | None = None,
    more: Sequence[BaseRoute] = (),
) -> Guard:
    """The service of a catalogue.

    Parameters
    ----------
    deposits
        Where what is written goes; ``None`` where nothing can be.
    more
        What else is served.
    """
    writes = [] if deposits is None else deposits.routes()
    reads = Psana2(catalogue, book, lists_names=deposits is not None).routes()
    return Guard(Starlette(routes=[*more, *writes, *reads]), access)


def bound(host: str, port: int) -> socket.socket:
    """A socket that listens there; port 0 is any free one.

    Raises
    ------
    Conflict
        When the port is taken, or the address is not this host's.
    """
    listening = None
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(512)
    except OSError as error:
        if listening is not None:
            listening.close()
        reason = error.strerror
        raise Conflict(f"cannot listen at {host}:{port} ({reason}); choose another") from error
    return listening


@contextlib.contextmanager
def running(app: Guard, listening: socket.socket) -> Iterator[None]:
    """Serve in a thread of its own, so that signals are the caller's; end with the context."""
    server = _server_of(app)
    thread = threading.Thread(
        target=server.run, kwargs={"sockets": [listening]}, name="serve", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join()


def _server_of(app: Guard) -> uvicorn.Server:
    config = uvicorn.Config(
        app,
        http=ImpatientProtocol,
        log_config=None,
        access_log=False,
        timeout_keep_alive=20,
        timeout_graceful_shutdown=5,
        h11_max_incomplete_event_size=128 * 1024,
        lifespan="off",
        server_header=False,
    )
    return uvicorn.Server(config)
