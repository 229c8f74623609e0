"""What a materialized view must obey: the 22 numbers of the reference on calib directories.

Each test has the number in its name. Views are made by calstore's public functions or its command
line; psana's own, unmodified reader is asked where ``CALSTORE_PSANA_PYTHON`` names one.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from commandline import EPIX, OPAL, REAL_TREE, Outcome, npy_bytes, pedestals_text, write_tree
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of
from os_calls import LoggedCalls
from ranges import LIVE, RUNS, by_brute_force, run_ranges, sets_of_ranges
from test_psana_client import PSANA, asked, question

import calstore as api
from calstore.model.conventions import group_of
from calstore.model.runs import END, RunRange
from calstore.repository.materialize import materialize
from calstore.repository.read_back import read_back
from calstore.repository.store import Store, init_store
from calstore.views.resolve import Timeline

Calstore = Callable[..., Outcome]

GROUP, SOURCE = OPAL.split("/")
NAME = re.compile(r"(0|[1-9][0-9]{0,3})-(0|[1-9][0-9]{0,3}|end)\.data")  # no leading zeros
ON_PSANA = pytest.mark.skipif(
    PSANA is None, reason="CALSTORE_PSANA_PYTHON does not name a Python that has psana"
)


@pytest.fixture(scope="module")
def folder(memory_path: Path) -> Path:
    return memory_path


def camera(value: float) -> np.ndarray:
    """A small array by whose first number it is known."""
    return np.array([[value, 2, 3], [4, 5, 6]], dtype=np.float32)


def known_by(data: bytes) -> float:
    """The first number of a text."""
    line = next(line for line in data.splitlines() if line.strip() and not line.startswith(b"#"))
    return float(line.split()[0])


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.endswith(".data"))


def ranges_in(folder: Path) -> list[RunRange]:
    return [RunRange.parse(name.removesuffix(".data")) for name in names_in(folder)]


def chosen(folder: Path, run: int) -> float | None:
    """What psana's rule, word for word, makes a run get of the files that are there."""
    winner = by_brute_force(ranges_in(folder), run)
    return None if winner is None else known_by((folder / f"{winner}.data").read_bytes())


@st.composite
def histories(draw: st.DrawFn) -> tuple[set[RunRange], list[tuple[RunRange, bool]]]:
    """A directory that is imported, and what is set afterwards: over it, or under it."""
    found = draw(sets_of_ranges)
    return found, draw(st.lists(st.tuples(run_ranges(), st.booleans()), max_size=4))


def store_of(found: set[RunRange], folder: Path) -> Store:
    """A store with the ranges, the n-th known by n, as an import."""
    tree = {"notes": b"so that there is something\n"}
    for number, runs in enumerate(sorted(found)):
        tree[f"{OPAL}/pedestals/{runs}.data"] = api_text(camera(number))
    tree[f"{OPAL}/geometry/0-end.data"] = b"# one\n"
    store = init_store("memory:", "0" * 32)
    api.import_tree(store, write_tree(folder / "in", tree), "xpp/main", api.stamp())
    return store


def api_text(array: np.ndarray, type_name: str = "pedestals") -> bytes:
    from calstore.formats import psana_text_writer

    return psana_text_writer.write(array, type_name=type_name)


def set_in(store: Store, runs: RunRange, value: float, *, underlay: bool = False) -> None:
    api.set_constant(
        store,
        "xpp/main",
        SOURCE,
        "pedestals",
        runs,
        camera(value),
        api.stamp(),
        underlay=underlay,
    )


def view_of(store: Store, folder: Path) -> Path:
    """The folder of pedestals in a new view; it may be absent."""
    materialize(store, store["xpp/main"], folder / "calib")
    return folder / "calib" / OPAL / "pedestals"


@pytest.fixture
def imported(calstore: Calstore, camera_tree: Path) -> Calstore:
    assert calstore("import", camera_tree, "xpp/main").code == 0
    return calstore


def done(outcome: Outcome) -> Outcome:
    assert outcome.code == 0, outcome.err
    return outcome


def put(calstore: Calstore, folder: Path, type_name: str, runs: str, array: np.ndarray) -> Outcome:
    (folder / "new.npy").write_bytes(npy_bytes(array))
    return calstore("set", "xpp/main", SOURCE, type_name, runs, "new.npy")


