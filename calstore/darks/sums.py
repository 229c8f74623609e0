"""Exact sums of raw frames inside the gates: of any part of a run, in any order."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from calstore.darks.gates import Gates, gates_of
from calstore.darks.levels import Levels, over_pixels, processors
from calstore.errors import Invalid

if TYPE_CHECKING:
    from calstore.darks.kernel import Gates as GateLevels
    from calstore.darks.kernel import Sums
    from calstore.darks.recipe import DarkRecipe

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

MOST_FRAMES: Final = 1 << 20
"""Frames of one step at most, so that no sum overflows."""


@dataclass(frozen=True, slots=True, eq=False)
class GatedSums:
    """What some frames of one step add up to, for each pixel.

    Parameters
    ----------
    frames
        How many were added.
    gates
        Which values of a pixel were summed.
    is_short
        Whether the step has fewer frames than the recipe makes gates from.
    inside
        How many values were inside the gates.
    total, squares
        Sum, and sum of squares, of those values minus the lower gate, in ADU and ADU².
    below, above
        How many values were out of the allowed range, whatever the gates.
    minimum, maximum
        Of all values, in the raw dtype; of no frames the largest and the smallest number.
    bad_switch
        Whether gain bits ``10`` were seen.
    """

    frames: int
    gates: Gates
    is_short: bool
    inside: Array
    total: Array
    squares: Array
    below: Array
    above: Array
    minimum: Array
    maximum: Array
    bad_switch: Array


def merge(*sums: GatedSums) -> GatedSums:
    """The sums of all frames of these sums together, which have no frame in common.

    Any order and any grouping gives the same bits.

    Raises
    ------
    Invalid
        When there are none, or their gates are not the same.
    """
    if not sums:
        raise Invalid("no sums to merge; give those of one process at least")
    first = sums[0]
    for other in sums[1:]:
        if not first.gates.equals(other.gates) or first.is_short != other.is_short:
            raise Invalid(
                "sums of other gates cannot be merged; each part makes its gates from the same "
                "first frames of the step"
            )
    frames = sum(each.frames for each in sums)
    _refuse_too_many(frames)
    added = ("inside", "total", "squares", "below", "above")
    return GatedSums(
        frames=frames,
        gates=first.gates,
        is_short=first.is_short,
        minimum=np.minimum.reduce([each.minimum for each in sums]),
        maximum=np.maximum.reduce([each.maximum for each in sums]),
        bad_switch=np.logical_or.reduce([each.bad_switch for each in sums]),
        **{name: _added([getattr(each, name) for each in sums]) for name in added},
    )


class Accumulator:
    """Sums of the frames of one detector and step, which come block by block in event order.

    It keeps the first frames until the gates are made, and after that only sums.

    Parameters
    ----------
    recipe
        Made for this detector and dtype.
    shape
        Of one frame.
    threads
        How many to use; ``None`` for one per processor that the process may use.

    Raises
    ------
    Invalid
        When the recipe is not for frames of this dtype.
    """

    def __init__(
        self,
        recipe: DarkRecipe,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        threads: int | None = None,
    ) -> None:
        self._recipe = recipe
        self._shape = shape
        self._levels = Levels.of(recipe, np.dtype(dtype))
        self._threads = processors() if threads is None else threads
        self._head = np.empty((recipe.gate_frames, *shape), self._levels.dtype)
        self._head_owned = np.zeros(recipe.gate_frames, bool)
        self._head_frames = 0
        self._frames = 0
        self._gates: Gates | None = None
        self._gate_levels: GateLevels | None = None
        self._sums: Sums | None = None

    def add(self, frames: Array, owned: slice | Array = slice(None)) -> None:
        """Add a block of frames; all of them make the gates if they are among the first.

        Parameters
        ----------
        frames
            Shape ``(frame, *shape of one frame)``; not kept, and not changed.
        owned
            Which rows are summed here: a slice, or a boolean per row. The others belong to other
            processes.

        Raises
        ------
        Invalid
            When the frames are of another shape or dtype than those before, or too many.
        """
        if frames.dtype != self._levels.dtype or frames.shape[1:] != self._shape:
            raise Invalid(
                f"frames of {frames.dtype.name} {frames.shape[1:]} among those of "
                f"{self._levels.dtype.name} {self._shape}; was the detector configured anew?"
            )
        is_owned = np.zeros(len(frames), bool)
        is_owned[owned] = True
        if self._gates is None:
            taken = self._keep(frames, is_owned)
            frames, is_owned = frames[taken:], is_owned[taken:]
        if self._gates is not None:
            self._sum(frames, np.flatnonzero(is_owned))

    def finish(self) -> GatedSums:
        """The sums of all frames that were added; nothing can be added after that.

        Raises
        ------
        Invalid
            When there were no frames at all.
        """
        if self._gates is None:
            if self._head_frames == 0:
                raise Invalid("no frames, so there is nothing to make constants from")
            self._open()
        gates, sums = self._gates, self._sums
        assert gates is not None
        assert sums is not None
        is_open = gates.is_open.reshape(-1)
        named = {
            "inside": np.where(is_open, sums.inside, np.uint32(0)),
            "total": sums.total,
            "squares": sums.squares,
            "below": sums.below,
            "above": sums.above,
            "minimum": self._levels.to_values(sums.minimum),
            "maximum": self._levels.to_values(sums.maximum),
            "bad_switch": sums.bad if sums.bad.size else np.zeros(is_open.size, bool),
        }
        return GatedSums(
            frames=self._frames,
            gates=gates,
            is_short=gates.frames < self._recipe.gate_frames,
            **{name: array.reshape(self._shape) for name, array in named.items()},
        )

    def _keep(self, frames: Array, is_owned: Array) -> int:
        """How many frames were taken for the gates, which are made once these are enough."""
        first = self._head_frames
        taken = min(len(frames), len(self._head) - first)
        self._head[first : first + taken] = frames[:taken]
        self._head_owned[first : first + taken] = is_owned[:taken]
        self._head_frames += taken
        if self._head_frames == len(self._head):
            self._open()
        return taken

    def _open(self) -> None:
        """Make the gates, and sum those of the first frames that are owned."""
        from calstore.darks.kernel import Sums

        head, owned = self._head[: self._head_frames], self._head_owned[: self._head_frames]
        self._gates = gates_of(head, self._recipe, self._threads)
        self._gate_levels = self._gates.levels(self._levels)
        pixels, word = math.prod(self._shape), self._levels.word
        self._sums = Sums(
            inside=np.zeros(pixels, np.uint32),
            total=np.zeros(pixels, np.uint64),
            squares=np.zeros(pixels, np.uint64),
            below=np.zeros(pixels, np.uint32),
            above=np.zeros(pixels, np.uint32),
            minimum=np.full(pixels, np.iinfo(word).max, word),
            maximum=np.zeros(pixels, word),
            bad=np.zeros(pixels if self._recipe.bad_switch else 0, bool),
        )
        self._head = self._head[:0]
        self._sum(head, np.flatnonzero(owned))

    def _sum(self, frames: Array, rows: Array) -> None:
        from calstore.darks import kernel

        if not rows.size:
            return
        self._frames += rows.size
        _refuse_too_many(self._frames)
        words, rule = self._levels.words(frames), self._levels.rule
        gates, sums = self._gate_levels, self._sums
        add = kernel.add_32 if words.itemsize == 4 else kernel.add_16
        over_pixels(
            lambda pixels: add(words, rows, pixels, rule, gates, sums),
            words.shape[1],
            self._threads,
        )


def _added(arrays: list[Array]) -> Array:
    whole = arrays[0].copy()
    for array in arrays[1:]:
        whole += array
    return whole


def _refuse_too_many(frames: int) -> None:
    if frames > MOST_FRAMES:
        raise Invalid(
            f"{frames} frames of one step; {MOST_FRAMES} at most are summed exactly, so use fewer"
        )
