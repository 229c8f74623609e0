"""Masks: which pixels are left out, by their status, by their place, or because a user says so.

Whole numbers only, so a mask is the same on every machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from math import prod
from typing import Any, Final, TypeAlias

import numpy as np

from calstore.errors import Invalid
from calstore.model.derivations import Parameter
from calstore.model.detectors import MASKED
from calstore.model.fields import natural

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]
Bools: TypeAlias = np.ndarray[Any, np.dtype[np.bool_]]
Shape: TypeAlias = tuple[int, int, int]

RECIPE: Final = "mask"
VERSION: Final = 1

ALL_BITS: Final = 0xFFFF
"""As psana: a pixel with any bit is bad."""

CAUSES: Final = ("status", "neighbours", "edges", "centre", "user")
"""Why a pixel is masked."""

MEASURED_MODES: Final = 5
"""Of how many gain modes, from the first, a status is merged; psana/detector/mask_algos.py:55-61.

An epix10ka has two more, whose status no dark measures.
"""

_CSPAD2X2: Final = (185, 388, 2)
"""The one detector whose panels are its last axis."""


@dataclass(frozen=True, slots=True)
class MaskRule:
    """All that decides a mask beside the arrays that it is made from.

    Parameters
    ----------
    status_bits
        A pixel is bad that has one of these bits in a measured gain mode; 0 for none. The bit that
        a mask sets itself does not count, so that a mask never feeds on an earlier one.
    edges
        How many rows and columns are masked at each edge of a panel.
    centre
        How many rows and columns on either side of each joint between the chips of a panel.
    neighbours
        How far around a pixel that is bad by its status all others of the panel are masked:
        diagonals too, so it is a square of ``2 n + 1`` pixels. Edges, joints and a user's mask do
        not grow.
    chip_rows, chip_columns
        The size of a chip; both 0 where ``centre`` is.
    """

    status_bits: int = ALL_BITS
    edges: int = 0
    centre: int = 0
    neighbours: int = 0
    chip_rows: int = 0
    chip_columns: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.status_bits <= ALL_BITS:
            raise Invalid(f"status bits {self.status_bits:#x}; they are 0 to {ALL_BITS:#x}")
        object.__setattr__(self, "status_bits", self.status_bits & ~MASKED)
        for name in ("edges", "centre", "neighbours", "chip_rows", "chip_columns"):
            natural(getattr(self, name), name)
        if bool(self.centre) != bool(self.chip_rows and self.chip_columns):
            raise Invalid("the joints of chips need the size of a chip, and only they do")
        if self.neighbours and not self.status_bits:
            raise Invalid("neighbours of which pixels? name the status bits that make one bad")

    @classmethod
    def of(cls, parameters: Mapping[str, Parameter]) -> MaskRule:
        """The rule of a derivation's parameters; `Invalid` for others."""
        names = {field.name for field in fields(cls)}
        numbers = {name: n for name, n in parameters.items() if type(n) is int}
        if numbers.keys() != names or parameters.keys() != names:
            raise Invalid(f"the parameters of a mask are {', '.join(sorted(names))}, whole numbers")
        return cls(**numbers)

    def parameters(self) -> dict[str, Parameter]:
        """As a derivation holds them."""
        return dict(asdict(self))


@dataclass(frozen=True, slots=True, eq=False)
class Masked:
    """A mask, and how many pixels each cause masks; several causes may mask the same one.

    Parameters
    ----------
    mask
        uint8 of shape ``(panel, row, column)``; 1 is good.
    causes
        Those of `CAUSES` that were asked for.
    """

    mask: Array
    causes: Mapping[str, int]

    @property
    def count(self) -> int:
        """How many pixels are masked."""
        return int(self.mask.size - np.count_nonzero(self.mask))


def mask_of(
    shape: Shape, rule: MaskRule, *, status: Array | None = None, user: Array | None = None
) -> Masked:
    """The mask of a detector.

    Parameters
    ----------
    shape
        ``(panel, row, column)``.
    status
        Its bits: of this shape, or with an axis of gain modes before it. Needed for status bits.
    user
        The user's mask, of this shape, 1 is good.

    Raises
    ------
    Invalid
        When there is no status where its bits are asked for, when shapes differ, or when no pixel
        would be left.
    """
    bad: dict[str, Bools] = {}
    if rule.status_bits:
        if status is None or status.shape[-3:] != shape:
            there = "none" if status is None else f"one of shape {status.shape}"
            raise Invalid(f"a mask by status needs one for {shape}, and there is {there}")
        bad["status"] = bad_by_status(status, rule.status_bits)
    if rule.neighbours:
        bad["neighbours"] = grown(bad["status"], rule.neighbours) & ~bad["status"]
    if rule.edges:
        bad["edges"] = edges(shape, rule.edges)
    if rule.centre:
        bad["centre"] = joints(shape, (rule.chip_rows, rule.chip_columns), rule.centre)
    if user is not None:
        if user.shape != shape:
            raise Invalid(f"a user's mask of shape {user.shape}, where the panels are {shape}")
        bad["user"] = user == 0
    masked = np.zeros(shape, np.bool_)
    for pixels in bad.values():
        masked |= pixels
    if masked.all():
        by_all = [cause for cause, pixels in bad.items() if pixels.all()] or list(bad)
        raise Invalid(f"a mask that leaves no pixel of {shape}: {', '.join(by_all)} mask them all")
    causes = {cause: int(np.count_nonzero(pixels)) for cause, pixels in bad.items()}
    return Masked((~masked).astype(np.uint8), causes)