@given(histories())
def test_01_names_are_what_every_reader_parses(
    folder: Path, history: tuple[set[RunRange], list[tuple[RunRange, bool]]]
) -> None:
    found, changes = history
    with tempfile.TemporaryDirectory(dir=folder) as place:
        store = store_of(found, Path(place))
        for number, (runs, underlay) in enumerate(changes, 100):
            set_in(store, runs, number, underlay=underlay)

        view = view_of(store, Path(place))

        names = names_in(view) if view.is_dir() else []
        for name in names:
            match = NAME.fullmatch(name)
            assert match is not None, name
            assert match[2] == "end" or int(match[1]) <= int(match[2]) <= 9999, name
        assert len({RunRange.parse(name.removesuffix(".data")) for name in names}) == len(names)


def test_02_no_other_name_ends_in_data_whatever_is_going_on(
    imported: Calstore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done(imported("materialize", "xpp/main", "calib2"))
    done(put(imported, tmp_path, "pedestals", "5-12", camera(7)))
    calls = LoggedCalls()
    calls.install(monkeypatch.setattr)

    done(imported("materialize", "xpp/main", "calib2"))

    calib = tmp_path / "calib2"
    made = {path for event in calls.events for path in event[1:] if path.startswith(str(calib))}
    assert any(Path(path).name.startswith(".calstore-tmp-") for path in made)
    for path in made:
        name = Path(path).name
        assert not name.endswith(".data") or NAME.fullmatch(name), path
    left = {path.name for path in calib.rglob("*") if path.is_file()}
    assert not [name for name in left if name.startswith(".calstore-tmp-")]


def test_03_files_appear_complete(
    imported: Calstore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done(imported("materialize", "xpp/main", "view"))
    done(put(imported, tmp_path, "pedestals", "1-end", camera(7)))
    old = tmp_path / "view" / OPAL / "pedestals" / "1-end.data"
    inode = old.stat().st_ino
    calls = LoggedCalls()
    calls.install(monkeypatch.setattr)

    done(imported("materialize", "xpp/main", "view"))

    place = str(old)
    [(temporary, _)] = [event for event in calls.of("rename") if event[1] == place]
    assert Path(temporary).parent == old.parent
    steps = [("write", temporary), ("fsync", temporary), ("rename", temporary, place)]
    order = [calls.index(*step) for step in steps]
    assert order == sorted(order)
    assert ("write", place) not in calls.events
    assert old.stat().st_ino != inode


def test_04_nothing_in_a_view_is_empty_or_leads_nowhere(imported: Calstore, tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "header").write_bytes(b"# DTYPE float32\n# NDIM 2\n# DIM:0 2\n# DIM:1 2\n")
    for file in ("empty", "header"):
        outcome = imported("set", "xpp/main", SOURCE, "pedestals", "5-6", file)
        assert outcome.code == 5, outcome
    assert put(imported, tmp_path, "pedestals", "5-6", np.zeros((0, 3), np.float32)).code == 5
    done(put(imported, tmp_path, "pixel_status", "0-end", np.ones((2, 3), np.uint16)))

    done(imported("materialize", "xpp/main", "view", "--for", "ami"))

    for path in (tmp_path / "view").rglob("*"):
        if path.name.endswith(".data"):
            assert path.is_file(), path
            text = path.read_bytes()
            assert any(not line.startswith(b"#") for line in text.split(b"\n") if line), path
        assert path.exists(), path
    (tmp_path / "calib" / OPAL / "pedestals" / "30-end.data").write_bytes(b"")
    warned = imported("import", tmp_path / "calib", "xpp/main").err
    assert "30-end.data" in warned


@given(histories())
def test_05_every_run_gets_what_the_store_says(
    folder: Path, history: tuple[set[RunRange], list[tuple[RunRange, bool]]]
) -> None:
    found, changes = history
    with tempfile.TemporaryDirectory(dir=folder) as place:
        store = store_of(found, Path(place))
        for number, (runs, underlay) in enumerate(changes, 100):
            set_in(store, runs, number, underlay=underlay)

        view = view_of(store, Path(place))

        detector = store["xpp/main"][SOURCE]
        timeline = Timeline(detector.manifest.constants.get("pedestals", {}))
        assert not view.is_dir() or set(ranges_in(view)) >= timeline.winners
        for run in RUNS:
            on_disk = chosen(view, run) if view.is_dir() else None
            constants = detector.at(run)
            in_store = constants["pedestals"].array[0, 0] if "pedestals" in constants else None
            assert on_disk == in_store, run


@ON_PSANA
def test_05_psana_finds_what_the_rule_says_where_ranges_overlap_as_in_the_reference(
    tmp_path: Path,
) -> None:
    names = ["0-end", "5-10", "5-end", "8-9", "10-20"]
    store = store_of({RunRange.parse(name) for name in names}, tmp_path)
    view_of(store, tmp_path)
    runs = {4: "0-end", 5: "5-10", 8: "8-9", 10: "10-20", 21: "5-end", 10_000: "5-end"}

    answers = asked(
        [question(tmp_path / "calib", (GROUP, SOURCE), "pedestals", run, camera(0)) for run in runs]
    )

    assert [Path(answer["path"]).stem for answer in answers] == list(runs.values())
    order = sorted(map(RunRange.parse, names))
    for answer, name in zip(answers, runs.values(), strict=True):
        expected = camera(order.index(RunRange.parse(name)))
        assert answer["bytes"] == expected.tobytes().hex()


@given(sets_of_ranges, run_ranges())
def test_06_use_this_for_these_runs_is_obeyed_and_changes_no_other_run(
    folder: Path, found: set[RunRange], runs: RunRange
) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as place:
        store = store_of(found, Path(place))
        before = [known(sorted(found), run) for run in RUNS]

        set_in(store, runs, 777)

        view = view_of(store, Path(place))
        for run, old in zip(RUNS, before, strict=True):
            assert chosen(view, run) == (777 if runs.holds(run) else old), run


def known(found: list[RunRange], run: int) -> float | None:
    winner = by_brute_force(found, run)
    return None if winner is None else float(found.index(winner))


@given(sets_of_ranges, run_ranges())
def test_07_a_file_to_the_end_stays_and_9999_is_not_the_end(
    folder: Path, found: set[RunRange], runs: RunRange
) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as place:
        store = store_of(found, Path(place))
        before = by_brute_force(found, LIVE)

        set_in(store, runs, 777)

        view = view_of(store, Path(place))
        after = chosen(view, LIVE)
        if runs.last == END:
            assert after == 777
        else:
            assert after == (None if before is None else sorted(found).index(before))


def test_07_a_view_for_ami_without_a_file_to_the_end_is_refused(
    calstore: Calstore, tmp_path: Path
) -> None:
    for last, code in (("9999", 5), ("end", 0)):
        tree = write_tree(tmp_path / last, {f"{OPAL}/pedestals/0-{last}.data": pedestals_text()})
        done(calstore("import", tree, "xpp/main"))

        outcome = calstore("materialize", "xpp/main", f"view-{last}", "--for", "ami")

        assert outcome.code == code, outcome.err


@pytest.mark.parametrize(
    ("device", "group", "alias"),
    [
        ("Cspad", "CsPad::CalibV1", None),
        ("Epix100a", "Epix100a::CalibV1", None),
        ("Epix10k", "Epix10ka::CalibV1", "Epix10k::CalibV1/{}"),
        ("Epix10ka2M", "Epix10ka2M::CalibV1", None),
        ("Epix", "Epix::CalibV1", "{}"),
        ("Opal1000", "Camera::CalibV1", "{}"),
        ("Rayonix", "Camera::CalibV1", "{}"),
        ("Zyla", "Camera::CalibV1", None),
        ("iStar", "Camera::CalibV1", None),
        ("Alvium", "Camera::CalibV1", None),
        ("Princeton", "Princeton::CalibV1", None),
        ("Jungfrau", "Jungfrau::CalibV1", None),
    ],
)
def test_08_the_group_is_where_psana_looks_and_ami_finds_it_too(
    calstore: Calstore, tmp_path: Path, device: str, group: str, alias: str | None
) -> None:
    source = f"XppEndstation.0:{device}.1"
    tree = write_tree(tmp_path / "in", {f"{group}/{source}/geometry/0-end.data": b"# none\n"})
    done(calstore("import", tree, "xpp/main"))

    outcome = done(calstore("materialize", "xpp/main", "view", "--for", "ami"))

    assert group_of(source) == group
    assert f"nobody reads {group}" not in outcome.err
    links = [path for path in (tmp_path / "view").rglob("*") if path.is_symlink()]
    assert links == ([] if alias is None else [tmp_path / "view" / alias.format(source)])
    for link in links:
        assert link.resolve() == (tmp_path / "view" / group / source).resolve()


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("iStar::CalibV1/XcsEndstation.0:iStar.1", "nobody reads iStar::CalibV1"),
        ("Alvium::CalibV1/XcsEndstation.0:Alvium.1", "psana looks in Camera::CalibV1"),
        ("CsPad::CalibV1/XppGon.0:Epix100a.1", "psana looks in Epix100a::CalibV1"),
        ("Camera::CalibV1/XppGon.0:Nothing.1", "psana does not know the device"),
        ("Xtcav::CalibV1/XrayTransportDiagnostic.0:Opal1000.0", None),  # xtcav's own reader
        ("Epix10k::CalibV1/XppEndstation.0:Epix10k.0", None),  # AMI looks there
    ],
)
def test_08_a_group_in_which_nobody_looks_is_warned_of(
    calstore: Calstore, tmp_path: Path, path: str, said: str | None
) -> None:
    tree = write_tree(tmp_path / "in", {f"{path}/pedestals/0-end.data": pedestals_text()})
    done(calstore("import", tree, "xpp/main"))

    outcome = done(calstore("materialize", "xpp/main", "view"))
    again = done(calstore("materialize", "xpp/main", "view"))

    if said is None:
        assert outcome.err == ""
    else:
        assert outcome.err.startswith("warning: ")
        assert said in outcome.err
    assert again.err == "", "what is known is not said again"


