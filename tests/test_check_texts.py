"""Geometries and lists of common_mode parameters: planted defects, and texts as they should be."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from commandline import REAL_TREE
from constants import (
    CAMERAS,
    CSPAD,
    CSPAD2X2,
    EPIX10KA2M,
    EPIX100A,
    JUNGFRAU,
    JUNGFRAU_1M,
    JUNGFRAU_4M,
    OPAL,
    PNCCD,
    QUAD,
    Camera,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from calstore.checks import rules
from calstore.checks.finding import Finding, Subject
from calstore.checks.geometry import beside_pedestals, geometry
from calstore.model.conventions import group as group_row
from calstore.model.conventions import group_of

SEGMENTS = {
    EPIX100A: ("EPIX100:V1", 1),
    JUNGFRAU: ("JUNGFRAU:V1", 1),
    JUNGFRAU_1M: ("JUNGFRAU:V2", 2),
    JUNGFRAU_4M: ("JUNGFRAU:V1", 8),
    QUAD: ("EPIX10KA:V2", 4),
    EPIX10KA2M: ("EPIX10KA:V1", 16),
    CSPAD: ("SENS2X1:V1", 32),
    CSPAD2X2: ("SENS2X1:V1", 2),
    OPAL: ("MTRX:1024:1024:8.5:8.5", 1),
    PNCCD: ("PNCCD:V1", 4),
}

NUMBERS = "0 0 0  0 0 0  0 0 0"
ROOT = f"IP 0 CAMERA 0  {NUMBERS}"


def text_of(camera: Camera, *, segment: str | None = None, count: int | None = None) -> str:
    name, number = SEGMENTS[camera]
    segment = segment or name
    lines = [f"CAMERA 0 {segment} {index}  {NUMBERS}" for index in range(count or number)]
    return "\n".join(["# TITLE  imaginary", *lines, ROOT, ""])


def found(camera: Camera, text: str) -> tuple[Finding, ...]:
    return tuple(geometry(camera.subject("geometry"), text.encode()))


def the_finding(camera: Camera, text: str) -> Finding:
    (finding,) = found(camera, text)
    return finding


# --- geometry ------------------------------------------------------------------------------

micrometres = st.floats(-500_000, 500_000).map(lambda number: f"{number:.1f}")
degrees = st.sampled_from(["0", "90", "180.0", "270", "-0.12345", "9e-2"])
places = st.tuples(*[micrometres] * 3, *[degrees] * 6)


@settings(max_examples=50)
@given(st.sampled_from(CAMERAS), st.data())
def test_a_geometry_of_the_detector_is_not_flagged(camera: Camera, data: st.DataObject) -> None:
    segment, count = SEGMENTS[camera]
    lines = [f"PART:V1 0 {segment} {index} {' '.join(data.draw(places))}" for index in range(count)]
    lines.insert(
        data.draw(st.integers(0, count)), f"IP\t0  PART:V1 0 {' '.join(data.draw(places))}"
    )
    end = data.draw(st.sampled_from(["\n", "\r\n", "\n\n", "\n# HDR parent … tilt\n"]))

    assert found(camera, end.join(lines) + data.draw(st.sampled_from(["", end]))) == ()
    assert not any(
        beside_pedestals(camera.subject("geometry"), end.join(lines).encode(), camera.shape)
    )


@pytest.mark.skipif(not REAL_TREE.is_dir(), reason="needs the real geometries")
def test_real_geometries_of_lcls1_are_not_flagged() -> None:
    sources = {
        "cspad": CSPAD.source,
        "epix100a": EPIX100A.source,
        "epix10ka2m": EPIX10KA2M.source,
        "jungfrau1m": JUNGFRAU_1M.source,
        "jungfrau4m": JUNGFRAU_4M.source,
    }
    texts: list[tuple[str, Path]] = [
        (sources[path.stem.removeprefix("geometry-def-")], path)
        for path in (REAL_TREE.parent / "geometry" / "lcls1").glob("*.data")
    ]
    texts += [(path.parts[-3], path) for path in REAL_TREE.glob("*/*/geometry/*.data")]

    assert len(texts) >= 8
    for source, path in texts:
        subject = Subject(group_of(source), source, "geometry", ("0-end",))
        assert list(geometry(subject, path.read_bytes())) == [], path


@pytest.mark.parametrize(
    "line",
    [
        "CAMERA 0 JUNGFRAU:V1 2  0 0 0  0 0 0  0 0",
        "CAMERA 0 JUNGFRAU:V1 2  0 0 0  0 0 0  0 0 0  0",
        "CAMERA 0 JUNGFRAU:V1 2  0 0 0  0 0 0  0 0 O",
        "CAMERA 0 JUNGFRAU:V1 2.5  0 0 0  0 0 0  0 0 0",
        "CAMERA x JUNGFRAU:V1 2  0 0 0  0 0 0  0 0 0",
        "CAMERA 0 JUNGFRAU:V1 2  0 0 0  nan 0 0  0 0 0",
        "by hand",
    ],
)
def test_a_line_that_places_nothing_is_wrong(line: str) -> None:
    finding = the_finding(JUNGFRAU_1M, f"{text_of(JUNGFRAU_1M)}\n{line}\n")

    assert finding.is_wrong
    assert "1 of 4 lines do not hold 13 fields" in finding.what
    assert f"the first is line 6: {' '.join(line.split())}" in finding.what


@pytest.mark.parametrize(
    "segment",
    ["SENS2X1", "JUNGFRAU", "JUNGFRAU:V3", "CAMERA:V1", "MTRX:1024:1024", "MTRX:a:b:8:8", "MTRX"],
)
def test_a_segment_that_nobody_knows_is_wrong(segment: str) -> None:
    finding = the_finding(JUNGFRAU_1M, text_of(JUNGFRAU_1M, segment=segment))

    assert finding.is_wrong
    assert finding.what == f"no segments that psana knows: {segment}"


def test_a_frame_without_segments_is_no_geometry() -> None:
    assert the_finding(OPAL, ROOT).what == "no segments that psana knows: CAMERA"
    assert "no line" in the_finding(OPAL, "# only words\n\n").what
    assert "no line" in the_finding(OPAL, "").what


@pytest.mark.parametrize(
    ("camera", "segment", "count", "says"),
    [
        (JUNGFRAU_4M, None, 7, "3,670,016 pixels in 7 segments"),
        (EPIX10KA2M, None, 15, "2,027,520 pixels in 15 segments"),
        (QUAD, None, 16, "where the detector has 540,672"),
        (CSPAD, None, 31, "where the detector has 2,296,960"),
        (CSPAD2X2, None, 32, "where the detector has 143,560"),
        (EPIX100A, "EPIX10KA:V1", 1, "135,168 pixels in 1 segment,"),
        (PNCCD, "MTRX:512:512:75:75", 3, "786,432 pixels in 3 segments"),
    ],
)
def test_another_number_of_pixels_than_the_detector_has_is_wrong(
    camera: Camera, segment: str | None, count: int, says: str
) -> None:
    finding = the_finding(camera, text_of(camera, segment=segment, count=count))

    assert finding.is_wrong
    assert says in finding.what


def test_a_segment_that_is_placed_twice_counts_twice_as_it_does_in_psana() -> None:
    text = text_of(QUAD) + f"CAMERA 0 EPIX10KA:V2 3  {NUMBERS}\n"

    assert "in 5 segments" in the_finding(QUAD, text).what


def test_parts_that_are_in_each_other_place_nothing() -> None:
    text = f"A 0 B 0  {NUMBERS}\nB 0 A 0  {NUMBERS}\n"

    assert "0 pixels in 0 segments" in the_finding(QUAD, text).what


def test_cameras_of_any_size_have_geometries_of_any_size() -> None:
    assert found(OPAL, text_of(OPAL, segment="MTRX:V2:512:768:16:16")) == ()


@pytest.mark.parametrize(
    ("camera", "segment", "count", "shape", "is_odd"),
    [
        (OPAL, None, 1, (1024, 1024), False),
        (OPAL, None, 1, (512, 512), True),
        (JUNGFRAU_4M, None, 8, (3, 8, 512, 1024), False),
        (JUNGFRAU_4M, None, 2, (3, 8, 512, 1024), True),
        (JUNGFRAU, None, 1, (3, 512, 1024), False),
        (CSPAD, None, 32, (5920, 388), False),
        (CSPAD, None, 31, (5920, 388), False),  # which has a finding of its own
    ],
)
def test_a_geometry_is_compared_with_the_pedestals_of_its_runs(
    camera: Camera, segment: str | None, count: int, shape: Sequence[int], is_odd: bool
) -> None:
    text = text_of(camera, segment=segment, count=count)

    findings = list(beside_pedestals(camera.subject("geometry"), text.encode(), shape))

    assert [finding.severity for finding in findings] == ["suspicious"] * is_odd


@given(st.binary(max_size=300), st.sampled_from(CAMERAS))
def test_any_bytes_at_all_are_judged_without_a_fault(data: bytes, camera: Camera) -> None:
    assert len(list(geometry(camera.subject("geometry"), data))) <= 1


# --- common_mode ---------------------------------------------------------------------------


def judged(camera: Camera, *numbers: float) -> tuple[Finding, ...]:
    array = np.array(numbers)
    subject = camera.subject("common_mode")
    return (
        *rules.form_findings(subject, array.dtype.name, array.shape),
        *rules.value_findings(subject, array),
    )


@pytest.mark.parametrize("camera", CAMERAS, ids=lambda camera: camera.source)
def test_what_psana_does_without_a_file_and_off_are_not_flagged(camera: Camera) -> None:
    row = group_row(camera.group)
    assert row is not None
    assert row.common_mode is not None

    assert judged(camera, *row.common_mode) == ()
    assert judged(camera, 0) == judged(camera, *[0] * 16) == ()


@pytest.mark.parametrize(
    ("camera", "numbers", "says"),
    [
        (CSPAD, (9, 25, 25, 100), "the algorithm 9, where psana has 0 to 8"),
        (CSPAD, (-1,), "the algorithm -1"),
        (EPIX100A, (0.5, 6, 30), "the algorithm 0.5"),
        (EPIX100A, (25, 25, 100), "the algorithm 25"),
        (EPIX100A, (7, 2, 10, 10), "the algorithm 7, which psana has for Jungfrau and Epix10ka"),
        (JUNGFRAU, (7, 8, 100), "the medians 8"),
        (QUAD, (7, 2.5, 10, 10), "the medians 2.5"),
        (QUAD, (7, 2, 0, 10), "a largest correction of 0"),
    ],
)
def test_parameters_that_cannot_have_been_meant_are_suspicious(
    camera: Camera, numbers: tuple[float, ...], says: str
) -> None:
    (finding,) = judged(camera, *numbers)

    assert finding.severity == "suspicious"
    assert says in finding.what


@pytest.mark.parametrize("numbers", [(7,), (7, 7), (7, 1, 100), (7, 4, 0.5, 10)])
def test_fewer_parameters_and_other_medians_are_fine(numbers: tuple[float, ...]) -> None:
    assert judged(JUNGFRAU, *numbers) == ()
