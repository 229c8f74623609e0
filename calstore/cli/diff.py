"""calstore diff."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from calstore.cli.context import JsonOption, emit_json, opened, printable, progress_of, table

if TYPE_CHECKING:
    from calstore.model.manifests import Detector
    from calstore.model.records import Record
    from calstore.repository.diff import Differences
    from calstore.repository.store import Store
    from calstore.repository.version import Version
    from calstore.views.course import Winner
    from calstore.views.difference import ConstantDifference, Effect

_SIGNS = {"added": "+", "removed": "-", "changed": "~", "moved": ">", "provenance": "="}


def diff(
    context: typer.Context,
    before: Annotated[
        str, typer.Argument(metavar="A", help="A version (as REF, REF@7, xxh128:…) or a directory.")
    ],
    after: Annotated[str, typer.Argument(metavar="B", help="The same, to compare with it.")],
    detector: Annotated[
        str | None, typer.Argument(metavar="[D]", help="A detector: its source or a part of it.")
    ] = None,
    type_name: Annotated[
        str | None, typer.Argument(metavar="[T]", help="A calibration type.")
    ] = None,
    run: Annotated[
        int | None, typer.Option("--run", min=0, help="Only what this run gets.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Tell how B differs from A: constants, the panels in them, and the runs that notice.

    + added, - removed, ~ changed, > moved to other runs, = the same content with another
    provenance. Contents are compared by their digests; no value is read. A directory is told from
    a ref by its first letter, '.' or '/': write ./calib. It is hashed and not stored.

    Example: calstore diff xppn4116/main@3 xppn4116/main
    Example: calstore diff xppn4116/main ./calib Epix100a --run 137

    Exit codes: 0 no difference, 1 some, 3 no such version, directory or detector, 5 a file of the
    directory cannot be read, 6 a manifest is damaged.
    """
    from calstore.repository.diff import diff as compare

    store = opened(context)
    progress = progress_of("diff", quiet=as_json)
    found = compare(
        _side(store, before, progress),
        _side(store, after, progress),
        detector=detector,
        type_name=type_name,
        run=run,
    )
    if as_json:
        emit_json(_document(found, run))
    else:
        _print(found, run)
    if found:
        raise typer.Exit(1)


def _side(store: Store, text: str, progress: Callable[[int, int], None]) -> Version:
    from calstore.errors import Invalid
    from calstore.repository.diff import version_of

    if text.startswith((".", "/")):
        return version_of(store, Path(text), progress)
    try:
        return store[text]
    except Invalid:
        if not text or not Path(text).is_dir():
            raise
        raise Invalid(f"{text!r} is no version; for the directory write ./{text}") from None


def _print(found: Differences, run: int | None) -> None:
    from calstore.repository.diff import origins_of

    if found:
        for side in (found.before, found.after):
            typer.echo(printable(f"{side.name}  {side.digest.short}"))
    rows = [
        (*_row(difference), _remark(found, difference, origin))
        for difference, (_, origin) in zip(found.constants, origins_of(found), strict=True)
    ]
    rows += [(_sign(file.before, file.after), "", "", file.path, "", "") for file in found.files]
    if rows:
        typer.echo(table(rows))
    if run is None:
        for detector, type_name in _touched(found):
            for effect in _effects(found, detector, type_name):
                if not _is_said(effect):
                    got, gets = _gets(effect.before), _gets(effect.after)
                    line = f"runs {effect.runs} of {detector[1]} {type_name}: {got} → {gets}"
                    typer.echo(printable(line))


def _is_said(effect: Effect) -> bool:
    """Whether the line of a changed constant says it already: its runs, and no others."""
    if effect.before is None or effect.after is None:
        return False
    runs = effect.after[0]
    return effect.before[0] == runs and (effect.first, effect.last) == (runs.first, runs.last)


def _row(difference: ConstantDifference) -> tuple[str, ...]:
    here = difference.after or difference.before
    assert here is not None
    runs = str(here[0])
    if difference.before is not None and difference.before[0] != here[0]:
        runs = f"{difference.before[0]} → {runs}"
    source, sign = difference.detector[1], _SIGNS[difference.kind]
    digest = here[1].content.digest.short
    return sign, source, difference.type_name, runs, digest


def _remark(found: Differences, difference: ConstantDifference, origin: Record | None) -> str:
    from calstore.repository.diff import differing_panels

    words = []
    if difference.kind == "changed":
        panels = differing_panels(found.before, found.after, difference)
        words.append(_panels_text(difference, panels))
    elif difference.kind == "provenance":
        words.append(_provenance_text(difference))
    if origin is not None and difference.kind != "moved":
        words.append(f"since {origin.name} by {origin.stamp.who}: {origin.what}")
    return "; ".join(words)


