"""Raw frames from HDF5: one dataset, or a run of LCLS-I as its translator wrote it.

The translator's layout is ``/Configure:0000/Run:0000/CalibCycle:NNNN/<type>/<source>/<dataset>``,
one CalibCycle for each step.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np

from calstore.errors import Invalid, NotFound
from calstore.frames.source import Contents, DetectorData
from calstore.frames.stacks import Labels, Stack, StackedFrames, check_frames, detector_of
from calstore.model.conventions import is_source
from calstore.model.inputs import DTYPES

_STEP = re.compile(r"Configure:0000/Run:0000/CalibCycle:(?P<step>[0-9]{4})")
_NAMES: Final = ("image", "data", "frame")
"""What the translator calls the frames of a detector."""

_EXPERIMENT_AND_RUN = re.compile(r"(?P<experiment>[A-Za-z0-9]+)-r(?P<run>[0-9]{4,})")


def open_hdf5(path: Path, inside: str, labels: Labels) -> StackedFrames:
    """The frames of a dataset, or of all detectors of a translated run.

    Parameters
    ----------
    inside
        The dataset's path, shaped as `calstore.frames.npy.open_npy` says; ``""`` for a translated
        run. Attributes ``detector``, ``kind``, ``mode`` and ``serials`` of a dataset say what the
        labels do not.

    Raises
    ------
    NotFound
        When there is no such file or dataset.
    Invalid
        When it is no HDF5, or holds no raw frames, or nobody says whose they are.
    """
    try:
        file = h5py.File(path, "r")
    except FileNotFoundError:
        raise NotFound(f"there is no file {path}; name the frames of the dark run") from None
    except OSError as error:
        raise Invalid(f"{path} is no HDF5 file, or is cut short ({error})") from error
    return _dataset(path, file, inside, labels) if inside else _translated(path, file, labels)


def _dataset(path: Path, file: h5py.File, inside: str, labels: Labels) -> StackedFrames:
    name = f"{path.resolve()}:{inside}"
    dataset = file.get(inside)
    if not isinstance(dataset, h5py.Dataset):
        there = ", ".join(_datasets(file)) or "none"
        raise NotFound(f"no dataset {inside} in {path}; of frames it has {there}")
    check_frames(name, dataset.dtype, dataset.shape)
    labels = _completed(labels, dataset.attrs)
    if not labels.detector:
        raise Invalid(f"{name} does not tell whose frames it holds; add --detector SOURCE")
    data, stacks = detector_of(labels, labels.detector, [(_stack(dataset), labels.mode)])
    return StackedFrames(path, name, Contents(labels.experiment, labels.run, (data,)), stacks)


def _translated(path: Path, file: h5py.File, labels: Labels) -> StackedFrames:
    found: dict[str, list[tuple[Stack, str]]] = {}
    for source, dataset in _frames_of_steps(file):
        check_frames(f"{path}:{dataset.name}", dataset.dtype, dataset.shape)
        found.setdefault(source, []).append((_stack(dataset), labels.mode))
    if not found:
        there = ", ".join(_datasets(file))
        more = f"name one of its datasets: {path}:{there}" if there else "it has no frames at all"
        raise Invalid(f"{path} is no run that was translated from xtc; {more}")
    detectors: list[DetectorData] = []
    stacks: dict[tuple[str, int], Stack] = {}
    for source, its in found.items():
        data, own = detector_of(replace(labels, kind="", serials=()), source, its)
        detectors.append(data)
        stacks |= own
    told = _EXPERIMENT_AND_RUN.match(path.name)
    experiment, run = (told[1], int(told[2])) if told else (labels.experiment, labels.run)
    held = Contents(experiment, run, tuple(detectors))
    return StackedFrames(path, str(path.resolve()), held, stacks)


def _frames_of_steps(file: h5py.File) -> Iterator[tuple[str, h5py.Dataset]]:
    """Source and dataset of each step, in the order of the steps."""
    run = file.get("Configure:0000/Run:0000")
    for step in sorted(run) if isinstance(run, h5py.Group) else ():
        if not _STEP.fullmatch(f"Configure:0000/Run:0000/{step}"):
            continue
        for kind in run[step].values():
            for source, group in kind.items() if isinstance(kind, h5py.Group) else ():
                named = [group.get(name) for name in _NAMES] if is_source(source) else []
                for dataset in named:
                    if isinstance(dataset, h5py.Dataset) and dataset.dtype.name in DTYPES:
                        yield source, dataset
                        break


def _stack(dataset: h5py.Dataset) -> Stack:
    return Stack(dataset, dataset.chunks[0] if dataset.chunks else 1)


def _datasets(file: h5py.File) -> list[str]:
    """The paths of what could be frames."""
    found: list[str] = []

    def note(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.ndim in (3, 4) and item.dtype.name in DTYPES:
            found.append(f"/{name}")

    file.visititems(note)
    return found


def _completed(labels: Labels, attributes: Any) -> Labels:
    """The labels, with what the dataset's attributes say in the place of what they do not."""
    serials = attributes.get("serials", ())
    listed = (serials,) if isinstance(serials, str) else tuple(map(_text, np.atleast_1d(serials)))
    return replace(
        labels,
        detector=labels.detector or _text(attributes.get("detector", "")),
        kind=labels.kind or _text(attributes.get("kind", "")),
        mode=labels.mode or _text(attributes.get("mode", "")),
        serials=labels.serials or listed,
    )


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
