"""calstore runs: what was said of a run is kept, and calstore dark heeds it."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from threading import Barrier, Thread

import h5py
import numpy as np
import pytest
from commandline import Outcome, run, store_of
from object_store import shorten

import calstore
from calstore.model.marks import RunMark
from calstore.model.records import Stamp, Who
from calstore.repository.runs import Told, flag_run, history_of, mark_of, marks_of, tag_run

EPIX = "XppGon.0:Epix100a.1"


@pytest.fixture
def folder(tmp_path: Path, store_place: str) -> Path:
    assert run("init", store_place, folder=tmp_path).code == 0
    (tmp_path / "xtc").mkdir()
    place = str(tmp_path / "xtc")
    assert run("config", "data-dir/xppn4116", place, folder=tmp_path).code == 0
    return tmp_path


def runs(folder: Path, *words: object) -> Outcome:
    return run("runs", *words, folder=folder)


def listed(folder: Path, *words: object) -> list[int]:
    outcome = runs(folder, "list", "xppn4116", "--json", *words)
    assert outcome.code == 0, outcome.err
    return [item["run"] for item in json.loads(outcome.out)["runs"]]


def test_a_dark_is_planned_then_taken(folder: Path) -> None:
    (folder / "xtc" / "e665-r0136-s00-c00.xtc").touch()

    planned = runs(
        folder,
        "tag",
        "xppn4116",
        "--next",
        "--dark",
        "--reason",
        "power-cycled",
        "--valid",
        "12-end",
    )
    before = listed(folder, "--planned")
    (folder / "xtc" / "xppn4116-r0137-s000-c000.xtc2").touch()
    (folder / "xtc" / "xppn9999-r0200-s000-c000.xtc2").touch()

    assert planned.code == 0
    assert "dark, power-cycled; for runs 12-end" in planned.out
    assert (before, listed(folder, "--planned"), listed(folder)) == ([137], [], [137])
    following = runs(folder, "tag", "xppn4116", "--next", "--comment", "x")
    assert "runs/xppn4116/138@1" in following.out


def test_what_is_not_said_again_stays(folder: Path) -> None:
    runs(folder, "tag", "xppn4116", 5, "--dark", "--reason", "temperature", "--detector", "Epix")
    runs(folder, "flag", "xppn4116", 5, "--flawed", "shutter open")
    runs(folder, "tag", "xppn4116", 5, "--comment", "see log")

    mark = mark_of(calstore.open(store_of(folder)), "xppn4116", 5)

    assert mark == RunMark(True, "temperature", ("Epix",), None, "shutter open", "see log")


def test_the_history_of_a_run_is_kept(folder: Path) -> None:
    runs(folder, "tag", "xppn4116", 5, "--dark", "--reason", "too warm, I think")
    runs(folder, "flag", "xppn4116", 5, "--flawed", "shutter open")
    runs(folder, "flag", "xppn4116", 5, "--not-flawed", "-m", "it was shut")
    runs(folder, "flag", "xppn4116", 5, "--not-flawed")

    store = calstore.open(store_of(folder))
    flaws = [record.mark.flawed for record in history_of(store, "xppn4116", 5) if record.mark]
    document = json.loads(runs(folder, "list", "xppn4116", "--history", 5, "--json").out)

    assert flaws == ["", "shutter open", ""]
    assert [item["number"] for item in document["runs"]] == [3, 2, 1]
    assert document["runs"][0]["why"] == "it was shut"
    assert document["runs"][0]["reason_is_known"] is False


def test_filters_are_applied_together(folder: Path) -> None:
    runs(folder, "tag", "xppn4116", 5, "--dark", "--reason", "temperature", "--detector", "Epix")
    runs(folder, "tag", "xppn4116", 12, "--dark", "--reason", "temperature")
    runs(folder, "tag", "xppn4116", 100, "--dark", "--reason", "power-cycled", "--detector", "Jung")
    runs(folder, "flag", "xppn4116", 100, "--flawed", "no beam stop")
    runs(folder, "tag", "xppn4116", 101, "--comment", "light")

    assert listed(folder) == [5, 12, 100, 101]
    assert listed(folder, "--dark") == [5, 12, 100]
    assert listed(folder, "--dark", "--detector", "epix") == [5, 12]
    assert listed(folder, "--reason", "temperature", "--runs", "10-200") == [12]
    assert listed(folder, "--flawed") == [100]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("tag", "xppn4116", 5, "--dark"), 5, "reason"),
        (("tag", "xppn4116", 5, "--reason", "temperature"), 5, "reason"),
        (("tag", "xppn4116"), 5, "--next"),
        (("tag", "xppn4116", 5, "--next", "--comment", "x"), 5, "--next"),
        (("tag", "xppn4117", "--next", "--comment", "x"), 3, "neither is the next"),
        (("tag", "a/b", 5, "--comment", "x"), 5, "no name of an experiment"),
        (("tag", "xppn4116", 5, "--dark", "--reason", "a\nb"), 5, "printable"),
        (("tag", "xppn4116", 5, "--dark", "--reason", "x", "--valid", "9-3"), 5, "9-3"),
        (("flag", "xppn4116", 5), 5, "--flawed WHY"),
        (("flag", "xppn4116", -5, "--flawed", "x"), 2, ""),
        (("list", "xppn4116", "--history", 7), 3, "nobody said anything"),
    ],
)
def test_wrong_words_say_what_to_do_and_change_nothing(
    folder: Path, words: tuple[object, ...], code: int, said: str
) -> None:
    outcome = runs(folder, *words)

    assert outcome.code == code, outcome.err
    assert said in outcome.err
    assert listed(folder) == []


def test_of_writers_at_once_nobody_is_lost() -> None:
    store = calstore.init("memory:", "0" * 32)
    barrier = Barrier(6)

    def write(number: int) -> None:
        who = Who("wilson", 1, "psana101", None)
        stamp = Stamp(who, "2026-11-25T03:00:00.000000Z", "", bytes([number] * 8))
        barrier.wait()
        if number % 2:
            flag_run(store, "xppn4116", 5, f"flaw {number}", stamp)
        else:
            tag_run(store, "xppn4116", 5, Told(comment=f"comment {number}"), stamp)

    threads = [Thread(target=write, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    records = list(history_of(store, "xppn4116", 5))
    assert len(records) == 6
    assert list(marks_of(store, "xppn4116")) == [5]
    marks = [record.mark for record in reversed(records)]
    for before, after in pairwise(marks):
        assert before is not None
        assert after is not None
        assert (before.flawed == after.flawed) != (before.comment == after.comment)


def test_a_shared_account_names_a_person() -> None:
    store = calstore.init("memory:", "0" * 32)
    who = Who("xppopr", 1, "xpp-control", None)
    stamp = Stamp(who, "2026-11-25T03:00:00.000000Z", "", bytes(8))

    with pytest.raises(calstore.Invalid, match="CALSTORE_USER"):
        tag_run(store, "xppn4116", 5, Told(comment="x"), stamp)


def test_verify_finds_a_damaged_mark(
    folder: Path, store_place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CALSTORE_CACHE", "")
    runs(folder, "tag", "xppn4116", 5, "--dark", "--reason", "temperature")
    shorten(store_place, "runs/xppn4116/5/00000001")

    found = run("verify", folder=folder)

    assert found.code == 6
    assert "runs/xppn4116/5/00000001" in found.out + found.err
    assert runs(folder, "list", "xppn4116").code == 6


def test_a_mark_says_of_which_detectors_the_run_is_a_dark(folder: Path) -> None:
    noise = np.random.default_rng(1).normal(3000, 5, (60, 16, 24)).round().astype(np.uint16)
    with h5py.File(folder / "xppn4116-r0009.h5", "w") as file:
        for source in (EPIX, "XppGon.0:Epix100a.2"):
            file[f"Configure:0000/Run:0000/CalibCycle:0000/Epix::V1/{source}/image"] = noise
    told = ("--dark", "--reason", "temperature", "--detector", "Epix100a.2")
    runs(folder, "tag", "xppn4116", 9, *told)

    made = run("dark", "xppn4116", 9, "--from", "xppn4116-r0009.h5", folder=folder)

    assert made.code == 0, made.err
    version = calstore.open(store_of(folder))["xppn4116/main"]
    assert version.detectors == (("Epix100a::CalibV1", "XppGon.0:Epix100a.2"),)


def test_a_dark_takes_reason_and_range_from_the_mark_and_refuses_a_flawed_run(
    folder: Path,
) -> None:
    noise = np.random.default_rng(1).normal(3000, 5, (60, 16, 24))
    np.save(folder / "a.npy", noise.round().astype(np.uint16))
    words = ("dark", "xppn4116", 137, "--detector", EPIX, "--from", "a.npy")
    runs(folder, "tag", "xppn4116", 137, "--dark", "--reason", "temperature", "--valid", "12-end")
    runs(folder, "flag", "xppn4116", 137, "--flawed", "shutter open")

    refused = run(*words, folder=folder)
    taken = run(*words, "--anyway", folder=folder)

    assert refused.code == 5
    assert "run 137 of xppn4116 is flawed: shutter open" in refused.err
    assert taken.code == 0
    version = calstore.open(store_of(folder))["xppn4116/main"]
    assert version.record is not None
    assert version.record.stamp.why == "temperature"
    assert str(version[EPIX].at(run=20)["pedestals"].runs) == "12-end"
