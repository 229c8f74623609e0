"""calstore diff."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from calstore.cli.context import (
    AnyDetectorArgument,
    AnyRunOption,
    AnyTypeArgument,
    JsonOption,
    emit_json,
    opened,
    printable,
    progress_of,
    table,
)

if TYPE_CHECKING:
    from calstore.model.arrays import ArrayReference
    from calstore.model.digest import Reference
    from calstore.model.manifests import Detector
    from calstore.model.records import Record
    from calstore.repository.diff import Differences
    from calstore.repository.diff_numbers import ConstantNumbers
    from calstore.repository.store import Store
    from calstore.repository.version import Version
    from calstore.views.course import Winner
    from calstore.views.difference import ConstantDifference, Effect

_SIGNS = {"changed": "~", "added": "+", "removed": "-", "moved": "→", "provenance": "="}
_SUMMED = {"provenance": "of another provenance"}


def diff(
    context: typer.Context,
    before: Annotated[
        str, typer.Argument(metavar="A", help="A version (as REF, REF@7, xxh128:…) or a directory.")
    ],
    after: Annotated[str, typer.Argument(metavar="B", help="The same, to compare with it.")],
    detector: AnyDetectorArgument = None,
    type_name: AnyTypeArgument = None,
    run: AnyRunOption = None,
    numbers: Annotated[
        bool, typer.Option("--numbers", help="Read both values, and tell how far apart they are.")
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option(
            "--report", metavar="FILE.html", help="Write a page with images of A, B and B − A."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Tell how B differs from A: constants, the panels in them, and the runs that notice.

    + added, - removed, ~ changed, → moved to other runs, = the same content with another
    provenance. Contents are compared by their digests; no value is read but with --numbers, which
    tells of each changed constant how many pixels changed and by how much, in its unit and in units
    of the noise, the worst panels, bits gained and lost, elements of a geometry that moved, and the
    recipe. A directory is told from a version by its first letter, '.' or '/': write ./calib. It is
    hashed as an import would and not stored; of a view, only the files that were touched are read.

    Example: calstore diff xppn4116/main@3 xppn4116/main

    Example: calstore diff xppn4116/main ./calib Epix100a --run 137

    Example: calstore diff xppn4116/main@3 xppn4116/main Epix100a pedestals --numbers

    Example: calstore diff xppn4116/main@3 xppn4116/main --report difference.html

    Exit codes: 0 no difference, 1 some, 3 no such version, directory, detector or type, 4 a file
    of the directory is being written, 5 one cannot be read, 6 the store is damaged.
    """
    from calstore.repository.diff import diff as compare

    progress = progress_of("diff", quiet=as_json)
    one, other = _sides(
        opened(context), before, after, progress, with_values=numbers or bool(report)
    )
    found = compare(one, other, detector=detector, type_name=type_name, run=run)
    if report is not None:
        _write_report(report, found)
    if as_json:
        from calstore.report.diff import diff_json

        emit_json(diff_json(found, run, _numbers(found) if numbers else ()))
    elif found:
        _print(found, run)
        if numbers:
            _print_numbers(found)
    if found:
        raise typer.Exit(1)


def _write_report(path: Path, found: Differences) -> None:
    from calstore.errors import Invalid
    from calstore.report.diff_page import diff_page
    from calstore.repository.files import write_file

    if path.suffix != ".html":
        raise Invalid(f"{path} is no page; name it FILE.html")
    write_file(path, *(part.encode() for part in diff_page(found, _numbers(found))))


def _numbers(found: Differences) -> list[ConstantNumbers | None]:
    from calstore.repository.diff_numbers import constant_numbers

    return [constant_numbers(found, each) for each in found.constants]


def _print_numbers(found: Differences) -> None:
    from calstore.report.numbers import numbers_text

    for difference, numbers in zip(found.constants, _numbers(found), strict=True):
        if numbers is not None:
            typer.echo()
            for line in numbers_text(difference, numbers):
                typer.echo(printable(line))


def _sides(
    store: Store,
    before: str,
    after: str,
    progress: Callable[[int, int], None],
    *,
    with_values: bool,
) -> tuple[Version, Version]:
    """Both versions; a directory is looked at as an import into the other would."""
    from calstore.repository.diff import version_of

    texts = (before, after)
    versions = {text: _version(store, text) for text in texts if not _is_directory(text)}
    like = next(iter(versions.values()), None)
    for text in texts:
        if text not in versions:
            versions[text] = version_of(
                store, Path(text), progress, like=like, with_values=with_values
            )
    return versions[before], versions[after]


def _is_directory(text: str) -> bool:
    """Whether a directory is meant, whatever lies on the disk: no version begins like this."""
    return text.startswith((".", "/"))


def _version(store: Store, text: str) -> Version:
    from calstore.errors import Invalid, NotFound

    try:
        return store[text]
    except (Invalid, NotFound) as error:
        if text and os.path.isdir(text):  # noqa: PTH112 - false too where we may not look
            raise type(error)(f"{error}; for the directory write ./{text}") from None
        raise


