"""How two versions differ, as one page with pictures, which needs nothing but itself."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np

from calstore.model.arrays import ArrayReference
from calstore.model.detectors import modes_of_kind
from calstore.report.numbers import numbers_text
from calstore.report.page import END, WIDE, figure, head
from calstore.report.pictures import Limits, robust_limits, shrunk, symmetric_limits
from calstore.repository.corrected import kind_of
from calstore.repository.diff import Differences
from calstore.repository.diff_numbers import ConstantNumbers
from calstore.repository.picture import Layout, layout_of
from calstore.repository.version import CalibrationConstant, RunConstants, Version
from calstore.views.difference import ConstantDifference

Array = np.ndarray[Any, np.dtype[Any]]

_BINS: Final = 80
_WORST_PIXELS: Final = 10


def diff_page(found: Differences, numbers: Sequence[ConstantNumbers | None]) -> Iterator[str]:
    """The page, in parts: of each changed constant its images, its histogram and its worst pixels.

    Parameters
    ----------
    numbers
        Of each constant that differs, in their order.

    Raises
    ------
    NotFound
        Where what makes pictures is not installed.
    """
    yield head(f"{found.before.name} → {found.after.name}")
    yield f"<p>A {found.before.digest}<br>B {found.after.digest}</p>"
    yield _overview(found)
    for difference, own in zip(found.constants, numbers, strict=True):
        if own is not None:
            yield from _constant(found, difference, own)
    yield END


def _overview(found: Differences) -> str:
    rows = []
    for each in found.constants:
        here = each.after or each.before
        assert here is not None
        cells = (each.kind, each.detector[1], each.type_name, str(here[0]))
        rows.append("".join(f"<td>{html.escape(cell)}</td>" for cell in cells))
    listed = "".join(f"<tr>{row}</tr>" for row in rows)
    return f"<table><tr><th>what<th>detector<th>type<th>runs</tr>{listed}</table>"


def _constant(
    found: Differences, difference: ConstantDifference, numbers: ConstantNumbers
) -> Iterator[str]:
    head, *lines = numbers_text(difference, numbers)
    yield f"<h2>{html.escape(head)}</h2><pre>{html.escape(chr(10).join(lines))}</pre>"
    if numbers.arrays is None:
        return
    before, after = (
        _there(version, difference, winner)
        for version, winner in ((found.before, difference.before), (found.after, difference.after))
    )
    one, other = before[1].array, after[1].array
    if one.ndim < 2:
        return
    unit = f" {numbers.unit}" if numbers.unit else ""
    layouts: list[Layout] = []
    for name, mine, theirs in _by_mode(before[0], one, other):
        layouts = layouts or [layout_of(side[0], mine.size) for side in (before, after)]
        yield from _figures(layouts, name, mine, theirs, unit)
    yield _worst(one, other)


def _there(
    version: Version, difference: ConstantDifference, winner: Any
) -> tuple[RunConstants, CalibrationConstant]:
    runs, constant = winner
    detector = version.detector(difference.detector)
    found = CalibrationConstant(detector, difference.type_name, runs, constant)
    assert isinstance(constant.content, ArrayReference)
    return detector.at(runs.first), found


def _by_mode(there: RunConstants, one: Array, other: Array) -> Iterator[tuple[str, Array, Array]]:
    """The gain modes that differ, by name; one without a name where there are none."""
    modes = modes_of_kind(kind_of(there.detector))
    if modes is None or one.ndim < 3 or len(one) != len(modes.names):
        yield "", one, other
        return
    for name, mine, theirs in zip(modes.names, one, other, strict=True):
        if not np.array_equal(mine, theirs, equal_nan=mine.dtype.kind == "f"):
            yield name, mine, theirs


def _figures(
    layouts: Sequence[Layout], name: str, mine: Array, theirs: Array, unit: str
) -> Iterator[str]:
    sides = (mine.astype(np.float64), theirs.astype(np.float64))
    limits = robust_limits(np.concatenate([side.ravel() for side in sides]))
    change = sides[1] - sides[0]
    of_change = symmetric_limits(change[change != 0])
    yield f"<h3>{html.escape(name)}</h3>" if name else ""
    for label, where, values, between, both_ways in (
        ("A", layouts[0], sides[0], limits, False),
        ("B", layouts[1], sides[1], limits, False),
        ("B − A", layouts[1], change, of_change, True),
    ):
        small = shrunk(where.image(values), WIDE, WIDE)
        yield figure(f"{name} {label}".strip(), small, between, unit, both_ways=both_ways)
    yield _histogram(change, of_change, unit)


def _histogram(change: Array, limits: Limits, unit: str) -> str:
    """How often which difference is, as bars of the logarithm."""
    finite = change[np.isfinite(change)]
    counts, _ = np.histogram(finite, _BINS, (limits.low, limits.high))
    heights = np.log1p(counts)
    most = float(heights.max()) or 1.0
    bars = "".join(
        f"<rect x='{6 * n}' y='{160 - 150 * height / most:.1f}' width='5' "
        f"height='{150 * height / most:.1f}'/>"
        for n, height in enumerate(heights.tolist())
    )
    outside = finite.size - int(counts.sum())
    caption = (
        f"B − A of {finite.size} pixels from {limits.low:.5g} to {limits.high:.5g}{unit}, "
        f"{outside} beyond; heights are logarithms"
    )
    return (
        f"<figure><svg width='{6 * _BINS}' height='165' role='img'>{bars}</svg>"
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
    )


def _worst(one: Array, other: Array) -> str:
    """The pixels that changed most."""
    with np.errstate(invalid="ignore"):
        size = np.abs(other.astype(np.float64) - one.astype(np.float64)).ravel()
    size[~np.isfinite(size)] = 0
    count = min(_WORST_PIXELS, int((size > 0).sum()))
    most = np.argpartition(-size, count - 1)[:count] if count else np.zeros(0, int)
    rows = []
    for flat in most[np.argsort(-size[most])].tolist():
        index = tuple(int(each) for each in np.unravel_index(flat, one.shape))
        a, b = float(one[index]), float(other[index])
        cells = (", ".join(map(str, index)), f"{a:.6g}", f"{b:.6g}", f"{b - a:+.6g}")
        rows.append("".join(f"<td>{cell}</td>" for cell in cells))
    listed = "".join(f"<tr>{row}</tr>" for row in rows)
    return f"<table><tr><th>pixel<th>A<th>B<th>B − A</tr>{listed}</table>"
