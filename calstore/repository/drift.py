"""drift: how a constant moved, from range to range of a version or from record to record."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from calstore.checks.numbers import ArrayNumbers, numbers_of
from calstore.errors import Invalid, NotFound
from calstore.model.arrays import ArrayReference
from calstore.model.names import RefName
from calstore.repository.coverage import coverage
from calstore.repository.store import Store
from calstore.repository.version import CalibrationConstant, Version, load_set
from calstore.store import logs

if TYPE_CHECKING:
    Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True)
class Point:
    """The constant at one place on its way.

    Parameters
    ----------
    name
        A range of runs, or a record.
    when
        Of the record by which it came; ``""`` where that is not known.
    median
        Of its finite values, in its unit; ``None`` where there are none.
    panels
        The same of each panel.
    change
        Since the place before, in numbers; ``None`` for the first, and where the shape is another.
    """

    name: str
    when: str
    constant: CalibrationConstant
    median: float | None
    panels: tuple[float | None, ...]
    change: ArrayNumbers | None


def drift_over_runs(version: Version, detector: str, type_name: str) -> Iterator[Point]:
    """The constant that runs get, range by range.

    Raises
    ------
    NotFound
        When the version has no such detector or type.
    Invalid
        When a constant is no array.
    """
    found = version[detector]
    if type_name not in found.types:
        raise NotFound(f"no {type_name} for {found.source}; it has {', '.join(found.types)}")
    (covered,) = coverage(version, "/".join((found.group, found.source)))
    (course,) = (each for each in covered.types if each.name == type_name)
    constants = []
    for stretch in course.stretches:
        if stretch.winner is not None:
            constant = found.manifest.constants[type_name][stretch.winner]
            told = CalibrationConstant(found, type_name, stretch.winner, constant)
            constants.append((stretch.runs, told))
    yield from _points(constants)


def drift_over_records(
    store: Store, ref: str, detector: str, type_name: str, run: int
) -> Iterator[Point]:
    """What a run got of a ref, from record to record, where it changed.

    Raises
    ------
    NotFound
        When there is no such ref, or no record gives the run such a constant.
    Invalid
        When a constant is no array.
    """
    constants: list[tuple[str, CalibrationConstant]] = []
    for entry in reversed(list(logs.history(store.backend, RefName(ref).log))):
        record = entry.record
        if record.manifest is None:
            continue
        manifest = load_set(store, record.manifest)
        version = Version(store, record.name, record.manifest, manifest, record)
        try:
            constant = version[detector].at(run)[type_name]
        except NotFound:
            continue
        if not constants or constants[-1][1].digest != constant.digest:
            constants.append((record.name, constant))
    if not constants:
        raise NotFound(f"no record of {ref} gives run {run} a {type_name} of {detector}")
    yield from _points(constants)


def _points(constants: list[tuple[str, CalibrationConstant]]) -> Iterator[Point]:
    before: Array | None = None
    for name, constant in constants:
        if not isinstance(constant.constant.content, ArrayReference):
            raise Invalid(f"{constant} is an opaque file, whose drift has no numbers")
        array = constant.array
        change = None
        if before is not None and before.shape == array.shape and array.size:
            change = numbers_of(before, array, _noise(constant, array.shape))
        shape = array.shape[-2:] if array.ndim > 1 else array.shape
        panels = tuple(_median(panel) for panel in array.reshape(-1, *shape))
        record = constant.detector.version.record
        when = "" if record is None else record.stamp.when
        yield Point(name, when, constant, _median(array), panels, change)
        before = array


def _median(values: Array) -> float | None:
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if finite.size else None


def _noise(constant: CalibrationConstant, shape: tuple[int, ...]) -> Array | None:
    """The rms that the same runs get, for pedestals of this shape."""
    there = constant.detector.at(constant.runs.first)
    if constant.type_name != "pedestals" or "pixel_rms" not in there:
        return None
    array = there["pixel_rms"].array
    return array if array.shape == shape else None
