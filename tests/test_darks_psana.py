"""The recipe ``psana`` gives what psana's own DarkProc gives once its first block is full."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from calstore.darks.constants import derive, means_and_rms
from calstore.darks.recipe import recipe_for
from calstore.darks.sums import Accumulator

PSANA = os.environ.get("CALSTORE_PSANA_PYTHON")

pytestmark = pytest.mark.skipif(
    PSANA is None, reason="CALSTORE_PSANA_PYTHON does not name a Python that has psana"
)


def by_psana(folder, frames, **parameters):
    """What psana's class has after all frames."""
    np.save(folder / "frames.npy", frames)
    asked = {"class": "DarkProc", "filled": True, "nrecs": 1000, "nrecs1": 50, **parameters}
    script = Path(__file__).with_name("psana_darks.py")
    done = subprocess.run(
        [PSANA, script, folder / "frames.npy", folder / "made.npz", json.dumps(asked)],
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            "PS_PARALLEL": "none",
            "OMPI_ALLOW_RUN_AS_ROOT": "1",
            "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        },
    )
    assert done.returncode == 0, done.stderr
    with np.load(folder / "made.npz") as made:
        return {name: made[name] for name in made.files}


def frames_with_bad_pixels(count, pedestal, top):
    random = np.random.default_rng(count)
    frames = random.normal(pedestal, 15, (count, 90, 100))
    hits = random.random(frames.shape) < 0.01
    frames[hits] += random.exponential(500, hits.sum())
    frames = np.clip(np.rint(frames), 0, top).astype(np.uint16)
    frames[:, 0, :40], frames[:, 1, :40], frames[:, 2, :40] = 0, top, pedestal
    frames[:, 3, :40] = random.integers(1, top, (count, 40))
    frames[::7, 4], frames[::20, 5] = 0, top
    return frames


def assert_equal_to_psana(frames, recipe, made):
    accumulator = Accumulator(recipe, frames.shape[1:], frames.dtype)
    accumulator.add(frames)
    sums = accumulator.finish()
    pedestals, rms = means_and_rms(sums, recipe)
    constants = derive(sums, recipe)

    assert np.array_equal(sums.inside, made["count"])
    assert np.array_equal(sums.below, made["below"])
    assert np.array_equal(sums.above, made["above"])
    assert pedestals.tobytes() == made["pedestals"].tobytes()
    assert rms.tobytes() == made["rms"].tobytes()
    assert np.array_equal(constants.pixel_status, made["status"])
    assert np.array_equal(constants.pixel_max, made["maximum"])
    assert np.array_equal(constants.pixel_min, made["minimum"])
    assert np.count_nonzero(constants.pixel_status) >= 160


@pytest.mark.parametrize("count", [50, 51, 300, 1000])
def test_pedestals_rms_and_status_are_psanas_to_the_last_bit(tmp_path, count):
    frames = frames_with_bad_pixels(count, 3000, 0x3FFF)
    recipe = recipe_for("psana", "cspad", "uint16")

    made = by_psana(tmp_path, frames, datbits=0x3FFF)

    assert_equal_to_psana(frames, recipe, made)


def test_a_16_bit_camera_is_psanas_with_all_its_bits(tmp_path):
    frames = frames_with_bad_pixels(200, 20000, 0xFFFF)
    recipe = recipe_for("psana", "epix100", "uint16")

    made = by_psana(tmp_path, frames, datbits=0xFFFF)

    assert_equal_to_psana(frames, recipe, made)


def test_a_run_shorter_than_the_first_block_is_psanas_with_a_block_of_that_length(tmp_path):
    frames = frames_with_bad_pixels(37, 3000, 0x3FFF)
    recipe = recipe_for("psana", "cspad", "uint16")

    made = by_psana(tmp_path, frames, datbits=0x3FFF, nrecs1=37)

    assert_equal_to_psana(frames, recipe, made)


def test_gain_bits_of_a_jungfrau_are_psanas(tmp_path):
    frames = frames_with_bad_pixels(120, 3000, 0x3FFF)
    frames |= 0x4000
    frames[30, 7, 1:5] ^= 0xC000
    frames[100, 8, 1:9] ^= 0xC000
    recipe = recipe_for("psana", "jungfrau", "uint16")

    made = by_psana(tmp_path, frames, **{"class": "DarkProcJungfrau", "datbits": 0x3FFF})

    assert np.count_nonzero(made["status"] == 64) == 12
    assert_equal_to_psana(frames, recipe, made)


def test_changed_limits_and_quantiles_are_psanas(tmp_path):
    frames = frames_with_bad_pixels(150, 3000, 0x3FFF)
    changes = {
        "int_lo": 2500,
        "int_hi": 3600,
        "rms_lo": 2,
        "rms_hi": 40,
        "gate_frames": 80,
        "gate_lo": 0.02,
        "gate_hi": 0.99,
        "fraction_out": 0.04,
        "int_n_lo": 3,
        "int_n_hi": 2.5,
        "rms_n_lo": 1.5,
        "rms_n_hi": 0,
    }
    recipe = recipe_for("psana", "cspad", "uint16", changes)

    made = by_psana(
        tmp_path,
        frames,
        datbits=0x3FFF,
        int_lo=2500,
        int_hi=3600,
        rms_lo=2,
        rms_hi=40,
        nrecs1=80,
        fraclo=0.02,
        frachi=0.99,
        fraclm=0.04,
        intnlo=3,
        intnhi=2.5,
        rmsnlo=1.5,
        rmsnhi=0,
    )

    assert_equal_to_psana(frames, recipe, made)
