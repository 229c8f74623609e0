"""coverage: what each run gets of a version, and why."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from calstore.model.records import Record
from calstore.model.runs import RunRange
from calstore.repository.provenance import records_of
from calstore.repository.version import CalibrationConstant, Version
from calstore.views.coverage import DetectorCoverage, Shadow, coverage_of, shadow_of


@dataclass(frozen=True, slots=True)
class Answer:
    """What one run gets of one type, and why.

    Parameters
    ----------
    constant
        ``None`` where psana goes on with its default.
    beaten
        Ranges that hold the run too: they begin earlier, or together and end later.
    record
        The record by which the constant came; ``None`` for a version opened by digest.
    """

    type_name: str
    constant: CalibrationConstant | None
    beaten: tuple[RunRange, ...]
    record: Record | None


def coverage(version: Version, detector: str | None = None) -> tuple[DetectorCoverage, ...]:
    """Which constant each run gets, for each detector or for one.

    Parameters
    ----------
    detector
        The source, or a unique part of it.

    Raises
    ------
    NotFound
        When there is no such detector.
    """
    keys = version.detectors if detector is None else (version.find(detector),)
    manifests = {key: version.detector(key).manifest for key in keys}
    return coverage_of(manifests, version.manifest.files)


def shadow_in(version: Version, detector: str, type_name: str, runs: RunRange) -> Shadow | None:
    """What takes runs from a constant that a version has, ``None`` if it reaches all of them."""
    return shadow_of(version[detector].manifest.constants[type_name], runs)


def answers(version: Version, found: DetectorCoverage, run: int) -> Iterator[Answer]:
    """What a run gets of each type that a detector has, and by which record it came."""
    detector = version.detector(found.detector)
    winners = {covered.name: covered.at(run) for covered in found.types}
    wanted = {
        (found.detector, name, runs): detector.manifest.constants[name][runs]
        for name, runs in winners.items()
        if runs is not None
    }
    records = records_of(version, wanted)
    for name, winner in winners.items():
        by_range = detector.manifest.constants[name]
        beaten = tuple(runs for runs in by_range if runs.holds(run) and runs != winner)
        if winner is None:
            yield Answer(name, None, beaten, None)
        else:
            constant = CalibrationConstant(detector, name, winner, by_range[winner])
            record = records.get((found.detector, name, winner))
            yield Answer(name, constant, beaten, record)
