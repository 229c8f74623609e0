"""The fields of decoded maps, each of the type that the format gives it."""

from __future__ import annotations

from collections.abc import Mapping

from calstore.errors import Invalid
from calstore.model.canonical import Value


def require_keys(
    value: Value, required: set[str], what: str, optional: frozenset[str] = frozenset()
) -> Mapping[str, Value]:
    """The map with just these keys.

    Raises
    ------
    Invalid
        When it is no map, lacks a required key or has one that this version does not know.
    """
    fields = mapping(value, what)
    keys = fields.keys()
    if keys != required:
        missing = sorted(required - keys)
        unknown = sorted(keys - required - optional)
        if missing:
            raise Invalid(f"a {what} without {', '.join(missing)}")
        if unknown:
            raise Invalid(f"a {what} with {', '.join(unknown)}: written by a newer calstore?")
    return fields


def mapping(value: Value, what: str) -> Mapping[str, Value]:
    """The value, if it is a map."""
    if not isinstance(value, dict):
        raise Invalid(f"a {what} is a map, not {value!r:.60}")
    return value


def items(value: Value, what: str) -> list[Value]:
    """The value, if it is a list."""
    if not isinstance(value, list):
        raise Invalid(f"a {what} is a list, not {value!r:.60}")
    return value


def text(value: Value, what: str) -> str:
    """The value, if it is text."""
    if not isinstance(value, str):
        raise Invalid(f"a {what} is text, not {value!r:.60}")
    return value


def octets(value: Value, what: str, length: int) -> bytes:
    """The value, if it is that many bytes."""
    if not isinstance(value, bytes) or len(value) != length:
        raise Invalid(f"a {what} is {length} bytes, not {value!r:.60}")
    return value


def natural(value: Value, what: str, least: int = 0) -> int:
    """The value, if it is an integer of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise Invalid(f"a {what} is a whole number from {least} on, not {value!r:.60}")
    return value
