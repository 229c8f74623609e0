"""Corrected frames and images are those of unmodified psana 2."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commandline import REAL_TREE, spawn
from psana2_client import ONE_PROCESS, PSANA, put_version, with_psana, write_runs

from calstore.correct.common_mode import CommonMode
from calstore.correct.corrections import Corrections
from calstore.repository.store import Store, init_store

EXPERIMENT = "mfx101332224"
REF = f"{EXPERIMENT}/main"
XTC2 = REAL_TREE.parent / "xtc2"
GEOMETRY = REAL_TREE.parent / "geometry"
MODES = ("FH", "FM", "FL", "AHL-H", "AML-M")
DETECTORS: dict[str, tuple[str, tuple[str, ...], tuple[int, ...]]] = {
    "epix100": ("epix100", ("1-2-3",), (704, 768)),
    "epixquad": ("epix10ka", ("5-1", "5-2", "5-3", "5-4"), (7, 4, 352, 384)),
    "jungfrau": ("jungfrau", ("8-1-1", "8-1-2"), (3, 2, 512, 1024)),
}


def constants(shape: tuple[int, ...], seed: int) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    status = (random.random(shape) < 0.01).astype(np.uint64)
    return {
        "pedestals": random.normal(2000, 30, shape).astype(np.float32),
        "pixel_gain": random.uniform(10, 40, shape).astype(np.float32),
        "pixel_offset": random.normal(5, 1, shape).astype(np.float32),
        "pixel_status": status,
    }


def psanas(folder: Path, names: str, cmpars: object, file: Path) -> dict[str, np.ndarray]:
    """What psana makes of the first event of each step, with the version's constants."""
    script = Path(__file__).with_name("psana_corrections.py")
    words = (PSANA, script, folder / "out.npz", names, json.dumps(cmpars), file)
    ref = REF if (folder / "is-main").exists() else "ueddaq02/main"
    done = spawn("run", ref, "--", *words, folder=folder, environment=ONE_PROCESS)
    assert done.code == 0, done.err
    with np.load(folder / "out.npz") as found:
        return dict(found)


@pytest.fixture(scope="module")
def data(memory_path: Path) -> Path:
    """A run of five steps, one event each: an epix10ka in all its modes, a jungfrau in three."""
    random = np.random.default_rng(5)
    steps = []
    for number, mode in enumerate(MODES):
        frames = {}
        for name, (kind, _, shape) in DETECTORS.items():
            of = shape if len(shape) == 2 else shape[1:]
            # A jitter that each bank has in common, with more to it where there is signal.
            raw = random.normal(2100, 8, (1, *of)) + random.normal(0, 20, (1, *of[:-1], 1))
            words = raw.round().astype(np.uint16)
            if kind == "epix10ka" and mode.startswith("A"):
                words |= (random.random(words.shape) < 0.3).astype(np.uint16) << 14
            if kind == "jungfrau":
                words |= (
                    random.choice([0, 1, 2, 3], words.shape, p=[0.7, 0.1, 0.1, 0.1]).astype(
                        np.uint16
                    )
                    << 14
                )
            np.save(memory_path / f"{name}-{number}.npy", words)
            frames[name] = str(memory_path / f"{name}-{number}.npy")
        steps.append({"frames": frames, "doc": {}, "config": mode})
    plan = {
        "out": str(memory_path / "r5.xtc2"),
        "experiment": EXPERIMENT,
        "run": 5,
        "detectors": {
            name: {"kind": kind, "serials": list(serials)}
            for name, (kind, serials, _) in DETECTORS.items()
        },
        "steps": steps,
    }
    write_runs(plan)
    return memory_path / "r5.xtc2"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    (tmp_path / "is-main").touch()
    store = init_store(tmp_path / ".calstore", "0" * 32)
    versions = {
        (kind, name, serials): constants(shape, number)
        for number, (name, (kind, serials, shape)) in enumerate(DETECTORS.items())
    }
    put_version(store, REF, versions)
    return store


@with_psana
@pytest.mark.parametrize("parts", [None, 1, 2, 4, 7])
def test_every_mode_is_corrected_as_by_psana(
    parts: int | None, data: Path, store: Store, tmp_path: Path
) -> None:
    cmpars = None if parts is None else (7, parts, 100, 10)
    how: Any = False if cmpars is None else CommonMode.of_psana(cmpars)

    found = psanas(tmp_path, ",".join(DETECTORS), cmpars, data)

    for name in DETECTORS:
        correction = store[REF][name].at(5).correction(Corrections(common_mode=how))
        for number in range(len(MODES)):
            raw = found[f"{name} {number} raw"]
            mine = correction(raw, found.get(f"{name} {number} bits"))
            theirs = found[f"{name} {number} calib"]
            assert mine.shape == theirs.shape
            assert np.abs(mine - theirs).max() < 1e-4, (name, number)
        assert correction.unit == "keV"


@with_psana
@pytest.mark.parametrize(
    ("file", "experiment", "run", "kind", "name", "serials", "shape", "geometry"),
    [
        (
            "test_epix_calib.xtc2",
            *("ueddaq02", 109, "epix10ka", "epixquad"),
            tuple(
                f"3926196238-{middle}-0000000000-0000000000-0000000000-0000000000"
                for middle in (
                    *("0175152897-1157627926", "0174824449-0268435478"),
                    *("0175552257-3456106518", "0176373505-4043309078"),
                )
            ),
            (7, 4, 352, 384),
            "epix10kaquad",
        ),
        (
            "test_jungfrau05M_calib.xtc2",
            *(EXPERIMENT, 7, "jungfrau", "jungfrau"),
            ("8000000020000-230920-20004002c",),
            (3, 1, 512, 1024),
            "jungfrau1M",
        ),
    ],
)
def test_real_frames_are_corrected_and_assembled_as_by_psana(
    file: str,
    experiment: str,
    run: int,
    kind: str,
    name: str,
    serials: tuple[str, ...],
    shape: tuple[int, ...],
    geometry: str,
    tmp_path: Path,
) -> None:
    if not (XTC2 / file).exists():
        pytest.skip("the real files are not here")
    found_geometry = geometry_of(geometry, shape[1])
    store = init_store(tmp_path / ".calstore", "0" * 32)
    stored = {**constants(shape, 3), "geometry": found_geometry}
    put_version(store, f"{experiment}/main", {(kind, name, serials): stored})
    if experiment == EXPERIMENT:
        (tmp_path / "is-main").touch()

    found = psanas(tmp_path, name, None, XTC2 / file)

    there = store[f"{experiment}/main"][name].at(run)
    mine = there.correct(found[f"{name} 0 raw"], configuration=found.get(f"{name} 0 bits"))
    assert np.abs(mine - found[f"{name} 0 calib"]).max() < 1e-4
    image, theirs = there.image(mine), found[f"{name} 0 image"]
    assert image.shape == theirs.shape
    assert np.abs(image - theirs).max() < 1e-4


def geometry_of(name: str, panels: int) -> str:
    """A real geometry, of its first panels alone where the detector has fewer."""
    text = (GEOMETRY / "lcls2" / f"geometry-def-{name}.data").read_text()
    lines, seen = [], 0
    for line in text.splitlines():
        if " JUNGFRAU:V" in line:
            seen += 1
            if seen > panels:
                continue
        lines.append(line)
    return "\n".join(lines) + "\n"
