"""Rules on dtype and shape: they need no value, so no array is read for them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final

from calstore.checks.finding import Finding, Subject
from calstore.model.ami import ami_reads, ami_shape_problem
from calstore.model.conventions import calibration_type, fixed_shape, gain_shape, psana_default
from calstore.model.detectors import AnyShape, expected_shapes, gain_modes

_MAX_PARAMETERS: Final = 16
"""psana's C++ reader keeps common_mode in 16 doubles (include/CalibPars.h:58-66)."""

_ALIKE: Final = {"f": "fiu", "u": "uib"}
"""Kinds of numpy dtypes that a cast to the key keeps what they mean, if their range fits."""


def opaque(subject: Subject) -> Iterator[Finding]:
    """A file that could not be read as an array, where psana wants one."""
    kind = calibration_type(subject.type_name)
    if kind is not None and kind.is_array:
        default = psana_default(subject.group, subject.type_name)
        yield subject.wrong(
            "an opaque file where an array should be",
            f"psana cannot read it and goes on with {default} in silence",
        )


def dtype(subject: Subject, name: str) -> Iterator[Finding]:
    """Whether psana's cast keeps what the dtype means."""
    kind = calibration_type(subject.type_name)
    if kind is None or kind.dtype is None:
        return
    is_float = kind.dtype.startswith("float")
    if name[0] not in _ALIKE["f" if is_float else "u"]:
        yield subject.suspicious(
            f"dtype {name}, which psana casts to {kind.dtype}",
            "fractions are lost" if not is_float else "is it another type's array?",
        )


def shape(subject: Subject, lengths: Sequence[int]) -> Iterator[Finding]:
    """Whether readers take the values for the pixels that they are of."""
    found = tuple(lengths)
    if 0 in found:
        yield subject.wrong(
            f"no values: the shape is {found}", "psana takes it for loaded, and corrects nothing"
        )
    elif subject.type_name == "common_mode":
        yield from _parameters(subject, found)
    else:
        expected = expected_shapes(subject.group, subject.source, subject.type_name)
        if expected and not any(_fits(subject, found, allowed) for allowed in expected):
            yield _other_shape(subject, found, expected)


def is_alike(subject: Subject, pedestals: Sequence[int], lengths: Sequence[int]) -> bool:
    """Whether a constant has a value for each that the pedestals have.

    Axes of length 1 are no difference, nor are folded ones where psana knows the shape.
    """
    if fixed_shape(subject.group, subject.type_name) is not None:
        return math.prod(lengths) == math.prod(pedestals)
    return _squeezed(tuple(lengths)) == _squeezed(tuple(pedestals))


def _parameters(subject: Subject, found: tuple[int, ...]) -> Iterator[Finding]:
    if len(found) != 1 or found[0] > _MAX_PARAMETERS:
        yield subject.wrong(
            f"the shape is {found}, for a list of at most {_MAX_PARAMETERS} parameters",
            "psana takes other numbers for the algorithm and its limits, or fails",
        )


def _fits(subject: Subject, found: tuple[int, ...], allowed: AnyShape) -> bool:
    if _matches(_squeezed(found), tuple(length for length in allowed if length != 1)):
        return True
    fixed = fixed_shape(subject.group, subject.type_name)
    # psana brings these into its shape: leading axes may be folded, as text does it.
    return (
        fixed is not None
        and math.prod(found) == math.prod(fixed)
        and len(found) > 1
        and found[-1] == fixed[-1]
        and (found[-2] == fixed[-2] or found[-2] == math.prod(fixed[:-1]))
    )


def _matches(found: tuple[int, ...], allowed: AnyShape) -> bool:
    return len(found) == len(allowed) and all(
        wanted in (None, length) for wanted, length in zip(allowed, found, strict=True)
    )


def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(length for length in shape if length != 1)


def _other_shape(
    subject: Subject, found: tuple[int, ...], expected: tuple[AnyShape, ...]
) -> Finding:
    wanted = " or ".join(_spelled(allowed) for allowed in expected)
    same_size = any(
        sorted(_squeezed(found)) == sorted(n for n in allowed if n not in (None, 1))
        for allowed in expected
        if None not in allowed
    )
    fixed = fixed_shape(subject.group, subject.type_name)
    same_size |= fixed is not None and math.prod(fixed) == math.prod(found)
    if same_size:
        return subject.wrong(
            f"the shape is {found}, not {wanted}: as many values in another order",
            "psana does not notice, and gives each pixel the value of another one",
        )
    if fixed is not None:
        default = psana_default(subject.group, subject.type_name)
        return subject.wrong(
            f"the shape is {found}, not {wanted}",
            f"psana drops it and goes on with {default} in silence",
        )
    if gain_modes(subject.source) is not None:
        return _without_modes(subject, found, f"the shape is {found}, not {wanted}")
    return subject.wrong(
        f"the shape is {found}, not {wanted}",
        "psana takes it as it is, and fails when it subtracts or multiplies it",
    )


def _without_modes(subject: Subject, found: tuple[int, ...], what: str) -> Finding:
    """What is not the shape that a detector with gain modes has."""
    switching = gain_shape(subject.source, subject.type_name)
    if switching is not None and _matches(found, switching):
        return subject.suspicious(what, "psana takes it, but no such detector has so many panels")
    is_read_by_ami = subject.type_name in ami_reads(subject.source)
    if is_read_by_ami and ami_shape_problem(subject.source, subject.type_name, found) is None:
        return subject.suspicious(what, "AMI takes it; psana needs values for each gain mode")
    return subject.wrong(
        what, "psana does not check it, and takes other values than were meant, or fails"
    )


def _spelled(allowed: AnyShape) -> str:
    if None in allowed:
        return f"({', '.join('n' if length is None else str(length) for length in allowed)})"
    return str(allowed)
