"""calstore refs."""

from __future__ import annotations

from typing import Annotated

import typer

from calstore.cli.context import (
    JsonOption,
    emit_json,
    opened,
    table,
)


def refs(
    context: typer.Context,
    pattern: Annotated[
        str, typer.Argument(metavar="[PATTERN]", help="As 'xppn4116/*'; default all.")
    ] = "*",
    deleted: Annotated[bool, typer.Option("--deleted", help="Deleted refs too.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List versions: the newest record of each ref, its digest, its approval, who made it and when.

    Example: calstore refs 'xppn4116/*'

    Exit codes: 3 no store, 6 a record is damaged.
    """
    from fnmatch import fnmatchcase

    from calstore.repository.approvals import approval_finder
    from calstore.repository.refs import refs as list_refs

    store = opened(context)
    approval = approval_finder(store)
    found = [
        (ref, None if ref.head.manifest is None else approval(ref.head.manifest.digest))
        for ref in list_refs(store, deleted=deleted)
        if fnmatchcase(ref.name.text, pattern)
    ]
    if as_json:
        from calstore.report.records import refs_json

        emit_json(refs_json(found))
        return
    rows = [
        (
            ref.head.name,
            "deleted" if ref.head.manifest is None else ref.head.manifest.digest.short,
            ref.kind,
            "-" if approved is None else approved.status or "",
            ref.head.stamp.when[:16].replace("T", " "),
            str(ref.head.stamp.who),
            ref.head.stamp.why or ref.head.what,
        )
        for ref, approved in found
    ]
    if rows:
        typer.echo(table(rows))
