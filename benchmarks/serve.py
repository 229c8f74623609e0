"""Many clients that start a run at once: calstore serve against http.server for the same bytes.

    python benchmarks/serve.py [--clients 64] [--panels 16] [--rounds 3]

Each client does what psana 2 does for an epix10ka2M: a detector's name, its documents, and the
payload of each type. http.server has the payloads as files. Both are processes of their own; the
clients are threads of one process that throw away what they get. Ratios of one run count, not its
rates.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
from pathlib import Path

import numpy as np

from calstore.cli.identity import stamp
from calstore.model.manifests import Constant, DetectorManifest, SetManifest
from calstore.model.names import RefName
from calstore.model.runs import RunRange
from calstore.repository.change import put_set
from calstore.repository.commit import commit
from calstore.repository.store import Store, init_store
from calstore.store import arrays, objects

EXPERIMENT = "ueddaq02"
TYPES = {
    "pedestals": np.float32,
    "pixel_rms": np.float32,
    "pixel_gain": np.float32,
    "pixel_offset": np.float32,
    "pixel_status": np.uint64,
}
PIECE = 1024 * 1024


def fill(store: Store, panels: int) -> str:
    """A version with the constants of an epix10ka of so many panels; its unique id."""
    serials = tuple(f"5-{n}" for n in range(panels))
    random = np.random.default_rng(1)
    by_type = {}
    for name, dtype in TYPES.items():
        values = random.normal(2000, 30, (7, panels, 352, 384)).astype(dtype)
        content = arrays.put(store.backend, values)
        by_type[name] = {RunRange.parse("0-end"): Constant(content, serials=serials)}
    manifest = DetectorManifest(by_type).encoded()
    detector = objects.put(store.backend, objects.MANIFESTS, manifest)
    reference = put_set(store, SetManifest({("epix10ka", "epixquad"): detector}, {}))
    commit(
        store,
        RefName(f"{EXPERIMENT}/main"),
        reference,
        base=None,
        stamp=stamp(),
        operation="set",
        what="constants",
    )
    return "_".join(("epix10ka", *serials))


class Client(threading.Thread):
    """One process of an analysis at the start of its run."""

    def __init__(self, port: int, start: threading.Barrier, paths: list[str], long: str) -> None:
        super().__init__()
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
        self.start_together = start
        self.paths = paths
        self.long = long
        self.size = 0
        self.documents_s: list[float] = []
        self.error: str | None = None

    def run(self) -> None:
        """Fetch all; what fails is kept as a text."""
        self.start_together.wait()
        try:
            for path in self.paths or self._told():
                self.size += self._drain(path)
        except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
            self.error = repr(error)
        finally:
            self.connection.close()

    def _told(self) -> list[str]:
        (name,) = self._ask("cdb_detnames/epix10ka", {"long": self.long})
        short = name["short"]
        base = f"cdb_{EXPERIMENT}"
        found = self._ask(f"{base}/{short}", {"detector": short, "run": {"$lte": 5}})
        payloads = [f"/ws/calib_ws/{base}/gridfs/{each['id_data']}" for each in found]
        for path in payloads[:-1]:
            self.size += self._drain(path)
        self._ask("cdb_detnames/epix10ka", {"long": self.long})
        return payloads[-1:]

    def _ask(self, place: str, query: object) -> list[dict[str, str]]:
        words = urllib.parse.urlencode({"query_string": json.dumps(query)})
        began = time.perf_counter()
        self.connection.request("GET", f"/ws/calib_ws/{place}?{words}")
        found = json.loads(self.connection.getresponse().read())
        self.documents_s.append(time.perf_counter() - began)
        return list(found)

    def _drain(self, path: str) -> int:
        self.connection.request("GET", path)
        answer = self.connection.getresponse()
        if answer.status != 200:
            raise ValueError(f"{path}: {answer.status}")
        buffer, size = bytearray(PIECE), 0
        while count := answer.readinto(buffer):
            size += count
        return size


def storm(port: int, clients: int, paths: list[str], long: str) -> tuple[float, list[Client]]:
    """All clients at once; the seconds that the last of them took."""
    start = threading.Barrier(clients + 1)
    all_of_them = [Client(port, start, paths, long) for _ in range(clients)]
    for client in all_of_them:
        client.start()
    start.wait()
    began = time.perf_counter()
    for client in all_of_them:
        client.join()
    return time.perf_counter() - began, all_of_them


def memory_mb(process: subprocess.Popen[str], name: str) -> int:
    """What the kernel says of a process: VmRSS or VmHWM, in MB."""
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) // 1000
    raise ValueError(name)


def main() -> None:
    """Print rates, their ratio, the latencies of documents, and the memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--panels", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        folder = Path(name)
        store = init_store(folder / "store", "0" * 32)
        long = fill(store, options.panels)
        files = folder / "files"
        files.mkdir()
        version = store[f"{EXPERIMENT}/main"]["epixquad"].at(5)
        for kind in TYPES:
            (files / kind).write_bytes(version[kind].array.tobytes())
        paths = [f"/{kind}" for kind in TYPES]
        words = [sys.executable, "-m", "calstore", "--store", str(folder / "store"), "serve"]
        with (
            subprocess.Popen(
                [*words, f"{EXPERIMENT}/main", "--port", "0"],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            ) as ours,
            subprocess.Popen(
                [sys.executable, "-m", "http.server", "--protocol", "HTTP/1.1", "8643"],
                cwd=files,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                text=True,
            ) as theirs,
        ):
            try:
                measure(ours, theirs, options, paths, long)
            finally:
                ours.terminate()
                theirs.terminate()


def measure(
    ours: subprocess.Popen[str],
    theirs: subprocess.Popen[str],
    options: argparse.Namespace,
    paths: list[str],
    long: str,
) -> None:
    """Alternate between the two servers, and print what was seen."""
    assert ours.stdout is not None
    ours.stdout.readline()
    port = int(ours.stdout.readline().rsplit(":", 1)[1].split("/")[0])
    time.sleep(1)
    seconds, (one,) = storm(port, 1, [], long)
    print(f"one client, nothing in memory: {one.size / seconds / 1e6:.0f} MB/s")
    print(f"memory after one client: {memory_mb(ours, 'VmHWM')} MB")
    print(f"what a run needs: {one.size / 1e6:.0f} MB")
    ratios, documents = [], []
    for number in range(options.rounds):
        rates = []
        for at, of in ((port, []), (8643, paths)):
            seconds, clients = storm(at, options.clients, of, long)
            errors = [client.error for client in clients if client.error]
            assert not errors, errors
            rates.append(sum(client.size for client in clients) / seconds / 1e6)
            documents += [each for client in clients for each in client.documents_s]
        ratios.append(rates[0] / rates[1])
        print(
            f"{number}: {options.clients} clients: calstore {rates[0]:.0f} MB/s, http.server "
            f"{rates[1]:.0f} MB/s, ratio {ratios[-1]:.2f}; {memory_mb(ours, 'VmHWM')} MB at most"
        )
    documents.sort()
    median, p99 = statistics.median(documents), documents[int(0.99 * len(documents))]
    print(f"ratio {statistics.median(ratios):.2f} (median); cores {os.cpu_count()}")
    print(f"documents: median {median * 1e3:.0f} ms, p99 {p99 * 1e3:.0f} ms, {p99 / median:.1f} x")


if __name__ == "__main__":
    main()
