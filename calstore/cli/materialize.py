"""calstore materialize."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from calstore.cli.context import JsonOption, VersionArgument, emit_json, opened, progress_of


def materialize(
    context: typer.Context,
    ref: VersionArgument,
    dest: Annotated[Path, typer.Argument(metavar="DEST", help="A new directory, or a view.")],
    layout: Annotated[
        str, typer.Option(help="psana, or npy for arrays as .npy.", metavar="LAYOUT")
    ] = "psana",
    as_json: JsonOption = False,
) -> None:
    """Make DEST a directory that psana reads, from a version.

    A new DEST appears at once; one that calstore made is updated file by file. A directory that
    calstore did not make, and a view with files that somebody changed, are not touched.

    Example: calstore materialize xppn4116/main ./calib

    Exit codes: 3 no such version, 4 DEST is not as calstore left it, 6 a constant is damaged.
    """
    from calstore.errors import Invalid
    from calstore.repository.materialize import materialize as make
    from calstore.views.plan import LAYOUTS

    if layout not in LAYOUTS:
        raise Invalid(f"there is no layout {layout!r}; choose one of {', '.join(LAYOUTS)}")
    store = opened(context)
    version = store[ref]
    change = make(
        store,
        version,
        dest,
        layout=layout,
        progress=progress_of("materialize", quiet=as_json),
    )
    if as_json:
        emit_json(
            {
                "dest": str(dest),
                "layout": layout,
                "manifest": str(version.digest),
                "removed": list(change.removed),
                "unchanged": change.unchanged,
                "version": version.name,
                "written": list(change.written),
            }
        )
        return
    typer.echo(
        f"{dest}  {version.name}  {len(change.written)} files written, "
        f"{len(change.removed)} removed, {change.unchanged} unchanged"
    )
