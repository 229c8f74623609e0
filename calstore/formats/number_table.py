"""Tables of numbers in text, as ``np.loadtxt`` reads them, in half the time.

psana's Python reader takes its numbers from ``np.loadtxt``. Two faster ways come first: a table of
equal columns, such as ``%8.2f`` gives, is summed up digit by digit; one with single blanks is
parsed by polars. Whatever they do not take goes to ``np.loadtxt`` itself, so they need not accept
the same texts: they must only agree about those that they accept.
"""

from __future__ import annotations

import io

import numpy as np

from calstore.errors import Invalid

_COLUMN_TYPES = {
    np.dtype(np.float32): "Float64",  # loadtxt, too, parses a double and then rounds it
    np.dtype(np.float64): "Float64",
    np.dtype(np.int8): "Int8",
    np.dtype(np.int16): "Int16",
    np.dtype(np.int32): "Int32",
    np.dtype(np.int64): "Int64",
    np.dtype(np.uint8): "UInt8",
    np.dtype(np.uint16): "UInt16",
    np.dtype(np.uint32): "UInt32",
    np.dtype(np.uint64): "UInt64",
}

_POWERS = np.array([float(10**exponent) for exponent in range(23)])
"""Exact; numpy's own power may be a unit off in the last place, depending on the processor."""

_MOST_COLUMNS = 4096
"""Beyond this a table costs polars more than it saves; a CsPad2x2 has 2, a Jungfrau 1024."""


_BLOCK = 1 << 18
"""Letters taken at a time, so that they stay in a processor's cache."""


def parse(rows: bytes, dtype: np.dtype) -> np.ndarray:
    """The numbers as ``np.loadtxt(..., dtype)`` returns them: axes of length 1 are dropped.

    Parameters
    ----------
    rows
        Lines of numbers between blanks, ending in LF; the rest of a line after ``#`` is ignored.
    dtype
        A plain number of at most 64 bits. Text with a fraction is not an integer.

    Raises
    ------
    Invalid
        When lines differ in length, when there is no number, or something that is none.
    """
    table = _in_equal_columns(rows, dtype)
    if table is None:
        table = _between_single_blanks(rows, dtype)
    if table is None:
        table = _in_any_form(rows, dtype)
    return table.squeeze()


def _in_equal_columns(rows: bytes, dtype: np.dtype) -> np.ndarray | None:
    """The floats of a table as ``%8.2f`` gives it: digits under digits; None when it is not one."""
    line = rows.find(b"\n") + 1
    columns = len(rows[:line].split())
    if not columns or dtype.itemsize < 4 or dtype.kind != "f":
        return None
    width, rest = divmod(line, columns)
    point = rows[:width].find(b".")
    # Up to 15 digits fit a double, and one division by a power of ten up to 22 rounds once.
    if rest or len(rows) % line or not 0 < point < width - 2 or width > 17:
        return None
    letters = np.frombuffer(rows, np.uint8).reshape(-1, columns, width)
    ends = letters[:, :, -1]
    if (ends[:, :-1] != ord(" ")).any() or (ends[:, -1] != ord("\n")).any():
        return None
    table = np.empty(letters.shape[:2], dtype)
    lines = max(1, _BLOCK // line)
    for start in range(0, len(table), lines):
        cells = letters[start : start + lines].reshape(-1, width)
        values = _summed_up(np.ascontiguousarray(cells.T[:-1]), point)
        if values is None:
            return None
        table[start : start + lines] = values.reshape(-1, columns)
    return table


def _summed_up(places: np.ndarray, point: int) -> np.ndarray | None:
    """The numbers, as double, whose letters stand below each other; None unless all are digits.

    Blanks before a number and one ``-`` are allowed for.
    """
    if (places[point] != ord(".")).any():
        return None
    letters = np.concatenate((places[:point], places[point + 1 :]))
    digits = letters - np.uint8(ord("0"))
    is_digit = digits < 10
    is_minus = letters == ord("-")
    is_known = is_digit | is_minus | (letters == ord(" "))
    # A digit follows every digit and every minus, and one stands before the point.
    goes_on = (is_digit | is_minus)[:-1] <= is_digit[1:]
    if not (is_known.all() and goes_on.all() and is_digit[point - 1].all()):
        return None
    count = len(letters)
    values = _POWERS[count - 1 :: -1] @ (digits * is_digit).astype(np.float64)
    values /= _POWERS[count - point]
    np.negative(values, out=values, where=is_minus.any(axis=0))  # -0.00 has its sign
    return values


def _between_single_blanks(rows: bytes, dtype: np.dtype) -> np.ndarray | None:
    """The numbers of a table with one blank between columns; None when it is not one."""
    fields = rows.partition(b"\n")[0].split(b" ")
    column = _COLUMN_TYPES.get(dtype)
    if column is None or b"" in fields or len(fields) > _MOST_COLUMNS:
        return None
    import polars as pl  # a quarter of a second, which a tree of .npy need not wait

    try:
        frame = pl.read_csv(
            rows,
            has_header=False,
            schema=dict.fromkeys(map(str, range(len(fields))), getattr(pl, column)),
            separator=" ",
            quote_char=None,
        )
    except pl.exceptions.PolarsError:
        return None
    if any(frame.null_count().row(0)):
        return None  # too few numbers in a line
    table = frame.to_numpy()
    # nan has a sign, which polars and loadtxt do not promise to treat alike.
    if table.dtype.kind == "f" and not np.isfinite(table).all():
        return None
    with np.errstate(over="ignore"):
        return table.astype(dtype, order="C", copy=False)


def _in_any_form(rows: bytes, dtype: np.dtype) -> np.ndarray:
    """The numbers by the function that psana calls."""
    if not any(line.partition(b"#")[0].strip() for line in rows.split(b"\n")):
        raise Invalid("no number in the text")
    try:
        text = io.StringIO(rows.decode())
        with np.errstate(over="ignore"):
            return np.loadtxt(text, dtype=dtype, comments="#", ndmin=2)
    except ValueError as error:
        raise Invalid(f"not a table of {dtype}: {error}") from error
