"""The same frames under two versions: what differs is told, and shown where it is."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commandline import run
from PIL import Image
from psana2_client import put_version

from calstore.repository.store import init_store

REF = "mfx/main"
MINE = "mfx/users/weber/mine"
SHAPE = (3, 2, 512, 1024)
GEOMETRY = (
    "JFCAMERA:V1 0 JUNGFRAU:V2 0 0 20625 0 0 0 180 0.0 0.0 0.0\n"
    "JFCAMERA:V1 0 JUNGFRAU:V2 1 0 -20625 0 0 0 180 0.0 0.0 0.0\n"
    "IP:V1 0 JFCAMERA:V1 0 0 0 100000 90 0 0 0.0 0.0 0.0\n"
)


@pytest.fixture(scope="module")
def folder(memory_path: Path) -> Path:
    """In my version panel 1 has pedestals that are 4 ADU lower, and 100 rows of panel 0 are bad."""
    store = init_store(memory_path / ".calstore", "0" * 32)
    status = np.zeros(SHAPE, np.uint64)
    constants: dict[str, Any] = {
        "pedestals": np.full(SHAPE, 2000, np.float32),
        "pixel_gain": np.full(SHAPE, 2, np.float32),
        "pixel_status": status,
        "geometry": GEOMETRY,
    }
    of = ("jungfrau", "jungfrau", ("1", "2"))
    put_version(store, REF, {of: constants})
    mine = {name: np.array(constants[name]) for name in ("pedestals", "pixel_status")}
    mine["pedestals"][:, 1] -= 4
    mine["pixel_status"][0, 0, :100] = 1
    put_version(store, MINE, {of: {**constants, **mine}})
    frames = np.random.default_rng(1).integers(2000, 2020, (3, *SHAPE[1:])).astype(np.uint16)
    np.save(memory_path / "frames.npy", frames)
    return memory_path


def compare(folder: Path, *words: object) -> Any:
    told = ("compare-runs", REF, MINE, "frames.npy", "--detector", "jungfrau", "--run", 5)
    return run(*told, *words, folder=folder)


@pytest.mark.parametrize("words", [(), ("--mean",), ("--event", 2)])
def test_the_difference_is_that_of_the_constants(words: tuple[Any, ...], folder: Path) -> None:
    done = compare(folder, *words)

    assert done.code == 0, done.err
    assert "masked in one alone: 102400 pixels" in done.out
    assert f"B − A: 524288 of {2 * 512 * 1024 - 102400} pixels differ" in done.out
    assert "1 to 99 %: +0 to +2" in done.out
    assert "keV" in done.out


def test_the_page_shows_the_panel_and_the_profile(folder: Path) -> None:
    assert compare(folder, "-o", "page.html").code == 0

    page = (folder / "page.html").read_text()
    found = re.findall(r"<img alt='([^']*)' src='data:image/png;base64,([^']*)'", page)
    images = {
        label: np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")).astype(int)
        for label, data in found
    }
    assert list(images) == ["A", "B", "B − A"]
    change = images["B − A"]
    is_red = (change[..., 0] > 120) & (change[..., 1] < 60)
    is_white = change.min(axis=2) > 235
    assert is_red.mean() > 0.4
    assert is_white.mean() > 0.3
    assert page.count("<polyline") == 2
    assert "from the beam" in page
    assert "http" not in page.replace("http-equiv", "")


@pytest.mark.parametrize(
    ("words", "code", "reason"),
    [
        (("--event", 9), 3, "no event 9"),
        (("-o", "page.png"), 5, ".html"),
        (("--detector", "epix"), 3, "epix"),
    ],
)
def test_what_cannot_be_compared_is_said(
    words: tuple[Any, ...], code: int, reason: str, folder: Path
) -> None:
    outcome = compare(folder, *words)

    assert outcome.code == code
    assert reason in outcome.err


def test_the_run_is_named_where_the_data_do_not_say_it(folder: Path) -> None:
    told = ("compare-runs", REF, MINE, "frames.npy", "--detector", "jungfrau")

    outcome = run(*told, folder=folder)

    assert outcome.code == 5
    assert "--run" in outcome.err
