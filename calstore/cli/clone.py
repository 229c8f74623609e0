"""calstore clone."""

from __future__ import annotations

import secrets
from typing import Annotated

import typer

from calstore.cli.carried import UrlArgument, carried_json, newest, summary, warn_left
from calstore.cli.context import JsonOption, emit_json, opened_at, progress_of


def clone(
    url: UrlArgument,
    place: Annotated[str, typer.Argument(metavar="DIR", help="Where the new store shall be.")],
    refs: Annotated[
        list[str] | None,
        typer.Option(
            "--refs", metavar="PATTERN", help="Only refs like 'xppn4116/*'; may be repeated."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make a store that has the refs of another one, and all that they lead to.

    What people said of the experiments' runs comes along; settings do not, because they name
    directories of other machines. Run again, it goes on where it was, or takes what is new.

    Example: calstore clone s3://calib/xpp ./xpp --refs 'xppn4116/*'

    Exit codes: 3 no such store, or no ref like that, 4 a ref went on in two ways here, 5 DIR is
    something else.
    """
    from calstore.errors import NotFound
    from calstore.repository.mirror import clone as copy
    from calstore.repository.store import Store, init_store

    source = opened_at(url)
    try:
        dest: Store = opened_at(place)
    except NotFound:
        dest = init_store(place, secrets.token_hex(16))
    carried = copy(
        source, dest, tuple(refs or ("*",)), progress=progress_of("clone", quiet=as_json)
    )
    if as_json:
        emit_json(carried_json(carried))
        return
    warn_left(carried)
    for gap in carried.gaps:
        typer.echo(newest(gap))
    typer.echo(summary(carried))
