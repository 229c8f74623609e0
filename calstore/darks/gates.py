"""Gates per pixel from the first frames of a step: which values are summed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from calstore.darks.levels import Levels, over_pixels
from calstore.darks.recipe import PSANA

if TYPE_CHECKING:
    from calstore.darks.kernel import Gates as GateLevels
    from calstore.darks.recipe import DarkRecipe

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

SIGMA_OF_MAD: Final = 1.482602218505602
"""Sigma of a Gaussian over the median distance from its median: 1/Φ⁻¹(3/4)."""

WIDEST: Final = (1 << 22) - 1
"""ADU from the lower to the upper gate at most: squares of a million frames fit in 64 bits."""


@dataclass(frozen=True, slots=True, eq=False)
class Gates:
    """The lowest and highest value of each pixel that are summed, both included.

    Parameters
    ----------
    lo, hi
        Of the raw dtype, in the shape of a frame; 1 and 0 where no value is.
    frames
        How many frames they were made from.
    """

    lo: Array
    hi: Array
    frames: int

    @property
    def is_open(self) -> Array:
        """Which pixels have a value between their gates."""
        return self.lo <= self.hi

    def levels(self, levels: Levels) -> GateLevels:
        """As the kernels take them; an empty gate lets its lowest level through, as 0 ADU."""
        from calstore.darks.kernel import Gates as GateLevels

        lowest, highest = (levels.to_levels(value).reshape(-1) for value in (self.lo, self.hi))
        width = np.where(lowest <= highest, highest - lowest, levels.word.type(0))
        return GateLevels(lowest, width)

    def equals(self, other: Gates) -> bool:
        """Whether the gates are the same ones."""
        return (
            self.frames == other.frames
            and self.lo.dtype == other.lo.dtype
            and np.array_equal(self.lo, other.lo)
            and np.array_equal(self.hi, other.hi)
        )


def gates_of(frames: Array, recipe: DarkRecipe, threads: int = 1) -> Gates:
    """The gates that a recipe makes from these frames, shape ``(frame, …)``, one or more.

    Raises
    ------
    Invalid
        When the recipe is not for frames of this dtype.
    """
    levels = Levels.of(recipe, frames.dtype)
    make = _psana if recipe.name == PSANA else _robust
    lo, hi = make(levels, frames, recipe, threads)
    limits = np.iinfo(frames.dtype)
    lo = np.maximum(lo, limits.min)
    hi = np.minimum(np.minimum(hi, lo + WIDEST), limits.max)
    is_empty = lo > hi
    lo[is_empty], hi[is_empty] = 1, 0
    shape = frames.shape[1:]
    dtype = levels.dtype
    return Gates(lo.astype(dtype).reshape(shape), hi.astype(dtype).reshape(shape), len(frames))


def _psana(levels: Levels, frames: Array, recipe: DarkRecipe, threads: int) -> tuple[Array, Array]:
    """Order statistics as psana/detector/UtilsCalib.py:172-229, clipped as :335-363."""
    from calstore.darks import kernel

    words = levels.words(frames)
    last = len(frames) - 1
    ranks = np.array([math.floor(last * recipe.gate_lo), math.ceil(last * recipe.gate_hi)])
    found = np.empty((2, words.shape[1]), levels.word)
    select = kernel.quantiles_32 if levels.word.itemsize == 4 else kernel.quantiles_16
    rule, bits = levels.rule, levels.bits
    over_pixels(
        lambda pixels: select(words, pixels, rule, bits, ranks, found), words.shape[1], threads
    )
    lo, hi = (levels.to_values(level).astype(np.int64) for level in found)
    lo = np.maximum(lo, math.floor(recipe.int_lo))
    hi = np.minimum(hi, math.floor(recipe.int_hi))
    hi[hi <= lo] += 1
    return np.maximum(lo, math.ceil(recipe.int_lo)), np.minimum(hi, math.floor(recipe.int_hi))


def _robust(levels: Levels, frames: Array, recipe: DarkRecipe, threads: int) -> tuple[Array, Array]:
    """So many sigma from the median, and half an ADU for the rounding to whole ones.

    Twice the median and four times the median distance (MAD) are whole numbers. Of a pixel with
    more than half of its values alike nothing but MAD < 1/2 is known, so that is what is taken.
    """
    from calstore.darks import kernel

    words = levels.words(frames)
    found = np.empty((2, words.shape[1]), np.int64)
    select = kernel.medians_32 if levels.word.itemsize == 4 else kernel.medians_16
    rule, bits = levels.rule, levels.bits
    over_pixels(lambda pixels: select(words, pixels, rule, bits, found), words.shape[1], threads)
    twice_median, four_mad = found[0] - 2 * levels.flip, np.maximum(found[1], 2)
    # In half ADU; one product per pixel, which IEEE 754 rounds alike everywhere.
    reach = np.ceil(four_mad * (recipe.gate_sigmas * SIGMA_OF_MAD / 2)).astype(np.int64) + 1
    lo, hi = -((reach - twice_median) // 2), (twice_median + reach) // 2
    return np.maximum(lo, math.ceil(recipe.int_lo)), np.minimum(hi, math.floor(recipe.int_hi))
