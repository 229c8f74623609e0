"""diff with numbers: how far the values of two versions are apart, and what made them so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from calstore.checks.numbers import ArrayNumbers, bits_of, numbers_of
from calstore.errors import NotFound
from calstore.formats.geometry_text import Line, lines
from calstore.model.arrays import ArrayReference
from calstore.repository.diff import Differences
from calstore.repository.results import input_of
from calstore.repository.version import CalibrationConstant, Version
from calstore.views.difference import ConstantDifference

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

_BITS: Final = frozenset({"pixel_status", "status_extra", "status_data"})
_UNITS: Final = {
    "pedestals": "ADU",
    "pixel_rms": "ADU",
    "pixel_offset": "ADU",
    "pixel_bkgd": "ADU",
    "pixel_max": "ADU",
    "pixel_min": "ADU",
}
_IN_NOISE: Final = frozenset({"pedestals", "pixel_offset", "pixel_bkgd"})


@dataclass(frozen=True, slots=True)
class Displacement:
    """An element of a geometry that lies elsewhere, or that one side does not have.

    Parameters
    ----------
    moved_um
        In x, y and z, in micrometres; ``None`` for one that one side does not have.
    turned
        Rotation and tilt about z, y and x, in degrees.
    """

    element: str
    moved_um: tuple[float, ...] | None
    turned: tuple[float, ...] | None


@dataclass(frozen=True, slots=True)
class ConstantNumbers:
    """How the two sides of a changed constant differ.

    Parameters
    ----------
    unit
        Of the numbers; ``""`` for factors and bits.
    arrays
        ``None`` where they are no arrays of one shape.
    bits
        Of a status: bit → pixels that gained it, pixels that lost it.
    displaced
        Of a geometry.
    causes
        What differs in how they were made, a line each.
    """

    unit: str
    arrays: ArrayNumbers | None
    bits: Mapping[int, tuple[int, int]]
    displaced: tuple[Displacement, ...]
    causes: tuple[str, ...]


def constant_numbers(found: Differences, difference: ConstantDifference) -> ConstantNumbers | None:
    """The numbers of a changed constant; ``None`` for one that just one side has.

    Both values are read, and verified.

    Raises
    ------
    Corrupt
        When one is not what was stored.
    """
    if difference.before is None or difference.after is None or difference.kind != "changed":
        return None
    before = _constant(found.before, difference, difference.before)
    after = _constant(found.after, difference, difference.after)
    name = difference.type_name
    arrays: ArrayNumbers | None = None
    bits: Mapping[int, tuple[int, int]] = {}
    displaced: tuple[Displacement, ...] = ()
    contents = (before.constant.content, after.constant.content)
    mine, theirs = contents
    if isinstance(mine, ArrayReference) and isinstance(theirs, ArrayReference):
        if mine.shape == theirs.shape and mine.content.size:
            one, other = before.array, after.array
            arrays = numbers_of(one, other, _noise(before, one) if name in _IN_NOISE else None)
            if name in _BITS and one.dtype.kind in "iu" and other.dtype.kind in "iu":
                bits = bits_of(one, other)
    elif name == "geometry":
        displaced = tuple(_displaced(before.data, after.data))
    return ConstantNumbers(
        _UNITS.get(name, ""), arrays, bits, displaced, tuple(_causes(before, after))
    )


def _constant(version: Version, difference: ConstantDifference, winner: Any) -> CalibrationConstant:
    runs, constant = winner
    detector = version.detector(difference.detector)
    return CalibrationConstant(detector, difference.type_name, runs, constant)


def _noise(constant: CalibrationConstant, like: Array) -> Array | None:
    """The rms that the same run gets, if it is of these pixels."""
    try:
        found = constant.detector.at(constant.runs.first)["pixel_rms"]
    except NotFound:
        return None
    content = found.constant.content
    if not isinstance(content, ArrayReference) or content.shape != like.shape:
        return None
    return found.array


def _displaced(before: bytes, after: bytes) -> Iterator[Displacement]:
    mine, theirs = (_elements(data) for data in (before, after))
    for element in dict.fromkeys((*mine, *theirs)):
        one, other = mine.get(element), theirs.get(element)
        if one is None or other is None:
            yield Displacement(element, None, None)
        elif one.numbers != other.numbers:
            change = [b - a for a, b in zip(one.numbers, other.numbers, strict=True)]
            turns = [change[k] + change[k + 3] for k in range(3, 6)]
            yield Displacement(element, tuple(change[:3]), tuple(turns))


def _elements(data: bytes) -> dict[str, Line]:
    """The lines of a geometry by what they place, and in what."""
    return {
        f"{' '.join(line.placed)} in {' '.join(line.parent)}": line
        for line in lines(data)
        if line.is_read
    }


def _causes(before: CalibrationConstant, after: CalibrationConstant) -> Iterator[str]:
    one, other = before.derivation, after.derivation
    if one is None or other is None:
        if (one is None) != (other is None):
            made = "no recipe" if one is None else f"{one.recipe} {one.version}"
            now = "no recipe" if other is None else f"{other.recipe} {other.version}"
            yield f"{made} → {now}"
        return
    if (one.recipe, one.version) != (other.recipe, other.version):
        yield f"recipe {one.recipe} {one.version} → {other.recipe} {other.version}"
    for name in sorted({*one.parameters, *other.parameters}):
        values = [each.parameters.get(name, "absent") for each in (one, other)]
        if values[0] != values[1]:
            yield f"{name} {values[0]} → {values[1]}"
    runs = [_runs(each) for each in (before, after)]
    if runs[0] != runs[1]:
        yield f"frames of run {runs[0] or '?'} → {runs[1] or '?'}"


def _runs(constant: CalibrationConstant) -> str:
    """The runs that the frames of a derived constant are of."""
    from calstore.model.derivations import FRAMES
    from calstore.model.digest import Reference

    derivation = constant.derivation
    assert derivation is not None
    store = constant.detector.version.store
    runs = {
        input_of(store, item.content).run
        for item in derivation.inputs.values()
        if item.kind == FRAMES and isinstance(item.content, Reference)
    }
    return ", ".join(map(str, sorted(runs)))
