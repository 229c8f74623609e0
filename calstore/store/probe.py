"""Whether a place can hold a store that several write to: its create must be atomic."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from calstore.errors import CalstoreError, Invalid
from calstore.store.backend import Backend

_RACERS: Final = 8
_RACES: Final = 3


def prove(backend: Backend, name: str) -> None:
    """See that of two creates of one key one wins, one after the other and at once.

    Parameters
    ----------
    name
        A name that nobody else takes. What is written lies below ``.probe/`` and is removed.

    Raises
    ------
    Invalid
        When the second create took the place of the first, or several won.
    """
    folder = f".probe/{name}"
    keys = [f"{folder}/again", *(f"{folder}/race-{race}" for race in range(_RACES))]
    try:
        _prove_in_turn(backend, keys[0])
        for key in keys[1:]:
            _prove_at_once(backend, key)
    finally:
        for key in keys:
            # Some may write and not delete; readers ignore names that begin with a dot.
            with contextlib.suppress(CalstoreError):
                backend.delete(key)


def _prove_in_turn(backend: Backend, key: str) -> None:
    backend.create(key, b"the first")
    second = backend.create(key, b"the second")
    if second is None or backend.get(key) != b"the first":
        raise _not_atomic(backend, "a second create of a file takes the place of the first")


def _prove_at_once(backend: Backend, key: str) -> None:
    def won(number: int) -> bool:
        return backend.create(key, b"%d" % number) is None

    with ThreadPoolExecutor(_RACERS) as pool:
        told = list(pool.map(won, range(_RACERS)))
    # None may have been told where replies are lost.
    winners = [b"%d" % number for number in range(_RACERS) if told[number]]
    if len(winners) > 1 or (winners and backend.get(key) != winners[0]):
        raise _not_atomic(backend, f"of {_RACERS} creates of one file at once several won")


def _not_atomic(backend: Backend, what: str) -> Invalid:
    return Invalid(
        f"{backend.describe('')} cannot hold a store: {what}, so changes would be lost; "
        "use S3 with conditional puts (If-None-Match), or a directory"
    )
