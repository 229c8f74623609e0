"""Corrections of a jungfrau 4M: calstore's against psana's compiled calib, frame by frame.

Usage: ``CALSTORE_PSANA_PYTHON=… python benchmarks/correct.py [FRAMES]``. psana's own C++ function
(cversion 3) runs in its python on one core, on the same constants and frames; both are warm. Then
the same frame is read from a file in memory and written as float32. Ratios of one run count.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from calstore.correct import kernels
from calstore.correct.corrections import Corrections, prepared

SHAPE = (8, 512, 1024)
PSANAS = """
import json, sys, time
import numpy as np
from psana.detector.UtilsJungfrau import ud
folder, frames = sys.argv[1], int(sys.argv[2])
c = {n: np.load(f"{folder}/{n}.npy") for n in ("pedestals", "pixel_gain", "pixel_offset", "raw")}
good = (np.load(f"{folder}/pixel_status.npy") == 0).all(axis=0)
po, gm = c["pedestals"] + c["pixel_offset"], good / c["pixel_gain"]
zero = np.zeros(po[0].size)
pairs = [np.vstack((po[i].ravel(), gm[i].ravel())).T for i in range(3)]
pairs.insert(2, np.vstack((zero, zero)).T)
constants = np.ascontiguousarray(np.vstack(pairs), np.float32).ravel()
out = np.zeros(po[0].size, np.float32)
seconds = []
for n in range(frames):
    began = time.perf_counter()
    ud.calib_jungfrau_v3(c["raw"], constants, 512 * 1024, out)
    seconds.append(time.perf_counter() - began)
np.save(f"{folder}/psana.npy", out)
print(json.dumps(sorted(seconds)[len(seconds) // 2]))
"""


def median_s(work: Callable[[], object], frames: int) -> float:
    """The middle one of so many."""
    seconds = []
    for _ in range(frames):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def main() -> None:
    """Print the milliseconds per frame, and their ratios."""
    frames = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    random = np.random.default_rng(1)
    constants = {
        "pedestals": random.normal(2000, 20, (3, *SHAPE)).astype(np.float32),
        "pixel_gain": random.uniform(1, 40, (3, *SHAPE)).astype(np.float32),
        "pixel_offset": random.normal(3, 1, (3, *SHAPE)).astype(np.float32),
        "pixel_status": (random.random((3, *SHAPE)) < 0.01).astype(np.uint64),
    }
    switched = random.choice([0, 1, 3], SHAPE, p=[0.98, 0.015, 0.005]).astype(np.uint16)
    raw = random.integers(1900, 9000, SHAPE).astype(np.uint16) | (switched << 14)
    correction = prepared("jungfrau", constants, Corrections(), "divides")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        folder = Path(name)
        for key, array in {**constants, "raw": raw}.items():
            np.save(folder / f"{key}.npy", array)
        mine = correction(raw)
        two = median_s(lambda: correction(raw), frames)
        alone, kernels._ALONE = kernels._ALONE, 10**9
        one = median_s(lambda: correction(raw), frames)
        kernels._ALONE = alone

        def through() -> None:
            np.save(folder / "out.npy", np.load(folder / "raw.npy").astype(np.float32))

        io = median_s(through, frames)
        words = [os.environ["CALSTORE_PSANA_PYTHON"], "-c", PSANAS, name, str(frames)]
        environment = {**os.environ, "PS_PARALLEL": "none", "OMPI_ALLOW_RUN_AS_ROOT": "1"}
        environment["OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"] = "1"
        done = subprocess.run(words, env=environment, check=True, capture_output=True, text=True)
        psana = float(json.loads(done.stdout.splitlines()[-1]))
        difference = np.abs(np.load(folder / "psana.npy").reshape(SHAPE) - mine).max()
    print(f"largest difference from psana's: {difference:.2g}")
    for what, seconds in (("one thread", one), ("two threads", two), ("psana's C++", psana)):
        print(f"{what:12} {1e3 * seconds:6.2f} ms a frame")
    print(f"read and written as float32 {1e3 * io:6.2f} ms")
    print(f"one thread / psana's {one / psana:.2f} (limit 1), two {two / psana:.2f}")
    print(f"two threads / reading and writing {two / io:.2f} (limit 2)")


if __name__ == "__main__":
    main()