def test_09_a_source_is_bare(calstore: Calstore, tmp_path: Path) -> None:
    paths = {
        f"{EPIX}/pedestals/0-end.data": api_text(np.zeros((704, 768), np.float32)),
        "Epix100a::CalibV1/DetInfo(XppGon.0:Epix100a.2)/geometry/0-end.data": b"# x\n",
    }
    done(calstore("import", write_tree(tmp_path / "in", paths), "xpp/main"))

    outcome = done(calstore("materialize", "xpp/main", "view"))

    assert (tmp_path / "view" / EPIX).is_dir()
    assert re.fullmatch(
        r"warning: no reader looks for 'DetInfo\(XppGon\.0:Epix100a\.2\)'; a source is .*\n",
        outcome.err,
    )


@pytest.mark.parametrize(
    ("type_name", "array", "dtype"),
    [
        ("pedestals", np.ones((2, 3)), "float32"),
        ("pixel_rms", np.ones((2, 3), np.float32), "float32"),
        ("pixel_gain", np.ones((2, 3), np.float32), "float32"),
        ("pixel_status", np.ones((2, 3), np.int64), "uint16"),
        ("pixel_mask", np.ones((2, 3), bool), "uint8"),
        ("status_extra", np.full((2, 3), 2**63, np.uint64), "uint64"),
        ("common_mode", np.array([4.0, 6.0, 30.5]), "float64"),
        ("pixel_bkgd", np.ones((2, 2, 3), np.float32), "float32"),
    ],
)
def test_10_text_is_of_the_safest_form(
    imported: Calstore, tmp_path: Path, type_name: str, array: np.ndarray, dtype: str
) -> None:
    done(put(imported, tmp_path, type_name, "7-9", array))

    done(imported("materialize", "xpp/main", "view"))

    text = (tmp_path / "view" / OPAL / type_name / "7-9.data").read_bytes()
    assert b"\r" not in text
    assert text.endswith(b"\n")
    lines = text.decode().split("\n")[:-1]
    numbers = [index for index, line in enumerate(lines) if line and not line.startswith("#")]
    comments = [index for index, line in enumerate(lines) if "#" in line]
    assert all(lines[index].startswith("# ") for index in comments)
    assert max(comments) < min(numbers), "metadata before data"
    assert numbers == list(range(min(numbers), len(lines))), "nothing between and behind"
    assert len(numbers) == array.size // array.shape[-1]
    assert {len(lines[index].split(" ")) for index in numbers} == {array.shape[-1]}
    fields = dict(line[2:].split(maxsplit=1) for line in lines[: min(numbers)] if len(line) > 2)
    assert fields["DTYPE"] == dtype
    assert fields["NDIM"] == str(array.ndim)
    assert [fields[f"DIM:{n}"] for n in range(array.ndim)] == list(map(str, array.shape))


