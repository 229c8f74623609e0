"""Dark processing in plain numpy, as the reference has it: what the kernels must agree with."""

from dataclasses import dataclass

import numpy as np

MAD_SIGMA = 1.482602218505602
WIDEST = 2**22 - 1


@dataclass
class Made:
    gate_lo: np.ndarray
    gate_hi: np.ndarray
    inside: np.ndarray
    total: np.ndarray
    squares: np.ndarray
    below: np.ndarray
    above: np.ndarray
    minimum: np.ndarray
    maximum: np.ndarray
    bad_switch: np.ndarray
    pedestals: np.ndarray
    rms: np.ndarray
    status: np.ndarray


def masked(frames, recipe):
    """Values as int64, without the bits that are no signal."""
    if recipe.data_bits == 2 ** (8 * frames.dtype.itemsize) - 1:
        return frames.astype(np.int64)
    return frames.astype(np.int64) & recipe.data_bits


def gates_psana(head, recipe):
    """Section 2, stage 1 of the reference, without the zero frame."""
    low = np.quantile(head, recipe.gate_lo, axis=0, method="lower")
    high = np.quantile(head, recipe.gate_hi, axis=0, method="higher")
    low = np.maximum(low, np.floor(recipe.int_lo))
    high = np.minimum(high, np.floor(recipe.int_hi))
    high = np.where(high <= low, high + 1, high)
    return np.maximum(low, recipe.int_lo), np.minimum(high, recipe.int_hi)


def gates_robust(head, recipe):
    median = np.median(head, axis=0)
    mad = np.maximum(np.median(np.abs(head - median), axis=0), 0.5)
    reach = np.ceil(4 * mad * (recipe.gate_sigmas * MAD_SIGMA / 2)) / 2 + 0.5
    return np.maximum(median - reach, recipe.int_lo), np.minimum(median + reach, recipe.int_hi)


def process(frames, recipe):
    """Everything that a dark gives, from all frames at once."""
    values = masked(frames, recipe)
    head = values[: recipe.gate_frames]
    gates = {"psana": gates_psana, "robust": gates_robust}[recipe.name]
    gate_lo, gate_hi = gates(head, recipe)
    gate_lo = np.maximum(gate_lo, np.iinfo(frames.dtype).min)
    gate_hi = np.minimum(gate_hi, np.ceil(gate_lo) + WIDEST)
    is_inside = (values >= gate_lo) & (values <= gate_hi)
    inside = is_inside.sum(axis=0)
    total = np.where(is_inside, values, 0).sum(axis=0)
    squares = np.where(is_inside, values.astype(object) ** 2, 0).sum(axis=0)
    below, above = (values < recipe.int_lo).sum(axis=0), (values > recipe.int_hi).sum(axis=0)
    bad_switch = np.zeros(inside.shape, bool)
    if recipe.bad_switch:
        bad_switch = ((frames >> 14) == 2).any(axis=0)
    with np.errstate(invalid="ignore"):
        pedestals = np.where(inside > 0, total / np.maximum(inside, 1), 0.0)
    if recipe.name == "psana":
        mean_square = (squares / np.maximum(inside, 1)).astype(float)
        variance = np.where(inside > 0, mean_square - pedestals**2, 0.0)
    else:
        moved = np.where(is_inside, values - pedestals, 0.0)
        variance = (moved**2).sum(axis=0) / np.maximum(inside, 1)
    rms = np.sqrt(np.maximum(variance, 0.0))
    made = Made(
        *(gate_lo, gate_hi, inside, total, squares, below, above),
        *(values.min(axis=0), values.max(axis=0), bad_switch, pedestals, rms),
        status=np.zeros(inside.shape, np.uint16),
    )
    _judge(made, len(frames), recipe)
    return made


def _judge(made, frames, recipe):
    often = int(recipe.fraction_out * (frames - 1))
    is_judge = (made.above <= often) & (made.below <= often) & (made.inside > 0)
    for values, bits, names in (
        (made.rms, (2, 1), ("rms_lo", "rms_hi", "rms_n_lo", "rms_n_hi")),
        (made.pedestals, (32, 16), ("int_lo", "int_hi", "int_n_lo", "int_n_hi")),
    ):
        least, largest, n_low, n_high = (getattr(recipe, name) for name in names)
        limits = _limits_psana if recipe.name == "psana" else _limits_robust
        low, high = limits(values, is_judge, least, largest, n_low, n_high)
        made.status += np.uint16(bits[0]) * (values < low)
        made.status += np.uint16(bits[1]) * (values > high)
    made.status += np.uint16(4) * (made.above > often)
    made.status += np.uint16(8) * (made.below > often)
    made.status += np.uint16(64) * made.bad_switch


def _limits_psana(values, is_judge, least, largest, n_low, n_high):
    mean, deviation = values.mean(), values.std()
    low = mean - n_low * deviation if n_low > 0 else least
    high = mean + n_high * deviation if n_high > 0 else largest
    return max(low, least), min(high, largest)


def _limits_robust(values, is_judge, least, largest, n_low, n_high):
    low, high = np.full(values.shape, float(least)), np.full(values.shape, float(largest))
    for panel in np.ndindex(values.shape[:-2]):
        chosen = values[panel][is_judge[panel]]
        chosen = chosen[(chosen >= least) & (chosen <= largest)]
        if not chosen.size:
            continue
        median, ordered, last = np.median(chosen), np.sort(chosen), chosen.size - 1
        inner = ordered[-(-last * 19 // 20)] - ordered[last // 20]
        spread = max(MAD_SIGMA * np.median(np.abs(chosen - median)), inner / 3.2897072539029444)
        low[panel] = max(median - n_low * spread, least) if n_low > 0 else least
        high[panel] = min(median + n_high * spread, largest) if n_high > 0 else largest
    return low, high
