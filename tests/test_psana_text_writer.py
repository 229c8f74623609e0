"""What is written reads back to the same bits, by every reader."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from calstore.errors import Invalid
from calstore.formats import psana_text
from calstore.formats.psana_text_writer import ROUNDED_ONCE, write

CAMERA = "Camera::CalibV1"

_strtof = ctypes.CDLL(None).strtof
_strtof.restype = ctypes.c_float
_strtof.argtypes = [ctypes.c_char_p, ctypes.c_void_p]


def tokens(text: bytes) -> list[bytes]:
    return b" ".join(line for line in text.splitlines() if not line.startswith(b"#")).split()


def assert_reads_back(array: np.ndarray, type_name: str = "pedestals") -> None:
    text = write(array, type_name=type_name)
    reading = psana_text.read(text, group=CAMERA, type_name=type_name)
    assert reading.array.dtype == array.dtype
    assert reading.array.tobytes() == array.tobytes()
    if array.ndim > 2:
        assert reading.array.shape == array.shape
    if array.dtype == np.float32:
        singly = np.array([_strtof(token, None) for token in tokens(text)], np.float32)
        assert singly.tobytes() == array.tobytes()


def doubly_rounded_float32() -> np.ndarray:
    """All float32 beside a half-way point that some short decimal, but not it, rounds to.

    A decimal of nine digits, ``d * 10**k``, is read wrongly through double when it is not the
    half-way point ``n * 2**q`` of two float32 but nearer to it than half a unit of a double. Then
    ``d / n`` is a best approximation of ``2**q / 10**k``: a convergent of its continued fraction,
    or one of those between.
    """
    points = set()
    for q in range(-150, 104):
        for k in range(-54, 40):
            above = 2 ** max(q, 0) * 10 ** max(-k, 0)
            below = 2 ** max(-q, 0) * 10 ** max(k, 0)
            smallest = 1 if q == -150 else 2**24
            if above * 2**25 < below * 10**8 or above * smallest >= below * 10**9:
                continue
            for d, n in approximations(above, below):
                for m in range(1, 2**25 // n + 1):
                    if m * n % 2 and m * n >= smallest and m * d < 10**9:
                        points.add(np.ldexp(float(m * n), q))
    halves = np.array(sorted(points))
    assert halves.size > 50
    below_half = np.nextafter(halves, 0).astype(np.float32)
    above_half = np.nextafter(halves, np.inf).astype(np.float32)
    return np.concatenate([below_half, above_half, -below_half, -above_half])


def approximations(above: int, below: int) -> set[tuple[int, int]]:
    found = set()
    p0, q0, p1, q1 = 0, 1, 1, 0
    x, y = above, below
    while y and q1 <= 2**25:
        part = x // y
        steps = range(1, part + 1) if part < 200 else [*range(1, 100), *range(part - 99, part + 1)]
        for step in steps:
            p, q = p0 + step * p1, q0 + step * q1
            off = abs(p * below - q * above)
            if 0 < q <= 2**25 and p < 10**9 and 0 < (off << 53) <= q * above:
                found.add((p, q))
        p0, q0, p1, q1 = p1, q1, p0 + part * p1, q0 + part * q1
        x, y = y, x - part * y
    return found


def test_the_text_is_the_form_that_is_safe_for_every_reader() -> None:
    array = np.array([[0.1, -2.5, 1e-7], [16777216, 3e38, 0]], np.float32)

    text = write(array, type_name="pedestals", comments=["digest 01ab", "", "µm"])

    assert text.decode() == (
        "# digest 01ab\n# \n# µm\n"
        "\n# DTYPE       float32\n# NDIM        2\n# DIM:0       2\n# DIM:1       3\n\n"
        "0.1 -2.5 1e-7\n16777216.0 3e+38 0.0\n"
    )


def test_integers_are_written_as_integers_one_line_per_last_axis() -> None:
    array = np.arange(8).reshape(2, 2, 2)

    text = write(array, type_name="pixel_status")

    assert text.decode() == (
        "\n# DTYPE       uint16\n# NDIM        3\n"
        "# DIM:0       2\n# DIM:1       2\n# DIM:2       2\n\n0 1\n2 3\n4 5\n6 7\n"
    )


@settings(max_examples=200, deadline=None)
@given(
    hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=1, max_dims=4, max_side=6).filter(lambda shape: shape != (1,)),
        elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
    )
)
def test_any_finite_float32_reads_back_to_the_same_bits(array: np.ndarray) -> None:
    assert_reads_back(array)


def test_a_million_random_bit_patterns_read_back() -> None:
    bits = np.random.default_rng(2026).integers(0, 2**32, 1_000_000, dtype=np.uint32)
    values = bits.view(np.float32)
    values = values[np.isfinite(values)]

    text = write(values[: values.size // 500 * 500].reshape(-1, 500), type_name="pedestals")
    back = psana_text.read(text, group=CAMERA, type_name="pedestals").array

    assert back.tobytes() == values[: back.size].tobytes()


def test_where_a_short_decimal_would_be_rounded_twice_it_is_longer() -> None:
    famous = np.float32(7.0385313e-26)
    assert np.float32(float("7.038531e-26")) != np.float32(_strtof(b"7.038531e-26", None))

    text = write(np.array([famous, np.nextafter(famous, np.float32(0))]), type_name="pedestals")

    assert b"7.038531e-26" not in tokens(text)


def test_every_float32_near_a_dangerous_decimal_reads_back() -> None:
    assert_reads_back(doubly_rounded_float32())


def test_no_dangerous_decimal_lies_where_the_text_is_not_read_back() -> None:
    sizes = np.abs(doubly_rounded_float32())
    low, high = ROUNDED_ONCE

    assert not ((sizes >= low) & (sizes <= high)).any()


@pytest.mark.parametrize(
    "value", [0.0, -0.0, 1e-45, 1.1754942e-38, 1.1754944e-38, 3.4028235e38, 16777217.0, 2.0**-149]
)
def test_the_ends_of_float32_read_back(value: float) -> None:
    assert_reads_back(np.array([value, -value], np.float32))


@settings(deadline=None)
@given(
    st.sampled_from(["pixel_status", "status_extra", "pixel_mask", "nolasing"]),
    st.data(),
)
def test_integers_read_back(type_name: str, data: st.DataObject) -> None:
    dtype = {"pixel_status": "u2", "status_extra": "u8", "pixel_mask": "u1"}.get(type_name, "i8")
    elements = st.integers(0, 1) if type_name == "pixel_mask" else None
    array = data.draw(hnp.arrays(np.dtype(dtype), (3, 2), elements=elements))

    assert_reads_back(array, type_name)


@pytest.mark.parametrize("dtype", ["bool", "i1", "u4", "f2", "f8"])
def test_an_unknown_type_keeps_its_dtype(dtype: str) -> None:
    bits = np.random.default_rng(5).integers(0, 2, 64 * 1000).astype(np.uint8)
    numbers = np.packbits(bits).view(dtype) if dtype != "bool" else bits.astype(bool)
    numbers = numbers[np.isfinite(numbers)] if numbers.dtype.kind == "f" else numbers

    assert_reads_back(np.append(numbers, numbers[:1]), "nolasing")


def test_common_mode_is_written_in_double() -> None:
    assert_reads_back(np.array([0.1, 1 / 3, 5e-324, 1.7976931348623157e308]), "common_mode")


def test_the_layout_of_the_memory_does_not_show() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    expected = write(array, type_name="pedestals")

    assert write(np.asfortranarray(array), type_name="pedestals") == expected
    assert write(array.astype(">f4"), type_name="pedestals") == expected
    assert write(array.astype(np.float64), type_name="pedestals") == expected
    assert write(array.astype(np.int32), type_name="pedestals") == expected
    assert write(np.repeat(array, 2, axis=1)[:, ::2], type_name="pedestals") == expected


def test_comments_come_back() -> None:
    comments = ["HOST node1", "", "  indented", "set by hand: see page 3"]

    text = write(np.ones((2, 2)), type_name="pedestals", comments=comments)

    assert psana_text.read(text, group=CAMERA, type_name="pedestals").comments == tuple(comments)


@pytest.mark.parametrize(
    ("array", "type_name"),
    [
        (np.array([1.0, np.nan]), "pedestals"),
        (np.array([1.0, np.inf]), "pixel_rms"),
        (np.array([1.0, np.nan]), "nolasing"),
        (np.array([1e39, 1.0]), "pedestals"),
        (np.array([0.1, 1.0]), "pedestals"),
        (np.array([2**53 + 1, 1]), "pedestals"),
        (np.array([65536, 1]), "pixel_status"),
        (np.array([-1, 1]), "pixel_status"),
        (np.array([0.5, 1]), "pixel_status"),
        (np.array([2.0**64, 1]), "status_extra"),
        (np.array([2, 1]), "pixel_mask"),
        (np.array([-1, 1]), "pixel_mask"),
        (np.array([1j]), "pedestals"),
        (np.array(["1"]), "pedestals"),
        (np.array([None]), "nolasing"),
        (np.zeros(2, np.longdouble), "nolasing"),
        (np.zeros((0, 3)), "pedestals"),
        (np.zeros(()), "common_mode"),
        (np.ones((2, 2)), "geometry"),
    ],
)
def test_what_a_reader_would_refuse_or_change_is_refused(array: np.ndarray, type_name: str) -> None:
    with pytest.raises(Invalid):
        write(array, type_name=type_name)


@pytest.mark.parametrize(
    "comment",
    [
        "two\nlines",
        "end\n",
        "a\rb",
        "DTYPE float64",
        "  NDIM 3",
        "DIM: of the box",
        "TYPE x",
        "\ud800",
    ],
)
def test_a_comment_that_readers_could_misread_is_refused(comment: str) -> None:
    with pytest.raises(Invalid):
        write(np.ones((2, 2)), type_name="pedestals", comments=[comment])
