"""calstore status."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from calstore.cli.context import JsonOption, emit_json, printable

if TYPE_CHECKING:
    from calstore.views.state import State


def status(
    dest: Annotated[Path, typer.Argument(metavar="DEST", help="A directory made by calstore.")],
    as_json: JsonOption = False,
) -> None:
    """Tell what was changed in a view since calstore wrote it; nothing is touched.

    Needs no store. Files of other tools are listed as foreign, and are no difference; constants
    that others added are, because psana may choose them. Lines that others wrote into a HISTORY
    count as a change until they are adopted.

    Example: calstore status /sdf/data/lcls/ds/xpp/xppn4116/calib

    Exit codes: 0 as calstore left it, 1 something differs, 3 DEST is no view, 4 its receipt is
    damaged, 5 it may not be read.
    """
    from calstore.views.state import status as state_of

    state = state_of(dest)
    kinds = {
        "modified": state.modified,
        "deleted": state.deleted,
        "added": state.added,
        "foreign": state.foreign,
    }
    receipt = state.receipt
    if as_json:
        emit_json(
            {
                **{kind: list(paths) for kind, paths in kinds.items()},
                "clean": state.is_clean,
                "dest": str(dest),
                "interrupted": state.is_interrupted,
                "layout": receipt.layout,
                "parts": [
                    {
                        "manifest": part.manifest,
                        "run": part.run,
                        "under": part.under,
                        "version": part.version,
                    }
                    for part in receipt.parts
                ],
                "store": receipt.store,
                "unchanged": state.unchanged,
            }
        )
    else:
        typer.echo(f"{dest}  {receipt.versions}  {state.unchanged} files as calstore left them")
        for kind, paths in kinds.items():
            for path in paths:
                typer.echo(f"{kind:<9} {printable(path)}")
        for line in _next_steps(dest, state):
            typer.echo(line)
    if not state.is_clean:
        raise typer.Exit(1)


def _next_steps(dest: Path, state: State) -> Iterator[str]:
    held, ref = state.receipt.held, state.receipt.parts[-1].ref
    if state.is_interrupted:
        yield "an update was broken off; run the same calstore materialize again"
    if held is not None:
        yield f"last adopted into {held.record}; then: calstore materialize {ref} {dest}"
    if state.modified or state.deleted or state.added:
        yield f"keep it with:   calstore adopt {dest} {ref}"
    if state.modified or state.deleted:
        yield f"or discard it:  calstore materialize {ref} {dest} --discard"
