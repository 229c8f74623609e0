"""Fail the n-th call, for every n: a ref is as before or as wanted, nothing is damaged, and the
same command again gives what an undisturbed one gives."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from backends import FailingBackend, copied
from builders import (
    OPAL,
    ZYLA,
    damages,
    set_digest,
    small_files,
    stamp,
    view_files,
    write_files,
)
from os_calls import VERBS, InterruptedCalls

from calstore.errors import CalstoreError, Conflict, Corrupt, NotFound
from calstore.frames.npy import Labels, open_npy
from calstore.model.documents import Document
from calstore.model.runs import RunRange
from calstore.repository.branch import delete_ref, fork
from calstore.repository.dark import DarkRequest, dark
from calstore.repository.dark_plan import Data
from calstore.repository.deposit import deposit
from calstore.repository.documents import Deposit, put_content
from calstore.repository.import_tree import import_tree
from calstore.repository.materialize import materialize
from calstore.repository.set_constant import set_constant
from calstore.repository.store import Store, init_store, open_store
from calstore.store import marker
from calstore.store.memory import MemoryBackend
from calstore.views.temporaries import TEMPORARY

MAIN = "cxis0113/main"
SANDBOX = "cxis0113/users/wilson/mask"
NEW_REF = "cxis0113/users/wilson/new"
STORE_ID = "0" * 32
VALUES = np.arange(12, dtype=np.float32).reshape(3, 4) + 0.25


@dataclass(frozen=True)
class Command:
    """What is disturbed: the ref that it moves, and how it is run on a store and some trees."""

    ref: str
    run: Callable[[Store, Path], object]
    is_once: bool = False


def dark_run(store: Store, trees: Path) -> object:
    source = open_npy(trees / "dark.npy", Labels("cxis0113", 9, "camera"))
    request = DarkRequest("cxis0113", MAIN, ("camera",))
    return dark(store, request, [Data(9, source, source.contents())], stamp())


def deposit_one(store: Store, trees: Path) -> object:
    del trees
    fields = {
        "_id": "6" * 24,
        "ctype": "pedestals",
        "data_dtype": "float32",
        "data_shape": "(3, 4)",
        "data_type": "ndarray",
        "id_data": "7" * 24,
        "longname": "epix100_1-2-3",
        "run": 5,
        "run_end": "end",
    }
    document = Document.parsed(fields)
    content = put_content(store, document, VALUES.tobytes())
    return deposit(store, MAIN, [Deposit("cdb_cxis0113", document, content)], "one", stamp())


COMMANDS = {
    "deposit": Command(MAIN, deposit_one),
    "import": Command(MAIN, lambda store, trees: import_tree(store, trees / "2", MAIN, stamp())),
    "import-new": Command(
        "cxis0113/new",
        lambda store, trees: import_tree(store, trees / "2", "cxis0113/new", stamp()),
    ),
    "set": Command(
        MAIN,
        lambda store, trees: set_constant(
            store, MAIN, "Opal1000.0", "pedestals", RunRange(5, 7), VALUES, stamp()
        ),
    ),
    "dark": Command(MAIN, dark_run),
    "fork": Command(
        NEW_REF,
        lambda store, trees: fork(store, MAIN, NEW_REF, stamp()),
        is_once=True,
    ),
    "delete-ref": Command(
        SANDBOX, lambda store, trees: delete_ref(store, SANDBOX, stamp()), is_once=True
    ),
}


@pytest.fixture(scope="module")
def trees(memory_path: Path) -> Path:
    """Two states of a calib directory: in ``2`` a file is changed, one new, one gone."""
    first = small_files(1)
    second = {**small_files(1), f"{OPAL}/pedestals/20-30.data": b"1 2 3\n4 5 6\n"}
    second[f"{OPAL}/pedestals/0-end.data"] = small_files(2)[f"{OPAL}/pedestals/0-end.data"]
    del second[f"{OPAL}/pixel_status/0-end.data"]
    frames = np.random.default_rng(1).normal(3000, 5, (60, 8, 8)).round()
    np.save(memory_path / "dark.npy", frames.astype(np.uint16))
    write_files(memory_path / "1", first)
    write_files(memory_path / "2", second)
    return memory_path


def prepared(store: Store, trees: Path) -> Store:
    import_tree(store, trees / "1", MAIN, stamp())
    fork(store, MAIN, SANDBOX, stamp())
    return store


@pytest.fixture(scope="module")
def origin(trees: Path) -> MemoryBackend:
    backend = MemoryBackend()
    marker.create(backend, STORE_ID)
    prepared(Store(backend, STORE_ID), trees)
    return backend


@pytest.fixture(scope="module")
def origin_path(trees: Path) -> Path:
    prepared(init_store(trees / "store", STORE_ID), trees)
    return trees / "store"


def wanted(command: Command, origin: MemoryBackend, trees: Path) -> tuple[str | None, str | None]:
    """The set that the command's ref names before and after, when nothing goes wrong."""
    store = Store(copied(origin), STORE_ID)
    before = set_digest(store, command.ref)
    command.run(store, trees)
    return before, set_digest(store, command.ref)


