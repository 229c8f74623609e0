"""What belongs to panels wherever they go, for an experiment that does not have it yet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from calstore.model.manifests import Constant, Detector
from calstore.model.names import RefName
from calstore.model.records import Parent
from calstore.model.runs import END, RunRange
from calstore.repository.store import Store
from calstore.repository.version import DetectorConstants, Version
from calstore.store import logs

TYPES: Final = ("pixel_gain", "pixel_offset", "geometry")
"""Types that no dark makes, and that change with the panels rather than with the experiment."""

ALL_RUNS: Final = RunRange(0, END)


@dataclass(frozen=True, slots=True)
class Inherited:
    """Constants that are taken from a ref of the same panels, for all runs.

    Parameters
    ----------
    source
        The record that they are of, as ``detectors/3925999620/main@3``; ``""`` for none.
    """

    constants: Mapping[str, Constant] = field(default_factory=dict)
    source: str = ""
    parents: tuple[Parent, ...] = ()


def inherited(
    store: Store, version: Version | None, key: Detector, serials: Sequence[str]
) -> Inherited:
    """Those of `TYPES` that a version lacks for a detector and a ref of the same panels has.

    A ref is of the same panels when its constants say these serials, or when its id,
    ``detectors/<id>/<name>``, is the serial of the only panel.
    """
    there: Sequence[str] = ()
    if version is not None and key in version.manifest.detectors:
        there = version.detector(key).types
    missing = [name for name in TYPES if name not in there]
    if not serials or not missing:
        return Inherited()
    for ref, entry in _refs_of_detectors(store):
        found = {
            name: constant
            for detector in _detectors(store[entry.record.name])
            for name in missing
            if (constant := _newest(detector, name, tuple(serials), ref.text)) is not None
        }
        if found:
            return Inherited(found, entry.record.name, (entry.parent,))
    return Inherited()


def _refs_of_detectors(store: Store) -> Iterator[tuple[RefName, logs.Entry]]:
    """The refs that belong to detectors, those called ``main`` first."""
    names = (RefName(log.removeprefix("refs/")) for log in logs.names(store.backend, _FAMILY))
    for ref in sorted(names, key=lambda ref: (not ref.text.endswith("/main"), ref.text)):
        entry = store.head(ref.log)
        if entry is not None and entry.record.manifest is not None:
            yield ref, entry


_FAMILY: Final = "refs/detectors/"


def _detectors(version: Version) -> Iterator[DetectorConstants]:
    return (version.detector(key) for key in version.detectors)


def _newest(
    detector: DetectorConstants, type_name: str, serials: tuple[str, ...], ref: str
) -> Constant | None:
    """What the newest runs get of a type, if it is for these panels."""
    by_range = detector.manifest.constants.get(type_name, {})
    if not by_range:
        return None
    runs = detector.timeline(type_name).at(END) or max(by_range)
    constant = by_range[runs]
    is_named = len(serials) == 1 and ref.split("/")[1] == serials[0]
    if constant.serials != serials and not (is_named and not constant.serials):
        return None
    return replace(constant if runs == ALL_RUNS else constant.renamed(), serials=serials)
