"""Unmodified psana 2 takes from a version what the version has, to the last bit, or nothing."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commandline import REAL_TREE, Outcome, run, spawn
from psana2_client import (
    ONE_PROCESS,
    PSANA,
    constants_read,
    put_version,
    reader_words,
    with_psana,
    write_runs,
)
from service import Service

import calstore
from calstore.model.psana2 import NOMINAL_DTYPES
from calstore.repository.store import Store, init_store

EXPERIMENT = "mfx101332224"
REF = f"{EXPERIMENT}/main"
QUAD = ("5-1", "5-2", "5-3", "5-4")
SERIALS = {
    "epix100": ("1-2-3",),
    "epix10ka": QUAD,
    "jungfrau": ("8-1-1", "8-1-2"),
    "opal": ("77",),
}
SHAPES = {
    "epix100": (704, 768),
    "epix10ka": (7, 4, 352, 384),
    "jungfrau": (3, 2, 512, 1024),
    "opal": (256, 320),
}
SOURCES = {"epix100": "epix100", "epix10ka": "epixquad", "jungfrau": "jungfrau", "opal": "atmopal"}
PICKLE = Path("/dev/shm/calibconst.pkl")
XTC2 = REAL_TREE.parent / "xtc2"


def constants(kind: str, seed: int, shape: tuple[int, ...] | None = None) -> dict[str, Any]:
    """A constant of each type, in what psana 2 takes it for."""
    random = np.random.default_rng(seed)
    of = shape or SHAPES[kind]
    found: dict[str, Any] = {
        "pedestals": random.normal(2000, 5, of).astype(np.float32),
        "pixel_rms": random.uniform(1, 5, of).astype(np.float32),
        "pixel_status": random.integers(0, 3, of).astype(np.uint64),
        "geometry": f"# geometry {seed}\n",
    }
    if kind != "opal":
        found["pixel_gain"] = random.uniform(1, 2, of).astype(np.float32)
    return found


def versions(store: Store, ref: str, seed: int, kinds: tuple[str, ...]) -> dict[str, Any]:
    """A version with these kinds of detectors; what it has, by the detectors' names."""
    by_name = {SOURCES[kind]: constants(kind, seed + n) for n, kind in enumerate(kinds)}
    put_version(
        store, ref, {(kind, SOURCES[kind], SERIALS[kind]): by_name[SOURCES[kind]] for kind in kinds}
    )
    return by_name


def same(found: dict[str, np.ndarray], stored: dict[str, Any]) -> bool:
    """Whether psana had these and no others, bit for bit."""
    return found.keys() - {"calib"} == stored.keys() and all(
        str(found[name]) == value
        if isinstance(value, str)
        else found[name].dtype == value.dtype and found[name].tobytes() == value.tobytes()
        for name, value in stored.items()
    )


def read(folder: Path, *words: object, **environment: str) -> Outcome:
    return spawn(*words, folder=folder, environment={**ONE_PROCESS, **environment})


def read_by(url: str, folder: Path, out: str, names: str, file: Path) -> subprocess.Popen[bytes]:
    """A client of a service, begun."""
    environment = {**os.environ, **ONE_PROCESS, "LCLS_CALIB_HTTP": f"{url}/ws", "no_proxy": "*"}
    words = reader_words(folder, out, names, file)
    return subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.fixture(scope="module")
def folder(memory_path: Path) -> Path:
    """Data runs: 7 of four detectors, 8 of a quad with two panels exchanged and two others."""
    random = np.random.default_rng(0)
    frames = {}
    for kind, shape in SHAPES.items():
        of = shape if len(shape) == 2 else shape[1:]
        np.save(memory_path / f"{kind}.npy", random.normal(2100, 5, (1, *of)).astype(np.uint16))
        frames[SOURCES[kind]] = str(memory_path / f"{kind}.npy")
    detectors = {SOURCES[k]: {"kind": k, "serials": list(s)} for k, s in SERIALS.items()}
    quads = {"epixquad": {"kind": "epix10ka", "serials": ["5-2", "5-1", "5-4", "5-3"]}}
    others = {"epixquad": {"kind": "epix10ka", "serials": ["5-1", "6-2", "5-3", "6-4"]}}
    quad = {"epixquad": frames["epixquad"]}
    write_runs(
        *(
            {
                "out": str(memory_path / f"r{number}.xtc2"),
                "experiment": EXPERIMENT,
                "run": number,
                "detectors": declared,
                "steps": [{"frames": each, "doc": {}}],
            }
            for number, declared, each in (
                (7, detectors, frames),
                (8, quads, quad),
                (9, others, quad),
            )
        )
    )
    return memory_path


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return init_store(tmp_path / ".calstore", "0" * 32)