def _panels_text(difference: ConstantDifference, panels: tuple[int, ...] | None) -> str:
    """Which panels differ, as indices of the leading axes, or why that cannot be said."""
    import math

    from calstore.model.arrays import ArrayReference, panels_of

    assert difference.before is not None
    assert difference.after is not None
    contents = difference.before[1].content, difference.after[1].content
    if panels is None:
        kinds = [
            f"{content.dtype} {'×'.join(map(str, content.shape)) or 'scalar'}"
            if isinstance(content, ArrayReference)
            else "a file"
            for content in contents
        ]
        return " → ".join(kinds) if kinds[0] != kinds[1] else "another file"
    array = contents[1]
    assert isinstance(array, ArrayReference)
    count = panels_of(array.dtype, array.shape).count
    lead = array.shape[:-2]
    if count == 1:
        return ""
    if math.prod(lead) == count:
        shown = [_index(number, lead) for number in panels[:4]]
    else:
        shown = [str(number) for number in panels[:4]]
    more = f" and {len(panels) - 4} more" if len(panels) > 4 else ""
    return f"{len(panels)} of {count} panels: {', '.join(shown)}{more}"


def _index(number: int, lead: tuple[int, ...]) -> str:
    place = []
    for length in reversed(lead):
        number, index = divmod(number, length)
        place.append(str(index))
    return f"[{', '.join(reversed(place))}]"


def _provenance_text(difference: ConstantDifference) -> str:
    assert difference.before is not None
    assert difference.after is not None
    one, other = difference.before[1], difference.after[1]
    said = []
    if one.serials != other.serials:
        mine, theirs = (" ".join(side.serials) or "not said" for side in (one, other))
        said.append(f"panels {mine} → {theirs}")
    if one.name != other.name:
        said.append(f"file {one.name or 'canonical'} → {other.name or 'canonical'}")
    if one.source != other.source:
        said.append("the file says the same in other bytes")
    return ", ".join(said)


def _touched(found: Differences) -> Iterator[tuple[Detector, str]]:
    """The types of which runs may notice something."""
    yield from dict.fromkeys(
        (each.detector, each.type_name) for each in found.constants if each.kind != "provenance"
    )


def _effects(found: Differences, detector: Detector, type_name: str) -> tuple[Effect, ...]:
    from calstore.repository.diff import effects_of

    return effects_of(found.before, found.after, detector, type_name)


def _gets(winner: Winner) -> str:
    return "nothing" if winner is None else f"{winner[0]} ({winner[1].content.digest.short})"


def _sign(before: object, after: object) -> str:
    return "+" if before is None else "-" if after is None else "~"


def _document(found: Differences, run: int | None) -> dict[str, Any]:
    from calstore.repository.diff import origins_of

    return {
        "after": {"manifest": str(found.after.digest), "name": found.after.name},
        "before": {"manifest": str(found.before.digest), "name": found.before.name},
        "constants": [
            _constant_json(found, each, origins)
            for each, origins in zip(found.constants, origins_of(found), strict=True)
        ],
        "effects": []
        if run is not None
        else [
            {
                "after": _winner_json(effect.after),
                "before": _winner_json(effect.before),
                "group": detector[0],
                "runs": effect.runs,
                "source": detector[1],
                "type": type_name,
            }
            for detector, type_name in _touched(found)
            for effect in _effects(found, detector, type_name)
        ],
        "files": [
            {
                "after": None if file.after is None else str(file.after.digest),
                "before": None if file.before is None else str(file.before.digest),
                "path": file.path,
            }
            for file in found.files
        ],
        "run": run,
    }


def _constant_json(
    found: Differences, each: ConstantDifference, origins: tuple[Record | None, Record | None]
) -> dict[str, Any]:
    from calstore.repository.diff import differing_panels

    panels = None
    if each.kind == "changed":
        panels = differing_panels(found.before, found.after, each)
    return {
        "after": _winner_json(each.after),
        "before": _winner_json(each.before),
        "group": each.detector[0],
        "kind": each.kind,
        "panels": None if panels is None else list(panels),
        "records": [None if record is None else record.name for record in origins],
        "source": each.detector[1],
        "type": each.type_name,
    }


def _winner_json(winner: Winner) -> dict[str, Any] | None:
    if winner is None:
        return None
    runs, constant = winner
    return {
        "digest": str(constant.content.digest),
        "runs": str(runs),
        "serials": list(constant.serials),
        "verbatim": None if constant.source is None else str(constant.source.digest),
    }
