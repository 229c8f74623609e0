"""Each rule finds its planted defect, and says nothing of healthy constants that look alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from constants import (
    CAMERAS,
    CSPAD,
    CSPAD2X2,
    EPIX10KA2M,
    EPIX100A,
    JUNGFRAU,
    JUNGFRAU_1M,
    JUNGFRAU_4M,
    LARGE,
    OPAL,
    PNCCD,
    QUAD,
    TYPES,
    Array,
    Camera,
    healthy,
    of_chips,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from calstore.checks import form, rules, values
from calstore.checks.finding import Finding, Panel, Subject, panels_text
from calstore.checks.panels import by_panel
from calstore.errors import Invalid
from calstore.model.detectors import expected_shapes, gain_use

seeds = st.integers(0, 2**31)

JUDGED = {*TYPES, "status_extra", "status_data", "pixel_bkgd", "common_mode"}


def found(camera: Camera, type_name: str, array: Array) -> tuple[Finding, ...]:
    subject = camera.subject(type_name)
    return (
        *rules.form_findings(subject, array.dtype.name, array.shape),
        *rules.value_findings(subject, array),
    )


def the_finding(camera: Camera, type_name: str, array: Array) -> Finding:
    """The only one: a defect is said once, by one rule."""
    findings = found(camera, type_name, array)
    assert len(findings) == 1, [str(finding) for finding in findings]
    return findings[0]


def changed(camera: Camera, type_name: str, change: Callable[[Array], None]) -> Array:
    array = healthy(camera, type_name)
    change(array)
    return array


# --- healthy constants ---------------------------------------------------------------------


@pytest.mark.parametrize("type_name", TYPES)
@pytest.mark.parametrize(
    "camera",
    [camera for camera in CAMERAS if camera not in LARGE],
    ids=lambda camera: camera.source,
)
@settings(max_examples=2)
@given(seed=seeds)
def test_healthy_constants_are_not_flagged(camera: Camera, type_name: str, seed: int) -> None:
    assert found(camera, type_name, healthy(camera, type_name, seed)) == ()


@pytest.mark.parametrize("camera", LARGE, ids=lambda camera: camera.source)
@pytest.mark.parametrize("type_name", ["pixel_status", "pixel_offset"])
def test_healthy_constants_of_large_detectors_are_not_flagged(
    camera: Camera, type_name: str
) -> None:
    assert found(camera, type_name, healthy(camera, type_name)) == ()


@settings(max_examples=8)
@given(seeds, st.sampled_from([EPIX100A, CSPAD2X2, CSPAD]))
def test_noise_without_any_structure_has_no_order(seed: int, camera: Camera) -> None:
    noise = np.random.default_rng(seed).normal(2500, 30, camera.shape).astype(np.float32)

    assert found(camera, "pedestals", noise) == ()


@settings(max_examples=10)
@given(seeds, st.floats(0, 100), st.floats(0, 100))
def test_a_smooth_cspad2x2_in_daq_order_is_not_flagged(
    seed: int, down: float, across: float
) -> None:
    random = np.random.default_rng(seed)
    rows, columns = np.linspace(0, down, 185)[:, None], np.linspace(0, across, 388)
    smooth = (rows + columns)[..., None] + random.normal(0, 1, (185, 388, 2))

    assert found(CSPAD2X2, "pedestals", smooth.astype(np.float32)) == ()


@pytest.mark.parametrize(
    ("levels", "rows", "columns"), [(300, 0, 0), (300, 5, 30), (0, 30, 0), (0, 0, 30), (30, 5, 5)]
)
@pytest.mark.parametrize("camera", [EPIX100A, CSPAD, CSPAD2X2, JUNGFRAU])
@settings(max_examples=2)
@given(seed=seeds, slope=st.floats(0, 100))
def test_chips_with_patterns_of_their_own_are_in_the_right_order(
    camera: Camera, levels: float, rows: float, columns: float, seed: int, slope: float
) -> None:
    array = of_chips(camera, seed, levels=levels, rows=rows, columns=columns, slope=slope)

    assert found(camera, "pedestals", array) == ()


@settings(max_examples=10)
@given(seed=seeds, rows=st.floats(5, 50), columns=st.floats(0, 50))
def test_panels_of_a_cspad2x2_with_one_pattern_are_in_the_right_order(
    seed: int, rows: float, columns: float
) -> None:
    array = of_chips(CSPAD2X2, seed, levels=0, rows=rows, columns=columns, slope=50)
    noise = np.random.default_rng(seed).normal(0, 10, array.shape)
    array = (array[..., :1] + noise + [0, 20]).astype(np.float32)

    assert found(CSPAD2X2, "pedestals", array) == ()


def test_what_is_filled_in_for_modes_that_no_dark_measures_is_no_defect() -> None:
    rms, status = healthy(QUAD, "pixel_rms"), healthy(QUAD, "pixel_status")

    assert (rms[5:] == 1).all()
    assert (status[5:] == 0).all()
    assert found(QUAD, "pixel_rms", rms) == found(QUAD, "pixel_status", status) == ()


@pytest.mark.parametrize(
    ("camera", "shape"),
    [
        (CSPAD, (4, 8, 185, 388)),
        (CSPAD, (5920, 388)),
        (PNCCD, (2048, 512)),
        (CSPAD2X2, (71780, 2)),
        (EPIX100A, (1, 704, 768)),
        (JUNGFRAU, (3, 512, 1024)),
        (OPAL, (512, 256)),
    ],
)
def test_shapes_of_the_same_order_are_no_difference(camera: Camera, shape: tuple[int, ...]) -> None:
    assert not any(form.shape(camera.subject("pedestals"), shape))


# --- shape, dtype, order -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("camera", "shape"),
    [
        (EPIX100A, (768, 704)),
        (EPIX100A, (704 * 768,)),
        (CSPAD2X2, (2, 185, 388)),
        (CSPAD2X2, (388, 185, 2)[::-1]),
        (CSPAD, (32, 388, 185)),
        (CSPAD, (185, 388, 32)),
        (PNCCD, (512, 4, 512)),
        (JUNGFRAU_1M, (2, 3, 512, 1024)),
        (JUNGFRAU, (3, 1, 1024, 512)),
        (QUAD, (4, 7, 352, 384)),
        (QUAD, (7, 4, 384, 352)),
        (EPIX10KA2M, (16, 7, 352, 384)),
    ],
)
def test_an_order_of_equal_size_is_wrong(camera: Camera, shape: tuple[int, ...]) -> None:
    (finding,) = form.shape(camera.subject("pedestals"), shape)

    assert finding.is_wrong
    assert f"the shape is {shape}, not (" in finding.what
    assert "as many values in another order" in finding.what


@pytest.mark.parametrize(
    ("camera", "type_name", "shape", "says"),
    [
        (EPIX100A, "pixel_rms", (700, 768), "goes on with 1 everywhere in silence"),
        (CSPAD, "pixel_status", (28, 185, 388), "goes on with 0 everywhere in silence"),
        (JUNGFRAU, "pixel_status", (1, 512, 1024), "psana does not check it"),
        (QUAD, "pedestals", (7, 1, 352, 384), "psana does not check it"),
        (OPAL, "pedestals", (3, 1024, 1024), "fails when it subtracts"),
        (OPAL, "common_mode", (17,), "other numbers for the algorithm"),
        (OPAL, "pedestals", (0, 1024), "takes it for loaded"),
    ],
)
def test_a_shape_that_the_detector_does_not_have_is_wrong(
    camera: Camera, type_name: str, shape: tuple[int, ...], says: str
) -> None:
    (finding,) = form.shape(camera.subject(type_name), shape)

    assert finding.is_wrong
    assert str(shape) in finding.what
    assert says in finding.leads_to


def test_a_status_without_gain_modes_is_suspicious_as_ami_takes_it() -> None:
    (finding,) = form.shape(QUAD.subject("pixel_status"), (4, 352, 384))

    assert finding.severity == "suspicious"
    assert "AMI takes it" in finding.leads_to


def test_a_number_of_panels_that_no_jungfrau_has_is_suspicious() -> None:
    (finding,) = form.shape(JUNGFRAU.subject("pedestals"), (3, 5, 512, 1024))

    assert finding.severity == "suspicious"
    assert "(3, 1, 512, 1024) or (3, 2, 512, 1024) or (3, 8, 512, 1024)" in finding.what


def test_nothing_is_expected_of_detectors_and_types_that_nobody_knows() -> None:
    strange = Subject("Xtcav::CalibV1", "XrayTransportDiagnostic.0:Unheard.0", "pedestals", ("0",))

    assert expected_shapes(strange.group, strange.source, "pedestals") == ()
    assert expected_shapes(EPIX100A.group, EPIX100A.source, "nolasing") == ()
    assert not any(form.shape(strange, (3, 4, 5)))


@pytest.mark.parametrize(
    ("type_name", "dtype", "is_odd"),
    [
        ("pedestals", "float32", False),
        ("pedestals", "float64", False),
        ("pedestals", "int16", False),
        ("pedestals", "bool", True),
        ("pixel_status", "uint16", False),
        ("pixel_status", "int64", False),
        ("pixel_status", "float32", True),
        ("pixel_mask", "bool", False),
        ("pixel_mask", "float64", True),
        ("geometry", "float64", False),
    ],
)
def test_a_dtype_whose_meaning_the_cast_of_psana_loses_is_suspicious(
    type_name: str, dtype: str, is_odd: bool
) -> None:
    findings = list(form.dtype(OPAL.subject(type_name), dtype))

    assert [finding.severity for finding in findings] == ["suspicious"] * is_odd
    assert all(dtype in finding.what for finding in findings)


@settings(max_examples=5)
@given(seeds, st.sampled_from(["levels", "smooth"]))
def test_the_natural_order_of_a_cspad2x2_shows_in_its_values(seed: int, kind: str) -> None:
    random = np.random.default_rng(seed)
    natural = random.normal(0, 1, (2, 185, 388))
    if kind == "levels":
        natural += 2500 + np.reshape([0, 300], (2, 1, 1))
    else:
        natural += 3 * np.cumsum(random.normal(0, 1, (2, 1, 388)), axis=-1)
    array = natural.astype(np.float32).reshape(185, 388, 2)

    finding = the_finding(CSPAD2X2, "pedestals", array)

    assert finding.severity == "suspicious"
    assert "natural order (2, 185, 388)" in finding.what


@settings(max_examples=10)
@given(seed=seeds, rows=st.floats(20, 50), columns=st.floats(20, 50))
def test_the_natural_order_of_a_cspad2x2_shows_in_patterns_alone(
    seed: int, rows: float, columns: float
) -> None:
    daq = of_chips(CSPAD2X2, seed, levels=0, rows=rows, columns=columns, slope=0)
    natural = np.ascontiguousarray(np.moveaxis(daq, -1, 0)).reshape(CSPAD2X2.shape)

    assert "natural order" in the_finding(CSPAD2X2, "pedestals", natural).what


@pytest.mark.parametrize("type_name", ["pedestals", "pixel_rms", "pixel_gain", "pixel_offset"])
@settings(max_examples=3)
@given(seed=seeds, camera=st.sampled_from([EPIX100A, CSPAD]))
def test_a_transposed_array_shows_in_its_values(type_name: str, seed: int, camera: Camera) -> None:
    array = healthy(camera, "pedestals", seed) / np.float32(2500)  # near 1, as a factor is
    transposed = np.ascontiguousarray(np.swapaxes(array, -1, -2)).reshape(camera.shape)

    finding = the_finding(camera, type_name, transposed)

    assert finding.severity == "suspicious"
    assert "was it transposed?" in finding.leads_to


def test_an_opaque_file_is_wrong_where_an_array_should_be() -> None:
    (finding,) = form.opaque(EPIX100A.subject("pedestals"))

    assert finding.is_wrong
    assert "goes on with 0 everywhere in silence" in finding.leads_to
    assert not any(form.opaque(EPIX100A.subject("geometry")))
    assert not any(form.opaque(EPIX100A.subject("nolasing")))


# --- single values -------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("type_name", ["pedestals", "pixel_rms", "pixel_gain", "pixel_offset"])
def test_what_is_no_number_is_counted(type_name: str, value: float) -> None:
    array = changed(OPAL, type_name, lambda array: array[:3, 0].fill(value))

    finding = the_finding(OPAL, type_name, array)

    assert finding.is_wrong
    assert "nan or inf in 3 of 1,048,576 pixels (0.00029 %)" in finding.what


@pytest.mark.parametrize("type_name", sorted(JUDGED))
def test_no_type_may_hold_what_is_no_number(type_name: str) -> None:
    array = np.ones((8, 8))
    array[0, 0] = np.nan

    findings = rules.value_findings(OPAL.subject(type_name), array)

    assert "nan or inf in 1 of 64 pixels (1.6 %)" in [finding.what for finding in findings]


def test_a_float64_that_float32_cannot_hold_is_wrong() -> None:
    array = healthy(OPAL, "pixel_offset").astype(np.float64)
    array[0, 0] = 1e300

    finding = the_finding(OPAL, "pixel_offset", array)

    assert finding.is_wrong
    assert "infinite" in finding.leads_to


@pytest.mark.parametrize(
    ("value", "says"),
    [(65536, "so that 1 become 0"), (70000, "so that 0 become 0"), (-1, "so that 0 become 0")],
)
def test_a_status_that_wraps_is_wrong(value: int, says: str) -> None:
    array = healthy(EPIX100A, "pixel_status").astype(np.int64)
    array[3, 4] = value

    finding = the_finding(EPIX100A, "pixel_status", array)

    assert finding.is_wrong
    assert "outside uint16, in 1 of 540,672 pixels" in finding.what
    assert says in finding.leads_to


@pytest.mark.parametrize("type_name", ["status_extra", "status_data"])
def test_other_words_of_status_wrap_too(type_name: str) -> None:
    array = np.zeros((8, 8), np.int64)
    array[0, 0] = -1

    assert "from -1 to -1, outside uint" in the_finding(OPAL, type_name, array).what


def test_bad_pixels_of_status_extra_count_too() -> None:
    array = np.zeros(EPIX100A.shape, np.uint64)
    array[:100] = 2**40

    finding = the_finding(EPIX100A, "status_extra", array)

    assert finding.severity == "suspicious"
    assert finding.what == "76,800 of 540,672 pixels (14.2 %) are bad"


@pytest.mark.parametrize("dtype", [np.uint16, np.int64, np.uint64, np.float64])
def test_the_largest_status_does_not_wrap(dtype: type) -> None:
    array = healthy(EPIX100A, "pixel_status").astype(dtype)
    array[3, 4] = 65535

    assert not any(values.in_range(EPIX100A.subject("pixel_status"), array))


def test_all_64_bits_of_status_extra_are_its_own() -> None:
    array = np.zeros(EPIX100A.shape, np.uint64)
    array[0, 0] = 2**64 - 1

    assert found(EPIX100A, "status_extra", array) == ()


def test_fractions_of_a_status_are_wrong() -> None:
    array = np.zeros(EPIX100A.shape)
    array[3, 4] = 0.5

    assert [
        str(finding) for finding in values.in_range(EPIX100A.subject("pixel_status"), array)
    ] == ["fractions in 1 of 540,672 pixels (0.00018 %): psana cuts them off, so that 0.5 is 0"]


def test_a_mask_other_than_0_and_1_is_wrong() -> None:
    array = changed(EPIX100A, "pixel_mask", lambda array: array[0, :5].fill(255))

    finding = the_finding(EPIX100A, "pixel_mask", array)

    assert finding.is_wrong
    assert "neither 0 nor 1 in 5 of 540,672 pixels" in finding.what


def test_a_mask_of_half_the_detector_is_its_makers_choice_but_not_of_all() -> None:
    half, nothing = np.ones(EPIX100A.shape, np.uint8), np.zeros(EPIX100A.shape, np.uint8)
    half[:352] = 0

    assert found(EPIX100A, "pixel_mask", half) == ()
    assert the_finding(EPIX100A, "pixel_mask", nothing).severity == "suspicious"


def test_an_rms_below_0_is_wrong() -> None:
    array = changed(EPIX100A, "pixel_rms", lambda array: array[0, :7].fill(-2))

    finding = the_finding(EPIX100A, "pixel_rms", array)

    assert finding.is_wrong
    assert "rms below 0 in 7 of 540,672 pixels" in finding.what
    assert "down to -2" in finding.what


# --- what the ADC can give -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("camera", "place", "gain_bits", "panel"),
    [
        (JUNGFRAU_1M, (1, 0), 1 << 14, Panel(0, "G1")),
        (JUNGFRAU_1M, (2, 1), 3 << 14, Panel(1, "G2")),
        (QUAD, (2, 3), 1 << 14, Panel(3, "FL")),
    ],
)
def test_pedestals_with_their_gain_bits_are_wrong(
    camera: Camera, place: tuple[int, int], gain_bits: int, panel: Panel
) -> None:
    array = healthy(camera, "pedestals")
    array[place] += gain_bits

    finding = the_finding(camera, "pedestals", array)

    assert finding.is_wrong
    assert finding.panels == (panel,)
    assert "over 16,383, the largest raw value, in " in finding.what
    assert "gain bits" in finding.leads_to


def test_pedestals_of_16_bits_are_fine_where_the_adc_has_them() -> None:
    array = healthy(EPIX100A, "pedestals") + np.float32(60000)
    over = array + np.float32(10000)

    assert found(EPIX100A, "pedestals", array) == ()
    assert the_finding(EPIX100A, "pedestals", over).is_wrong


def test_differences_are_no_pedestals() -> None:
    array = healthy(EPIX100A, "pedestals")

    finding = the_finding(EPIX100A, "pedestals", array - np.float32(array.mean()))

    assert finding.is_wrong
    assert "pedestals below 0 in " in finding.what
    assert "are these differences" in finding.leads_to


def test_single_pixels_that_somebody_set_below_0_are_suspicious() -> None:
    array = changed(JUNGFRAU_1M, "pedestals", lambda array: array[0, 1, 7, :9].fill(-1))

    finding = the_finding(JUNGFRAU_1M, "pedestals", array)

    assert finding.severity == "suspicious"
    assert "below 0 in 9 of 524,288 pixels" in finding.what
    assert finding.panels == (Panel(1, "G0"),)


def test_what_was_computed_for_modes_that_no_dark_measures_has_no_limits() -> None:
    array = healthy(QUAD, "pedestals")
    array[5:] -= 5000

    assert found(QUAD, "pedestals", array) == ()


def test_nothing_is_known_of_the_adc_of_other_cameras() -> None:
    array = healthy(PNCCD, "pedestals") - np.float32(2500)

    assert found(PNCCD, "pedestals", array) == ()


# --- panels --------------------------------------------------------------------------------


@pytest.mark.parametrize("type_name", ["pedestals", "pixel_rms"])
@pytest.mark.parametrize("value", [0.0, 1.0, 16383.0])
def test_a_panel_of_one_value_is_dead(type_name: str, value: float) -> None:
    array = changed(JUNGFRAU_1M, type_name, lambda array: array[2, 1].fill(value))

    finding = the_finding(JUNGFRAU_1M, type_name, array)

    assert finding.is_wrong
    assert f"{value:g} in every pixel of a panel" in finding.what
    assert finding.panels == (Panel(1, "G2"),)


@pytest.mark.parametrize(
    ("camera", "place", "panel"),
    [
        (QUAD, (0, 3), Panel(3, "FH")),
        (JUNGFRAU_4M, (1, 7), Panel(7, "G1")),
        (CSPAD, 31, Panel(31)),
        (CSPAD2X2, (..., 1), Panel(1)),
        (PNCCD, 2, Panel(2)),
    ],
)
def test_a_panel_whose_pixels_are_all_bad_is_dead(
    camera: Camera, place: object, panel: Panel
) -> None:
    array = healthy(camera, "pixel_status")
    array[place] = 1  # type: ignore[index]

    finding = the_finding(camera, "pixel_status", array)

    assert finding.is_wrong
    assert finding.panels == (panel,)


@pytest.mark.parametrize(
    ("rows", "severity"),
    [(0, None), (30, None), (40, "suspicious"), (340, "suspicious"), (360, "wrong")],
)
def test_the_part_of_bad_pixels_decides(rows: int, severity: str | None) -> None:
    array = np.zeros(EPIX100A.shape, np.uint16)
    array.flat[np.random.default_rng(1).permutation(array.size)[: rows * 768]] = 2

    findings = found(EPIX100A, "pixel_status", array)

    assert [finding.severity for finding in findings] == ([] if severity is None else [severity])
    for finding in findings:
        assert " of 540,672 pixels (" in finding.what
        assert f"{rows * 768:,} of them by bit 2 (rms below its limit)" in finding.what
        assert finding.panels == ()  # it has one


def test_a_panel_with_many_bad_pixels_does_not_hide_among_good_ones() -> None:
    array = changed(QUAD, "pixel_status", lambda array: array[1, 2, :40].fill(1))

    finding = the_finding(QUAD, "pixel_status", array)

    assert finding.severity == "suspicious"
    assert finding.panels == (Panel(2, "FM"),)
    assert "15," in finding.what
    assert " of 135,168 pixels (11" in finding.what


def test_an_rms_of_0_in_many_pixels_is_suspicious() -> None:
    array = changed(QUAD, "pixel_rms", lambda array: array[4, 0, :40].fill(0))

    finding = the_finding(QUAD, "pixel_rms", array)

    assert finding.severity == "suspicious"
    assert finding.panels == (Panel(0, "AML-M"),)


@pytest.mark.parametrize(
    ("camera", "place", "panels", "where"),
    [
        (EPIX100A, np.s_[352:, 384:], (), "rows 352-703, columns 384-767"),
        (JUNGFRAU_1M, np.s_[1, 1, :256, 512:768], (Panel(1, "G1"),), "columns 512-767"),
        (QUAD, np.s_[2, 3, 176:, :192], (Panel(3, "FL"),), "rows 176-351, columns 0-191"),
        (CSPAD, np.s_[9, :, 194:], (Panel(9),), "rows 0-184, columns 194-387"),
        (CSPAD2X2, np.s_[:, :194, 1], (Panel(1),), "rows 0-184, columns 0-193"),
    ],
)
@pytest.mark.parametrize("type_name", ["pedestals", "pixel_rms", "pixel_status"])
def test_a_dead_chip_is_wrong_although_its_panel_lives(
    type_name: str, camera: Camera, place: Any, panels: tuple[Panel, ...], where: str
) -> None:
    array = healthy(camera, type_name)
    array[place] = 2

    finding = next(one for one in found(camera, type_name, array) if "of a chip" in one.what)

    assert finding.is_wrong
    assert finding.panels == panels
    assert where in finding.what
    if type_name == "pixel_status":  # its pixels are not counted again
        assert found(camera, type_name, array) == (finding,)


def test_a_chip_without_noise_is_said_once() -> None:
    array = changed(QUAD, "pixel_rms", lambda array: array[2, 3, 176:, :192].fill(0))

    assert "one value in every pixel of a chip" in the_finding(QUAD, "pixel_rms", array).what


def test_pedestals_that_nobody_computed_are_suspicious() -> None:
    array = changed(QUAD, "pedestals", lambda array: array[5:].fill(0))

    finding = the_finding(QUAD, "pedestals", array)

    assert finding.severity == "suspicious"
    assert "in AHL-L, AML-L, which no dark measures" in finding.what
    assert len(finding.panels) == 8


def test_panels_of_a_cspad2x2_in_daq_order_are_on_its_last_axis() -> None:
    array = np.zeros(CSPAD2X2.shape, np.uint16)
    array[..., 1] = 1

    panels = dict(by_panel(CSPAD2X2.subject("pixel_status"), array.reshape(-1, 2)))

    assert {panel: values.mean() for panel, values in panels.items()} == {Panel(0): 0, Panel(1): 1}


# --- pixels without noise that no status masks ---------------------------------------------


def test_pixels_without_noise_are_fine_where_the_status_masks_them() -> None:
    rms, status = healthy(QUAD, "pixel_rms"), healthy(QUAD, "pixel_status")
    subject = QUAD.subject("pixel_rms")

    silent = values.silent_pixels(subject, rms)

    assert silent.size
    assert not any(values.unmasked_silence(subject, silent, status))


def test_pixels_without_noise_that_the_status_calls_good_are_suspicious() -> None:
    rms, status = healthy(EPIX100A, "pixel_rms"), healthy(EPIX100A, "pixel_status")
    rms[100, :9] = 0
    status[100, :9] = 0
    subject = EPIX100A.subject("pixel_rms")

    silent = values.silent_pixels(subject, rms)
    (finding,) = values.unmasked_silence(subject, silent, status)
    (without,) = values.unmasked_silence(subject, silent, None)

    assert finding.severity == without.severity == "suspicious"
    assert "rms 0 or less in 9 pixels that pixel_status calls good" in finding.what
    assert f"in {silent.size:,} pixels that no pixel_status is there to mask" in without.what


def test_an_rms_that_is_0_for_the_most_part_is_not_remembered_pixel_by_pixel() -> None:
    rms = healthy(JUNGFRAU, "pixel_rms")
    rms[:2] = 0

    silent = values.silent_pixels(JUNGFRAU.subject("pixel_rms"), rms)

    assert silent.size == 0
    assert the_finding(JUNGFRAU, "pixel_rms", rms).is_wrong


# --- gain ----------------------------------------------------------------------------------


@pytest.mark.parametrize("camera", [JUNGFRAU, JUNGFRAU_1M, QUAD])
def test_a_gain_in_kev_per_adu_is_wrong_where_readers_divide(camera: Camera) -> None:
    gain = (1 / healthy(camera, "pixel_gain")).astype(np.float32)

    finding = the_finding(camera, "pixel_gain", gain)

    assert finding.is_wrong
    assert "take its inverse" in finding.leads_to


@settings(max_examples=5)
@given(st.floats(12, 25))
def test_a_gain_in_adu_per_kev_is_wrong_where_readers_multiply(level: float) -> None:
    gain = np.full(EPIX100A.shape, level, np.float32)

    finding = the_finding(EPIX100A, "pixel_gain", gain)

    assert finding.is_wrong
    assert "multiply" in finding.leads_to


@pytest.mark.parametrize("level", [0.04, 0.06, 0.09, 0.5, 1.0, 2.0])
def test_a_factor_of_any_unit_is_fine_for_an_epix100a(level: float) -> None:
    assert found(EPIX100A, "pixel_gain", np.full(EPIX100A.shape, level, np.float32)) == ()


def test_relative_gains_as_ami_has_them_by_default_are_fine() -> None:
    relative = np.array([1, 1 / 3, 1 / 100, 1, 1 / 3, 1 / 100, 1 / 100], np.float32)
    gain = np.broadcast_to(relative.reshape(7, 1, 1, 1), QUAD.shape)

    assert found(QUAD, "pixel_gain", gain) == ()
    assert the_finding(QUAD, "pixel_gain", (1 / gain)).is_wrong


def test_one_gain_mode_or_panel_the_wrong_way_round_is_wrong() -> None:
    gain = healthy(JUNGFRAU_1M, "pixel_gain")
    gain[0, 1] = 1 / gain[0, 1]

    finding = the_finding(JUNGFRAU_1M, "pixel_gain", gain)

    assert finding.is_wrong
    assert finding.panels == (Panel(1, "G0"),)
    assert "looks like keV/ADU unlike the rest" in finding.what


def test_a_panel_of_another_scale_is_suspicious() -> None:
    gain = healthy(QUAD, "pixel_gain")
    gain[1, 2] *= 50

    finding = the_finding(QUAD, "pixel_gain", gain)

    assert finding.severity == "suspicious"
    assert finding.panels == (Panel(2, "FM"),)


def test_the_same_gain_in_every_mode_is_suspicious() -> None:
    finding = the_finding(JUNGFRAU, "pixel_gain", np.ones(JUNGFRAU.shape, np.float32))

    assert finding.severity == "suspicious"
    assert "the same in every gain mode" in finding.what


def test_a_gain_of_the_other_sign_is_suspicious() -> None:
    finding = the_finding(JUNGFRAU, "pixel_gain", np.abs(healthy(JUNGFRAU, "pixel_gain")))

    assert finding.severity == "suspicious"
    assert finding.panels == (Panel(0, "G1"), Panel(0, "G2"))


def test_a_gain_of_0_is_suspicious_in_pixels_and_wrong_in_a_panel() -> None:
    some, panel = healthy(PNCCD, "pixel_gain"), healthy(PNCCD, "pixel_gain")
    some[0, 0, :3] = 0
    panel[3] = 0

    assert the_finding(PNCCD, "pixel_gain", some).severity == "suspicious"
    assert the_finding(PNCCD, "pixel_gain", panel).is_wrong
    assert the_finding(PNCCD, "pixel_gain", panel).panels == (Panel(3),)


def test_nobody_judges_the_unit_of_a_gain_that_readers_use_in_two_ways() -> None:
    assert gain_use("XppGon.0:Epix10k.0") is None
    assert gain_use("XppGon.0:Unheard.0") is None
    assert gain_use(QUAD.source) == gain_use(JUNGFRAU.source) == "divides"
    assert gain_use(EPIX100A.source) == gain_use(OPAL.source) == "multiplies"


# --- what holds for all --------------------------------------------------------------------


@settings(max_examples=50)
@given(
    seeds,
    st.sampled_from(sorted(JUDGED)),
    st.sampled_from(CAMERAS),
    st.lists(st.integers(0, 9), max_size=5),
    st.sampled_from(["bool", "uint8", "int64", "uint64", "float16", "float32", "float64"]),
)
def test_any_array_at_all_is_judged_without_a_fault(
    seed: int, type_name: str, camera: Camera, shape: list[int], dtype: str
) -> None:
    random = np.random.default_rng(seed)
    array = np.frombuffer(random.bytes(int(np.prod(shape)) * 8), np.uint8)[: int(np.prod(shape))]
    special = np.array([0, 1, 2, 60000, np.nan, np.inf, -np.inf, -1])
    with np.errstate(invalid="ignore", over="ignore"):
        array = special[array % 8].astype(dtype).reshape(shape)

    for finding in found(camera, type_name, array):
        assert finding.what
        assert finding.leads_to


@pytest.mark.parametrize(
    ("panels", "text"),
    [
        ([Panel(3)], "panel 3"),
        ([Panel(12), Panel(3)], "panels 3, 12"),
        ([Panel(2, "FH"), Panel(2, "AML-M")], "panel 2 in FH, AML-M"),
        (
            [Panel(1, "G0"), Panel(0, "G0"), Panel(0, "G2"), Panel(1, "G2"), Panel(7, "G1")],
            "panels 0, 1 in G0, G2; panel 7 in G1",
        ),
    ],
)
def test_panels_are_told_by_the_gain_modes_that_they_share(panels: list[Panel], text: str) -> None:
    assert panels_text(panels) == text


def test_all_types_of_psana_that_are_arrays_have_rules() -> None:
    others = ("nolasing", "tilt")
    assert {name for name in (*JUDGED, *others) if rules.is_judged(name)} == JUDGED
    assert rules.is_judged("geometry")  # of which checks.geometry has the rules


def test_a_finding_says_what_of_which_runs_and_what_it_leads_to() -> None:
    with pytest.raises(Invalid):
        Finding("wrong", "pedestals", (), "what", "leads to")
    with pytest.raises(Invalid):
        Finding("wrong", "pedestals", ("0-end",), "", "leads to")
