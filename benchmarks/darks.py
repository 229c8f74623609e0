"""Dark processing at speed: our kernel beside one in C, one thread beside two, psana's own class.

Frames are uint16 in a ``.npy`` that is in the page cache: an epix10ka2M (16, 352, 384) and an
epix100 (704, 768), Gaussian noise, one pixel in 200 hot. The C kernels are compiled here with
``gcc -O3 -march=native`` and give the same outputs: one passes over whole frames, one over tiles
whose sums stay in cache. psana is DarkProc of psana 4.3.4, unmodified, on the same file, in the
Python that CALSTORE_PSANA_PYTHON names. Ratios are medians over interleaved rounds.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from calstore.darks import kernel
from calstore.darks.constants import derive
from calstore.darks.gates import gates_of
from calstore.darks.levels import Levels, over_pixels
from calstore.darks.recipe import DarkRecipe, recipe_for
from calstore.darks.sums import Accumulator

Array = np.ndarray[Any, np.dtype[Any]]

DETECTORS = {"Epix10ka2M": (16, 352, 384), "Epix100a": (704, 768)}
ONE_IN_HOT = 200
BLOCK = 64
CYCLES = 10

C_KERNELS = """
#include <stddef.h>
#include <stdint.h>
void add(const uint16_t *restrict frames, size_t n, size_t pixels, size_t tile, uint16_t mask,
         uint16_t low, uint16_t high, const uint16_t *restrict lo, const uint16_t *restrict hi,
         uint32_t *restrict inside, uint64_t *restrict total, uint64_t *restrict squares,
         uint32_t *restrict below, uint32_t *restrict above, uint16_t *restrict minimum,
         uint16_t *restrict maximum)
{
    for (size_t start = 0; start < pixels; start += tile) {
        size_t stop = start + tile < pixels ? start + tile : pixels;
        for (size_t k = 0; k < n; k++) {
            const uint16_t *restrict frame = frames + k * pixels;
            for (size_t i = start; i < stop; i++) {
                uint16_t v = frame[i] & mask;
                uint32_t in = (v >= lo[i]) & (v <= hi[i]);
                uint32_t r = in ? v : 0;
                inside[i] += in;
                total[i] += r;
                squares[i] += (uint64_t)(r * r);
                below[i] += v < low;
                above[i] += v > high;
                minimum[i] = v < minimum[i] ? v : minimum[i];
                maximum[i] = v > maximum[i] ? v : maximum[i];
            }
        }
    }
}
"""


def compiled(folder: Path) -> Callable[..., None]:
    """The C kernel."""
    source, library = folder / "kernel.c", folder / "kernel.so"
    source.write_text(C_KERNELS)
    subprocess.run(
        ["gcc", "-O3", "-march=native", "-shared", "-fPIC", "-o", library, source], check=True
    )
    function: Callable[..., None] = ctypes.CDLL(str(library)).add
    return function


def write_frames(path: Path, shape: tuple[int, ...], count: int) -> None:
    random = np.random.default_rng(1)
    noise = np.rint(random.normal(0, 15, (97, math.prod(shape)))).astype(np.int16)
    pedestals = random.integers(2500, 3500, math.prod(shape)).astype(np.int16)
    hot = random.choice(pedestals.size, pedestals.size // ONE_IN_HOT, replace=False)
    frames = np.lib.format.open_memmap(path, "w+", np.uint16, (count, *shape))
    for number in range(count):
        moved = np.roll(noise[number % 97], 1009 * (number // 97))
        frame = (pedestals + moved).astype(np.uint16)
        frame[hot] = random.integers(1, 16000, hot.size)
        frames[number] = frame.reshape(shape)
    frames.flush()


def blocks(path: Path, cycles: int = 1) -> Iterator[Array]:
    """The frames, read into one buffer again and again."""
    frames = np.load(path, mmap_mode="r")
    buffer = np.empty((BLOCK, *frames.shape[1:]), frames.dtype)
    for _ in range(cycles):
        with path.open("rb", buffering=0) as file:
            file.seek(frames.offset)
            for start in range(0, len(frames), BLOCK):
                block = buffer[: len(frames) - start]
                view = memoryview(block.reshape(-1)).cast("B")
                while view:
                    view = view[file.readinto(view) :]
                yield block


def timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


class Kernels:
    """Our kernel and those in C, on the same block with the same gates."""

    def __init__(self, block: Array, recipe: DarkRecipe, c_kernel: Callable[..., None]) -> None:
        self.levels = Levels.of(recipe, block.dtype)
        self.words, self.rows = self.levels.words(block), np.arange(len(block))
        self.gates = gates_of(block[: recipe.gate_frames], recipe, 2)
        self.gate_levels = self.gates.levels(self.levels)
        self.c_kernel = c_kernel

    def ours(self, sums: list[Array], threads: int) -> None:
        named, rule = kernel.Sums(*sums, np.zeros(0, bool)), self.levels.rule
        over_pixels(
            lambda pixels: kernel.add_16(
                self.words, self.rows, pixels, rule, self.gate_levels, named
            ),
            self.words.shape[1],
            threads,
        )

    def in_c(self, sums: list[Array], tile: int) -> None:
        count, pixels = self.words.shape
        rule = self.levels.rule
        size, pointer = ctypes.c_size_t, ctypes.c_void_p
        self.c_kernel(
            pointer(self.words.ctypes.data),
            *(size(number) for number in (count, pixels, tile or pixels)),
            *(ctypes.c_uint16(int(value)) for value in (rule.mask, rule.low, rule.high)),
            *(pointer(array.ctypes.data) for array in (self.gates.lo, self.gates.hi, *sums)),
        )

    def empty(self) -> list[Array]:
        """Count, sum and squares inside the gates, counts below and above, least and largest."""
        pixels = self.words.shape[1]
        dtypes = (np.uint32, np.uint64, np.uint64, np.uint32, np.uint32)
        return [
            *(np.zeros(pixels, dtype) for dtype in dtypes),
            np.full(pixels, 0xFFFF, np.uint16),
            np.zeros(pixels, np.uint16),
        ]

    def assert_equal(self) -> None:
        ours, theirs = self.empty(), self.empty()
        self.ours(ours, 1)
        self.in_c(theirs, 0)
        is_open = self.gates.is_open.reshape(-1)
        lower = self.gates.lo.reshape(-1).astype(np.uint64)
        inside = np.where(is_open, ours[0], 0).astype(np.uint64)
        assert np.array_equal(inside, theirs[0])
        assert np.array_equal(ours[1] + inside * lower, theirs[1])
        assert np.array_equal(ours[2] + lower * (2 * ours[1] + inside * lower), theirs[2])
        for mine, other in zip(ours[3:7], theirs[3:7], strict=True):
            assert np.array_equal(mine, other)


def compare_kernels(block: Array, recipe: DarkRecipe, c_kernel: Any, rounds: int) -> None:
    kernels = Kernels(block, recipe, c_kernel)
    kernels.assert_equal()
    sums = kernels.empty()
    ways: dict[str, Callable[[], object]] = {
        "ours, one thread": lambda: kernels.ours(sums, 1),
        "ours, two threads": lambda: kernels.ours(sums, 2),
        "C over whole frames": lambda: kernels.in_c(sums, 0),
        "C over tiles of 8192 pixels": lambda: kernels.in_c(sums, 8192),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, work in ways.items():
            seconds[name].append(timed(work))
    one = seconds["ours, one thread"]
    for name, taken in seconds.items():
        rate = len(block) / median(taken)
        ratio = median(mine / other for mine, other in zip(one, taken, strict=True))
        print(f"| {name} | {rate:.0f} | {rate * block[0].nbytes / 1e9:.2f} | {ratio:.2f} |")


def constants_of(path: Path, recipe: DarkRecipe, threads: int, cycles: int = 1) -> None:
    """All but the store: read, gates, sums, constants."""
    shape = np.load(path, mmap_mode="r").shape
    accumulator = Accumulator(recipe, shape[1:], np.dtype(np.uint16), threads)
    for block in blocks(path, cycles):
        accumulator.add(block)
    derive(accumulator.finish(), recipe)


def psana_seconds(path: Path, python: str) -> float:
    script = Path(__file__).resolve().parents[1] / "tests" / "psana_darks.py"
    result = path.with_suffix(".npz")
    asked = {"class": "DarkProc", "filled": False, "datbits": 0x3FFF, "nrecs1": 50, "nrecs": 10**6}
    environment = {
        **os.environ,
        "PS_PARALLEL": "none",
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    }
    subprocess.run(
        [python, script, path, result, json.dumps(asked)],
        check=True,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    with np.load(result) as made:
        return float(made["seconds"])


def command_seconds(path: Path, recipe: str, store: Path) -> float:
    """The whole command: start, read, digest, sums, check, commit."""
    words = [
        sys.executable,
        "-m",
        "calstore",
        "--store",
        str(store),
        "dark",
        "bench0",
        "1",
        "--again",
    ]
    # Without a kind it is a camera without gain modes, so that one mode is enough.
    words += ["--ref", f"bench0/{recipe}", "--detector", "camera"]
    words += ["--from", str(path), "--recipe", recipe]
    words += ["--parameter", "frames=0", "--parameter", "skip=0"]
    return timed(lambda: subprocess.run(words, check=True, capture_output=True))


def compare_commands(path: Path, kind: str, psana_rate: float, rounds: int) -> None:
    """Frames per second of the whole command, against psana's class without its start-up."""
    count = len(np.load(path, mmap_mode="r"))
    store = path.parent / f"store-{kind}"
    subprocess.run([sys.executable, "-m", "calstore", "init", str(store)], check=True, stdout=-3)
    for recipe in ("psana", "robust"):
        command_seconds(path, recipe, store)
        seconds = median(command_seconds(path, recipe, store) for _ in range(rounds))
        rate = count / seconds
        told = f"`calstore dark --recipe {recipe}`, whole command, {count} frames"
        print(f"| {told} | {rate:.0f} | {rate / psana_rate:.0f} |")


