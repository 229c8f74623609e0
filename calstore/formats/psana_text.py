"""Reading ``.data`` text as psana does.

psana's Python reader takes the metadata from the comment lines that lead the file, the numbers from
``np.loadtxt`` with the header's dtype, then casts and reshapes (lcls-psana/PSCalib
``src/NDArrIO.py`` load_txt, ``src/GenericCalibPars.py`` constants_calib). Where that fails, psana
goes on with zeros or ones and says nothing; here it is `Invalid`. Where psana's readers and AMI
differ about a file that Python reads, the reading carries a `Remark`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from calstore.errors import Invalid
from calstore.formats import number_table
from calstore.model.conventions import calibration_type, fixed_shape
from calstore.model.remarks import Remark

_PLAIN_DTYPE = re.compile(r"[<>=|]?[A-Za-z][A-Za-z0-9]*")


@dataclass(frozen=True, slots=True)
class Reading:
    """An array as psana's Python reader returns it, and what is odd about its file.

    Parameters
    ----------
    array
        C order, native byte order; of the type's dtype, or of the header's for an unknown type.
    comments
        The comment lines without their ``# ``, in order, but for DTYPE, NDIM and DIM.
    remarks
        The oddities; empty for a file that every reader takes in the same way.
    """

    array: np.ndarray
    comments: tuple[str, ...]
    remarks: tuple[Remark, ...]


@dataclass(frozen=True, slots=True)
class _Header:
    dtype: np.dtype
    ndim: int | None
    shape: tuple[int, ...]
    labels: tuple[str, ...]

    @property
    def has_shape(self) -> bool:
        return self.ndim is not None and self.shape != ()


@dataclass(frozen=True, slots=True)
class _Parts:
    leading: tuple[str, ...]
    later: tuple[str, ...]
    rows: bytes
    is_interrupted: bool


def read(data: bytes | memoryview, *, group: str, type_name: str) -> Reading:
    """The array that psana's Python reader returns for this text, bit for bit.

    Parameters
    ----------
    data
        The content of the file.
    group
        ``Epix100a::CalibV1``; decides whether the size is checked and the array reshaped.
    type_name
        ``pedestals``; decides the dtype. An unknown name keeps the header's dtype.

    Raises
    ------
    Invalid
        When psana would give up on the file and go on with its default in silence, when there is
        no number in it, or when the type is not an array.

    Notes
    -----
    Casts to a smaller integer wrap, as in psana: status 65536 reads as 0. From floats C leaves the
    result undefined beyond 32 bits (64 for ``uint64``) and for nan; 0 is returned there.
    A table of one row or one column has one axis, a single number none.
    """
    kind = calibration_type(type_name)
    if kind is not None and kind.dtype is None:
        raise Invalid(f"{type_name} is not an array; keep the file as it is")
    parts = _parts(bytes(data))
    header = _header(parts.leading)
    try:
        table = number_table.parse(parts.rows, header.dtype)
    except Invalid as error:
        raise Invalid(f"{error}: psana would use its default") from error
    array = _in_header_shape(table, header)
    target = header.dtype if kind is None or kind.dtype is None else np.dtype(kind.dtype)
    shape = fixed_shape(group, type_name)
    if shape is not None and array.size != math.prod(shape):
        raise Invalid(
            f"{array.size} numbers, where {group} has {math.prod(shape)} in the shape {shape}: "
            "psana would use its default"
        )
    result = _cast(array, target) if shape is None else _cast(array, target).reshape(shape)
    wants_integers = kind is not None and kind.integer_text
    remarks = (
        *_remarks_on_text(parts, header, wants_integers),
        *_remarks_on_shape(header, table.shape, result.shape, shape, type_name),
        *_remarks_on_values(array, target),
    )
    comments = tuple(_comments((*parts.leading, *parts.later)))
    return Reading(np.ascontiguousarray(result).reshape(result.shape), comments, remarks)


def _parts(data: bytes) -> _Parts:
    """The comment lines before and after the first number, and the lines of numbers."""
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    leading: list[str] = []
    start = 0
    while start < len(data):
        end = data.find(b"\n", start) + 1 or len(data)
        line = _decoded(data[start:end])
        if line.startswith("#"):
            leading.append(line.rstrip("\n"))
        elif not line.isspace():
            break
        start = end
    if start >= len(data):
        raise Invalid("no number in the text: psana would use its default, or an array of size 0")
    rows = data[start:]
    if b"#" not in rows:
        return _Parts(tuple(leading), (), rows, is_interrupted=False)
    lines = rows.split(b"\n")
    later = tuple(_decoded(line) for line in lines if line.startswith(b"#"))
    numbers = [line for line in lines if not line.startswith(b"#")]
    first_comment = next((n for n, line in enumerate(lines) if line.startswith(b"#")), len(lines))
    is_interrupted = any(line.strip() for line in numbers[first_comment:])
    return _Parts(tuple(leading), later, b"\n".join(numbers), is_interrupted)


def _decoded(line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise Invalid(f"not UTF-8, so psana would use its default: {error}") from error


def _metadata(line: str) -> tuple[str, str] | None:
    """The keyword and value of a machine's line; None for a comment."""
    # psana cuts at single blanks, so `#DTYPE`, `#  DTYPE` and a tab hide the keyword.
    fields = line.split(" ", 2)
    if len(fields) < 3 or not (fields[1] in ("DTYPE", "NDIM") or fields[1].startswith("DIM:")):
        return None
    return fields[1], fields[2]


