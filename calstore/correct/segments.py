"""Where the pixels of one segment are, in its own frame: psana's table of segments.

From psana 4.3.4, psana/pscalib/geometry/SegGeometry*.py, with which the tests compare. psana1
differs in one: its JUNGFRAU:V2 knows no wide pixels, which are off by half a pixel there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np

from calstore.errors import Invalid
from calstore.model.detectors import segment_shape

Array: TypeAlias = np.ndarray[Any, np.dtype[np.floating[Any]]]


@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """A plane of pixels, whose place is that of its row and that of its column.

    Parameters
    ----------
    of_rows, of_columns
        Where the rows and the columns are along their axes, in micrometres.
    pixel_um
        The length of a pixel, by which psana makes an image.
    x_along_rows
        Whether x counts with the rows, as in a matrix; else x counts with the columns.
    """

    of_rows: Array
    of_columns: Array
    pixel_um: float
    x_along_rows: bool = False

    def places(self) -> tuple[Array, Array]:
        """x and y of each pixel in micrometres, each of shape ``(row, column)``."""
        shape = (self.of_rows.size, self.of_columns.size)
        rows = np.broadcast_to(self.of_rows[:, np.newaxis], shape)
        columns = np.broadcast_to(self.of_columns, shape)
        return (rows, columns) if self.x_along_rows else (columns, rows)


def segment(name: str) -> Segment:
    """The segment of this name, as a geometry spells it; `Invalid` for one that is not known."""
    if name in _SEGMENTS:
        return _SEGMENTS[name]()
    shape = segment_shape(name)
    if shape is None:
        raise Invalid(
            f"where the pixels of a segment {name} are is not known; the segments of a geometry "
            f"are {', '.join(_SEGMENTS)} or MTRX:…"
        )
    height, width = map(float, name.split(":")[-2:])
    if not min(height, width) > 0:
        raise Invalid(f"the segment {name} has pixels without a size; mend the geometry")
    matrix = _centred_matrix if name.startswith("MTRX:V2") else _matrix
    return matrix(*shape, height, width)


def _joined(count: int, pixel_um: float, wide_um: float) -> Array:
    """An axis of two chips, whose pixels at the joint are wide; the place of such a one is that
    of its outer part, which is as large as the other pixels."""
    right = np.arange(count // 2) * pixel_um + wide_um - pixel_um / 2
    return np.hstack([-right[::-1], right])


def _sens2x1() -> Segment:
    rows = -np.arange(185) * 109.92
    return Segment(rows - rows[-1] / 2, _joined(388, 109.92, 274.80), 109.92)


def _epix100() -> Segment:
    return Segment(_joined(704, 50, 175), _joined(768, 50, 175), 50.0)


def _epix(rows: int, columns: int) -> Segment:
    return Segment(-_joined(rows, 100, 225), _joined(columns, 100, 225), 100.0)


def _epixhr1x4() -> Segment:
    chip = np.arange(192) * 100 - 50.0
    right = np.hstack([chip + 225, chip + 225 * 3 + 191 * 100])
    down = np.arange(72) * 100 - 50.0
    return Segment(np.hstack([down[::-1], -down]), np.hstack([-right[::-1], right]), 100.0)


def _epixuhr3x2() -> Segment:
    middle = np.arange(192) * 100.0 - 191 * 100 // 2
    pitch = 191 * 100 + 425
    upper = 212.5 + 167 * 100 - np.arange(168) * 100.0
    columns = np.hstack([middle - pitch, middle, middle + pitch])
    return Segment(np.hstack([upper, -upper[::-1]]), columns, 100.0)


def _jungfrau_columns() -> Array:
    chip = np.arange(256) * 75
    firsts = np.array((-512 - 2.5, -256.5, 1.5, 256 + 3.5)) * 75
    return np.hstack([chip + first for first in firsts])


def _jungfrau_v1() -> Segment:
    chip = np.arange(256) * 75
    rows = np.hstack([256.5 * 75 - chip, -1.5 * 75 - chip])
    return Segment(rows, _jungfrau_columns(), 75.0)


def _jungfrau_v2() -> Segment:
    """Rows the other way round; pixels at the joints of chips are twice as wide."""
    chip = np.arange(256) * 75
    rows, columns = np.hstack([-256.5 * 75 + chip, 1.5 * 75 + chip]), _jungfrau_columns()
    for axis, joints in ((rows, (255,)), (columns, (255, 511, 767))):
        for last in joints:
            axis[last] += 37.5
            axis[last + 1] -= 37.5
    return Segment(rows, columns, 75.0)


def _matrix(rows: int, columns: int, height_um: float, width_um: float) -> Segment:
    return Segment(
        np.arange(rows) * height_um,
        np.arange(columns) * width_um,
        min(height_um, width_um),
        x_along_rows=True,
    )


def _centred_matrix(rows: int, columns: int, height_um: float, width_um: float) -> Segment:
    return Segment(
        (np.arange(rows) - (rows - 1) / 2) * -height_um,
        (np.arange(columns) - (columns - 1) / 2) * width_um,
        min(height_um, width_um),
    )


_SEGMENTS: Final[Mapping[str, Callable[[], Segment]]] = {
    "SENS2X1:V1": _sens2x1,
    "EPIX100:V1": _epix100,
    "EPIX10KA:V1": lambda: _epix(352, 384),
    "EPIX10KA:V2": lambda: _epix(352, 384),
    "EPIXHR1X4:V1": _epixhr1x4,
    "EPIXHR2X2:V1": lambda: _epix(288, 384),
    "EPIXMASIC:V1": lambda: _centred_matrix(192, 384, 50.0, 50.0),
    "EPIXUHR3X2:V1": _epixuhr3x2,
    "EPIXUHRASIC:V1": lambda: _centred_matrix(168, 192, 100.0, 100.0),
    "JUNGFRAU:V1": _jungfrau_v1,
    "JUNGFRAU:V2": _jungfrau_v2,
    "PNCCD:V1": lambda: _matrix(512, 512, 75.0, 75.0),
}
"""EPIX10KA:V2 is psana1's name for what V1 became in 2021: 225 um at the joint, not 250."""
