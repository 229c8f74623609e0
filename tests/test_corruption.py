"""Every file of a store is damaged in turn, in many ways: verify names it, and no read returns
anything but the right bytes."""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from builders import OPAL, small_files, stamp, write_files

from calstore.errors import CalstoreError, Corrupt, NotFound
from calstore.model.arrays import ArrayReference
from calstore.model.manifests import SetManifest
from calstore.model.runs import RunRange
from calstore.repository.branch import delete_ref, fork, tag
from calstore.repository.damage import reach
from calstore.repository.import_tree import import_tree
from calstore.repository.set_constant import set_constant
from calstore.repository.store import Store, init_store, open_store
from calstore.repository.verify import verify
from calstore.repository.version import CalibrationConstant
from calstore.store import arrays, logs, objects
from calstore.store.local import LocalBackend

MAIN = "cxis0113/main"
SANDBOX = "cxis0113/users/wilson/mask"
GONE = "cxis0113/users/wilson/gone"
TAG = "cxis0113/v1"
VERSIONS = [f"{MAIN}@1", f"{MAIN}@2", f"{MAIN}@3", f"{SANDBOX}@1", f"{SANDBOX}@2"]
VERSIONS += [f"{GONE}@1", f"{TAG}@1"]
TOMBSTONE = f"refs/{GONE}/00000002"  # leads to no constants that could be read
EXPECTED = [f"{MAIN}@3", f"{SANDBOX}@2", f"{GONE}@2", f"{TAG}@1"]

Contents = dict[tuple[str, ...], bytes]
"""Version, group, source, type, runs and what → the bytes that a reader gets."""


def odd_arrays() -> dict[str, np.ndarray]:
    """Arrays of every kind of shape and codec, by the run that they are for."""
    draw = np.random.default_rng(5)
    return {
        "0-0": draw.normal(size=(3, 64, 64)).astype(np.float32),  # three panels
        "1-1": draw.integers(0, 2**16, (5, 7), dtype=np.uint16),
        "2-2": draw.random((4, 9)) < 0.5,
        "3-3": np.array(2.5),
        "4-4": np.zeros((0, 5), np.float32),
        "5-5": np.zeros((40, 40), np.float32),
        "6-6": np.array([1, 2], np.float16),
        "7-7": draw.integers(0, 2**16, (5, 7), dtype=np.uint16),
    }


@pytest.fixture(scope="module")
def root(memory_path: Path) -> Path:
    """A store with everything that a store can have."""
    files = small_files()
    for runs, array in odd_arrays().items():
        stream = io.BytesIO()
        np.save(stream, array)
        files[f"{OPAL}/anything/{runs}.npy"] = stream.getvalue()
    tree = write_files(memory_path / "calib", files)
    store = init_store(memory_path / "store", "1" * 32)
    import_tree(store, tree, MAIN, stamp("as found"))
    tag(store, MAIN, TAG, stamp())
    fork(store, MAIN, SANDBOX, stamp())
    fork(store, MAIN, GONE, stamp())
    values = np.arange(12, dtype=np.float32).reshape(3, 4)
    set_constant(store, MAIN, "Opal1000", "pedestals", RunRange(5, 7), values, stamp())
    set_constant(store, SANDBOX, "Zyla", "geometry", RunRange(3, 4), b"IP 0 C 1 1 1\n", stamp())
    delete_ref(store, GONE, stamp("merged"))
    write_files(tree, {f"{OPAL}/pedestals/HISTORY": b"another line\n"})
    import_tree(store, tree, MAIN, stamp())
    return memory_path / "store"


def read_version(
    store: Store, name: str
) -> Iterator[tuple[tuple[str, ...], bytes | CalstoreError]]:
    """All that the Python interface gives of a version, or the error in its place."""
    try:
        version = store[name]
    except CalstoreError as error:
        yield (name,), error
        return
    for path, blob in version.manifest.files.items():
        yield (
            (name, path),
            _tried(lambda blob=blob: objects.get(store.backend, objects.BLOBS, blob)),
        )
    for key in version.detectors:
        try:
            detector = version.detector(key)
        except CalstoreError as error:
            yield (name, *key), error
            continue
        for type_name, by_range in detector.manifest.constants.items():
            for runs in by_range:
                constant = detector.at(run=runs.first)[type_name]
                assert constant.runs == runs
                for what in ("array", "data"):
                    if _has(constant, what):
                        found = _tried(lambda c=constant, what=what: _bytes(getattr(c, what)))
                        yield (name, *key, type_name, str(runs), what), found


