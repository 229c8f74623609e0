"""calstore run."""

from __future__ import annotations

import os
import subprocess
import threading
from typing import TYPE_CHECKING, Annotated

import typer

from calstore.cli.context import VersionArgument, opened

if TYPE_CHECKING:
    import uvicorn

_NOT_FOUND = 127


def run_(
    context: typer.Context,
    ref: VersionArgument,
    command: Annotated[
        list[str], typer.Argument(metavar="-- COMMAND…", help="What to run, with its arguments.")
    ],
) -> None:
    """Run a command whose psana 2 takes its constants from a version.

    A service for this command alone is started on this host, pinned to the version, and
    LCLS_CALIB_HTTP names it. The command must not have imported psana before.

    Example: calstore run mfx101332224/main -- python analysis.py

    Exit codes: the command's own, 127 when there is no such command, 3 no such version.
    """
    from calstore.cli.serve import catalogue_of
    from calstore.serve.app import bound, server_of

    catalogue = catalogue_of(opened(context), [ref], follow=False)
    with bound("127.0.0.1", 0) as listening:
        port = listening.getsockname()[1]
        server = server_of(catalogue)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        try:
            code = _run(command, f"http://127.0.0.1:{port}/ws")
        finally:
            _stop(server, thread)
    raise typer.Exit(code)


def _run(command: list[str], url: str) -> int:
    environment = {**os.environ, "LCLS_CALIB_HTTP": url}
    try:
        done = subprocess.run(command, env=environment, check=False)
    except OSError as error:
        typer.echo(f"calstore: cannot run {command[0]} ({error.strerror})", err=True)
        return _NOT_FOUND
    # A shell's word for a command that a signal ended.
    return done.returncode if done.returncode >= 0 else 128 - done.returncode


def _stop(server: uvicorn.Server, thread: threading.Thread) -> None:
    server.should_exit = True
    thread.join(timeout=5)
