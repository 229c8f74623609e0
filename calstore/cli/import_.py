"""calstore import."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from calstore.cli.context import (
    JsonOption,
    MessageOption,
    emit_json,
    named,
    opened,
    progress_of,
    size_text,
    warn,
)
from calstore.cli.import_service import PREFIX, import_service

if TYPE_CHECKING:
    from calstore.repository.store import Store


def import_(
    context: typer.Context,
    tree: Annotated[
        Path,
        typer.Argument(
            metavar="DIR|EXPERIMENT|cdb:EXPERIMENT",
            help="A calib directory, or whose it is; cdb: for psana 2's service.",
        ),
    ],
    ref: Annotated[
        str | None,
        typer.Argument(metavar="[REF]", help="A ref; of an experiment by default its main."),
    ] = None,
    message: MessageOption = "",
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse a tree with any problem.")
    ] = False,
    leave_out: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN", help="Also leave out names like this; may be repeated."),
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(
            "--url", help="With cdb: the service's address; if not given, LCLS_CALIB_HTTP."
        ),
    ] = None,
    detectors: Annotated[
        list[str] | None,
        typer.Option(
            "--detector",
            metavar="UNIQUE-ID",
            help="With cdb: one that has nothing but fall-backs; may be repeated.",
        ),
    ] = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print nothing when nothing changed.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Make REF hold what a calib directory holds; the directory is only read.

    Every file is kept, byte for byte. A version is added only if something changed since the
    last import, so a cron line is a history. What psana would stumble over is reported. A bare
    name that is no directory here is an experiment, whose calib directory the store knows (see:
    calstore config).

    cdb:EXPERIMENT is what psana 2's calibration service has: each deposit becomes a record, so
    that what was superseded stays; then come the detectors' fall-backs that psana would take today,
    for runs and types that the experiment has not. Again, it adds what is new.

    Example: calstore import xppn4116

    Example: calstore import cdb:mfx101332224 --url http://calib.example/ws

    Example: calstore import /sdf/data/lcls/ds/xpp/xppn4116/calib xppn4116/main -m "as found"

    Exit codes: 3 no store or no directory, 4 REF or a file changed meanwhile, 5 a tree that
    cannot be taken.
    """
    from calstore.cli.identity import stamp
    from calstore.formats.calib_tree import LEFT_OUT
    from calstore.repository.import_tree import import_tree

    store = opened(context)
    if str(tree).startswith(PREFIX):
        experiment = str(tree).removeprefix(PREFIX)
        ref = ref or f"{experiment}/main"
        how = {"quiet": quiet, "as_json": as_json}
        import_service(store, experiment, ref, url=url, detectors=detectors or (), **how)
        return
    tree, ref = _places(store, tree, ref)
    imported = import_tree(
        store,
        tree,
        ref,
        stamp(message),
        strict=strict,
        leave_out=(*LEFT_OUT, *(leave_out or ())),
        progress=progress_of("import", quiet=quiet or as_json),
    )
    if as_json:
        from calstore.report.records import record_json

        emit_json(
            {
                "bytes": imported.size,
                "changed": imported.changed,
                "constants": imported.constants,
                "files": imported.files,
                "left_out": list(imported.left_out),
                "problems": [
                    {
                        "consequence": problem.remark.consequence,
                        "path": problem.path,
                        "what": problem.remark.what,
                    }
                    for problem in imported.problems
                ],
                "record": record_json(imported.record),
                "shadowed": list(imported.shadowed),
            }
        )
        return
    if imported.changed or not quiet:
        for problem in imported.problems:
            warn(str(problem))
        for shadow in imported.shadowed:
            warn(shadow)
        if imported.left_out:
            warn(f"left out by rule: {', '.join(imported.left_out)}")
        said = "" if imported.changed else "  unchanged"
        typer.echo(
            f"{named(imported.record)}  {imported.constants} constants, "
            f"{imported.files} other files, {size_text(imported.size)}{said}"
        )


def _places(store: Store, tree: Path, ref: str | None) -> tuple[Path, str]:
    """The directory and the ref that the arguments mean."""
    from calstore.errors import Invalid
    from calstore.repository.settings import calib_dir, is_experiment

    name = str(tree)
    if is_experiment(name) and (ref is None or not os.path.isdir(tree)):  # noqa: PTH112
        return calib_dir(store, name), ref or f"{name}/main"
    if ref is None:
        raise Invalid(f"{tree} is no name of an experiment, so name the ref as well: {tree} REF")
    return tree, ref
