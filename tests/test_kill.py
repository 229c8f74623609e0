"""kill −9 at the n-th call of a command: as after any other failure, but nothing could tidy up."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from builders import (
    OPAL,
    damages,
    history_lines,
    set_digest,
    small_files,
    stamp,
    view_files,
    write_files,
)

from calstore.errors import Conflict, NotFound
from calstore.frames.npy import Labels, open_npy
from calstore.model.runs import RunRange
from calstore.repository.branch import delete_ref, fork
from calstore.repository.dark import DarkRequest, dark
from calstore.repository.dark_plan import Data
from calstore.repository.import_tree import import_tree
from calstore.repository.materialize import materialize
from calstore.repository.set_constant import set_constant
from calstore.repository.store import Store, init_store, open_store
from calstore.views.temporaries import TEMPORARY

MAIN = "cxis0113/main"
SANDBOX = "cxis0113/users/wilson/mask"
NEW_REF = "cxis0113/users/wilson/new"
KILLED = -9

Killer = Callable[[int, list[str]], int]


@pytest.fixture(scope="module")
def kill() -> Iterator[Killer]:
    """Runs a command that is killed before its n-th call; returns its exit code."""
    words = [sys.executable, str(Path(__file__).with_name("killed.py"))]
    environment = {**os.environ, "POLARS_MAX_THREADS": "1"}
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        stdin, stdout = server.stdin, server.stdout

        def run(nth: int, arguments: list[str]) -> int:
            stdin.write(json.dumps({"arguments": arguments, "nth": nth}) + "\n")
            stdin.flush()
            return int(stdout.readline())

        yield run
        stdin.close()


@pytest.fixture(scope="module")
def origin(memory_path: Path) -> Path:
    """A folder with a store, two states of a calib directory, and a file of values."""
    folder = memory_path / "origin"
    first, second = small_files(1), {**small_files(2), f"{OPAL}/pedestals/20-30.data": b"1 2 3\n"}
    del second[f"{OPAL}/pixel_status/0-end.data"]
    write_files(folder / "1", first)
    write_files(folder / "2", second)
    np.save(folder / "values.npy", np.arange(12, dtype=np.float32).reshape(3, 4))
    noise = np.random.default_rng(1).normal(3000, 5, (60, 8, 8)).round()
    np.save(folder / "dark.npy", noise.astype(np.uint16))
    store = init_store(folder / "store", "0" * 32)
    import_tree(store, folder / "1", MAIN, stamp())
    fork(store, MAIN, SANDBOX, stamp())
    return folder


def dark_run(store: Store, folder: Path) -> object:
    source = open_npy(folder / "dark.npy", Labels("cxis0113", 9, "camera"))
    request = DarkRequest("cxis0113", MAIN, ("camera",))
    return dark(store, request, [Data(9, source, source.contents())], stamp())


# Name → the ref that moves, the words of the command, the same by Python, and every how many
# calls it is killed.
COMMANDS: dict[str, tuple[str, list[str], Callable[[Store, Path], object], int]] = {
    "import": (
        MAIN,
        ["import", "2", MAIN],
        lambda store, folder: import_tree(store, folder / "2", MAIN, stamp()),
        4,
    ),
    "set": (
        MAIN,
        ["set", MAIN, "Opal1000.0", "pedestals", "5-7", "values.npy"],
        lambda store, folder: set_constant(
            store, MAIN, "Opal1000.0", "pedestals", RunRange(5, 7), folder / "values.npy", stamp()
        ),
        2,
    ),
    "dark": (
        MAIN,
        ["dark", "cxis0113", "9", "--detector", "camera", "--ref", MAIN, "--from", "dark.npy"],
        dark_run,
        6,
    ),
    "fork": (
        NEW_REF,
        ["fork", MAIN, NEW_REF],
        lambda store, folder: fork(store, MAIN, NEW_REF, stamp()),
        1,
    ),
    "delete-ref": (
        SANDBOX,
        ["delete-ref", SANDBOX],
        lambda store, folder: delete_ref(store, SANDBOX, stamp()),
        1,
    ),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_killed_command_leaves_the_old_or_the_new(
    name: str, kill: Killer, origin: Path, memory_path: Path
) -> None:
    ref, words, run, step = COMMANDS[name]
    arguments = _in_folder(words, origin)
    undisturbed = shutil.copytree(origin / "store", memory_path / f"undisturbed-{name}")
    before = set_digest(open_store(undisturbed), ref)
    run(open_store(undisturbed), origin)
    after = set_digest(open_store(undisturbed), ref)

    points = 0
    for nth in range(1, 10_000, step):
        place = shutil.copytree(origin / "store", memory_path / "killed")
        code = kill(nth, ["--store", str(place), *arguments])
        assert code in (0, KILLED)
        store = open_store(place)
        reached = set_digest(store, ref)
        assert reached in ((after,) if code == 0 else (before, after))
        assert damages(store) == ()

        try:
            run(store, origin)
        except (Conflict, NotFound):
            # The name is made, or deleted, already, and the command says so.
            assert name in ("fork", "delete-ref")
            assert reached == after

        assert set_digest(store, ref) == after
        assert damages(store) == ()
        assert {path.name[:5] for path in place.rglob(".*")} <= {".tmp-"}, "other litter"
        shutil.rmtree(place)
        if code == 0:
            break
        points += 1
    assert points >= 6


@pytest.fixture(scope="module")
def versions(origin: Path, memory_path: Path) -> Store:
    """Of main, @3 has changed, added, removed and rendered files compared with @1."""
    store = open_store(shutil.copytree(origin / "store", memory_path / "versions"))
    import_tree(store, origin / "2", MAIN, stamp())
    set_constant(
        store, MAIN, "Opal1000.0", "pedestals", RunRange(5, 7), origin / "values.npy", stamp()
    )
    return store


@pytest.mark.parametrize("then", ["@3", "@1"], ids=["again", "back"])
@pytest.mark.parametrize("first", [None, "@1"], ids=["new", "update"])
def test_a_killed_materialize_can_be_repeated_or_taken_back(
    first: str | None, then: str, kill: Killer, versions: Store, memory_path: Path
) -> None:
    folder = memory_path / f"views-{first}-{then}"
    dest, fresh = folder / "calib", folder / "fresh"
    materialize(versions, versions[MAIN + then], fresh)
    store = versions.own.describe("")

    points = 0
    for nth in range(1, 10_000, 3):
        if first is not None:
            materialize(versions, versions[MAIN + first], dest)
        code = kill(nth, ["--store", store, "materialize", f"{MAIN}@3", str(dest)])
        assert code in (0, KILLED)

        materialize(versions, versions[MAIN + then], dest)

        assert _without_litter(view_files(dest)) == view_files(fresh), f"killed at call {nth}"
        assert history_lines(fresh) <= history_lines(dest)
        shutil.rmtree(dest)
        if code == 0:
            break
        points += 1
    assert points >= 15


def _in_folder(words: list[str], folder: Path) -> list[str]:
    return [
        str(folder / word) if word in ("2", "values.npy", "dark.npy") else word for word in words
    ]


def _without_litter(files: dict[str, bytes]) -> dict[str, bytes]:
    # Temporary files of a killed process stay; psana and AMI never take one for a constant.
    return {path: data for path, data in files.items() if TEMPORARY not in path}
