"""adopt: whatever was done to a view becomes a version that gives it back, byte for byte."""

from __future__ import annotations

import os
import re
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from backends import backend_at, copied
from builders import set_digest, stamp
from commandline import npy_bytes, pedestals_text, run, snapshot, write_tree
from hypothesis import assume, given
from hypothesis import strategies as st
from os_calls import InterruptedCalls

from calstore.errors import Conflict, Invalid, NotFound
from calstore.formats import psana_text_writer
from calstore.formats.calib_tree import name_remark
from calstore.model.runs import END, RunRange
from calstore.repository.adopt import Adopted, adopt
from calstore.repository.branch import fork
from calstore.repository.import_tree import import_tree
from calstore.repository.materialize import materialize
from calstore.repository.merge import put_contents
from calstore.repository.set_constant import set_constant
from calstore.repository.store import Store
from calstore.store import logs, marker
from calstore.store.memory import MemoryBackend
from calstore.views.resolve import Timeline
from calstore.views.selection import Selection
from calstore.views.state import status
from calstore.views.tree import Tree

MAIN = "xpp/main"
OPAL = "Camera::CalibV1/XppEndstation.0:Opal1000.1"
ZYLA = "Camera::CalibV1/XppEndstation.0:Zyla.1"
OPAL_KEY = ("Camera::CalibV1", "XppEndstation.0:Opal1000.1")
STORE_ID = "0" * 32
ONES = np.ones((3, 4), np.float32)
GEOMETRY = b"# a geometry\nIP 0 CAMERA 0  0 0 0  0 0 0  0 0 0\n"

IMPORTED = {
    f"{OPAL}/pedestals/1-end.data": pedestals_text(1),
    f"{OPAL}/pedestals/005-9.data": pedestals_text(2),
    f"{OPAL}/pedestals/HISTORY": b"file:1-end.data  copy_of:a  exp:xpp  run:0001\n",
    f"{OPAL}/pixel_rms/1-end.data": pedestals_text(3),
    f"{OPAL}/geometry/0-end.data": GEOMETRY,
    f"{ZYLA}/pedestals/0-end.npy": npy_bytes(ONES),
    f"{ZYLA}/pedestals/HISTORY": b"no line end",
    "notes.txt": b"by hand\n",
}


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> MemoryBackend:
    """A store with imported text and ``.npy``, and with arrays that a view renders."""
    backend = MemoryBackend()
    marker.create(backend, STORE_ID)
    store = Store(backend, STORE_ID)
    tree = write_tree(tmp_path_factory.mktemp("origin") / "calib", IMPORTED)
    import_tree(store, tree, MAIN, stamp())
    set_constant(store, MAIN, "Opal", "pedestals", RunRange(10, 20), ONES * 7, stamp("a dark"))
    status_word = np.zeros((3, 4), np.uint16)
    set_constant(store, MAIN, "Opal", "pixel_status", RunRange(0, END), status_word, stamp())
    set_constant(store, MAIN, "Zyla", "pixel_rms", RunRange(3, END), ONES * 2, stamp("é\nü"))
    return backend


@pytest.fixture
def store(origin: MemoryBackend, kept_place: str) -> Store:
    return Store(copied(origin, backend_at(kept_place)), STORE_ID)


@pytest.fixture
def folder(memory_path: Path) -> Iterator[Path]:
    """An empty folder in memory, which goes after the test."""
    with tempfile.TemporaryDirectory(dir=memory_path) as name:
        yield Path(name)


@pytest.fixture
def view(store: Store, folder: Path) -> Path:
    materialize(store, store[MAIN], folder / "calib")
    return folder / "calib"


def files_of(view: Path) -> dict[str, bytes]:
    """What readers find in a view: links are followed, as psana follows them."""
    found = {}
    for inner, _, names in os.walk(view, followlinks=True):
        for name in names:
            path = Path(inner) / name
            if path.is_file() and not name.startswith(".calstore-view"):
                found[str(path.relative_to(view))] = path.read_bytes()
    return found


def fresh(store: Store, ref: str, folder: Path, **how: Any) -> dict[str, bytes]:
    """The files of a new view of a ref."""
    dest = Path(tempfile.mkdtemp(dir=folder)) / "fresh"
    materialize(store, store[ref], dest, **how)
    return files_of(dest)


def but_for_history(files: dict[str, bytes]) -> dict[str, bytes]:
    """In a directory that is there a HISTORY only grows."""
    return {path: data for path, data in files.items() if not path.endswith("HISTORY")}