def check(
    command: Command,
    store: Store,
    trees: Path,
    states: tuple[str | None, str | None],
    succeeded: bool,
) -> None:
    """The promises, whatever went wrong before."""
    reached = set_digest(store, command.ref)
    assert reached in ((states[1],) if succeeded else states)
    assert damages(store) == ()

    try:
        command.run(store, trees)
    except (Conflict, NotFound):
        # The name is made, or deleted, already: a reply was lost, and the command says so.
        assert command.is_once
        assert reached == states[1]

    assert set_digest(store, command.ref) == states[1]
    assert damages(store) == ()


@pytest.mark.parametrize(
    ("error", "before"), [(Conflict, True), (Conflict, False), (Corrupt, False)]
)
@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_whose_nth_call_fails_leaves_the_old_or_the_new(
    name: str, error: type[CalstoreError], before: bool, origin: MemoryBackend, trees: Path
) -> None:
    command = COMMANDS[name]
    states = wanted(command, origin, trees)

    for nth in range(1, 10_000):
        inner = copied(origin)
        failing = FailingBackend(inner, nth, before, error("a test says so"))
        succeeded = True
        try:
            command.run(Store(failing, STORE_ID), trees)
        except CalstoreError:
            succeeded = False

        if failing.failed is None:
            break
        check(command, Store(inner, STORE_ID), trees, states, succeeded)
    assert succeeded
    assert nth > 4


OS_FAULTS = [
    pytest.param(errno.EIO, "before", id="EIO-before"),
    pytest.param(errno.ENOSPC, "after", id="ENOSPC-after"),
    pytest.param(errno.ENOSPC, "torn", id="ENOSPC-torn"),
]


def interrupted(
    patch: pytest.MonkeyPatch, nth: int, number: int, when: Literal["before", "after", "torn"]
) -> InterruptedCalls:
    """Arrange that the n-th ``os`` call fails with this errno."""

    def fail() -> None:
        raise OSError(number, os.strerror(number))

    # An open that failed made no file.
    verbs = {"before": VERBS, "after": VERBS[1:], "torn": ("write",)}
    calls = InterruptedCalls(nth, fail, when, verbs[when])
    calls.install(patch.setattr)
    return calls


