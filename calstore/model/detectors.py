"""What is known of the detectors themselves: gain modes, nominal gains, panels, status bits.

Shapes that psana enforces and the groups are in `conventions`, what AMI takes in `ami`; here is
what a judgement of values needs besides. Sources are beside each table.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from calstore.model.conventions import calibration_type, device_of, fixed_shape, gain_shape

GainUse: TypeAlias = Literal["divides", "multiplies"]
"""What psana and AMI do with a pixel_gain: divide by ADU/keV, or multiply with a factor."""

AnyShape: TypeAlias = tuple[int | None, ...]
"""Lengths of axes; ``None`` for any."""


@dataclass(frozen=True, slots=True)
class GainModes:
    """The gain modes of a detector, which are the first axis of its constants.

    Parameters
    ----------
    names
        In the order of the axis.
    measured
        How many of them, from the first, a dark run measures; rms and status of the others are
        filled with 1 and 0.
    adu_per_kev
        The nominal gain in each mode. Those of a Jungfrau are below 0 where its signal counts
        downwards. Empty where psana knows none.
    """

    names: tuple[str, ...]
    measured: int
    adu_per_kev: tuple[float, ...] = ()


# The order of the axis: lcls-psana/Detector src/UtilsEpix10ka.py; the gains are what psana fills
# in for modes without any (16.4, 5.466, 0.164 for high, medium, low). An epixhr2x2 is treated as
# an epix10ka (psana/detector/UtilsEpix10ka.py:53-77).
_EPIX10KA: Final = GainModes(
    ("FH", "FM", "FL", "AHL-H", "AML-M", "AHL-L", "AML-L"),
    5,
    (16.4, 5.466, 0.164, 16.4, 5.466, 0.164, 0.164),
)

# Nominal at LCLS; lcls-psana/Detector src/UtilsJungfrau.py has the order.
_JUNGFRAU: Final = GainModes(("G0", "G1", "G2"), 3, (41.5, -1.39, -0.11))

COMPUTED_FROM: Final = {"AHL-L": "AHL-H", "AML-L": "AML-M"}
"""Gain modes that no dark measures → the one from whose pedestals theirs are computed."""

# psana/detector/UtilsEpixm320Calib.py and UtilsEpixUHR.py:36.
_EPIXM320: Final = GainModes(("AHL", "SH", "SL"), 3)
_EPIXUHR: Final = GainModes(
    ("FHG", "FMG", "FLG1", "FLG2", "AHLG1", "AHLG2", "AMLG1", "AMLG2"), measured=8
)

_MODES: Final = {
    "Jungfrau": _JUNGFRAU,
    "Epix10ka": _EPIX10KA,
    "Epix10kaQuad": _EPIX10KA,
    "Epix10ka2M": _EPIX10KA,
}

_MODES_OF_KIND: Final = {
    **{name.casefold(): modes for name, modes in _MODES.items()},
    **dict.fromkeys(("epixhr", "epixhr2x2", "epixhr1x4", "epixhremu"), _EPIX10KA),
    "jungfrauemu": _JUNGFRAU,
    **dict.fromkeys(("epixm", "epixm320"), _EPIXM320),
    **dict.fromkeys(("epixuhr", "epixuhr3x2"), _EPIXUHR),
}
"""By the kind that raw data name, in small letters: a device of LCLS-I, or a type of LCLS-II."""

_DISPUTED: Final = frozenset({"Epix10k"})
"""psana takes its constants for an Epix10ka's and divides, AMI multiplies."""

_NOMINAL_FACTORS: Final = {"Epix100a": 0.06}
"""keV/ADU of cameras whose gain is a factor: psana2's for an epix100 without constants."""

_JUNGFRAU_PANELS: Final = (1, 2, 8)
"""A Jungfrau of LCLS-I has 0.5, 1 or 4 million pixels: panels of (512, 1024)."""

_PLANES: Final = frozenset(
    (
        *("Opal1000", "Opal2000", "Opal4000", "Opal8000", "Tm6740", "OrcaFl40", "Quartz4A150"),
        *("Rayonix", "ControlsCamera", "StreakC7700", "Zyla", "iStar", "Alvium", "Archon"),
        *("Princeton", "Andor", "Pixis", "Pimax", "Fli", "Epix", "Fccd", "Fccd960"),
    )
)
"""Cameras of one plane, whose size is a matter of their configuration (region, binning)."""

_STACKS: Final[dict[str, AnyShape]] = {"DualAndor": (2, None, None), "Uxi": (None, None, None)}

