"""Which versions a damaged file hurts."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from calstore.errors import CalstoreError, Corrupt
from calstore.model.arrays import ArrayReference
from calstore.model.derivations import FRAMES, DerivationManifest
from calstore.model.digest import Reference
from calstore.model.manifests import DetectorManifest, SetManifest
from calstore.model.records import INPUTS, RESULTS, RUNS, SETTINGS, USES, Record
from calstore.repository.store import Store
from calstore.store import logs, objects
from calstore.store.backend import Backend


@dataclass
class Reach:
    """What the records of a store lead to, as far as it can be read.

    Parameters
    ----------
    users
        Key of an object's file or folder → the keys of what refers to it; at the top, the
        names of refs' records and the keys of others.
    references
        Key → what refers to it says of it.
    damages
        What could not be read on the way.
    """

    users: dict[str, set[str]] = field(default_factory=dict)
    references: dict[str, Reference | ArrayReference] = field(default_factory=dict)
    damages: list[Corrupt] = field(default_factory=list)
    records: int = 0

    def versions(self, key: str) -> list[str]:
        """The records whose sets need this file, by name."""
        found: set[str] = set()
        waiting, seen = [_object_of(key)], set[str]()
        while waiting:
            user = waiting.pop()
            if user in seen:
                continue
            seen.add(user)
            if "@" in user:
                found.add(user)
            waiting.extend(self.users.get(user, ()))
        return sorted(found, key=_by_name_and_number)


_FOLDERS: Final = {
    "array": objects.ARRAYS,
    "blob": objects.BLOBS,
    FRAMES: objects.MANIFESTS,
}
EVERYTHING: Final = (
    *("refs/", "approvals/"),
    *(f"{family}/" for family in (SETTINGS, INPUTS, RESULTS, RUNS, USES)),
)
"""The families of logs that a store has."""


def reach(store: Store, families: tuple[str, ...] = EVERYTHING) -> Reach:
    """Walk from all records (or those of some logs) to every object; goes on past damage."""
    found = Reach()
    logs_found: set[str] = set()
    for family in families:
        logs_found.update(logs.names(store.backend, family))
    for log in sorted(logs_found):
        for entry in _records(store.backend, log, found):
            found.records += 1
            _walk_record(store.backend, entry.record, found)
    return found


def _walk_record(backend: Backend, record: Record, found: Reach) -> None:
    if record.manifest is None:
        return
    family = record.log.partition("/")[0]
    if family == "refs":
        _walk_set(backend, record.manifest, record.name, found)
        if record.documents is not None:
            key = objects.key_of(objects.BLOBS, record.documents.digest)
            _enter(key, record.name, record.documents, found)
        return
    user = f"{record.log}/{record.number:08d}"
    if family == INPUTS:
        _enter(
            objects.key_of(objects.MANIFESTS, record.manifest.digest), user, record.manifest, found
        )
    elif family == RESULTS:
        # The arrays that came out may have been pruned: they would be computed again.
        _walk_derivation(backend, record.manifest, user, found)
    else:
        _walk_set(backend, record.manifest, user, found)


@contextlib.contextmanager
def naming_versions(store: Store) -> Iterator[None]:
    """Let a `Corrupt` from inside also say which versions the damaged file hurts."""
    try:
        yield
    except Corrupt as error:
        if error.key is None or not error.key.startswith("objects/"):
            raise
        try:
            names = reach(store).versions(error.key)
        except CalstoreError:
            raise error from None
        raise Corrupt(str(error) + hurt(names), error.key) from error


def hurt(names: list[str]) -> str:
    """The end of a message: which versions suffer."""
    if not names:
        return "; no version that can be read needs it"
    shown = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    return f"; it hurts {shown}"


def _records(backend: Backend, log: str, found: Reach) -> Iterator[logs.Entry]:
    """All records of a log, each damage noted once; parents are checked as far as they go."""
    try:
        numbers = logs.numbers(backend, log)
    except Corrupt as error:
        found.damages.append(error)
        return
    before: logs.Entry | None = None
    for number in range(1, max(numbers, default=0) + 1):
        try:
            entry = logs.read(backend, log, number)
        except CalstoreError as error:
            key = f"{log}/{number:08d}"
            found.damages.append(_as_corrupt(error, backend, key))
            before = None
            continue
        if before is not None and before.parent not in entry.record.parents:
            key = f"{log}/{number - 1:08d}"
            message = f"{backend.describe(key)} is not the record that @{number} was built upon"
            found.damages.append(Corrupt(message, key))
        _check_sources(backend, entry, found)
        yield entry
        before = entry


def _check_sources(backend: Backend, entry: logs.Entry, found: Reach) -> None:
    for parent in entry.record.parents:
        if parent.log == entry.record.log:
            continue
        key = f"{parent.log}/{parent.number:08d}"
        try:
            if logs.read(backend, parent.log, parent.number).parent != parent:
                raise Corrupt(
                    f"{backend.describe(key)} is not the record that {entry.record.name} names", key
                )
        except CalstoreError as error:
            if not any(damage.key == key for damage in found.damages):
                found.damages.append(_as_corrupt(error, backend, key))


def _as_corrupt(error: CalstoreError, backend: Backend, key: str) -> Corrupt:
    if isinstance(error, Corrupt):
        return error
    return Corrupt(f"{backend.describe(key)} is gone; restore it from a copy", key)


def _walk_set(backend: Backend, reference: Reference, record: str, found: Reach) -> None:
    key = objects.key_of(objects.MANIFESTS, reference.digest)
    if not _enter(key, record, reference, found):
        return
    try:
        manifest = SetManifest.decoded(objects.get(backend, objects.MANIFESTS, reference))
    except CalstoreError as error:
        found.damages.append(_unreadable(error, backend, key))
        return
    for blob in manifest.files.values():
        _enter(objects.key_of(objects.BLOBS, blob.digest), key, blob, found)
    for detector in manifest.detectors.values():
        _walk_detector(backend, detector, key, found)


def _walk_detector(backend: Backend, reference: Reference, user: str, found: Reach) -> None:
    key = objects.key_of(objects.MANIFESTS, reference.digest)
    if not _enter(key, user, reference, found):
        return
    try:
        manifest = DetectorManifest.decoded(objects.get(backend, objects.MANIFESTS, reference))
    except CalstoreError as error:
        found.damages.append(_unreadable(error, backend, key))
        return
    for by_range in manifest.constants.values():
        for constant in by_range.values():
            content, source = constant.content, constant.source
            folder = objects.ARRAYS if isinstance(content, ArrayReference) else objects.BLOBS
            _enter(objects.key_of(folder, content.digest), key, content, found)
            if source is not None:
                _enter(objects.key_of(objects.BLOBS, source.digest), key, source, found)
            if constant.derivation is not None:
                _walk_derivation(backend, constant.derivation, key, found)


def _walk_derivation(backend: Backend, reference: Reference, user: str, found: Reach) -> None:
    key = objects.key_of(objects.MANIFESTS, reference.digest)
    if not _enter(key, user, reference, found):
        return
    try:
        data = objects.get(backend, objects.MANIFESTS, reference)
        inputs = DerivationManifest.decoded(data).inputs
    except CalstoreError as error:
        found.damages.append(_unreadable(error, backend, key))
        return
    for item in inputs.values():
        _enter(objects.key_of(_FOLDERS[item.kind], item.content.digest), key, item.content, found)


def _enter(key: str, user: str, reference: Reference | ArrayReference, found: Reach) -> bool:
    """Note who uses an object; whether it is seen for the first time."""
    first = key not in found.users
    found.users.setdefault(key, set()).add(user)
    found.references.setdefault(key, reference)
    return first


def _unreadable(error: CalstoreError, backend: Backend, key: str) -> Corrupt:
    if isinstance(error, Corrupt):
        return error
    return Corrupt(f"{backend.describe(key)} cannot be used: {error}", key)


def _object_of(key: str) -> str:
    """The key under which an object is referred to: of an array's files, their folder."""
    return key.rsplit("/", 1)[0] if key.startswith(objects.ARRAYS) and key.count("/") > 3 else key


def _by_name_and_number(name: str) -> tuple[str, int]:
    ref, _, number = name.partition("@")
    return ref, int(number)
