"""Raw frames from a ``.npy`` file, memory-mapped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

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
    detector
        The source, as ``XppGon.0:Epix100a.1``, or the name that the data have for it.
    kind
        Its type, as ``Epix100a`` or ``jungfrau``; ``""`` where the source tells.
    mode
        The gain mode of the frames, ``""`` for a detector without.
    """

    experiment: str
    run: int
    detector: str
    kind: str = ""
    mode: str = ""
    serials: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NpyFrames:
    """The frames of one detector in one gain mode; see `calstore.frames.source.FrameSource`."""

    path: Path
    labels: Labels
    frames: Array

    def contents(self) -> Contents:
        """One detector with one step."""
        labels = self.labels
        detector = DetectorData(
            labels.detector,
            labels.kind,
            labels.serials,
            self.frames.shape[1:],
            self.frames.dtype.newbyteorder("=").name,
            (Step(0, len(self.frames), labels.mode),),
        )
        return Contents(labels.experiment, labels.run, (detector,))

    def blocks(
        self, selections: Mapping[str, Selection], part: Part = WHOLE
    ) -> AbstractContextManager[Iterator[Block]]:
        """The selected frames, as views of the file."""
        for name in selections:
            if name != self.labels.detector:
                raise NotFound(f"no detector {name!r} in {self.path}: {self.labels.detector}")
        return nullcontext(
            block for selection in selections.values() for block in self._blocks(selection, part)
        )

    def evidence(self) -> tuple[Evidence, ...]:
        """The file as it is now."""
        found = self.path.stat()
        return (Evidence(str(self.path.resolve()), found.st_size, found.st_mtime_ns),)

    def _blocks(self, selection: Selection, part: Part) -> Iterator[Block]:
        if selection.codes:
            raise Invalid(f"{self.path} holds no event codes, so none can be asked for")
        frames = self.frames[selection.skip :]
        count = min(len(frames), selection.most) if selection.most else len(frames)
        size = max(1, _BLOCK_BYTES // max(1, frames[:1].nbytes))
        size = size // SHARE * SHARE or size
        start = 0
        while start < count:
            stop = min(start + size, count)
            needed = [number for number in range(start, stop) if part.needs(number)]
            if needed:
                yield Block(
                    self.labels.detector, 0, self.labels.mode, needed, _rows(frames, needed)
                )
            start = stop


def open_npy(path: Path, labels: Labels) -> NpyFrames:
    """The frames of a file of shape ``(frame, row, column)`` or ``(frame, segment, row, column)``.

    Raises
    ------
    NotFound
        When there is no such file.
    Invalid
        When it is no array of whole ADU of such a shape, or is cut short.
    """
    try:
        frames = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise NotFound(f"there is no file {path}; name the frames of the dark run") from None
    except OSError as error:
        reason = error.strerror or error
        raise Invalid(f"cannot read {path} ({reason}); name a file of frames") from error
    except (ValueError, EOFError) as error:
        raise Invalid(f"{path} is no .npy of frames, or is cut short ({error})") from error
    if not isinstance(frames, np.ndarray):
        frames.close()
        raise Invalid(f"{path} holds several arrays; name a .npy with one")
    if frames.dtype.name not in DTYPES:
        raise Invalid(
            f"{path} holds {frames.dtype.name}, but raw frames are whole ADU "
            f"({', '.join(DTYPES)}); save the detector's raw data"
        )
    if frames.ndim not in (3, 4) or 0 in frames.shape:
        raise Invalid(
            f"{path} has the shape {frames.shape}; frames are (frame, row, column) or "
            "(frame, segment, row, column), and not empty"
        )
    return NpyFrames(path, labels, frames)


def _rows(frames: Array, numbers: list[int]) -> Array:
    """These frames in C order and native byte order; a view where that is possible."""
    if numbers[-1] - numbers[0] + 1 == len(numbers):
        chosen = frames[numbers[0] : numbers[-1] + 1]
    else:
        chosen = frames[numbers]
    return np.ascontiguousarray(chosen, chosen.dtype.newbyteorder("="))
