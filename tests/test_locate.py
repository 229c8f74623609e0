"""Where the data of a run are, and how one that is still written is waited for."""

from __future__ import annotations

from pathlib import Path

import pytest

from calstore.errors import Conflict, NotFound
from calstore.frames.locate import RunFiles, find_run, latest_run, runs_in, wait_for


def touch(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()


def test_files_of_both_data_acquisitions_are_known_by_their_names(tmp_path: Path) -> None:
    touch(
        tmp_path,
        *("xppn4116-r0137-s000-c000.xtc2", "xppn4116-r0137-s001-c000.xtc2"),
        *("e665-r0138-s00-c00.xtc", "e665-r0138-s01-c00.xtc.inprogress"),
        *("xppx9999-r0140-s000-c000.xtc2", "notes.txt", "xppn4116-r0141.h5"),
    )

    found = runs_in(tmp_path, "xppn4116")

    assert {run: len(files) for run, files in found.items()} == {137: 2, 138: 2}
    assert latest_run([tmp_path, tmp_path / "absent"], "xppn4116") == 138


def test_the_first_place_that_has_the_run_is_taken(tmp_path: Path) -> None:
    offline, fast = tmp_path / "offline", tmp_path / "ffb"
    touch(offline, "xppn4116-r0136-s000-c000.xtc2")
    touch(fast, "xppn4116-r0136-s000-c000.xtc2", "xppn4116-r0137-s000-c000.xtc2")

    both = [find_run([offline, fast], "xppn4116", run).files[0].parent for run in (136, 137)]

    assert both == [offline, fast]
    with pytest.raises(NotFound, match=r"ffb.*calstore config data-dir/xppn4116"):
        find_run([offline, fast], "xppn4116", 138)
    with pytest.raises(NotFound, match="no run of xppx1"):
        latest_run([offline, fast], "xppx1")


class Clock:
    """Seconds that pass when somebody sleeps, and what happens then."""

    def __init__(self, **events: object) -> None:
        self.now, self.events = 0.0, events

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        happens = self.events.get(f"at{self.now:.0f}")
        if happens is not None:
            happens()  # type: ignore[operator]


def waited(folder: Path, clock: Clock, timeout_s: float = 10) -> RunFiles:
    return wait_for(
        lambda: find_run([folder], "xppn4116", 137),
        lambda path: path.suffix != ".xtc2" or path.read_bytes() == b"end",
        timeout_s,
        clock,
        clock.sleep,
    )


def test_a_run_is_waited_for_until_it_is_written_to_its_end(tmp_path: Path) -> None:
    file = tmp_path / "xppn4116-r0137-s000-c000.xtc2"
    clock = Clock(at2=file.touch, at5=lambda: file.write_bytes(b"end"))

    found = waited(tmp_path, clock)

    assert (found.files, clock.now) == ((file,), 5)


def test_a_run_of_lcls1_is_whole_when_its_name_says_so(tmp_path: Path) -> None:
    file = tmp_path / "e665-r0137-s00-c00.xtc"
    growing = tmp_path / "e665-r0137-s00-c00.xtc.inprogress"
    growing.touch()
    clock = Clock(at4=lambda: growing.rename(file))

    assert waited(tmp_path, clock).files == (file,)


def test_patience_ends_with_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no files of run 137"):
        waited(tmp_path, Clock())
    (tmp_path / "xppn4116-r0137-s000-c000.xtc2").touch()
    with pytest.raises(Conflict, match="still being written"):
        waited(tmp_path, Clock())
