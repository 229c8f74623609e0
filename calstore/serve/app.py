"""The service as a whole, and how it is run."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import uvicorn
from starlette.applications import Starlette

from calstore.errors import Conflict
from calstore.serve.psana2 import Psana2

if TYPE_CHECKING:
    from calstore.serve.catalogue import Catalogue


def application(catalogue: Catalogue) -> Starlette:
    """The service of a catalogue."""
    return Starlette(routes=Psana2(catalogue).routes())


def bound(host: str, port: int) -> socket.socket:
    """A socket that listens there; port 0 is any free one.

    Raises
    ------
    Conflict
        When the port is taken, or the address is not this host's.
    """
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(512)
    except OSError as error:
        listening.close()
        reason = error.strerror
        raise Conflict(f"cannot listen at {host}:{port} ({reason}); choose another port") from error
    return listening


def server_of(catalogue: Catalogue) -> uvicorn.Server:
    """A server of the catalogue that is not running yet."""
    config = uvicorn.Config(
        application(catalogue),
        log_config=None,
        access_log=False,
        timeout_keep_alive=5,
        h11_max_incomplete_event_size=128 * 1024,
        lifespan="off",
    )
    return uvicorn.Server(config)
