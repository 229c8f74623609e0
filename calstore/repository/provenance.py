"""Where a constant comes from: the record by which it came into a version, and HISTORY."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from calstore.errors import NotFound
from calstore.model.digest import Reference
from calstore.model.manifests import Constant, Detector, DetectorManifest
from calstore.model.records import Record
from calstore.model.runs import RunRange
from calstore.repository.store import Store
from calstore.repository.version import CalibrationConstant, Version, load_detector, load_set
from calstore.store import logs, objects

if TYPE_CHECKING:
    from calstore.formats.history import HistoryLine


@dataclass(frozen=True, slots=True)
class Provenance:
    """How a constant came into a version.

    Parameters
    ----------
    record
        The oldest record from which on the version, and what it was forked from, had it.
    history
        Lines of the imported HISTORY that name its file. Evidence, not truth: the tools that
        wrote them kept no hash.
    """

    record: Record
    history: tuple[HistoryLine, ...]


def provenance(constant: CalibrationConstant) -> Provenance | None:
    """How a constant came into its version; ``None`` when that was opened by digest."""
    detector = constant.detector
    version = detector.version
    if version.record is None:
        return None
    wanted = {
        ((detector.group, detector.source), constant.type_name, constant.runs): constant.constant
    }
    found = records_of(version, wanted)
    return Provenance(next(iter(found.values())), _history(constant))


def records_of(
    version: Version, wanted: Mapping[tuple[Detector, str, RunRange], Constant]
) -> dict[tuple[Detector, str, RunRange], Record]:
    """For each wanted constant the record by which its content came to this detector and type.

    A constant that only got another run range, because `set` split it, keeps its record.
    """
    if version.record is None:
        return {}
    found: dict[tuple[Detector, str, RunRange], Record] = {}
    open_keys = dict(wanted)
    cache: dict[Reference, DetectorManifest] = {}
    for record in _ancestry(version.store, version.record):
        if record.manifest is None:
            break
        there = _contents(version.store, record.manifest, {key[0] for key in open_keys}, cache)
        open_keys = {
            key: constant
            for key, constant in open_keys.items()
            if constant.content in there.get(key[:2], ())
        }
        if not open_keys:
            break
        found.update(dict.fromkeys(open_keys, record))
    return found


def _ancestry(store: Store, record: Record) -> Iterator[Record]:
    """The record, the one before it, and so on; at a fork, on in what was forked."""
    while True:
        yield record
        own = [parent for parent in record.parents if parent.log == record.log]
        other = [parent for parent in record.parents if parent.log != record.log]
        # A fork onto a deleted name has both; its constants come from the other.
        following = (other or own)[:1]
        if not following:
            return
        try:
            record = logs.read(store.backend, following[0].log, following[0].number).record
        except NotFound:
            return  # in a pruned or pulled store the story ends here


def _contents(
    store: Store,
    reference: Reference,
    detectors: set[Detector],
    cache: dict[Reference, DetectorManifest],
) -> dict[tuple[Detector, str], set[object]]:
    """The contents that a set has for each of some detectors and type."""
    manifest = load_set(store, reference)
    contents: dict[tuple[Detector, str], set[object]] = {}
    for key in detectors & manifest.detectors.keys():
        detector = manifest.detectors[key]
        if detector not in cache:
            cache[detector] = load_detector(store, detector)
        for type_name, by_range in cache[detector].constants.items():
            contents[key, type_name] = {constant.content for constant in by_range.values()}
    return contents


def _history(constant: CalibrationConstant) -> tuple[HistoryLine, ...]:
    from calstore.formats import history

    detector = constant.detector
    version = detector.version
    path = f"{detector.group}/{detector.source}/{constant.type_name}/HISTORY"
    blob = version.manifest.files.get(path)
    if blob is None:
        return ()
    name = constant.constant.name or f"{constant.runs}.data"
    lines = history.parse(objects.get(version.store.backend, objects.BLOBS, blob))
    return tuple(line for line in lines if line.file == name)
