"""repair: what is damaged or gone here, had again from another store that has it whole."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

from calstore.errors import CalstoreError, Corrupt, NotFound
from calstore.model.arrays import ArrayReference
from calstore.model.digest import Digest, Reference
from calstore.model.records import parent_of
from calstore.repository.damage import Reach, reach
from calstore.repository.store import Store
from calstore.repository.verify import verify
from calstore.store import arrays, copying, logs, objects
from calstore.store.backend import Backend


@dataclass(frozen=True, slots=True)
class Repaired:
    """The files that are whole again, and what is still wrong."""

    files: tuple[str, ...]
    left: tuple[str, ...]


def repair(
    store: Store,
    source: Store,
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Repaired:
    """Put whole files of another store into the place of those that verify finds damaged.

    A file is fetched and checked before the damaged one is removed. A record must be the one
    that the records beside it name.

    Parameters
    ----------
    source
        A mirror, a clone or any other store that may have the same.

    Raises
    ------
    Invalid
        When files may not be removed here.
    """
    store = store.uncached
    mended: list[str] = []
    tried: set[str] = set()  # a disk that damages what is written is not written to for ever
    while True:
        # By key: a record that is damaged is also not the one that its follower names.
        damages = {damage.key: damage for damage in verify(store, progress=progress).damages}
        found = reach(store)
        left, before = [], len(mended)
        for key, damage in damages.items():
            if key in tried:
                left.append(damage.message)
                continue
            try:
                mended += _mend(store.own, source.uncached.backend, key, found)
                tried.add(key)
            except (Corrupt, NotFound) as error:
                left.append(f"{damage.message}; not mended: {error}")
        # A manifest that was had again may lead to more that is gone.
        if len(mended) == before:
            return Repaired(tuple(mended), tuple(left))


def _mend(own: Backend, source: Backend, key: str, found: Reach) -> list[str]:
    """Replace a file, or the files of an object; the keys of those that were."""
    files = _object(source, key, found) if key.startswith("objects/") else _record(own, source, key)
    replaced = []
    for name, data in files.items():
        with contextlib.suppress(NotFound):
            if own.get(name) == data:
                continue
            own.delete(name)
        own.create(name, data)
        replaced.append(name)
    own.sync()
    if not replaced:
        raise Corrupt(f"{own.describe(key)} is the same in {source.describe('')}")
    return replaced


def _object(source: Backend, key: str, found: Reach) -> dict[str, bytes]:
    folders = (objects.ARRAYS, objects.BLOBS, objects.MANIFESTS)
    folder = next((each for each in folders if key.startswith(each)), None)
    parts = [] if folder is None else key.removeprefix(folder).split("/")
    if folder is None or len(parts) < 2 or len(parts[1]) != 32:
        raise NotFound("it is no object of calstore")
    digest = Digest(bytes.fromhex(parts[1]))
    return copying.fetch(source, folder, _reference(source, folder, digest, found))


def _reference(
    source: Backend, folder: str, digest: Digest, found: Reach
) -> Reference | ArrayReference:
    """What leads to an object says of it; of one that nothing leads to, what the source has."""
    known = found.references.get(objects.key_of(folder, digest))
    if known is not None:
        return known
    stored = arrays.stored_reference(source, digest) if folder == objects.ARRAYS else None
    if stored is None:
        raise NotFound(f"nothing leads to {digest}; it may be removed")
    return stored


def _record(own: Backend, source: Backend, key: str) -> dict[str, bytes]:
    log, _, name = key.rpartition("/")
    if not name.isdecimal():
        raise NotFound("it is no record")
    number = int(name)
    record = logs.read(source, log, number).record
    data = record.encoded()
    after, before = _neighbour(own, log, number + 1), _neighbour(own, log, number - 1)
    if after is not None and parent_of(record, data) not in after.record.parents:
        raise Corrupt(f"{source.describe(key)} is another record than @{number + 1} names")
    if before is not None and before.parent not in record.parents:
        raise Corrupt(f"{source.describe(key)} does not follow @{number - 1}")
    return {key: data}


def _neighbour(own: Backend, log: str, number: int) -> logs.Entry | None:
    try:
        return logs.read(own, log, number) if number else None
    except CalstoreError:
        return None  # damaged itself, or none
