"""A calib directory that is read, written by others and updated all day, with kills in between."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from builders import stamp
from commandline import EPIX, OPAL, pedestals_text, snapshot, write_tree

from calstore.formats.calib_tree import name_remark
from calstore.model.runs import RunRange
from calstore.repository.import_tree import import_tree
from calstore.repository.materialize import materialize
from calstore.repository.store import init_store, open_store
from calstore.views.state import status

UPDATES = 1000
KILLS = 50
SHAPE = (40, 50)
LIVE = 0x7FFFFFFF  # the run that live AMI asks for


@pytest.fixture
def fast_folder() -> Iterator[Path]:
    """In memory where there is such a place: thousands of fsyncs are not what is tested."""
    place = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=place) as name:
        yield Path(name)


def versions() -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Two sets in which runs get something else by files changed, added and removed.

    In the wrong order, a run would get what it gets in neither: run 4 the new 1-end if that came
    before 3-end, run 26 the 20-40 if 25-28 went before that.
    """
    history = b"file:1-end.data  copy_of:a  exp:xpp  run:0001\n"
    first = {
        f"{OPAL}/pedestals/1-end.data": pedestals_text(1, SHAPE),
        f"{OPAL}/pedestals/5-9.data": pedestals_text(2, SHAPE),
        f"{OPAL}/pedestals/20-40.data": pedestals_text(3, SHAPE),
        f"{OPAL}/pedestals/25-28.data": pedestals_text(4, SHAPE),
        f"{OPAL}/pedestals/HISTORY": history,
        f"{OPAL}/pixel_rms/1-end.data": pedestals_text(5, SHAPE),
        f"{EPIX}/geometry/0-end.data": b"# one\nIP 0 CAMERA 0  0 0 0  0 0 0  0 0 0\n",
    }
    second = {
        f"{OPAL}/pedestals/1-end.data": pedestals_text(11, SHAPE),
        f"{OPAL}/pedestals/3-end.data": pedestals_text(12, SHAPE),
        f"{OPAL}/pedestals/7-end.data": pedestals_text(13, SHAPE),
        f"{OPAL}/pedestals/7-8.data": pedestals_text(14, SHAPE),
        f"{OPAL}/pedestals/HISTORY": history + b"file:7-end.data  copy_of:b  run:0007\n",
        f"{OPAL}/pixel_rms/1-end.data": pedestals_text(15, SHAPE),
        f"{OPAL}/pixel_gain/0-end.data": pedestals_text(16, SHAPE),
        f"{OPAL}/pixel_gain/HISTORY": b"file:0-end.data  copy_of:c\n",
        f"{EPIX}/geometry/0-end.data": b"# two\nIP 0 CAMERA 0  0 0 0  0 0 0  0 0 0\n",
    }
    return first, second


RUNS = {
    f"{OPAL}/pedestals": (1, 3, 4, 5, 7, 8, 9, 10, 21, 25, 26, 28, 30, 41, 8999, LIVE),
    f"{OPAL}/pixel_rms": (1, 137, LIVE),
    f"{EPIX}/geometry": (0, 137, LIVE),
}


def chosen(names: list[str], run: int) -> str | None:
    """The file that psana takes for a run, among names that it does not choke on."""
    ranges = [
        (parsed.first, -parsed.last, name)
        for name in names
        if name.endswith(".data") and (parsed := RunRange.parse(name[:-5])).holds(run)
    ]
    return max(ranges)[2] if ranges else None


def gotten(files: dict[str, bytes], folder: str, run: int) -> bytes:
    """What a run gets of a set."""
    names = [path.rpartition("/")[2] for path in files if path.startswith(f"{folder}/")]
    name = chosen(names, run)
    assert name is not None
    return files[f"{folder}/{name}"]


class Reader(threading.Thread):
    """Looks at the directory again and again, and keeps what is wrong with it."""

    def __init__(self, check: Callable[[], str | None]) -> None:
        super().__init__(daemon=True)
        self.check = check
        self.done = threading.Event()
        self.rounds = 0
        self.problems: list[str] = []

    def run(self) -> None:
        while not self.done.is_set():
            try:
                problem = self.check()
            except Exception as error:
                problem = repr(error)
            if problem is not None:
                self.problems.append(problem)
            self.rounds += 1
            time.sleep(0.0005)

    def stop(self) -> None:
        self.done.set()
        self.join()


