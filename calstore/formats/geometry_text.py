"""psana's geometry text: each line places an object in a parent.

What is nobody's parent is a segment, of which psana knows some. Both psanas write and read the same
text; lines that begin with ``#`` are comments.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import Final, TypeAlias

FIELDS: Final = 13
"""Parent and its index, object and its index, three of position, three of rotation, of tilt."""

_NAMES: Final = 4

Object: TypeAlias = tuple[str, str]
"""A name and an index, as they are spelled."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line that is neither blank nor a comment, counted from 1."""

    number: int
    fields: tuple[str, ...]

    @property
    def parent(self) -> Object:
        """In what the object is placed."""
        return self.fields[0], self.fields[1]

    @property
    def placed(self) -> Object:
        """The object."""
        return self.fields[2], self.fields[3]

    @property
    def is_read(self) -> bool:
        """Whether psana reads it: the indices are whole numbers, and the rest numbers."""
        if len(self.fields) != FIELDS:
            return False
        try:
            numbers = [int(self.fields[1]), int(self.fields[3]), *self.numbers]
        except ValueError:
            return False
        return all(map(isfinite, numbers))

    @property
    def numbers(self) -> tuple[float, ...]:
        """Position in micrometres, rotation and tilt in degrees; of a line that is read."""
        return tuple(map(float, self.fields[_NAMES:]))

    def __str__(self) -> str:
        return f"line {self.number}: {' '.join(self.fields)[:60]}"


def lines(data: bytes) -> list[Line]:
    """The lines that place something, or were meant to."""
    text = data.decode("utf-8", "replace")
    numbered = ((number, line.split()) for number, line in enumerate(text.split("\n"), start=1))
    return [
        Line(number, tuple(fields))
        for number, fields in numbered
        if fields and not fields[0].startswith("#")
    ]


def segments(placing: list[Line]) -> list[Object]:
    """What is nobody's parent, once for each line that places it, as psana counts it."""
    whole = [line for line in placing if line.is_read]
    parents = {line.parent for line in whole}
    return [line.placed for line in whole if line.placed not in parents]
