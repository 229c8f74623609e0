"""Raw frames from a ``.npy`` file, memory-mapped."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from calstore.errors import Invalid, NotFound
from calstore.frames.source import Contents
from calstore.frames.stacks import Labels, Stack, StackedFrames, check_frames, detector_of

__all__ = ["Labels", "open_npy"]


def open_npy(path: Path, labels: Labels) -> StackedFrames:
    """The frames of a file of shape ``(frame, row, column)`` or ``(frame, segment, row, column)``.

    Raises
    ------
    NotFound
        When there is no such file.
    Invalid
        When it is no array of whole ADU of such a shape, or is cut short; when nobody says whose
        frames they are.
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
    check_frames(str(path), frames.dtype, frames.shape)
    if not labels.detector:
        raise Invalid(f"{path} does not tell whose frames it holds; add --detector SOURCE")
    data, stacks = detector_of(labels, labels.detector, [(Stack(frames), labels.mode)])
    held = Contents(labels.experiment, labels.run, (data,))
    return StackedFrames(path, str(path.resolve()), held, stacks)
