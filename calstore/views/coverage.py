"""What each run gets of a version, what no run gets, and where psana goes on with a default."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from calstore.formats.calib_tree import Problem, name_remark
from calstore.model.ami import LIVE_RUN, ami_reads
from calstore.model.conventions import ami_group_of, group_of, psana_default, psana_loads
from calstore.model.manifests import Detector, DetectorManifest
from calstore.model.runs import RunRange
from calstore.views.course import ByRange, Course, runs_text, side_by_side
from calstore.views.remarks import unread_folder
from calstore.views.resolve import Timeline

_BASIS = "pedestals"  # what the other types of one run must fit


@dataclass(frozen=True, slots=True)
class Stretch:
    """Runs from ``first`` to ``last``, both included, all of which get the same.

    Parameters
    ----------
    winner
        The range whose constant they get; ``None`` where psana goes on with its default.
    """

    first: int
    last: int
    winner: RunRange | None

    @property
    def runs(self) -> str:
        """The runs as people read them; beyond 9999, where no file name begins, too."""
        return runs_text(self.first, self.last)


@dataclass(frozen=True, slots=True)
class TypeCoverage:
    """Which constant of one type each run gets.

    Parameters
    ----------
    stretches
        In order, from run 0 to the end, without gaps.
    shadowed
        Ranges that no run gets.
    default
        What psana goes on with in silence where there is no constant.
    live
        The range that live AMI gets, ``None`` where it goes on with a default.
    is_read_by_ami
        Whether AMI reads this type of the detector at all.
    """

    name: str
    stretches: tuple[Stretch, ...]
    shadowed: tuple[RunRange, ...]
    default: str
    live: RunRange | None
    is_read_by_ami: bool

    def at(self, run: int) -> RunRange | None:
        """The range whose constant a run gets."""
        return next(piece.winner for piece in self.stretches if piece.first <= run <= piece.last)

    @property
    def gaps(self) -> tuple[Stretch, ...]:
        """The runs for which psana goes on with its default."""
        return tuple(piece for piece in self.stretches if piece.winner is None)


@dataclass(frozen=True, slots=True)
class Mismatch:
    """Runs whose pedestals and whose constants of another type are of different panels."""

    first: int
    last: int
    pedestals: RunRange
    type_name: str
    winner: RunRange
    panels: tuple[tuple[str, ...], tuple[str, ...]]

    @property
    def runs(self) -> str:
        """The runs as people read them."""
        return runs_text(self.first, self.last)

    def __str__(self) -> str:
        mine, theirs = (" ".join(serials) for serials in self.panels)
        return (
            f"runs {self.runs}: pedestals {self.pedestals} are of the panels "
            f"{mine}, {self.type_name} {self.winner} of {theirs}"
        )


@dataclass(frozen=True, slots=True)
class Shadow:
    """Some runs of a range get another one's constant.

    Parameters
    ----------
    first, last
        The first stretch of such runs.
    is_whole
        Whether no run gets the range's own.
    """

    runs: RunRange
    by: RunRange
    first: int
    last: int
    is_whole: bool

    def __str__(self) -> str:
        if self.is_whole:
            return f"{self.runs} is shadowed by {self.by}: no run gets it"
        until = "" if self.last == self.runs.last else f" to {self.last}"
        return f"{self.runs} is shadowed by {self.by} from run {self.first}{until}"


@dataclass(frozen=True, slots=True)
class DetectorCoverage:
    """What each run gets for one detector.

    Parameters
    ----------
    absent
        Types without any constant for which psana goes on with a default: name → default.
    problems
        Why a reader would not find all of this.
    """

    detector: Detector
    types: tuple[TypeCoverage, ...]
    absent: Mapping[str, str]
    mismatches: tuple[Mismatch, ...]
    problems: tuple[str, ...]


def coverage_of(
    detectors: Mapping[Detector, DetectorManifest], files: Iterable[str]
) -> tuple[DetectorCoverage, ...]:
    """What each run gets, for each detector.

    Parameters
    ----------
    files
        Paths of the version's loose files: a name that psana stumbles over is one of them.
    """
    odd = _odd_names(files)
    return tuple(
        _of_detector(key, manifest, odd.get("/".join(key), []))
        for key, manifest in detectors.items()
    )


def shadow_of(ranges: Iterable[RunRange], runs: RunRange) -> Shadow | None:
    """The range among ``ranges`` that takes runs from ``runs``, ``None`` if each gets its own."""
    inside = [
        piece
        for piece in Timeline([*ranges, runs]).pieces
        if piece.first <= runs.last and runs.first <= piece.last
    ]
    taken = [piece for piece in inside if piece.winner != runs]
    if not taken:
        return None
    first = taken[0]
    last = min(first.last, runs.last)
    return Shadow(runs, first.winner, first.first, last, len(taken) == len(inside))


def _of_detector(key: Detector, manifest: DetectorManifest, odd: list[Problem]) -> DetectorCoverage:
    group, _ = key
    types = tuple(_of_type(key, name, by_range) for name, by_range in manifest.constants.items())
    absent = {
        name: psana_default(group, name)
        for name in psana_loads(group)
        if name not in manifest.constants
    }
    problems = (*_unread(key), *map(str, odd))
    return DetectorCoverage(key, types, absent, tuple(_mismatches(manifest)), problems)


def _of_type(key: Detector, name: str, by_range: ByRange) -> TypeCoverage:
    group, source = key
    course = Course.of(by_range)
    stretches = (
        Stretch(each.first, each.last, None if each.winner is None else each.winner[0])
        for each in course.segments
    )
    live = course.at(LIVE_RUN)
    return TypeCoverage(
        name,
        tuple(stretches),
        tuple(runs for runs in by_range if runs not in course.names),
        psana_default(group, name),
        None if live is None else live[0],
        name in ami_reads(source),
    )


def _mismatches(manifest: DetectorManifest) -> Iterator[Mismatch]:
    pedestals = manifest.constants.get(_BASIS, {})
    for name, by_range in manifest.constants.items():
        if name == _BASIS or not any(constant.serials for constant in by_range.values()):
            continue
        for first, last, (mine, theirs) in side_by_side(Course.of(pedestals), Course.of(by_range)):
            if mine is not None and theirs is not None:
                panels = mine[1].serials, theirs[1].serials
                if all(panels) and panels[0] != panels[1]:
                    yield Mismatch(first, last, mine[0], name, theirs[0], panels)


def _unread(key: Detector) -> Iterator[str]:
    group, source = key
    unread = unread_folder(key)
    if unread is not None:
        yield unread
    ami_group = ami_group_of(source)
    if ami_reads(source) and group == group_of(source) and ami_group != group:
        place = f"{ami_group}/{source}" if ami_group else source
        yield f"AMI looks in {place}, which a view has when it is made with --for ami"


def _odd_names(files: Iterable[str]) -> dict[str, list[Problem]]:
    """Loose files that lie where constants do, by folder of their detector."""
    odd: dict[str, list[Problem]] = {}
    for path in files:
        parts = path.split("/")
        remark = name_remark(parts[-1]) if len(parts) == 4 else None
        if remark is not None:
            odd.setdefault("/".join(parts[:2]), []).append(Problem(path, remark))
    return odd
