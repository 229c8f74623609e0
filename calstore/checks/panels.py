"""Rules on panels: which are dead, and how many pixels of each are bad."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from calstore.checks.finding import Finding, Panel, Subject, counted
from calstore.model.conventions import fixed_shape, gain_shape
from calstore.model.detectors import MASKED, asic_shape, gain_modes, largest_raw, status_bits

BAD_IS_SUSPICIOUS: Final = 0.05
"""Cameras are bought with below 1 % of bad pixels, and old CsPad panels have some 3 %. More comes
from the limits of the dark processing, or from a dark that was none."""

BAD_IS_WRONG: Final = 0.5
"""Where most pixels are bad, the status is not about pixels: the panel or the dark failed."""

ZERO_IS_SUSPICIOUS: Final = BAD_IS_SUSPICIOUS
"""psana writes an rms of 0 for a pixel that no frame gave a value, so some are as they should."""

BEYOND_IS_WRONG: Final = 0.05
"""Up to this part of a panel, pedestals that nothing can have measured were written by hand, to
say something of single pixels; where there are more, the panel's are no pedestals."""

MIN_PIXELS: Final = 64
"""Of fewer pixels, one value in all of them, or a fraction, says nothing about a panel."""

_SHOWN_ASICS: Final = 3

_MEASURED: Final = frozenset({"pedestals", "pixel_rms", "pixel_status"})
"""Types of which a dark measures only the first gain modes."""

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True)
class _Count:
    """How many pixels of a panel have a property."""

    panel: Panel
    count: int
    size: int

    @property
    def fraction(self) -> float:
        return self.count / self.size


@dataclass(frozen=True, slots=True)
class Asic:
    """A chip of a panel, which fails as one: its first row and column, and how many it has."""

    panel: Panel
    top: int
    left: int
    rows: int
    columns: int

    @property
    def size(self) -> int:
        """The number of its pixels."""
        return self.rows * self.columns

    def __str__(self) -> str:
        rows = f"rows {self.top}-{self.top + self.rows - 1}"
        return f"{rows}, columns {self.left}-{self.left + self.columns - 1}"


def by_panel(subject: Subject, array: Array) -> Iterator[tuple[Panel, Array]]:
    """Each panel of each gain mode, as a view of rows and columns; nothing below two axes.

    A Cspad2x2 in DAQ order has its panels on the last axis.
    """
    if array.ndim < 2:
        return
    fixed = fixed_shape(subject.group, subject.type_name)
    if fixed is not None and array.size == math.prod(fixed) and array.shape[-1] == fixed[-1]:
        array = array.reshape(fixed)
    if fixed is not None and array.shape == fixed and fixed[-1] == 2:
        array = np.moveaxis(array, -1, 0)
    modes = gain_modes(subject.source)
    has_modes = (
        modes is not None
        and array.ndim > 2
        and array.shape[0] == len(modes.names)
        and gain_shape(subject.source, subject.type_name) is not None
    )
    names = modes.names if modes is not None and has_modes else (None,)
    cut = array.reshape(len(names), -1, *array.shape[-2:])
    for name, panels in zip(names, cut, strict=True):
        for number, panel in enumerate(panels):
            yield Panel(number, name), panel


def measured(subject: Subject, array: Array) -> Iterator[tuple[Panel, Array]]:
    """The panels in the gain modes that a dark measures; all of other types."""
    modes = gain_modes(subject.source)
    names = modes.names[: modes.measured] if modes is not None else ()
    for panel, values in by_panel(subject, array):
        if panel.mode is None or panel.mode in names or subject.type_name not in _MEASURED:
            yield panel, values


def dead_asics(subject: Subject, array: Array, is_dead: Callable[[Array], bool]) -> Iterator[Asic]:
    """The chips that are dead in panels that are not dead as a whole."""
    lengths = asic_shape(subject.source)
    if lengths is None:
        return
    rows, columns = lengths
    for panel, values in measured(subject, array):
        if values.shape[0] % rows or values.shape[1] % columns or is_dead(values):
            continue
        for top in range(0, values.shape[0], rows):
            for left in range(0, values.shape[1], columns):
                if is_dead(values[top : top + rows, left : left + columns]):
                    yield Asic(panel, top, left, rows, columns)


