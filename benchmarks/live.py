"""What an update of a large live directory costs, as ratios measured in one run."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from calstore.model.digest import Reference, reference_to
from calstore.model.manifests import Constant, Detector, DetectorManifest
from calstore.model.names import RefName
from calstore.model.records import Stamp, Who
from calstore.model.runs import END, RunRange
from calstore.repository.change import Move, move
from calstore.repository.materialize import materialize
from calstore.repository.merge import put_contents
from calstore.repository.store import Store, init_store
from calstore.store import objects
from calstore.views.merge import SetContents

REF = "xppn4116/main"
TYPES = ("pedestals", "pixel_rms", "pixel_status", "pixel_gain", "pixel_offset")
PER_TYPE = 50  # run ranges in a folder
CONTENTS = 200  # different files; the others are copies, as in real trees
LIMIT = 3.0


def built(folder: Path, files: int) -> Store:
    """A store with two versions of so many constants; in the second, one is another."""
    store = init_store(folder / "store", "0" * 32)
    blobs = [put(store, b"# a constant\n%d\n" % number * 50) for number in range(CONTENTS)]
    detectors: dict[Detector, DetectorManifest] = {}
    for number in range(files // (PER_TYPE * len(TYPES))):
        key = ("Camera::CalibV1", f"XppEndstation.0:Opal1000.{number}")
        detectors[key] = DetectorManifest(
            {
                name: {
                    RunRange(first, END): Constant(
                        blobs[(number * 7 + place * 5 + first) % CONTENTS]
                    )
                    for first in range(PER_TYPE)
                }
                for place, name in enumerate(TYPES)
            }
        )
    commit(store, detectors)
    key = next(iter(detectors))
    other = Constant(put(store, b"# another constant\n" * 100))
    changed = {**detectors[key].constants["pedestals"], RunRange(7, END): other}
    commit(store, {**detectors, key: detectors[key].replaced("pedestals", changed)})
    return store


def put(store: Store, data: bytes) -> Reference:
    reference = reference_to(data)
    objects.put(store.backend, objects.BLOBS, data, reference)
    return reference


def commit(store: Store, detectors: dict[Detector, DetectorManifest]) -> None:
    stamp = Stamp(
        Who("wilson", 1000, "psana0101"), "2026-11-22T03:12:45.123456Z", "", os.urandom(8)
    )
    manifest = put_contents(store, SetContents(detectors))
    move(store, RefName(REF), lambda _: Move(manifest, "made up"), stamp, "set", may_be_new=True)


def walk(folder: str) -> int:
    """Look at every entry of every folder; what a directory of so many files costs at least."""
    count = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            entry.stat(follow_symlinks=False)
            if entry.is_dir(follow_symlinks=False):
                count += walk(entry.path)
            else:
                count += 1
    return count


def seconds(call: Callable[[], object]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def written_bytes() -> int:
    """Bytes that this process handed to write calls until now."""
    fields = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(fields["wchar"])


def states(dest: Path) -> dict[str, tuple[int, int, int]]:
    """Path → inode, size, time of change of every file."""
    found = {}
    for path in dest.rglob("*"):
        if not path.is_dir():
            info = path.stat()
            found[str(path.relative_to(dest))] = (info.st_ino, info.st_size, info.st_mtime_ns)
    return found


def measure_one_change(store: Store, dest: Path, repeats: int) -> dict[str, object]:
    """Go to the version with one other constant, and back, and so on."""
    times, handed_over = [], []
    changed: set[str] = set()
    for number in range(repeats):
        version = store[f"{REF}@{2 - number % 2}"]
        before = states(dest)
        already = written_bytes()
        times.append(seconds(partial(materialize, store, version, dest)))
        handed_over.append(written_bytes() - already)
        after = states(dest)
        changed |= {path for path in before.keys() | after if before.get(path) != after.get(path)}
    return {
        "one changed, seconds": statistics.median(times),
        "one changed, bytes written": statistics.median(handed_over),
        "files written": sorted(changed),
    }


@contextmanager
def work_folder(work: Path | None) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="calstore-live-", dir=work))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--work", type=Path, help="where to make store and view")
    parser.add_argument("--json", action="store_true", help="print one line of JSON")
    arguments = parser.parse_args()

    with work_folder(arguments.work) as folder:
        store = built(folder, arguments.files)
        dest = folder / "calib"
        figures: dict[str, object] = {
            "new, seconds": seconds(lambda: materialize(store, store[f"{REF}@1"], dest))
        }
        walks, updates = [], []
        for _ in range(arguments.repeats):
            walks.append(seconds(lambda: walk(str(dest))))
            updates.append(seconds(lambda: materialize(store, store[f"{REF}@1"], dest)))
        ratio = statistics.median(updates) / statistics.median(walks)
        figures |= {
            "files": walk(str(dest)),
            "walk, seconds": statistics.median(walks),
            "unchanged, seconds": statistics.median(updates),
            "unchanged, to the walk": ratio,
        }
        figures |= measure_one_change(store, dest, arguments.repeats)

    if arguments.json:
        print(json.dumps(figures))
    else:
        for what, figure in figures.items():
            print(f"{what:<28}{figure if not isinstance(figure, float) else f'{figure:.3f}'}")
    sys.exit(ratio > LIMIT)


if __name__ == "__main__":
    main()
