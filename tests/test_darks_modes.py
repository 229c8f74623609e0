"""Constants of gain modes stand in the detector's order, and nothing missing becomes a zero."""

import numpy as np
import pytest

from calstore.darks.constants import DarkConstants
from calstore.darks.modes import modes_of, stacked
from calstore.errors import Invalid

EPIX10KA = ("FH", "FM", "FL", "AHL-H", "AML-M", "AHL-L", "AML-L")
SHAPE = (2, 3, 4)


def constants(level, shape=SHAPE):
    return DarkConstants(
        np.full(shape, level, np.float32),
        np.full(shape, level / 100, np.float32),
        np.full(shape, level % 64, np.uint16),
        np.full(shape, level + 50, np.uint16),
        np.full(shape, level - 50, np.uint16),
    )


def of_modes(modes, shape=SHAPE):
    return {mode: constants(1000 * (number + 1), shape) for number, mode in enumerate(modes)}


def gains(modes=7, shape=SHAPE):
    random = np.random.default_rng(1)
    return {
        "pixel_gain": random.uniform(0.1, 20, (modes, *shape)).astype(np.float32),
        "pixel_offset": random.uniform(1000, 9000, (modes, *shape)).astype(np.float32),
    }


@pytest.mark.parametrize(
    ("kind", "names", "measured"),
    [
        ("Jungfrau", ("G0", "G1", "G2"), 3),
        ("jungfrau", ("G0", "G1", "G2"), 3),
        ("Epix10ka", EPIX10KA, 5),
        ("Epix10kaQuad", EPIX10KA, 5),
        ("Epix10ka2M", EPIX10KA, 5),
        ("epix10ka", EPIX10KA, 5),
        ("epixhr2x2", EPIX10KA, 5),
        ("epixm320", ("AHL", "SH", "SL"), 3),
        ("epixuhr", ("FHG", "FMG", "FLG1", "FLG2", "AHLG1", "AHLG2", "AMLG1", "AMLG2"), 8),
    ],
)
def test_a_kind_has_its_gain_modes_in_psanas_order(kind, names, measured):
    modes = modes_of(kind)

    assert modes is not None
    assert (modes.names, modes.measured) == (names, measured)


@pytest.mark.parametrize("kind", ["Epix100a", "epix100", "Cspad", "Opal1000", "opal", ""])
def test_a_kind_without_gain_modes_has_none(kind):
    assert modes_of(kind) is None


@pytest.mark.parametrize("shape", [SHAPE, (3, 4)])
def test_the_first_axis_is_the_gain_mode_in_order_whatever_the_order_of_runs(shape):
    modes = ("G0", "G1", "G2")
    made = dict(reversed(of_modes(modes, shape).items()))

    together = stacked(made, modes)

    segments = shape[0] if len(shape) == 3 else 1
    assert together.constants.pedestals.shape == (3, segments, 3, 4)
    assert together.constants.pedestals[:, 0, 0, 0].tolist() == [1000, 2000, 3000]
    assert together.constants.pixel_max[:, 0, 0, 0].tolist() == [1050, 2050, 3050]
    assert together.constants.pixel_status.dtype == np.uint16
    assert together.origins == dict.fromkeys(modes, "measured")


def test_pedestals_after_a_switch_are_computed_from_those_before_and_charge_injection():
    made, injected = of_modes(EPIX10KA[:5]), gains()

    together = stacked(made, EPIX10KA, gains=injected)

    gain, offset = (injected[name].astype(float) for name in ("pixel_gain", "pixel_offset"))
    for low, high in ((5, 3), (6, 4)):
        pedestals = made[EPIX10KA[high]].pedestals
        expected = offset[low] - (offset[high] - pedestals) * gain[low] / gain[high]
        assert np.allclose(together.constants.pedestals[low], expected, rtol=1e-6)
        assert (together.constants.pixel_rms[low] == 1).all()
        assert not together.constants.pixel_status[low].any()
    assert [together.origins[mode] for mode in EPIX10KA] == ["measured"] * 5 + ["computed"] * 2


def test_a_pixel_without_gain_before_the_switch_has_the_offset_after_it_as_in_psana():
    made, injected = of_modes(EPIX10KA[:5]), gains()
    injected["pixel_gain"][3, 1, 2, 3] = 0

    together = stacked(made, EPIX10KA, gains=injected)

    assert together.constants.pedestals[5, 1, 2, 3] == injected["pixel_offset"][5, 1, 2, 3]
    assert np.isfinite(together.constants.pedestals).all()


@pytest.mark.parametrize("given", [{}, {"pixel_gain": None}])
def test_modes_that_cannot_be_computed_are_named_with_what_is_needed(given):
    injected = {name: array for name, array in gains().items() if name in given}

    with pytest.raises(Invalid, match=r"AHL-L, AML-L; .*pixel_offset.*--without AHL-L,AML-L"):
        stacked(of_modes(EPIX10KA[:5]), EPIX10KA, gains=injected)


def test_a_missing_mode_is_refused_unless_it_may_be_absent():
    made = of_modes(("G0", "G2"))

    with pytest.raises(Invalid, match=r"no frames in G1; .*--without G1"):
        stacked(made, ("G0", "G1", "G2"))
    together = stacked(made, ("G0", "G1", "G2"), without=frozenset({"G1"}))

    assert together.origins == {"G0": "measured", "G1": "absent", "G2": "measured"}
    assert not together.constants.pedestals[1].any()
    assert (together.constants.pixel_rms[1] == 1).all()
    assert not together.constants.pixel_status[1].any()
    assert together.constants.pedestals[2, 0, 0, 0] == 2000


def test_a_mode_that_may_be_absent_is_absent_even_where_it_could_be_computed():
    together = stacked(
        of_modes(EPIX10KA[:5]), EPIX10KA, gains=gains(), without=frozenset({"AHL-L"})
    )

    assert (together.origins["AHL-L"], together.origins["AML-L"]) == ("absent", "computed")


@pytest.mark.parametrize(
    ("made", "without", "told"),
    [
        (of_modes(("G0", "FH")), frozenset(), "gain modes FH"),
        (of_modes(("G0", "G1")), frozenset({"FM"}), "gain modes FM"),
        ({}, frozenset({"G0", "G1", "G2"}), "one is measured at least"),
        (
            {**of_modes(("G0", "G1")), "G2": constants(3000, (1, 3, 4))},
            frozenset(),
            "frames of shapes",
        ),
    ],
)
def test_modes_of_another_detector_or_shape_are_refused(made, without, told):
    with pytest.raises(Invalid, match=told):
        stacked(made, ("G0", "G1", "G2"), without=without)


def test_gains_of_another_detector_are_refused():
    with pytest.raises(Invalid, match=r"pixel_gain of shape .* is it of this detector"):
        stacked(of_modes(EPIX10KA[:5]), EPIX10KA, gains=gains(shape=(1, 3, 4)))
