"""Where the pixels of a detector are, from psana's geometry text.

The rules are those of psana 4.3.4 (psana/pscalib/geometry/GeometryAccess.py, GeometryObject.py),
operation by operation, so that an image falls on the same pixels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import cos, prod, radians, sin
from typing import Any, Final, TypeAlias

import numpy as np

from calstore.correct.segments import segment
from calstore.errors import Invalid
from calstore.formats.geometry_text import FIELDS, Line, lines
from calstore.model.detectors import segment_shape

Array: TypeAlias = np.ndarray[Any, np.dtype[np.floating[Any]]]

_Object: TypeAlias = tuple[str, int]

_MOST_FRAMES: Final = 32
_MOST_PIXELS: Final = 2**26
"""More than any detector has, so that a text that is no detector's does not fill the memory."""

_BEAM: Final = "IP"
"""How the name of the frame begins in which the sample is the origin."""


@dataclass(frozen=True, slots=True, eq=False)
class Coordinates:
    """Where each pixel is, in psana's frame: x along the rows of an image, y along its columns.

    Parameters
    ----------
    x, y, z
        In micrometres, of shape ``(segment, row, column)``; the segments in the order of the lines
        that place them, which is the order of the data.
    pixel_um
        The length of a pixel of the image.
    """

    x: Array
    y: Array
    z: Array
    pixel_um: float


def coordinates(data: bytes) -> Coordinates:
    """Where the pixels are that a geometry text places.

    Raises
    ------
    Invalid
        When a line is none, when a segment is not known, when the lines are no tree with
        one root, or when its segments are of several sizes.
    """
    placing = _read(data)
    chains = list(_chains(placing))
    if not chains:
        raise Invalid("a geometry that places no segment; mend it")
    names = [chain[0].placed[0] for chain in chains]
    shapes = [segment_shape(name) or (0, 0) for name in names]
    if len(set(shapes)) > 1:
        listed = ", ".join(dict.fromkeys(names))
        raise Invalid(f"a geometry of segments of several sizes: {listed}; psana stacks equal ones")
    if sum(map(prod, shapes)) > _MOST_PIXELS:
        raise Invalid(f"a geometry that places {sum(map(prod, shapes)):,} pixels; mend it")
    places = [_placed(chain) for chain in chains]
    x, y, z = (np.stack(axis) for axis in zip(*places, strict=True))
    return Coordinates(x, y, z, segment(names[0]).pixel_um)


def _read(data: bytes) -> list[Line]:
    placing = lines(data)
    for line in placing:
        if not line.is_read:
            raise Invalid(
                f"a geometry whose {line} does not hold {FIELDS} fields of names and numbers; "
                "mend it"
            )
    return placing


def _chains(placing: Sequence[Line]) -> Iterator[tuple[Line, ...]]:
    """For each segment the lines that place it, from its own to the root's, in psana's order."""
    children: dict[_Object, list[Line]] = {}
    for line in placing:
        children.setdefault(_object(line.parent), []).append(line)
    placed = Counter(_object(line.placed) for line in placing)
    twice = [own for own in children if placed[own] > 1]
    if twice:
        raise Invalid(f"a geometry that places {twice[0][0]} {twice[0][1]} twice; mend it")
    roots = [parent for parent in children if not placed[parent]]
    if placing and len(roots) != 1:
        named = ", ".join(f"{name} {index}" for name, index in roots) or "none"
        raise Invalid(f"a geometry has one frame that all others are in, and this one {named}")
    for root in roots:
        yield from _below(root, (), children)


def _below(
    parent: _Object, chain: tuple[Line, ...], children: Mapping[_Object, Sequence[Line]]
) -> Iterator[tuple[Line, ...]]:
    for line in children.get(parent, ()):
        longer = (line, *chain)
        own = _object(line.placed)
        if len(longer) > _MOST_FRAMES:
            raise Invalid(f"a geometry with frames in frames, {len(longer)} deep; mend it")
        if segment_shape(own[0]) is not None:
            yield longer
        elif own in children:
            yield from _below(own, longer, children)
        else:
            segment(own[0])  # raises: nothing is in it, and it is no segment


def _object(spelled: tuple[str, str]) -> _Object:
    return spelled[0], int(spelled[1])


def _placed(chain: Sequence[Line]) -> tuple[Array, Array, Array]:
    x, y = segment(chain[0].placed[0]).places()
    z: Array = np.zeros(x.shape)
    for line in chain:
        x, y, z = _in_parent(line, x, y, z)
    return x, y, z


def _in_parent(line: Line, x: Array, y: Array, z: Array) -> tuple[Array, Array, Array]:
    """Turned about z, then y, then x, by rotation and tilt together, and moved."""
    x0, y0, z0, *angles = line.numbers
    about_z, about_y, about_x = (angles[axis] + angles[axis + 3] for axis in range(3))
    if line.parent[0].startswith(_BEAM) and z0 > 0:
        z0 = -z0  # psana's z is against the beam
    x, y = _turned(x, y, about_z)
    z, x = _turned(z, x, about_y)
    y, z = _turned(y, z, about_x)
    return x + x0, y + y0, z + z0


def _turned(one: Array, other: Array, degrees: float) -> tuple[Array, Array]:
    s, c = sin(radians(degrees)), cos(radians(degrees))
    return one * c - other * s, other * c + one * s
