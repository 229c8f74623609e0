"""S3 behind a network that loses replies, a server that is busy, and one that is broken."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import fsspec
import pytest
from builders import GEOMETRY, damages, stamp
from fault_proxy import FaultProxy, fault_proxy, without_condition
from fsspec.implementations.memory import MemoryFileSystem
from object_store import environment

from calstore.errors import Conflict, Invalid, NotFound
from calstore.model.runs import RunRange
from calstore.repository.branch import fork
from calstore.repository.import_tree import import_tree
from calstore.repository.refs import log
from calstore.repository.set_constant import set_constant
from calstore.repository.store import init_store, open_store
from calstore.store import marker, probe
from calstore.store.memory import MemoryBackend
from calstore.store.remote import open_remote
from calstore.store.retries import ATTEMPTS, Answer, answer_of, patiently

MAIN = "cxis0113/main"
WRITERS, COMMITS = 4, 12


@contextmanager
def through(proxy: FaultProxy) -> Iterator[None]:
    """Let all that is opened inside ask the proxy."""
    s3fs = pytest.importorskip("s3fs")
    s3fs.S3FileSystem.clear_instance_cache()
    with patch.dict(os.environ, environment(proxy.port)):
        yield
    s3fs.S3FileSystem.clear_instance_cache()


def moto_port() -> int:
    return int(os.environ["AWS_ENDPOINT_URL"].rpartition(":")[2])


# --- a bad network -----------------------------------------------------------------------------


def test_of_commits_through_a_bad_network_none_is_lost_and_none_is_refused(
    s3: str, small_tree: Path
) -> None:
    place = f"{s3}/{secrets.token_hex(8)}"
    store = init_store(place, secrets.token_hex(16))
    import_tree(store, small_tree, MAIN, stamp())
    with fault_proxy(moto_port(), 0.3, seed=1) as proxy, through(proxy):

        def write(writer: int) -> list[bytes]:
            mine = open_store(place)
            ref = f"cxis0113/users/wilson/w{writer}"
            stamps = [stamp() for _ in range(COMMITS)]
            fork(mine, MAIN, ref, stamps[0])
            for number in range(1, COMMITS):
                data = f"# {writer} {number}\n".encode() + GEOMETRY
                runs = RunRange(number, number)
                set_constant(mine, ref, "Zyla", "geometry", runs, data, stamps[number])
            return [each.writer for each in stamps]

        with ThreadPoolExecutor(WRITERS) as pool:
            told = list(pool.map(write, range(WRITERS)))

    assert min(proxy.counts[fate] for fate in ("busy", "late", "lost")) > 20
    for writer in range(WRITERS):
        records = list(log(store, f"cxis0113/users/wilson/w{writer}"))
        assert [record.stamp.writer for record in reversed(records)] == told[writer]
    assert damages(store) == ()


def test_a_store_that_is_made_through_a_bad_network_is_no_conflict(s3: str) -> None:
    with fault_proxy(moto_port(), 0.3, seed=2) as proxy, through(proxy):
        for _ in range(3):
            init_store(f"{s3}/{secrets.token_hex(8)}", secrets.token_hex(16))

    assert proxy.counts["lost"] > 3


def test_a_lost_reply_to_the_marker_is_no_other_store() -> None:
    class Lost(MemoryBackend):
        def create(self, key: str, *parts: bytes) -> object:  # type: ignore[override]
            super().create(key, *parts)
            return super().create(key, *parts)  # made again, as by a retry

    marker.create(Lost(), "0" * 32)

    backend = MemoryBackend()
    marker.create(backend, "0" * 32)
    with pytest.raises(Conflict, match="there is a store already"):
        marker.create(backend, "1" * 32)


# --- what an error means, and patience ---------------------------------------------------------


def test_the_errors_of_a_real_server_are_understood(s3: str) -> None:
    files = open_remote(f"{s3}/errors")._files
    files.pipe_file(f"{s3.removeprefix('s3://')}/errors/one", b"123")
    bucket = s3.removeprefix("s3://")

    def answer(verb: str, path: str, *words: object, **more: object) -> Answer:
        with pytest.raises(Exception) as caught:
            getattr(files, verb)(path, *words, **more)
        return answer_of(caught.value)

    assert answer("cat_file", f"{bucket}/errors/none") is Answer.ABSENT
    assert answer("info", f"{bucket}/errors/none") is Answer.ABSENT
    assert answer("cat_file", "no-such-bucket/x") is Answer.NO_BUCKET
    assert answer("pipe_file", "no-such-bucket/x", b"1", mode="create") is Answer.NO_BUCKET
    assert answer("pipe_file", f"{bucket}/errors/one", b"1", mode="create") is Answer.EXISTS
    assert answer("cat_file", f"{bucket}/errors/one", start=3, end=5) is Answer.EMPTY_RANGE
    assert answer("cat_file", "Not_A_Bucket/x") in (Answer.SENSELESS, Answer.NO_BUCKET)


def test_a_server_that_does_not_listen_may_answer_later() -> None:
    s3fs = pytest.importorskip("s3fs")
    files = s3fs.S3FileSystem(
        endpoint_url="http://127.0.0.1:1", key="x", secret="y", skip_instance_cache=True
    )
    files.retries = 1

    with pytest.raises(Exception) as caught:
        files.cat_file("bucket/key")

    assert answer_of(caught.value) is Answer.LATER


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (FileExistsError(), Answer.EXISTS),
        (FileNotFoundError(), Answer.ABSENT),
        (PermissionError(), Answer.REFUSED),
        (OSError(28, "full"), Answer.NO_ROOM),
        (OSError(22, "senseless"), Answer.SENSELESS),
        (ValueError("senseless"), Answer.SENSELESS),
        (TimeoutError(), Answer.LATER),
        (ConnectionResetError(), Answer.LATER),
        (OSError(16, "busy"), Answer.LATER),
        (RuntimeError("what is this"), Answer.LATER),
    ],
)
def test_the_errors_of_python_are_understood(error: Exception, answer: Answer) -> None:
    assert answer_of(error) is answer


def test_patience_has_an_end_and_waits_that_grow() -> None:
    waits: list[float] = []
    asked = 0

    def busy() -> None:
        nonlocal asked
        asked += 1
        raise TimeoutError("busy")

    with pytest.raises(TimeoutError, match="busy"):
        patiently(busy, sleep=waits.append)

    assert asked == ATTEMPTS == len(waits) + 1
    assert sum(waits) < 30
    assert waits[-1] > 10 * waits[0]


def test_patience_is_not_tried_by_a_clear_answer() -> None:
    waits: list[float] = []

    def absent() -> None:
        raise FileNotFoundError

    with pytest.raises(FileNotFoundError):
        patiently(absent, sleep=waits.append)

    assert waits == []


# --- a place where two writers both win --------------------------------------------------------


def test_a_server_that_ignores_the_condition_is_refused_when_a_store_is_made(s3: str) -> None:
    place = f"{s3}/{secrets.token_hex(8)}"
    with (
        fault_proxy(moto_port(), 0, change=without_condition) as proxy,
        through(proxy),
        pytest.raises(Invalid, match="takes the place of the first"),
    ):
        init_store(place, secrets.token_hex(16))

    assert list(open_remote(place).list("")) == []
    assert open_remote(place)._files.find(place) == [], "what was tried is removed"


def test_a_server_that_ignores_the_condition_is_refused_at_the_first_write(
    s3: str, small_tree: Path
) -> None:
    place = f"{s3}/{secrets.token_hex(8)}"
    store = init_store(place, secrets.token_hex(16))
    import_tree(store, small_tree, MAIN, stamp())
    before = {key: store.own.get(key) for key in store.own.list("")}
    with fault_proxy(moto_port(), 0, change=without_condition) as proxy, through(proxy):
        broken = open_store(place)
        assert [record.name for record in log(broken, MAIN)] == [f"{MAIN}@1"], "reading is fine"
        for _ in range(2):
            with pytest.raises(Invalid, match="does not keep the condition of a put"):
                fork(broken, MAIN, "cxis0113/other", stamp())

    assert {key: store.own.get(key) for key in store.own.list("")} == before


class LateFileSystem(MemoryFileSystem):  # type: ignore[misc]
    """A file system that looks whether a file is there, thinks, and writes."""

    protocol = "late"
    store: dict[str, object] = {}  # noqa: RUF012

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return super()._strip_protocol(path.replace("late://", "memory://"))

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **more: object) -> None:
        import time

        if mode == "create" and self.exists(path):
            raise FileExistsError(path)
        time.sleep(0.01)
        super().pipe_file(path, value)


def test_a_check_and_then_a_write_is_found_by_racing() -> None:
    fsspec.register_implementation("late", LateFileSystem, clobber=True)

    with pytest.raises(Invalid, match="at once several won"):
        init_store("late://somewhere/store", secrets.token_hex(16))

    with pytest.raises(NotFound):
        open_store("late://somewhere/store")


def test_a_good_place_passes_and_nothing_is_left_there() -> None:
    backend = MemoryBackend()

    probe.prove(backend, "0" * 32)

    assert list(backend.list("")) == []
