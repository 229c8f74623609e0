"""Gates, sums and constants of dark frames agree with plain numpy, and hold what they promise."""

import json
from dataclasses import replace

import dark_oracle
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from calstore.darks.constants import derive, means_and_rms
from calstore.darks.gates import gates_of
from calstore.darks.recipe import DarkRecipe, recipe_for
from calstore.darks.sums import Accumulator, merge
from calstore.errors import Invalid
from calstore.model.inputs import DTYPES

RECIPES = ("psana", "robust")
SUMS = ("inside", "total", "squares", "below", "above", "minimum", "maximum", "bad_switch")
CONSTANTS = ("pedestals", "pixel_rms", "pixel_status", "pixel_max", "pixel_min")


def added(frames, recipe, block=50, threads=1):
    """The sums of all frames, block by block."""
    accumulator = Accumulator(recipe, frames.shape[1:], frames.dtype, threads)
    for start in range(0, len(frames), block):
        accumulator.add(frames[start : start + block])
    return accumulator.finish()


def constants(frames, recipe, **how):
    return derive(added(frames, recipe, **how), recipe)


def noise(frames=200, shape=(20, 30), pedestal=3000, sigma=15, dtype="uint16", seed=1):
    random = np.random.default_rng(seed)
    return np.rint(random.normal(pedestal, sigma, (frames, *shape))).astype(dtype)


def sums_of_values(sums):
    """Sum and sum of squares of the values themselves, as Python's whole numbers."""
    lower, inside = sums.gates.lo.astype(object), sums.inside.astype(object)
    total, squares = sums.total.astype(object), sums.squares.astype(object)
    plain = np.where(sums.inside > 0, total + inside * lower, 0)
    return plain, np.where(sums.inside > 0, squares + lower * (2 * total + inside * lower), 0)


def assert_same_sums(one, other):
    assert one.gates.equals(other.gates)
    assert (one.frames, one.is_short) == (other.frames, other.is_short)
    for name in SUMS:
        mine, theirs = getattr(one, name), getattr(other, name)
        assert mine.dtype == theirs.dtype
        assert np.array_equal(mine, theirs), name


def assert_same_constants(one, other):
    for name in CONSTANTS:
        assert getattr(one, name).tobytes() == getattr(other, name).tobytes(), name


def assert_as_oracle(sums, oracle):
    assert np.array_equal(sums.inside, oracle.inside)
    total, squares = sums_of_values(sums)
    assert np.array_equal(total, oracle.total)
    assert np.array_equal(squares, oracle.squares)
    for name in ("below", "above", "minimum", "maximum", "bad_switch"):
        assert np.array_equal(getattr(sums, name), getattr(oracle, name)), name


@st.composite
def runs(draw):
    """Frames of any kind, odd ones too, and a recipe for them."""
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    info = np.iinfo(dtype)
    kinds = ["", "jungfrau", "epix10ka"] if dtype.name == "uint16" else [""]
    kind, gate_frames = draw(st.sampled_from(kinds)), draw(st.integers(3, 9))
    changes = {"gate_frames": gate_frames, "int_lo": draw(st.sampled_from([-5, 0, 0.1, 1, 17]))}
    recipe = recipe_for(draw(st.sampled_from(RECIPES)), kind, dtype.name, changes)
    middle = draw(st.integers(10, info.max - 10))
    values = st.one_of(
        st.integers(middle - 9, middle + 9),
        st.sampled_from([info.min, 0, 1, info.max - 1, info.max]),
        st.integers(info.min, info.max),
    )
    shape = draw(st.sampled_from([(1, 1), (2, 3), (2, 2, 3), (1, 17)]))
    frames = draw(arrays.arrays(dtype, (draw(st.integers(1, 14)), *shape), elements=values))
    return frames, recipe


@given(run=runs(), block=st.integers(1, 15), threads=st.integers(1, 3))
def test_gates_and_sums_are_those_of_plain_numpy(run, block, threads):
    frames, recipe = run

    sums = added(frames, recipe, block, threads)

    assert_as_oracle(sums, dark_oracle.process(frames, recipe))


