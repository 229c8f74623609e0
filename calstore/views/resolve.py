"""psana's selection rule, and how to change what some runs get without changing others.

The rule (lcls-psana/PSCalib src/CalibFileFinder.py:119-128,377-408): among the ranges that
hold the run, the largest first run wins, and among these the smallest last run.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import pairwise

from calstore.errors import Invalid
from calstore.model.runs import END, MAX_RUN, RunRange


@dataclass(frozen=True, slots=True)
class Piece:
    """Runs from ``first`` to ``last``, both included, all of which get ``winner``."""

    first: int
    last: int
    winner: RunRange


class Timeline:
    """Which of some run ranges each run gets; built once, asked in logarithmic time.

    ``pieces`` are in order, ``winners`` the ranges that any run gets: others shadow the rest.
    """

    def __init__(self, ranges: Iterable[RunRange]) -> None:
        self.pieces = tuple(_pieces(ranges))
        self.winners = frozenset(piece.winner for piece in self.pieces)
        self._firsts = [piece.first for piece in self.pieces]

    def at(self, run: int) -> RunRange | None:
        """The range that the run gets, ``None`` where psana would use its default."""
        index = bisect_right(self._firsts, run) - 1
        if index < 0 or run > self.pieces[index].last:
            return None
        return self.pieces[index].winner


def override(ranges: Iterable[RunRange], new: RunRange) -> dict[RunRange, RunRange]:
    """The names under which ``new`` wins in its runs and all other runs get what they got.

    Returns
    -------
    dict
        Name → the one of ``ranges`` whose constant it holds. ``new`` itself is not in it.

    Notes
    -----
    A range that begins before ``new`` is beaten in ``new`` and stays; one that begins after
    it stays too. One that begins inside ``new`` would win there, so it gives way: it is named
    anew for just those later runs that it won. To cut only its first run is not enough: two
    that begin inside would then begin together, and the shorter one would win.
    """
    ranges = list(ranges)
    kept = [runs for runs in ranges if not _gives_way(runs, new)]
    names = {runs: runs for runs in kept}
    if new.last == END:
        return names
    for piece in Timeline(ranges).pieces:
        if piece.last > new.last and _gives_way(piece.winner, new):
            first = max(piece.first, new.last + 1)
            if first > MAX_RUN:
                # No name begins beyond 9999. Beginning earlier is safe for an open range: up
                # to 9999 all others begin later, or together with it and end sooner.
                first = new.last + 1 if new.last < MAX_RUN else new.first
            names[RunRange(first, piece.last)] = piece.winner
    return names


def cleared(ranges: Iterable[RunRange], gone: RunRange) -> dict[RunRange, RunRange]:
    """The names under which the runs of ``gone`` get nothing and all others get what they got.

    Returns
    -------
    dict
        Name → the one of ``ranges`` whose constant it holds. A range that holds none of the
        runs keeps its name; others are named anew for just the later or earlier runs they won.

    Raises
    ------
    Invalid
        When no names can say so: none begins beyond 9999.
    """
    ranges = list(ranges)
    names = {runs: runs for runs in ranges if runs.last < gone.first or gone.last < runs.first}
    beyond: RunRange | None = None
    for piece in Timeline(ranges).pieces:
        if piece.winner in names and names[piece.winner] == piece.winner:
            continue
        for first, last in (
            (piece.first, min(piece.last, gone.first - 1)),
            (max(piece.first, gone.last + 1), piece.last),
        ):
            if first > MAX_RUN and first <= last:
                beyond = piece.winner
            elif first <= last:
                names[RunRange(first, last)] = piece.winner
    if beyond is not None:
        names[beyond_all(names, gone)] = beyond
    return names


def beyond_all(names: Iterable[RunRange], gone: RunRange) -> RunRange:
    """A name by which a constant wins no run up to 9999 and all beyond, among these names.

    It begins together with the name that wins run 9999, which ends sooner and so goes first.
    """
    last = Timeline(names).at(MAX_RUN)
    if last is None:
        raise Invalid(
            f"no file name can begin beyond run {MAX_RUN}, so runs beyond it cannot keep a "
            f"constant that {gone} loses; write {gone.first}-end"
        )
    return RunRange(last.first, END)


def _gives_way(runs: RunRange, new: RunRange) -> bool:
    if runs.first == new.first:
        return runs.last <= new.last
    return new.first < runs.first <= new.last


def _pieces(ranges: Iterable[RunRange]) -> list[Piece]:
    starting: dict[int, list[RunRange]] = {}
    bounds: set[int] = set()
    for runs in ranges:
        starting.setdefault(runs.first, []).append(runs)
        bounds.update((runs.first, runs.last + 1))
    open_ranges: list[tuple[int, int, RunRange]] = []
    pieces: list[Piece] = []
    edges = sorted(bounds)
    for first, following in pairwise(edges):
        for runs in starting.get(first, ()):
            heappush(open_ranges, (-runs.first, runs.last, runs))
        while open_ranges and open_ranges[0][2].last < first:
            heappop(open_ranges)
        if not open_ranges:
            continue
        winner = open_ranges[0][2]
        if pieces and pieces[-1].winner == winner and pieces[-1].last == first - 1:
            pieces[-1] = Piece(pieces[-1].first, following - 1, winner)
        else:
            pieces.append(Piece(first, following - 1, winner))
    return pieces
