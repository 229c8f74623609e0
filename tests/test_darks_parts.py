"""Several processes that share a run give the bits of one, and do not disturb each other."""

import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from calstore.darks.constants import derive
from calstore.darks.recipe import recipe_for
from calstore.darks.sums import Accumulator, GatedSums, merge
from calstore.frames.source import Part

CONSTANTS = ("pedestals", "pixel_rms", "pixel_status", "pixel_max", "pixel_min")
KIND = "jungfrau"


def sums_of_part(arguments: tuple[Path, str, Part, int]) -> GatedSums:
    """What one process makes of the frames that it is given, which are not all there are."""
    path, name, part, block = arguments
    frames = np.load(path, mmap_mode="r")
    recipe = recipe_for(name, KIND, "uint16")
    accumulator = Accumulator(recipe, frames.shape[1:], frames.dtype, threads=1)
    numbers = [number for number in range(len(frames)) if part.needs(number)]
    for start in range(0, len(numbers), block):
        chosen = numbers[start : start + block]
        owned = np.array([part.owns(number) for number in chosen], bool)
        accumulator.add(frames[chosen], owned)
    return accumulator.finish()


def digests(sums: GatedSums, name: str) -> list[bytes]:
    made = derive(sums, recipe_for(name, KIND, "uint16"))
    return [getattr(made, each).tobytes() for each in CONSTANTS]


@pytest.fixture(scope="module")
def frames_path(tmp_path_factory):
    random = np.random.default_rng(1)
    frames = np.rint(random.normal(3000, 15, (333, 2, 64, 48))).astype(np.uint16)
    frames[:, 0, 0], frames[:, 0, 1], frames[:, 0, 2] = 0, 0x3FFF, 3000
    frames[40, 1, 0, 0] |= 0x8000
    frames[300, 1, 0, 1] |= 0x8000
    frames[:, 1, 1] = random.integers(0, 0x4000, (333, 48))
    path = tmp_path_factory.mktemp("parts") / "frames.npy"
    np.save(path, frames)
    return path


@pytest.mark.parametrize("name", ["psana", "robust"])
def test_two_and_five_processes_give_the_bytes_of_one(frames_path, name):
    head = recipe_for(name, KIND, "uint16").gate_frames
    alone = digests(sums_of_part((frames_path, name, Part(0, 1, head), 1000)), name)

    with multiprocessing.get_context("spawn").Pool(3) as pool:
        together = [
            pool.map(
                sums_of_part,
                [(frames_path, name, Part(rank, of, head), 7 * of + rank) for rank in range(of)],
            )
            for of in (2, 5)
        ]

    for parts in together:
        assert digests(merge(*parts), name) == alone
        assert digests(merge(*reversed(parts)), name) == alone


@pytest.mark.parametrize("name", ["psana", "robust"])
@pytest.mark.parametrize("block", [1, 31, 50, 51, 333])
def test_blocks_of_any_size_give_the_same_bytes(frames_path, name, block):
    head = recipe_for(name, KIND, "uint16").gate_frames

    blocks = digests(sums_of_part((frames_path, name, Part(0, 1, head), block)), name)

    assert blocks == digests(sums_of_part((frames_path, name, Part(0, 1, head), 100)), name)


def test_processes_without_any_frame_of_their_own_change_nothing(tmp_path):
    path = tmp_path / "frames.npy"
    frames = np.random.default_rng(2).integers(2990, 3010, (20, 1, 4, 5)).astype(np.uint16)
    np.save(path, frames)

    parts = [sums_of_part((path, "psana", Part(rank, 3, 50), 8)) for rank in range(3)]

    assert [part.frames for part in parts] == [20, 0, 0]
    assert all(part.is_short for part in parts)
    assert digests(merge(*parts), "psana") == digests(parts[0], "psana")


def test_making_a_recipe_imports_no_numba():
    code = (
        "import sys, calstore.darks.recipe, calstore.darks.modes, calstore.darks.sums;"
        "sys.exit('numba' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


SUM_ONCE = """
import sys, numpy as np
from calstore.darks.recipe import recipe_for
from calstore.darks.sums import Accumulator
frames = np.arange(5 * 12, dtype=sys.argv[1]).reshape(5, 3, 4) + 100
recipe = recipe_for("psana", "", sys.argv[1], {"gate_frames": 3})
accumulator = Accumulator(recipe, (3, 4), frames.dtype)
accumulator.add(frames)
sums = accumulator.finish()
print(int(sums.total.sum()), int(sums.squares.sum()), int(sums.inside.sum()))
"""


def test_processes_that_compile_at_the_same_time_do_not_disturb_each_other(tmp_path):
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", SUM_ONCE]
    dtypes = ("uint16", "uint32")

    running = [
        subprocess.Popen([*command, dtype], env=environment, stdout=subprocess.PIPE, text=True)
        for dtype in dtypes
    ]
    told = [process.communicate()[0] for process in running]
    later = [
        subprocess.run(
            [*command, dtype], env=environment, stdout=subprocess.PIPE, text=True, check=True
        ).stdout
        for dtype in dtypes
    ]

    assert told[0]
    assert told == later == [told[0]] * 2
    assert list(tmp_path.rglob("*.nbc"))


def test_where_nothing_can_be_written_the_kernels_are_compiled_and_not_kept(tmp_path):
    code = f"""
import numba.core.caching as caching
caching.CacheImpl._locator_classes = []
{SUM_ONCE}"""

    done = subprocess.run(
        [sys.executable, "-c", code, "uint16"], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout
