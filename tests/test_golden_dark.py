"""Stores with derivations that former versions wrote, and what docs/format.md says of them."""

import json
import sys
from pathlib import Path

import msgpack
import numpy as np
import pytest
import xxhash
from dark_oracle import process
from test_golden import Reader

import calstore
from calstore.darks.recipe import DarkRecipe
from calstore.frames.npy import Labels, open_npy
from calstore.repository.reproduce import SAME, reproduce

GOLDEN = Path(__file__).parent / "golden" / "v1-dark"
DIGESTS = json.loads((GOLDEN / "dark.json").read_text())
REF = "xppn4116/main"


def derived(reader, number):
    """Type, constant and derivation of all that a record's set has."""
    whole = reader.manifest(reader.record(REF, number)["manifest"])
    for sources in whole["detectors"].values():
        for source, reference in sources.items():
            for type_name, ranges in reader.manifest(reference)["constants"].items():
                for constant in ranges.values():
                    yield source, type_name, constant, reader.manifest(constant["derivation"])


def frames_digest(frames):
    header = {
        "dtype": str(frames.dtype),
        "frames": [xxhash.xxh3_128_digest(frame.tobytes()) for frame in frames],
        "kind": "frames",
        "shape": list(frames.shape[1:]),
    }
    return xxhash.xxh3_128_digest(msgpack.packb(header))


def file_of(source, mode):
    return GOLDEN / ("epix.npy" if "Epix" in source else f"jungfrau-{mode}.npy")


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_reader_without_calstore_follows_each_constant_to_its_frames(number):
    reader = Reader(GOLDEN / "store")
    recipes = set()

    for source, type_name, constant, derivation in derived(reader, number):
        assert derivation["kind"] == "derivation"
        recipes.add((derivation["recipe"], derivation["version"]))
        made = []
        for role, item in derivation["inputs"].items():
            read = reader.manifest(item["frames"])
            frames = np.load(file_of(source, role.partition("/")[2]))
            assert (read["kind"], read["experiment"], read["run"]) == ("input", "xppn4116", 137)
            assert read["frames"]["count"] == len(frames)
            assert read["frames"]["xxh128"] == frames_digest(frames)
            made.append(_expected(frames, type_name, derivation))
        values = reader.array(constant["array"])
        if derivation["modes"]:
            assert derivation["modes"] == {"G0": "measured", "G1": "measured", "G2": "absent"}
            assert not values[2].any() or type_name == "pixel_rms"
            values, made = values[:2], [np.stack(made)]
        assert np.array_equal(values, made[0])

    assert ("robust", 1) in recipes or number == 1


def _expected(frames, type_name, derivation):
    parameters = {
        key: each for key, each in derivation["parameters"].items() if key != "gain_modes"
    }
    recipe = DarkRecipe.of(derivation["recipe"], derivation["version"], parameters)
    made = process(frames, recipe)
    return {
        "pedestals": made.pedestals.astype(np.float32),
        "pixel_max": made.maximum.astype(frames.dtype),
        "pixel_min": made.minimum.astype(frames.dtype),
        "pixel_rms": made.rms.astype(np.float32),
        "pixel_status": made.status,
    }[type_name]


def test_this_calstore_reads_it_and_finds_nothing_damaged():
    store = calstore.open(GOLDEN / "store")

    assert {text: str(store[text].digest) for text in DIGESTS} == DIGESTS
    verified = calstore.verify(store)
    assert (verified.damages, verified.unreferenced) == ((), 0)


def test_the_same_frames_have_the_digests_of_the_golden_store_today(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(GOLDEN.parent))
    import make_v1_dark

    make_v1_dark.main(tmp_path)

    assert json.loads((tmp_path / "dark.json").read_text()) == DIGESTS
    sys.modules.pop("make_v1_dark")


def test_its_derivations_can_be_reproduced():
    def opener(evidence, wanted):
        labels = Labels(wanted.experiment, wanted.run, wanted.detector, mode=wanted.mode)
        return open_npy(file_of(wanted.detector, wanted.mode), labels)

    found = reproduce(calstore.open(GOLDEN / "store"), f"{REF}@3", opener=opener)

    assert len(found) == 2
    assert {each.outcome for each in found} == {SAME}
