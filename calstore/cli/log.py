"""calstore log."""

from __future__ import annotations

from typing import Annotated

import typer

from calstore.cli.context import (
    JsonOption,
    RefArgument,
    approval_text,
    emit_json,
    named,
    opened,
    printable,
)


def log(
    context: typer.Context,
    ref: RefArgument,
    limit: Annotated[
        int | None, typer.Option("-n", "--limit", min=1, help="Only the newest N records.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show the history of a ref, the newest record first: what, who, when, why, and who approved.

    Any record is a version that other commands take: calstore show xppn4116/main@7

    Example: calstore log xppn4116/main

    Exit codes: 3 no such ref, 6 a record is missing or damaged.
    """
    from itertools import islice

    from calstore.repository.approvals import approval_finder
    from calstore.repository.refs import log as read_log

    store = opened(context)
    approval = approval_finder(store)
    records = (
        (record, None if record.manifest is None else approval(record.manifest.digest))
        for record in islice(read_log(store, ref), limit)
    )
    if as_json:
        from calstore.report.records import log_json

        emit_json(log_json(list(records)))
        return
    for record, approved in records:
        when = record.stamp.when[:19].replace("T", " ")
        who = printable(str(record.stamp.who))
        typer.echo(f"{named(record)}  {when}  {who}\n    {printable(record.what)}")
        for line in record.stamp.why.splitlines():
            typer.echo(f"    {printable(line)}")
        if approved is not None:
            typer.echo(f"    {approval_text(approved)}")
