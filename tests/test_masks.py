"""A mask leaves out what it was asked to, says how much that is, and every client can be told."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import stamp
from commandline import Outcome, npy_bytes
from hypothesis import given, settings
from hypothesis import strategies as st

import calstore as api
from calstore.correct.assembly import assembly, image_of
from calstore.correct.geometry import coordinates
from calstore.darks.masks import (
    CAUSES,
    MaskRule,
    bad_by_status,
    by_panel,
    edges,
    folded,
    grown,
    joints,
    mask_of,
    on_panels,
    users_mask,
)
from calstore.errors import Invalid, NotFound
from calstore.formats import psana_text
from calstore.model.detectors import MASKED, asic_shape
from calstore.model.manifests import Constant
from calstore.model.runs import END, RunRange
from calstore.repository.change import Move, move, with_type
from calstore.repository.derive_mask import MaskRequest, computed
from calstore.repository.mask import Made, make_mask, read_users_mask
from calstore.repository.results import derivation_of, recall
from calstore.repository.store import Store, ref_name
from calstore.store import arrays, objects

REF = "cxis0113/main"
OPAL = "Camera::CalibV1/CxiDg1.0:Opal1000.0"
JUNGFRAU = "Jungfrau::CalibV1/CxiDs1.0:Jungfrau.0"
CSPAD2X2 = "CsPad2x2::CalibV1/XppGon.0:Cspad2x2.0"
ALL = RunRange(0, END)
GEOMETRY = b"""# made up
CAMERA 0 JUNGFRAU:V1 0        0  30000 0    90 0 0   0.3 0 0
CAMERA 0 JUNGFRAU:V1 1      500 -30000 0   270 0 0  -0.2 0 0
IP     0 CAMERA      0        0      0 100   0 0 0     0 0 0
"""

Array = np.ndarray[Any, np.dtype[Any]]
Calstore = Callable[..., Outcome]


# --- the rule, against loops ---------------------------------------------------------------


def causes_by_loops(
    shape: tuple[int, int, int], rule: MaskRule, status: Array, user: Array | None
) -> dict[str, set[tuple[int, int, int]]]:
    """What each cause masks, pixel by pixel as the docstrings say it."""
    _, rows, columns = shape
    modes = status if status.ndim == 4 else status[np.newaxis]
    found: dict[str, set[tuple[int, int, int]]] = {cause: set() for cause in CAUSES}
    for pixel in np.ndindex(shape):
        panel, row, column = pixel
        if any(int(mode[pixel]) & rule.status_bits for mode in modes[:5]):
            found["status"].add(pixel)
        if min(row, column, rows - 1 - row, columns - 1 - column) < rule.edges:
            found["edges"].add(pixel)
        if rule.centre and any(
            -rule.centre <= place - joint < rule.centre
            for place, chip, length in (
                (row, rule.chip_rows, rows),
                (column, rule.chip_columns, columns),
            )
            for joint in range(chip, length, chip)
        ):
            found["centre"].add(pixel)
        if user is not None and not user[pixel]:
            found["user"].add(pixel)
    for panel, row, column in np.ndindex(shape):
        near = (
            (panel, row + down, column + right)
            for down in range(-rule.neighbours, rule.neighbours + 1)
            for right in range(-rule.neighbours, rule.neighbours + 1)
        )
        if (panel, row, column) not in found["status"] and any(p in found["status"] for p in near):
            found["neighbours"].add((panel, row, column))
    return found


@st.composite
def cases(draw: st.DrawFn) -> tuple[tuple[int, int, int], MaskRule, Array, Array | None]:
    shape = draw(st.tuples(st.integers(1, 2), st.integers(1, 7), st.integers(1, 8)))
    lead = draw(st.sampled_from(((), (3,), (7,))))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    status = random.integers(0, 8, (*lead, *shape)) * (random.random((*lead, *shape)) < 0.1)
    few = st.integers(0, 3)
    bits = draw(st.sampled_from((0, 1, 6, 0xFFFF)))
    centre = draw(few)
    rule = MaskRule(
        status_bits=bits,
        edges=draw(few),
        centre=centre,
        neighbours=draw(few) if bits else 0,
        chip_rows=draw(st.integers(1, 4)) if centre else 0,
        chip_columns=draw(st.integers(1, 4)) if centre else 0,
    )
    user = (random.random(shape) < 0.8).astype(np.uint8) if draw(st.booleans()) else None
    return shape, rule, status.astype(np.uint16), user


@settings(max_examples=300)
@given(cases())
def test_each_cause_alone_and_all_together_mask_what_they_say(
    case: tuple[tuple[int, int, int], MaskRule, Array, Array | None],
) -> None:
    shape, rule, status, user = case
    expected = causes_by_loops(shape, rule, status, user)
    bad = set().union(*expected.values())

    if len(bad) == np.prod(shape):
        with pytest.raises(Invalid, match="leaves no pixel"):
            mask_of(shape, rule, status=status, user=user)
        return
    masked = mask_of(shape, rule, status=status, user=user)

    assert masked.mask.dtype == np.uint8
    assert masked.mask.shape == shape
    assert {pixel for pixel in np.ndindex(shape) if not masked.mask[pixel]} == bad
    assert masked.count == len(bad)
    assert dict(masked.causes) == {
        cause: len(expected[cause])
        for cause, asked in zip(
            CAUSES,
            (rule.status_bits, rule.neighbours, rule.edges, rule.centre, user is not None),
            strict=True,
        )
        if asked
    }


def test_gain_modes_that_no_dark_measures_do_not_count() -> None:
    status = np.zeros((7, 1, 2, 3), np.uint16)
    status[5, 0, 0, 0] = status[6, 0, 0, 1] = status[4, 0, 1, 2] = 1

    assert np.argwhere(bad_by_status(status, 0xFFFF)).tolist() == [[0, 1, 2]]


@given(st.integers(0, 2**32 - 1), st.sampled_from((np.uint16, np.uint64)), st.booleans())
def test_a_fold_sets_its_own_bit_alone_in_all_modes_and_takes_an_older_one_s_place(
    seed: int, dtype: type, has_modes: bool
) -> None:
    random = np.random.default_rng(seed)
    shape = (3, 2, 3, 4) if has_modes else (2, 3, 4)
    status = random.integers(0, 2**16, shape).astype(dtype)
    old, new = ((random.random((2, 3, 4)) < 0.5).astype(np.uint8) for _ in range(2))

    once = folded(status, new)

    assert once.dtype == dtype
    assert np.array_equal(once & ~dtype(MASKED), status & ~dtype(MASKED))
    assert np.array_equal((once & dtype(MASKED)) == 0, np.broadcast_to(new, shape) == 1)
    assert np.array_equal(folded(once, new), once)
    assert np.array_equal(folded(folded(status, old), new), once)


def test_a_mask_never_feeds_on_an_earlier_one() -> None:
    status = np.full((1, 2, 2), MASKED, np.uint16)

    assert mask_of((1, 2, 2), MaskRule(), status=status).mask.all()
    assert MaskRule(0xFFFF) == MaskRule(0xFFFF & ~MASKED)


@pytest.mark.parametrize(
    "wrong",
    [
        {"status_bits": -1},
        {"status_bits": 1 << 16},
        {"edges": -1},
        {"centre": 1},
        {"chip_rows": 8, "chip_columns": 8},
        {"status_bits": 0, "neighbours": 1},
    ],
)
def test_a_rule_that_means_nothing_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(Invalid):
        MaskRule(**wrong)


@pytest.mark.parametrize("values", [[0, 2], [0, -1], [1, 0.5], [1, np.nan], [255, 0]])
def test_a_user_s_mask_has_no_other_values_than_0_and_1(values: list[float]) -> None:
    with pytest.raises(Invalid, match="1 of 2 values are others"):
        users_mask(np.array(values))


@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint16, np.int64, np.float32, np.float64])
def test_a_user_s_mask_of_any_dtype_is_the_same(dtype: type) -> None:
    mask = users_mask(np.array([[0, 1]], dtype))

    assert (mask.dtype, mask.tolist()) == (np.uint8, [[0, 1]])


def test_panels_stacked_or_with_more_axes_are_the_same_panels() -> None:
    panels = np.arange(24).reshape(4, 2, 3)

    for shape in ((4, 2, 3), (2, 2, 2, 3), (8, 3)):
        placed = on_panels(panels.reshape(shape), (4, 2, 3))
        assert placed is not None
        assert np.array_equal(placed, panels)
    for shape in ((3, 8), (24,), (4, 3, 2), (2, 4, 3), (4, 6)):
        assert on_panels(panels.reshape(shape), (4, 2, 3)) is None


PSANA = os.environ.get("CALSTORE_PSANA_PYTHON")


@pytest.mark.skipif(
    PSANA is None, reason="CALSTORE_PSANA_PYTHON does not name a Python that has psana"
)
def test_psana_masks_the_same_and_by_a_folded_status_all_of_the_mask(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    status = random.integers(0, 64, (7, 2, 40, 50)) * (random.random((7, 2, 40, 50)) < 0.01)
    status[5:] = 0
    mask = mask_of((2, 40, 50), MaskRule(edges=2), status=status.astype(np.uint16)).mask
    bad = bad_by_status(status.astype(np.uint16), 0xFFFF)
    given = {"status": folded(status.astype(np.uint16), mask), "bad": bad}
    np.savez(tmp_path / "in.npz", **given, neighbours=2, edges=3, centre=2)

    assert PSANA is not None
    subprocess.run(
        [
            PSANA,
            Path(__file__).with_name("psana_masks.py"),
            tmp_path / "in.npz",
            tmp_path / "out.npz",
        ],
        check=True,
        env={
            **os.environ,
            "PS_PARALLEL": "none",
            "OMPI_ALLOW_RUN_AS_ROOT": "1",
            "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        },
    )
    theirs = np.load(tmp_path / "out.npz")

    assert np.array_equal(theirs["status"], mask)
    assert np.array_equal(theirs["neighbours"] == 0, grown(bad, 2))
    assert np.array_equal(theirs["edges"] == 0, edges((2, 40, 50), 3))
    for source, name in (
        ("XppGon.0:Epix100a.1", "EPIX100:V1"),
        ("MfxEndstation.0:Epix10ka2M.0", "EPIX10KA:V1"),
    ):
        panel, chip = theirs[f"centre-{name}"], asic_shape(source)
        assert chip is not None
        assert np.array_equal(panel == 0, joints((1, *panel.shape), chip, 2)[0]), name


# --- the verb ------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    (tmp_path / "empty").mkdir()
    store = api.init("memory:", "0" * 32)
    api.import_tree(store, tmp_path / "empty", REF, stamp())
    yield store
    # Whatever a test did, the store is whole.
    assert api.verify(store).damages == ()


def put(
    store: Store, detector: str, type_name: str, values: Array | bytes, runs: RunRange = ALL
) -> None:
    api.set_constant(store, REF, detector, type_name, runs, values, stamp())


def made(
    store: Store,
    detector: str = OPAL,
    runs: RunRange | None = None,
    request: MaskRequest | None = None,
    **asked: Any,
) -> Made:
    return make_mask(store, REF, detector, request or MaskRequest(**asked), stamp(), runs=runs)


def got(store: Store, type_name: str, detector: str = OPAL, run: int = 1) -> Array:
    return store[REF][detector].at(run)[type_name].array


def opal_status(seed: int = 0) -> Array:
    random = np.random.default_rng(seed)
    return (random.integers(1, 60, (20, 30)) * (random.random((20, 30)) < 0.02)).astype(np.uint16)


@pytest.fixture
def opal(store: Store) -> Store:
    put(store, OPAL, "pixel_status", opal_status())
    return store


@pytest.fixture(scope="module")
def jungfrau_status() -> Array:
    random = np.random.default_rng(7)
    bad = random.random((3, 2, 512, 1024)) < 0.0005
    return (bad * random.integers(1, 127, bad.shape)).astype(np.uint16)


@pytest.fixture
def jungfrau(store: Store, jungfrau_status: Array) -> Store:
    put(store, JUNGFRAU, "pixel_status", jungfrau_status)
    return store


def test_a_mask_is_one_record_and_leaves_the_status_alone(opal: Store) -> None:
    before = opal[REF].record.number

    result = made(opal, edges=2)

    assert result.changed
    assert result.record.number == before + 1
    assert result.record.operation == "mask"
    assert np.array_equal(got(opal, "pixel_status"), opal_status())
    inner = got(opal, "pixel_mask")[2:-2, 2:-2]
    assert np.array_equal(inner == 0, opal_status()[2:-2, 2:-2] != 0)
    assert not got(opal, "pixel_mask")[:2].any()


def test_a_mask_can_be_derived_again_from_its_manifest_alone(jungfrau: Store) -> None:
    user = np.ones((2, 512, 1024), np.uint8)
    user[0, 100:200, 5] = 0

    result = made(
        jungfrau, JUNGFRAU, edges=1, centre=1, neighbours=2, user=user, apply_to="pixel_status"
    )

    (masking,) = result.maskings
    manifest = derivation_of(jungfrau, masking.derivation)
    again, masked = computed(jungfrau, manifest)
    known = recall(jungfrau, masking.derivation.digest)
    assert known is not None
    assert set(again) == set(known) == {"pixel_mask", "pixel_status"}
    for type_name, array in again.items():
        constant = jungfrau[REF][JUNGFRAU].at(1)[type_name]
        assert np.array_equal(constant.array, array)
        assert constant.constant.derivation == masking.derivation
        assert known[type_name] == constant.constant.content
    assert (manifest.recipe, manifest.version) == ("mask", 1)
    assert set(manifest.inputs) == {"pixel_status", "user"}
    assert masked.causes == masking.causes
    assert set(masking.causes) == set(CAUSES)


def test_a_pixel_that_is_bad_in_one_gain_mode_is_masked_in_all(
    jungfrau: Store, jungfrau_status: Array
) -> None:
    made(jungfrau, JUNGFRAU, apply_to="pixel_status")

    mask, status = (got(jungfrau, name, JUNGFRAU) for name in ("pixel_mask", "pixel_status"))
    bad = (jungfrau_status != 0).any(axis=0)
    assert np.array_equal(mask == 0, bad)
    assert status.shape == jungfrau_status.shape
    for mode, before in zip(status, jungfrau_status, strict=True):
        assert np.array_equal(mode, np.where(bad, before | MASKED, before))


def test_with_apply_a_view_has_the_bits_and_what_was_there(opal: Store, tmp_path: Path) -> None:
    made(opal, edges=1, apply_to="pixel_status")

    api.materialize(opal, opal[REF], tmp_path / "view")

    text = (tmp_path / "view" / OPAL / "pixel_status" / "0-end.data").read_bytes()
    read = psana_text.read(text, group="Camera::CalibV1", type_name="pixel_status")
    assert read.remarks == ()
    assert np.array_equal(read.array & ~np.uint16(MASKED), opal_status())
    assert (read.array[[0, -1]] & MASKED).all()
    mask = (tmp_path / "view" / OPAL / "pixel_mask" / "0-end.data").read_bytes()
    assert np.array_equal(
        psana_text.read(mask, group="Camera::CalibV1", type_name="pixel_mask").array == 0,
        read.array != 0,
    )


def test_folding_twice_gives_the_same_set_and_no_record(opal: Store) -> None:
    first = made(opal, edges=1, neighbours=1, apply_to="pixel_status")

    second = made(opal, edges=1, neighbours=1, apply_to="pixel_status")

    assert not second.changed
    assert second.record == first.record
    assert second.maskings == first.maskings


def test_a_new_mask_takes_the_place_of_the_one_before(opal: Store) -> None:
    made(opal, edges=5, apply_to="pixel_status")

    made(opal, edges=1, apply_to="pixel_status")

    fresh = folded(opal_status(), got(opal, "pixel_mask"))
    assert np.array_equal(got(opal, "pixel_status"), fresh)
    assert not got(opal, "pixel_status")[3, 3] & MASKED


def test_a_mask_that_is_not_folded_says_that_an_older_one_still_is(opal: Store) -> None:
    folds = [
        made(opal, edges=edges, apply_to=into).maskings[0].keeps_older
        for edges, into in ((1, ""), (2, "pixel_status"), (3, ""), (4, "pixel_status"))
    ]

    assert folds == [False, False, True, False]


def test_status_extra_gets_the_bit_instead_and_keeps_its_own(opal: Store) -> None:
    extra = np.zeros((20, 30), np.uint64)
    extra[3, 4] = 1 << 40
    put(opal, OPAL, "status_extra", extra, RunRange(0, 9))

    made(opal, runs=ALL, edges=1, apply_to="status_extra")

    for run, before in ((1, extra), (10, np.zeros_like(extra))):
        assert np.array_equal(
            got(opal, "status_extra", run=run), folded(before, got(opal, "pixel_mask", run=run))
        )
    assert np.array_equal(got(opal, "pixel_status"), opal_status())


def test_a_status_extra_of_gain_modes_is_as_large_as_the_status(jungfrau: Store) -> None:
    made(jungfrau, JUNGFRAU, apply_to="status_extra")

    assert got(jungfrau, "status_extra", JUNGFRAU).shape == (3, 2, 512, 1024)


# --- the user's own mask -------------------------------------------------------------------


def test_panels_stacked_panels_and_the_image_give_the_same_mask(jungfrau: Store) -> None:
    put(jungfrau, JUNGFRAU, "geometry", GEOMETRY)
    panels = np.ones((2, 512, 1024), np.uint8)
    panels[0, 40:90, 700:] = panels[1, 511, 3] = 0
    where = assembly(coordinates(GEOMETRY))
    drawn = np.ones(where.shape, np.uint8)
    drawn[where.rows[panels == 0], where.columns[panels == 0]] = 0
    from_image = drawn[where.rows, where.columns]  # two pixels may be one of the image
    forms = (from_image, from_image.reshape(1024, 1024), image_of(where, from_image))

    digests, roles = set(), []
    for form in forms:
        (masking,) = made(jungfrau, JUNGFRAU, status_bits=0x7F, user=form).maskings
        digests.add(masking.mask.digest)
        roles.append(set(derivation_of(jungfrau, masking.derivation).inputs))

    assert len(digests) == 1
    assert np.array_equal(got(jungfrau, "pixel_mask", JUNGFRAU) == 0, _both(jungfrau, from_image))
    assert roles == [{"pixel_status", "user"}] * 2 + [{"pixel_status", "user", "geometry"}]


def _both(store: Store, user: Array) -> Array:
    return (got(store, "pixel_status", JUNGFRAU) & 0x7F).any(axis=0) | (user == 0)


def test_a_mask_of_an_image_that_looks_like_the_panels_is_drawn_where_that_is_said(
    store: Store,
) -> None:
    put(store, OPAL, "pedestals", np.ones((4, 4), np.float32))
    put(store, OPAL, "geometry", b"IP 0 MTRX:4:4:10:10 0  0 0 0  90 0 0  0 0 0\n")
    user = np.ones((4, 4), np.uint8)
    user[0] = 0

    made(store, status_bits=0, user=user)
    as_panels = got(store, "pixel_mask")
    made(store, status_bits=0, user=user, is_drawn=True)

    assert np.array_equal(as_panels, user)
    assert np.array_equal(got(store, "pixel_mask"), np.rot90(user, -1))


def test_a_mask_that_fits_no_shape_says_all_that_would_and_changes_nothing(
    jungfrau: Store,
) -> None:
    put(jungfrau, JUNGFRAU, "geometry", GEOMETRY)
    before = jungfrau[REF].record
    shape = assembly(coordinates(GEOMETRY)).shape

    with pytest.raises(Invalid) as refused:
        made(jungfrau, JUNGFRAU, user=np.ones((5, 6), np.uint8))

    for spelled in ("(5, 6)", "(2, 512, 1024)", "(1024, 1024)", str(shape)):
        assert spelled in str(refused.value)
    assert jungfrau[REF].record == before


def test_a_drawn_mask_without_a_geometry_is_told_what_is_missing(opal: Store) -> None:
    put(opal, OPAL, "geometry", b"IP 0 MTRX:20:30:10:10 0  0 0 0  0 0 0  0 0 0\n", RunRange(5, 9))
    user = np.ones((20, 30), np.uint8)

    with pytest.raises(NotFound, match=r"no geometry for .* in runs 10-end"):
        made(opal, runs=RunRange(5, END), user=user, is_drawn=True)
    result = made(opal, runs=RunRange(5, 9), user=user, is_drawn=True)

    assert [str(masking.runs) for masking in result.maskings] == ["5-9"]


def test_a_geometry_of_another_detector_is_refused(opal: Store) -> None:
    put(opal, OPAL, "geometry", GEOMETRY)

    with pytest.raises(Invalid, match=r"places pixels \(2, 512, 1024\), .* are \(1, 20, 30\)"):
        made(opal, user=np.ones((5, 6), np.uint8))


def test_other_values_are_refused_and_change_nothing(opal: Store) -> None:
    before = opal[REF].record

    with pytest.raises(Invalid, match="others, as 3"):
        made(opal, user=np.full((20, 30), 3))

    assert opal[REF].record == before


def test_a_mask_that_leaves_nothing_is_refused_and_changes_nothing(opal: Store) -> None:
    before = opal[REF].record

    with pytest.raises(Invalid, match="leaves no pixel of"):
        made(opal, edges=10, apply_to="pixel_status")

    assert opal[REF].record == before


# --- which runs, which shape ---------------------------------------------------------------


@pytest.fixture
def three_darks(store: Store) -> Store:
    for seed, first in enumerate((0, 10, 20)):
        put(store, OPAL, "pixel_status", opal_status(seed), RunRange(first, END))
    return store


def test_the_newest_runs_get_the_mask_and_no_others(three_darks: Store) -> None:
    result = made(three_darks, apply_to="pixel_status")

    (masking,) = result.maskings
    assert str(masking.runs) == "20-end"
    assert np.array_equal(got(three_darks, "pixel_status", run=15), opal_status(1))
    with pytest.raises(NotFound):
        got(three_darks, "pixel_mask", run=15)


def test_runs_of_several_darks_get_a_mask_by_the_status_of_each(three_darks: Store) -> None:
    result = made(three_darks, runs=RunRange(5, 22), apply_to="pixel_status")

    assert [str(masking.runs) for masking in result.maskings] == ["5-9", "10-19", "20-22"]
    for run, seed in ((5, 0), (19, 1), (22, 2)):
        assert np.array_equal(got(three_darks, "pixel_mask", run=run) == 0, opal_status(seed) != 0)
    for run, seed in ((4, 0), (23, 2)):
        assert np.array_equal(got(three_darks, "pixel_status", run=run), opal_status(seed))


def test_where_the_status_does_not_count_one_mask_is_for_all_runs(three_darks: Store) -> None:
    user = np.ones((20, 30), np.uint8)
    user[4] = 0

    result = made(three_darks, runs=ALL, status_bits=0, user=user)

    assert [str(masking.runs) for masking in result.maskings] == ["0-end"]
    assert np.array_equal(got(three_darks, "pixel_mask", run=12), user)


def test_a_detector_without_a_status_can_be_masked_if_that_is_said(store: Store) -> None:
    put(store, OPAL, "pedestals", np.ones((20, 30), np.float32))

    with pytest.raises(NotFound, match="--status-bits 0"):
        made(store, edges=1)
    made(store, status_bits=0, edges=1, apply_to="pixel_status")

    assert got(store, "pixel_status").dtype == np.uint16
    assert np.array_equal(
        got(store, "pixel_status") == MASKED, np.pad(np.zeros((18, 28)), 1, constant_values=1) == 1
    )


def test_runs_without_a_status_are_not_found(opal: Store) -> None:
    put(opal, JUNGFRAU, "geometry", GEOMETRY)

    with pytest.raises(NotFound, match=r"no pixel_status for .*Jungfrau"):
        made(opal, JUNGFRAU)
    with pytest.raises(NotFound, match="neither pedestals nor pixel_status"):
        made(opal, JUNGFRAU, status_bits=0, edges=1)
    with pytest.raises(NotFound):
        made(opal, "Princeton")


def test_the_edges_of_a_cspad2x2_are_those_of_its_panels(store: Store) -> None:
    put(store, CSPAD2X2, "pixel_status", np.zeros((185, 388, 2), np.uint16))

    made(store, CSPAD2X2, edges=1, centre=1, apply_to="pixel_status")

    mask = got(store, "pixel_mask", CSPAD2X2)
    assert mask.shape == (185, 388, 2)
    for panel in np.moveaxis(mask, -1, 0):
        assert panel[1:-1, 1:193].all()
        assert panel[1:-1, 195:-1].all()
        assert not panel[:, [0, 193, 194, 387]].any()
    assert np.array_equal(by_panel(got(store, "pixel_status", CSPAD2X2) == 0)[1], mask[..., 1])


def test_a_jungfrau_of_one_panel_may_lack_the_axis_of_panels(store: Store) -> None:
    status = np.zeros((3, 512, 1024), np.uint16)
    status[2, 5, 6] = 1
    put(store, JUNGFRAU, "pixel_status", status)

    made(store, JUNGFRAU, apply_to="pixel_status")

    mask = got(store, "pixel_mask", JUNGFRAU)
    assert mask.shape == (512, 1024)
    assert np.argwhere(mask == 0).tolist() == [[5, 6]]
    assert got(store, "pixel_status", JUNGFRAU)[:, 5, 6].tolist() == [MASKED, MASKED, MASKED | 1]


def test_joints_are_refused_where_the_chips_are_not_known(opal: Store) -> None:
    with pytest.raises(Invalid, match=r"where the chips of .* meet is not known"):
        made(opal, centre=1)


def test_a_mask_knows_the_panels_of_its_status(opal: Store) -> None:
    key = ("Camera::CalibV1", OPAL.partition("/")[2])

    def with_serials(version: Any) -> Move:
        detector = version.detector(key)
        by_range = {
            runs: replace(constant, serials=("opal-7",))
            for runs, constant in detector.manifest.constants["pixel_status"].items()
        }
        return Move(with_type(version, key, "pixel_status", by_range), "know the panel")

    move(opal, ref_name(REF), with_serials, stamp(), "set")
    made(opal, apply_to="pixel_status")

    for type_name in ("pixel_mask", "pixel_status"):
        assert opal[REF][OPAL].at(1)[type_name].constant.serials == ("opal-7",)


def test_a_detector_of_lcls2_is_masked_by_its_kind(store: Store) -> None:
    key = ("jungfrau", "jungfrau_0")
    status = np.zeros((3, 1, 512, 1024), np.uint16)
    status[1, 0, 7, 8] = 1
    by_range = {ALL: Constant(arrays.put(store.backend, status))}
    move(
        store,
        ref_name(REF),
        lambda version: Move(with_type(version, key, "pixel_status", by_range), "a dark"),
        stamp(),
        "set",
    )

    made(store, "jungfrau_0", centre=1, apply_to="pixel_status")

    mask = got(store, "pixel_mask", "jungfrau_0")
    assert mask.shape == (1, 512, 1024)
    assert np.flatnonzero(~mask[0].any(axis=0)).tolist() == [255, 256, 511, 512, 767, 768]
    assert mask[0, 7, 8] == 0
    assert (got(store, "pixel_status", "jungfrau_0")[:, 0, 7, 8] & MASKED).all()


def test_an_opaque_status_is_told_from_an_array(store: Store) -> None:
    key = ("Camera::CalibV1", OPAL.partition("/")[2])
    by_range = {ALL: Constant(objects.put(store.backend, objects.BLOBS, b"nan\n"))}
    move(
        store,
        ref_name(REF),
        lambda version: Move(with_type(version, key, "pixel_status", by_range), "imported"),
        stamp(),
        "set",
    )

    with pytest.raises(Invalid, match="is an opaque file, and a mask needs an array"):
        made(store)


def test_a_tag_is_refused(opal: Store) -> None:
    api.tag(opal, REF, "cxis0113/published", stamp())

    with pytest.raises(Invalid):
        make_mask(opal, "cxis0113/published", OPAL, MaskRequest(), stamp())


def test_what_was_masked_on_request_is_no_finding_of_check(store: Store) -> None:
    put(store, JUNGFRAU, "pixel_status", np.zeros((3, 1, 512, 1024), np.uint16))
    made(store, JUNGFRAU, status_bits=0x7F, edges=200, apply_to="pixel_status")

    found = api.check(store[REF])

    assert [finding.what for detector in found.detectors for finding in detector.findings] == []


# --- the command ---------------------------------------------------------------------------


@pytest.fixture
def command(calstore: Calstore, tmp_path: Path) -> Calstore:
    status = opal_status()
    (tmp_path / "status.npy").write_bytes(npy_bytes(status))
    (tmp_path / "none").mkdir()
    assert calstore("import", tmp_path / "none", REF).code == 0
    done = calstore("set", REF, OPAL, "pixel_status", "137-end", tmp_path / "status.npy")
    assert done.code == 0, done.err
    return calstore


def test_the_table_says_what_each_cause_masks_and_what_comes_next(command: Calstore) -> None:
    plain = command("mask", REF, "Opal", "--edges", 2, "-m", "try")
    applied = command("mask", REF, "Opal", "--edges", 2, "--apply")

    assert plain.code == applied.code == 0, plain.err + applied.err
    lines = plain.out.splitlines()
    assert lines[0] == "CxiDg1.0:Opal1000.0 137-end, 600 pixels"
    causes = {line.split()[0]: line.split()[1] for line in lines[1:4]}
    bad = opal_status() != 0
    assert causes["status"] == str(np.count_nonzero(bad))
    assert causes["edges"] == str(600 - 16 * 26)
    assert causes["masked"] == str(600 - 16 * 26 + np.count_nonzero(bad[2:-2, 2:-2]))
    assert lines[4].startswith(f"{REF}@3  xxh128:")
    assert "--apply" in plain.out
    assert f"calstore materialize {REF} DEST" in plain.out
    assert "16384" in applied.out
    assert (plain.err, applied.err) == ("", "")


def test_a_second_time_says_unchanged(command: Calstore) -> None:
    command("mask", REF, "Opal", "--apply")

    assert "  unchanged\n" in command("mask", REF, "Opal", "--apply").out


def test_json_has_every_cause_and_null_where_none_was_asked_for(command: Calstore) -> None:
    outcome = command("mask", REF, "Opal", "--neighbours", 1, "--status-bits", "0b111", "--json")

    document = json.loads(outcome.out)
    (mask,) = document["masks"]
    assert mask["causes"]["edges"] is None
    assert mask["causes"]["status"] == np.count_nonzero(opal_status() & 7)
    assert document["applied_to"] is None
    assert document["record"]["what"] == "mask CxiDg1.0:Opal1000.0 137-end"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--status-bits", "many"), 5, "write a number, as 0xffff, 7 or 0b111"),
        (("--status-bits", "0x10000"), 5, "they are 0 to 0xffff"),
        (("--status-bits", "0", "--neighbours", "1"), 5, "neighbours of which pixels"),
        (("--apply-to", "pedestals"), 5, "pixel_status or status_extra, not into pedestals"),
        (("--drawn",), 5, "is in a file; name it"),
        (("--user", "absent.npy"), 5, "cannot read absent.npy"),
        (("--user", "."), 5, ". is no file"),
        (("--user", "bad.npy"), 5, "bad.npy: not an .npy file"),
        (("--user", "twos.txt"), 5, "twos.txt: a mask has 0 for bad and 1 for good pixels"),
        (("--user", "wrong.npy"), 3, "no geometry for CxiDg1.0:Opal1000.0 in runs 137-end"),
        (("--runs", "5"), 5, "no run range"),
        (("--runs", "5-20"), 3, "no pixel_status for CxiDg1.0:Opal1000.0 in runs 5-20"),
        (("--edges", "-1"), 2, "edges"),
        (("--edges", "10"), 5, "leaves no pixel"),
    ],
)
def test_wrong_input_is_said_in_a_line_and_the_ref_stays(
    words: tuple[str, ...], code: int, said: str, command: Calstore, tmp_path: Path
) -> None:
    (tmp_path / "bad.npy").write_bytes(b"no array")
    (tmp_path / "twos.txt").write_bytes(b"2 1\n1 1\n")
    (tmp_path / "wrong.npy").write_bytes(npy_bytes(np.ones((3, 4))))
    before = command("log", REF).out

    outcome = command("mask", REF, "Opal", *words)

    assert outcome.code == code, outcome.err
    assert said in outcome.err
    assert outcome.out == ""
    assert command("log", REF).out == before


def test_a_user_s_mask_is_the_same_from_npy_and_from_text(tmp_path: Path) -> None:
    mask = (np.arange(600).reshape(20, 30) % 7 != 0).astype(np.uint8)
    (tmp_path / "mask.npy").write_bytes(npy_bytes(mask.astype(bool)))
    np.savetxt(tmp_path / "plain.txt", mask)
    np.savetxt(tmp_path / "whole.txt", mask, "%d")

    for name in ("mask.npy", "plain.txt", "whole.txt"):
        read = read_users_mask(tmp_path / name)
        assert read.dtype == np.uint8
        assert np.array_equal(read, mask)
