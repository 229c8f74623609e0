"""The newest record of a log: found by a listing once, and from then on by its number."""

from __future__ import annotations

import pytest
from backends import FailingBackend
from builders import stamp

from calstore.model.manifests import SetManifest
from calstore.model.names import RefName
from calstore.repository.change import Move, move, put_set
from calstore.repository.store import Store
from calstore.store.memory import MemoryBackend

LOG = "refs/x/main"


class Far(FailingBackend):
    """A backend that counts its calls, and asks for several at once as one far away does."""

    width = 4


@pytest.fixture
def far() -> Far:
    return Far(MemoryBackend(), 0, before=True)


@pytest.fixture
def store(far: Far) -> Store:
    return Store(far, "0" * 32)


def grown(store: Store, records: int) -> None:
    """Put records at the end of a log, as another process would."""
    other = Store(store.backend, store.id)
    to = Move(put_set(other, SetManifest()), "append", always=True)
    for _ in range(records):
        move(other, RefName("x/main"), lambda before: to, stamp(), "set", may_be_new=True)


def number(store: Store) -> int:
    entry = store.head(LOG)
    return 0 if entry is None else entry.record.number


def test_a_log_far_away_is_listed_once_and_followed_from_there(store: Store, far: Far) -> None:
    assert number(store) == 0
    for records in (1, 1, 7, 30):
        before = number(store)
        grown(store, records)
        assert number(store) == before + records

    listed = far.calls["list"]
    for _ in range(10):
        assert number(store) == 39
    assert far.calls["list"] == listed


def test_a_log_that_became_shorter_is_listed_again(store: Store, far: Far) -> None:
    """As a store is that was restored from an older copy while a service ran."""
    grown(store, 5)
    assert number(store) == 5
    for key in sorted(far.list(f"{LOG}/"))[2:]:
        far.delete(key)

    assert number(store) == 2


def test_a_log_at_hand_is_listed_each_time() -> None:
    """It costs next to nothing, and what lies in the folder and is no record is found."""
    near = FailingBackend(MemoryBackend(), 0, before=True)
    store = Store(near, "0" * 32)
    grown(store, 2)
    before = near.calls["list"]

    assert [number(store) for _ in range(3)] == [2, 2, 2]
    assert near.calls["list"] == before + 3
