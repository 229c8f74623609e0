"""From raw values to what the detector saw: pedestals, gains, common mode, masks.

The formulas are psana 4.3.4's (calib_epix100, calib_jungfrau, calib_epix10ka_any); where psana1
multiplies by a gain, so does this.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from calstore.correct.common_mode import CommonMode, banks_of, subtract
from calstore.errors import Invalid, NotFound
from calstore.model.detectors import GainUse, modes_of_kind, signal_mask

Array = np.ndarray[Any, np.dtype[Any]]

NO_MODE: Final = 255
_MERGED: Final = 5
"""Of how many gain modes a bad pixel is bad in all: of an epix10ka's seven, those with darks."""

# psana/detector/UtilsEpix10ka.py:493-537: bits of a pixel's configuration, and the gain bit (32).
_WORDS: Final = ((28, 28), (28, 12), (12, 8), (60, 16), (60, 0), (60, 48), (60, 32))
_HIGH_GAINS: Final = {3: (0,), 7: (0, 1, 3, 4)}
"""Modes that take part in a common mode, by how many modes there are."""


@dataclass(frozen=True, slots=True)
class Corrections:
    """Which corrections are done; each can be left out.

    Parameters
    ----------
    common_mode
        ``True`` as the constant ``common_mode`` says, none if there is none; or how.
    gain, offset, mask
        ``None``: where there are constants for it.
    background
        ``pixel_bkgd`` is subtracted with the pedestals.
    """

    pedestals: bool = True
    offset: bool | None = None
    common_mode: bool | CommonMode = True
    gain: bool | None = None
    mask: bool | None = None
    background: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Correction:
    """The corrections of one detector at one run, ready for any number of frames.

    Parameters
    ----------
    shape
        Of a frame: ``(segment, row, column)`` or ``(row, column)``.
    minus, factors
        ``(mode, pixel)``, float32: what is subtracted, and what the rest is multiplied with.
    good
        ``(segment, row, column)``: which pixels are not masked.
    unit
        ``ADU``, or ``keV`` where a gain is applied.
    """

    kind: str
    shape: tuple[int, ...]
    minus: Array
    factors: Array
    good: Array
    common_mode: CommonMode | None
    unit: str

    def __call__(self, raw: Array, configuration: Array | None = None) -> Array:
        """The corrected frame, float32, of the shape of the raw one.

        Parameters
        ----------
        raw
            As the detector gives it, gain bits included.
        configuration
            Of each pixel of an epix10ka or epixhr: the bits of its gain mode, as uint8; see
            `calstore.frames`.

        Raises
        ------
        Invalid
            When the frame has another shape or no integers, or the configuration is missing.
        """
        from calstore.correct import kernels

        flat = self._flat(raw)
        codes, table, how = self._coding(configuration)
        if self.common_mode is None:
            return kernels.corrected(flat, codes, table, self.minus, self.factors, how).reshape(
                raw.shape
            )
        none = np.zeros((0, 0), np.float32)
        frame = kernels.corrected(flat, codes, table, self.minus, none, how)
        modes = kernels.modes_of(flat, codes, table, how)
        banks = banks_of(self.kind)
        if banks is None:
            raise Invalid(f"no banks are known of a {self.kind}; correct without common_mode")
        stacked = frame.reshape(-1, *self.shape[-2:])
        subtract(stacked, self._taking_part(modes, stacked.shape), self.common_mode, banks)
        kernels.scale(frame, modes, self.factors)
        return frame.reshape(raw.shape)

    def _flat(self, raw: Array) -> Array:
        if raw.shape != self.shape:
            raise Invalid(f"a frame of shape {raw.shape}; the constants are for {self.shape}")
        if raw.dtype.kind not in "iu":
            raise Invalid(f"raw frames are of integers, not {raw.dtype}")
        if raw.dtype != np.uint16 and raw.size and (raw.min() < 0 or raw.max() > 0xFFFF):
            raise Invalid(f"raw values from {raw.min()} to {raw.max()}; they have 16 bits at most")
        return np.ascontiguousarray(raw, np.uint16).reshape(-1)

    def _coding(self, configuration: Array | None) -> tuple[Array, Array, Array]:
        """The codes of the pixels, what they mean, and where the raw value has its gain bits."""
        mask = signal_mask(self.kind) or 0xFFFF
        modes = len(self.minus)
        none = np.zeros(1, np.uint8)
        if modes == 1:
            return none, np.zeros(1, np.uint8), np.array((0, 0, 0, mask), np.int64)
        if modes == 3:
            table = np.array((0, 1, NO_MODE, 2), np.uint8)
            return none, table, np.array((14, 3, 0, mask), np.int64)
        if configuration is None:
            raise Invalid(
                f"the gain modes of a {self.kind} are set by its configuration, and there is none "
                "beside the frame; take the frame from the run's data"
            )
        if configuration.shape != self.shape:
            raise Invalid(
                f"a configuration of shape {configuration.shape}; the frame has {self.shape}"
            )
        shift = 15 if self.kind.casefold().startswith("epixhr") else 14
        codes = np.ascontiguousarray(configuration, np.uint8).reshape(-1) & 0x1F
        return codes, _table(), np.array((shift, 1, 5, mask), np.int64)

    def _taking_part(self, modes: Array, shape: tuple[int, ...]) -> Array:
        good = self.good.reshape(shape)
        assert self.common_mode is not None
        allowed = _HIGH_GAINS.get(len(self.minus))
        if allowed is None or (len(self.minus) == 7 and not self.common_mode.high_gains):
            return good
        there: Array = good & np.isin(modes, allowed).reshape(shape)
        return there


