"""What is kept of reads from afar: never wrong, bounded, and never needed."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from backends import FailingBackend, counting
from builders import small_files, stamp, write_files

from calstore.errors import Corrupt
from calstore.repository.branch import fork
from calstore.repository.import_tree import import_tree
from calstore.repository.materialize import materialize
from calstore.repository.refs import log, refs
from calstore.repository.store import Store, init_store
from calstore.repository.verify import verify
from calstore.store import arrays
from calstore.store.cached import CachedBackend, ReadCache
from calstore.store.memory import MemoryBackend

MAIN = "cxis0113/main"
ID = "0" * 32


@pytest.fixture
def far(small_tree: Path) -> FailingBackend:
    """A backend with a version, which counts what it is asked."""
    store = init_store("memory:", ID)
    import_tree(store, small_tree, MAIN, stamp())
    fork(store, MAIN, "cxis0113/other", stamp())
    return counting(store.own)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def near(far: FailingBackend, folder: Path, limit: int = 10**9, **more: Callable) -> Store:
    return Store(CachedBackend(far, ReadCache(folder, limit, **more), ID), ID)


def read_all(store: Store) -> list[object]:
    constants = store[MAIN]["Opal"].at(run=5)
    return [
        [record.name for record in log(store, MAIN)],
        [str(ref.name) for ref in refs(store)],
        constants["pedestals"].array.tobytes(),
        constants["pixel_status"].array.tobytes(),
        store[MAIN]["Zyla"].at(run=5)["geometry"].data,
    ]


def view(store: Store, dest: Path) -> None:
    materialize(store, store[MAIN], dest)


def kept(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_what_was_read_once_is_not_asked_for_again(far: FailingBackend, cache: Path) -> None:
    first = read_all(near(far, cache))
    asked = far.calls["get"]

    second = read_all(near(far, cache))

    assert second == first
    missing = 3  # the record after the newest, each time a head is looked for
    assert far.calls["get"] - asked <= missing


def test_a_view_from_what_is_kept_asks_for_heads_alone(
    far: FailingBackend, cache: Path, tmp_path: Path
) -> None:
    view(near(far, cache), tmp_path / "one")
    asked = dict(far.calls)

    view(near(far, cache), tmp_path / "two")

    assert far.calls["get"] - asked["get"] <= 3
    for path in (tmp_path / "one").rglob("*.data"):
        assert (
            path.read_bytes()
            == (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes()
        )


def test_a_new_record_is_seen_at_once(far: FailingBackend, cache: Path) -> None:
    store = near(far, cache)
    read_all(store)

    fork(Store(far, ID), MAIN, "cxis0113/new", stamp())

    assert "cxis0113/new" in [str(ref.name) for ref in refs(store)]


@pytest.mark.parametrize("how", ["flipped", "torn", "emptied", "longer", "swapped"])
def test_a_damaged_cache_costs_time_and_nothing_else(
    far: FailingBackend, cache: Path, how: str
) -> None:
    expected = read_all(near(far, cache))
    paths = kept(cache)
    for path, other in zip(paths, paths[1:] + paths[:1], strict=True):
        data = path.read_bytes()
        flipped = bytearray(data)
        flipped[random.Random(1).randrange(len(data))] ^= 4
        path.write_bytes(
            {
                "flipped": bytes(flipped),
                "torn": data[: len(data) // 2],
                "emptied": b"",
                "longer": data + b"x",
                "swapped": other.read_bytes(),
            }[how]
        )

    if how == "swapped":
        # Whole files in each other's places: only somebody who means it does that, and the
        # reader's own check finds it.
        with pytest.raises(Corrupt):
            read_all(near(far, cache))
    else:
        assert read_all(near(far, cache)) == expected


def test_damage_of_the_store_is_not_kept(far: FailingBackend, cache: Path) -> None:
    whole = {}
    for folder in ("objects/", "refs/"):
        for key in list(far.inner.list(folder)):
            whole[key] = far.inner.get(key)
            torn = bytearray(whole[key])
            torn[len(torn) // 2] ^= 1
            far.inner.delete(key)
            far.inner.create(key, torn)
    backend = near(far, cache).backend
    for key in whole:
        backend.get(key)

    assert kept(cache) == []


def test_a_store_made_anew_at_the_same_place_is_another_one(
    far: FailingBackend, cache: Path
) -> None:
    read_all(near(far, cache))
    other = init_store("memory:", "1" * 32)
    import_tree(other, write_files(cache.parent / "x", small_files(1)), MAIN, stamp("another"))

    store = Store(CachedBackend(other.own, ReadCache(cache, 10**9), other.id), other.id)

    assert next(iter(log(store, MAIN))).stamp.why == "another"


def test_the_cache_stays_below_its_limit_and_keeps_what_was_read_last(cache: Path) -> None:
    far = MemoryBackend()
    random_ = np.random.default_rng(0)
    references = [
        arrays.put(far, random_.normal(size=(40, 64)).astype(np.float32)) for _ in range(20)
    ]
    limit = 50_000
    backend = CachedBackend(far, ReadCache(cache, limit), ID)

    for number, reference in enumerate(references):
        arrays.get(backend, reference)
        for path in kept(cache):
            os.utime(path, ns=(number, number)) if path.stat().st_mtime_ns > 10**9 else None

        assert sum(path.stat().st_size for path in kept(cache)) <= limit

    last = references[-1].digest.hex
    assert any(last in str(path) for path in kept(cache))
    assert not any(references[0].digest.hex in str(path) for path in kept(cache))


def test_a_cache_that_cannot_be_written_is_told_once_and_reading_goes_on(
    far: FailingBackend, cache: Path
) -> None:
    blocked = cache.parent / "blocked"
    blocked.write_bytes(b"a file is in the way")
    told: list[str] = []

    found = read_all(near(far, blocked, trouble=told.append))

    assert found == read_all(Store(far, ID))
    assert len(told) == 1
    assert "nothing can be kept in" in told[0]
    assert "reading goes on without it" in told[0]


def test_a_full_disk_leaves_no_half_file(
    far: FailingBackend, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    rename = Path.rename

    def full(self: Path, target: Path) -> Path:
        if str(self).startswith(str(cache)):
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", full)

    found = read_all(near(far, cache, trouble=told.append))

    assert found == read_all(Store(far, ID))
    assert len(told) == 1
    assert told[0].startswith(f"nothing can be kept in {cache}/")
    assert told[0].endswith(" (No space left on device); reading goes on without it")
    assert kept(cache) == []


def test_verify_reads_the_store_and_not_what_is_kept(far: FailingBackend, cache: Path) -> None:
    store = near(far, cache)
    assert verify(store).damages == ()
    read_all(store)
    key = next(key for key in far.inner.list("objects/blobs/"))
    far.inner.delete(key)

    assert [damage.key for damage in verify(store).damages] == [key]


def test_a_part_of_an_array_is_not_read_whole(far: FailingBackend, cache: Path) -> None:
    store = near(far, cache)
    reference = store[MAIN]["Opal"].at(run=5)["pedestals"].constant.content

    panel = arrays.get_panel(store.backend, reference, 0)

    assert panel == store[MAIN]["Opal"].at(run=5)["pedestals"].array.tobytes()