@given(
    arrays_of.arrays(
        np.float32,
        st.sampled_from([(2, 3), (1, 2, 4)]),
        elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
    ),
    st.sampled_from(["pedestals", "pixel_rms", "pixel_gain", "pixel_offset"]),
)
def test_11_floats_come_back_bit_for_bit(folder: Path, array: np.ndarray, type_name: str) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as place:
        store = store_of(set(), Path(place))
        runs = RunRange(0, END)
        api.set_constant(store, "xpp/main", SOURCE, type_name, runs, array, api.stamp())

        view = view_of(store, Path(place)).parent / type_name

        text = (view / "0-end.data").read_text()
        words = [line.split() for line in text.splitlines() if not line.startswith("#") and line]
        for dtype in (np.float32, np.float64):  # through a float, and through a double first
            back = np.array(words, dtype).astype(np.float32).reshape(array.shape)
            assert back.tobytes() == array.tobytes()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e39])
@pytest.mark.parametrize("type_name", ["pedestals", "pixel_rms", "pixel_gain", "pixel_offset"])
def test_11_what_is_not_finite_is_refused(
    imported: Calstore, tmp_path: Path, value: float, type_name: str
) -> None:
    outcome = put(imported, tmp_path, type_name, "7-9", np.array([[1, value]]))

    assert outcome.code == 5
    assert "give those pixels a number and a bit in pixel_status" in outcome.err


