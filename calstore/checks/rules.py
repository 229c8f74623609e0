"""Which rules a constant is judged by, in the order in which people read the findings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeAlias

import numpy as np

from calstore.checks import common_mode, form, gain, order, panels, values
from calstore.checks.finding import Finding, Subject

Array = np.ndarray[Any, np.dtype[Any]]

Rule: TypeAlias = Callable[[Subject, Array], Iterator[Finding]]

GEOMETRY: Final = "geometry"
"""The type that is a text, with rules of its own in `checks.geometry`."""

_RULES: Final[Mapping[str, tuple[Rule, ...]]] = {
    "pedestals": (
        values.finite,
        panels.raw_range,
        panels.one_value,
        panels.uncomputed,
        order.other_order,
    ),
    "pixel_rms": (
        values.finite,
        values.negative_rms,
        panels.one_value,
        panels.zero_rms,
        order.other_order,
    ),
    "pixel_status": (values.finite, values.in_range, panels.bad_pixels),
    "status_extra": (values.finite, values.in_range, panels.bad_pixels),
    "status_data": (values.finite, values.in_range),
    "pixel_gain": (values.finite, gain.zero_gain, gain.inverted_gain, order.other_order),
    "pixel_offset": (values.finite, order.other_order),
    "pixel_bkgd": (values.finite,),
    "pixel_mask": (values.finite, values.mask_values, panels.all_masked),
    "common_mode": (values.finite, common_mode.parameters),
}


def is_judged(type_name: str) -> bool:
    """Whether there are rules for a type; what psana does not know has none."""
    return type_name in _RULES or type_name == GEOMETRY


def form_findings(subject: Subject, dtype: str, shape: tuple[int, ...]) -> tuple[Finding, ...]:
    """What is odd about dtype and shape."""
    return (*form.dtype(subject, dtype), *form.shape(subject, shape))


def value_findings(subject: Subject, array: Array) -> tuple[Finding, ...]:
    """What is odd about the values of an array, one rule after the other."""
    if not array.size:
        return ()
    return tuple(
        finding for rule in _RULES.get(subject.type_name, ()) for finding in rule(subject, array)
    )


def written_findings(subject: Subject, array: Array) -> tuple[Finding, ...]:
    """What is odd about the integers of a file before psana's cast; the cast array hides it."""
    return tuple(values.in_range(subject, array)) if array.size else ()
