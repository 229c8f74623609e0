"""Images show what they say: the right pixels in the right places, between robust limits."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from commandline import run
from PIL import Image
from psana2_client import put_version

from calstore.errors import Invalid
from calstore.report.pictures import (
    Limits,
    coloured,
    png_of,
    preview,
    robust_limits,
    shrunk,
    symmetric_limits,
)
from calstore.repository.store import init_store

REF = "mfx101332224/main"
SHAPE = (3, 2, 512, 1024)
GEOMETRY = (
    "JFCAMERA:V1 0 JUNGFRAU:V2 0 0 20625 0 0 0 180 0.0 0.0 0.0\n"
    "JFCAMERA:V1 0 JUNGFRAU:V2 1 0 -20625 0 0 0 180 0.0 0.0 0.0\n"
    "IP:V1 0 JFCAMERA:V1 0 0 0 100000 90 0 0 0.0 0.0 0.0\n"
)


@pytest.fixture(scope="module")
def folder(memory_path: Path) -> Path:
    """A jungfrau 1M whose second panel is 100 ADU higher, with and without a geometry."""
    store = init_store(memory_path / ".calstore", "0" * 32)
    random = np.random.default_rng(1)
    pedestals = random.normal(2000, 5, SHAPE).astype(np.float32)
    pedestals[:, 1] += 100
    status = np.zeros(SHAPE, np.uint64)
    status[0, 0, :10] = 1
    constants: dict[str, Any] = {
        "pedestals": pedestals,
        "pixel_status": status,
        "pixel_gain": np.full(SHAPE, 2, np.float32),
    }
    of = ("jungfrau", "jungfrau", ("1", "2"))
    put_version(store, REF, {of: constants})
    put_version(store, REF, {of: {**constants, "geometry": GEOMETRY}})
    frames = np.repeat(pedestals[0].round().astype(np.uint16)[np.newaxis], 3, axis=0)
    frames[1] += 10
    np.save(memory_path / "frames.npy", frames)
    np.save(memory_path / "pedestals.npy", pedestals)
    return memory_path


def image(folder: Path, *words: object, ref: str = REF) -> np.ndarray:
    out = folder / "out.npy"
    out.unlink(missing_ok=True)
    done = run("image", ref, "jungfrau", "--run", 5, *words, "-o", out, folder=folder)
    assert done.code == 0, done.err
    return np.load(out)


def test_a_constant_is_assembled_and_nothing_is_where_no_pixel_is(folder: Path) -> None:
    found = image(folder, "--mode", "G1")

    pedestals = np.load(folder / "pedestals.npy")[1]
    there = found[np.isfinite(found)]
    assert np.isnan(found).any()
    assert there.size >= pedestals.size
    assert set(np.unique(there)) == set(np.unique(pedestals).astype(np.float64))
    columns = found.shape[1]
    halves = [np.nanmedian(found[:, : columns // 2]), np.nanmedian(found[:, columns // 2 :])]
    rows = found.shape[0]
    halves += [np.nanmedian(found[: rows // 2]), np.nanmedian(found[rows // 2 :])]
    assert max(halves) - min(halves) > 90


def test_without_a_geometry_the_panels_are_above_each_other(folder: Path) -> None:
    done = run("image", f"{REF}@1", "jungfrau", "--run", 5, "--mode", "G0", folder=folder)

    assert done.code == 0
    assert "1024 × 1024" in done.out
    assert "no geometry" in done.err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), 0.0),
        (("--event", 1), 5.0),
        (("--event", 1, "--no-gain"), 10.0),
        (("--mean", "--no-gain"), 10 / 3),
    ],
)
def test_a_frame_is_corrected_but_for_what_is_switched_off(
    words: tuple[Any, ...], expected: float, folder: Path
) -> None:
    found = image(folder, "--frames", "frames.npy", *words)

    assert abs(np.nanmedian(found) - expected) < 0.5
    masked = image(folder, "--frames", "frames.npy", *words, "--no-mask")
    assert np.isfinite(masked).sum() - np.isfinite(found).sum() == 10 * 1024


def test_raw_is_as_it_was_taken(folder: Path) -> None:
    found = image(folder, "--frames", "frames.npy", "--event", 1, "--raw")

    frames = np.load(folder / "frames.npy")[1]
    assert set(np.unique(found[np.isfinite(found)])) == set(np.unique(frames))


def test_png_and_hdf5_hold_the_picture(folder: Path) -> None:
    for name in ("x.png", "x.h5"):
        words = ("image", REF, "jungfrau", "--run", 5, "--mode", "G0", "-o", name)
        assert run(*words, folder=folder).code == 0

    expected = image(folder, "--mode", "G0")
    with Image.open(folder / "x.png") as picture:
        colours = np.asarray(picture.convert("RGB"))
    with h5py.File(folder / "x.h5") as file:
        assert np.array_equal(file["image"][:], expected, equal_nan=True)
        assert file["image"].attrs["unit"] == "ADU"
    assert colours.shape == (*expected.shape, 3)
    assert (colours[np.isnan(expected)] == 70).all()
    brightness = colours.astype(int).sum(axis=2)
    low, high = expected < 2050, expected > 2050
    assert brightness[high].mean() > brightness[low].mean() + 100


def test_a_geometry_with_a_panel_missing_places_nothing(folder: Path, tmp_path: Path) -> None:
    store = init_store(tmp_path / ".calstore", "0" * 32)
    lines = [line for line in GEOMETRY.splitlines() if " V2 1 " not in line.replace(":", " ")]
    constants: dict[str, Any] = {
        "pedestals": np.load(folder / "pedestals.npy"),
        "geometry": "\n".join(lines) + "\n",
    }
    put_version(store, REF, {("jungfrau", "jungfrau", ("1", "2")): constants})

    shown = run("image", REF, "jungfrau", "--run", 5, "--mode", "G0", folder=tmp_path)

    assert (shown.code, "no geometry of these pixels" in shown.err) == (0, True)
    with pytest.raises(Invalid, match="shape"):
        store[REF]["jungfrau"].at(5).image(np.zeros(SHAPE[1:]))


@pytest.mark.parametrize(
    ("words", "code", "reason"),
    [
        ((), 5, "--mode"),
        (("--mode", "FH"), 3, "no gain mode FH"),
        (("--type", "pixel_rms"), 3, "no pixel_rms"),
        (("--type", "geometry"), 5, "opaque"),
        (("-o", "x.jpg"), 5, ".png"),
        (("--frames", "frames.npy", "--event", 9), 3, "no event 9"),
        (("--frames", "absent.npy"), 3, "absent.npy"),
    ],
)
def test_what_cannot_be_shown_is_said(
    words: tuple[Any, ...], code: int, reason: str, folder: Path
) -> None:
    outcome = run("image", REF, "jungfrau", "--run", 5, *words, folder=folder)

    assert outcome.code == code
    assert reason in outcome.err


def test_limits_leave_out_the_few_and_never_are_nothing() -> None:
    values = np.concatenate([np.linspace(0, 1, 1000), [1e9, np.nan, -1e9]])

    robust, both = robust_limits(values), symmetric_limits(values)

    assert -0.1 < robust.low < robust.high < 1.1
    assert both.low == -both.high
    assert both.high < 1.1
    for empty in (np.zeros(5), np.full(3, np.nan), np.zeros(0)):
        for found in (robust_limits(empty), symmetric_limits(empty)):
            assert found.low < found.high


def test_colours_go_from_end_to_end_and_a_difference_is_white_at_nothing() -> None:
    image = np.array([[0.0, 5.0, 10.0, np.nan, 99.0]])

    rising = coloured(image, Limits(0, 10))
    both = coloured(image - 5, Limits(-5, 5), both_ways=True)

    assert rising[0, 0].sum() < rising[0, 1].sum() < rising[0, 2].sum()
    assert (rising[0, 4] == rising[0, 2]).all()
    assert (rising[0, 3] == rising[0, 3, 0]).all()
    assert both[0, 1].min() > 235
    assert both[0, 0, 2] > both[0, 0, 0]
    assert both[0, 2, 0] > both[0, 2, 2]
    with Image.open(io.BytesIO(png_of(image, Limits(0, 10)))) as picture:
        assert np.array_equal(np.asarray(picture.convert("RGB")), rising)


def test_a_small_picture_is_of_means_and_fits() -> None:
    image = np.arange(100.0 * 64).reshape(100, 64)
    image[:, 60:] = np.nan

    small = shrunk(image, 20, 30)
    lines = preview(coloured(small, robust_limits(small))).splitlines()

    assert small.shape == (20, 13)
    assert small[0, 0] == image[:5, :5].mean()
    assert np.isnan(small[0, 12])
    assert len(lines) == 10
    assert all(line.count("▀") == 13 and line.endswith("\x1b[0m") for line in lines)
