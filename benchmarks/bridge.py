"""The rate of the bridge against that of psana alone, on the same xtc2 file in page cache.

Usage: ``CALSTORE_PSANA_PYTHON=… python benchmarks/bridge.py [REPEATS]``. The two are measured in
turns: from the first frame to the last, and a whole pass with the start of psana's process. psana
gives frames of one panel as a view of its own buffer, which nobody looks at here; the bridge must
copy them once, so this is the hardest case for it. Ends with 1 where the frames come at less than
0.8 of psana's rate.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from calstore.frames.psana import open_psana
from calstore.model.inputs import Selection

LEAST = 0.8
WRITER = Path(__file__).parents[1] / "tests/xtc2_files.py"
ALONE = """
import sys, time
from psana import DataSource
run = next(DataSource(files=sys.argv[1], skip_calib_load="all").runs())
camera = run.Detector(sys.argv[2]).raw
count, started = 0, None
for step in run.steps():
    for event in step.events():
        frame = camera.raw(event)
        started = started or time.perf_counter()
        count += frame is not None
print((count - 1) / (time.perf_counter() - started))
"""
KINDS = {
    "epix100 (704,768)": ("epix100", ["1"], (704, 768), 3000),
    "epix10ka quad (4,352,384)": ("epix10ka", list("1234"), (4, 352, 384), 1000),
    "jungfrau 1M (2,512,1024)": ("jungfrau", list("12"), (2, 512, 1024), 500),
}


def written(folder: Path, python: str, kind: str) -> Path:
    """An xtc2 file of so many frames."""
    name, serials, shape, count = KINDS[kind]
    rng = np.random.default_rng(1)
    few = rng.normal(3000, 15, (50, *shape)).round().astype(np.uint16)
    np.save(folder / "frames.npy", np.tile(few, (count // 50, *(1,) * len(shape))))
    file = folder / f"{name}.xtc2"
    plan = {
        "out": str(file),
        "experiment": "tstx00125",
        "run": 1,
        "detectors": {name: {"kind": name, "serials": serials}},
        "steps": [{"frames": {name: str(folder / "frames.npy")}}],
    }
    environment = environment_of()
    subprocess.run([python, WRITER, json.dumps(plan)], env=environment, check=True)
    return file


def environment_of() -> dict[str, str]:
    root = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    return {**os.environ, **root, "PS_PARALLEL": "none"}


def alone(python: str, file: Path, detector: str) -> tuple[float, float]:
    """Frames per second that psana gives to a loop in its own process, and seconds of a pass."""
    began = time.perf_counter()
    done = subprocess.run(
        [python, "-c", ALONE, file, detector],
        env=environment_of(),
        check=True,
        capture_output=True,
        text=True,
    )
    return float(done.stdout.split()[-1]), time.perf_counter() - began


def bridged(python: str, file: Path, detector: str) -> tuple[float, float]:
    """Frames per second that arrive here, and seconds of a pass.

    The first block was filled before the clock starts, as the last one before it stops.
    """
    source = open_psana(files=[file], python=python, environment=os.environ)
    count, started, began = 0, 0.0, time.perf_counter()
    with source.blocks({detector: Selection()}) as blocks:
        for block in blocks:
            if started:
                count += len(block.numbers)
            started = started or time.perf_counter()
            np.add.reduce(block.frames.reshape(-1)[::2048])
        ended = time.perf_counter()
    return count / (ended - started), time.perf_counter() - began


def main(repeats: int) -> int:
    python = os.environ["CALSTORE_PSANA_PYTHON"]
    worst = float("inf")
    for kind, (detector, _, shape, _) in KINDS.items():
        with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
            file = written(Path(folder), python, kind)
            rates = [
                (alone(python, file, detector), bridged(python, file, detector))
                for _ in range(repeats)
            ]
        ratios = [there[0] / one[0] for one, there in rates]
        passes = statistics.median(one[1] / there[1] for one, there in rates)
        worst = min(worst, statistics.median(ratios))
        one, there = (
            statistics.median(rate for rate, _ in each) for each in zip(*rates, strict=True)
        )
        megabytes = 2 * np.prod(shape) / 1e6
        print(
            f"{kind}: psana alone {one:.0f} frames/s ({one * megabytes:.0f} MB/s), bridge "
            f"{there:.0f} ({there * megabytes:.0f} MB/s); ratio {statistics.median(ratios):.2f} "
            f"({min(ratios):.2f} to {max(ratios):.2f}, {repeats} pairs); of a pass {passes:.2f}"
        )
    print(f"least ratio {worst:.2f}, wanted {LEAST}")
    return int(worst < LEAST)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 5))
