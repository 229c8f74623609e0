"""How a constant moved, as a table, for machines, and as a plot."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from typing import Any, Final

from calstore.checks.numbers import Numbers
from calstore.report.diff import pixels_json
from calstore.repository.drift import Point

_WIDE, _HIGH, _EDGE = 900, 320, 60
_LINES: Final = 32
"""Panels in a plot; more could not be told apart."""


def drift_rows(points: Sequence[Point], *, by_panel: bool) -> list[tuple[str, ...]]:
    """A row for each place, and below it, if asked for, for each panel that moved."""
    rows: list[tuple[str, ...]] = [("where", "since", "median", "moved by", "in noise", "changed")]
    for point in points:
        total = None if point.change is None else point.change.total
        rows.append((point.name, point.when[:16].replace("T", " "), *_cells(point.median, total)))
        panels = () if point.change is None else point.change.panels
        for number, own in enumerate(panels if by_panel else ()):
            if own.changed:
                rows.append((f"  panel {number}", "", *_cells(point.panels[number], own)))
    return rows


def _cells(median: float | None, change: Numbers | None) -> tuple[str, str, str, str]:
    value = "-" if median is None else f"{median:.6g}"
    if change is None:
        return value, "", "", ""
    noise = "" if change.in_noise is None else f"{change.in_noise[0]:.3g}"
    return value, f"{change.median:+.4g}", noise, f"{100 * change.fraction:.3g} %"


def drift_json(points: Sequence[Point], run: int | None) -> dict[str, Any]:
    """The same as ``schemas/drift.json`` describes it."""
    return {
        "points": [
            {
                "change": None if point.change is None else pixels_json(point.change.total),
                "digest": str(point.constant.digest),
                "median": point.median,
                "name": point.name,
                "panels": list(point.panels),
                "panels_change": None
                if point.change is None
                else [pixels_json(each) for each in point.change.panels],
                "runs": str(point.constant.runs),
                "when": point.when or None,
            }
            for point in points
        ],
        "run": run,
    }


def drift_plot(points: Sequence[Point], type_name: str) -> str:
    """A line for each panel (at most 32), from place to place, as SVG."""
    count = min((len(point.panels) for point in points), default=0)
    lines = [[point.panels[n] for point in points] for n in range(min(count, _LINES))]
    known = [value for line in lines for value in line if value is not None] or [0.0, 1.0]
    low, high = min(known), max(known)
    high = high if high > low else low + 1.0
    step = (_WIDE - 2 * _EDGE) / max(len(points) - 1, 1)
    drawn = "".join(
        f"<polyline fill='none' stroke='hsl({330 * n // max(len(lines), 1)},60%,40%)' "
        f"points='{' '.join(_places(line, step, low, high))}'/>"
        for n, line in enumerate(lines)
    )
    names = "".join(
        f"<text x='{_EDGE + n * step:.1f}' y='{_HIGH - _EDGE + 18}' font-size='10' "
        f"text-anchor='middle'>{html.escape(point.name)}</text>"
        for n, point in enumerate(points)
    )
    scale = (
        f"<text x='4' y='{_EDGE}' font-size='11'>{high:.5g}</text>"
        f"<text x='4' y='{_HIGH - _EDGE}' font-size='11'>{low:.5g}</text>"
        f"<text x='{_EDGE}' y='20' font-size='13'>medians of {html.escape(type_name)}, "
        f"{len(lines)} of {count} panels</text>"
    )
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{_WIDE}' height='{_HIGH}' "
        f"font-family='sans-serif'><rect width='100%' height='100%' fill='white'/>"
        f"{drawn}{names}{scale}</svg>\n"
    )


def _places(line: Sequence[float | None], step: float, low: float, high: float) -> Iterator[str]:
    for number, value in enumerate(line):
        if value is not None:
            y = _HIGH - _EDGE - (_HIGH - 2 * _EDGE) * (value - low) / (high - low)
            yield f"{_EDGE + number * step:.1f},{y:.1f}"
