"""Rules on single values: what no pixel can have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from calstore.checks.finding import Finding, Subject, counted
from calstore.checks.panels import BAD_IS_WRONG
from calstore.model.conventions import calibration_type
from calstore.model.detectors import gain_modes

Array = np.ndarray[Any, np.dtype[Any]]

_FLOAT32_MAX: Final = float(np.finfo(np.float32).max)


def finite(subject: Subject, array: Array) -> Iterator[Finding]:
    """Values that are no number, or will be none as psana's dtype."""
    if array.dtype.kind != "f":
        return
    bad = array.size - int(np.count_nonzero(np.isfinite(array)))
    if bad:
        yield subject.wrong(
            f"nan or inf in {counted(bad, array.size)}",
            "psana's C++ reader refuses the file; the Python reader passes them on to the data",
        )
    kind = calibration_type(subject.type_name)
    if kind is not None and kind.dtype == "float32" and array.dtype.itemsize > 4:
        over = int(np.count_nonzero(np.abs(array) > _FLOAT32_MAX)) - int(
            np.count_nonzero(np.isinf(array))
        )
        if over > 0:
            yield subject.wrong(
                f"over {_FLOAT32_MAX:.3g} in {counted(over, array.size)}",
                "psana casts to float32, which makes them infinite",
            )


def in_range(subject: Subject, array: Array) -> Iterator[Finding]:
    """Integers that psana's cast wraps; fractions, which it cuts off."""
    kind = calibration_type(subject.type_name)
    if kind is None or kind.dtype is None or not kind.dtype.startswith("uint"):
        return
    yield from _fractions(subject, array)
    outside = _outside(array, int(np.iinfo(kind.dtype).max))
    if outside.size:
        lost = np.count_nonzero(_wrapped(outside, np.dtype(kind.dtype)) == 0)
        yield subject.wrong(
            f"from {outside.min():g} to {outside.max():g}, outside {kind.dtype}, in "
            f"{counted(outside.size, array.size)}",
            f"psana's Python reader wraps them, so that {lost:,} become 0; its C++ reader throws",
        )


def _outside(array: Array, largest: int) -> Array:
    """The numbers that are below 0 or over the largest; floats as float64."""
    array = array.reshape(-1)
    if array.dtype.kind == "b":
        return array[:0]
    if array.dtype.kind == "f":
        numbers = array[np.isfinite(array)].astype(np.float64)
        return numbers[(numbers < 0) | (numbers >= float(largest + 1))]
    limits = np.iinfo(array.dtype)
    if limits.min >= 0 and limits.max <= largest:
        return array[:0]
    return array[(array < 0) | (array > largest)]


def _wrapped(numbers: Array, dtype: np.dtype[Any]) -> Array:
    """What a cast makes of integers that do not fit; a float's way is undefined beyond int64."""
    with np.errstate(invalid="ignore", over="ignore"):
        whole = numbers.astype(np.int64) if numbers.dtype.kind == "f" else numbers
        return whole.astype(dtype)


def mask_values(subject: Subject, array: Array) -> Iterator[Finding]:
    """A mask is 0 or 1."""
    if array.dtype.kind == "b":
        return
    other = int(np.count_nonzero((array != 0) & (array != 1)))
    if other:
        yield subject.wrong(
            f"neither 0 nor 1 in {counted(other, array.size)}",
            "psana multiplies the data with the mask",
        )


def negative_rms(subject: Subject, array: Array) -> Iterator[Finding]:
    """A standard deviation is not below 0."""
    negative = array[(array < 0) & np.isfinite(array)]
    if negative.size:
        yield subject.wrong(
            f"rms below 0 in {counted(negative.size, array.size)}, down to {negative.min():g}",
            "it is no noise; is this another type's array?",
        )


def silent_pixels(subject: Subject, rms: Array) -> Array:
    """Indices, in C order, of the pixels whose measured rms is 0 or less; few, to be remembered.

    None where most pixels are so, which is a finding of its own.
    """
    modes = gain_modes(subject.source)
    if modes is not None and rms.ndim and len(rms) == len(modes.names):
        rms = rms[: modes.measured]  # the others, which a dark does not measure, come last
    silent = np.flatnonzero(rms <= 0)
    return silent if silent.size <= BAD_IS_WRONG * rms.size else silent[:0]


def unmasked_silence(subject: Subject, silent: Array, status: Array | None) -> Iterator[Finding]:
    """Pixels without noise that the status of the same runs calls good.

    Parameters
    ----------
    silent
        As `silent_pixels` gives them.
    status
        Of as many pixels as the rms; ``None`` where these runs have none.
    """
    if not silent.size:
        return
    good = silent.size if status is None else int(np.count_nonzero(status.flat[silent] == 0))
    if good:
        yield subject.suspicious(
            f"rms 0 or less in {good:,} pixels that "
            + ("no pixel_status is there to mask" if status is None else "pixel_status calls good"),
            "they are dead, and go into the data as if they were not",
        )


def _fractions(subject: Subject, array: Array) -> Iterator[Finding]:
    if array.dtype.kind != "f":
        return
    with np.errstate(invalid="ignore"):
        cut = int(np.count_nonzero(np.isfinite(array) & (np.trunc(array) != array)))
    if cut:
        yield subject.wrong(
            f"fractions in {counted(cut, array.size)}", "psana cuts them off, so that 0.5 is 0"
        )
