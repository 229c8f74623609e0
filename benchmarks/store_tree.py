"""Makes trees of constants with the sizes, values and copies of real ones, from a seed."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = "np.ndarray[Any, np.dtype[Any]]"

FRAMES = 1000  # of a dark run
ENOUGH_FRAMES = 990  # of these, gates leave each pixel a few less
BAD_PIXELS = 0.002
LARGEST = ("MfxEndstation.0:Epix10ka2M.0", "pedestals", 137)
CHANGED = "Jungfrau::CalibV1/MfxEndstation.0:Jungfrau.0/pedestals/137-end.npy"
DESCRIPTION = (
    "pedestals: float32 means of 990 to 1000 integers, 2000 to 3000 ADU, spread 80 ADU, new in "
    "each dark; pixel_rms: float32, new in each dark; pixel_status: uint16, 99.8 % zero; "
    "pixel_gain: float32, one value for each gain mode; pixel_mask: uint8, edges 0. Status, gain "
    "and mask are copies in some ranges."
)


@dataclass(frozen=True)
class Detector:
    """A detector and its run ranges, one for each dark; ``levels`` has one ADU per gain mode."""

    group: str
    source: str
    shape: tuple[int, ...]
    levels: tuple[float, ...]
    ranges: tuple[str, ...]

    @property
    def folder(self) -> str:
        return f"{self.group}::CalibV1/{self.source}"


class Pixels:
    """The true level and noise of each pixel, from which darks are drawn."""

    def __init__(self, detector: Detector, rng: np.random.Generator) -> None:
        shape = detector.shape
        modes = (-1, *(1 for _ in shape[1:])) if len(shape) > 2 else ()
        columns = rng.standard_normal((*shape[:-2], 1, shape[-1]), dtype=np.float32)
        self.shape = shape
        self.level = 80 * rng.standard_normal(shape, dtype=np.float32) + 25 * columns
        self.level += np.array(detector.levels, np.float32).reshape(modes)
        self.noise = 3 + 0.4 * rng.standard_normal(shape, dtype=np.float32)
        self.gain = np.broadcast_to(
            np.geomspace(1, 0.01, len(detector.levels), dtype=np.float32).reshape(modes), shape
        )

    def pedestals(self, rng: np.random.Generator) -> Array:
        """float32 means of exact sums of integers, as a dark run gives them."""
        frames = rng.integers(ENOUGH_FRAMES, FRAMES + 1, self.shape, np.uint16).astype(np.float64)
        mean = rng.standard_normal(self.shape, dtype=np.float32)
        mean *= self.noise / np.float32(FRAMES**0.5)
        mean += self.level + np.float32(rng.normal(0, 2))
        return (np.rint(mean * frames) / frames).astype(np.float32)

    def rms(self, rng: np.random.Generator) -> Array:
        """The noise, as well as that number of frames tells it."""
        error = rng.standard_normal(self.shape, dtype=np.float32)
        return np.abs(self.noise * (1 + error / np.float32((2 * FRAMES) ** 0.5)))

    def status(self, rng: np.random.Generator) -> Array:
        """Bit words: zero but for some bad pixels."""
        status = np.zeros(self.shape, np.uint16)
        bad = rng.integers(0, status.size, int(BAD_PIXELS * status.size))
        status.reshape(-1)[bad] = 1 << rng.integers(0, 6, bad.size)
        return status

    def mask(self) -> Array:
        """1 but for the edges of each panel; without the axis of gain modes."""
        mask = np.ones(self.shape[1:] if len(self.shape) > 3 else self.shape, np.uint8)
        mask[..., (0, -1)] = 0
        mask[..., (0, -1), :] = 0
        return mask


def detectors(size_mb: float) -> list[Detector]:
    """A set of about that size; of less than 1,000 MB the detectors have fewer panels."""

    def panels(full: int) -> int:
        return max(1, round(full * size_mb / 1000))

    three, two = ("1-57", "58-136", "137-end"), ("1-136", "137-end")
    big = Detector(
        "Epix10ka2M",
        LARGEST[0],
        (7, panels(16), 352, 384),
        (2600, 2550, 2500, 2900, 2850, 2300, 2250),
        three,
    )
    jungfrau = Detector(
        "Jungfrau",
        "MfxEndstation.0:Jungfrau.0",
        (3, panels(8), 512, 1024),
        (2900, 2600, 2200),
        two,
    )
    small = [
        Detector("Epix100a", f"XppGon.0:Epix100a.{number}", (704, 768), (2700,), three)
        for number in range(1, 1 + panels(4))
    ]
    return [big, jungfrau, *small]


def text_detectors(size_mb: float) -> list[Detector]:
    """A smaller set, of about 150 MB as text when the other one has 1,000 MB."""
    quad = Detector(
        "Epix10kaQuad",
        "MfxEndstation.0:Epix10kaQuad.0",
        (7, max(1, round(4 * size_mb / 1000)), 352, 384),
        (2600, 2550, 2500, 2900, 2850, 2300, 2250),
        ("0-end",),
    )
    return [quad, detectors(size_mb)[2]]


def constants(detector: Detector, rng: np.random.Generator) -> Iterator[tuple[str, str, Array]]:
    """Type, run range and array of each constant; copies follow their original."""
    pixels = Pixels(detector, rng)
    status = pixels.status(rng)
    for number, runs in enumerate(detector.ranges):
        yield "pedestals", runs, pixels.pedestals(rng)
        yield "pixel_rms", runs, pixels.rms(rng)
        if number > 1:
            status = pixels.status(rng)
        yield "pixel_status", runs, status
        if number < 2:
            yield "pixel_gain", ("0-99", "100-end")[number], pixels.gain
    yield "pixel_mask", "0-end", pixels.mask()


def write_tree(root: Path, found: Sequence[Detector], seed: int) -> dict[str, int]:
    """The ``.npy`` files of a tree; returns its bytes, its largest array's and its files."""
    sizes = []
    for number, detector in enumerate(found):
        for type_name, runs, array in constants(detector, np.random.default_rng([seed, number])):
            folder = root / detector.folder / type_name
            folder.mkdir(parents=True, exist_ok=True)
            np.save(folder / f"{runs}.npy", array)
            sizes.append(array.nbytes)
    return {"bytes": sum(sizes), "largest_array": max(sizes), "files": len(sizes)}


def main() -> None:
    parser = argparse.ArgumentParser(description="Make TREE, TEXT_TREE (.npy too) and CHANGED.")
    parser.add_argument("work", type=Path)
    parser.add_argument("--size", type=float, default=1000, help="MB")
    parser.add_argument("--seed", type=int, default=20261122)
    options = parser.parse_args()

    facts = write_tree(options.work / "tree", detectors(options.size), options.seed)
    write_tree(options.work / "text-npy", text_detectors(options.size), options.seed)
    rng = np.random.default_rng(options.seed + 1)
    changed = Pixels(detectors(options.size)[1], rng).pedestals(rng)
    np.save(options.work / "changed.npy", changed)
    about = {
        "changed": CHANGED,
        "changed_bytes": changed.nbytes,
        "description": DESCRIPTION,
        "largest": LARGEST,
    }
    print(json.dumps({**facts, **about}))


if __name__ == "__main__":
    main()
