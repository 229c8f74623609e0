"""Bad input gets one clear line and an exit code, and leaves the store as it was.

The tables below are the promise: what is refused, by which error, in which words.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from builders import stamp
from commandline import (
    OPAL,
    Outcome,
    npy_bytes,
    pedestals_text,
    regular_files,
    run,
    snapshot,
    spawn,
    write_tree,
)

import calstore as api
from calstore.cli.exit_codes import EXIT_CODES
from calstore.errors import CalstoreError, Conflict, Corrupt, Invalid, NotFound
from calstore.model.arrays import digest_of
from calstore.model.canonical import encode
from calstore.model.digest import Digest, Reference, reference_to, xxh128
from calstore.model.records import BRANCH, Record
from calstore.store import logs

ZYLA = "Camera::CalibV1/CxiDg2.0:Zyla.1"
GROUP, SOURCE = OPAL.split("/")
HUGE = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000, 1000000), }"
OTHER_USER = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--")

FILES = {
    "good.npy": npy_bytes(np.ones((3, 4), np.float32)),
    "object.npy": npy_bytes(np.array([{}, None], dtype=object), pickled=True),
    "truncated.npy": npy_bytes(np.ones((3, 4), np.float32))[:-4],
    "huge.npy": b"\x93NUMPY\x01\x00" + len(HUGE).to_bytes(2, "little") + HUGE + b"1234",
    "no.npy": b"not an npy file at all",
    "nan.npy": npy_bytes(np.array([[1, np.nan]], np.float32)),
    "inf.npy": npy_bytes(np.array([[1, 1e39]], np.float64)),
    "two.npy": npy_bytes(np.array([[0, 1, 2]], np.uint8)),
    "half.npy": npy_bytes(np.array([[0, 0.5]], np.float32)),
    "status.npy": npy_bytes(np.array([[0, 65536]], np.int64)),
    "negative.npy": npy_bytes(np.array([[0, -1]], np.int64)),
    "complex.npy": npy_bytes(np.ones((2, 2), np.complex64)),
    "text.npy": npy_bytes(np.array(["a", "b"])),
    "empty.npy": npy_bytes(np.ones((0, 4), np.float32)),
    "scalar.npy": npy_bytes(np.float32(1)),
    "empty.data": b"",
    "header.data": b"# DTYPE float32\n# NDIM 1\n# DIM:0 4\n",
    "nan.data": b"# DTYPE float32\n# NDIM 2\n# DIM:0 2\n# DIM:1 2\n\n1 nan\n3 4\n",
    "commas.data": b"# DTYPE float32\n# NDIM 1\n# DIM:0 3\n\n1,2,3\n",
    "ragged.data": b"# DTYPE float32\n# NDIM 2\n# DIM:0 2\n# DIM:1 2\n\n1 2\n3\n",
    "floats.data": b"# DTYPE float32\n# NDIM 2\n# DIM:0 2\n# DIM:1 2\n\n1.0 2.0\n3.0 4.0\n",
    "latin.data": b"# caf\xe9\n1 2 3\n",
    "dims.data": b"# DTYPE float32\n# NDIM 3\n# DIM:0 9\n# DIM:1 9\n# DIM:2 9\n\n1 2\n3 4\n",
    "pickle.data": b"# DTYPE object\n\n1 2 3\n",
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store and files; tests work on copies."""
    folder = tmp_path_factory.mktemp("built")
    tree = write_tree(
        folder / "calib",
        {
            f"{OPAL}/pedestals/1-end.data": pedestals_text(1),
            f"{OPAL}/geometry/0-end.data": b"IP 0 CAMERA 0  0 0 0  0 0 0  0 0 0\n",
            f"{ZYLA}/pedestals/1-end.data": pedestals_text(2),
            "notes.txt": b"by hand\n",
        },
    )
    write_tree(folder, FILES)
    for words in (
        ("init",),
        ("import", tree, "xpp/main"),
        ("tag", "xpp/main", "xpp/published"),
        ("fork", "xpp/main", "xpp/gone"),
        ("delete-ref", "xpp/gone"),
    ):
        assert run(*words, folder=folder).code == 0
    return folder


@pytest.fixture
def folder(built: Path, tmp_path: Path) -> Path:
    return shutil.copytree(built, tmp_path / "work")


def store_in(folder: Path) -> api.Store:
    return api.open(folder / ".calstore")


def check_refusal(
    outcome: Outcome, kind: type[CalstoreError], fragment: str, *, lines: int = 1
) -> None:
    """One clear line on stderr, nothing on stdout, the exit code of the error's class."""
    assert "Traceback" not in outcome.err
    assert outcome.code == EXIT_CODES[kind], outcome.err
    assert outcome.out == ""
    assert outcome.err.startswith("calstore: ")
    assert outcome.err.count("\n") == lines
    assert outcome.err.rstrip("\n").isprintable() or lines > 1
    assert fragment in outcome.err


def to_set(*, file: str = "good.npy", type_name: str = "pedestals", **other: str) -> list[str]:
    detector, runs = other.get("detector", "Opal"), other.get("runs", "5-20")
    return ["set", other.get("ref", "xpp/main"), detector, type_name, runs, file]


NAME = "a component begins with a letter or digit"
SHAPE = "is not of the form <experiment>/<name>"
RANGE = "is no run range; write <first>-<last> or <first>-end"

REF_NAMES: list[tuple[str, str]] = [
    ("xpp/..", NAME),
    ("../xpp/main", NAME),
    ("xpp/../../etc/passwd", NAME),
    ("/xpp/main", NAME),
    ("xpp//main", NAME),
    ("xpp/main/", NAME),
    ("", NAME),
    ("xpp", SHAPE),
    ("xpp/a/b", SHAPE),
    ("xpp/nu\0l", r"'nu\x00l'"),
    ("xpp/new\nline", r"'new\nline'"),
    ("xpp/.hidden", NAME),
    ("xpp/:colon", NAME),
    (":xpp/main", NAME),
    ("xpp:main", SHAPE),
    ("xpp/a b", NAME),
    ("xpp/naïve", NAME),
    ("xpp/٣", NAME),
    ("xpp/12345678", "eight digits name a record"),
    ("xpp/main.lock", "ends in .lock"),
    ("xpp/Main", "differs from xpp/main in case alone"),
    ("XPP/other", "differs from xpp in case alone"),
    ("xpp/" + "a" * 129, "at most 128"),
    ("xpp/users", SHAPE),
    ("users/wilson", SHAPE),
    ("users/users/a/b", SHAPE),
    ("xpp/users/wilson", SHAPE),
    ("xpp/users/wilson/a/b", SHAPE),
    ("detectors/epix", SHAPE),
    ("detectors/users/a/b", SHAPE),
    ("xpp/new@3", "names a record of xpp/new, which never changes"),
    ("xpp/new@", "xpp/new@"),
    ("@3", "which never changes"),
]

