"""Common mode: what a part of a panel has in common in one frame, taken away by medians.

The parts, their order and the conditions are psana's (psana/detector/UtilsCommonMode.py,
UtilsEpix10ka.py:854-889 and UtilsJungfrau.py:802-849 of psana 4.3.4): halves of rows and banks of
columns; banks first, then rows, then columns.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from calstore.errors import Invalid

Array = np.ndarray[Any, np.dtype[Any]]

_ROWS, _COLUMNS, _BANKS = 1, 2, 4
_HALVES: Final = 2
_BANKS_OF_KIND: Final = {
    **dict.fromkeys(("epix100", "epix100a"), 8),
    **dict.fromkeys(("epix10ka", "epix10kaquad", "epix10ka2m"), 8),
    **dict.fromkeys(("epixhr", "epixhr2x2", "epixhremu"), 8),
    **dict.fromkeys(("jungfrau", "jungfrauemu"), 16),
}
_MEDIANS: Final = 7
"""The algorithm of psana that takes medians, and of detectors that switch just the high gains."""


@dataclass(frozen=True, slots=True)
class CommonMode:
    """What is taken away, and when.

    Parameters
    ----------
    banks, rows, columns
        Of which parts the median is taken.
    limit
        A median of this size or more is a signal, and stays; in ADU.
    least
        So many good pixels have to be in a part.
    bright
        Pixels of this many ADU or more do not count for the median, and get it subtracted all the
        same; psana has no such limit.
    high_gains
        Whether, of a detector that switches, just pixels in its higher gains take part.
    """

    rows: bool = False
    columns: bool = False
    banks: bool = False
    limit: float = math.inf
    least: int = 10
    bright: float = math.inf
    high_gains: bool = True

    @classmethod
    def of_psana(cls, parameters: Sequence[float]) -> CommonMode:
        """What psana's parameters mean: algorithm, parts, limit, and least number of pixels.

        Parts are 1 for rows, 2 for columns, 4 for banks, or a sum of these.

        Raises
        ------
        Invalid
            For another algorithm of psana's than that by medians.
        """
        if len(parameters) < 3 or int(parameters[0]) not in (0, _MEDIANS):
            raise Invalid(
                f"common mode parameters {tuple(parameters)}: just psana's medians are known, as "
                "(7, 2, 100, 10); correct without: common_mode=False"
            )
        parts = int(parameters[1])
        return cls(
            rows=bool(parts & _ROWS),
            columns=bool(parts & _COLUMNS),
            banks=bool(parts & _BANKS),
            limit=float(parameters[2]),
            least=int(parameters[3]) if len(parameters) > 3 else 10,
            high_gains=int(parameters[0]) == _MEDIANS,
        )


def banks_of(kind: str) -> int | None:
    """How many banks of columns a panel has, by kind; ``None`` where psana says none."""
    return _BANKS_OF_KIND.get(kind.casefold())


def subtract(frame: Array, good: Array, how: CommonMode, banks: int) -> None:
    """Take the common mode away, in place.

    Parameters
    ----------
    frame
        ``(segment, row, column)``, float32, in ADU, without pedestals.
    good
        Which pixels take part, and are changed; of the same shape.
    """
    from calstore.correct import kernels

    rows, columns = frame.shape[1:]
    half, bank = rows // _HALVES, columns // banks
    least = np.int64(how.least)
    steps = (
        (how.banks, (half, bank), least),
        # psana wants more than the least in a line, and the least in a bank.
        (how.rows, (1, bank), least + 1),
        (how.columns, (half, 1), least + 1),
    )
    for is_wanted, unit, enough in steps:
        if is_wanted:
            limits = (np.float32(how.limit), np.float32(how.bright))
            kernels.subtract_medians(frame, good, unit, enough, limits)
