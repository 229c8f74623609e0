"""diff tells all that two versions do not have alike, and reads no value for it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from backends import counting
from builders import OPAL, small_files, stamp, write_files
from commandline import (
    EPIX,
    REAL_TREE,
    Outcome,
    npy_bytes,
    pedestals_text,
    regular_files,
    store_of,
    write_tree,
)
from hypothesis import given
from hypothesis import strategies as st
from ranges import RUNS, by_brute_force, run_ranges

from calstore.errors import Corrupt, Invalid, NotFound
from calstore.model.arrays import ArrayReference, size_of
from calstore.model.digest import Digest, Reference, reference_to
from calstore.model.manifests import Constant, DetectorManifest
from calstore.model.runs import RunRange
from calstore.repository.branch import fork
from calstore.repository.change import Move, move, with_type
from calstore.repository.diff import (
    Differences,
    diff,
    differing_panels,
    effects_of,
    origins_of,
    version_of,
)
from calstore.repository.import_tree import import_tree
from calstore.repository.materialize import materialize
from calstore.repository.set_constant import set_constant
from calstore.repository.store import Store, init_store, open_store, ref_name
from calstore.repository.version import Version
from calstore.views import receipt as receipts
from calstore.views.difference import differing_at, differing_constants, effects
from calstore.views.panels import panels_text

Calstore = Callable[..., Outcome]
KEY = ("Camera::CalibV1", "CxiDg1.0:Opal1000.0")
MAIN = "cxis0113/main"

contents = st.sampled_from([reference_to(text) for text in (b"a", b"b", b"c")])
constants = st.builds(Constant, contents, serials=st.sampled_from([(), ("p1",), ("p2",)]))
types = st.dictionaries(run_ranges(), constants, min_size=1, max_size=5)
manifests = st.dictionaries(st.sampled_from(["pedestals", "pixel_rms"]), types, max_size=2).map(
    DetectorManifest
)


def names_of(manifest: DetectorManifest) -> dict[tuple[str, RunRange], Constant]:
    return {
        (name, runs): constant
        for name, by_range in manifest.constants.items()
        for runs, constant in by_range.items()
    }


@given(manifests, manifests)
def test_the_differences_are_all_that_turns_one_set_into_the_other(
    one: DetectorManifest, other: DetectorManifest
) -> None:
    found = list(differing_constants(KEY, one, other))

    turned = names_of(one)
    for each in found:
        if each.before is not None:
            assert turned.pop((each.type_name, each.before[0])) == each.before[1]
    for each in found:
        if each.after is not None:
            turned[each.type_name, each.after[0]] = each.after[1]
    assert turned == names_of(other)
    assert list(differing_constants(KEY, one, one)) == []


@given(manifests, manifests)
def test_each_difference_is_of_the_kind_that_it_says(
    one: DetectorManifest, other: DetectorManifest
) -> None:
    for each in differing_constants(KEY, one, other):
        before, after = each.before, each.after
        if before is None or after is None:
            assert each.kind == ("added" if before is None else "removed")
        elif before[0] != after[0]:
            assert each.kind == "moved"
            assert before[1].content == after[1].content
        else:
            is_same = before[1].content == after[1].content
            assert each.kind == ("provenance" if is_same else "changed")
    gone = [each for each in differing_constants(KEY, one, other) if each.kind == "removed"]
    new = [each for each in differing_constants(KEY, one, other) if each.kind == "added"]
    for left in gone:
        for right in new:
            assert left.type_name != right.type_name or content(left.before) != content(right.after)


def content(winner: tuple[RunRange, Constant] | None) -> object:
    return None if winner is None else winner[1].content


@given(manifests, manifests)
def test_what_is_alike_needs_not_be_built_to_tell_what_differs(
    one: DetectorManifest, other: DetectorManifest
) -> None:
    apart = DetectorManifest.apart(one.encoded(), other.encoded())

    assert list(differing_constants(KEY, *apart)) == list(differing_constants(KEY, one, other))
    mine, theirs = names_of(one), names_of(other)
    assert names_of(apart[0]) == {k: v for k, v in mine.items() if theirs.get(k) != v}


@given(types, types)
def test_the_runs_that_notice_are_those_that_a_loop_over_all_runs_finds(
    one: Mapping[RunRange, Constant], other: Mapping[RunRange, Constant]
) -> None:
    found = list(effects(KEY, "pedestals", one, other))

    for run in RUNS:
        before, after = by_brute_force(one, run), by_brute_force(other, run)
        mine = None if before is None else one[before].content
        theirs = None if after is None else other[after].content
        told = [each for each in found if each.first <= run <= each.last]
        assert len(told) == int(mine != theirs)
        for each in told:
            assert (content(each.before), content(each.after)) == (mine, theirs)


@given(manifests, manifests, st.sampled_from(RUNS))
def test_of_one_run_what_it_gets_is_compared_and_no_names(
    one: DetectorManifest, other: DetectorManifest, run: int
) -> None:
    found = {each.type_name: each for each in differing_at(KEY, one, other, run)}

    for name in {*one.constants, *other.constants}:
        sides = [manifest.constants.get(name, {}) for manifest in (one, other)]
        runs = [by_brute_force(side, run) for side in sides]
        got = [None if r is None else side[r] for r, side in zip(runs, sides, strict=True)]
        if None in got:
            assert (name in found) == (got != [None, None])
        else:
            mine, theirs = got
            assert mine is not None
            assert theirs is not None
            is_same = (mine.content, mine.serials) == (theirs.content, theirs.serials)
            assert (name in found) != is_same


@pytest.fixture
def store(tmp_path: Path, store_place: str) -> Store:
    store = init_store(store_place, "0" * 32)
    import_tree(store, write_files(tmp_path / "tree", small_files()), MAIN, stamp())
    return store


def gains(store: Store, ref: str, panel: int, runs: str = "0-end") -> None:
    """Set a Jungfrau's gains in which one panel of six is this one's."""
    values = np.ones((3, 2, 512, 1024), np.float32)
    values.reshape(6, 512, 1024)[panel, 5, 5] = 2
    set_constant(
        store,
        ref,
        "Jungfrau::CalibV1/CxiDs1.0:Jungfrau.0",
        "pixel_gain",
        RunRange.parse(runs),
        values,
        stamp(),
    )


def test_panels_that_differ_are_told_without_reading_a_value(store: Store) -> None:
    gains(store, MAIN, 1)
    gains(store, MAIN, 4)
    backend = counting(store.backend)
    read: list[str] = []
    plain = backend.get

    def get(key: str, start: int = 0, stop: int | None = None) -> bytes:
        read.append(key)
        return plain(key, start, stop)

    backend.get = get  # type: ignore[method-assign]
    looked = Store(backend, store.id)
    before, after = looked[f"{MAIN}@2"], looked[f"{MAIN}@3"]

    (difference,) = diff(before, after).constants
    panels = differing_panels(before, after, difference)

    assert difference.kind == "changed"
    assert panels == (1, 4)
    arrays = [key for key in read if key.startswith("objects/arrays/")]
    assert len(arrays) == 2
    assert all(key.endswith("zarr.json") for key in arrays)


def test_detectors_that_are_alike_are_not_even_read(store: Store) -> None:
    fork(store, MAIN, "cxis0113/users/ada/try", stamp())
    values = np.ones((3, 4), np.uint16)
    set_constant(
        store, "cxis0113/users/ada/try", "Opal1000.0", "pixel_mask", RunRange(5, 9), values, stamp()
    )
    backend = counting(store.backend)
    looked = Store(backend, store.id)
    before, after = looked[MAIN], looked["cxis0113/users/ada/try"]
    opened = backend.calls["get"]

    (difference,) = diff(before, after).constants

    assert (difference.kind, difference.type_name) == ("added", "pixel_mask")
    assert backend.calls["get"] - opened == 2


def test_the_records_by_which_each_side_came_to_differ_are_told(store: Store) -> None:
    values = np.ones((3, 4), np.float32)
    set_constant(
        store, MAIN, "Opal1000.0", "pedestals", RunRange.parse("0-end"), values, stamp("new dark")
    )

    (origins,) = origins_of(diff(store[f"{MAIN}@1"], store[MAIN]))

    assert [record and record.name for record in origins] == [f"{MAIN}@1", f"{MAIN}@2"]


def test_versions_opened_by_digest_have_no_records_to_tell(store: Store) -> None:
    values = np.ones((3, 4), np.float32)
    set_constant(store, MAIN, "Opal1000.0", "pedestals", RunRange(1, 2), values, stamp())
    sides = [store[str(store[f"{MAIN}@{number}"].digest)] for number in (1, 2)]

    assert origins_of(diff(*sides)) == [(None, None)]


def edited(dest: Path) -> None:
    (dest / OPAL / "pedestals" / "0-end.data").write_bytes(pedestals_text(7))
    (dest / OPAL / "pedestals" / "5-9.data").write_bytes(pedestals_text(8))
    (dest / OPAL / "pixel_status" / "0-end.data").rename(
        dest / OPAL / "pixel_status" / "3-end.data"
    )
    (dest / "README").unlink()
    (dest / "notes").write_bytes(b"theirs")
    with (dest / OPAL / "pedestals" / "HISTORY").open("ab") as file:
        file.write(b"file:5-9.data  cmd:deploy\n")


def told(found: Differences) -> tuple[list[tuple[str, str]], list[str]]:
    where = [
        (each.kind, f"{each.type_name} {(each.after or each.before or ('',))[0]}")
        for each in found.constants
    ]
    return where, [file.path for file in found.files]


@pytest.mark.parametrize("is_view", [True, False])
def test_a_directory_is_compared_as_the_version_that_it_would_be(
    store: Store, tmp_path: Path, is_view: bool
) -> None:
    dest = tmp_path / "calib"
    if is_view:
        materialize(store, store[MAIN], dest)
    else:
        write_files(dest, small_files())
    objects_before = set(store.backend.list(""))
    assert not diff(store[MAIN], version_of(store, dest))

    edited(dest)
    found = diff(store[MAIN], version_of(store, dest))

    constants, files = told(found)
    assert constants == [
        ("changed", "pedestals 0-end"),
        ("added", "pedestals 5-9"),
        ("moved", "pixel_status 3-end"),
    ]
    assert files == [f"{OPAL}/pedestals/HISTORY", "README", "notes"]
    import_tree(store, dest, "cxis0113/users/ada/edited", stamp())
    assert found.after.digest == store["cxis0113/users/ada/edited"].digest
    assert told(diff(version_of(store, dest), store[MAIN]))[0][0] == ("changed", "pedestals 0-end")
    assert objects_before <= set(store.backend.list(""))


def test_looking_at_a_directory_stores_nothing(store: Store, tmp_path: Path) -> None:
    before = {key: store.backend.get(key) for key in store.backend.list("")}

    diff(store[MAIN], version_of(store, write_files(tmp_path / "other", small_files(3))))

    assert {key: store.backend.get(key) for key in store.backend.list("")} == before


def test_panels_of_an_array_that_lies_in_a_directory_are_told(store: Store, tmp_path: Path) -> None:
    gains(store, MAIN, 1)
    dest = tmp_path / "calib"
    materialize(store, store[MAIN], dest)
    gains(store, MAIN, 3)
    there = version_of(store, dest)

    (difference,) = diff(there, store[MAIN]).constants

    assert differing_panels(there, store[MAIN], difference) == (1, 3)


def test_panels_of_an_array_that_is_in_no_store_are_told(store: Store, tmp_path: Path) -> None:
    gains(store, MAIN, 1)
    values = np.ones((3, 2, 512, 1024), np.float32)
    values[2, 1, 7, 7] = 3
    folder = "Jungfrau::CalibV1/CxiDs1.0:Jungfrau.0/pixel_gain"
    there = version_of(
        store, write_files(tmp_path / "other", {f"{folder}/0-end.npy": npy_bytes(values)})
    )

    (difference,) = diff(store[MAIN], there, detector="Jungfrau").constants

    assert differing_panels(store[MAIN], there, difference) == (1, 5)


def test_rendered_constants_of_a_view_are_no_difference(store: Store, tmp_path: Path) -> None:
    values = np.ones((3, 4), np.uint16)
    set_constant(store, MAIN, "Opal1000.0", "pixel_status", RunRange(5, 9), values, stamp())
    dest = tmp_path / "calib"
    materialize(store, store[MAIN], dest)

    found = diff(store[MAIN], version_of(store, dest))

    assert told(found) == ([], [])


def test_a_view_of_another_store_is_a_directory_like_any(store: Store, tmp_path: Path) -> None:
    materialize(store, store[MAIN], tmp_path / "calib")
    other = init_store("memory:", "1" * 32)
    import_tree(other, tmp_path / "tree", "xpp/main", stamp())

    assert not diff(other["xpp/main"], version_of(other, tmp_path / "calib"))


def test_a_directory_that_is_not_there_is_told(store: Store, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="there is no directory"):
        version_of(store, tmp_path / "none")


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="a file that nobody can read")
def test_a_file_that_cannot_be_read_is_told_and_not_left_out(store: Store, tmp_path: Path) -> None:
    dest = write_files(tmp_path / "other", small_files())
    (dest / "unreadable").symlink_to("/proc/self/mem")

    with pytest.raises(Invalid, match=r"(?s)1 file\(s\) of .*unreadable: cannot be read"):
        version_of(store, dest)


def test_of_a_view_only_what_was_touched_is_read(store: Store, tmp_path: Path) -> None:
    materialize(store, store[MAIN], tmp_path / "calib")
    path = tmp_path / "calib" / OPAL / "pedestals" / "0-end.data"
    before = path.stat()
    path.write_bytes(bytes(before.st_size))  # no constant; a reader would notice

    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    untouched = told(diff(store[MAIN], version_of(store, tmp_path / "calib")))
    path.touch()
    touched = told(diff(store[MAIN], version_of(store, tmp_path / "calib")))

    assert untouched == ([], [])
    assert touched == ([("changed", "pedestals 0-end")], [])


@pytest.mark.parametrize("receipt", [b"", b"{}", b'{"format": 99}'])
def test_a_view_whose_receipt_is_of_no_use_is_a_directory_like_any(
    store: Store, tmp_path: Path, receipt: bytes
) -> None:
    materialize(store, store[MAIN], tmp_path / "calib")
    (tmp_path / "calib" / receipts.NAME).write_bytes(receipt)

    assert not diff(store[MAIN], version_of(store, tmp_path / "calib"))


def for_panels(store: Store, ref: str, *serials: str) -> None:
    """Say of the camera's pedestals which panels they are for."""

    def said(version: Version | None) -> Move:
        assert version is not None
        camera = version["Opal1000"]
        by_range = {
            runs: replace(constant, serials=serials)
            for runs, constant in camera.manifest.constants["pedestals"].items()
        }
        key = (camera.group, camera.source)
        return Move(with_type(version, key, "pedestals", by_range), "serials")

    move(store, ref_name(ref), said, stamp(), "set")


