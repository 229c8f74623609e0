"""What push, pull, clone and mirror print of a transfer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from calstore.cli.context import emit_json, named, size_text, warn

if TYPE_CHECKING:
    from calstore.repository.gap import Divergence, Gap
    from calstore.repository.store import Store
    from calstore.repository.transfer import Carried

UrlArgument = Annotated[
    str, typer.Argument(metavar="URL", help="Another store: s3://bucket/prefix, or a directory.")
]


AsOption = Annotated[
    str | None,
    typer.Option(
        "--as", metavar="NEW", help="Copy one version alone, without history, under this name."
    ),
]


def summary(carried: Carried) -> str:
    """What was copied, in a line."""
    copied = f"{carried.objects} objects ({size_text(carried.size)}) copied"
    return copied + (f", {carried.skipped} were there" if carried.skipped else "")


def newest(gap: Gap) -> str:
    """A ref's newest record where it was copied to, and how many of them are new."""
    name, new = gap.log.removeprefix("refs/"), len(gap.missing)
    said = f"{new} new record{'s' if new > 1 else ''}" if new else "unchanged"
    return f"{name}@{max(gap.newest, gap.there)}  {said}"


def print_carried(carried: Carried, *, as_json: bool) -> None:
    """Print what a push or a pull of one ref did."""
    if as_json:
        emit_json(carried_json(carried))
        return
    warn_left(carried)
    typer.echo(f"{newest(carried.gaps[0])}  {summary(carried)}")


def copy_alone(
    source: Store,
    version: str,
    to: Store,
    new: str,
    message: str,
    progress: Callable[[int, int], None],
    *,
    as_json: bool,
) -> None:
    """Copy one version under another name, and print it."""
    from calstore.cli.identity import stamp
    from calstore.repository.push import copy_version

    record, carried = copy_version(source, version, to, new, stamp(message), progress=progress)
    if as_json:
        emit_json({**carried_json(carried), "record": record.name})
        return
    warn_left(carried)
    typer.echo(f"{named(record)}  {summary(carried)}")


def warn_left(carried: Carried) -> None:
    """Say which logs were left as they are, and which refs are farther on the other side."""
    for each in carried.left:
        warn(two_ways(each))
    for gap in carried.gaps:
        if gap.there > gap.newest:
            name = gap.log.removeprefix("refs/")
            warn(f"{name} has {gap.there - gap.newest} records more where it was copied to")


def two_ways(divergence: Divergence) -> str:
    """That a log went on in two ways."""
    return (
        f"{divergence.log} went on in two ways from @{divergence.number} on, and is left as it is"
    )


def carried_json(carried: Carried) -> dict[str, Any]:
    """A transfer as ``schemas/transfer.json`` describes it."""
    return {
        "bytes": carried.size,
        "left": [{"log": each.log, "number": each.number} for each in carried.left],
        "objects": carried.objects,
        "records": carried.records,
        "refs": [
            {
                "name": gap.log.removeprefix("refs/"),
                "new": len(gap.missing),
                "source": gap.newest,
                "there": max(gap.newest, gap.there),
            }
            for gap in carried.gaps
        ],
        "skipped": carried.skipped,
    }
