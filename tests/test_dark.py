"""calstore dark: raw frames become a version, or nothing changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from commandline import Outcome, run

import calstore
from calstore.errors import Corrupt
from calstore.frames.npy import Labels, open_npy
from calstore.frames.source import WHOLE, Part
from calstore.model.inputs import Selection
from calstore.repository.results import derivation_of, input_of, recall, remember

EPIX = "XppGon.0:Epix100a.1"
JUNGFRAU = "XppEndstation.0:Jungfrau.0"


def frames(count: int, shape: tuple[int, ...] = (16, 24), seed: int = 1) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(3000, 5, (count, *shape))
    return noise.round().astype(np.uint16)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    assert run("init", folder=tmp_path).code == 0
    return tmp_path


def dark(folder: Path, number: int, file: str, *words: object, detector: str = EPIX) -> Outcome:
    words = ("--detector", detector, "--from", file, *words)
    return run("dark", "xppn4116", number, *words, folder=folder)


def at(folder: Path, number: int, detector: str = EPIX) -> calstore.Version:
    return calstore.open(folder / ".calstore")["xppn4116/main"][detector].at(run=number)


def test_a_dark_run_becomes_constants_that_say_where_they_come_from(folder: Path) -> None:
    values = frames(200)
    values[:, 3, 4] = 65535
    np.save(folder / "r137.npy", values)

    made = dark(folder, 137, "r137.npy", "--recipe", "robust", "-m", "power-cycled")

    assert made.code == 0
    assert "xppn4116/main@1" in made.out
    constants = at(folder, 150)
    expected = values.astype(float).mean(axis=0)
    good = np.ones((16, 24), bool)
    good[3, 4] = False
    assert np.abs(constants["pedestals"].array - expected)[good].max() < 0.5
    assert constants["pixel_status"].array[3, 4] & 4
    assert constants["pixel_max"].array.max() == 65535
    reference = constants["pedestals"].constant.derivation
    assert reference is not None
    store = calstore.open(folder / ".calstore")
    derivation = derivation_of(store, reference)
    read = input_of(store, derivation.inputs["frames"].content)
    assert (derivation.recipe, read.run, read.frames.count) == ("robust", 137, 200)


def test_the_same_frames_and_recipe_change_nothing(folder: Path) -> None:
    np.save(folder / "a.npy", frames(60))
    np.save(folder / "big.npy", frames(60).astype(">u2"))
    dark(folder, 137, "a.npy")

    again = dark(folder, 137, "big.npy")

    assert "xppn4116/main@1" in again.out
    assert "unchanged" in again.out


def test_a_later_dark_keeps_its_runs(folder: Path) -> None:
    np.save(folder / "a.npy", frames(60))
    np.save(folder / "b.npy", frames(60, seed=2))
    dark(folder, 140, "b.npy")
    later = at(folder, 141)["pedestals"].digest

    dark(folder, 137, "a.npy")

    assert at(folder, 141)["pedestals"].digest == later
    assert at(folder, 139)["pedestals"].digest != later


def test_named_runs_get_the_dark_whatever_they_had(folder: Path) -> None:
    np.save(folder / "a.npy", frames(60))
    np.save(folder / "b.npy", frames(60, seed=2))
    dark(folder, 137, "a.npy")
    before = at(folder, 150)["pedestals"].digest

    dark(folder, 200, "b.npy", "--runs", "140-145")

    assert at(folder, 150)["pedestals"].digest == before
    assert at(folder, 142)["pedestals"].digest != before


def test_the_recipe_of_the_dark_before_is_kept_and_a_change_is_said(folder: Path) -> None:
    np.save(folder / "a.npy", frames(60))
    dark(folder, 137, "a.npy", "--recipe", "robust", "--parameter", "rms_hi=50")

    kept = dark(folder, 138, "a.npy")
    changed = dark(folder, 139, "a.npy", "--recipe", "psana")

    assert "robust 1" in kept.out
    assert "rms_hi=50" in kept.out
    assert "CHANGED" not in kept.out
    assert "CHANGED" in changed.out


def test_a_short_run_works_and_says_so(folder: Path) -> None:
    np.save(folder / "a.npy", frames(20))

    made = dark(folder, 137, "a.npy")

    assert made.code == 0
    assert "fewer than 50 frames" in made.out


def test_gain_modes_come_from_a_file_each_and_a_missing_one_is_an_error(folder: Path) -> None:
    for mode in range(3):
        np.save(folder / f"g{mode}.npy", frames(60, (1, 32, 32), seed=mode))
    two = ("--from", "G1=g1.npy")

    missing = dark(folder, 5, "G0=g0.npy", *two, detector=JUNGFRAU)
    asked = dark(folder, 5, "G0=g0.npy", *two, "--without", "G2", detector=JUNGFRAU)
    whole = dark(folder, 6, "G0=g0.npy", *two, "--from", "G2=g2.npy", detector=JUNGFRAU)

    assert missing.code == 5
    assert "--without G2" in missing.err
    assert "G2 is absent" in asked.out
    assert whole.code == 0
    assert at(folder, 7, JUNGFRAU)["pedestals"].array.shape == (3, 1, 32, 32)
    reference = at(folder, 5, JUNGFRAU)["pedestals"].constant.derivation
    assert reference is not None
    modes = derivation_of(calstore.open(folder / ".calstore"), reference).modes
    assert dict(modes) == {"G0": "measured", "G1": "measured", "G2": "absent"}


@pytest.mark.parametrize(
    ("values", "word"),
    [
        (frames(60).astype(np.float32), "whole ADU"),
        (frames(60)[0], "shape"),
        (frames(2), "2 frames"),
        (frames(60)[:0], "empty"),
    ],
    ids=["floats", "one frame", "two frames", "no events"],
)
def test_bad_frames_leave_the_ref_as_it_was(folder: Path, values: np.ndarray, word: str) -> None:
    np.save(folder / "good.npy", frames(60))
    np.save(folder / "bad.npy", values)
    dark(folder, 137, "good.npy")

    refused = dark(folder, 138, "bad.npy")

    assert refused.code == 5
    assert word in refused.err
    assert "@1 " in run("log", "xppn4116/main", folder=folder).out
    assert "@2 " not in run("log", "xppn4116/main", folder=folder).out


def test_a_file_that_is_cut_short_or_absent_is_named(folder: Path) -> None:
    np.save(folder / "cut.npy", frames(60))
    whole = (folder / "cut.npy").read_bytes()
    (folder / "cut.npy").write_bytes(whole[: len(whole) // 2])

    cut, absent = dark(folder, 137, "cut.npy"), dark(folder, 137, "no.npy")

    assert (cut.code, absent.code) == (5, 3)
    assert "cut.npy" in cut.err
    assert "no.npy" in absent.err


@pytest.mark.parametrize("of", [1, 2, 5])
def test_the_parts_of_a_file_are_all_of_it_once(folder: Path, of: int) -> None:
    values = frames(203)
    np.save(folder / "a.npy", values)
    source = open_npy(folder / "a.npy", Labels("xppn4116", 1, "camera"))
    selection = {"camera": Selection(skip=3, most=190)}

    found = {}
    for rank in range(of):
        part = Part(rank, of)
        with source.blocks(selection, part) as blocks:
            for block in blocks:
                found.update(zip(block.numbers, block.frames, strict=True))

    assert sorted(found) == list(range(190))
    assert all(np.array_equal(found[n], values[n + 3]) for n in found)


def test_blocks_are_views_of_the_file(folder: Path) -> None:
    np.save(folder / "a.npy", frames(40))
    source = open_npy(folder / "a.npy", Labels("xppn4116", 1, "camera"))

    with source.blocks({"camera": Selection()}, WHOLE) as blocks:
        (block,) = blocks

    assert block.frames.base is not None


def test_another_result_of_the_same_derivation_is_an_alarm(folder: Path) -> None:
    np.save(folder / "a.npy", frames(60))
    dark(folder, 137, "a.npy")
    store = calstore.open(folder / ".calstore")
    reference = at(folder, 137)["pedestals"].constant.derivation
    assert reference is not None
    known = recall(store, reference.digest)
    assert known is not None
    swapped = {**known, "pedestals": known["pixel_rms"]}

    with pytest.raises(Corrupt, match="same derivation gave another pedestals"):
        remember(store, reference, swapped, calstore.stamp(), "calstore 0")


def test_verify_finds_damage_in_a_derivation(folder: Path) -> None:
    np.save(folder / "a.npy", frames(60))
    dark(folder, 137, "a.npy")
    reference = at(folder, 137)["pedestals"].constant.derivation
    assert reference is not None
    name = reference.digest.hex
    file = folder / ".calstore/objects/manifests" / name[:2] / name
    file.chmod(0o644)
    file.write_bytes(b"\0" + file.read_bytes()[1:])

    found = run("verify", folder=folder)

    assert found.code == 6
    assert name in found.out + found.err
