"""Pixels are where psana puts them, and an image gives back what was drawn on it."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from commandline import REAL_TREE
from hypothesis import given
from hypothesis import strategies as st

from calstore.correct.assembly import assembly, image_of, panels_of
from calstore.correct.geometry import coordinates
from calstore.correct.segments import segment
from calstore.errors import Invalid
from calstore.model.detectors import segment_shape

PSANA = os.environ.get("CALSTORE_PSANA_PYTHON")
REAL_GEOMETRIES = REAL_TREE.parent

SEGMENTS = (
    *("SENS2X1:V1", "EPIX100:V1", "EPIX10KA:V1", "EPIXHR1X4:V1", "EPIXHR2X2:V1", "EPIXMASIC:V1"),
    *("EPIXUHR3X2:V1", "EPIXUHRASIC:V1", "JUNGFRAU:V1", "JUNGFRAU:V2", "PNCCD:V1"),
    *("MTRX:30:50:75:75", "MTRX:30:50:75:50.5", "MTRX:V2:31:50:100:100"),
)
"""Those that psana 4.3.4 knows; EPIX10KA:V2 is psana1's."""


def text(*lines: str) -> bytes:
    return "\n".join(("# TITLE  made up", "", *lines, "")).encode()


def of_four(name: str) -> bytes:
    """Four segments in two halves of a camera, turned and tilted as real ones are."""
    return text(
        "# METROLOGY none",
        f"HALF 0 {name} 0   -60000   40000   10.5   90  0   0   0.48292 -0.05755  0.01316",
        f"HALF 0 {name} 1    61000   40500    -20  270  0   0  -0.14725  0.00000  0.00000",
        f"HALF 1 {name} 0   -60000.5 41000      0    0 180  0   0.00000  0.09867 -0.29055",
        f"HALF 1 {name} 1    59000   39000      0  180  0 180   0.32370  0.00395  0.00000",
        "CAMERA 0 HALF 0       10   70000     0     0  0   0   0.5      0        0",
        "CAMERA 0 HALF 1      -10  -70000     3     0  0   0  -0.5      0        0",
        "IP 0 CAMERA 0       5000  -12000  100000  90  0   0   0        0        0",
    )


def one(name: str, turned: float = 0) -> bytes:
    return text(f"IP 0 {name} 0   0 0 0   {turned} 0 0   0 0 0")


# --- as psana ------------------------------------------------------------------------------


def digests(data: bytes) -> list[str]:
    """As psana_geometry.py prints them."""
    placed = coordinates(data)
    where = assembly(placed)
    plain = [axis + 0.0 for axis in (placed.x, placed.y, placed.z)]
    plain += [axis.astype(np.int64) for axis in (where.rows, where.columns)]
    return [hashlib.sha256(np.ascontiguousarray(axis).tobytes()).hexdigest() for axis in plain]


def by_psana(paths: list[Path]) -> list[list[str] | None]:
    assert PSANA is not None
    script = Path(__file__).with_name("psana_geometry.py")
    done = subprocess.run(
        [PSANA, script, *paths],
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            "PS_PARALLEL": "none",
            "OMPI_ALLOW_RUN_AS_ROOT": "1",
            "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        },
    )
    assert done.returncode == 0, done.stderr
    found: list[list[str] | None] = json.loads(done.stdout)
    return found


@pytest.mark.skipif(
    PSANA is None, reason="CALSTORE_PSANA_PYTHON does not name a Python that has psana"
)
def test_every_pixel_is_where_psana_puts_it_to_the_last_bit(tmp_path: Path) -> None:
    paths = []
    for number, name in enumerate(SEGMENTS):
        for kind, data in (("four", of_four(name)), ("one", one(name, 90))):
            paths.append(tmp_path / f"{number}-{kind}.data")
            paths[-1].write_bytes(data)

    placed = by_psana(paths)

    for path, theirs in zip(paths, placed, strict=True):
        assert digests(path.read_bytes()) == theirs, path.read_text()


