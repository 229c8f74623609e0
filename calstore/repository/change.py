"""Moving a ref on: read it, decide, commit; again when another writer was faster."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from calstore.errors import Conflict
from calstore.model.digest import Reference
from calstore.model.manifests import Constant, Detector, DetectorManifest, SetManifest
from calstore.model.names import RefName
from calstore.model.records import Parent, Record, Stamp
from calstore.model.runs import RunRange
from calstore.repository.commit import LostRace, commit, refuse_tag
from calstore.repository.store import Store, head_of
from calstore.repository.version import Version, load_detector, load_set
from calstore.store import logs, objects

_ATTEMPTS: Final = 1000  # each one lost means that another writer won, so this ends
_DOUBLINGS: Final = 4
_LONGEST_WAIT_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Move:
    """What a ref shall have next: a stored set, what was done, records of others it came from.

    Parameters
    ----------
    always
        Whether there shall be a record even if the ref has that set already: it says what the
        ref took in.
    documents
        A blob of those that it was made from.
    """

    manifest: Reference
    what: str
    sources: tuple[Parent, ...] = ()
    always: bool = False
    documents: Reference | None = None


@dataclass(frozen=True, slots=True)
class Moved:
    """The newest record of a ref, and whether it is new."""

    record: Record
    changed: bool


def move(
    store: Store,
    ref: RefName,
    decide: Callable[[Version | None], Move],
    stamp: Stamp,
    operation: str,
    *,
    may_be_new: bool = False,
) -> Moved:
    """Decide upon what the ref has now, and commit that; no record when nothing changes.

    Parameters
    ----------
    decide
        Given the newest version, ``None`` for a ref that is not there. Called again when
        another writer was faster.
    may_be_new
        Whether the ref may be made by this.

    Raises
    ------
    NotFound
        When there is no such ref, unless it may be new.
    Invalid
        When it is a tag.
    Conflict
        When others move the ref faster than this can follow.
    """
    base = store.head(ref.log) if may_be_new else head_of(store, ref)
    if base is not None:
        refuse_tag(store, ref)
    for lost in range(_ATTEMPTS):
        started = time.monotonic()
        wanted = decide(_version(store, base))
        if base is not None and base.record.manifest == wanted.manifest and not wanted.always:
            return Moved(base.record, False)
        try:
            record = commit(
                store,
                ref,
                wanted.manifest,
                base=base,
                stamp=stamp,
                operation=operation,
                what=wanted.what,
                sources=wanted.sources,
                documents=wanted.documents,
            )
        except LostRace:
            _give_way(time.monotonic() - started, lost)
            base = store.head(ref.log) if may_be_new else head_of(store, ref)
            continue
        return Moved(record, True)
    raise Conflict(f"{ref} moved {_ATTEMPTS} times meanwhile; run again when it is quiet")


def _give_way(attempt_s: float, lost: int) -> None:
    """Wait for a part of what some attempts take, so that of many writers not all try at once."""
    time.sleep(min(random.uniform(0, attempt_s * 2 ** min(lost, _DOUBLINGS)), _LONGEST_WAIT_S))


def _version(store: Store, entry: logs.Entry | None) -> Version | None:
    if entry is None or entry.record.manifest is None:
        return None
    record = entry.record
    assert record.manifest is not None
    return Version(store, record.name, record.manifest, load_set(store, record.manifest), record)


def type_of(version: Version, key: Detector, type_name: str) -> Mapping[RunRange, Constant]:
    """The constants of one type that a version has for a detector; none is fine."""
    reference = version.manifest.detectors.get(key)
    if reference is None:
        return {}
    return load_detector(version.store, reference).constants.get(type_name, {})


def with_type(
    version: Version, key: Detector, type_name: str, by_range: Mapping[RunRange, Constant]
) -> Reference:
    """The version's set, stored, with other constants of one type; none removes the type."""
    store = version.store
    before = version.manifest.detectors.get(key)
    old = DetectorManifest() if before is None else load_detector(store, before)
    new = old.replaced(type_name, by_range)
    reference = None
    if new.constants:
        reference = objects.put(store.backend, objects.MANIFESTS, new.encoded())
    return put_set(store, version.manifest.replaced(key, reference))


def put_set(store: Store, manifest: SetManifest) -> Reference:
    """Store a set manifest."""
    return objects.put(store.backend, objects.MANIFESTS, manifest.encoded())
