"""Raw frames to exact sums and digests, in one pass over the data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from calstore.darks.sums import Accumulator, GatedSums, merge
from calstore.errors import Invalid
from calstore.frames.source import Block, DetectorData, FrameSource, Part, Step
from calstore.model.digest import Digest, xxh128
from calstore.model.inputs import Frames, Selection

if TYPE_CHECKING:
    from typing import Any

    from calstore.darks.recipe import DarkRecipe

    Array = np.ndarray[Any, np.dtype[Any]]

Key: TypeAlias = tuple[str, int]
"""A detector's name and the number of a step."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which steps of a detector are read, by which recipe, and only events of which codes."""

    data: DetectorData
    steps: tuple[Step, ...]
    recipe: DarkRecipe
    codes: tuple[int, ...] = ()

    @property
    def selection(self) -> Selection:
        """The events of each step that are used."""
        return selection_of(self.recipe, self.codes)

    @property
    def events(self) -> int | None:
        """How many frames will be read; ``None`` where the data do not say."""
        counts = [step.events for step in self.steps]
        if None in counts or self.codes:
            return None
        most = self.recipe.frames
        left = [max(0, count - self.recipe.skip) for count in counts if count is not None]
        return sum(min(count, most) if most else count for count in left)


@dataclass(frozen=True, slots=True)
class Measured:
    """What one process, or all of them together, made of the frames of one step.

    Parameters
    ----------
    digests
        Of each frame, by its number in the step.
    """

    sums: GatedSums
    digests: Mapping[int, Digest]
    dtype: str
    shape: tuple[int, ...]

    @property
    def frames(self) -> Frames:
        """The identity of the frames, which must be all there."""
        return Frames.of(
            self.dtype, self.shape, [self.digests[number] for number in range(len(self.digests))]
        )


def selection_of(recipe: DarkRecipe, codes: tuple[int, ...]) -> Selection:
    """The events of a step that a recipe uses, of those with one of the event codes."""
    return Selection(tuple(sorted(codes)), recipe.skip, recipe.frames)


def measure(
    source: FrameSource,
    wanted: Sequence[Wanted],
    part: Part,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[Key, Measured]:
    """The exact sums and the digests of the frames that a process owns, by detector and step.

    Parameters
    ----------
    part
        Which frames these are; its head is set here, by what the recipes need for their gates.
    progress
        Called with the number of frames read and of all, which is 0 where nobody knows.

    Raises
    ------
    NotFound
        When a detector is not in the data.
    Invalid
        When the frames are not alike, or cannot be read to the end.
    """
    by_name = {each.data.name: each for each in wanted}
    steps = {(each.data.name, step.number) for each in wanted for step in each.steps}
    head = max(each.recipe.gate_frames for each in wanted)
    part = Part(part.rank, part.of, head)
    total = _total(wanted)
    running: dict[Key, _Running] = {}
    done = 0
    with source.blocks({name: each.selection for name, each in by_name.items()}, part) as blocks:
        for block in blocks:
            key = (block.detector, block.step)
            if key not in steps:
                continue
            if key not in running:
                running[key] = _Running.of(by_name[block.detector].recipe, block)
            running[key].add(block, part)
            done += len(block.numbers)
            progress(done, total)
    progress(total, total)
    return {key: each.finish() for key, each in running.items()}


def merged(parts: Sequence[Mapping[Key, Measured]]) -> dict[Key, Measured]:
    """What several processes measured, as if one had; the same bits in any order."""
    together: dict[Key, Measured] = {}
    for key in sorted({key for part in parts for key in part}):
        found = [part[key] for part in parts if key in part]
        digests = {number: digest for one in found for number, digest in one.digests.items()}
        sums = merge(*(one.sums for one in found))
        together[key] = Measured(sums, digests, found[0].dtype, found[0].shape)
    return together


class _Running:
    """The sums and digests of one detector and step, while its frames come in."""

    def __init__(self, recipe: DarkRecipe, dtype: str, shape: tuple[int, ...]) -> None:
        self.dtype, self.shape = dtype, shape
        self.accumulator = Accumulator(recipe, shape, np.dtype(dtype))
        self.digests: dict[int, Digest] = {}

    @classmethod
    def of(cls, recipe: DarkRecipe, block: Block) -> _Running:
        return cls(recipe, str(block.frames.dtype), block.frames.shape[1:])

    def add(self, block: Block, part: Part) -> None:
        frames = block.frames
        if (str(frames.dtype), frames.shape[1:]) != (self.dtype, self.shape):
            raise Invalid(
                f"frame {block.numbers[0]} of {block.detector} is {frames.dtype} "
                f"{frames.shape[1:]}, those before are {self.dtype} {self.shape}; was the detector "
                "configured anew in the middle of the run?"
            )
        owned = np.fromiter((part.owns(number) for number in block.numbers), bool)
        for number, frame, is_owned in zip(block.numbers, frames, owned, strict=True):
            if is_owned:
                self.digests[number] = _digest(frame)
        self.accumulator.add(frames, owned)

    def finish(self) -> Measured:
        return Measured(self.accumulator.finish(), self.digests, self.dtype, self.shape)


def _digest(frame: Array) -> Digest:
    little = np.ascontiguousarray(frame, frame.dtype.newbyteorder("<"))
    return xxh128(little.reshape(-1).view(np.uint8).data)


def _total(wanted: Sequence[Wanted]) -> int:
    counts = [each.events for each in wanted]
    return 0 if None in counts else sum(count for count in counts if count is not None)
