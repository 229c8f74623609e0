"""Text is read as psana's Python reader reads it, and what others would do is said."""

from __future__ import annotations

import io
import re
import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from calstore.errors import Invalid
from calstore.formats import number_table, psana_text

REAL = Path(__file__).resolve().parents[2] / "shared" / "data"
CAMERA = "Camera::CalibV1"
EPIX = "Epix100a::CalibV1"
IMP = "Imp::CalibV1"

HEADER = "# DTYPE       float32\n# NDIM        2\n# DIM:0       2\n# DIM:1       3\n\n"
STATUS = HEADER.replace("float32", "uint16")
TABLE = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]


def read(
    text: str | bytes, type_name: str = "pedestals", group: str = CAMERA
) -> psana_text.Reading:
    data = text.encode() if isinstance(text, str) else text
    return psana_text.read(data, group=group, type_name=type_name)


def whats(reading: psana_text.Reading) -> str:
    return "; ".join(remark.what for remark in reading.remarks)


def as_psana_loads(text: str, kind: str | None) -> np.ndarray:
    """The reference's description, on numpy: leading comments, loadtxt, reshape, cast."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").splitlines(keepends=True)
    dtype, ndim, shape = "float32", None, []
    for line in lines:
        if line.isspace():
            continue
        if line[0] != "#":
            break
        fields = line.split(" ", 2)
        if len(fields) == 3 and fields[1] == "DTYPE":
            dtype = fields[2].strip(" \n") or "float32"
        elif len(fields) == 3 and fields[1] == "NDIM":
            ndim = int(fields[2])
        elif len(fields) == 3 and fields[1].startswith("DIM:"):
            shape.append(int(fields[2]))
    array = np.loadtxt(io.StringIO("".join(lines)), dtype=dtype, comments="#")
    if ndim is not None and shape and ndim != len(shape):
        raise OSError("inconsistent metadata")
    if ndim is not None and shape and ndim > 2:
        array = array.reshape(shape)
    return array if kind is None else array.astype(kind)


# Section by section what every reader takes alike.
@pytest.mark.parametrize(
    "text",
    [
        HEADER + "1 2 3\n4 5 6\n",
        HEADER + "  1.00   2.00     3.00\n   4.00   5.00   6.00\n",
        HEADER + "1\t2\t3\n4\t5\t6\n",
        HEADER.replace("\n", "\r\n") + "1 2 3\r\n4 5 6\r\n",
        HEADER + "1 2 3\n\n   \n4 5 6\n\n",
        HEADER + "1 2 3 \n4 5 6   \n",
        HEADER + "1e0 20E-1 +3.\n.4e1 5 6.0000000000000000\n",
        HEADER + "1 2 3\n4 5 6",
        "# µm, Å and 検出器\n" + HEADER + "1 2 3\n4 5 6\n",
        "# any\n#\n#comment\n\n# HOST        node1\n" + HEADER + "1 2 3\n4 5 6\n",
        HEADER + "1 2 3\n4 5 6\n# the end\n",
        HEADER.replace("float32", "float") + "1 2 3\n4 5 6\n",
        HEADER.replace("DTYPE", "TYPE") + "1 2 3\n4 5 6\n",
        HEADER.replace("float32", "float64") + "1 2 3\n4 5 6\n",
        HEADER.replace("float32", ">f4") + "1 2 3\n4 5 6\n",
        HEADER.replace("float32", "int16") + "1 2 3\n4 5 6\n",
        HEADER.replace("# DTYPE       float32\n", "") + "1 2 3\n4 5 6\n",
    ],
)
def test_what_every_reader_takes_is_read_without_remark(text: str) -> None:
    reading = read(text)

    np.testing.assert_array_equal(reading.array, TABLE)
    assert reading.array.dtype == np.float32
    assert reading.array.dtype.isnative
    assert reading.array.flags.c_contiguous
    assert reading.remarks == ()


@pytest.mark.parametrize(
    ("text", "type_name", "remark"),
    [
        (HEADER + "1 2 3\n# between\n4 5 6\n", "pedestals", "comment line between rows"),
        (HEADER + "1 2 3 # note\n4 5 6\n", "pedestals", "'#' behind"),
        (HEADER + "1 2 3\n  # note\n4 5 6\n", "pedestals", "'#' behind"),
        ("1 2 3\n4 5 6\n", "pedestals", "no NDIM and DIM"),
        ("#DTYPE float32\n#NDIM 2\n1 2 3\n4 5 6\n", "pedestals", "no NDIM and DIM"),
        (HEADER.replace(" ", "\t") + "1 2 3\n4 5 6\n", "pedestals", "no NDIM and DIM"),
        (
            HEADER.replace("DIM:1", "DIM:2").replace("DIM:0", "DIM:1") + "1 2 3\n4 5 6\n",
            "pedestals",
            "DIM is numbered 1, 2",
        ),
        (HEADER + "1.0 2.0 3.0\n4.0 5.0 6.0\n", "pixel_status", "integers written as floats"),
        (HEADER + "1 2 3\n4 5 6e0\n", "pixel_mask", "integers written as floats"),
        (HEADER.replace("0       2", "0       3") + "1 2 3\n4 5 6\n", "pedestals", "6 numbers"),
        (HEADER.replace("0       2", "0       1") + "1 2 3\n4 5 6\n", "pedestals", "6 numbers"),
    ],
)
def test_where_the_readers_differ_python_is_followed_and_it_is_said(
    text: str, type_name: str, remark: str
) -> None:
    reading = read(text, type_name)

    np.testing.assert_array_equal(reading.array, TABLE)
    assert remark in whats(reading)
    assert len(reading.remarks) == 1


@pytest.mark.parametrize(
    "text",
    [HEADER + "1 2 3 4 5 6\n", HEADER + "1\n2\n3\n4\n5\n6\n"],
)
def test_one_line_or_one_number_per_line_has_one_axis_for_a_camera(text: str) -> None:
    reading = read(text)

    np.testing.assert_array_equal(reading.array, [1, 2, 3, 4, 5, 6])
    assert "the text has the shape (6,), the header says (2, 3)" in whats(reading)


def test_transposed_text_under_the_header_is_remarked_upon() -> None:
    reading = read(HEADER + "1 2\n3 4\n5 6\n")

    assert reading.array.shape == (3, 2)
    assert "the text has the shape (3, 2)" in whats(reading)


def test_nan_and_inf_are_passed_on_with_a_remark() -> None:
    reading = read(HEADER + "1 nan 3\ninf -inf 1e40\n")

    assert np.isnan(reading.array[0, 1])
    assert reading.array[1].tolist() == [np.inf, -np.inf, np.inf]
    assert "nan or inf in 4 of 6 values" in whats(reading)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (HEADER + "1, 2, 3\n4, 5, 6\n", "could not convert"),
        (HEADER + "1,2,3\n4,5,6\n", "could not convert"),
        (HEADER + "1 2 3\n4 5\n", "columns"),
        (HEADER + "1 2\n3 4 5 6\n", "columns"),
        (HEADER + "1 2 3\n4 5 6 7\n", "columns"),
        (HEADER + "1 2 3\n4 5 six\n", "could not convert"),
        (HEADER + "1 2 3\n4 5 1_000\n", "could not convert"),
        (HEADER + "1 2 3\n4 5 0x1p3\n", "could not convert"),
        ("\ufeff" + HEADER + "1 2 3\n4 5 6\n", "\\ufeff"),
        (HEADER.replace("float32", "int16") + "1.0 2 3\n4 5 6\n", "int16"),
        (STATUS + "0.0 1.0 0.0\n1.0 0.0 0.0\n", "uint16"),
        (STATUS + "0 1 2\n3 4 65536\n", "uint16"),
        (STATUS + "0 1 2\n3 4 -1\n", "uint16"),
        ("", "no number"),
        ("\n \n", "no number"),
        (HEADER, "no number"),
        (HEADER + "\n\n# more\n", "no number"),
        (HEADER + "  # indented\n", "no number"),
        (HEADER.replace("float32", "floaty") + "1 2 3\n4 5 6\n", "DTYPE"),
        (HEADER.replace("float32", "object") + "1 2 3\n4 5 6\n", "DTYPE"),
        (HEADER.replace("float32", "U8") + "1 2 3\n4 5 6\n", "DTYPE"),
        (HEADER.replace("float32", "f4,f4") + "1 2 3\n4 5 6\n", "DTYPE"),
        (HEADER.replace("float32", "complex64") + "1 2 3\n4 5 6\n", "DTYPE"),
        (HEADER.replace("NDIM        2", "NDIM        two") + "1 2 3\n4 5 6\n", "NDIM"),
        (HEADER.replace("NDIM        2", "NDIM        3") + "1 2 3\n4 5 6\n", "NDIM 3"),
        (HEADER + HEADER + "1 2 3\n4 5 6\n", "NDIM 2 beside 4"),
    ],
)
def test_what_psana_would_replace_by_its_default_is_refused(text: str, why: str) -> None:
    with pytest.raises(Invalid, match=re.escape(why)):
        read(text)


def test_bytes_that_are_not_utf8_are_refused() -> None:
    with pytest.raises(Invalid, match=r"(?i)utf-8"):
        read(b"# \xb5m\n" + HEADER.encode() + b"1 2 3\n4 5 6\n")
    with pytest.raises(Invalid, match=r"(?i)utf-8"):
        read(HEADER.encode() + b"1 2 3\n4 5 \xb5\n")


CUBE = "# DTYPE float32\n# NDIM 3\n# DIM:0 2\n# DIM:1 2\n# DIM:2 2\n"


@pytest.mark.parametrize(
    ("text", "remark"),
    [
        ("1 2\n3 4\n5 6\n7 8\n", ""),
        ("1 2 3 4 5 6 7 8\n", "the text has the shape (8,), the array (2, 2, 2)"),
        ("1 2 3 4\n5 6 7 8\n", "the text has the shape (2, 4), the array (2, 2, 2)"),
    ],
)
def test_above_two_axes_the_header_gives_the_shape(text: str, remark: str) -> None:
    reading = read(CUBE + text)

    np.testing.assert_array_equal(reading.array, np.arange(1, 9).reshape(2, 2, 2))
    assert whats(reading) == remark


@pytest.mark.parametrize("text", ["1 2\n3 4\n5 6\n", "1 2\n3 4\n5 6\n7 8\n9 10\n"])
def test_above_two_axes_a_missing_or_extra_row_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="header that says"):
        read(CUBE + text)


def test_a_header_that_claims_a_huge_shape_costs_nothing() -> None:
    with pytest.raises(Invalid, match="header that says"):
        read(CUBE.replace("DIM:0 2", f"DIM:0 {10**30}") + "1 2\n")


def test_a_fixed_shape_is_imposed_whatever_the_header_says() -> None:
    rows = "\n".join(" ".join(["1.5"] * 1023) for _ in range(4))

    without_header = read(rows, group=IMP)
    flat = read(rows.replace("\n", " "), group=IMP)

    assert without_header.array.shape == flat.array.shape == (4, 1023)
    assert without_header.remarks == ()
    assert "the text has the shape (4092,), the array (4, 1023)" in whats(flat)


def test_another_size_than_the_fixed_one_is_refused() -> None:
    with pytest.raises(Invalid, match="540672"):
        read(HEADER + "1 2 3\n4 5 6\n", group=EPIX)


def test_common_mode_has_any_length_and_needs_no_header() -> None:
    reading = read("4 6 30 30\n", "common_mode", EPIX)

    assert reading.array.dtype == np.float64
    assert reading.array.tolist() == [4, 6, 30, 30]
    assert reading.remarks == ()


def test_a_single_number_has_no_axis_as_in_psana() -> None:
    reading = read("0\n", "common_mode", EPIX)

    assert reading.array.shape == ()
    assert whats(reading) == "a single number"


def test_an_array_is_not_made_of_geometry() -> None:
    with pytest.raises(Invalid, match="geometry is not an array"):
        read("IP 0 CAMERA 0 0 0 0 0 0 0 0 0 0\n", "geometry")


@pytest.mark.parametrize(
    ("type_name", "dtype", "text", "expected", "remark"),
    [
        ("pixel_status", "uint64", "65536 65537 1", [0, 1, 1], "2 of 3 values outside uint16"),
        ("pixel_status", "int64", "-1 0 1", [65535, 0, 1], "1 of 3 values outside uint16"),
        ("pixel_status", "float64", "65536 -1 2", [0, 65535, 2], "2 of 3 values outside uint16"),
        ("pixel_status", "float32", "1 16777217 2", [1, 0, 2], "outside uint16"),
        ("pixel_status", "float64", "1e10 nan -inf", [0, 0, 0], "nan or inf in 2 of 3"),
        ("pixel_status", "float64", "1.5 -0.5 2", [1, 0, 2], "fractions in 2 of 3"),
        ("pixel_mask", "uint16", "256 255 1", [0, 255, 1], "1 of 3 values outside uint8"),
        (
            "status_extra",
            "float64",
            "9007199254740993 18446744073709551616 -1",
            [9007199254740992, 0, 2**64 - 1],
            "2 of 3 values outside uint64",
        ),
        ("status_extra", "uint64", f"{2**64 - 1} 1 0", [2**64 - 1, 1, 0], ""),
        ("pixel_status", "bool", "1 0 1", [1, 0, 1], ""),
    ],
)
def test_casts_to_integers_wrap_as_in_psana_and_say_so(
    type_name: str, dtype: str, text: str, expected: list[int], remark: str
) -> None:
    header = f"# DTYPE {dtype}\n# NDIM 1\n# DIM:0 3\n"

    reading = read(header + text, type_name)

    assert reading.array.tolist() == expected
    assert remark in whats(reading)
    assert bool(reading.remarks) == bool(remark)


def test_an_integer_that_the_header_dtype_cannot_hold_is_remarked_upon() -> None:
    reading = read("# NDIM 1\n# DIM:0 2\n16777218 40000001\n", "status_extra")

    assert reading.array.tolist() == [16777218, 40000000]
    assert "integers too large for float32" in whats(reading)


def test_an_unknown_type_keeps_the_dtype_of_the_header() -> None:
    for dtype in ("bool", "int8", "uint32", "float16", "float64"):
        reading = read(f"# DTYPE {dtype}\n1 0 1\n", "nolasing")
        assert reading.array.dtype == np.dtype(dtype)


def test_comments_are_kept_without_the_metadata() -> None:
    text = "# first\n#second\n" + HEADER + "1 2 3\n# third\n4 5 6\n#\n"

    assert read(text).comments == ("first", "second", "third", "")


def test_a_memoryview_reads_like_bytes() -> None:
    data = (HEADER + "1 2 3\n4 5 6\n").encode()

    result = psana_text.read(memoryview(data), group=CAMERA, type_name="pedestals")

    np.testing.assert_array_equal(result.array, TABLE)


finite = st.floats(allow_nan=False, allow_infinity=False)
spelled = st.one_of(
    finite.map(repr),
    finite.map(lambda x: f"{x:.3f}"),
    st.integers(-(10**40), 10**40).map(str),
    st.from_regex(r"[+-]?[0-9]{1,40}(\.[0-9]{0,40})?([eE][+-]?[0-9]{1,3})?", fullmatch=True),
    st.from_regex(r"[+-]?\.[0-9]{1,40}([eE][+-]?[0-9]{1,3})?", fullmatch=True),
)


@settings(deadline=None)
@given(st.lists(spelled, min_size=2, max_size=20))
@example(["9007199254740993", "2.2250738585072011e-308", "4.9e-324", "2.4703282292062328e-324"])
@example(["1e400", "-1e400", "1e-400", "-0.0"])
def test_every_spelling_is_read_as_python_float_reads_it(tokens: list[str]) -> None:
    text = "# DTYPE float64\n" + " ".join(tokens) + "\n"

    result = read(text, "common_mode").array

    expected = [struct.pack("<d", float(token)) for token in tokens]
    assert [struct.pack("<d", value) for value in result.tolist()] == expected


words = st.one_of(
    st.text("0123456789+-.eE_xnaif", min_size=1, max_size=6),
    st.sampled_from(
        ["nan", "-nan", "inf", "-Infinity", "1", "0", "65536", "-1", "1.5", "#", '"1"']
    ),
    st.integers(-300, 70_000).map(str),
)
gaps = st.sampled_from([" ", " ", " ", "  ", "\t", " \x0b", "\xa0", ","])
ends = st.sampled_from(["\n", "\n", "\n", "\r\n", " \n", "\n\n", "\n ", "\r", "\n# c\n", " # c\n"])
dtypes = st.sampled_from(["float32", "float64", "uint16", "int64", "uint64", "uint8", "bool"])


@st.composite
def texts(draw: st.DrawFn) -> str:
    header = draw(st.sampled_from(["", "# DTYPE {}\n", "# DTYPE {}\n# NDIM 3\n{}"]))
    dims = "".join(f"# DIM:{n} {draw(st.integers(1, 2))}\n" for n in range(3))
    columns = draw(st.integers(1, 4))
    values = words if draw(st.booleans()) else st.integers(0, 300).map(str)
    lines = [
        "".join(draw(values) + draw(gaps) for _ in range(columns - 1)) + draw(values) + draw(ends)
        for _ in range(draw(st.integers(1, 4)))
    ]
    return header.format(draw(dtypes), dims) + "".join(lines)


@settings(max_examples=500, deadline=None)
@given(texts(), st.sampled_from(["pedestals", "common_mode", "nolasing"]))
def test_random_texts_are_read_as_by_numpy_or_refused_as_by_numpy(
    text: str, type_name: str
) -> None:
    kind = {"pedestals": "float32", "common_mode": "float64", "nolasing": None}[type_name]
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            expected = as_psana_loads(text, kind)
        except (ValueError, OSError):
            expected = None

    try:
        result = read(text, type_name).array
    except Invalid:
        assert expected is None or expected.size == 0
        return

    assert expected is not None
    assert (result.shape, result.dtype) == (expected.shape, expected.dtype)
    assert result.tobytes() == expected.tobytes()


@st.composite
def padded_tables(draw: st.DrawFn) -> str:
    """Numbers as ``%8.2f`` and its like write them, one letter of which may have been changed."""
    width, decimals = draw(st.integers(4, 14)), draw(st.integers(1, 6))
    shape = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    largest = 10.0 ** draw(st.integers(-3, width - decimals - 1))
    array = draw(hnp.arrays(np.float64, shape, elements=st.floats(-largest, largest)))
    stream = io.BytesIO()
    np.savetxt(stream, array, fmt=f"%{width}.{decimals}f")
    text = stream.getvalue().decode()
    if draw(st.booleans()):
        place = draw(st.integers(0, len(text) - 1))
        letter = draw(st.sampled_from(" -.0159\n\te+#n"))
        text = text[:place] + letter + text[place + 1 :]
    return text


@settings(max_examples=500, deadline=None)
@given(padded_tables(), st.sampled_from(["float32", "float64"]))
@example("   -0.00     1.00\n    2.50    -0.10\n", "float32")
@example("    .50\n   1.50\n", "float64")
@example("  - 1.50\n    1.50\n", "float64")
@example(" 900719925474.0993\n 900719925474.0995\n", "float64")
def test_padded_tables_are_read_as_by_numpy_or_refused_as_by_numpy(text: str, dtype: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            expected = np.loadtxt(io.StringIO(text), dtype=dtype)
        except ValueError:
            expected = np.empty(0)

    try:
        result = number_table.parse(text.encode(), np.dtype(dtype))
    except Invalid:
        assert expected.size == 0
        return

    assert (result.shape, result.dtype) == (expected.shape, expected.dtype)
    assert result.tobytes() == expected.tobytes()


def test_a_wide_line_is_read_like_any_other() -> None:
    text = " ".join(map(str, range(5000)))

    np.testing.assert_array_equal(read(text + "\n" + text).array, [np.arange(5000)] * 2)


def test_the_real_status_of_an_epix100a_is_read() -> None:
    if not REAL.is_dir():
        pytest.skip("the real calibration files are not beside this checkout")
    path = REAL / f"calib-xpp/{EPIX}/XppGon.0:Epix100a.1/pixel_status/0-end.data"

    reading = read(path.read_bytes(), "pixel_status", EPIX)

    assert (reading.array.shape, reading.array.dtype) == ((704, 768), np.uint16)
    assert (reading.array.sum(), np.count_nonzero(reading.array)) == (103437, 53703)
    assert reading.remarks == ()
    assert "STATISTICS  2" in reading.comments