class Readings:
    """What psana finds for each run: the constant of one version or of the other, whole.

    What a moment shows is read between two looks at the folder; were the files not the same, it is
    no moment, and is looked at again. The names alone would not do: they are as before too when the
    directory went to the other version and back meanwhile. (`test_updates` looks at every moment.)
    """

    def __init__(self, dest: Path, *versions: dict[str, bytes]) -> None:
        self.dest = dest
        self.allowed = {
            (folder, run): {gotten(each, folder, run): n for n, each in enumerate(versions)}
            for folder, runs in RUNS.items()
            for run in runs
        }
        self.seen: Counter[int] = Counter()

    def check(self) -> str | None:
        for (folder, run), allowed in self.allowed.items():
            names, data = self._moment(folder, run)
            for name in names:
                if name_remark(name) is not None:
                    return f"psana would choke on {folder}/{name}"
            if data is None:
                return f"run {run} gets nothing in {folder}: {names}"
            if data not in allowed:
                return f"run {run} gets a third one in {folder}: {names}, {data[:20]!r}"
            self.seen[allowed[data]] += 1
        return None

    def _moment(self, folder: str, run: int) -> tuple[list[str], bytes | None]:
        while True:
            files = self._files(folder)
            names = sorted(files)
            name = chosen([name for name in names if name_remark(name) is None], run)
            data = None
            if name is not None:
                with contextlib.suppress(FileNotFoundError):
                    data = (self.dest / folder / name).read_bytes()
            if self._files(folder) == files:
                return names, data

    def _files(self, folder: str) -> dict[str, int]:
        """What psana looks at, all that ends in ``.data``, with the inodes behind the names."""
        with os.scandir(self.dest / folder) as entries:
            return {each.name: each.inode() for each in entries if each.name.endswith(".data")}


class Neighbour(threading.Thread):
    """Tools that know nothing of calstore, in the same folders: nothing of theirs may be lost."""

    def __init__(self, dest: Path) -> None:
        super().__init__(daemon=True)
        self.dest = dest
        self.done = threading.Event()
        self.lines: dict[str, list[bytes]] = {}
        self.files: dict[str, bytes] = {}
        self.problems: list[str] = []

    def run(self) -> None:
        number = 0
        while not self.done.is_set():
            number += 1
            try:
                self._work(number)
            except OSError as error:
                self.problems.append(f"{number}: {error!r}")
            time.sleep(0.002)

    def _work(self, number: int) -> None:
        text = b"number %d\n" % number
        # as all deployment tools do it: in place, then a line of HISTORY
        self._cat(f"{OPAL}/pedestals/9000-9005.data", pedestals_text(number % 7, SHAPE))
        self._note(f"{OPAL}/pedestals/HISTORY", b"file:9000-9005.data  " + text)
        self._cat(f"{OPAL}/pedestals/{number % 50}-end.data-2024-01-01T00:00:00", text)
        self._replace("pedestal_workdir/summary.txt", text)
        self._replace(f"{OPAL}/pixel_rms/notes", text)
        self._cat(f"{OPAL}/pixel_bkgd/{number % 30}-end.data", text)
        self._cat(f"Other::CalibV1/Det.{number % 40}:Opal1000.0/pedestals/0-end.data", text)
        (self.dest / OPAL / f"empty-{number % 20}").mkdir(exist_ok=True)
        if (self.dest / OPAL / "pixel_gain").is_dir() and number % 3 == 0:
            self._note(f"{OPAL}/pixel_gain/HISTORY", b"file:9-end.data  " + text)

    def _cat(self, path: str, data: bytes) -> None:
        (self.dest / path).parent.mkdir(parents=True, exist_ok=True)
        with (self.dest / path).open("wb") as file:
            file.write(data)
        self.files[path] = data

    def _replace(self, path: str, data: bytes) -> None:
        (self.dest / path).parent.mkdir(parents=True, exist_ok=True)
        temporary = self.dest / f"{path}.new"
        temporary.write_bytes(data)
        temporary.replace(self.dest / path)
        self.files[path] = data

    def _note(self, path: str, line: bytes) -> None:
        with (self.dest / path).open("ab") as file:
            file.write(line)
        self.lines.setdefault(path, []).append(line)

    def stop(self) -> None:
        self.done.set()
        self.join()

    def missing(self) -> list[str]:
        """What is not there, or not as it was left."""
        lost = [
            path
            for path, data in self.files.items()
            if not (self.dest / path).is_file() or (self.dest / path).read_bytes() != data
        ]
        for path, lines in self.lines.items():
            there = (self.dest / path).read_bytes().splitlines(keepends=True)
            lost += [f"{path}: {line!r}" for line in set(lines) - set(there)]
        folders = (f"{OPAL}/empty-{number}" for number in range(20))
        return lost + [path for path in folders if not (self.dest / path).is_dir()]


