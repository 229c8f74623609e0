"""mpirun calstore dark: several processes give the digests of one, and fail as one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from commandline import run

import calstore

MPIRUN = shutil.which("mpirun")
pytestmark = pytest.mark.skipif(MPIRUN is None, reason="there is no mpirun on this machine")
WORDS = ("dark", "xppn4116", "5", "--detector", "XppGon.0:Epix100a.1", "--again")


def mpi(processes: int, *words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    assert MPIRUN is not None
    allowed = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    return subprocess.run(
        [MPIRUN, "-n", str(processes), "--oversubscribe", sys.executable, "-m", "calstore", *words],
        cwd=folder,
        env={**os.environ, **allowed},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    assert run("init", folder=tmp_path).code == 0
    noise = np.random.default_rng(1).normal(3000, 5, (203, 24, 32))
    np.save(tmp_path / "r5.npy", noise.round().astype(np.uint16))
    return tmp_path


@pytest.mark.parametrize("processes", [2, 5])
def test_several_processes_give_the_digests_of_one(folder: Path, processes: int) -> None:
    assert run(*WORDS, "--from", "r5.npy", folder=folder).code == 0

    shared = mpi(processes, *WORDS, "--from", "r5.npy", "--ref", "xppn4116/mpi", folder=folder)

    assert shared.returncode == 0, shared.stderr
    assert shared.stdout.count("xppn4116/mpi@1") == 1
    store = calstore.open(folder / ".calstore")
    assert store["xppn4116/mpi"].digest == store["xppn4116/main"].digest


def test_an_error_ends_all_processes_with_its_code(folder: Path) -> None:
    failed = mpi(2, *WORDS, "--from", "absent.npy", folder=folder)

    assert failed.returncode == 3
    assert failed.stderr.count("calstore: there is no file absent.npy") == 1
