"""diff tells all that two versions do not have alike, and reads no value for it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from backends import counting
from builders import OPAL, small_files, stamp, write_files
from commandline import EPIX, REAL_TREE, Outcome, pedestals_text, regular_files, write_tree
from hypothesis import given
from hypothesis import strategies as st
from ranges import RUNS, by_brute_force, run_ranges

from calstore.errors import Invalid, NotFound
from calstore.model.digest import reference_to
from calstore.model.manifests import Constant, DetectorManifest
from calstore.model.runs import RunRange
from calstore.repository.branch import fork
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
from calstore.repository.store import Store, init_store
from calstore.views.difference import differing_at, differing_constants, effects

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
    found = list(effects(one, other))

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
def store(tmp_path: Path) -> Store:
    store = init_store(tmp_path / ".calstore", "0" * 32)
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


def test_a_file_that_cannot_be_read_is_told_and_not_left_out(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from calstore.formats.calib_tree import Problem
    from calstore.model.remarks import Remark
    from calstore.repository import ingest_files

    dest = write_files(tmp_path / "other", small_files())
    unreadable = Problem("README", Remark("cannot be read", "it would be lost"), fatal=True)
    monkeypatch.setattr(ingest_files, "read_quiet", lambda tree, path: unreadable)

    with pytest.raises(Invalid, match="cannot be read"):
        version_of(store, dest)


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
    assert [each.runs for each in effects_of(before, after, KEY, "pedestals")] == ["5-9"]
    with pytest.raises(NotFound, match="no detector 'Epix'"):
        diff(before, after, detector="Epix")


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
    assert [row[0] for row in rows[:4]] == ["~", ">", "+", "-"]
    assert rows[1][2:6] == ["pedestals", "10-20", "→", "12-20"]
    assert rows[3] == ["-", "notes.txt"]
    effect = [line.partition(":")[0] for line in lines if line.startswith("runs ")]
    assert effect == [
        "runs 1-9 of XppEndstation.0",
        "runs 10-11 of XppEndstation.0",
        "runs 21-end of XppEndstation.0",
        "runs 0-end of XppGon.0",
    ]


def test_nothing_is_printed_where_nothing_differs(imported: Calstore, tmp_path: Path) -> None:
    for words in (("xpp/main", "xpp/main@2"), ("xpp/main", "./calib"), ("./calib", "./calib")):
        outcome = imported("diff", *words)
        assert (outcome.code, outcome.out, outcome.err) == (0, "", "")
    assert regular_files(tmp_path / "calib")


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

    assert [line.split()[:3] for line in outcome.out.splitlines()[2:]] == [
        ["+", "XppGon.0:Epix100a.1", "geometry"]
    ]
