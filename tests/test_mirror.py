"""clone, mirror, verify --against and repair, in a directory and on S3."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from builders import GEOMETRY, damages, small_files, stamp, write_files
from object_store import new_place  # noqa: F401

from calstore.errors import Conflict, NotFound
from calstore.model.runs import RunRange
from calstore.repository.approve import approve
from calstore.repository.branch import fork
from calstore.repository.import_tree import import_tree
from calstore.repository.mirror import clone, mirror
from calstore.repository.mirror_check import missing_from
from calstore.repository.refs import log, refs
from calstore.repository.repair import repair
from calstore.repository.runs import Told, flag_run, tag_run
from calstore.repository.set_constant import set_constant
from calstore.repository.settings import change_setting, settings_of
from calstore.repository.store import Store, init_store
from calstore.store.objects import ARRAYS, BLOBS, MANIFESTS

MAIN, OTHER, MINE = "cxis0113/main", "xppn4116/main", "cxis0113/users/wilson/mask"

Place = Callable[[], str]


@pytest.fixture
def store(small_tree: Path, tmp_path: Path) -> Store:
    store = init_store("memory:", "0" * 32)
    import_tree(store, small_tree, MAIN, stamp("as found"))
    import_tree(store, write_files(tmp_path / "xpp", small_files(1)), OTHER, stamp("as found"))
    fork(store, MAIN, MINE, stamp())
    approve(store, MAIN, "good", stamp("flat"))
    tag_run(store, "cxis0113", 7, Told(True, "power-cycled"), stamp())
    tag_run(store, "xppn4116", 8, Told(True, "power-cycled"), stamp())
    change_setting(store, "calib-dir/cxis0113", "/here/calib", stamp())
    return store


@pytest.fixture
def far(new_place: Place) -> Store:  # noqa: F811
    return init_store(new_place(), "1" * 32)


def raw(store: Store) -> dict[str, bytes]:
    return {key: store.own.get(key) for key in store.own.list("") if key != "calstore.json"}


def change(store: Store, ref: str, label: str) -> None:
    data = f"# {label}\n".encode() + GEOMETRY
    set_constant(store, ref, "Zyla", "geometry", RunRange(3, 9), data, stamp(label))


def damage(store: Store, key: str) -> None:
    data = bytearray(store.own.get(key))
    data[len(data) // 2] ^= 1
    store.own.delete(key)
    store.own.create(key, data)


# --- clone -------------------------------------------------------------------------------------


def test_a_clone_has_every_ref_and_no_settings(store: Store, far: Store) -> None:
    clone(store, far)

    assert [str(ref.name) for ref in refs(far)] == [MAIN, MINE, OTHER]
    expected = {key: data for key, data in raw(store).items() if not key.startswith("settings/")}
    assert raw(far) == expected
    assert settings_of(far) == {}
    assert damages(far) == ()


def test_a_clone_of_some_refs_has_those_and_what_is_said_of_their_runs(
    store: Store, far: Store
) -> None:
    clone(store, far, ("cxis0113/*",))

    assert [str(ref.name) for ref in refs(far)] == [MAIN, MINE]
    assert list(far.own.list("runs/")) == ["runs/cxis0113/7/00000001"]
    assert damages(far) == ()


def test_a_clone_again_takes_what_is_new(store: Store, far: Store) -> None:
    clone(store, far)
    change(store, MAIN, "second")
    flag_run(store, "cxis0113", 7, "beam was on", stamp())

    carried = clone(store, far)

    assert carried.records == 2
    assert [record.stamp.why for record in log(far, MAIN)] == ["second", "as found"]


def test_a_pattern_that_no_ref_has_is_not_found(store: Store, far: Store) -> None:
    with pytest.raises(NotFound, match=r"no ref amo\*; it has cxis0113/main"):
        clone(store, far, ("amo*",))

    assert raw(far) == {}


def test_a_clone_into_a_store_that_went_on_otherwise_copies_nothing(
    store: Store, far: Store
) -> None:
    clone(store, far)
    change(store, MAIN, "ours")
    change(store, OTHER, "ours")
    change(far, MAIN, "theirs")
    before = raw(far)

    with pytest.raises(Conflict, match="two ways"):
        clone(store, far)

    assert raw(far) == before


# --- mirror ------------------------------------------------------------------------------------


def test_a_mirror_has_everything_byte_for_byte(store: Store, far: Store) -> None:
    mirrored = mirror(store, far)

    assert raw(far) == raw(store)
    assert mirrored.is_equal
    assert list(missing_from(store, far)) == []


def test_a_mirror_of_nothing_new_copies_nothing(store: Store, far: Store) -> None:
    mirror(store, far)

    mirrored = mirror(store, far)

    assert (mirrored.carried.records, mirrored.carried.objects) == (0, 0)
    assert mirrored.is_equal


def test_a_mirror_goes_on_beside_a_ref_that_went_on_otherwise(store: Store, far: Store) -> None:
    mirror(store, far)
    change(store, MAIN, "ours")
    change(far, MAIN, "theirs")
    change(store, OTHER, "new")

    mirrored = mirror(store, far)

    assert [each.log for each in mirrored.diverged] == [f"refs/{MAIN}"]
    assert [record.stamp.why for record in log(far, OTHER)] == ["new", "as found"]
    assert [record.stamp.why for record in log(far, MAIN)] == ["theirs", "as found"]
    assert not mirrored.is_equal


def test_what_a_mirror_has_of_its_own_is_told_and_kept(store: Store, far: Store) -> None:
    mirror(store, far)
    fork(far, MAIN, "cxis0113/theirs", stamp())
    change(far, OTHER, "theirs")

    mirrored = mirror(store, far)

    assert mirrored.strangers == ("cxis0113/theirs",)
    assert mirrored.ahead == (OTHER,)
    assert not mirrored.is_equal


def test_an_empty_store_is_mirrored_too(far: Store) -> None:
    mirrored = mirror(init_store("memory:", "9" * 32), far)

    assert raw(far) == {}
    assert mirrored.is_equal


# --- verify --against --------------------------------------------------------------------------


def test_what_a_mirror_lacks_is_named(store: Store, far: Store) -> None:
    mirror(store, far)
    change(store, MAIN, "second")
    key = next(key for key in far.own.list(BLOBS))
    far.own.delete(key)

    lacking = list(missing_from(store, far))

    assert any(key in message and "is missing" in message for message in lacking)
    assert any(f"refs/{MAIN}/00000002 is missing" in message for message in lacking)
    assert len(lacking) == 1 + 1 + 3, "that, the record, and a blob, a detector, a set"


def test_a_record_that_is_another_one_is_named(store: Store, far: Store) -> None:
    mirror(store, far)
    change(store, MAIN, "ours")
    change(far, MAIN, "theirs")

    lacking = list(missing_from(store, far))

    assert any(f"refs/{MAIN}/00000002 is another record" in message for message in lacking)


# --- repair ------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["damaged", "gone"])
@pytest.mark.parametrize("folder", [ARRAYS, BLOBS, MANIFESTS, f"refs/{MAIN}/"])
def test_every_file_of_a_kind_is_had_again(store: Store, far: Store, folder: str, how: str) -> None:
    change(store, MAIN, "second")
    mirror(store, far)
    whole = raw(store)
    # The last record of a ref that is gone cannot be missed.
    keys = [key for key in store.own.list(folder) if not key.endswith("00000002")]
    for key in keys:
        if how == "damaged":
            damage(store, key)
        else:
            store.own.delete(key)

    repaired = repair(store, far)

    assert raw(store) == whole
    assert set(keys) <= set(repaired.files)
    assert repaired.left == ()
    assert damages(store) == ()


def test_what_is_damaged_in_both_is_left_and_told(store: Store, far: Store) -> None:
    mirror(store, far)
    key = next(key for key in store.own.list(BLOBS))
    damage(store, key)
    damage(far, key)
    before = raw(store)

    repaired = repair(store, far)

    assert repaired.files == ()
    assert len(repaired.left) == 1
    assert key in repaired.left[0]
    assert raw(store) == before


def test_a_record_of_another_history_does_not_repair(
    store: Store, far: Store, small_tree: Path
) -> None:
    other = init_store("memory:", "9" * 32)
    change(store, MAIN, "second")
    change(store, MAIN, "third")
    import_tree(other, small_tree, MAIN, stamp("another"))
    change(other, MAIN, "another")
    change(other, MAIN, "another")
    mirror(other, far)
    damage(store, f"refs/{MAIN}/00000002")

    repaired = repair(store, far)

    assert repaired.files == ()
    assert "is another record than @3 names" in repaired.left[0]


def test_a_store_without_damage_is_left_alone(store: Store, far: Store) -> None:
    before = raw(store)

    repaired = repair(store, far)

    assert (repaired.files, repaired.left) == ((), ())
    assert raw(store) == before
