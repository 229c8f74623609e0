"""``.npy`` files, read without pickle and without trusting the header.

The format is numpy's NEP 1: magic, version, length of the header, a Python literal, the bytes.
"""

from __future__ import annotations

import ast
import io
import math
import struct
from typing import Any, Literal

import numpy as np

from calstore.errors import Invalid

_MAGIC = b"\x93NUMPY"
_MOST_HEADER_BYTES = 64 * 1024
_MOST_AXES = 64
_LENGTH_FIELDS = {1: "<H", 2: "<I", 3: "<I"}


def read(data: memoryview | bytes) -> np.ndarray:
    """The array in the bytes of an ``.npy`` file, as a read-only view of them.

    Byte order and Fortran order are the file's own.

    Raises
    ------
    Invalid
        When this is no ``.npy`` file of version 1 to 3, when its dtype is not a plain number of at
        most 64 bits, or when the header does not describe exactly the bytes that follow it.
        Nothing is allocated before that is known.
    """
    view = memoryview(data).cast("B").toreadonly()
    start, fields = _header_fields(view)
    dtype = _dtype(fields["descr"])
    shape = fields["shape"]
    if not isinstance(shape, tuple) or len(shape) > _MOST_AXES:
        raise Invalid(f"an .npy file with the shape {shape!r}")
    if any(type(length) is not int or length < 0 for length in shape):
        raise Invalid(f"an .npy file with the shape {shape!r}")
    stated = math.prod(shape) * dtype.itemsize
    if stated != len(view) - start:
        raise Invalid(
            f"an .npy file of {len(view) - start} bytes whose header says {stated}, "
            f"{dtype} {shape}; it is cut short or has something behind it"
        )
    order: Literal["C", "F"] = "F" if fields["fortran_order"] else "C"
    try:
        return np.ndarray(shape, dtype, view, start, order=order)
    except (ValueError, OverflowError, TypeError) as error:  # such as (0, 2**70)
        raise Invalid(f"an .npy file with the shape {shape!r}") from error


def header(dtype: np.dtype, shape: tuple[int, ...]) -> bytes:
    """What ``np.save`` writes before the bytes of a little-endian array in C order.

    Raises
    ------
    Invalid
        When the dtype is not a plain number of at most 64 bits.
    """
    _check_dtype(dtype)
    descr = np.lib.format.dtype_to_descr(dtype.newbyteorder("<"))
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        stream, {"descr": descr, "fortran_order": False, "shape": shape}
    )
    return stream.getvalue()


def _header_fields(view: memoryview) -> tuple[int, dict[str, Any]]:
    """Where the array begins, and the header's three fields."""
    if view[:6] != _MAGIC or len(view) < 10:
        raise Invalid("not an .npy file: it does not begin with \\x93NUMPY and a version")
    major, minor = view[6], view[7]
    length_field = _LENGTH_FIELDS.get(major)
    if length_field is None or minor != 0:
        raise Invalid(f"an .npy file of version {major}.{minor}; 1.0, 2.0 and 3.0 can be read")
    begin = 8 + struct.calcsize(length_field)
    if len(view) < begin:
        raise Invalid("an .npy file that ends inside its header")
    (length,) = struct.unpack_from(length_field, view, 8)
    if length > _MOST_HEADER_BYTES:
        raise Invalid(f"an .npy header of {length} bytes; {_MOST_HEADER_BYTES} are allowed")
    if len(view) < begin + length:
        raise Invalid("an .npy file that ends inside its header")
    fields = _literal(bytes(view[begin : begin + length]), "utf-8" if major == 3 else "latin-1")
    if not isinstance(fields, dict) or set(fields) != {"descr", "fortran_order", "shape"}:
        raise Invalid("an .npy header without exactly descr, fortran_order and shape")
    if not isinstance(fields["fortran_order"], bool):
        raise Invalid(f"an .npy header with fortran_order {fields['fortran_order']!r}")
    return begin + length, fields


def _literal(text: bytes, encoding: str) -> object:
    try:
        return ast.literal_eval(text.decode(encoding).strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise Invalid("an .npy header that is not a Python literal") from error


def _dtype(descr: object) -> np.dtype:
    # Structured dtypes are lists; names such as "O" or "f4,f4" are refused below.
    if not isinstance(descr, str):
        raise Invalid(f"an .npy file of dtype {descr!r}; constants are plain numbers")
    try:
        dtype = np.dtype(descr)
    except (TypeError, ValueError, SyntaxError, Warning) as error:
        raise Invalid(f"an .npy file of unknown dtype {descr!r}") from error
    _check_dtype(dtype)
    return dtype


def _check_dtype(dtype: np.dtype) -> None:
    if dtype.kind not in "biuf" or dtype.itemsize > 8:
        raise Invalid(f"constants are numbers of at most 64 bits, not {dtype}")


def render(array: np.ndarray) -> tuple[bytes, memoryview | bytes]:
    """What ``np.save`` writes for the array, little-endian in C order: the header, the values."""
    plain = np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")
    values = plain.reshape(-1).view(np.uint8).data if plain.size else b""
    return header(plain.dtype, plain.shape), values


def is_canonical(data: memoryview | bytes, array: np.ndarray) -> bool:
    """Whether `render` gives these bytes back, where ``array`` was read from them."""
    begin = header(array.dtype, array.shape)
    in_order = array.flags.c_contiguous and array.dtype == array.dtype.newbyteorder("<")
    return in_order and bytes(data[: len(begin)]) == begin
