"""Rules on geometry: a text that says of which segments a detector is put together, and where.

Each line places an object in a parent; what is nobody's parent is a segment, of which psana knows
some. What psana makes of a text that is odd was tried with psana 4.3.4, whose reader is that of
lcls-psana/PSCalib src/GeometryAccess.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Final, TypeAlias

from calstore.checks.finding import Finding, Subject
from calstore.model.detectors import pixels_of, pixels_of_modes, segment_pixels

FIELDS: Final = 13
"""Parent and its index, object and its index, three of position, three of rotation, of tilt."""

_NAMES: Final = 4
_SHOWN: Final = 3

_Object: TypeAlias = tuple[str, str]
"""A name and an index, as they are spelled."""


@dataclass(frozen=True, slots=True)
class _Line:
    """A line that is neither blank nor a comment, counted from 1."""

    number: int
    fields: tuple[str, ...]

    @property
    def parent(self) -> _Object:
        return self.fields[0], self.fields[1]

    @property
    def placed(self) -> _Object:
        return self.fields[2], self.fields[3]

    @property
    def is_read(self) -> bool:
        """Whether psana reads it: the indices are whole numbers, and the rest numbers."""
        if len(self.fields) != FIELDS:
            return False
        try:
            numbers = [int(self.fields[1]), int(self.fields[3]), *map(float, self.fields[_NAMES:])]
        except ValueError:
            return False
        return all(map(isfinite, numbers))


def geometry(subject: Subject, data: bytes) -> Iterator[Finding]:
    """What is odd about a geometry: lines that are none, segments that nobody knows, their number.

    Only the first of these is said, as the others may follow from it.
    """
    lines = _lines(data)
    broken = [line for line in lines if not line.is_read]
    unknown = [name for name, _ in _segments(lines) if segment_pixels(name) is None]
    if not lines:
        yield subject.wrong("no line that places anything", "psana finds no pixel")
    elif broken:
        first = broken[0]
        yield subject.wrong(
            f"{len(broken)} of {len(lines)} lines do not hold {FIELDS} fields of names and "
            f"numbers; the first is line {first.number}: {' '.join(first.fields)[:60]}",
            "psana fails when it reads the file, or knows no place for the pixels",
        )
    elif unknown:
        names = list(dict.fromkeys(unknown))
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        yield subject.wrong(
            f"no segments that psana knows: {', '.join(names[:_SHOWN])}{more}",
            "psana fails when it is asked where the pixels are",
        )
    else:
        yield from _size(subject, lines)


def beside_pedestals(subject: Subject, data: bytes, shape: Sequence[int]) -> Iterator[Finding]:
    """Whether a geometry places as many pixels as the pedestals of the same runs have.

    Nothing is said of one that has a finding of its own.
    """
    if any(geometry(subject, data)):
        return
    placed, there = _pixels(_lines(data)), pixels_of_modes(subject.source, tuple(shape))
    if placed != there:
        yield subject.suspicious(
            f"it places {placed:,} pixels, the pedestals of these runs have {there:,}",
            "psana makes no image of them, or a wrong one",
        )


def _lines(data: bytes) -> list[_Line]:
    text = data.decode("utf-8", "replace")
    numbered = ((number, line.split()) for number, line in enumerate(text.split("\n"), start=1))
    return [
        _Line(number, tuple(fields))
        for number, fields in numbered
        if fields and not fields[0].startswith("#")
    ]


def _segments(lines: list[_Line]) -> list[_Object]:
    """What is nobody's parent, once for each line that places it, as psana counts it."""
    whole = [line for line in lines if line.is_read]
    parents = {line.parent for line in whole}
    return [line.placed for line in whole if line.placed not in parents]


def _pixels(lines: list[_Line]) -> int:
    return sum(segment_pixels(name) or 0 for name, _ in _segments(lines))


def _size(subject: Subject, lines: list[_Line]) -> Iterator[Finding]:
    expected = pixels_of(subject.group, subject.source)
    placed = _pixels(lines)
    if expected and placed not in expected:
        count = len(_segments(lines))
        wanted = " or ".join(f"{pixels:,}" for pixels in expected)
        yield subject.wrong(
            f"{placed:,} pixels in {count} {'segment' if count == 1 else 'segments'}, where the "
            f"detector has {wanted}",
            "psana makes no image of its data, or a wrong one",
        )
