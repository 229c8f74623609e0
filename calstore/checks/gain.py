"""Rules on pixel_gain: whether it is meant to divide or to multiply, and what it loses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import exp, log
from statistics import median
from typing import Any, Final

import numpy as np

from calstore.checks.finding import Finding, Panel, Subject, counted
from calstore.checks.panels import MIN_PIXELS, by_panel
from calstore.model.detectors import GainModes, gain_modes, gain_use, nominal_factor

Array = np.ndarray[Any, np.dtype[Any]]

FAR: Final = 4.0
"""A factor that gains of one kind do not differ by: panels and pixels vary by some 10 %, and
high and medium of an Epix10ka, the nearest two modes, by 3."""

FLAT: Final = 1.25
"""Gain modes that differ by less than this factor are not told apart: they were filled in."""


@dataclass(frozen=True, slots=True)
class _Level:
    """The median gain of a panel in a mode; 0 where every pixel has none."""

    panel: Panel
    gain: float
    nominal: float


def zero_gain(subject: Subject, gain: Array) -> Iterator[Finding]:
    """Pixels whose gain is 0, and panels where all are."""
    dead, some, total = [], 0, 0
    for panel, values in by_panel(subject, gain):
        zeros = int(np.count_nonzero(values == 0))
        if zeros == values.size and values.size >= MIN_PIXELS:
            dead.append(panel)
        else:
            some, total = some + zeros, total + values.size
    if dead:
        yield subject.wrong(
            "gain 0 in every pixel of a panel", "the data of it become 0", tuple(dead)
        )
    if some:
        yield subject.suspicious(
            f"gain 0 in {counted(some, total)}",
            "their data become 0 without being masked; pixel_status is the place to say bad",
        )


def inverted_gain(subject: Subject, gain: Array) -> Iterator[Finding]:
    """Gains in keV/ADU where readers divide by ADU/keV, or the other way round."""
    use = gain_use(subject.source)
    modes = gain_modes(subject.source)
    if use == "divides" and modes is not None:
        yield from _inverted_divisors(subject, gain, modes)
    nominal = nominal_factor(subject.source)
    if use == "multiplies" and nominal is not None:
        yield from _inverted_factors(subject, gain, nominal)


def _inverted_factors(subject: Subject, gain: Array, nominal: float) -> Iterator[Finding]:
    panels = [
        level
        for level in _levels(subject, gain, dict.fromkeys((None,), nominal))
        if 1 / FAR < level.gain * nominal < FAR
    ]
    if panels:
        yield subject.wrong(
            f"a median gain of {panels[0].gain:.4g}, which looks like ADU/keV (nominal "
            f"{1 / nominal:.4g})",
            f"LCLS-I psana and AMI multiply with it; its inverse, {1 / panels[0].gain:.3g} "
            "keV/ADU, is meant",
        )


def _inverted_divisors(subject: Subject, gain: Array, modes: GainModes) -> Iterator[Finding]:
    nominal = dict(zip(modes.names, modes.adu_per_kev, strict=True))
    levels = [level for level in _levels(subject, gain, nominal) if level.gain]
    by_mode = {
        mode: median(abs(level.gain) for level in levels if level.panel.mode == mode)
        for mode in dict.fromkeys(level.panel.mode for level in levels)
    }
    if len(by_mode) < 2:
        return
    spelled = ", ".join(f"{level:.3g} in {mode}" for mode, level in by_mode.items())
    direct = [log(level / abs(nominal[str(mode)])) for mode, level in by_mode.items()]
    inverse = [log(level * abs(nominal[str(mode)])) for mode, level in by_mode.items()]
    if max(by_mode.values()) < FLAT * min(by_mode.values()):
        yield subject.suspicious(
            f"a gain of {spelled}: the same in every gain mode",
            "energies jump where a pixel switches its mode; was it filled in?",
        )
    elif not _is_one_scale(direct) and _is_one_scale(inverse):
        yield subject.wrong(
            f"a gain of {spelled}: the more sensitive mode has the smaller one, as in keV/ADU",
            "psana and AMI divide by it; ADU/keV is meant, so take its inverse",
        )
    else:
        yield from _apart(subject, levels)


def _is_one_scale(logarithms: list[float]) -> bool:
    """Whether all gain modes are the nominal ones, but for a common factor."""
    middle = median(logarithms)
    return all(abs(one - middle) <= log(FAR) for one in logarithms)


def _apart(subject: Subject, levels: list[_Level]) -> Iterator[Finding]:
    """Panels and modes that do not have the scale that the others have, or another sign."""
    scale = median(log(abs(level.gain / level.nominal)) for level in levels)
    apart, signs = [], []
    for level in levels:
        distance = abs(log(abs(level.gain / level.nominal)) - scale)
        if distance > log(FAR):
            apart.append(level)
        elif level.gain * level.nominal < 0:
            signs.append(level)
    inverted = [one for one in apart if 1 / FAR < one.gain * one.nominal < FAR]
    others = [one for one in apart if one not in inverted]
    if inverted:
        yield subject.wrong(
            f"a median gain of {_gains(inverted)}, which looks like keV/ADU unlike the rest",
            "psana and AMI divide by it; ADU/keV is meant, so take its inverse",
            tuple(one.panel for one in inverted),
        )
    if others:
        yield subject.suspicious(
            f"a median gain of {_gains(others)}, where the rest suggests "
            f"{exp(scale) * others[0].nominal:.3g}",
            "energies of these panels or modes are off by that factor",
            tuple(one.panel for one in others),
        )
    if signs:
        yield subject.suspicious(
            f"a median gain of {_gains(signs)}, where {signs[0].nominal:g} is nominal",
            "energies have the wrong sign",
            tuple(one.panel for one in signs),
        )


def _levels(
    subject: Subject, gain: Array, nominal: dict[str, float] | dict[None, float]
) -> list[_Level]:
    """The median of each panel over the gains that are numbers and not 0."""
    levels = []
    wanted: dict[str | None, float] = dict(nominal)  # type: ignore[arg-type]
    for panel, values in by_panel(subject, gain):
        if panel.mode in wanted:
            used = values[np.isfinite(values) & (values != 0)]
            level = float(np.median(used)) if used.size else 0.0
            levels.append(_Level(panel, level, wanted[panel.mode]))
    return levels


def _gains(levels: list[_Level]) -> str:
    return ", ".join(dict.fromkeys(f"{level.gain:.3g}" for level in levels[:3])) + (
        ", …" if len(levels) > 3 else ""
    )
