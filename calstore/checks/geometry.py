"""Rules on geometry: a text that says of which segments a detector is put together, and where.

Each line places an object in a parent; what is nobody's parent is a segment, of which psana knows
some. What psana makes of a text that is odd was tried with psana 4.3.4, whose reader is that of
lcls-psana/PSCalib src/GeometryAccess.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from calstore.checks.finding import Finding, Subject
from calstore.formats.geometry_text import FIELDS, Line, lines, segments
from calstore.model.detectors import pixels_of, pixels_of_modes, segment_pixels

_SHOWN: Final = 3


def geometry(subject: Subject, data: bytes) -> Iterator[Finding]:
    """What is odd about a geometry: lines that are none, segments that nobody knows, their number.

    Only the first of these is said, as the others may follow from it.
    """
    placing = lines(data)
    broken = [line for line in placing if not line.is_read]
    unknown = [name for name, _ in segments(placing) if segment_pixels(name) is None]
    if not placing:
        yield subject.wrong("no line that places anything", "psana finds no pixel")
    elif broken:
        first = broken[0]
        yield subject.wrong(
            f"{len(broken)} of {len(placing)} lines do not hold {FIELDS} fields of names and "
            f"numbers; the first is {first}",
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
        yield from _size(subject, placing)


def beside_pedestals(subject: Subject, data: bytes, shape: Sequence[int]) -> Iterator[Finding]:
    """Whether a geometry places as many pixels as the pedestals of the same runs have.

    Nothing is said of one that has a finding of its own.
    """
    if any(geometry(subject, data)):
        return
    placed, there = _pixels(lines(data)), pixels_of_modes(subject.source, tuple(shape))
    if placed != there:
        yield subject.suspicious(
            f"it places {placed:,} pixels, the pedestals of these runs have {there:,}",
            "psana makes no image of them, or a wrong one",
        )


def _pixels(placing: list[Line]) -> int:
    return sum(segment_pixels(name) or 0 for name, _ in segments(placing))


def _size(subject: Subject, placing: list[Line]) -> Iterator[Finding]:
    expected = pixels_of(subject.group, subject.source)
    placed = _pixels(placing)
    if expected and placed not in expected:
        count = len(segments(placing))
        wanted = " or ".join(f"{pixels:,}" for pixels in expected)
        yield subject.wrong(
            f"{placed:,} pixels in {count} {'segment' if count == 1 else 'segments'}, where the "
            f"detector has {wanted}",
            "psana makes no image of its data, or a wrong one",
        )
