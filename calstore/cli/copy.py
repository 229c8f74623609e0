"""calstore copy."""

from __future__ import annotations

from typing import Annotated

import typer

from calstore.cli.context import (
    DetectorArgument,
    MessageOption,
    VersionArgument,
    complete_ref,
    named,
    opened,
)


def copy(
    context: typer.Context,
    ref: VersionArgument,
    detector: DetectorArgument,
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="[T] TO",
            help="The calibration type, all without it; and the ref that gets the constants.",
            autocompletion=complete_ref,
        ),
    ],
    runs: Annotated[
        str | None,
        typer.Option("--runs", metavar="RUNS", help="Only to these runs, as 5-20 or 137-end."),
    ] = None,
    from_run: Annotated[
        int | None,
        typer.Option(
            "--from-run", metavar="N", min=0, help="All of --runs get what run N gets in REF."
        ),
    ] = None,
    as_source: Annotated[
        str | None,
        typer.Option("--as", metavar="SOURCE", help="The detector's source in TO, if another."),
    ] = None,
    message: MessageOption = "",
) -> None:
    """Give runs of TO the constants that REF gives them: from another experiment, or from before.

    Each run that REF has a constant for gets it in TO; every other run of TO keeps what it got.
    Nothing is duplicated. HISTORY files are not copied: calstore show tells where each constant
    comes from. Run numbers of two experiments do not correspond: say --from-run. A TO that is
    not there yet becomes a new ref.

    Example: calstore copy detectors/epix_37/main Epix xppn4116/main --from-run 12 --runs 0-end
    --as XppGon.0:Epix100a.1

    Exit codes: 2 --from-run without --runs, 3 nothing to copy, 5 it does not fit TO's detector.
    """
    from calstore.cli.identity import stamp
    from calstore.model.runs import RunRange
    from calstore.repository.copy import ALL_RUNS, copy_constants

    *types, target = words
    if len(types) > 1:
        raise typer.BadParameter("write REF D T TO for one type, REF D TO for all")
    if from_run is not None and runs is None:
        raise typer.BadParameter("--from-run needs --runs: which runs of TO get what run N gets?")
    moved = copy_constants(
        opened(context),
        ref,
        detector,
        types or None,
        target,
        stamp(message),
        runs=ALL_RUNS if runs is None else RunRange.parse(runs),
        from_run=from_run,
        as_source=as_source,
    )
    if not moved.changed:
        said = "  unchanged"
    else:
        said = "  a new ref" if moved.record.number == 1 else ""
    typer.echo(named(moved.record) + said)