def write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


# Edits, as people and other tools make them.

Edit = Callable[[Path], None]
"""Changes something below a view, if it can be done there."""

ARRAYS = st.sampled_from(
    [npy_bytes(ONES), npy_bytes(np.asfortranarray(np.arange(12.0).reshape(3, 4)))]
)
CONTENTS = st.one_of(
    ARRAYS,
    st.integers(0, 3).map(pedestals_text),
    st.sampled_from(
        [
            b"",
            b"# header only\n",
            b"1 2 3\n4 5\n",
            b"nan 1\n",
            GEOMETRY,
            psana_text_writer.write(np.ones((3, 4), np.uint16), type_name="pixel_status"),
            b"\x89HDF\r\n\x1a\nrest",
        ]
    ),
    st.binary(max_size=20),
)
FOLDERS = [
    f"{OPAL}/pedestals",
    f"{OPAL}/pixel_status",
    f"{OPAL}/pixel_mask",
    f"{ZYLA}/pixel_rms",
    "Camera::CalibV1/XppGon.0:Opal1000.7/pedestals",
    "Örtlich::CalibV1/a b/unknown type",
    "",
    "deep/er/than/any/constant",
    OPAL,
]
NAMES = [
    "0-end.data",
    "5-9.data",
    "05-09.data",
    "9999-9999.data",
    "10000-end.data",
    "7-foo.data",
    "10-5.data",
    "12.data",
    ".data",
    "5-end.data.tmp",
    "5-end.data-2024-01-01T00:00:00",
    "HISTORY",
    "ünï cödé",
    "e\N{COMBINING ACUTE ACCENT}",
    "line\nend",
    "-rf",
    "x" * 255,
]
ARRAY_NAMES = ["0-end.npy", "5-9.npy", "005-9.npy", "7-foo.npy", "5-end.npy"]


def change(number: int, data: bytes) -> Edit:
    def edit(view: Path) -> None:
        path = _nth(view, number)
        if path is not None:
            path.write_bytes(data)

    return edit


def delete(number: int) -> Edit:
    def edit(view: Path) -> None:
        path = _nth(view, number)
        if path is not None:
            path.unlink()

    return edit


def add(inner: str, name: str, data: bytes) -> Edit:
    def edit(view: Path) -> None:
        path = view / inner / name
        if not path.is_dir() and not any(parent.is_file() for parent in path.parents):
            write(path, data)

    return edit


def rename(number: int, name: str) -> Edit:
    def edit(view: Path) -> None:
        path = _nth(view, number)
        if path is not None and not path.with_name(name).is_dir():
            path.rename(path.with_name(name))

    return edit


def duplicate(number: int, inner: str, name: str) -> Edit:
    def edit(view: Path) -> None:
        path = _nth(view, number)
        if path is not None:
            add(inner, name, path.read_bytes())(view)

    return edit


def note(inner: str, line: bytes) -> Edit:
    def edit(view: Path) -> None:
        history = view / inner / "HISTORY"
        before = history.read_bytes() if history.is_file() else b""
        add(inner, "HISTORY", before + line)(view)

    return edit


def lose_a_line(number: int) -> Edit:
    def edit(view: Path) -> None:
        histories = sorted(view.rglob("HISTORY"))
        if histories:
            path = histories[number % len(histories)]
            path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[1:]))

    return edit


def touch(number: int) -> Edit:
    def edit(view: Path) -> None:
        path = _nth(view, number)
        if path is not None:
            os.utime(path)

    return edit


def make_folder(inner: str) -> Edit:
    def edit(view: Path) -> None:
        path = view / inner
        if not any(parent.is_file() for parent in (path, *path.parents)):
            path.mkdir(parents=True, exist_ok=True)

    return edit


def _nth(view: Path, number: int) -> Path | None:
    paths = sorted(files_of(view))
    return view / paths[number % len(paths)] if paths else None


