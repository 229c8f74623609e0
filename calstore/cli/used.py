"""calstore used."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from calstore.cli.context import JsonOption, emit_json, opened, printable
from calstore.cli.runs import ExperimentArgument, RunArgument

if TYPE_CHECKING:
    from calstore.model.records import Record


def used(
    context: typer.Context,
    experiment: ExperimentArgument,
    run: RunArgument,
    as_json: JsonOption = False,
) -> None:
    """Tell which constants programs were given for a run, to whom and when.

    What calstore run, serve and prefetch gave is known; views and copies are not.

    Example: calstore used mfx101332224 12

    Exit codes: 3 nothing was given.
    """
    from calstore.repository.uses import uses_of

    records = uses_of(opened(context), experiment, run)
    if as_json:
        from calstore.report.records import uses_json

        emit_json(uses_json(experiment, run, records))
        return
    for record in records:
        _echo(record)


def _echo(record: Record) -> None:
    from calstore.repository.uses import version_of

    use, stamp, manifest = record.use, record.stamp, record.manifest
    assert use is not None
    assert manifest is not None
    when = stamp.when[:16].replace("T", " ")
    by = f"  {use.command}" if use.command else ""
    typer.echo(printable(f"{when}  {stamp.who} for {use.client}{by}"))
    named = dict.fromkeys((version_of(record), str(manifest.digest)))
    typer.echo(printable(f"  {'  '.join(named)}"))
    for source, names in use.given.items():
        typer.echo(printable(f"  {source}: {', '.join(names)}"))
    for unique in use.missing:
        typer.echo(printable(f"  nothing for {unique}"))
