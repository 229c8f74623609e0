"""calstore init."""

from __future__ import annotations

import secrets
from typing import Annotated

import typer


def init(
    path: Annotated[
        str | None, typer.Argument(metavar="[PATH]", help="A new directory; default .calstore")
    ] = None,
) -> None:
    """Make an empty store. Nothing that exists is changed.

    To share it with a group: chgrp GROUP PATH; chmod 3775 PATH. New folders follow.

    Example: calstore init

    Exit codes: 4 there is a store already, 5 there is something else.
    """
    from calstore.repository.store import FOLDER, init_store

    store = init_store(path or FOLDER, secrets.token_hex(16))
    typer.echo(store.backend.describe(""))
