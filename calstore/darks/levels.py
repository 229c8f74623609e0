"""Raw values as unsigned levels: masked, and in an order that holds for signed values too.

The kernels know unsigned words of 16 and 32 bits only. A signed value has its highest bit
inverted, so that the order of the levels is the order of the values.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from calstore.errors import Invalid
from calstore.model.inputs import DTYPES

if TYPE_CHECKING:
    from calstore.darks.kernel import Rule
    from calstore.darks.recipe import DarkRecipe

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

RANGES_PER_THREAD: Final = 4


@dataclass(frozen=True, slots=True)
class Levels:
    """How the raw values of one dtype become levels, and back.

    Parameters
    ----------
    dtype
        Of the raw values.
    mask
        Bits of a value that are signal.
    flip
        The bit that is inverted after that; 0 for unsigned values.
    low, high
        The levels of the allowed range, both included.
    """

    dtype: np.dtype[Any]
    mask: int
    flip: int
    low: int
    high: int

    @classmethod
    def of(cls, recipe: DarkRecipe, dtype: np.dtype[Any]) -> Levels:
        """The levels of raw values under a recipe.

        Raises
        ------
        Invalid
            When the dtype is none of raw frames, or the recipe is not for it.
        """
        if dtype.name not in DTYPES:
            raise Invalid(
                f"frames of {dtype.name} are no raw frames, which hold whole ADU "
                f"({', '.join(DTYPES)}); read the detector's raw data"
            )
        bits = 8 * dtype.itemsize
        if recipe.data_bits >= 1 << bits or (recipe.bad_switch and dtype.name != "uint16"):
            raise Invalid(
                f"the recipe {recipe.name} with data_bits = {recipe.data_bits:#x} and bad_switch = "
                f"{recipe.bad_switch} is not for frames of {dtype.name}; make one for them"
            )
        top = (1 << bits) - 1
        flip = 1 << bits - 1 if dtype.kind == "i" and recipe.data_bits == top else 0
        low, high = math.ceil(recipe.int_lo) + flip, math.floor(recipe.int_hi) + flip
        if max(low, 0) > min(high, top):
            raise Invalid(
                f"no value of {dtype.name} is from int_lo = {recipe.int_lo:g} to int_hi = "
                f"{recipe.int_hi:g} of the recipe {recipe.name}"
            )
        native = dtype.newbyteorder("=")
        return cls(native, recipe.data_bits, flip, max(low, 0), min(high, top))

    @property
    def word(self) -> np.dtype[Any]:
        """The dtype that the kernels take: unsigned, 16 or 32 bits."""
        return np.dtype(np.uint32 if self.dtype.itemsize == 4 else np.uint16)

    @property
    def bits(self) -> int:
        """How many bits a level can have."""
        return max(self.mask, self.flip).bit_length()

    @property
    def rule(self) -> Rule:
        """What the kernels need to know."""
        from calstore.darks.kernel import Rule

        return Rule(*map(self.word.type, (self.mask, self.flip, self.low, self.high)))

    def words(self, frames: Array) -> Array:
        """Raw frames as words ``(frame, pixel)``, read-only; a copy only of 8 bits."""
        flat = np.ascontiguousarray(frames).reshape(len(frames), -1)
        if flat.dtype.itemsize == 1:
            flat = flat.astype(np.uint16)
        words = flat.view(self.word)
        # numba compiles a function once for arrays that it may write and once for others.
        words.flags.writeable = False
        return words

    def to_levels(self, values: Array) -> Array:
        """Raw values, masked already, as levels."""
        words = values.astype(self.word) if values.dtype.itemsize == 1 else values.view(self.word)
        levels: Array = words ^ self.word.type(self.flip)
        return levels

    def to_values(self, levels: Array) -> Array:
        """Levels as raw values."""
        words: Array = levels ^ self.word.type(self.flip)
        return words.astype(self.dtype) if self.dtype.itemsize == 1 else words.view(self.dtype)


def processors() -> int:
    """How many processors this process may use: fewer than there are, where mpirun binds it."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def over_pixels(work: Callable[[tuple[int, int]], None], pixels: int, threads: int) -> None:
    """Do the work for ranges of pixels, ``(first, one after the last)``, in so many threads.

    This thread is one of them. Each takes the next range when it is done with one, so that a
    processor that others use too does not keep all waiting.
    """
    parts = threads * RANGES_PER_THREAD if threads > 1 else 1
    edges = (pixels * part // parts for part in range(parts + 1))
    # next() of a generator is not for several threads, that of a list's iterator is.
    ranges = iter([pair for pair in pairwise(edges) if pair[0] < pair[1]])

    def do_next() -> None:
        for pair in ranges:
            work(pair)

    if threads == 1:
        do_next()
        return
    with ThreadPoolExecutor(threads - 1) as pool:
        others = [pool.submit(do_next) for _ in range(threads - 1)]
        do_next()
    for other in others:
        other.result()