def update_with_kills(store: Path, dest: Path, generations: int, folder: Path) -> int:
    """Run all updates in processes of which most are killed; how many kills there were."""
    counter, kills = folder / "counter", 0
    words = [sys.executable, str(Path(__file__).with_name("live_updates.py"))]
    words += [str(store), str(dest), str(counter), str(UPDATES), str(generations)]
    chance = random.Random(3)
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        while True:
            start = _size(counter)
            server.stdin.write("go on\n")
            server.stdin.flush()
            child = int(server.stdout.readline())
            if kills < KILLS:
                # Let it begin, so that the kill falls somewhere into an update.
                while _size(counter) < start + 10 and _is_running(child):
                    time.sleep(0.001)
                time.sleep(chance.random() * 0.02)
                if _is_running(child):
                    os.kill(child, signal.SIGKILL)
                    kills += 1
            ended = int(server.stdout.readline())
            assert ended in (0, -signal.SIGKILL)
            if ended == 0:
                server.stdin.close()
                return kills


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def two_versions(folder: Path) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """A store with the two versions."""
    both = versions()
    store = init_store(folder / "store", "0" * 32)
    for number, files in enumerate(both):
        import_tree(store, write_tree(folder / str(number), files), "xpp/main", stamp())
    return both


def test_readers_and_neighbours_live_through_updates_and_kills(fast_folder: Path) -> None:
    first, second = two_versions(fast_folder)
    store, dest = open_store(fast_folder / "store"), fast_folder / "calib"
    materialize(store, store["xpp/main@1"], dest)
    readings = Readings(dest, first, second)
    reader, neighbour = Reader(readings.check), Neighbour(dest)
    reader.start()
    neighbour.start()

    kills = update_with_kills(fast_folder / "store", dest, 0, fast_folder)
    reader.stop()
    neighbour.stop()

    assert kills == KILLS
    assert reader.problems == []
    assert min(readings.seen[0], readings.seen[1]) > 1000
    assert neighbour.problems == []
    assert len(neighbour.files) > 100
    assert len(neighbour.lines) == 2
    assert neighbour.missing() == []
    materialize(store, store["xpp/main@1"], dest)
    for path, data in first.items():
        if not path.endswith("HISTORY"):
            assert (dest / path).read_bytes() == data
    assert [path for path in snapshot(dest) if ".calstore-tmp-" in path] == []
    assert set(status(dest).added) == {
        path for path in neighbour.files if path.endswith(".data") and path.count("/") == 3
    }
    assert set(status(dest).modified) <= neighbour.lines.keys()
    assert status(dest).deleted == ()


def test_with_generations_no_reader_sees_a_mixture(fast_folder: Path) -> None:
    first, second = two_versions(fast_folder)
    store, dest = open_store(fast_folder / "store"), fast_folder / "calib"
    materialize(store, store["xpp/main@1"], dest, generations=8)
    seen: Counter[str] = Counter()

    def read() -> str | None:
        one = dest.resolve()
        found = {
            path: data
            for path, data in snapshot(one).items()
            if isinstance(data, bytes) and not path.startswith(".calstore")
        }
        if not one.exists():
            seen["too slow"] += 1  # for eight generations
            return None
        seen["first" if found == first else "second"] += 1
        return None if found in (first, second) else f"a mixture in {one}: {sorted(found)}"

    reader = Reader(read)
    reader.start()
    kills = update_with_kills(fast_folder / "store", dest, 8, fast_folder)
    reader.stop()

    assert kills == KILLS
    assert reader.problems == []
    assert min(seen["first"], seen["second"]) > 50
    materialize(store, store["xpp/main@1"], dest, generations=8)
    kept = fast_folder / ".calib.generations"
    assert len([path for path in kept.iterdir() if path.name.isdecimal()]) <= 8
    assert [path.name for path in kept.iterdir() if not path.name.isdecimal()] == []
    assert [path.name for path in fast_folder.iterdir() if "calstore-tmp" in path.name] == []
    assert status(dest).is_clean
    for path in kept.rglob("*"):  # so that the folder can be taken away
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
    shutil.rmtree(kept)