def _comments(lines: tuple[str, ...]) -> Iterator[str]:
    return (line[1:].removeprefix(" ") for line in lines if _metadata(line) is None)


def _header(lines: tuple[str, ...]) -> _Header:
    dtype = np.dtype(np.float32)
    ndim = None
    dims: list[tuple[str, int]] = []
    for line in lines:
        found = _metadata(line)
        if found is None:
            continue
        keyword, value = found
        try:
            if keyword == "DTYPE":
                dtype = _dtype(value.strip(" "))
            elif keyword == "NDIM":
                ndim = int(value)
            else:
                dims.append((keyword.removeprefix("DIM:"), int(value)))
        except (TypeError, ValueError, DeprecationWarning) as error:
            raise Invalid(f"{line!r} in the header, so psana would use its default") from error
    header = _Header(dtype, ndim, tuple(n for _, n in dims), tuple(label for label, _ in dims))
    if header.has_shape and ndim != len(dims):
        raise Invalid(f"NDIM {ndim} beside {len(dims)} DIM lines: psana would use its default")
    return header


def _dtype(name: str) -> np.dtype:
    if not name:
        return np.dtype(np.float32)
    if not _PLAIN_DTYPE.fullmatch(name):
        raise ValueError(f"{name!r} is not the name of one dtype")
    dtype = np.dtype(name).newbyteorder("=")
    if dtype.kind not in "biuf" or dtype.itemsize > 8:
        raise ValueError(f"constants are numbers of at most 64 bits, not {dtype}")
    return dtype


def _in_header_shape(table: np.ndarray, header: _Header) -> np.ndarray:
    """The table, in the header's shape if that has more than two axes, as psana has it."""
    if not header.has_shape or len(header.shape) <= 2:
        return table
    try:
        return table.reshape(header.shape)
    except (ValueError, OverflowError) as error:
        raise Invalid(
            f"{table.size} numbers under a header that says {header.shape}: "
            "psana would use its default"
        ) from error


def _cast(array: np.ndarray, target: np.dtype) -> np.ndarray:
    if target.kind != "u" or array.dtype.kind != "f":
        with np.errstate(over="ignore"):
            return array.astype(target, copy=False)
    # x86 goes through int32 for the small types; what lies beyond is undefined in C, and 0 here.
    low, high = (-(2.0**63), 2.0**64) if target.itemsize == 8 else (-(2.0**31), 2.0**31)
    values = array.astype(np.float64)
    defined = np.where((values >= low) & (values < high), values, 0.0)
    below_zero = np.minimum(defined, 0.0).astype(np.int64).astype(np.uint64)
    above_zero = np.maximum(defined, 0.0).astype(np.uint64)
    return (below_zero + above_zero).astype(target)