def test_what_no_directory_can_say_is_not_held_against_one(store: Store, tmp_path: Path) -> None:
    for_panels(store, MAIN, "p1")
    dest = write_files(tmp_path / "other", small_files())
    (dest / OPAL / "pedestals" / "HISTORY").unlink()

    plain = diff(store[MAIN], version_of(store, dest))
    alike = diff(store[MAIN], version_of(store, dest, like=store[MAIN]))

    assert told(plain)[0] == [("provenance", "pedestals 0-end")]
    assert told(alike) == ([], [f"{OPAL}/pedestals/HISTORY"])


def test_one_detector_one_type_or_one_run_is_asked_for(store: Store) -> None:
    values = np.ones((3, 4), np.float32)
    for name in ("pedestals", "pixel_rms"):
        set_constant(store, MAIN, "Opal1000.0", name, RunRange(5, 9), values, stamp())
    before, after = store[f"{MAIN}@1"], store[MAIN]

    assert told(diff(before, after, detector="Opal", type_name="pixel_rms"))[0] == [
        ("added", "pixel_rms 5-9")
    ]
    assert not diff(before, after, detector="Zyla")
    assert not diff(before, after, run=10)
    assert told(diff(before, after, run=9))[0] == [
        ("changed", "pedestals 5-9"),
        ("added", "pixel_rms 5-9"),
    ]
    noticed = [(each.type_name, each.runs) for each in effects_of(diff(before, after))]
    assert noticed == [("pedestals", "5-9"), ("pixel_rms", "5-9")]