@with_psana
@pytest.mark.parametrize("reachable", ["--not-reachable", "--reachable"])
def test_every_kind_of_detector_gets_its_constants(
    reachable: str, folder: Path, store: Store, tmp_path: Path
) -> None:
    stored = versions(store, REF, 1, tuple(SHAPES))
    words = reader_words(tmp_path, "c.npz", ",".join(stored), folder / "r7.xtc2")

    done = read(tmp_path, "run", REF, reachable, "--", *words)

    assert done.code == 0, done.err
    found = constants_read(tmp_path / "c.npz")
    assert found.keys() == stored.keys()
    for name, of_detector in stored.items():
        assert same(found[name], of_detector), name
    told = json.loads(run("used", EXPERIMENT, 7, "--json", folder=tmp_path).out)
    (use,) = told["uses"]
    assert use["version"] == f"{REF}@1"
    assert use["given"] == {name: sorted(each) for name, each in sorted(stored.items())}
    assert "reader.py" in use["command"]


@with_psana
@pytest.mark.parametrize(
    ("file", "kind", "name", "serials", "shape"),
    [
        (
            "test_epix_calib.xtc2",
            "epix10ka",
            "epixquad",
            tuple(
                f"3926196238-{middle}-0000000000-0000000000-0000000000-0000000000"
                for middle in (
                    *("0175152897-1157627926", "0174824449-0268435478"),
                    *("0175552257-3456106518", "0176373505-4043309078"),
                )
            ),
            (7, 4, 352, 384),
        ),
        (
            "test_jungfrau05M_calib.xtc2",
            "jungfrau",
            "jungfrau",
            ("8000000020000-230920-20004002c",),
            (3, 1, 512, 1024),
        ),
    ],
)
def test_real_runs_get_their_constants(
    file: str,
    kind: str,
    name: str,
    serials: tuple[str, ...],
    shape: tuple[int, ...],
    store: Store,
    tmp_path: Path,
) -> None:
    if not (XTC2 / file).exists():
        pytest.skip("the real files are not here")
    experiment = {"epix10ka": "ueddaq02", "jungfrau": EXPERIMENT}[kind]
    stored = constants(kind, 3, shape)
    put_version(store, f"{experiment}/main", {(kind, name, serials): stored})
    words = reader_words(tmp_path, "c.npz", name, XTC2 / file)

    done = read(tmp_path, "run", f"{experiment}/main", "--", *words)

    assert done.code == 0, done.err
    assert same(constants_read(tmp_path / "c.npz")[name], stored)


@with_psana
def test_two_versions_side_by_side_each_have_their_own_clients(
    folder: Path, store: Store, tmp_path: Path
) -> None:
    kinds = tuple(SHAPES)
    main = versions(store, REF, 1, kinds)
    other = versions(store, f"{EXPERIMENT}/users/wilson/mask", 11, kinds)
    names = ",".join(main)

    with (
        Service(store, REF) as first,
        Service(store, f"{EXPERIMENT}/users/wilson/mask") as second,
    ):
        clients = [
            read_by(service.url, tmp_path, out, names, folder / "r7.xtc2")
            for service, out in ((first, "1.npz"), (second, "2.npz"))
        ]
        said = [client.communicate(timeout=60)[1] for client in clients]

    assert [client.returncode for client in clients] == [0, 0], said
    for out, stored in (("1.npz", main), ("2.npz", other)):
        found = constants_read(tmp_path / out)
        assert all(same(found[name], stored[name]) for name in stored)


@with_psana
def test_panels_that_changed_places_get_their_own_numbers(
    folder: Path, store: Store, tmp_path: Path
) -> None:
    stored = versions(store, REF, 1, ("epix10ka",))["epixquad"]
    words = reader_words(tmp_path, "c.npz", "epixquad", folder / "r8.xtc2")

    done = read(tmp_path, "run", REF, "--", *words)

    assert done.code == 0, done.err
    found = constants_read(tmp_path / "c.npz")["epixquad"]
    for name in ("pedestals", "pixel_rms", "pixel_status", "pixel_gain"):
        assert np.array_equal(found[name], stored[name][:, [1, 0, 3, 2]])


