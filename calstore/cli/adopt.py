"""calstore adopt."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from calstore.cli.context import (
    JsonOption,
    MessageOption,
    RefArgument,
    emit_json,
    named,
    opened,
    printable,
    progress_of,
    warn,
)


def adopt(
    context: typer.Context,
    dest: Annotated[Path, typer.Argument(metavar="DEST", help="A view that was changed.")],
    ref: RefArgument,
    message: MessageOption = "",
    as_json: JsonOption = False,
) -> None:
    """Make what was changed in a view a version: hand edits, and what other tools deployed.

    DEST is only read, but for its receipt. What others committed to REF since the view was made
    is kept; where both changed what a run gets, nothing is done. A new REF is a branch. What
    cannot come out byte for byte, such as a link, is said.

    Example: calstore adopt /sdf/data/lcls/ds/xpp/xppn4116/calib xppn4116/main -m "calibman, r137"

    Exit codes: 3 DEST is no view, 4 REF has other changes for the same runs, or DEST is being
    updated, 5 a file cannot be read.
    """
    from calstore.cli.identity import stamp
    from calstore.repository.adopt import adopt as adopt_view

    adopted = adopt_view(
        opened(context), dest, ref, stamp(message), progress=progress_of("adopt", quiet=as_json)
    )
    if as_json:
        from calstore.report.records import record_json

        emit_json(
            {
                "changed": adopted.changed,
                "left_out": list(adopted.left_out),
                "paths": list(adopted.paths),
                "problems": [
                    {
                        "consequence": problem.remark.consequence,
                        "path": problem.path,
                        "what": problem.remark.what,
                    }
                    for problem in adopted.problems
                ],
                "record": record_json(adopted.record),
                "renewed": adopted.renewed,
            }
        )
        return
    for problem in adopted.problems:
        warn(str(problem))
    if adopted.left_out:
        warn(f"left out by rule: {', '.join(adopted.left_out)}")
    for path in adopted.paths:
        typer.echo(f"    {printable(path)}")
    said = "" if adopted.changed else "  unchanged"
    typer.echo(f"{named(adopted.record)}  {len(adopted.paths)} files differed{said}")
    if adopted.paths and not adopted.renewed:
        step = f"calstore materialize {ref} {dest}"
        typer.echo(f"{dest} is no view of {adopted.record.name} yet; make it one with: {step}")
