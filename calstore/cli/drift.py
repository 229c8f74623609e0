"""calstore drift."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from calstore.cli.context import (
    DetectorArgument,
    JsonOption,
    TypeArgument,
    VersionArgument,
    emit_json,
    opened,
    table,
)

if TYPE_CHECKING:
    from calstore.repository.drift import Point


def drift(
    context: typer.Context,
    ref: VersionArgument,
    detector: DetectorArgument,
    type_name: TypeArgument,
    run: Annotated[
        int | None,
        typer.Option("--run", min=0, help="From record to record of REF, what this run got."),
    ] = None,
    by: Annotated[
        str, typer.Option("--by", metavar="panel", help="A line for each panel that moved.")
    ] = "",
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE.svg", help="A plot as well.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Tell how a constant moved: from range to range of a version, or from record to record.

    Each line has the median of the values, how far the pixels moved since the line before, and for
    pedestals how far that is in units of the noise.

    Example: calstore drift xppn4116/main Epix100a pedestals

    Example: calstore drift xppn4116/main Epix100a pedestals --run 137 --by panel -o drift.svg

    Exit codes: 3 no such version, detector or type, 5 no array, or no plot of that name.
    """
    from calstore.errors import Invalid
    from calstore.report.drift import drift_json, drift_plot, drift_rows
    from calstore.repository.drift import drift_over_records, drift_over_runs

    if by not in ("", "panel"):
        raise Invalid(f"--by {by!r} is not known; write --by panel")
    if output is not None and output.suffix != ".svg":
        raise Invalid(f"{output} is no plot; name it FILE.svg")
    store = opened(context)
    points: list[Point] = list(
        drift_over_runs(store[ref], detector, type_name)
        if run is None
        else drift_over_records(store, ref, detector, type_name, run)
    )
    if output is not None:
        from calstore.repository.files import write_file

        write_file(output, drift_plot(points, type_name).encode())
    if as_json:
        document: dict[str, Any] = drift_json(points, run)
        emit_json(document)
        return
    typer.echo(table(drift_rows(points, by_panel=by == "panel")))
