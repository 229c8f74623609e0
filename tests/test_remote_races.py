"""Processes that race on S3: of creates of one file one wins, of appends none is lost."""

from __future__ import annotations

import multiprocessing
import secrets
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier

from builders import damages, stamp
from test_races import raced

from calstore.model.manifests import SetManifest
from calstore.model.names import RefName
from calstore.repository.change import Move, move, put_set
from calstore.repository.refs import log
from calstore.repository.store import Store, init_store
from calstore.store.remote import open_remote

MAIN = "cxis0113/main"
RACES, WRITERS, APPENDS = 60, 4, 10


def test_of_two_processes_that_race_on_s3_one_wins(s3: str) -> None:
    place = f"{s3}/{secrets.token_hex(8)}"
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(2), context.Queue()
    processes = [
        context.Process(target=_race, args=(place, number, barrier, results), daemon=True)
        for number in (0, 1)
    ]
    for process in processes:
        process.start()

    told = dict(results.get(timeout=120) for _ in processes)

    for process in processes:
        process.join()
    backend = open_remote(place)
    for key in range(RACES):
        winners = [number for number in (0, 1) if told[number][key] is None]
        assert len(winners) == 1, f"race {key} has the winners {winners}"
        assert told[1 - winners[0]][key] == winners[0] + 1
        assert backend.get(f"race/{key:04}") == b"x" * (winners[0] + 1)
    assert {winner for winner in (0, 1) if None in told[winner]} == {0, 1}, "nobody raced"


def _race(place: str, number: int, barrier: Barrier, results: Queue) -> None:
    backend = open_remote(place)
    told = []
    for key in range(RACES):
        barrier.wait(60)
        existing = backend.create(f"race/{key:04}", b"x" * (number + 1))
        told.append(None if existing is None else existing.size)
    results.put((number, told))


def test_of_appends_by_processes_none_is_lost_and_none_is_told_twice(s3: str) -> None:
    store = init_store(f"{s3}/{secrets.token_hex(8)}", secrets.token_hex(16))

    told = raced(append_many, store, WRITERS)

    records = list(log(store, MAIN))
    assert [record.number for record in records] == list(range(WRITERS * APPENDS, 0, -1))
    writers = {record.number: record.stamp.writer for record in records}
    assert {number: writer for each in told for number, writer in each} == writers
    assert damages(store) == ()


def append_many(store: Store, writer: int, barrier: Barrier) -> list[tuple[int, bytes]]:
    """Appends of one process, each upon what the ref had before: number and writer's id."""
    barrier.wait(60)
    return append(store, APPENDS)


def append(store: Store, count: int) -> list[tuple[int, bytes]]:
    done = []
    empty = put_set(store, SetManifest())
    for _ in range(count):
        mine = stamp()
        to = Move(empty, "append", always=True)
        moved = move(store, RefName(MAIN), lambda before, to=to: to, mine, "set", may_be_new=True)
        done.append((moved.record.number, mine.writer))
    return done
