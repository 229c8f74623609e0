"""calstore verify."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from calstore.cli.context import (
    JsonOption,
    complete_ref,
    emit_json,
    opened,
    opened_at,
    progress_of,
    size_text,
)

if TYPE_CHECKING:
    from calstore.repository.verify import Verified


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
    against: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Also say what this mirror lacks of the store."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Read and hash again every record and object. Nothing is changed.

    That the newest record of a ref was removed cannot be seen from the store alone; --expect
    names a record that was seen before. --against compares the records of a mirror, and whether it
    has each object; calstore --store URL verify reads what is in them. What this store reads from
    others is listed, with the refs that need it, and not hashed.

    Example: calstore verify --expect xppn4116/main@7

    Example: calstore verify --against s3://backup/xpp

    Exit codes: 0 all is as it was stored, 1 the mirror lacks something, 3 no such ref or mirror, 6
    something is damaged.
    """
    from calstore.errors import Invalid
    from calstore.repository.mirror_check import missing_from
    from calstore.repository.verify import verify as check

    if against is not None and ref is not None:
        raise Invalid("--against compares whole stores; leave REF out")
    store = opened(context)
    mirror = None if against is None else opened_at(against)
    found = check(
        store,
        ref,
        expected=expect or (),
        progress=progress_of("verify", quiet=as_json),
    )
    lacking: tuple[str, ...] = ()
    if mirror is not None:
        progress = progress_of("compare", quiet=as_json)
        lacking = tuple(missing_from(store, mirror, progress=progress))
    if as_json:
        emit_json(_json(found, lacking))
    else:
        _print(found, lacking)
    if found.damages or lacking:
        raise typer.Exit(6 if found.damages else 1)


def _json(found: Verified, lacking: tuple[str, ...]) -> dict[str, Any]:
    """What was found, as ``schemas/verify.json`` describes it."""
    return {
        "borrowed": [
            {"bytes": each.size, "objects": each.objects, "refs": list(each.refs), "url": url}
            for url, each in found.borrowed.items()
        ],
        "bytes": found.size,
        "damages": [
            {"key": item.key, "message": item.message, "versions": list(item.versions)}
            for item in found.damages
        ],
        "elsewhere": list(found.elsewhere),
        "lacking": list(lacking),
        "objects": found.objects,
        "ok": not (found.damages or lacking),
        "records": found.records,
        "unreferenced": found.unreferenced,
    }


def _print(found: Verified, lacking: tuple[str, ...]) -> None:
    from calstore.repository.damage import hurt

    for item in found.damages:
        end = hurt(list(item.versions)) if item.key.startswith("objects/") else ""
        typer.echo(f"calstore: {item.message}{end}", err=True)
    for message in lacking:
        typer.echo(f"calstore: {message}", err=True)
    for url, each in found.borrowed.items():
        typer.echo(
            f"{each.objects} objects ({size_text(each.size)}) are read from {url}, for "
            f"{', '.join(each.refs)}; calstore pull REF copies what a ref needs"
        )
    typer.echo(
        f"{found.records} records, {found.objects} objects ({size_text(found.size)}), "
        f"{found.unreferenced} of them unreferenced: "
        + (f"{len(found.damages)} damaged" if found.damages else "all as stored")
    )
