"""What commands share: the store, the options, progress and printing."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from calstore.model.records import Record

if TYPE_CHECKING:
    from calstore.repository.store import Store
    from calstore.store.cached import ReadCache

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]
MessageOption = Annotated[
    str, typer.Option("-m", "--message", help="Why; kept in the record.", metavar="TEXT")
]


def opened(context: typer.Context) -> Store:
    """The store that ``--store``, ``$CALSTORE`` or the nearest ``.calstore`` names."""
    return opened_at(location(context))


def opened_at(place: str | Path) -> Store:
    """The store at a path or a URL, with what is kept of reads from afar."""
    from calstore.repository.store import open_store

    return open_store(place, cache=read_cache())


def read_cache() -> ReadCache | None:
    """Where reads from stores behind URLs are kept: ``$CALSTORE_CACHE``; off where it is empty."""
    from calstore.store.cached import ReadCache

    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = os.environ.get("CALSTORE_CACHE", str(Path(home) / "calstore"))
    if not folder:
        return None
    return ReadCache(Path(folder).expanduser(), _cache_limit(), warn)


def _cache_limit() -> int:
    from calstore.errors import Invalid

    text = os.environ.get("CALSTORE_CACHE_GB", "4")
    try:
        limit = float(text)
        if 0 < limit < 1e6:
            return int(limit * 1e9)
    except ValueError:
        pass
    raise Invalid(f"CALSTORE_CACHE_GB={text!r} is no size in GB, such as 4")


def location(context: typer.Context) -> str | Path:
    """Where the store is; see `opened`."""
    from calstore.repository.store import find_store

    named: str | None = context.find_root().params.get("store") or os.environ.get("CALSTORE")
    return named or find_store(Path.cwd())


def complete_ref(context: typer.Context, incomplete: str) -> list[str]:
    """Names of refs for the shell."""
    from calstore.errors import CalstoreError

    try:
        return [name for name in opened(context) if name.startswith(incomplete)]
    except CalstoreError:
        return []


RefArgument = Annotated[
    str,
    typer.Argument(metavar="REF", help="A ref, as xppn4116/main.", autocompletion=complete_ref),
]
VersionArgument = Annotated[
    str,
    typer.Argument(
        metavar="REF",
        help="A ref, a record of it (xppn4116/main@7) or a digest (xxh128:…).",
        autocompletion=complete_ref,
    ),
]
DetectorArgument = Annotated[
    str, typer.Argument(metavar="D", help="The detector's source, or a unique part of it.")
]
TypeArgument = Annotated[str, typer.Argument(metavar="T", help="The calibration type.")]
AnyDetectorArgument = Annotated[
    str | None,
    typer.Argument(metavar="[D]", help="One detector: its source or a part of it."),
]
AnyTypeArgument = Annotated[
    str | None, typer.Argument(metavar="[T]", help="One calibration type of it.")
]
AnyRunOption = Annotated[int | None, typer.Option("--run", min=0, help="Only what this run gets.")]
RunsArgument = Annotated[str, typer.Argument(metavar="RUNS", help="As 5-20, 137-137 or 137-end.")]


def emit_json(document: Any) -> None:
    """Print a document for machines."""
    typer.echo(json.dumps(document, indent=2))


def approval_text(approval: Record) -> str:
    """What people read of an approval; nobody signed it, so the name is a claim."""
    stamp = approval.stamp
    when = stamp.when[:16].replace("T", " ")
    return printable(f"{approval.status} by {stamp.who} (name claimed), {when}: {stamp.why}")


def named(record: Record) -> str:
    """What the next command needs: the record's name and its digest."""
    digest = "deleted" if record.manifest is None else record.manifest.digest.short
    return f"{record.name}  {digest}"


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows in columns, two blanks apart."""
    if not rows:
        return ""
    cells = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    )


def printable(text: str) -> str:
    """The text without anything that a terminal would obey."""
    return text if text.isprintable() else text.encode("unicode_escape").decode()


def size_text(size: int) -> str:
    """A number of bytes as people read it."""
    amount = float(size)
    for unit in ("B", "kB", "MB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} GB"


def progress_of(verb: str, *, quiet: bool = False) -> Callable[[int, int], None]:
    """Shows how far a long verb is, on a terminal; nothing in a pipe."""
    if quiet or not sys.stderr.isatty():
        return lambda done, total: None
    started = time.monotonic()
    shown = 0.0

    def show(done: int, total: int) -> None:
        nonlocal shown
        now = time.monotonic()
        if now - started < 0.5 or (now - shown < 0.1 and done < total):
            return
        shown = now
        part = 100 * done // total if total else 100
        end = "\r\033[K" if done >= total else ""
        typer.echo(f"\r{verb} {part:3d} %{end}", err=True, nl=False)

    return show


def warn(text: str) -> None:
    """Say on stderr what the user should know although the command goes on."""
    typer.echo(f"warning: {printable(text)}", err=True)
