"""Raw frames from a zarr array."""

from __future__ import annotations

from pathlib import Path

from calstore.errors import Invalid, NotFound
from calstore.frames.source import Contents
from calstore.frames.stacks import Labels, Stack, StackedFrames, check_frames, detector_of


def open_zarr(path: Path, inside: str, labels: Labels) -> StackedFrames:
    """The frames of a zarr array (format 2 or 3), shaped as `calstore.frames.npy.open_npy` says.

    Parameters
    ----------
    inside
        The array's place in a group; ``""`` where the path is the array.

    Raises
    ------
    NotFound
        When there is no such array.
    Invalid
        When it holds no raw frames, or nobody says whose they are.
    """
    import zarr

    name = f"{path.resolve()}:{inside}" if inside else str(path.resolve())
    if not path.is_dir():
        raise NotFound(f"there is no {path}; name the frames of the dark run")
    try:
        array = zarr.open_array(str(path), path=inside, mode="r")
    except Exception as error:  # zarr, numcodecs and json have no error in common
        raise Invalid(
            f"{name} is no zarr array ({type(error).__name__}: {error}); name one in a group as "
            f"{path}:NAME"
        ) from error
    check_frames(name, array.dtype, array.shape)
    if not labels.detector:
        raise Invalid(f"{name} does not tell whose frames it holds; add --detector SOURCE")
    together = (array.shards or array.chunks)[0]
    data, stacks = detector_of(labels, labels.detector, [(Stack(array, together), labels.mode)])
    return StackedFrames(path, name, Contents(labels.experiment, labels.run, (data,)), stacks)
