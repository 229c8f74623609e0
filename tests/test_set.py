"""set gives runs what was asked for, as psana would have it, or refuses it."""

import numpy as np
import pytest
from builders import stamp

import calstore
from calstore.errors import Invalid, NotFound
from calstore.formats import psana_text_writer
from calstore.model.runs import END, RunRange

CSPAD = "CsPad::CalibV1/CxiDs1.0:Cspad.0"
CSPAD2X2 = "CsPad2x2::CalibV1/XppGon.0:Cspad2x2.0"
OPAL = "Camera::CalibV1/CxiDg1.0:Opal1000.0"
ALL = RunRange(0, END)


@pytest.fixture
def store(tmp_path, kept_place):
    (tmp_path / "calib").mkdir()
    store = calstore.init(kept_place, "0" * 32)
    calstore.import_tree(store, tmp_path / "calib", "cxis0113/main", stamp())
    return store


def put(store, detector, type_name, values, runs=ALL):
    return calstore.set_constant(
        store, "cxis0113/main", detector, type_name, runs, values, stamp("try")
    )


def got(store, detector, type_name, run=1):
    return store["cxis0113/main"][detector].at(run)[type_name].array


def test_an_array_is_stored_in_the_dtype_and_shape_that_psana_gives_it(store):
    values = np.random.default_rng(1).random((4, 8, 185, 388))

    put(store, CSPAD, "pedestals", values)

    array = got(store, CSPAD, "pedestals")
    assert (array.dtype, array.shape) == (np.float32, (32, 185, 388))
    assert np.array_equal(array, values.astype(np.float32).reshape(32, 185, 388))


def test_a_mask_of_booleans_is_a_mask(store):
    put(store, OPAL, "pixel_mask", np.array([[True, False]]))

    assert got(store, OPAL, "pixel_mask").tolist() == [[1, 0]]


@pytest.mark.parametrize(
    ("detector", "shape", "says"),
    [
        (CSPAD2X2, (2, 185, 388), "would take the values in another order"),
        (CSPAD2X2, (185, 388), "would use its default in silence"),
        (CSPAD, (32, 388, 185), "would take the values in another order"),
    ],
)
def test_a_shape_that_psana_would_drop_or_scramble_is_refused(store, detector, shape, says):
    with pytest.raises(Invalid, match=says):
        put(store, detector, "pixel_rms", np.ones(shape, dtype=np.float32))

    assert store["cxis0113/main"].record.number == 1


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e39])
def test_what_no_float32_holds_is_refused(store, value):
    with pytest.raises(Invalid, match="nan or inf in 1 of 2 values"):
        put(store, OPAL, "pedestals", np.array([1.0, value]))


def test_text_that_every_reader_takes_keeps_the_bytes_that_the_person_wrote(store, tmp_path):
    text = b"# by hand, after lunch\n" + psana_text_writer.write(
        np.array([[1.5, 2.5], [3.5, -0.0]], dtype=np.float32), type_name="pedestals"
    )

    put(store, OPAL, "pedestals", text, RunRange(5, 20))
    calstore.materialize(store, store["cxis0113/main"], tmp_path / "view")

    assert (tmp_path / "view" / OPAL / "pedestals" / "5-20.data").read_bytes() == text


def test_a_detector_that_is_not_there_is_named_as_it_could_be_added(store):
    with pytest.raises(NotFound, match=r"to add it, write Epix100a::CalibV1/XppGon\.0:Epix100a\.7"):
        put(store, "XppGon.0:Epix100a.7", "pixel_mask", np.ones((704, 768)))


def test_splitting_a_range_costs_no_content_and_keeps_where_it_came_from(store):
    put(store, OPAL, "pedestals", np.ones((2, 3)), RunRange(10, END))
    before = set(store.backend.list("objects/arrays/"))

    put(store, OPAL, "pedestals", np.ones((2, 3)) * 2, RunRange(5, 20))

    constants = store["cxis0113/main"][OPAL]
    assert {str(runs) for runs in constants.manifest.constants["pedestals"]} == {"5-20", "21-end"}
    assert len(set(store.backend.list("objects/arrays/")) - before) == 2
    assert constants.at(30)["pedestals"].provenance.record.number == 2
    assert constants.at(10)["pedestals"].provenance.record.number == 3
