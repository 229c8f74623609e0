"""calstore materialize."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from calstore.cli.context import (
    JsonOption,
    VersionArgument,
    emit_json,
    opened,
    printable,
    progress_of,
    warn,
)

if TYPE_CHECKING:
    from calstore.repository.read_back import Difference
    from calstore.repository.store import Store
    from calstore.repository.version import Version
    from calstore.views.plan import Layout
    from calstore.views.selection import Selection
    from calstore.views.write import Change


def materialize(
    context: typer.Context,
    ref: VersionArgument,
    dest: Annotated[
        Path | None,
        typer.Argument(
            metavar="[DEST]",
            help="A directory, new or there; by default the experiment's calib directory.",
        ),
    ] = None,
    layout: Annotated[
        str,
        typer.Option(
            help="psana; version for <calib-version>/<source>/…; npy for arrays as .npy.",
            metavar="LAYOUT",
        ),
    ] = "psana",
    only: Annotated[
        tuple[str, str] | None,
        typer.Option(metavar="D T", help="Only this detector and type; T may be 'all'."),
    ] = None,
    run: Annotated[int | None, typer.Option(min=0, help="Only what this run gets.")] = None,
    for_: Annotated[
        str | None, typer.Option("--for", metavar="ami", help="Make sure that AMI reads it too.")
    ] = None,
    generations: Annotated[
        int | None,
        typer.Option(min=1, metavar="K", help="Switch DEST, a link, at once; keep K of them."),
    ] = None,
    discard: Annotated[
        bool, typer.Option("--discard", help="Overwrite what somebody changed in DEST.")
    ] = False,
    approved: Annotated[
        bool, typer.Option("--approved", help="The newest version of REF that is approved.")
    ] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read DEST back afterwards; compare with the store.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Make DEST a directory that psana reads, from a version.

    A new DEST appears at once; one that is there is updated file by file, and what other tools
    put there stays. Nothing is touched if a file that would be is not as calstore left it. Only
    a ref of an experiment has a DEST by default (see: calstore config); a sandbox has none.

    Example: calstore materialize xppn4116/main ./calib

    Exit codes: 1 with --verify, readers get something else than the version says, 3 no such
    version, 4 DEST is not as calstore left it, 5 AMI or psana could not read it, 6 a constant is
    damaged.
    """
    from calstore.errors import Invalid
    from calstore.repository.materialize import materialize as make
    from calstore.repository.read_back import read_back
    from calstore.views.plan import LAYOUTS

    if layout not in LAYOUTS:
        raise Invalid(f"there is no layout {layout!r}; choose one of {', '.join(LAYOUTS)}")
    if for_ not in (None, "ami"):
        raise Invalid(f"views can be made for ami, not for {for_!r}")
    store = opened(context)
    version = store.version(ref, approved=approved)
    dest = dest or _calib_dir(store, version)
    selection = _selection(version, only, run)
    change = make(
        store,
        version,
        dest,
        layout=layout,
        selection=selection,
        for_ami=for_ == "ami",
        discard=discard,
        generations=generations,
        progress=progress_of("materialize", quiet=as_json),
    )
    _warn_of(change, dest, layout)
    differences = None
    if verify:
        differences = read_back(
            version, dest, layout=layout, selection=selection, for_ami=for_ == "ami"
        )
    if as_json:
        emit_json(_document(version, dest, layout, change, differences))
    else:
        typer.echo(
            f"{dest}  {version.name}  {len(change.written)} files written, "
            f"{len(change.removed)} removed, {change.unchanged} unchanged"
            + (", read back" if verify else "")
        )
        for remark in change.remarks:
            if not remark.is_warning:
                typer.echo(f"  {printable(str(remark))}")
        for one in differences or ():
            typer.echo(f"differs  {printable(one.path)}: {printable(one.what)}")
    if differences:
        warn(
            "move away what is not of this version, remove what else differs, and run again with "
            "--discard"
        )
        raise typer.Exit(1)


def _warn_of(change: Change, dest: Path, layout: Layout) -> None:
    for path in change.strangers:
        warn(f"{path} is not of this version, and psana may choose it; see: calstore status {dest}")
    for remark in change.remarks:
        if remark.is_warning:
            warn(str(remark))
    if layout == "version":
        warn(f"psana reads {dest} only when it is given the group of each detector")


def _document(
    version: Version,
    dest: Path,
    layout: Layout,
    change: Change,
    differences: tuple[Difference, ...] | None,
) -> dict[str, Any]:
    return {
        "dest": str(dest),
        "differences": None
        if differences is None
        else [{"path": one.path, "what": one.what} for one in differences],
        "layout": layout,
        "manifest": str(version.digest),
        "remarks": list(map(str, change.remarks)),
        "removed": list(change.removed),
        "strangers": list(change.strangers),
        "unchanged": change.unchanged,
        "version": version.name,
        "written": list(change.written),
    }


def _selection(version: Version, only: tuple[str, str] | None, run: int | None) -> Selection:
    from calstore.errors import NotFound
    from calstore.views.selection import Selection

    if only is None:
        return Selection(run=run)
    key = version.find(only[0])
    types = version.detector(key).types
    if only[1] not in (*types, "all"):
        raise NotFound(f"no {only[1]} for {key[1]}; it has {', '.join(types)}")
    return Selection(key, None if only[1] == "all" else only[1], run)


def _calib_dir(store: Store, version: Version) -> Path:
    from calstore.errors import Invalid
    from calstore.model.names import RefName
    from calstore.repository.settings import calib_dir_of_ref

    if version.record is None:
        raise Invalid(f"{version.name} is a digest, of no experiment; name DEST")
    return calib_dir_of_ref(store, RefName(version.record.log.removeprefix("refs/")))