def edits(folders: list[str] = FOLDERS) -> st.SearchStrategy[list[Edit]]:
    """Some edits in some folders."""
    numbers = st.integers(0, 30)
    inner, name = st.sampled_from(folders), st.sampled_from(NAMES + ARRAY_NAMES)
    lines = st.sampled_from([b"file:5-9.data  user:calibman\n", b"no end", b"\n", b"\xff\xfe\n"])
    one = st.one_of(
        st.builds(change, numbers, CONTENTS),
        st.builds(add, inner, st.sampled_from(ARRAY_NAMES), ARRAYS),
        st.builds(add, inner, name, CONTENTS),
        st.builds(delete, numbers),
        st.builds(rename, numbers, name),
        st.builds(duplicate, numbers, inner, name),
        st.builds(note, inner, lines),
        st.builds(lose_a_line, numbers),
        st.builds(touch, numbers),
        st.builds(make_folder, inner),
    )
    return st.lists(one, max_size=4)


def check_adopted(store: Store, view: Path, ref: str, folder: Path, **how: Any) -> Adopted:
    """Adopt a view; a fresh one is the same, and there is nothing more to adopt."""
    before = snapshot(view)

    adopted = adopt(store, view, ref, stamp())
    again = adopt(store, view, ref, stamp())

    assert fresh(store, ref, folder, **how) == files_of(view)
    assert not again.changed
    if adopted.renewed:
        assert status(view).is_clean
        assert status(view).foreign == ()
        assert status(view).receipt.parts[0].version == adopted.record.name
    receipts = (".calstore-view.json", ".calstore-view.journal")
    after = snapshot(view)
    assert {path for path in {*before, *after} if before.get(path) != after.get(path)} <= {
        *receipts
    }
    return adopted


@given(st.lists(edits(), min_size=1, max_size=3))
def test_whatever_was_edited_is_adopted_and_comes_out_the_same(
    origin: MemoryBackend, memory_path: Path, rounds: list[list[Edit]]
) -> None:
    store = Store(copied(origin), STORE_ID)
    with tempfile.TemporaryDirectory(dir=memory_path) as name:
        view = Path(name) / "calib"
        materialize(store, store[MAIN], view)

        for edited in rounds:
            for edit in edited:
                edit(view)
            adopted = check_adopted(store, view, MAIN, Path(name))

            assert adopted.renewed or not (adopted.changed or adopted.paths)


@given(st.lists(edits(), min_size=1, max_size=2))
def test_edits_of_a_view_of_arrays_come_out_the_same(
    origin: MemoryBackend, memory_path: Path, rounds: list[list[Edit]]
) -> None:
    store = Store(copied(origin), STORE_ID)
    with tempfile.TemporaryDirectory(dir=memory_path) as name:
        view = Path(name) / "calib"
        materialize(store, store[MAIN], view, layout="npy")

        for edited in rounds:
            for edit in edited:
                edit(view)
            check_adopted_or_said(store, view, Path(name))


def check_adopted_or_said(store: Store, view: Path, folder: Path) -> None:
    """As `check_adopted`, but for text of arrays, which comes out as ``.npy``, and is named."""
    adopted = adopt(store, view, MAIN, stamp())
    again = adopt(store, view, MAIN, stamp())

    assert not again.changed
    made, there = fresh(store, MAIN, folder, layout="npy"), files_of(view)
    renamed = {path: re.sub(r"data$", "npy", path) for path in there.keys() - made.keys()}
    assert {path: made[path] for path in made.keys() - {*renamed.values()}} == {
        path: there[path] for path in there.keys() - renamed.keys()
    }
    assert made.keys() - there.keys() <= {*renamed.values()}
    said = {problem.path for problem in adopted.problems if "comes out as" in str(problem)}
    assert renamed.keys() <= said
    assert adopted.renewed == (not renamed and (adopted.changed or bool(adopted.paths)))
    assert status(view).is_clean or renamed


OF_OPAL = [each for each in FOLDERS if each.startswith(OPAL)]


@given(st.sampled_from(["pedestals", None]), edits(OF_OPAL), edits(OF_OPAL))
def test_edits_of_a_part_change_just_that_of_the_version(
    origin: MemoryBackend,
    memory_path: Path,
    type_name: str | None,
    first: list[Edit],
    second: list[Edit],
) -> None:
    store = Store(copied(origin), STORE_ID)
    with tempfile.TemporaryDirectory(dir=memory_path) as name:
        view, whole = Path(name) / "calib", fresh(store, MAIN, Path(name))
        materialize(store, store[MAIN], view, selection=Selection(OPAL_KEY, type_name))
        inside = files_of(view)
        others = {path: data for path, data in whole.items() if path not in inside}

        for edited in (first, second):
            for edit in edited:
                edit(view)
            for path in others.keys() & files_of(view).keys():
                (view / path).unlink()  # it would be refused
            adopted = adopt(store, view, MAIN, stamp())

            assert fresh(store, MAIN, Path(name)) == {**others, **files_of(view)}
            assert not adopt(store, view, MAIN, stamp()).changed
            assert status(view).is_clean or not adopted.renewed


