"""Constants of detectors with gain modes: those that were measured, computed, or are absent."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from calstore.darks.constants import DarkConstants
from calstore.errors import Invalid
from calstore.model.derivations import ABSENT, COMPUTED, MEASURED
from calstore.model.detectors import COMPUTED_FROM, GainModes, modes_of_kind

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True, eq=False)
class Stacked:
    """The constants of all gain modes together.

    Parameters
    ----------
    constants
        Each of shape ``(gain, segment, row, column)``.
    origins
        Gain mode → ``measured``, ``computed``, or ``absent`` for what psana fills in: pedestals 0,
        rms 1, status 0, and 0 for the extremes.
    """

    constants: DarkConstants
    origins: Mapping[str, str]


def modes_of(kind: str) -> GainModes | None:
    """The gain modes of a kind of detector as raw data name it; ``None`` where it has none."""
    return modes_of_kind(kind)


def stacked(
    made: Mapping[str, DarkConstants],
    modes: Sequence[str],
    *,
    gains: Mapping[str, Array] | None = None,
    without: frozenset[str] = frozenset(),
) -> Stacked:
    """One array per type, with the gain modes as its first axis.

    Parameters
    ----------
    made
        Gain mode → its constants, of shape ``(row, column)`` or ``(segment, row, column)``.
    modes
        All gain modes, in the order of the axis.
    gains
        ``pixel_gain`` and ``pixel_offset`` from charge injection, ``(gain, segment, row, column)``:
        what the pedestals of AHL-L and AML-L are computed with.
    without
        Modes that may be absent.

    Raises
    ------
    Invalid
        When a mode is neither measured, nor can be computed, nor may be absent; when shapes differ.
    """
    gains = gains or {}
    has_gains = gains.keys() >= {"pixel_gain", "pixel_offset"}
    origins = origins_of(made.keys(), modes, has_gains=has_gains, without=without)
    parts: list[DarkConstants] = []
    example = _with_segments(next(iter(made.values())))
    for mode, origin in origins.items():
        if origin == MEASURED:
            parts.append(_with_segments(made[mode]))
        elif origin == ABSENT:
            parts.append(_filled(example))
        else:
            source = COMPUTED_FROM[mode]
            high = _with_segments(made[source]).pedestals
            parts.append(_filled(example, _low_pedestals(high, gains, modes, (source, mode))))
    shapes = {part.pedestals.shape for part in parts}
    if len(shapes) > 1:
        raise Invalid(f"gain modes of frames of shapes {sorted(shapes)}; they are of one detector")
    fields = ("pedestals", "pixel_rms", "pixel_status", "pixel_max", "pixel_min")
    together = {name: np.stack([getattr(part, name) for part in parts]) for name in fields}
    return Stacked(DarkConstants(**together), origins)


def origins_of(
    measured: Collection[str], modes: Sequence[str], *, has_gains: bool, without: frozenset[str]
) -> dict[str, str]:
    """Gain mode → where its constants come from, in the order of the axis.

    Parameters
    ----------
    measured
        Modes of which there are frames.
    has_gains
        Whether gain and offset from charge injection are known.
    without
        Modes that may be absent.

    Raises
    ------
    Invalid
        When a mode is neither measured, nor can be computed, nor may be absent.
    """
    _refuse_unknown(measured, modes, without)
    origins: dict[str, str] = {}
    for mode in modes:
        if mode in measured:
            origins[mode] = MEASURED
        elif mode in without:
            origins[mode] = ABSENT
        elif has_gains and COMPUTED_FROM.get(mode) in measured:
            origins[mode] = COMPUTED
    _refuse_missing(modes, origins)
    return origins


def _low_pedestals(
    high: Array, gains: Mapping[str, Array], modes: Sequence[str], pair: tuple[str, str]
) -> Array:
    """Pedestals of low gain after a switch, from those before it and charge injection.

    psana/detector/UtilsEpix10kaCalib.py:611-637; the ratio is 0 where the gain before is 0.
    """
    shape = (len(modes), *high.shape)
    for name, array in gains.items():
        if array.shape != shape:
            raise Invalid(
                f"{name} of shape {array.shape} where {shape} is needed for {pair[1]}; "
                "is it of this detector?"
            )
    before, after = (modes.index(mode) for mode in pair)
    offset, gain = (gains[name].astype(np.float64) for name in ("pixel_offset", "pixel_gain"))
    ratio = np.zeros(high.shape)
    np.divide(gain[after], gain[before], out=ratio, where=gain[before] != 0)
    low: Array = offset[after] - (offset[before] - high.astype(np.float64)) * ratio
    return low.astype(np.float32)


def _filled(example: DarkConstants, pedestals: Array | None = None) -> DarkConstants:
    """What psana fills in, with the pedestals if there are some."""
    return DarkConstants(
        pedestals=np.zeros_like(example.pedestals) if pedestals is None else pedestals,
        pixel_rms=np.ones_like(example.pixel_rms),
        pixel_status=np.zeros_like(example.pixel_status),
        pixel_max=np.zeros_like(example.pixel_max),
        pixel_min=np.zeros_like(example.pixel_min),
    )


def _with_segments(constants: DarkConstants) -> DarkConstants:
    """A detector of one panel has an axis of segments all the same."""
    if constants.pedestals.ndim > 2:
        return constants
    return DarkConstants(
        constants.pedestals[np.newaxis],
        constants.pixel_rms[np.newaxis],
        constants.pixel_status[np.newaxis],
        constants.pixel_max[np.newaxis],
        constants.pixel_min[np.newaxis],
    )


def _refuse_unknown(
    measured: Collection[str], modes: Sequence[str], without: frozenset[str]
) -> None:
    unknown = sorted((without | set(measured)) - set(modes))
    if unknown or not measured:
        raise Invalid(
            f"gain modes {', '.join(unknown) or 'of no frames'}: the detector's are "
            f"{', '.join(modes)}, and one is measured at least"
        )


def _refuse_missing(modes: Sequence[str], origins: Mapping[str, str]) -> None:
    missing = [mode for mode in modes if mode not in origins]
    if not missing:
        return
    listed, computable = ",".join(missing), [mode for mode in missing if mode in COMPUTED_FROM]
    computed = (
        f"; pedestals of {' and '.join(computable)} are computed from pixel_gain and pixel_offset "
        "of charge injection, which are needed for that"
        if computable
        else ""
    )
    raise Invalid(
        f"no frames in {', '.join(missing)}{computed}; add the runs that have them, or leave these "
        f"modes to psana's fill-in: --without {listed}"
    )
