"""Three-way merge of sets: by detector, type and run, so that no run gets what nobody meant."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from typing import TypeAlias

from calstore.model.digest import Reference
from calstore.model.manifests import Constant, Detector, DetectorManifest
from calstore.model.runs import END, MAX_RUN, RunRange
from calstore.views.course import (
    ByRange,
    Course,
    Segment,
    is_same,
    runs_text,
    side_by_side,
)
from calstore.views.plan import placed


@dataclass(frozen=True, slots=True)
class SetContents:
    """A set with its detector manifests at hand."""

    detectors: Mapping[Detector, DetectorManifest] = field(default_factory=dict)
    files: Mapping[str, Reference] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunConflict:
    """Runs of a detector's type that cannot be merged.

    Parameters
    ----------
    why
        Empty where both sides changed what these runs get, in different ways.
    """

    detector: Detector
    type_name: str
    first: int
    last: int
    why: str = ""

    @property
    def runs(self) -> str:
        """The runs as people read them; they may begin beyond 9999."""
        return runs_text(self.first, self.last)

    def __str__(self) -> str:
        where = f"{self.detector[1]} {self.type_name} {self.runs}"
        return f"{where}: {self.why}" if self.why else where


@dataclass(frozen=True, slots=True)
class FileConflict:
    """A loose file that cannot be merged; ``why`` is empty where both sides changed it."""

    path: str
    why: str = ""

    def __str__(self) -> str:
        return f"{self.path}: {self.why}" if self.why else self.path


MergeConflict: TypeAlias = RunConflict | FileConflict


@dataclass(frozen=True, slots=True)
class Dropped:
    """A constant that no run gets on the side that has it, and that could not stay unused."""

    detector: Detector
    type_name: str
    runs: RunRange
    constant: Constant

    def __str__(self) -> str:
        digest = self.constant.content.digest.short
        return f"{self.detector[1]} {self.type_name} {self.runs} {digest}"


@dataclass(frozen=True, slots=True)
class Merged:
    """The merged set; where there are conflicts, what one side has there."""

    result: SetContents
    conflicts: tuple[MergeConflict, ...]
    dropped: tuple[Dropped, ...] = ()


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
    dropped: list[Dropped] = []
    detectors = {}
    for key in sorted({*base.detectors, *ours.detectors, *theirs.detectors}):
        one, two, three = (side.detectors.get(key, _NONE) for side in (base, ours, theirs))
        types: dict[str, ByRange] = {}
        for name in sorted({*one.constants, *two.constants, *three.constants}):
            merged = merge_type(*(side.constants.get(name, {}) for side in (one, two, three)))
            conflicts.extend(RunConflict(key, name, *each) for each in merged.conflicts)
            dropped.extend(Dropped(key, name, *each) for each in merged.dropped)
            if merged.by_range:
                types[name] = merged.by_range
        if types:
            detectors[key] = DetectorManifest(types)
    files, disputed = _merge_files(base, ours, theirs, merge_file)
    conflicts.extend(disputed)
    if not conflicts:
        conflicts.extend(_collisions(detectors, files))
    return Merged(SetContents(detectors, files), tuple(conflicts), tuple(dropped))


_NONE = DetectorManifest()


def _merge_files(
    base: SetContents, ours: SetContents, theirs: SetContents, merge_file: MergeFile
) -> tuple[dict[str, Reference], list[MergeConflict]]:
    files: dict[str, Reference] = {}
    conflicts: list[MergeConflict] = []
    for path in sorted({*base.files, *ours.files, *theirs.files}):
        before, mine, other = (side.files.get(path) for side in (base, ours, theirs))
        if before == mine or mine == other:
            chosen = other
        elif before == other:
            chosen = mine
        else:
            chosen = merge_file(path, before, mine, other)
            if chosen is None:
                conflicts.append(FileConflict(path))
                chosen = mine
        if chosen is not None:
            files[path] = chosen
    return files, conflicts


def _collisions(
    detectors: Mapping[Detector, DetectorManifest], files: Mapping[str, Reference]
) -> Iterator[FileConflict]:
    """Paths that one side uses for a file, and the other for another file or a folder."""
    constants = {place.path for place in placed(detectors, files, "psana")}
    for path in sorted(constants & files.keys()):
        yield FileConflict(path, "a loose file of one side is a constant's on the other")
    paths = constants | files.keys()
    for path in sorted(paths):
        folders = path.split("/")[:-1]
        for depth in range(1, len(folders) + 1):
            if (folder := "/".join(folders[:depth])) in paths:
                yield FileConflict(
                    folder, f"a file of one side is a folder, of {path}, on the other"
                )


@dataclass(frozen=True, slots=True)
class MergedType:
    """The constants of one type after a merge.

    Parameters
    ----------
    conflicts
        First and last run of what cannot be merged, and why where that is another reason than
        that both changed it; ``by_range`` is what ours has, then.
    dropped
        What either side added or both kept, unused, and has no place in ``by_range``.
    """

    by_range: ByRange
    conflicts: tuple[tuple[int, int, str], ...] = ()
    dropped: tuple[tuple[RunRange, Constant], ...] = ()


def merge_type(base: ByRange, ours: ByRange, theirs: ByRange) -> MergedType:
    """The constants of one type that give each run what the side gives it that changed it.

    Constants that no run gets stay too, unless a side took them out. Names are merged one by
    one, as files in a folder, where that gives each run the right constant; else the runs that
    a side changed are named anew.
    """
    if base == ours or ours == theirs:
        return MergedType(theirs)
    if base == theirs:
        return MergedType(ours)
    courses = [Course.of(side) for side in (base, ours, theirs)]
    wanted, conflicts = _wanted(*courses)
    if conflicts:
        return MergedType(ours, tuple(conflicts))
    unused = {
        (runs, constant)
        for side, course in ((ours, courses[1]), (theirs, courses[2]))
        for runs, constant in side.items()
        if runs not in course.names
    }
    by_name = _merge_names(base, ours, theirs)
    merged: ByRange = by_name
    if not all(is_same(*pair) for _, _, pair in side_by_side(Course.of(by_name), wanted)):
        kept = {
            runs: constant
            for runs, constant in by_name.items()
            if ours.get(runs) == theirs.get(runs)
            or ((runs, constant) in unused and not _leaves_out(wanted, runs))
        }
        merged = _named(wanted, kept)
    there = {constant.renamed() for constant in merged.values()}
    dropped = [
        (runs, constant)
        for runs, constant in unused
        if base.get(runs) != constant and constant.renamed() not in there
    ]
    return MergedType(merged, dropped=tuple(sorted(dropped, key=lambda item: item[0])))


def _wanted(
    base: Course, ours: Course, theirs: Course
) -> tuple[Course, list[tuple[int, int, str]]]:
    """What each run shall get, and the runs for which that cannot be said."""
    segments: list[Segment] = []
    disputed: list[tuple[int, int, str]] = []
    for first, last, (before, mine, other) in side_by_side(base, ours, theirs):
        if is_same(before, mine):
            segments.append(Segment(first, last, other))
        else:
            segments.append(Segment(first, last, mine))
            if not (is_same(mine, other) or is_same(before, other)):
                is_next = bool(disputed) and disputed[-1][1] == first - 1
                disputed.append((disputed.pop()[0] if is_next else first, last, ""))
    wanted = Course(segments)
    beyond = MAX_RUN + 1
    is_open = not any(first <= beyond and last >= MAX_RUN for first, last, _ in disputed)
    if is_open and wanted.at(MAX_RUN) is None and wanted.at(beyond) is not None:
        disputed.append((beyond, END, _NO_NAME))
    return wanted, disputed


_NO_NAME = (
    f"one side has a constant there and the other took away what run {MAX_RUN} gets, "
    f"but no file name can begin beyond {MAX_RUN}"
)


def _merge_names(base: ByRange, ours: ByRange, theirs: ByRange) -> dict[RunRange, Constant]:
    """The merge name by name, as of files in a folder."""
    merged = {}
    for runs in {*base, *ours, *theirs}:
        before, mine, other = (side.get(runs) for side in (base, ours, theirs))
        if before == mine or mine == other:
            chosen = other
        elif before == other:
            chosen = mine
        else:
            chosen = other if mine is None else mine
        if chosen is not None:
            merged[runs] = chosen
    return merged


def _leaves_out(wanted: Course, runs: RunRange) -> bool:
    """Whether any of the runs shall get nothing."""
    return any(
        each.winner is None and each.first <= runs.last and runs.first <= each.last
        for each in wanted.segments
    )


def _named(wanted: Course, kept: ByRange) -> ByRange:
    """``kept``, and names that give each run what is wanted.

    ``kept`` holds no run that shall get nothing. Run 9999 shall get something if those beyond
    shall.
    """
    names = dict(kept)
    new: set[RunRange] = set()
    for stretch in _stretches(wanted, kept):
        assert stretch.winner is not None
        runs = RunRange(stretch.first, stretch.last)
        pieces = [runs]
        if runs in kept and runs.first < runs.last:
            # Two that begin and end sooner go before it.
            pieces = [RunRange(runs.first, runs.last - 1), RunRange(runs.last, runs.last)]
        new.update(pieces)
        names.update((piece, _under(piece, stretch.winner)) for piece in pieces)
    beyond = wanted.at(MAX_RUN + 1)
    if beyond is not None and not is_same(Course.of(names).at(MAX_RUN + 1), beyond):
        _name_beyond(names, beyond, new)
    return names


def _stretches(wanted: Course, kept: ByRange) -> list[Segment]:
    """Runs up to 9999 to which ``kept`` gives something else than is wanted.

    As long as can be, so that a name for each wins in all of it: no name of ``kept`` begins
    inside, or begins with it and ends inside.
    """
    stretches: list[Segment] = []
    begin = {runs.first for runs in kept}
    for first, last, (winner, there) in side_by_side(wanted, Course.of(kept)):
        if first > MAX_RUN or is_same(winner, there):
            continue
        before = stretches[-1] if stretches else None
        goes_on = (
            before is not None
            and before.last == first - 1
            and is_same(before.winner, winner)
            and first not in begin
            and RunRange(before.first, before.last) not in kept
        )
        begins = stretches.pop().first if goes_on else first
        stretches.append(Segment(begins, min(last, MAX_RUN), winner))
    return stretches


def _name_beyond(
    names: dict[RunRange, Constant], wanted: tuple[RunRange, Constant], new: set[RunRange]
) -> None:
    """Add a name that wins all runs beyond 9999, and none up to it that gets something else."""
    last = Course.of(names).at(MAX_RUN)
    assert last is not None
    runs, constant = last
    open_runs = RunRange(runs.first, END)
    if runs in new and is_same(last, wanted) and open_runs not in names:
        del names[runs]
    else:
        # It begins together with one that ends sooner, and so goes first.
        names[RunRange(MAX_RUN, MAX_RUN)] = constant.renamed()
        open_runs = RunRange(MAX_RUN, END)
    names[open_runs] = _under(open_runs, wanted)


def _under(runs: RunRange, winner: tuple[RunRange, Constant]) -> Constant:
    """The constant under a name, its own or another one."""
    return winner[1] if winner[0] == runs else winner[1].renamed()


def merge_lines(mine: bytes, other: bytes) -> bytes:
    """Two texts in one: the lines of both, each in its order, common ones once.

    As often as the side that has a line most often has it, or oftener; nothing is lost.
    """
    one, two = _lines(mine), _lines(other)
    merged: list[bytes] = []
    for _, first, last, start, stop in SequenceMatcher(
        None, one, two, autojunk=False
    ).get_opcodes():
        merged += one[first:last]
        if one[first:last] != two[start:stop]:
            merged += two[start:stop]
    return b"".join(merged)


def _lines(text: bytes) -> list[bytes]:
    """The lines with their ends; the last one gets one too."""
    if text and not text.endswith(b"\n"):
        text += b"\n"
    return [line + b"\n" for line in text.split(b"\n")[:-1]]
