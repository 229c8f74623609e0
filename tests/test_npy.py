"""npy files are read as numpy reads them, and nothing in them is believed unchecked."""

from __future__ import annotations

import io
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from calstore.errors import Invalid
from calstore.formats import npy

NUMBERS = st.sampled_from(
    [f"{order}{kind}" for order in "<>" for kind in ("u2", "i4", "u8", "f2", "f4", "f8")]
    + ["|b1", "|u1", "|i1"]
)


def saved(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def with_header(text: str, body: bytes = b"", version: int = 1) -> bytes:
    length = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + length + text.encode("latin-1") + body


@settings(deadline=None)
@given(hnp.arrays(NUMBERS, hnp.array_shapes(min_dims=0, max_dims=5, min_side=0)))
def test_what_numpy_saves_comes_back_bit_for_bit(array: np.ndarray) -> None:
    result = npy.read(saved(array))

    assert (result.shape, result.dtype) == (array.shape, array.dtype)
    assert result.tobytes() == array.tobytes()
    assert not result.flags.writeable


@settings(deadline=None)
@given(hnp.arrays(NUMBERS, hnp.array_shapes(min_dims=0, max_dims=5, min_side=0)))
def test_header_and_values_are_what_numpy_saves(array: np.ndarray) -> None:
    little = np.asarray(array, array.dtype.newbyteorder("<"), order="C")

    assert npy.header(array.dtype, array.shape) + little.tobytes() == saved(little)


def test_fortran_order_is_kept_as_it_is() -> None:
    array = np.asfortranarray(np.arange(12.0).reshape(3, 4))

    result = npy.read(saved(array))

    assert result.flags.f_contiguous
    np.testing.assert_array_equal(result, array)


def test_the_values_are_not_copied() -> None:
    data = bytearray(saved(np.zeros(4)))

    result = npy.read(memoryview(data))
    data[-8:] = struct.pack("<d", 7.0)

    assert result[-1] == 7.0
    assert not result.flags.writeable


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_all_three_versions_can_be_read(version: tuple[int, int]) -> None:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.arange(3.0), version=version)

    np.testing.assert_array_equal(npy.read(stream.getvalue()), [0.0, 1.0, 2.0])


@pytest.mark.parametrize(
    "array",
    [
        np.array(["text"]),
        np.array([b"text"]),
        np.array([1j]),
        np.array([None]),
        np.zeros(2, "f4,i2"),
        np.array(["2020-01-01"], "M8[D]"),
        np.zeros(2, "V3"),
    ],
)
def test_what_is_not_a_plain_number_is_refused(array: np.ndarray) -> None:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)

    with pytest.raises(Invalid, match=r"plain number|at most 64 bits"):
        npy.read(stream.getvalue())
    with pytest.raises(Invalid):
        npy.header(array.dtype, array.shape)


GOOD = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }\n"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x93NUMPY",
        b"\x93NUMPY\x01\x00",
        b"PK\x03\x04 not numpy at all",
        b"\x93NUMPY\x09\x00" + saved(np.zeros(2))[8:],
        b"\x93NUMPY\x01\x01" + saved(np.zeros(2))[8:],
        b"\x93NUMPY\x02\x00\xff\xff\xff\x7f",
        with_header("x" * 70_000, version=2),
        with_header(GOOD, b"\0" * 7),
        with_header(GOOD, b"\0" * 9),
        with_header(GOOD)[:-4],
        with_header("__import__('os').getcwd()"),
        with_header("(" * 30_000),
        with_header("-" * 60_000 + "1"),
        with_header("[]"),
        with_header("{'descr': '<f4', 'shape': (2,)}", b"\0" * 8),
        with_header(GOOD.replace("False", "1"), b"\0" * 8),
        with_header(GOOD.replace("(2,)", "2"), b"\0" * 8),
        with_header(GOOD.replace("(2,)", "(True, 2)"), b"\0" * 8),
        with_header(GOOD.replace("(2,)", "(-1, -2)"), b"\0" * 8),
        with_header(GOOD.replace("(2,)", "(2.0,)"), b"\0" * 8),
        with_header(GOOD.replace("(2,)", f"({'1,' * 99})"), b"\0" * 4),
        with_header(GOOD.replace("(2,)", "(0, 10**30)")),
        with_header(GOOD.replace("(2,)", f"(0, {10**30})")),
        with_header(GOOD.replace("<f4", "f4,f4"), b"\0" * 16),
        with_header(GOOD.replace("<f4", "no such"), b"\0" * 8),
        with_header(GOOD.replace("<f4", "<f16"), b"\0" * 32),
    ],
)
def test_a_file_that_is_not_what_it_says_is_refused(data: bytes) -> None:
    with pytest.raises(Invalid):
        npy.read(data)


def test_an_absurd_shape_allocates_nothing() -> None:
    data = with_header(GOOD.replace("(2,)", "(1099511627776, 4)"), b"\0" * 8)
    tracemalloc.start()

    with pytest.raises(Invalid, match="cut short"):
        npy.read(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 2**20


@settings(deadline=None)
@given(st.binary(max_size=200), st.integers(0, 3))
def test_junk_is_refused_and_nothing_else(junk: bytes, version: int) -> None:
    for data in (junk, b"\x93NUMPY" + bytes([version, 0]) + junk):
        try:
            npy.read(data)
        except Invalid:
            continue