def test_what_neither_side_has_is_told_and_not_taken_for_no_difference(store: Store) -> None:
    gains(store, MAIN, 1)
    before, after = store[f"{MAIN}@1"], store[MAIN]

    with pytest.raises(
        NotFound, match=f"no detector 'Epix' in {MAIN}@1 or {MAIN}@2; it has .*Jung"
    ):
        diff(before, after, detector="Epix")
    with pytest.raises(
        NotFound, match=r"no pedestal for CxiDg1.*; there is pedestals, pixel_status"
    ):
        diff(before, after, detector="Opal1000", type_name="pedestal")
    with pytest.raises(NotFound, match="no pedestal for any detector"):
        diff(before, after, type_name="pedestal")
    assert not diff(before, after, detector="Opal1000", type_name="pedestals")


def test_a_detector_is_looked_for_on_both_sides(store: Store) -> None:
    gains(store, MAIN, 1)
    before, after = store[f"{MAIN}@1"], store[MAIN]

    with pytest.raises(Invalid, match=r"several detectors: .*Zyla\.1.*Jungfrau"):
        diff(before, after, detector=".")
    assert told(diff(before, after, detector="Jungfrau"))[0] == [("added", "pixel_gain 0-end")]
    assert told(diff(after, before, detector="Jungfrau"))[0] == [("removed", "pixel_gain 0-end")]