REQUESTS: list[tuple[list[str], type[CalstoreError], str]] = [
    # what is asked for is not there
    (["log", "xpp/nothing"], NotFound, "there is no ref xpp/nothing"),
    (["show", "xpp/main@99"], NotFound, "its newest is xpp/main@1"),
    (["show", "xpp/gone"], NotFound, "xpp/gone@1 is still there"),
    (["show", "xpp/gone@2"], NotFound, "xpp/gone@2 deletes the ref"),
    (["show", "xxh128:000000"], NotFound, "no object begins with xxh128:000000"),
    (["delete-ref", "xpp/nothing"], NotFound, "there is no ref xpp/nothing"),
    (["delete-ref", "xpp/gone"], NotFound, "was deleted"),
    (["verify", "xpp/nothing"], NotFound, "there is no ref"),
    (["show", "xpp/main", "Jungfrau"], NotFound, "it has CxiDg2.0:Zyla.1, XppEnd"),
    (["show", "xpp/main", "Opal", "pixel_mask"], NotFound, "no pixel_mask"),
    (["fork", "xpp/nothing", "xpp/new"], NotFound, "there is no ref xpp/nothing"),
    (["tag", "xpp/main@7", "xpp/new"], NotFound, "there is no record xpp/main@7"),
    # records and digests that are spelled wrong
    (["show", "xpp/main@0"], Invalid, "is no record; write xpp/main@1"),
    (["show", "xpp/main@"], Invalid, "is no record"),
    (["show", "xpp/main@1@2"], Invalid, "is no record"),
    (["show", "xpp/main@٣"], Invalid, "is no record"),
    (["show", "xpp/main@-1"], Invalid, "is no record"),
    (["show", "xxh128:12345"], Invalid, "write xxh128: and 6 to 32 of 0-9a-f"),
    (["show", "xxh128:ABCDEF"], Invalid, "is no digest"),
    (["show", "xxh128:../../x"], Invalid, "is no digest"),
    (["show", "sha256:" + "0" * 64], Invalid, SHAPE),
    (["verify", "--expect", "xpp/main"], Invalid, "is no record"),
    (["log", "xpp/main@1"], Invalid, "name the ref: xpp/main"),
    (["delete-ref", "xpp/main@1"], Invalid, "name the ref: xpp/main"),
    # who was there first
    (["fork", "xpp/main", "xpp/published"], Conflict, "there is a ref xpp/published already"),
    (["tag", "xpp/main", "xpp/main"], Conflict, "choose another name"),
    (["tag", "xpp/main", "xpp/gone"], Invalid, "a tag's name is not used again"),
    (["init"], Conflict, "there is a store already"),
    (["init", "calib"], Invalid, "is not empty"),
    (["init", "good.npy"], Invalid, "good.npy"),
    # run ranges
    (to_set(runs="7-foo"), Invalid, RANGE),
    (to_set(runs="10-5"), Invalid, "is reversed; did you mean 5-10?"),
    (to_set(runs="0-12000"), Invalid, "12000"),
    (to_set(runs="10000-end"), Invalid, "not at 10000"),
    (to_set(runs="137"), Invalid, "write 137-137 for one run, 137-end for all from it"),
    (to_set(runs="5--1"), Invalid, RANGE),
    (to_set(runs=""), Invalid, RANGE),
    (to_set(runs="٣-٤"), Invalid, RANGE),
    (to_set(runs="٣"), Invalid, RANGE),
    (to_set(runs="1 - 2"), Invalid, RANGE),
    (to_set(runs="5-END"), Invalid, RANGE),
    (to_set(runs="5-4294967295"), Invalid, "write 'end'"),
    (to_set(runs="1-" + "9" * 5000), Invalid, "run range"),
    # detectors and types
    (to_set(detector="Jungfrau"), NotFound, "no detector 'Jungfrau'"),
    (to_set(detector="Camera"), Invalid, "is a part of several detectors"),
    (to_set(detector=""), Invalid, "an empty text names no detector"),
    (to_set(detector="No::Group/"), Invalid, "which no file may have"),
    (to_set(detector="No::Group/.."), Invalid, "which no file may have"),
    (to_set(detector="No::Group/a/b"), Invalid, "which no file may have"),
    (to_set(detector="No::Group/" + "a" * 256), Invalid, "at most 255"),
    (to_set(type_name="a/b"), Invalid, "which no file may have"),
    (to_set(type_name=".."), Invalid, "which no file may have"),
    (to_set(type_name=""), Invalid, "which no file may have"),
    (to_set(type_name="a\0b"), Invalid, "which no file may have"),
    (to_set(ref="xpp/published"), Invalid, "is a tag, which never moves"),
    (to_set(ref="xpp/main@1"), Invalid, "name the ref"),
    # files
    (to_set(file="nothing.npy"), Invalid, "cannot read nothing.npy"),
    (to_set(file="calib"), Invalid, "calib is no file of at most"),
    (to_set(file="object.npy"), Invalid, "object"),
    (to_set(file="truncated.npy"), Invalid, "cut short"),
    (to_set(file="huge.npy"), Invalid, "whose header says 4000000000000"),
    (to_set(file="no.npy"), Invalid, "not an .npy file"),
    (to_set(file="complex.npy"), Invalid, "complex64"),
    (to_set(file="text.npy"), Invalid, "constants are numbers"),
    (to_set(file="empty.npy"), Invalid, "shape (0, 4)"),
    (to_set(file="scalar.npy"), Invalid, "shape ()"),
    (to_set(file="nan.npy"), Invalid, "nan or inf in 1 of 2 values of pedestals"),
    (to_set(file="inf.npy"), Invalid, "nan or inf in 1 of 2 values of pedestals"),
    (to_set(file="nan.npy", type_name="pixel_mask"), Invalid, "nan or inf"),
    (to_set(file="two.npy", type_name="pixel_mask"), Invalid, "readers take 0 to 1"),
    (to_set(file="half.npy", type_name="pixel_mask"), Invalid, "cannot hold"),
    (to_set(file="status.npy", type_name="pixel_status"), Invalid, "readers take 0 to 65535"),
    (to_set(file="negative.npy", type_name="pixel_status"), Invalid, "from -1 to 0"),
    (to_set(file="good.npy", type_name="geometry"), Invalid, "geometry is not an array"),
    (to_set(file="empty.data"), Invalid, "an empty file for pedestals"),
    (to_set(file="header.data"), Invalid, "no number in the text"),
    (to_set(file="nan.data"), Invalid, "psana's C++ reader throws"),
    (to_set(file="commas.data"), Invalid, "psana would use its default"),
    (to_set(file="ragged.data"), Invalid, "psana would use its default"),
    (to_set(file="latin.data"), Invalid, "not UTF-8"),
    (to_set(file="dims.data"), Invalid, "under a header that says (9, 9, 9)"),
    (to_set(file="pickle.data"), Invalid, "psana would use its default"),
    (to_set(file="floats.data", type_name="pixel_status"), Invalid, "AMI drops the file"),
    (to_set(file="empty.data", type_name="geometry"), Invalid, "empty"),
    # reading
    (["get", "xpp/main", "Opal", "pedestals", "--run", "0", "-o", "x"], NotFound, "nearest range"),
    (["get", "xpp/main", "Opal", "geometry", "--run", "1", "-o", "x.npy"], Invalid, "opaque file"),
    (["get", "xpp/main", "Opal", "pedestals", "--run", "1", "-o", "no/x"], Invalid, "cannot write"),
    (["get", "xpp/main", "Opal", "pedestals", "--run", "1", "-o", "calib"], Invalid, "calib"),
    (
        ["materialize", "xpp/main", "view", "--layout", "zip"],
        Invalid,
        "choose one of psana, version, npy",
    ),
    (["import", "nowhere", "xpp/main"], Invalid, "cannot list nowhere"),
    (["import", "notes.txt", "xpp/main"], Invalid, "cannot list notes.txt"),
    (["import", "calib", "xpp/published/x"], Invalid, SHAPE),
    (["fork", "xpp/main", "xpp/new", "-m", "x" * 20000], Invalid, "16 KiB"),
    # which store
    (["--store", "nowhere", "refs"], NotFound, "is no calstore store; make one with"),
    (["--store", "calib", "refs"], NotFound, "is no calstore store"),
    (["--store", "good.npy", "refs"], NotFound, "is no calstore store"),
    (["--store", "a\0b", "refs"], Invalid, "is no path of a store"),
]


