"""Panels in words: which gain modes and segments they are of, where the axes say so."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

from calstore.model.arrays import ArrayReference, panels_of
from calstore.model.conventions import gain_shape
from calstore.model.detectors import gain_modes

_SHOWN = 6


def panels_text(source: str, type_name: str, array: ArrayReference, numbers: Sequence[int]) -> str:
    """Some panels of an array as people read them; ``""`` where it is one panel.

    Parameters
    ----------
    numbers
        In ascending order; panels are counted over the leading axes, the last of them fastest.
    """
    count = panels_of(array.dtype, array.shape).count
    if count == 1:
        return ""
    if len(numbers) == count:
        return f"all {count} panels"
    noun = "panel" if len(numbers) == 1 else "panels"
    places = _places(source, type_name, array.shape, count, numbers)
    return f"{noun} {_listed(numbers)} of {count}" + (f" ({places})" if places else "")


def _places(
    source: str, type_name: str, shape: tuple[int, ...], count: int, numbers: Sequence[int]
) -> str:
    """The same as gain modes and segments, or as indices where nobody knows what the axes are."""
    lead = shape[:-2]
    if len(lead) < 2 or math.prod(lead) != count:
        return ""
    modes, expected = gain_modes(source), gain_shape(source, type_name)
    if modes is None or expected is None or not _fits(shape, expected):
        return _shortened([str(list(_index(number, lead))) for number in numbers], ", ")
    segments: dict[str, list[int]] = {}
    for number in numbers:
        mode, segment = _index(number, lead)
        segments.setdefault(modes.names[mode], []).append(segment)
    return _shortened(
        [f"{mode}{_of_segments(lead[1], some)}" for mode, some in segments.items()], "; "
    )


def _of_segments(count: int, numbers: Sequence[int]) -> str:
    if count == 1:
        return ""
    if len(numbers) == count:
        return ": all segments"
    return f": segment{'' if len(numbers) == 1 else 's'} {_listed(numbers)}"


def _fits(shape: tuple[int, ...], expected: tuple[int | None, ...]) -> bool:
    return len(shape) == len(expected) and all(
        wanted in (None, length) for length, wanted in zip(shape, expected, strict=True)
    )


def _index(number: int, lead: tuple[int, ...]) -> tuple[int, ...]:
    index = []
    for length in reversed(lead):
        number, place = divmod(number, length)
        index.append(place)
    return tuple(reversed(index))


def _listed(numbers: Sequence[int]) -> str:
    """As ``0-3, 7``."""
    return _shortened(
        [str(first) if first == last else f"{first}-{last}" for first, last in _spans(numbers)],
        ", ",
    )


def _spans(numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    first = numbers[0]
    for number, following in pairwise([*numbers, -1]):
        if following != number + 1:
            yield first, number
            first = following


def _shortened(parts: Sequence[str], separator: str) -> str:
    more = [f"{len(parts) - _SHOWN} more"] if len(parts) > _SHOWN else []
    return separator.join([*parts[:_SHOWN], *more])
