"""compare-runs: the same frames, corrected under two versions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from calstore.correct.geometry import coordinates
from calstore.frames.source import FrameSource
from calstore.repository.picture import Picture, frame_values, layout_of
from calstore.repository.version import RunConstants

Array = np.ndarray[Any, np.dtype[Any]]

_BINS: Final = 200


@dataclass(frozen=True, slots=True, eq=False)
class Profile:
    """The mean of the pixels at a distance from the beam.

    Parameters
    ----------
    radius_um
        The middle of each ring, in micrometres.
    """

    radius_um: Array
    before: Array
    after: Array


@dataclass(frozen=True, slots=True, eq=False)
class Compared:
    """Frames of a detector under two versions.

    Parameters
    ----------
    difference
        After less before; NaN where either has no value.
    profile
        ``None`` where no geometry places the pixels.
    """

    before: Picture
    after: Picture
    difference: Array
    profile: Profile | None


def compare_runs(
    before: RunConstants,
    after: RunConstants,
    source: FrameSource,
    name: str,
    *,
    first: int = 0,
    count: int = 1,
) -> Compared:
    """The frame, or the mean of some, as each of two versions corrects it.

    The geometry of the later version places both.

    Raises
    ------
    NotFound
        When there is no such detector or event, or no constant to correct with.
    Invalid
        When frames and constants do not fit each other.
    """
    one = frame_values(before, source, name, first=first, count=count)
    other = frame_values(after, source, name, first=first, count=count)
    layout = layout_of(after, one.values.size)
    is_placed = layout.where is not None
    mine = Picture(layout.image(one.values), one.title, one.unit, is_placed)
    theirs = Picture(layout.image(other.values), other.title, other.unit, is_placed)
    profile = _profile(after, one.values, other.values) if is_placed else None
    return Compared(mine, theirs, theirs.image - mine.image, profile)


def _profile(there: RunConstants, before: Array, after: Array) -> Profile:
    at = coordinates(there["geometry"].data)
    radius = np.hypot(at.x, at.y).ravel()
    edges = np.linspace(float(radius.min()), float(radius.max()), _BINS + 1)
    ring = np.clip(np.searchsorted(edges, radius, side="right") - 1, 0, _BINS - 1)
    one, other = (_means(values.ravel(), ring) for values in (before, after))
    return Profile((edges[1:] + edges[:-1]) / 2, one, other)


def _means(values: Array, ring: Array) -> Array:
    """The mean of the finite values in each ring; NaN where there are none."""
    there_is = np.isfinite(values)
    total = np.bincount(ring[there_is], values[there_is], _BINS)
    number = np.bincount(ring[there_is], minlength=_BINS)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(number > 0, total / number, np.nan))