@given(arrays_of.arrays(np.uint16, st.sampled_from([(2, 3), (2, 2, 2)])))
def test_12_status_words_are_bare_decimal_integers(folder: Path, array: np.ndarray) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as place:
        store = store_of(set(), Path(place))
        runs = RunRange(0, END)
        api.set_constant(store, "xpp/main", SOURCE, "pixel_status", runs, array, api.stamp())

        view = view_of(store, Path(place)).parent / "pixel_status"

        text = (view / "0-end.data").read_text()
        rows = [line.split() for line in text.splitlines() if line and not line.startswith("#")]
        words = [word for row in rows for word in row]
        assert all(re.fullmatch(r"0|[1-9][0-9]{0,4}", word) for word in words)
        assert [int(word) for word in words] == array.reshape(-1).tolist()
        assert 7 * max(map(int, words)) < 2**32


@pytest.mark.parametrize("word", [-1, 65536, 2**32, 0.5])
def test_12_other_status_words_are_refused_and_not_wrapped(
    imported: Calstore, tmp_path: Path, word: float
) -> None:
    outcome = put(imported, tmp_path, "pixel_status", "7-9", np.array([[0, word]]))

    assert outcome.code == 5, outcome


def test_13_a_mask_is_of_0_and_1_and_is_said_not_to_be_applied(
    imported: Calstore, tmp_path: Path
) -> None:
    assert put(imported, tmp_path, "pixel_mask", "0-end", np.array([[0, 2]])).code == 5
    done(put(imported, tmp_path, "pixel_mask", "0-end", np.array([[0, 1], [1, 0]])))

    outcome = done(imported("materialize", "xpp/main", "view"))
    again = done(imported("materialize", "xpp/main", "view"))

    said = "psana applies the pixel_mask of XppEndstation.0:Opal1000.1 only when it is asked to"
    assert said in outcome.out
    assert "belongs into pixel_status" in outcome.out
    assert said not in again.out
    text = (tmp_path / "view" / OPAL / "pixel_mask" / "0-end.data").read_bytes()
    assert text.endswith(b"\n0 1\n1 0\n")


@pytest.mark.parametrize(
    ("group", "device", "type_name", "shape", "stored"),
    [
        ("CsPad", "Cspad", "pedestals", (4, 8, 185, 388), (32, 185, 388)),
        ("CsPad", "Cspad", "pedestals", (32, 388, 185), None),
        ("CsPad2x2", "Cspad2x2", "pixel_rms", (185, 388, 2), (185, 388, 2)),
        ("CsPad2x2", "Cspad2x2", "pixel_rms", (2, 185, 388), None),  # natural order
        ("Epix100a", "Epix100a", "pixel_gain", (704, 768), (704, 768)),
        ("Epix100a", "Epix100a", "pixel_gain", (768, 704), None),
        ("Jungfrau", "Jungfrau", "pedestals", (3, 2, 512, 1024), (3, 2, 512, 1024)),
        ("Jungfrau", "Jungfrau", "pedestals", (2, 3, 512, 1024), None),
        ("Jungfrau", "Jungfrau", "pixel_status", (2, 512, 1024), None),
        ("Epix10ka", "Epix10ka", "pixel_status", (7, 1, 352, 384), (7, 1, 352, 384)),
        ("Epix10ka", "Epix10ka", "pixel_rms", (5, 1, 352, 384), None),  # unused modes explicit
        ("Epix10kaQuad", "Epix10kaQuad", "pixel_gain", (4, 352, 384), None),
    ],
)
def test_14_shapes_are_those_of_the_detector(
    group: str,
    device: str,
    type_name: str,
    shape: tuple[int, ...],
    stored: tuple[int, ...] | None,
    folder: Path,
) -> None:
    key = f"{group}::CalibV1/XppEndstation.0:{device}.0"
    kind = np.uint16 if type_name == "pixel_status" else np.float32
    with tempfile.TemporaryDirectory(dir=folder) as place:
        store = store_of(set(), Path(place))
        runs = RunRange(0, END)

        def put() -> None:
            array = np.zeros(shape, kind)
            api.set_constant(store, "xpp/main", key, type_name, runs, array, api.stamp())

        if stored is None:
            with pytest.raises(api.Invalid, match=r"psana (would|does not)"):
                put()
            return
        put()
        materialize(store, store["xpp/main"], Path(place) / "calib")
        text = (Path(place) / "calib" / key / type_name / "0-end.data").read_text()
        dims = re.findall(r"^# DIM:\d +(\d+)$", text, re.MULTILINE)
        assert tuple(map(int, dims)) == stored


