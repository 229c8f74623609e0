"""Unmodified psana finds and reads, in a view, what calstore says that a run gets."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import calstore
from calstore.formats import psana_text_writer
from calstore.model.runs import END, RunRange

PSANA = os.environ.get("CALSTORE_PSANA_PYTHON")
REAL_TREE = Path(__file__).resolve().parents[2] / "shared" / "data" / "calib-xpp"
CAMERA = ("Camera::CalibV1", "SxrEndstation.0:Opal1000.0")

pytestmark = pytest.mark.skipif(
    PSANA is None, reason="CALSTORE_PSANA_PYTHON does not name a Python that has psana"
)


def asked(questions):
    """psana's answers."""
    client = Path(__file__).with_name("psana_client.py")
    environment = {
        **os.environ,
        "PS_PARALLEL": "none",
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    }
    done = subprocess.run(
        [PSANA or sys.executable, client],
        input="\n".join(map(json.dumps, questions)),
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def question(calib, detector, type_name, run, array):
    return {
        "calib": str(calib),
        "group": detector[0],
        "source": detector[1],
        "type": type_name,
        "run": run,
        "dtype": str(array.dtype),
        "shape": array.shape,
    }


def random_tree(root, random):
    """A calib directory with overlapping ranges, each of them with other numbers."""
    folder = root / "/".join(CAMERA) / "pedestals"
    folder.mkdir(parents=True)
    for _ in range(8):
        first = int(random.integers(0, 30))
        last = END if random.random() < 0.4 else int(first + random.integers(0, 15))
        array = random.normal(0, 1e3, (4, 5)).astype(np.float32)
        text = psana_text_writer.write(array, type_name="pedestals")
        (folder / f"{RunRange(first, last)}.data").write_bytes(text)


def test_psana_gets_from_a_view_what_the_version_says_before_and_after_set(tmp_path):
    random = np.random.default_rng(4)
    questions, expected = [], []
    for number in range(6):
        calib, store = tmp_path / f"{number}" / "in", calstore.init("memory:", "0" * 32)
        random_tree(calib, random)
        calstore.import_tree(store, calib, "sxr/main", calstore.stamp())
        calstore.fork(store, "sxr/main", "sxr/users/ada/try", calstore.stamp())
        for _ in range(3):
            first = int(random.integers(0, 30))
            runs = RunRange(first, int(first + random.integers(0, 20)))
            array = random.normal(0, 1, (4, 5)).astype(np.float32)
            calstore.set_constant(
                store, "sxr/users/ada/try", CAMERA[1], "pedestals", runs, array, calstore.stamp()
            )
        for name in ("sxr/main", "sxr/users/ada/try"):
            view = tmp_path / f"{number}" / name.replace("/", "_") / "calib"
            calstore.materialize(store, store[name], view)
            for run in (*range(50), 9999, 10_000):
                constants = store[name][CAMERA[1]].at(run)
                array = constants["pedestals"].array if "pedestals" in constants else None
                shaped = np.zeros((4, 5), np.float32) if array is None else array
                questions.append(question(view, CAMERA, "pedestals", run, shaped))
                expected.append(None if array is None else array.tobytes().hex())

    answers = asked(questions)

    assert [answer.get("bytes") for answer in answers] == expected


@pytest.mark.parametrize(
    ("type_name", "array"),
    [
        ("pedestals", np.random.default_rng(1).normal(2000, 50, (3, 2, 6, 7)).astype(np.float32)),
        ("pixel_gain", np.array([[1e-38, 3.4e38], [-1e-45, 7.038531e-26]], dtype=np.float32)),
        ("pixel_status", np.array([[0, 1], [65535, 4]], dtype=np.uint16)),
        ("pixel_mask", np.eye(5, 3, dtype=np.uint8)),
        ("common_mode", np.array([7.0, 2.0, 10.25, 10.0])),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_psana_reads_every_bit_of_a_constant_that_calstore_wrote(tmp_path, type_name, array):
    store = calstore.init("memory:", "0" * 32)
    folder = tmp_path / "in" / "/".join(CAMERA) / "geometry"
    folder.mkdir(parents=True)
    (folder / "0-end.data").write_bytes(b"# geometry\n")
    calstore.import_tree(store, tmp_path / "in", "sxr/main", calstore.stamp())
    calstore.set_constant(
        store, "sxr/main", CAMERA[1], type_name, RunRange(0, END), array, calstore.stamp("why not")
    )
    calstore.materialize(store, store["sxr/main"], tmp_path / "calib")

    (answer,) = asked([question(tmp_path / "calib", CAMERA, type_name, 137, array)])

    assert answer["bytes"] == array.tobytes().hex()


@pytest.mark.skipif(
    not REAL_TREE.is_dir(), reason="the real calibration files are not beside this checkout"
)
def test_psana_finds_the_real_constants_in_both_versions_of_the_real_tree(tmp_path):
    epix = ("Epix100a::CalibV1", "XppGon.0:Epix100a.1")
    store = calstore.init("memory:", "0" * 32)
    calstore.import_tree(store, REAL_TREE, "xppn4116/main", calstore.stamp())
    calstore.fork(store, "xppn4116/main", "xppn4116/users/ada/status", calstore.stamp())
    clean = np.zeros((704, 768), dtype=np.uint16)
    calstore.set_constant(
        store,
        "xppn4116/users/ada/status",
        "Epix100a.1",
        "pixel_status",
        RunRange(5, 20),
        clean,
        calstore.stamp(),
    )
    found = store["xppn4116/main"]["Epix100a.1"].at(137)["pixel_status"].array
    views = {}
    for name in ("main", "users/ada/status"):
        views[name] = tmp_path / name / "calib"
        calstore.materialize(store, store[f"xppn4116/{name}"], views[name])

    answers = asked(
        question(views[name], epix, "pixel_status", run, clean)
        for name in views
        for run in (4, 5, 20, 21)
    )

    old, new = found.tobytes().hex(), clean.tobytes().hex()
    assert int(found.sum()) == 103437
    assert [answer["bytes"] for answer in answers] == [old, old, old, old, old, new, new, old]