@given(run=runs(), cuts=st.lists(st.integers(0, 14), max_size=3), order=st.randoms())
def test_parts_merge_to_the_same_bits_in_any_order_and_grouping(run, cuts, order):
    frames, recipe = run
    owners = np.searchsorted(sorted(cuts), np.arange(len(frames)), side="right")
    parts = []
    for owner in range(len(cuts) + 1):
        accumulator = Accumulator(recipe, frames.shape[1:], frames.dtype, 1)
        accumulator.add(frames, owners == owner)
        parts.append(accumulator.finish())
    order.shuffle(parts)

    together = merge(*parts)
    nested = merge(parts[0], merge(*parts[1:])) if len(parts) > 1 else merge(parts[0])

    assert_same_sums(together, added(frames, recipe))
    assert_same_sums(nested, together)


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("dtype", ["uint16", "int16", "uint32"])
def test_constants_of_many_pixels_are_those_of_plain_numpy(name, dtype):
    frames = noise(130, (3, 101, 97), dtype=dtype)
    random = np.random.default_rng(2)
    frames[:, 0, :3, :5] = random.integers(1, 16000, (130, 3, 5))
    frames[:, 1, 7] = 0
    frames[:, 2, 8] = np.iinfo(dtype).max
    frames[:, 2, 9] = 3000
    recipe = recipe_for(name, "cspad" if dtype == "uint16" else "", dtype)

    sums = added(frames, recipe, threads=2)
    made = derive(sums, recipe)

    oracle = dark_oracle.process(frames, recipe)
    pedestals, rms = means_and_rms(sums, recipe)
    assert_as_oracle(sums, oracle)
    assert np.array_equal(pedestals, oracle.pedestals)
    assert np.allclose(rms, oracle.rms, rtol=1e-9, atol=1e-6)
    assert np.array_equal(made.pixel_status, oracle.status)
    assert made.pedestals.dtype == made.pixel_rms.dtype == np.float32
    assert made.pixel_status.dtype == np.uint16
    assert made.pixel_max.dtype == made.pixel_min.dtype == frames.dtype


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_sums_of_very_many_frames_of_the_widest_values_do_not_overflow(name, dtype):
    random = np.random.default_rng(3)
    info = np.iinfo(dtype)
    largest = min(info.max, 2**22)
    frames = random.integers(max(info.min, -largest), largest, (70_000, 1, 4)).astype(dtype)
    frames[:, 0, 0], frames[1::2, 0, 1] = largest - 1, largest - 1
    wide = {"gate_lo": 0, "gate_hi": 1} if name == "psana" else {"gate_sigmas": 1000}
    recipe = recipe_for(name, "", dtype, {**wide, "frames": 0, "int_lo": max(info.min, -largest)})

    sums = added(frames, recipe, block=70_000)

    assert_as_oracle(sums, dark_oracle.process(frames, recipe))


@pytest.mark.parametrize("name", RECIPES)
def test_a_constant_pixel_is_dead_a_zero_one_is_low_a_saturated_one_is_high(name):
    frames = noise()
    frames[:, 0, 0], frames[:, 0, 1], frames[:, 0, 2] = 3000, 0, 0x3FFF

    made = constants(frames, recipe_for(name, "cspad", "uint16"))

    assert made.pixel_status[0, :3].tolist() == [2, 2 + 8 + 32, 2 + 4 + 32]
    assert made.pedestals[0, :3].tolist() == [3000, 0, 0]
    assert made.pixel_rms[0, :3].tolist() == [0, 0, 0]
    assert not made.pixel_status.reshape(-1)[3:].any()
    assert np.isfinite(made.pedestals).all()
    assert np.isfinite(made.pixel_rms).all()


@pytest.mark.parametrize("name", RECIPES)
def test_a_hot_pixel_is_noisy_and_a_high_one_is_high(name):
    frames = noise(shape=(40, 50))
    frames[:, 3, 4] = np.random.default_rng(5).integers(1000, 5000, 200)
    frames[:, 5, 6] += 2000

    made = constants(frames, recipe_for(name, "cspad", "uint16"))

    assert made.pixel_status[3, 4] & 1
    assert made.pixel_status[5, 6] == 16
    assert np.count_nonzero(made.pixel_status) == 2


def test_many_hot_pixels_hide_no_others_from_robust():
    frames = noise(shape=(40, 50))
    random = np.random.default_rng(6)
    frames[:, 0, :40] = random.integers(100, 9000, (200, 40))
    frames[:, 1, :20] = np.rint(random.normal(3000, 45, (200, 20)))

    robust = constants(frames, recipe_for("robust", "cspad", "uint16"))
    psana = constants(frames, recipe_for("psana", "cspad", "uint16"))

    assert (robust.pixel_status[:2, :20] & 1).all()
    assert not (psana.pixel_status[1, :20] & 1).any()


@pytest.mark.parametrize("levels", [(2000, 2000, 2000, 3500), (1000, 2000, 3000, 4000)])
def test_a_chip_at_another_level_is_not_bad(levels):
    frames = noise(shape=(2, 40, 60))
    for chip, level in enumerate(levels):
        frames[:, 0, :, 15 * chip : 15 * chip + 15] += np.uint16(level)
    frames[:, 1] += 9000

    made = constants(frames, recipe_for("robust", "cspad", "uint16"))

    assert not made.pixel_status.any()