@pytest.mark.skipif(
    PSANA is None, reason="CALSTORE_PSANA_PYTHON does not name a Python that has psana"
)
@pytest.mark.skipif(not REAL_GEOMETRIES.is_dir(), reason="the real geometry files are not here")
def test_the_pixels_of_real_geometries_are_where_psana_puts_them() -> None:
    files = [*REAL_GEOMETRIES.glob("geometry/lcls*/*.data"), *REAL_TREE.glob("*/*/geometry/*.data")]
    paths = list({path.read_bytes(): path for path in sorted(files)}.values())

    placed = by_psana(paths)

    assert sum(theirs is not None for theirs in placed) >= 10
    for path, theirs in zip(paths, placed, strict=True):
        if theirs is not None:
            assert digests(path.read_bytes()) == theirs, path


# --- without psana -------------------------------------------------------------------------


def test_a_matrix_has_its_pixels_at_multiples_of_their_lengths() -> None:
    placed = coordinates(one("MTRX:2:3:10:20"))

    assert placed.pixel_um == 10
    assert placed.x.tolist() == [[[0, 0, 0], [10, 10, 10]]]
    assert placed.y.tolist() == [[[0, 20, 40], [0, 20, 40]]]
    assert not placed.z.any()


def test_a_centred_matrix_counts_its_rows_against_y() -> None:
    placed = coordinates(one("MTRX:V2:2:3:10:10"))

    assert placed.x.tolist() == [[[-10, 0, 10], [-10, 0, 10]]]
    assert placed.y.tolist() == [[[5, 5, 5], [-5, -5, -5]]]


def test_a_segment_that_is_turned_gives_an_image_that_is_turned() -> None:
    panels = np.arange(6).reshape(1, 2, 3)

    upright, turned = (
        image_of(assembly(coordinates(one("MTRX:2:3:10:10", angle))), panels) for angle in (0, 90)
    )

    assert np.array_equal(upright, panels[0])
    assert np.array_equal(turned, np.rot90(panels[0]))


@pytest.mark.parametrize("name", [*SEGMENTS, "EPIX10KA:V2"])
def test_a_segment_has_as_many_pixels_as_its_name_says(name: str) -> None:
    x, y = segment(name).places()

    assert x.shape == y.shape == segment_shape(name)
    if name != "EPIXHR1X4:V1":  # psana puts two of its rows where two others are
        assert len(np.unique(x + 1j * y)) == x.size


def test_wide_pixels_at_the_joint_of_chips_leave_a_gap_in_the_image() -> None:
    where = assembly(coordinates(one("EPIX100:V1", 90)))

    covered = image_of(where, np.ones((1, 704, 768), np.uint8))

    assert where.shape == (709, 773)
    assert np.flatnonzero(~covered.any(axis=1)).tolist() == [352, 353, 354, 355, 356]
    assert np.flatnonzero(~covered.any(axis=0)).tolist() == [384, 385, 386, 387, 388]


@given(
    st.sampled_from(("MTRX:8:9:10:10", "MTRX:V2:7:5:10:10")),
    st.floats(-1e6, 1e6),
    st.floats(-1e6, 1e6),
    st.integers(0, 2**32 - 1),
)
def test_what_is_drawn_on_the_image_comes_back_to_the_pixels(
    name: str, x0: float, y0: float, seed: int
) -> None:
    data = text(
        f"CAMERA 0 {name} 0     0 0 0   0 0 0   0 0 0",
        f"CAMERA 0 {name} 1   200 0 0  90 0 0   0 0 0",
        f"IP 0 CAMERA 0   {x0} {y0} 0   0 0 0   0 0 0",
    )
    where = assembly(coordinates(data))
    panels = np.random.default_rng(seed).integers(1, 9, where.rows.shape)

    image = image_of(where, panels)

    assert np.array_equal(panels_of(where, image), panels)
    assert np.count_nonzero(image) == panels.size


