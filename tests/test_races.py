"""Processes that race on one store: no change is lost, no false success is told."""

from __future__ import annotations

import multiprocessing
import traceback
from collections.abc import Callable
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
from builders import damages, small_files, stamp, write_files

from calstore.errors import Conflict
from calstore.model.records import Stamp
from calstore.model.runs import RunRange
from calstore.repository.branch import fork
from calstore.repository.import_tree import import_tree
from calstore.repository.refs import log
from calstore.repository.set_constant import set_constant
from calstore.repository.store import Store, init_store, open_store

MAIN = "cxis0113/main"
WRITERS, MOVES, FEW = 8, 100, 10
CONTEXT = multiprocessing.get_context("spawn")


@pytest.fixture
def store(memory_path: Path, request: pytest.FixtureRequest) -> Store:
    folder = memory_path / request.node.name
    write_files(folder / "calib", small_files())
    made = init_store(folder / "store", "0" * 32)
    import_tree(made, folder / "calib", MAIN, stamp())
    return made


def raced(target: Callable[..., object], store: Store, count: int) -> list[list[object]]:
    """What each of the processes returns, which all begin together."""
    barrier, results = CONTEXT.Barrier(count), CONTEXT.Queue()
    processes = [
        CONTEXT.Process(
            target=_reported,
            args=(target, store.backend.describe(""), number, barrier, results),
            daemon=True,
        )
        for number in range(count)
    ]
    for process in processes:
        process.start()
    found = dict(results.get(timeout=300) for _ in processes)
    for process in processes:
        process.join()
    for reports in found.values():
        assert isinstance(reports, list), reports
    return [found[number] for number in range(count)]


def _reported(
    target: Callable[..., object], place: str, number: int, barrier: Barrier, results: Queue
) -> None:
    try:
        results.put((number, target(open_store(place), number, barrier)))
    except BaseException:
        barrier.abort()
        results.put((number, traceback.format_exc()))


def test_eight_writers_of_one_ref_lose_no_change(store: Store) -> None:
    told = raced(_set_many, store, WRITERS)

    records = list(log(store, MAIN))
    assert [record.number for record in records] == list(range(WRITERS * MOVES + 1, 0, -1))
    writer_of = {record.number: record.stamp.writer for record in records}
    assert len(set(writer_of.values())) == len(records)
    for reports in told:
        assert len(reports) == MOVES
        for number, writer in reports:
            assert writer_of[number] == writer, f"a false success: @{number}"
    assert sorted(number for reports in told for number, _ in reports) == sorted(writer_of)[1:]
    version = store[MAIN]
    for writer in range(WRITERS):
        for move in range(MOVES):
            constants = version[_source(writer, move)].at(run=_run(writer, move))
            assert constants["geometry"].data == _bytes(writer, move)
    assert damages(store) == ()


def test_each_record_of_a_race_is_one_change_of_the_one_before(store: Store) -> None:
    raced(_set_few, store, 4)

    counts = []
    for record in log(store, MAIN):
        version = store[record.name]
        detectors = [version.detector(key).manifest for key in version.detectors]
        counts.append(sum(len(each.constants.get("geometry", ())) for each in detectors))
    assert counts == list(range(len(counts), 0, -1))
    assert len(counts) == 4 * FEW + 1


def test_of_two_that_import_a_new_name_one_wins(store: Store) -> None:
    told = raced(_import_many, store, 2)

    for attempt in range(10):
        ref = f"cxis0113/imported-{attempt}"
        _check_one_won(store, ref, [[reports[attempt]] for reports in told])
    assert damages(store) == ()


def test_of_two_that_fork_a_new_name_one_wins(store: Store) -> None:
    told = raced(_fork_many, store, 2)

    for attempt in range(100):
        ref = f"cxis0113/users/wilson/fork-{attempt}"
        _check_one_won(store, ref, [[reports[attempt]] for reports in told])
    assert damages(store) == ()


def _check_one_won(store: Store, ref: str, told: list[list[object]]) -> None:
    outcomes = [outcome for reports in told for outcome in reports]
    winners = [outcome for outcome in outcomes if isinstance(outcome, bytes)]
    losers = [outcome for outcome in outcomes if isinstance(outcome, str)]
    records = list(log(store, ref))
    assert [record.stamp.writer for record in records] == winners
    assert len(losers) == 1
    assert ref in losers[0]


def _run(writer: int, move: int) -> int:
    return 10 + writer * MOVES + move


def _bytes(writer: int, move: int) -> bytes:
    return f"# geometry {move} of writer {writer}\n".encode()


def _source(writer: int, move: int) -> str:
    """Every tenth change is of a detector that all writers change."""
    return f"CxiDg1.0:Zyla.{10 + writer}" if move % 10 else "CxiDg1.0:Opal1000.0"


def _set(store: Store, writer: int, move: int) -> tuple[int, bytes]:
    run, mine = _run(writer, move), stamp()
    detector = f"Camera::CalibV1/{_source(writer, move)}"
    values = _bytes(writer, move)
    record = set_constant(store, MAIN, detector, "geometry", RunRange(run, run), values, mine)
    return record.number, mine.writer


def _set_many(store: Store, writer: int, barrier: Barrier) -> list[tuple[int, bytes]]:
    barrier.wait(60)
    return [_set(store, writer, move) for move in range(MOVES)]


def _set_few(store: Store, writer: int, barrier: Barrier) -> list[tuple[int, bytes]]:
    barrier.wait(60)
    return [_set(store, writer, move) for move in range(FEW)]


def _import_many(store: Store, number: int, barrier: Barrier) -> list[object]:
    place = Path(store.backend.describe(""))
    tree = write_files(place.with_name(f"tree-{number}"), small_files(number))
    outcomes = []
    for attempt in range(10):
        mine, ref = stamp(), f"cxis0113/imported-{attempt}"
        barrier.wait(60)
        outcomes.append(
            _outcome(lambda ref=ref, mine=mine: import_tree(store, tree, ref, mine), mine)
        )
    return outcomes


def _fork_many(store: Store, number: int, barrier: Barrier) -> list[object]:
    outcomes = []
    for attempt in range(100):
        mine, ref = stamp(), f"cxis0113/users/wilson/fork-{attempt}"
        barrier.wait(60)
        outcomes.append(_outcome(lambda ref=ref, mine=mine: fork(store, MAIN, ref, mine), mine))
    return outcomes


def _outcome(command: Callable[[], object], mine: Stamp) -> object:
    """The writer's id of a winner, the message of a loser."""
    try:
        command()
    except Conflict as error:
        return str(error)
    return mine.writer
