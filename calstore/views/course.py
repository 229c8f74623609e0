"""What each run gets, from run 0 to the last, as stretches that sets are compared by."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TypeAlias

from calstore.model.manifests import Constant
from calstore.model.runs import END, RunRange
from calstore.views.resolve import Timeline

ByRange: TypeAlias = Mapping[RunRange, Constant]

Winner: TypeAlias = tuple[RunRange, Constant] | None
"""What a run gets, and under which name; ``None`` for nothing."""


@dataclass(frozen=True, slots=True)
class Segment:
    """Runs from ``first`` to ``last``, both included, all of which get the same."""

    first: int
    last: int
    winner: Winner


@dataclass(frozen=True, slots=True)
class Course:
    """What each run gets of one type: segments in order, without gaps, from run 0 to the end."""

    segments: Sequence[Segment]
    _firsts: list[int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_firsts", [segment.first for segment in self.segments])

    @classmethod
    def of(cls, by_range: ByRange) -> Course:
        """What psana's rule gives each run."""
        segments = []
        following = 0
        for piece in Timeline(by_range).pieces:
            if following < piece.first:
                segments.append(Segment(following, piece.first - 1, None))
            winner = (piece.winner, by_range[piece.winner])
            segments.append(Segment(piece.first, piece.last, winner))
            following = piece.last + 1
        if following <= END:
            segments.append(Segment(following, END, None))
        return cls(segments)

    def at(self, run: int) -> Winner:
        """What a run gets."""
        return self.segments[bisect_right(self._firsts, run) - 1].winner

    @property
    def names(self) -> frozenset[RunRange]:
        """The names whose constants any run gets."""
        return frozenset(each.winner[0] for each in self.segments if each.winner is not None)


def side_by_side(*courses: Course) -> Iterator[tuple[int, int, list[Winner]]]:
    """Runs in order, cut wherever any course changes, with what each course gives them."""
    edges = {END + 1}
    for course in courses:
        edges.update(segment.first for segment in course.segments)
    for first, following in pairwise(sorted(edges)):
        yield first, following - 1, [course.at(first) for course in courses]


def is_same(one: Winner, other: Winner) -> bool:
    """Whether two give the same constant; under which name of a file does not matter."""
    if one is None or other is None:
        return one is other
    return one[1].renamed() == other[1].renamed()


def runs_text(first: int, last: int) -> str:
    """Runs as people read them; they may begin beyond 9999, where no name does."""
    return f"{first}-{'end' if last == END else last}"
