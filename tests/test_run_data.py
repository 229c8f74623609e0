"""calstore dark EXPERIMENT RUN: the run is found where the experiment has its data."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from commandline import run

import calstore

PSANA = os.environ.get("CALSTORE_PSANA_PYTHON")
pytestmark = pytest.mark.skipif(
    PSANA is None, reason="CALSTORE_PSANA_PYTHON does not name a Python that has psana"
)
EXPERIMENT = "tstx00125"
ONE_PROCESS = {
    "PS_PARALLEL": "none",
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
}


def name(number: int) -> str:
    return f"{EXPERIMENT}-r{number:04d}-s000-c000.xtc2"


@pytest.fixture(scope="module")
def written(memory_path: Path) -> Path:
    """Runs 3 and 4 of a camera, as psana's own writer makes them."""
    assert PSANA is not None
    plans = []
    for number in (3, 4):
        noise = np.random.default_rng(number).normal(3000, 5, (70, 64, 96)).round()
        np.save(memory_path / f"{number}.npy", noise.astype(np.uint16))
        plan = {
            "out": str(memory_path / name(number)),
            "experiment": EXPERIMENT,
            "run": number,
            "detectors": {"epix100": {"kind": "epix100", "serials": ["1-2-3"]}},
            "steps": [{"frames": {"epix100": str(memory_path / f"{number}.npy")}, "doc": {}}],
        }
        plans.append(json.dumps(plan))
    for mode in range(3):
        noise = np.random.default_rng(mode).normal(2000, 5, (6, 1, 512, 1024)).round()
        np.save(memory_path / f"G{mode}.npy", noise.astype(np.uint16))
        plan = {
            "out": str(memory_path / name(10 + mode)),
            "experiment": EXPERIMENT,
            "run": 10 + mode,
            "detectors": {"jungfrau": {"kind": "jungfrau", "serials": ["8-1-1"]}},
            "steps": [{"frames": {"jungfrau": str(memory_path / f"G{mode}.npy")}, "doc": {}}],
        }
        plans.append(json.dumps(plan))
    script = Path(__file__).with_name("xtc2_files.py")
    environment = {**os.environ, **ONE_PROCESS}
    subprocess.run([PSANA, script, *plans], env=environment, check=True, capture_output=True)
    return memory_path


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    """A store that knows where the data are: run 3 offline, run 4 on the fast feedback's disks."""
    assert run("init", folder=tmp_path).code == 0
    for number, kind in ((3, "data-dir"), (4, "ffb-dir")):
        (tmp_path / kind).mkdir()
        shutil.copy(written / name(number), tmp_path / kind)
        assert run("config", f"{kind}/{EXPERIMENT}", tmp_path / kind, folder=tmp_path).code == 0
    return tmp_path


def test_a_run_is_found_offline_and_on_the_fast_disks(folder: Path) -> None:
    offline = run("dark", EXPERIMENT, 3, folder=folder)
    newest = run("dark", EXPERIMENT, "--latest", folder=folder)
    absent = run("dark", EXPERIMENT, 5, folder=folder)
    listed = run("sources", EXPERIMENT, 3, folder=folder)

    assert offline.code == 0, offline.err
    assert newest.code == 0, newest.err
    assert absent.code == 3
    assert "no files of run 5" in absent.err
    assert "epix100  epix100  uint16 64×96  70" in listed.out
    version = calstore.open(folder / ".calstore")[f"{EXPERIMENT}/main"]
    constants = version["epix100"].at(run=9)["pedestals"]
    assert (constants.constant.serials, str(constants.runs)) == (("1-2-3",), "4-end")


def test_the_automatic_run_processing_names_experiment_and_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EXPERIMENT", EXPERIMENT)
    monkeypatch.setenv("RUN_NUM", "3")

    made = run("dark", folder=folder)

    assert made.code == 0, made.err
    assert f"{EXPERIMENT}/main@1" in made.out


def test_a_run_that_is_being_written_is_waited_for(folder: Path, written: Path) -> None:
    file = folder / "data-dir" / name(3)
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])

    early = run("dark", EXPERIMENT, 3, "--wait", "0.5", folder=folder)
    file.write_bytes(whole)
    later = run("dark", EXPERIMENT, 3, "--wait", "0.5", folder=folder)

    assert early.code == 4
    assert "still being written" in early.err
    assert later.code == 0, later.err


def test_a_derivation_is_reproduced_from_where_the_run_is_now(folder: Path) -> None:
    assert run("dark", EXPERIMENT, 3, folder=folder).code == 0
    shutil.move(folder / "data-dir" / name(3), folder / "ffb-dir" / name(3))

    again = run("reproduce", f"{EXPERIMENT}/main", folder=folder)
    (folder / "ffb-dir" / name(3)).unlink()
    gone = run("reproduce", f"{EXPERIMENT}/main", folder=folder)

    assert (again.code, again.out[:4]) == (0, "same")
    assert (gone.code, gone.out[:4]) == (3, "gone")


def test_each_gain_mode_may_have_a_run_of_its_own(folder: Path, written: Path) -> None:
    for number in (10, 11, 12):
        shutil.copy(written / name(number), folder / "data-dir")
    modes = [word for n in range(3) for word in ("--from", f"G{n}={10 + n}")]

    made = run("dark", EXPERIMENT, 10, *modes, folder=folder)

    assert made.code == 0, made.err
    version = calstore.open(folder / ".calstore")[f"{EXPERIMENT}/main"]
    pedestals = version["jungfrau"].at(run=10)["pedestals"].array
    means = [np.load(written / f"G{n}.npy").astype(float).mean() for n in range(3)]
    assert np.allclose(pedestals.mean(axis=(1, 2, 3)), means, atol=0.5)
    assert version.record is not None
    assert version.record.what.startswith("dark run 10, 11, 12: jungfrau")
