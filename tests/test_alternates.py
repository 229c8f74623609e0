"""A store that reads from others: nothing is copied, nothing of theirs is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from backends import counting
from builders import GEOMETRY, damages, set_digest, small_files, stamp, write_files
from object_store import new_place  # noqa: F401

from calstore.errors import Conflict, Invalid
from calstore.model.runs import RunRange
from calstore.repository.approvals import approvals_of
from calstore.repository.approve import approve
from calstore.repository.branch import delete_ref, fork
from calstore.repository.import_tree import import_tree
from calstore.repository.materialize import materialize
from calstore.repository.promote import promote
from calstore.repository.push import pull
from calstore.repository.refs import log, refs
from calstore.repository.set_constant import set_constant
from calstore.repository.settings import change_setting
from calstore.repository.store import READS_FROM, Store, init_store, open_store
from calstore.repository.verify import verify
from calstore.store.layered import LayeredBackend
from calstore.store.memory import MemoryBackend

MAIN, MINE = "cxis0113/main", "cxis0113/users/wilson/mask"

Place = Callable[[], str]


@pytest.fixture
def theirs(new_place: Place, small_tree: Path) -> Store:  # noqa: F811
    place = new_place()
    store = init_store(place, "1" * 32)
    import_tree(store, small_tree, MAIN, stamp("as found"))
    return store


@pytest.fixture
def mine(tmp_path: Path, theirs: Store) -> Store:
    return reading_from(tmp_path / "mine", theirs)


def reading_from(place: Path, *others: Store) -> Store:
    store = init_store(place, "2" * 32)
    places = " ".join(other.own.describe("") for other in others)
    change_setting(store, READS_FROM, places, stamp())
    return open_store(place)


def raw(store: Store) -> dict[str, bytes]:
    return {key: store.own.get(key) for key in store.own.list("")}


def own_objects(store: Store) -> list[str]:
    return list(store.own.list("objects/"))


def change(store: Store, ref: str, label: str) -> None:
    data = f"# {label}\n".encode() + GEOMETRY
    set_constant(store, ref, "Zyla", "geometry", RunRange(3, 9), data, stamp(label))


def test_what_another_store_has_is_read_as_if_it_were_here(mine: Store, theirs: Store) -> None:
    constants = mine[MAIN]["Opal"].at(run=5)

    assert [str(ref.name) for ref in refs(mine)] == [MAIN]
    assert [record.stamp.why for record in log(mine, MAIN)] == ["as found"]
    assert constants["pedestals"].array.tobytes() == (
        theirs[MAIN]["Opal"].at(run=5)["pedestals"].array.tobytes()
    )
    assert own_objects(mine) == []


def test_a_fork_copies_one_record_and_no_object(mine: Store, theirs: Store) -> None:
    before = raw(theirs)

    fork(mine, MAIN, MINE, stamp())

    assert own_objects(mine) == []
    assert list(mine.own.list("refs/")) == [f"refs/{MINE}/00000001"]
    assert raw(theirs) == before


def test_a_change_of_a_fork_stores_what_it_changes(mine: Store, theirs: Store) -> None:
    fork(mine, MAIN, MINE, stamp())

    change(mine, MINE, "own")

    assert len(own_objects(mine)) == 3, "a blob, a detector, a set"
    assert mine[MINE]["Zyla"].at(run=5)["geometry"].data.startswith(b"# own")
    assert mine[MINE]["Opal"].at(run=5)["pedestals"].array.shape == (3, 4)
    assert damages(mine) == ()


def test_an_import_of_what_the_other_has_stores_nothing_twice(
    mine: Store, small_tree: Path
) -> None:
    import_tree(mine, small_tree, "cxis0113/again", stamp())

    assert own_objects(mine) == []
    assert set_digest(mine, "cxis0113/again") == set_digest(mine, MAIN)


def test_a_view_is_made_of_both(mine: Store, theirs: Store, tmp_path: Path) -> None:
    fork(mine, MAIN, MINE, stamp())
    change(mine, MINE, "own")

    materialize(mine, mine[MINE], tmp_path / "view")

    files = {path.name: path.read_bytes() for path in (tmp_path / "view").rglob("*.data")}
    assert files["3-9.data"].startswith(b"# own")
    assert "0-end.data" in files


@pytest.mark.parametrize("act", [lambda store: change(store, MAIN, "x"), None])
def test_a_ref_of_the_other_store_is_not_moved_here(
    mine: Store, theirs: Store, act: Callable[[Store], None] | None
) -> None:
    before = raw(mine), raw(theirs)
    act = act or (lambda store: delete_ref(store, MAIN, stamp()) and None)

    with pytest.raises(Invalid, match=f"{MAIN} is a ref of .*calstore fork {MAIN} NEW"):
        act(mine)

    assert list(mine.own.list("refs/")) == []
    assert raw(theirs) == before[1]


def test_a_name_that_the_other_store_has_is_taken(mine: Store) -> None:
    fork(mine, MAIN, MINE, stamp())

    with pytest.raises(Conflict, match="there is a ref cxis0113/main already"):
        fork(mine, MINE, MAIN, stamp())


def test_an_approval_here_goes_on_from_theirs(mine: Store, theirs: Store) -> None:
    approve(theirs, MAIN, "rejected", stamp("hot"))
    approve(theirs, MAIN, "good", stamp("flat"))
    before = raw(theirs)

    approve(mine, MAIN, "superseded", stamp("mine"))

    digest = mine[MAIN].digest
    assert [each.stamp.why for each in approvals_of(mine, digest)] == ["mine", "flat", "hot"]
    assert raw(theirs) == before
    assert damages(mine) == ()


def test_verify_says_what_is_read_from_whom_and_for_which_ref(mine: Store, theirs: Store) -> None:
    fork(mine, MAIN, MINE, stamp())
    change(mine, MINE, "own")

    found = verify(mine)

    assert found.damages == ()
    [(place, lent)] = found.borrowed.items()
    assert place == theirs.own.describe("")
    assert lent.refs == (MINE,)
    assert lent.objects == verify(theirs).objects
    assert found.objects == 3


def test_a_pull_makes_a_ref_independent(mine: Store, tmp_path: Path) -> None:
    fork(mine, MAIN, MINE, stamp())
    change(mine, MINE, "own")

    pull(mine, MINE)
    pull(mine, MAIN)

    assert verify(mine).borrowed == {}
    change_setting(mine, READS_FROM, None, stamp())
    alone = open_store(tmp_path / "mine")
    assert list(alone.others) == []
    assert damages(alone) == ()
    assert [str(ref.name) for ref in refs(alone)] == [MAIN, MINE]
    assert alone[MINE]["Opal"].at(run=5)["pedestals"].array.shape == (3, 4)
    change(alone, MAIN, "moves here now")


def test_a_pulled_ref_can_be_promoted_into(mine: Store) -> None:
    fork(mine, MAIN, MINE, stamp())
    change(mine, MINE, "own")
    pull(mine, MAIN)

    done = promote(mine, MINE, MAIN, stamp())

    assert done.how == "fast-forward"


def test_what_is_gone_in_both_is_damage(mine: Store, theirs: Store) -> None:
    fork(mine, MAIN, MINE, stamp())
    key = next(theirs.own.list("objects/blobs/"))
    theirs.own.delete(key)

    found = verify(mine)

    assert [damage.key for damage in found.damages] == [key]
    assert found.damages[0].versions == (f"{MINE}@1",)


def test_another_store_that_is_gone_is_said_and_never_taken_for_nothing(
    mine: Store, tmp_path: Path
) -> None:
    fork(mine, MAIN, MINE, stamp())
    change_setting(mine, READS_FROM, str(tmp_path / "nowhere"), stamp())
    lonely = open_store(tmp_path / "mine")

    with pytest.raises(Conflict, match=r"reads from .*nowhere, which cannot be opened"):
        lonely[MINE]["Opal"].at(run=5)
    with pytest.raises(Conflict, match="calstore config reads-from --unset"):
        lonely[MAIN]


def test_stores_in_a_row_are_read_through(mine: Store, tmp_path: Path) -> None:
    last = init_store(tmp_path / "last", "3" * 32)
    change_setting(last, READS_FROM, str(tmp_path / "mine"), stamp())
    last = open_store(tmp_path / "last")

    assert last[MAIN]["Opal"].at(run=5)["pedestals"].array.shape == (3, 4)
    assert own_objects(last) == own_objects(mine) == []


def test_two_stores_that_read_from_each_other_end(mine: Store, tmp_path: Path) -> None:
    second = init_store(tmp_path / "second", "4" * 32)
    change_setting(second, READS_FROM, str(tmp_path / "mine"), stamp())
    change_setting(mine, READS_FROM, str(tmp_path / "second"), stamp())
    import_tree(second, write_files(tmp_path / "x", small_files(2)), "cxis0113/x", stamp())

    assert [str(ref.name) for ref in refs(open_store(tmp_path / "mine"))] == ["cxis0113/x"]
    assert [str(ref.name) for ref in refs(open_store(tmp_path / "second"))] == ["cxis0113/x"]


def test_the_first_of_several_that_has_a_ref_gives_it(theirs: Store, tmp_path: Path) -> None:
    other = init_store(tmp_path / "other", "5" * 32)
    import_tree(other, write_files(tmp_path / "x", small_files(2)), MAIN, stamp("another"))
    both = reading_from(tmp_path / "both", other, theirs)

    assert [record.stamp.why for record in log(both, MAIN)] == ["another"]
    assert len(list(refs(both))) == 1


def test_a_store_that_reads_from_none_asks_none(small_tree: Path) -> None:
    """What alternates cost those who have none: nothing but a look at the settings."""
    own = counting(MemoryBackend())
    plain = counting(MemoryBackend())
    for backend, layered in ((own, True), (plain, False)):
        store = Store(LayeredBackend(backend, tuple) if layered else backend, "0" * 32)
        import_tree(store, small_tree, MAIN, stamp())
        fork(store, MAIN, MINE, stamp())

    assert own.calls["create"] == plain.calls["create"]
    assert own.calls["list"] == plain.calls["list"]


def test_an_overview_asks_once_whose_the_refs_are(small_tree: Path) -> None:
    """Far away, one question for each of 10,000 refs takes longer than all the rest."""
    own = counting(MemoryBackend())
    store = Store(LayeredBackend(own, tuple), "0" * 32)
    import_tree(store, small_tree, MAIN, stamp())
    for number in range(20):
        fork(store, MAIN, f"cxis0113/users/me/{number}", stamp())
    again = Store(LayeredBackend(own, tuple), "0" * 32)
    before = own.calls.copy()

    assert len(list(refs(again))) == 21

    spent = own.calls - before
    assert spent["get"] == 21
    assert spent["size"] == 0
    assert spent["list"] == 1


def test_a_failure_while_a_log_is_taken_over_leaves_it_theirs(
    mine: Store, theirs: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        approve(theirs, MAIN, "good", stamp(f"{number}"))
    own = mine.own
    create = own.create

    def fails_at_the_first(key: str, *parts: bytes) -> object:
        if key.endswith("00000001"):
            raise Conflict("no room")
        return create(key, *parts)

    monkeypatch.setattr(own, "create", fails_at_the_first)
    with pytest.raises(Conflict):
        approve(mine, MAIN, "superseded", stamp("mine"))
    monkeypatch.undo()

    digest = mine[MAIN].digest
    assert [each.stamp.why for each in approvals_of(mine, digest)] == ["2", "1", "0"]
    approve(mine, MAIN, "superseded", stamp("mine"))
    assert [each.stamp.why for each in approvals_of(mine, digest)] == ["mine", "2", "1", "0"]
    assert damages(mine) == ()
