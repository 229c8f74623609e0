"""calstore used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
        uses = [_use_json(record) for record in records]
        emit_json({"experiment": experiment, "run": run, "uses": uses})
        return
    for record in records:
        _echo(record)


def _use_json(record: Record) -> dict[str, Any]:
    from calstore.repository.uses import version_of

    assert record.use is not None
    assert record.manifest is not None
    who = record.stamp.who
    return {
        "client": record.use.client,
        "command": record.use.command,
        "digest": str(record.manifest.digest),
        "given": {source: list(names) for source, names in record.use.given.items()},
        "missing": list(record.use.missing),
        "number": record.number,
        "version": version_of(record),
        "when": record.stamp.when,
        "who": {"claimed": who.claimed, "host": who.host, "uid": who.uid, "user": who.user},
    }


def _echo(record: Record) -> None:
    from calstore.repository.uses import version_of

    use, stamp, manifest = record.use, record.stamp, record.manifest
    assert use is not None
    assert manifest is not None
    when = stamp.when[:16].replace("T", " ")
    by = f"  {use.command}" if use.command else ""
    typer.echo(printable(f"{when}  {stamp.who} for {use.client}{by}"))
    typer.echo(printable(f"  {version_of(record)}  {manifest.digest}"))
    for source, names in use.given.items():
        typer.echo(printable(f"  {source}: {', '.join(names)}"))
    for unique in use.missing:
        typer.echo(printable(f"  nothing for {unique}"))
