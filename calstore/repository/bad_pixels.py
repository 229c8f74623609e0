"""How many pixels a dark calls bad, and how many the one before did."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from calstore.model.arrays import ArrayReference
from calstore.model.detectors import STATUS_BITS
from calstore.repository.store import Store
from calstore.store import arrays


@dataclass(frozen=True, slots=True)
class BadPixels:
    """How many pixels have a bit of the status.

    Parameters
    ----------
    bit
        ``None`` for any bit.
    before
        In the status that the run got before; ``None`` where there was none.
    """

    bit: int | None
    meaning: str
    pixels: int
    before: int | None


def bad_pixels(
    store: Store, status: ArrayReference, before: ArrayReference | None
) -> tuple[BadPixels, ...]:
    """The pixels of each bit that is set anywhere, and of any bit; of all gain modes together.

    Raises
    ------
    Corrupt
        When a status is not what was stored.
    """
    now = arrays.get(store.backend, status)
    # An imported one may have fewer bits than there are meanings.
    old = None if before is None else arrays.get(store.backend, before).astype(np.uint64)
    lines = []
    for bit, meaning in STATUS_BITS.items():
        count = int(np.count_nonzero(now & bit))
        count_before = None if old is None else int(np.count_nonzero(old & bit))
        if count or count_before:
            lines.append(BadPixels(bit, meaning, count, count_before))
    lines.append(
        BadPixels(
            None,
            "bad in any way",
            int(np.count_nonzero(now)),
            None if old is None else int(np.count_nonzero(old)),
        )
    )
    return tuple(lines)
