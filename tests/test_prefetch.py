"""The file that psana 2 and AMI read instead of asking: whole, one's own, and for all detectors."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from builders import stamp
from psana2_client import put_version

from calstore.errors import Conflict, NotFound
from calstore.repository.prefetch import gather, prefetch, record_prefetch
from calstore.repository.store import Store, init_store
from calstore.repository.uses import uses_of

UNIQUE = {"epix100": "epix100_1-2-3", "scan": "scan_scan1", "runinfo": "runinfo_"}


@pytest.fixture
def store(store_place: str) -> Store:
    store = init_store(store_place, "0" * 32)
    pedestals = np.arange(12, dtype=np.float32).reshape(3, 4)
    constants = {"pedestals": pedestals, "geometry": "# some\n"}
    put_version(store, "xpp/main", {("epix100", "epix100", ("1-2-3",)): constants})
    return store


def write(store: Store, dest: Path) -> int:
    version = store["xpp/main"]
    return prefetch(version, 5, UNIQUE, gather(version, 5, UNIQUE), dest)


def test_psana_finds_all_detectors_and_arrays_that_it_may_write_to(
    store: Store, tmp_path: Path
) -> None:
    dest = tmp_path / "calibconst.pkl"

    size = write(store, dest)

    with dest.open("rb") as file:
        found = pickle.load(file)
    assert size == dest.stat().st_size
    assert found["det_info"] == UNIQUE
    assert found["calib_const"].keys() == UNIQUE.keys()
    pedestals, document = found["calib_const"]["epix100"]["pedestals"]
    assert np.array_equal(pedestals, np.arange(12).reshape(3, 4))
    assert (pedestals.dtype, pedestals.flags.writeable) == (np.float32, True)
    assert (document["experiment"], document["run"]) == ("xpp", 5)
    assert found["calib_const"]["epix100"]["geometry"][0] == "# some\n"
    assert found["calib_const"]["scan"] == {}


def test_no_numpy_of_a_certain_version_is_needed(store: Store, tmp_path: Path) -> None:
    dest = tmp_path / "calibconst.pkl"

    write(store, dest)

    assert b"numpy._core" not in dest.read_bytes()
    assert b"numpy.core" not in dest.read_bytes()


def test_a_file_of_its_own_is_replaced_and_anothers_is_not(store: Store, tmp_path: Path) -> None:
    dest, foreign = tmp_path / "own.pkl", tmp_path / "foreign.pkl"
    foreign.write_bytes(pickle.dumps({"det_info": {}, "calib_const": {}}))
    before = foreign.read_bytes()
    write(store, dest)

    write(store, dest)
    with pytest.raises(Conflict, match="not written by calstore prefetch"):
        write(store, foreign)

    assert foreign.read_bytes() == before
    names = {path.name for path in tmp_path.iterdir()}
    assert names - {".calstore"} == {"foreign.pkl", "own.pkl"}


def test_half_a_file_of_its_own_is_anothers(store: Store, tmp_path: Path) -> None:
    dest = tmp_path / "own.pkl"
    write(store, dest)
    dest.write_bytes(dest.read_bytes()[:-1])

    with pytest.raises(Conflict):
        write(store, dest)


def test_without_a_folder_nothing_is_left(store: Store, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="cannot write"):
        write(store, tmp_path / "none" / "own.pkl")


def test_a_detector_with_pixels_and_no_constants_is_refused_until_it_is_allowed(
    store: Store,
) -> None:
    version = store["xpp/main"]
    unique = {**UNIQUE, "jungfrau": "jungfrau_8-1"}

    with pytest.raises(NotFound, match="jungfrau_8-1"):
        gather(version, 5, unique)
    gathered = gather(version, 5, unique, allow_missing=True)

    assert gathered.missing == ("jungfrau_8-1",)
    assert gathered.constants["jungfrau"] == {}
    assert gathered.given == {"epix100": ("geometry", "pedestals")}


def test_what_was_written_is_a_use(store: Store, tmp_path: Path) -> None:
    version = store["xpp/main"]
    gathered = gather(version, 5, UNIQUE)

    record_prefetch(version, "xpp", 5, gathered, tmp_path / "own.pkl", stamp())

    (record,) = uses_of(store, "xpp", 5)
    assert record.use is not None
    assert record.use.client == f"file:{tmp_path / 'own.pkl'}"
    assert record.use.given == gathered.given
    assert record.manifest == version.reference
