"""Writing ``.data`` text that psana's two readers and AMI all read back to the same values."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import orjson

from calstore.errors import Invalid
from calstore.formats import number_table
from calstore.model.conventions import calibration_type

ROUNDED_ONCE = (1e-4, 1e19)
"""Between these sizes no short decimal of a float32 is misread through double; see the tests."""

_READ_BY_MACHINES = ("DTYPE", "TYPE", "NDIM")


def write(array: np.ndarray, *, type_name: str, comments: Sequence[str] = ()) -> bytes:
    """The text of an array: a header, then one line per last axis.

    Comments come first, metadata before the numbers, lines end in LF. Integers are written as
    integers, floats as the shortest decimal that a parser of the dtype and one that parses a double
    first both read back to the same bits. The text depends on the arguments alone: no host, no
    user, no date.

    Parameters
    ----------
    array
        Of one or more axes, with values that the type's dtype holds exactly. An array of an unknown
        type keeps its own dtype.
    type_name
        ``pedestals``.
    comments
        Free lines for the top of the file, without ``#``.

    Raises
    ------
    Invalid
        When some reader would refuse or change a value (nan, inf, a status outside 0 to 65535, a
        mask other than 0 and 1), when the array is empty or has no axis, or when a comment has more
        than one line or would be taken for metadata.

    Notes
    -----
    psana's Python reader drops axes of length 1 from an array of up to two axes: ``(1, n)`` and
    ``(n, 1)`` come back as ``(n,)``, a single number without axes.
    """
    values = checked(array, type_name)
    rows = values.reshape(-1, values.shape[-1])
    header = "\n".join((*_comment_lines(comments), "", *_metadata_lines(values), "", ""))
    return header.encode() + _rendered(rows)


def checked(array: np.ndarray, type_name: str) -> np.ndarray:
    """The array in the dtype it is written with, C order, every value fit for every reader."""
    kind = calibration_type(type_name)
    if kind is not None and kind.dtype is None:
        raise Invalid(f"{type_name} is not an array; keep its file as it is")
    if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
        raise Invalid(f"constants are numbers of at most 64 bits, not {array.dtype}")
    if array.ndim == 0 or array.size == 0:
        raise Invalid(f"an array of shape {array.shape} cannot be text that every reader takes")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        bad = array.size - np.count_nonzero(np.isfinite(array))
        raise Invalid(
            f"nan or inf in {bad} of {array.size} values of {type_name}, which psana's C++ reader "
            "refuses; give those pixels a number and a bit in pixel_status"
        )
    dtype = np.dtype(array.dtype if kind is None or kind.dtype is None else kind.dtype)
    if dtype.kind == "u" and array.dtype.kind != "b" and kind is not None:
        _check_range(array, 1 if type_name == "pixel_mask" else np.iinfo(dtype).max, type_name)
    with np.errstate(over="ignore", invalid="ignore"):
        values = np.ascontiguousarray(array, dtype.newbyteorder("="))
        is_exact = values.dtype == array.dtype or np.array_equal(values.astype(array.dtype), array)
    if not is_exact:
        raise Invalid(f"{array.dtype} values that {dtype}, the dtype of {type_name}, cannot hold")
    return values


def _check_range(array: np.ndarray, largest: int, type_name: str) -> None:
    # As Python numbers: numpy would round the limit of uint64 to the array's float dtype.
    low, high = array.min().item(), array.max().item()
    if low < 0 or high > largest:
        raise Invalid(f"{type_name} from {low} to {high}; readers take 0 to {largest}")


def _comment_lines(comments: Sequence[str]) -> list[str]:
    for comment in comments:
        if len(comment.splitlines()) > 1 or comment.endswith(("\n", "\r")):
            raise Invalid(f"a comment is one line, not {comment!r}")
        words = comment.split(maxsplit=1)
        if words and (words[0] in _READ_BY_MACHINES or words[0].startswith("DIM:")):
            raise Invalid(f"readers would take the comment {comment!r} for metadata; reword it")
        try:
            comment.encode()
        except UnicodeEncodeError as error:
            raise Invalid(f"the comment {comment!r} has no UTF-8") from error
    return [f"# {comment}" for comment in comments]


def _metadata_lines(values: np.ndarray) -> list[str]:
    dims = (f"# DIM:{n}       {length}" for n, length in enumerate(values.shape))
    return [f"# DTYPE       {values.dtype}", f"# NDIM        {values.ndim}", *dims]


def _rendered(rows: np.ndarray) -> bytes:
    """One line per row, in text that reads back to the same bits."""
    numbers = rows.view(np.uint8) if rows.dtype == np.bool_ else rows
    lists = (orjson.dumps(row, option=orjson.OPT_SERIALIZE_NUMPY) for row in numbers)
    text = b"".join([line[1:-1].replace(b",", b" ") + b"\n" for line in lists])
    if rows.dtype != np.float32 or _is_rounded_once(rows):
        return text
    return _without_double_rounding(text, rows)


def _is_rounded_once(rows: np.ndarray) -> bool:
    """Whether a parser that goes through double must find the same float32.

    The shortest decimal of a float32 can be so near to the middle of two of them that its nearest
    double is that middle, and the second rounding then goes wrong: 7.038531e-26. Decimals of up
    to nine digits come that near at some 140 places, none of them in the range below.
    """
    sizes = np.abs(rows)
    low, high = ROUNDED_ONCE
    return bool(((sizes == 0) | ((sizes >= low) & (sizes <= high))).all())


def _without_double_rounding(text: bytes, rows: np.ndarray) -> bytes:
    """The text, with nine digits where a parser that goes through double would go wrong."""
    back = number_table.parse(text, rows.dtype).reshape(rows.shape)
    wrong = np.argwhere(back.view(np.uint32) != rows.view(np.uint32))
    if not wrong.size:
        return text
    lines = [line.split(b" ") for line in text.splitlines()]
    for row, column in wrong:
        # The nearest decimal of nine digits is too near its float32 to be rounded away.
        lines[row][column] = b"%.9g" % rows[row, column]
    return b"".join([b" ".join(line) + b"\n" for line in lines])