def one_value(subject: Subject, array: Array) -> Iterator[Finding]:
    """Panels and chips with the same value in each pixel, as none that was measured has."""
    flat: dict[float, list[Panel]] = {}
    judged = [one for one in measured(subject, array) if one[1].size >= MIN_PIXELS]
    for panel, values in judged:
        if _is_flat(values):
            flat.setdefault(float(values.flat[0]), []).append(panel)
    for value, panels in flat.items():
        yield subject.wrong(
            f"{value:g} in every pixel{_of_panels(panels, len(judged))}",
            "nothing was measured: it was off in the dark run, is dead, or was filled in",
            tuple(panels) if len(judged) > 1 else (),
        )
    yield from _asic_findings(
        subject, list(dead_asics(subject, array, _is_flat)), "one value in every pixel", len(judged)
    )


def uncomputed(subject: Subject, pedestals: Array) -> Iterator[Finding]:
    """Gain modes that a dark does not measure, and for which nobody computed pedestals."""
    seen = {panel for panel, _ in measured(subject, pedestals)}
    flat = [
        panel
        for panel, values in by_panel(subject, pedestals)
        if panel not in seen and values.size >= MIN_PIXELS and _is_flat(values)
    ]
    if flat:
        modes = ", ".join(dict.fromkeys(str(panel.mode) for panel in flat))
        yield subject.suspicious(
            f"one value in every pixel in {modes}, which no dark measures",
            "they were not computed from charge injection: pixels that switch get wrong energies",
            tuple(flat),
        )


def raw_range(subject: Subject, pedestals: Array) -> Iterator[Finding]:
    """Pedestals that are no average of raw values, being beyond all that the ADC can give."""
    largest = largest_raw(subject.source)
    if largest is None:
        return
    over = f"over {largest:,}, the largest raw value,"
    leads_to = "no data are so large; is this another type's array?"
    if gain_modes(subject.source) is not None:
        leads_to = "psana takes the gain bits off the data first; are they still in these?"
    yield from _beyond(subject, pedestals > largest, pedestals, over, leads_to)
    below = "raw values have no sign; are these differences, or another type's?"
    yield from _beyond(subject, pedestals < 0, pedestals, "below 0", below)


def bad_pixels(subject: Subject, status: Array) -> Iterator[Finding]:
    """How much of each panel a pixel_status or status_extra takes away.

    What somebody masked on request is his choice, and not judged.
    """
    if status.dtype.kind in "iu" and status.dtype.itemsize > 1:
        status = status & ~status.dtype.type(MASKED)
    bad = status != 0
    asics = list(dead_asics(subject, bad, _is_full))
    counts = _counts(subject, bad, asics)
    dead = [one for one in counts if one.count == one.size]
    most = [one for one in counts if BAD_IS_WRONG < one.fraction < 1]
    many = [one for one in counts if BAD_IS_SUSPICIOUS < one.fraction <= BAD_IS_WRONG]
    if dead:
        yield subject.wrong(
            f"every pixel{_of_panels([one.panel for one in dead], len(counts))} is bad",
            "psana masks all of it, in every gain mode",
            _places(dead, counts),
        )
    yield from _asic_findings(subject, asics, "bad in every pixel", len(counts))
    if most:
        yield subject.wrong(
            f"{_total(most, counts)} are bad{_cause(subject, status, most)}",
            "psana masks most of it; take another dark, or look at its limits",
            _places(most, counts),
        )
    if many:
        yield subject.suspicious(
            f"{_total(many, counts)} are bad{_cause(subject, status, many)}",
            "psana masks them all; were the limits of the dark processing too narrow?",
            _places(many, counts),
        )


def all_masked(subject: Subject, mask: Array) -> Iterator[Finding]:
    """A mask that leaves nothing; how much else it hides is its maker's choice."""
    if mask.size and not mask.any():
        yield subject.suspicious(
            "0 in every pixel of the mask", "no pixel is left where it is used"
        )