def test_loose_files_belong_to_the_folder_that_is_asked_for(store: Store, tmp_path: Path) -> None:
    edited(write_files(tmp_path / "other", small_files()))
    before, after = store[MAIN], version_of(store, tmp_path / "other")
    history = f"{OPAL}/pedestals/HISTORY"

    def files(**asked: Any) -> list[str]:
        return told(diff(before, after, **asked))[1]

    assert files() == [history, "README", "notes"]
    assert files(detector="Opal") == [history]
    assert files(detector="Opal", type_name="pedestals") == [history]
    assert files(detector="Opal", type_name="pixel_status") == []
    assert files(type_name="pedestals") == []
    assert files(detector="Zyla") == []
    assert files(run=5) == []


def spoil(store: Store, folder: str, needle: bytes) -> None:
    """Cut the last byte off the only object that holds some bytes."""
    files = store.own
    (key,) = (key for key in files.list(f"{folder}/") if needle in files.get(key))
    data = files.get(key)
    files.delete(key)
    files.create(key, data[:-1])


def test_damage_is_told_with_the_versions_that_it_hurts(store: Store) -> None:
    gains(store, MAIN, 1)
    gains(store, MAIN, 4)
    before, after = store[f"{MAIN}@2"], store[f"{MAIN}@3"]
    (difference,) = diff(before, after).constants
    assert difference.after is not None
    digest = difference.after[1].content.digest

    spoil(store, "objects/arrays", digest.hex.encode())
    with pytest.raises(Corrupt, match=rf"it hurts {MAIN}@3$"):
        differing_panels(before, after, difference)
    spoil(store, "objects/manifests", digest.value)
    with pytest.raises(Corrupt, match=rf"it hurts {MAIN}@3$"):
        diff(before, after)


