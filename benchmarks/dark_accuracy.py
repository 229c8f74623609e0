"""How true the constants of the dark recipes are, on simulated frames whose truth is known.

Frames of one epix100 panel (704, 768) in four chips at levels of their own, Gaussian noise rounded
to whole ADU, and in the second kind of run particle hits: one value in a hundred has an exponential
signal on top. Bad pixels are planted: dead (constant), zero, saturated, and hot (five times the
noise). psana is its own DarkProc of psana 4.3.4, in the Python that CALSTORE_PSANA_PYTHON names.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from calstore.darks.constants import derive
from calstore.darks.recipe import recipe_for
from calstore.darks.sums import Accumulator

Array = np.ndarray[Any, np.dtype[Any]]

SHAPE = (704, 768)
LEVELS = (2800.0, 3000.0, 3010.0, 3300.0)
PLANTED = 200
KINDS = ("dead", "zero", "saturated", "hot")
HIT_RATE = 0.01
HIT_ADU = 1000.0
BLOCK = 50


@dataclass(frozen=True, slots=True)
class Truth:
    """What the frames were made from; the mean is that of the clean values of each pixel."""

    pedestals: Array
    plain_mean: Array
    plain_rms: Array
    sigma: float
    bad: dict[str, Array]

    @property
    def is_good(self) -> Array:
        good = np.ones(SHAPE, bool)
        for chosen in self.bad.values():
            good.reshape(-1)[chosen] = False
        return good


@dataclass(frozen=True, slots=True)
class Result:
    name: str
    pedestals: Array
    rms: Array
    status: Array


def make(path: Path, frames: int, sigma: float, hit_rate: float, seed: int) -> Truth:
    """Write the frames, and tell what they were made from."""
    random = np.random.default_rng(seed)
    rows, columns = SHAPE
    chips = np.repeat(np.repeat(np.reshape(LEVELS, (2, 2)), rows // 2, 0), columns // 2, 1)
    pedestals = chips + random.normal(0, 20, SHAPE)
    places = random.permutation(rows * columns)[: PLANTED * len(KINDS)].reshape(len(KINDS), -1)
    bad = dict(zip(KINDS, places, strict=True))
    data = np.lib.format.open_memmap(path, "w+", np.uint16, (frames, *SHAPE))
    total, squares = np.zeros(SHAPE), np.zeros(SHAPE)
    for number in range(frames):
        values = np.rint(pedestals + random.standard_normal(SHAPE, np.float32) * sigma)
        total += values - chips
        squares += np.square(values - chips)
        if hit_rate:
            hits = random.random(SHAPE, np.float32) < hit_rate
            values[hits] += random.exponential(HIT_ADU, int(hits.sum()))
        flat = values.reshape(-1)
        flat[bad["hot"]] = random.normal(4000, 5 * sigma, PLANTED)
        flat[bad["dead"]], flat[bad["zero"]], flat[bad["saturated"]] = 3000, 0, 65535
        data[number] = np.clip(values, 0, 65535)
    data.flush()
    mean = total / frames
    return Truth(pedestals, chips + mean, np.sqrt(squares / frames - mean**2), sigma, bad)


def with_recipe(path: Path, name: str) -> Result:
    recipe = recipe_for(name, "epix100", "uint16")
    frames = np.load(path, mmap_mode="r")
    sums = Accumulator(recipe, SHAPE, frames.dtype)
    for start in range(0, len(frames), BLOCK):
        sums.add(frames[start : start + BLOCK])
    made = derive(sums.finish(), recipe)
    return Result(
        name, made.pedestals.astype(float), made.pixel_rms.astype(float), made.pixel_status
    )


def with_psana(path: Path, python: str) -> Result:
    script = Path(__file__).resolve().parents[1] / "tests" / "psana_darks.py"
    result = path.with_suffix(".npz")
    asked = {"class": "DarkProc", "filled": False, "datbits": 0xFFFF, "nrecs1": 50}
    subprocess.run(
        [python, script, path, result, json.dumps(asked)],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={
            **os.environ,
            "PS_PARALLEL": "none",
            "OMPI_ALLOW_RUN_AS_ROOT": "1",
            "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        },
    )
    with np.load(result) as made:
        return Result("psana 4.3.4", made["pedestals"], made["rms"], made["status"])


def row(result: Result, truth: Truth, frames: int) -> str:
    """One line of the table: figures over the pixels that are not planted."""
    good = truth.is_good
    off = (result.pedestals - truth.pedestals)[good]
    plain = (truth.plain_mean - truth.pedestals)[good].std()
    flat = result.status.reshape(-1)
    found = {kind: int((flat[chosen] != 0).sum()) for kind, chosen in truth.bad.items()}
    missed = ", ".join(f"{kind} {PLANTED - n}" for kind, n in found.items() if n < PLANTED)
    false = int((result.status[good] != 0).sum())
    return (
        f"| {truth.sigma:g} | {frames} | {result.name} | {off.mean() / truth.sigma:+.4f} "
        f"| {off.std() / plain:.3f} | {result.rms[good].mean() / truth.plain_rms[good].mean():.4f} "
        f"| {sum(found.values())} of {PLANTED * len(KINDS)}{f' (not: {missed})' if missed else ''} "
        f"| {false} ({false / good.sum():.1e}) |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--psana", default=os.environ.get("CALSTORE_PSANA_PYTHON"))
    arguments = parser.parse_args()
    print(
        "| σ, ADU | frames | recipe | bias, σ | scatter ÷ plain mean's | rms ÷ σ | found bad "
        "| false bad |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for hit_rate in (0.0, HIT_RATE):
        print(f"| | | **{hit_rate:.0%} of values with particle hits** | | | | | |")
        for sigma in (3.0, 15.0):
            with TemporaryDirectory() as folder:
                path = Path(folder) / "frames.npy"
                truth = make(path, arguments.frames, sigma, hit_rate, arguments.seed)
                results = [with_recipe(path, name) for name in ("robust", "psana")]
                if arguments.psana:
                    results.append(with_psana(path, arguments.psana))
            for result in results:
                print(row(result, truth, arguments.frames), flush=True)


if __name__ == "__main__":
    main()
