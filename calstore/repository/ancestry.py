"""How records descend from each other: what has all that another one had, but for later changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from calstore.errors import Corrupt, NotFound
from calstore.model.records import Parent, Record
from calstore.repository.store import Store
from calstore.store import logs

Place: TypeAlias = tuple[str, int]
"""A log, and a number in it."""

_WHOLE: Final = frozenset({"fork", "promote", "tag", "undo"})
"""Operations that take in the whole sets of all their parents.

Any other one takes in the record before it. A copy takes just some constants out of another
record, and an adopt what was changed in a view: a merge must not believe that it has the rest.
"""


@dataclass(frozen=True, slots=True)
class Ancestry:
    """Some records and all whose sets they took in as a whole, however many records ago.

    Parameters
    ----------
    records
        By place.
    taken_in
        For each the places of those that it took in directly.
    """

    records: Mapping[Place, Record]
    taken_in: Mapping[Place, Sequence[Place]]

    def common(self, ones: Sequence[Record], other: Record) -> tuple[Record, ...]:
        """The newest records that ``other`` and any of ``ones`` both descend from, or are.

        None of them descends from another. There are several where two refs took each other in
        at the same time.
        """
        common = self._all_from(ones) & self._all_from([other])
        # What an ancestor descends from is common too, so the newest are nobody's parents.
        older = {place for each in common for place in self.taken_in[each]}
        return tuple(self.records[place] for place in sorted(common - older))

    def _all_from(self, records: Sequence[Record]) -> set[Place]:
        found: set[Place] = set()
        waiting = [place_of(record) for record in records]
        while waiting:
            place = waiting.pop()
            if place not in found:
                found.add(place)
                waiting.extend(self.taken_in[place])
        return found


def ancestry_of(store: Store, *records: Record) -> Ancestry:
    """What the records descend from; each record is read once.

    At a deletion the story ends, and at a record of another log that a pulled store does not
    have.

    Raises
    ------
    Corrupt
        When a record on the way is damaged, or gone from the log of the one after it.
    """
    known: dict[Place, Record] = {}
    taken_in: dict[Place, Sequence[Place]] = {}
    parents = Parents(store)
    waiting = [*records]
    while waiting:
        this = waiting.pop()
        if place_of(this) not in known:
            above = _taken_in(parents.of(this), this)
            known[place_of(this)] = this
            taken_in[place_of(this)] = [place_of(each) for each in above]
            waiting += above
    return Ancestry(known, taken_in)


def place_of(record: Record) -> Place:
    """Where a record lies."""
    return record.log, record.number


class Parents:
    """The parents of records, each record read once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._entries: dict[Place, logs.Entry | None] = {}

    def of(self, record: Record) -> list[Record]:
        """The records that this one names; the one before it in its log is the first.

        One of another log that a pulled store does not have is left out.

        Raises
        ------
        Corrupt
            When one is damaged, gone from the same log, or another than was named.
        """
        found = (self._read(parent, record) for parent in record.parents)
        return [each for each in found if each is not None]

    def _read(self, parent: Parent, child: Record) -> Record | None:
        backend = self._store.backend
        place = parent.log, parent.number
        if place not in self._entries:
            try:
                self._entries[place] = logs.read(backend, *place)
            except NotFound:
                self._entries[place] = None
        entry = self._entries[place]
        if entry is None:
            if parent.log == child.log:
                raise logs.gone(backend, *place)
            return None
        if entry.parent != parent:
            key = f"{parent.log}/{parent.number:08d}"
            raise Corrupt(
                f"{backend.describe(key)} is not the record that {child.name} names; "
                "restore it from a copy",
                key,
            )
        return entry.record


def _taken_in(parents: Sequence[Record], record: Record) -> list[Record]:
    live = [each for each in parents if each.manifest is not None]
    before = [each for each in live if place_of(each) == (record.log, record.number - 1)]
    # An adopt into a new ref takes in all that the view's version has.
    is_whole = record.operation in _WHOLE or (record.operation == "adopt" and not before)
    return live if is_whole else before
