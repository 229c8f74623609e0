"""calstore tag."""

from __future__ import annotations

from typing import Annotated

import typer

from calstore.cli.context import MessageOption, VersionArgument, named, opened


def tag(
    context: typer.Context,
    source: VersionArgument,
    new: Annotated[str, typer.Argument(metavar="NEW", help="The new ref's name.")],
    message: MessageOption = "",
) -> None:
    """Give a version a name that never moves.

    Example: calstore tag xppn4116/main@7 xppn4116/published-2026

    Exit codes: 3 no such version, 4 the name is taken, 5 it is no name of a ref.
    """
    from calstore.cli.identity import stamp
    from calstore.repository.branch import tag as make

    typer.echo(named(make(opened(context), source, new, stamp(message))))