@pytest.mark.parametrize("device", ["Epix100a", "Jungfrau"])
def test_15_a_gain_is_passed_on_in_the_convention_in_which_it_came(
    calstore: Calstore, tmp_path: Path, device: str
) -> None:
    shape = (704, 768) if device == "Epix100a" else (3, 1, 512, 1024)
    gain = np.full(shape, 0.8 if device == "Epix100a" else 41.5, np.float32)
    key = f"{device}::CalibV1/XppGon.0:{device}.1"
    text = api_text(gain, "pixel_gain")
    tree = write_tree(tmp_path / "in", {f"{key}/pixel_gain/0-end.data": text})
    done(calstore("import", tree, "xpp/main"))
    (tmp_path / "new.npy").write_bytes(npy_bytes(gain))
    done(calstore("set", "xpp/main", device, "pixel_gain", "5-9", "new.npy"))

    done(calstore("materialize", "xpp/main", "view", "--for", "ami"))

    types = tmp_path / "view" / key / "pixel_gain"
    assert (types / "0-end.data").read_bytes() == text
    numbers = (types / "5-9.data").read_text().rpartition("\n\n")[2]
    assert numbers == text.decode().rpartition("\n\n")[2], "never inverted"


@pytest.mark.skipif(
    not REAL_TREE.is_dir(), reason="the real calibration files are not beside this checkout"
)
def test_16_geometry_and_unknown_files_are_byte_for_byte_in_the_real_tree(
    calstore: Calstore, tmp_path: Path
) -> None:
    tree = tmp_path / "in"
    shutil.copytree(REAL_TREE, tree)
    xtcav = "Xtcav::CalibV1/XrayTransportDiagnostic.0:Opal1000.0"
    strange = {
        f"{xtcav}/nolasing/1-9.data": b"\x89HDF\r\n\x1a\n",
        f"{EPIX}/geometry/notes.geom": b"\xff\xfe\r\nno text\0",
        f"{EPIX}/offset_corr/0-end.data": b"\r\n1 2 3",
        "README": b"",
    }
    for path in tree.rglob("*"):
        path.chmod(path.stat().st_mode | stat.S_IWUSR)
    write_tree(tree, strange)
    done(calstore("import", tree, "xpp/main"))

    done(calstore("materialize", "xpp/main", "view"))

    there = {path.relative_to(tree): path for path in tree.rglob("*") if path.is_file()}
    assert len(there) > len(strange)
    for path, original in there.items():
        assert (tmp_path / "view" / path).read_bytes() == original.read_bytes(), path


