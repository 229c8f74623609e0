"""How records descend from each other: through their own log, and from others' records."""

from __future__ import annotations

from typing import TypeAlias

from calstore.errors import NotFound
from calstore.model.records import Parent, Record
from calstore.repository.store import Store
from calstore.store import logs

Place: TypeAlias = tuple[str, int]
"""A log, and a number in it."""


def common_ancestor(store: Store, one: Record, other: Record) -> Record | None:
    """The newest record that both descend from (or are), ``None`` if they share none.

    Where there are several, none of which descends from another, the one that was made last.
    """
    mine, theirs = ancestors(store, one), ancestors(store, other)
    common = {place: record for place, record in mine.items() if place in theirs}
    # What an ancestor descends from is common too, so the newest are nobody's parents.
    older = {_place(parent) for record in common.values() for parent in record.parents}
    newest = [record for place, record in common.items() if place not in older]
    return max(
        newest, key=lambda record: (record.stamp.when, record.log, record.number), default=None
    )


def ancestors(store: Store, record: Record) -> dict[Place, Record]:
    """The record, and all that it was made from, by place.

    Parents that a pruned or pulled store does not have are left out: there the story ends. So
    are deletions: what came after one has nothing from before it.
    """
    found: dict[Place, Record] = {}
    waiting = [record]
    while waiting:
        this = waiting.pop()
        if (this.log, this.number) in found:
            continue
        found[this.log, this.number] = this
        for parent in this.parents:
            above = _read(store, parent)
            if above is not None and above.manifest is not None:
                waiting.append(above)
    return found


def _place(parent: Parent) -> Place:
    return parent.log, parent.number


def _read(store: Store, parent: Parent) -> Record | None:
    try:
        return logs.read(store.backend, parent.log, parent.number).record
    except NotFound:
        return None
