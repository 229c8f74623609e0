"""Identity is exact: the same content, the same digest; any other content, another."""

import os
import random
import subprocess
import sys

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from calstore.errors import Corrupt, Invalid
from calstore.model.arrays import ITEM_SIZES, panels_of
from calstore.store import arrays
from calstore.store.local import LocalBackend
from calstore.store.memory import MemoryBackend
from calstore.store.objects import ARRAYS, key_of

any_array = hnp.arrays(
    dtype=st.sampled_from(sorted(ITEM_SIZES)).map(np.dtype),
    shape=hnp.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=9),
)


def identity(array):
    return arrays.put(MemoryBackend(), array)


def bits(array):
    return np.ascontiguousarray(array).tobytes()


@given(any_array)
def test_an_array_comes_back_bit_for_bit(array):
    backend = MemoryBackend()

    back = arrays.get(backend, arrays.put(backend, array))

    assert (back.dtype, back.shape, bits(back)) == (array.dtype, array.shape, bits(array))


@given(any_array)
def test_memory_layout_and_byte_order_do_not_change_the_identity(array):
    expected = identity(array)
    padded = np.zeros(tuple(2 * length for length in array.shape), array.dtype)
    strided = padded[(*(slice(None, None, 2) for _ in array.shape), ...)]
    strided[...] = array

    assert identity(np.array(array, order="F")) == expected
    assert identity(array.astype(array.dtype.newbyteorder(">"))) == expected
    assert identity(strided) == expected


