"""psana2's conventions: nominal dtypes, and names of detectors (psana 4.3.4)."""

from __future__ import annotations

from typing import Final

from calstore.errors import Invalid
from calstore.model.digest import xxh128

TEXT: Final = "str"

NOMINAL_DTYPES: Final = {
    "pedestals": "float32",
    "pixel_rms": "float32",
    "pixel_gain": "float32",
    "pixel_offset": "float32",
    "pixel_bkgd": "float32",
    "pixel_status": "uint64",
    "status_extra": "uint64",
    "pixel_max": "uint64",
    "pixel_min": "uint64",
    "pixel_mask": "uint8",
    "users_mask": "uint8",
    "pixel_datast": "uint16",
    "common_mode": "float64",
    "geometry": TEXT,
    "code_geometry": TEXT,
}
"""What psana2 takes each type for (psana/pscalib/calib/CalibConstants.py:116-133)."""

SHORT_NUMBERS: Final = 1_000_000
"""A short name has six digits."""

MAX_RUN: Final = 9999
"""Runs beyond get nothing, and ``end`` counts as this (psana/pscalib/calib/CalibDoc.py)."""


def long_name(kind: str, serials: tuple[str, ...]) -> str:
    """The unique id of a detector: its type and its panels, in the order of the segments."""
    return "_".join((kind, *serials))


def parse_long_name(text: str) -> tuple[str, tuple[str, ...]]:
    """Type and panels of a unique id; `Invalid` for a text without panels."""
    kind, *serials = text.split("_")
    if not kind or not serials or "" in serials:
        raise Invalid(f"{text!r:.80} is no unique id of a detector: a type, then its panels")
    return kind, tuple(serials)


def short_number(long: str) -> int:
    """The number of a detector's short name: the same for the same panels, everywhere."""
    return int(xxh128(long.encode()).hex[:12], 16) % SHORT_NUMBERS


def short_name(kind: str, number: int) -> str:
    """The short name of a detector, as ``epix100_000123``."""
    return f"{kind}_{number:06d}"
