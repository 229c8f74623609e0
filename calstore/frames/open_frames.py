"""Files of raw frames, opened by what they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from calstore.errors import Invalid
from calstore.frames.source import FrameSource
from calstore.frames.stacks import Labels

_HDF5: Final = (".h5", ".hdf5", ".nxs")
_ZARR: Final = ".zarr"
_PSANA: Final = (".xtc", ".xtc2")


@dataclass(frozen=True, slots=True)
class PsanaPython:
    """Which python has psana, and where one is looked for (`calstore.frames.psana`)."""

    python: str | None = None
    path: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)


def is_of_psana(text: str) -> bool:
    """Whether psana reads it: xtc, xtc2, or a directory of such."""
    path = Path(text)
    return path.name.removesuffix(".inprogress").endswith(_PSANA) or (
        path.is_dir() and path.suffix != _ZARR
    )


def open_frames(text: str, labels: Labels) -> FrameSource:
    """The frames of a ``.npy``, of HDF5 (``FILE.h5:/dataset``) or of zarr (``DIRECTORY.zarr``).

    Raises
    ------
    NotFound
        When there is no such file or dataset.
    Invalid
        When it holds no raw frames, or is of another kind.
    """
    path, inside = split_place(text)
    if path.suffix in _HDF5:
        from calstore.frames.hdf5 import open_hdf5

        return open_hdf5(path, inside, labels)
    if path.suffix == _ZARR:
        from calstore.frames.zarr_frames import open_zarr

        return open_zarr(path, inside, labels)
    if path.suffix == ".npy" and not inside:
        from calstore.frames.npy import open_npy

        return open_npy(path, labels)
    raise Invalid(
        f"{text} is of no kind that holds raw frames here: .npy, .h5:/dataset, .zarr, .xtc, .xtc2"
    )


def open_streams(files: Sequence[str], labels: Labels, psana: PsanaPython) -> FrameSource:
    """The frames of one run by psana: all its streams, or the directory that has them.

    Raises
    ------
    NotFound
        When there is no such file, or no python with psana.
    Invalid
        When psana cannot read them.
    """
    from calstore.frames.psana import open_psana

    paths = [Path(file) for file in files]
    directory = paths[0] if len(paths) == 1 and paths[0].is_dir() else None
    return open_psana(
        files=() if directory else paths,
        experiment=labels.experiment,
        run=labels.run,
        directory=directory,
        mode=labels.mode,
        python=psana.python,
        path=psana.path,
        environment=psana.environment,
    )


def split_place(text: str) -> tuple[Path, str]:
    """A file, and a place inside it, which may be ``""``."""
    for suffix in (*_HDF5, _ZARR):
        head, found, inside = text.rpartition(f"{suffix}:")
        if found:
            return Path(head + suffix), inside
    return Path(text), ""
