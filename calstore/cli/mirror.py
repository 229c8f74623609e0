"""calstore mirror."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from calstore.cli.carried import UrlArgument, carried_json, newest, summary, two_ways, warn_left
from calstore.cli.context import JsonOption, emit_json, opened, opened_at, progress_of, warn

if TYPE_CHECKING:
    from calstore.repository.mirror import Mirrored


def mirror(
    context: typer.Context,
    url: UrlArgument,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print nothing when nothing was new.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Let another store have every record of this one and all that they lead to, for backup.

    One way: this store is only read, and nothing of the other one is removed or replaced. What
    went on there otherwise is said, and left. Make the other store first: calstore init URL.

    Example: calstore mirror -q s3://backup/xpp

    Exit codes: 3 no such store, 4 a log went on otherwise there, 6 something here is
    damaged.
    """
    from calstore.repository.mirror import mirror as copy

    store, other = opened(context), opened_at(url)
    mirrored = copy(store, other, progress=progress_of("mirror", quiet=quiet or as_json))
    if as_json:
        emit_json(
            {
                **carried_json(mirrored.carried),
                "ahead": list(mirrored.ahead),
                "equal": mirrored.is_equal,
                "diverged": [
                    {"log": each.log, "number": each.number} for each in mirrored.diverged
                ],
                "strangers": list(mirrored.strangers),
            }
        )
    else:
        _print(mirrored, quiet)
    if mirrored.diverged or mirrored.ahead:
        raise typer.Exit(4)


def _print(mirrored: Mirrored, quiet: bool) -> None:
    warn_left(mirrored.carried)
    for each in mirrored.diverged:
        warn(two_ways(each))
    if quiet and not mirrored.carried.records:
        return
    for name in mirrored.strangers:
        warn(f"{name} is there and not here")
    for gap in mirrored.carried.gaps:
        if gap.missing:
            typer.echo(newest(gap))
    typer.echo(summary(mirrored.carried))
