"""Whether another store has all that this one has: what a backup is worth."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from calstore.errors import Corrupt, NotFound
from calstore.repository.contents import folder_of
from calstore.repository.damage import EVERYTHING, reach
from calstore.repository.store import Store
from calstore.store import copying, logs
from calstore.store.overlap import overlapped


def missing_from(
    store: Store,
    other: Store,
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Iterator[str]:
    """What another store lacks of this one's records and objects, or has otherwise.

    Records are compared byte for byte; objects by what is seen without reading their values,
    which ``verify`` of the other store reads.
    """
    other = other.uncached
    names = [log for family in EVERYTHING for log in logs.names(store.own, family)]
    records = [(log, number) for log in names for number in logs.numbers(store.own, log)]
    found = reach(store).references
    total = len(records) + len(found)

    def record(place: tuple[str, int]) -> str | None:
        log, number = place
        key = f"{log}/{number:08d}"
        try:
            same = (
                logs.read(other.own, log, number).parent == logs.read(store.own, log, number).parent
            )
        except NotFound:
            return f"{other.own.describe(key)} is missing"
        except Corrupt as error:
            return str(error)
        return None if same else f"{other.own.describe(key)} is another record"

    def content(key: str) -> str | None:
        try:
            is_there = copying.is_stored(other.own, folder_of(key), found[key])
        except Corrupt as error:
            return str(error)
        return None if is_there else f"{other.own.describe(key)} is missing"

    done = 0
    for results in (
        overlapped(other.own, record, records),
        overlapped(other.own, content, list(found)),
    ):
        for result in results:
            done += 1
            progress(done, total)
            if result is not None:
                yield result
