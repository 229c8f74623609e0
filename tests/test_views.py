"""Views of a directory that is there: what is written, what is kept, what stops an update."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import OPAL, ZYLA, small_files, stamp, write_files
from commandline import pedestals_text, regular_files, run, snapshot

from calstore.errors import Conflict, Invalid, NotFound
from calstore.model.runs import RunRange
from calstore.repository.import_tree import import_tree
from calstore.repository.materialize import materialize
from calstore.repository.set_constant import set_constant
from calstore.repository.store import Store, init_store
from calstore.views import histories
from calstore.views.plan import Layout
from calstore.views.selection import Selection
from calstore.views.state import status
from calstore.views.tree import Tree

MAIN = "cxis0113/main"
DETECTOR = ("Camera::CalibV1", "CxiDg1.0:Opal1000.0")
PEDESTALS = f"{OPAL}/pedestals/0-end.data"


@pytest.fixture
def files() -> dict[str, bytes]:
    return small_files()


@pytest.fixture
def store(tmp_path: Path, files: dict[str, bytes], store_place: str) -> Store:
    store = init_store(store_place, "0" * 32)
    import_tree(store, write_files(tmp_path / "tree", files), MAIN, stamp())
    return store


@pytest.fixture
def live(tmp_path: Path, store: Store) -> Path:
    """A calib directory that calstore made, in the state of @1."""
    materialize(store, store[MAIN], tmp_path / "calib")
    return tmp_path / "calib"


def with_new_status(store: Store) -> None:
    values = np.ones((3, 4), np.uint16)
    set_constant(
        store, MAIN, "Opal1000.0", "pixel_status", RunRange(5, 20), values, stamp("hot row")
    )


def inodes(root: Path) -> dict[str, int]:
    return {
        str(path.relative_to(root)): path.stat().st_ino
        for path in root.rglob("*")
        if path.is_file() and not path.name.startswith(".calstore")
    }


def test_one_changed_constant_writes_its_own_bytes_and_no_others(store: Store, live: Path) -> None:
    with_new_status(store)
    before = inodes(live)

    change = materialize(store, store[MAIN], live)

    new = {f"{OPAL}/pixel_status/5-20.data", f"{OPAL}/pixel_status/HISTORY"}
    assert set(change.written) == new
    assert {path: number for path, number in inodes(live).items() if path not in new} == before


def test_an_unchanged_view_is_not_even_planned_again(
    store: Store, live: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*arguments: object) -> None:
        raise AssertionError("planned")

    monkeypatch.setattr("calstore.repository.materialize.plan", never)

    change = materialize(store, store[MAIN], live)

    assert (change.written, change.removed, change.unchanged) == ((), (), 5)


def test_a_directory_of_others_is_updated_beside_their_files(
    store: Store, tmp_path: Path, files: dict[str, bytes]
) -> None:
    theirs = {
        "pedestal_workdir/notes": b"calibman\n",
        f"{OPAL}/pedestals/5-9.data-2024-01-01T00:00:00": b"backup\n",
        PEDESTALS: files[PEDESTALS],  # the very same, so it is taken for ours
    }
    live = write_files(tmp_path / "theirs", theirs)
    inode = (live / PEDESTALS).stat().st_ino

    change = materialize(store, store[MAIN], live)

    assert regular_files(live) == {**theirs, **files}
    assert (live / PEDESTALS).stat().st_ino == inode
    assert PEDESTALS not in change.written
    assert status(live).is_clean


def test_a_hand_edit_stops_an_update_before_anything_is_touched(store: Store, live: Path) -> None:
    with_new_status(store)
    (live / PEDESTALS).write_bytes(b"1 2 3\n")
    before = snapshot(live)

    with pytest.raises(Conflict, match=r"pedestals/0-end\.data.*calstore adopt.*--discard"):
        materialize(store, store[MAIN], live)

    assert snapshot(live) == before


def test_a_deleted_file_stops_an_update_and_discard_brings_it_back(
    store: Store, live: Path, files: dict[str, bytes]
) -> None:
    (live / PEDESTALS).unlink()

    with pytest.raises(Conflict, match=r"0-end\.data \(deleted\)"):
        materialize(store, store[MAIN], live)
    materialize(store, store[MAIN], live, discard=True)

    assert regular_files(live) == files


def test_discard_overwrites_edits_and_leaves_foreign_files(
    store: Store, live: Path, files: dict[str, bytes]
) -> None:
    (live / PEDESTALS).write_bytes(b"1 2 3\n")
    (live / f"{OPAL}/pedestals/notes").write_bytes(b"theirs")

    materialize(store, store[MAIN], live, discard=True)

    assert regular_files(live) == {**files, f"{OPAL}/pedestals/notes": b"theirs"}


def test_lines_that_others_append_to_history_stay(store: Store, live: Path) -> None:
    with_new_status(store)
    history = live / OPAL / "pixel_status" / "HISTORY"
    history.write_bytes(b"file:9-end.data  cmd:deploy  user:calibman\n")

    materialize(store, store[MAIN], live)
    materialize(store, store[MAIN], live)

    lines = history.read_text().splitlines()
    assert lines[0] == "file:9-end.data  cmd:deploy  user:calibman"
    assert [line[:15] for line in lines[1:]] == ["file:5-20.data "]


def test_going_back_takes_constants_away_and_leaves_the_history(
    store: Store, live: Path, files: dict[str, bytes]
) -> None:
    with_new_status(store)
    materialize(store, store[MAIN], live)

    change = materialize(store, store[f"{MAIN}@1"], live)

    assert change.removed == (f"{OPAL}/pixel_status/5-20.data",)
    history = regular_files(live)[f"{OPAL}/pixel_status/HISTORY"]
    assert history.startswith(b"file:5-20.data ")
    assert regular_files(live) == {**files, f"{OPAL}/pixel_status/HISTORY": history}
    assert status(live).is_clean
    assert status(live).foreign == ()


def test_a_shared_directory_keeps_modes_and_groups(store: Store, live: Path) -> None:
    folder = live / OPAL / "pixel_status"
    (folder / "0-end.data").chmod(0o664)
    folder.chmod(0o2775)
    (live / OPAL).chmod(0o2775)
    if os.geteuid() == 0:
        os.chown(folder, 0, 4711)
        os.chown(folder / "0-end.data", 1234, 4711)
    values = np.ones((3, 4), np.uint16)
    before = (folder / "0-end.data").stat()
    set_constant(
        store, MAIN, "Opal1000.0", "pixel_status", RunRange.parse("0-end"), values, stamp()
    )
    set_constant(store, MAIN, "Opal1000.0", "pixel_mask", RunRange(0, 5), values, stamp())
    materialize(store, store[MAIN], live, discard=True)

    after = (folder / "0-end.data").stat()
    assert after.st_ino != before.st_ino
    assert (after.st_mode, after.st_uid, after.st_gid) == (
        before.st_mode,
        before.st_uid,
        before.st_gid,
    )
    assert (folder / "HISTORY").stat().st_gid == folder.stat().st_gid
    assert stat.S_IMODE((live / OPAL / "pixel_mask").stat().st_mode) == 0o2775


@pytest.mark.skipif(sys.platform != "linux", reason="access lists are read as Linux keeps them")
def test_a_replaced_file_keeps_its_access_list(store: Store, live: Path) -> None:
    target = live / PEDESTALS
    # version 2; owner rw, user 65534 r, group r, mask r, others none
    entries = [(1, 6, 2**32 - 1), (2, 4, 65534), (4, 4, 2**32 - 1), (16, 4, 2**32 - 1)]
    entries.append((32, 0, 2**32 - 1))
    acl = (2).to_bytes(4, "little") + b"".join(
        tag.to_bytes(2, "little") + mode.to_bytes(2, "little") + who.to_bytes(4, "little")
        for tag, mode, who in entries
    )
    try:
        os.setxattr(target, "system.posix_acl_access", acl)
    except OSError:
        pytest.skip("this file system keeps no access lists")
    values = np.full((3, 4), 2600, np.float32)
    set_constant(store, MAIN, "Opal1000.0", "pedestals", RunRange.parse("0-end"), values, stamp())

    materialize(store, store[MAIN], live)

    assert b"2600" in target.read_bytes()
    assert os.getxattr(target, "system.posix_acl_access") == acl


def test_only_one_type_is_updated_and_the_rest_stays(store: Store, live: Path) -> None:
    with_new_status(store)
    values = np.full((3, 4), 2600, np.float32)
    set_constant(store, MAIN, "Opal1000.0", "pedestals", RunRange(7, 9), values, stamp())

    change = materialize(store, store[MAIN], live, selection=Selection(DETECTOR, "pedestals"))

    assert {path.split("/")[2] for path in change.written} == {"pedestals"}
    assert not (live / OPAL / "pixel_status" / "5-20.data").exists()
    state = status(live)
    assert state.is_clean
    assert state.receipt.versions == f"{MAIN}@1, {MAIN}@3 for {OPAL}/pedestals"
    materialize(store, store[MAIN], live)
    assert (live / OPAL / "pixel_status" / "5-20.data").exists()
    assert status(live).receipt.versions == f"{MAIN}@3"


def test_a_view_of_one_run_has_just_what_it_gets(store: Store, tmp_path: Path) -> None:
    with_new_status(store)
    dest = tmp_path / "run7"

    materialize(store, store[MAIN], dest, selection=Selection(run=7))

    assert set(regular_files(dest)) == {
        PEDESTALS,
        f"{OPAL}/pixel_status/5-20.data",
        f"{OPAL}/pixel_status/HISTORY",
        f"{ZYLA}/geometry/0-end.data",
    }


def test_nothing_for_a_run_is_not_found(store: Store, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="nothing for"):
        materialize(
            store, store[MAIN], tmp_path / "x", selection=Selection(DETECTOR, "common_mode")
        )

    assert not (tmp_path / "x").exists()


def test_the_layout_version_has_the_calib_version_in_the_groups_place(
    store: Store, tmp_path: Path, files: dict[str, bytes]
) -> None:
    materialize(store, store[MAIN], tmp_path / "x", layout="version")

    expected = {path.replace("Camera::CalibV1/", "main/"): data for path, data in files.items()}
    assert regular_files(tmp_path / "x") == expected
    assert status(tmp_path / "x").is_clean
    with pytest.raises(Invalid, match="name of a ref"):
        materialize(store, store[str(store[MAIN].digest)], tmp_path / "y", layout="version")


def test_strangers_among_the_constants_are_named(store: Store, live: Path) -> None:
    with_new_status(store)
    (live / OPAL / "pedestals" / "7-end.data").write_bytes(pedestals_text())
    (live / OPAL / "pedestals" / "7-foo.data").write_bytes(b"1\n")

    change = materialize(store, store[MAIN], live)

    assert change.strangers == (f"{OPAL}/pedestals/7-end.data", f"{OPAL}/pedestals/7-foo.data")


def test_status_tells_what_was_modified_added_deleted_and_foreign(store: Store, live: Path) -> None:
    assert status(live).is_clean
    (live / "README").write_bytes(b"changed\n")
    (live / PEDESTALS).unlink()
    write_files(live, {f"{OPAL}/pedestals/9-end.data": b"1 2\n", "notes": b"theirs"})

    state = status(live)

    assert state.modified == ("README",)
    assert state.deleted == (PEDESTALS,)
    assert state.added == (f"{OPAL}/pedestals/9-end.data",)
    assert state.foreign == ("notes",)
    assert (state.unchanged, state.is_clean) == (3, False)


def test_a_file_that_was_only_touched_is_unchanged(store: Store, live: Path) -> None:
    os.utime(live / PEDESTALS)

    assert status(live).is_clean


def test_status_by_the_command_line(store: Store, live: Path, tmp_path: Path) -> None:
    clean = run("status", "calib", folder=tmp_path)
    (live / "README").write_bytes(b"changed\n")
    changed = run("status", "calib", folder=tmp_path)
    no_view = run("status", "tree", folder=tmp_path)
    nothing = run("status", "nowhere", folder=tmp_path)

    assert (clean.code, changed.code, no_view.code, nothing.code) == (0, 1, 3, 3)
    assert clean.out == f"calib  {MAIN}@1  5 files as calstore left them\n"
    assert "modified  README" in changed.out
    assert "calstore import tree REF" in no_view.err


@pytest.fixture
def switched(store: Store, tmp_path: Path) -> Iterator[Path]:
    dest = tmp_path / "switched"
    materialize(store, store[MAIN], dest, generations=2)
    yield dest
    for path in (tmp_path / ".switched.generations").iterdir():
        for folder in (path, *path.rglob("*")):
            if folder.is_dir():
                folder.chmod(0o755)


def test_generations_switch_a_link_and_keep_what_readers_hold(
    store: Store, switched: Path, files: dict[str, bytes]
) -> None:
    held = switched.resolve()
    with_new_status(store)

    materialize(store, store[MAIN], switched, generations=2)

    assert switched.is_symlink()
    assert regular_files(held) == files
    assert (switched / OPAL / "pixel_status" / "5-20.data").exists()
    materialize(store, store[f"{MAIN}@1"], switched, generations=2)
    assert not held.exists()
    assert regular_files(switched.resolve()) == files


def test_an_unchanged_version_makes_no_new_generation(store: Store, switched: Path) -> None:
    before = switched.resolve()

    change = materialize(store, store[MAIN], switched, generations=2)

    assert switched.resolve() == before
    assert change.unchanged == 5


def test_a_generation_may_not_be_written_and_an_edit_stops_the_switch(
    store: Store, switched: Path
) -> None:
    assert stat.S_IMODE(switched.stat().st_mode) & 0o222 == 0
    folder = switched / OPAL / "pedestals"
    folder.chmod(0o755)
    (folder / "9-end.data").write_bytes(b"1\n")
    held = switched.resolve()
    with_new_status(store)

    with pytest.raises(Conflict, match="9-end"):
        materialize(store, store[MAIN], switched, generations=2)
    for name in ("@1", "", "@1"):
        materialize(store, store[MAIN + name], switched, generations=1, discard=True)

    assert (held / OPAL / "pedestals" / "9-end.data").exists(), "somebody's work is kept"


def test_generations_and_plain_views_do_not_mix(store: Store, switched: Path, live: Path) -> None:
    with pytest.raises(Conflict, match="link to generations"):
        materialize(store, store[MAIN], switched)
    with pytest.raises(Conflict, match="not a link"):
        materialize(store, store[MAIN], live, generations=2)


def test_two_updates_at_once_are_one_after_the_other(store: Store, live: Path) -> None:
    with Tree(live) as tree:
        tree.lock()
        with pytest.raises(Conflict, match="another calstore"):
            materialize(store, store[MAIN], live)


def test_folders_that_threads_make_at_once_are_shared_as_the_directory_is(tmp_path: Path) -> None:
    for turn in range(30):
        dest = tmp_path / f"{turn}"
        dest.mkdir()
        dest.chmod(0o2770)

        with Tree(dest) as tree, ThreadPoolExecutor(4) as pool:
            names = [f"{OPAL}/pedestals/{run}-end.data" for run in range(8)]
            list(pool.map(partial(tree.append, data=b"0", make=True), names))

        folders = [path for path in dest.rglob("*") if path.is_dir()]
        assert {stat.S_IMODE(path.stat().st_mode) for path in folders} == {0o2770}


def test_an_empty_directory_that_is_there_stays_what_it_is(store: Store, tmp_path: Path) -> None:
    dest = tmp_path / "made"
    dest.mkdir()
    dest.chmod(0o2770)
    before = dest.stat()

    materialize(store, store[MAIN], dest)

    after = dest.stat()
    assert (after.st_ino, after.st_mode) == (before.st_ino, before.st_mode)
    assert stat.S_IMODE((dest / OPAL / "pedestals").stat().st_mode) == 0o2770
    assert stat.S_IMODE((dest / PEDESTALS).stat().st_mode) == 0o660
    assert status(dest).is_clean


def test_what_cannot_be_made_changes_nothing(
    store: Store, live: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_new_status(store)
    values = np.full((3, 4), 2600, np.float32)
    set_constant(store, MAIN, "Opal1000.0", "pixel_gain", RunRange(0, 5), values, stamp())
    before = snapshot(live)
    made = []

    def one_only(array: object, **how: object) -> bytes:
        if made:
            raise Invalid("a test says so")
        made.append(array)
        return b"1\n"

    monkeypatch.setattr("calstore.formats.psana_text_writer.write", one_only)

    with pytest.raises(Invalid, match="cannot be made: a test says so"):
        materialize(store, store[MAIN], live)

    assert made
    assert snapshot(live) == before


def test_folders_go_with_the_last_file_if_calstore_made_them(store: Store, live: Path) -> None:
    theirs = live / OPAL / "pixel_mask"
    theirs.mkdir()
    values = np.ones((3, 4), np.uint16)
    for name in ("pixel_mask", "pixel_bkgd"):
        set_constant(store, MAIN, "Opal1000.0", name, RunRange(0, 5), values, stamp())
    materialize(store, store[MAIN], live)
    for path in live.rglob("HISTORY"):
        if b"copy_of:work" not in path.read_bytes():
            path.unlink()

    materialize(store, store[f"{MAIN}@1"], live, discard=True)

    assert theirs.is_dir()
    assert not (live / OPAL / "pixel_bkgd").exists()


def test_an_edit_within_the_tick_of_a_clock_is_seen(store: Store, live: Path) -> None:
    target = live / PEDESTALS
    text, written = target.read_bytes(), target.stat().st_mtime_ns
    target.write_bytes(text.replace(b"2", b"3", 1))
    os.utime(target, ns=(written + 1, written + 1))  # what the clock gave when it was written

    assert status(live).modified == (PEDESTALS,)


def test_a_folder_that_psana_takes_for_a_constant_is_added(store: Store, live: Path) -> None:
    (live / OPAL / "pedestals" / "7-end.data").mkdir()

    assert status(live).added == (f"{OPAL}/pedestals/7-end.data",)
    assert materialize(store, store[MAIN], live).strangers == (f"{OPAL}/pedestals/7-end.data",)


@pytest.mark.parametrize("discard", [True, False])
def test_a_folder_in_the_place_of_a_file_stops_an_update(
    discard: bool, store: Store, live: Path
) -> None:
    with_new_status(store)
    (live / PEDESTALS).unlink()
    (live / PEDESTALS).mkdir()
    before = snapshot(live)

    with pytest.raises(Conflict, match=r"0-end\.data is a folder, in the way of a file"):
        materialize(store, store[MAIN], live, discard=discard)

    assert snapshot(live) == before


def test_a_link_in_the_place_of_a_file_is_told_and_discarded_as_a_link(
    store: Store, live: Path, tmp_path: Path, files: dict[str, bytes]
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(files[PEDESTALS])
    (live / PEDESTALS).unlink()
    (live / PEDESTALS).symlink_to(elsewhere)

    with pytest.raises(Conflict, match=r"0-end\.data \(a link\)"):
        materialize(store, store[MAIN], live)
    materialize(store, store[MAIN], live, discard=True)

    assert not (live / PEDESTALS).is_symlink()
    assert stat.S_IMODE((live / PEDESTALS).stat().st_mode) == 0o644
    assert elsewhere.read_bytes() == files[PEDESTALS]
    assert regular_files(live) == files


@pytest.mark.parametrize("name", ["HISTORY", "0-end.data", "../../../.calstore-view.journal"])
def test_a_pipe_that_nobody_writes_makes_nobody_wait(name: str, store: Store, live: Path) -> None:
    path = live / OPAL / "pedestals" / name
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    with_new_status(store)

    with contextlib.suppress(Conflict, Invalid):
        status(live)
    with contextlib.suppress(Conflict, Invalid):
        materialize(store, store[MAIN], live)


def test_a_history_that_somebody_makes_meanwhile_gets_the_lines_too(
    store: Store, live: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_new_status(store)
    history = live / OPAL / "pixel_status" / "HISTORY"
    real = os.link

    def link(*arguments: Any, **how: Any) -> None:
        real(*arguments, **how)
        history.write_bytes(b"file:9-end.data  cmd:deploy\n")

    with monkeypatch.context() as patch:
        patch.setattr(os, "link", link)
        materialize(store, store[MAIN], live)

    lines = history.read_bytes().splitlines()
    assert [line[:15] for line in lines] == [b"file:9-end.data", b"file:5-20.data "]
    assert status(live).modified == (f"{OPAL}/pixel_status/HISTORY",)


def test_a_line_that_somebody_adds_meanwhile_stays(
    store: Store, live: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = np.full((3, 4), 2600, np.float32)
    set_constant(store, MAIN, "Opal1000.0", "pedestals", RunRange(7, 9), values, stamp())
    history = live / OPAL / "pedestals" / "HISTORY"
    real = histories.growth

    def growth(*arguments: Any) -> tuple[bytes, bytes]:
        known = real(*arguments)
        with history.open("ab") as file:
            file.write(b"file:9-end.data  cmd:deploy\n")
        return known

    with monkeypatch.context() as patch:
        patch.setattr(histories, "growth", growth)
        materialize(store, store[MAIN], live)

    names = [line.split()[0] for line in history.read_bytes().splitlines()]
    assert names == [b"file:0-end.data", b"file:9-end.data", b"file:7-9.data"]
    assert status(live).modified == (f"{OPAL}/pedestals/HISTORY",)


@pytest.mark.parametrize(
    ("selection", "layout", "match"),
    [
        (Selection(run=7), "psana", "serves more runs than 7"),
        (Selection(DETECTOR, run=7), "psana", "serves more runs than 7"),
        (Selection(), "npy", "has the layout psana"),
        (Selection(DETECTOR), "npy", "has the layout psana"),
    ],
)
def test_what_would_take_constants_from_readers_needs_discard(
    selection: Selection, layout: Layout, match: str, store: Store, live: Path
) -> None:
    before = snapshot(live)

    with pytest.raises(Invalid, match=match):
        materialize(store, store[MAIN], live, selection=selection, layout=layout)

    assert snapshot(live) == before
    if selection.detector is None or layout == "psana":
        materialize(store, store[MAIN], live, selection=selection, layout=layout, discard=True)
        assert status(live).is_clean


def test_a_view_of_a_run_becomes_one_of_another(store: Store, tmp_path: Path) -> None:
    with_new_status(store)
    dest = tmp_path / "run"
    materialize(store, store[MAIN], dest, selection=Selection(run=7))

    materialize(store, store[MAIN], dest, selection=Selection(run=30))

    assert sorted(path.name for path in (dest / OPAL / "pixel_status").iterdir()) == [
        "0-end.data",
        "HISTORY",
    ]
    materialize(store, store[MAIN], dest)
    assert status(dest).receipt.versions == f"{MAIN}@2"


def test_a_constant_that_somebody_makes_meanwhile_is_not_overwritten(
    store: Store, live: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_new_status(store)
    theirs = live / OPAL / "pixel_status" / "5-20.data"
    real = os.link

    def link(*arguments: Any, **how: Any) -> None:
        theirs.write_bytes(b"theirs\n")
        real(*arguments, **how)

    with monkeypatch.context() as patch:
        patch.setattr(os, "link", link)
        with pytest.raises(Conflict, match=r"5-20\.data is being written by somebody; run again"):
            materialize(store, store[MAIN], live)
    with pytest.raises(Conflict, match="calstore adopt"):
        materialize(store, store[MAIN], live)

    assert theirs.read_bytes() == b"theirs\n"
    assert not list(live.rglob(".calstore-tmp-*"))


def test_a_part_from_another_store_is_refused(store: Store, live: Path, tmp_path: Path) -> None:
    other = init_store(tmp_path / "other", "1" * 32)
    import_tree(other, tmp_path / "tree", MAIN, stamp())

    with pytest.raises(Invalid, match="made from another store"):
        materialize(other, other[MAIN], live, selection=Selection(DETECTOR, "pedestals"))
    materialize(other, other[MAIN], live)

    assert status(live).receipt.store == "1" * 32


def test_what_killed_runs_left_goes_with_the_next_and_what_others_build_stays(
    store: Store, live: Path, tmp_path: Path
) -> None:
    killed = tmp_path / ".new.calstore-tmp-0123456789ab"
    running = tmp_path / ".new.calstore-tmp-ba9876543210"
    theirs = tmp_path / ".new.calstore-tmp-notours"
    inside = live / OPAL / "pedestals" / ".calstore-tmp-0123456789ab"
    for path in (killed, running, theirs):
        write_files(path, {"G/S/T/0-end.data": b"1\n"})
    inside.write_bytes(b"half")
    with_new_status(store)

    with Tree(running) as tree:
        tree.lock()
        materialize(store, store[MAIN], tmp_path / "new")
        materialize(store, store[MAIN], live)
        assert running.is_dir()
    materialize(store, store[MAIN], tmp_path / "new")

    assert not killed.exists()
    assert not running.exists()
    assert not inside.exists()
    assert theirs.is_dir()


def test_a_generation_that_nobody_ever_saw_is_not_one_of_those_kept(
    store: Store, switched: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = switched.resolve()
    with_new_status(store)

    def fail(*arguments: object) -> None:
        raise OSError(5, "a test says so")

    for _ in range(3):
        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", fail)
            with pytest.raises(Conflict, match="cannot be switched"):
                materialize(store, store[MAIN], switched, generations=2)
        assert switched.resolve() == held
    materialize(store, store[MAIN], switched, generations=2)

    names = sorted(path.name for path in held.parent.iterdir())
    assert names == ["00000001", "00000002"]
    assert held.exists()
    assert switched.resolve().name == "00000002"
