"""Corrections: what is switched off is not done, what is missing is an error, and never a zero."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import stamp
from commandline import pedestals_text, write_tree
from hypothesis import given, settings
from hypothesis import strategies as st
from psana2_client import put_version

from calstore.correct.common_mode import CommonMode, subtract
from calstore.correct.corrections import Corrections, prepared
from calstore.errors import Invalid, NotFound
from calstore.repository.import_tree import import_tree
from calstore.repository.store import init_store

SHAPE = (2, 32, 64)


def arrays(*modes: int, seed: int = 1) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    shape = (*modes, *SHAPE)
    return {
        "pedestals": random.normal(2000, 20, shape).astype(np.float32),
        "pixel_gain": random.uniform(1, 40, shape).astype(np.float32),
        "pixel_offset": random.normal(3, 1, shape).astype(np.float32),
        "pixel_status": (random.random(shape) < 0.02).astype(np.uint64),
    }


def raw_frame(seed: int = 2, bits: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    values = random.integers(1900, 2300, SHAPE).astype(np.uint16)
    return values | (random.integers(0, bits + 1, SHAPE).astype(np.uint16) << 14)


EACH = {
    "nothing": Corrections(False, False, False, False, False),
    "pedestals": Corrections(True, False, False, False, False),
    "offset": Corrections(True, True, False, False, False),
    "gain": Corrections(True, False, False, True, False),
    "mask": Corrections(True, False, False, False, True),
    "all": Corrections(),
}


@pytest.mark.parametrize("name", EACH)
def test_each_correction_of_a_jungfrau_can_be_left_out(name: str) -> None:
    wanted, constants, raw = EACH[name], arrays(3), raw_frame(bits=3)
    mode = np.array([0, 1, 9, 2])[raw >> 14]
    expected = (raw & 0x3FFF).astype(np.float32)

    found = prepared("jungfrau", constants, wanted, "divides")(raw)

    chosen = {key: np.choose(np.minimum(mode, 2), value) for key, value in constants.items()}
    if wanted.pedestals:
        minus = chosen["pedestals"] + (chosen["pixel_offset"] if wanted.offset is not False else 0)
        expected = expected - minus.astype(np.float32)
    if wanted.gain is not False:
        expected = expected / chosen["pixel_gain"]
    if wanted.mask is not False:
        expected = expected * (constants["pixel_status"] == 0).all(axis=0)
    expected[mode == 9] = 0
    assert found.dtype == np.float32
    assert np.allclose(found, expected, rtol=1e-5, atol=1e-4)


def test_a_gain_multiplies_where_readers_multiply() -> None:
    constants = {name: each for name, each in arrays().items() if name != "pixel_offset"}

    divided = prepared("epix100", constants, Corrections(mask=False), "divides")
    multiplied = prepared("Epix100a", constants, Corrections(mask=False), "multiplies")

    ratio = multiplied(raw_frame()) / divided(raw_frame())
    assert np.allclose(ratio, constants["pixel_gain"] ** 2, rtol=1e-4)
    with pytest.raises(Invalid, match="divides or multiplies"):
        prepared("Epix10k", constants, Corrections(), None)


def test_what_is_asked_for_and_missing_is_an_error_and_else_the_unit_says_it() -> None:
    only = {"pedestals": arrays()["pedestals"]}

    plain = prepared("epix100", only, Corrections(), "divides")

    assert plain.unit == "ADU"
    assert np.allclose(plain(raw_frame()), raw_frame() - only["pedestals"])
    for wanted in (Corrections(gain=True), Corrections(mask=True), Corrections(background=True)):
        with pytest.raises(NotFound, match="leave"):
            prepared("epix100", only, wanted, "divides")
    with pytest.raises(NotFound, match="no pedestals"):
        prepared("epix100", {}, Corrections(), "divides")


def test_what_does_not_fit_is_refused() -> None:
    constants = arrays(3)
    correction = prepared("jungfrau", constants, Corrections(), "divides")

    with pytest.raises(Invalid, match="shape"):
        correction(raw_frame()[:1])
    with pytest.raises(Invalid, match="integers"):
        correction(np.full(SHAPE, np.nan))
    with pytest.raises(Invalid, match="16 bits"):
        correction(raw_frame().astype(np.int32) - 5000)
    for name, other in (
        ("pixel_gain", constants["pixel_gain"][:2]),
        ("pixel_status", constants["pixel_status"][:, :1]),
    ):
        with pytest.raises(Invalid, match=f"{name} of shape"):
            prepared("jungfrau", {**constants, name: other}, Corrections(), "divides")
    of_quad = prepared("epix10ka", arrays(7), Corrections(), "divides")
    with pytest.raises(Invalid, match="configuration"):
        of_quad(raw_frame())


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 1000),
    parts=st.integers(1, 7),
    limit=st.sampled_from([5.0, 50.0, float("inf")]),
    bright=st.sampled_from([10.0, float("inf")]),
    least=st.integers(1, 40),
    fraction=st.floats(0, 1),
)
def test_a_common_mode_is_the_median_of_the_good_pixels(
    seed: int, parts: int, limit: float, bright: float, least: int, fraction: float
) -> None:
    random = np.random.default_rng(seed)
    frame = random.normal(0, 20, SHAPE).astype(np.float32)
    good = random.random(SHAPE) < fraction
    how = CommonMode(bool(parts & 1), bool(parts & 2), bool(parts & 4), limit, least, bright)
    expected = frame.copy()

    subtract(frame, good, how, 8)

    steps = (
        (how.banks, 16, 8, least),
        (how.rows, 1, 8, least + 1),
        (how.columns, 16, 1, least + 1),
    )
    for is_wanted, down, across, enough in steps:
        for segment in range(2 if is_wanted else 0):
            for row in range(0, 32, down):
                for column in range(0, 64, across):
                    place = (segment, slice(row, row + down), slice(column, column + across))
                    values = expected[place][good[place] & (expected[place] < bright)]
                    if values.size >= max(enough, 1):
                        middle = np.median(values)
                        if abs(middle) < limit:
                            expected[place][good[place]] -= middle
    assert np.allclose(frame, expected, atol=1e-4)


def test_many_threads_give_what_one_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    from calstore.correct import kernels

    constants = arrays(3)
    wanted = Corrections(common_mode=CommonMode(rows=True, columns=True))
    correction = prepared("jungfrau", constants, wanted, "divides")
    one = correction(raw_frame(bits=3))
    monkeypatch.setattr(kernels, "_ALONE", 1)
    monkeypatch.setattr(kernels.os, "cpu_count", lambda: 7)

    many = correction(raw_frame(bits=3))

    assert one.tobytes() == many.tobytes()


def test_only_psanas_medians_are_known() -> None:
    assert CommonMode.of_psana((7, 3, 100)) == CommonMode(rows=True, columns=True, limit=100)
    assert not CommonMode.of_psana((0, 4, 50, 5)).high_gains
    for parameters in ((1, 50, 50, 100), (7, 2), ()):
        with pytest.raises(Invalid, match="medians"):
            CommonMode.of_psana(parameters)


def test_a_constant_for_the_common_mode_is_used_and_none_is_no_correction() -> None:
    constants = {name: each for name, each in arrays().items() if name != "pixel_offset"}
    told = {**constants, "common_mode": np.array([7.0, 2.0, 1000.0, 5.0])}

    without = prepared("epix100", constants, Corrections(), "divides")
    named = prepared("epix100", told, Corrections(), "divides")
    off = prepared("epix100", told, Corrections(common_mode=False), "divides")

    raw = raw_frame()
    assert without.common_mode is None
    assert np.array_equal(without(raw), off(raw))
    assert not np.array_equal(without(raw), named(raw))


def test_a_version_corrects_what_a_run_gets_and_names_the_nearest(tmp_path: Path) -> None:
    store = init_store(tmp_path / "store", "0" * 32)
    constants: dict[str, Any] = arrays(3)
    put_version(store, "mfx/main", {("jungfrau", "jungfrau", ("1", "2")): constants}, "5-9")
    raw = raw_frame(bits=1)

    there = store["mfx/main"]["jungfrau"].at(7)

    expected = prepared("jungfrau", constants, Corrections(), "divides")(raw)
    assert np.array_equal(there.correct(raw), expected)
    assert there.correction().unit == "keV"
    with pytest.raises(NotFound, match="nearest range is 5-9"):
        store["mfx/main"]["jungfrau"].at(12).correct(raw)
    with pytest.raises(NotFound, match="no geometry"):
        there.image(raw)


def test_a_camera_of_lcls_1_is_corrected_as_psana_1_does(tmp_path: Path) -> None:
    folder = "Camera::CalibV1/XppEndstation.0:Opal1000.1"
    gain = pedestals_text(0, (4, 8))
    files = {
        f"{folder}/pedestals/0-end.data": pedestals_text(100, (4, 8)),
        f"{folder}/pixel_gain/0-end.data": gain,
    }
    store = init_store(tmp_path / "store", "0" * 32)
    import_tree(store, write_tree(tmp_path / "calib", files), "xpp/main", stamp())
    raw = np.full((4, 8), 1000, np.uint16)

    there = store["xpp/main"]["Opal1000.1"].at(5)

    expected = (1000 - there["pedestals"].array) * there["pixel_gain"].array
    assert np.allclose(there.correct(raw), expected)
