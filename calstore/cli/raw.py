"""What commands that read raw frames share: psana's python, and patience."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from calstore.frames.open_frames import PsanaPython
    from calstore.repository.run_data import Patience

PsanaOption = Annotated[
    str,
    typer.Option(
        "--psana-python",
        metavar="PYTHON",
        envvar="CALSTORE_PSANA_PYTHON",
        help="The python that has psana, for xtc2 and xtc; if not given, the one on the PATH.",
    ),
]


def psana_of(python: str) -> PsanaPython:
    """The python that has psana, for a child process with this one's environment."""
    from calstore.frames.open_frames import PsanaPython

    return PsanaPython(python or None, os.environ.get("PATH", ""), os.environ)


def patience_of(wait_s: float) -> Patience | None:
    """How long a run is waited for; ``None`` for not at all."""
    from calstore.repository.run_data import Patience

    return Patience(wait_s, time.monotonic, time.sleep) if wait_s > 0 else None
