"""calstore verify."""

from __future__ import annotations

from typing import Annotated

import typer

from calstore.cli.context import (
    JsonOption,
    complete_ref,
    emit_json,
    opened,
    progress_of,
    size_text,
)


def verify(
    context: typer.Context,
    ref: Annotated[
        str | None,
        typer.Argument(
            metavar="[REF]", help="Only what this ref leads to.", autocompletion=complete_ref
        ),
    ] = None,
    expect: Annotated[
        list[str] | None,
        typer.Option(metavar="REF@N", help="A record that must be there; may be repeated."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Read and hash again every record and object. Nothing is changed.

    That the newest record of a ref was removed cannot be seen from the store alone; --expect
    names a record that was seen before.

    Example: calstore verify --expect xppn4116/main@7

    Exit codes: 0 all is as it was stored, 3 no such ref, 6 something is not.
    """
    from calstore.repository.verify import verify as check

    found = check(
        opened(context),
        ref,
        expected=expect or (),
        progress=progress_of("verify", quiet=as_json),
    )
    if as_json:
        emit_json(
            {
                "bytes": found.size,
                "damages": [
                    {"key": item.key, "message": item.message, "versions": list(item.versions)}
                    for item in found.damages
                ],
                "objects": found.objects,
                "ok": not found.damages,
                "records": found.records,
                "unreferenced": found.unreferenced,
            }
        )
    else:
        from calstore.repository.damage import hurt

        for item in found.damages:
            end = hurt(list(item.versions)) if item.key.startswith("objects/") else ""
            typer.echo(f"calstore: {item.message}{end}", err=True)
        typer.echo(
            f"{found.records} records, {found.objects} objects ({size_text(found.size)}), "
            f"{found.unreferenced} of them unreferenced: "
            + (f"{len(found.damages)} damaged" if found.damages else "all as stored")
        )
    if found.damages:
        raise typer.Exit(6)
