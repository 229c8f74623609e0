"""calstore dark: raw frames become a version, or nothing changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from commandline import Outcome, run, store_of
from object_store import shorten

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
def folder(tmp_path: Path, store_place: str) -> Path:
    assert run("init", store_place, folder=tmp_path).code == 0
    return tmp_path


def dark(folder: Path, number: int, file: str, *words: object, detector: str = EPIX) -> Outcome:
    words = ("--detector", detector, "--from", file, *words)
    return run("dark", "xppn4116", number, *words, folder=folder)


def at(folder: Path, number: int, detector: str = EPIX) -> calstore.Version:
    return calstore.open(store_of(folder))["xppn4116/main"][detector].at(run=number)


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
    store = calstore.open(store_of(folder))
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
    refined = dark(folder, 138, "a.npy", "--parameter", "rms_lo=1")
    changed = dark(folder, 139, "a.npy", "--recipe", "psana")

    assert "robust 1" in kept.out
    assert "rms_hi=50" in kept.out
    assert "CHANGED" not in kept.out
    assert "rms_lo=1 rms_hi=50), CHANGED" in refined.out
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
    modes = derivation_of(calstore.open(store_of(folder)), reference).modes
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
    store = calstore.open(store_of(folder))
    reference = at(folder, 137)["pedestals"].constant.derivation
    assert reference is not None
    known = recall(store, reference.digest)
    assert known is not None
    swapped = {**known, "pedestals": known["pixel_rms"]}

    with pytest.raises(Corrupt, match="same derivation gave another pedestals"):
        remember(store, reference, swapped, calstore.stamp(), "calstore 0")


def test_verify_finds_damage_in_a_derivation(folder: Path, store_place: str) -> None:
    np.save(folder / "a.npy", frames(60))
    dark(folder, 137, "a.npy")
    reference = at(folder, 137)["pedestals"].constant.derivation
    assert reference is not None
    name = reference.digest.hex
    shorten(store_place, f"objects/manifests/*/{name}")

    found = run("verify", folder=folder)

    assert found.code == 6
    assert name in found.out + found.err


def test_files_that_were_read_before_are_not_read_again(folder: Path) -> None:
    np.save(folder / "a.npy", frames(60))
    dark(folder, 137, "a.npy")

    elsewhere = dark(folder, 137, "a.npy", "--ref", "xppn4116/users/wilson/try")
    again = dark(folder, 137, "a.npy", "--again")
    other = dark(folder, 137, "a.npy", "--recipe", "robust", "--ref", "xppn4116/other")

    assert "(read before)" in elsewhere.out
    assert "(read before)" not in again.out
    assert "(read before)" not in other.out
    store = calstore.open(store_of(folder))
    assert store["xppn4116/users/wilson/try"].digest == store["xppn4116/main"].digest


def test_a_file_that_was_written_anew_is_read(folder: Path) -> None:
    np.save(folder / "a.npy", frames(60))
    dark(folder, 137, "a.npy")
    np.save(folder / "a.npy", frames(60, seed=9))

    again = dark(folder, 137, "a.npy")

    assert "(read before)" not in again.out
    assert "xppn4116/main@2" in again.out


def test_modes_that_no_dark_measures_are_computed_from_charge_injection(folder: Path) -> None:
    source = "XppEndstation.0:Epix10ka.0"
    measured = ("FH", "FM", "FL", "AHL-H", "AML-M")
    files: list[str] = []
    for number, mode in enumerate(measured):
        np.save(folder / f"{mode}.npy", frames(160, (1, 352, 384), seed=number))
        files += ["--from", f"{mode}={mode}.npy"]
    words = ("dark", "xppn4116", 9, "--detector", source, *files)
    shape = (7, 1, 352, 384)
    np.save(folder / "gain.npy", np.full(shape, 2, np.float32))
    np.save(folder / "offset.npy", np.full(shape, 100, np.float32))

    without = run(*words, folder=folder)
    left_out = run(*words, "--without", "AHL-L,AML-L", folder=folder)
    for name in ("gain", "offset"):
        place = (f"Epix10ka::CalibV1/{source}", f"pixel_{name}", "0-end", f"{name}.npy")
        assert run("set", "xppn4116/main", *place, folder=folder).code == 0
    whole = run(*words, "--runs", "20-30", folder=folder)

    assert without.code == 5
    assert "charge injection" in without.err
    assert "AHL-L is absent" in left_out.out
    assert "AHL-L is computed" in whole.out
    pedestals = at(folder, 25, source)["pedestals"].array
    assert pedestals.shape == shape
    # offset − (offset − pedestal) × gain / gain
    assert np.allclose(pedestals[5], pedestals[3])
    reference = at(folder, 25, source)["pedestals"].constant.derivation
    assert reference is not None
    roles = derivation_of(calstore.open(store_of(folder)), reference).inputs
    assert {"pixel_gain", "pixel_offset", "frames/FH"} <= set(roles)


def test_what_check_finds_wrong_can_keep_a_dark_out(folder: Path) -> None:
    np.save(folder / "good.npy", frames(60, (704, 768)))
    np.save(folder / "dead.npy", np.zeros((60, 704, 768), np.uint16))
    dark(folder, 137, "good.npy")

    refused = dark(folder, 138, "dead.npy", "--require-check")
    kept = at(folder, 139)["pedestals"].runs
    taken = dark(folder, 138, "dead.npy")

    assert refused.code == 5
    assert "check finds" in refused.err
    assert str(kept) == "137-end"
    assert taken.code == 0
    assert "wrong: " in taken.out


def test_a_dark_below_a_later_one_says_which_runs_it_does_not_reach(folder: Path) -> None:
    np.save(folder / "a.npy", frames(60))
    np.save(folder / "b.npy", frames(60, seed=2))
    dark(folder, 140, "a.npy")

    earlier = dark(folder, 137, "b.npy")

    assert "shadowed by 140-end" in earlier.err


def test_a_new_experiment_gets_what_belongs_to_the_same_panels(folder: Path) -> None:
    np.save(folder / "a.npy", frames(60, (704, 768)))
    np.save(folder / "gain.npy", np.full((704, 768), 0.06, np.float32))
    dark(folder, 1, "a.npy", "--ref", "xppx1/main")
    words = ("set", "xppx1/main", EPIX, "pixel_gain", "3-end", "gain.npy")
    assert run(*words, folder=folder).code == 0
    assert run("fork", "xppx1/main", "detectors/3925999620/main", folder=folder).code == 0

    same = dark(folder, 5, "a.npy", "--serial", "3925999620")
    other = dark(folder, 5, "a.npy", "--serial", "1111111111", "--ref", "xppn4116/other")

    assert "pixel_gain of the same panels taken over from detectors/3925999620/main@1" in same.out
    assert "taken over" not in other.out
    gain = at(folder, 3)["pixel_gain"]
    assert (str(gain.runs), gain.constant.serials) == ("0-end", ("3925999620",))
    record = calstore.open(store_of(folder))["xppn4116/main"].record
    assert record is not None
    assert [parent.log for parent in record.parents] == ["refs/detectors/3925999620/main"]


def test_show_tells_the_recipe_the_run_and_the_frames(folder: Path) -> None:
    np.save(folder / "a.npy", frames(60))
    dark(folder, 137, "a.npy")

    told = run("show", "xppn4116/main", EPIX, "pedestals", folder=folder).out

    derivation = at(folder, 137)["pedestals"].derivation
    assert derivation is not None
    assert f"137-end derived by psana 1, {derivation.reference.digest}" in told
    assert "frames: 60 of run 137 of xppn4116, step 0, xxh128:" in told
    assert "gate_frames=50" in told


def test_a_store_has_recipes_of_its_own(folder: Path) -> None:
    np.save(folder / "a.npy", frames(60))
    made = run("config", "recipe/xpp-epix", "robust rms_hi=50 int_hi=16000", folder=folder)
    wrong = run("config", "recipe/xpp-epix", "robust rms_high=50", folder=folder)

    named = dark(folder, 137, "a.npy", "--recipe", "xpp-epix", "--parameter", "int_hi=9000")
    kept = dark(folder, 138, "a.npy")
    unknown = dark(folder, 139, "a.npy", "--recipe", "mfx")

    assert (made.code, wrong.code) == (0, 5)
    assert "rms_high" in wrong.err
    for outcome in (named, kept):
        assert "robust 1" in outcome.out
        assert "int_hi=9000 rms_lo=0.001 rms_hi=50" in outcome.out
    assert unknown.code == 3
    assert "psana, robust, xpp-epix" in unknown.err


def test_a_mask_that_a_new_dark_does_not_have_is_said(folder: Path) -> None:
    np.save(folder / "a.npy", frames(60, (704, 768)))
    dark(folder, 137, "a.npy")
    assert run("mask", "xppn4116/main", EPIX, "--edges", 1, "--apply", folder=folder).code == 0

    later = dark(folder, 138, "a.npy")

    assert "masked on request" in later.out
    assert "the mask in the status before is not in this one" in later.err
