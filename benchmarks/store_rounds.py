"""The processes that store.py times, in rounds: calstore, raw, DVC."""

from __future__ import annotations

import compileall
import filecmp
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).resolve().parent
REF = "mfxl1001/main"
TEXT_REF = "mfxl1001/text"
STARTS = 10  # short processes are timed at least that often

API = """
import calstore
source, type_name, run = {largest!r}
calstore.open({store!r})[{ref!r}][source].at(run)[type_name].array
"""


@dataclass(frozen=True)
class Sample:
    """One process: wall seconds from start to end, those of all cores, peak resident bytes."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int


@dataclass
class Bench:
    """Where the files are, the environment of what is run, and the samples so far."""

    work: Path
    dvc: tuple[object, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)
    samples: dict[str, list[Sample]] = field(default_factory=dict)

    def __truediv__(self, name: str) -> Path:
        return self.work / name

    def run(self, name: str, *command: object, cwd: Path | None = None) -> None:
        """Time a process once what earlier ones wrote is on the disk."""
        os.sync()
        sample = process([str(part) for part in command], cwd or self.work, self.environment)
        self.samples.setdefault(name, []).append(sample)

    def prepare(self, *command: object, cwd: Path | None = None) -> str:
        """Run a process that is not timed; returns what it printed."""
        arguments = [str(part) for part in command]
        done = subprocess.run(
            arguments,
            cwd=cwd or self.work,
            env=self.environment,
            stdout=subprocess.PIPE,
            check=True,
        )
        return done.stdout.decode()

    def seconds(self, name: str) -> float:
        return median(sample.seconds for sample in self.samples[name])

    def peak_bytes(self, name: str) -> int:
        return max(sample.peak_bytes for sample in self.samples[name])

    @property
    def environment(self) -> dict[str, str]:
        """This checkout's calstore, and a DVC that keeps all it writes below the work folder."""
        above = os.environ.get("PYTHONPATH")
        mine = {
            "PYTHONPATH": os.pathsep.join([str(HERE.parent), *([above] if above else [])]),
            "DVC_NO_ANALYTICS": "1",
            **{
                f"DVC_{name}_DIR": str(self.work / "dvc-own" / name.lower())
                for name in ("SITE_CACHE", "GLOBAL_CONFIG", "SYSTEM_CONFIG")
            },
        }
        return {**os.environ, **mine}