def _remarks_on_text(parts: _Parts, header: _Header, wants_integers: bool) -> Iterator[Remark]:
    if parts.is_interrupted:
        yield Remark("a comment line between rows of numbers", "psana's C++ reader throws")
    if b"#" in parts.rows:
        yield Remark(
            "a '#' behind a blank or a number",
            "psana's Python reader alone takes the rest of the line for a comment",
        )
    if wants_integers and header.dtype.kind == "f" and re.search(rb"[.eE]", parts.rows):
        yield Remark(
            "integers written as floats",
            "psana's C++ reader throws; AMI drops the file and takes every pixel for good",
        )


def _remarks_on_shape(
    header: _Header,
    text: tuple[int, ...],
    result: tuple[int, ...],
    fixed: tuple[int, ...] | None,
    type_name: str,
) -> Iterator[Remark]:
    size = math.prod(result)
    needs_header = fixed is None and type_name != "common_mode"
    if needs_header and not header.has_shape:
        yield Remark("no NDIM and DIM in the header", "psana's C++ reader throws")
    elif needs_header and header.labels != tuple(map(str, range(len(header.labels)))):
        yield Remark(
            f"DIM is numbered {', '.join(header.labels)}, not from 0", "psana's C++ reader throws"
        )
    if header.has_shape and math.prod(header.shape) != size:
        yield Remark(
            f"{size} numbers under a header that says {header.shape}",
            "psana's C++ reader throws; the Python reader takes the numbers that are there",
        )
    elif fixed is None and 0 < len(header.shape) <= 2 and header.shape != text:
        yield Remark(
            f"the text has the shape {text}, the header says {header.shape}",
            "psana's C++ reader takes the header's shape, the Python reader the text's",
        )
    rows = (math.prod(result[:-1]), result[-1]) if result else ()
    if (fixed is not None or len(result) > 2) and text != tuple(n for n in rows if n != 1):
        yield Remark(
            f"the text has the shape {text}, the array {result}",
            "psana takes the numbers in the order of the text; AMI refuses other line lengths",
        )
    if not result:
        yield Remark(
            "a single number",
            "psana's Python reader returns an array without axes, which cannot be indexed",
        )


def _remarks_on_values(array: np.ndarray, target: np.dtype) -> Iterator[Remark]:
    """What a cast from the header's dtype to the type's changes, and what C++ refuses."""
    if array.dtype.kind == "f":
        with np.errstate(over="ignore"):
            finite = np.isfinite(array if target.kind == "u" else array.astype(target, copy=False))
        if not finite.all():
            yield Remark(
                f"nan or inf in {finite.size - np.count_nonzero(finite)} of {array.size} values",
                "psana's C++ reader throws; the Python reader passes them on"
                + ("" if target.kind == "f" else ", as undefined integers"),
            )
    if target.kind != "u" or array.dtype == target:
        return
    limit = np.iinfo(target)
    stated = array.dtype
    if array.dtype.kind == "f":
        array = array.astype(np.float64)
        whole = np.trunc(array)
        cut = np.count_nonzero(np.isfinite(array) & (whole != array))
        if cut:
            yield Remark(f"fractions in {cut} of {array.size} values", "psana cuts them off")
        if np.abs(array[np.isfinite(array)]).max(initial=0) > 2 ** (np.finfo(stated).nmant + 1):
            yield Remark(
                f"integers too large for {stated}, the header's DTYPE", "psana rounds them"
            )
        beyond = np.count_nonzero((whole < 0) | (whole >= float(limit.max) + (target.itemsize < 8)))
    else:
        beyond = np.count_nonzero(array < 0) + np.count_nonzero(array > limit.max)
    if beyond:
        yield Remark(
            f"{beyond} of {array.size} values outside {target}",
            "psana's Python reader wraps them, so that 65536 reads as 0; the C++ reader throws",
        )
