"""Healthy constants of the detectors of LCLS-I, as a dark run gives them, from a seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from calstore.checks.finding import Subject
from calstore.model.conventions import group_of
from calstore.model.detectors import asic_shape, gain_modes, nominal_factor

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Camera:
    """A detector of which constants are made.

    ``shape`` is that of its constants; its panels are the last two axes, but for a Cspad2x2.
    """

    source: str
    shape: tuple[int, ...]

    @property
    def group(self) -> str:
        return group_of(self.source)

    def subject(self, type_name: str, *runs: str) -> Subject:
        return Subject(self.group, self.source, type_name, runs or ("0-end",))


EPIX100A = Camera("XppGon.0:Epix100a.1", (704, 768))
JUNGFRAU = Camera("CxiDs1.0:Jungfrau.0", (3, 1, 512, 1024))
JUNGFRAU_1M = Camera("CxiDs1.0:Jungfrau.1", (3, 2, 512, 1024))
JUNGFRAU_4M = Camera("CxiDs1.0:Jungfrau.2", (3, 8, 512, 1024))
QUAD = Camera("XcsEndstation.0:Epix10kaQuad.0", (7, 4, 352, 384))
EPIX10KA2M = Camera("MfxEndstation.0:Epix10ka2M.0", (7, 16, 352, 384))
CSPAD = Camera("CxiDs1.0:Cspad.0", (32, 185, 388))
CSPAD2X2 = Camera("XppGon.0:Cspad2x2.0", (185, 388, 2))
OPAL = Camera("XppEndstation.0:Opal1000.1", (1024, 1024))
PNCCD = Camera("Camp.0:pnCCD.0", (4, 512, 512))

LARGE = (JUNGFRAU_4M, EPIX10KA2M)
CAMERAS = (EPIX100A, JUNGFRAU, JUNGFRAU_1M, QUAD, CSPAD, CSPAD2X2, OPAL, PNCCD, *LARGE)

TYPES = ("pedestals", "pixel_rms", "pixel_status", "pixel_gain", "pixel_offset", "pixel_mask")


def healthy(camera: Camera, type_name: str, seed: int = 0) -> Array:
    """A constant as a good dark gives it: 0.3 % of the pixels are bad, in every mode the same."""
    random = np.random.default_rng(seed)
    shape = camera.shape
    has_modes = gain_modes(camera.source) is not None
    bad = np.random.default_rng(seed + 1).random(shape[1:] if has_modes else shape) < 0.003
    match type_name:
        case "pedestals":
            return _pedestals(camera, random)
        case "pixel_rms":
            noise = random.standard_normal(shape, np.float32)
            rms = np.where(bad, np.float32(0), np.abs(2.5 + 0.4 * noise) + np.float32(0.1))
            return _filled(camera, rms.astype(np.float32), 1)
        case "pixel_status":
            status = np.broadcast_to(np.where(bad, 42, 0), shape).astype(np.uint16)
            return _filled(camera, status, 0)
        case "pixel_gain":
            return (
                _nominal(camera) * (1 + 0.03 * random.standard_normal(shape, np.float32))
            ).astype(np.float32)
        case "pixel_offset":
            return np.zeros(shape, np.float32)
        case "pixel_mask":
            return (~np.broadcast_to(bad, shape)).astype(np.uint8)
    raise AssertionError(type_name)


def _pedestals(camera: Camera, random: np.random.Generator) -> Array:
    """Panels, columns and rows have levels of their own, as amplifiers give them."""
    if camera is CSPAD2X2:
        return np.moveaxis(_levels((2, 185, 388), random), 0, -1).copy()
    return _levels(camera.shape, random)


def _levels(shape: tuple[int, ...], random: np.random.Generator) -> Array:
    level = 2500 + 200 * random.standard_normal((*shape[:-2], 1, 1))
    columns = 20 * random.standard_normal((*shape[:-2], 1, shape[-1]))
    rows = 3 * random.standard_normal((*shape[:-2], shape[-2], 1))
    pixels = 10 * random.standard_normal(shape, np.float32)
    return (level + columns + rows + pixels).astype(np.float32)


def of_chips(
    camera: Camera, seed: int, *, levels: float, rows: float, columns: float, slope: float
) -> Array:
    """Pedestals whose chips have levels and patterns of their own, with a slope over each panel.

    Parameters
    ----------
    levels, rows, columns
        By how much chips, and rows and columns in a chip, differ, in ADU.
    slope
        From one corner of a panel to the other, in ADU.
    """
    random = np.random.default_rng(seed)
    is_daq = camera is CSPAD2X2
    shape = (2, 185, 388) if is_daq else camera.shape
    down, across = asic_shape(camera.source) or shape[-2:]
    lead, grid = shape[:-2], (shape[-2] // down, shape[-1] // across)
    chips = levels * random.standard_normal((*lead, grid[0], 1, grid[1], 1), np.float32)
    chips = chips + rows * random.standard_normal((*lead, grid[0], down, grid[1], 1), np.float32)
    chips = chips + columns * random.standard_normal(
        (*lead, grid[0], 1, grid[1], across), np.float32
    )
    pixels = 10 * random.standard_normal(shape, np.float32)
    tilt = np.linspace(0, slope / 2, shape[-2], dtype=np.float32)[:, None] + np.linspace(
        0, slope / 2, shape[-1], dtype=np.float32
    )
    array = 2500 + chips.reshape(shape) + pixels + tilt
    return np.ascontiguousarray(np.moveaxis(array, 0, -1)) if is_daq else array


def _nominal(camera: Camera) -> Array:
    modes = gain_modes(camera.source)
    if modes is None:
        return np.asarray(nominal_factor(camera.source) or 1.0)
    return np.reshape(modes.adu_per_kev, (-1, 1, 1, 1))


def _filled(camera: Camera, array: Array, value: int) -> Array:
    """The array with what is filled in for the modes that a dark does not measure."""
    modes = gain_modes(camera.source)
    if modes is not None:
        array[modes.measured :] = value
    return array
