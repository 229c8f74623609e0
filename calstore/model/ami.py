"""What LCLS-I AMI reads of a calib directory (lcls-daq/ami event/Calib.cc and its handlers)."""

from __future__ import annotations

from typing import Final

from calstore.model.conventions import device_of

LIVE_RUN: Final = 0x7FFFFFFF
"""The run that live AMI asks for: only ``-end`` files hold it."""

_READ: Final = {
    "Jungfrau": ("pedestals", "pixel_gain", "pixel_offset", "geometry"),
    "Epix10ka2M": ("pedestals", "pixel_status", "pixel_gain", "geometry"),
    "Epix10kaQuad": ("pedestals", "pixel_status", "pixel_gain", "geometry"),
    "Epix10ka": ("pedestals", "pixel_status", "pixel_gain"),
    "Epix100a": ("pedestals", "pixel_status", "pixel_gain"),
    "Epix": ("pedestals", "pixel_status", "pixel_gain"),
    "Epix10k": ("pedestals", "pixel_status", "pixel_gain"),
    "Cspad": ("pedestals", "pixel_status", "pixel_rms", "geometry"),
    "Cspad2x2": ("pedestals", "pixel_status", "pixel_rms", "geometry"),
    "pnCCD": ("pedestals", "pixel_gain"),
    "Uxi": ("pedestals",),
    "Fccd960": ("pedestals", "gain"),
}
_CAMERAS: Final = ("Opal", "Zyla", "iStar", "Alvium", "Archon")


def ami_reads(source: str) -> tuple[str, ...]:
    """The types that AMI reads for a source; none for a device that it does not know."""
    device = device_of(source)
    if device is None or device.ami_group is None:
        return ()
    return _READ.get(device.name, ("pedestals",))
