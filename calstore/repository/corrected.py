"""Frames corrected with what a run gets, and the images that they make."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from calstore.correct.assembly import assembly, fill, holes_of, image_of
from calstore.correct.corrections import Correction, Corrections, prepared
from calstore.correct.geometry import coordinates
from calstore.model.conventions import device_of
from calstore.model.detectors import GainUse, gain_use
from calstore.repository.version import DetectorConstants, RunConstants

Array = np.ndarray[Any, np.dtype[Any]]

_TYPES: Final = (
    *("pedestals", "pixel_offset", "pixel_gain", "pixel_status", "status_extra"),
    *("pixel_bkgd", "common_mode"),
)


def correction(there: RunConstants, wanted: Corrections | None = None) -> Correction:
    """The corrections that a run's constants allow; see `calstore.correct.corrections.prepared`.

    Raises
    ------
    NotFound
        When a constant that is asked for is not there; for pedestals it names the nearest.
    Invalid
        When constants do not fit each other.
    """
    there["pedestals"]  # says which runs have some
    arrays = {name: there[name].array for name in _TYPES if name in there}
    detector = there.detector
    return prepared(kind_of(detector), arrays, wanted or Corrections(), _gain_use(detector))


def image(there: RunConstants, frame: Array) -> Array:
    """A frame, or a constant of one gain mode, as the geometry of the run places it.

    Holes between pixels have the least of the values beside them; where several pixels fall on one
    place it is the last, and 0 is where none does: as ``det.raw.image`` of psana 4.3.4.

    Raises
    ------
    NotFound
        When the run gets no geometry.
    Invalid
        When the geometry places another number of pixels.
    """
    where = assembly(coordinates(there["geometry"].data))
    found = image_of(where, frame)
    fill(found, holes_of(where))
    return found


def kind_of(detector: DetectorConstants) -> str:
    """The type of a detector: an LCLS-II group, or the device in an LCLS-I source."""
    if "::" not in detector.group:
        return detector.group
    device = device_of(detector.source)
    return "" if device is None else device.name


def _gain_use(detector: DetectorConstants) -> GainUse | None:
    return "divides" if "::" not in detector.group else gain_use(detector.source)