def _has(constant: CalibrationConstant, what: str) -> bool:
    is_array = isinstance(constant.constant.content, ArrayReference)
    return is_array if what == "array" else not is_array or constant.constant.source is not None


def _tried(read: Callable[[], bytes]) -> bytes | CalstoreError:
    try:
        return read()
    except CalstoreError as error:
        return error


def _bytes(found: np.ndarray | bytes) -> bytes:
    if isinstance(found, bytes):
        return found
    return f"{found.dtype} {found.shape} ".encode() + found.tobytes()


def read_all(store: Store) -> Iterator[tuple[tuple[str, ...], bytes | CalstoreError]]:
    for name in VERSIONS:
        yield from read_version(store, name)


@dataclass(frozen=True)
class Whole:
    """The undamaged store: its files by kind, what they hold, and which versions need them."""

    root: Path
    files: dict[str, bytes]
    contents: Contents
    needed_by: dict[str, list[str]]

    def kind(self, key: str) -> str:
        """Files of one kind could be taken for each other."""
        parts = key.split("/")
        if parts[0] == "refs" or len(parts) == 1:
            return parts[0]
        return f"{parts[1]} {parts[4]}" if parts[1] == "arrays" else parts[1]

    def neighbour(self, key: str, same_kind: bool) -> str | None:
        """The next file, in a circle, of the same kind or of another."""
        keys = sorted(self.files)
        at = keys.index(key)
        for other in keys[at + 1 :] + keys[:at]:
            if (self.kind(other) == self.kind(key)) == same_kind and (
                self.files[other] != self.files[key]
            ):
                return other
        return None


@pytest.fixture(scope="module")
def whole(root: Path) -> Whole:
    store = open_store(root)
    contents = dict(read_all(store))
    assert all(isinstance(found, bytes) for found in contents.values())
    keys = list(store.backend.list(""))
    found = reach(store)
    needed = {key: found.versions(key) for key in keys if key.startswith("objects/")}
    assert all(needed.values())
    assert verify(store, expected=EXPECTED).damages == ()
    return Whole(root, {key: store.backend.get(key) for key in keys}, contents, needed)


def put(root: Path, key: str, data: bytes | None) -> None:
    """Let a file hold these bytes, or be gone."""
    path = root / key
    path.unlink(missing_ok=True)
    if data is not None:
        path.write_bytes(data)


def check(whole: Whole, damaged: dict[str, bytes | None], what: str) -> int:
    """Damage some files, look, and mend them. Returns how many reads were refused."""
    for key, data in damaged.items():
        put(whole.root, key, data)
    try:
        check_verify(whole, damaged, what)
        return check_reads(whole, damaged, what)
    finally:
        for key in damaged:
            put(whole.root, key, whole.files[key])


def check_verify(whole: Whole, damaged: dict[str, bytes | None], what: str) -> None:
    try:
        # The id is known from before: also a damaged calstore.json is verify's to find.
        store = Store(LocalBackend(whole.root), "1" * 32)
        found = verify(store, expected=EXPECTED).damages
    except Corrupt as error:
        if "calstore.json" not in damaged or error.key != "calstore.json":
            raise AssertionError(f"{what}: verify gave up") from error
        return
    for key in damaged:
        named = [damage for damage in found if _object(damage.key) == _object(key)]
        assert named, f"{what}: verify says nothing of {key}"
        assert any(str(whole.root / _object(key)) in damage.message for damage in named), what
        if key in whole.needed_by:
            check_versions(named[0].versions, whole.needed_by[key], len(damaged), what)
    innocent = {_object(damage.key) for damage in found} - {_object(key) for key in damaged}
    # A record is also blamed when the one that names it as a parent cannot be believed.
    assert all(key.startswith("refs/") for key in innocent), f"{what}: blames {innocent}"


def check_versions(named: Iterable[str], needed: list[str], damaged: int, what: str) -> None:
    """Just those versions are named that need a file, as far as other damage lets it be known."""
    if damaged == 1:
        assert sorted(named) == sorted(needed), what
    else:
        assert set(named) <= set(needed), what