def test_segments_are_in_the_order_of_the_lines_not_of_their_numbers() -> None:
    data = text(
        "IP 0 MTRX:1:1:10:10 1   50 0 0   0 0 0   0 0 0",
        "IP 0 MTRX:1:1:10:10 0    0 0 0   0 0 0   0 0 0",
    )

    assert coordinates(data).x.ravel().tolist() == [50, 0]


def test_a_detector_behind_the_sample_has_negative_z() -> None:
    for z0 in (1000, -1000):
        placed = coordinates(text(f"IP 0 MTRX:1:1:10:10 0   0 0 {z0}   0 0 0   0 0 0"))
        assert placed.z.item() == -1000


def test_pixels_on_the_same_place_of_the_image_show_the_last() -> None:
    line = "IP 0 MTRX:1:1:10:10 {}   0 0 0   0 0 0   0 0 0"
    where = assembly(coordinates(text(line.format(0), line.format(1))))

    assert image_of(where, np.array([[[7]], [[8]]])).tolist() == [[8]]
    assert panels_of(where, np.array([[5]])).ravel().tolist() == [5, 5]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "places no segment"),
        (b"IP 0 EPIX100:V1 0  0 0 0  0 0 0  0 0\n", "line 1: IP 0 EPIX100:V1 0"),
        (b"IP 0 EPIX100:V1 0  0 0 x  0 0 0  0 0 0\n", "13 fields"),
        (b"IP 0 EPIX100:V1 0  0 0 nan  0 0 0  0 0 0\n", "13 fields"),
        (one("ABRACADABRA:V1"), "ABRACADABRA:V1 are is not known"),
        (one("MTRX:2:2:0:10"), "without a size"),
        (one("MTRX:2:2:1.2.3:10"), "not known"),
        (one("MTRX:100000:100000:1:1"), "10,000,000,000 pixels"),
        (text("A 0 B 0 0 0 0 0 0 0 0 0 0", "B 0 A 0 0 0 0 0 0 0 0 0 0"), "this one none"),
        (text("IP 0 C 0 0 0 0 0 0 0 0 0 0"), "C are is not known"),
        (
            text(
                "IP 0 PNCCD:V1 0  0 0 0  0 0 0  0 0 0",
                "IP:V1 0 PNCCD:V1 1  0 0 0  0 0 0  0 0 0",
            ),
            "this one IP 0, IP:V1 0",
        ),
        (
            text(
                "C 0 PNCCD:V1 0  0 0 0  0 0 0  0 0 0",
                "IP 0 C 0  0 0 0  0 0 0  0 0 0",
                "IP 0 C 0  9 0 0  0 0 0  0 0 0",
            ),
            "places C 0 twice",
        ),
        (
            text(
                "IP 0 PNCCD:V1 0  0 0 0  0 0 0  0 0 0",
                "IP 0 EPIX100:V1 0  0 0 0  0 0 0  0 0 0",
            ),
            "several sizes: PNCCD:V1, EPIX100:V1",
        ),
        (
            text(*(f"F {n} F {n + 1} 0 0 0 0 0 0 0 0 0" for n in range(2000))),
            "33 deep",
        ),
    ],
)
def test_a_text_that_places_no_pixels_says_why(data: bytes, said: str) -> None:
    with pytest.raises(Invalid) as refused:
        coordinates(data)

    assert said in str(refused.value)


def test_pixels_too_far_from_each_other_make_no_image() -> None:
    line = "IP 0 MTRX:1:1:10:10 {}   {} 0 0   0 0 0   0 0 0"

    for far in ("1e7", "1e300"):
        with pytest.raises(Invalid, match="pixels apart"):
            assembly(coordinates(text(line.format(0, 0), line.format(1, far))))


def test_an_image_or_panels_of_another_shape_are_refused_with_both() -> None:
    where = assembly(coordinates(one("MTRX:2:3:10:10")))

    with pytest.raises(Invalid, match=r"\(3, 2\) where the assembled one has \(2, 3\)"):
        panels_of(where, np.ones((3, 2)))
    with pytest.raises(Invalid, match=r"\(2, 2\) where the geometry places pixels \(1, 2, 3\)"):
        image_of(where, np.ones((2, 2)))