def process(command: Sequence[str], cwd: Path, environment: Mapping[str, str]) -> Sample:
    """Run a command to its end. Its output is shown only if it fails."""
    with tempfile.TemporaryFile() as output:
        begin = time.perf_counter()
        child = subprocess.Popen(command, cwd=cwd, env=environment, stdout=output, stderr=output)
        _, status, usage = os.wait4(child.pid, 0)
        elapsed = time.perf_counter() - begin
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode != 0:
            output.seek(0)
            shown = output.read().decode(errors="replace")
            sys.exit(f"{' '.join(command)}\nexited {child.returncode}:\n{shown}")
    return Sample(elapsed, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def raw(task: str, *arguments: object) -> tuple[object, ...]:
    return (sys.executable, HERE / "store_raw.py", task, *arguments)


def calstore(*arguments: object) -> tuple[object, ...]:
    return (sys.executable, "-m", "calstore", *arguments)


def in_store(store: Path, *arguments: object) -> tuple[object, ...]:
    return calstore("--store", store, *arguments)


# The rounds. Each does everything once, so that what is compared ran side by side.


def make_trees(bench: Bench, size_mb: float) -> None:
    """The trees, made by a process of their own, so that this one stays small; see `warm`."""
    printed = bench.prepare(sys.executable, HERE / "store_tree.py", bench.work, "--size", size_mb)
    bench.facts.update(json.loads(printed))
    store = bench / "text-store"
    bench.prepare(*calstore("init", store))
    bench.prepare(*in_store(store, "import", bench / "text-npy", TEXT_REF, "-m", "benchmark"))
    bench.prepare(*in_store(store, "materialize", TEXT_REF, bench / "text", "--layout", "psana"))
    (bench / "text" / ".calstore-view.json").unlink()
    for name in ("text-store", "text-npy"):
        shutil.rmtree(bench / name)
    bench.facts["text_bytes"] = apparent_bytes(bench / "text")


def tree_round(bench: Bench) -> None:
    tree = bench / "tree"
    with fresh(bench, "raw", "store") as (kept, store):
        bench.prepare(*calstore("init", store))
        bench.run("raw", *raw("store", tree, kept))
        bench.run("import", *in_store(store, "import", tree, REF, "-m", "a dark run"))
        bench.facts["raw_bytes"] = apparent_bytes(kept)
        bench.facts["store_bytes"] = apparent_bytes(store)
        bench.facts["store_disk_bytes"] = disk_bytes(store)
        bench.run("unchanged", *in_store(store, "import", tree, REF, "-m", "cron"))
        bench.run("raw hash", *raw("hash_only", tree))
        bench.run("verify", *in_store(store, "verify"))
        cold_reads(bench, store)
        copies(bench, store)
        with five_percent_changed(bench):
            bench.run("raw again", *raw("store", tree, kept))
            bench.run("again", *in_store(store, "import", tree, REF, "-m", "another dark"))


def cold_reads(bench: Bench, store: Path) -> None:
    """One large array whose pages are dropped; interpreter and libraries stay in memory."""
    source, type_name, run = bench.facts["largest"]
    file = next((bench / "tree").glob(f"*/{source}/{type_name}/{run}-*.npy"))
    drop_pages([file])
    bench.run("raw cold", *raw("load", file))
    get = ("get", REF, source, type_name, "--run", run, "-o", bench / "got.npy")
    drop_pages(files_below(store))
    bench.run("get", *in_store(store, *get))
    code = API.format(largest=bench.facts["largest"], store=str(store), ref=REF)
    drop_pages(files_below(store))
    bench.run("api", sys.executable, "-c", code)
    if not filecmp.cmp(bench / "got.npy", file, shallow=False):
        sys.exit("what calstore get wrote is not what was imported")
    warm(files_below(store))


def copies(bench: Bench, store: Path) -> None:
    for name, *durable in (("np.save",), ("np.save, fsync", "durable")):
        with fresh(bench, "saved") as (saved,):
            bench.run(name, *raw("save", bench / "tree", saved, *durable))
    with fresh(bench, "view") as (view,):
        bench.run("materialize", *in_store(store, "materialize", REF, view, "--layout", "npy"))


def text_round(bench: Bench) -> None:
    with fresh(bench, "raw", "store") as (kept, store):
        bench.prepare(*calstore("init", store))
        bench.run("raw and parse", *raw("parse", bench / "text", kept))
        bench.run("import text", *in_store(store, "import", bench / "text", TEXT_REF, "-m", "text"))


def start_round(bench: Bench, store: Path) -> None:
    bench.run("numpy", sys.executable, "-c", "import numpy")
    bench.run("help", *calstore("--help"))
    bench.run("log", *in_store(store, "log", REF))


def dvc_round(bench: Bench) -> None:
    """The same with DVC, in a repository of its own, copying from its cache."""
    dvc = bench.dvc
    with fresh(bench, "dvc-repository", "dvc-own") as (home, _):
        home.mkdir()
        bench.prepare("git", "init", "--quiet", cwd=home)
        bench.prepare(*dvc, "init", "--quiet", cwd=home)
        for name, value in (
            ("core.analytics", "false"),
            ("core.check_update", "false"),
            ("cache.type", "copy"),
        ):
            bench.prepare(*dvc, "config", name, value, cwd=home)
        shutil.copytree(bench / "tree", home / "tree")
        bench.run("dvc import", *dvc, "add", "--quiet", "tree", cwd=home)
        shutil.copyfile(bench / "changed.npy", home / "tree" / bench.facts["changed"])
        bench.run("dvc again", *dvc, "add", "--quiet", "tree", cwd=home)
        shutil.rmtree(home / "tree")
        bench.run("dvc checkout", *dvc, "checkout", "--quiet", cwd=home)


def dvc_of(option: str, work: Path) -> tuple[object, ...]:
    """The dvc command of an environment, which is made below ``work`` for ``auto``."""
    place = Path(option).absolute()
    if option == "auto":
        place = work / "dvc-environment"
        subprocess.run([sys.executable, "-m", "venv", place], check=True)
        subprocess.run([place / "bin" / "pip", "install", "--quiet", "dvc"], check=True)
    python = place / "bin" / "python" if place.is_dir() else place
    if not python.is_file():
        sys.exit(f"there is no {python}; --dvc takes auto, an environment or its python")
    return (python, "-I", "-m", "dvc")  # -I: not what $PYTHONPATH holds


# Files.


@contextmanager
def fresh(bench: Bench, *names: str) -> Iterator[list[Path]]:
    """Paths below the work folder, with nothing there before and after."""
    with ExitStack() as stack:
        for name in names:
            shutil.rmtree(bench / name, ignore_errors=True)
            stack.callback(shutil.rmtree, bench / name, ignore_errors=True)
        yield [bench / name for name in names]


@contextmanager
def five_percent_changed(bench: Bench) -> Iterator[None]:
    """The tree with the newest pedestals of one detector from another dark."""
    file, other, kept = (
        bench / "tree" / bench.facts["changed"],
        bench / "changed.npy",
        bench / "kept",
    )
    file.rename(kept)
    shutil.copyfile(other, file)
    try:
        yield
    finally:
        kept.replace(file)


def drop_pages(files: Iterable[Path]) -> None:
    """Take the content of files from the page cache; their inodes stay."""
    os.sync()
    for path in files:
        descriptor = os.open(path, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def warm(files: Iterable[Path]) -> None:
    """Read files into the page cache, in pieces: a child's peak counts its parent's memory."""
    for path in files:
        with path.open("rb", buffering=0) as file:
            while file.read(2**20):
                pass


def files_below(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]


def apparent_bytes(root: Path) -> int:
    return sum(path.stat().st_size for path in files_below(root))


def disk_bytes(root: Path) -> int:
    """What du says: blocks of files and folders."""
    return sum(path.stat().st_blocks * 512 for path in (root, *root.rglob("*")))


def measure(bench: Bench, size_mb: float, repeat: int) -> dict[str, float]:
    compileall.compile_dir(HERE.parent / "calstore", quiet=1)
    make_trees(bench, size_mb)
    for _ in range(repeat):
        tree_round(bench)
        text_round(bench)
        if bench.dvc:
            dvc_round(bench)
    with fresh(bench, "started") as (store,):
        bench.prepare(*calstore("init", store))
        bench.prepare(*in_store(store, "import", bench / "text", REF, "-m", "for its log"))
        for _ in range(max(repeat, STARTS)):
            start_round(bench, store)
    small: dict[str, float] = json.loads(
        bench.prepare(sys.executable, HERE / "store_small.py", bench.work)
    )
    return small