def test_17_all_types_of_one_dark_appear_in_one_step(
    calstore: Calstore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    types = ("pedestals", "pixel_rms", "pixel_bkgd")
    for number in (1, 2):
        tree = {f"{OPAL}/{name}/1-end.data": api_text(camera(number), name) for name in types}
        done(calstore("import", write_tree(tmp_path / str(number), tree), "xpp/main"))
    view, seen = tmp_path / "calib", []

    def look() -> None:
        files = [view / OPAL / name / "1-end.data" for name in types]
        if view.exists():
            seen.append({known_by(path.read_bytes()) if path.exists() else None for path in files})

    def watched(real: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object, **kwargs: object) -> object:
            result = real(*args, **kwargs)
            look()
            return result

        return call

    for verb in ("write", "fsync", "rename", "symlink", "chmod", "unlink", "mkdir"):
        monkeypatch.setattr(os, verb, watched(getattr(os, verb)))

    done(calstore("materialize", "xpp/main@1", "calib", "--generations", "2"))
    done(calstore("materialize", "xpp/main@2", "calib", "--generations", "2"))

    assert {1.0} in seen
    assert seen[-1] == {2.0}
    assert all(state in ({1.0}, {2.0}) for state in seen), "a mixture was there to be read"
    monkeypatch.undo()
    for path in (path for path in tmp_path.rglob("*") if path.is_dir()):
        path.chmod(0o755)  # so that the folder can be taken away


def test_18_a_common_mode_that_is_off_is_a_file(imported: Calstore, tmp_path: Path) -> None:
    (tmp_path / "off").write_text("0 0\n")
    alone = put(imported, tmp_path, "common_mode", "0-end", np.zeros(1))
    done(imported("set", "xpp/main", SOURCE, "common_mode", "0-end", "off"))

    done(imported("materialize", "xpp/main", "view"))

    file = tmp_path / "view" / OPAL / "common_mode" / "0-end.data"
    assert file.read_text() == "0 0\n"
    assert (alone.code, "write two: 0 0" in alone.err) == (5, True)
    assert "no common_mode" not in imported("coverage", "xpp/main").out
    if PSANA is not None:
        key = (GROUP, SOURCE)
        [answer] = asked([question(tmp_path / "view", key, "common_mode", 3, np.zeros(2))])
        assert answer["bytes"] == np.zeros(2).tobytes().hex()


def test_18_a_common_mode_that_is_absent_is_said_not_to_be_off(
    calstore: Calstore, tmp_path: Path
) -> None:
    text = api_text(np.zeros((704, 768), np.float32))
    tree = write_tree(tmp_path / "in", {f"{EPIX}/pedestals/0-end.data": text})
    done(calstore("import", tree, "xpp/main"))

    outcome = done(calstore("coverage", "xpp/main"))

    assert re.search(r"no common_mode: .* 4 6 30 30\n", outcome.out)


def test_19_nobody_edits_the_store_through_a_view(imported: Calstore, tmp_path: Path) -> None:
    os.umask(0o022)
    done(imported("materialize", "xpp/main", "view"))

    for path in (tmp_path / "view").rglob("*"):
        if path.is_file() and not path.name.startswith("."):
            found = path.stat()
            assert found.st_mode & stat.S_IRGRP, "a group reads it"
            assert found.st_nlink == 1, "no link into the store"
            path.write_bytes(b"edited")

    assert imported("verify").code == 0
    assert imported("status", "view").code == 1


def test_20_history_has_one_line_for_each_constant_after_it_is_in_place(
    imported: Calstore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done(imported("materialize", "xpp/main", "view"))
    folder = tmp_path / "view" / OPAL / "pedestals"
    before = (folder / "HISTORY").read_bytes()
    done(put(imported, tmp_path, "pedestals", "5-12", camera(7)))
    calls = LoggedCalls()
    calls.install(monkeypatch.setattr)

    done(imported("materialize", "xpp/main", "view"))

    text = (folder / "HISTORY").read_bytes()
    assert text.startswith(before)
    [line] = text[len(before) :].splitlines()
    keys = ("file", "copy_of", "exp", "run", "comment", "user", "host", "cptime", "zone")
    assert re.fullmatch("".join(rf"{key}:.*" for key in keys), line.decode())
    assert line.startswith(b"file:5-12.data ")
    put_there = [
        index
        for index, event in enumerate(calls.events)
        if event[0] in ("link", "rename") and event[-1].endswith(".data")
    ]
    written = calls.index("write", str(folder / "HISTORY"))
    assert put_there
    assert max(put_there) < written


def test_21_what_was_published_is_read_back_and_compared(
    imported: Calstore, tmp_path: Path
) -> None:
    done(put(imported, tmp_path, "pixel_status", "0-end", np.array([[0, 1], [2, 65535]])))
    done(imported("materialize", "xpp/main", "view", "--verify"))
    folder = tmp_path / "view" / OPAL
    computed = folder / "pixel_status" / "0-end.data"
    was = computed.stat()
    text = computed.read_bytes()
    # What status need not notice: other numbers of the same length and time.
    computed.write_bytes(text.replace(b"\n2 65535\n", b"\n3 65535\n"))
    os.utime(computed, ns=(was.st_atime_ns, was.st_mtime_ns))
    (folder / "pedestals" / "15-end.data").write_bytes(pedestals_text())

    outcome = imported("materialize", "xpp/main", "view", "--verify")
    quiet = imported("materialize", "xpp/main", "view")

    assert outcome.code == 1
    assert f"differs  {OPAL}/pixel_status/0-end.data: its numbers are others" in outcome.out
    stranger = f"{OPAL}/pedestals/15-end.data: it is not of this version: runs 15-end get it"
    assert f"differs  {stranger}" in outcome.out
    assert quiet.code == 0
    (folder / "pedestals" / "15-end.data").unlink()
    computed.unlink()
    assert imported("materialize", "xpp/main", "view", "--verify", "--discard").code == 0
    assert computed.read_bytes() == text


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (lambda path: path.write_bytes(b"1 2\n3\n"), "psana would use its default"),
        (lambda path: path.write_bytes(b"1 2 3\n4 5 6\n"), "no NDIM and DIM"),
        (lambda path: path.write_bytes(api_text(camera(8))), "its numbers are others"),
        (lambda path: path.write_bytes(api_text(camera(7)[:, :2])), "its shape is"),
        (lambda path: path.unlink(), "it is not there"),
        (lambda path: (path.unlink(), path.symlink_to("1-end.data")), "a link or a folder"),
        (lambda path: path.with_name("7-foo.data").write_bytes(b""), "loses every constant"),
        (lambda path: path.with_name("05-12.data").write_bytes(b""), "reads one of the two"),
        (lambda path: path.with_name("1-1.data").mkdir(), "runs 1-1 get it"),
    ],
)
def test_21_a_strict_reader_notices(
    tmp_path: Path, damage: Callable[[Path], object], what: str
) -> None:
    store = store_of({RunRange(1, END)}, tmp_path)
    set_in(store, RunRange(5, 12), 7)
    view = view_of(store, tmp_path)
    version = store["xpp/main"]
    assert read_back(version, tmp_path / "calib") == ()

    damage(view / "5-12.data")

    [difference] = read_back(version, tmp_path / "calib")
    assert what in difference.what


