"""calstore undo."""

from __future__ import annotations

from typing import Annotated

import typer

from calstore.cli.context import MessageOption, RefArgument, named, opened


def undo(
    context: typer.Context,
    ref: RefArgument,
    to: Annotated[
        int | None,
        typer.Option("--to", metavar="N", min=1, help="Go back to REF@N, not just one record."),
    ] = None,
    message: MessageOption = "",
) -> None:
    """Go back: give REF the constants again that it had one record ago, or at --to N.

    It adds a record; nothing is lost. So undo twice is redo; scripts should say --to. A deleted
    branch is back as it was. Views are not changed: run calstore materialize again.

    Example: calstore undo xppn4116/main --to 5 -m "the new dark had light in it"

    Exit codes: 3 no such ref or record, 4 it moved meanwhile, 5 a tag, or nothing before it.
    """
    from calstore.cli.identity import stamp
    from calstore.repository.undo import undo as go_back

    moved = go_back(opened(context), ref, stamp(message), to=to)
    said = moved.record.what if moved.changed else "unchanged"
    typer.echo(f"{named(moved.record)}  {said}")
