"""calstore unset."""

from __future__ import annotations

import typer

from calstore.cli.context import (
    DetectorArgument,
    MessageOption,
    RefArgument,
    RunsArgument,
    TypeArgument,
    named,
    opened,
)


def unset(
    context: typer.Context,
    ref: RefArgument,
    detector: DetectorArgument,
    type_name: TypeArgument,
    runs: RunsArgument,
    message: MessageOption = "",
) -> None:
    """Take a constant from some runs; every other run keeps what it got before.

    These runs get nothing then, not what an older range would give them: psana goes on with its
    default in silence, which calstore coverage tells. To go back to older constants, use
    calstore copy or calstore undo.

    Example: calstore unset xppn4116/users/wilson/mask Epix100a.1 pixel_mask 5-20 -m "beam stop out"

    Exit codes: 3 no such ref or detector, or these runs have nothing, 5 no file names can say so.
    """
    from calstore.cli.identity import stamp
    from calstore.model.runs import RunRange
    from calstore.repository.unset import unset as take

    record = take(opened(context), ref, detector, type_name, RunRange.parse(runs), stamp(message))
    typer.echo(named(record))