def check_reads(whole: Whole, damaged: dict[str, bytes | None], what: str) -> int:
    try:
        store = open_store(whole.root)
    except Corrupt:
        if "calstore.json" not in damaged:
            raise
        return 1
    refused = 0
    for place, found in read_all(store):
        if isinstance(found, bytes):
            assert found == whole.contents[place], f"{what}: wrong bytes at {place}"
            continue
        refused += 1
        assert isinstance(found, (Corrupt, NotFound)), f"{what}: {found!r} at {place}"
        blamed = [key for key in damaged if str(whole.root / _object(key)) in str(found)]
        if isinstance(found, NotFound):
            assert any(key.startswith("refs/") for key in damaged), f"{what}: {found!r}"
        else:
            assert blamed, f"{what}: {found} does not name the file"
        for key in blamed:
            # Loose files are read below the interface that knows of versions.
            if key in whole.needed_by and len(place) != 2:
                named = [version for version in VERSIONS if version in str(found)]
                assert place[0] in named, f"{what}: {found} does not name {place[0]}"
                check_versions(named, whole.needed_by[key], len(damaged), what)
    return refused


def _object(key: str) -> str:
    """An array's files are one object."""
    return key.rsplit("/", 1)[0] if key.startswith("objects/arrays/") else key


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def test_one_flipped_bit_in_each_file_is_found_and_never_read_as_good(whole: Whole) -> None:
    seed = random.SystemRandom().randrange(2**32)
    draw = random.Random(seed)

    for key, data in whole.files.items():
        bit = draw.randrange(8 * len(data)) if data else None
        if bit is not None:
            refused = check(whole, {key: flipped(data, bit)}, f"seed {seed}, {key}, bit {bit}")
            assert refused or key == TOMBSTONE, f"seed {seed}: nothing needs {key}"


