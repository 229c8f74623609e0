"""Exact integer sums of raw frames, and order statistics of the first ones, for each pixel.

A tile of pixels is taken through all frames of a block while its sums stay in the processor's
cache. The loops run over neighbouring pixels, and are several, so that each needs few arrays and
becomes vector instructions. A thread has a range of pixels of its own, and no lock of Python's.

Words of 16 and of 32 bits have functions of their own, so that two processes that compile at the
same time never write two things into one file of numba's cache.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numba as nb
import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

TILE = 8192
"""Pixels of a tile of sums, which fit in the second level of cache."""

SORTED_TILE = 1024
"""Pixels of a tile of the first frames: some 50 of them fit in the second level of cache."""


GROUP = (0,) * 8
ALONE = (0,)
"""How many frames are added at once: the length of a tuple is known when a function is compiled,
so that a loop over it is unrolled."""


class Rule(NamedTuple):
    """What holds for every pixel; each is a scalar of the words' dtype.

    ``low`` and ``high`` are the levels below and above which a value is out of range.
    """

    mask: Any
    flip: Any
    low: Any
    high: Any


class Gates(NamedTuple):
    """The lowest level inside the gate of each pixel, and how many more there are above it."""

    lowest: Array
    width: Array


class Sums(NamedTuple):
    """What is added up, for each pixel; ``total`` and ``squares`` of the levels above the gate's.

    ``bad`` has no elements unless gain bits ``10`` are looked for.
    """

    inside: Array
    total: Array
    squares: Array
    below: Array
    above: Array
    minimum: Array
    maximum: Array
    bad: Array


def _cached(function: Callable[..., Any]) -> Any:
    """Compiled, and kept on disk where a place for that can be found."""
    try:
        return nb.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # numba: no locator available, neither the package nor the home is ours
        return nb.njit(nogil=True)(function)


@nb.njit(nogil=True)
def _add(words, rows, pixels, rule, gates, sums, wide):  # type: ignore[no-untyped-def]
    scratch = (
        np.empty(len(GROUP) * TILE, words.dtype),
        np.zeros((3, TILE), np.uint16),
        np.zeros((2, TILE), wide.dtype),
    )
    for start in range(pixels[0], pixels[1], TILE):
        _add_tile(words, rows, start, min(start + TILE, pixels[1]), rule, gates, sums, scratch)


@nb.njit(nogil=True)
def _add_tile(words, rows, start, stop, rule, gates, sums, scratch):  # type: ignore[no-untyped-def]
    size = stop - start
    inside, below, above = scratch[1][0][:size], scratch[1][1][:size], scratch[1][2][:size]
    total, squares = scratch[2][0][:size], scratch[2][1][:size]
    parts = Sums(
        inside=inside,
        total=total,
        squares=squares,
        below=below,
        above=above,
        minimum=sums.minimum[start:stop],
        maximum=sums.maximum[start:stop],
        bad=sums.bad[start:stop],
    )
    gate = Gates(gates.lowest[start:stop], gates.width[start:stop])
    most = _frames_without_overflow(gate.width, total.itemsize)
    for first in range(0, rows.size, most):
        chosen = rows[first : first + most]
        grouped = chosen.size - chosen.size % len(GROUP)
        for k in range(0, grouped, len(GROUP)):
            _add_frames(words, chosen[k:], GROUP, (start, stop), rule, gate, parts, scratch[0])
        for k in range(grouped, chosen.size):
            _add_frames(words, chosen[k:], ALONE, (start, stop), rule, gate, parts, scratch[0])
        _flush(inside, sums.inside[start:stop])
        _flush(total, sums.total[start:stop])
        _flush(squares, sums.squares[start:stop])
        _flush(below, sums.below[start:stop])
        _flush(above, sums.above[start:stop])


@nb.njit(nogil=True)
def _add_frames(words, rows, group, pixels, rule, gate, parts, level):  # type: ignore[no-untyped-def]
    """Add as many frames as the group is long: each sum is loaded and stored once for them."""
    for k in range(len(group)):
        word = words[rows[k], pixels[0] : pixels[1]]
        _note_bad_switches(word, parts.bad)
        _levels(word, rule, level[k * TILE : k * TILE + word.size])
    _extremes(level, group, parts.minimum, parts.maximum)
    _out_of_range(level, group, rule, parts.below, parts.above)
    _count_inside(level, group, gate.lowest, gate.width, parts.inside)
    _add_inside(level, group, gate.lowest, gate.width, parts.total, parts.squares)


@nb.njit(nogil=True)
def _note_bad_switches(word, bad):  # type: ignore[no-untyped-def]
    for i in range(bad.size):
        bad[i] |= (word[i] & 0xC000) == 0x8000


@nb.njit(nogil=True)
def _levels(word, rule, level):  # type: ignore[no-untyped-def]
    for i in range(word.size):
        level[i] = (word[i] & rule.mask) ^ rule.flip


@nb.njit(nogil=True)
def _extremes(level, group, minimum, maximum):  # type: ignore[no-untyped-def]
    for i in range(minimum.size):
        least, most = minimum[i], maximum[i]
        for k in range(len(group)):
            least = min(least, level[i + k * TILE])
            most = max(most, level[i + k * TILE])
        minimum[i], maximum[i] = least, most


@nb.njit(nogil=True)
def _out_of_range(level, group, rule, below, above):  # type: ignore[no-untyped-def]
    for i in range(below.size):
        low, high = below[i], above[i]
        for k in range(len(group)):
            low += np.uint16(level[i + k * TILE] < rule.low)
            high += np.uint16(level[i + k * TILE] > rule.high)
        below[i], above[i] = low, high


@nb.njit(nogil=True)
def _count_inside(level, group, lowest, width, inside):  # type: ignore[no-untyped-def]
    """What is below the gate wraps to a large number: one comparison does for both sides."""
    for i in range(inside.size):
        count = inside[i]
        for k in range(len(group)):
            count += np.uint16(level.dtype.type(level[i + k * TILE] - lowest[i]) <= width[i])
        inside[i] = count


@nb.njit(nogil=True)
def _add_inside(level, group, lowest, width, total, squares):  # type: ignore[no-untyped-def]
    for i in range(total.size):
        added, squared = total[i], squares[i]
        for k in range(len(group)):
            height = level.dtype.type(level[i + k * TILE] - lowest[i])
            term = total.dtype.type(height if height <= width[i] else level.dtype.type(0))
            added += term
            squared += term * term
        total[i], squares[i] = added, squared


@nb.njit(nogil=True)
def _frames_without_overflow(width, itemsize):  # type: ignore[no-untyped-def]
    """How many frames can be added before a square, or a count of 16 bits, overflows."""
    widest = np.uint64(1)
    for i in range(width.size):
        widest = max(widest, np.uint64(width[i]))
    largest = np.uint64(0xFFFFFFFF) if itemsize == 4 else np.uint64(0xFFFFFFFFFFFFFFFF)
    return np.int64(min(largest // (widest * widest), np.uint64(0xFFFF)))


@nb.njit(nogil=True)
def _flush(part, whole):  # type: ignore[no-untyped-def]
    for i in range(part.size):
        whole[i] += part[i]
    for i in range(part.size):
        part[i] = 0


@_cached
def add_16(words, rows, pixels, rule, gates, sums):  # type: ignore[no-untyped-def]
    """Add frames of 16 bits to the sums.

    Parameters
    ----------
    words
        ``(frame, pixel)``, unsigned.
    rows
        Which frames of them.
    pixels
        The first pixel and the one after the last.
    """
    _add(words, rows, pixels, rule, gates, sums, np.zeros(0, np.uint32))


@_cached
def add_32(words, rows, pixels, rule, gates, sums):  # type: ignore[no-untyped-def]
    """Add frames of 32 bits to the sums, as `add_16`; no gate is wider than 31 bits."""
    _add(words, rows, pixels, rule, gates, sums, np.zeros(0, np.uint64))


@nb.njit(nogil=True)
def _select(block, rank, bits, found):  # type: ignore[no-untyped-def]
    """The value of this rank (0 is the smallest) in each column, bit by bit from the highest.

    A bit is set when no more than ``rank`` values are below the number with it.
    """
    candidate, below = np.empty_like(found), np.empty(found.size, np.uint16)
    found[:] = 0
    for bit in range(bits - 1, -1, -1):
        for i in range(found.size):
            candidate[i] = found[i] | (1 << bit)
        _count_below(block, candidate, below)
        for i in range(found.size):
            found[i] = candidate[i] if below[i] <= rank else found[i]


@nb.njit(nogil=True)
def _count_below(block, candidate, below):  # type: ignore[no-untyped-def]
    below[:] = 0
    for row in range(block.shape[0]):
        for i in range(below.size):
            below[i] += np.uint16(block[row, i] < candidate[i])


@nb.njit(nogil=True)
def _levels_of_block(words, start, stop, rule, level):  # type: ignore[no-untyped-def]
    for row in range(words.shape[0]):
        _levels(words[row, start:stop], rule, level[row])


@nb.njit(nogil=True)
def _quantiles(words, pixels, rule, bits, ranks, out):  # type: ignore[no-untyped-def]
    for start in range(pixels[0], pixels[1], SORTED_TILE):
        stop = min(start + SORTED_TILE, pixels[1])
        level = np.empty((words.shape[0], stop - start), words.dtype)
        _levels_of_block(words, start, stop, rule, level)
        for i in range(ranks.size):
            _select(level, ranks[i], bits, out[i, start:stop])


@_cached
def quantiles_16(words, pixels, rule, bits, ranks, out):  # type: ignore[no-untyped-def]
    """Put the levels of these ranks into ``out``, shape ``(rank, pixel)``, for each pixel."""
    _quantiles(words, pixels, rule, bits, ranks, out)


@_cached
def quantiles_32(words, pixels, rule, bits, ranks, out):  # type: ignore[no-untyped-def]
    """As `quantiles_16`, for words of 32 bits."""
    _quantiles(words, pixels, rule, bits, ranks, out)


@nb.njit(nogil=True)
def _medians(words, pixels, rule, bits, wide, out):  # type: ignore[no-untyped-def]
    """Twice the median, and four times the median distance from it: whole numbers both."""
    count = words.shape[0]
    for start in range(pixels[0], pixels[1], SORTED_TILE):
        stop = min(start + SORTED_TILE, pixels[1])
        level = np.empty((count, stop - start), words.dtype)
        distance = np.empty(level.shape, wide.dtype)
        pair = np.empty((2, stop - start), words.dtype)
        wide_pair = np.empty((2, stop - start), wide.dtype)
        _levels_of_block(words, start, stop, rule, level)
        _two_in_the_middle(level, bits, pair, out[0, start:stop])
        _distances(level, out[0, start:stop], distance)
        _two_in_the_middle(distance, bits + 1, wide_pair, out[1, start:stop])


@nb.njit(nogil=True)
def _two_in_the_middle(block, bits, pair, added):  # type: ignore[no-untyped-def]
    """The sum of the two values in the middle of each column: twice its median."""
    _select(block, (block.shape[0] - 1) // 2, bits, pair[0])
    _select(block, block.shape[0] // 2, bits, pair[1])
    for i in range(added.size):
        added[i] = np.int64(pair[0, i]) + np.int64(pair[1, i])


@nb.njit(nogil=True)
def _distances(level, twice_median, distance):  # type: ignore[no-untyped-def]
    """Twice the distance of each value from the median of its column."""
    for row in range(level.shape[0]):
        for i in range(twice_median.size):
            distance[row, i] = abs(2 * np.int64(level[row, i]) - twice_median[i])


@_cached
def medians_16(words, pixels, rule, bits, out):  # type: ignore[no-untyped-def]
    """Put twice the median level and four times the median distance from it into ``out``."""
    _medians(words, pixels, rule, bits, np.zeros(0, np.uint32), out)


@_cached
def medians_32(words, pixels, rule, bits, out):  # type: ignore[no-untyped-def]
    """As `medians_16`, for words of 32 bits."""
    _medians(words, pixels, rule, bits, np.zeros(0, np.uint64), out)


@_cached
def mean_and_deviation(values):  # type: ignore[no-untyped-def]
    """Mean and standard deviation of float64 values, in two passes in their order."""
    mean = _compensated(values, 0.0, False) / values.size
    return mean, np.sqrt(_compensated(values, mean, True) / values.size)


@nb.njit(nogil=True)
def _compensated(values, shift, squared):  # type: ignore[no-untyped-def]
    """The sum of ``value - shift``, or of its square; what rounding drops is kept (Neumaier)."""
    total, lost = 0.0, 0.0
    for value in values:
        term = value - shift
        if squared:
            term = term * term
        added = total + term
        if abs(total) >= abs(term):
            lost += (total - added) + term
        else:
            lost += (term - added) + total
        total = added
    return total + lost