def identity(words: list[str]) -> str:
    return " ".join(word if len(word) < 40 else word[:37] + "..." for word in words)


def test_the_tables_are_long_enough() -> None:
    assert len(REF_NAMES) + len(REQUESTS) + len(HOSTILE) > 40


@pytest.mark.parametrize(("name", "fragment"), REF_NAMES, ids=[repr(n)[:40] for n, _ in REF_NAMES])
def test_a_name_that_no_ref_may_have_is_refused(folder: Path, name: str, fragment: str) -> None:
    before = snapshot(folder)

    for words in (["fork", "xpp/main"], ["tag", "xpp/main"], ["import", "calib"]):
        check_refusal(run(*words, name, folder=folder), Invalid, fragment)

    assert snapshot(folder) == before


@pytest.mark.parametrize(
    ("words", "kind", "fragment"), REQUESTS, ids=[identity(words) for words, _, _ in REQUESTS]
)
def test_a_request_that_cannot_be_met_changes_nothing(
    folder: Path, words: list[str], kind: type[CalstoreError], fragment: str
) -> None:
    before = snapshot(folder)

    outcome = run(*words, folder=folder)

    check_refusal(outcome, kind, fragment)
    assert snapshot(folder) == before


def test_an_empty_detector_is_none_even_where_there_is_one_alone(folder: Path) -> None:
    one = write_tree(folder / "one", {f"{OPAL}/pedestals/1-end.data": pedestals_text()})
    assert run("import", one, "cxi/main", folder=folder).code == 0

    for words in (["show", "cxi/main", ""], to_set(ref="cxi/main", detector="")):
        assert run(*words, folder=folder).code in (3, 5)


def test_a_range_that_looks_like_an_option_is_a_usage_error(folder: Path) -> None:
    before = snapshot(folder)

    outcome = run(*to_set(runs="-5"), folder=folder)

    assert outcome.code == 2
    assert "-5" in outcome.err
    assert snapshot(folder) == before


def test_a_run_that_cannot_be_is_not_found(folder: Path) -> None:
    words = ["show", "xpp/main", "Opal", "pedestals", "--run", "99999999999"]

    check_refusal(run(*words, folder=folder), NotFound, "99999999999")


# --- hostile manifests and records -------------------------------------------------------------

SHA = bytes(32)
BLOB = {"sha256": SHA, "size": 1, "xxh128": bytes(16)}
ARRAY = {**BLOB, "dtype": "float32", "shape": [1], "size": 4}


def packed(value: Any) -> bytes:
    """The bytes of `encode`, without its refusals."""
    return msgpack.packb(_in_order(value), use_bin_type=True)


def _in_order(value: Any) -> Any:
    match value:
        case dict():
            return {key: _in_order(value[key]) for key in sorted(value)}
        case list():
            return [_in_order(item) for item in value]
        case _:
            return value


def as_set(**changes: Any) -> bytes:
    return packed({"detectors": {}, "files": {}, "format": 1, "kind": "set", **changes})


def as_detector(constants: Any, **changes: Any) -> bytes:
    return packed({"constants": constants, "format": 1, "kind": "detector", **changes})


def with_constant(constant: Any, runs: str = "1-end", type_name: str = "pedestals") -> bytes:
    return as_detector({type_name: {runs: constant}})


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


