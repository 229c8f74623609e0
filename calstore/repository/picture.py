"""image: a constant, or a frame of a run, corrected or not, as one image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from calstore.correct.assembly import Assembly, assembly, fill, holes_of, image_of
from calstore.correct.corrections import Corrections
from calstore.correct.geometry import coordinates
from calstore.errors import Invalid, NotFound
from calstore.frames.source import FrameSource
from calstore.model.detectors import modes_of_kind
from calstore.model.inputs import Selection
from calstore.repository.corrected import kind_of
from calstore.repository.version import RunConstants

Array = np.ndarray[Any, np.dtype[Any]]

MOST_OF_A_MEAN = 100


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """An image and what it shows.

    Parameters
    ----------
    image
        ``(row, column)``; NaN where no pixel is, or a masked one.
    unit
        ``ADU``, ``keV``, or ``""`` for bits and factors.
    is_assembled
        Whether a geometry has placed the panels; else they are above each other.
    """

    image: Array
    title: str
    unit: str
    is_assembled: bool


def picture_of_constant(there: RunConstants, type_name: str, mode: str = "") -> Picture:
    """A constant of a run, in one gain mode.

    Parameters
    ----------
    mode
        By name, as ``G0``; needed where the constant has several.

    Raises
    ------
    NotFound
        When the run gets none, or the constant has no such mode.
    Invalid
        When it has no value for each pixel, or several modes and none is named.
    """
    constant = there[type_name]
    values = constant.array
    names = modes_of_kind(kind_of(there.detector))
    title = f"{constant}"
    if names is not None and values.ndim > 2 and len(values) == len(names.names):
        if mode not in names.names:
            listed = ", ".join(names.names)
            if not mode:
                raise Invalid(f"{constant} is of the gain modes {listed}; name one: --mode")
            raise NotFound(f"{constant} has no gain mode {mode}; it has {listed}")
        values, title = values[names.names.index(mode)], f"{title} {mode}"
    if values.ndim < 2:
        raise Invalid(f"{constant} has no value for each pixel; calstore get gives its numbers")
    unit = "ADU" if type_name in ("pedestals", "pixel_rms", "pixel_offset", "pixel_bkgd") else ""
    layout = layout_of(there, values.size)
    return Picture(layout.image(values.astype(np.float64)), title, unit, layout.where is not None)


def picture_of_frames(
    there: RunConstants,
    source: FrameSource,
    name: str,
    *,
    first: int = 0,
    count: int = 1,
    wanted: Corrections | None = None,
    raw: bool = False,
) -> Picture:
    """A frame of a run, or the mean of several, as one image; see `frame_values`."""
    found = frame_values(there, source, name, first=first, count=count, wanted=wanted, raw=raw)
    layout = layout_of(there, found.values.size)
    image = layout.image(found.values)
    return Picture(image, found.title, found.unit, layout.where is not None)


@dataclass(frozen=True, slots=True, eq=False)
class FrameValues:
    """A frame, or the mean of several.

    Parameters
    ----------
    values
        Of the shape of a frame, float64; NaN where a pixel is masked.
    unit
        ``ADU`` or ``keV``.
    """

    values: Array
    title: str
    unit: str


def frame_values(
    there: RunConstants,
    source: FrameSource,
    name: str,
    *,
    first: int = 0,
    count: int = 1,
    wanted: Corrections | None = None,
    raw: bool = False,
) -> FrameValues:
    """A frame of the first step of a run, or the mean of several, corrected.

    Parameters
    ----------
    name
        What the data call the detector.
    raw
        Whether nothing is corrected, gain bits included.

    Raises
    ------
    NotFound
        When there is no such detector or event, or no constant to correct with.
    Invalid
        When frames and constants do not fit each other.
    """
    found = [each for each in source.contents().detectors if each.name == name]
    if not found:
        names = ", ".join(each.name for each in source.contents().detectors)
        raise NotFound(f"no detector {name} in the data; they have {names}")
    correction = None if raw else there.correction(wanted)
    bits = None if raw else source.configuration(name, found[0].steps[0].number)
    total, seen = np.zeros(found[0].shape, np.float64), 0
    with source.blocks({name: Selection(skip=first, most=count)}) as blocks:
        for block in blocks:
            for frame in block.frames if block.step == found[0].steps[0].number else ():
                total += frame if correction is None else correction(frame, bits)
                seen += 1
    if not seen:
        raise NotFound(f"there is no event {first} of {name}; they are counted from 0")
    values = total / seen
    if correction is not None:
        values = np.where(correction.good.reshape(values.shape), values, np.nan)
    unit = "ADU" if correction is None else correction.unit
    how = "raw" if raw else f"corrected by {there.detector.version.name}"
    what = f"event {first}" if count == 1 else f"mean of {seen} events"
    return FrameValues(values, f"{name} {what}, {how}", unit)


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """Where the pixels of one gain mode are in an image.

    Parameters
    ----------
    where
        As a geometry places them; ``None`` for panel above panel.
    empty
        ``(row, column)``: where no pixel is.
    holes
        Rows and columns of those among them that are filled from beside.
    """

    where: Assembly | None
    empty: Array | None
    holes: tuple[Array, Array] | None

    def image(self, values: Array) -> Array:
        """The image of a value for each pixel; NaN where no pixel is."""
        if self.where is None:
            return values.reshape(-1, values.shape[-1])
        image = image_of(self.where, values)
        image[self.empty] = np.nan
        if self.holes is not None:
            fill(image, self.holes)
        return image


def layout_of(there: RunConstants, pixels: int) -> Layout:
    """The layout of so many pixels by the run's geometry, if it places as many."""
    if "geometry" in there:
        where = assembly(coordinates(there["geometry"].data))
        if where.rows.size == pixels:
            empty = image_of(where, np.ones(pixels, np.uint8)) == 0
            return Layout(where, empty, holes_of(where))
    return Layout(None, None, None)
