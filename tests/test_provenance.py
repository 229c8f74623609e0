"""Where a constant comes from, through forks, merges, copies and what was undone."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from builders import GEOMETRY, OPAL, ZYLA, small_files, stamp, write_files

from calstore.model.runs import END, RunRange
from calstore.repository.adopt import adopt
from calstore.repository.branch import delete_ref, fork
from calstore.repository.copy import copy_constants
from calstore.repository.import_tree import import_tree
from calstore.repository.materialize import materialize
from calstore.repository.promote import promote
from calstore.repository.provenance import records_of
from calstore.repository.set_constant import set_constant
from calstore.repository.store import Store, init_store
from calstore.repository.undo import undo
from calstore.repository.unset import unset
from calstore.store.memory import MemoryBackend

MAIN, OTHER = "cxis0113/main", "cxin4116/main"
MINE = "cxis0113/users/wilson/try"
ZYLA_7 = "CxiDg7.0:Zyla.7"
TO_END = RunRange(0, END)


class NotedBackend(MemoryBackend):
    """A backend in memory that notes what is read, by key."""

    def __init__(self) -> None:
        super().__init__()
        self.read: Counter[str] = Counter()

    def get(self, key: str, start: int = 0, stop: int | None = None) -> bytes:
        self.read[key] += 1
        return super().get(key, start, stop)


@pytest.fixture
def store(small_tree: Path, kept_place: str) -> Store:
    store = init_store(kept_place, "0" * 32)
    import_tree(store, small_tree, MAIN, stamp("as found"))
    return store


def text(label: object) -> bytes:
    return f"# {label}\n".encode() + GEOMETRY


def put(store: Store, ref: str, label: object, runs: RunRange, source: str = "Zyla") -> None:
    set_constant(store, ref, source, "geometry", runs, text(label), stamp())


def told(store: Store, ref: str, run: int, source: str = "Zyla") -> tuple[str, str]:
    """The records that brought the geometry of a run: into the store, and into the ref."""
    found = store[ref][source].at(run)["geometry"].provenance
    assert found is not None
    return found.record.name, found.arrived.name


def test_a_constant_of_a_fork_comes_from_what_was_forked(store):
    fork(store, MAIN, MINE, stamp())
    put(store, MINE, "own", RunRange(5, 9))

    assert told(store, MINE, 1) == (f"{MAIN}@1", f"{MINE}@1")
    assert told(store, MINE, 5) == (f"{MINE}@2", f"{MINE}@2")
    assert told(store, MAIN, 1) == (f"{MAIN}@1", f"{MAIN}@1")


def test_a_promoted_constant_comes_from_the_sandbox_and_others_from_where_they_did(store):
    fork(store, MAIN, MINE, stamp())
    put(store, MAIN, "main", RunRange(20, 29))
    put(store, MINE, "own", RunRange(5, 9))
    promote(store, MINE, MAIN, stamp())

    assert told(store, MAIN, 5) == (f"{MINE}@2", f"{MAIN}@3")
    assert told(store, MAIN, 20) == (f"{MAIN}@2", f"{MAIN}@2")
    assert told(store, MAIN, 1) == (f"{MAIN}@1", f"{MAIN}@1")


def test_a_copied_constant_comes_from_another_experiment_under_another_name(store):
    put(store, MAIN, "dark", RunRange(5, 9))
    copy_constants(store, MAIN, "Zyla", None, OTHER, stamp(), as_source=ZYLA_7)
    put(store, OTHER, "own", RunRange(7, 7), ZYLA_7)
    fork(store, OTHER, MINE, stamp())

    assert told(store, OTHER, 1, ZYLA_7) == (f"{MAIN}@1", f"{OTHER}@1")
    assert told(store, OTHER, 8, ZYLA_7) == (f"{MAIN}@2", f"{OTHER}@1")
    assert told(store, OTHER, 7, ZYLA_7) == (f"{OTHER}@2", f"{OTHER}@2")
    assert told(store, MINE, 8, ZYLA_7) == (f"{MAIN}@2", f"{MINE}@1")


def test_the_same_content_of_another_detector_is_no_origin(store):
    same = "Camera::CalibV1/CxiDg9.0:Zyla.9"
    set_constant(store, MAIN, same, "geometry", TO_END, GEOMETRY, stamp())
    fork(store, MAIN, MINE, stamp())
    set_constant(store, MINE, f"Camera::CalibV1/{ZYLA_7}", "geometry", TO_END, GEOMETRY, stamp())

    assert told(store, MINE, 1, "Zyla.9") == (f"{MAIN}@2", f"{MINE}@1")
    assert told(store, MINE, 1, "Zyla.7") == (f"{MINE}@2", f"{MINE}@2")


def test_a_copy_comes_from_its_source_though_another_detector_here_has_the_same(store):
    copy_constants(store, MAIN, "Opal", None, OTHER, stamp())
    same = "Camera::CalibV1/CxiDg9.0:Zyla.9"
    set_constant(store, OTHER, same, "geometry", TO_END, GEOMETRY, stamp())
    copy_constants(store, MAIN, "Zyla", None, OTHER, stamp(), as_source=ZYLA_7)

    assert told(store, OTHER, 1, ZYLA_7) == (f"{MAIN}@1", f"{OTHER}@3")


def test_what_an_undo_brought_back_comes_from_where_it_first_came(store):
    put(store, MAIN, "first", RunRange(5, 9))
    put(store, MAIN, "second", RunRange(5, 9))
    undo(store, MAIN, stamp())

    assert told(store, MAIN, 5) == (f"{MAIN}@2", f"{MAIN}@4")
    assert told(store, MAIN, 1) == (f"{MAIN}@1", f"{MAIN}@1")


def test_a_deleted_ref_that_is_back_remembers(store):
    fork(store, MAIN, MINE, stamp())
    put(store, MINE, "own", RunRange(5, 9))
    delete_ref(store, MINE, stamp())
    undo(store, MINE, stamp())

    assert told(store, MINE, 5) == (f"{MINE}@2", f"{MINE}@4")


def test_what_was_taken_out_and_set_again_is_new(store):
    put(store, MAIN, "dark", RunRange(5, 9))
    unset(store, MAIN, "Zyla", "geometry", RunRange(5, 9), stamp())
    put(store, MAIN, "dark", RunRange(5, 9))

    assert told(store, MAIN, 5) == (f"{MAIN}@4", f"{MAIN}@4")


def test_an_adopted_view_of_another_ref_tells_that_ref(store, tmp_path):
    fork(store, MAIN, MINE, stamp())
    put(store, MINE, "own", RunRange(5, 9))
    materialize(store, store[MINE], tmp_path / "view")
    (tmp_path / "view" / ZYLA / "geometry" / "30-end.data").write_bytes(text("by hand"))
    adopt(store, tmp_path / "view", OTHER, stamp())

    assert told(store, OTHER, 5) == (f"{MINE}@2", f"{OTHER}@1")
    assert told(store, OTHER, 30) == (f"{OTHER}@1", f"{OTHER}@1")


def test_history_is_told_of_the_file_that_was_imported_wherever_its_constant_went(store):
    runs = RunRange(5, 9)
    set_constant(store, MAIN, "Opal", "pedestals", runs, small_files(1)[f"{OPAL}/{FILE}"], stamp())
    copy_constants(store, MAIN, "Opal", ["pedestals"], OTHER, stamp(), runs=RunRange(3, 30))

    def lines(ref: str, run: int) -> list[str]:
        found = store[ref]["Opal"].at(run)["pedestals"].provenance
        assert found is not None
        return [line.text.split()[0] for line in found.history]

    assert "HISTORY" not in str(dict(store[OTHER].manifest.files))
    for ref in (MAIN, OTHER):
        assert lines(ref, 3) == ["file:0-end.data"]
        assert lines(ref, 5) == []
        assert lines(ref, 20) == ["file:0-end.data"]


FILE = "pedestals/0-end.data"


def test_history_says_nothing_of_a_constant_that_was_set_under_a_files_name(store):
    data = small_files(1)[f"{OPAL}/{FILE}"]
    set_constant(store, MAIN, "Opal", "pedestals", TO_END, data, stamp())

    found = store[MAIN]["Opal"].at(1)["pedestals"].provenance

    assert found is not None
    assert (found.record.number, found.history) == (2, ())


def test_a_version_opened_by_digest_has_no_provenance(store):
    version = store[str(store[MAIN].digest)]

    assert version["Zyla"].at(1)["geometry"].provenance is None
    assert records_of(version, {}) == {}


def test_a_story_that_leads_to_a_record_that_is_not_here_ends_before_it(store):
    copy_constants(store, MAIN, "Zyla", None, OTHER, stamp())
    pulled = MemoryBackend()
    for key in store.backend.list(""):
        if not key.startswith(f"refs/{MAIN}/"):
            pulled.create(key, store.backend.get(key))

    assert told(Store(pulled, store.id), OTHER, 1) == (f"{OTHER}@1", f"{OTHER}@1")


def constants_of(version):
    return {
        (key, type_name, runs): constant
        for key in version.detectors
        for type_name, by_range in version.detector(key).manifest.constants.items()
        for runs, constant in by_range.items()
    }


def noted(tmp_path: Path) -> tuple[Store, NotedBackend]:
    backend = NotedBackend()
    store = Store(backend, "0" * 32)
    import_tree(store, write_files(tmp_path / "calib", small_files()), MAIN, stamp())
    return store, backend


def test_a_thousand_records_are_read_once_each_and_their_manifests_too(tmp_path):
    store, backend = noted(tmp_path)
    for number in range(1000):
        put(store, MAIN, number % 500, RunRange(number % 20, number % 20))
    version = store[MAIN]
    wanted = constants_of(version)
    backend.read.clear()

    records = records_of(version, wanted)

    assert len(records) == 3 + 20
    assert max(backend.read.values()) == 1
    assert sum(backend.read.values()) <= 3 * 1001
    assert {records[key].number for key in records if key[2] == TO_END} == {1}


def test_a_history_of_many_merges_is_read_once_too(tmp_path):
    store, backend = noted(tmp_path)
    fork(store, MAIN, MINE, stamp())
    for number in range(20):
        put(store, MAIN, f"main {number}", RunRange(2 * number, 2 * number))
        put(store, MINE, f"mine {number}", RunRange(2 * number + 1, 2 * number + 1))
        promote(store, MINE, MAIN, stamp())
        promote(store, f"{MAIN}@{2 * number + 2}", MINE, stamp())
    version = store[MAIN]
    wanted = constants_of(version)
    backend.read.clear()

    records = records_of(version, wanted)

    assert max(backend.read.values()) == 1
    refs = {"0": "cxis0113/main@", "1": "cxis0113/users/wilson/try@"}
    for (key, _, runs), record in records.items():
        if key[1] in ZYLA and runs != TO_END:
            assert record.name.startswith(refs[str(runs.first % 2)])
            assert record.operation == "set"