@given(edits(OF_OPAL), edits(OF_OPAL))
def test_edits_of_what_one_run_gets_are_what_it_gets(
    origin: MemoryBackend, memory_path: Path, first: list[Edit], second: list[Edit]
) -> None:
    store = Store(copied(origin), STORE_ID)
    with tempfile.TemporaryDirectory(dir=memory_path) as name:
        view, run_number = Path(name) / "calib", 12
        materialize(store, store[MAIN], view, selection=Selection(run=run_number))

        for edited in (first, second):
            for edit in edited:
                edit(view)
            try:
                adopt(store, view, MAIN, stamp())
            except Conflict:
                assume(False)  # the version has something there, which the view was made without

            whole = Path(tempfile.mkdtemp(dir=name)) / "whole"
            materialize(store, store[MAIN], whole)
            for folder in folders_of_constants(view):
                assert gotten(whole, folder, run_number) == gotten(view, folder, run_number), folder
            assert not adopt(store, view, MAIN, stamp()).changed


def folders_of_constants(view: Path) -> set[str]:
    return {path.rpartition("/")[0] for path in files_of(view) if path.count("/") == 3}


def gotten(view: Path, folder: str, run_number: int) -> bytes | None:
    """The bytes that psana takes for a run."""
    names = (view / folder).iterdir() if (view / folder).is_dir() else ()
    ranges = {}
    for path in sorted(names, key=lambda path: (len(path.name), path.name), reverse=True):
        if path.suffix == ".data" and name_remark(path.name) is None:
            ranges[RunRange.parse(path.stem)] = path
    winner = Timeline(ranges).at(run_number)
    return None if winner is None else ranges[winner].read_bytes()


@pytest.mark.parametrize("how", [{"run": 12}, {"detector": OPAL_KEY, "type_name": "pedestals"}])
def test_what_the_view_was_made_without_is_not_overwritten(
    how: dict[str, Any], store: Store, folder: Path
) -> None:
    view = folder / "calib"
    materialize(store, store[MAIN], view, selection=Selection(**how))
    write(view / ZYLA / "pedestals" / "0-end.data", pedestals_text(9))
    write(view / "notes.txt", b"others\n")
    before, head = snapshot(view), set_digest(store, MAIN)

    with pytest.raises(Conflict, match=r"notes\.txt"):
        adopt(store, view, MAIN, stamp())

    assert (snapshot(view), set_digest(store, MAIN)) == (before, head)


# The ref has moved on.


def test_what_others_committed_meanwhile_is_kept(store: Store, view: Path, folder: Path) -> None:
    (view / OPAL / "pixel_rms" / "1-end.data").write_bytes(pedestals_text(50))
    write(view / OPAL / "pedestals" / "30-end.data", pedestals_text(51))
    set_constant(store, MAIN, "Zyla", "pedestals", RunRange(5, 6), ONES * 9, stamp())
    theirs = fresh(store, MAIN, folder)

    adopted = adopt(store, view, MAIN, stamp())

    assert adopted.record.name == f"{MAIN}@6"
    assert not adopted.renewed
    assert fresh(store, MAIN, folder) == {
        **theirs,
        f"{OPAL}/pixel_rms/1-end.data": pedestals_text(50),
        f"{OPAL}/pedestals/30-end.data": pedestals_text(51),
    }
    materialize(store, store[MAIN], view)
    assert files_of(view) == fresh(store, MAIN, folder)
    assert status(view).is_clean


def test_a_deployment_beside_a_constant_that_others_set_conflicts_with_nothing(
    store: Store, view: Path, folder: Path
) -> None:
    pedestals = view / OPAL / "pedestals"
    write(pedestals / "30-40.data", pedestals_text(51))
    with (pedestals / "HISTORY").open("ab") as history:
        history.write(b"file:30-40.data  user:calibman\n")
    set_constant(store, MAIN, "Opal", "pedestals", RunRange(15, 17), ONES * 9, stamp())

    adopt(store, view, MAIN, stamp())

    made = fresh(store, MAIN, folder)
    assert made[f"{OPAL}/pedestals/30-40.data"] == pedestals_text(51)
    assert made[f"{OPAL}/pedestals/10-20.data"] == (pedestals / "10-20.data").read_bytes()
    lines = made[f"{OPAL}/pedestals/HISTORY"].decode().splitlines()
    assert [line.split()[0].removeprefix("file:") for line in lines] == [
        "1-end.data",
        "10-20.data",
        "30-40.data",
        "15-17.data",
    ]


