"""calstore init."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Annotated

import typer


def init(
    path: Annotated[
        str | None,
        typer.Argument(metavar="[PATH|URL]", help="A new directory or place; default .calstore"),
    ] = None,
    reads_from: Annotated[
        list[str] | None,
        typer.Option(
            "--reads-from",
            metavar="PATH|URL",
            help="A store that has what this one has not; may be repeated.",
        ),
    ] = None,
) -> None:
    """Make an empty store. Nothing that exists is changed.

    To share it with a group: chgrp GROUP PATH; chmod 3775 PATH. New folders follow. A store on S3
    (s3://bucket/prefix) needs conditional puts, which is tried.

    With --reads-from all that another store has can be read, forked and materialized here, and
    nothing is copied; the other is never written. calstore pull REF copies what a ref needs.

    Example: calstore init

    Example: calstore init mine --reads-from s3://calib/xpp

    Exit codes: 3 no such bucket or other store, 4 there is a store already, 5 there is something
    else, or of two writers there both would win.
    """
    from calstore.cli.context import opened_at
    from calstore.cli.identity import stamp
    from calstore.repository.settings import change_setting, check_reads_from
    from calstore.repository.store import FOLDER, READS_FROM, init_store

    others = [_everywhere(place) for place in reads_from or ()]
    for other in others:
        check_reads_from(other)
        opened_at(other)
    store = init_store(path or FOLDER, secrets.token_hex(16))
    if others:
        change_setting(store, READS_FROM, " ".join(others), stamp())
    typer.echo(store.backend.describe(""))


def _everywhere(place: str) -> str:
    """A place as it is named in any folder."""
    return place if "://" in place else str(Path(place).expanduser().absolute())
