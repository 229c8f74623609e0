"""diff: how two versions differ, or a version and a directory; no value is read."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from calstore.errors import Conflict, Invalid, NotFound
from calstore.formats.calib_tree import scan
from calstore.model.arrays import ArrayReference
from calstore.model.manifests import Detector, DetectorManifest, SetManifest
from calstore.model.records import Record
from calstore.repository.damage import naming_versions
from calstore.repository.edited import look
from calstore.repository.ingest_files import Before, ingest_files, places_of
from calstore.repository.merge import put_contents
from calstore.repository.provenance import records_of
from calstore.repository.store import Store
from calstore.repository.version import Version, load_set
from calstore.store import objects
from calstore.store.unkept import UnkeptBackend
from calstore.views import ledger
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
from calstore.views.selection import Selection
from calstore.views.state import aliases_in, view_at


@dataclass(frozen=True, slots=True)
class Differences:
    """What two versions do not have alike.

    Parameters
    ----------
    constants
        By detector, type and run range.
    files
        Loose files; those in the folder of a detector, or of a type, when one was asked for, and
        none when a run was.
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
    type_name
        The only calibration type to look at.
    run
        Compare just what this run gets, under whatever names.

    Raises
    ------
    NotFound
        When neither version has the detector, or the type.
    Invalid
        When several detectors are meant.
    """
    mine, theirs = before.manifest.detectors, after.manifest.detectors
    chosen = None if detector is None else _find(before, after, detector)
    keys = sorted({*mine, *theirs}) if chosen is None else [chosen]
    found = tuple(
        difference
        for key in keys
        if mine.get(key) != theirs.get(key)
        for difference in _of_detector(before, after, key, run)
        if type_name in (None, difference.type_name)
    )
    if type_name is not None and not found:
        _check_type(before, after, keys, type_name)
    return Differences(before, after, found, _files(before, after, chosen, type_name, run))


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

    panels = []
    for version, array in ((before, mine), (after, theirs)):
        with naming_versions(version.store):
            panels.append(arrays.panel_digests(version.store.backend, array))
    return tuple(
        number for number, (one, other) in enumerate(zip(*panels, strict=True)) if one != other
    )


def effects_of(found: Differences) -> tuple[Effect, ...]:
    """The runs that notice: what each gets of the constants that differ, on either side."""
    touched: dict[Detector, dict[str, None]] = {}
    for each in found.constants:
        if each.kind != "provenance":
            touched.setdefault(each.detector, {})[each.type_name] = None
    return tuple(
        effect
        for key, names in touched.items()
        for effect in _effects(found.before, found.after, key, tuple(names))
    )


def _effects(
    before: Version, after: Version, key: Detector, names: tuple[str, ...]
) -> Iterator[Effect]:
    one, other = (
        DetectorManifest.of_types(_encoded(version, key), names).constants
        for version in (before, after)
    )
    for name in names:
        yield from effects(key, name, one.get(name, {}), other.get(name, {}))


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
    store: Store,
    dest: Path,
    progress: Callable[[int, int], None] = lambda done, total: None,
    *,
    like: Version | None = None,
    with_values: bool = False,
) -> Version:
    """A directory as the version that it would be: hashed as an import would, and not stored.

    In a view of this store, files that are as calstore left them are not read.

    Parameters
    ----------
    progress
        Called with the bytes done and the bytes of all.
    like
        Look at any other directory as an import into this version would: files that it has are
        not parsed again, and the panels that somebody said a constant is for are kept.
    with_values
        Keep what is not in the store in memory, so that its arrays can be read.

    Raises
    ------
    NotFound
        When there is no such directory.
    Conflict
        When a file of it is being written.
    Invalid
        When a file of it cannot be read.
    """
    beside = Store(UnkeptBackend(store.backend, keeps_values=with_values), store.id)
    contents = _of_view(beside, dest, progress)
    if contents is None:
        contents = _read(beside, dest, progress, like)
    reference = put_contents(beside, contents)
    name = str(dest) if str(dest).startswith((".", "/")) else f"./{dest}"  # no ref's name
    return Version(beside, name, reference, load_set(beside, reference), None)


def _of_view(store: Store, dest: Path, progress: Callable[[int, int], None]) -> SetContents | None:
    """What a view of the store holds; ``None`` for any other directory.

    Its files can be read where its receipt cannot.
    """
    receipt = None
    with contextlib.suppress(Conflict), view_at(dest) as tree:
        receipt = ledger.read(tree, dest).receipt
    if receipt is None:
        return None
    try:
        return look(store, dest, progress).now
    except NotFound:  # it is one of another store
        return None


def _read(
    store: Store, dest: Path, progress: Callable[[int, int], None], like: Version | None
) -> SetContents:
    found = scan(dest).without(aliases_in(dest))
    before = Before()
    if like is not None:
        before.known.add_blobs(like.manifest.files.values())
        there = {(place.group, place.source) for place in places_of(found.files).values()}
        for key in there & {*like.manifest.detectors}:
            before.add(key, _manifest(like, key))
    ingested = ingest_files(store, dest, found.files, before, progress)
    fatal = [str(problem) for problem in (*found.problems, *ingested.problems) if problem.fatal]
    if fatal:
        listed = "\n  ".join(fatal)
        raise Invalid(f"{len(fatal)} file(s) of {dest} cannot be read:\n  {listed}")
    return SetContents(ingested.detectors(), ingested.loose)


def _find(before: Version, after: Version, text: str) -> Detector:
    """The one detector of either version that a text means."""
    both = SetManifest({**before.manifest.detectors, **after.manifest.detectors})
    return replace(after, name=f"{before.name} or {after.name}", manifest=both).find(text)


def _check_type(before: Version, after: Version, keys: list[Detector], type_name: str) -> None:
    """Raise `NotFound` where no detector has the type, which may be misspelt."""
    there = {
        name for key in keys for side in (before, after) for name in _manifest(side, key).constants
    }
    if type_name not in there:
        where = keys[0][1] if len(keys) == 1 else "any detector"
        known = ", ".join(sorted(there)) or "none"
        raise NotFound(
            f"no {type_name} for {where} in {before.name} or {after.name}; there is {known}"
        )


def _files(
    before: Version,
    after: Version,
    detector: Detector | None,
    type_name: str | None,
    run: int | None,
) -> tuple[FileDifference, ...]:
    if detector is None and type_name is not None:
        return ()
    selection = Selection(detector, type_name, run)
    return tuple(
        differing_files(
            selection.files(before.manifest.files), selection.files(after.manifest.files)
        )
    )


def _of_detector(
    before: Version, after: Version, key: Detector, run: int | None
) -> Iterator[ConstantDifference]:
    if run is not None:
        return differing_at(key, _manifest(before, key), _manifest(after, key), run)
    try:
        one, other = DetectorManifest.apart(_encoded(before, key), _encoded(after, key))
    except Invalid:
        for version in (before, after):
            _manifest(version, key)  # says which file it is
        raise
    return differing_constants(key, one, other)


def _manifest(version: Version, key: Detector) -> DetectorManifest:
    if key not in version.manifest.detectors:
        return DetectorManifest()
    return version.detector(key).manifest


def _encoded(version: Version, key: Detector) -> bytes:
    reference = version.manifest.detectors.get(key)
    if reference is None:
        return DetectorManifest().encoded()
    with naming_versions(version.store):
        return objects.get(version.store.backend, objects.MANIFESTS, reference)