@pytest.mark.parametrize("name", RECIPES)
def test_the_order_of_frames_after_the_first_ones_changes_nothing(name):
    frames = noise()
    recipe = recipe_for(name, "cspad", "uint16")
    other = frames.copy()
    other[50:] = np.random.default_rng(7).permutation(other[50:])
    other[:50] = other[49::-1]

    assert_same_constants(constants(frames, recipe), constants(other, recipe))


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("count", [3, 20, 45, 49, 50, 51])
def test_a_short_run_works_and_counts_each_frame_once(name, count):
    frames = noise(count, shape=(30, 40))
    recipe = recipe_for(name, "cspad", "uint16")

    sums = added(frames, recipe)
    made = derive(sums, recipe)

    assert sums.is_short == (count < 50)
    assert sums.frames == count
    assert sums.gates.frames == min(count, 50)
    assert_as_oracle(sums, dark_oracle.process(frames, recipe))
    assert not (made.pixel_status & 8).any()
    assert made.pixel_min.min() > 0


@pytest.mark.parametrize("name", RECIPES)
def test_fewer_than_three_frames_are_refused_with_their_number(name):
    recipe = recipe_for(name, "cspad", "uint16")
    empty = Accumulator(recipe, (20, 30), np.dtype("uint16"))

    with pytest.raises(Invalid, match="2 frames are too few"):
        constants(noise(2), recipe)
    with pytest.raises(Invalid, match="no frames"):
        empty.finish()


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize(("kind", "pedestal"), [("epix100", 20000), ("cspad", 20000 & 0x3FFF)])
def test_a_16_bit_camera_keeps_its_16_bits(name, kind, pedestal):
    made = constants(noise(pedestal=20000), recipe_for(name, kind, "uint16"))

    assert abs(made.pedestals.mean() - pedestal) < 1
    assert not made.pixel_status.any()


@pytest.mark.parametrize("name", RECIPES)
def test_gain_bits_10_of_a_jungfrau_mark_the_pixel_and_no_other_bits_count(name):
    frames = noise()
    frames[:, 1] |= 0x4000
    frames[:, 2] |= 0xC000
    frames[77, 3, 4] |= 0x8000

    made = constants(frames, recipe_for(name, "jungfrau", "uint16"))
    without = constants(frames & 0x3FFF, recipe_for(name, "jungfrau", "uint16"))

    assert np.argwhere(made.pixel_status == 64).tolist() == [[3, 4]]
    assert np.count_nonzero(made.pixel_status) == 1
    assert made.pedestals.tobytes() == without.pedestals.tobytes()


def test_robust_is_not_biased_and_gives_the_whole_noise():
    random = np.random.default_rng(8)
    truth = random.uniform(2000, 2500, (100, 100))
    frames = np.rint(random.normal(truth, 15, (500, 100, 100)))
    hits = random.random(frames.shape) < 0.01
    frames[hits] += random.exponential(1000, hits.sum())

    made = constants(frames.astype(np.uint16), recipe_for("robust", "epix100", "uint16"))

    assert abs((made.pedestals - truth).mean()) < 0.02 * 15
    assert (made.pedestals - truth).std() < 1.05 * 15 / np.sqrt(500)
    assert abs(made.pixel_rms.mean() / 15 - 1) < 0.02
    assert np.count_nonzero(made.pixel_status) <= 1


@pytest.mark.parametrize("frames", [np.zeros((5, 4, 4), float), np.zeros((5, 4, 5), np.uint16)])
def test_frames_of_another_dtype_or_shape_are_refused(frames):
    accumulator = Accumulator(recipe_for("psana", "", "uint16"), (4, 4), np.dtype("uint16"))

    with pytest.raises(Invalid, match="was the detector configured anew"):
        accumulator.add(frames)


def test_floats_are_no_raw_frames():
    with pytest.raises(Invalid, match="float32 are no raw frames"):
        Accumulator(recipe_for("psana", "", "uint16"), (4, 4), np.dtype("float32"))


def test_sums_of_other_gates_are_not_merged():
    recipe = recipe_for("psana", "cspad", "uint16")
    one, other = added(noise(seed=1), recipe), added(noise(seed=2), recipe)

    with pytest.raises(Invalid, match="other gates"):
        merge(one, other)


def test_the_frames_given_are_neither_kept_nor_changed():
    frames = noise()
    recipe = recipe_for("robust", "jungfrau", "uint16")
    accumulator = Accumulator(recipe, (20, 30), frames.dtype)
    buffer = np.empty((40, 20, 30), np.uint16)

    for start in range(0, 200, 40):
        buffer[:] = frames[start : start + 40]
        buffer.flags.writeable = False
        accumulator.add(buffer)
        assert np.array_equal(buffer, frames[start : start + 40])
        buffer.flags.writeable = True
        buffer[:] = 0xFFFF

    assert_same_sums(accumulator.finish(), added(frames, recipe))