@with_psana
def test_strange_panels_get_nothing_and_stop_the_command(
    folder: Path, store: Store, tmp_path: Path
) -> None:
    versions(store, REF, 1, ("epix10ka",))
    script = tmp_path / "wait.py"
    script.write_text(
        "import sys, time\nfrom psana import DataSource\n"
        "run = next(DataSource(files=sys.argv[1]).runs())\n"
        "print(len(run.Detector('epixquad').calibconst or {}), flush=True)\n"
        "time.sleep(float(sys.argv[2]))\n"
    )
    words = reader_words(tmp_path, "c.npz", "epixquad", folder / "r9.xtc2")

    stopped = read(tmp_path, "run", REF, "--", words[0], script, folder / "r9.xtc2", 50)
    allowed = read(
        tmp_path, "run", REF, "--allow-missing", "--", words[0], script, folder / "r9.xtc2", 0
    )

    assert stopped.code == 3
    assert "epix10ka_5-1_6-2_5-3_6-4" in stopped.err
    assert "--allow-missing" in stopped.err
    assert (allowed.code, allowed.out) == (0, "0\n")
    with pytest.raises(calstore.NotFound):
        store[REF]["epixquad"].at(run=9)["pixel_offset"]


@with_psana
@pytest.mark.parametrize("how", ["service", "jwt", "cache"])
def test_the_whole_way_from_a_dark_to_calibrated_frames(
    how: str, tmp_path: Path, memory_path: Path
) -> None:
    assert PSANA is not None
    dark = np.random.default_rng(1).normal(2000, 5, (60, 704, 768)).round().astype(np.uint16)
    np.save(memory_path / "dark.npy", dark)
    np.save(memory_path / "data.npy", dark[:1] + 100)
    detectors = {"epix100": {"kind": "epix100", "serials": ["1-2-3"]}}
    dark_file, data_file = memory_path / "r3.xtc2", memory_path / "r4.xtc2"
    write_runs(
        *(
            {
                "out": str(path),
                "experiment": EXPERIMENT,
                "run": number,
                "detectors": detectors,
                "steps": [{"frames": {"epix100": str(memory_path / frames)}, "doc": {}}],
            }
            for path, number, frames in ((dark_file, 3, "dark.npy"), (data_file, 4, "data.npy"))
        )
    )
    np.save(tmp_path / "gain.npy", np.full((704, 768), 2, np.float32))
    for words in (
        ("init",),
        ("dark", EXPERIMENT, 3, "--from", dark_file),
        ("set", REF, "epix100", "pixel_gain", "0-end", "gain.npy"),
    ):
        made = run(*words, folder=tmp_path)
        assert made.code == 0, made.err

    if how == "cache":
        done = _with_pickle(tmp_path, data_file)
    else:
        words = reader_words(tmp_path, "c.npz", "epix100", data_file)
        jwt = {"CALIB_JWT": "any"} if how == "jwt" else {}
        done = read(tmp_path, "run", REF, "--", *words, **jwt)

    assert done.code == 0, done.err
    stored = calstore.open(tmp_path / ".calstore")[REF]["epix100"].at(run=4)
    found = constants_read(tmp_path / "c.npz")["epix100"]
    assert found.keys() - {"calib"} == set(stored)
    for name, constant in stored.items():
        assert found[name].dtype == NOMINAL_DTYPES[name]
        assert np.array_equal(found[name], constant.array)
    expected = (dark[0].astype(np.float32) + 100 - stored["pedestals"].array) / 2
    good = stored["pixel_status"].array == 0
    assert good.mean() > 0.99
    assert np.allclose(found["calib"][good], expected[good], atol=1e-3)


def _with_pickle(folder: Path, data: Path) -> Outcome:
    """As AMI does: constants fetched before, and no service."""
    if PICKLE.exists():
        pytest.skip("somebody has constants prefetched on this host")
    made = read(folder, "prefetch", REF, 4, "--from", data, "--psana-python", PSANA)
    assert made.code == 0, made.err
    try:
        done = subprocess.run(
            reader_words(folder, "c.npz", "epix100", data, how="cache"),
            env={**os.environ, **ONE_PROCESS, "LCLS_CALIB_HTTP": "http://127.0.0.1:9/ws"},
            capture_output=True,
            check=False,
        )
    finally:
        PICKLE.unlink(missing_ok=True)
    return Outcome(done.returncode, "", done.stderr.decode(errors="replace"), b"")


