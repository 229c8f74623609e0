"""How ``v1-dark`` was made, once: a store of format 1 with derivations. Not run again."""

import json
import sys
from pathlib import Path

import numpy as np

import calstore
from calstore.frames.npy import Labels, open_npy
from calstore.model.records import Stamp, Who
from calstore.repository.dark import DarkRequest, dark
from calstore.repository.dark_plan import Data
from calstore.repository.recipes import Recipes

EPIX, JUNGFRAU = "XppGon.0:Epix100a.1", "XppEndstation.0:Jungfrau.0"


def stamp(second: int) -> Stamp:
    who = Who("wilson", 1894, "psana101", None)
    return Stamp(who, f"2026-11-25T03:00:{second:02d}.000000Z", "", bytes([second] * 8))


def frames(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    values = np.random.default_rng(seed).normal(3000, 5, (60, *shape)).round().astype(np.uint16)
    values[:, ..., 0, 0] = 0
    values[:, ..., 1, 1] = 65535
    values[7] += 200
    return values


def main(where: Path) -> None:
    where.mkdir(parents=True, exist_ok=True)
    np.save(where / "epix.npy", frames(1, (8, 12)))
    for mode in range(2):
        np.save(where / f"jungfrau-G{mode}.npy", frames(2 + mode, (1, 8, 8)))
    store = calstore.init(where / "store", "fedcba9876543210" * 2)
    serials = {EPIX: ("3925999620",), JUNGFRAU: ()}
    dark(store, request(EPIX, "psana"), [data(where / "epix.npy", EPIX, "", serials)], stamp(1))
    dark(store, request(EPIX, "robust"), [data(where / "epix.npy", EPIX, "", serials)], stamp(2))
    modes = [data(where / f"jungfrau-{mode}.npy", JUNGFRAU, mode, serials) for mode in ("G0", "G1")]
    dark(store, request(JUNGFRAU, "robust", frozenset({"G2"})), modes, stamp(3))
    digests = {f"xppn4116/main@{n}": str(store[f"xppn4116/main@{n}"].digest) for n in (1, 2, 3)}
    (where / "dark.json").write_text(json.dumps(digests, indent=1, sort_keys=True) + "\n")


def request(detector: str, recipe: str, without: frozenset[str] = frozenset()) -> DarkRequest:
    return DarkRequest(
        "xppn4116", "xppn4116/main", (detector,), recipes=Recipes(recipe), without=without
    )


def data(path: Path, detector: str, mode: str, serials: dict[str, tuple[str, ...]]) -> Data:
    source = open_npy(path, Labels("xppn4116", 137, detector, "", mode, serials[detector]))
    return Data(137, source, source.contents())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
