"""Three-way merge of sets: by detector, type and run, so that no run gets what nobody meant."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TypeAlias

from calstore.errors import Invalid
from calstore.model.digest import Reference
from calstore.model.manifests import Constant, Detector, DetectorManifest
from calstore.model.runs import END, MAX_RUN, RunRange
from calstore.views.resolve import Timeline, beyond_all

ByRange: TypeAlias = Mapping[RunRange, Constant]


@dataclass(frozen=True, slots=True)
class SetContents:
    """A set with its detector manifests at hand."""

    detectors: Mapping[Detector, DetectorManifest] = field(default_factory=dict)
    files: Mapping[str, Reference] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MergeConflict:
    """Runs of a detector's type, or a loose file, that both sides changed in different ways."""

    where: str
    first: int = 0
    last: int = END

    def __str__(self) -> str:
        if (self.first, self.last) == (0, END):
            return self.where
        return f"{self.where} {self.first}-{'end' if self.last == END else self.last}"


@dataclass(frozen=True, slots=True)
class Merged:
    """The merged set; where there are conflicts, what one side has there."""

    result: SetContents
    conflicts: tuple[MergeConflict, ...]


MergeFile: TypeAlias = Callable[
    [str, Reference | None, Reference | None, Reference | None], Reference | None
]
"""Merges a loose file that both changed: path, base, ours, theirs; ``None`` is a conflict."""


def merge_sets(
    base: SetContents, ours: SetContents, theirs: SetContents, merge_file: MergeFile
) -> Merged:
    """The set that has what either side changed since ``base``.

    Parameters
    ----------
    merge_file
        Asked for loose files that both sides changed.
    """
    conflicts: list[MergeConflict] = []
    detectors = {}
    for key in sorted({*base.detectors, *ours.detectors, *theirs.detectors}):
        one, two, three = (side.detectors.get(key, _NONE) for side in (base, ours, theirs))
        detector, disputed = _merge_detector(key, one, two, three)
        conflicts.extend(disputed)
        if detector.constants:
            detectors[key] = detector
    files = {}
    for path in sorted({*base.files, *ours.files, *theirs.files}):
        before, mine, other = (side.files.get(path) for side in (base, ours, theirs))
        if before == mine or mine == other:
            chosen = other
        elif before == other:
            chosen = mine
        else:
            chosen = merge_file(path, before, mine, other)
            if chosen is None:
                conflicts.append(MergeConflict(path))
        if chosen is not None:
            files[path] = chosen
    return Merged(SetContents(detectors, files), tuple(conflicts))


_NONE = DetectorManifest()


def _merge_detector(
    key: Detector,
    base: DetectorManifest,
    ours: DetectorManifest,
    theirs: DetectorManifest,
) -> tuple[DetectorManifest, list[MergeConflict]]:
    if base == ours or ours == theirs:
        return theirs, []
    if base == theirs:
        return ours, []
    types: dict[str, ByRange] = {}
    conflicts: list[MergeConflict] = []
    for name in sorted({*base.constants, *ours.constants, *theirs.constants}):
        one, two, three = (side.constants.get(name, {}) for side in (base, ours, theirs))
        merged, disputed = merge_type(one, two, three)
        conflicts.extend(MergeConflict(f"{key[1]} {name}", first, last) for first, last in disputed)
        if merged:
            types[name] = merged
    return DetectorManifest(types), conflicts


