"""check judges what any run gets, each array once, and says it so that a person can act."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
from commandline import EPIX, OPAL, REAL_TREE, Outcome, npy_bytes, pedestals_text, write_tree
from constants import EPIX100A, JUNGFRAU_1M, Camera, healthy
from constants import OPAL as OPAL_CAMERA

from calstore.errors import Corrupt, Invalid, NotFound
from calstore.formats import psana_text_writer
from calstore.model.digest import reference_to
from calstore.model.manifests import Constant, DetectorManifest, SetManifest
from calstore.model.runs import RunRange
from calstore.repository.change import put_set
from calstore.repository.check import check
from calstore.repository.store import Store
from calstore.repository.version import Version
from calstore.store import arrays, objects
from calstore.store.memory import MemoryBackend

Calstore = Callable[..., Outcome]
Array: TypeAlias = "np.ndarray[Any, np.dtype[Any]]"
Content: TypeAlias = "Array | bytes | tuple[Array, str]"
"""An array, an opaque file, or an array with the serial of its panel."""


class RecordingBackend(MemoryBackend):
    """A store in memory that remembers what was read of it."""

    def __init__(self) -> None:
        super().__init__()
        self.read: list[str] = []

    def get(self, key: str, start: int = 0, stop: int | None = None) -> bytes:
        self.read.append(key)
        return super().get(key, start, stop)


def version_of(detectors: Mapping[Camera, Mapping[str, Mapping[str, Content]]]) -> Version:
    """A version in memory: camera → type → runs → content."""
    backend = RecordingBackend()
    references = {}
    for camera, types in detectors.items():
        manifest = DetectorManifest(
            {
                name: {
                    RunRange.parse(runs): _constant(backend, content)
                    for runs, content in by_range.items()
                }
                for name, by_range in types.items()
            }
        )
        references[camera.group, camera.source] = objects.put(
            backend, objects.MANIFESTS, manifest.encoded()
        )
    store = Store(backend, "0" * 32)
    version = store[str(put_set(store, SetManifest(references)).digest)]
    backend.read.clear()
    return version


def _constant(backend: MemoryBackend, content: Content) -> Constant:
    if isinstance(content, bytes):
        objects.put(backend, objects.BLOBS, content, reference_to(content))
        return Constant(reference_to(content))
    array, serials = content if isinstance(content, tuple) else (content, "")
    return Constant(arrays.put(backend, array), serials=tuple(serials.split()))


def _is_shard(key: str) -> bool:
    return key.startswith(objects.ARRAYS) and not key.endswith("/zarr.json")


def level(value: float, shape: tuple[int, ...] = (64, 64)) -> Array:
    """Small pedestals of a camera of any size."""
    return np.random.default_rng(int(value)).normal(1000 + value, 30, shape).astype(np.float32)


# --- what is judged ------------------------------------------------------------------------


def test_each_distinct_array_is_read_once() -> None:
    same, other = level(100), level(200)
    version = version_of(
        {
            OPAL_CAMERA: {
                "pedestals": {"0-end": same, "5-9": other, "20-end": same},
                "pixel_rms": {"0-end": other},
            }
        }
    )

    checked = check(version)

    backend = version.store.backend
    assert isinstance(backend, RecordingBackend)
    shards = [key for key in backend.read if _is_shard(key)]
    assert len(shards) == len(set(shards)) == checked.arrays == 2
    assert checked.constants == 4
    assert checked.size == same.nbytes + other.nbytes


def test_what_no_run_gets_is_not_judged() -> None:
    broken = np.full((64, 64), np.nan, np.float32)
    version = version_of(
        {OPAL_CAMERA: {"pedestals": {"5-9": broken, "5-8": level(1), "9-9": level(2)}}}
    )

    checked = check(version)

    assert checked.is_good
    assert checked.constants == checked.arrays == 2


def test_one_run_is_judged_by_what_it_gets() -> None:
    broken = np.full((64, 64), np.nan, np.float32)
    version = version_of({OPAL_CAMERA: {"pedestals": {"0-end": level(1), "5-9": broken}}})

    assert check(version, run=4).is_good
    assert check(version, run=10).is_good
    assert not check(version, run=5).is_good
    with pytest.raises(NotFound):
        check(version_of({OPAL_CAMERA: {"pedestals": {"5-9": level(1)}}}), run=4)


def test_one_detector_and_one_type_are_judged_alone() -> None:
    broken = np.full((64, 64), np.nan, np.float32)
    version = version_of(
        {
            OPAL_CAMERA: {"pedestals": {"0-end": level(1)}, "pixel_rms": {"0-end": broken}},
            EPIX100A: {"pedestals": {"0-end": b"not numbers"}},
        }
    )

    assert check(version).wrong == 2
    assert check(version, "Opal").wrong == 1
    assert check(version, "Opal", "pedestals").is_good
    assert check(version, "Epix").wrong == 1
    with pytest.raises(NotFound):
        check(version, "Zyla")
    with pytest.raises(NotFound):
        check(version, "Opal", "pixel_gain")
    with pytest.raises(Invalid, match="Name the detector too"):
        check(version, None, "pedestals")


def test_an_equal_finding_on_many_ranges_is_said_once() -> None:
    wide = {f"{run}-{run}": level(run, (3, 32, 32)) for run in range(1, 6)}
    version = version_of({OPAL_CAMERA: {"pedestals": wide}})

    (finding,) = check(version).findings

    assert finding.runs == ("1-1", "2-2", "3-3", "4-4", "5-5")
    assert "the shape is (3, 32, 32), not (n, n)" in finding.what


def test_what_is_wrong_comes_before_what_is_suspicious() -> None:
    status = np.zeros(EPIX100A.shape, np.uint16)
    status[:100] = 2
    version = version_of(
        {EPIX100A: {"pixel_status": {"0-end": status}, "pixel_rms": {"0-end": b"no numbers"}}}
    )

    checked = check(version)

    assert [finding.severity for finding in checked.findings] == ["wrong", "suspicious"]
    assert (checked.wrong, checked.suspicious, checked.is_good) == (1, 1, False)


def test_progress_counts_the_arrays() -> None:
    version = version_of({OPAL_CAMERA: {"pedestals": {"0-4": level(1), "5-end": level(2)}}})
    calls: list[tuple[int, int]] = []

    check(version, progress=lambda done, total: calls.append((done, total)))

    assert calls == [(0, 2), (1, 2), (2, 2)]


def test_a_damaged_array_is_no_verdict_but_corrupt() -> None:
    version = version_of({OPAL_CAMERA: {"pedestals": {"0-end": level(1)}}})
    backend = version.store.backend
    (shard,) = [key for key in backend.list("objects/") if _is_shard(key)]
    data = bytearray(backend.get(shard))
    data[len(data) // 2] ^= 1
    backend.delete(shard)
    backend.create(shard, bytes(data))

    with pytest.raises(Corrupt):
        check(version)


def test_few_arrays_are_in_memory_at_a_time() -> None:
    shape = (512, 512)
    ranges = {f"{run}-{run}": level(run, shape) for run in range(8)}
    version = version_of({OPAL_CAMERA: {"pedestals": ranges}})
    check(version)

    tracemalloc.start()
    check(version)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    # One array, its compressed bytes, and what a rule needs of it.
    assert peak < 4 * 4 * 512 * 512


def test_files_of_other_programs_are_theirs() -> None:
    xtcav = Camera("XrayTransportDiagnostic.0:Opal1000.0", (1, 1))
    manifest = DetectorManifest({"pedestals": {RunRange(0, 9): Constant(reference_to(b"HDF"))}})
    version = version_of({xtcav: {"pedestals": {"0-end": b"\x89HDF\r\n\x1a\n"}}})
    assert not check(version).is_good  # in Camera::CalibV1 it is psana's
    reference = objects.put(version.store.backend, objects.MANIFESTS, manifest.encoded())
    theirs = put_set(version.store, SetManifest({("Xtcav::CalibV1", xtcav.source): reference}))

    checked = check(version.store[str(theirs.digest)])

    assert checked.findings == ()


# --- what belongs together -----------------------------------------------------------------


def test_constants_of_one_run_with_other_shapes_are_wrong() -> None:
    version = version_of(
        {
            OPAL_CAMERA: {
                "pedestals": {"0-end": level(1), "10-19": level(2, (32, 64))},
                "pixel_gain": {"0-end": level(3)},
            },
            JUNGFRAU_1M: {
                "pedestals": {"7-end": healthy(JUNGFRAU_1M, "pedestals")},
                "pixel_gain": {"0-end": healthy(JUNGFRAU_1M, "pixel_gain")[:, :1]},
            },
        }
    )

    opal, jungfrau = check(version).findings

    assert opal.is_wrong
    assert (opal.type_name, opal.runs) == ("pixel_gain", ("10-19",))
    assert "the shape is (64, 64), that of the pedestals of these runs (32, 64)" in opal.what
    assert jungfrau.runs == ("7-end",)
    assert check(version, run=5).is_good
    assert check(version, "Opal", run=12).findings[0].runs == ("12-12",)


def test_a_shape_that_is_wrong_anyhow_is_said_once() -> None:
    version = version_of(
        {
            EPIX100A: {
                "pedestals": {"0-end": healthy(EPIX100A, "pedestals")},
                "pixel_gain": {"0-end": np.ones((768, 704), np.float32)},
            }
        }
    )

    (finding,) = check(version).findings

    assert "in another order" in finding.what


def test_constants_of_one_run_for_other_panels_are_wrong() -> None:
    version = version_of(
        {
            OPAL_CAMERA: {
                "pedestals": {"0-9": (level(1), "left"), "10-end": (level(2), "right")},
                "pixel_gain": {"0-end": (level(3), "left")},
            }
        }
    )

    (finding,) = check(version).findings

    assert finding.is_wrong
    assert finding.runs == ("10-end",)
    assert "made for the panels left, the pedestals of these runs for right" in finding.what
    assert check(version, run=9).is_good
    assert check(version, "Opal", "pedestals", run=12).findings[0].runs == ("12-12",)


def geometry_of(segment: str, count: int) -> bytes:
    lines = [f"CAMERA 0 {segment} {index}  0 0 0  0 0 0  0 0 0" for index in range(count)]
    return "\n".join([*lines, "IP 0 CAMERA 0  0 0 0  0 0 0  0 0 0", ""]).encode()


def test_a_geometry_is_judged_by_its_text() -> None:
    version = version_of({JUNGFRAU_1M: {"geometry": {"0-end": geometry_of("JUNGFRAU:V1", 7)}}})

    checked = check(version)

    (finding,) = checked.findings
    assert finding.is_wrong
    assert "3,670,016 pixels in 7 segments" in finding.what
    assert (checked.constants, checked.arrays, checked.size) == (1, 0, 0)


def test_a_geometry_is_compared_with_the_pedestals_of_the_same_runs() -> None:
    eight, two = (geometry_of("JUNGFRAU:V1", count) for count in (8, 2))
    types = {
        "pedestals": {"7-end": healthy(JUNGFRAU_1M, "pedestals")},
        "geometry": {"0-end": eight, "20-29": two},
    }
    version = version_of({JUNGFRAU_1M: types})

    (finding,) = check(version).findings

    assert (finding.severity, finding.type_name) == ("suspicious", "geometry")
    assert finding.runs == ("7-19", "30-end")
    assert "it places 4,194,304 pixels, the pedestals of these runs have 1,048,576" in finding.what
    assert check(version, run=25).findings == check(version, run=5).findings == ()


def test_pedestals_of_a_shape_that_cannot_be_say_nothing_of_the_geometry() -> None:
    types = {
        "pedestals": {"0-end": healthy(JUNGFRAU_1M, "pedestals")[:2]},
        "geometry": {"0-end": geometry_of("JUNGFRAU:V1", 2)},
    }

    (finding,) = check(version_of({JUNGFRAU_1M: types})).findings

    assert finding.type_name == "pedestals"


def test_pixels_without_noise_are_judged_by_the_status_of_the_same_runs() -> None:
    rms, status = healthy(EPIX100A, "pixel_rms"), healthy(EPIX100A, "pixel_status")
    rms[5, :8] = 0
    later = status.copy()
    later[5, :8] = 42
    dead = int(np.count_nonzero(rms == 0))
    version = version_of(
        {
            EPIX100A: {
                "pixel_rms": {"0-end": rms},
                "pixel_status": {"3-9": status, "10-end": later},
            }
        }
    )

    without, unmasked = sorted(check(version).findings, key=lambda finding: finding.runs)

    assert (without.type_name, without.runs) == ("pixel_rms", ("0-2",))
    assert f"{dead:,} pixels that no pixel_status" in without.what
    assert unmasked.runs == ("3-9",)
    assert "8 pixels that pixel_status calls good" in unmasked.what
    assert check(version, run=10).findings == ()


# --- the command ---------------------------------------------------------------------------


@pytest.fixture
def imported(calstore: Calstore, tmp_path: Path) -> Calstore:
    """An Epix100a with a status that wraps and a healthy Opal; the store is the nearest."""
    status = np.zeros((704, 768), np.uint16)
    status[0, 0] = 7
    text = psana_text_writer.write(status, type_name="pixel_status").replace(b"uint16", b"uint64")
    calib = write_tree(
        tmp_path / "calib",
        {
            f"{EPIX}/pixel_status/1-end.data": text.replace(b"\n7 0", b"\n65536 0", 1),
            f"{OPAL}/pedestals/1-end.data": pedestals_text(),
            f"{OPAL}/geometry/0-end.data": b"IP 0 MTRX:3:4:8:8 0  0 0 0  0 0 0  0 0 0\n",
        },
    )
    assert calstore("import", calib, "xpp/main").code == 0
    return calstore


def test_a_status_that_psanas_cast_wraps_is_found_in_its_file(imported: Calstore) -> None:
    outcome = imported("check", "xpp/main")

    assert (outcome.code, outcome.err) == (1, "")
    assert "wrong: pixel_status 1-end\n" in outcome.out
    assert "from 65536 to 65536, outside uint16, in 1 of 540,672 pixels" in outcome.out
    assert "so that 1 become 0" in outcome.out


def test_a_file_that_the_cast_makes_equal_to_a_good_one_is_found_too(
    imported: Calstore, tmp_path: Path
) -> None:
    zeros = psana_text_writer.write(np.zeros((704, 768), np.uint16), type_name="pixel_status")
    (tmp_path / "calib" / EPIX / "pixel_status" / "0-0.data").write_bytes(zeros)
    assert imported("import", tmp_path / "calib", "xpp/main").code == 0

    document = json.loads(imported("check", "xpp/main", "Epix", "--json").out)

    assert (document["constants"], document["arrays"]) == (2, 1)
    (finding,) = document["detectors"][0]["findings"]
    assert finding["runs"] == ["1-end"]
    assert finding["what"].startswith("from 65536")


def test_findings_stand_below_their_detector_and_a_verdict_ends_it(imported: Calstore) -> None:
    lines = imported("check", "xpp/main").out.splitlines()

    assert lines[0].startswith("xpp/main@1  xxh128:")
    assert lines[lines.index(OPAL) + 1] == "  nothing found"
    assert lines[lines.index(EPIX) + 1].startswith("  wrong: ")
    assert lines[-1] == "judged 3 constants, read 2 arrays (1.1 MB): 1 wrong, 0 suspicious"


def test_exit_1_is_for_what_is_wrong_and_with_strict_for_all(
    calstore: Calstore, tmp_path: Path
) -> None:
    status = np.zeros((704, 768), np.uint16)
    status[:100] = 2
    (tmp_path / "status.npy").write_bytes(npy_bytes(status))
    calib = write_tree(tmp_path / "calib", {f"{EPIX}/pedestals/1-end.data": b"no numbers\n"})
    assert calstore("import", calib, "xpp/main").code == 0
    assert calstore("set", "xpp/main", "Epix", "pixel_status", "1-end", "status.npy").code == 0

    assert calstore("check", "xpp/main").code == 1
    assert calstore("check", "xpp/main", "Epix", "pixel_status").code == 0
    assert calstore("check", "xpp/main", "Epix", "pixel_status", "--strict").code == 1
    assert calstore("check", "xpp/main@1", "--strict").code == 1


def test_nothing_found_is_said_and_exit_0(imported: Calstore) -> None:
    outcome = imported("check", "xpp/main", "Opal", "--strict")

    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.splitlines()[-1] == (
        "judged 2 constants, read 1 array (48 B): nothing wrong or suspicious"
    )


def test_that_nothing_could_be_judged_is_no_praise(calstore: Calstore, tmp_path: Path) -> None:
    calib = write_tree(tmp_path / "calib", {f"{OPAL}/tilt/0-end.data": b"0 0 0\n"})
    assert calstore("import", calib, "xpp/main").code == 0

    outcome = calstore("check", "xpp/main")

    assert outcome.code == 0
    assert "  nothing that could be judged\n" in outcome.out
    assert outcome.out.splitlines()[-1].startswith("nothing could be judged")


def test_json_says_the_same(imported: Calstore) -> None:
    outcome = imported("check", "xpp/main", "--json")

    document = json.loads(outcome.out)
    assert outcome.code == 1
    assert (document["good"], document["wrong"], document["suspicious"]) == (False, 1, 0)
    (finding,) = document["detectors"][1]["findings"]
    assert (finding["severity"], finding["runs"]) == ("wrong", ["1-end"])


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("xpp/main", "Zyla"), 3, "no detector 'Zyla'"),
        (("xpp/main", "Opal", "pixel_rms"), 3, "there is nothing for"),
        (("xpp/main", "Opal", "pedestals", "--run", "0"), 3, "there is nothing for"),
        (("xpp/other",), 3, "xpp/other"),
        (("xpp/main", "Opal", "tilt"), 5, "there are no rules for tilt"),
        (("xpp/main", ""), 5, "an empty text names no detector"),
    ],
)
def test_what_is_not_there_is_said(
    imported: Calstore, words: tuple[str, ...], code: int, says: str
) -> None:
    outcome = imported("check", *words)

    assert (outcome.code, outcome.out) == (code, "")
    assert says in outcome.err


def test_a_store_is_not_changed(imported: Calstore, tmp_path: Path) -> None:
    before = sorted(path for path in (tmp_path / ".calstore").rglob("*"))

    imported("check", "xpp/main")

    assert sorted(path for path in (tmp_path / ".calstore").rglob("*")) == before


@pytest.mark.skipif(not REAL_TREE.is_dir(), reason="needs the real calib directory")
def test_a_real_status_of_which_a_tenth_is_bad_is_suspicious_but_not_wrong(
    calstore: Calstore,
) -> None:
    # 9.9 % evenly over the sensor, nearly all for a low rms: the limits of a dark, not pixels.
    assert calstore("import", REAL_TREE, "xpp/main").code == 0

    outcome = calstore("check", "xpp/main")

    assert outcome.code == 0
    assert "53,703 of 540,672 pixels (9.9 %) are bad" in outcome.out
    assert "49,397 of them by bit 2 (rms below its limit)" in outcome.out
    assert outcome.out.splitlines()[-1].endswith("nothing wrong, 1 suspicious")
    assert calstore("check", "xpp/main", "--strict").code == 1
