"""calstore repair."""

from __future__ import annotations

import typer

from calstore.cli.carried import UrlArgument
from calstore.cli.context import JsonOption, emit_json, opened, opened_at, progress_of


def repair(context: typer.Context, url: UrlArgument, as_json: JsonOption = False) -> None:
    """Replace what verify finds damaged or gone by what a mirror has; nothing else is touched.

    Each file is fetched and checked before the damaged one is removed. A record must be the one
    that its neighbours name.

    Example: calstore repair s3://backup/xpp

    Exit codes: 0 all is as it was stored, 3 no such store, 6 something is still damaged.
    """
    from calstore.repository.repair import repair as mend

    store, other = opened(context), opened_at(url)
    repaired = mend(store, other, progress=progress_of("verify", quiet=as_json))
    if as_json:
        emit_json({"left": list(repaired.left), "repaired": list(repaired.files)})
    else:
        for key in repaired.files:
            typer.echo(f"{store.own.describe(key)}  repaired")
        for message in repaired.left:
            typer.echo(f"calstore: {message}", err=True)
        if not (repaired.files or repaired.left):
            typer.echo("all as stored")
    if repaired.left:
        raise typer.Exit(6)