def _table() -> Array:
    """Code of a pixel → gain mode of an epix10ka."""
    table = np.full(64, NO_MODE, np.uint8)
    for code in range(64):
        for mode, (mask, word) in enumerate(_WORDS):
            if code & mask == word:
                table[code] = mode
                break
    return table


def prepared(
    kind: str, constants: Mapping[str, Array], wanted: Corrections, gain_use: GainUse | None
) -> Correction:
    """The corrections that constants allow.

    Parameters
    ----------
    kind
        Of the detector: ``epix100``, ``jungfrau``, ``Epix100a``.
    constants
        By type.
    gain_use
        What readers do with the gain; ``None`` where they do not agree.

    Raises
    ------
    NotFound
        When a constant that is asked for is not there: nothing is put in its place.
    Invalid
        When constants do not fit each other, or it is not known what their gain means.
    """
    pedestals = _constant(constants, "pedestals", "pedestals")
    modes = modes_of_kind(kind)
    has_modes = modes is not None and pedestals.ndim > 2
    shape = pedestals.shape[1:] if has_modes else pedestals.shape
    count = pedestals.shape[0] if has_modes else 1
    if has_modes and count not in (3, 7):
        raise Invalid(f"frames of a {kind} with {count} gain modes cannot be corrected yet")
    minus = np.zeros((count, int(np.prod(shape))), np.float32)
    if wanted.pedestals:
        minus += _of_modes(pedestals, "pedestals", pedestals.shape, minus.shape)
    # psana adds it for a Jungfrau alone; for an epix10ka it is of charge injection.
    if count == 3 and _asked(wanted.offset, constants, "pixel_offset"):
        minus += _of_modes(
            _constant(constants, "pixel_offset", "offset"),
            *("pixel_offset", pedestals.shape, minus.shape),
        )
    if wanted.background:
        minus += _constant(constants, "pixel_bkgd", "background").reshape(1, -1)
    factors, unit = np.ones_like(minus), "ADU"
    if _asked(wanted.gain, constants, "pixel_gain"):
        gain = _of_modes(
            _constant(constants, "pixel_gain", "gain"),
            *("pixel_gain", pedestals.shape, minus.shape),
        )
        factors, unit = _factors(gain, kind, gain_use), "keV"
    good = np.ones(shape, np.bool_)
    if _asked(wanted.mask, constants, "pixel_status", "status_extra"):
        good = _good(constants, pedestals.shape, shape)
        factors = factors * good.reshape(1, -1).astype(np.float32)
    common = _common_mode(wanted.common_mode, constants)
    return Correction(kind, shape, minus, np.ascontiguousarray(factors), good, common, unit)


def _asked(wanted: bool | None, constants: Mapping[str, Array], *names: str) -> bool:
    if wanted is None:
        return any(name in constants for name in names)
    if wanted and not any(name in constants for name in names):
        raise NotFound(f"no {' or '.join(names)} to correct with; leave that correction out")
    return wanted


def _constant(constants: Mapping[str, Array], name: str, correction: str) -> Array:
    if name not in constants:
        raise NotFound(f"no {name} to correct with; leave {correction} out")
    return constants[name]


def _of_modes(array: Array, name: str, expected: tuple[int, ...], flat: tuple[int, ...]) -> Array:
    if array.shape != expected:
        raise Invalid(f"{name} of shape {array.shape}, but pedestals of {expected}")
    return array.reshape(flat).astype(np.float32)


def _factors(gain: Array, kind: str, gain_use: GainUse | None) -> Array:
    if gain_use == "multiplies":
        return gain
    if gain_use is None:
        raise Invalid(
            f"whether the gain of a {kind} divides or multiplies is not agreed upon; "
            "correct without: gain=False"
        )
    with np.errstate(divide="ignore"):
        inverse: Array = np.where(gain == 0, np.float32(0), np.float32(1) / gain)
    return inverse


def _good(
    constants: Mapping[str, Array], of_modes: tuple[int, ...], shape: tuple[int, ...]
) -> Array:
    """Pixels that no status condemns, in any of the modes that have darks."""
    good = np.ones(shape, np.bool_)
    for name in ("pixel_status", "status_extra"):
        if name not in constants:
            continue
        status = constants[name]
        if status.shape == shape:
            good &= status == 0
        elif status.shape == of_modes:
            good &= (status[:_MERGED] == 0).all(axis=0)
        else:
            raise Invalid(f"{name} of shape {status.shape}, but pedestals of {of_modes}")
    return good


def _common_mode(wanted: bool | CommonMode, constants: Mapping[str, Array]) -> CommonMode | None:
    if isinstance(wanted, CommonMode):
        return wanted
    if not wanted or "common_mode" not in constants:
        return None
    found = CommonMode.of_psana(constants["common_mode"].reshape(-1).tolist())
    return found if found.rows or found.columns or found.banks else None