_ASICS: Final = {
    "Epix100a": (352, 384),
    "Epix10ka": (176, 192),
    "Epix10kaQuad": (176, 192),
    "Epix10ka2M": (176, 192),
    "Jungfrau": (256, 256),
    "Cspad": (185, 194),
    "Cspad2x2": (185, 194),
}
"""Rows and columns that one chip reads out, which fails as one.

lcls-psana/PSCalib src/SegGeometry*.py; for an Epix10ka psana/detector/UtilsEpix10ka.py, whose
configuration of a panel is (4, 176, 192).
"""

_ASICS_OF_KIND: Final = {
    **{name.casefold(): shape for name, shape in _ASICS.items()},
    "epix100": _ASICS["Epix100a"],
}

_ADC_BITS: Final = {
    **dict.fromkeys(("Jungfrau", "Epix10ka", "Epix10kaQuad", "Epix10ka2M"), 14),
    **dict.fromkeys(("Epix100a", "Opal1000", "Opal2000", "Opal4000", "Opal8000"), 16),
}
"""Bits of a raw value that are signal; those above them say in which gain mode it was taken.

psana/detector/UtilsJungfrau.py (bits 14 and 15 are the mode), UtilsEpix10ka.py:265-328 (bit 14);
epix100 and opal fill all 16.
"""

_SIGNAL_MASKS: Final = {
    **{name.casefold(): 2**bits - 1 for name, bits in _ADC_BITS.items()},
    **dict.fromkeys(("cspad", "cspad2x2", "epix10k", "jungfrauemu"), 0x3FFF),
    **dict.fromkeys(("epixhr", "epixhr2x2", "epixhr1x4", "epixhremu"), 0x3FFF),
    **dict.fromkeys(("epixm", "epixm320", "epixuhr"), 0x7FFF),
    "epixuhr3x2": 0x0FFE,
    **dict.fromkeys(("epix100", "epix100hw", "opal", "archon", "axis", "rayonix"), 0xFFFF),
}
"""The mask of the same bits by the kind that raw data name, in small letters.

``_data_bit_mask`` in psana/detector/epix10ka.py:40, epixhr2x2.py:26, epixm320.py:43, epixuhr.py:12,
epixuhr3x2.py:32, jungfrau.py:26 and epix100.py:33; psana1 takes 0x3fff for whatever it does
(lcls-psana/Detector src/UtilsCalib.py), which is right for cspad.
"""

_BAD_SWITCH_KINDS: Final = frozenset({"jungfrau", "jungfrauemu"})
"""Kinds whose two highest bits are never ``10`` unless a pixel fails to switch its gain."""

_SEGMENTS: Final = {
    "SENS2X1:V1": (185, 388),
    "EPIX100:V1": (704, 768),
    "EPIX10KA:V1": (352, 384),
    "EPIX10KA:V2": (352, 384),
    "JUNGFRAU:V1": (512, 1024),
    "JUNGFRAU:V2": (512, 1024),
    "PNCCD:V1": (512, 512),
    "EPIXHR1X4:V1": (144, 768),
    "EPIXHR2X2:V1": (288, 384),
    "EPIXMASIC:V1": (192, 384),
    "EPIXUHR3X2:V1": (336, 576),
    "EPIXUHRASIC:V1": (168, 192),
}
"""Rows and columns of a geometry's segments.

lcls-psana/PSCalib src/SegGeometryStore.py; the last five are psana2's alone
(psana/pscalib/geometry/SegGeometryStore.py).
"""

_LENGTH: Final = r"[0-9]+(?:\.[0-9]*)?"
_MATRIX: Final = re.compile(rf"MTRX:(?:V2:)?([0-9]+):([0-9]+):{_LENGTH}:{_LENGTH}")
"""A segment of any size: rows, columns, and the lengths of a pixel."""

MASKED: Final = 1 << 14
"""The bit of a pixel_status or a status_extra that `calstore mask --apply` sets, and nobody else.

Both psanas mask a pixel with any bit, and AMI takes any sum but 0 for bad. It is the highest bit
that is positive in a signed word of 16 bits too, and 7 gain modes of it are far below 2**32.
"""

STATUS_BITS: Final = {
    1: "rms over its limit",
    2: "rms below its limit",
    4: "too often over the range",
    8: "too often below the range",
    16: "pedestal over its limit",
    32: "pedestal below its limit",
    64: "bad gain switch",
    MASKED: "masked on request",
}
"""The bits of a pixel_status that psana's dark processing writes, in its psana1 and psana2 forms.

lcls-psana/Detector src/UtilsCalib.py:609-826 and psana/detector/UtilsCalib.py:375-430; 64 is of
Jungfrau only. A status from elsewhere may mean something else. The last one is calstore's own.
"""

_OF_EACH_PIXEL: Final = frozenset(
    (
        *("pedestals", "pixel_rms", "pixel_status", "pixel_gain", "pixel_offset"),
        *("pixel_mask", "pixel_bkgd", "status_extra", "status_data"),
    )
)


