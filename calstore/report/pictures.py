"""Images for people: colours between limits, as PNG or on a terminal."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from calstore.errors import NotFound

Array = np.ndarray[Any, np.dtype[Any]]

# Dark to bright, each as far from the last as an eye sees it; and blue through white to red.
_RISING: Final = ((13, 8, 60), (86, 20, 125), (172, 46, 98), (232, 106, 52), (252, 255, 170))
_BOTH_WAYS: Final = (
    *((20, 60, 150), (120, 165, 215), (245, 245, 245)),
    *((225, 130, 105), (150, 15, 35)),
)
_NOTHING: Final = (70, 70, 70)
"""For what has no value: no pixel, or none that is finite."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the darkest and the brightest colour stand for."""

    low: float
    high: float


def robust_limits(values: Array, *, percent: float = 1.0) -> Limits:
    """Limits that leave out so many percent at either end; those of all where that is nothing."""
    some = _some(values)
    finite = some[np.isfinite(some)]
    if not finite.size:
        return Limits(0.0, 1.0)
    low, high = (float(each) for each in np.percentile(finite, (percent, 100 - percent)))
    if low == high:
        low, high = float(finite.min()), float(finite.max())
    return Limits(low, high) if low < high else Limits(low, low + 1.0)


def symmetric_limits(values: Array, *, percent: float = 1.0) -> Limits:
    """Robust limits of a difference: as far below 0 as above."""
    some = _some(values)
    finite = np.abs(some[np.isfinite(some)])
    most = float(np.percentile(finite, 100 - percent)) if finite.size else 1.0
    most = most or float(finite.max(initial=0.0)) or 1.0
    return Limits(-most, most)


def _some(values: Array) -> Array:
    """At most a million of the values, evenly: enough for the colours of a picture."""
    flat = values.reshape(-1)
    return flat[:: flat.size // 1_000_000 + 1]


def coloured(image: Array, limits: Limits, *, both_ways: bool = False) -> Array:
    """Colours of an image, ``(row, column, 3)``, uint8; grey where there is no value."""
    colours: Array = _palette(both_ways)[_indices(image, limits)]
    return colours


def _indices(image: Array, limits: Limits) -> Array:
    """Places in the palette: 0 for no value, then from dark to bright."""
    with np.errstate(invalid="ignore"):
        part = (image.astype(np.float32) - np.float32(limits.low)) / np.float32(
            limits.high - limits.low
        )
    found = np.nan_to_num(np.clip(part, 0, 1) * 254).astype(np.uint8) + np.uint8(1)
    found[~np.isfinite(image)] = 0
    return np.asarray(found)


def _palette(both_ways: bool) -> Array:
    stops = np.array(_BOTH_WAYS if both_ways else _RISING, np.float32)
    return np.concatenate([np.array([_NOTHING], np.uint8), _table(stops)])


def _table(stops: Array) -> Array:
    places = np.linspace(0, len(stops) - 1, 255)
    low = np.minimum(places.astype(int), len(stops) - 2)
    part = (places - low)[:, np.newaxis]
    table: Array = (stops[low] * (1 - part) + stops[low + 1] * part).round().astype(np.uint8)
    return table


def png_of(image: Array, limits: Limits, *, both_ways: bool = False) -> bytes:
    """The bytes of a PNG file of an image's colours.

    Raises
    ------
    NotFound
        Where what writes it is not installed.
    """
    try:
        from PIL import Image
    except ImportError:
        raise NotFound(
            "pictures need one more package: pip install 'calstore[plots]'; or write .npy"
        ) from None
    picture = Image.fromarray(_indices(image, limits))
    picture.putpalette(_palette(both_ways).tobytes())
    stream = io.BytesIO()
    picture.save(stream, "PNG", compress_level=6)
    return stream.getvalue()


def shrunk(image: Array, rows: int, columns: int) -> Array:
    """The image in at most so many rows and columns: the mean of what falls together."""
    step = max(-(-image.shape[0] // rows), -(-image.shape[1] // columns), 1)
    if step == 1:
        return image
    height, width = (-(-length // step) * step for length in image.shape)
    padded = np.full((height, width), np.nan, np.float64)
    padded[: image.shape[0], : image.shape[1]] = image
    blocks = padded.reshape(height // step, step, width // step, step)
    there = np.isfinite(blocks)
    count = there.sum(axis=(1, 3))
    total = np.where(there, blocks, 0.0).sum(axis=(1, 3))
    with np.errstate(invalid="ignore", divide="ignore"):
        mean: Array = np.where(count > 0, total / count, np.nan)
    return mean


def preview(colours: Array) -> str:
    """The picture as text for a terminal: two rows of pixels in a line of half blocks."""
    if len(colours) % 2:
        colours = np.concatenate([colours, colours[-1:]])
    lines = []
    for upper, lower in zip(colours[::2], colours[1::2], strict=True):
        cells = (
            f"\x1b[38;2;{a[0]};{a[1]};{a[2]}m\x1b[48;2;{b[0]};{b[1]};{b[2]}m▀"
            for a, b in zip(upper.tolist(), lower.tolist(), strict=True)
        )
        lines.append("".join(cells) + "\x1b[0m")
    return "\n".join(lines)
