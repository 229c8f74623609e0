"""psana's conventions: calibration types, devices and groups, each as one table.

Everything here is a fact about the readers of an LCLS-I calib directory, from lcls-psana/PSCalib
``src/GlobalUtils.py`` (names, dtypes, the way from source to group), ``src/CalibParsBase*V1.py``
(shapes), ``src/GenericCalibPars.py`` (what is used when a file is absent) and, for AMI,
lcls-daq/ami ``event/Calib.cc``. Dtypes are names, so that this module needs no numpy.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

UNDEFINED = "UNDEFINED"
"""The group psana reports for a source that it does not know."""


@dataclass(frozen=True, slots=True)
class CalibrationType:
    """One kind of constants, and what psana makes of its files.

    Parameters
    ----------
    name
        The name of the directory, ``pedestals``.
    dtype
        What psana's Python reader casts to; ``None`` for a file that holds no array.
    integer_text
        Whether the file must hold bare integers: AMI and psana's C++ reader refuse ``1.0``.
    default
        The value of every pixel when the file is absent and psana knows the shape; ``None`` where
        the default is no single value.
    unit
        The unit of a value, ``""`` for a pure number.
    meaning
        What a value says about a pixel.
    """

    name: str
    dtype: str | None
    integer_text: bool
    default: int | None
    unit: str
    meaning: str

    @property
    def is_array(self) -> bool:
        """Whether the file holds numbers rather than text that is kept byte for byte."""
        return self.dtype is not None


_TYPES = (
    CalibrationType("pedestals", "float32", False, 0, "ADU", "dark level"),
    CalibrationType("pixel_rms", "float32", False, 1, "ADU", "dark noise"),
    CalibrationType("pixel_status", "uint16", True, 0, "", "bit word, 0 is good"),
    CalibrationType("status_extra", "uint64", True, 0, "", "merged extra status, 0 is good"),
    CalibrationType("status_data", "uint16", True, 0, "", "status from light, its own bits"),
    # ADU/keV for Jungfrau and Epix10ka, whose reader inverts it; a plain factor elsewhere.
    CalibrationType("pixel_gain", "float32", False, 1, "", "factor, or ADU/keV"),
    CalibrationType("pixel_offset", "float32", False, 0, "ADU", "added to the pedestal"),
    CalibrationType("pixel_mask", "uint8", True, 1, "", "1 is good; applied only on request"),
    CalibrationType("pixel_bkgd", "float32", False, 0, "ADU", "background"),
    CalibrationType("common_mode", "float64", False, None, "", "algorithm and its parameters"),
    CalibrationType("geometry", None, False, None, "", "alignment, a text of its own"),
)

_TYPE_OF_NAME = {row.name: row for row in _TYPES}


@dataclass(frozen=True, slots=True)
class Group:
    """One ``<group>`` directory, and what psana's Python reader knows about its detectors.

    Parameters
    ----------
    name
        The name of the directory, ``Epix100a::CalibV1``.
    shape
        The only shape that the reader accepts, by size; ``None`` when any shape is taken from the
        file, and then there is no default array either.
    common_mode
        The parameters used when there is no ``common_mode`` file: it is not off by default.
        ``None`` where psana loads nothing for the group at all. A 0 in third or later place can
        stand for a size that psana knows only with the data.
    """

    name: str
    shape: tuple[int, ...] | None
    common_mode: tuple[int, ...] | None


_GROUPS = (
    Group("CsPad::CalibV1", (32, 185, 388), (1, 25, 25, 100)),
    # DAQ order; the natural order (2, 185, 388) has the same size, so psana cannot tell.
    Group("CsPad2x2::CalibV1", (185, 388, 2), (1, 25, 25, 100)),
    Group("PNCCD::CalibV1", (4, 512, 512), (3, 350, 350, 128)),
    Group("Epix100a::CalibV1", (704, 768), (4, 6, 30, 30)),
    Group("Imp::CalibV1", (4, 1023), (0,)),
    Group("Jungfrau::CalibV1", None, (7, 1, 100)),
    Group("Epix10ka::CalibV1", None, (7, 2, 10, 10)),
    Group("Epix10kaQuad::CalibV1", None, (7, 2, 10, 10)),
    Group("Epix10ka2M::CalibV1", None, (7, 2, 10, 10)),
    Group("Andor::CalibV1", None, (2, 10, 10, 0)),
    Group("Andor3d::CalibV1", None, (2, 10, 10, 0)),
    Group("Princeton::CalibV1", None, (1, 50, 50, 100, 1, 0, 1)),
    Group("Camera::CalibV1", None, (0,)),
    Group("Pimax::CalibV1", None, (0,)),
    Group("Pixis::CalibV1", None, (0,)),
    Group("Timepix::CalibV1", None, (0,)),
    Group("Fli::CalibV1", None, (0,)),
    Group("Uxi::CalibV1", None, (0,)),
    Group("Acqiris::CalibV1", None, (0,)),
    Group("Epix::CalibV1", None, None),
    Group("EvrData::CalibV1", None, None),
)

_GROUP_OF_NAME = {row.name: row for row in _GROUPS}


@dataclass(frozen=True, slots=True)
class Device:
    """The name of a device inside a source, and where its constants are looked for.

    Parameters
    ----------
    name
        The device in ``XppGon.0:Epix100a.1``, as the DAQ spells it.
    group
        psana's group.
    ami_group
        The group LCLS-I AMI looks in; ``""`` for the path without a group, ``None`` where AMI
        reads nothing from a calib directory.
    """

    name: str
    group: str
    ami_group: str | None


_CAMERA = "Camera::CalibV1"

_DEVICES = (
    Device("Cspad", "CsPad::CalibV1", "CsPad::CalibV1"),
    Device("Cspad2x2", "CsPad2x2::CalibV1", "CsPad2x2::CalibV1"),
    Device("pnCCD", "PNCCD::CalibV1", "PNCCD::CalibV1"),
    Device("Princeton", "Princeton::CalibV1", None),
    Device("Andor", "Andor::CalibV1", None),
    Device("Epix100a", "Epix100a::CalibV1", "Epix100a::CalibV1"),
    Device("Epix10k", "Epix10ka::CalibV1", "Epix10k::CalibV1"),  # they differ
    Device("Epix", "Epix::CalibV1", ""),
    Device("Opal1000", _CAMERA, ""),
    Device("Opal2000", _CAMERA, ""),
    Device("Opal4000", _CAMERA, ""),
    Device("Opal8000", _CAMERA, ""),
    Device("Tm6740", _CAMERA, ""),
    Device("OrcaFl40", _CAMERA, ""),
    Device("Fccd960", _CAMERA, _CAMERA),
    Device("Acqiris", "Acqiris::CalibV1", None),
    Device("Imp", "Imp::CalibV1", None),
    Device("Quartz4A150", _CAMERA, ""),
    Device("Rayonix", _CAMERA, ""),
    Device("Evr", "EvrData::CalibV1", None),
    Device("Fccd", _CAMERA, None),
    Device("Timepix", "Timepix::CalibV1", None),
    Device("Fli", "Fli::CalibV1", None),
    Device("Pimax", "Pimax::CalibV1", None),
    Device("DualAndor", "Andor3d::CalibV1", None),
    Device("Jungfrau", "Jungfrau::CalibV1", "Jungfrau::CalibV1"),
    Device("Zyla", _CAMERA, _CAMERA),
    Device("ControlsCamera", _CAMERA, ""),
    Device("Epix10ka", "Epix10ka::CalibV1", "Epix10ka::CalibV1"),
    Device("Uxi", "Uxi::CalibV1", "Uxi::CalibV1"),
    Device("Pixis", "Pixis::CalibV1", None),
    Device("Epix10ka2M", "Epix10ka2M::CalibV1", "Epix10ka2M::CalibV1"),
    Device("Epix10kaQuad", "Epix10kaQuad::CalibV1", "Epix10kaQuad::CalibV1"),
    Device("StreakC7700", _CAMERA, ""),
    Device("Archon", _CAMERA, _CAMERA),
    Device("iStar", _CAMERA, _CAMERA),
    Device("Alvium", _CAMERA, _CAMERA),
)


_SOURCE = re.compile(r"[A-Za-z0-9]+\.[0-9]+:[A-Za-z0-9]+\.[0-9]+")


def is_source(text: str) -> bool:
    """Whether a text is a whole source, ``<Det>.<n>:<Dev>.<m>``, and nothing else."""
    return _SOURCE.fullmatch(text) is not None


def calibration_type(name: str) -> CalibrationType | None:
    """The row of a calibration type; None for a name that psana does not know."""
    return _TYPE_OF_NAME.get(name)


def group(name: str) -> Group | None:
    """The row of a group; None for a name that psana does not know."""
    return _GROUP_OF_NAME.get(name)


def device_of(source: str) -> Device | None:
    """The device of a source such as ``XppGon.0:Epix100a.1``; None when psana knows none.

    psana looks for ``:<device>.`` anywhere in the source and takes the first match of its table
    (lcls-psana/PSCalib ``src/GlobalUtils.py`` det_type_from_source); the order is kept here.
    """
    return next((row for row in _DEVICES if f":{row.name}." in source), None)


def group_of(source: str) -> str:
    """The group in which psana looks for the constants of a source, else ``UNDEFINED``."""
    device = device_of(source)
    return UNDEFINED if device is None else device.group


def ami_group_of(source: str) -> str | None:
    """The group in which LCLS-I AMI looks: ``""`` for none in the path, None for no file at all."""
    device = device_of(source)
    return "" if device is None else device.ami_group


def fixed_shape(group_name: str, type_name: str) -> tuple[int, ...] | None:
    """The shape that psana enforces on an array; None when the shape is the file's own.

    A file of another size is dropped for zeros or ones in silence; one of the same size is
    reshaped. ``common_mode`` is never checked, nor is a type that psana does not know.
    """
    kind = calibration_type(type_name)
    if kind is None or not kind.is_array or kind.name == "common_mode":
        return None
    row = group(group_name)
    return None if row is None else row.shape


_GAIN_SWITCHING: dict[str, tuple[int | None, ...]] = {
    "Jungfrau": (3, None, 512, 1024),  # G0, G1, G2
    "Epix10ka": (7, 1, 352, 384),  # FH, FM, FL, AHL-H, AML-M, AHL-L, AML-L
    "Epix10kaQuad": (7, 4, 352, 384),
    "Epix10ka2M": (7, 16, 352, 384),
}

_OF_EACH_MODE = ("pedestals", "pixel_rms", "pixel_status", "pixel_gain", "pixel_offset")


def gain_shape(source: str, type_name: str) -> tuple[int | None, ...] | None:
    """The shape of a constant that has values for each gain mode, which is its first axis.

    ``None`` for other detectors and types; in the shape, for any length. psana does not check it:
    an array of another shape is taken for what it is not, or fails in the middle of an analysis.
    """
    device = device_of(source)
    if device is None or type_name not in _OF_EACH_MODE:
        return None
    return _GAIN_SWITCHING.get(device.name)


_LOADED = ("pedestals", "pixel_rms", "pixel_status", "pixel_gain", "common_mode", "geometry")


def psana_loads(group_name: str) -> tuple[str, ...]:
    """The types that psana asks for whenever it calibrates; none for a group it does not know."""
    row = group(group_name)
    if row is None or row.common_mode is None:
        return ()
    return (*_LOADED, "pixel_offset") if group_name == "Jungfrau::CalibV1" else _LOADED


def psana_default(group_name: str, type_name: str) -> str:
    """What psana's Python reader goes on with in silence when it finds no constant, in words."""
    kind, row = calibration_type(type_name), group(group_name)
    if kind is None or row is None:
        return "nothing"
    if kind.name == "geometry":
        return "the table shipped with psana"
    if kind.name == "common_mode":
        return " ".join(map(str, row.common_mode)) if row.common_mode else "nothing"
    if row.shape is None:
        return "no array, so the data stay as they are"
    return f"{kind.default} everywhere"
