"""psana 2 reads from a version: exactly its constants, for its own panels, or none."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from commandline import run, spawn
from service import Service

import calstore
from calstore.model.psana2 import NOMINAL_DTYPES
from calstore.repository.store import Store

PSANA = os.environ.get("CALSTORE_PSANA_PYTHON")
with_psana = pytest.mark.skipif(
    PSANA is None, reason="CALSTORE_PSANA_PYTHON does not name a Python that has psana"
)
EXPERIMENT = "mfx101332224"
REF = f"{EXPERIMENT}/main"
LONG = "jungfrau_8-A_8-B_8-C"


def frames(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(2000, 5, shape).round().astype(np.uint16)


def store_in(folder: Path) -> Store:
    return calstore.open(folder / ".calstore")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A store with a dark of a Jungfrau of three panels."""
    assert run("init", folder=tmp_path).code == 0
    modes = []
    for mode in range(3):
        np.save(tmp_path / f"G{mode}.npy", frames(mode, 60, 3, 16, 32))
        modes += ["--from", f"G{mode}=G{mode}.npy"]
    serials = [word for name in "ABC" for word in ("--serial", f"8-{name}")]
    words = ("dark", EXPERIMENT, 5, "--detector", "jungfrau", "--kind", "jungfrau")
    made = run(*words, *serials, *modes, folder=tmp_path)
    assert made.code == 0, made.err
    return tmp_path


@pytest.mark.parametrize("jwt", [False, True])
def test_a_run_gets_each_type_once_and_bit_for_bit(folder: Path, jwt: bool) -> None:
    stored = calstore.open(folder / ".calstore")[f"{EXPERIMENT}/main"]["jungfrau"].at(run=7)

    with Service(store_in(folder), REF) as service:
        found = service.constants(LONG, 7, jwt=jwt)

    assert sorted(found) == sorted(stored)
    for name, values in found.items():
        assert values.dtype == NOMINAL_DTYPES[name]
        assert np.array_equal(values, stored[name].array)


def test_panels_get_their_own_numbers_whatever_their_order_or_none(folder: Path) -> None:
    stored = calstore.open(folder / ".calstore")[f"{EXPERIMENT}/main"]["jungfrau"].at(run=7)
    pedestals = stored["pedestals"].array

    with Service(store_in(folder), REF) as service:
        turned = service.constants("jungfrau_8-C_8-A_8-B", 7)
        some = service.constants("jungfrau_8-B", 7)
        stranger = service.constants("jungfrau_8-A_8-X_8-C", 7)
        part_of_a_name = service.constants("jungfrau_8", 7)

    assert np.array_equal(turned["pedestals"], pedestals[:, [2, 0, 1]])
    assert np.array_equal(some["pedestals"], pedestals[:, [1]])
    assert (stranger, part_of_a_name) == ({}, {})


def test_runs_without_constants_get_none(folder: Path) -> None:
    with Service(store_in(folder), REF) as service:
        assert service.constants(LONG, 4) == {}
        assert service.constants(LONG, 5)
        assert service.constants(LONG, 9999)
        assert service.constants(LONG, 10000) == {}
        assert service.constants(LONG, 0) == {}


def test_what_is_not_known_is_an_empty_list_and_nothing_is_a_fault(folder: Path) -> None:
    with Service(store_in(folder), REF) as service:
        for path in (
            *("cdb_detnames/jungfrau", "cdb_xppx1/jungfrau_000001", "None/None", "cdb_x", "x/y/z"),
            f"cdb_{EXPERIMENT}/jungfrau_000001?query_string=None",
            f"cdb_{EXPERIMENT}/a?query_string=%7B%22run%22%3A%20-1%7D",
            f"cdb_{EXPERIMENT}/a?query_string=%5B1%5D",
        ):
            assert service.raw(f"/ws/calib_ws/{path}") == (200, b"[]"), path
        assert service.raw("/ws/calib_ws/cdb_detnames/x", b"[" * 100_000) == (200, b"[]")
        assert service.raw("/ws/calib_ws/cdb_detnames/x", b"x" * 1_000_000)[0] in (200, 400)
        for path in ("/", "/ws/calib_ws/cdb_x/gridfs/0", "/ws/calib_ws/../../etc/passwd"):
            assert service.raw(path)[0] == 404
        databases = json.loads(service.raw("/ws/calib_ws/")[1])
        (short,) = json.loads(service.raw(f"/ws/calib_ws/cdb_{EXPERIMENT}")[1])

    assert databases == ["cdb_detnames", f"cdb_{EXPERIMENT}"]
    assert short.startswith("jungfrau_")


def test_a_pinned_version_stays_and_a_followed_ref_moves_for_new_runs(folder: Path) -> None:
    store = calstore.open(folder / ".calstore")
    before = store[f"{EXPERIMENT}/main"]["jungfrau"].at(run=7)["pedestals"].array

    with (
        Service(store_in(folder), REF) as pinned,
        Service(store_in(folder), REF, follows=True) as following,
    ):
        following.constants(LONG, 7)
        words = ("set", f"{EXPERIMENT}/main", "jungfrau", "pedestals", "0-end", "new.npy")
        np.save(folder / "new.npy", before + 1)
        assert run(*words, folder=folder).code == 0
        begun, new = following.constants(LONG, 7), following.constants(LONG, 8)
        following.now += 100
        later = following.constants(LONG, 7)
        still = pinned.constants(LONG, 8)

    assert np.array_equal(begun["pedestals"], before)
    assert np.array_equal(still["pedestals"], before)
    for found in (new, later):
        assert np.array_equal(found["pedestals"], before + 1)


def test_ids_are_24_digits_and_begin_with_the_time(folder: Path) -> None:
    record = calstore.open(folder / ".calstore")[f"{EXPERIMENT}/main"].record
    assert record is not None

    with Service(store_in(folder), REF) as service:
        (name,) = service.find("cdb_detnames/jungfrau", {"long": LONG})
        place = f"cdb_{EXPERIMENT}/{name['short']}"
        documents = service.find(place, {"run": {"$lte": 7}})
        again = service.find(f"{place}/{documents[0]['_id']}", {})

    for document in documents:
        for key in ("_id", "id_data"):
            assert len(document[key]) == 24
            seconds = int(document[key][:8], 16)
            assert seconds == document["time_sec"]
    assert again == documents[0]
    assert len({document["_id"] for document in documents}) == len(documents)


def test_versions_of_one_experiment_are_not_served_together(folder: Path) -> None:
    outcome = run("serve", f"{EXPERIMENT}/main", f"{EXPERIMENT}/main@1", folder=folder)

    assert outcome.code == 5
    assert "both of" in outcome.err


def test_a_command_ends_with_its_own_code(folder: Path) -> None:
    ref = f"{EXPERIMENT}/main"

    told = spawn("run", ref, "--", "sh", "-c", "echo $LCLS_CALIB_HTTP; exit 7", folder=folder)
    absent = spawn("run", ref, "--", "no-such-command", folder=folder)
    unknown = spawn("run", f"{EXPERIMENT}/other", "--", "true", folder=folder)

    assert told.code == 7
    assert told.out.startswith("http://127.0.0.1:")
    assert (absent.code, unknown.code) == (127, 3)


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
