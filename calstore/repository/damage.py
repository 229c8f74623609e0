"""Which versions a damaged file hurts."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from calstore.errors import CalstoreError, Corrupt, NotFound
from calstore.model.arrays import ArrayReference
from calstore.model.digest import Reference
from calstore.model.records import INPUTS, RESULTS, RUNS, SETTINGS, USES, Record
from calstore.repository.contents import Item, Kind, children
from calstore.repository.store import Store
from calstore.store import logs, objects
from calstore.store.backend import Backend
from calstore.store.overlap import overlapped


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
    elsewhere
        Records of other logs that records came from and that are not here, as a pull leaves them.
    """

    users: dict[str, set[str]] = field(default_factory=dict)
    references: dict[str, Reference | ArrayReference] = field(default_factory=dict)
    damages: list[Corrupt] = field(default_factory=list)
    elsewhere: set[str] = field(default_factory=set)
    records: int = 0

    def versions(self, key: str) -> list[str]:
        """The records whose sets need this file, by name."""
        found: set[str] = set()
        waiting, seen = [object_of(key)], set[str]()
        while waiting:
            user = waiting.pop()
            if user in seen:
                continue
            seen.add(user)
            if "@" in user:
                found.add(user)
            waiting.extend(self.users.get(user, ()))
        return sorted(found, key=_by_name_and_number)


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
        logs_found.update(logs.names(store.own, family))
    roots: list[tuple[str, Item]] = []
    for log in sorted(logs_found):
        for entry in _records(store.backend, log, found):
            found.records += 1
            roots += roots_of(entry.record)
    walk(store.backend, roots, found)
    return found


def roots_of(record: Record) -> list[tuple[str, Item]]:
    """What a record itself leads to, each with the record's name."""
    if record.manifest is None:
        return []
    family = record.log.partition("/")[0]
    if family == "refs":
        found = [(record.name, Item(Kind.SET, record.manifest))]
        if record.documents is not None:
            found.append((record.name, Item(Kind.BLOB, record.documents)))
        return found
    # The arrays that came out of a derivation may have been pruned: they would be computed again.
    kind = {INPUTS: Kind.INPUT, RESULTS: Kind.DERIVATION}.get(family, Kind.SET)
    return [(f"{record.log}/{record.number:08d}", Item(kind, record.manifest))]


def walk(backend: Backend, roots: Sequence[tuple[str, Item]], found: Reach) -> None:
    """Enter what some users lead to, and all that this leads to; goes on past damage."""

    def read(item: Item) -> list[Item] | Corrupt:
        try:
            return children(item.kind, objects.get(backend, objects.MANIFESTS, item.identity))
        except CalstoreError as error:
            return _unreadable(error, backend, item.key)

    level = list(roots)
    while level:
        new = [item for user, item in level if _enter(item, user, found)]
        manifests = [item for item in new if item.kind.leads_on]
        level = []
        for item, result in zip(manifests, overlapped(backend, read, manifests), strict=True):
            if isinstance(result, Corrupt):
                found.damages.append(result)
            else:
                level += [(item.key, child) for child in result]


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
        except NotFound:
            found.elsewhere.add(f"{parent.log.removeprefix('refs/')}@{parent.number}")
        except CalstoreError as error:
            if not any(damage.key == key for damage in found.damages):
                found.damages.append(_as_corrupt(error, backend, key))


def _as_corrupt(error: CalstoreError, backend: Backend, key: str) -> Corrupt:
    if isinstance(error, Corrupt):
        return error
    return Corrupt(f"{backend.describe(key)} is gone; restore it from a copy", key)


def _enter(item: Item, user: str, found: Reach) -> bool:
    """Note who uses an object; whether it is seen for the first time."""
    key = item.key
    first = key not in found.users
    found.users.setdefault(key, set()).add(user)
    found.references.setdefault(key, item.content)
    return first


def _unreadable(error: CalstoreError, backend: Backend, key: str) -> Corrupt:
    if isinstance(error, Corrupt):
        return error
    return Corrupt(f"{backend.describe(key)} cannot be used: {error}", key)


def object_of(key: str) -> str:
    """The key under which an object is referred to: of an array's files, their folder."""
    return key.rsplit("/", 1)[0] if key.startswith(objects.ARRAYS) and key.count("/") > 3 else key


def _by_name_and_number(name: str) -> tuple[str, int]:
    ref, _, number = name.partition("@")
    return ref, int(number)
