"""What a store on S3 survives: many writers, a bad network, and kill −9. Counts, not times.

    python benchmarks/remote_trouble.py races [--writers 16] [--appends 250]
    python benchmarks/remote_trouble.py faults [--commits 1000]
    python benchmarks/remote_trouble.py kills [--kills 200]

moto is the server, a process on loopback; needs the extras s3 and test. Exit code 1 when anything
was lost, told twice or refused for nothing.
"""

from __future__ import annotations

import argparse
import os
import random
import secrets
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from unittest.mock import patch

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))

from builders import damages, small_files, stamp, write_files
from fault_proxy import fault_proxy
from object_store import environment
from remote import place, s3

from calstore.errors import CalstoreError, Conflict
from calstore.model.manifests import SetManifest
from calstore.model.names import RefName
from calstore.repository.change import Move, move, put_set
from calstore.repository.import_tree import import_tree
from calstore.repository.push import push
from calstore.repository.refs import log
from calstore.repository.store import Store, init_store, open_store

REF = "x/main"
VERBS = ("push", "pull", "clone")
FAULTY = 0.3


def append(url: str, ref: str, count: int) -> list[tuple[int, str]]:
    """Appends to a ref, each upon what it had: number and writer's id, 0 for a conflict."""
    store = open_store(url)
    empty = put_set(store, SetManifest())
    to = Move(empty, "append", always=True)
    told = []
    for _ in range(count):
        mine = stamp()
        try:
            moved = move(store, RefName(ref), lambda before: to, mine, "set", may_be_new=True)
            told.append((moved.record.number, mine.writer.hex()))
        except Conflict as error:
            print(f"conflict: {error}", file=sys.stderr)
            told.append((0, mine.writer.hex()))
    return told


def together(url: str, refs: list[str], count: int) -> list[list[tuple[int, str]]]:
    """What each of some processes was told, one for each ref."""
    words = [sys.executable, __file__, "append", url]
    running = [
        subprocess.Popen([*words, ref, str(count)], stdout=subprocess.PIPE, text=True)
        for ref in refs
    ]
    found = []
    for process in running:
        out, _ = process.communicate()
        found.append([(int(n), writer) for n, writer in map(str.split, out.splitlines())])
    return found


def judged(store: Store, refs: list[str], told: list[list[tuple[int, str]]], count: int) -> bool:
    """Print what became of the appends; whether all is well."""
    there: Counter[tuple[str, int, str]] = Counter()
    for ref in set(refs):
        for record in log(store, ref):
            there[ref, record.number, record.stamp.writer.hex()] += 1
    claimed = Counter(
        (ref, number, writer)
        for ref, each in zip(refs, told, strict=True)
        for number, writer in each
        if number
    )
    conflicts = sum(number == 0 for each in told for number, _ in each)
    lost, unasked = claimed - there, there - claimed
    print(
        f"{sum(claimed.values())} of {len(refs) * count} appended; lost {len(lost)}, told falsely "
        f"{len(unasked)}, conflicts {conflicts}, damages {len(damages(store))}"
    )
    wanted = len(refs) * count
    return sum(claimed.values()) == wanted and not (lost or unasked or damages(store))


def races(writers: int, appends: int) -> bool:
    with s3() as port, fault_proxy(port, 0) as proxy:
        url = place()
        store = init_store(url, secrets.token_hex(16))
        refs = [REF] * writers
        started = time.perf_counter()
        with patch.dict(os.environ, environment(proxy.port)):
            told = together(url, refs, appends)
        took = time.perf_counter() - started
        asked = sum(proxy.methods.values())
        print(f"{writers} processes, one ref: {took:.0f} s, {asked} requests {dict(proxy.methods)}")
        return judged(store, refs, told, appends)


def faults(commits: int) -> bool:
    with s3() as port, fault_proxy(port, FAULTY, seed=7) as proxy:
        url = place()
        store = init_store(url, secrets.token_hex(16))
        refs = [f"x/writer{number}" for number in range(8)]
        started = time.perf_counter()
        with patch.dict(os.environ, environment(proxy.port)):
            told = together(url, refs, commits // len(refs))
        took = time.perf_counter() - started
        print(f"8 processes, a ref each: {took:.0f} s, requests {dict(proxy.counts)}")
        return judged(store, refs, told, commits // len(refs))


def kills(count: int, seed: int) -> bool:
    """Kill push, pull and clone at random moments; the same command again must complete."""
    draw = random.Random(seed)
    outcomes: Counter[str] = Counter()
    with s3(), tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        near = init_store(folder / "near", secrets.token_hex(16))
        for number in range(12):
            tree = write_files(folder / f"{number}", small_files(number))
            import_tree(near, tree, REF, stamp())
        full = place()
        push(near, REF, init_store(full, secrets.token_hex(16)))
        records = [record.name for record in log(near, REF)]
        took = {verb: _timed(_command(verb, folder, full, "timed")) for verb in VERBS}
        for number in range(count):
            verb = draw.choice(VERBS)
            command = _command(verb, folder, full, f"there{number}")
            outcomes[_killed(command, draw.uniform(0.4, 1.05) * took[verb])] += 1
            dest = _dest(command)
            outcomes["with objects and no history yet"] += _is_half(dest)
            again = subprocess.run(command, check=False, capture_output=True, text=True)
            store = open_store(dest)
            if (
                again.returncode
                or [record.name for record in log(store, REF)] != records
                or damages(store)
            ):
                print(f"{verb} of {dest}: {again.returncode} {again.stderr}")
                outcomes["not completed"] += 1
        is_source_well = not damages(near) and not damages(open_store(full))
    print(f"{count} times: {dict(outcomes)}; sources {'clean' if is_source_well else 'DAMAGED'}")
    return is_source_well and not outcomes["not completed"]


def _command(verb: str, folder: Path, full: str, name: str) -> list[str]:
    """A command that fills a place where nothing is, or an empty store."""
    empty = place() if verb == "push" else str(folder / f"{name}-{verb}")
    if verb != "clone":
        init_store(empty, secrets.token_hex(16))
    words = {
        "push": ["--store", str(folder / "near"), "push", REF, empty],
        "pull": ["--store", empty, "pull", REF, full],
        "clone": ["clone", full, empty],
    }[verb]
    return [sys.executable, "-m", "calstore", *words]


def _dest(command: list[str]) -> str:
    return command[4] if "pull" in command else command[-1]


def _timed(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def _killed(command: list[str], after_s: float) -> str:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        process.wait(after_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return "killed"
    return "ended before"


def _is_half(dest: str) -> bool:
    """Whether some was copied, and not all: what makes the second run more than a first one."""
    try:
        store = open_store(dest)
    except CalstoreError:
        return False
    last = f"refs/{REF}/00000012"
    return any(store.own.list("objects/")) and last not in list(store.own.list(f"refs/{REF}/"))


def main() -> None:
    if sys.argv[1:2] == ["append"]:
        for number, writer in append(sys.argv[2], sys.argv[3], int(sys.argv[4])):
            print(number, writer)
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["races", "faults", "kills"])
    parser.add_argument("--writers", type=int, default=16)
    parser.add_argument("--appends", type=int, default=250)
    parser.add_argument("--commits", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    wanted = parser.parse_args()
    match wanted.what:
        case "races":
            is_well = races(wanted.writers, wanted.appends)
        case "faults":
            is_well = faults(wanted.commits)
        case _:
            is_well = kills(wanted.kills, wanted.seed)
    sys.exit(not is_well)


if __name__ == "__main__":
    main()
