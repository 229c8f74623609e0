"""Pedestals, noise and status of each pixel from exact sums.

Every sum over pixels that decides a number is taken in the order of the pixels, by a function of
ours: numpy's order of summation is its own affair and changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from calstore.darks.gates import SIGMA_OF_MAD
from calstore.darks.recipe import MIN_FRAMES, PSANA
from calstore.errors import Invalid

if TYPE_CHECKING:
    from calstore.darks.recipe import DarkRecipe
    from calstore.darks.sums import GatedSums

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

RMS_HIGH: Final = 1
RMS_LOW: Final = 2
OFTEN_ABOVE: Final = 4
OFTEN_BELOW: Final = 8
PEDESTAL_HIGH: Final = 16
PEDESTAL_LOW: Final = 32
BAD_SWITCH: Final = 64
"""Bits of the status, psana's (psana/detector/UtilsCalib.py:375-430, UtilsJungfrauCalib.py:111)."""

SIGMAS_OF_INNER_90: Final = 3.2897072539029444
"""From the 5 % to the 95 % quantile of a Gaussian: 2·Φ⁻¹(0.95)."""


@dataclass(frozen=True, slots=True, eq=False)
class DarkConstants:
    """What a dark gives for each pixel, in the shape of a frame or with gain modes before it.

    Parameters
    ----------
    pedestals, pixel_rms
        float32, in ADU; 0 where no value was inside the gates.
    pixel_status
        uint16, the bits of this module; 0 is good.
    pixel_max, pixel_min
        Of all values, in the raw dtype, in ADU.
    """

    pedestals: Array
    pixel_rms: Array
    pixel_status: Array
    pixel_max: Array
    pixel_min: Array


@dataclass(frozen=True, slots=True)
class Limits:
    """The least and the largest value that is not bad: one for all pixels, or one per pixel."""

    low: Any
    high: Any


def derive(sums: GatedSums, recipe: DarkRecipe) -> DarkConstants:
    """The constants of one step from its sums.

    Parameters
    ----------
    sums
        Of all frames of the step, made under the same recipe.

    Raises
    ------
    Invalid
        When there are fewer than `recipe.MIN_FRAMES` frames.
    """
    if sums.frames < MIN_FRAMES:
        raise Invalid(
            f"{sums.frames} frames are too few for constants, {MIN_FRAMES} is the least; "
            "take another dark run"
        )
    pedestals, rms = means_and_rms(sums, recipe)
    status = _status(sums, recipe, pedestals, rms)
    return DarkConstants(
        pedestals.astype(np.float32), rms.astype(np.float32), status, sums.maximum, sums.minimum
    )


def means_and_rms(sums: GatedSums, recipe: DarkRecipe) -> tuple[Array, Array]:
    """Pedestals and noise as float64; 0 where no value was inside the gates.

    ``psana`` rounds as psana does, from sums of the values themselves; ``robust`` from those above
    the lower gate, whose squares cancel less.
    """
    count = np.maximum(sums.inside, 1)
    lower = np.where(sums.inside > 0, sums.gates.lo.astype(np.int64), 0)
    total = sums.total.astype(np.int64)
    plain_total = total + sums.inside * lower
    pedestals = plain_total / count
    # Squares of values of 32 bits do not fit in 64; psana itself knows 16 bits only.
    if recipe.name == PSANA and sums.gates.lo.itemsize < 4:
        squares = sums.squares.astype(np.int64) + lower * (2 * total + sums.inside * lower)
        variance = squares / count - np.square(pedestals)
    else:
        variance = sums.squares / count - np.square(sums.total / count)
    return pedestals, np.sqrt(np.maximum(variance, 0.0))


def _status(sums: GatedSums, recipe: DarkRecipe, pedestals: Array, rms: Array) -> Array:
    # Frames are counted from 0 in psana, so the last one's number is what the fraction is of.
    most_out = int(recipe.fraction_out * (sums.frames - 1))
    status = np.zeros(pedestals.shape, np.uint16)
    status[sums.above > most_out] |= OFTEN_ABOVE
    status[sums.below > most_out] |= OFTEN_BELOW
    is_judge = (status == 0) & (sums.inside > 0)
    of_rms, of_pedestals = _limits(recipe, rms, pedestals, is_judge)
    status[rms > of_rms.high] |= RMS_HIGH
    status[rms < of_rms.low] |= RMS_LOW
    status[pedestals > of_pedestals.high] |= PEDESTAL_HIGH
    status[pedestals < of_pedestals.low] |= PEDESTAL_LOW
    status[sums.bad_switch] |= BAD_SWITCH
    return status


def _limits(
    recipe: DarkRecipe, rms: Array, pedestals: Array, is_judge: Array
) -> tuple[Limits, Limits]:
    for_rms = (recipe.rms_lo, recipe.rms_hi, recipe.rms_n_lo, recipe.rms_n_hi)
    for_pedestals = (recipe.int_lo, recipe.int_hi, recipe.int_n_lo, recipe.int_n_hi)
    if recipe.name == PSANA:
        return _of_all(rms, *for_rms), _of_all(pedestals, *for_pedestals)
    return (
        _of_panels(rms, is_judge, *for_rms),
        _of_panels(pedestals, is_judge, *for_pedestals),
    )


def _of_all(values: Array, least: float, largest: float, n_low: float, n_high: float) -> Limits:
    """Mean and standard deviation over all pixels, bad ones too (UtilsCalib.py:55-66)."""
    from calstore.darks.kernel import mean_and_deviation

    mean, deviation = mean_and_deviation(values.reshape(-1))
    low = mean - n_low * deviation if n_low > 0 else least
    high = mean + n_high * deviation if n_high > 0 else largest
    return Limits(max(low, least), min(high, largest))


def _of_panels(
    values: Array, is_judge: Array, least: float, largest: float, n_low: float, n_high: float
) -> Limits:
    """Median and spread over the good pixels of each panel: another panel may differ."""
    is_good = is_judge & (values >= least) & (values <= largest)
    panels = values.reshape(-1, *values.shape[-2:])
    low, high = np.full(len(panels), least), np.full(len(panels), largest)
    for number, good in enumerate(is_good.reshape(panels.shape)):
        if not good.any():
            continue
        middle, spread = _middle_and_spread(panels[number][good])
        if n_low > 0:
            low[number] = max(middle - n_low * spread, least)
        if n_high > 0:
            high[number] = min(middle + n_high * spread, largest)
    shape = (*values.shape[:-2], 1, 1)
    return Limits(low.reshape(shape), high.reshape(shape))


def _middle_and_spread(values: Array) -> tuple[float, float]:
    """Median, and a sigma that up to one value in twenty on each side has no part in.

    The larger one of two sigmas, as a Gaussian has both of them: by the median distance from the
    median, and by where the inner 90 % are. The first alone would call a whole chip bad whose level
    is another than that of most chips.
    """
    last = len(values) - 1
    ranks = (last // 20, last // 2, -(-last // 2), last - last // 20)
    low, below, above, high = np.partition(values, ranks)[list(ranks)]
    middle = float(below + above) / 2
    by_distance = SIGMA_OF_MAD * float(np.median(np.abs(values - middle)))
    return middle, max(by_distance, float(high - low) / SIGMAS_OF_INNER_90)