def test_what_is_edited_after_an_adopt_does_not_conflict_with_it(
    store: Store, view: Path, folder: Path
) -> None:
    edited = view / OPAL / "pixel_rms" / "1-end.data"
    set_constant(store, MAIN, "Zyla", "pedestals", RunRange(5, 6), ONES * 9, stamp())
    for number in (50, 51):
        edited.write_bytes(pedestals_text(number))
        write(view / OPAL / "pixel_rms" / "notes", b"%d" % number)

        adopt(store, view, MAIN, stamp())

        assert fresh(store, MAIN, folder)[f"{OPAL}/pixel_rms/1-end.data"] == pedestals_text(number)
    assert adopt(store, view, MAIN, stamp()).record.number == 7
    adopt(store, view, "xpp/other", stamp())
    assert fresh(store, "xpp/other", folder) == files_of(view)


def test_where_both_changed_the_same_runs_nothing_is_done(
    store: Store, view: Path, folder: Path
) -> None:
    (view / OPAL / "pixel_rms" / "1-end.data").write_bytes(pedestals_text(50))
    set_constant(store, MAIN, "Opal", "pixel_rms", RunRange(5, 6), ONES * 9, stamp())
    before, head = snapshot(view), set_digest(store, MAIN)

    with pytest.raises(Conflict, match=r"Opal1000\.1 pixel_rms 5-6"):
        adopt(store, view, MAIN, stamp())

    assert snapshot(view) == before
    assert set_digest(store, MAIN) == head
    assert adopt(store, view, "xpp/users/wilson/mine", stamp()).changed
    assert fresh(store, "xpp/users/wilson/mine", folder) == files_of(view)


def test_a_new_ref_holds_the_view_and_knows_where_it_came_from(
    store: Store, view: Path, folder: Path
) -> None:
    write(view / OPAL / "pedestals" / "30-end.data", pedestals_text(51))

    adopted = adopt(store, view, "xpp/users/wilson/mine", stamp("a try"))

    assert adopted.renewed
    assert fresh(store, "xpp/users/wilson/mine", folder) == files_of(view)
    assert [parent.log for parent in adopted.record.parents] == [f"refs/{MAIN}"]
    assert status(view).receipt.versions == "xpp/users/wilson/mine@1"
    assert set_digest(store, MAIN) == set_digest(store, f"{MAIN}")
    assert logs.head(store.backend, f"refs/{MAIN}").record.number == 4


def test_an_untouched_view_adds_no_record(store: Store, view: Path) -> None:
    before = snapshot(view)

    adopted = adopt(store, view, MAIN, stamp())

    assert (adopted.changed, adopted.paths, adopted.record.number) == (False, (), 4)
    assert snapshot(view) == before


def test_what_an_import_has_taken_in_already_only_renews_the_view(
    store: Store, view: Path, tmp_path: Path
) -> None:
    write(view / OPAL / "pedestals" / "30-end.data", pedestals_text(51))
    adopt(store, view, "xpp/users/wilson/mine", stamp())
    materialize(store, store["xpp/users/wilson/mine"], tmp_path / "other")
    materialize(store, store[MAIN], tmp_path / "other2")
    write(tmp_path / "other2" / OPAL / "pedestals" / "30-end.data", pedestals_text(51))

    adopted = adopt(store, tmp_path / "other2", "xpp/users/wilson/mine", stamp())

    assert not adopted.changed
    assert adopted.renewed
    assert status(tmp_path / "other2").is_clean


# An update that was broken off.


class Killed(BaseException):
    """As a kill: nothing tidies up after it but what must."""


def killed_update(store: Store, view: Path, version: str, nth: int) -> bool:
    """Update a view, and die at the n-th file that gets its name; whether it came to that."""

    def die() -> None:
        raise Killed

    calls = InterruptedCalls(nth, die, "after", ("rename", "link", "unlink"))
    with pytest.MonkeyPatch.context() as patch:
        calls.install(patch.setattr)
        try:
            materialize(store, store[version], view)
        except Killed:
            return True
    return False


