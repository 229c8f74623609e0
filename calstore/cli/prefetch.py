"""calstore prefetch."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from calstore.cli.context import (
    complete_ref,
    opened,
    printable,
    size_text,
    warn,
)
from calstore.cli.raw import PsanaOption, contents_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from calstore.repository.prefetch import Gathered
    from calstore.repository.version import Version

_EVERY_S = 2.0


def prefetch(
    context: typer.Context,
    ref: Annotated[
        str,
        typer.Argument(
            metavar="REF",
            help="A version, as mfx101332224/main or mfx101332224=xxh128:…",
            autocompletion=complete_ref,
        ),
    ],
    run: Annotated[int, typer.Argument(metavar="RUN", min=0, help="The run.")],
    to: Annotated[Path, typer.Option("--to", metavar="FILE", help="What to write.")] = Path(
        "/dev/shm/calibconst.pkl"
    ),
    files: Annotated[
        list[str] | None,
        typer.Option(
            "--from",
            metavar="FILE|RUN",
            help="Data, or another run, with the detectors; if not given, the run's own data.",
        ),
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", help="Write it anew whenever REF moves.")
    ] = False,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Go on where a detector has no constants.")
    ] = False,
    psana_python: PsanaOption = "",
) -> None:
    """Write the file that psana 2 and AMI read constants from, with use_calib_cache=True.

    It holds what the run gets of the version, for all detectors that the data have; psana takes
    it from /dev/shm/calibconst.pkl, for any run with these detectors. It is replaced whole. A
    file of anybody else is left alone. No service is needed.

    Example: calstore prefetch mfx101332224/main 12

    Example: calstore prefetch mfx101332224/main 13 --from 12 --follow

    Exit codes: 3 no such version or run, or no constants for a detector, 4 the file is not
    calstore's, 5 data without detectors of LCLS-II.
    """
    from calstore.cli.serve import shown_of
    from calstore.errors import Invalid, NotFound

    store = opened(context)
    experiment, name = shown_of(store, ref)
    unique_ids = contents_of(context, _what(experiment, run, files or []), psana_python).unique_ids
    if not unique_ids:
        raise Invalid("the data are not of LCLS-II, whose psana alone reads such a file")

    def written(version: Version) -> tuple[Gathered, int]:
        return _written(version, experiment, run, unique_ids, to, allow_missing=allow_missing)

    version = store[name]
    done = written(version)
    _say(version, done, to)
    while follow:
        time.sleep(_EVERY_S)
        newest = store[name]
        if newest.digest != version.digest:
            version = newest
            try:
                _say(version, written(version), to)
            except NotFound as error:
                warn(f"{to} stays as it was: {error}")


def _what(experiment: str, run: int, files: list[str]) -> list[str]:
    if not files:
        return [experiment, str(run)]
    if len(files) == 1 and files[0].isdecimal() and not Path(files[0]).exists():
        return [experiment, files[0]]
    return files


def _written(
    version: Version,
    experiment: str,
    run: int,
    unique_ids: Mapping[str, str],
    to: Path,
    *,
    allow_missing: bool,
) -> tuple[Gathered, int]:
    from calstore.cli.identity import stamp
    from calstore.errors import CalstoreError
    from calstore.repository.prefetch import gather, prefetch, record_prefetch

    gathered = gather(version, run, unique_ids, allow_missing=allow_missing)
    size = prefetch(version, run, unique_ids, gathered, to)
    try:
        record_prefetch(version, experiment, run, gathered, to, stamp())
    except CalstoreError as error:
        warn(f"the use is not recorded: {error}")
    return gathered, size


def _say(version: Version, done: tuple[Gathered, int], to: Path) -> None:
    gathered, size = done
    typer.echo(f"{printable(str(to))}  {version.name}  {version.digest}  {size_text(size)}")
    for name, types in gathered.given.items():
        typer.echo(printable(f"  {name}: {', '.join(types)}"))
    for unique in gathered.missing:
        warn(f"nothing for {unique}")
    for told in gathered.withheld:
        warn(f"not for the panels of this run, so not given: {told}")
    for stale in sorted(to.absolute().parent.glob("*_calibc_cache.pkl")):
        warn(f"{stale} keeps psana's maps of a geometry, which may be another; remove it")