@pytest.mark.parametrize(
    ("source", "type_name", "shape", "numbers", "said"),
    [
        ("X.0:Epix100a.1", "pedestals", (704, 768), [0], ""),
        ("X.0:Jungfrau.0", "pedestals", (3, 2, 512, 1024), range(6), "all 6 panels"),
        ("X.0:Jungfrau.0", "pedestals", (3, 2, 512, 1024), [3], "panel 3 of 6 (G1: segment 1)"),
        (
            *("X.0:Epix10ka2M.0", "pixel_gain", (7, 16, 352, 384)),
            [*range(16), 33, 35, 36, 37],
            "panels 0-15, 33, 35-37 of 112 (FH: all segments; FL: segments 1, 3-5)",
        ),
        (
            "X.0:Epix10ka.0",
            "pedestals",
            (7, 1, 352, 384),
            [2, 4],
            "panels 2, 4 of 7 (FL; AML-M)",
        ),
        ("X.0:Jungfrau.0", "pixel_mask", (2, 512, 1024), [1], "panel 1 of 2"),
        (
            "X.0:Cspad.0",
            "pedestals",
            (4, 8, 185, 388),
            [0, 31],
            "panels 0, 31 of 32 ([0, 0], [3, 7])",
        ),
        ("X.0:Cspad.0", "pedestals", (64, 8, 8), [0], ""),
        ("X.0:Opal1000.0", "other", (9, 20, 400, 8), [0, 3], "panels 0, 3 of 9"),
        (
            *("X.0:Epix10ka2M.0", "pixel_gain", (7, 16, 352, 384)),
            range(0, 32, 2),
            "panels 0, 2, 4, 6, 8, 10, 10 more of 112 (FH: segments 0, 2, 4, 6, 8, 10, 2 more; "
            "FM: segments 0, 2, 4, 6, 8, 10, 2 more)",
        ),
    ],
)
def test_panels_are_told_as_gain_modes_and_segments(
    source: str, type_name: str, shape: tuple[int, ...], numbers: Sequence[int], said: str
) -> None:
    content = Reference(Digest(bytes(16)), bytes(32), size_of("float32", shape))
    array = ArrayReference(content, "float32", shape)

    assert panels_text(source, type_name, array, list(numbers)) == said


