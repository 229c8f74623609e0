"""Adding a record to a ref: the one place where a version comes into being."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from calstore._version import __version__
from calstore.errors import Conflict, Invalid
from calstore.model.arrays import ArrayReference
from calstore.model.digest import Reference
from calstore.model.inputs import Evidence
from calstore.model.marks import RunMark
from calstore.model.names import RefName
from calstore.model.records import BRANCH, DELETE, TAG, Parent, Record, Stamp
from calstore.model.uses import Use
from calstore.repository.store import Store
from calstore.store import logs

_OPERATORS: Final = "opr"
"""How accounts end that a hutch's operators share: xppopr, cxiopr, …"""


class LostRace(Conflict):
    """Another writer took the next number of a log; what he did may be built upon."""


def commit(
    store: Store,
    name: RefName,
    manifest: Reference | None,
    *,
    base: logs.Entry | None,
    stamp: Stamp,
    operation: str,
    what: str,
    sources: Sequence[Parent] = (),
    kind: str = BRANCH,
    documents: Reference | None = None,
) -> Record:
    """The new record of a ref, durable.

    Parameters
    ----------
    manifest
        The set; everything that it leads to must have been put. ``None`` deletes the ref.
    base
        The record that this one builds upon, ``None`` for a new ref.
    sources
        Records of other refs that it came from.
    kind
        Of a new ref: branch or tag.
    documents
        A blob of those that it was made from.

    Raises
    ------
    Conflict
        When the ref has moved on from ``base``; nothing was changed.
    Invalid
        When the ref is a tag, or a new name differs from another's in case alone.
    """
    if base is None:
        refuse_look_alike(store, name)
    elif operation != DELETE:
        refuse_tag(store, name)
    parents = (() if base is None else (base.parent,)) + tuple(sources)
    record = Record(
        log=name.log,
        number=1 if base is None else base.record.number + 1,
        operation=operation,
        what=what,
        stamp=stamp,
        software=f"calstore {__version__}",
        parents=parents,
        manifest=manifest,
        kind=kind if base is None else None,
        documents=documents,
    )
    store.backend.sync()
    there = logs.append(store.backend, record)
    if there is not None:
        raise LostRace(
            f"{name} has moved: {there.name} is a {there.operation} by {there.stamp.who}; "
            "look at it, then run again"
        )
    return record


def append_record(
    store: Store,
    log: str,
    before: logs.Entry | None,
    *,
    stamp: Stamp,
    operation: str,
    what: str,
    software: str = f"calstore {__version__}",
    manifest: Reference | None = None,
    status: str | None = None,
    settings: Mapping[str, str] | None = None,
    evidence: tuple[Evidence, ...] | None = None,
    results: Mapping[str, ArrayReference] | None = None,
    mark: RunMark | None = None,
    use: Use | None = None,
    sources: Sequence[Parent] = (),
) -> Record | None:
    """The next record of a log that is no ref's, durable; ``None`` when another was faster.

    Parameters
    ----------
    before
        The newest record, ``None`` for a log without any.
    manifest
        What the record leads to; it must have been put.
    sources
        Records of other logs that it is about.
    """
    record = Record(
        log=log,
        number=1 if before is None else before.record.number + 1,
        operation=operation,
        what=what,
        stamp=stamp,
        software=software,
        parents=(() if before is None else (before.parent,)) + tuple(sources),
        manifest=manifest,
        mark=mark,
        use=use,
        status=status,
        settings=settings,
        evidence=evidence,
        results=results,
    )
    store.backend.sync()
    return None if logs.append(store.backend, record) else record


def refuse_nameless(stamp: Stamp) -> None:
    """Raise `Invalid` for an account that several share and that names no person."""
    if stamp.who.user.endswith(_OPERATORS) and stamp.who.claimed is None:
        raise Invalid(
            f"{stamp.who.user} is an account that several share; say who you are: "
            "export CALSTORE_USER=<your name>"
        )


def kind_of(store: Store, name: RefName) -> str:
    """Whether a ref that has records is a branch or a tag."""
    return logs.first(store.backend, name.log).kind or BRANCH


def refuse_tag(store: Store, name: RefName) -> None:
    """Raise `Invalid` for a ref that never moves."""
    if kind_of(store, name) == TAG:
        raise Invalid(f"{name} is a tag, which never moves; fork it: calstore fork {name} NEW")


def refuse_look_alike(store: Store, name: RefName) -> None:
    """Raise `Invalid` where a component differs from a neighbour's in case alone."""
    folder = "refs/"
    for part in name.text.split("/"):
        for key in store.backend.list(folder, deep=False):
            other = key.removeprefix(folder).rstrip("/")
            if other != part and other.casefold() == part.casefold():
                raise Invalid(f"{name} differs from {folder[5:]}{other} in case alone")
        folder += f"{part}/"
