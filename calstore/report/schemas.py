"""The JSON schemas of what is told to machines, as one description of a service embeds them."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any, Final

_PACKAGE: Final = Path(__file__).resolve().parents[1]
_PLACES: Final = (_PACKAGE / "schemas", _PACKAGE.parent / "schemas")
"""In an installed package, and in a checkout."""


@cache
def embedded(*names: str) -> dict[str, Any]:
    """These schemas and all that they refer to, by name, with references among each other."""
    found: dict[str, Any] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = _referring(_read(name), name, waiting)
    return found


def _read(name: str) -> Any:
    folder = next(place for place in _PLACES if (place / "definitions.json").is_file())
    return json.loads((folder / f"{name}.json").read_text())


def _referring(value: Any, name: str, others: list[str]) -> Any:
    """The same with ``other.json#/…`` as a place in the whole; names of the others are added."""
    if isinstance(value, list):
        return [_referring(each, name, others) for each in value]
    if not isinstance(value, dict):
        return value
    told = {}
    for key, each in value.items():
        if key in ("$id", "$schema"):
            continue
        if key == "$ref":
            file, _, inside = each.partition("#")
            other = file.removesuffix(".json") or name
            others.append(other)
            told[key] = f"#/components/schemas/{other}{inside}"
        else:
            told[key] = _referring(each, name, others)
    return told