def test_an_edit_of_a_half_updated_view_is_adopted_into_what_it_would_have_become(
    store: Store, folder: Path
) -> None:
    other = write_tree(folder / "other", {**IMPORTED, f"{OPAL}/pixel_rms/7-8.data": b"1 2\n3 4\n"})
    (other / OPAL / "pedestals" / "1-end.data").write_bytes(pedestals_text(60))
    (other / "notes.txt").unlink()
    import_tree(store, other, MAIN, stamp())
    edited = f"{OPAL}/geometry/0-end.data"

    for nth in range(1, 100):
        view = folder / f"calib-{nth}"
        materialize(store, store[f"{MAIN}@4"], view)
        was_killed = killed_update(store, view, MAIN, nth)
        (view / edited).write_bytes(b"# edited %d\n" % nth)

        adopt(store, shutil.copytree(view, folder / "copy"), f"xpp/mixed-{nth}", stamp())
        fork(store, f"{MAIN}@5", f"xpp/main-{nth}", stamp())
        adopt(store, view, f"xpp/main-{nth}", stamp())

        assert but_for_history(fresh(store, f"xpp/mixed-{nth}", folder)) == but_for_history(
            files_of(view)
        )
        assert but_for_history(fresh(store, f"xpp/main-{nth}", folder)) == but_for_history(
            {**fresh(store, f"{MAIN}@5", folder), edited: b"# edited %d\n" % nth}
        )
        materialize(store, store[f"xpp/main-{nth}"], view)
        assert but_for_history(files_of(view)) == but_for_history(
            fresh(store, f"xpp/main-{nth}", folder)
        )
        assert status(view).is_clean
        assert status(folder / "copy").is_clean
        shutil.rmtree(folder / "copy")
        if not was_killed:
            break
    assert nth > 8


# What cannot come out byte for byte is said.


def said(adopted: Adopted) -> dict[str, str]:
    return {problem.path: str(problem.remark) for problem in adopted.problems}


def test_a_link_becomes_the_file_that_it_leads_to_and_that_is_said(
    store: Store, view: Path, folder: Path
) -> None:
    write(folder / "elsewhere" / "inner" / "file", b"abc\n")
    (folder / "elsewhere" / "better.data").write_bytes(pedestals_text(70))
    (view / OPAL / "pixel_rms" / "1-end.data").unlink()
    (view / OPAL / "pixel_rms" / "1-end.data").symlink_to(folder / "elsewhere" / "better.data")
    (view / OPAL / "pixel_rms" / "9-end.data").symlink_to("1-end.data")
    (view / "linked").symlink_to(folder / "elsewhere")

    adopted = check_adopted(store, view, MAIN, folder)

    assert {path for path, remark in said(adopted).items() if "not that it is one" in remark} == {
        f"{OPAL}/pixel_rms/1-end.data",
        f"{OPAL}/pixel_rms/9-end.data",
        "linked",
    }
    assert files_of(view)["linked/inner/file"] == b"abc\n"


def test_what_has_no_bytes_to_keep_is_said(store: Store, view: Path, folder: Path) -> None:
    os.mkfifo(view / "pipe")
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(os.path.relpath(view / "socket"))
    (view / OPAL / "pedestals" / "40-end.data").symlink_to("nowhere")
    (view / OPAL / "pedestals" / "50-end.data").mkdir()
    (view / "loop").symlink_to(".")
    Path(os.fsdecode(os.fsencode(view) + b"/\xff.txt")).write_bytes(b"latin")
    write(view / "pedestal_workdir" / "x", b"x")
    before = fresh(store, MAIN, folder)

    adopted = adopt(store, view, MAIN, stamp())
    listening.close()

    assert {"pipe", "socket", "loop", "\udcff.txt"} <= said(adopted).keys()
    assert "psana chooses it" in said(adopted)[f"{OPAL}/pedestals/40-end.data"]
    assert "psana chooses it" in said(adopted)[f"{OPAL}/pedestals/50-end.data"]
    assert adopted.left_out == ("pedestal_workdir",)
    assert fresh(store, MAIN, folder) == before


def test_a_store_inside_a_view_is_left_out_and_named(store: Store, view: Path) -> None:
    write(view / "nested" / "calstore.json", b"{}")

    assert adopt(store, view, MAIN, stamp()).left_out == ("nested",)


# What adopt needs.