def zero_rms(subject: Subject, rms: Array) -> Iterator[Finding]:
    """Panels of whose pixels too many have no noise; all of a chip's is the rule of one value."""
    silent = rms == 0
    counts = _counts(subject, silent, list(dead_asics(subject, silent, _is_full)))
    many = [one for one in counts if ZERO_IS_SUSPICIOUS < one.fraction < 1]
    if many:
        yield subject.suspicious(
            f"rms 0 in {_total(many, counts)}",
            "these pixels gave no value in the dark, or always the same",
            _places(many, counts),
        )


def _beyond(
    subject: Subject, outside: Array, pedestals: Array, where: str, leads_to: str
) -> Iterator[Finding]:
    counts = _counts(subject, outside & np.isfinite(pedestals))
    some = [one for one in counts if one.count]
    if some:
        most = max(one.fraction for one in some)
        judge = subject.wrong if most > BEYOND_IS_WRONG else subject.suspicious
        what = f"pedestals {where} in {_total(some, counts)}"
        yield judge(what, leads_to, _places(some, counts))


def _counts(subject: Subject, having: Array, without: Sequence[Asic] = ()) -> list[_Count]:
    """How many pixels of each panel have it, beside those of chips that are dead as a whole."""
    dead = Counter[Panel]()
    for asic in without:
        dead[asic.panel] += asic.size
    return [
        _Count(panel, int(np.count_nonzero(values)) - dead[panel], values.size - dead[panel])
        for panel, values in measured(subject, having)
        if values.size >= MIN_PIXELS
    ]


def _asic_findings(
    subject: Subject, asics: list[Asic], what: str, panels: int
) -> Iterator[Finding]:
    if not asics:
        return
    listed = "; ".join(map(str, asics[:_SHOWN_ASICS]))
    more = len(asics) - _SHOWN_ASICS
    yield subject.wrong(
        f"{what} of {'a chip' if len(asics) == 1 else f'{len(asics)} chips'}: {listed}"
        + (f" and {more} more" if more > 0 else ""),
        "the chip is dead, or was not read out in the dark run",
        tuple(dict.fromkeys(asic.panel for asic in asics)) if panels > 1 else (),
    )


def _is_flat(values: Array) -> bool:
    first = values.flat[0]
    # Rarely more than a look at one row.
    return bool((values[0] == first).all()) and bool((values == first).all())


def _is_full(bad: Array) -> bool:
    return bool(bad[0].all()) and bool(bad.all())


def _total(some: list[_Count], counts: list[_Count]) -> str:
    pixels = counted(sum(one.count for one in some), sum(one.size for one in some))
    return pixels + _of_panels([one.panel for one in some], len(counts))


def _places(some: list[_Count], counts: list[_Count]) -> tuple[Panel, ...]:
    """The panels, where there are several."""
    return tuple(one.panel for one in some) if len(counts) > 1 else ()


def _of_panels(panels: Sequence[Panel], all_of_them: int) -> str:
    """Which part of the detector a sentence is about; nothing where it has one panel."""
    if all_of_them == 1:
        return ""
    numbers = {panel.number for panel in panels}
    return " of a panel" if len(numbers) == 1 else f" of {len(numbers)} panels"


def _cause(subject: Subject, status: Array, counts: list[_Count]) -> str:
    """The bit that most of the bad pixels have, where it has a meaning."""
    if subject.type_name != "pixel_status" or status.dtype.kind not in "iu":
        return ""
    wanted = {one.panel for one in counts}
    views = [values for panel, values in by_panel(subject, status) if panel in wanted]
    bits = {
        bit: text
        for bit, text in status_bits(subject.source).items()
        if bit <= np.iinfo(status.dtype).max
    }
    having = {bit: sum(int(np.count_nonzero(view & bit)) for view in views) for bit in bits}
    bit = max(having, key=having.__getitem__)
    if not having[bit]:
        return ""
    return f", {having[bit]:,} of them by bit {bit} ({bits[bit]})"
