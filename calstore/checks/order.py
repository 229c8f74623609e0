"""Rules on the order of values that has the right shape: is it another order's, reshaped?

The pixels of a row share an amplifier's level, as do those of a column. Without the levels of
rows and columns little but noise is left, if these are the rows and columns; of values in another
order more is left, because their patterns are spread over all of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from calstore.checks.finding import Finding, Subject
from calstore.model.conventions import fixed_shape, gain_shape

Array = np.ndarray[Any, np.dtype[Any]]

CLEARLY: Final = 0.8
"""What is left in the other order is less than this part of what is left in this one. Of noise
alone the ratio is 1, within 2 % for a panel; in the right order it is at least 1."""

STEP: Final = 6.0
"""A step between two rows that is so many times the usual one is where a panel ends."""

_OUTLIERS: Final = 0.02
"""Bad pixels are no pattern; so many of the largest values are left out in either order."""

_PANELS: Final = 4
"""So many panels are looked at: one mistake is made for all of them."""

_CSPAD2X2: Final = (185, 388, 2)
_NATURAL: Final = (2, 185, 388)


def other_order(subject: Subject, array: Array) -> Iterator[Finding]:
    """Whether the values clearly make better panels in the other order of equal size."""
    known = fixed_shape(subject.group, subject.type_name) or gain_shape(
        subject.source, subject.type_name
    )
    if known is None or array.ndim < 2:
        return
    if known == _CSPAD2X2:
        if array.shape[-1] == 2 and array.size == np.prod(_CSPAD2X2) and _is_natural(array):
            yield subject.suspicious(
                f"the values look like the natural order {_NATURAL}, in the shape of the "
                f"DAQ's {_CSPAD2X2}",
                "psana and AMI take the DAQ's order, and give each pixel the value of another one",
            )
    elif array.shape[-2:] == known[-2:]:
        rows, columns = array.shape[-2:]
        panels = _numbers(array.reshape(-1, rows, columns)[:_PANELS])
        if rows != columns and _is_better(panels.reshape(-1, columns, rows), panels):
            yield subject.suspicious(
                f"the values look like panels of {columns} rows and {rows} columns, in the shape "
                f"({rows}, {columns})",
                "readers give each pixel the value of another one; was it transposed?",
            )


def _is_natural(array: Array) -> bool:
    """Whether a Cspad2x2 looks like two planes one after the other."""
    flat = _numbers(array).reshape(-1)
    natural, daq = flat.reshape(_NATURAL), np.moveaxis(flat.reshape(_CSPAD2X2), -1, 0)
    if _is_better(natural, daq):
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


def _is_better(other: Array, panels: Array) -> bool:
    return _left(other) < CLEARLY * _left(panels)


def _left(panels: Array) -> float:
    """The standard deviation of panels without the levels of columns and rows, and outliers.

    A typical value would not do: in the wrong order most of a row may be a column's, whose level
    goes, and only the rest of the row tells.
    """
    left = panels - np.median(panels, axis=-2, keepdims=True)
    left -= np.median(left, axis=-1, keepdims=True)
    squares = np.square(left, out=left).reshape(-1)
    kept = len(squares) - int(_OUTLIERS * len(squares))
    return float(np.sqrt(np.partition(squares, kept - 1)[:kept].mean()))


def _numbers(array: Array) -> Array:
    """The values as floats; what is no number has a finding of its own, and is 0 here."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.nan_to_num(array.astype(np.float32), nan=0, posinf=0, neginf=0)
