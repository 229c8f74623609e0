"""A store on S3, beside s3fs and beside a directory: ratios of one run, and counted requests.

    python benchmarks/remote.py [--size 1000] [--rounds 3]      # the tree; some minutes
    python benchmarks/remote.py --many [--refs 10000] [--records 1000]

moto is the server, a process on loopback; needs the extras s3 and test. Each command is a process
of its own. Requests are counted by a proxy that passes everything on.
"""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))

import numpy as np
from builders import stamp
from fault_proxy import fault_proxy
from object_store import BUCKET, environment, server

from calstore.model.manifests import SetManifest
from calstore.model.names import RefName
from calstore.repository.change import Move, move, put_set
from calstore.repository.store import Store, init_store
from calstore.store import logs
from calstore.store.remote import open_remote

PUT = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import s3fs, xxhash
tree, url = sys.argv[1:]
unique = {}
for path in sorted(Path(tree).rglob("*")):
    if path.is_file():
        unique.setdefault(xxhash.xxh3_128_hexdigest(path.read_bytes()), path)
files = s3fs.S3FileSystem()
with ThreadPoolExecutor(8) as pool:
    put = lambda name: files.pipe_file(f"{url}/{name}", unique[name].read_bytes())
    list(pool.map(put, unique))
"""
"""The unique bytes of a tree, put by s3fs in parallel; what an import is compared with."""


def seconds(*words: object, **more: str) -> float:
    started = time.perf_counter()
    subprocess.run(
        list(map(str, words)),
        env={**os.environ, **more},
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return time.perf_counter() - started


def calstore(*words: object, **more: str) -> float:
    return seconds(sys.executable, "-m", "calstore", *words, **more)


@contextmanager
def s3() -> Iterator[int]:
    """A server with a bucket; its port, which the environment names."""
    import s3fs

    with server() as port, patch.dict(os.environ, environment(port)):
        s3fs.S3FileSystem.clear_instance_cache()
        s3fs.S3FileSystem().mkdir(BUCKET)
        yield port


def place() -> str:
    return f"s3://{BUCKET}/{secrets.token_hex(6)}"


def tree(size: float, rounds: int, work: Path) -> None:
    """Import, second push, and a view from what was kept of reads."""
    seconds(sys.executable, HERE / "store_tree.py", work, "--size", size)
    calib = work / "tree"
    ratios: dict[str, list[float]] = {}
    for number in range(rounds):
        with s3() as port, tempfile.TemporaryDirectory(dir=work) as name:
            folder = Path(name)
            put = seconds(sys.executable, "-c", PUT, calib, f"{BUCKET}/raw")
            store = place()
            calstore("init", store)
            imported = calstore("--store", store, "import", calib, "x/main", "-m", "x")
            near = folder / "near"
            calstore("init", near)
            calstore("--store", near, "import", calib, "x/main", "-m", "x")
            far = place()
            calstore("init", far)
            pushed = calstore("--store", near, "push", "x/main", far)
            first = _stored(far)
            edited = folder / "edited"
            shutil.copytree(calib, edited)
            _change(edited, first // 20)
            calstore("--store", near, "import", edited, "x/main", "-m", "x")
            with fault_proxy(port, 0) as proxy:
                again = calstore("--store", near, "push", "x/main", far, **environment(proxy.port))
            moved = (_stored(far) - first) / first
            cache = {"CALSTORE_CACHE": str(folder / "cache")}
            layout = ("--layout", "npy")
            cold = calstore("--store", far, "materialize", "x/main", folder / "c", *layout, **cache)
            warm = calstore("--store", far, "materialize", "x/main", folder / "w", *layout, **cache)
            local = calstore("--store", near, "materialize", "x/main", folder / "l", *layout)
            print(
                f"round {number + 1}: s3fs {put:.2f} s, import {imported:.2f} s; "
                f"push {pushed:.2f} s, again {again:.2f} s by {_told(proxy.methods)}; "
                f"materialize cold {cold:.2f} s, warm {warm:.2f} s, local {local:.2f} s"
            )
            ratios.setdefault("import to s3fs (≤ 2)", []).append(imported / put)
            ratios.setdefault("bytes of a second push (≤ 0.06)", []).append(moved)
            ratios.setdefault("materialize warm to local (≤ 1.3)", []).append(warm / local)
    for name, values in ratios.items():
        print(f"{name}: {statistics.median(values):.3f} ({min(values):.3f}–{max(values):.3f})")


def _change(tree: Path, size: int) -> None:
    """Other values in some files, of so many bytes together: what five percent stand for."""
    for path in sorted(tree.rglob("*Epix100a*/pixel_rms/*.npy")) + sorted(
        tree.rglob("*Epix100a*/pedestals/*.npy")
    ):
        if size > 0:
            values = np.load(path)
            np.save(path, np.roll(values, 1))
            size -= values.nbytes


def _stored(url: str) -> int:
    files = open_remote(url)._files
    return sum(each["size"] for each in files.find(url, detail=True).values())


def _told(counts: Counter[str]) -> str:
    return ", ".join(f"{number} {method}" for method, number in sorted(counts.items()))


def many(refs: int, records: int, work: Path) -> None:
    """How many requests an overview and a long history take, cold and from what was kept."""
    with s3() as port:
        url = place()
        store = init_store(url, secrets.token_hex(16))
        empty = put_set(store, SetManifest())
        to = Move(empty, "set", always=True)
        for number in range(records):
            move(store, RefName("x/long"), lambda before: to, stamp(), "set", may_be_new=True)
            if number % 250 == 0:
                print(f"  {number} records", file=sys.stderr)
        _copies(store, refs)
        with fault_proxy(port, 0) as proxy:
            outside = {**environment(proxy.port), "CALSTORE_CACHE": str(work / "cache")}
            for what, words in (
                (f"refs of {refs + 1}", ("refs",)),
                (f"log of {records}", ("log", "x/long")),
            ):
                for how in ("cold", "warm"):
                    proxy.methods.clear()
                    took = calstore("--store", url, *words, **outside)
                    print(f"{what}, {how}: {took:.2f} s, {_told(proxy.methods)}")


def _copies(store: Store, refs: int) -> None:
    """Many refs of one record each, put side by side."""
    first = logs.read(store.own, "refs/x/long", 1).record
    with ThreadPoolExecutor(16) as pool:
        records = (replace(first, log=f"refs/x/r{number:05}") for number in range(refs))
        list(pool.map(lambda record: logs.copy(store.own, record), records))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=float, default=1000, help="MB of the tree")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--many", action="store_true", help="many refs and records instead")
    parser.add_argument("--refs", type=int, default=10000)
    parser.add_argument("--records", type=int, default=1000)
    parser.add_argument("--work", type=Path, help="a folder with room; default a temporary one")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=wanted.work) as work:
        if wanted.many:
            many(wanted.refs, wanted.records, Path(work))
        else:
            tree(wanted.size, wanted.rounds, Path(work))


if __name__ == "__main__":
    main()