def test_adopt_needs_a_view_and_its_store(store: Store, view: Path, tmp_path: Path) -> None:
    other = Store(MemoryBackend(), "1" * 32)
    materialize(store, store[MAIN], tmp_path / "version", layout="version")

    with pytest.raises(NotFound, match="no receipt"):
        adopt(store, tmp_path, MAIN, stamp())
    with pytest.raises(NotFound, match="there is no directory"):
        adopt(store, tmp_path / "nowhere", MAIN, stamp())
    with pytest.raises(NotFound, match="is no directory"):
        adopt(store, view / "notes.txt", MAIN, stamp())
    with pytest.raises(NotFound, match="another store"):
        adopt(other, view, MAIN, stamp())
    with pytest.raises(Invalid, match="no groups"):
        adopt(store, tmp_path / "version", MAIN, stamp())


def test_adopt_waits_for_no_update(store: Store, view: Path) -> None:
    write(view / "new", b"new")
    with Tree(view) as tree:
        tree.lock()

        with pytest.raises(Conflict, match="another calstore"):
            adopt(store, view, MAIN, stamp())

    assert adopt(store, view, MAIN, stamp()).changed


def test_a_file_edited_while_it_is_adopted_is_not_taken_for_adopted(
    store: Store, view: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edited = view / "notes.txt"
    edited.write_bytes(b"adopted\n")
    monkeypatch.setattr(
        "calstore.repository.adopt.put_contents",
        lambda *arguments: (edited.write_bytes(b"edited!\n"), put_contents(*arguments))[1],
    )

    adopted = adopt(store, view, MAIN, stamp())

    assert adopted.changed
    assert status(view).modified == ("notes.txt",)
    assert store[MAIN].manifest.files["notes.txt"].size == len(b"adopted\n")


def test_a_view_for_ami_is_adopted_with_its_links(store: Store, folder: Path) -> None:
    view = folder / "calib"
    ami = {"selection": Selection(OPAL_KEY, "pedestals"), "for_ami": True}
    materialize(store, store[MAIN], view, **ami)
    assert (view / "XppEndstation.0:Opal1000.1").is_symlink()
    write(view / OPAL / "pedestals" / "40-50.data", pedestals_text(51))
    before = files_of(view)

    adopted = adopt(store, view, MAIN, stamp())

    assert adopted.renewed
    assert adopted.paths == (f"{OPAL}/pedestals/40-50.data",)
    assert status(view).is_clean
    change = materialize(store, store[MAIN], view, **ami)
    assert (change.written, change.removed) == ((), ())
    assert files_of(view) == before


def test_edits_of_a_generation_are_adopted_and_then_in_nobodys_way(
    store: Store, folder: Path
) -> None:
    view = folder / "calib"
    materialize(store, store[MAIN], view, generations=2)
    for place in (view.resolve(), view.resolve() / OPAL / "pedestals"):
        place.chmod(0o755)
    write(view / OPAL / "pedestals" / "30-end.data", pedestals_text(51))
    edited = files_of(view)

    adopt(store, view, MAIN, stamp())
    materialize(store, store[MAIN], view, generations=2)

    assert files_of(view) == edited
    assert view.resolve().name == "00000002"
    assert status(view).is_clean


def test_by_the_command_line(tmp_path: Path) -> None:
    write_tree(tmp_path / "tree", IMPORTED)
    for words in (["init"], ["import", "tree", MAIN], ["materialize", MAIN, "calib"]):
        assert run(*words, folder=tmp_path).code == 0
    write(tmp_path / "calib" / OPAL / "pedestals" / "7-foo.data", b"1\n")
    write(tmp_path / "calib" / "x_workdir" / "y", b"1\n")

    adopted = run("adopt", "calib", MAIN, "-m", "by hand", folder=tmp_path)
    again = run("adopt", "calib", MAIN, folder=tmp_path)
    clean = run("status", "calib", folder=tmp_path)

    assert adopted.code == 0
    assert adopted.out.splitlines()[0] == f"    {OPAL}/pedestals/7-foo.data"
    assert adopted.out.splitlines()[1].startswith(f"{MAIN}@2  ")
    assert "7-foo.data: the name 7-foo.data ends in neither" in adopted.err
    assert "left out by rule: x_workdir" in adopted.err
    assert again.out.startswith(f"{MAIN}@2  ")
    assert "unchanged" in again.out
    assert (clean.code, clean.out.split()[1]) == (0, f"{MAIN}@2")
