"""Raw frames that lie one after the other in an array of a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from calstore.errors import Invalid, NotFound
from calstore.frames.source import SHARE, WHOLE, Block, Contents, DetectorData, Evidence, Part, Step
from calstore.model.inputs import DTYPES, Selection

if TYPE_CHECKING:
    Array = np.ndarray[Any, np.dtype[Any]]

_BLOCK_BYTES: Final = 32 * 2**20


@dataclass(frozen=True, slots=True)
class Labels:
    """What a file of bare frames cannot say of itself.

    Parameters
    ----------
    experiment, run
        ``""`` and ``None`` for what the file says.
    detector
        The source, as ``XppGon.0:Epix100a.1``, or the name that the data have for it; ``""`` for
        what the file says.
    kind
        Its type, as ``Epix100a`` or ``jungfrau``; ``""`` where the source tells.
    mode
        The gain mode of the frames, ``""`` for a detector without.
    """

    experiment: str = ""
    run: int | None = None
    detector: str = ""
    kind: str = ""
    mode: str = ""
    serials: tuple[str, ...] = ()


class ArrayLike(Protocol):
    """An array of frames that is read slice by slice: of numpy, h5py or zarr."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Frames first."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of a value."""
        ...

    def __getitem__(self, rows: slice) -> Any:
        """Some frames."""
        ...


@dataclass(frozen=True, slots=True)
class Stack:
    """The frames of one step.

    Parameters
    ----------
    together
        How many frames are best read at once: those of a chunk.
    """

    array: ArrayLike
    together: int = 1


@dataclass(frozen=True, slots=True)
class StackedFrames:
    """Frames that lie in arrays; see `calstore.frames.source.FrameSource`.

    Parameters
    ----------
    name
        By which the same can be opened again: the file, perhaps with a place inside it.
    stacks
        By detector and step.
    """

    path: Path
    name: str
    held: Contents
    stacks: Mapping[tuple[str, int], Stack]

    def contents(self) -> Contents:
        """What it holds."""
        return self.held

    def blocks(
        self, selections: Mapping[str, Selection], part: Part = WHOLE
    ) -> AbstractContextManager[Iterator[Block]]:
        """The selected frames, step by step."""
        there = {each.name: each for each in self.held.detectors}
        for name, selection in selections.items():
            if name not in there:
                raise NotFound(f"no detector {name!r} in {self.name}; it has {', '.join(there)}")
            if selection.codes:
                raise Invalid(f"{self.name} holds no event codes, so none can be asked for")
        return nullcontext(
            block
            for name, selection in selections.items()
            for step in there[name].steps
            for block in self._blocks(name, step, selection, part)
        )

    def configuration(self, detector: str, step: int) -> None:
        """Nothing: bare frames have no configuration beside them."""
        del detector, step

    def evidence(self) -> tuple[Evidence, ...]:
        """The file as it is now."""
        found = self.path.stat()
        return (Evidence(self.name, found.st_size, found.st_mtime_ns),)

    def _blocks(
        self, detector: str, step: Step, selection: Selection, part: Part
    ) -> Iterator[Block]:
        stack = self.stacks[detector, step.number]
        there = max(0, stack.array.shape[0] - selection.skip)
        count = min(there, selection.most) if selection.most else there
        for start, stop in _stretches(stack, count):
            for numbers in _runs(start, stop, part):
                rows = slice(numbers[0] + selection.skip, numbers[-1] + selection.skip + 1)
                frames = self._read(stack, rows)
                yield Block(detector, step.number, step.mode, numbers, frames)

    def _read(self, stack: Stack, rows: slice) -> Array:
        try:
            frames = np.asarray(stack.array[rows])
        except (OSError, RuntimeError, ValueError) as error:
            where = f"frames {rows.start} to {rows.stop - 1} of {self.name}"
            raise Invalid(f"cannot read {where} ({error}); is the file whole?") from error
        return np.ascontiguousarray(frames, frames.dtype.newbyteorder("="))


def detector_of(
    labels: Labels, name: str, stacks: Sequence[tuple[Stack, str]]
) -> tuple[DetectorData, dict[tuple[str, int], Stack]]:
    """A detector whose steps are these stacks, each with its gain mode.

    Raises
    ------
    Invalid
        When they are not of the same raw frames.
    """
    arrays = [stack.array for stack, _ in stacks]
    kinds = {(array.shape[1:], array.dtype.newbyteorder("=").name) for array in arrays}
    if len(kinds) > 1:
        told = " and ".join(f"{dtype} {shape}" for shape, dtype in sorted(kinds))
        raise Invalid(f"frames of {told} for {name}; those of one detector are alike")
    ((shape, dtype),) = kinds
    steps = tuple(
        Step(number, stack.array.shape[0], mode) for number, (stack, mode) in enumerate(stacks)
    )
    data = DetectorData(name, labels.kind, labels.serials, shape, dtype, steps)
    return data, {(name, number): stack for number, (stack, _) in enumerate(stacks)}


def check_frames(where: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    """Raise `Invalid` for an array that cannot be raw frames."""
    if dtype.name not in DTYPES:
        raise Invalid(
            f"{where} holds {dtype.name}, but raw frames are whole ADU "
            f"({', '.join(DTYPES)}); save the detector's raw data"
        )
    if len(shape) not in (3, 4) or 0 in shape:
        raise Invalid(
            f"{where} has the shape {shape}; frames are (frame, row, column) or "
            "(frame, segment, row, column), and not empty"
        )


def _stretches(stack: Stack, count: int) -> Iterator[tuple[int, int]]:
    """First frame, and one after the last, of what is read at once."""
    one = int(np.prod(stack.array.shape[1:], dtype=np.int64)) * stack.array.dtype.itemsize
    unit = max(SHARE, stack.together)
    size = max(1, _BLOCK_BYTES // max(1, one))
    size = size // unit * unit or size
    for start in range(0, count, size):
        yield start, min(start + size, count)


def _runs(start: int, stop: int, part: Part) -> Iterator[range]:
    """The frames that a process needs, in stretches without gaps."""
    first: int | None = None
    for number in range(start, stop):
        if part.needs(number):
            first = number if first is None else first
        elif first is not None:
            yield range(first, number)
            first = None
    if first is not None:
        yield range(first, stop)
