"""What LCLS-I AMI reads of a calib directory, by device, as tables.

From lcls-daq/ami (1bdf6fc): ``event/Calib.cc`` (files and runs) and the handlers of the devices,
``event/EpixHandler.cc``, ``EpixArrayHandler.cc``, ``JungfrauHandler.cc``, ``CspadHandler.cc``,
``Fccd960Handler.cc``, ``FrameHandler.cc``, ``UxiHandler.cc`` (types and shapes).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from calstore.model.conventions import device_of

LIVE_RUN: Final = 0x7FFFFFFF
"""The run that live AMI asks for (``event/Calib.cc``): only ``-end`` files hold it."""

GAIN_MODES: Final = 7
"""Of an Epix10ka: FH, FM, FL, AHL-H, AML-M, AHL-L, AML-L; AMI sums a status over them."""

_Shape = tuple[int | None, ...]
"""Lengths of axes; ``None`` for any."""


@dataclass(frozen=True, slots=True)
class _Reader:
    """What AMI's handler of some devices reads.

    Parameters
    ----------
    devices
        As the DAQ spells them.
    types
        The calibration types; the name of the directory is the name of the type.
    shapes
        What the handler takes; one of them has to fit.
    special
        Types for which it takes other shapes.
    is_checked
        Whether AMI counts lines and numbers: an array that does not fit is then replaced by a
        default, else it is taken as it comes.
    largest
        The largest size of a pedestal that AMI can hold, where it is not a float to it.
    """

    devices: tuple[str, ...]
    types: tuple[str, ...]
    shapes: tuple[_Shape, ...]
    special: Mapping[str, tuple[_Shape, ...]] = field(default_factory=dict)
    is_checked: bool = True
    largest: int | None = None


_PLANE: Final = ((None, None),)  # the size is the camera's own, which only its configuration tells
_EPIX: Final = ("pedestals", "pixel_status", "pixel_gain")
_INT16: Final = 2**15 - 1


def _of_epix10ka(device: str, panels: int, types: tuple[str, ...]) -> _Reader:
    all_modes: _Shape = (GAIN_MODES, panels, 352, 384)
    one_mode: _Shape = (panels, 352, 384)
    special = {"pixel_status": (all_modes, one_mode)}
    if panels == 1:
        special["pedestals"] = (all_modes, one_mode)  # one mode is copied to all
    return _Reader((device,), types, (all_modes,), special)


_READERS: Final = (
    _Reader(
        ("Jungfrau",),
        # Never pixel_status. Geometry through event/JungfrauAlignment.cc.
        ("pedestals", "pixel_gain", "pixel_offset", "geometry"),
        ((3, None, 512, 1024),),
    ),
    _of_epix10ka("Epix10ka", 1, _EPIX),
    _of_epix10ka("Epix10kaQuad", 4, (*_EPIX, "geometry")),
    _of_epix10ka("Epix10ka2M", 16, (*_EPIX, "geometry")),
    _Reader(("Epix100a",), _EPIX, ((704, 768),)),
    _Reader(("Epix", "Epix10k"), _EPIX, _PLANE),
    _Reader(
        ("Cspad",),
        ("pedestals", "pixel_rms", "pixel_status", "geometry"),
        ((32, 185, 388),),
        is_checked=False,
        largest=_INT16,
    ),
    _Reader(
        ("Cspad2x2",),
        ("pedestals", "pixel_rms", "pixel_status", "geometry"),
        ((185, 388, 2),),
        is_checked=False,
        largest=_INT16,
    ),
    _Reader(("pnCCD",), ("pedestals", "pixel_gain"), ((4, 512, 512),)),
    _Reader(("Uxi",), ("pedestals",), ((None, None, None),)),
    _Reader(("Fccd960",), ("pedestals", "gain"), ((960, 960),)),
    _Reader(
        (
            *("Opal1000", "Opal2000", "Opal4000", "Opal8000", "Tm6740", "OrcaFl40"),
            *("Quartz4A150", "Rayonix", "ControlsCamera", "StreakC7700"),
            *("Zyla", "iStar", "Alvium", "Archon"),
        ),
        ("pedestals",),
        _PLANE,
    ),
)

_READER_OF: Final = {device: reader for reader in _READERS for device in reader.devices}


def ami_reads(source: str) -> tuple[str, ...]:
    """The types that AMI reads from a calib directory for this source; none for most devices."""
    reader = _reader(source)
    return () if reader is None else reader.types


def ami_shape_problem(source: str, type_name: str, shape: Sequence[int]) -> str | None:
    """What AMI would do to an array of this shape; ``None`` where it takes it as it is.

    AMI sees lines of numbers: an array of two axes may stand for more, if its lines are the same.
    """
    reader = _reader(source)
    if reader is None or type_name not in reader.types or type_name == "geometry":
        return None
    shapes = reader.special.get(type_name, reader.shapes)
    if any(_fits(tuple(shape), allowed) for allowed in shapes):
        return None
    wanted = " or ".join(_spelled(allowed) for allowed in shapes)
    consequence = (
        "would use its default"
        if reader.is_checked
        else "does not look at the shape and would scramble it, or never stop reading"
    )
    return f"the shape is {tuple(shape)}; AMI takes {wanted} and {consequence}"


def ami_shape_of(source: str, type_name: str) -> tuple[int, ...] | None:
    """The only shape that AMI takes for the type; ``None`` where there are several, or any."""
    reader = _reader(source)
    if reader is None or type_name not in reader.types:
        return None
    first, *others = reader.special.get(type_name, reader.shapes)
    lengths = tuple(length for length in first if length is not None)
    return None if others or len(lengths) < len(first) else lengths


def ami_largest(source: str, type_name: str) -> int | None:
    """The largest size of a value that AMI can hold; ``None`` where it holds floats."""
    reader = _reader(source)
    return reader.largest if reader is not None and type_name == "pedestals" else None


def _reader(source: str) -> _Reader | None:
    device = device_of(source)
    return None if device is None else _READER_OF.get(device.name)


def _fits(shape: tuple[int, ...], allowed: _Shape) -> bool:
    """Whether AMI finds the lines that it wants, of the length that it wants."""
    if len(shape) > len(allowed):
        shape = (*(length for length in shape[:-2] if length != 1), *shape[-2:])
    if len(shape) == len(allowed):
        return all(known in (None, length) for length, known in zip(shape, allowed, strict=True))
    if not 2 <= len(shape) < len(allowed) or allowed[-1] not in (None, shape[-1]):
        return False
    *leading, _ = allowed
    lines = math.prod(length for length in leading if length is not None)
    found = math.prod(shape[:-1])
    return found % lines == 0 if None in leading else found == lines


def _spelled(allowed: _Shape) -> str:
    names = ["n"] * (len(allowed) - 2) + ["rows", "columns"]
    lengths = (
        name if length is None else str(length) for name, length in zip(names, allowed, strict=True)
    )
    return f"({', '.join(lengths)})"
