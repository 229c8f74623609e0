"""calstore fork."""

from __future__ import annotations

from typing import Annotated

import typer

from calstore.cli.context import MessageOption, VersionArgument, named, opened


def fork(
    context: typer.Context,
    source: VersionArgument,
    new: Annotated[str, typer.Argument(metavar="NEW", help="The new ref's name.")],
    message: MessageOption = "",
) -> None:
    """Make a sandbox: a new ref with the same constants. Nothing is copied.

    A deleted name can be forked onto again; its history goes on.

    Example: calstore fork xppn4116/main xppn4116/users/wilson/mask

    Exit codes: 3 no such version, 4 the name is taken, 5 it is no name of a ref.
    """
    from calstore.cli.identity import stamp
    from calstore.repository.branch import fork as make

    typer.echo(named(make(opened(context), source, new, stamp(message))))
