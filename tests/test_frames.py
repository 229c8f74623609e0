"""Raw frames from npy, HDF5 and zarr: the same frames, the same digest, or a clear refusal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import zarr
from commandline import REAL_TREE, run
from hypothesis import given, settings
from hypothesis import strategies as st

import calstore
from calstore.darks.recipe import recipe_for
from calstore.errors import Invalid, NotFound
from calstore.frames import stacks
from calstore.frames.open_frames import open_frames
from calstore.frames.source import FrameSource, Part
from calstore.frames.stacks import Labels
from calstore.model.inputs import Selection
from calstore.repository.measure import Wanted, measure

EPIX = "XppGon.0:Epix100a.1"
LABELS = Labels("xppn4116", 137, EPIX)


def frames(*shape: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(3000, 5, shape).round().astype(np.uint16)


def npy(folder: Path, values: np.ndarray) -> str:
    np.save(folder / "a.npy", values)
    return str(folder / "a.npy")


def hdf5(folder: Path, values: np.ndarray, **how: object) -> str:
    with h5py.File(folder / "a.h5", "w") as file:
        file.create_dataset("entry/data", data=values, **how)
    return f"{folder / 'a.h5'}:/entry/data"


def chunked(folder: Path, values: np.ndarray) -> str:
    return hdf5(folder, values, chunks=(min(7, len(values)), *values.shape[1:]), compression="gzip")


def zarr_array(folder: Path, values: np.ndarray) -> str:
    place = folder / "a.zarr"
    array = zarr.create_array(
        str(place),
        shape=values.shape,
        chunks=(min(5, len(values) or 1), *values.shape[1:]),
        dtype=values.dtype,
        overwrite=True,
    )
    array[...] = values
    return str(place)


WRITERS: dict[str, Callable[[Path, np.ndarray], str]] = {
    "npy": npy,
    "npy-big": lambda folder, values: npy(folder, values.astype(values.dtype.newbyteorder(">"))),
    "npy-fortran": lambda folder, values: npy(folder, np.asfortranarray(values)),
    "hdf5": hdf5,
    "hdf5-big": lambda folder, values: hdf5(folder, values.astype(values.dtype.newbyteorder(">"))),
    "hdf5-chunked": chunked,
    "zarr": zarr_array,
}


def read(source: FrameSource, part: Part, selection: Selection) -> dict[int, np.ndarray]:
    (detector,) = source.contents().detectors
    found: dict[int, np.ndarray] = {}
    with source.blocks({detector.name: selection}, part) as blocks:
        for block in blocks:
            assert block.frames.flags.c_contiguous
            assert block.frames.dtype.isnative
            assert list(block.numbers) == sorted(set(block.numbers) - set(found))
            found.update(zip(block.numbers, block.frames, strict=True))
    return found


@pytest.mark.parametrize("name", WRITERS)
@settings(max_examples=20, deadline=None)
@given(
    count=st.integers(1, 140),
    of=st.integers(1, 4),
    rank=st.integers(0, 3),
    head=st.integers(0, 60),
    skip=st.integers(0, 20),
    most=st.integers(0, 80),
    size=st.sampled_from([1, 200, 5000, 2**25]),
)
def test_each_process_gets_its_frames_in_order_from_any_file(
    name: str,
    count: int,
    of: int,
    rank: int,
    head: int,
    skip: int,
    most: int,
    size: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    values = frames(count, 3, 4)
    part = Part(rank % of, of, head)
    selected = values[skip:][: most or None]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stacks, "_BLOCK_BYTES", size)
        source = open_frames(WRITERS[name](tmp_path_factory.mktemp("f"), values), LABELS)
        found = read(source, part, Selection(skip=skip, most=most))

    assert sorted(found) == [n for n in range(len(selected)) if part.needs(n)]
    assert all(np.array_equal(found[number], selected[number]) for number in found)


def test_the_same_frames_have_one_digest_in_every_format(tmp_path: Path) -> None:
    values = frames(70, 8, 12)
    digests = set()

    for name, write in WRITERS.items():
        (tmp_path / name).mkdir()
        source = open_frames(write(tmp_path / name, values), LABELS)
        (data,) = source.contents().detectors
        wanted = [Wanted(data, data.steps, recipe_for("robust", "Epix100a", "uint16"))]
        (measured,) = measure(source, wanted, Part()).values()
        digests.add(measured.frames.digest)

    assert len(digests) == 1


def test_a_dark_is_the_same_from_every_format_and_can_be_reproduced(tmp_path: Path) -> None:
    assert run("init", folder=tmp_path).code == 0
    values = frames(70, 8, 12)
    for name, write in WRITERS.items():
        (tmp_path / name).mkdir()
        file = write(tmp_path / name, values)
        words = ("dark", "xppn4116", 137, "--detector", EPIX, "--from", file)
        made = run(*words, "--ref", f"xppn4116/{name}", folder=tmp_path)
        assert made.code == 0, made.err

    store = calstore.open(tmp_path / ".calstore")
    assert len({store[f"xppn4116/{name}"].digest for name in WRITERS}) == 1
    (tmp_path / "npy" / "a.npy").unlink()
    assert run("reproduce", "xppn4116/zarr", folder=tmp_path).code == 0


def test_a_file_inside_the_data_directory_is_found_there_again(tmp_path: Path) -> None:
    assert run("init", folder=tmp_path).code == 0
    (tmp_path / "xtc").mkdir()
    assert run("config", "data-dir/xppn4116", tmp_path / "xtc", folder=tmp_path).code == 0
    text = hdf5(tmp_path, frames(70, 8, 12))
    words = ("dark", "xppn4116", 137, "--detector", EPIX, "--from", text)
    assert run(*words, folder=tmp_path).code == 0
    (tmp_path / "a.h5").rename(tmp_path / "xtc" / "a.h5")

    again = run("reproduce", "xppn4116/main", folder=tmp_path)

    assert (again.code, again.out[:4]) == (0, "same")


def test_a_translated_run_has_a_step_for_each_cycle(tmp_path: Path) -> None:
    path = tmp_path / "xppn4116-r0137.h5"
    with h5py.File(path, "w") as file:
        for step in range(2):
            cycle = f"Configure:0000/Run:0000/CalibCycle:{step:04d}"
            file[f"{cycle}/Epix::ElementV3/{EPIX}/image"] = frames(4, 8, 12, seed=step)
            file[f"{cycle}/Epix::ElementV3/{EPIX}/time"] = np.zeros(4)
            file[f"{cycle}/Epics::EpicsPv/EpicsArch.0:NoDevice.0/data"] = np.zeros(3)

    held = open_frames(str(path), Labels("xppn4116", 137)).contents()
    told = run("sources", path, folder=tmp_path)

    (detector,) = held.detectors
    assert (held.experiment, held.run, detector.name) == ("xppn4116", 137, EPIX)
    assert [step.events for step in detector.steps] == [4, 4]
    assert (told.code, told.out.splitlines()[0]) == (0, "xppn4116 run 137")
    assert f"{EPIX}" in told.out


def test_steps_of_other_shapes_are_no_one_detector(tmp_path: Path) -> None:
    assert run("init", folder=tmp_path).code == 0
    path = tmp_path / "xppn4116-r0137.h5"
    with h5py.File(path, "w") as file:
        for step, rows in enumerate((8, 9)):
            cycle = f"Configure:0000/Run:0000/CalibCycle:{step:04d}"
            file[f"{cycle}/Epix::ElementV3/{EPIX}/image"] = frames(60, rows, 12, seed=step)

    refused = run("dark", "xppn4116", 137, "--from", path, folder=tmp_path)

    assert refused.code == 5
    assert "those of one detector are alike" in refused.err
    assert run("refs", folder=tmp_path).out == ""


def test_attributes_say_what_nobody_else_does(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        data = file.create_dataset("raw", data=frames(4, 1, 8, 8))
        data.attrs.update({"detector": "jungfrau_0", "kind": "jungfrau", "mode": "G1"})
        data.attrs["serials"] = ["8000-1", "8000-2"]

    (detector,) = open_frames(f"{tmp_path}/a.h5:raw", Labels("x", 1)).contents().detectors

    assert (detector.name, detector.kind) == ("jungfrau_0", "jungfrau")
    assert (detector.serials, detector.steps[0].mode) == (("8000-1", "8000-2"), "G1")


BAD = {
    "floats": frames(5, 4, 4).astype(np.float64),
    "nan": np.full((5, 4, 4), np.nan, np.float32),
    "rank 2": frames(4, 4),
    "rank 5": frames(2, 2, 2, 2, 2),
    "empty": frames(5, 4, 4)[:0],
    "booleans": np.ones((5, 4, 4), bool),
    "64 bits": np.ones((5, 4, 4), np.uint64),
}


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("name", ["npy", "hdf5", "zarr"])
def test_what_is_no_raw_frames_is_refused_by_name(name: str, bad: str, tmp_path: Path) -> None:
    if (name, bad) == ("zarr", "empty"):
        pytest.skip("zarr has no chunks for it")
    text = WRITERS[name](tmp_path, BAD[bad])

    with pytest.raises(Invalid, match=r"raw frames are whole ADU|the shape"):
        open_frames(text, LABELS)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("no.npy", NotFound),
        ("no.h5:/x", NotFound),
        ("no.zarr", NotFound),
        ("a.h5:/other", NotFound),
        ("a.h5", Invalid),
        ("torn.h5:/entry/data", Invalid),
        ("torn.npy", Invalid),
        ("text.npy", Invalid),
        ("plain.zarr", Invalid),
        ("a.png", Invalid),
    ],
)
def test_a_file_that_is_not_there_or_not_whole_is_an_error_of_ours(
    text: str, error: type[Exception], tmp_path: Path
) -> None:
    hdf5(tmp_path, frames(40, 16, 16))
    npy(tmp_path, frames(40, 16, 16))
    for name in ("a.h5", "a.npy"):
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name.replace("a.", "torn.")).write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.npy").write_text("1 2 3\n")
    (tmp_path / "plain.zarr").mkdir()

    with pytest.raises(error) as caught:
        read(open_frames(str(tmp_path / text), LABELS), Part(), Selection())

    assert text.partition(":")[0] in str(caught.value)


def test_a_damaged_chunk_is_an_error_and_not_zeros(tmp_path: Path) -> None:
    text = chunked(tmp_path, frames(40, 16, 16))
    path = tmp_path / "a.h5"
    data = bytearray(path.read_bytes())
    with h5py.File(path) as file:
        where = file["entry/data"].id.get_chunk_info(2).byte_offset
    data[where : where + 8] = b"\xff" * 8
    path.write_bytes(data)

    with pytest.raises(Invalid, match="is the file whole"):
        read(open_frames(text, LABELS), Part(), Selection())


@pytest.mark.skipif(not REAL_TREE.exists(), reason="the real files are not here")
def test_real_frames_are_read(tmp_path: Path) -> None:
    (path,) = (REAL_TREE.parent / "frames").glob("*.npy")

    told = run("sources", path, folder=tmp_path)

    assert told.code in (0, 5)
    assert path.name in told.err or "uint16" in told.out or "int16" in told.out
