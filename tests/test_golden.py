"""Stores of every format version can be read, and docs/format.md is enough to read them.

The reader in the first half uses msgpack, xxhash, numpy and stock zarr, and nothing of calstore.
"""

import hashlib
import json
from pathlib import Path

import msgpack
import numpy as np
import pytest
import xxhash
import zarr

import calstore

GOLDEN = Path(__file__).parent / "golden"
STORES = sorted(path.parent for path in GOLDEN.glob("*/expected.json"))


class Reader:
    """A reader of format 1 written from docs/format.md."""

    def __init__(self, root):
        self.root = root
        marker = json.loads((root / "calstore.json").read_text())
        assert marker["calstore"]["format"] == 1
        packed = msgpack.packb(dict(sorted(marker["calstore"].items())))
        assert marker["checksum"] == f"xxh128:{xxhash.xxh3_128_hexdigest(packed)}"

    def record(self, ref, number):
        record = msgpack.unpackb((self.root / "refs" / ref / f"{number:08d}").read_bytes())
        body = {key: record[key] for key in sorted(record) if key != "checksum"}
        assert xxhash.xxh3_128_digest(msgpack.packb(body)) == record["checksum"]
        assert (record["log"], record["number"]) == (f"refs/{ref}", number)
        for parent in record["parents"]:
            data = (self.root / parent["log"] / f"{parent['number']:08d}").read_bytes()
            assert xxhash.xxh3_128_digest(data) == parent["xxh128"]
            assert hashlib.sha256(data).digest() == parent["sha256"]
        return record

    def bytes(self, kind, reference):
        name = reference["xxh128"].hex()
        data = (self.root / "objects" / kind / name[:2] / name).read_bytes()
        assert len(data) == reference["size"]
        assert xxhash.xxh3_128_digest(data) == reference["xxh128"]
        assert hashlib.sha256(data).digest() == reference["sha256"]
        return data

    def manifest(self, reference):
        return msgpack.unpackb(self.bytes("manifests", reference))

    def array(self, reference):
        name = reference["xxh128"].hex()
        stored = zarr.open_array(self.root / "objects" / "arrays" / name[:2] / name, mode="r")
        values = np.asarray(stored[...])
        assert (str(values.dtype), list(values.shape)) == (reference["dtype"], reference["shape"])
        panel = self.panel_size(reference)
        data = np.ascontiguousarray(values).tobytes()
        panels = [data[at : at + panel] for at in range(0, len(data), panel)] if panel else [b""]
        for key, hashed in (
            ("xxh128", xxhash.xxh3_128_digest),
            ("sha256", lambda part: hashlib.sha256(part).digest()),
        ):
            header = {
                "dtype": reference["dtype"],
                "kind": "array",
                "panels": [hashed(part) for part in panels],
                "shape": reference["shape"],
            }
            assert hashed(msgpack.packb(header)) == reference[key]
        return values

    @staticmethod
    def panel_size(reference):
        shape = list(reference["shape"])
        item = np.dtype(reference["dtype"]).itemsize
        if reference["size"] == 0 or len(shape) <= 2:
            return reference["size"]
        size = shape.pop() * shape.pop() * item
        while shape and size < 16384:
            size *= shape.pop()
        return size


@pytest.fixture(params=STORES, ids=lambda path: path.name)
def golden(request):
    return request.param


def constants(reader, number, ref):
    whole = reader.manifest(reader.record(ref, number)["manifest"])
    for group, sources in whole["detectors"].items():
        for source, reference in sources.items():
            for type_name, ranges in reader.manifest(reference)["constants"].items():
                for runs, constant in ranges.items():
                    yield f"{group}/{source}/{type_name}", runs, constant


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_a_reader_without_calstore_reads_every_golden_store(golden):
    expected = json.loads((golden / "expected.json").read_text())
    reader = Reader(golden / "store")
    arrays, files = set(), set()

    for version in expected["digests"]:
        ref, number = version.split("@")
        for folder, runs, constant in constants(reader, int(number), ref):
            path = f"{folder}/{runs}"
            if "array" in constant:
                wanted = expected["arrays"][path]
                assert reader.array(constant["array"]).tobytes().hex() == wanted["bytes"]
                arrays.add(path)
            blob = constant.get("blob", constant.get("source"))
            if blob is not None:
                name = f"{folder}/{constant.get('name', runs + '.data')}"
                assert reader.bytes("blobs", blob).hex() == expected["files"][name]
                files.add(name)
        loose = reader.manifest(reader.record(ref, int(number))["manifest"])["files"]
        for path, blob in loose.items():
            assert reader.bytes("blobs", blob).hex() == expected["files"][path]
            files.add(path)

    assert arrays == set(expected["arrays"])
    assert files == set(expected["files"])


def test_this_calstore_reads_every_golden_store(golden):
    expected = json.loads((golden / "expected.json").read_text())
    store = calstore.open(golden / "store")
    found = {}

    for text, digest in expected["digests"].items():
        version = store[text]
        assert str(version.digest) == digest
        for group, source in version.detectors:
            detector = version[source]
            for type_name, ranges in detector.manifest.constants.items():
                for runs, constant in ranges.items():
                    if not hasattr(constant.content, "dtype"):
                        continue
                    array = detector.at(runs.first)[type_name].array
                    found[f"{group}/{source}/{type_name}/{runs}"] = array.tobytes().hex()

    assert found == {path: item["bytes"] for path, item in expected["arrays"].items()}


def test_every_golden_store_verifies(golden):
    verified = calstore.verify(calstore.open(golden / "store"))

    assert verified.damages == ()
    assert verified.unreferenced == 0


def test_the_same_content_has_the_digests_of_the_golden_store_today(golden, tmp_path):
    expected = json.loads((golden / "expected.json").read_text())
    for path, data in expected["files"].items():
        write(tmp_path / path, bytes.fromhex(data))
    for path, item in expected["arrays"].items():
        if f"{path}.data" not in expected["files"] and "/pixel_mask/5-20" not in path:
            values = np.frombuffer(bytes.fromhex(item["bytes"]), dtype=item["dtype"])
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            np.save(tmp_path / f"{path}.npy", values.reshape(item["shape"]))

    store = calstore.init("memory:", "0" * 32)
    calstore.import_tree(store, tmp_path, "a/b", calstore.stamp())

    assert str(store["a/b"].digest) == expected["digests"]["sxrx1234/main@1"]


def write(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
