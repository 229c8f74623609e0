"""The image of a detector: where each of its pixels falls, and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np

from calstore.correct.geometry import Coordinates
from calstore.errors import Invalid

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True, eq=False)
class Assembly:
    """Row and column in the image of each pixel, of shape ``(segment, row, column)``.

    Several pixels may fall on one place, and none on others.
    """

    rows: Array
    columns: Array

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the image."""
        return int(self.rows.max()) + 1, int(self.columns.max()) + 1


_LONGEST: Final = 2**16
"""Rows or columns of an image; more would be panels at places that no detector has."""


def assembly(coordinates: Coordinates) -> Assembly:
    """Where the pixels fall in an image whose pixels have the size of the detector's.

    As psana's ``GeometryAccess.get_pixel_coord_indexes`` with its defaults: x counts rows, y
    counts columns, both from the pixel that is first.

    Raises
    ------
    Invalid
        When the pixels are so far from each other that they make no image.
    """
    return Assembly(
        _indices(coordinates.x, coordinates.pixel_um), _indices(coordinates.y, coordinates.pixel_um)
    )


def _indices(axis: Array, pixel_um: float) -> Array:
    length = (axis.max() - axis.min()) / pixel_um
    if not length < _LONGEST:
        raise Invalid(
            f"pixels of {pixel_um:g} um that are {length:,.0f} pixels apart; mend the geometry"
        )
    return np.asarray((axis - (axis.min() - pixel_um / 2)) / pixel_um).astype(np.intp)


def image_of(where: Assembly, panels: Array) -> Array:
    """The image, ``(row, column)``: 0 where no pixel is, the last where there are several.

    Parameters
    ----------
    panels
        A value for each pixel: ``(segment, row, column)``, or in another shape in that order.

    Raises
    ------
    Invalid
        When there are not as many values as pixels.
    """
    if panels.size != where.rows.size:
        raise Invalid(
            f"an array of shape {panels.shape} where the geometry places pixels {where.rows.shape}"
        )
    image = np.zeros(where.shape, panels.dtype)
    image[where.rows.ravel(), where.columns.ravel()] = panels.ravel()
    return image


def holes_of(where: Assembly) -> tuple[Array, Array]:
    """Rows and columns of the places without a pixel, beside each of which there are four.

    They come from rounding, as psana's ``image_of_holes`` has them.
    """
    there = np.zeros(where.shape, np.bool_)
    there[where.rows.ravel(), where.columns.ravel()] = True
    inner = ~there[1:-1, 1:-1]
    for beside in (there[:-2, 1:-1], there[2:, 1:-1], there[1:-1, :-2], there[1:-1, 2:]):
        inner &= beside
    rows, columns = np.nonzero(inner)
    return rows + 1, columns + 1


def fill(image: Array, holes: tuple[Array, Array]) -> None:
    """Give each hole the least of the four values beside it, in place, as psana does."""
    rows, columns = holes
    image[rows, columns] = np.minimum(
        np.minimum(image[rows - 1, columns], image[rows + 1, columns]),
        np.minimum(image[rows, columns - 1], image[rows, columns + 1]),
    )


def panels_of(where: Assembly, image: Array) -> Array:
    """What each pixel of the detector has in an image: ``(segment, row, column)``.

    Raises
    ------
    Invalid
        When the image has another shape than the assembled one.
    """
    if image.shape != where.shape:
        raise Invalid(f"an image of shape {image.shape} where the assembled one has {where.shape}")
    panels: Array = image[where.rows, where.columns]
    return panels
