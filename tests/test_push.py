"""push and pull: what arrives, what is refused, and what a failure leaves."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest
from backends import FailingBackend, copied, counting
from builders import GEOMETRY, damages, set_digest, small_files, stamp, write_files
from object_store import new_place  # noqa: F401

from calstore.errors import CalstoreError, Conflict, Corrupt, Invalid, NotFound
from calstore.model.runs import RunRange
from calstore.repository.approvals import approval_of
from calstore.repository.approve import approve
from calstore.repository.branch import delete_ref, fork, tag
from calstore.repository.import_tree import import_tree
from calstore.repository.promote import promote
from calstore.repository.push import copy_version, pull, push
from calstore.repository.refs import log, refs
from calstore.repository.set_constant import set_constant
from calstore.repository.store import Store, init_store, open_store
from calstore.repository.verify import verify
from calstore.store.objects import ARRAYS, BLOBS, MANIFESTS

MAIN, MINE = "cxis0113/main", "cxis0113/users/wilson/mask"

Place = Callable[[], str]


@pytest.fixture
def store(small_tree: Path) -> Store:
    store = init_store("memory:", "0" * 32)
    import_tree(store, small_tree, MAIN, stamp("as found"))
    return store


@pytest.fixture
def far(new_place: Place) -> Store:  # noqa: F811
    return init_store(new_place(), "1" * 32)


def change(store: Store, ref: str, label: str) -> None:
    data = f"# {label}\n".encode() + GEOMETRY
    set_constant(store, ref, "Zyla", "geometry", RunRange(3, 9), data, stamp(label))


def whys(store: Store, ref: str) -> list[str]:
    return [record.stamp.why for record in log(store, ref)]


def raw(store: Store) -> dict[str, bytes]:
    return {key: store.own.get(key) for key in store.own.list("") if key != "calstore.json"}


def test_a_pushed_ref_is_the_same_there_byte_for_byte(store: Store, far: Store) -> None:
    change(store, MAIN, "second")

    carried = push(store, MAIN, far)

    assert raw(far) == raw(store)
    assert whys(far, MAIN) == ["second", "as found"]
    assert damages(far) == ()
    assert (carried.records, carried.skipped) == (2, 0)
    assert carried.size == sum(len(data) for key, data in raw(far).items() if "objects/" in key)


def test_a_second_push_sends_what_is_new_and_nothing_else(store: Store, far: Store) -> None:
    push(store, MAIN, far)
    before = raw(far)
    change(store, MAIN, "second")

    carried = push(store, MAIN, far)

    new = {key: data for key, data in raw(far).items() if key not in before}
    assert carried.records == 1
    assert carried.size == sum(len(data) for key, data in new.items() if "objects/" in key)
    assert carried.objects == 3, "a blob, a detector, a set"
    assert raw(far) == raw(store)


def test_a_push_of_nothing_new_asks_for_little_and_sends_nothing(store: Store) -> None:
    far = init_store("memory:", "1" * 32)
    push(store, MAIN, far)
    counted = counting(far.backend)

    carried = push(store, MAIN, Store(counted, far.id))

    assert (carried.records, carried.objects, carried.size) == (0, 0, 0)
    assert counted.calls["create"] == 0
    assert counted.calls.total() < 15


def test_a_pulled_ref_is_the_same_here(store: Store, far: Store) -> None:
    push(store, MAIN, far)
    mine = init_store("memory:", "2" * 32)

    carried = pull(mine, MAIN, far)

    assert raw(mine) == raw(store)
    assert carried.records == 1


def test_a_pull_follows_what_the_other_store_did_since(store: Store, far: Store) -> None:
    push(store, MAIN, far)
    change(far, MAIN, "theirs")

    carried = pull(store, MAIN, far)

    assert whys(store, MAIN) == ["theirs", "as found"]
    assert carried.records == 1
    assert damages(store) == ()


def test_a_ref_that_is_farther_there_is_left_and_told(store: Store, far: Store) -> None:
    push(store, MAIN, far)
    change(far, MAIN, "theirs")

    carried = push(store, MAIN, far)

    assert carried.records == 0
    assert (carried.gaps[0].newest, carried.gaps[0].there) == (1, 2)


def test_a_ref_that_went_on_in_two_ways_is_refused_with_a_way_out(store: Store, far: Store) -> None:
    push(store, MAIN, far)
    for number in range(3):
        change(store, MAIN, f"ours {number}")
        change(far, MAIN, f"theirs {number}")
    before = raw(far), raw(store)

    with pytest.raises(Conflict, match=r"two ways from @2 on: a set by wilson .*--as "):
        push(store, MAIN, far)
    with pytest.raises(Conflict, match="two ways from @2 on"):
        pull(store, MAIN, far)

    assert (raw(far), raw(store)) == before


def test_the_way_out_of_two_ways_ends_in_a_promote(store: Store, far: Store) -> None:
    change(store, MAIN, "common")
    push(store, MAIN, far)
    change(store, MAIN, "ours")
    set_constant(
        far, MAIN, "Opal", "geometry", RunRange(5, 6), b"# theirs\n" + GEOMETRY, stamp("theirs")
    )

    record, _ = copy_version(far, MAIN, store, MINE, stamp("look"))
    merged = promote(store, MINE, MAIN, stamp("both"))

    assert [(each.log, each.number) for each in record.parents] == [(f"refs/{MAIN}", 2)]
    assert merged.how == "merge"
    version = store[MAIN]
    assert version["Zyla"].at(run=5)["geometry"].data.startswith(b"# ours")
    assert version["Opal"].at(run=5)["geometry"].data.startswith(b"# theirs")
    assert damages(store) == ()


def test_one_version_is_copied_without_the_others(store: Store, far: Store) -> None:
    change(store, MAIN, "second")

    record, carried = copy_version(store, f"{MAIN}@1", far, MINE, stamp("the first"))

    assert record.name == f"{MINE}@1"
    assert set_digest(far, MINE) == str(store[f"{MAIN}@1"].digest)
    assert [str(ref.name) for ref in refs(far)] == [MINE]
    assert carried.records == 0
    assert verify(far).unreferenced == 0
    with pytest.raises(Conflict, match="choose another name"):
        copy_version(store, MAIN, far, MINE, stamp())


def test_a_version_is_copied_by_its_digest_too(store: Store, far: Store) -> None:
    digest = str(store[MAIN].digest)

    record, _ = copy_version(store, digest, far, MINE, stamp())

    assert record.parents == ()
    assert set_digest(far, MINE) == digest


def test_approvals_come_along_and_later_ones_follow(store: Store, far: Store) -> None:
    push(store, MAIN, far)
    approve(store, MAIN, "good", stamp("flat"))

    push(store, MAIN, far)

    approval = approval_of(far, far[MAIN].digest)
    assert approval is not None
    assert approval.stamp.why == "flat"


def test_approvals_that_differ_are_left_and_told(store: Store, far: Store) -> None:
    push(store, MAIN, far)
    approve(store, MAIN, "good", stamp("flat"))
    approve(far, MAIN, "rejected", stamp("not flat"))

    carried = push(store, MAIN, far)

    assert [each.log for each in carried.left] == [f"approvals/{store[MAIN].digest.hex}"]
    approval = approval_of(far, far[MAIN].digest)
    assert approval is not None
    assert approval.status == "rejected"


def test_tags_and_deletions_travel(store: Store, far: Store) -> None:
    tag(store, MAIN, "cxis0113/paper", stamp())
    fork(store, MAIN, MINE, stamp())
    delete_ref(store, MINE, stamp())

    for ref in ("cxis0113/paper", MINE):
        push(store, ref, far)

    listed = {str(ref.name): (ref.kind, ref.deleted) for ref in refs(far, deleted=True)}
    assert listed == {"cxis0113/paper": ("tag", False), MINE: ("branch", True)}


def test_a_sandbox_goes_without_the_ref_that_it_came_from(store: Store, far: Store) -> None:
    fork(store, MAIN, MINE, stamp())

    push(store, MINE, far)

    found = verify(far)
    assert found.damages == ()
    assert found.elsewhere == (f"{MAIN}@1",)
    assert [str(ref.name) for ref in refs(far)] == [MINE]


def test_a_sandbox_of_another_history_of_its_ref_is_refused(
    store: Store, far: Store, tmp_path: Path
) -> None:
    other = init_store("memory:", "3" * 32)
    import_tree(other, write_files(tmp_path / "other", small_files(1)), MAIN, stamp("other"))
    push(other, MAIN, far)
    fork(store, MAIN, MINE, stamp())

    with pytest.raises(Conflict, match=f"came from {MAIN}@1, which is another record"):
        push(store, MINE, far)

    assert [str(ref.name) for ref in refs(far)] == [MAIN]


def test_a_name_that_differs_in_case_alone_is_refused(store: Store, far: Store) -> None:
    copy_version(store, MAIN, far, MAIN.replace("main", "Main"), stamp())

    with pytest.raises(Invalid, match="in case alone"):
        push(store, MAIN, far)


@pytest.mark.parametrize("ref", ["cxis0113/none", f"{MAIN}@1", "no name"])
def test_what_is_no_ref_is_refused_and_changes_nothing(store: Store, far: Store, ref: str) -> None:
    before = raw(far)

    with pytest.raises((NotFound, Invalid)):
        push(store, ref, far)
    with pytest.raises((NotFound, Invalid)):
        pull(far, ref, store)

    assert raw(far) == before


@pytest.mark.parametrize("folder", [ARRAYS, BLOBS, MANIFESTS])
def test_damage_is_not_sent(store: Store, far: Store, folder: str) -> None:
    key = next(key for key in store.own.list(folder) if not key.endswith(".json"))
    damaged = bytearray(store.own.get(key))
    damaged[len(damaged) // 2] ^= 1
    store.own.delete(key)
    store.own.create(key, damaged)

    with pytest.raises(Corrupt, match=key):
        push(store, MAIN, far)

    assert list(far.own.list("refs/")) == []
    assert key not in raw(far)


def test_damage_there_stops_a_push(store: Store, far: Store) -> None:
    key = next(key for key in store.own.list(BLOBS))
    far.own.create(key, b"torn")

    with pytest.raises(Corrupt, match="4 bytes instead of"):
        push(store, MAIN, far)

    assert list(far.own.list("refs/")) == []


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("side", ["source", "dest"])
def test_a_push_of_which_any_call_fails_is_finished_by_the_next(
    store: Store, side: str, before: bool
) -> None:
    approve(store, MAIN, "good", stamp("flat"))
    change(store, MAIN, "second")
    empty = init_store("memory:", "1" * 32)
    nth = 0
    while True:
        nth += 1
        far = copied(empty.own)
        failing = FailingBackend(store.own if side == "source" else far, nth, before)
        ours, theirs = (failing, far) if side == "source" else (store.own, failing)
        with contextlib.suppress(CalstoreError):
            push(Store(ours, store.id), MAIN, Store(theirs, empty.id))
        if failing.failed is None:
            break

        assert damages(Store(far, empty.id)) == ()
        push(store, MAIN, Store(far, empty.id))

        assert raw(Store(far, empty.id)) == raw(store)
    assert nth > 30


def test_progress_ends_at_all_of_it(store: Store, far: Store) -> None:
    told: list[tuple[int, int]] = []

    push(store, MAIN, far, progress=lambda done, total: told.append((done, total)))

    assert told[-1][0] == told[-1][1] > 0
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_a_history_of_many_records_is_compared_by_few(tmp_path: Path, store: Store) -> None:
    for number in range(40):
        change(store, MAIN, f"{number}")
    far = init_store("memory:", "1" * 32)
    push(store, MAIN, far)
    change(store, MAIN, "ours")
    change(far, MAIN, "theirs")
    counted = counting(far.backend)

    with pytest.raises(Conflict, match="from @42 on"):
        push(store, MAIN, Store(counted, far.id))

    assert counted.calls["get"] < 16


def test_both_may_be_directories_of_the_same_host(tmp_path: Path, store: Store) -> None:
    near = init_store(tmp_path / "near", "4" * 32)
    pull(near, MAIN, store)
    far = init_store(f"file://{tmp_path}/far", "5" * 32)

    push(near, MAIN, far)

    assert raw(open_store(tmp_path / "far")) == raw(near)