def merge_type(
    base: ByRange, ours: ByRange, theirs: ByRange
) -> tuple[ByRange, tuple[tuple[int, int], ...]]:
    """The constants of one type after a merge, and the runs that both sides changed.

    Each run gets what the side gives it that changed it. File names count only where they
    decide what a run gets; constants that no run got may be left behind.
    """
    if base == ours or ours == theirs:
        return theirs, ()
    if base == theirs:
        return ours, ()
    wanted: list[_Segment] = []
    disputed: list[tuple[int, int]] = []
    for first, last, (one, two, three) in _segments(base, ours, theirs):
        if _same(one, two) or _same(two, three):
            wanted.append(_Segment(first, last, three))
        elif _same(one, three):
            wanted.append(_Segment(first, last, two))
        else:
            wanted.append(_Segment(first, last, two))
            if disputed and disputed[-1][1] == first - 1:
                disputed[-1] = (disputed[-1][0], last)
            else:
                disputed.append((first, last))
    if disputed:
        return ours, tuple(disputed)
    by_name = _union(base, ours, theirs)
    if by_name is not None and _gives(by_name, wanted):
        return by_name, ()
    try:
        return _named(wanted), ()
    except Invalid:
        return ours, ((MAX_RUN + 1, END),)


@dataclass(frozen=True, slots=True)
class _Segment:
    """Runs that all get the same constant, under the name that it had; ``None`` for nothing."""

    first: int
    last: int
    winner: tuple[RunRange, Constant] | None


_Winner: TypeAlias = "tuple[RunRange, Constant] | None"


def _segments(*sides: ByRange) -> Iterator[tuple[int, int, list[_Winner]]]:
    """Runs in order, cut wherever any side changes, with what each side gives them."""
    timelines = [Timeline(side) for side in sides]
    edges = {0, END + 1}
    for timeline in timelines:
        for piece in timeline.pieces:
            edges.update((piece.first, piece.last + 1))
    for first, following in pairwise(sorted(edges)):
        winners: list[_Winner] = []
        for side, timeline in zip(sides, timelines, strict=True):
            runs = timeline.at(first)
            winners.append(None if runs is None else (runs, side[runs]))
        yield first, following - 1, winners


def _same(one: _Winner, two: _Winner) -> bool:
    """Whether two sides give the same: the file's name does not matter."""
    if one is None or two is None:
        return one is two
    return _meant(one[1]) == _meant(two[1])


def _meant(constant: Constant) -> tuple[object, ...]:
    return constant.content, constant.source, constant.serials


def _union(base: ByRange, ours: ByRange, theirs: ByRange) -> ByRange | None:
    """The merge name by name, as of files in a folder; ``None`` where both changed one."""
    merged = {}
    for runs in {*base, *ours, *theirs}:
        one, two, three = (side.get(runs) for side in (base, ours, theirs))
        if one == two or two == three:
            chosen = three
        elif one == three:
            chosen = two
        else:
            return None
        if chosen is not None:
            merged[runs] = chosen
    return merged


def _gives(by_range: ByRange, wanted: list[_Segment]) -> bool:
    timeline = Timeline(by_range)
    edges = {piece.first for piece in timeline.pieces}
    edges.update(piece.last + 1 for piece in timeline.pieces)
    edges.update(segment.first for segment in wanted)
    segments = iter(wanted)
    segment = next(segments)
    for first in sorted(edges):
        while segment.last < first:
            following = next(segments, None)
            if following is None:
                return True
            segment = following
        runs = timeline.at(first)
        if not _same(None if runs is None else (runs, by_range[runs]), segment.winner):
            return False
    return True


def _named(wanted: list[_Segment]) -> ByRange:
    """Names, one for each stretch of runs, that give each run what is wanted."""
    named: dict[RunRange, Constant] = {}
    for segment in _joined(wanted):
        if segment.winner is None:
            continue
        old, constant = segment.winner
        if segment.first > MAX_RUN:
            runs = beyond_all(named, RunRange(MAX_RUN, MAX_RUN))
        else:
            runs = RunRange(segment.first, segment.last)
        named[runs] = constant if runs == old else constant.renamed()
    return named


def _joined(segments: list[_Segment]) -> list[_Segment]:
    joined: list[_Segment] = []
    for segment in segments:
        before = joined[-1] if joined else None
        if before is not None and _same(before.winner, segment.winner):
            joined[-1] = _Segment(before.first, segment.last, before.winner)
        else:
            joined.append(segment)
    return joined
