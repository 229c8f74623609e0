"""The seam between raw frames and what is computed from them.

Each kind of file has a function that opens it as a `FrameSource`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from calstore.errors import Invalid
from calstore.model.inputs import Evidence, Selection

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

__all__ = ["Block", "Contents", "DetectorData", "Evidence", "FrameSource", "Part", "Step"]

SHARE: Final = 32
"""How many frames in a row belong to one process where several share a run."""


@dataclass(frozen=True, slots=True)
class Step:
    """A stretch of a run in which nothing was changed.

    Parameters
    ----------
    number
        Counted from 0.
    events
        How many events have a frame of the detector; ``None`` where only reading all would tell.
    mode
        The gain mode that the detector was in, ``""`` where it has none or the data do not say.
        A step is a gain mode only for the detector that the scan names.
    """

    number: int
    events: int | None = None
    mode: str = ""


@dataclass(frozen=True, slots=True)
class DetectorData:
    """What the data hold of one detector.

    Parameters
    ----------
    name
        What the data call it: ``epix100``, or its source where that is known
        (``XppGon.0:Epix100a.1``).
    kind
        Its type as the data say it: ``epix100``, ``jungfrau``, ``Epix100a``; ``""`` if unknown.
    serials
        Of the panels, in the order of the segments; empty where the data do not say.
    shape
        Of one frame: ``(row, column)`` or ``(segment, row, column)``.
    dtype
        numpy's name of it, as ``uint16``.
    """

    name: str
    kind: str
    serials: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Contents:
    """What a source holds: ``experiment`` is ``""`` and ``run`` ``None`` where it does not say.

    Parameters
    ----------
    unique_ids
        Of a run of LCLS-II, by the names of all its detectors, those without frames too.
    """

    experiment: str
    run: int | None
    detectors: tuple[DetectorData, ...]
    unique_ids: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Part:
    """The frames that one of several processes reads: all of the head, and its share of the rest.

    Frame ``n`` of a step (after the selection) is of process ``n // SHARE % of``. Those of the
    head (``n < head``) are given to every process, since the gates are made from them.
    """

    rank: int = 0
    of: int = 1
    head: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.of:
            raise Invalid(f"process {self.rank} of {self.of}; they are counted from 0")

    def owns(self, number: int) -> bool:
        """Whether the frame counts for this process: each frame counts for one."""
        return number // SHARE % self.of == self.rank

    def needs(self, number: int) -> bool:
        """Whether the process must be given the frame."""
        return number < self.head or self.owns(number)


WHOLE: Final = Part()
"""All frames, where one process reads a run."""


@dataclass(frozen=True, slots=True)
class Block:
    """Some frames of one detector and step, in event order.

    Parameters
    ----------
    numbers
        Of the frames in their step, after the selection, ascending; without gaps unless a `Part`
        leaves frames out.
    frames
        Shape ``(frame, *shape of one frame)``, C order, native byte order, read-only or not. Valid
        until the next block is asked for: the source may use the memory again.
    """

    detector: str
    step: int
    mode: str
    numbers: Sequence[int]
    frames: Array


class FrameSource(Protocol):
    """Frames that can be read once more from the start; memory stays bounded however many.

    Every method raises only the errors of `calstore.errors`: `NotFound` for a file, detector or
    dataset that is not there, `Invalid` for what holds no raw frames, or is cut short.
    """

    def contents(self) -> Contents:
        """What it holds; reads as little as possible."""
        ...

    def blocks(
        self, selections: Mapping[str, Selection], part: Part = ...
    ) -> AbstractContextManager[Iterator[Block]]:
        """The selected frames of these detectors, in one pass over the data.

        Blocks of different detectors and steps may be mixed; those of one detector and step come
        in event order. Leaving the context early stops whatever is reading.
        """
        ...

    def configuration(self, detector: str, step: int) -> Array | None:
        """The bits of the gain mode of each pixel in a step, ``(segment, row, column)``, uint8.

        Those of psana/detector/UtilsEpix10ka.py: 4 and 8 of the pixel, 16 of its chip. ``None``
        where the data have none, as for a detector whose raw values tell the mode alone.
        """
        ...

    def evidence(self) -> tuple[Evidence, ...]:
        """The files that it is read from."""
        ...