def bad_by_status(status: Array, bits: int) -> Bools:
    """Which pixels have one of the bits in a measured gain mode: ``(panel, row, column)``."""
    if status.dtype.kind != "u":
        raise Invalid(f"a status of {status.dtype} has no bits; it is a whole number from 0")
    having = (status & np.array(bits).astype(status.dtype)) != 0
    if having.ndim < 4:
        return np.asarray(having)
    return np.asarray(having[:MEASURED_MODES].any(axis=0))


def grown(bad: Bools, by: int) -> Bools:
    """The pixels that are bad or at most ``by`` rows and ``by`` columns from one, on its panel."""
    wider = bad.copy()
    for axis in (-1, -2):
        line = np.moveaxis(wider, axis, -1)
        for _ in range(min(by, line.shape[-1])):
            before = line.copy()
            line[..., 1:] |= before[..., :-1]
            line[..., :-1] |= before[..., 1:]
    return wider


def edges(shape: Shape, width: int) -> Bools:
    """The pixels in the first and last rows and columns of each panel."""
    masked = np.ones(shape, np.bool_)
    masked[:, width : max(shape[1] - width, 0), width : max(shape[2] - width, 0)] = False
    return masked


def joints(shape: Shape, chip: tuple[int, int], width: int) -> Bools:
    """The pixels at most ``width`` rows or columns from where two chips of a panel meet."""
    masked = np.zeros(shape, np.bool_)
    for axis, length in ((-2, chip[0]), (-1, chip[1])):
        line = np.moveaxis(masked, axis, -1)
        for joint in range(length, line.shape[-1], length):
            line[..., max(joint - width, 0) : joint + width] = True
    return masked


def folded(status: Array, mask: Array) -> Array:
    """A status whose pixels have the bit `MASKED` where the mask is 0, and there alone.

    Parameters
    ----------
    status
        Of the mask's shape, or with an axis of gain modes before it; all of them get the bit.
    """
    bit = status.dtype.type(MASKED)
    return np.asarray(np.where(mask == 0, status | bit, status & ~bit))


def panels_shape(shape: tuple[int, ...]) -> Shape:
    """``(panel, row, column)`` of constants of this shape, which have no gain modes."""
    if shape == _CSPAD2X2:
        shape = (2, 185, 388)
    return prod(shape[:-2]), shape[-2], shape[-1]


def by_panel(array: Array, *, has_modes: bool = False) -> Array:
    """The array as ``(panel, row, column)``, behind its axis of gain modes if it has one.

    A view. Of a Cspad2x2, whose constants are ``(row, column, panel)`` as its data are, too.
    """
    if has_modes:
        return array[:, np.newaxis] if array.ndim == 3 else array
    if array.shape == _CSPAD2X2:
        return np.moveaxis(array, -1, 0)
    return array.reshape(panels_shape(array.shape))


def as_stored(panels: Array, shape: tuple[int, ...]) -> Array:
    """An array ``(panel, row, column)`` in the shape of constants that have no gain modes."""
    if shape == _CSPAD2X2:
        return np.ascontiguousarray(np.moveaxis(panels, 0, -1))
    return panels.reshape(shape)


def users_mask(values: Array) -> Array:
    """A user's mask as uint8; `Invalid` when it has other values than 0 and 1."""
    with np.errstate(invalid="ignore"):
        is_flag = (values == 0) | (values == 1)
    if not is_flag.all():
        others = values[~is_flag]
        raise Invalid(
            f"a mask has 0 for bad and 1 for good pixels, and {others.size} of {values.size} "
            f"values are others, as {others[0]}"
        )
    return values.astype(np.uint8)


def on_panels(user: Array, shape: Shape) -> Array | None:
    """A user's mask as ``(panel, row, column)``; ``None`` when it has another shape.

    It may have the shape of the panels, more axes before them, or the panels stacked into one
    plane, as psana's text has them.
    """
    if user.shape == _CSPAD2X2 and shape == (2, 185, 388):
        return by_panel(user)
    panels, rows, columns = shape
    is_stacked = user.shape == (panels * rows, columns)
    is_same = user.size == panels * rows * columns and user.shape[-2:] == (rows, columns)
    return user.reshape(shape) if is_stacked or is_same else None
