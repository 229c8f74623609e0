"""Structural diff of two large versions that differ in one constant, beside a bare decode.

The versions have 100 detectors with 1,000 constants each (8 types of 125 run ranges). The
yardstick is msgpack.unpackb and XXH3-128 of the two detector manifests that differ: what nobody
can do without.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import msgpack
import xxhash

import calstore
from calstore.model.arrays import ArrayReference, size_of
from calstore.model.digest import Reference, reference_to
from calstore.model.manifests import Constant, DetectorManifest, SetManifest
from calstore.model.records import Stamp
from calstore.model.runs import END, RunRange
from calstore.repository.change import Move, move, put_set, with_type
from calstore.repository.diff import diff, effects_of
from calstore.repository.store import Store, ref_name
from calstore.store import objects

REF = "xppn4116/main"
TYPES = (
    *("pedestals", "pixel_rms", "pixel_status", "pixel_gain"),
    *("pixel_offset", "pixel_mask", "pixel_bkgd", "status_extra"),
)
RANGES = 125
BARE = "bare decode of the two manifests that differ"


def constant(text: str) -> Constant:
    found = reference_to(text.encode())
    shape = (704, 768)
    content = Reference(found.digest, found.sha256, size_of("float32", shape))
    return Constant(ArrayReference(content, "float32", shape), source=found)


def detector(number: int) -> DetectorManifest:
    return DetectorManifest(
        {
            name: {RunRange(run, END): constant(f"{number} {name} {run}") for run in range(RANGES)}
            for name in TYPES
        }
    )


def stamp() -> Stamp:
    return calstore.stamp("benchmark")


def prepare(store: Store, detectors: int) -> None:
    """Two records: a large set, and the same with one other constant."""
    keys = [("Epix100a::CalibV1", f"XppGon.{number}:Epix100a.0") for number in range(detectors)]
    references = {
        key: objects.put(store.backend, objects.MANIFESTS, detector(number).encoded())
        for number, key in enumerate(keys)
    }
    first = put_set(store, SetManifest(references))
    move(store, ref_name(REF), lambda _: Move(first, "made"), stamp(), "set", may_be_new=True)

    def changed(version: calstore.Version | None) -> Move:
        assert version is not None
        key = keys[detectors // 2]
        before = version.detector(key).manifest.constants["pedestals"]
        runs = RunRange(60, END)
        after = {**before, runs: replace(before[runs], content=constant("new").content)}
        return Move(with_type(version, key, "pedestals", after), "one constant")

    move(store, ref_name(REF), changed, stamp(), "set")


def milliseconds(acts: dict[str, Callable[[], object]], repeat: int) -> dict[str, list[float]]:
    """Of each act; they take turns, so that a busy moment hits all alike."""
    times: dict[str, list[float]] = {name: [] for name in acts}
    for _ in range(repeat):
        for name, act in acts.items():
            start = time.perf_counter()
            act()
            times[name].append((time.perf_counter() - start) * 1e3)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--detectors", type=int, default=100)
    parser.add_argument("--repeat", type=int, default=30)
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        store = calstore.init(Path(folder) / "store", "0" * 32)
        prepare(store, options.detectors)
        one, other = store[f"{REF}@1"], store[f"{REF}@2"]
        found = diff(one, other)
        (difference,) = found.constants
        key = difference.detector
        data = [
            objects.get(store.backend, objects.MANIFESTS, side.manifest.detectors[key])
            for side in (one, other)
        ]

        def bare() -> None:
            for part in data:
                xxhash.xxh3_128(part).digest()
                msgpack.unpackb(part)

        rows: dict[str, Callable[[], object]] = {
            BARE: bare,
            "diff of two opened versions": lambda: diff(one, other),
            "diff, versions opened by name first": lambda: diff(
                store[f"{REF}@1"], store[f"{REF}@2"]
            ),
            "which runs notice": lambda: effects_of(found),
        }
        times = milliseconds(rows, options.repeat)
        for name, taken in times.items():
            ratio = median(mine / base for mine, base in zip(taken, times[BARE], strict=True))
            print(f"{name:48} {median(taken):7.2f} ms  (min {min(taken):.2f}, ×{ratio:.1f})")
        print(f"limit for the diff: 10 ms; bytes of one detector manifest: {len(data[0])}")


if __name__ == "__main__":
    main()