@with_psana
def test_the_pickle_has_every_kind_of_detector(folder: Path, store: Store, tmp_path: Path) -> None:
    stored = versions(store, REF, 1, tuple(SHAPES))
    to = tmp_path / "calibconst.pkl"

    made = read(
        *(tmp_path, "prefetch", REF, 7, "--to", to, "--from", folder / "r7.xtc2"),
        *("--psana-python", PSANA),
    )

    assert made.code == 0, made.err
    with to.open("rb") as file:
        found = pickle.load(file)
    assert set(stored) < found["det_info"].keys() == found["calib_const"].keys()
    for name, of_detector in stored.items():
        taken = {key: np.array(data) for key, (data, _) in found["calib_const"][name].items()}
        assert same(taken, of_detector)
    (use,) = json.loads(run("used", EXPERIMENT, 7, "--json", folder=tmp_path).out)["uses"]
    assert use["client"] == f"file:{to}"


@with_psana
def test_a_followed_pickle_goes_with_its_ref(folder: Path, store: Store, tmp_path: Path) -> None:
    stored = versions(store, REF, 1, ("epix10ka",))["epixquad"]
    to = tmp_path / "calibconst.pkl"
    words = (sys.executable, "-m", "calstore", "prefetch", REF, "8", "--to", str(to), "--follow")
    more = ("--from", str(folder / "r8.xtc2"), "--psana-python", str(PSANA))

    with subprocess.Popen(
        [*words, *more], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        given = process.stdout.readline()
        np.save(tmp_path / "new.npy", stored["pedestals"] + 1)
        place = (REF, "epixquad", "pedestals", "8-8", "new.npy")
        assert run("set", *place, folder=tmp_path).code == 0
        second = process.stdout.readline()
        process.terminate()

    assert f"{REF}@1" in first
    assert "epixquad: pedestals, pixel_gain" in given
    assert f"{REF}@2" in second
    with to.open("rb") as file:
        found = pickle.load(file)["calib_const"]["epixquad"]["pedestals"][0]
    assert np.array_equal(found, stored["pedestals"][:, [1, 0, 3, 2]] + 1)


@pytest.mark.skipif(shutil.which("mpirun") is None, reason="there is no mpirun on this machine")
def test_all_ranks_of_a_job_reach_its_service(store: Store, tmp_path: Path) -> None:
    versions(store, REF, 1, ("opal",))
    script = tmp_path / "ask.py"
    script.write_text(
        "import os, urllib.request as r\n"
        "url = os.environ['LCLS_CALIB_HTTP'] + '/calib_ws/'\n"
        "token = {'Authorization': 'Bearer ' + os.environ['CALIB_JWT']}\n"
        "print(r.urlopen(r.Request(url, headers=token)).read().decode(), flush=True)\n"
    )
    mpirun = ("mpirun", "--allow-run-as-root", "--oversubscribe", "-n", 3, "-x", "CALIB_JWT")

    done = read(tmp_path, "run", REF, "--reachable", "--", *mpirun, sys.executable, script)

    assert done.code == 0, done.err
    assert done.out.count(f"cdb_{EXPERIMENT}") == 3


NOTEBOOK = """
import sys
import numpy as np
from psana import DataSource
try:
    import calstore
except ImportError:
    sys.exit(77)
run = next(DataSource(files=sys.argv[1], skip_calib_load="all").runs())
calstore.psana.inject(run, calstore.open(sys.argv[2])[sys.argv[3]])
found = {}
event = next(run.events())
for name in sys.argv[5].split(","):
    detector = run.Detector(name)
    for ctype, (data, document) in detector.calibconst.items():
        found[f"{name} {ctype}"] = np.array(data)
    found[f"{name} calib"] = detector.raw.calib(event)
np.savez(sys.argv[4], **{key: value for key, value in found.items() if value is not None})
"""


@with_psana
def test_a_notebook_takes_a_version_in_process(folder: Path, store: Store, tmp_path: Path) -> None:
    assert PSANA is not None
    stored = versions(store, REF, 1, tuple(SHAPES))
    (tmp_path / "notebook.py").write_text(NOTEBOOK)
    words = [PSANA, tmp_path / "notebook.py", folder / "r7.xtc2", tmp_path / ".calstore", REF]

    done = subprocess.run(
        [*map(str, words), str(tmp_path / "c.npz"), ",".join(stored)],
        env={**os.environ, **ONE_PROCESS},
        capture_output=True,
        check=False,
        cwd=tmp_path,
    )

    if done.returncode == 77:
        pytest.skip("calstore is not installed beside psana")
    assert done.returncode == 0, done.stderr
    found = constants_read(tmp_path / "c.npz")
    assert all(same(found[name], stored[name]) for name in stored)