def test_gates_are_those_that_psana_makes_from_order_statistics():
    frames = noise(50)
    recipe = recipe_for("psana", "cspad", "uint16")

    gates = gates_of(frames, recipe)

    ordered = np.sort(frames, axis=0)
    assert np.array_equal(gates.lo, ordered[2])
    assert np.array_equal(gates.hi, ordered[47])


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_recipe_comes_back_from_its_parameters(name, dtype):
    recipe = recipe_for(name, "jungfrau", dtype, {"rms_n_hi": 8, "frames": 500})

    stored = json.loads(json.dumps(recipe.parameters()))

    assert DarkRecipe.of(name, recipe.version, stored) == recipe
    assert recipe.rms_n_hi == 8
    assert recipe.frames == 500


@pytest.mark.parametrize(
    ("kind", "bits", "skip", "bad_switch"),
    [
        ("Epix100a", 0xFFFF, 0, 0),
        ("epix100", 0xFFFF, 0, 0),
        ("Opal1000", 0xFFFF, 0, 0),
        ("Cspad", 0x3FFF, 0, 0),
        ("Jungfrau", 0x3FFF, 0, 1),
        ("jungfrau", 0x3FFF, 0, 1),
        ("Epix10ka2M", 0x3FFF, 100, 0),
        ("epixhr2x2", 0x3FFF, 100, 0),
        ("epixm320", 0x7FFF, 0, 0),
        ("no such kind", 0xFFFF, 0, 0),
    ],
)
def test_a_kind_of_detector_decides_bits_and_skipped_events(kind, bits, skip, bad_switch):
    recipe = recipe_for("psana", kind, "uint16")

    assert (recipe.data_bits, recipe.skip, recipe.bad_switch) == (bits, skip, bad_switch)
    assert (recipe.int_lo, recipe.int_hi, recipe.rms_hi) == (1, bits - 1, bits - 1)
    assert (recipe.frames, recipe.gate_frames) == (1000, 50)


@pytest.mark.parametrize(
    ("name", "changes", "told"),
    [
        ("psana3", {}, "there are psana and robust"),
        ("psana", {"gate_sigmas": 5}, "has no parameter gate_sigmas; it has frames, "),
        ("robust", {"gate_lo": 0.1}, "has no parameter gate_lo"),
        ("psana", {"nrecs": 5}, "has no parameter nrecs"),
        ("psana", {"version": 2}, "has no parameter version"),
        ("psana", {"frames": 2}, "frames = 2"),
        ("psana", {"gate_frames": 2}, "gate_frames = 2"),
        ("psana", {"gate_frames": 50.5}, "gate_frames = 50.5"),
        ("psana", {"gate_frames": 100_000}, "gate_frames = 100000"),
        ("psana", {"skip": -1}, "skip = -1"),
        ("psana", {"data_bits": 0x1FFFF}, "mask of the 16 bits"),
        ("psana", {"data_bits": 0}, "mask of the 16 bits"),
        ("psana", {"rms_n_lo": float("nan")}, "rms_n_lo = nan"),
        ("psana", {"int_hi": float("inf")}, "int_hi = inf"),
        ("psana", {"int_lo": 500, "int_hi": 400}, "the first is less"),
        ("psana", {"gate_lo": 0.9, "gate_hi": 0.1}, "the first is less"),
        ("psana", {"fraction_out": 1.5}, "from 0 to 1"),
        ("psana", {"fraction_out": True}, "fraction_out = True"),
        ("robust", {"gate_sigmas": 0}, "gate_sigmas = 0"),
        ("robust", {"bad_switch": 2}, "0 or 1"),
    ],
)
def test_an_impossible_recipe_is_refused_with_what_is_possible(name, changes, told):
    with pytest.raises(Invalid, match=told):
        recipe_for(name, "", "uint16", changes)


def test_a_recipe_of_another_edition_or_with_other_parameters_is_not_taken_for_this_one():
    recipe = recipe_for("psana", "", "uint16")
    parameters = recipe.parameters()

    with pytest.raises(Invalid, match="edition 2"):
        DarkRecipe.of("psana", 2, parameters)
    with pytest.raises(Invalid, match="no recipe"):
        DarkRecipe.of("other", 1, parameters)
    with pytest.raises(Invalid, match="has the parameters"):
        DarkRecipe.of("psana", 1, {**parameters, "more": 1})
    with pytest.raises(Invalid, match="skip = 'x'"):
        DarkRecipe.of("psana", 1, {**parameters, "skip": "x"})


def test_a_range_without_any_value_of_the_frames_is_refused():
    recipe = replace(recipe_for("psana", "", "uint16"), int_lo=70_000.0, int_hi=80_000.0)

    with pytest.raises(Invalid, match="no value of uint16"):
        Accumulator(recipe, (4, 4), np.dtype("uint16"))
