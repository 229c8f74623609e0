"""calstore reproduce: the numbers come from those runs, or it says what is missing or other."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from commandline import run, store_of

import calstore
from calstore.darks.recipe import recipe_for
from calstore.frames.npy import Labels, open_npy
from calstore.frames.source import Part
from calstore.model.derivations import DerivationManifest, Input
from calstore.model.inputs import Evidence, InputManifest
from calstore.repository.measure import Wanted, measure, merged
from calstore.repository.reproduce import DIFFERS, reproduce
from calstore.repository.results import derivation_of

EPIX = "XppGon.0:Epix100a.1"


@pytest.fixture
def folder(tmp_path: Path, store_place: str) -> Path:
    assert run("init", store_place, folder=tmp_path).code == 0
    noise = np.random.default_rng(1).normal(3000, 5, (130, 24, 32))
    np.save(tmp_path / "r5.npy", noise.round().astype(np.uint16))
    made = run(
        *("dark", "xppn4116", 5, "--detector", EPIX, "--from", "r5.npy", "--recipe", "robust"),
        folder=tmp_path,
    )
    assert made.code == 0
    return tmp_path


def opener(evidence: tuple[Evidence, ...], wanted: InputManifest):  # type: ignore[no-untyped-def]
    labels = Labels(wanted.experiment, wanted.run, wanted.detector, mode=wanted.mode)
    return open_npy(Path(evidence[0].path), labels)


def test_the_same_frames_give_the_same_digests(folder: Path) -> None:
    again = run("reproduce", "xppn4116/main", folder=folder)

    assert again.code == 0
    assert again.out.startswith("same  xxh128:")
    assert "pedestals" in again.out


def test_a_derivation_can_be_named_by_its_digest(folder: Path) -> None:
    store = calstore.open(store_of(folder))
    constant = store["xppn4116/main"][EPIX].at(run=5)["pedestals"].constant
    assert constant.derivation is not None

    again = run("reproduce", str(constant.derivation.digest)[:20], folder=folder)

    assert (again.code, again.out[:4]) == (0, "same")


def test_frames_that_changed_are_said_and_nothing_is_compared(folder: Path) -> None:
    frames = np.load(folder / "r5.npy")
    frames[7, 3, 3] += 1
    np.save(folder / "r5.npy", frames)

    again = run("reproduce", "xppn4116/main", folder=folder)

    assert again.code == 1
    assert "run 5 of xppn4116 have changed" in again.out


def test_frames_that_are_gone_are_said(folder: Path) -> None:
    (folder / "r5.npy").unlink()

    again = run("reproduce", "xppn4116/main", folder=folder)

    assert again.code == 3
    assert "r5.npy" in again.out


def test_frames_are_found_where_they_were_seen_before(folder: Path) -> None:
    shutil.copy(folder / "r5.npy", folder / "copy.npy")
    run("dark", "xppn4116", 5, "--detector", EPIX, "--from", "copy.npy", folder=folder)
    (folder / "copy.npy").unlink()

    again = run("reproduce", "xppn4116/main", folder=folder)

    assert again.code == 0


def test_an_array_that_the_frames_do_not_give_is_told(folder: Path) -> None:
    store = calstore.open(store_of(folder))
    constants = store["xppn4116/main"][EPIX].at(run=5)
    reference = constants["pedestals"].constant.derivation
    assert reference is not None
    derivation = derivation_of(store, reference)
    other = replace(derivation, parameters={**derivation.parameters, "gate_sigmas": 2.0})
    forged = _with_derivation(store, other)

    (found,) = reproduce(store, forged, opener=opener)

    assert found.outcome == DIFFERS
    assert any(each.stored != each.now for each in found.compared)


def _with_derivation(store: calstore.Store, manifest: DerivationManifest) -> str:
    """A ref whose constants claim another derivation than the one that they came from."""
    from calstore.model.digest import Reference
    from calstore.model.manifests import DetectorManifest, SetManifest
    from calstore.repository.change import Move, move, put_set
    from calstore.repository.results import put_derivation
    from calstore.repository.store import ref_name
    from calstore.store import objects

    claimed: Reference = put_derivation(store, manifest)
    version = store["xppn4116/main"]
    (key,) = version.detectors
    constants = {
        name: {runs: replace(each, derivation=claimed) for runs, each in by_range.items()}
        for name, by_range in version.detector(key).manifest.constants.items()
    }
    data = DetectorManifest(constants).encoded()
    stored = objects.put(store.backend, objects.MANIFESTS, data)
    whole = put_set(store, SetManifest({key: stored}))
    ref = ref_name("xppn4116/forged")
    move(store, ref, lambda _: Move(whole, "forge"), calstore.stamp(), "set", may_be_new=True)
    return str(ref)


def test_what_was_imported_has_no_derivation(folder: Path) -> None:
    np.save(folder / "gain.npy", np.ones((704, 768), np.float32))
    run("fork", "xppn4116/main", "xppn4116/gain", folder=folder)
    for name in ("pedestals", "pixel_rms", "pixel_status", "pixel_max", "pixel_min"):
        run("unset", "xppn4116/gain", EPIX, name, "5-end", folder=folder)
    run(
        "set",
        "xppn4116/gain",
        f"Epix100a::CalibV1/{EPIX}",
        "pixel_gain",
        "0-end",
        "gain.npy",
        folder=folder,
    )

    again = run("reproduce", "xppn4116/gain", folder=folder)

    assert again.code == 3
    assert "was derived" in again.err


@pytest.mark.parametrize("of", [1, 2, 5])
def test_parts_of_a_run_measured_apart_are_the_whole(folder: Path, of: int) -> None:
    source = open_npy(folder / "r5.npy", Labels("xppn4116", 5, EPIX))
    (data,) = source.contents().detectors
    wanted = [Wanted(data, data.steps, recipe_for("robust", "Epix100a", "uint16"))]
    (whole,) = measure(source, wanted, Part()).values()

    parts = [measure(source, wanted, Part(rank, of)) for rank in range(of)]
    (together,) = merged(parts).values()

    assert together.frames == whole.frames
    assert together.sums.frames == whole.sums.frames
    assert np.array_equal(together.sums.total, whole.sums.total)
    assert np.array_equal(together.sums.squares, whole.sums.squares)


def test_an_input_is_of_the_kind_that_it_says() -> None:
    with pytest.raises(calstore.Invalid, match="kind"):
        Input("array", InputManifest("x", 1, "d", _frames()).reference)


def _frames():  # type: ignore[no-untyped-def]
    from calstore.model.digest import xxh128
    from calstore.model.inputs import Frames

    return Frames.of("uint16", (4, 4), [xxh128(b"frame")])
