"""Processes that append to one ref on S3: none of their records is lost."""

from __future__ import annotations

import secrets
from multiprocessing.synchronize import Barrier

from builders import damages, stamp
from test_races import raced

from calstore.model.manifests import SetManifest
from calstore.model.names import RefName
from calstore.repository.change import Move, move, put_set
from calstore.repository.refs import log
from calstore.repository.store import Store, init_store

MAIN = "cxis0113/main"
WRITERS, APPENDS = 4, 10


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
