"""calstore runs tag, flag and list."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from calstore.cli.context import (
    JsonOption,
    MessageOption,
    emit_json,
    opened,
    printable,
    table,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from calstore.model.records import Record
    from calstore.report.runs import MarkedRuns

ExperimentArgument = Annotated[str, typer.Argument(metavar="EXPERIMENT", help="As xppn4116.")]
RunArgument = Annotated[int, typer.Argument(metavar="RUN", min=0, help="The run.")]

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def runs() -> None:
    """Say which runs are dark, why, and which are flawed; list what was said.

    No data are read or changed. What was said before stays in the history of the run.

    Example: calstore runs list xppn4116 --dark

    Exit codes: 3 nothing is known of the run, 5 a dark without a reason.
    """


@app.command()
def tag(
    context: typer.Context,
    experiment: ExperimentArgument,
    run: Annotated[
        int | None, typer.Argument(metavar="[RUN]", min=0, help="The run, taken or planned.")
    ] = None,
    is_next: Annotated[
        bool, typer.Option("--next", help="The run after the newest that is known.")
    ] = False,
    dark: Annotated[
        bool | None, typer.Option("--dark/--not-dark", help="Whether the run is a dark.")
    ] = None,
    reason: Annotated[
        str | None,
        typer.Option(
            "--reason",
            metavar="TEXT",
            help="power-cycled, temperature, opportunistic, image-looks-wrong, or your own words.",
        ),
    ] = None,
    detectors: Annotated[
        list[str] | None,
        typer.Option("--detector", metavar="D", help="Of which detectors; all if not given."),
    ] = None,
    valid: Annotated[
        str | None,
        typer.Option("--valid", metavar="RUNS", help="For which runs the dark is meant: 12-end."),
    ] = None,
    comment: Annotated[str | None, typer.Option("--comment", metavar="TEXT")] = None,
    message: MessageOption = "",
) -> None:
    """Say that a run is a dark, and why; before it is taken or after.

    What is not said again stays as it was. calstore dark uses the reason for its message and
    --valid for its range. No constants are made.

    Example: calstore runs tag xppn4116 137 --dark --reason power-cycled

    Exit codes: 3 no run is known, so neither is the next, 5 a dark without a reason.
    """
    from calstore.cli.identity import stamp
    from calstore.errors import Invalid
    from calstore.model.runs import RunRange
    from calstore.repository.runs import Told, next_run, tag_run

    store = opened(context)
    if is_next == (run is not None):
        raise Invalid("name the run, or say --next for the one after the newest")
    told = Told(
        dark,
        reason,
        None if detectors is None else tuple(detectors),
        None if valid is None else RunRange.parse(valid),
        comment,
    )
    number = next_run(store, experiment) if run is None else run
    _echo(tag_run(store, experiment, number, told, stamp(message)))


@app.command()
def flag(
    context: typer.Context,
    experiment: ExperimentArgument,
    run: RunArgument,
    flawed: Annotated[
        str, typer.Option("--flawed", metavar="WHY", help="What is wrong with the run.")
    ] = "",
    sound: Annotated[
        bool, typer.Option("--not-flawed", help="Nothing is wrong with it after all.")
    ] = False,
    message: MessageOption = "",
) -> None:
    """Say what is wrong with a run, so that no dark is made from it unasked.

    Constants that were made from it already stay.

    Example: calstore runs flag xppn4116 137 --flawed 'shutter was open'

    Exit codes: 5 neither a reason nor --not-flawed.
    """
    from calstore.cli.identity import stamp
    from calstore.errors import Invalid
    from calstore.repository.runs import flag_run

    if sound == bool(flawed.strip()):
        raise Invalid("say what is wrong: --flawed WHY; or --not-flawed")
    _echo(flag_run(opened(context), experiment, run, flawed, stamp(message)))


@app.command("list")
def list_(
    context: typer.Context,
    experiment: ExperimentArgument,
    dark: Annotated[bool, typer.Option("--dark", help="Only darks.")] = False,
    flawed: Annotated[bool, typer.Option("--flawed", help="Only flawed runs.")] = False,
    planned: Annotated[
        bool, typer.Option("--planned", help="Only runs whose data are not there yet.")
    ] = False,
    reason: Annotated[
        str | None, typer.Option("--reason", metavar="TEXT", help="Only of this reason.")
    ] = None,
    detector: Annotated[
        str | None, typer.Option("--detector", metavar="D", help="Only what concerns it.")
    ] = None,
    within: Annotated[
        str | None, typer.Option("--runs", metavar="RUNS", help="Only these: 100-200.")
    ] = None,
    history: Annotated[
        int | None, typer.Option("--history", metavar="RUN", help="All that was said of a run.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List what was said of an experiment's runs.

    A run is planned where the data directory is visible and has no such run. The filters are
    applied together.

    Example: calstore runs list xppn4116 --dark --runs 100-200

    Exit codes: 3 nobody said anything of the run of --history.
    """
    from calstore.model.runs import RunRange
    from calstore.report.runs import Wanted, marked_runs, runs_json

    span = RunRange.parse(within) if within else None
    wanted = Wanted(dark, flawed, planned, reason, detector, span, history)
    runs = marked_runs(opened(context), experiment, wanted)
    if as_json:
        emit_json(runs_json(runs))
    elif runs.found:
        typer.echo(table(list(_rows(runs))))


def _rows(runs: MarkedRuns) -> Iterable[tuple[str, ...]]:
    from calstore.report.runs import is_planned

    for run, record, _ in runs.found:
        when = record.stamp.when[:16].replace("T", " ")
        state = "planned" if is_planned(run, runs.taken) else ""
        yield str(run), state, record.what, str(record.stamp.who), when, record.stamp.why


def _echo(record: Record) -> None:
    typer.echo(f"{record.name}  {printable(record.what)}")
