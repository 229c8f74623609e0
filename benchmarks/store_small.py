"""Small things, timed inside one process: fork, resolve, and many small arrays.

Prints JSON; `store.py` runs it and sets the limits.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np

import calstore
from calstore.model.arrays import ArrayReference
from calstore.model.manifests import Constant, DetectorManifest, SetManifest
from calstore.model.names import RefName
from calstore.model.runs import RunRange
from calstore.repository.commit import commit
from calstore.repository.store import Store
from calstore.store import arrays, objects

FORKS = 40
ASKED_RUNS = 2000
ARRAYS = 200
ARRAY_ROUNDS = 3
IMPORT_THREADS = 4
GROUP = "Epix100a::CalibV1"


def main(work: Path) -> None:
    store = calstore.init(work / "small-store", "0" * 32)
    shared = arrays.put(store.backend, np.arange(4, dtype=np.float32))
    make_version(store, "small/one", shared, detectors=1)
    make_version(store, "small/hundred", shared, detectors=100)
    figures = {**forks(store, work), **resolving(store), **small_arrays(work)}
    print(json.dumps(figures))


def make_version(store: Store, name: str, shared: ArrayReference, *, detectors: int) -> None:
    """A version whose detectors have 1,000 pedestals each, all of them one tiny array."""
    found = {}
    for number in range(detectors):
        by_range = {RunRange(first, first + 8): Constant(shared) for first in range(1000)}
        # One more constant makes each detector's manifest another one.
        status = {RunRange(number, number): Constant(shared)}
        manifest = DetectorManifest({"pedestals": by_range, "pixel_status": status})
        reference = objects.put(store.backend, objects.MANIFESTS, manifest.encoded())
        found[GROUP, f"XppGon.0:Epix100a.{number}"] = reference
    reference = objects.put(store.backend, objects.MANIFESTS, SetManifest(found).encoded())
    commit(
        store,
        RefName(name),
        reference,
        base=None,
        stamp=calstore.stamp(),
        operation="import",
        what="a version for a benchmark",
    )


def forks(store: Store, work: Path) -> dict[str, float]:
    """Seconds of forks and of the least that is durable, interleaved; bytes of a fork."""
    bare = work / "bare"
    bare.mkdir()
    record = os.urandom(500)
    times: dict[str, list[float]] = {"fork_one": [], "fork_hundred": [], "bare_create": []}
    before = apparent_bytes(work / "small-store")
    for number in range(FORKS):
        for size in ("one", "hundred"):
            new, stamp = f"small/{size}-{number}", calstore.stamp("try a mask")
            spent = seconds(calstore.fork, store, f"small/{size}", new, stamp)
            times[f"fork_{size}"].append(spent)
        times["bare_create"].append(seconds(bare_create, bare / str(number), record))
    added = apparent_bytes(work / "small-store") - before
    return {
        **{name: median(values) for name, values in times.items()},
        "fork_bytes": added / (2 * FORKS),
    }


def bare_create(folder: Path, data: bytes) -> None:
    """A durable new file in a new folder: what no record can do without."""
    folder.mkdir()
    temporary, final = folder / ".tmp", folder / "00000001"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o444)
    os.write(descriptor, data)
    os.fsync(descriptor)
    os.close(descriptor)
    os.link(temporary, final)
    temporary.unlink()
    fsync_folder(folder)
    fsync_folder(folder.parent)


def resolving(store: Store) -> dict[str, float]:
    """Seconds to find which of 1,000 ranges a run gets, the timeline made before."""
    detector = store["small/one"]["Epix100a.0"]
    runs = random.Random(20261122).choices(range(1000), k=ASKED_RUNS)

    def resolve(run: int) -> None:
        detector.at(run)["pedestals"]

    first = seconds(resolve, runs[0])
    warm = [seconds(resolve, run) for run in runs]
    return {"resolve_first": first, "resolve_warm": median(warm)}


def small_arrays(work: Path) -> dict[str, float]:
    """Seconds to store 200 new arrays durably, and to write them as ``.npy`` with fsync."""
    ways: dict[str, Callable[[Path, list[np.ndarray]], None]] = {
        "arrays_calstore": put_arrays,
        "arrays_threads": put_arrays_in_threads,
        "arrays_npy": save_arrays,
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    rng = np.random.default_rng(20261122)
    put_arrays(work / "warm-up", pedestals(rng, 1))
    for number in range(ARRAY_ROUNDS):
        new = pedestals(rng, ARRAYS)
        for name, way in ways.items():
            folder = work / f"{name}-{number}"
            os.sync()
            times[name].append(seconds(way, folder, new))
            shutil.rmtree(folder)
    return {name: median(values) for name, values in times.items()}


def pedestals(rng: np.random.Generator, count: int) -> list[np.ndarray]:
    """Means of 1,000 integers, as a dark run gives them."""
    sums = np.rint(1000 * rng.normal(2600, 80, (count, 352, 384)))
    return list((sums / 1000).astype(np.float32))


def put_arrays(folder: Path, new: list[np.ndarray]) -> None:
    backend = calstore.init(folder, "0" * 32).backend
    for array in new:
        arrays.put(backend, array)
    backend.sync()


def put_arrays_in_threads(folder: Path, new: list[np.ndarray]) -> None:
    """As an import does."""
    backend = calstore.init(folder, "0" * 32).backend
    with ThreadPoolExecutor(IMPORT_THREADS) as pool:
        list(pool.map(partial(arrays.put, backend), new))
    backend.sync()


def save_arrays(folder: Path, new: list[np.ndarray]) -> None:
    folder.mkdir()
    for number, array in enumerate(new):
        with (folder / f"{number}.npy").open("wb") as file:
            np.save(file, array)
            file.flush()
            os.fsync(file.fileno())
    fsync_folder(folder)


def fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(descriptor)
    os.close(descriptor)


def apparent_bytes(root: Path) -> int:
    return sum(path.stat().st_size for path in root.rglob("*") if path.is_file())


def seconds(action: Callable[..., object], *arguments: object) -> float:
    begin = time.perf_counter()
    action(*arguments)
    return time.perf_counter() - begin


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if sys.argv[1:] else None) as folder:
        main(Path(folder))
