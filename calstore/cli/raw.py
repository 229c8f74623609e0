"""What commands that read raw frames share: psana's python, and patience."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Annotated

import typer

from calstore.cli.context import opened

if TYPE_CHECKING:
    from collections.abc import Sequence

    from calstore.frames.open_frames import PsanaPython
    from calstore.frames.source import Contents
    from calstore.repository.run_data import Patience

_NAMELESS = "?"
"""For a detector whose frames a file holds without saying whose they are."""

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


def contents_of(context: typer.Context, what: Sequence[str], psana_python: str) -> Contents:
    """What files of one run hold, or those of EXPERIMENT RUN where the store says they are."""
    from pathlib import Path

    from calstore.errors import Invalid
    from calstore.frames.open_frames import is_of_psana, open_frames, open_streams
    from calstore.frames.stacks import Labels

    psana = psana_of(psana_python)
    if len(what) == 2 and what[1].isdecimal() and not Path(what[1]).exists():
        from calstore.repository.run_data import data_of

        labels = Labels(what[0], int(what[1]))
        (data,) = data_of(opened(context), labels, (), psana)
        return data.contents
    if all(is_of_psana(text) for text in what):
        return open_streams(what, Labels(), psana).contents()
    if len(what) > 1:
        raise Invalid("several files are one run only for psana; name one, or EXPERIMENT RUN")
    return open_frames(what[0], Labels(detector=_NAMELESS)).contents()
