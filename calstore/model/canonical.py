"""Canonical msgpack: one encoding per value (docs/format.md, section 3)."""

from __future__ import annotations

import math
from itertools import chain
from typing import Any, TypeAlias

import msgpack

from calstore.errors import Invalid

Value: TypeAlias = (
    "bool | int | float | str | bytes | list[Value] | tuple[Value, ...] | dict[str, Value] | None"
)

MAX_DEPTH = 16
_KINDS = frozenset({type(None), bool, int, float, str, bytes, list, dict})


def encode(value: Value) -> bytes:
    """The only canonical encoding of a value.

    Raises
    ------
    Invalid
        For a value without one: a NaN, an integer over 64 bits, a key that is no string.
    """
    try:
        packed: bytes = msgpack.packb(_sorted(value, 0), use_bin_type=True)
    except (ValueError, OverflowError, UnicodeEncodeError) as error:
        raise Invalid(f"cannot be encoded canonically: {error}") from error
    return packed


def decode(data: bytes, *, limit: int) -> Value:
    """The value of canonical bytes.

    Parameters
    ----------
    data
        Bytes that `encode` could have written.
    limit
        Refuse more bytes than this before decoding any.

    Raises
    ------
    Invalid
        When the bytes are too many, no msgpack, or not the canonical encoding of what they say.
    """
    if len(data) > limit:
        raise Invalid(f"{len(data)} bytes of msgpack; at most {limit} are read")
    try:
        value: Value = msgpack.unpackb(data, raw=False, strict_map_key=True, use_list=True)
    except (ValueError, msgpack.UnpackException, TypeError) as error:
        raise Invalid(f"not msgpack: {str(error) or type(error).__name__}") from error
    _check_parts(value)
    # Duplicate keys, long integers and float32 end here.
    if msgpack.packb(value, use_bin_type=True) != data:
        raise Invalid("msgpack, but not in its canonical form")
    return value


def _check_parts(value: Value) -> None:
    """Raise `Invalid` for unsorted keys and for what no canonical encoding holds.

    Level by level, so that no step of Python is taken for each part: a manifest has ten thousand,
    and this is what reading one takes longest for.
    """
    level: list[Any] = [value]
    depth = 0
    while level:
        if depth > MAX_DEPTH:
            raise Invalid(f"nested more than {MAX_DEPTH} deep")
        kinds = set(map(type, level))
        for kind in kinds - _KINDS:
            raise Invalid(f"a {kind.__name__} has no canonical encoding")
        if float in kinds:
            for item in level:
                if item.__class__ is float and not math.isfinite(item):
                    raise Invalid(f"a float that is not finite: {item}")
        maps = [item for item in level if item.__class__ is dict] if dict in kinds else []
        lists = [item for item in level if item.__class__ is list] if list in kinds else []
        for keys in set(map(tuple, maps)):  # most maps of a manifest have one of a few
            _check_keys(keys)
        level = [*chain.from_iterable(map(dict.values, maps)), *chain.from_iterable(lists)]
        depth += 1


def _check_keys(keys: tuple[str, ...]) -> None:
    for key in keys:
        if not isinstance(key, str):
            raise Invalid(f"a key that is no string: {key!r}")
    if list(keys) != sorted(keys):
        raise Invalid("msgpack, but not in its canonical form")


def _sorted(value: Value, depth: int) -> Value:
    if depth > MAX_DEPTH:
        raise Invalid(f"nested more than {MAX_DEPTH} deep")
    match value:
        case dict():
            for key in value:
                if not isinstance(key, str):
                    raise Invalid(f"a key that is no string: {key!r}")
            # Code points sort as their UTF-8 bytes do.
            return {key: _sorted(value[key], depth + 1) for key in sorted(value)}
        case list() | tuple():
            return [_sorted(item, depth + 1) for item in value]
        case float() if value != value or value in (float("inf"), float("-inf")):
            raise Invalid(f"a float that is not finite: {value}")
        case None | bool() | int() | float() | str() | bytes():
            return value
        case _:
            raise Invalid(f"a {type(value).__name__} has no canonical encoding")