def test_a_memory_map_and_another_process_give_the_same_identity(tmp_path):
    array = np.random.default_rng(5).normal(0, 1, (3, 2, 80, 70)).astype(np.float32)
    np.save(tmp_path / "a.npy", array)
    script = (
        "import numpy, sys; from calstore.store import arrays, memory; "
        "a = numpy.load(sys.argv[1], mmap_mode='r'); "
        "print(arrays.put(memory.MemoryBackend(), a).digest)"
    )

    printed = {
        subprocess.run(
            [sys.executable, "-c", script, tmp_path / "a.npy"],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("0", "1", "4711")
    }

    assert printed == {str(identity(array).digest)}


@settings(max_examples=30)
@given(any_array, st.data())
def test_an_array_that_zarr_chunked_otherwise_has_the_same_identity(array, data):
    chunks = tuple(data.draw(st.integers(1, max(length, 1))) for length in array.shape)
    stored = zarr.create_array(
        store=zarr.storage.MemoryStore(), shape=array.shape, chunks=chunks, dtype=array.dtype
    )
    stored[...] = array

    assert identity(np.asarray(stored[...])) == identity(array)


def test_neighbours_never_have_the_same_identity():
    """Other shapes, dtypes and single bits of the same content, in a large random sample."""
    source = random.Random(7)
    seen = {}
    for _ in range(300):
        size = 2 ** source.randint(3, 12)
        content = np.frombuffer(source.randbytes(size), np.uint8)
        flipped = content.copy()
        for _ in range(20):
            flipped[source.randrange(size)] ^= 1 << source.randrange(8)
            note(seen, flipped.copy())
        for dtype in sorted(ITEM_SIZES):
            if dtype == "bool":
                continue
            array = content.view(dtype)
            for axes in range(4):
                if array.size % 2**axes == 0:
                    note(seen, array.reshape((2,) * axes + (-1,)))
                    note(seen, array.reshape((1,) * axes + (-1,)))
                    note(seen, array.reshape((-1,) + (1,) * axes))
    for shape in [(), (1,), (0,), (0, 0), (0, 1), (1, 0), (2, 0, 3), (3, 0, 2)]:
        for dtype in sorted(ITEM_SIZES):
            note(seen, np.zeros(shape, dtype))

    assert len(seen) > 10_000


def note(seen, array):
    reference = identity_only(array)
    content = (str(array.dtype), array.shape, array.tobytes())
    assert seen.setdefault(reference, content) == content


def identity_only(array):
    from calstore.model.arrays import digest_of, sha256_of, split
    from calstore.model.digest import sha256, xxh128

    dtype, shape = str(array.dtype), array.shape
    panels = list(split(array.tobytes(), dtype, shape))
    return (
        digest_of(dtype, shape, [xxh128(panel) for panel in panels]),
        sha256_of(dtype, shape, [sha256(panel) for panel in panels]),
    )


def test_zeros_of_both_signs_and_payloads_of_nan_count():
    quiet, loud = np.array([0x7FC00000, 0x7FC00001], dtype=np.uint32).view(np.float32)

    assert identity(np.array([0.0])).digest != identity(np.array([-0.0])).digest
    assert identity(np.array([quiet])).digest != identity(np.array([loud])).digest


@pytest.mark.parametrize(
    ("dtype", "shape", "panel", "count"),
    [
        ("float32", (704, 768), (704, 768), 1),
        ("float32", (7, 16, 352, 384), (1, 1, 352, 384), 112),
        ("float32", (185, 388, 2), (185, 388, 2), 1),
        ("uint16", (3, 8, 512, 1024), (1, 1, 512, 1024), 24),
        ("float32", (7, 2, 40, 60), (1, 2, 40, 60), 7),
        ("uint8", (3, 128, 128), (1, 128, 128), 3),
        ("uint8", (3, 128, 127), (3, 128, 127), 1),
        ("float64", (), (), 1),
        ("float64", (3, 0, 5), (3, 0, 5), 1),
    ],
)
def test_panels_are_as_the_format_page_says(dtype, shape, panel, count):
    panels = panels_of(dtype, shape)

    assert (panels.shape, panels.count) == (panel, count)


@settings(max_examples=60)
@given(any_array)
def test_stock_zarr_reads_what_calstore_wrote(tmp_path_factory, array):
    root = tmp_path_factory.mktemp("store")
    backend = LocalBackend(root)
    reference = arrays.put(backend, array)

    stored = zarr.open_array(root / key_of(ARRAYS, reference.digest), mode="r")

    assert (stored.dtype, stored.shape) == (array.dtype, array.shape)
    assert bits(np.asarray(stored[...])) == bits(array)


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint16", "bool"])
def test_calstore_reads_a_shard_that_zarr_wrote(tmp_path, dtype):
    array = (np.random.default_rng(3).random((5, 90, 100)) * 3).astype(dtype)
    backend = LocalBackend(tmp_path)
    reference = arrays.put(backend, array)
    folder = tmp_path / key_of(ARRAYS, reference.digest)
    (folder / "c.0.0.0").unlink()

    zarr.open_array(folder, mode="r+").with_config({"write_empty_chunks": True})[...] = array

    assert bits(arrays.get(backend, reference)) == bits(array)


def test_an_array_is_returned_read_only():
    backend = MemoryBackend()
    array = arrays.get(backend, arrays.put(backend, np.ones((3, 4))))

    with pytest.raises(ValueError, match="read-only"):
        array[0, 0] = 2


@pytest.mark.parametrize(
    "array",
    [
        np.array([object()]),
        np.array(["text"]),
        np.array([1j]),
        np.array(["2026-01-01"], dtype="datetime64[D]"),
        np.zeros(2, dtype=[("a", "f4")]),
        np.zeros(2, dtype=np.longdouble),
    ],
    ids=lambda array: str(array.dtype),
)
def test_other_dtypes_are_refused(array):
    backend = MemoryBackend()

    with pytest.raises(Invalid, match="are not stored; use one of"):
        arrays.put(backend, array)

    assert list(backend.list("")) == []


def test_an_absent_panel_of_zeros_is_an_error_and_not_a_default(tmp_path):
    backend = LocalBackend(tmp_path)
    reference = arrays.put(backend, np.zeros((3, 200, 200), dtype=np.float32))
    shard = tmp_path / key_of(ARRAYS, reference.digest) / "c.0.0.0"
    data = bytearray(shard.read_bytes())
    data[-52:-36] = b"\xff" * 16
    shard.chmod(0o644)
    shard.write_bytes(data)

    with pytest.raises(Corrupt, match=r"index damaged|lacks a panel"):
        arrays.get(backend, reference)


def test_an_array_that_was_stored_before_is_not_hashed_with_sha256_again():
    backend = MemoryBackend()
    array = np.arange(12.0)
    reference = arrays.put(backend, array)
    known = {reference.digest: reference}

    assert arrays.put(backend, array, known.get) is reference
