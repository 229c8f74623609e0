"""diff: how two versions differ, or a version and a directory; no value is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from calstore.errors import Invalid, NotFound
from calstore.formats.calib_tree import scan
from calstore.model.arrays import ArrayReference
from calstore.model.manifests import Detector, DetectorManifest
from calstore.model.records import Record
from calstore.repository.edited import look
from calstore.repository.ingest_files import Before, ingest_files
from calstore.repository.merge import put_contents
from calstore.repository.provenance import records_of
from calstore.repository.store import Store
from calstore.repository.version import Version, load_set
from calstore.store import objects
from calstore.store.unkept import UnkeptBackend
from calstore.views.difference import (
    ConstantDifference,
    Effect,
    FileDifference,
    differing_at,
    differing_constants,
    differing_files,
    effects,
)
from calstore.views.merge import SetContents
from calstore.views.state import aliases_in


@dataclass(frozen=True, slots=True)
class Differences:
    """What two versions do not have alike.

    Parameters
    ----------
    constants
        By detector, type and run range.
    files
        Loose files; none when a detector, a type or a run was asked for.
    """

    before: Version
    after: Version
    constants: tuple[ConstantDifference, ...]
    files: tuple[FileDifference, ...]

    def __bool__(self) -> bool:
        """Whether there is any difference."""
        return bool(self.constants or self.files)


def diff(
    before: Version,
    after: Version,
    *,
    detector: str | None = None,
    type_name: str | None = None,
    run: int | None = None,
) -> Differences:
    """The constants and loose files that two versions do not have alike.

    Parameters
    ----------
    detector
        The source, or a unique part of it, of the only detector to look at.
    run
        Compare just what this run gets, under whatever names.

    Raises
    ------
    NotFound
        When neither version has the detector.
    """
    mine, theirs = before.manifest.detectors, after.manifest.detectors
    keys = sorted({*mine, *theirs}) if detector is None else [_find(before, after, detector)]
    found = [
        difference
        for key in keys
        if mine.get(key) != theirs.get(key)
        for difference in _of_detector(before, after, key, run)
        if type_name in (None, difference.type_name)
    ]
    is_whole = (detector, type_name, run) == (None, None, None)
    files = differing_files(before.manifest.files, after.manifest.files) if is_whole else ()
    return Differences(before, after, tuple(found), tuple(files))


def differing_panels(
    before: Version, after: Version, difference: ConstantDifference
) -> tuple[int, ...] | None:
    """The panels in which two arrays differ, by their digests; ``None`` if they have others.

    Panels are counted over the leading axes (gain mode, segment), the last of them fastest.

    Raises
    ------
    Corrupt
        When an array is not what was stored.
    """
    if difference.before is None or difference.after is None:
        return None
    mine, theirs = difference.before[1].content, difference.after[1].content
    if not isinstance(mine, ArrayReference) or not isinstance(theirs, ArrayReference):
        return None
    if (mine.dtype, mine.shape) != (theirs.dtype, theirs.shape):
        return None
    from calstore.store import arrays  # brings numpy, which most differences do not need

    panels = (
        arrays.panel_digests(before.store.backend, mine),
        arrays.panel_digests(after.store.backend, theirs),
    )
    return tuple(
        number for number, (one, other) in enumerate(zip(*panels, strict=True)) if one != other
    )


def effects_of(
    before: Version, after: Version, detector: Detector, type_name: str
) -> tuple[Effect, ...]:
    """The runs that get something else of a type in the one version than in the other."""
    one, other = _manifest(before, detector), _manifest(after, detector)
    return tuple(effects(one.constants.get(type_name, {}), other.constants.get(type_name, {})))


def origins_of(found: Differences) -> list[tuple[Record | None, Record | None]]:
    """For each constant that differs, the records by which it came into the one and the other.

    ``None`` where a side has none, or was not opened by the name of a ref.
    """
    sides = []
    for version, winners in (
        (found.before, [each.before for each in found.constants]),
        (found.after, [each.after for each in found.constants]),
    ):
        keys = [
            None if winner is None else (each.detector, each.type_name, winner[0])
            for each, winner in zip(found.constants, winners, strict=True)
        ]
        wanted = {
            key: winner[1]
            for key, winner in zip(keys, winners, strict=True)
            if key is not None and winner is not None
        }
        records = records_of(version, wanted) if version.record is not None else {}
        sides.append([None if key is None else records.get(key) for key in keys])
    return list(zip(*sides, strict=True))


def version_of(
    store: Store, dest: Path, progress: Callable[[int, int], None] = lambda done, total: None
) -> Version:
    """A directory as the version that it would be: hashed as an import would, and not stored.

    In a view of this store, files that are as calstore left them are not read.

    Raises
    ------
    NotFound
        When there is no such directory.
    Invalid
        When a file of it cannot be read.
    """
    if not dest.is_dir():
        raise NotFound(f"there is no directory {dest}; name one, or a version")
    beside = Store(UnkeptBackend(store.backend), store.id)
    try:
        contents = look(beside, dest, progress).now
    except NotFound:  # no view, or not one of this store
        contents = _read(beside, dest, progress)
    reference = put_contents(beside, contents)
    return Version(beside, str(dest), reference, load_set(beside, reference), None)


def _read(store: Store, dest: Path, progress: Callable[[int, int], None]) -> SetContents:
    found = scan(dest).without(aliases_in(dest))
    ingested = ingest_files(store, dest, found.files, Before(), progress)
    fatal = [str(problem) for problem in (*found.problems, *ingested.problems) if problem.fatal]
    if fatal:
        listed = "\n  ".join(fatal)
        raise Invalid(f"{len(fatal)} file(s) of {dest} cannot be read:\n  {listed}")
    return SetContents(ingested.detectors(), ingested.loose)


def _find(before: Version, after: Version, text: str) -> Detector:
    try:
        return before.find(text)
    except NotFound:
        return after.find(text)


def _of_detector(
    before: Version, after: Version, key: Detector, run: int | None
) -> Iterator[ConstantDifference]:
    if run is not None:
        return differing_at(key, _manifest(before, key), _manifest(after, key), run)
    one, other = DetectorManifest.apart(_encoded(before, key), _encoded(after, key))
    return differing_constants(key, one, other)


def _manifest(version: Version, key: Detector) -> DetectorManifest:
    if key not in version.manifest.detectors:
        return DetectorManifest()
    return version.detector(key).manifest


def _encoded(version: Version, key: Detector) -> bytes:
    reference = version.manifest.detectors.get(key)
    if reference is None:
        return DetectorManifest().encoded()
    return objects.get(version.store.backend, objects.MANIFESTS, reference)
