"""Rules on common_mode: a list of numbers, of which the first says what the others mean.

The algorithms are those of lcls-psana/ImgAlgos include/CommonModeCorrection.h:157-290 and of
lcls-psana/Detector src/AreaDetector.py:915-960; how 7 uses its numbers is in
src/UtilsCommonMode.py and src/UtilsEpix10ka.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from calstore.checks.finding import Finding, Subject
from calstore.model.detectors import gain_modes

Array = np.ndarray[Any, np.dtype[Any]]

ALGORITHMS: Final = range(9)
"""0 is off."""

OF_GAIN_MODES: Final = 7
"""The one of Jungfrau and Epix10ka: which medians to subtract, the largest, the fewest pixels."""

_MEDIANS: Final = range(8)
"""1 of rows, 2 of columns, 4 of banks, and their sums."""


def parameters(subject: Subject, array: Array) -> Iterator[Finding]:
    """What psana cannot have been meant to do: of a shape that is odd, nothing is said."""
    numbers = [float(number) for number in array.reshape(-1)] if array.ndim == 1 else []
    if not numbers or not np.isfinite(numbers).all():
        return
    algorithm = numbers[0]
    if algorithm not in ALGORITHMS:
        yield subject.suspicious(
            f"the algorithm {algorithm:g}, where psana has 0 to {ALGORITHMS[-1]}",
            "nothing is corrected; write 0 to say so",
        )
    elif algorithm == OF_GAIN_MODES and gain_modes(subject.source) is None:
        yield subject.suspicious(
            f"the algorithm {OF_GAIN_MODES}, which psana has for Jungfrau and Epix10ka",
            "another one was meant, or the constant of another detector",
        )
    elif algorithm == OF_GAIN_MODES:
        yield from _medians(subject, numbers[1:])


def _medians(subject: Subject, numbers: list[float]) -> Iterator[Finding]:
    if len(numbers) > 0 and numbers[0] not in _MEDIANS:
        yield subject.suspicious(
            f"the medians {numbers[0]:g}, where rows are 1, columns 2, banks 4, or their sum",
            "psana takes its bits for that",
        )
    if len(numbers) > 1 and numbers[1] <= 0:
        yield subject.suspicious(
            f"a largest correction of {numbers[1]:g}", "no median is below it, nothing is corrected"
        )
