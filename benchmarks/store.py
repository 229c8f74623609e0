"""How calstore's store compares with doing the least, and with DVC: ratios from one run.

    python benchmarks/store.py                        # 1 GB, three rounds, some minutes
    python benchmarks/store.py --size 60 --repeat 1   # a quick look
    python benchmarks/store.py --dvc auto --json figures.json

Exit code 1 when a limit is exceeded. The processes are in store_rounds.py, what "raw" does in
store_raw.py, the tree in store_tree.py, and what is timed inside one process in store_small.py.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from store_rounds import Bench, dvc_of, measure

MB = 1e6


@dataclass(frozen=True)
class Figure:
    """A measured value beside its limit, in the unit of both."""

    name: str
    value: float
    unit: str
    limit: float | None = None
    note: str = ""

    @property
    def is_over(self) -> bool:
        return self.limit is not None and self.value > self.limit

    def __str__(self) -> str:
        verdict = "" if self.limit is None else "OVER" if self.is_over else "OK"
        limit = "" if self.limit is None else f"≤ {self.limit:.4g}"
        value = f"{self.value:.3g}" if self.value < 100 else f"{self.value:.0f}"
        line = f"  {self.name:<42} {value:>6} {self.unit:<7} {limit:>8} {verdict:<5} {self.note}"
        return line.rstrip()


def ratio(
    bench: Bench, name: str, sample: str, to: str, limit: float | None = None, what: str = ""
) -> Figure:
    one, other = bench.seconds(sample), bench.seconds(to)
    note = f"{one:.2f} s, {what or to} {other:.2f} s"
    return Figure(name, one / other, "× raw" if to.startswith("raw") else "×", limit, note)


def tree_figures(bench: Bench) -> list[Figure]:
    facts = bench.facts
    largest = facts["largest_array"]
    peak_limit = (3 * largest + 200 * MB) / MB
    return [
        ratio(bench, "import", "import", "raw", 3),
        ratio(bench, "import again, 5 % changed", "again", "raw again", 4),
        ratio(bench, "import again, nothing changed", "unchanged", "raw hash"),
        ratio(bench, "materialize as npy", "materialize", "raw", 2.5),
        ratio(bench, "  np.save alone, no fsync", "np.save", "raw"),
        ratio(bench, "  np.save alone, each file fsynced", "np.save, fsync", "raw"),
        ratio(bench, "one array cold, calstore get -o npy", "get", "raw cold", 4),
        ratio(bench, "one array cold, Python API", "api", "raw cold", 4),
        ratio(bench, "verify", "verify", "raw", 7.5),
        ratio(bench, "  to reading and hashing alone", "verify", "raw hash"),
        Figure(
            "bytes on disk",
            facts["store_disk_bytes"] / facts["raw_bytes"],
            "× raw",
            0.8,
            f"du {facts['store_disk_bytes'] / MB:.0f} MB, apparent {facts['store_bytes'] / MB:.0f} "
            f"MB, raw {facts['raw_bytes'] / MB:.0f} MB",
        ),
        Figure(
            "peak memory of import",
            bench.peak_bytes("import") / MB,
            "MB",
            peak_limit,
            f"3 × the largest array of {largest / MB:.0f} MB + 200 MB; "
            f"verify {bench.peak_bytes('verify') / MB:.0f}, "
            f"materialize {bench.peak_bytes('materialize') / MB:.0f} MB",
        ),
        ratio(bench, "import of text", "import text", "raw and parse", 1.5),
    ]


def dvc_figures(bench: Bench) -> list[Figure]:
    return [
        ratio(bench, "dvc add", "dvc import", "raw"),
        ratio(bench, "dvc add again, 5 % changed", "dvc again", "raw again"),
        ratio(bench, "dvc checkout, copies", "dvc checkout", "raw"),
    ]


def small_figures(bench: Bench, seconds: Mapping[str, float]) -> list[Figure]:
    bare = seconds["bare_create"]

    def to_bare(name: str, key: str) -> Figure:
        note = f"{1e3 * seconds[key]:.2f} ms, bare create with its fsyncs {1e3 * bare:.2f} ms"
        return Figure(name, seconds[key] / bare, "× bare", 3, note)

    saved = seconds["arrays_npy"]

    def to_npy(name: str, key: str, limit: float | None = None) -> Figure:
        note = f"{seconds[key]:.2f} s, np.save and fsync of each {saved:.2f} s"
        return Figure(name, seconds[key] / saved, "× npy", limit, note)

    return [
        to_bare("fork of 1,000 constants", "fork_one"),
        to_bare("fork of 100 detectors of 1,000", "fork_hundred"),
        Figure("bytes of a fork", seconds["fork_bytes"], "B", 1000),
        Figure(
            "resolve, warm, 1,000 ranges",
            1e6 * seconds["resolve_warm"],
            "µs",
            20,
            f"first time {1e3 * seconds['resolve_first']:.1f} ms",
        ),
        to_npy("200 new arrays of 352×384, durable", "arrays_calstore", 4),
        to_npy("  in threads, as an import does", "arrays_threads"),
        ratio(bench, "calstore --help", "help", "numpy", 2, "import numpy"),
        ratio(bench, "calstore log REF", "log", "numpy", 2, "import numpy"),
    ]


def environment(bench: Bench) -> dict[str, str]:
    found = bench.prepare("df", "--output=fstype", bench.work).split()[-1]
    names = ("numpy", "zarr", "xxhash", "polars")
    dvc = bench.prepare(*bench.dvc, "--version").strip() if bench.dvc else "left out, see --dvc"
    return {
        "python": sys.version.split()[0],
        **{name: version(name) for name in names},
        "dvc": dvc,
        "cores": str(os.cpu_count()),
        "file system": found,
    }


def print_header(bench: Bench, about: Mapping[str, str], repeat: int) -> None:
    facts = bench.facts
    print(", ".join(f"{name} {value}" for name, value in about.items()))
    print(
        f"tree: {facts['files']} .npy files, {facts['bytes'] / MB:.0f} MB, "
        f"{100 * facts['raw_bytes'] / facts['bytes']:.0f} % of it unique, largest array "
        f"{facts['largest_array'] / MB:.0f} MB; text tree {facts['text_bytes'] / MB:.0f} MB; "
        f"the changed file is {100 * facts['changed_bytes'] / facts['bytes']:.1f} %\n"
        f"{facts['description']}\n"
        f"Whole processes, start-up included, medians of {repeat} interleaved rounds on one disk. "
        "The page cache is warm, but for cold reads: there the file's, "
        "or the whole store's, pages are dropped with posix_fadvise after a sync; interpreter and "
        "libraries stay warm. Raw does no fsync, calstore does all of its own; before each process "
        "the disk is synced."
    )


def document(
    bench: Bench, about: Mapping[str, str], small: Mapping[str, float], figures: Sequence[Figure]
) -> dict[str, Any]:
    """All that was measured, for machines; seconds, bytes and the figures' own units."""
    return {
        "environment": about,
        "figures": [{**asdict(figure), "over": figure.is_over} for figure in figures],
        "processes": {
            name: [asdict(sample) for sample in samples] for name, samples in bench.samples.items()
        },
        "small": small,
        "tree": bench.facts,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", type=float, default=1000, help="of the tree, in MB")
    parser.add_argument("--repeat", type=int, default=3, help="rounds")
    parser.add_argument("--work", type=Path, help="a folder for all files; default: temporary")
    parser.add_argument("--dvc", help="auto to install it, or an environment that has DVC")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    options = parser.parse_args()

    if options.work:
        options.work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.work, prefix="calstore-benchmark-") as work:
        dvc = dvc_of(options.dvc, Path(work)) if options.dvc else None
        bench = Bench(Path(work), dvc)
        seconds = measure(bench, options.size, options.repeat)
        about = environment(bench)

    print_header(bench, about, options.repeat)
    sections = {
        "A calib tree": tree_figures(bench),
        "DVC": dvc_figures(bench) if dvc else [],
        "Small things": small_figures(bench, seconds),
    }
    for title, figures in sections.items():
        print(f"\n{title}" if figures else f"\n{title}: left out; see --dvc")
        for figure in figures:
            print(figure)
    figures = [figure for found in sections.values() for figure in found]
    if options.json:
        text = json.dumps(document(bench, about, seconds, figures), indent=2)
        options.json.write_text(text + "\n")
    sys.exit(1 if any(figure.is_over for figure in figures) else 0)


if __name__ == "__main__":
    main()
