"""calstore push."""

from __future__ import annotations

import typer

from calstore.cli.carried import AsOption, UrlArgument, copy_alone, print_carried
from calstore.cli.context import (
    JsonOption,
    MessageOption,
    VersionArgument,
    opened,
    opened_at,
    progress_of,
)


def push(
    context: typer.Context,
    ref: VersionArgument,
    url: UrlArgument,
    new: AsOption = None,
    message: MessageOption = "",
    as_json: JsonOption = False,
) -> None:
    """Copy REF to another store: its whole history, and what of it is not there yet.

    Records are copied as they are, with approvals and the provenance of darks. Each object is
    checked before it is sent. A ref that went on in two ways is refused, and nothing is copied.
    What was interrupted goes on where it was when it is run again.

    With --as one version alone is copied, as a new ref of the other store, whose first record says
    where it came from. It can be promoted there.

    Example: calstore push xppn4116/main s3://calib/xpp

    Example: calstore push xppn4116/main s3://calib/xpp --as xppn4116/users/wilson/main

    Exit codes: 3 no such ref or store, 4 REF went on in two ways, 6 something of it is damaged.
    """
    from calstore.repository.push import push as copy

    store, other = opened(context), opened_at(url)
    progress = progress_of("push", quiet=as_json)
    if new is not None:
        copy_alone(store, ref, other, new, message, progress, as_json=as_json)
    else:
        print_carried(copy(store, ref, other, progress=progress), as_json=as_json)
