"""diff with full statistics of two epix10ka2M pedestals, and the page of a jungfrau 4M.

Usage: ``python benchmarks/diff_numbers.py``. The statistics stand beside both verified reads and
``np.abs(a - b).max()``, five times in turns, both warm; the page beside its limits of 10 s and
10 MB.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from calstore.cli.identity import stamp
from calstore.model.manifests import Constant, DetectorManifest, SetManifest
from calstore.model.names import RefName
from calstore.model.runs import RunRange
from calstore.report.diff_page import diff_page
from calstore.repository.change import put_set
from calstore.repository.commit import commit
from calstore.repository.diff import diff
from calstore.repository.diff_numbers import constant_numbers
from calstore.repository.store import Store, init_store
from calstore.store import arrays, logs, objects


def put(store: Store, ref: str, key: tuple[str, str], constants: dict[str, Any]) -> None:
    """A version with one detector."""
    serials = tuple(str(n) for n in range(next(iter(constants.values())).shape[1]))
    everywhere = RunRange.parse("0-end")
    by_type = {
        name: {everywhere: Constant(arrays.put(store.backend, array), serials=serials)}
        for name, array in constants.items()
    }
    manifest = DetectorManifest(by_type).encoded()
    detector = objects.put(store.backend, objects.MANIFESTS, manifest)
    name = RefName(ref)
    commit(
        store,
        name,
        put_set(store, SetManifest({key: detector}, {})),
        base=logs.head(store.backend, name.log),
        stamp=stamp(),
        operation="set",
        what="constants",
    )


def main() -> None:
    """Print seconds and their ratio."""
    random = np.random.default_rng(1)
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        store = init_store(Path(folder) / "store", "0" * 32)
        quad, pair = ("epix10ka", "epix10ka2M"), ("jungfrau", "jungfrau4M")
        for ref, key, shape in (
            ("x/epix", quad, (7, 16, 352, 384)),
            ("x/jungfrau", pair, (3, 8, 512, 1024)),
        ):
            pedestals = random.normal(2000, 5, shape).astype(np.float32)
            noise = random.uniform(3, 5, shape).astype(np.float32)
            for more in (0, 1):
                moved = pedestals + more * random.normal(0, 1, shape).astype(np.float32)
                put(store, ref, key, {"pedestals": moved, "pixel_rms": noise})
        ratios = []
        found = diff(store["x/epix@1"], store["x/epix@2"], type_name="pedestals")
        constant_numbers(found, found.constants[0])  # compiled and warm
        for _ in range(5):
            before, after = (store[f"x/epix@{n}"]["epix10ka2M"].at(5)["pedestals"] for n in (1, 2))
            began = time.perf_counter()
            np.abs(before.array - after.array).max()
            plain = time.perf_counter() - began
            began = time.perf_counter()
            found = diff(store["x/epix@1"], store["x/epix@2"], type_name="pedestals")
            constant_numbers(found, found.constants[0])
            ours = time.perf_counter() - began
            ratios.append(ours / plain)
            print(f"reads and np.abs(a - b).max() {plain:.2f} s, diff {ours:.2f} s")
        print(f"ratio {statistics.median(ratios):.2f} (limit 3)")
        began = time.perf_counter()
        found = diff(store["x/jungfrau@1"], store["x/jungfrau@2"])
        numbers = [constant_numbers(found, each) for each in found.constants]
        size = sum(len(part.encode()) for part in diff_page(found, numbers))
        seconds = time.perf_counter() - began
        print(f"page of a jungfrau 4M: {seconds:.1f} s (limit 10), {size / 1e6:.1f} MB (limit 10)")


if __name__ == "__main__":
    main()