def _print(found: Differences, run: int | None) -> None:
    from calstore.repository.diff import effects_of, origins_of

    rows = [
        (*_row(difference), _remark(found, difference, origins, run))
        for difference, origins in zip(found.constants, origins_of(found), strict=True)
    ]
    for side in (found.before, found.after):
        typer.echo(printable(f"{side.name}  {side.digest.short}"))
    for part in (rows, [(_SIGNS[file.kind], file.path) for file in found.files]):
        if part:
            typer.echo(table(part))
    if run is None:
        for effect in effects_of(found):
            if not _is_said(effect):
                typer.echo(printable(_effect_text(effect)))
    typer.echo(_summary(found))


def _row(difference: ConstantDifference) -> tuple[str, ...]:
    here = difference.after or difference.before
    assert here is not None
    runs = str(here[0])
    if difference.before is not None and difference.before[0] != here[0]:
        runs = f"{difference.before[0]} → {runs}"
    source, sign = difference.detector[1], _SIGNS[difference.kind]
    digest = here[1].content.digest.short
    return sign, source, difference.type_name, runs, digest


def _remark(
    found: Differences,
    difference: ConstantDifference,
    origins: tuple[Record | None, Record | None],
    run: int | None,
) -> str:
    """How the contents differ, and by which record either side got its own."""
    words = []
    if run is not None and None in (difference.before, difference.after):
        when = "before" if difference.before is None else "now"
        words.append(f"{when} {_gets(None, *_place(difference))}")
    if difference.kind == "changed":
        words.append(_content_text(found, difference))
    elif difference.kind == "provenance":
        words.append(_provenance_text(difference))
    earlier, origin = (None, None) if difference.kind == "moved" else origins
    if origin is not None:
        words.append(f"since {origin.name} by {origin.stamp.who}: {origin.what}")
    if earlier is not None and (origin is None or earlier.name != origin.name):
        words.append(f"before, {earlier.name}")
    return "; ".join(word for word in words if word)


def _content_text(found: Differences, difference: ConstantDifference) -> str:
    """Which panels differ, or why that cannot be said."""
    from calstore.model.arrays import ArrayReference
    from calstore.repository.diff import differing_panels
    from calstore.views.panels import panels_text

    assert difference.before is not None
    assert difference.after is not None
    old, new = difference.before[1].content, difference.after[1].content
    panels = differing_panels(found.before, found.after, difference)
    if panels is not None and isinstance(new, ArrayReference):
        source, type_name = _place(difference)[0][1], difference.type_name
        return panels_text(source, type_name, new, panels)
    kinds = [_kind_of_content(content) for content in (old, new)]
    return " → ".join(kinds) if kinds[0] != kinds[1] else "another file"


def _kind_of_content(content: ArrayReference | Reference) -> str:
    from calstore.model.arrays import ArrayReference

    if not isinstance(content, ArrayReference):
        return "a file"
    return f"{content.dtype} {'×'.join(map(str, content.shape)) or 'scalar'}"


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
        mine, theirs = (
            "rendered" if side.source is None else side.source.digest.short for side in (one, other)
        )
        said.append(f"bytes {mine} → {theirs}")
    return ", ".join(said)


def _is_said(effect: Effect) -> bool:
    """Whether the line of a changed constant says it already: its runs, and no others."""
    if effect.before is None or effect.after is None:
        return False
    runs = effect.after[0]
    return effect.before[0] == runs and (effect.first, effect.last) == (runs.first, runs.last)


def _effect_text(effect: Effect) -> str:
    place = effect.detector, effect.type_name
    got, gets = _gets(effect.before, *place), _gets(effect.after, *place)
    return f"runs {effect.runs} of {effect.detector[1]} {effect.type_name}: {got} → {gets}"


def _gets(winner: Winner, detector: Detector, type_name: str) -> str:
    from calstore.model.conventions import psana_default

    if winner is not None:
        return f"{winner[0]} ({winner[1].content.digest.short})"
    default = psana_default(detector[0], type_name)
    return "nothing" if default == "nothing" else f"nothing (psana: {default})"


def _place(difference: ConstantDifference) -> tuple[Detector, str]:
    return difference.detector, difference.type_name


def _summary(found: Differences) -> str:
    constants = Counter[str](each.kind for each in found.constants)
    files = Counter[str](each.kind for each in found.files)
    said = (_counted(constants, "constant"), _counted(files, "other file"))
    return "; ".join(text for text in said if text)


def _counted(kinds: Counter[str], noun: str) -> str:
    """As ``1 constant changed, 2 added``."""
    parts = [f"{kinds[kind]} {_SUMMED.get(kind, kind)}" for kind in _SIGNS if kinds[kind]]
    if not parts:
        return ""
    number, _, what = parts[0].partition(" ")
    return ", ".join([f"{number} {noun}{'' if number == '1' else 's'} {what}", *parts[1:]])