HOSTILE: list[tuple[str, bytes, str]] = [
    ("set: duplicate keys", b"\x82\xa1a\x01\xa1a\x01", "not in its canonical form"),
    ("set: unsorted keys", b"\x82\xa1b\x01\xa1a\x01", "not in its canonical form"),
    ("set: a long integer", b"\x81\xa1a\xcd\x00\x01", "not in its canonical form"),
    ("set: a key that is no string", b"\x81\x01\x01", "not msgpack"),
    ("set: an extension type", b"\x81\xa1a\xd4\x05\x00", "no canonical encoding"),
    ("set: a timestamp", b"\x81\xa1a\xd6\xff\x00\x00\x00\x01", "no canonical encoding"),
    ("set: float32", b"\x81\xa1a\xca\x3f\x80\x00\x00", "not in its canonical form"),
    ("set: a NaN", b"\x81\xa1a\xcb\x7f\xf8\0\0\0\0\0\0", "not finite"),
    ("set: text that is not UTF-8", b"\x81\xa1a\xa1\xff", "not msgpack"),
    ("set: 17 deep", packed(nested(17)), "nested more than 16 deep"),
    ("set: 100,000 deep", b"\x91" * 100_000 + b"\x01", "not msgpack"),
    ("set: cut short", as_set()[:-1], "not msgpack"),
    ("set: something behind it", as_set() + b"\x00", "not msgpack"),
    ("set: 17 MiB", as_set(files={"x" * (17 << 20): BLOB}), "at most 16777216 are read"),
    ("set: a claim of 4 GiB of text", b"\xdb\xff\xff\xff\xff", "not msgpack"),
    ("set: a claim of 4 G items", b"\xdd\xff\xff\xff\xff\x01", "not msgpack"),
    ("set: nothing", b"", "not msgpack"),
    ("set: a list", packed([1]), "a manifest is a map"),
    ("set: format 2", as_set(format=2), "not a manifest of format 1"),
    ("set: format true", as_set(format=True), "not a manifest of format 1"),
    ("set: another kind", as_set(kind="input"), "of kind 'input' where 'set' was expected"),
    ("set: an unknown key", as_set(zeal=1), "written by a newer calstore?"),
    ("set: a missing key", packed({"format": 1, "kind": "set"}), "without detectors, files"),
    ("set: files that are a list", as_set(files=[]), "is a map, not"),
    ("set: a file that climbs", as_set(files={"../x": BLOB}), "which no file may have"),
    ("set: a file inside that climbs", as_set(files={"a/../../x": BLOB}), "which no file may have"),
    ("set: an absolute file", as_set(files={"/etc/passwd": BLOB}), "which no file may have"),
    ("set: a NUL in a file's name", as_set(files={"a\0b": BLOB}), "which no file may have"),
    ("set: a name of 256 bytes", as_set(files={"é" * 128: BLOB}), "at most 255"),
    ("set: a group that climbs", as_set(detectors={"..": {"a": BLOB}}), "which no file may have"),
    ("set: a source with a slash", as_set(detectors={"a": {"b/c": BLOB}}), "no file may have"),
    ("set: an empty group", as_set(detectors={"a": {}}), "has no detectors"),
    ("set: a short digest", as_set(files={"a": {**BLOB, "xxh128": b"1"}}), "xxh128"),
    ("set: a digest of text", as_set(files={"a": {**BLOB, "xxh128": "0" * 16}}), "xxh128"),
    ("set: a negative size", as_set(files={"a": {**BLOB, "size": -1}}), "size"),
    ("set: a size of true", as_set(files={"a": {**BLOB, "size": True}}), "size"),
    ("detector: a type that climbs", with_constant({"blob": BLOB}, type_name=".."), "no file may"),
    ("detector: a type with a slash", with_constant({"blob": BLOB}, type_name="a/b"), "no file ma"),
    ("detector: an empty type", as_detector({"pedestals": {}}), "has no constants"),
    ("detector: a reversed range", with_constant({"blob": BLOB}, "10-5"), "reversed"),
    ("detector: leading zeros", with_constant({"blob": BLOB}, "05-10"), "is spelled 5-10"),
    ("detector: run 12000", with_constant({"blob": BLOB}, "0-12000"), "12000"),
    ("detector: 5000 digits", with_constant({"blob": BLOB}, "1-" + "9" * 5000), "run range"),
    ("detector: array and blob", with_constant({"array": ARRAY, "blob": BLOB}), "either an array"),
    ("detector: nothing", with_constant({}), "either an array or a blob"),
    ("detector: a blob's source", with_constant({"blob": BLOB, "source": BLOB}), "own source"),
    ("detector: a name that climbs", with_constant({"blob": BLOB, "name": ".."}), "no file may"),
    ("detector: a name with a slash", with_constant({"blob": BLOB, "name": "../x"}), "no file may"),
    ("detector: a name of bytes", with_constant({"blob": BLOB, "name": b"x"}), "name"),
    (
        "detector: a size that is not the shape's",
        with_constant({"array": {**ARRAY, "shape": [2]}}),
        "has 8 bytes, but its reference says 4",
    ),
    ("detector: objects", with_constant({"array": {**ARRAY, "dtype": "object"}}), "dtype object"),
    ("detector: an axis of -1", with_constant({"array": {**ARRAY, "shape": [-1]}}), "axis"),
    ("detector: an axis of text", with_constant({"array": {**ARRAY, "shape": ["1"]}}), "axis"),
    ("detector: 33 axes", with_constant({"array": {**ARRAY, "shape": [1] * 33}}), "33 axes"),
    (
        "detector: 2^64 bytes",
        with_constant({"array": {**ARRAY, "shape": [2**31, 2**31]}}),
        "would have",
    ),
]


def plant(folder: Path, data: bytes) -> Reference:
    """Bytes under their right hash among the manifests."""
    reference = reference_to(data)
    digest = reference.digest.hex
    path = folder / ".calstore/objects/manifests" / digest[:2] / digest
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return reference


def plant_version(folder: Path, manifest: Reference, name: str = "xpp/evil") -> None:
    """A record that leads to a planted set."""
    record = Record(
        log=f"refs/{name}",
        number=1,
        operation="import",
        what="planted",
        stamp=stamp(),
        software="calstore 0.1.0",
        manifest=manifest,
        kind=BRANCH,
    )
    assert logs.append(store_in(folder).backend, record) is None


