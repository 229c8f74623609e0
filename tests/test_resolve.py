"""psana's rule, and override, against a loop over all runs."""

from itertools import pairwise

from hypothesis import example, given
from ranges import LIVE, RUNS, by_brute_force, run_ranges, sets_of_ranges

from calstore.model.runs import END, MAX_RUN, RunRange
from calstore.views.resolve import Timeline, override


@given(sets_of_ranges)
def test_every_run_gets_what_a_walk_over_the_sorted_names_gives(ranges):
    timeline = Timeline(ranges)

    assert [timeline.at(run) for run in RUNS] == [by_brute_force(ranges, run) for run in RUNS]


@given(sets_of_ranges)
def test_pieces_are_in_order_apart_and_as_long_as_can_be(ranges):
    pieces = Timeline(ranges).pieces

    for before, after in pairwise(pieces):
        assert before.last < after.first
        assert before.last + 1 < after.first or before.winner != after.winner


@given(sets_of_ranges)
def test_the_winners_are_the_ranges_that_some_run_gets(ranges):
    every_run = {by_brute_force(ranges, run) for run in RUNS}

    assert Timeline(ranges).winners == every_run - {None}


@given(sets_of_ranges, run_ranges())
@example({RunRange(10, END), RunRange(12, END)}, RunRange(5, 20))
@example({RunRange(10, END), RunRange(12, MAX_RUN)}, RunRange(5, 20))
@example({RunRange(10, END)}, RunRange(5, MAX_RUN))
@example({RunRange(5, 9), RunRange(5, END)}, RunRange(5, 7))
@example({RunRange(0, END), RunRange(5, END), RunRange(7, END)}, RunRange(0, END))
def test_override_changes_what_its_runs_get_and_nothing_else(ranges, new):
    names = override(ranges, new)
    after = Timeline([*names, new])

    for run in RUNS:
        winner = after.at(run)
        if new.holds(run):
            assert winner == new
        else:
            was = by_brute_force(ranges, run)
            assert (None if winner is None else names[winner]) == was


@given(sets_of_ranges, run_ranges())
def test_override_keeps_the_name_of_every_range_that_need_not_give_way(ranges, new):
    names = override(ranges, new)

    for runs in ranges:
        if not new.first <= runs.first <= new.last:
            assert names.get(runs) == runs or runs == RunRange(new.first, END)


def test_the_table_of_the_reference_is_reproduced():
    ranges = [RunRange.parse(text) for text in ("0-end", "5-10", "5-end", "8-9", "10-20")]
    timeline = Timeline(ranges)

    got = {run: str(timeline.at(run)) for run in (4, 5, 8, 10, 21, 10_000)}

    assert got == {
        4: "0-end",
        5: "5-10",
        8: "8-9",
        10: "10-20",
        21: "5-end",
        10_000: "5-end",
    }


def test_a_gap_gets_nothing():
    timeline = Timeline([RunRange(3, 5), RunRange(8, END)])

    assert timeline.at(6) is None


def test_live_ami_gets_an_open_range_but_not_one_that_ends_at_9999():
    assert Timeline([RunRange(0, END)]).at(LIVE) == RunRange(0, END)
    assert Timeline([RunRange(0, MAX_RUN)]).at(LIVE) is None
