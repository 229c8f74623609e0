"""calstore get."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from calstore.cli.context import DetectorArgument, TypeArgument, VersionArgument, opened

if TYPE_CHECKING:
    from calstore.model.digest import Buffer
    from calstore.repository.version import CalibrationConstant


def get(
    context: typer.Context,
    ref: VersionArgument,
    detector: DetectorArgument,
    type_name: TypeArgument,
    run: Annotated[int, typer.Option("--run", min=0, help="The run that asks.")],
    output: Annotated[
        Path,
        typer.Option(
            "-o", "--output", metavar="FILE", help="As .npy, else as psana's file; - is stdout."
        ),
    ],
) -> None:
    """Write the constant that a run gets to a file, verified. Never a default.

    FILE.npy gets the array; any other name gets the file as psana reads it: the imported bytes,
    or psana's text of a constant that was computed or set.

    Example: calstore get xppn4116/main Epix100a.1 pedestals --run 137 -o pedestals.npy

    Exit codes: 3 psana would find nothing for this run, 5 it is no array, 6 it is damaged.
    """
    from calstore.repository.files import write_file

    constant = opened(context)[ref][detector].at(run)[type_name]
    parts = _npy(constant) if output.suffix == ".npy" else [_file(constant)]
    if str(output) != "-":
        write_file(output, *parts)
        return
    for part in parts:
        sys.stdout.buffer.write(part)


def _npy(constant: CalibrationConstant) -> Sequence[Buffer]:
    from calstore.formats import npy

    return npy.render(constant.array)


def _file(constant: CalibrationConstant) -> Buffer:
    from calstore.views.plan import is_rendered

    if not is_rendered(constant.constant, "psana"):
        return constant.data
    from calstore.formats import psana_text_writer

    comments = (f"CALSTORE    {constant.digest}", f"VERSION     {constant}")
    return psana_text_writer.write(constant.array, type_name=constant.type_name, comments=comments)
