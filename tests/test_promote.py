"""promote and copy against models; what takes part in a merge, races, and calls that fail."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from itertools import pairwise
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
from backends import FailingBackend, copied
from builders import GEOMETRY, OPAL, ZYLA, damages, set_digest, small_files, stamp, write_files
from hypothesis import event, given, settings
from hypothesis import strategies as st
from ranges import RUNS, by_brute_force, run_ranges, sets_of_ranges
from test_races import raced

from calstore.errors import CalstoreError, Conflict, Corrupt, Invalid, NotFound
from calstore.model.digest import reference_to
from calstore.model.manifests import Constant, DetectorManifest, SetManifest
from calstore.model.names import RefName
from calstore.model.runs import END, RunRange
from calstore.repository.adopt import adopt
from calstore.repository.branch import delete_ref, fork, tag
from calstore.repository.change import put_set
from calstore.repository.commit import commit
from calstore.repository.copy import copy_constants
from calstore.repository.import_tree import import_tree
from calstore.repository.materialize import materialize
from calstore.repository.promote import promote
from calstore.repository.refs import log
from calstore.repository.set_constant import set_constant
from calstore.repository.store import Store, init_store
from calstore.repository.undo import undo
from calstore.repository.unset import unset
from calstore.store import logs, objects
from calstore.views.difference import differing_runs
from calstore.views.merge import SetContents

MAIN, OTHER = "cxis0113/main", "cxin4116/main"
MINE, YOURS = "cxis0113/users/wilson/try", "cxis0113/users/brown/try"
TO_END = RunRange(0, END)


@pytest.fixture
def store(small_tree: Path, kept_place: str) -> Store:
    store = init_store(kept_place, "0" * 32)
    import_tree(store, small_tree, MAIN, stamp())
    fork(store, MAIN, MINE, stamp())
    return store


def text(label: object) -> bytes:
    return f"# {label}\n".encode() + GEOMETRY


def put(store: Store, ref: str, label: object, runs: str, source: str = "Zyla") -> None:
    set_constant(store, ref, source, "geometry", RunRange.parse(runs), text(label), stamp())


def got(store: Store, ref: str, run: int, source: str = "Zyla") -> str:
    """The label of the geometry that a run gets."""
    data = store[ref][source].at(run)["geometry"].data
    return "as imported" if data == GEOMETRY else data.split()[1].decode()


# --- what is an ancestor -----------------------------------------------------------------------


def test_a_promote_into_a_ref_that_stood_still_gives_it_the_very_set(store):
    put(store, MINE, "own", "5-9")

    done = promote(store, MINE, MAIN, stamp("reviewed"))

    assert (done.how, done.changed) == ("fast-forward", True)
    assert set_digest(store, MAIN) == set_digest(store, MINE)
    assert (done.record.operation, done.record.stamp.why) == ("promote", "reviewed")
    assert [parent.log for parent in done.record.parents] == [f"refs/{MAIN}", f"refs/{MINE}"]


def test_a_promote_keeps_what_others_changed_meanwhile(store):
    put(store, MAIN, "main", "20-29")
    put(store, MINE, "own", "5-9")

    done = promote(store, MINE, MAIN, stamp())

    assert done.how == "merge"
    assert [got(store, MAIN, run) for run in (1, 5, 20)] == ["as imported", "own", "main"]
    (change,) = done.changes
    assert (change.runs, change.kind) == ("5-9", "changed")


def test_a_second_promote_starts_from_the_first(store):
    put(store, MINE, "one", "5-9")
    promote(store, MINE, MAIN, stamp())
    put(store, MAIN, "main", "7-7")
    put(store, MINE, "two", "8-9")

    done = promote(store, MINE, MAIN, stamp())

    assert [base.name for base in done.bases] == [f"{MINE}@2"]
    assert [got(store, MAIN, run) for run in (5, 7, 8)] == ["one", "main", "two"]


def test_what_is_contained_already_adds_no_record(store):
    put(store, MINE, "own", "5-9")
    promote(store, MINE, MAIN, stamp())
    fork(store, MAIN, YOURS, stamp())

    for sandbox in (MINE, YOURS, f"{MINE}@1"):
        done = promote(store, sandbox, MAIN, stamp())
        assert (done.how, done.changed, done.record.number) == ("contained", False, 2)


def test_a_sandbox_whose_change_the_target_made_too_is_taken_in(store):
    # Else the sandbox could not take its change back later: it would look like no change.
    put(store, MINE, "same", "5-9")
    put(store, MAIN, "same", "5-9")
    promote(store, MINE, MAIN, stamp())
    undo(store, MINE, stamp())

    promote(store, MINE, MAIN, stamp())

    assert got(store, MAIN, 5) == "as imported"


def test_a_conflict_lists_just_the_runs_and_moves_nothing(store):
    put(store, MAIN, "main", "8-20")
    put(store, MINE, "own", "5-9")
    before = set(store.backend.list(""))

    with pytest.raises(Conflict) as caught:
        promote(store, MINE, MAIN, stamp())

    assert str(caught.value).splitlines()[1:] == ["  CxiDg2.0:Zyla.1 geometry 8-9"]
    assert set(store.backend.list("")) == before


def test_a_conflict_is_settled_by_a_copy_either_way(store):
    for winner, loser in ((MINE, MAIN), (MAIN, MINE)):
        put(store, MAIN, f"main-{winner[-4:]}", "8-20")
        put(store, MINE, f"own-{winner[-4:]}", "5-9")
        runs = RunRange(8, 9)
        copy_constants(store, winner, "Zyla", ["geometry"], loser, stamp(), runs=runs)

        promote(store, MINE, MAIN, stamp())

        assert got(store, MAIN, 8) == got(store, winner, 8)
        assert got(store, MAIN, 10).startswith("main")


def test_a_copy_is_no_ancestor_so_nothing_of_the_other_ref_is_taken_back(store):
    put(store, MAIN, "main", "20-29")
    copy_constants(store, MAIN, "Opal", ["pedestals"], MINE, stamp(), runs=RunRange(3, 4))
    copy_constants(store, MAIN, "Zyla", ["geometry"], MINE, stamp(), runs=RunRange(22, 22))

    done = promote(store, MINE, MAIN, stamp())

    assert [base.name for base in done.bases] == [f"{MAIN}@1"]
    assert got(store, MAIN, 20) == "main"


def test_a_view_of_the_target_adopted_in_the_sandbox_is_no_ancestor(store, tmp_path):
    put(store, MAIN, "main", "20-29")
    materialize(store, store[MAIN], tmp_path / "view")
    (tmp_path / "view" / ZYLA / "geometry" / "5-9.data").write_bytes(text("hand"))
    adopt(store, tmp_path / "view", MINE, stamp())
    assert got(store, MINE, 20) == "as imported"

    promote(store, MINE, MAIN, stamp())

    assert [got(store, MAIN, run) for run in (5, 20)] == ["hand", "main"]


def test_a_view_adopted_in_a_new_ref_descends_from_what_the_view_was(store, tmp_path):
    materialize(store, store[MAIN], tmp_path / "view")
    (tmp_path / "view" / ZYLA / "geometry" / "5-9.data").write_bytes(text("hand"))
    adopt(store, tmp_path / "view", YOURS, stamp())
    put(store, MAIN, "main", "20-29")

    promote(store, YOURS, MAIN, stamp())

    assert [got(store, MAIN, run) for run in (5, 20)] == ["hand", "main"]


def test_an_adopt_says_what_it_leaves_out(store, tmp_path):
    for runs in ("10-20", "21-25"):
        set_constant(store, MAIN, "Zyla", "center", RunRange.parse(runs), text(1), stamp())
    materialize(store, store[MAIN], tmp_path / "view")
    set_constant(store, MAIN, "Zyla", "center", RunRange(10, 25), text(2), stamp(), underlay=True)
    folder = tmp_path / "view" / ZYLA / "center"
    (folder / "10-20.data").rename(folder / "10-14.data")
    (folder / "17-20.data").write_bytes(text(1))

    adopted = adopt(store, tmp_path / "view", MAIN, stamp())

    assert {str(runs) for runs in store[MAIN]["Zyla"].manifest.constants["center"]} == {
        *("10-14", "17-20", "21-25")
    }
    assert [str(problem) for problem in adopted.problems] == [
        f"{ZYLA}/center/10-25.data: no run got it: it could not stay unused, and is left out"
    ]


def test_what_the_target_has_undone_stays_undone_and_is_told(store):
    put(store, MINE, "bad", "5-9")
    promote(store, MINE, MAIN, stamp())
    undo(store, MAIN, stamp())
    again = promote(store, MINE, MAIN, stamp())
    put(store, MINE, "good", "30-39")

    promote(store, MINE, MAIN, stamp())

    assert again.how == "contained"
    assert again.undone is not None
    assert again.undone.name == f"{MAIN}@3"
    assert [got(store, MAIN, run) for run in (5, 30)] == ["as imported", "good"]


def test_a_name_that_was_deleted_and_made_again_has_no_part_of_its_old_life(store):
    put(store, MINE, "old", "5-9")
    promote(store, MINE, MAIN, stamp())
    undo(store, MAIN, stamp())
    delete_ref(store, MINE, stamp())
    fork(store, MAIN, MINE, stamp())
    put(store, MINE, "new", "7-12")

    done = promote(store, MINE, MAIN, stamp())

    assert [base.name for base in done.bases] == [f"{MAIN}@3"]
    assert [got(store, MAIN, run) for run in (5, 7)] == ["as imported", "new"]


def test_a_name_made_again_from_an_older_record_takes_back_nothing_that_was_promoted(store):
    put(store, MINE, "old", "5-9")
    promote(store, MINE, MAIN, stamp())
    delete_ref(store, MINE, stamp())
    fork(store, f"{MAIN}@1", MINE, stamp())
    put(store, MINE, "new", "30-39")

    promote(store, MINE, MAIN, stamp())

    assert [got(store, MAIN, run) for run in (5, 30)] == ["old", "new"]


def test_a_deleted_sandbox_that_is_back_can_be_promoted(store):
    put(store, MINE, "own", "5-9")
    delete_ref(store, MINE, stamp())
    undo(store, MINE, stamp())

    done = promote(store, MINE, MAIN, stamp())

    assert [base.name for base in done.bases] == [f"{MAIN}@1"]
    assert got(store, MAIN, 5) == "own"


def test_two_refs_that_took_each_other_in_at_once_merge_as_if_one_after_the_other(store):
    # Each base alone would bring back what the other side changed on purpose.
    put(store, MAIN, "main", "5-5")
    put(store, MINE, "mine", "8-8")
    promote(store, f"{MINE}@2", MAIN, stamp())
    promote(store, f"{MAIN}@2", MINE, stamp())
    put(store, MAIN, "main-2", "8-8")
    put(store, MINE, "mine-2", "5-5")
    put(store, MAIN, "main-3", "20-20")

    done = promote(store, MINE, MAIN, stamp())

    assert [base.name for base in done.bases] == [f"{MAIN}@2", f"{MINE}@2"]
    assert [got(store, MAIN, run) for run in (5, 8, 20)] == ["mine-2", "main-2", "main-3"]


def test_a_dry_run_tells_the_same_and_stores_nothing(store, small_tree, tmp_path):
    history = small_tree / OPAL / "pedestals" / "HISTORY"
    for ref in (MAIN, MINE):
        history.write_bytes(history.read_bytes() + f"file:0-end.data  user:{ref}\n".encode())
        import_tree(store, small_tree, ref, stamp())
    put(store, MINE, "own", "5-9")
    before = set(store.backend.list(""))

    dry = promote(store, MINE, MAIN, stamp(), dry_run=True)
    assert set(store.backend.list("")) == before
    done = promote(store, MINE, MAIN, stamp())

    assert (dry.changed, dry.record.number, done.record.number) == (False, 2, 3)
    assert (dry.how, dry.bases, dry.changes) == (done.how, done.bases, done.changes)
    assert [change.kind for change in dry.changes] == ["changed", "changed"]


@pytest.mark.parametrize("dry_run", [False, True])
def test_what_cannot_be_promoted_is_refused(store, small_tree, dry_run):
    import_tree(store, small_tree, OTHER, stamp())
    tag(store, MAIN, "cxis0113/published", stamp())
    delete_ref(store, MINE, stamp())
    refused = [
        (OTHER, MAIN, Invalid, "share no history"),
        (f"{MAIN}@1", MAIN, Invalid, f"undo {MAIN} --to 1"),
        (MAIN, "cxis0113/published", Invalid, "is a tag"),
        (f"{MINE}@1", "cxis0113/none", NotFound, "there is no ref cxis0113/none"),
        (MINE, MAIN, NotFound, "was deleted"),
        (f"{MINE}@1", f"{MAIN}@1", Invalid, "name the ref"),
        (str(store[MAIN].digest), MAIN, Invalid, "has no history"),
    ]
    before = set(store.backend.list(""))

    for sandbox, target, kind, says in refused:
        with pytest.raises(kind, match=re.escape(says)):
            promote(store, sandbox, target, stamp(), dry_run=dry_run)
    assert set(store.backend.list("")) == before


def test_a_history_with_a_hole_is_no_reason_to_guess(store):
    put(store, MINE, "own", "5-9")
    put(store, MINE, "own", "6-9")
    broken = copied(store.backend)
    broken.delete(f"refs/{MINE}/00000002")

    with pytest.raises(Corrupt, match="00000002 is gone"):
        promote(Store(broken, store.id), MINE, MAIN, stamp())


def test_another_record_in_a_parents_place_is_damage(store):
    swapped = Store(copied(store.backend), store.id)
    put(swapped, MINE, "another", "5-9")
    put(store, MINE, "own", "5-9")
    put(store, MINE, "own", "6-9")
    broken, key = copied(store.backend), f"refs/{MINE}/00000002"
    broken.delete(key)
    broken.create(key, swapped.backend.get(key))

    with pytest.raises(Corrupt, match=f"is not the record that {MINE}@3 names"):
        promote(Store(broken, store.id), MINE, MAIN, stamp())


# --- a model: each run of each record has a value, and knows all that it had before ------------

REFS = (MAIN, MINE, YOURS)
SOME_RUNS = range(12)
sets = st.tuples(st.just("set"), st.sampled_from(REFS), st.sampled_from(SOME_RUNS))
# Of records that are not the newest too, so that refs take in each other at once.
promotes = st.tuples(
    st.just("promote"), st.permutations(REFS).map(lambda refs: refs[:2]), st.integers(0, 2)
)
histories = st.lists(st.one_of(sets, promotes), min_size=12, max_size=40)


class Model:
    """What each run of each record gets, and every value that it or an ancestor ever got."""

    def __init__(self) -> None:
        start = {run: ("as imported", frozenset({"as imported"})) for run in SOME_RUNS}
        self.records = {ref: [start] for ref in REFS}

    def set(self, ref, runs, label):
        old = self.records[ref][-1]
        new = {run: (label, old[run][1] | {label}) for run in runs}
        self.records[ref].append({**old, **new})

    def promote(self, source, back, target):
        """The runs in dispute; a new record if there are none and the source has anything new."""
        theirs = self.records[source][-1 - back]
        ours = self.records[target][-1]
        merged, disputed = {}, []
        for run in SOME_RUNS:
            (mine, known), (other, other_known) = ours[run], theirs[run]
            if mine != other and mine not in other_known and other not in known:
                disputed.append(run)
            value = other if mine in other_known else mine
            merged[run] = (value, known | other_known)
        if not disputed:
            self.records[target].append(merged)
        return disputed


@settings(max_examples=60)
@given(histories)
def test_any_history_of_sets_and_promotes_gives_each_run_the_last_change_that_was_taken_in(doing):
    store = init_store("memory:", "0" * 32)
    start = Constant(objects.put(store.backend, objects.BLOBS, GEOMETRY))
    commit_types(store, MAIN, {"geometry": {TO_END: start}})
    fork(store, MAIN, MINE, stamp())
    fork(store, MAIN, YOURS, stamp())
    model = Model()

    for number, (what, who, where) in enumerate(doing):
        if what == "set":
            runs = range(where, min(where + 2, len(SOME_RUNS)))
            put(store, who, number, f"{runs[0]}-{runs[-1]}", "Zyla")
            model.set(who, runs, str(number))
            continue
        source, target = who
        back = min(where, len(model.records[source]) - 1)
        name = f"{source}@{len(model.records[source]) - back}"
        before = [got(store, target, run) for run in SOME_RUNS]
        try:
            done = promote(store, name, target, stamp())
        except Conflict as error:
            event("conflict")
            disputed = {run for run in SOME_RUNS if is_listed(run, str(error))}
            assert disputed == set(model.promote(source, back, target))
            continue
        event(f"{done.how} from {len(done.bases)} base(s)")
        assert model.promote(source, back, target) == []
        if not done.changed:
            model.records[target].pop()
            assert before == [model.records[target][-1][run][0] for run in SOME_RUNS]
    for ref in REFS:
        for number, record in enumerate(model.records[ref], start=1):
            values = [got(store, f"{ref}@{number}", run) for run in SOME_RUNS]
            assert values == [record[run][0] for run in SOME_RUNS]


def is_listed(run: int, message: str) -> bool:
    ranges = [RunRange.parse(line.split()[-1]) for line in message.splitlines()[1:]]
    return any(runs.holds(run) for runs in ranges)


# --- what is told, against a loop over the runs -----------------------------------------------


@given(sets_of_ranges, sets_of_ranges, st.booleans())
def test_what_is_told_of_a_type_is_what_its_runs_get_otherwise(one, other, is_same_kind):
    before = labelled(one, "a")
    after = labelled(other, "a" if is_same_kind else "b")
    sides = [
        SetContents({tuple(ZYLA.split("/")): DetectorManifest({"pedestals": side})} if side else {})
        for side in (before, after)
    ]

    told = list(differing_runs(*sides))

    def kind(run):
        mine, theirs = (
            None if (winner := by_brute_force(side, run)) is None else side[winner]
            for side in (before, after)
        )
        if mine == theirs:
            return None
        return "added" if mine is None else "removed" if theirs is None else "changed"

    runs_told = [each for each in told if each.kind != "unused"]
    for run in RUNS:
        found = [each.kind for each in runs_told if each.first <= run <= each.last]
        assert found == ([] if kind(run) is None else [kind(run)])
    for this, following in pairwise(runs_told):
        assert this.last + 1 < following.first or this.kind != following.kind
    used = {by_brute_force(side, run) for side in (before, after) for run in RUNS}
    assert {(each.first, each.last) for each in told if each.kind == "unused"} == {
        (runs.first, runs.last)
        for runs in {*before, *after} - used
        if before.get(runs) != after.get(runs)
    }


# --- copy against a loop over the runs -----------------------------------------------------------


def commit_types(store: Store, ref: str, types, source: str = ZYLA) -> None:
    """A first record of a ref that has these constants of a detector."""
    group, name = source.split("/")
    detectors = {}
    if types:
        data = DetectorManifest(types).encoded()
        detectors[group, name] = objects.put(store.backend, objects.MANIFESTS, data)
    manifest = put_set(store, SetManifest(detectors))
    commit(
        store, RefName(ref), manifest, base=None, stamp=stamp(), operation="import", what="import"
    )


def labelled(ranges, name: str):
    return {
        runs: Constant(reference_to(f"{name} {number % 3}".encode()), serials=("panel 1",))
        for number, runs in enumerate(sorted(ranges))
    }


@settings(max_examples=300)
@given(
    sets_of_ranges.filter(bool),
    sets_of_ranges,
    st.one_of(st.just(TO_END), run_ranges()),
    st.one_of(st.none(), st.sampled_from(RUNS)),
)
def test_a_copy_gives_its_runs_what_the_other_version_does_and_all_others_what_they_got(
    theirs, ours, runs, from_run
):
    store = init_store("memory:", "0" * 32)
    source, target = labelled(theirs, "theirs"), labelled(ours, "ours")
    commit_types(store, OTHER, {"pedestals": source})
    if target:
        commit_types(store, MAIN, {"pedestals": target})

    def given_by_source(run):
        winner = by_brute_force(source, run if from_run is None else from_run)
        return None if winner is None or not runs.holds(run) else source[winner]

    try:
        copy_constants(
            store, OTHER, "Zyla", ["pedestals"], MAIN, stamp(), runs=runs, from_run=from_run
        )
    except NotFound:
        assert all(given_by_source(run) is None for run in RUNS)
        return

    after = store[MAIN]["Zyla"].manifest.constants["pedestals"]
    for run in RUNS:
        before = by_brute_force(target, run)
        kept = None if before is None else target[before]
        winner = by_brute_force(after, run)
        assert (None if winner is None else after[winner]) == (given_by_source(run) or kept)


# --- races ---------------------------------------------------------------------------------------

WRITERS, MOVES = 8, 4


@pytest.fixture
def shared(memory_path: Path, request: pytest.FixtureRequest) -> Store:
    folder = memory_path / request.node.name
    write_files(folder / "calib", small_files())
    store = init_store(folder / "store", "0" * 32)
    import_tree(store, folder / "calib", MAIN, stamp())
    for writer in range(WRITERS):
        fork(store, MAIN, sandbox_of(writer), stamp())
    return store


def sandbox_of(writer: int) -> str:
    return f"cxis0113/users/wilson/race-{writer}"


def _promote_many(store: Store, writer: int, barrier: Barrier) -> list[bytes]:
    """Every other one sets in the shared ref; the others set in a sandbox, and promote it."""
    barrier.wait(60)
    mine = []
    for move in range(MOVES):
        one = stamp()
        run = 10 + writer * MOVES + move
        ref = MAIN if writer % 2 else sandbox_of(writer)
        values = text(f"{writer}-{move}")
        set_constant(store, ref, "Zyla", "geometry", RunRange(run, run), values, one)
        if ref != MAIN:
            one = stamp()
            assert promote(store, ref, MAIN, one).changed
        mine.append(one.writer)
    return mine


def test_promotes_and_sets_that_race_for_one_ref_all_land(shared):
    told = raced(_promote_many, shared, WRITERS)

    records = list(log(shared, MAIN))
    assert len(records) == 1 + WRITERS * MOVES
    assert {record.stamp.writer for record in records[:-1]} == {
        writer for reports in told for writer in reports
    }
    for writer in range(WRITERS):
        for move in range(MOVES):
            assert got(shared, MAIN, 10 + writer * MOVES + move) == f"{writer}-{move}"
    assert damages(shared) == ()


def _promote_same(store: Store, writer: int, barrier: Barrier) -> list[object]:
    put(store, sandbox_of(writer), f"of-{writer}", "5-9")
    barrier.wait(60)
    one = stamp()
    try:
        promote(store, sandbox_of(writer), MAIN, one)
    except Conflict as error:
        return [str(error)]
    return [one.writer]


def test_of_promotes_that_change_the_same_runs_one_wins_and_the_others_are_told(shared):
    told = [report for (report,) in raced(_promote_same, shared, 4)]

    (winner,) = (report for report in told if isinstance(report, bytes))
    newest, first = log(shared, MAIN)
    assert (newest.number, newest.stamp.writer, first.number) == (2, winner, 1)
    losers = [report for report in told if isinstance(report, str)]
    assert len(losers) == 3
    for message in losers:
        assert message.splitlines()[1:] == ["  CxiDg2.0:Zyla.1 geometry 5-9"]
    assert got(shared, MAIN, 5) == f"of-{told.index(winner)}"


def test_an_undo_that_was_overtaken_undoes_nothing(store, monkeypatch):
    put(store, MAIN, "mine", "5-9")
    real = logs.head

    def head_then_another_writer(backend, name, seen=0):
        entry = real(backend, name, seen)
        monkeypatch.setattr(logs, "head", real)
        put(store, MAIN, "another", "20-29")
        return entry

    monkeypatch.setattr(logs, "head", head_then_another_writer)

    with pytest.raises(Conflict, match=f"{MAIN} has moved: {MAIN}@3"):
        undo(store, MAIN, stamp())

    assert [got(store, MAIN, run) for run in (5, 20)] == ["mine", "another"]


# --- calls that fail -----------------------------------------------------------------------

COMMANDS: dict[str, Callable[[Store], object]] = {
    "promote": lambda store: promote(store, MINE, MAIN, stamp()),
    "copy": lambda store: copy_constants(store, MINE, "Zyla", None, MAIN, stamp()),
    "undo --to": lambda store: undo(store, MAIN, stamp(), to=1),
    "unset": lambda store: unset_once(store),
}


def unset_once(store: Store) -> None:
    with contextlib.suppress(NotFound):  # a reply was lost: there is nothing any more
        unset(store, MAIN, "Zyla", "geometry", RunRange(20, 22), stamp())


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_whose_nth_call_fails_leaves_the_old_or_the_new(name, before, store):
    put(store, MAIN, "main", "20-29")
    put(store, MINE, "own", "5-9")
    old = set_digest(store, MAIN)
    undisturbed = Store(copied(store.backend), store.id)
    COMMANDS[name](undisturbed)
    new = set_digest(undisturbed, MAIN)
    assert new != old

    for nth in range(1, 10_000):
        inner = Store(copied(store.backend), store.id)
        failing = FailingBackend(inner.backend, nth, before)
        succeeded = True
        try:
            COMMANDS[name](Store(failing, store.id))
        except CalstoreError:
            succeeded = False
        if failing.failed is None:
            break

        assert set_digest(inner, MAIN) in ((new,) if succeeded else (old, new))
        assert damages(inner) == ()
        COMMANDS[name](inner)
        assert set_digest(inner, MAIN) == new
    assert succeeded
    assert nth > 5
