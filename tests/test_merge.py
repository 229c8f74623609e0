"""The three-way merge of sets against a loop over detectors, types and runs."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import pytest
from builders import stamp
from hypothesis import assume, event, example, given, settings
from hypothesis import strategies as st
from ranges import RUNS as NEAR_ENDS
from ranges import by_brute_force, run_ranges

from calstore.errors import Invalid
from calstore.model.digest import reference_to
from calstore.model.manifests import Constant, DetectorManifest
from calstore.model.runs import END, MAX_RUN, RunRange
from calstore.repository.import_tree import import_tree
from calstore.repository.merge import load_contents, merged, put_contents
from calstore.repository.store import init_store
from calstore.store import objects
from calstore.views.merge import (
    FileConflict,
    RunConflict,
    SetContents,
    merge_lines,
    merge_sets,
    merge_type,
)
from calstore.views.resolve import Timeline, cleared, override

BEYOND = MAX_RUN + 1


def constant(label: str, serials: tuple[str, ...] = ()) -> Constant:
    return Constant(reference_to(label.encode()), serials=serials)


def parsed(by_range: Mapping[str, str]) -> dict[RunRange, Constant]:
    return {RunRange.parse(text): constant(label) for text, label in by_range.items()}


labels = st.sampled_from("ABCDE")
constants = st.builds(constant, labels, st.sampled_from([(), (), (), ("panel 1",)]))
# What some type has to begin with; names may shadow each other.
types = st.dictionaries(run_ranges(), constants, max_size=5)


# --- random edits, as the verbs make them ---------------------------------------------------


def do_override(by_range, runs, value):
    names = override(by_range, runs)
    after = {new: by_range[old] for new, old in names.items()}
    return {**after, runs: value}


def do_underlay(by_range, runs, value):
    return {**by_range, runs: value}


def do_unset(by_range, runs, value):
    try:
        return {new: by_range[old] for new, old in cleared(by_range, runs).items()}
    except Invalid:
        return by_range


def do_rename(by_range, runs, value):
    """A tool that spells all ranges anew, one for each stretch that gets the same."""
    pieces = Timeline(by_range).pieces
    if any(piece.first > MAX_RUN for piece in pieces):
        return by_range
    return {RunRange(piece.first, piece.last): by_range[piece.winner] for piece in pieces}


def do_drop(by_range, runs, value):
    """Somebody deletes a file, and what it shadowed comes to light."""
    gone = next((name for name in sorted(by_range) if name.first >= runs.first), None)
    return {name: each for name, each in by_range.items() if name != gone}


edits = st.tuples(
    st.sampled_from([do_override, do_override, do_underlay, do_unset, do_rename, do_drop]),
    run_ranges(),
    constants,
)


def edited(by_range, changes):
    for do, runs, value in changes:
        by_range = do(by_range, runs, value)
    return by_range


@st.composite
def three_sides(draw):
    """A base, and two sides that changed it: now and then in the same way, before or after."""
    base = draw(types)
    both = draw(st.lists(edits, max_size=1))
    sides = []
    for _ in range(2):
        own = draw(st.lists(edits, min_size=1, max_size=3))
        sides.append(edited(base, both + own if draw(st.booleans()) else own + both))
    if draw(st.booleans()):
        return [{**side, **of_side} for side, of_side in zip([base, *sides], RENAMED, strict=True)]
    return [base, *sides]


# In these runs nothing else begins or ends, and names merged one by one give 5005 the wrong one.
RENAMED = [
    parsed({"5000-5010": "X"}),
    parsed({"5000-5001": "Y", "5002-5010": "X"}),
    parsed({"5000-5004": "X", "5007-5010": "X"}),
]
RUNS = [*NEAR_ENDS, *range(4999, 5012)]


# --- the loop --------------------------------------------------------------------------------


def got(by_range, run):
    """What a run gets: content, file and panels, whatever the name of the file."""
    runs = by_brute_force(by_range, run)
    if runs is None:
        return None
    found = by_range[runs]
    return found.content, found.serials


def wanted(base, ours, theirs, run):
    """What a run shall get, in a list; an empty one where both changed it, each in its way."""
    before, mine, other = (got(side, run) for side in (base, ours, theirs))
    if mine == other or before == other:
        return [mine]
    return [other] if before == mine else []


def disputed_runs(base, ours, theirs):
    return {run for run in RUNS if not wanted(base, ours, theirs, run)}


def runs_of(conflicts):
    return {run for run in RUNS if any(first <= run <= last for first, last, _ in conflicts)}


def is_beyond_names(base, ours, theirs):
    """Whether runs beyond 9999 shall get something and run 9999 nothing: no name can say so."""
    last, beyond = (wanted(base, ours, theirs, run) for run in (MAX_RUN, BEYOND))
    return last == [None] and beyond not in ([None], [])


@settings(max_examples=300)
@given(three_sides())
@example((parsed({"10-end": "A"}), parsed({"5-12": "B", "13-end": "A"}), parsed({"10-end": "C"})))
@example((parsed({"10-end": "A"}), parsed({"5-12": "B", "13-end": "A"}), parsed({})))
def test_a_merge_gives_each_run_what_the_side_gives_it_that_changed_it(sides):
    merge = merge_type(*sides)
    assume(not merge.conflicts)
    event("names of its own" if set(merge.by_range) - set(sides[1]) - set(sides[2]) else "names")

    assert [[got(merge.by_range, run)] for run in RUNS] == [wanted(*sides, run) for run in RUNS]


@settings(max_examples=300)
@given(three_sides())
def test_conflicts_are_just_the_runs_that_both_changed_in_different_ways(sides):
    merge = merge_type(*sides)
    conflicts = merge.conflicts

    both_changed = [each for each in conflicts if not each[2]]
    no_name = [each for each in conflicts if each[2]]
    assert runs_of(both_changed) == disputed_runs(*sides)
    assert no_name == ([no_name[0]] if is_beyond_names(*sides) else [])
    assert all(each[:2] == (BEYOND, END) for each in no_name)
    for before, after in pairwise(both_changed):
        assert before[1] + 1 < after[0], "two stretches that are one"
    assert not conflicts or merge.by_range == sides[1]


@settings(max_examples=300)
@given(three_sides())
@example(
    [
        {**parsed({"0-9999": "A"}), **RENAMED[0]},
        {**parsed({"0-9999": "A", "0-end": "A"}), **RENAMED[1]},
        {**parsed({"0-9999": "A"}), **RENAMED[2]},
    ]
)
def test_what_both_sides_keep_stays_under_its_name_used_or_not(sides):
    _, ours, theirs = sides
    merge = merge_type(*sides)
    assume(not merge.conflicts)

    for runs in ours.keys() & theirs.keys():
        if ours[runs] == theirs[runs]:
            assert merge.by_range[runs] == ours[runs]


@settings(max_examples=300)
@given(three_sides())
@example(
    [
        {**parsed({"0-end": "A"}), **RENAMED[0]},
        {
            **parsed({"0-end": "A", "9995-end": "B", "9995-9995": "C", "9996-end": "C"}),
            **RENAMED[1],
        },
        {**parsed({"0-end": "A"}), **RENAMED[2]},
    ]
)
@example(
    [
        parsed({"0-5": "A", "0-4": "B", "5-5": "B"}),
        parsed({"0-5": "A", "0-4": "B", "5-5": "B", "7-8": "B"}),
        parsed({"0-4": "B", "5-5": "B"}),
    ]
)
@example(
    [
        parsed({"0-5": "A", "0-4": "B", "5-5": "B"}),
        parsed({"0-4": "B", "5-5": "B"}),
        parsed({"0-5": "C", "0-4": "B", "5-5": "B"}),
    ]
)
def test_an_unused_constant_that_a_side_added_is_lost_only_where_it_must_be_and_never_unsaid(sides):
    base, *both = sides
    merge = merge_type(*sides)
    assume(not merge.conflicts)
    there = set(merge.by_range.values())

    for side, other in (both, reversed(both)):
        used = {by_brute_force(side, run) for run in RUNS}
        for runs, value in side.items():
            if runs in used or base.get(runs) == value or value in there:
                continue
            event("an unused one is dropped")
            clash = other.get(runs) not in (None, base.get(runs), value)
            gets_nothing = any(wanted(*sides, run) == [None] for run in RUNS if runs.holds(run))
            assert clash or gets_nothing
            assert (runs, value) in merge.dropped
    for runs, value in merge.dropped:
        assert value not in there
        assert any(side.get(runs) == value != base.get(runs) for side in both)


@given(three_sides())
def test_the_sides_are_alike(sides):
    base, ours, theirs = sides

    one, other = merge_type(base, ours, theirs), merge_type(base, theirs, ours)

    assert one.conflicts == other.conflicts
    if not one.conflicts:
        for run in RUNS:
            assert got(one.by_range, run) == got(other.by_range, run)


@given(types, st.lists(edits, max_size=3))
def test_equal_changes_of_both_sides_and_changes_of_one_are_no_conflicts(base, changes):
    after = edited(base, changes)

    assert merge_type(base, after, after).by_range == after
    assert merge_type(base, base, after).by_range == after
    assert merge_type(base, after, base).by_range == after
    for merge in (merge_type(base, after, after), merge_type(base, after, base)):
        assert (merge.conflicts, merge.dropped) == ((), ())


# --- cases ---------------------------------------------------------------------------------


def merged_names(base, ours, theirs):
    merge = merge_type(parsed(base), parsed(ours), parsed(theirs))
    assert not merge.conflicts
    label_of = {constant(label): label for label in "ABCDS"}
    return {str(runs): label_of[value] for runs, value in sorted(merge.by_range.items())}


def test_names_stay_as_people_know_them_where_that_is_right():
    base = {"0-end": "A", "10-end": "B"}

    names = merged_names(base, {"0-end": "A", "5-20": "C", "21-end": "B"}, {**base, "30-end": "D"})

    assert names == {"0-end": "A", "5-20": "C", "21-end": "B", "30-end": "D"}


def test_runs_are_named_anew_where_names_merged_one_by_one_would_give_them_something_else():
    base = {"0-9": "A", "10-20": "B"}
    ours = {"0-9": "A", "5-11": "C", "12-20": "B"}
    theirs = {"0-9": "A", "10-14": "B", "17-20": "B"}

    assert merged_names(base, ours, theirs) == {"0-9": "A", "5-11": "C", "12-14": "B", "17-20": "B"}


def test_runs_to_the_end_that_are_named_anew_are_one_range():
    base = {"0-end": "A", "10-20": "B"}
    ours = {"0-end": "C", "5-11": "D", "12-20": "B"}
    theirs = {"0-end": "A", "10-14": "B", "17-20": "B"}

    names = merged_names(base, ours, theirs)

    assert names == {
        "0-4": "C",
        "5-11": "D",
        "12-14": "B",
        "15-16": "A",
        "17-20": "B",
        "21-end": "C",
    }


def test_a_shadowed_constant_of_both_sides_outlives_new_names():
    base = {"12-14": "S", "12-13": "A", "14-14": "A", "15-16": "A", "20-30": "B"}
    ours = {**base, "20-21": "D", "22-30": "B"}
    theirs = {"12-14": "S", "12-13": "C", "14-14": "C", "15-16": "C", "20-24": "B", "27-30": "B"}
    del ours["20-30"]

    names = merged_names(base, ours, theirs)

    assert names == {
        "12-14": "S",
        "12-13": "C",
        "14-14": "C",
        "15-16": "C",
        "20-21": "D",
        "22-24": "B",
        "27-30": "B",
    }


def test_an_underlay_that_no_run_gets_and_that_has_no_place_is_said_to_be_dropped():
    base = parsed({"10-20": "A"})
    ours = parsed({"10-20": "A", "5-9": "B", "10-25": "S", "21-25": "C"})
    theirs = parsed({"10-14": "A", "17-20": "A"})

    merge = merge_type(base, ours, theirs)

    assert got(merge.by_range, 15) is None
    assert merge.dropped == ((RunRange(10, 25), constant("S")),)


def test_a_range_renamed_on_one_side_takes_the_change_of_the_other():
    renamed = {"0-4": "A", "5-end": "A"}

    names = merged_names({"0-end": "A"}, renamed, {"0-end": "A", "7-8": "B"})

    assert names == {"0-4": "A", "5-end": "A", "7-8": "B"}


def test_what_no_file_names_can_say_is_a_conflict_beyond_9999():
    base, ours, theirs = {"0-9999": "A"}, {}, {"0-9999": "A", "0-end": "B"}

    merge = merge_type(parsed(base), parsed(ours), parsed(theirs))

    ((first, last, why),) = merge.conflicts
    assert (first, last) == (BEYOND, END)
    assert "no file name can begin beyond 9999" in why


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "disputed"),
    [
        (
            {"0-9999": "A"},
            {},
            {"0-9998": "A", "9999-9999": "B", "0-end": "C"},
            (MAX_RUN, MAX_RUN, ""),
        ),
        (
            {"0-9999": "A", "0-end": "B"},
            {"0-9999": "A", "0-end": "C"},
            {"0-9998": "A"},
            (BEYOND, END, ""),
        ),
    ],
)
def test_that_no_name_can_say_it_is_not_said_where_both_changed_it(base, ours, theirs, disputed):
    assert merge_type(parsed(base), parsed(ours), parsed(theirs)).conflicts == (disputed,)


def test_runs_beyond_9999_can_differ_from_run_9999_if_that_gets_something():
    base = {"0-end": "A", "5-9999": "B"}
    ours = {"0-end": "C", "5-9999": "B"}
    theirs = {"0-end": "A", "5-9998": "B", "9999-9999": "D", "9999-end": "A"}

    merge = merge_type(parsed(base), parsed(ours), parsed(theirs))

    answers = [got(merge.by_range, run) for run in (4, 5, 9998, 9999, BEYOND)]
    assert answers == [got(parsed({"0-end": label}), 0) for label in "CBBDC"]


def test_splitting_an_npy_file_on_one_side_is_no_change_of_the_runs_that_keep_it():
    from calstore.model.arrays import ArrayReference

    array = ArrayReference(reference_to(b"x" * 24), "float32", (2, 3))
    imported = Constant(array, name="10-30.npy", source=reference_to(b"npy"))
    base = {RunRange(10, 30): imported}
    ours = {RunRange(5, 12): constant("A"), RunRange(13, 30): imported.renamed()}
    theirs = {**base, RunRange(20, 25): constant("B")}

    merge = merge_type(base, ours, theirs)

    assert merge.conflicts == ()
    assert {str(runs) for runs in merge.by_range} == {"5-12", "13-30", "20-25"}


# --- sets ----------------------------------------------------------------------------------

EPIX = ("Epix100a::CalibV1", "XppGon.0:Epix100a.1")
OPAL = ("Camera::CalibV1", "XppEndstation.0:Opal1000.1")


def sets_of(sides):
    """Three sets from sides by detector and type."""
    return [
        SetContents(
            {
                key: DetectorManifest(types)
                for key in {key for key, _ in sides}
                if (types := {n: s[i] for (k, n), s in sides.items() if k == key and s[i]})
            }
        )
        for i in range(3)
    ]


def no_file(path, one, two, three):
    raise AssertionError(f"asked for {path}")


@given(
    st.dictionaries(
        st.tuples(st.sampled_from([EPIX, OPAL]), st.sampled_from(["pedestals", "pixel_mask"])),
        three_sides(),
    )
)
def test_a_set_is_merged_by_detector_type_and_run(sides):
    outcome = merge_sets(*sets_of(sides), no_file)

    conflicts = {}
    for each in outcome.conflicts:
        assert isinstance(each, RunConflict)
        conflicts.setdefault((each.detector, each.type_name), []).append(
            (each.first, each.last, each.why)
        )
    for (key, name), three in sides.items():
        assert tuple(conflicts.pop((key, name), ())) == merge_type(*three).conflicts
        if not outcome.conflicts:
            manifest = outcome.result.detectors.get(key, DetectorManifest())
            by_range = manifest.constants.get(name, {})
            assert [[got(by_range, run)] for run in RUNS] == [wanted(*three, run) for run in RUNS]
    assert conflicts == {}


def file_set(files):
    return SetContents({}, {path: reference_to(text) for path, text in files.items()})


@pytest.mark.parametrize(
    ("ours", "theirs", "result"),
    [
        ({"a": b"1"}, {"a": b"2"}, {"a": b"2"}),
        ({"a": b"2"}, {"a": b"1"}, {"a": b"2"}),
        ({"a": b"2"}, {"a": b"2"}, {"a": b"2"}),
        ({}, {"a": b"1"}, {}),
        ({"a": b"1"}, {}, {}),
        ({"a": b"1", "b": b"x"}, {"a": b"1", "c": b"y"}, {"a": b"1", "b": b"x", "c": b"y"}),
    ],
)
def test_a_loose_file_is_as_the_side_has_it_that_changed_it(ours, theirs, result):
    outcome = merge_sets(file_set({"a": b"1"}), file_set(ours), file_set(theirs), no_file)

    assert outcome.conflicts == ()
    assert outcome.result == file_set(result)


@pytest.mark.parametrize("theirs", [{}, {"a": b"3"}])
def test_a_loose_file_that_both_changed_in_different_ways_is_a_conflict(theirs):
    outcome = merge_sets(
        file_set({"a": b"1"}), file_set({"a": b"2"}), file_set(theirs), lambda *_: None
    )

    assert outcome.conflicts == (FileConflict("a"),)


def test_a_file_of_one_side_in_the_place_of_the_others_folder_is_a_conflict():
    outcome = merge_sets(file_set({}), file_set({"a": b"1"}), file_set({"a/b": b"2"}), no_file)

    (conflict,) = outcome.conflicts
    assert str(conflict) == "a: a file of one side is a folder, of a/b, on the other"


def test_a_loose_file_of_one_side_in_the_place_of_the_others_constant_is_a_conflict():
    path = f"{'/'.join(OPAL)}/pedestals/0005-0010.data"
    named = Constant(reference_to(b"1"), name="0005-0010.data")
    theirs = SetContents({OPAL: DetectorManifest({"pedestals": {RunRange(5, 10): named}})})

    outcome = merge_sets(SetContents(), file_set({path: b"2"}), theirs, no_file)

    (conflict,) = outcome.conflicts
    assert isinstance(conflict, FileConflict)
    assert conflict.path == path


def test_conflicts_say_where_they_are_in_the_form_that_commands_take():
    whole = RunConflict(OPAL, "pedestals", 0, END)

    assert str(whole) == "XppEndstation.0:Opal1000.1 pedestals 0-end"
    assert str(RunConflict(OPAL, "pedestals", 5, 20)).endswith(" pedestals 5-20")
    assert str(RunConflict(OPAL, "pedestals", BEYOND, END, "no name")).endswith(
        "pedestals 10000-end: no name"
    )


# --- HISTORY --------------------------------------------------------------------------------

texts = st.lists(st.sampled_from([b"a", b"b", b"c", b"a\r", b"", b"\xff"]), max_size=8).map(
    b"\n".join
)


def contains_in_order(whole, part):
    rest = iter(whole)
    return all(line in rest for line in part)


def lines_of(text):
    return (text if text.endswith(b"\n") or not text else text + b"\n").split(b"\n")[:-1]


@given(texts, texts, texts)
def test_a_merged_history_has_the_lines_of_both_in_order_and_as_often(before, one, two):
    mine, other = before + one, before + two

    lines = lines_of(merge_lines(mine, other))

    assert contains_in_order(lines, lines_of(mine))
    assert contains_in_order(lines, lines_of(other))
    assert len(lines) <= len(lines_of(mine)) + len(lines_of(other))


@given(texts)
def test_equal_histories_are_one(text):
    assert lines_of(merge_lines(text, text)) == lines_of(text)


def test_new_lines_of_both_follow_what_both_had():
    lines = [b"one\n", b"twice\n", b"twice\n"]
    old = b"".join(lines)

    assert merge_lines(old + b"mine\n", old + b"other\n") == old + b"mine\nother\n"


def test_the_merged_history_of_a_store_is_readable_and_nothing_is_stored_for_a_look(small_tree):
    store = init_store("memory:", "0" * 32)
    import_tree(store, small_tree, "cxis0113/main", stamp())
    base = load_contents(store, store["cxis0113/main"].manifest)
    (path,) = (path for path in base.files if path.endswith("HISTORY"))
    old = objects.get(store.backend, objects.BLOBS, base.files[path])
    sides = [
        SetContents(
            base.detectors,
            {**base.files, path: objects.put(store.backend, objects.BLOBS, old + line)},
        )
        for line in (b"mine\n", b"other\n")
    ]
    before = set(store.backend.list(""))

    looked_at = merged(store, base, *sides, keep=False)
    assert set(store.backend.list("")) == before
    outcome = merged(store, base, *sides)
    put_contents(store, outcome.result)

    assert looked_at == outcome
    assert outcome.conflicts == ()
    data = objects.get(store.backend, objects.BLOBS, outcome.result.files[path])
    assert data == old + b"mine\nother\n"
