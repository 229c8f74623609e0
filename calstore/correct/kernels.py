"""The loops over pixels of corrections: compiled, without Python's lock, in their own threads."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import numba as nb
import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

NO_MODE: Final = 255
_ALONE: Final = 400_000
"""Fewer pixels than that are done before another thread has begun."""


def _cached(function: Callable[..., Any]) -> Any:
    """Compiled, and kept on disk where a place for that can be found."""
    try:
        return nb.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # numba: no locator available, neither the package nor the home is ours
        return nb.njit(nogil=True)(function)


@_cached
def _corrected(raw, codes, table, minus, factors, out, how, begin, end):  # type: ignore[no-untyped-def]
    shift, bits, up, mask = how
    is_scaled = factors.size > 0
    for i in range(begin, end):
        word = np.int64(raw[i])
        code = (((word >> shift) & bits) << up) | codes[i * (codes.size > 1)]
        mode = table[code]
        if mode == 255:
            out[i] = 0
        elif is_scaled:
            out[i] = (np.float32(word & mask) - minus[mode, i]) * factors[mode, i]
        else:
            out[i] = np.float32(word & mask) - minus[mode, i]


@_cached
def _scaled(frame, modes, factors, begin, end):  # type: ignore[no-untyped-def]
    for i in range(begin, end):
        mode = modes[i]
        frame[i] = np.float32(0) if mode == 255 else frame[i] * factors[mode, i]


@_cached
def _modes(raw, codes, table, out, how, begin, end):  # type: ignore[no-untyped-def]
    shift, bits, up, _ = how
    for i in range(begin, end):
        code = (((np.int64(raw[i]) >> shift) & bits) << up) | codes[i * (codes.size > 1)]
        out[i] = table[code]


@_cached
def _medians(frame, good, unit, enough, limits, begin, end):  # type: ignore[no-untyped-def]
    _, rows, columns = frame.shape
    down, across = unit
    lines, banks = rows // down, columns // across
    values = np.empty(down * across, np.float32)
    for number in range(begin, end):
        segment = number // (lines * banks)
        row = number % (lines * banks) // banks * down
        column = number % banks * across
        count = 0
        for i in range(row, row + down):
            for k in range(column, column + across):
                value = frame[segment, i, k]
                if good[segment, i, k] and value < limits[1]:
                    values[count] = value
                    count += 1
        if count == 0 or count < enough:
            continue
        common = np.float32(np.median(values[:count]))
        if not abs(common) < limits[0]:
            continue
        for i in range(row, row + down):
            for k in range(column, column + across):
                if good[segment, i, k]:
                    frame[segment, i, k] -= common


def corrected(
    raw: Array, codes: Array, table: Array, minus: Array, factors: Array, how: Array
) -> Array:
    """``(raw & mask − minus[mode]) · factors[mode]``, 0 where there is no mode.

    Parameters
    ----------
    raw
        uint16, flat.
    codes
        Of each pixel, or one for all: what of its code the raw value does not say.
    table
        Code → mode.
    minus, factors
        ``(mode, pixel)``, float32; no factors to leave them out.
    how
        The shift of the raw value's gain bits, their mask, where they go in the code, and the mask
        of the signal: four int64.
    """
    out = np.empty(raw.size, np.float32)
    _in_threads(
        lambda begin, end: _corrected(
            raw, codes, table, minus, factors, out, tuple(how.tolist()), begin, end
        ),
        raw.size,
    )
    return out


def modes_of(raw: Array, codes: Array, table: Array, how: Array) -> Array:
    """The gain mode of each pixel; see `corrected`."""
    out = np.empty(raw.size, np.uint8)
    _in_threads(
        lambda begin, end: _modes(raw, codes, table, out, tuple(how.tolist()), begin, end),
        raw.size,
    )
    return out


def scale(frame: Array, modes: Array, factors: Array) -> None:
    """Multiply each pixel with the factor of its mode, in place; 0 where there is none."""
    _in_threads(lambda begin, end: _scaled(frame, modes, factors, begin, end), frame.size)


def subtract_medians(
    frame: Array, good: Array, unit: tuple[int, int], enough: Any, limits: tuple[Any, Any]
) -> None:
    """Take away the median of the good pixels of each unit of rows and columns, in place.

    Parameters
    ----------
    limits
        Of the median, below which it is taken away, and of the pixels that count for it.
    """
    segments, rows, columns = frame.shape
    units = segments * (rows // unit[0]) * (columns // unit[1])
    _in_threads(
        lambda begin, end: _medians(frame, good, unit, enough, limits, begin, end),
        units,
        alone=frame.size < _ALONE,
    )


def _in_threads(work: Callable[[int, int], None], size: int, *, alone: bool | None = None) -> None:
    threads = os.cpu_count() or 1
    if threads == 1 or (size < _ALONE if alone is None else alone):
        work(0, size)
        return
    bounds = [size * number // threads for number in range(threads + 1)]
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, bounds[:-1], bounds[1:]))
