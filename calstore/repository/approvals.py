"""Approvals: who vouches for a set of constants, as its log says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from calstore.errors import NotFound
from calstore.model.digest import Digest
from calstore.model.names import RefName
from calstore.model.records import GOOD, Record
from calstore.repository.store import Store
from calstore.store import logs

APPROVALS: Final = "approvals/"
"""Below it, the logs of sets that somebody said a word about."""


def approvals_log(digest: Digest) -> str:
    """The log that holds the approvals of a set."""
    return f"{APPROVALS}{digest.hex}"


def approval_of(store: Store, digest: Digest) -> Record | None:
    """The newest word about a set, ``None`` where nobody said any.

    Raises
    ------
    Corrupt
        When its record is damaged.
    """
    entry = store.head(approvals_log(digest))
    return None if entry is None else entry.record


def approvals_of(store: Store, digest: Digest) -> tuple[Record, ...]:
    """All words about a set, the newest first; see `approval_of`."""
    return tuple(entry.record for entry in logs.history(store.backend, approvals_log(digest)))


def approval_finder(store: Store) -> Callable[[Digest], Record | None]:
    """`approval_of` for many sets: what there is is listed once."""
    there = set(logs.names(store.backend, APPROVALS))
    return lambda digest: approval_of(store, digest) if approvals_log(digest) in there else None


def newest_approved(store: Store, ref: RefName) -> logs.Entry:
    """The newest record of a ref whose set is approved as good.

    Raises
    ------
    NotFound
        When there is none.
    """
    approval = approval_finder(store)
    for entry in logs.history(store.backend, ref.log):
        if entry.record.manifest is None:
            break  # what was there before a deletion is not vouched for any more
        found = approval(entry.record.manifest.digest)
        if found is not None and found.status == GOOD:
            return entry
    raise NotFound(
        f"no version of {ref} is approved; calstore log {ref} lists them; approve one with: "
        f"calstore approve {ref}@N --status good --reason WHY"
    )