def plant_detector(folder: Path, data: bytes) -> Reference:
    """A set of one detector, whose manifest are these bytes."""
    detector = plant(folder, data)
    reference = plant(folder, as_set(detectors={GROUP: {SOURCE: detector.to_value()}}))
    plant_version(folder, reference)
    return detector


@pytest.mark.parametrize(
    ("data", "fragment"),
    [pytest.param(data, fragment, id=name) for name, data, fragment in HOSTILE if name[0] == "s"],
)
def test_a_hostile_set_is_refused(folder: Path, data: bytes, fragment: str) -> None:
    reference = plant(folder, data)
    plant_version(folder, reference)
    before = snapshot(folder)

    check_refusal(run("show", f"{reference.digest}", folder=folder), Invalid, fragment)
    for words in (["show", "xpp/evil"], ["materialize", "xpp/evil", "view"]):
        check_hostile(run(*words, folder=folder), reference, fragment)
    check_verify_names(run("verify", folder=folder), reference)

    assert snapshot(folder) == before


@pytest.mark.parametrize(
    ("data", "fragment"),
    [pytest.param(data, fragment, id=name) for name, data, fragment in HOSTILE if name[0] == "d"],
)
def test_a_hostile_detector_is_refused(folder: Path, data: bytes, fragment: str) -> None:
    reference = plant_detector(folder, data)
    before = snapshot(folder)

    for words in (
        ["show", "xpp/evil"],
        ["materialize", "xpp/evil", "view"],
        ["get", "xpp/evil", "Opal", "pedestals", "--run", "1", "-o", "x.npy"],
    ):
        check_hostile(run(*words, folder=folder), reference, fragment)
    check_verify_names(run("verify", folder=folder), reference)

    assert snapshot(folder) == before


def check_hostile(outcome: Outcome, reference: Reference, fragment: str) -> None:
    # A newer calstore may have written it (Invalid); the disk did not garble it (Corrupt).
    assert outcome.code in (EXIT_CODES[Invalid], EXIT_CODES[Corrupt])
    assert outcome.out == ""
    assert outcome.err.startswith("calstore: ")
    assert outcome.err.count("\n") == 1
    assert fragment in outcome.err


def check_verify_names(outcome: Outcome, reference: Reference) -> None:
    assert outcome.code == EXIT_CODES[Corrupt]
    assert reference.digest.hex in outcome.err
    assert "it hurts xpp/evil@1" in outcome.err
    assert "Traceback" not in outcome.err


def test_the_message_about_a_hostile_manifest_names_its_file(folder: Path) -> None:
    for name, plant_one, data in (
        ("set", lambda data: plant(folder, data), as_set(zeal=1)),
        ("detector", lambda data: plant_detector(folder, data), with_constant({})),
    ):
        reference = plant_one(data)
        if name == "set":
            plant_version(folder, reference, "xpp/evil-set")
        ref = "xpp/evil-set" if name == "set" else "xpp/evil"

        assert reference.digest.hex[:12] in run("show", ref, folder=folder).err


def test_an_array_of_10_to_the_12_elements_allocates_nothing(folder: Path) -> None:
    shape = (10**6, 10**6)
    panel = xxh128(b"x")
    digest = digest_of("float32", shape, [panel])
    array = {
        "dtype": "float32",
        "sha256": SHA,
        "shape": list(shape),
        "size": 4 * 10**12,
        "xxh128": digest.value,
    }
    plant_detector(folder, with_constant({"array": array}))
    words = ("get", "xpp/evil", "Opal", "pedestals", "--run", "1", "-o", "x.npy")

    check_refusal(run(*words, folder=folder), Corrupt, "is gone")
    _plant_array(folder, digest, panel, shape)
    limited = ("bash", "-c", 'ulimit -v 3000000; exec "$@"', "bash")
    outcome = spawn(*words, folder=folder, before=limited)

    assert "Traceback" not in outcome.err
    # Where memory is plenty the panel is found damaged, where it is not it does not fit.
    assert outcome.code in (EXIT_CODES[Corrupt], EXIT_CODES[Invalid])
    assert outcome.err.count("\n") == 1
    assert not (folder / "x.npy").exists()
    assert run("show", "xpp/evil", folder=folder).code == 0


def _plant_array(folder: Path, digest: Digest, panel: Digest, shape: tuple[int, ...]) -> None:
    """The files of an array under its own name: a real one's, with another shape written in."""
    arrays = folder / ".calstore/objects/arrays"
    model = next(arrays.glob("*/*/zarr.json"))
    document = json.loads(model.read_text())
    inner = document["codecs"][0]["configuration"]
    document["shape"] = list(shape)
    document["chunk_grid"]["configuration"]["chunk_shape"] = list(shape)
    inner["chunk_shape"] = list(shape)
    document["attributes"]["calstore"] = {
        "panels": [panel.hex],
        "sha256": SHA.hex(),
        "xxh128": digest.hex,
    }
    place = arrays / digest.hex[:2] / digest.hex
    place.mkdir(parents=True)
    (place / "zarr.json").write_text(json.dumps(document, sort_keys=True, indent=2) + "\n")
    shutil.copy(model.with_name("c.0.0"), place / "c.0.0")


def test_a_record_over_64_kib_or_not_canonical_is_corrupt(folder: Path) -> None:
    for number, data in enumerate((b"\x82\xa1a\x01\xa1a\x01", b"\xc0" * 65537, b"", b"\x80")):
        place = folder / f".calstore/refs/xpp/evil{number}/00000001"
        place.parent.mkdir()
        place.write_bytes(data)

        for words in (["log", f"xpp/evil{number}"], ["show", f"xpp/evil{number}"], ["refs"]):
            outcome = run(*words, folder=folder)

            check_refusal(outcome, Corrupt, "refs/xpp/evil")


def test_a_stranger_in_a_log_is_named(folder: Path) -> None:
    (folder / ".calstore/refs/xpp/main/notes").write_bytes(b"")

    check_refusal(run("show", "xpp/main", folder=folder), Corrupt, "refs/xpp/main/notes")


# --- the store itself --------------------------------------------------------------------------


