"""What a log has in one store and lacks in another: nothing, some records, or another history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from calstore.model.records import Record
from calstore.store import logs
from calstore.store.backend import Backend
from calstore.store.overlap import overlapped


@dataclass(frozen=True, slots=True)
class Gap:
    """A log of which one store has the first records, and the other these and perhaps more.

    Parameters
    ----------
    newest, there
        How many records it has where it is copied from, and where it is copied to.
    """

    log: str
    newest: int
    there: int

    @property
    def common(self) -> int:
        """How many records both have."""
        return min(self.newest, self.there)

    @property
    def missing(self) -> range:
        """The numbers of the records to copy."""
        return range(self.common + 1, self.newest + 1)


@dataclass(frozen=True, slots=True)
class Divergence:
    """A log that went on in two ways: the first records that differ."""

    log: str
    ours: Record
    theirs: Record

    @property
    def number(self) -> int:
        """Of the first record that differs."""
        return self.ours.number


def compare_log(source: Backend, dest: Backend, log: str) -> Gap | Divergence:
    """What ``dest`` lacks of a log that ``source`` has.

    Each record names the one before by its digest, so equal records have equal histories.

    Raises
    ------
    NotFound
        When ``source`` has no such log.
    Corrupt
        When a record that was looked at is damaged.
    """
    newest = logs.head(source, log)
    if newest is None:
        raise logs.no_log(source, log)
    there = logs.head(dest, log)
    if there is None:
        return Gap(log, newest.record.number, 0)
    both = min(newest.record.number, there.record.number)
    if _is_equal(source, dest, log, both):
        return Gap(log, newest.record.number, there.record.number)
    equal, differs = 0, both
    while differs - equal > 1:
        middle = (equal + differs) // 2
        if _is_equal(source, dest, log, middle):
            equal = middle
        else:
            differs = middle
    ours, theirs = (logs.read(backend, log, differs).record for backend in (source, dest))
    return Divergence(log, ours, theirs)


def compare_logs(source: Backend, dest: Backend, names: Sequence[str]) -> list[Gap | Divergence]:
    """`compare_log` for several, in their order; several at once where one of them is far."""
    farthest = max(source, dest, key=lambda backend: backend.width)
    return list(overlapped(farthest, lambda log: compare_log(source, dest, log), names))


def _is_equal(source: Backend, dest: Backend, log: str, number: int) -> bool:
    return logs.read(source, log, number).parent == logs.read(dest, log, number).parent
