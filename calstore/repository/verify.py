"""verify: read everything again and hash it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from calstore.errors import CalstoreError, Corrupt, Invalid, NotFound
from calstore.model.arrays import ArrayReference
from calstore.model.digest import Digest, xxh128
from calstore.model.names import RefName
from calstore.repository.contents import identity_of
from calstore.repository.damage import EVERYTHING, Reach, object_of, reach
from calstore.repository.store import Store
from calstore.store import logs, marker, objects
from calstore.store.budget import Budget

_BUDGET = 256 * 2**20


@dataclass(frozen=True, slots=True)
class Damage:
    """One thing that is wrong, and the records whose sets it hurts."""

    key: str
    message: str
    versions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Borrowed:
    """What is read from another store: objects, bytes of their values, the refs that need them."""

    objects: int
    size: int
    refs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Verified:
    """What was read again, and what was wrong.

    Parameters
    ----------
    size
        Bytes of the objects that were hashed.
    unreferenced
        Objects that no record leads to; an interrupted command leaves such.
    borrowed
        What is not in this store, by the place of the store that it is read from.
    elsewhere
        Records of other refs that records came from, and that are not here.
    """

    records: int
    objects: int
    size: int
    unreferenced: int
    damages: tuple[Damage, ...]
    borrowed: Mapping[str, Borrowed]
    elsewhere: tuple[str, ...]


def verify(
    store: Store,
    name: str | None = None,
    *,
    expected: Sequence[str] = (),
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Verified:
    """Hash again every record and object of a store, or all that one ref's records lead to.

    Parameters
    ----------
    name
        A ref; ``None`` for the whole store, objects included that no record leads to.
    expected
        Records that must be there, as ``xppn4116/main@7``: that the newest record of a ref is
        gone cannot be seen from the store alone.
    progress
        Called with the number of objects done and of all.

    Raises
    ------
    NotFound
        When there is no such ref.
    """
    store = store.uncached
    marker.read(store.own)
    families: tuple[str, ...] = EVERYTHING
    if name is not None:
        ref = RefName(name)
        families = (f"{ref.log}/",)
        if not logs.names(store.own, families[0]):
            raise NotFound(f"there is no ref {ref}; calstore refs lists all")
    found = reach(store, families)
    lent = _borrowed(store, found)
    damages = [*found.damages, *_missing(store, expected)]
    damages += [] if name is not None else _strangers(store)
    keys = [key for key in found.references if key not in lent]
    unreferenced = [] if name is not None else _unreferenced(store, found, damages)
    keys += unreferenced
    broken = {damage.key for damage in damages}
    size = 0
    budget = Budget(_BUDGET)
    pool = ThreadPoolExecutor(max(os.cpu_count() or 1, store.own.width))
    try:
        progress(0, len(keys))
        results = pool.map(lambda key: _check(store, key, found, budget), keys)
        for done, (key, result) in enumerate(zip(keys, results, strict=True), start=1):
            if isinstance(result, int):
                size += result
            elif key not in broken:
                damages.append(result)
            progress(done, len(keys))
    finally:
        pool.shutdown(cancel_futures=True)
    return Verified(
        found.records,
        len(keys),
        size,
        len(unreferenced),
        tuple(_damage(damage, found) for damage in damages),
        _by_lender(lent, found),
        tuple(sorted(found.elsewhere)),
    )


def _borrowed(store: Store, found: Reach) -> dict[str, str]:
    """Key → the place of the store that has it, of what this store does not have itself."""
    if not store.others:
        return {}
    own = {object_of(key) for key in store.own.list("objects/")}
    lent = {}
    for key in found.references:
        if key in own:
            continue
        file = f"{key}/zarr.json" if key.startswith(objects.ARRAYS) else key
        for other in store.others:
            try:
                other.size(file)
            except NotFound:
                continue
            lent[key] = other.describe("")
            break
    return lent


def _by_lender(lent: Mapping[str, str], found: Reach) -> dict[str, Borrowed]:
    borrowed = {}
    for place in sorted(set(lent.values())):
        keys = [key for key, lender in lent.items() if lender == place]
        refs = {name.partition("@")[0] for key in keys for name in found.versions(key)}
        size = sum(identity_of(found.references[key]).size for key in keys)
        borrowed[place] = Borrowed(len(keys), size, tuple(sorted(refs)))
    return borrowed


def _damage(error: Corrupt, found: Reach) -> Damage:
    key = error.key or ""
    versions = tuple(found.versions(key)) if key.startswith("objects/") else ()
    return Damage(key, str(error), versions)


def _missing(store: Store, expected: Sequence[str]) -> list[Corrupt]:
    missing = []
    for text in expected:
        name, at, number = text.partition("@")
        if not at or not number.isdecimal():
            raise Invalid(f"{text!r} is no record; write xppn4116/main@7")
        log = RefName(name).log
        try:
            logs.read(store.own, log, int(number))
        except NotFound:
            key = f"{log}/{int(number):08d}"
            message = f"{store.own.describe(key)} is gone; restore it from a copy"
            missing.append(Corrupt(message, key))
        except Corrupt:
            continue  # found on the way already
    return missing


def _strangers(store: Store) -> list[Corrupt]:
    """Files that calstore does not write, in places where only calstore writes."""
    folders = (objects.ARRAYS, objects.BLOBS, objects.MANIFESTS)
    damages = []
    for key in store.own.list("objects/"):
        folder = next((folder for folder in folders if key.startswith(folder)), None)
        parts = key.removeprefix(folder).split("/") if folder else []
        depth = 3 if folder == objects.ARRAYS else 2
        if len(parts) != depth or parts[0] != parts[1][:2] or not _is_digest(parts[1]):
            message = f"{store.own.describe(key)} is no object of calstore; move it away"
            damages.append(Corrupt(message, key))
    return damages


def _is_digest(text: str) -> bool:
    return len(text) == 32 and all(digit in "0123456789abcdef" for digit in text)


def _unreferenced(store: Store, found: Reach, damages: list[Corrupt]) -> list[str]:
    strange = {damage.key for damage in damages}
    keys = set()
    for key in store.own.list("objects/"):
        if key in strange:
            continue
        if object_of(key) not in found.references:
            keys.add(object_of(key))
    return sorted(keys)


def _check(store: Store, key: str, found: Reach, budget: Budget) -> int | Corrupt:
    """The bytes that were hashed, or what is wrong."""
    reference = found.references.get(key)
    try:
        if reference is None:
            return _check_unreferenced(store, key)
        if isinstance(reference, ArrayReference):
            with budget.of(reference.content.size):
                return _check_array(store, reference)
        folder = objects.BLOBS if key.startswith(objects.BLOBS) else objects.MANIFESTS
        with budget.of(reference.size):
            data = objects.get(store.own, folder, reference)
            objects.check_sha256(data, reference, store.own.describe(key), key)
        return len(data)
    except Corrupt as error:
        return error if error.key else Corrupt(str(error), key)
    except CalstoreError as error:
        return Corrupt(f"{store.own.describe(key)}: {error}", key)


def _check_array(store: Store, reference: ArrayReference) -> int:
    from calstore.store import arrays

    array = arrays.get(store.own, reference)
    key = objects.key_of(objects.ARRAYS, reference.digest)
    arrays.check_sha256(array, reference, store.own.describe(key))
    return reference.content.size


def _check_unreferenced(store: Store, key: str) -> int:
    """An object that nothing refers to: as far as its own name tells."""
    name = key.rsplit("/", 1)[1]
    if key.startswith(objects.ARRAYS):
        from calstore.store import arrays

        # Half an array is what an interrupted command leaves: no zarr.json, so no array.
        stored = arrays.stored_reference(store.own, Digest(bytes.fromhex(name)))
        return 0 if stored is None else _check_array(store, stored)
    data = store.own.get(key)
    if xxh128(data).hex != name:
        raise Corrupt(f"{store.own.describe(key)} is damaged: its hash is wrong", key)
    return len(data)