def marker(folder: Path, data: bytes | None) -> None:
    path = folder / ".calstore/calstore.json"
    path.chmod(0o644)
    path.unlink()
    if data is not None:
        path.write_bytes(data)


def of_format(number: Any) -> bytes:
    body = {"format": number, "id": "0" * 32}
    document = {"calstore": body, "checksum": str(xxh128(encode(body)))}
    return (json.dumps(document, sort_keys=True, indent=2) + "\n").encode()


@pytest.mark.parametrize(
    ("data", "kind", "fragment"),
    [
        pytest.param(of_format(2), Invalid, "format 2", id="format 2"),
        pytest.param(of_format("1"), Corrupt, "is damaged", id="format as text"),
        pytest.param(of_format(1)[:-2], Corrupt, "is damaged", id="cut short"),
        pytest.param(of_format(1).replace(b"00", b"01", 1), Corrupt, "checksum", id="another id"),
        pytest.param(of_format(1) + b" ", Corrupt, "is damaged", id="a blank behind it"),
        pytest.param(b"", Corrupt, "is damaged", id="empty"),
        pytest.param(b"[]", Corrupt, "is damaged", id="a list"),
        pytest.param(b"[" * 100_000, Corrupt, "is damaged", id="deep"),
        pytest.param(b"\xff\xfe", Corrupt, "is damaged", id="no text"),
        pytest.param(None, Corrupt, "restore the file", id="gone"),
    ],
)
def test_a_store_that_is_not_understood_is_not_touched(
    folder: Path, data: bytes | None, kind: type[CalstoreError], fragment: str
) -> None:
    marker(folder, data)
    before = snapshot(folder)

    for words in (["refs"], ["fork", "xpp/main", "xpp/new"], ["verify"]):
        check_refusal(run("--store", ".calstore", *words, folder=folder), kind, fragment)

    assert snapshot(folder) == before


@pytest.fixture
def shared_folder(built: Path) -> Iterator[Path]:
    """A copy that any account may enter; `as_other_user` runs commands in it."""
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        pytest.skip("root may do all, and setpriv is not there to become somebody else")
    if as_other_user("--version", folder=Path("/")).code:
        pytest.skip("another account cannot run this Python")
    top = Path(tempfile.mkdtemp())
    top.chmod(0o755)
    work = shutil.copytree(built, top / "work")
    work.chmod(0o755)
    yield work
    for path in top.rglob("*"):
        if path.is_dir():
            path.chmod(0o755)
    shutil.rmtree(top)


def as_other_user(*words: object, folder: Path) -> Outcome:
    before = OTHER_USER if os.geteuid() == 0 else ()
    return spawn(*words, folder=folder, before=before, environment={"HOME": "/nonexistent"})


def set_modes(root: Path, folders: int, files: int) -> None:
    for path in (*root.rglob("*"), root):
        path.chmod(folders if path.is_dir() else files)


def test_a_read_only_store_can_be_read_and_says_that_it_cannot_be_written(
    shared_folder: Path,
) -> None:
    set_modes(shared_folder / ".calstore", 0o555, 0o444)
    before = snapshot(shared_folder)

    for words in (["refs"], ["show", "xpp/main"], ["log", "xpp/main"], ["verify"]):
        assert as_other_user(*words, folder=shared_folder).code == 0
    for words in (["fork", "xpp/main", "xpp/new"], to_set(), ["import", "calib", "xpp/new"]):
        outcome = as_other_user(*words, folder=shared_folder)

        check_refusal(outcome, Invalid, "not permitted to write")
        assert "--store" in outcome.err

    set_modes(shared_folder / ".calstore", 0o755, 0o444)
    assert snapshot(shared_folder) == before


def test_an_unreadable_store_is_said_to_be_just_that(shared_folder: Path) -> None:
    set_modes(shared_folder / ".calstore", 0o700, 0o400)
    if os.geteuid() != 0:
        set_modes(shared_folder / ".calstore", 0o000, 0o000)

    for words in (["refs"], ["show", "xpp/main"], ["fork", "xpp/main", "xpp/new"]):
        outcome = as_other_user("--store", ".calstore", *words, folder=shared_folder)

        check_refusal(outcome, Invalid, "not permitted to read")


def test_a_nearest_store_that_is_unreadable_is_not_passed_by(shared_folder: Path) -> None:
    set_modes(shared_folder / ".calstore", 0o000, 0o000)

    check_refusal(as_other_user("refs", folder=shared_folder), Invalid, ".calstore")


def test_an_unreadable_record_or_object_is_not_taken_for_absent(shared_folder: Path) -> None:
    record = shared_folder / ".calstore/refs/xpp/main/00000001"
    record.chmod(0)

    outcome = as_other_user("show", "xpp/main", folder=shared_folder)

    check_refusal(outcome, Invalid, "refs/xpp/main/00000001")


def test_an_unreadable_file_is_refused_by_name(shared_folder: Path) -> None:
    (shared_folder / "calib/notes.txt").chmod(0)
    set_modes(shared_folder / ".calstore", 0o777, 0o444)

    outcome = as_other_user("import", "calib", "xpp/new", folder=shared_folder)

    assert outcome.code == 5
    assert "nothing was imported" in outcome.err
    assert "notes.txt: cannot be read (Permission denied)" in outcome.err
    assert not (shared_folder / ".calstore/refs/xpp/new").exists()


def test_a_folder_that_cannot_be_listed_is_refused_by_name(shared_folder: Path) -> None:
    (shared_folder / "calib" / OPAL).chmod(0)
    set_modes(shared_folder / ".calstore", 0o777, 0o444)

    outcome = as_other_user("import", "calib", "xpp/new", folder=shared_folder)

    assert outcome.code == 5
    assert OPAL in outcome.err
    assert "cannot be listed" in outcome.err


def test_a_place_that_may_not_be_written_is_no_place_for_a_view(shared_folder: Path) -> None:
    for words in (["materialize", "xpp/main", "view"], ["get", *to_get("x.npy")], ["init", "new"]):
        outcome = as_other_user(*words, folder=shared_folder)

        check_refusal(outcome, Invalid, "Permission denied")


def to_get(output: str) -> list[str]:
    return ["xpp/main", "Opal", "pedestals", "--run", "1", "-o", output]


# --- a full disk -------------------------------------------------------------------------------