def test_21_hand_edits_foreign_names_and_wrong_groups_are_found_later(
    imported: Calstore, tmp_path: Path
) -> None:
    done(imported("materialize", "xpp/main", "view"))
    view = tmp_path / "view"
    (view / OPAL / "pedestals" / "1-end.data").write_bytes(pedestals_text(3))
    (view / OPAL / "pedestals" / "7-foo.data").write_bytes(b"")
    wrong = view / "iStar::CalibV1/XcsEndstation.0:iStar.1/pedestals"
    write_tree(wrong, {"1-end.data": pedestals_text()})

    outcome = imported("status", "view")

    assert outcome.code == 1
    assert f"modified  {OPAL}/pedestals/1-end.data" in outcome.out
    assert f"added     {OPAL}/pedestals/7-foo.data" in outcome.out
    assert f"added     {wrong.relative_to(view)}/1-end.data" in outcome.out


@given(sets_of_ranges.filter(bool))
def test_22_where_a_run_falls_to_a_default_is_what_no_file_covers(
    folder: Path, found: set[RunRange]
) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as place:
        store = store_of(found, Path(place))

        [detector] = coverage_of(store)

        [pedestals] = [row for row in detector.types if row.name == "pedestals"]
        gaps = {run for run in RUNS for gap in pedestals.gaps if gap.first <= run <= gap.last}
        assert gaps == {run for run in RUNS if by_brute_force(found, run) is None}
        won = {by_brute_force(found, run) for run in [*RUNS, *edges(found)]}
        assert set(pedestals.shadowed) == found - won
        assert "pixel_status" in detector.absent


def coverage_of(store: Store) -> tuple[object, ...]:
    from calstore.repository.coverage import coverage

    return coverage(store["xpp/main"])


def edges(found: set[RunRange]) -> Iterator[int]:
    for runs in found:
        yield from (runs.first - 1, runs.first, runs.last, runs.last + 1)


def test_22_a_gap_and_a_missing_type_are_said_with_what_psana_goes_on_with(
    calstore: Calstore, tmp_path: Path
) -> None:
    zeros = np.zeros((704, 768), np.float32)
    tree = write_tree(
        tmp_path / "in",
        {f"{EPIX}/pedestals/{name}.data": api_text(zeros) for name in ("3-5", "8-end")},
    )
    done(calstore("import", tree, "xpp/main"))

    document = json.loads(done(calstore("coverage", "xpp/main", "--json")).out)

    [detector] = document["detectors"]
    assert detector["absent"]["pixel_status"] == "0 everywhere"
    [pedestals] = detector["types"]
    gaps = [piece["runs"] for piece in pedestals["stretches"] if piece["winner"] is None]
    assert gaps == ["0-2", "6-7"]
    done(calstore("materialize", "xpp/main", "view"))
    if PSANA is not None:
        key = tuple(EPIX.split("/"))
        answers = asked(
            [question(tmp_path / "view", key, "pedestals", run, zeros) for run in (2, 4, 6, 9)]
        )
        assert [answer["path"] is None for answer in answers] == [True, False, True, False]
