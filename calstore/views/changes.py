"""What a set gives the runs that another one did not: by detector, type and run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from calstore.model.manifests import Detector, DetectorManifest
from calstore.views.course import ByRange, Course, is_same, runs_text, side_by_side
from calstore.views.merge import SetContents

Kind: TypeAlias = Literal["added", "changed", "removed", "unused"]
"""Runs get a constant that got none, another one, or none any more.

Of a range that is ``unused`` on both sides, the constant differs, which no run gets.
"""


@dataclass(frozen=True, slots=True)
class RunChange:
    """Runs of a detector's type, from ``first`` to ``last``, both included."""

    detector: Detector
    type_name: str
    first: int
    last: int
    kind: Kind

    @property
    def runs(self) -> str:
        """The runs as people read them; they may begin beyond 9999."""
        return runs_text(self.first, self.last)


@dataclass(frozen=True, slots=True)
class FileChange:
    """A loose file that changed."""

    path: str
    kind: Kind


Change: TypeAlias = RunChange | FileChange


def changes(before: SetContents, after: SetContents) -> Iterator[Change]:
    """All that differs between two sets: detectors by type and runs, then loose files.

    That a file has another name, and each run gets what it got, is none.
    """
    for key in sorted({*before.detectors, *after.detectors}):
        one, two = (side.detectors.get(key, _NONE) for side in (before, after))
        for name in sorted({*one.constants, *two.constants}):
            old, new = one.constants.get(name, {}), two.constants.get(name, {})
            for first, last, kind in _of_type(old, new):
                yield RunChange(key, name, first, last, kind)
    for path in sorted({*before.files, *after.files}):
        if before.files.get(path) != after.files.get(path):
            yield FileChange(path, _kind(before.files.get(path), after.files.get(path)))


_NONE = DetectorManifest()


def _of_type(before: ByRange, after: ByRange) -> Iterator[tuple[int, int, Kind]]:
    if before == after:
        return
    old, new = Course.of(before), Course.of(after)
    stretches: list[tuple[int, int, Kind]] = []
    for first, last, (one, two) in side_by_side(old, new):
        if not is_same(one, two):
            kind = _kind(one, two)
            goes_on = bool(stretches) and stretches[-1][1:] == (first - 1, kind)
            stretches.append((stretches.pop()[0] if goes_on else first, last, kind))
    yield from stretches
    for runs in sorted({*before, *after} - old.names - new.names):
        if before.get(runs) != after.get(runs):
            yield runs.first, runs.last, "unused"


def _kind(before: object, after: object) -> Kind:
    if before is None:
        return "added"
    return "removed" if after is None else "changed"