LARGE = {
    f"{OPAL}/pedestals/{run}-end.data": pedestals_text(run, (100, 64)) for run in range(1, 9)
} | {f"stranger{number}": os.urandom(30_000) for number in range(4)}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    place = tmp_path / "disk"
    place.mkdir()

    def mount(size: str) -> Path:
        option = "remount," if os.path.ismount(place) else ""
        command = ["mount", "-t", "tmpfs", "-o", f"{option}size={size},mode=0777", "none", place]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("only root can mount a small disk")
        return place

    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root can mount a small disk")
    yield mount
    if os.path.ismount(place):
        subprocess.run(["umount", place], check=True)


@pytest.mark.parametrize("size", ["32k", "64k", "128k", "192k", "256k"])
def test_a_full_disk_under_the_store_leaves_nothing_half_done(
    small_disk: Callable[[str], Path], tmp_path: Path, size: str
) -> None:
    disk = small_disk(size)
    tree = write_tree(tmp_path / "calib", LARGE)
    store = ("--store", disk / "store")
    assert run("init", disk / "store", folder=tmp_path).code == 0

    refused = run(*store, "import", tree, "xpp/main", folder=tmp_path)
    check_refusal(refused, Conflict, "make room")
    assert run(*store, "refs", folder=tmp_path).out == ""
    assert run(*store, "verify", folder=tmp_path).code == 0
    assert not list((disk / "store").rglob(".tmp-*"))

    small_disk("8m")
    assert run(*store, "import", tree, "xpp/main", folder=tmp_path).code == 0
    assert run(*store, "verify", folder=tmp_path).code == 0
    assert run(*store, "materialize", "xpp/main", "view", folder=tmp_path).code == 0
    assert regular_files(tmp_path / "view") == LARGE


def test_a_full_disk_under_a_view_leaves_the_old_view_or_none(
    small_disk: Callable[[str], Path], tmp_path: Path
) -> None:
    disk = small_disk("400k")
    tree = write_tree(tmp_path / "calib", LARGE)
    for words in (("init",), ("import", tree, "xpp/main")):
        assert run(*words, folder=tmp_path).code == 0

    new = run("materialize", "xpp/main", disk / "view", folder=tmp_path)
    check_refusal(new, Conflict, "no room to write")
    assert list(disk.iterdir()) == []
    out = run("get", "xpp/main", "Opal", "pedestals", "--run", "1", "-o", "x", folder=tmp_path)
    assert out.code == 0

    small_disk("8m")
    assert run("materialize", "xpp/main", disk / "view", folder=tmp_path).code == 0
    used = sum(path.stat().st_blocks for path in disk.rglob("*")) // 2
    write_tree(tree, {f"more{number}": os.urandom(30_000) for number in range(4)})
    assert run("import", tree, "xpp/main", folder=tmp_path).code == 0
    small_disk(f"{used + 40}k")

    update = run("materialize", "xpp/main", disk / "view", folder=tmp_path)
    check_refusal(update, Conflict, "make room")
    assert {path: (disk / "view" / path).read_bytes() for path in LARGE} == LARGE
    small_disk("8m")
    assert run("materialize", "xpp/main", disk / "view", folder=tmp_path).code == 0
    assert regular_files(disk / "view") == regular_files(tree)
    assert not list(disk.rglob("*tmp-*"))


def test_a_limit_on_the_size_of_files_is_a_full_disk(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "calib", LARGE)
    limited = ("bash", "-c", 'ulimit -f 8; exec "$@"', "bash")
    assert run("init", folder=tmp_path).code == 0

    refused = spawn("import", tree, "xpp/main", folder=tmp_path, before=limited)
    check_refusal(refused, Conflict, "no room to write")
    assert run("refs", folder=tmp_path).out == ""
    assert run("verify", folder=tmp_path).code == 0

    assert run("import", tree, "xpp/main", folder=tmp_path).code == 0
    for words in (["materialize", "xpp/main", "view"], ["get", *to_get("x.npy")]):
        refused = spawn(*words, folder=tmp_path, before=limited)
        check_refusal(refused, Conflict, "no room to write")
        assert not (tmp_path / words[-1]).exists()
    assert not list(tmp_path.rglob("*tmp-*"))


# --- views -------------------------------------------------------------------------------------


@pytest.fixture
def view(folder: Path) -> Path:
    """A view of version 1; the tree and the ref have moved on to version 2."""
    assert run("materialize", "xpp/main", "view", folder=folder).code == 0
    (folder / "calib" / OPAL / "pedestals/1-end.data").write_bytes(pedestals_text(9))
    write_tree(folder / "calib", {f"{OPAL}/pixel_rms/1-end.data": pedestals_text(), "new": b"new"})
    (folder / "calib" / OPAL / "geometry/0-end.data").unlink()
    assert run("import", "calib", "xpp/main", folder=folder).code == 0
    return folder / "view"


def refuse_update(folder: Path, fragment: str, kind: type[CalstoreError] = Conflict) -> None:
    before = snapshot(folder)

    outcome = run("materialize", "xpp/main", "view", folder=folder)

    check_refusal(outcome, kind, fragment)
    assert snapshot(folder) == before


def test_what_others_put_into_a_directory_is_not_touched(folder: Path) -> None:
    write_tree(folder / "view", {"mine": b"work", f"{OPAL}/pedestals/1-end.data": b"1 2\n"})

    refuse_update(folder, "not what the version has")


def test_a_file_is_no_place_for_a_view(folder: Path) -> None:
    (folder / "view").write_bytes(b"work")

    refuse_update(folder, "view")


def test_a_dangling_link_is_no_place_for_a_view(folder: Path) -> None:
    (folder / "view").symlink_to("nowhere")

    before = snapshot(folder)
    outcome = run("materialize", "xpp/main", "view", folder=folder)

    assert outcome.code in (4, 5)
    assert outcome.err.count("\n") == 1
    assert snapshot(folder) == before


def test_a_file_above_the_view_is_in_the_way(folder: Path) -> None:
    before = snapshot(folder)

    outcome = run("materialize", "xpp/main", "good.npy/view", folder=folder)

    check_refusal(outcome, Invalid, "good.npy/view")
    assert snapshot(folder) == before


