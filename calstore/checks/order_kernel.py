"""Exact order statistics of many values, by counting: compiled, without Python's lock.

The words of float32, taken in the order of their values, are counted by their upper half; a second
pass counts the lower halves of those that the wanted ranks fall among.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numba as nb
import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

HALF: Final = 1 << 16


def _cached(function: Callable[..., Any]) -> Any:
    """Compiled, and kept on disk where a place for that can be found."""
    try:
        return nb.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # numba: no locator available, neither the package nor the home is ours
        return nb.njit(nogil=True)(function)


@_cached
def _subtract(before, after, out):  # type: ignore[no-untyped-def]
    changed = 0
    least, most = np.float32(np.inf), np.float32(-np.inf)
    for i in range(before.size):
        one, other = before[i], after[i]
        change = other - one
        out[i] = change
        changed += (one != other) and not (one != one and other != other)
        if abs(change) < np.inf:
            least, most = min(least, change), max(most, change)
    return changed, least, most


@_cached
def _in_noise(difference, noise, out):  # type: ignore[no-untyped-def]
    for i in range(difference.size):
        size = abs(difference[i])
        out[i] = size / noise[i] if noise[i] != 0 else np.float32(np.inf)


@_cached
def _upper(words, counts):  # type: ignore[no-untyped-def]
    for i in range(words.size):
        word = words[i]
        if (word >> np.uint32(23)) & np.uint32(255) != np.uint32(255):  # finite
            flip = np.uint32(0xFFFFFFFF) if word >> np.uint32(31) else np.uint32(0x80000000)
            counts[(word ^ flip) >> np.uint32(16)] += 1


@_cached
def _lower(words, wanted, counts):  # type: ignore[no-untyped-def]
    rows = np.full(65536, 255, np.uint8)
    for k in range(wanted.size - 1, -1, -1):  # of ranks in one half, the first has the counts
        rows[wanted[k]] = k
    for i in range(words.size):
        word = words[i]
        flip = np.uint32(0xFFFFFFFF) if word >> np.uint32(31) else np.uint32(0x80000000)
        key = word ^ flip
        row = rows[key >> np.uint32(16)]
        if row != 255:
            counts[row, key & np.uint32(0xFFFF)] += 1


@_cached
def _places(counts, ranks, places, rests):  # type: ignore[no-untyped-def]
    before = np.int64(0)
    k = 0
    for place in range(counts.size):
        while k < ranks.size and ranks[k] < before + counts[place]:
            places[k], rests[k] = place, ranks[k] - before
            k += 1
        if k == ranks.size:
            return
        before += counts[place]


def subtract(before: Array, after: Array, out: Array) -> tuple[int, float, float]:
    """``out = after − before``, float32, flat.

    How many have not the same value (NaN is NaN), and the least and the largest finite difference.
    """
    changed, least, most = _subtract(before, after, out)
    return int(changed), float(least), float(most)


def in_noise(difference: Array, noise: Array, out: Array) -> None:
    """``out = |difference| / noise``; infinite where there is no noise."""
    _in_noise(difference, noise, out)


def upper_counts(values: Array) -> Array:
    """How many finite values have which upper half of their ordered word."""
    counts = np.zeros(HALF, np.int32)
    _upper(values.view(np.uint32), counts)
    return counts


def places_of(upper: Array, percents: Sequence[int]) -> tuple[Array, Array]:
    """The upper half that each percentile falls among, and its rank among those; none of none."""
    count = int(upper.sum())
    ranks = np.array([(count - 1) * each // 100 for each in percents] if count else [], np.int64)
    halves, rests = np.zeros(ranks.size, np.uint32), np.zeros(ranks.size, np.int64)
    _places(upper, ranks, halves, rests)
    return halves, rests


def lower_counts(values: Array, halves: Array, counts: Array) -> None:
    """Add, of the values with each of some upper halves, how many have which lower half.

    Halves that are equal are counted once, in the row of the first.
    """
    _lower(values.view(np.uint32), halves, counts)


def values_of(halves: Array, rests: Array, lower: Array) -> tuple[float, ...]:
    """The values at the ranks, from the counts of the lower halves."""
    words = []
    place, rest = np.zeros(1, np.uint32), np.zeros(1, np.int64)
    listed = halves.tolist()
    for number, half in enumerate(listed):
        _places(lower[listed.index(half)], rests[number : number + 1], place, rest)
        key = (half << 16) | int(place[0])
        words.append(key ^ (0x80000000 if key >> 31 else 0xFFFFFFFF))
    return tuple(np.array(words, np.uint32).view(np.float32).astype(float).tolist())
