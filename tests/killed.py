"""Runs calstore commands, each in a process that kills itself at its n-th ``os`` call.

Started as a process of its own, it imports calstore once and forks for each job: a line of JSON
with the arguments and n on stdin. It answers with a line: the exit code, −9 when it was killed.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import sys
from typing import NoReturn

from os_calls import InterruptedCalls

import calstore.cli.app
import calstore.formats.psana_text
import calstore.repository.import_tree
import calstore.repository.materialize
import calstore.repository.set_constant
import calstore.store.arrays


def run_and_die(arguments: list[str], nth: int) -> NoReturn:
    """Run the command; SIGKILL before the n-th call, so that no handler and no ``finally`` runs."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    InterruptedCalls(nth, lambda: os.kill(os.getpid(), signal.SIGKILL)).install()
    sys.argv = ["calstore", *arguments]
    code = 0
    try:
        with contextlib.suppress(SystemExit):
            calstore.cli.app.run()
    except BaseException:
        code = 99
    os._exit(code)


def serve() -> None:
    """Do the jobs of stdin, one after the other."""
    for module in ("numpy", "polars", "zarr", "calstore.darks.kernel"):
        importlib.import_module(module)
    for line in sys.stdin:
        job = json.loads(line)
        child = os.fork()
        if child == 0:
            run_and_die(job["arguments"], job["nth"])
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve()