def compare_with_psana(path: Path, kind: str, python: str | None, rounds: int) -> float:
    """Frames per second without start-up, of both; psana's are returned."""
    count = len(np.load(path, mmap_mode="r"))
    theirs = psana_seconds(path, python) if python else math.nan
    print(f"| psana 4.3.4 DarkProc | {count / theirs:.1f} | 1 |")
    for name in ("psana", "robust"):
        recipe = recipe_for(name, kind, "uint16", {"frames": 0, "skip": 0})
        for threads in (1, 2):
            work = partial(constants_of, path, recipe, threads)
            work()
            ours = median(timed(work) for _ in range(rounds))
            print(
                f"| `{name}`, {threads} thread{'s' * (threads > 1)} | {count / ours:.0f} "
                f"| {theirs / ours:.0f} |"
            )
    return count / theirs


def peak_memory(path: Path, kind: str, cycles: int) -> int:
    """MB of a process of its own that does all but the store."""
    command = [sys.executable, __file__, "--peak-of", path, kind, str(cycles)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def print_own_peak(path: Path, kind: str, cycles: int) -> None:
    recipe = recipe_for("psana", kind, "uint16", {"frames": 0, "skip": 0})
    constants_of(path, recipe, 2, cycles)
    status = Path("/proc/self/status").read_text()
    print(int(status.split("VmHWM:")[1].split()[0]) // 1000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=500)
    parser.add_argument("--psana-frames", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--work", type=Path, default=None, help="where frames are written")
    parser.add_argument("--psana", default=os.environ.get("CALSTORE_PSANA_PYTHON"))
    parser.add_argument("--peak-of", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peak_of:
        path, kind, cycles = arguments.peak_of
        print_own_peak(Path(path), kind, int(cycles))
        return
    with TemporaryDirectory(dir=arguments.work) as name:
        folder = Path(name)
        c_kernel = compiled(folder)
        for kind, shape in DETECTORS.items():
            long, short = folder / f"{kind}.npy", folder / f"{kind}-short.npy"
            write_frames(long, shape, arguments.frames)
            np.save(short, np.load(long, mmap_mode="r")[: arguments.psana_frames])
            recipe = recipe_for("psana", kind, "uint16")
            print(f"\n{kind} {shape}: sums of a block of {BLOCK} frames in memory\n")
            print("| kernel | frames/s | GB/s | time of ours ÷ its time |\n|---|---|---|---|")
            block = np.load(long, mmap_mode="r")[:BLOCK].copy()
            compare_kernels(block, recipe, c_kernel, arguments.rounds)
            print(f"\n{kind}: constants from {arguments.psana_frames} frames of a file\n")
            print("| what | frames/s | × psana |\n|---|---|---|")
            rate = compare_with_psana(short, kind, arguments.psana, 3)
            compare_commands(long, kind, rate, 3)
            print(f"\n{kind}: peak memory, frames of the file read again and again\n")
            print("| frames | MB |\n|---|---|")
            for cycles in (1, CYCLES):
                print(f"| {cycles * arguments.frames} | {peak_memory(long, kind, cycles)} |")
            long.unlink()
            short.unlink()


if __name__ == "__main__":
    main()
