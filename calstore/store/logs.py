"""Logs: folders of numbered records, each written once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

from calstore.errors import Corrupt, Invalid, NotFound
from calstore.model.records import Parent, Record, parent_of
from calstore.store.backend import Backend
from calstore.store.overlap import overlapped


@dataclass(frozen=True, slots=True)
class Entry:
    """A record as it lies in its log, and as a parent for the next one."""

    record: Record
    parent: Parent


def append(backend: Backend, record: Record) -> Record | None:
    """Create the record; the one of another writer when that took the number, else ``None``.

    Everything that it leads to must be durable before. On ``None`` the record is.
    """
    key = _key(record.log, record.number)
    other = None
    if backend.create(key, record.encoded()) is not None:
        found = read(backend, record.log, record.number).record
        # A reply can be lost after the write; the writer's id tells.
        other = None if found.stamp.writer == record.stamp.writer else found
    backend.sync()
    return other


def copy(backend: Backend, record: Record) -> bool:
    """Create a record of another store, as it is; ``False`` when another one has its place.

    Everything that it leads to must be durable before. The record is after `Backend.sync`.
    """
    key, data = _key(record.log, record.number), record.encoded()
    return backend.create(key, data) is None or backend.get(key) == data


def head(backend: Backend, log: str, seen: int = 0) -> Entry | None:
    """The newest record, ``None`` for a log without any.

    Parameters
    ----------
    seen
        A number that was its newest once: the log is then followed from there, not listed.

    Raises
    ------
    Corrupt
        When it is damaged: the one before is never taken for it.
    """
    entry = _read_if_there(backend, log, seen) if seen else None
    if entry is None:
        newest = max(numbers(backend, log), default=0)
        entry = read(backend, log, newest) if newest else None
    # A listing may be stale; a name that is asked for is not.
    later = count(1 if entry is None else entry.record.number + 1)
    for found in overlapped(backend, lambda number: _read_if_there(backend, log, number), later):
        if found is None:
            break
        entry = found
    return entry


def numbers(backend: Backend, log: str) -> list[int]:
    """The numbers of the records that a listing shows, ascending."""
    found = []
    for key in backend.list(f"{log}/"):
        where, number = _place(backend, key)
        if where != log:
            raise _no_record(backend, key)
        found.append(number)
    return found


def read(backend: Backend, log: str, number: int) -> Entry:
    """One record, verified.

    Raises
    ------
    NotFound
        When there is no such record.
    Corrupt
        When it is damaged, or lies in another record's place.
    """
    key = _key(log, number)
    data = backend.get(key)
    try:
        record = Record.decoded(data, log=log, number=number)
    except Invalid as error:
        raise Corrupt(f"{backend.describe(key)} is damaged: {error}; restore it", key) from None
    return Entry(record, parent_of(record, data))


def history(backend: Backend, log: str) -> Iterator[Entry]:
    """All records, the newest first, each checked against the one that follows it.

    Raises
    ------
    Corrupt
        When one is missing, damaged, or not the one that its follower was built upon.
    """
    entry = head(backend, log)
    below = range(entry.record.number - 1, 0, -1) if entry else range(0)
    earlier = overlapped(backend, lambda number: _read_if_there(backend, log, number), below)
    while entry is not None:
        yield entry
        number = entry.record.number - 1
        if number == 0:
            return
        before = next(earlier, None)
        if before is None:
            raise gone(backend, log, number)
        if before.parent not in entry.record.parents:
            key = _key(log, number)
            raise Corrupt(
                f"{backend.describe(key)} is not the record that @{number + 1} was built upon; "
                "restore it from a copy",
                key,
            )
        entry = before


def first(backend: Backend, log: str) -> Record:
    """Record 1 of a log that has others.

    Raises
    ------
    Corrupt
        When it is gone or damaged.
    """
    try:
        return read(backend, log, 1).record
    except NotFound:
        raise gone(backend, log, 1) from None


def no_log(backend: Backend, log: str) -> NotFound:
    """The error for a log that has no record."""
    return NotFound(f"{backend.describe('')} has no {log.removeprefix('refs/')}")


def gone(backend: Backend, log: str, number: int) -> Corrupt:
    """The error for a record that must have been there."""
    key = _key(log, number)
    return Corrupt(f"{backend.describe(key)} is gone; restore it from a copy", key)


def names(backend: Backend, family: str) -> list[str]:
    """The logs below ``family`` (``refs/``) that have a record, ascending."""
    return sorted({key.rsplit("/", 1)[0] for key in backend.list(family)})


def heads(backend: Backend, family: str) -> Iterator[tuple[Entry, Record]]:
    """The newest record and the first one of each log below ``family``, by log.

    What is there is listed once, and as fresh as the listing.

    Raises
    ------
    Corrupt
        When one of them is damaged or gone.
    """
    newest: dict[str, int] = {}
    for key in backend.list(family):
        log, number = _place(backend, key)
        newest[log] = max(number, newest.get(log, 0))

    def ends(log: str) -> tuple[Entry, Record]:
        number = newest[log]
        try:
            entry = read(backend, log, number)
        except NotFound:
            raise gone(backend, log, number) from None
        return entry, entry.record if number == 1 else first(backend, log)

    return overlapped(backend, ends, sorted(newest))


def _place(backend: Backend, key: str) -> tuple[str, int]:
    log, _, name = key.rpartition("/")
    if not (len(name) == 8 and name.isdecimal() and name.isascii()):
        raise _no_record(backend, key)
    return log, int(name)


def _no_record(backend: Backend, key: str) -> Corrupt:
    return Corrupt(f"{backend.describe(key)} is no record; move it out of the store", key)


def _key(log: str, number: int) -> str:
    return f"{log}/{number:08d}"


def _read_if_there(backend: Backend, log: str, number: int) -> Entry | None:
    try:
        return read(backend, log, number)
    except NotFound:
        return None
