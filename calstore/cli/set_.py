"""calstore set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from calstore.cli.context import (
    DetectorArgument,
    MessageOption,
    RefArgument,
    RunsArgument,
    TypeArgument,
    named,
    opened,
    warn,
)


def set_(
    context: typer.Context,
    ref: RefArgument,
    detector: DetectorArgument,
    type_name: TypeArgument,
    runs: RunsArgument,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A .npy, psana's text, or an opaque file.")
    ],
    underlay: Annotated[
        bool,
        typer.Option(
            "--underlay",
            help="Add the range and let psana's rule speak: ranges that begin later keep theirs.",
        ),
    ] = False,
    message: MessageOption = "",
) -> None:
    """Give some runs another constant; every other run keeps what it got before.

    Ranges that are there already are split where they must be, by reference. With --underlay
    nothing is split: runs that a later or shorter range covers keep its constant, as when a file
    is put into the directory. What a reader could not load is refused. For a detector that REF
    does not have yet, D is <group>/<source>.

    Example: calstore set xppn4116/users/wilson/mask Epix100a.1 pixel_mask 5-20 mask.npy

    Exit codes: 3 no such ref or detector, 5 a file that some reader could not load.
    """
    from calstore.cli.identity import stamp
    from calstore.model.runs import RunRange
    from calstore.repository.coverage import shadow_in
    from calstore.repository.set_constant import set_constant

    store, wanted = opened(context), RunRange.parse(runs)
    record = set_constant(
        store,
        ref,
        detector,
        type_name,
        wanted,
        file,
        stamp(message),
        underlay=underlay,
    )
    shadow = shadow_in(store[record.name], detector, type_name, wanted) if underlay else None
    if shadow is not None:
        warn(f"{type_name} {shadow}")
    typer.echo(named(record))
