"""calstore import cdb:EXPERIMENT."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import typer

from calstore.cli.context import emit_json, named, progress_of, warn

if TYPE_CHECKING:
    from calstore.repository.store import Store

PREFIX: Final = "cdb:"


def import_service(
    store: Store,
    experiment: str,
    ref: str,
    *,
    url: str | None,
    detectors: Sequence[str],
    quiet: bool,
    as_json: bool,
) -> None:
    """Add what psana 2's service has for an experiment, and print what came of it."""
    from calstore.cli.identity import stamp
    from calstore.errors import Invalid
    from calstore.formats.calib_service import CalibService
    from calstore.repository import import_service as verb
    from calstore.repository.settings import is_experiment

    if not is_experiment(experiment):
        raise Invalid(f"{experiment!r} is no name of an experiment; write cdb:mfx101332224")
    where = url or os.environ.get("LCLS_CALIB_HTTP")
    if not where:
        raise Invalid("which service? Name it: --url http://HOST:PORT/ws, or LCLS_CALIB_HTTP")
    done = verb.import_service(
        store,
        CalibService(where),
        experiment,
        ref,
        stamp,
        detectors=detectors,
        progress=progress_of("import", quiet=quiet or as_json),
    )
    if as_json:
        from calstore.report.records import record_json

        emit_json(
            {
                "documents": done.documents,
                "fall_backs": done.fall_backs,
                "known": done.known,
                "problems": list(done.problems),
                "record": None if done.newest is None else record_json(done.newest),
                "records": [record.name for record in done.records],
            }
        )
        return
    for problem in done.problems:
        warn(f"left out: {problem}")
    if done.newest is None or (quiet and not done.records):
        return
    count = f"{done.documents} new documents in {len(done.records)} records"
    also = f", {done.fall_backs} of them fall-backs" if done.fall_backs else ""
    said = f"{count}{also}" if done.records else "unchanged"
    typer.echo(f"{named(done.newest)}  {said}, {done.known} known before")