@given(manifests, st.sets(st.sampled_from(["pedestals", "pixel_rms", "other"])))
def test_some_types_of_a_manifest_can_be_had_alone(
    manifest: DetectorManifest, names: set[str]
) -> None:
    alone = DetectorManifest.of_types(manifest.encoded(), names)

    assert alone.constants == {k: v for k, v in manifest.constants.items() if k in names}


@pytest.mark.skipif(
    not REAL_TREE.is_dir(), reason="the real calibration files are not beside this checkout"
)
def test_the_real_tree_is_what_was_imported_from_it(tmp_path: Path) -> None:
    store = init_store("memory:", "0" * 32)
    import_tree(store, REAL_TREE, "xppn4116/main", stamp())

    assert not diff(store["xppn4116/main"], version_of(store, REAL_TREE))


@pytest.fixture
def imported(calstore: Calstore, camera_tree: Path) -> Calstore:
    assert calstore("import", camera_tree, "xpp/main").code == 0
    folder = camera_tree / "Camera::CalibV1/XppEndstation.0:Opal1000.1/pedestals"
    (folder / "10-20.data").rename(folder / "12-20.data")
    (folder / "1-end.data").write_bytes(pedestals_text(5))
    (camera_tree / "notes.txt").unlink()
    write_tree(
        camera_tree, {f"{EPIX}/geometry/0-end.data": b"IP 0 CAMERA 0  0 0 0  0 0 0  0 0 0\n"}
    )
    assert calstore("import", camera_tree, "xpp/main").code == 0
    return calstore


def test_the_table_tells_constants_files_and_the_runs_that_notice(imported: Calstore) -> None:
    outcome = imported("diff", "xpp/main@1", "xpp/main@2")

    assert outcome.code == 1
    lines = outcome.out.splitlines()
    assert [line.split()[0] for line in lines[:2]] == ["xpp/main@1", "xpp/main@2"]
    rows = [line.split() for line in lines[2:]]
    assert [row[0] for row in rows[:4]] == ["~", "→", "+", "-"]
    assert rows[1][2:6] == ["pedestals", "10-20", "→", "12-20"]
    assert rows[3] == ["-", "notes.txt"]
    effect = [line.partition(":")[0] for line in lines if line.startswith("runs ")]
    assert effect == [
        "runs 1-9 of XppEndstation.0",
        "runs 10-11 of XppEndstation.0",
        "runs 21-end of XppEndstation.0",
        "runs 0-end of XppGon.0",
    ]
    assert "pedestals: 1-end (xxh128:" in lines[6]
    assert "geometry: nothing (psana: the table shipped with psana) → 0-end" in lines[9]
    assert lines[10:] == ["1 constant changed, 1 added, 1 moved; 1 other file removed"]


def test_nothing_is_printed_where_nothing_differs(imported: Calstore, tmp_path: Path) -> None:
    for words in (("xpp/main", "xpp/main@2"), ("xpp/main", "./calib"), ("./calib", "./calib")):
        outcome = imported("diff", *words)
        assert (outcome.code, outcome.out, outcome.err) == (0, "", "")
    assert regular_files(tmp_path / "calib")


