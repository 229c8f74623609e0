"""A calib directory that is read, written by others and updated all day, with kills in between."""

from __future__ import annotations

import contextlib
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from builders import stamp
from commandline import EPIX, OPAL, pedestals_text, snapshot, write_tree

from calstore.repository.import_tree import import_tree
from calstore.repository.materialize import materialize
from calstore.repository.store import init_store
from calstore.views.state import status

UPDATES = 1000
KILLS = 50
KEPT = 8
PSANA_NAME = re.compile(r"\d{1,4}-(\d{1,4}|end)\.data")


@pytest.fixture
def fast_folder() -> Iterator[Path]:
    """In memory where there is such a place: thousands of fsyncs are not what is tested."""
    place = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=place) as name:
        yield Path(name)


def versions() -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Two sets of one dark each: files changed, added, removed, and a HISTORY that grows."""
    first = {
        f"{OPAL}/pedestals/1-end.data": pedestals_text(1, (40, 50)),
        f"{OPAL}/pedestals/5-9.data": pedestals_text(2, (40, 50)),
        f"{OPAL}/pixel_rms/1-end.data": pedestals_text(3, (40, 50)),
        f"{OPAL}/pedestals/HISTORY": b"file:1-end.data  copy_of:a  exp:xpp  run:0001\n",
        f"{EPIX}/geometry/0-end.data": b"# one\nIP 0 CAMERA 0  0 0 0  0 0 0  0 0 0\n",
    }
    second = {
        **first,
        f"{OPAL}/pedestals/1-end.data": pedestals_text(11, (40, 50)),
        f"{OPAL}/pedestals/7-end.data": pedestals_text(12, (40, 50)),
        f"{OPAL}/pixel_rms/1-end.data": pedestals_text(13, (40, 50)),
        f"{EPIX}/geometry/0-end.data": b"# two\nIP 0 CAMERA 0  0 0 0  0 0 0  0 0 0\n",
    }
    del second[f"{OPAL}/pedestals/5-9.data"]
    second[f"{OPAL}/pedestals/HISTORY"] += b"file:7-end.data  copy_of:b  exp:xpp  run:0007\n"
    return first, second


class Reader(threading.Thread):
    """Reads the directory as psana would, again and again, and keeps what it stumbles over."""

    def __init__(self, check: Callable[[], str | None]) -> None:
        super().__init__(daemon=True)
        self.check = check
        self.done = threading.Event()
        self.rounds = 0
        self.problems: list[str] = []

    def run(self) -> None:
        while not self.done.is_set():
            problem = self.check()
            if problem is not None:
                self.problems.append(problem)
            self.rounds += 1
            time.sleep(0.0005)


class Neighbour(threading.Thread):
    """A tool that knows nothing of calstore: appends to HISTORY, leaves files of its own."""

    def __init__(self, dest: Path) -> None:
        super().__init__(daemon=True)
        self.dest = dest
        self.done = threading.Event()
        self.lines: list[bytes] = []
        self.files: dict[str, bytes] = {}

    def run(self) -> None:
        while not self.done.is_set():
            number = len(self.lines)
            line = b"file:9-end.data  cmd:number %d  user:calibman\n" % number
            with (self.dest / OPAL / "pedestals" / "HISTORY").open("ab") as file:
                file.write(line)
            self.lines.append(line)
            name = f"{OPAL}/pedestals/{number % 50}-end.data-2024-01-01T00:00:00"
            (self.dest / name).write_bytes(line)
            self.files[name] = line
            time.sleep(0.003)


def update_with_kills(store: Path, dest: Path, generations: int, folder: Path) -> int:
    """Run all updates in processes of which most are killed; how many kills there were."""
    counter, kills = folder / "counter", 0
    words = [sys.executable, str(Path(__file__).with_name("live_updates.py"))]
    words += [str(store), str(dest), str(counter), str(UPDATES), str(generations)]
    chance = random.Random(3)
    while True:
        process = subprocess.Popen(words, stderr=subprocess.PIPE)
        start = counter.stat().st_size if counter.exists() else 0
        if kills < KILLS:
            # Let it begin, so that the kill falls somewhere into an update.
            while process.poll() is None and _size(counter) < start + 10:
                time.sleep(0.002)
            time.sleep(chance.random() * 0.02)
            process.send_signal(signal.SIGKILL)
            kills += 1
        _, said = process.communicate()
        assert process.returncode in (0, -signal.SIGKILL), said.decode()
        if process.returncode == 0:
            return kills


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def test_readers_and_neighbours_live_through_updates_and_kills(fast_folder: Path) -> None:
    first, second = versions()
    store = init_store(fast_folder / "store", "0" * 32)
    for number, files in enumerate((first, second)):
        import_tree(store, write_tree(fast_folder / str(number), files), "xpp/main", stamp())
    dest = fast_folder / "calib"
    materialize(store, store["xpp/main@1"], dest)
    whole = {data for files in (first, second) for data in files.values()}

    def read() -> str | None:
        for folder in (f"{OPAL}/pedestals", f"{OPAL}/pixel_rms", f"{EPIX}/geometry"):
            for name in names(dest / folder):
                if not name.endswith(".data"):
                    continue
                if not PSANA_NAME.fullmatch(name):
                    return f"psana would choke on {name}"
                with contextlib.suppress(FileNotFoundError):
                    if (dest / folder / name).read_bytes() not in whole:
                        return f"{folder}/{name} is not whole"
            if not any(PSANA_NAME.fullmatch(name) for name in names(dest / folder)):
                return f"nothing in {folder}"
        return None

    reader, neighbour = Reader(read), Neighbour(dest)
    reader.start()
    neighbour.start()
    kills = update_with_kills(fast_folder / "store", dest, 0, fast_folder)
    reader.done.set()
    neighbour.done.set()
    reader.join()
    neighbour.join()

    assert kills == KILLS
    assert reader.problems == []
    assert reader.rounds > 100
    history = (dest / OPAL / "pedestals" / "HISTORY").read_bytes()
    assert len(neighbour.lines) > 100
    assert [line for line in neighbour.lines if line not in history] == []
    for name in neighbour.files:
        assert (dest / name).exists(), name
    materialize(store, store["xpp/main@1"], dest)
    for path, data in first.items():
        if not path.endswith("HISTORY"):
            assert (dest / path).read_bytes() == data


def test_with_generations_no_reader_sees_a_mixture(fast_folder: Path) -> None:
    first, second = versions()
    store = init_store(fast_folder / "store", "0" * 32)
    for number, files in enumerate((first, second)):
        import_tree(store, write_tree(fast_folder / str(number), files), "xpp/main", stamp())
    dest = fast_folder / "calib"
    materialize(store, store["xpp/main@1"], dest, generations=KEPT)

    def read() -> str | None:
        one = dest.resolve()
        found = {
            path: data
            for path, data in snapshot(one).items()
            if isinstance(data, bytes) and not path.startswith(".calstore")
        }
        if int(dest.resolve().name) - int(one.name) >= KEPT - 1:
            return None  # the reader was so slow that what it looked into is kept no longer
        return None if found in (first, second) else f"a mixture in {one}: {sorted(found)}"

    reader = Reader(read)
    reader.start()
    kills = update_with_kills(fast_folder / "store", dest, KEPT, fast_folder)
    reader.done.set()
    reader.join()

    assert kills == KILLS
    assert reader.problems == []
    assert reader.rounds > 100
    materialize(store, store["xpp/main@1"], dest, generations=KEPT)
    kept = fast_folder / ".calib.generations"
    assert len([path for path in kept.iterdir() if path.name.isdecimal()]) <= KEPT
    assert status(dest).is_clean
    for path in kept.rglob("*"):  # so that the folder can be taken away
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
    shutil.rmtree(kept)
