"""calstore pull."""

from __future__ import annotations

from typing import Annotated

import typer

from calstore.cli.carried import AsOption, copy_alone, print_carried
from calstore.cli.context import JsonOption, MessageOption, opened, opened_at, progress_of


def pull(
    context: typer.Context,
    ref: Annotated[str, typer.Argument(metavar="REF", help="A ref of the other store.")],
    url: Annotated[
        str | None,
        typer.Argument(
            metavar="[URL]", help="The other store; by default those that this one reads from."
        ),
    ] = None,
    new: AsOption = None,
    message: MessageOption = "",
    as_json: JsonOption = False,
) -> None:
    """Copy REF from another store: its whole history, and what of it is not here yet.

    Records are copied as they are, with approvals and the provenance of darks; each object is
    checked. A ref that went on in two ways is refused, and nothing is copied. What was interrupted
    goes on where it was when it is run again. In a store that reads from others (calstore init
    --reads-from) REF needs none of them afterwards.

    With --as one version alone is copied, as a new ref of this store, whose first record says where
    it came from. It can be promoted here.

    Example: calstore pull xppn4116/main s3://calib/xpp

    Example: calstore pull xppn4116/main@7 s3://calib/xpp --as xppn4116/users/wilson/seven

    Exit codes: 3 no such ref or store, 4 REF went on in two ways, 6 something of it is damaged.
    """
    from calstore.repository.push import pull as copy

    store = opened(context)
    other = None if url is None else opened_at(url)
    progress = progress_of("pull", quiet=as_json)
    if new is not None:
        copy_alone(other or store, ref, store, new, message, progress, as_json=as_json)
    else:
        print_carried(copy(store, ref, other, progress=progress), as_json=as_json)
