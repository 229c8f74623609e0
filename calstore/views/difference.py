"""How two sets differ: which constants, and what that means for runs; no value is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from calstore.model.digest import Reference
from calstore.model.manifests import Detector, DetectorManifest
from calstore.model.runs import RunRange
from calstore.views.course import ByRange, Course, Winner, is_same, runs_text, side_by_side
from calstore.views.merge import SetContents

Change: TypeAlias = Literal["added", "removed", "changed"]
Kind: TypeAlias = Literal["added", "removed", "changed", "moved", "provenance"]


@dataclass(frozen=True, slots=True)
class ConstantDifference:
    """One constant that two sets do not have alike.

    Parameters
    ----------
    kind
        ``changed``: another content for the same run range; ``moved``: the same content for
        another run range; ``provenance``: the same content, but of another file, under another
        name or for other panels.
    before, after
        The run range and the constant on either side, ``None`` where it has none.
    """

    detector: Detector
    type_name: str
    kind: Kind
    before: Winner
    after: Winner


@dataclass(frozen=True, slots=True)
class RunDifference:
    """Runs from ``first`` to ``last``, both included, that get something else of a type.

    Parameters
    ----------
    kind
        They get a constant that got none (``added``), another one, or none any more. Of a range
        that is ``unused`` on both sides, the constant differs, which no run gets.
    """

    detector: Detector
    type_name: str
    first: int
    last: int
    kind: Literal["added", "removed", "changed", "unused"]

    @property
    def runs(self) -> str:
        """The runs as people read them; they may begin beyond 9999."""
        return runs_text(self.first, self.last)


@dataclass(frozen=True, slots=True)
class FileDifference:
    """A loose file that two sets do not have alike; ``None`` where one has none."""

    path: str
    before: Reference | None
    after: Reference | None

    @property
    def kind(self) -> Change:
        """Whether it is added, removed or changed."""
        return _change(self.before, self.after)


@dataclass(frozen=True, slots=True)
class Effect:
    """Runs from ``first`` to ``last``, both included, that get another content of a type."""

    detector: Detector
    type_name: str
    first: int
    last: int
    before: Winner
    after: Winner

    @property
    def runs(self) -> str:
        """The runs as people read them."""
        return runs_text(self.first, self.last)


def differing_constants(
    detector: Detector, one: DetectorManifest, other: DetectorManifest
) -> Iterator[ConstantDifference]:
    """The constants of a detector that two sets do not have alike, by type and run range."""
    for type_name in sorted({*one.constants, *other.constants}):
        before, after = (side.constants.get(type_name, {}) for side in (one, other))
        found = [*_in_place(before, after), *_from_place_to_place(before, after)]
        for kind, mine, theirs in sorted(found, key=lambda item: _place(item[1], item[2])):
            yield ConstantDifference(detector, type_name, kind, mine, theirs)


def differing_at(
    detector: Detector, one: DetectorManifest, other: DetectorManifest, run: int
) -> Iterator[ConstantDifference]:
    """What a run gets of a detector on one side and not on the other; names do not matter."""
    for type_name in sorted({*one.constants, *other.constants}):
        before, after = (
            Course.of(side.constants.get(type_name, {})).at(run) for side in (one, other)
        )
        if before is None or after is None:
            if before is not after:
                kind: Kind = "added" if before is None else "removed"
                yield ConstantDifference(detector, type_name, kind, before, after)
        elif before[1].content != after[1].content:
            yield ConstantDifference(detector, type_name, "changed", before, after)
        elif before[1].renamed() != after[1].renamed():
            yield ConstantDifference(detector, type_name, "provenance", before, after)


def differing_runs(one: SetContents, other: SetContents) -> Iterator[RunDifference]:
    """The runs of two sets that do not get the same of a type, as long stretches as can be.

    That a file has another name, and each run gets what it got, is none.
    """
    for key in sorted({*one.detectors, *other.detectors}):
        sides = [side.detectors.get(key, _NONE).constants for side in (one, other)]
        for name in sorted({*sides[0], *sides[1]}):
            before, after = (side.get(name, {}) for side in sides)
            if before != after:
                yield from _differing_runs(key, name, before, after)


def differing_files(
    one: Mapping[str, Reference], other: Mapping[str, Reference]
) -> Iterator[FileDifference]:
    """The loose files that two sets do not have alike."""
    for path in sorted({*one, *other}):
        if one.get(path) != other.get(path):
            yield FileDifference(path, one.get(path), other.get(path))


def effects(detector: Detector, type_name: str, one: ByRange, other: ByRange) -> Iterator[Effect]:
    """The runs that get another content of a type, cut where either side gives another."""
    for first, last, (before, after) in side_by_side(Course.of(one), Course.of(other)):
        if _content(before) != _content(after):
            yield Effect(detector, type_name, first, last, before, after)


_NONE = DetectorManifest()


def _differing_runs(
    detector: Detector, type_name: str, before: ByRange, after: ByRange
) -> Iterator[RunDifference]:
    old, new = Course.of(before), Course.of(after)
    stretch: RunDifference | None = None
    for first, last, (mine, theirs) in side_by_side(old, new):
        if is_same(mine, theirs):
            continue
        kind = _change(mine, theirs)
        if stretch is not None and (stretch.last + 1, stretch.kind) == (first, kind):
            stretch = replace(stretch, last=last)
            continue
        if stretch is not None:
            yield stretch
        stretch = RunDifference(detector, type_name, first, last, kind)
    if stretch is not None:
        yield stretch
    for runs in sorted({*before, *after} - old.names - new.names):
        if before.get(runs) != after.get(runs):
            yield RunDifference(detector, type_name, runs.first, runs.last, "unused")


def _change(before: object, after: object) -> Change:
    if before is None:
        return "added"
    return "removed" if after is None else "changed"


_Found: TypeAlias = tuple[Kind, Winner, Winner]


def _in_place(before: ByRange, after: ByRange) -> Iterator[_Found]:
    """What both sides have for the same run range, but not alike."""
    for runs in before.keys() & after.keys():
        mine, theirs = before[runs], after[runs]
        if mine != theirs:
            kind: Kind = "provenance" if mine.content == theirs.content else "changed"
            yield kind, (runs, mine), (runs, theirs)


def _from_place_to_place(before: ByRange, after: ByRange) -> Iterator[_Found]:
    """What just one side has for its run range; equal contents are paired in their order."""
    gone: dict[object, list[RunRange]] = {}
    for runs in sorted(before.keys() - after.keys(), reverse=True):
        gone.setdefault(before[runs].content, []).append(runs)
    for runs in sorted(after.keys() - before.keys()):
        here = (runs, after[runs])
        if of_content := gone.get(after[runs].content):
            old = of_content.pop()
            yield "moved", (old, before[old]), here
        else:
            yield "added", None, here
    for left in gone.values():
        for old in left:
            yield "removed", (old, before[old]), None


def _place(before: Winner, after: Winner) -> tuple[RunRange, bool]:
    where = before if after is None else after
    assert where is not None
    return where[0], after is None


def _content(winner: Winner) -> object:
    return None if winner is None else winner[1].content