@pytest.mark.parametrize(
    "level",
    [
        pytest.param(GROUP, id="group"),
        pytest.param(OPAL, id="source"),
        pytest.param(f"{OPAL}/pedestals", id="type"),
        pytest.param(f"{OPAL}/pedestals/1-end.data", id="file"),
        pytest.param(f"{OPAL}/geometry", id="folder of a file to be removed"),
        pytest.param(f"{OPAL}/geometry/0-end.data", id="file to be removed"),
        pytest.param(f"{OPAL}/pixel_rms", id="new folder"),
        pytest.param("new", id="new file"),
    ],
)
@pytest.mark.parametrize("target", ["there", "nowhere"])
def test_a_planted_link_is_not_followed(
    folder: Path, view: Path, level: str, target: str, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    place = view / level
    if target == "nowhere":
        if place.is_dir():
            shutil.rmtree(place)
        else:
            place.unlink(missing_ok=True)
    elif place.exists():
        place.rename(outside)
    else:
        outside.mkdir()
    place.symlink_to(outside)
    before = snapshot(tmp_path)

    outcome = run("materialize", "xpp/main", "view", folder=folder)

    after = snapshot(tmp_path)
    assert {k: v for k, v in after.items() if k.startswith("outside")} == {
        k: v for k, v in before.items() if k.startswith("outside")
    }
    check_refusal(outcome, Conflict, level.split("/")[0])
    assert after == before


def test_a_receipt_that_is_a_link_is_not_believed(folder: Path, view: Path, tmp_path: Path) -> None:
    (view / ".calstore-view.json").rename(tmp_path / "receipt")
    (view / ".calstore-view.json").symlink_to(tmp_path / "receipt")

    refuse_update(folder, ".calstore-view.json")


@pytest.mark.parametrize(
    "path",
    [f"{OPAL}/pedestals/1-end.data", f"{OPAL}/geometry/0-end.data", "notes.txt"],
    ids=["to be replaced", "to be removed", "to be kept"],
)
def test_an_edited_file_stops_an_update(folder: Path, view: Path, path: str) -> None:
    (view / path).write_bytes((view / path).read_bytes() + b"# by hand\n")

    refuse_update(folder, path)


def test_a_stranger_where_a_new_file_goes_stops_an_update(folder: Path, view: Path) -> None:
    (view / "new").write_bytes(b"mine")

    refuse_update(folder, "new")


def test_a_folder_where_a_new_file_goes_stops_an_update(folder: Path, view: Path) -> None:
    write_tree(view, {"new/mine": b"mine"})

    refuse_update(folder, "new")


def test_a_file_where_a_new_folder_goes_stops_an_update(folder: Path, view: Path) -> None:
    write_tree(view, {f"{OPAL}/pixel_rms": b"mine"})

    refuse_update(folder, "pixel_rms")


def test_strangers_elsewhere_in_a_view_are_left_alone(folder: Path, view: Path) -> None:
    strangers = {f"{OPAL}/geometry/mine.geom": b"mine", "dir/mine": b"mine", "mine": b"mine"}
    write_tree(view, strangers)

    assert run("materialize", "xpp/main", "view", folder=folder).code == 0

    assert regular_files(view) == {**regular_files(folder / "calib"), **strangers}


@pytest.mark.parametrize(
    "data",
    [b"", b"{}", b"[]", b'{"format": 2}', b"[" * 100_000, b"\xff"],
    ids=["empty", "no keys", "a list", "format 2", "deep", "no text"],
)
def test_a_receipt_that_cannot_be_read_stops_an_update(
    folder: Path, view: Path, data: bytes
) -> None:
    (view / ".calstore-view.json").write_bytes(data)

    refuse_update(folder, "receipt")


def test_a_receipt_cannot_lead_outside(folder: Path, view: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    receipt = json.loads((view / ".calstore-view.json").read_text())
    receipt["files"]["../../victim"] = {
        "made_from": "blob",
        "mtime_ns": victim.stat().st_mtime_ns,
        "size": 8,
        "xxh128": xxh128(b"precious").hex,
    }
    (view / ".calstore-view.json").write_text(json.dumps(receipt))

    outcome = run("materialize", "xpp/main", "view", folder=folder)

    assert outcome.code in (4, 5)
    assert victim.read_bytes() == b"precious"


@pytest.mark.parametrize(
    ("files", "fragment"),
    [
        pytest.param(["a", "a/b"], "as a file and as a folder", id="file and folder"),
        pytest.param([f"{OPAL}/pedestals"], "as a file and as a folder", id="a type as a file"),
        pytest.param([GROUP], "as a file and as a folder", id="a group as a file"),
        pytest.param([f"{OPAL}/pedestals/1-end.data"], "two things", id="a constant twice"),
        pytest.param([".calstore-view.json"], "a name that calstore keeps", id="a receipt"),
        pytest.param([".calstore-view.json/x"], "a name that calstore keeps", id="a folder so"),
        pytest.param([".calstore-view.journal"], "a name that calstore keeps", id="a journal"),
        pytest.param(["a/.calstore-tmp-x"], "a name that calstore keeps", id="a temporary file"),
    ],
)
def test_names_of_a_set_that_collide_are_refused(
    folder: Path, files: list[str], fragment: str
) -> None:
    store = store_in(folder)
    version = store["xpp/main"]
    blob = version.manifest.files["notes.txt"].to_value()
    detectors: dict[str, dict[str, Any]] = {}
    for (group, source), reference in version.manifest.detectors.items():
        detectors.setdefault(group, {})[source] = reference.to_value()
    data = encode(
        {"detectors": detectors, "files": dict.fromkeys(files, blob), "format": 1, "kind": "set"}
    )
    reference = plant(folder, data)
    before = snapshot(folder)

    check_refusal(
        run("materialize", str(reference.digest), "view", folder=folder), Invalid, fragment
    )

    assert snapshot(folder) == before


def test_the_modes_of_a_view_follow_the_umask(folder: Path) -> None:
    before = os.umask(0o027)
    try:
        assert run("materialize", "xpp/main", "view", folder=folder).code == 0
    finally:
        os.umask(before)

    assert stat.S_IMODE((folder / "view/notes.txt").stat().st_mode) == 0o640
    assert stat.S_IMODE((folder / "view" / GROUP).stat().st_mode) == 0o750