@pytest.mark.parametrize(("number", "when"), OS_FAULTS)
@pytest.mark.parametrize("name", ["import", "set", "dark", "fork", "delete-ref"])
def test_a_command_whose_nth_os_call_fails_leaves_the_old_or_the_new(
    name: str,
    number: int,
    when: Literal["before", "after", "torn"],
    origin: MemoryBackend,
    origin_path: Path,
    trees: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    command = COMMANDS[name]
    states = wanted(command, origin, trees)
    place = trees / "disturbed"

    for nth in range(1, 10_000):
        shutil.copytree(origin_path, place)
        store = open_store(place)
        succeeded = True
        with monkeypatch.context() as patch:
            calls = interrupted(patch, nth, number, when)
            try:
                command.run(store, trees)
            except CalstoreError:
                succeeded = False

        if calls.interrupted is not None:
            check(command, open_store(place), trees, states, succeeded)
        shutil.rmtree(place)
        if calls.interrupted is None:
            break
    assert succeeded
    assert nth > (1 if when == "torn" else 5)


# Views: a new directory is there or not; a directory that is there goes file by file.

OLD, NEW = f"{MAIN}@1", f"{MAIN}@3"


@pytest.fixture(scope="module")
def versions(origin: MemoryBackend, trees: Path) -> Store:
    """Of main, @3 has changed, added, removed and rendered files compared with @1."""
    store = Store(copied(origin), STORE_ID)
    import_tree(store, trees / "2", MAIN, stamp())
    set_constant(store, MAIN, "Opal1000.0", "pedestals", RunRange(5, 7), VALUES, stamp())
    return store


@pytest.fixture(scope="module")
def fresh(versions: Store, trees: Path) -> dict[str, dict[str, bytes]]:
    """The files of an undisturbed view of each version."""
    found = {}
    for number, name in enumerate((OLD, NEW)):
        materialize(versions, versions[name], trees / f"fresh-{number}")
        found[name] = view_files(trees / f"fresh-{number}")
    assert f"{OPAL}/pixel_status/0-end.data" not in found[NEW]
    assert found[NEW].keys() - found[OLD].keys() == {
        f"{OPAL}/pedestals/5-7.data",
        f"{OPAL}/pedestals/20-30.data",
    }
    assert f"{ZYLA}/geometry/0-end.data" in found[OLD].keys() & found[NEW].keys()
    return found


def check_new_view(
    versions: Store, dest: Path, fresh: dict[str, dict[str, bytes]], succeeded: bool
) -> None:
    assert {path.name for path in dest.parent.iterdir()} <= {dest.name}, "litter beside it"
    if succeeded or dest.exists():
        assert view_files(dest) == fresh[NEW]

    materialize(versions, versions[NEW], dest)

    assert view_files(dest) == fresh[NEW]
    shutil.rmtree(dest)


def check_files_old_or_new(dest: Path, fresh: dict[str, dict[str, bytes]]) -> None:
    for path in sorted(dest.rglob("*")):
        name = str(path.relative_to(dest))
        if path.name == "HISTORY":
            # It only grows; what a full disk tore is closed by the next line.
            assert path.read_bytes().startswith((b"file:0-end.data", b"file:5-7.data"))
        elif path.is_file() and not name.startswith(".calstore-view"):
            assert TEMPORARY not in name
            assert path.read_bytes() in (fresh[OLD].get(name), fresh[NEW].get(name)), name
    for name in fresh[OLD].keys() & fresh[NEW].keys():
        assert (dest / name).exists(), name


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_a_new_view_from_a_backend_that_fails_is_whole_or_absent(
    before: bool, versions: Store, fresh: dict[str, dict[str, bytes]], tmp_path: Path
) -> None:
    dest = tmp_path / "views" / "calib"

    for nth in range(1, 10_000):
        failing = FailingBackend(versions.backend, nth, before)
        store = Store(failing, STORE_ID)
        succeeded = True
        try:
            materialize(store, store[NEW], dest)
        except CalstoreError:
            succeeded = False
        if failing.failed is None:
            break

        if dest.parent.exists():
            check_new_view(versions, dest, fresh, succeeded)
    assert nth > 8


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_an_update_from_a_backend_that_fails_can_be_repeated(
    before: bool, versions: Store, fresh: dict[str, dict[str, bytes]], memory_path: Path
) -> None:
    dest = memory_path / "updated"

    for nth in range(1, 10_000):
        materialize(versions, versions[OLD], dest)
        failing = FailingBackend(versions.backend, nth, before)
        store = Store(failing, STORE_ID)
        try:
            materialize(store, store[NEW], dest)
        except CalstoreError:
            check_files_old_or_new(dest, fresh)
        materialize(versions, versions[NEW], dest)

        assert view_files(dest) == fresh[NEW]
        shutil.rmtree(dest)
        if failing.failed is None:
            break
    assert nth > 8


@pytest.mark.parametrize(("number", "when"), OS_FAULTS)
def test_a_new_view_whose_nth_os_call_fails_is_whole_or_absent(
    number: int,
    when: Literal["before", "after", "torn"],
    versions: Store,
    fresh: dict[str, dict[str, bytes]],
    memory_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dest = memory_path / f"views-{number}-{when}" / "calib"
    dest.parent.mkdir()

    for nth in range(1, 10_000):
        succeeded = True
        with monkeypatch.context() as patch:
            calls = interrupted(patch, nth, number, when)
            try:
                materialize(versions, versions[NEW], dest)
            except CalstoreError:
                succeeded = False
        if calls.interrupted is None:
            break

        check_new_view(versions, dest, fresh, succeeded)
    assert nth > (5 if when == "torn" else 40)


@pytest.mark.parametrize("then", [NEW, OLD], ids=["again", "back"])
@pytest.mark.parametrize(("number", "when"), OS_FAULTS)
def test_an_update_whose_nth_os_call_fails_can_be_repeated_or_taken_back(
    number: int,
    when: Literal["before", "after", "torn"],
    then: str,
    versions: Store,
    fresh: dict[str, dict[str, bytes]],
    memory_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dest = memory_path / "updated"
    shutil.rmtree(dest, ignore_errors=True)

    for nth in range(1, 10_000):
        materialize(versions, versions[OLD], dest)
        with monkeypatch.context() as patch:
            calls = interrupted(patch, nth, number, when)
            try:
                materialize(versions, versions[NEW], dest)
            except CalstoreError:
                check_files_old_or_new(dest, fresh)
        materialize(versions, versions[then], dest)

        assert view_files(dest) == fresh[then], f"after call {nth}, {calls.interrupted}"
        shutil.rmtree(dest)
        if calls.interrupted is None:
            break
    assert nth > (5 if when == "torn" else 30)
