"""How two arrays of constants differ, in numbers: of all pixels, and panel by panel."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from calstore.errors import Invalid

Array = np.ndarray[Any, np.dtype[Any]]

_PERCENT: Final = (1, 50, 99)
_COUNTED: Final = 20_000
"""Values of a panel from which on counting is faster than sorting."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """The difference, after less before, of some pixels.

    Parameters
    ----------
    changed
        Pixels that have not the same bits; two NaN are alike.
    low, median, high
        Percentiles 1, 50 and 99 of the difference of all pixels that are finite in both, in the
        unit of the constant.
    largest
        The difference that is largest in size.
    in_noise
        The same percentiles 50 and 99 of the size of the difference, in units of the pixel's noise;
        ``None`` where there is none.
    """

    pixels: int
    changed: int
    low: float
    median: float
    high: float
    largest: float
    in_noise: tuple[float, float] | None = None

    @property
    def fraction(self) -> float:
        """Of the pixels that changed."""
        return self.changed / self.pixels if self.pixels else 0.0


@dataclass(frozen=True, slots=True)
class ArrayNumbers:
    """The differences of two arrays.

    Parameters
    ----------
    panels
        In the order of the leading axes, the last of them fastest.
    """

    total: Numbers
    panels: tuple[Numbers, ...]


def numbers_of(before: Array, after: Array, noise: Array | None = None) -> ArrayNumbers:
    """How arrays of one shape differ.

    Parameters
    ----------
    noise
        The rms of each pixel, in the same unit; of the same shape.

    Raises
    ------
    Invalid
        When the shapes differ, or there are no pixels.
    """
    if before.shape != after.shape or (noise is not None and noise.shape != before.shape):
        raise Invalid(f"arrays of shapes {before.shape} and {after.shape} have no differences")
    if not before.size:
        raise Invalid("arrays without elements have no differences")
    shape = before.shape[-2:] if before.ndim > 1 else before.shape
    size = int(np.prod(shape))
    mine, theirs = (each.reshape(-1, size) for each in (before, after))
    rms = None if noise is None else noise.reshape(-1, size)
    if _is_narrow(before, after) and size >= _COUNTED:
        return _by_counting(mine, theirs, None if rms is None else rms.astype(np.float32))
    return _by_sorting(mine, theirs, rms)


def _by_counting(mine: Array, theirs: Array, rms: Array | None) -> ArrayNumbers:
    """The numbers of large float32 panels, in a few passes over the values."""
    from calstore.checks import order_kernel  # numba takes longer to import than most commands

    difference = np.empty(mine.shape, np.float32)
    sizes = None if rms is None else np.empty(mine.shape, np.float32)
    with ThreadPoolExecutor(os.cpu_count()) as pool:

        def of_panel(number: int) -> tuple[int, float, float]:
            own = difference[number]
            told = order_kernel.subtract(mine[number], theirs[number], own)
            if sizes is not None and rms is not None:
                order_kernel.in_noise(own, rms[number], sizes[number])
            return told

        moved = list(pool.map(of_panel, range(len(mine))))
        values = _ordered(pool, difference, _PERCENT)
        in_noise = None if sizes is None else _ordered(pool, sizes, (50, 99))
    changed, least, most = zip(*moved, strict=True)
    moved.append((sum(changed), min(least), max(most)))
    pixels = [*(mine.shape[1] for _ in mine), mine.size]
    found = [
        _numbers(count, *own, values[number], None if in_noise is None else in_noise[number])
        for number, (count, own) in enumerate(zip(pixels, moved, strict=True))
    ]
    return ArrayNumbers(found[-1], tuple(found[:-1]))


def _ordered(
    pool: ThreadPoolExecutor, panels: Array, percents: tuple[int, ...]
) -> list[tuple[float, ...]]:
    """Order statistics of the finite values of each panel, and at last of all; () for none."""
    from calstore.checks import order_kernel

    threads = os.cpu_count() or 1

    def of_panels(numbers: Array) -> list[tuple[float, ...]]:
        lower = np.zeros((len(percents), order_kernel.HALF), np.int32)
        found = []
        for number in numbers.tolist():
            upper[number] = order_kernel.upper_counts(panels[number])
            halves, rests = order_kernel.places_of(upper[number], percents)
            lower.fill(0)
            order_kernel.lower_counts(panels[number], halves, lower)
            found.append(order_kernel.values_of(halves, rests, lower))
        return found

    def of_part(part: Array) -> Array:
        lower = np.zeros((len(percents), order_kernel.HALF), np.int32)
        order_kernel.lower_counts(part, halves, lower)
        return lower

    upper: list[Array] = [np.zeros(0)] * len(panels)
    chunks = np.array_split(np.arange(len(panels)), threads)
    found = [each for some in pool.map(of_panels, chunks) for each in some]
    whole = np.zeros(order_kernel.HALF, np.int64)
    for each in upper:
        whole += each
    halves, rests = order_kernel.places_of(whole, percents)
    lower = sum(pool.map(of_part, np.array_split(panels.reshape(-1), threads)))
    return [*found, order_kernel.values_of(halves, rests, np.asarray(lower))]


def _numbers(
    pixels: int,
    changed: int,
    least: float,
    most: float,
    values: tuple[float, ...],
    noise: tuple[float, ...] | None,
) -> Numbers:
    if not values:
        return Numbers(pixels, changed, *(float("nan"),) * 4)
    low, median, high = values
    middle = (noise[0], noise[1]) if noise else None
    return Numbers(pixels, changed, low, median, high, max((least, most), key=abs), middle)


def _by_sorting(mine: Array, theirs: Array, rms: Array | None) -> ArrayNumbers:
    """The numbers of whatever there is."""
    difference = np.empty(mine.shape, np.float32 if _is_narrow(mine, theirs) else np.float64)
    panels = []
    for number in range(len(mine)):
        own = difference[number]
        with np.errstate(invalid="ignore", over="ignore"):
            np.subtract(theirs[number], mine[number], out=own, casting="unsafe", dtype=own.dtype)
        changed = int(_changed(mine[number], theirs[number]).sum())
        panels.append(_summary(own, changed, None if rms is None else rms[number]))
    if len(panels) == 1:
        return ArrayNumbers(panels[0], tuple(panels))
    changed = sum(each.changed for each in panels)
    total = _summary(difference.ravel(), changed, None if rms is None else rms.ravel())
    return ArrayNumbers(total, tuple(panels))


def _is_narrow(before: Array, after: Array) -> bool:
    return all(each.dtype == np.float32 for each in (before, after))


def _changed(before: Array, after: Array) -> Array:
    differs: Array = before != after
    if before.dtype.kind == "f" and after.dtype.kind == "f":
        differs &= ~(np.isnan(before) & np.isnan(after))
    return differs


def _summary(difference: Array, changed: int, noise: Array | None) -> Numbers:
    pixels = difference.size
    if not changed:
        return Numbers(pixels, 0, 0.0, 0.0, 0.0, 0.0, None if noise is None else (0.0, 0.0))
    finite = np.isfinite(difference)
    kept = difference if finite.all() else difference[finite]
    if not kept.size:
        return Numbers(pixels, changed, *(float("nan"),) * 4)
    low, median, high = _percentiles(kept, _PERCENT)
    ends = (float(kept.min()), float(kept.max()))
    in_noise = None
    if noise is not None:
        of = noise if finite.all() else noise[finite]
        with np.errstate(divide="ignore", invalid="ignore"):
            sizes = np.abs(kept) / of
        sizes = sizes[np.isfinite(sizes)]
        in_noise = _percentiles(sizes, (50, 99)) if sizes.size else None
    largest = max(ends, key=abs)
    return Numbers(pixels, changed, low, median, high, largest, in_noise)  # type: ignore[arg-type]


def _percentiles(values: Array, percents: tuple[int, ...]) -> tuple[float, ...]:
    """Order statistics: of the values themselves, none between two."""
    ranks = [(values.size - 1) * percent // 100 for percent in percents]
    ordered = np.partition(values, sorted(set(ranks)))
    return tuple(float(ordered[rank]) for rank in ranks)


def bits_of(before: Array, after: Array) -> dict[int, tuple[int, int]]:
    """Of each bit of a status that any pixel gained or lost: how many did.

    Raises
    ------
    Invalid
        When the shapes differ, or these are no bits.
    """
    if before.shape != after.shape:
        raise Invalid(f"arrays of shapes {before.shape} and {after.shape} have no differences")
    if before.dtype.kind not in "iu" or after.dtype.kind not in "iu":
        raise Invalid(f"a status of {before.dtype} and {after.dtype} has no bits")
    mine, theirs = before.astype(np.uint64), after.astype(np.uint64)
    gained, lost = theirs & ~mine, mine & ~theirs
    either = int(np.bitwise_or.reduce(gained | lost, axis=None))
    found = {}
    for place in range(64):
        bit = 1 << place
        if either & bit:
            word = np.uint64(bit)
            counts = (int(((each & word) != 0).sum()) for each in (gained, lost))
            found[bit] = tuple(counts)
    return found  # type: ignore[return-value]
