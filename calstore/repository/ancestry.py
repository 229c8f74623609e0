"""How records descend from each other: what has all that another one had, but for later changes."""

from __future__ import annotations

from collections.abc import Sequence
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


def common_ancestors(store: Store, ones: Sequence[Record], other: Record) -> tuple[Record, ...]:
    """The newest records that ``other`` and any of ``ones`` both descend from, or are.

    None of them descends from another. There are several where two refs took each other in at
    the same time. A record descends from those whose sets it took in as a whole; at a deletion
    the story ends, and at a record of another log that a pulled store does not have.

    Raises
    ------
    Corrupt
        When a record on the way is damaged, or gone from the log of the one after it.
    """
    mine, theirs = _graph(store, ones), _graph(store, [other])
    # What an ancestor descends from is common too, so the newest are nobody's parents.
    common = mine.keys() & theirs.keys()
    older = {place for each in common for place in mine[each][1]}
    return tuple(mine[place][0] for place in sorted(common - older))


def _graph(store: Store, records: Sequence[Record]) -> dict[Place, tuple[Record, list[Place]]]:
    """The records and their ancestors, each with the places of those that it took in directly."""
    found: dict[Place, tuple[Record, list[Place]]] = {}
    waiting = [*records]
    while waiting:
        this = waiting.pop()
        if place_of(this) not in found:
            above = _taken_in(store, this)
            found[place_of(this)] = this, [place_of(each) for each in above]
            waiting += above
    return found


def place_of(record: Record) -> Place:
    """Where a record lies."""
    return record.log, record.number


def parents_of(store: Store, record: Record) -> list[Record]:
    """The records that this one names as its parents; the one before it in its log is the first.

    One of another log that a pulled store does not have is left out.

    Raises
    ------
    Corrupt
        When one is damaged, gone from the same log, or another than was named.
    """
    found = (_read(store, parent, record) for parent in record.parents)
    return [each for each in found if each is not None]


def _taken_in(store: Store, record: Record) -> list[Record]:
    parents = [each for each in parents_of(store, record) if each.manifest is not None]
    before = [each for each in parents if place_of(each) == (record.log, record.number - 1)]
    # An adopt into a new ref takes in all that the view's version has.
    is_whole = record.operation in _WHOLE or (record.operation == "adopt" and not before)
    return parents if is_whole else before


def _read(store: Store, parent: Parent, child: Record) -> Record | None:
    try:
        entry = logs.read(store.backend, parent.log, parent.number)
    except NotFound:
        if parent.log == child.log:
            raise logs.gone(store.backend, parent.log, parent.number) from None
        return None
    if entry.parent != parent:
        key = f"{parent.log}/{parent.number:08d}"
        raise Corrupt(
            f"{store.backend.describe(key)} is not the record that {child.name} names; "
            "restore it from a copy",
            key,
        )
    return entry.record