SIZES: dict[str, Callable[[bytes], bytes | None]] = {
    "emptied": lambda data: b"",
    "halved": lambda data: data[: len(data) // 2],
    "shortened": lambda data: data[:-1],
    "extended": lambda data: data + b"\0",
    "removed": lambda data: None,
}


@pytest.mark.parametrize("how", SIZES)
def test_each_file_cut_extended_or_removed_is_found_and_never_read_as_good(
    whole: Whole, how: str
) -> None:
    for key, data in whole.files.items():
        refused = check(whole, {key: SIZES[how](data)}, f"{key} {how}")

        assert refused or key == TOMBSTONE, f"{key} {how}: nothing needs it"


@pytest.mark.parametrize("same_kind", [True, False], ids=["same-kind", "another-kind"])
def test_each_file_swapped_with_a_neighbour_is_found_and_never_read_as_good(
    whole: Whole, same_kind: bool
) -> None:
    swaps = 0
    for key, data in whole.files.items():
        other = whole.neighbour(key, same_kind)
        if other is not None:
            swaps += 1
            check(whole, {key: whole.files[other], other: data}, f"{key} swapped with {other}")
    assert swaps > 30


def test_every_bit_of_a_record_counts(whole: Whole) -> None:
    store, log = open_store(whole.root), f"refs/{MAIN}"
    key = f"{log}/00000002"
    data = whole.files[key]

    try:
        for bit in range(8 * len(data)):
            put(whole.root, key, flipped(data, bit))
            with pytest.raises(Corrupt, match="00000002"):
                logs.read(store.backend, log, 2)
    finally:
        put(whole.root, key, data)


def test_every_bit_of_calstore_json_counts(whole: Whole) -> None:
    data = whole.files["calstore.json"]

    try:
        for bit in range(8 * len(data)):
            put(whole.root, "calstore.json", flipped(data, bit))
            with pytest.raises(Corrupt, match=r"calstore\.json"):
                open_store(whole.root)
    finally:
        put(whole.root, "calstore.json", data)


def test_every_byte_of_an_array_counts(whole: Whole) -> None:
    store = open_store(whole.root)
    detector = store[MAIN].detector(("Camera::CalibV1", "CxiDg1.0:Opal1000.0"))
    references = [
        constant.content
        for runs, constant in detector.manifest.constants["anything"].items()
        if runs.first in (1, 2, 3, 6)
    ]
    tried = 0

    for reference in references:
        assert isinstance(reference, ArrayReference)
        right = arrays.get(store.backend, reference).tobytes()
        folder = objects.key_of(objects.ARRAYS, reference.digest)
        for key in store.backend.list(f"{folder}/"):
            data = whole.files[key]
            try:
                for at in range(len(data)):
                    put(whole.root, key, flipped(data, 8 * at + at % 8))
                    with pytest.raises(Corrupt):
                        arrays.get(store.backend, reference)
                    tried += 1
            finally:
                put(whole.root, key, data)
        assert arrays.get(store.backend, reference).tobytes() == right
    assert tried > 1000


def test_a_lost_newest_record_is_found_by_who_saw_it(whole: Whole) -> None:
    store, key = open_store(whole.root), f"refs/{MAIN}/00000003"

    try:
        put(whole.root, key, None)
        unaware, aware = verify(store), verify(store, expected=[f"{MAIN}@3"])
    finally:
        put(whole.root, key, whole.files[key])

    assert unaware.damages == ()
    assert [damage.key for damage in aware.damages] == [key]


@pytest.mark.parametrize("number", [1, 2])
def test_a_gap_in_a_log_is_corrupt_to_whoever_lists_it(whole: Whole, number: int) -> None:
    store, key = open_store(whole.root), f"refs/{MAIN}/{number:08d}"

    try:
        put(whole.root, key, None)
        for look in (
            lambda: list(store),
            lambda: list(logs.history(store.backend, f"refs/{MAIN}")),
        ):
            found = _tried(look)

            assert not isinstance(found, NotFound), f"{found!r} for a gap at @{number}"
        with pytest.raises(Corrupt, match=f"{number:08d}"):
            list(logs.history(store.backend, f"refs/{MAIN}"))
    finally:
        put(whole.root, key, whole.files[key])


def test_a_record_that_is_whole_but_not_the_one_built_upon_is_found(whole: Whole) -> None:
    store, key = open_store(whole.root), f"refs/{MAIN}/00000002"
    record = logs.read(store.backend, f"refs/{MAIN}", 2).record

    try:
        put(whole.root, key, replace(record, stamp=stamp("another story")).encoded())
        found = verify(store)
        with pytest.raises(Corrupt, match="00000002 is not the record"):
            list(logs.history(store.backend, f"refs/{MAIN}"))
    finally:
        put(whole.root, key, whole.files[key])

    assert [damage.key for damage in found.damages] == [key]


def test_a_put_over_a_file_of_the_wrong_size_is_no_success(whole: Whole) -> None:
    store = open_store(whole.root)
    manifest = store[f"{MAIN}@1"].manifest
    detector = store[f"{MAIN}@1"].detector(("Camera::CalibV1", "CxiDg1.0:Opal1000.0")).manifest
    assert isinstance(manifest, SetManifest)

    for runs, constant in detector.constants["anything"].items():
        reference = constant.content
        assert isinstance(reference, ArrayReference)
        array = arrays.get(store.backend, reference)
        folder = objects.key_of(objects.ARRAYS, reference.digest)
        for key in list(store.backend.list(f"{folder}/")):
            try:
                put(whole.root, key, whole.files[key][:-1])
                found = _tried(lambda array=array: arrays.put(store.backend, array))
                assert isinstance(found, Corrupt), f"a put of {runs} over a truncated {key}"
            finally:
                put(whole.root, key, whole.files[key])
    for folder in (objects.BLOBS, objects.MANIFESTS):
        for key in store.backend.list(folder):
            try:
                put(whole.root, key, whole.files[key][:-1])
                with pytest.raises(Corrupt, match=key):
                    objects.put(store.backend, folder, whole.files[key])
            finally:
                put(whole.root, key, whole.files[key])


def test_a_put_heals_what_was_removed(whole: Whole) -> None:
    store = open_store(whole.root)
    detector = store[f"{MAIN}@1"].detector(("Camera::CalibV1", "CxiDg1.0:Opal1000.0")).manifest

    for constant in detector.constants["anything"].values():
        reference = constant.content
        assert isinstance(reference, ArrayReference)
        array = arrays.get(store.backend, reference)
        folder = objects.key_of(objects.ARRAYS, reference.digest)
        for key in list(store.backend.list(f"{folder}/")):
            try:
                put(whole.root, key, None)
                arrays.put(store.backend, array)
                assert arrays.get(store.backend, reference).tobytes() == array.tobytes()
            finally:
                put(whole.root, key, whole.files[key])
