"""Import is lossless: whatever lies in a calib directory comes back, and what is odd is said."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from builders import stamp
from commandline import (
    EPIX,
    OPAL,
    Outcome,
    npy_bytes,
    pedestals_text,
    regular_files,
    run,
    snapshot,
    spawn,
    write_tree,
)

import calstore as api
from calstore.formats import psana_text
from calstore.formats.calib_tree import LEFT_OUT
from calstore.model.conventions import fixed_shape

XTCAV = "Xtcav::CalibV1/XrayTransportDiagnostic.0:Opal1000.0"
ZYLA = "Camera::CalibV1/CxiDg2.0:Zyla.1"
HDF5 = b"\x89HDF\r\n\x1a\n" + bytes(range(256))
HEADER = b"# a header alone\n\n# DTYPE float32\n# NDIM 2\n# DIM:0 3\n# DIM:1 4\n"
STATUS = b"# DTYPE int64\n# NDIM 2\n# DIM:0 2\n# DIM:1 3\n\n0 65536 1\n2 3 4\n"
WITH_NAN = pedestals_text().replace(b"5.0", b"nan")

FILES = {
    "notes.txt": b"no newline at the end",
    ".hidden": b"",
    "a\x1b[31m name": b"escape",
    "two\nlines": b"newline",
    "Camera::CalibV1/readme": b"in a group",
    f"{OPAL}/list.csv": b"in a source\r\n",
    f"{OPAL}/pedestals/HISTORY": b"file:1-end.data  copy_of:x\n\xff not UTF-8\n",
    f"{OPAL}/pedestals/1-end.data": pedestals_text(1),
    f"{OPAL}/pedestals/0005-0010.data": pedestals_text(5),
    f"{OPAL}/pedestals/1-end.data-2024-01-01T00:00:00": b"a backup",
    f"{OPAL}/pedestals/5-end.txt": b"a stranger",
    f"{OPAL}/pedestals/deep/er/file.data": b"deep",
    f"{OPAL}/pixel_rms/5-10.data": pedestals_text(2),
    f"{OPAL}/pixel_rms/05-10.data": pedestals_text(3),
    f"{OPAL}/pixel_bkgd/10-5.data": pedestals_text(),
    f"{OPAL}/pixel_bkgd/7-foo.data": pedestals_text(),
    f"{OPAL}/pixel_bkgd/7-END.data": pedestals_text(),
    f"{OPAL}/pixel_bkgd/10000-end.data": pedestals_text(),
    f"{OPAL}/pixel_bkgd/0-12000.data": pedestals_text(),
    f"{OPAL}/pixel_bkgd/abc-end.data": pedestals_text(),
    f"{OPAL}/pixel_bkgd/12.data": pedestals_text(),
    f"{OPAL}/pixel_bkgd/1-2-3.data": pedestals_text(),
    f"{OPAL}/pixel_bkgd/00001-end.data": pedestals_text(),
    f"{OPAL}/pixel_bkgd/b\x01ad.data": b"unprintable",
    f"{OPAL}/pixel_bkgd/5-end.data/inside": b"in a folder that looks like a file",
    f"{OPAL}/pixel_status/0-end.data": STATUS,
    f"{OPAL}/pixel_gain/30-40.data": b"",
    f"{OPAL}/pixel_gain/41-50.data": HEADER,
    f"{OPAL}/pixel_gain/51-60.data": WITH_NAN,
    f"{OPAL}/unknown_type/1-end.data": b"1 2 3\n",
    f"{OPAL}/geometry/0-end.data": b"IP 0 CAMERA 0  0 0 0  0 0 0  0 0 0\r\n",
    f"{OPAL}/geometry/my.geom": b"; CrystFEL\nphoton_energy = 9500\n",
    f"{EPIX}/pedestals/1-end.data": pedestals_text(),
    f"{XTCAV}/pedestals/12-end.data": HDF5,
    f"{XTCAV}/nolasing/12-end.data": HDF5 + b"!",
}

LINKS = {
    f"{OPAL}/common_mode/6-end.data": "nowhere/else",
    f"{OPAL}/common_mode/8-end.data": "8-end.data",
    f"{OPAL}/common_mode/up": "../..",
    f"{OPAL}/pedestals/20-30.data": "1-end.data",
    ZYLA: OPAL.split("/")[1],
}

SKIPPED, LOSES = "psana skips it", "psana's Python reader fails with a TypeError"
# Path below the source, what is odd, and what follows from it.
PROBLEMS = [
    ("pixel_rms/05-10.data", "the same runs as 5-10.data", "it is not defined which"),
    ("pixel_bkgd/10-5.data", "the range of 10-5.data is reversed", "psana never finds it"),
    ("pixel_bkgd/7-foo.data", "ends in neither a run nor 'end'", LOSES),
    ("pixel_bkgd/7-END.data", "ends in neither a run nor 'end'", LOSES),
    ("pixel_bkgd/10000-end.data", "has a run over 9999", LOSES),
    ("pixel_bkgd/0-12000.data", "has a run over 9999", LOSES),
    ("pixel_bkgd/abc-end.data", "is no run range", SKIPPED),
    ("pixel_bkgd/12.data", "is no run range", SKIPPED),
    ("pixel_bkgd/1-2-3.data", "is no run range", SKIPPED),
    ("pixel_bkgd/00001-end.data", "more than four digits", SKIPPED),
    ("pixel_bkgd/b\x01ad.data", "is no run range", SKIPPED),
    ("pixel_bkgd/5-end.data", "a folder where a file belongs", "then loads nothing"),
    ("pixel_status/0-end.data", "1 of 6 values outside uint16", "65536 reads as 0"),
    ("pixel_gain/30-40.data", "no number in the text", "default"),
    ("pixel_gain/41-50.data", "no number in the text", "default"),
    ("pixel_gain/51-60.data", "nan or inf in 1 of 12 values", "psana's C++ reader throws"),
    ("common_mode/6-end.data", "a link to nowhere/else", "default in silence"),
    ("common_mode/8-end.data", "a link to 8-end.data", "default in silence"),
    ("common_mode/up", "a link to a folder that holds it", "not followed"),
    ("common_mode/pipe", "neither a file nor a folder", "nothing to keep"),
]


@pytest.fixture
def messy(tmp_path: Path) -> Path:
    """A calib directory with everything that was ever found in one, and more."""
    tree = write_tree(tmp_path / "messy", FILES)
    write_tree(tree, {"pedestal_workdir/x.data": b"x", f"{OPAL}/pedestals/a_workdir/y": b"y"})
    (tree / OPAL / "common_mode").mkdir()
    os.mkfifo(tree / OPAL / "common_mode/pipe")
    for path, target in LINKS.items():
        (tree / path).symlink_to(target)
    return tree


def expected_files() -> dict[str, bytes]:
    """What must come back: regular files, and through links what they lead to."""
    opal = {
        **{path: data for path, data in FILES.items() if path.startswith(f"{OPAL}/")},
        f"{OPAL}/pedestals/20-30.data": FILES[f"{OPAL}/pedestals/1-end.data"],
    }
    linked = {path.replace(OPAL, ZYLA): data for path, data in opal.items()}
    return {**FILES, **opal, **linked}


@pytest.fixture
def store(tmp_path: Path) -> api.Store:
    return api.init(tmp_path / "store", "0" * 32)


def test_every_file_of_a_messy_tree_comes_back_byte_for_byte(
    store: api.Store, messy: Path, tmp_path: Path
) -> None:
    before = snapshot_without_pipes(messy)

    api.import_tree(store, messy, "xpp/main", stamp())
    api.materialize(store, store["xpp/main"], tmp_path / "view")

    assert regular_files(tmp_path / "view") == expected_files()
    assert snapshot_without_pipes(messy) == before
    assert api.verify(store).damages == ()


def snapshot_without_pipes(tree: Path) -> dict[str, bytes | str]:
    return {path: data for path, data in snapshot(tree).items() if data != "special"}


@pytest.mark.parametrize("source", [OPAL, ZYLA])
def test_every_problem_is_reported_with_what_psana_would_do(
    store: api.Store, messy: Path, source: str
) -> None:
    imported = api.import_tree(store, messy, "xpp/main", stamp())

    said = {problem.path: problem.remark for problem in imported.problems}
    for path, what, consequence in PROBLEMS:
        remark = said[f"{source}/{path}"]
        assert what in remark.what, path
        assert consequence in str(remark), path


def test_nothing_else_is_called_a_problem(store: api.Store, messy: Path) -> None:
    imported = api.import_tree(store, messy, "xpp/main", stamp())

    found = {problem.path for problem in imported.problems}
    known = {f"{source}/{path}" for source in (OPAL, ZYLA) for path, _, _ in PROBLEMS}
    assert found - known == {f"{EPIX}/pedestals/1-end.data"}
    assert known - found == set()


def test_a_wrong_size_is_a_problem_where_psana_checks_it(store: api.Store, messy: Path) -> None:
    imported = api.import_tree(store, messy, "xpp/main", stamp())

    (remark,) = [p.remark for p in imported.problems if p.path.startswith(EPIX)]
    shape = fixed_shape("Epix100a::CalibV1", "pedestals")
    assert str(shape) in remark.what
    assert "12 numbers" in remark.what
    assert "psana would use its default" in str(remark)


def test_work_folders_are_left_out_and_listed(store: api.Store, messy: Path) -> None:
    imported = api.import_tree(store, messy, "xpp/main", stamp())

    assert list(imported.left_out) == [
        f"{ZYLA}/pedestals/a_workdir",
        f"{OPAL}/pedestals/a_workdir",
        "pedestal_workdir",
    ]


def test_arrays_are_what_psana_reads_and_the_rest_are_files(store: api.Store, messy: Path) -> None:
    api.import_tree(store, messy, "xpp/main", stamp())

    opal = store["xpp/main"][OPAL]
    five = opal.at(run=7)
    np.testing.assert_array_equal(five["pedestals"].array, np.arange(12).reshape(3, 4) + 5)
    assert five["pedestals"].data == FILES[f"{OPAL}/pedestals/0005-0010.data"]
    # psana casts: 65536 becomes 0, a good pixel; that is why it is reported.
    np.testing.assert_array_equal(five["pixel_status"].array, [[0, 0, 1], [2, 3, 4]])
    assert five["pixel_rms"].data == FILES[f"{OPAL}/pixel_rms/5-10.data"]
    with pytest.raises(api.Invalid, match="opaque file"):
        _ = opal.at(run=35)["pixel_gain"].array
    assert store["xpp/main"][XTCAV].at(run=12)["nolasing"].data == HDF5 + b"!"


def test_problems_are_one_line_each_on_stderr(
    calstore: Callable[..., Outcome], messy: Path
) -> None:
    outcome = calstore("import", messy, "xpp/main")

    lines = outcome.err.splitlines()
    assert outcome.code == 0
    assert all(line.startswith("warning: ") for line in lines)
    assert len(lines) == 2 * len(PROBLEMS) + 2
    assert outcome.out.startswith("xpp/main@1  ")


# --- strict --------------------------------------------------------------------------------


def test_strict_refuses_a_tree_with_problems_and_adds_no_version(
    calstore: Callable[..., Outcome], messy: Path, tmp_path: Path
) -> None:
    outcome = calstore("import", "--strict", messy, "xpp/main")

    assert (outcome.code, outcome.out) == (5, "")
    assert "nothing was imported" in outcome.err
    assert calstore("refs", "--deleted").out == ""
    assert calstore("verify").code == 0


def test_strict_names_all_problems_together(calstore: Callable[..., Outcome], messy: Path) -> None:
    # Those of names and those of contents: who mends a tree wants one list, not two in turn.
    outcome = calstore("import", "--strict", messy, "xpp/main")

    missing = [path for path, _, _ in PROBLEMS if ascii_path(f"{OPAL}/{path}") not in outcome.err]
    assert missing == []


def ascii_path(path: str) -> str:
    return path if path.isprintable() else repr(path)[1:-1]


def test_strict_leaves_the_store_as_it_was(
    calstore: Callable[..., Outcome], camera_tree: Path, tmp_path: Path
) -> None:
    (camera_tree / OPAL / "pedestals/30-40.data").write_bytes(WITH_NAN)
    before = snapshot(tmp_path / ".calstore")

    outcome = calstore("import", "--strict", camera_tree, "xpp/main")

    assert outcome.code == 5
    assert "30-40.data" in outcome.err
    assert snapshot(tmp_path / ".calstore") == before


def test_strict_looks_at_unchanged_files_again(store: api.Store, camera_tree: Path) -> None:
    (camera_tree / OPAL / "pedestals/30-40.data").write_bytes(WITH_NAN)
    api.import_tree(store, camera_tree, "xpp/main", stamp())

    with pytest.raises(api.Invalid, match=r"30-40\.data"):
        api.import_tree(store, camera_tree, "xpp/main", stamp(), strict=True)

    assert len(list(api.log(store, "xpp/main"))) == 1


def test_strict_takes_a_tree_without_problems(store: api.Store, camera_tree: Path) -> None:
    imported = api.import_tree(store, camera_tree, "xpp/main", stamp(), strict=True)

    assert (imported.changed, imported.problems) == (True, ())


# --- what cannot be kept -------------------------------------------------------------------


def test_a_name_that_is_not_utf_8_is_reported_and_does_not_stop_the_history(
    calstore: Callable[..., Outcome], camera_tree: Path
) -> None:
    (camera_tree / os.fsdecode(b"caf\xe9.txt")).write_bytes(b"latin-1")

    refused = calstore("import", camera_tree, "xpp/main", "--strict")
    taken = calstore("import", camera_tree, "xpp/main")

    assert refused.code == 5
    assert r"caf\udce9.txt" in refused.err
    assert taken.code == 0, taken.err
    assert "is not valid UTF-8: it is not kept" in taken.err


@pytest.mark.parametrize("place", ["name", "target"])
def test_what_is_not_utf_8_can_be_reported(
    calstore: Callable[..., Outcome], camera_tree: Path, tmp_path: Path, place: str
) -> None:
    odd = os.fsdecode(b"\xe9")
    link = camera_tree / OPAL / ("5-end.data" if place == "target" else f"{odd}_workdir")
    link.symlink_to(odd if place == "target" else "x")

    for option in ([], ["--json"]):
        # As under LANG=en_US.UTF-8; in the C locale Python writes such bytes as they are.
        strict = {"PYTHONIOENCODING": "utf-8:strict"}
        words = ["import", str(camera_tree), "xpp/main", *option]
        outcome = spawn(*words, folder=tmp_path, environment=strict)

        assert "Traceback" not in outcome.err
        assert outcome.code == 0


def test_a_name_of_300_bytes_below_four_folders_comes_back(
    store: api.Store, camera_tree: Path, tmp_path: Path
) -> None:
    path = "/".join(["d" * 255] * 4 + ["é" * 127])
    write_tree(camera_tree, {path: b"long"})

    api.import_tree(store, camera_tree, "xpp/main", stamp())
    api.materialize(store, store["xpp/main"], tmp_path / "view")

    assert regular_files(tmp_path / "view") == regular_files(camera_tree)


def test_an_unreadable_file_is_refused_by_name(tmp_path: Path, camera_tree: Path) -> None:
    if os.access(tmp_path, os.W_OK) and os.geteuid() == 0:
        pytest.skip("root reads every file")
    (camera_tree / "notes.txt").chmod(0)
    store = api.init(tmp_path / "store", "0" * 32)

    with pytest.raises(api.Invalid, match=r"notes\.txt: cannot be read"):
        api.import_tree(store, camera_tree, "xpp/main", stamp())

    assert list(api.refs(store)) == []


def test_a_store_inside_the_tree_is_not_imported_into_itself(
    camera_tree: Path, tmp_path: Path
) -> None:
    store = api.init(camera_tree / "my-store", "0" * 32)

    first = api.import_tree(store, camera_tree, "xpp/main", stamp())
    again = api.import_tree(store, camera_tree, "xpp/main", stamp())

    assert first.files == 2
    assert not again.changed


def test_a_view_is_imported_without_its_receipt(
    store: api.Store, camera_tree: Path, tmp_path: Path
) -> None:
    first = api.import_tree(store, camera_tree, "xpp/main", stamp())
    api.materialize(store, store["xpp/main"], tmp_path / "view")

    again = api.import_tree(store, tmp_path / "view", "xpp/other", stamp())

    assert again.record.manifest == first.record.manifest
    assert again.left_out == (".calstore-view.json",)


# --- again ---------------------------------------------------------------------------------


def test_an_unchanged_tree_adds_nothing(store: api.Store, messy: Path, tmp_path: Path) -> None:
    first = api.import_tree(store, messy, "xpp/main", stamp())
    before = snapshot(tmp_path / "store")

    again = api.import_tree(store, messy, "xpp/main", stamp())

    assert (first.changed, again.changed) == (True, False)
    assert again.record == first.record
    assert snapshot(tmp_path / "store") == before


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda tree: (tree / "notes.txt").write_bytes(b"!"), id="a stranger"),
        pytest.param(
            lambda tree: (tree / OPAL / "pedestals/1-end.data").write_bytes(pedestals_text(9)),
            id="a constant",
        ),
        pytest.param(
            lambda tree: (tree / OPAL / "pedestals/1-end.data").write_bytes(
                b"# another comment\n" + pedestals_text(100)
            ),
            id="a comment above the same numbers",
        ),
        pytest.param(
            lambda tree: (tree / OPAL / "pedestals/10-20.data").rename(
                tree / OPAL / "pedestals/0010-20.data"
            ),
            id="another spelling of a name",
        ),
        pytest.param(lambda tree: (tree / "notes.txt").unlink(), id="a stranger that vanished"),
        pytest.param(
            lambda tree: (tree / OPAL / "pedestals/1-end.data").unlink(),
            id="a constant that vanished",
        ),
        pytest.param(lambda tree: shutil.rmtree(tree / OPAL), id="a detector that vanished"),
    ],
)
def test_a_change_adds_one_version_and_the_one_before_stays(
    store: api.Store, camera_tree: Path, tmp_path: Path, change: Callable[[Path], object]
) -> None:
    api.import_tree(store, camera_tree, "xpp/main", stamp())
    before = regular_files(camera_tree)
    change(camera_tree)

    again = api.import_tree(store, camera_tree, "xpp/main", stamp())
    once_more = api.import_tree(store, camera_tree, "xpp/main", stamp())

    assert (again.changed, again.record.number, once_more.changed) == (True, 2, False)
    api.materialize(store, store["xpp/main"], tmp_path / "now")
    api.materialize(store, store["xpp/main@1"], tmp_path / "then")
    assert regular_files(tmp_path / "now") == regular_files(camera_tree)
    assert regular_files(tmp_path / "then") == before


def test_a_touched_file_is_no_change(store: api.Store, camera_tree: Path) -> None:
    api.import_tree(store, camera_tree, "xpp/main", stamp())
    for path in camera_tree.rglob("*"):
        os.utime(path, (1, 1))

    assert not api.import_tree(store, camera_tree, "xpp/main", stamp()).changed


def test_unchanged_text_is_not_parsed_again_and_the_set_is_the_same(
    store: api.Store, messy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.import_tree(store, messy, "xpp/main", stamp())
    (messy / "notes.txt").write_bytes(b"changed")
    with monkeypatch.context() as patch:
        patch.setattr(psana_text, "read", lambda *a, **k: pytest.fail("parsed again"))
        again = api.import_tree(store, messy, "xpp/main", stamp())

    fresh_store = api.init(tmp_path / "fresh", "1" * 32)
    fresh = api.import_tree(fresh_store, messy, "cxi/other", stamp())

    assert again.changed
    assert again.record.manifest == fresh.record.manifest


def test_an_empty_tree_is_a_version_without_constants(store: api.Store, tmp_path: Path) -> None:
    (tmp_path / "calib").mkdir()

    imported = api.import_tree(store, tmp_path / "calib", "xpp/main", stamp())
    api.materialize(store, store["xpp/main"], tmp_path / "view")

    assert (imported.constants, imported.files) == (0, 0)
    assert regular_files(tmp_path / "view") == {}


def test_a_leave_out_pattern_adds_to_the_rule(
    calstore: Callable[..., Outcome], camera_tree: Path
) -> None:
    (camera_tree / "x_workdir").mkdir()

    outcome = calstore("import", camera_tree, "xpp/main", "--leave-out", "*.txt")

    assert outcome.code == 0
    assert "notes.txt" in outcome.err
    assert "x_workdir" in outcome.err
    assert set(LEFT_OUT) >= {"*_workdir", ".calstore"}


# --- a tree of .npy ------------------------------------------------------------------------

VALUES = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)
ODD_NPY = {
    "1-2.npy": npy_bytes(VALUES),
    "3-4.npy": npy_bytes(VALUES.astype(">f4")),
    "5-6.npy": npy_bytes(np.asfortranarray(VALUES)),
    "7-8.npy": npy_bytes(VALUES.astype(np.float64)),
    "9-10.npy": npy_bytes(np.array([{}, None], dtype=object), pickled=True),
    "11-12.npy": npy_bytes(VALUES)[:-1],
    "13-14.npy": npy_bytes(np.full((2, 2), np.nan, np.float32)),
    "15-16.npy": npy_bytes(VALUES).replace(b"}   ", b"}  \n", 1)[:-1] + b"\0",
    "0017-18.npy": npy_bytes(VALUES),
    "19-foo.npy": npy_bytes(VALUES),
    "21-22.npy": b"",
    "23-24.npy": npy_bytes(VALUES.astype(np.complex64)),
    "25-26.npy": npy_bytes(np.zeros((0, 3), np.float32)),
}


@pytest.fixture
def npy_tree(tmp_path: Path) -> Path:
    files = {f"{OPAL}/pedestals/{name}": data for name, data in ODD_NPY.items()}
    return write_tree(tmp_path / "npy", {**files, f"{OPAL}/geometry/0-end.data": b"IP\n"})


def test_every_file_of_an_npy_tree_comes_back_byte_for_byte(
    store: api.Store, npy_tree: Path, tmp_path: Path
) -> None:
    api.import_tree(store, npy_tree, "xpp/main", stamp())

    api.materialize(store, store["xpp/main"], tmp_path / "view", layout="npy")

    assert regular_files(tmp_path / "view") == regular_files(npy_tree)
    assert not api.import_tree(store, npy_tree, "xpp/main", stamp()).changed


def test_npy_files_of_any_order_are_one_array(store: api.Store, npy_tree: Path) -> None:
    api.import_tree(store, npy_tree, "xpp/main", stamp())

    opal = store["xpp/main"][OPAL]
    digests = {opal.at(run=run)["pedestals"].digest for run in (1, 3, 5, 17)}

    assert len(digests) == 1
    assert opal.at(run=3)["pedestals"].array.tobytes() == VALUES.tobytes()


def test_what_is_odd_about_npy_files_is_reported(store: api.Store, npy_tree: Path) -> None:
    imported = api.import_tree(store, npy_tree, "xpp/main", stamp())

    said = {problem.path.rsplit("/", 1)[1]: str(problem.remark) for problem in imported.problems}
    assert "float64 for pedestals" in said["7-8.npy"]
    assert "object" in said["9-10.npy"] or "'|O'" in said["9-10.npy"]
    assert "cut short" in said["11-12.npy"]
    assert "not an .npy file" in said["21-22.npy"]
    assert "complex64" in said["23-24.npy"]
    assert "neither a run nor 'end'" in said["19-foo.npy"]
    assert not {"1-2.npy", "3-4.npy", "5-6.npy", "0017-18.npy"} & set(said)


def test_an_npy_array_that_psana_could_not_be_given_is_reported(
    store: api.Store, npy_tree: Path, tmp_path: Path
) -> None:
    # Else it is found when somebody materializes, at night.
    imported = api.import_tree(store, npy_tree, "xpp/main", stamp())

    said = {problem.path.rsplit("/", 1)[1] for problem in imported.problems}
    assert {"13-14.npy", "25-26.npy"} <= said


def test_a_psana_view_of_npy_arrays_is_text_of_the_same_values(
    store: api.Store, npy_tree: Path, tmp_path: Path
) -> None:
    for name in ("13-14.npy", "25-26.npy"):
        (npy_tree / OPAL / "pedestals" / name).unlink()
    api.import_tree(store, npy_tree, "xpp/main", stamp())

    api.materialize(store, store["xpp/main"], tmp_path / "view")

    for name in ("1-2.data", "3-4.data", "5-6.data", "0017-18.data"):
        data = (tmp_path / "view" / OPAL / "pedestals" / name).read_bytes()
        reading = psana_text.read(data, group="Camera::CalibV1", type_name="pedestals")
        assert reading.array.tobytes() == VALUES.tobytes()
        assert reading.remarks == ()


def test_text_and_npy_of_one_range_both_come_back(
    store: api.Store, camera_tree: Path, tmp_path: Path
) -> None:
    (camera_tree / OPAL / "pedestals/1-end.npy").write_bytes(npy_bytes(VALUES))

    imported = api.import_tree(store, camera_tree, "xpp/main", stamp())
    api.materialize(store, store["xpp/main"], tmp_path / "view")

    assert [problem.remark.what for problem in imported.problems]
    assert regular_files(tmp_path / "view") == regular_files(camera_tree)


def test_a_pipe_in_the_tree_does_not_hang(messy: Path, tmp_path: Path) -> None:
    assert run("init", folder=tmp_path).code == 0
    try:
        outcome = spawn("import", messy, "xpp/main", folder=tmp_path)
    except subprocess.TimeoutExpired:
        pytest.fail("the import waits for a writer that never comes")

    assert outcome.code == 0
