"""Rules on the order of values that has the right shape: is it another order's, reshaped?

The pixels of a chip's row share an amplifier's level, as do those of its column. Without the
levels of rows and columns little but noise is left, if these are the rows and columns; of values
in another order more is left, because their patterns are spread over all of them. Each chip has
patterns of its own, so panels are cut into chips first: of whole panels more would be left in the
right order than in some other, and healthy constants of a CsPad2x2 or Jungfrau be flagged.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from calstore.checks.finding import Finding, Subject
from calstore.model.conventions import fixed_shape, gain_shape
from calstore.model.detectors import asic_shape

Array = np.ndarray[Any, np.dtype[Any]]

TRANSPOSED: Final = 0.85
"""What is left in the other order is less than this part of what is left in this one. Of noise
alone the ratio is 1, within 2 % for a panel. In the right order, where chips, rows and columns
have levels of their own, it is at least 1; slopes and spots, of which no row or column knows,
brought it down to 0.975 in 1728 simulated pedestals."""

NATURAL: Final = 0.7
"""The same for a CsPad2x2, whose two orders are closer: every second pixel of the one is in the
same row in the other. If both panels have one pattern, with a slope of 50 ADU and a noise of 2 ADU,
the ratio went down to 0.75 in 1296 simulated pedestals in the right order."""

STEP: Final = 6.0
"""A step between two rows that is so many times the usual one is where a panel ends."""

_OUTLIERS: Final = 0.02
"""Bad pixels are no pattern; so many of the largest values are left out in either order."""

_PANELS: Final = 4
"""So many panels are looked at: one mistake is made for all of them."""

_DAQ_SHAPE: Final = (185, 388, 2)
_NATURAL_SHAPE: Final = (2, 185, 388)


def other_order(subject: Subject, array: Array) -> Iterator[Finding]:
    """Whether the values clearly make better panels in the other order of equal size."""
    known = fixed_shape(subject.group, subject.type_name) or gain_shape(
        subject.source, subject.type_name
    )
    if known is None or array.ndim < 2:
        return
    if known == _DAQ_SHAPE:
        is_whole = array.shape[-1] == 2 and array.size == np.prod(_DAQ_SHAPE)
        if is_whole and _is_natural(array, asic_shape(subject.source) or _NATURAL_SHAPE[1:]):
            yield subject.suspicious(
                f"the values look like the natural order {_NATURAL_SHAPE}, in the shape of the "
                f"DAQ's {_DAQ_SHAPE}",
                "psana and AMI take the DAQ's order, and give each pixel the value of another one",
            )
    elif array.shape[-2:] == known[-2:]:
        rows, columns = array.shape[-2:]
        panels = _numbers(array.reshape(-1, rows, columns)[:_PANELS])
        chip = asic_shape(subject.source) or (rows, columns)
        other = _left(_cut(panels.reshape(-1, columns, rows), chip[::-1]))
        if rows != columns and other < TRANSPOSED * _left(_cut(panels, chip)):
            yield subject.suspicious(
                f"the values look like panels of {columns} rows and {rows} columns, in the shape "
                f"({rows}, {columns})",
                "readers give each pixel the value of another one; was it transposed?",
            )


def _is_natural(array: Array, chip: tuple[int, int]) -> bool:
    """Whether a Cspad2x2 looks like two planes one after the other."""
    flat = _numbers(array).reshape(-1)
    natural, daq = flat.reshape(_NATURAL_SHAPE), np.moveaxis(flat.reshape(_DAQ_SHAPE), -1, 0)
    if _left(_cut(natural, chip)) < NATURAL * _left(_cut(daq, chip)):
        return True
    # Where panels have no pattern, their levels differ: in natural order that is one step, as
    # large as nowhere else, and the panels of the DAQ's order do not differ.
    steps = np.abs(np.diff(np.median(natural, axis=-1).reshape(-1)))
    step, others = float(steps[184]), np.delete(steps, 184)
    between_daq_panels = abs(float(np.median(daq[0]) - np.median(daq[1])))
    return (
        step > STEP * float(np.median(others))
        and step > 2 * float(others.max())
        and step > STEP * between_daq_panels
    )


def _cut(panels: Array, chip: tuple[int, int]) -> Array:
    """The chips of all panels, one after the other."""
    rows, columns = chip
    count, down, across = len(panels), panels.shape[1] // rows, panels.shape[2] // columns
    grid = panels.reshape(count, down, rows, across, columns)
    return np.swapaxes(grid, 2, 3).reshape(-1, rows, columns)


def _left(chips: Array) -> float:
    """The standard deviation of chips without the levels of columns and rows, and outliers.

    A typical value would not do: in the wrong order most of a row may be a column's, whose level
    goes, and only the rest of the row tells.
    """
    left = chips - np.median(chips, axis=-2, keepdims=True)
    left -= np.median(left, axis=-1, keepdims=True)
    squares = np.square(left, out=left).reshape(-1)
    kept = len(squares) - int(_OUTLIERS * len(squares))
    return float(np.sqrt(np.partition(squares, kept - 1)[:kept].mean()))


def _numbers(array: Array) -> Array:
    """The values as floats; what is no number has a finding of its own, and is 0 here."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.nan_to_num(array.astype(np.float32), nan=0, posinf=0, neginf=0)
