"""deposit and withdraw: what psana 2's deploying tools do, as versions of a ref."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from calstore.model.manifests import Detector
from calstore.model.names import RefName
from calstore.model.records import Stamp
from calstore.model.runs import RunRange
from calstore.repository.change import Move, Moved, move
from calstore.repository.documents import Deposit, deposited, put_documents, without
from calstore.repository.store import Store
from calstore.repository.version import Version

Place = tuple[Detector, str, RunRange]
"""Detector, type and runs of a constant."""


def deposit(
    store: Store,
    ref: str,
    deposits: Sequence[Deposit],
    what: str,
    stamp: Stamp,
    *,
    operation: str = "deposit",
    instead_of: Sequence[Place] = (),
    may_be_new: bool = False,
) -> Moved:
    """Add what documents are about to a ref, and keep the documents.

    Parameters
    ----------
    instead_of
        Constants that are there no more afterwards.
    may_be_new
        Whether the ref may be made by this.

    Raises
    ------
    NotFound
        When there is no such ref, unless it may be new.
    Invalid
        When it is a tag.
    """
    documents = put_documents(store, deposits)

    def decide(version: Version | None) -> Move:
        reference = deposited(version, store, deposits, instead_of)
        return Move(reference, what, always=True, documents=documents)

    return move(store, RefName(ref), decide, stamp, operation, may_be_new=may_be_new)


def withdraw(
    store: Store, ref: str, places: Callable[[Version], Sequence[Place]], what: str, stamp: Stamp
) -> Moved:
    """Leave constants out of the next version of a ref; those before have them still.

    Parameters
    ----------
    places
        Which, of the newest version.

    Raises
    ------
    NotFound
        When there is no such ref.
    """

    def decide(version: Version | None) -> Move:
        assert version is not None
        return Move(without(version, places(version)), what)

    return move(store, RefName(ref), decide, stamp, "deposit")
