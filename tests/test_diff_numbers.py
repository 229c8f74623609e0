"""diff --numbers: what it says is what numpy says, and where it comes from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commandline import run
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from psana2_client import put_version

from calstore.checks.numbers import bits_of, numbers_of
from calstore.errors import Invalid
from calstore.repository.store import init_store

REF = "mfx/main"
SHAPE = (3, 2, 16, 32)
FLOATS = arrays(
    np.float32,
    st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 5)),
    elements=st.floats(-1e6, 1e6, width=32) | st.sampled_from([np.nan, np.inf, 0.0, 1.0]),
)


@given(data=st.data(), before=FLOATS)
def test_the_numbers_are_those_of_the_values(data: st.DataObject, before: np.ndarray) -> None:
    choices = data.draw(arrays(np.bool_, before.shape))
    after = np.where(choices, before, before + np.float32(1)).astype(np.float32)

    found = numbers_of(before, after)

    with np.errstate(invalid="ignore"):
        difference = after - before
        changed = (before != after) & ~(np.isnan(before) & np.isnan(after))
    assert found.total.pixels == before.size
    assert found.total.changed == changed.sum()
    assert sum(panel.changed for panel in found.panels) == changed.sum()
    finite = np.sort(difference[np.isfinite(difference)])
    if changed.any() and finite.size:
        for percent, value in ((1, "low"), (50, "median"), (99, "high")):
            expected = finite[(finite.size - 1) * percent // 100]
            assert getattr(found.total, value) == expected
        assert abs(found.total.largest) == np.abs(finite).max()


def test_large_panels_are_counted_to_the_same_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(3)
    before = random.normal(2000, 30, (2, 3, 100, 220)).astype(np.float32)
    after = before + random.normal(0, 2, before.shape).astype(np.float32)
    after[0, 0] = before[0, 0]
    after[1, 1, 0, :50] = np.nan
    before[1, 2] = np.inf
    after[1, 2] = -np.inf
    noise = random.uniform(0, 4, before.shape).astype(np.float32)
    noise[0, 1, 0, 0] = 0

    counted = numbers_of(before, after, noise)
    monkeypatch.setattr("calstore.checks.numbers._COUNTED", before.size + 1)
    ordered = numbers_of(before, after, noise)

    sides = [(found.total, *found.panels) for found in (counted, ordered)]
    for one, other in zip(*sides, strict=True):
        assert np.array_equal(
            [one.pixels, one.changed, one.low, one.median, one.high, one.largest],
            [other.pixels, other.changed, other.low, other.median, other.high, other.largest],
            equal_nan=True,
        )
        assert (one.in_noise is None) == (other.in_noise is None)
        assert one.in_noise is None or np.allclose(one.in_noise, other.in_noise, rtol=1e-6)


def test_ranks_that_fall_together_are_counted_once_for_each() -> None:
    before = np.zeros((2, 200, 200), np.float32)
    after = before + np.float32(10)
    after[1, 0, 0] = 10.001

    found = numbers_of(before, after, np.full_like(before, 4))

    for panel in (found.total, *found.panels):
        assert (panel.low, panel.median, panel.high) == (10, 10, 10)
        assert panel.in_noise == (2.5, 2.5)
    assert found.panels[1].largest == np.float32(10.001)


def test_in_noise_is_the_size_over_the_rms() -> None:
    before, noise = np.zeros((2, 8, 8)), np.full((2, 8, 8), 4.0)
    after = before.copy()
    after[1] = 10

    found = numbers_of(before, after, noise)

    assert found.panels[1].in_noise == (2.5, 2.5)
    assert found.panels[0].in_noise == (0.0, 0.0)
    assert found.total.in_noise == (0.0, 2.5)


def test_bits_are_counted_that_were_gained_and_lost() -> None:
    before = np.array([[1, 3, 0], [0, 0, 1 << 40]], np.uint64)
    after = np.array([[1, 1, 4], [4, 0, 0]], np.uint64)

    assert bits_of(before, after) == {2: (0, 1), 4: (2, 0), 1 << 40: (0, 1)}


def test_what_has_no_differences_is_refused() -> None:
    one = np.zeros((2, 3))

    for other in (np.zeros((3, 2)), np.zeros((2, 3, 1))):
        with pytest.raises(Invalid, match="no differences"):
            numbers_of(one, other)
        with pytest.raises(Invalid, match="no differences"):
            bits_of(one.astype(int), other.astype(int))
    with pytest.raises(Invalid, match="without elements"):
        numbers_of(np.zeros((0, 3)), np.zeros((0, 3)))
    with pytest.raises(Invalid, match="no bits"):
        bits_of(one, one)


@pytest.fixture
def folder(tmp_path: Path, store_place: str) -> Path:
    """A jungfrau: in the second version segment 1 of G2 is 10 ADU higher, 3 pixels have a bit."""
    store = init_store(store_place, "0" * 32)
    random = np.random.default_rng(1)
    first: dict[str, Any] = {
        "pedestals": random.normal(2000, 5, SHAPE).astype(np.float32),
        "pixel_rms": np.full(SHAPE, 4, np.float32),
        "pixel_status": np.zeros(SHAPE, np.uint64),
        "geometry": "IP 0 DET 0 0 0 0 0 0 0 0 0 0\nDET 0 SENS 0 0 0 0 0 0 0 0 0 0\n",
    }
    second = {name: np.array(each) for name, each in first.items() if name != "geometry"}
    second["pedestals"][2, 1] += 10
    second["pixel_status"][0, 0, 0, :3] = 32
    second["geometry"] = "IP 0 DET 0 10 0 -5 0 0 0 0 0 0.5\nDET 0 SENS 1 0 0 0 0 0 0 0 0 0\n"
    of = ("jungfrau", "jungfrau", ("1", "2"))
    put_version(store, REF, {of: first})
    put_version(store, REF, {of: second})
    return tmp_path


def test_people_read_where_and_how_much(folder: Path) -> None:
    done = run("diff", f"{REF}@1", REF, "--numbers", folder=folder)
    plain = run("diff", f"{REF}@1", REF, folder=folder)

    assert (done.code, plain.code) == (1, 1)
    assert "G2 segment 1: 512 of 512 pixels (100 %), median +10 ADU" in done.out
    assert "2.5 of the noise" in done.out
    assert "bit 32 (pedestal below its limit): gained by 3, lost by 0" in done.out
    assert "DET 0 in IP 0: moved by +10, +0, -5 µm, turned by +0, +0, +0.5°" in done.out
    assert done.out.count("on one side alone") == 2
    assert "of the noise" not in plain.out


def test_machines_read_every_panel(folder: Path) -> None:
    document = json.loads(run("diff", f"{REF}@1", REF, "--numbers", "--json", folder=folder).out)

    by_type = {each["type"]: each["numbers"] for each in document["constants"]}
    panels = by_type["pedestals"]["panels"]
    assert [panel["changed"] for panel in panels] == [0, 0, 0, 0, 0, 512]
    assert abs(panels[5]["median"] - 10) < 1e-3
    assert by_type["pedestals"]["unit"] == "ADU"
    assert by_type["pixel_status"]["bits"] == [{"bit": 32, "gained": 3, "lost": 0}]
    assert len(by_type["geometry"]["displaced"]) == 3


def test_a_directory_has_numbers_too(folder: Path) -> None:
    made = run("materialize", REF, "view", "--layout", "npy", folder=folder)
    assert made.code == 0, made.err
    (path,) = (folder / "view/jungfrau/jungfrau/pedestals").glob("*.npy")
    array = np.load(path)
    path.chmod(0o644)
    np.save(path, array + np.float32(1))

    done = run("diff", REF, "./view", "jungfrau", "pedestals", "--numbers", folder=folder)

    assert done.code == 1, done.err
    assert "3072 of 3072 pixels (100 %), median +1 ADU" in done.out


def test_what_made_them_differ_is_said(tmp_path: Path) -> None:
    assert run("init", folder=tmp_path).code == 0
    for number in (1, 2):
        noise = np.random.default_rng(number).normal(2000 + number, 5, (60, 16, 32))
        np.save(tmp_path / f"{number}.npy", noise.round().astype(np.uint16))
        words = ("dark", "mfx", number, "--detector", "cam", "--kind", "epix100", "--serial", "1")
        more = (
            "--from",
            f"{number}.npy",
            "--runs",
            "0-end",
            "--recipe",
            ("psana", "robust")[number - 1],
        )
        made = run(*words, *more, folder=tmp_path)
        assert made.code == 0, made.err

    done = run("diff", f"{REF}@1", REF, "cam", "pedestals", "--numbers", folder=tmp_path)

    assert "recipe psana 1 → robust 1" in done.out
    assert "frames of run 1 → 2" in done.out