def has_pixels(type_name: str) -> bool:
    """Whether the type has a value for each pixel, which a list of parameters has not."""
    return type_name in _OF_EACH_PIXEL


def gain_modes(source: str) -> GainModes | None:
    """The gain modes of a detector that switches; ``None`` for one that does not."""
    return _MODES.get(_device_name(source))


def modes_of_kind(kind: str) -> GainModes | None:
    """The gain modes of a kind as raw data name it (``Epix10ka2M``, ``jungfrau``), or ``None``."""
    return _MODES_OF_KIND.get(kind.casefold())


def signal_mask(kind: str) -> int | None:
    """The bits of a raw value that are signal, by kind; ``None`` for a kind that is not known."""
    return _SIGNAL_MASKS.get(kind.casefold())


def tells_bad_switches(kind: str) -> bool:
    """Whether gain bits ``10`` of a raw value say that the pixel failed to switch its gain."""
    return kind.casefold() in _BAD_SWITCH_KINDS


def gain_use(source: str) -> GainUse | None:
    """What readers do with the gains of a detector; ``None`` where they do not agree.

    From lcls-psana/Detector src/AreaDetector.py (calib) and AMI's handlers.
    """
    name = _device_name(source)
    if not name or name in _DISPUTED:
        return None
    return "divides" if name in _MODES else "multiplies"


def nominal_factor(source: str) -> float | None:
    """The nominal gain of a camera whose gain multiplies, in keV/ADU; ``None`` if unknown."""
    return _NOMINAL_FACTORS.get(_device_name(source))


def expected_shapes(group: str, source: str, type_name: str) -> tuple[AnyShape, ...]:
    """The shapes that a constant of the detector can have; none where nothing is known."""
    if not has_pixels(type_name) or calibration_type(type_name) is None:
        return ()
    fixed = fixed_shape(group, type_name)
    if fixed is not None:
        return (fixed,)
    name = _device_name(source)
    switching = gain_shape(source, type_name)
    if switching is not None:
        if name != "Jungfrau":
            return (switching,)
        modes, _, *panel = switching
        return tuple((modes, count, *panel) for count in _JUNGFRAU_PANELS)
    if name in _STACKS:
        return (_STACKS[name],)
    return ((None, None),) if name in _PLANES else ()


def asic_shape(source: str) -> tuple[int, int] | None:
    """Rows and columns of a panel's chips; ``None`` where they are not known, or are no part."""
    return _ASICS.get(_device_name(source))


def asic_shape_of_kind(kind: str) -> tuple[int, int] | None:
    """The same by the kind that raw data name, which is an LCLS-II detector's group."""
    return _ASICS_OF_KIND.get(kind.casefold())


def largest_raw(source: str) -> int | None:
    """The largest raw value without its gain bits, in ADU; ``None`` where it is not known."""
    bits = _ADC_BITS.get(_device_name(source))
    return None if bits is None else 2**bits - 1


def segment_shape(name: str) -> tuple[int, int] | None:
    """Rows and columns of a segment of a geometry; ``None`` where psana knows no such segment."""
    if name in _SEGMENTS:
        return _SEGMENTS[name]
    matrix = _MATRIX.fullmatch(name)
    return None if matrix is None else (int(matrix[1]), int(matrix[2]))


def segment_pixels(name: str) -> int | None:
    """The pixels of a segment of a geometry; ``None`` where psana knows no such segment."""
    shape = segment_shape(name)
    return None if shape is None else math.prod(shape)


def pixels_of_modes(source: str, shape: tuple[int, ...]) -> int:
    """The pixels of a detector, from the shape of its pedestals: those of one gain mode."""
    has_modes = gain_modes(source) is not None and len(shape) > 2
    return math.prod(shape[1:] if has_modes else shape)


def pixels_of(group: str, source: str) -> tuple[int, ...]:
    """How many pixels the detector can have; none where that is a matter of its settings."""
    shapes = expected_shapes(group, source, "pedestals")
    known = [tuple(length for length in shape if length is not None) for shape in shapes]
    if any(len(lengths) < len(shape) for lengths, shape in zip(known, shapes, strict=True)):
        return ()
    return tuple(pixels_of_modes(source, lengths) for lengths in known)


def status_bits(source: str) -> dict[int, str]:
    """What the bits of a dark's status mean for a detector."""
    is_jungfrau = _device_name(source) == "Jungfrau"
    return {bit: text for bit, text in STATUS_BITS.items() if bit != 64 or is_jungfrau}


def _device_name(source: str) -> str:
    device = device_of(source)
    return "" if device is None else device.name
