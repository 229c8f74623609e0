"""What every backend promises (calstore/store/backend.py), and what a directory promises more.

Another backend joins by a line in the fixture ``backend``.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import secrets
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
from backends import VERBS, FailingBackend, counting
from hypothesis import given
from hypothesis import strategies as st

from calstore.errors import CalstoreError, Conflict, Corrupt, Invalid, NotFound
from calstore.store.backend import Backend, Existing
from calstore.store.local import LocalBackend
from calstore.store.memory import MemoryBackend
from calstore.store.remote import open_remote


@pytest.fixture(params=["memory", "local", "s3", "fsspec"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    match request.param:
        case "memory":
            return MemoryBackend()
        case "local":
            return LocalBackend(tmp_path)
        case "s3":
            return open_remote(f"{request.getfixturevalue('s3')}/{secrets.token_hex(8)}")
        case _:
            return open_remote(f"memory://{secrets.token_hex(8)}")


def test_what_was_created_is_got(backend: Backend) -> None:
    first = backend.create("objects/ab/one", b"pedestals")

    assert first is None
    assert backend.get("objects/ab/one") == b"pedestals"
    assert backend.size("objects/ab/one") == 9


@pytest.mark.parametrize("wrapped", [bytes, bytearray, memoryview])
def test_any_buffer_is_stored(backend: Backend, wrapped: type) -> None:
    backend.create("key", wrapped(b"abc"))

    assert backend.get("key") == b"abc"


def test_parts_are_stored_as_one_file(backend: Backend) -> None:
    backend.create("key", b"ab", b"", bytearray(b"c"), memoryview(b"def"))

    assert backend.get("key") == b"abcdef"
    assert backend.create("key", b"1", b"2") == Existing(6)


def test_a_file_without_parts_is_empty(backend: Backend) -> None:
    assert backend.create("key") is None
    assert backend.get("key") == b""


def test_what_is_stored_does_not_change_with_the_buffer(backend: Backend) -> None:
    buffer = bytearray(b"abc")

    backend.create("key", buffer)
    buffer[0] = 0

    assert backend.get("key") == b"abc"


def test_an_empty_file_is_a_file(backend: Backend) -> None:
    backend.create("key", b"")

    assert backend.create("key", b"more") == Existing(0)
    assert backend.get("key") == b""
    assert backend.size("key") == 0
    assert list(backend.list("")) == ["key"]


def test_the_second_create_is_told_the_size_and_changes_nothing(backend: Backend) -> None:
    backend.create("a/key", b"first")

    second = backend.create("a/key", b"the second one")

    assert second == Existing(5)
    assert backend.get("a/key") == b"first"


def test_the_same_bytes_again_are_existing_too(backend: Backend) -> None:
    data = b"first"
    backend.create("key", data)

    assert backend.create("key", data) == Existing(5)


@pytest.mark.parametrize(
    ("start", "stop"),
    [(0, None), (3, None), (-3, None), (0, 4), (2, 5), (-5, -2), (8, 20), (20, None), (-20, 2)],
)
def test_a_range_is_got_as_a_slice(backend: Backend, start: int, stop: int | None) -> None:
    data = b"0123456789"
    backend.create("key", data)

    assert backend.get("key", start, stop) == data[start:stop]


@given(
    data=st.binary(max_size=8),
    start=st.integers(-10, 10),
    stop=st.none() | st.integers(-10, 10),
)
def test_any_range_is_got_as_a_slice(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, start: int, stop: int | None
) -> None:
    backends = [MemoryBackend(), LocalBackend(tmp_path_factory.mktemp("slices"))]

    for backend in backends:
        backend.create("key", data)

        assert backend.get("key", start, stop) == data[start:stop]


@pytest.mark.parametrize("key", ["none", "a/none", "a/b/c"])
def test_what_is_not_there_is_not_found(backend: Backend, key: str) -> None:
    backend.create("a/one", b"1")

    for verb in (backend.get, backend.size, backend.delete):
        with pytest.raises(NotFound, match=key):
            verb(key)


def test_a_file_below_a_file_is_not_found(backend: Backend) -> None:
    backend.create("a", b"1")

    with pytest.raises(NotFound):
        backend.get("a/b")


def test_a_deleted_file_is_gone_and_can_be_made_again(backend: Backend) -> None:
    backend.create("a/one", b"1")
    backend.create("a/two", b"2")

    backend.delete("a/one")

    assert list(backend.list("")) == ["a/two"]
    with pytest.raises(NotFound):
        backend.get("a/one")
    assert backend.create("a/one", b"new") is None
    assert backend.get("a/one") == b"new"


# '-', '.' and '+' sort before '/', '0' and letters after it.
AROUND_SLASH = ["a", "a+b", "a-b", "a-b/x", "a.b/y", "a/b", "a/b-c/1", "a/b.c", "a0", "a0/z", "ab"]


def test_keys_are_listed_in_ascending_order(backend: Backend) -> None:
    keys = [key for key in AROUND_SLASH if key not in ("a", "a/b", "a0", "a-b")]
    for key in random.Random(1).sample(keys, len(keys)):
        backend.create(key, b"")

    assert list(backend.list("")) == sorted(keys)
    assert list(backend.list("a/")) == ["a/b-c/1", "a/b.c"]


def test_folders_are_listed_in_the_place_of_their_keys(backend: Backend) -> None:
    keys = ["a+b", "a-b/x", "a.b/y", "a/b", "a/c/d", "a0/z", "ab", "b"]
    for key in random.Random(2).sample(keys, len(keys)):
        backend.create(key, b"")

    assert list(backend.list("", deep=False)) == ["a+b", "a-b/", "a.b/", "a/", "a0/", "ab", "b"]
    assert list(backend.list("a/", deep=False)) == ["a/b", "a/c/"]


@given(st.sets(st.tuples(*[st.sampled_from(["a", "a-", "a.b", "a0", "B", "é"])] * 3), max_size=12))
def test_every_backend_lists_alike(
    tmp_path_factory: pytest.TempPathFactory, names: set[tuple[str, ...]]
) -> None:
    keys = ["/".join(parts) for parts in names]
    memory, local = MemoryBackend(), LocalBackend(tmp_path_factory.mktemp("lists"))
    for key in keys:
        memory.create(key, b"")
        local.create(key, b"")

    for prefix in ("", "a/", "a/a/", "B/"):
        for deep in (True, False):
            listed = list(local.list(prefix, deep=deep))
            assert listed == list(memory.list(prefix, deep=deep)) == sorted(listed)


def test_a_prefix_without_keys_lists_nothing(backend: Backend) -> None:
    backend.create("ab/one", b"1")

    assert list(backend.list("a/")) == []
    assert list(backend.list("none/", deep=False)) == []
    assert list(backend.list("ab/one/")) == []


def test_a_prefix_is_a_folder_not_the_beginning_of_a_name(backend: Backend) -> None:
    backend.create("refs/x/main/00000001", b"1")
    backend.create("refs/x/main2/00000001", b"2")

    assert list(backend.list("refs/x/main/")) == ["refs/x/main/00000001"]


def test_of_threads_that_race_one_wins(backend: Backend) -> None:
    threads = 8

    def race(number: int) -> list[bool]:
        data = b"x" * (number + 1)
        return [backend.create(f"race/{key:03}", data) is None for key in range(100)]

    with ThreadPoolExecutor(threads) as pool:
        results = list(pool.map(race, range(threads)))

    for key in range(100):
        winners = [number for number in range(threads) if results[number][key]]
        assert len(winners) == 1
        assert backend.size(f"race/{key:03}") == winners[0] + 1


def test_sync_may_be_called_at_any_time(backend: Backend) -> None:
    backend.sync()
    backend.create("a/b/c", b"1")
    backend.delete("a/b/c")

    backend.sync()
    backend.sync()


def test_a_place_is_described_by_its_key(backend: Backend) -> None:
    assert backend.describe("a/b").endswith("a/b")
    assert backend.describe("")


# What a directory promises more.


@pytest.fixture(params=[0o022, 0o077, 0o000])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.mark.parametrize("mode", [0o755, 0o2775, 0o3775, 0o700])
def test_files_are_read_only_and_folders_as_the_root(tmp_path: Path, umask: int, mode: int) -> None:
    root = tmp_path / "store"
    root.mkdir()
    root.chmod(mode)

    LocalBackend(root).create("objects/blobs/ab/one", b"1")

    assert _mode(root / "objects/blobs/ab/one") == 0o444
    for folder in ("objects", "objects/blobs", "objects/blobs/ab"):
        assert _mode(root / folder) == mode


def test_no_temporary_file_is_left(tmp_path: Path) -> None:
    backend = LocalBackend(tmp_path)

    backend.create("a/one", b"1")
    backend.create("a/one", b"2")

    assert [path.name for path in (tmp_path / "a").iterdir()] == ["one"]


def test_a_loser_that_wrote_already_leaves_no_temporary_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = os.link

    def late(source: Path, target: Path) -> None:
        Path(target).write_bytes(b"the winner")
        link(source, target)

    monkeypatch.setattr(os, "link", late)

    lost = LocalBackend(tmp_path).create("a/one", b"1")

    assert lost == Existing(10)
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["one"]
    assert (tmp_path / "a/one").read_bytes() == b"the winner"


def test_a_link_whose_reply_was_lost_counts_as_won(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = os.link

    def twice(source: Path, target: Path) -> None:
        link(source, target)
        link(source, target)

    monkeypatch.setattr(os, "link", twice)

    assert LocalBackend(tmp_path).create("a/one", b"1") is None


def test_short_writes_are_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:7]))
    data = bytes(range(100))

    LocalBackend(tmp_path).create("a/one", data)

    assert (tmp_path / "a/one").read_bytes() == data


def test_names_with_a_leading_dot_are_ignored(tmp_path: Path) -> None:
    backend = LocalBackend(tmp_path)
    backend.create("a/one", b"1")
    (tmp_path / "a" / ".tmp-123").write_bytes(b"half")
    (tmp_path / ".snapshot").mkdir()
    (tmp_path / ".snapshot" / "old").write_bytes(b"old")

    assert list(backend.list("")) == ["a/one"]
    assert list(backend.list("", deep=False)) == ["a/"]


def test_a_folder_that_is_a_link_is_not_walked(tmp_path: Path) -> None:
    backend = LocalBackend(tmp_path)
    backend.create("a/one", b"1")
    (tmp_path / "a" / "round").symlink_to(tmp_path)

    assert list(backend.list("")) == ["a/one", "a/round"]


def test_create_fails_without_a_trace_when_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)

    with pytest.raises(Conflict, match="no room to write"):
        LocalBackend(tmp_path).create("a/one", b"1")
    assert list((tmp_path / "a").iterdir()) == []


@pytest.mark.parametrize(
    ("number", "error"),
    [(5, Corrupt), (28, Conflict), (122, Conflict), (13, Invalid), (30, Invalid)],
)
@pytest.mark.parametrize("verb", ["open", "write", "fsync", "link"])
def test_no_foreign_error_escapes(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    verb: str,
    number: int,
    error: type[CalstoreError],
) -> None:
    def failing(*args: object, **kwargs: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, verb, failing)

    with pytest.raises(error, match="a/one"):
        LocalBackend(tmp_path).create("a/one", b"1")


@pytest.mark.parametrize(("where", "races"), [("directory", 2000), ("s3", 60)])
def test_of_two_processes_that_race_one_wins(
    where: str, races: int, memory_path: Path, request: pytest.FixtureRequest
) -> None:
    folder = f"{memory_path}" if where == "directory" else request.getfixturevalue("s3")
    place = f"{folder}/{secrets.token_hex(8)}"
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(2), context.Queue()
    processes = [
        context.Process(target=_race, args=(place, races, number, barrier, results), daemon=True)
        for number in (0, 1)
    ]
    for process in processes:
        process.start()

    told = dict(results.get(timeout=120) for _ in processes)

    for process in processes:
        process.join()
    backend = _opened(place)
    for key in range(races):
        winners = [number for number in (0, 1) if told[number][key] is None]
        assert len(winners) == 1, f"race {key} has the winners {winners}"
        assert told[1 - winners[0]][key] == winners[0] + 1
        assert backend.get(f"race/{key:04}") == b"x" * (winners[0] + 1)
    assert len(list(backend.list("race/"))) == races
    assert {winner for winner in (0, 1) if None in told[winner]} == {0, 1}, "nobody raced"


def _opened(place: str) -> Backend:
    return open_remote(place) if "://" in place else LocalBackend(Path(place))


def _race(place: str, races: int, number: int, barrier: Barrier, results: Queue) -> None:
    backend = _opened(place)
    told = []
    for key in range(races):
        barrier.wait(60)
        existing = backend.create(f"race/{key:04}", b"x" * (number + 1))
        told.append(None if existing is None else existing.size)
    results.put((number, told))


# The backend that fails, which other tests stand on, fails as it says.


def test_a_failing_backend_counts_every_verb() -> None:
    backend = counting(MemoryBackend())

    backend.create("a", b"1")
    backend.get("a")
    backend.size("a")
    list(backend.list(""))
    backend.sync()
    backend.delete("a")

    assert backend.calls == dict.fromkeys(VERBS, 1)


@pytest.mark.parametrize("before", [True, False])
def test_a_failing_backend_acts_or_not_as_it_is_told(before: bool) -> None:
    inner = MemoryBackend()
    backend = FailingBackend(inner, 2, before)
    backend.create("a", b"1")

    with pytest.raises(Conflict):
        backend.create("b", b"2")

    assert list(inner.list("")) == (["a"] if before else ["a", "b"])
    assert backend.create("c", b"3") is None


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)
