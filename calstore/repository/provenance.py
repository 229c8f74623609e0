"""Where a constant comes from: the record by which it came into the store, and HISTORY."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from calstore.model.digest import Reference
from calstore.model.manifests import Constant, Detector
from calstore.model.records import Record
from calstore.model.runs import RunRange
from calstore.repository.ancestry import Parents, place_of
from calstore.repository.store import Store
from calstore.repository.version import CalibrationConstant, Version, load_detector, load_set
from calstore.store import objects

if TYPE_CHECKING:
    from calstore.formats.history import HistoryLine

Key: TypeAlias = tuple[Detector, str, RunRange]
"""What names a constant in a version: detector, type and run range."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """How a constant came into a version.

    Parameters
    ----------
    record
        The record that brought it: no record that this one was made from had it.
    arrived
        The record by which it came into the version's own ref: the same, or a later fork, copy,
        promote, adopt or undo.
    history
        Lines of the imported HISTORY that name its file. Evidence, not truth: the tools that
        wrote them kept no hash.
    """

    record: Record
    arrived: Record
    history: tuple[HistoryLine, ...]


def provenance(constant: CalibrationConstant) -> Provenance | None:
    """How a constant came into its version; ``None`` when that was opened by digest."""
    return next(iter(provenances(constant.detector.version, [constant])), None)


def provenances(
    version: Version, constants: Iterable[CalibrationConstant]
) -> tuple[Provenance, ...]:
    """How each of some constants came into their version, in one walk through its history.

    There is none for a version that was opened by digest.
    """
    if version.record is None:
        return ()
    wanted = {
        ((each.detector.group, each.detector.source), each.type_name, each.runs): each.constant
        for each in constants
    }
    walked = _Walk(version.store)
    stories = walked.stories(version.record, wanted)
    return tuple(
        Provenance(
            stories[key].origin,
            stories[key].arrived,
            walked.history(version, key, constant, stories[key]),
        )
        for key, constant in wanted.items()
    )


def records_of(version: Version, wanted: Mapping[Key, Constant]) -> dict[Key, Record]:
    """For each wanted constant the record that brought its content to this detector and type.

    A constant that only got another run range, because `set` split it, keeps its record; so does
    one that came by a fork, a promote or a copy.
    """
    if version.record is None:
        return {}
    stories = _Walk(version.store).stories(version.record, wanted)
    return {key: story.origin for key, story in stories.items()}


@dataclass(frozen=True, slots=True)
class _Story:
    """Which record brought a content, as whose, and by which record it came to its ref."""

    origin: Record
    detector: Detector
    arrived: Record


@dataclass(frozen=True, slots=True)
class _Company:
    """Constants on their way back through the records, and as whose each is there."""

    at: Record
    arrived: Record
    detectors: Mapping[Key, Detector]

    def gone_on(self, parent: Record, detectors: Mapping[Key, Detector]) -> _Company:
        """Some of them, at a parent.

        From record to record of one log nothing comes into a ref; where the way leaves that for
        the first time, it did.
        """
        stays = self.arrived is self.at and _is_next(parent, self.at)
        return _Company(parent, parent if stays else self.arrived, detectors)


class _Walk:
    """A walk from records to their parents, which reads each record and manifest once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._parents = Parents(store)
        self._detectors: dict[Reference, Mapping[Detector, Reference]] = {}
        self._contents: dict[Reference, dict[str, frozenset[bytes]]] = {}

    def stories(self, record: Record, wanted: Mapping[Key, Constant]) -> dict[Key, _Story]:
        """The story of each constant, from the record that has it back to where it begins."""
        digests = {key: constant.content.digest.value for key, constant in wanted.items()}
        ended: dict[Key, _Story] = {}
        # Constants that came the same way walk together.
        waiting = [_Company(record, record, {key: key[0] for key in wanted})]
        while waiting:
            company = waiting.pop()
            this, staying = company.at, dict(company.detectors)
            for parent in self._parents.of(this):
                found = {
                    key: detector
                    for key, there in staying.items()
                    if (detector := self._place_in(parent, this, there, key[1], digests[key]))
                }
                if found:
                    waiting.append(company.gone_on(parent, found))
                    staying = {key: staying[key] for key in staying.keys() - found.keys()}
            ended.update(
                (key, _Story(this, there, company.arrived)) for key, there in staying.items()
            )
        return {key: ended[key] for key in wanted}

    def history(
        self, version: Version, key: Key, constant: Constant, story: _Story
    ) -> tuple[HistoryLine, ...]:
        """Lines that name the file with which the content came, or the one that it is in now."""
        from calstore.formats import history

        if story.origin.operation not in ("import", "adopt"):
            return ()
        assert story.origin.manifest is not None
        type_name, runs = key[1:]
        origin = load_set(self._store, story.origin.manifest)
        there = load_detector(self._store, origin.detectors[story.detector]).constants[type_name]
        names = {_file_name(runs, constant)}
        names.update(
            _file_name(each, other)
            for each, other in there.items()
            if other.content == constant.content
        )
        blob = version.manifest.files.get(f"{'/'.join(key[0])}/{type_name}/HISTORY")
        if blob is None:
            blob = origin.files.get(f"{'/'.join(story.detector)}/{type_name}/HISTORY")
        if blob is None:
            return ()
        lines = history.parse(objects.get(self._store.backend, objects.BLOBS, blob))
        return tuple(line for line in lines if line.file in names)

    def _place_in(
        self, parent: Record, child: Record, detector: Detector, type_name: str, digest: bytes
    ) -> Detector | None:
        """The detector that has the content in a parent's set; only a copy can rename it."""
        if parent.manifest is None:
            return None
        detectors = self._detectors_of(parent.manifest)
        if detector in detectors and self._has(detectors[detector], type_name, digest):
            return detector
        is_source = child.operation == "copy" and not _is_next(parent, child)
        for other, reference in detectors.items() if is_source else ():
            if self._has(reference, type_name, digest):
                return other
        return None

    def _detectors_of(self, manifest: Reference) -> Mapping[Detector, Reference]:
        if manifest not in self._detectors:
            self._detectors[manifest] = load_set(self._store, manifest).detectors
        return self._detectors[manifest]

    def _has(self, reference: Reference, type_name: str, digest: bytes) -> bool:
        if reference not in self._contents:
            self._contents[reference] = {
                name: frozenset(each.content.digest.value for each in by_range.values())
                for name, by_range in load_detector(self._store, reference).constants.items()
            }
        return digest in self._contents[reference].get(type_name, ())


def _is_next(parent: Record, child: Record) -> bool:
    return place_of(parent) == (child.log, child.number - 1)


def _file_name(runs: RunRange, constant: Constant) -> str:
    return constant.name or f"{runs}.data"