def test_runs_are_not_told_twice(imported: Calstore, camera_tree: Path) -> None:
    (camera_tree / EPIX / "geometry" / "0-end.data").write_bytes(b"# another\n")

    outcome = imported("diff", "xpp/main", "./calib")

    _, _, row, summary = outcome.out.splitlines()
    assert row.split()[:4] == ["~", "XppGon.0:Epix100a.1", "geometry", "0-end"]
    assert "another file; before, xpp/main@2" in row
    assert summary == "1 constant changed"


def test_a_directory_is_looked_at_as_an_import_into_the_other_side_would(
    imported: Calstore, tmp_path: Path
) -> None:
    for_panels(open_store(store_of(tmp_path)), "xpp/main", "p1")

    for words in (("xpp/main", "./calib"), ("./calib", "xpp/main")):
        assert imported("diff", *words).code == 0
    outcome = imported("diff", "xpp/main@2", "xpp/main", "Opal1000", "pedestals")

    assert [line[0] for line in outcome.out.splitlines()[2:4]] == ["=", "="]
    assert outcome.out.count("panels not said → p1; since xpp/main@") == 2
    assert outcome.out.endswith("\n2 constants of another provenance\n")


def test_a_directory_named_like_a_ref_is_not_taken_for_it(
    imported: Calstore, tmp_path: Path
) -> None:
    write_tree(tmp_path / "xpp" / "main", {"notes.txt": b"a directory"})

    assert imported("diff", "xpp/main", "xpp/main@2").code == 0
    outcome = imported("diff", "./xpp/main", "xpp/main@2")

    assert outcome.code == 1
    assert [line.split()[0] for line in outcome.out.splitlines()[:2]] == [
        "./xpp/main",
        "xpp/main@2",
    ]
    assert outcome.out.endswith("4 constants added; 1 other file added, 1 removed\n")


def test_json_says_the_same_as_the_table(imported: Calstore) -> None:
    outcome = imported("diff", "xpp/main@1", "./calib", "--json")
    document: dict[str, Any] = json.loads(outcome.out)

    assert outcome.code == 1
    assert [each["kind"] for each in document["constants"]] == ["changed", "moved", "added"]
    assert document["constants"][0]["records"] == ["xpp/main@1", None]
    assert [each["runs"] for each in document["effects"]] == ["1-9", "10-11", "21-end", "0-end"]
    assert document["files"][0]["path"] == "notes.txt"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("xpp/none", "xpp/main"), 3, "there is no ref xpp/none"),
        (("xpp/main", "./none"), 3, "there is no directory none"),
        (("xpp/main", "calib"), 5, "for the directory write ./calib"),
        (("calib/Camera::CalibV1", "xpp/main"), 3, "for the directory write ./calib/Camera::"),
        (("xpp/main", "./calib/notes"), 3, "there is no directory calib/notes"),
        (("xpp/main", "xpp/main@1", "Epix100a", "geometri"), 3, "no geometri for XppGon"),
        (("xpp/main", "xpp/main@1", "Andor"), 3, "no detector 'Andor'"),
        (("xpp/main",), 2, "Missing argument"),
        (("xpp/main", ""), 5, "ref name"),
        (("xpp/main", "xpp/main", "--run", "-3"), 2, "--run"),
    ],
)
def test_wrong_words_are_answered_in_a_line(
    imported: Calstore, words: tuple[str, ...], code: int, said: str
) -> None:
    outcome = imported("diff", *words)

    assert outcome.code == code
    assert said in outcome.err
    assert outcome.out == ""


def test_a_version_from_before_a_run_is_told_as_nothing(imported: Calstore) -> None:
    outcome = imported("diff", "xpp/main@1", "xpp/main", "--run", "0")

    _, _, row, summary = outcome.out.splitlines()
    assert row.split()[:4] == ["+", "XppGon.0:Epix100a.1", "geometry", "0-end"]
    assert "before nothing (psana: the table shipped with psana); since xpp/main@2 by" in row
    assert summary == "1 constant added"
