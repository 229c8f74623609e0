"""Run ranges to try things on, and psana's rule as a loop, for every run that can matter."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import strategies as st

from calstore.model.runs import END, MAX_RUN, RunRange

LIVE = 0x7FFFFFFF
"""What live AMI asks for."""

RUNS = [*range(14), *range(MAX_RUN - 6, MAX_RUN + 4), LIVE]
"""All runs between which the ranges below can begin or end, and some beyond."""

# Few bounds, so that ranges overlap, touch and begin together; and both ends of what can be named.
bounds = st.sampled_from([*range(12), *range(MAX_RUN - 4, MAX_RUN + 1)])


@st.composite
def run_ranges(draw: st.DrawFn) -> RunRange:
    """A range that a file's name can spell."""
    first = draw(bounds)
    last = draw(st.one_of(st.just(END), bounds.filter(lambda run: run >= first)))
    return RunRange(first, last)


sets_of_ranges = st.sets(run_ranges(), max_size=9)


def by_brute_force(ranges: Iterable[RunRange], run: int) -> RunRange | None:
    """The reference's words: the largest begin wins; among equal begins the smallest end."""
    ordered = sorted(ranges, key=lambda runs: (runs.first, -runs.last))
    for runs in reversed(ordered):
        if runs.first <= run <= runs.last:
            return runs
    return None
