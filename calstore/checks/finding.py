"""The nouns of a check: what is judged, and what was found."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from calstore.errors import Invalid

Severity: TypeAlias = Literal["wrong", "suspicious"]
"""``wrong``: no reader can make good data of it. ``suspicious``: a person should look."""


@dataclass(frozen=True, slots=True)
class Panel:
    """A panel of a detector, in one gain mode where it has several."""

    number: int
    mode: str | None = None


def panels_text(panels: Iterable[Panel]) -> str:
    """Panels as people read them: ``panels 0, 3 in G0, G1; panel 7``."""
    modes: dict[int, list[str]] = {}
    for panel in sorted(panels, key=lambda panel: panel.number):
        modes.setdefault(panel.number, []).extend([] if panel.mode is None else [panel.mode])
    numbers: dict[str, list[str]] = {}
    for number, names in modes.items():
        numbers.setdefault(", ".join(names), []).append(str(number))
    return "; ".join(
        ("panel " if len(alike) == 1 else "panels ")
        + ", ".join(alike)
        + (f" in {names}" if names else "")
        for names, alike in numbers.items()
    )


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is odd about a constant.

    Parameters
    ----------
    what
        What was found, with the values.
    leads_to
        What readers make of it.
    runs
        Names of the ranges that it is about, or the runs of a pair, as people read them.
    panels
        Where it is; empty where it is everywhere, or nowhere in particular.
    """

    severity: Severity
    type_name: str
    runs: tuple[str, ...]
    what: str
    leads_to: str
    panels: tuple[Panel, ...] = ()

    def __post_init__(self) -> None:
        if not (self.what and self.leads_to and self.runs):
            raise Invalid("a finding says what, of which runs, and what it leads to")

    @property
    def is_wrong(self) -> bool:
        """Whether it is more than suspicious."""
        return self.severity == "wrong"

    def __str__(self) -> str:
        return f"{self.what}: {self.leads_to}"


@dataclass(frozen=True, slots=True)
class Subject:
    """A constant as the rules see it: whose it is, of which type, for which runs."""

    group: str
    source: str
    type_name: str
    runs: tuple[str, ...]

    def wrong(self, what: str, leads_to: str, panels: tuple[Panel, ...] = ()) -> Finding:
        """What no reader can make good data of."""
        return Finding("wrong", self.type_name, self.runs, what, leads_to, panels)

    def suspicious(self, what: str, leads_to: str, panels: tuple[Panel, ...] = ()) -> Finding:
        """What a person should look at."""
        return Finding("suspicious", self.type_name, self.runs, what, leads_to, panels)


def counted(count: int, total: int) -> str:
    """A part of all pixels as people read it: ``53,703 of 540,672 pixels (9.9 %)``."""
    percent = 100 * count / total
    shown = f"{percent:.1f}" if percent >= 0.1 else f"{percent:.2g}"
    return f"{count:,} of {total:,} pixels ({shown} %)"
