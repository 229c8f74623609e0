"""What is durable before what: the order of fsyncs and links that a power cut relies upon.

A kill does not show a missing fsync, so the calls themselves are looked at.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from builders import small_files, stamp, write_files
from os_calls import LoggedCalls

from calstore.errors import Conflict
from calstore.model.runs import RunRange
from calstore.repository.branch import fork
from calstore.repository.import_tree import import_tree
from calstore.repository.materialize import materialize
from calstore.repository.set_constant import set_constant
from calstore.repository.store import Store, init_store, open_store
from calstore.store.local import LocalBackend

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/fd").is_dir(), reason="the log needs /proc to name open files"
)

MAIN = "cxis0113/main"
SANDBOX = "cxis0113/users/wilson/mask"
VALUES = np.arange(12, dtype=np.float32).reshape(3, 4)


@pytest.fixture
def store(tmp_path: Path, small_tree: Path) -> Store:
    return init_store(tmp_path / "store", "0" * 32)


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Callable[[], LoggedCalls]:
    """Begins a log; what was done before is not in it."""

    def begin() -> LoggedCalls:
        calls = LoggedCalls()
        calls.install(monkeypatch.setattr)
        return calls

    return begin


def check_commit(calls: LoggedCalls, root: Path) -> None:
    """The promises of one commit, from its log."""
    links = {target: (number, source) for number, source, target in _numbered(calls, "link")}
    for number, source in links.values():
        last_write = max(at for at, path in _numbered(calls, "write") if path == source)
        fsyncs = [at for at, path in _numbered(calls, "fsync") if path == source]
        assert fsyncs, f"{source} is never fsynced"
        assert last_write < fsyncs[-1] < number, f"{source} is linked before it is durable"

    records = [target for target in links if target.startswith(f"{root}/refs/")]
    assert len(records) == 1
    record_at = links[records[0]][0]
    objects = [target for target in links if target.startswith(f"{root}/objects/")]
    for target in objects:
        assert links[target][0] < record_at
        assert _is_fsynced(calls, Path(target).parent, links[target][0], record_at), target
    for made_at, folder in _numbered(calls, "mkdir"):
        end = record_at if folder.startswith(f"{root}/objects") else len(calls.events)
        assert _is_fsynced(calls, Path(folder).parent, made_at, end), folder
    assert _is_fsynced(calls, Path(records[0]).parent, record_at, len(calls.events))


def test_an_import_is_durable_before_its_record(
    store: Store, small_tree: Path, log: Callable[[], LoggedCalls]
) -> None:
    calls = log()

    import_tree(store, small_tree, MAIN, stamp())

    # Two arrays of two files, five blobs, three manifests, the record.
    assert len(calls.of("link")) == 2 * 2 + 5 + 3 + 1
    check_commit(calls, Path(store.backend.describe("")))


def test_a_set_is_durable_before_its_record(
    store: Store, small_tree: Path, log: Callable[[], LoggedCalls]
) -> None:
    import_tree(store, small_tree, MAIN, stamp())
    calls = log()

    set_constant(store, MAIN, "Opal1000", "pedestals", RunRange(5, 7), VALUES, stamp())

    assert len(calls.of("link")) == 2 + 2 + 1  # the array's files, two manifests, the record
    check_commit(calls, Path(store.backend.describe("")))


def test_a_fork_is_durable_when_it_returns(
    store: Store, small_tree: Path, log: Callable[[], LoggedCalls]
) -> None:
    import_tree(store, small_tree, MAIN, stamp())
    calls = log()

    fork(store, MAIN, SANDBOX, stamp())

    assert len(calls.of("link")) == 1
    check_commit(calls, Path(store.backend.describe("")))


def test_a_new_store_is_durable_when_it_is_made(
    tmp_path: Path, log: Callable[[], LoggedCalls]
) -> None:
    calls = log()

    init_store(tmp_path / "store", "0" * 32)

    (link,) = [at for at, *_ in _numbered(calls, "link")]
    assert _is_fsynced(calls, tmp_path / "store", link, len(calls.events))


def test_what_another_writer_left_unsynced_is_fsynced_before_the_record(
    store: Store, small_tree: Path, log: Callable[[], LoggedCalls]
) -> None:
    import_tree(store, small_tree, MAIN, stamp())
    root = Path(store.backend.describe(""))
    calls = log()

    # As if the first writer died just before its own sync.
    import_tree(open_store(root), small_tree, "cxis0113/other", stamp())

    record_at = calls.index("link", *_link_to(calls, root / "refs/cxis0113/other/00000001"))
    for path in (root / "objects").rglob("*"):
        if path.is_file():
            assert _is_fsynced(calls, path.parent, 0, record_at), path


def test_folders_that_another_writer_left_unsynced_are_fsynced_too(
    tmp_path: Path, log: Callable[[], LoggedCalls]
) -> None:
    LocalBackend(tmp_path).create("objects/blobs/ab/one", b"1")  # and dies before its sync
    calls = log()

    backend = LocalBackend(tmp_path)
    backend.create("objects/blobs/ab/two", b"2")
    backend.sync()

    fsynced = {path for (path,) in calls.of("fsync")}
    for folder in ("objects/blobs/ab", "objects/blobs", "objects", ""):
        assert str(tmp_path / folder) in fsynced, folder or "the store's own folder"


def test_a_deleted_name_is_durably_gone_after_sync(
    tmp_path: Path, log: Callable[[], LoggedCalls]
) -> None:
    backend = LocalBackend(tmp_path)
    backend.create("a/one", b"1")
    backend.sync()
    calls = log()

    backend.delete("a/one")
    backend.sync()

    assert (str(tmp_path / "a"),) in calls.of("fsync")


def test_a_sync_that_failed_is_made_up_for_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = LocalBackend(tmp_path)
    backend.create("a/one", b"1")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", _full)
        with pytest.raises(Conflict):
            backend.sync()
    calls = LoggedCalls()
    calls.install(monkeypatch.setattr)

    backend.sync()

    assert (str(tmp_path / "a"),) in calls.of("fsync")


def test_a_sync_waits_for_what_another_thread_is_syncing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = LocalBackend(tmp_path)
    backend.create("a/one", b"1")
    fsync, is_syncing, may_end = os.fsync, threading.Event(), threading.Event()

    def slow(descriptor: int) -> None:
        is_syncing.set()
        may_end.wait(10)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", slow)
    first, second = (threading.Thread(target=backend.sync) for _ in range(2))

    first.start()
    is_syncing.wait(10)
    second.start()
    second.join(0.3)
    returned_early = not second.is_alive()
    may_end.set()
    first.join()
    second.join()

    assert not returned_early, "the names of the first thread are not durable yet"


def test_a_new_view_is_durable_before_it_appears(
    store: Store, small_tree: Path, tmp_path: Path, log: Callable[[], LoggedCalls]
) -> None:
    import_tree(store, small_tree, MAIN, stamp())
    dest = tmp_path / "view"
    calls = log()

    materialize(store, store[MAIN], dest)

    (appears_at, beside) = next(
        (at, source) for at, source, target in _numbered(calls, "rename") if target == str(dest)
    )
    _check_files(calls)
    for at, _, target in _numbered(calls, "rename"):
        if at != appears_at:
            assert _is_fsynced(calls, Path(target).parent, at, appears_at), target
    for at, folder in _numbered(calls, "mkdir"):
        if folder != beside:
            assert _is_fsynced(calls, Path(folder).parent, at, appears_at), folder
    assert _is_fsynced(calls, tmp_path, appears_at, len(calls.events))


def test_an_update_is_durable_before_the_receipt_says_so(
    store: Store, small_tree: Path, tmp_path: Path, log: Callable[[], LoggedCalls]
) -> None:
    import_tree(store, small_tree, MAIN, stamp())
    dest = tmp_path / "view"
    materialize(store, store[MAIN], dest)
    write_files(small_tree, small_files(1))
    import_tree(store, small_tree, MAIN, stamp())
    calls = log()

    materialize(store, store[MAIN], dest)

    _check_files(calls)
    receipt = str(dest / ".calstore-view.json")
    said_at = next(at for at, _, target in _numbered(calls, "rename") if target == receipt)
    renames = [(at, target) for at, _, target in _numbered(calls, "rename") if target != receipt]
    assert len([target for _, target in renames if target.endswith(".data")]) == 2
    for at, target in renames:
        assert _is_fsynced(calls, Path(target).parent, at, said_at), target
    assert _is_fsynced(calls, dest, said_at, len(calls.events))


def test_a_note_in_the_journal_is_durable_before_the_file_is_in_place(
    store: Store, small_tree: Path, tmp_path: Path, log: Callable[[], LoggedCalls]
) -> None:
    import_tree(store, small_tree, MAIN, stamp())
    dest = tmp_path / "view"
    materialize(store, store[MAIN], dest)
    write_files(small_tree, small_files(1))
    import_tree(store, small_tree, MAIN, stamp())
    calls = log()

    materialize(store, store[MAIN], dest)

    _check_files(calls)
    journal = str(dest / ".calstore-view.journal")
    noted = next(at for at, _, target in _numbered(calls, "rename") if target == journal)
    first = next(at for at, _, target in _numbered(calls, "rename") if target.endswith(".data"))
    assert _is_fsynced(calls, dest, noted, first)


def _check_files(calls: LoggedCalls) -> None:
    """Each file of a view is durable before it gets its name."""
    for at, source, _target in _numbered(calls, "rename"):
        writes = [number for number, path in _numbered(calls, "write") if path == source]
        if writes:
            fsyncs = [number for number, path in _numbered(calls, "fsync") if path == source]
            assert fsyncs, source
            assert writes[-1] < fsyncs[-1] < at


def _full(descriptor: int) -> None:
    raise OSError(28, "No space left on device")


def _numbered(calls: LoggedCalls, verb: str) -> list[tuple]:
    return [(at, *event[1:]) for at, event in enumerate(calls.events) if event[0] == verb]


def _is_fsynced(calls: LoggedCalls, folder: Path, after: int, before: int) -> bool:
    return ("fsync", str(folder)) in calls.events[after:before]


def _link_to(calls: LoggedCalls, target: Path) -> tuple[str, ...]:
    return next(event for event in calls.of("link") if event[1] == str(target))
