"""refs and log: which versions there are, and how each came to be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from calstore.errors import NotFound
from calstore.model.names import RefName
from calstore.model.records import BRANCH, Record
from calstore.repository.store import Store, ref_name
from calstore.store import logs


@dataclass(frozen=True, slots=True)
class Ref:
    """A name, its kind (branch or tag), and its newest record."""

    name: RefName
    kind: str
    head: Record

    @property
    def deleted(self) -> bool:
        """Whether the newest record deletes it."""
        return self.head.manifest is None


def refs(store: Store, *, deleted: bool = False) -> Iterator[Ref]:
    """All refs, by name; deleted ones only when asked for.

    Raises
    ------
    Corrupt
        At the first record that is damaged.
    """
    for entry, first in logs.heads(store.backend, "refs/"):
        name = RefName(entry.record.log.removeprefix("refs/"))
        if entry.record.manifest is not None or deleted:
            yield Ref(name, first.kind or BRANCH, entry.record)


def log(store: Store, name: str) -> Iterator[Record]:
    """The records of a ref, the newest first, deleted or not.

    Raises
    ------
    NotFound
        When there is no such ref.
    Corrupt
        When a record is missing, damaged, or not the one that the next was built upon.
    """
    ref = ref_name(name)
    entries = logs.history(store.backend, ref.log)
    newest = next(entries, None)
    if newest is None:
        raise NotFound(f"there is no ref {ref}; calstore refs lists all")
    yield newest.record
    for entry in entries:
        yield entry.record
