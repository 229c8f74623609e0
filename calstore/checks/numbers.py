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
    stacks = [each if each is None else each.reshape(-1, *shape) for each in (before, after, noise)]
    mine, theirs, rms = stacks
    assert mine is not None
    assert theirs is not None
    difference = np.empty(before.size, np.float32 if _is_narrow(before, after) else np.float64)
    size = int(np.prod(shape))

    def of_panel(number: int) -> Numbers:
        own = difference[number * size : (number + 1) * size]
        sides = (theirs[number].ravel(), mine[number].ravel())
        with np.errstate(invalid="ignore", over="ignore"):
            np.subtract(*sides, out=own, casting="unsafe", dtype=own.dtype)
        changed = int(_changed(mine[number], theirs[number]).sum())
        return _summary(own, changed, None if rms is None else rms[number].ravel())

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        panels = tuple(pool.map(of_panel, range(len(mine))))
    if len(panels) == 1:
        return ArrayNumbers(panels[0], panels)
    changed = sum(each.changed for each in panels)
    total = _summary(difference, changed, None if noise is None else noise.ravel())
    return ArrayNumbers(total, panels)


def _is_narrow(before: Array, after: Array) -> bool:
    return all(each.dtype.kind == "f" and each.dtype.itemsize <= 4 for each in (before, after))


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
