"""calstore run."""

from __future__ import annotations

import logging
import os
import shlex
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from calstore.cli.context import VersionArgument, opened, printable
from calstore.cli.serve import WritesOption

if TYPE_CHECKING:
    from calstore.serve.catalogue import Catalogue

_NOT_FOUND = 127
_QUIET_S = 0.5
"""A run of psana2 asks for one detector after the other, without such pauses."""

_GRACE_S = 5.0
_FORWARDED = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def run_(
    context: typer.Context,
    ref: VersionArgument,
    command: Annotated[
        list[str], typer.Argument(metavar="-- COMMAND…", help="What to run, with its arguments.")
    ],
    allow_missing: Annotated[
        bool,
        typer.Option("--allow-missing", help="Go on where a detector of the run has no constants."),
    ] = False,
    writes_to: WritesOption = None,
    reachable: Annotated[
        bool | None,
        typer.Option(
            "--reachable/--not-reachable",
            help="Whether other nodes can ask, with a token of this job; by default a job of "
            "Slurm that has several.",
        ),
    ] = None,
) -> None:
    """Run a command whose psana 2 takes its constants from a version.

    A service for this command alone is started on this host, pinned to the version, and
    LCLS_CALIB_HTTP names it; mpirun -x LCLS_CALIB_HTTP -x CALIB_JWT tells it to ranks elsewhere.
    When the run has a detector with pixels of which the version has nothing, the command is
    stopped. What was given is kept (see: calstore used).

    Example: calstore run mfx101332224/main -- python analysis.py

    Example: calstore run mfx101332224=xxh128:7cbf… -- mpirun -n 8 python analysis.py

    Example: calstore run mfx101332224/main --writes-to mfx101332224/deploys -- det_dark_proc … -D

    Exit codes: the command's own, 127 when there is no such command, 3 no such version or no
    constants for a detector.
    """
    from calstore.cli.identity import stamp
    from calstore.cli.serve import (
        LOOPBACK,
        catalogue_of,
        log_to_stderr,
        require_extra,
        sandboxes_of,
        url_of,
    )

    require_extra()
    from calstore.serve.access import Access, new_token
    from calstore.serve.app import application, bound, running
    from calstore.serve.deposits import Deposits
    from calstore.serve.use_book import UseBook

    catalogue = catalogue_of(opened(context), [ref], sandboxes=writes_to or ())
    sandboxes = sandboxes_of(writes_to or ())
    deposits = Deposits(catalogue, sandboxes, stamp) if sandboxes else None
    if reachable is None:
        reachable = int(os.environ.get("SLURM_JOB_NUM_NODES", "1")) > 1
    host = "0.0.0.0" if reachable else LOOPBACK
    token = new_token() if reachable or sandboxes else None
    log_to_stderr(logging.WARNING)
    words = printable(shlex.join(command))[:1000]
    with bound(host, 0) as listening, UseBook(stamp, words) as book:
        app = application(
            catalogue, book, Access(token, anybody_reads=token is None), deposits=deposits
        )
        with running(app, listening):

            def lacks() -> bool:
                return bool(book.missed) and app.quiet_s > _QUIET_S and not allow_missing

            url = url_of(host, listening.getsockname()[1])
            code = _run(command, _environment(url, token), lacks)
        if book.missed and not allow_missing:
            _refuse(catalogue, book.missed, code)
    raise typer.Exit(code)


def _environment(url: str, token: str | None) -> dict[str, str]:
    environment = {**os.environ, "LCLS_CALIB_HTTP": url}
    host = url.split("/")[2].rpartition(":")[0]
    for name in ("no_proxy", "NO_PROXY"):
        environment[name] = ",".join(filter(None, (os.environ.get(name), host)))
    if token is not None:
        environment["CALIB_JWT"] = token
    return environment


def _run(command: list[str], environment: dict[str, str], lacks: Callable[[], bool]) -> int:
    """Run the command, but not on without constants; its exit code."""
    try:
        process = subprocess.Popen(command, env=environment)
    except OSError as error:
        typer.echo(f"calstore: cannot run {command[0]} ({error.strerror})", err=True)
        return _NOT_FOUND
    with process, _forwarding(process):
        while True:
            try:
                code = process.wait(timeout=0.1)
                break
            except subprocess.TimeoutExpired:
                if lacks():
                    code = _stopped(process)
                    break
    # A shell's word for a command that a signal ended.
    return code if code >= 0 else 128 - code


def _stopped(process: subprocess.Popen[bytes]) -> int:
    process.terminate()
    try:
        return process.wait(timeout=_GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


@contextmanager
def _forwarding(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Signals are for the command; a terminal sends its own to both."""
    before = {
        number: signal.signal(number, lambda n, _: process.send_signal(n)) for number in _FORWARDED
    }
    before[signal.SIGINT] = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _refuse(catalogue: Catalogue, missed: tuple[str, ...], code: int) -> None:
    from calstore.errors import NotFound
    from calstore.repository.psana2 import long_names

    (version,) = catalogue.experiments.values()
    there = "\n  ".join(long_names(version)) or "nothing"
    listed = "\n  ".join(missed)
    raise NotFound(
        f"{version.name} has no constants for\n  {listed}\nwhich the run has; the command was "
        f"stopped, or had ended ({code}). The version has\n  {there}\nMake them with calstore "
        "dark, or go on without: --allow-missing"
    )
