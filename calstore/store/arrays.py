"""Arrays: zarr v3 on disk, verified panel by panel on every read (docs/format.md, 4 and 5).

Zarr alone returns wrong numbers for a flipped bit and fill values for a lost chunk.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

import numpy as np
import zarr
from zarr.core.buffer import Buffer, default_buffer_prototype
from zarr.storage import MemoryStore

from calstore.errors import Corrupt, Invalid, NotFound
from calstore.model.arrays import (
    ITEM_SIZES,
    ArrayReference,
    Shape,
    digest_of,
    panels_of,
    sha256_of,
    size_of,
    split,
)
from calstore.model.digest import Buffer as Bytes
from calstore.model.digest import Digest, Reference, sha256, xxh128
from calstore.store.backend import Backend
from calstore.store.objects import ARRAYS, key_of

Array: TypeAlias = "np.ndarray[Any, np.dtype[Any]]"

_INDEX_ENTRY = 16  # two uint64 for each panel: offset and number of bytes
_INDEX_CRC = 4
_ABSENT = 2**64 - 1


def put(
    backend: Backend,
    array: Array,
    known: Callable[[Digest], ArrayReference | None] = lambda digest: None,
) -> ArrayReference:
    """Store an array under its identity; durable by name after `Backend.sync`.

    Parameters
    ----------
    array
        Of any byte order and memory layout; its identity does not depend on them.
    known
        The reference to an array of that digest, where it was computed before; saves the
        SHA-256, which costs more than all the rest.

    Raises
    ------
    Invalid
        For a dtype that is not stored (object, text, complex, …).
    Corrupt
        When what is stored under its digest is damaged.
    """
    array = canonical(array)
    dtype, shape = str(array.dtype), array.shape
    panel_bytes = list(split(_bytes_of(array), dtype, shape))
    panels = [xxh128(panel) for panel in panel_bytes]
    digest = digest_of(dtype, shape, panels)
    reference = known(digest)
    if reference is None:
        sums = _in_threads(sha256, panel_bytes)
        content = Reference(digest, sha256_of(dtype, shape, sums), array.nbytes)
        reference = ArrayReference(content, dtype, shape)
    _store(backend, array, reference, panels)
    return reference


def get(backend: Backend, reference: ArrayReference) -> Array:
    """The verified array, C order, little-endian, read-only.

    Raises
    ------
    Corrupt
        When any part of it is absent or is not what was stored.
    """
    key = key_of(ARRAYS, reference.digest)
    panels = _stored_panels(backend, reference)
    shard = b""
    chunk = f"{key}/{_chunk_key(reference.shape)}"
    if reference.content.size:
        try:
            shard = backend.get(chunk)
        except NotFound:
            raise Corrupt(
                f"{backend.describe(chunk)} is gone; restore it from a copy", chunk
            ) from None
        _check_index(shard, len(shard), reference, backend.describe(chunk), chunk)
    array = _decoded(shard, reference, panels, backend.describe(chunk), chunk)
    for number, panel in enumerate(split(_bytes_of(array), reference.dtype, reference.shape)):
        if xxh128(panel) != panels[number]:
            raise Corrupt(
                f"{backend.describe(chunk)}: panel {number} is damaged; restore it from a copy",
                chunk,
            )
    array.flags.writeable = False
    return array


def check_sha256(array: Array, reference: ArrayReference, where: str) -> None:
    """Raise `Corrupt` unless the SHA-256 of a verified array is right too."""
    panels = split(_bytes_of(array), reference.dtype, reference.shape)
    sums = [sha256(panel) for panel in panels]
    if sha256_of(reference.dtype, reference.shape, sums) != reference.content.sha256:
        raise Corrupt(f"{where} has the right xxh128 but another sha256; was it forged?")


def stored_reference(backend: Backend, digest: Digest) -> ArrayReference | None:
    """The reference to a stored array by its ``zarr.json``, ``None`` where that is not there.

    Raises
    ------
    Corrupt
        When ``zarr.json`` is damaged.
    """
    key = f"{key_of(ARRAYS, digest)}/zarr.json"
    try:
        document = json.loads(backend.get(key))
        dtype, shape = document["data_type"], tuple(document["shape"])
        total = bytes.fromhex(document["attributes"]["calstore"]["sha256"])
        return ArrayReference(Reference(digest, total, size_of(dtype, shape)), dtype, shape)
    except NotFound:
        return None
    except (Invalid, ValueError, KeyError, TypeError, RecursionError):
        raise Corrupt(f"{backend.describe(key)} is damaged; remove its folder", key) from None


def canonical(array: Array) -> Array:
    """The same values in C order and little-endian; a copy only where one is needed.

    Raises
    ------
    Invalid
        For a dtype that is not stored.
    """
    dtype = array.dtype.newbyteorder("<")
    if str(array.dtype.newbyteorder("=")) not in ITEM_SIZES:
        raise Invalid(
            f"arrays of dtype {array.dtype} are not stored; use one of {', '.join(ITEM_SIZES)}"
        )
    return np.asarray(array, dtype=dtype, order="C")


def _bytes_of(array: Array) -> memoryview:
    # A view as bytes needs an axis; reshape does not copy a C-ordered array.
    return array.reshape(-1).view(np.uint8).data if array.size else memoryview(b"")


def _store(
    backend: Backend, array: Array, reference: ArrayReference, panels: Sequence[Digest]
) -> None:
    folder = key_of(ARRAYS, reference.digest)
    document = _zarr_json(reference, panels)
    if _is_whole(backend, folder, reference, document):
        # Somebody stored it; let sync() cover the names, which may not be durable yet.
        backend.create(f"{folder}/zarr.json", document)
        return
    if array.size:
        chunk = f"{folder}/{_chunk_key(array.shape)}"
        existing = backend.create(chunk, _encoded(array, document))
        if existing is not None:
            _check_shard_size(backend, chunk, reference, existing.size)
    backend.create(f"{folder}/zarr.json", document)


def _is_whole(backend: Backend, folder: str, reference: ArrayReference, document: bytes) -> bool:
    """Whether the array is stored, judged by sizes; `Corrupt` if it is but they are wrong."""
    key = f"{folder}/zarr.json"
    try:
        found = backend.get(key)
    except NotFound:
        return False
    if found != document:
        raise Corrupt(f"{backend.describe(key)} is damaged; remove its folder, run again", key)
    if reference.content.size:
        chunk = f"{folder}/{_chunk_key(reference.shape)}"
        try:
            size = backend.size(chunk)
        except NotFound:
            raise Corrupt(f"{backend.describe(chunk)} is gone; restore it", chunk) from None
        _check_shard_size(backend, chunk, reference, size)
    return True


def _check_shard_size(backend: Backend, key: str, reference: ArrayReference, size: int) -> None:
    """Raise `Corrupt` unless a stored shard's index fits its size; reads no values."""
    footer = _footer_size(reference)
    tail = backend.get(key, -footer) if footer else b""
    _check_index(tail, size, reference, backend.describe(key), key)


def _footer_size(reference: ArrayReference) -> int:
    if not reference.shape:
        return 0
    return panels_of(reference.dtype, reference.shape).count * _INDEX_ENTRY + _INDEX_CRC


def _check_index(tail: bytes, size: int, reference: ArrayReference, where: str, key: str) -> None:
    """Raise `Corrupt` unless the shard's index fits its size and names every panel."""
    footer = _footer_size(reference)
    if not footer:
        return
    if len(tail) < footer:
        raise Corrupt(f"{where} is truncated; restore it from a copy", key)
    index = np.frombuffer(tail[-footer:-_INDEX_CRC], dtype="<u8").reshape(-1, 2)
    if (index == _ABSENT).any():
        raise Corrupt(f"{where} lacks a panel; restore it from a copy", key)
    # As Python integers: sums of hostile uint64 wrap.
    if max(int(offset) + int(length) for offset, length in index) + footer != size:
        raise Corrupt(f"{where} has {size} bytes, its index says otherwise; restore it", key)


def _stored_panels(backend: Backend, reference: ArrayReference) -> list[Digest]:
    """The panels' digests from ``zarr.json``, checked against the array's own."""
    key = f"{key_of(ARRAYS, reference.digest)}/zarr.json"
    try:
        data = backend.get(key)
    except NotFound:
        raise Corrupt(f"{backend.describe(key)} is gone; restore it from a copy", key) from None
    try:
        listed = json.loads(data)["attributes"]["calstore"]["panels"]
        panels = [Digest(bytes.fromhex(panel)) for panel in listed]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise Corrupt(f"{backend.describe(key)} is damaged; restore it from a copy", key) from None
    if digest_of(reference.dtype, reference.shape, panels) != reference.digest or (
        data != _zarr_json(reference, panels)
    ):
        raise Corrupt(f"{backend.describe(key)} is damaged; restore it from a copy", key)
    return panels


def _chunk_key(shape: Shape) -> str:
    return ".".join(["c", *("0" for _ in shape)])


def _encoded(array: Array, document: bytes) -> Bytes:
    files = _files({"zarr.json": document})
    stored = zarr.open_array(MemoryStore(files), mode="r+")
    stored.with_config({"write_empty_chunks": True})[...] = array
    return files[_chunk_key(array.shape)].as_buffer_like()


def _decoded(
    shard: bytes, reference: ArrayReference, panels: Sequence[Digest], where: str, key: str
) -> Array:
    document = _zarr_json(reference, panels)
    files = _files({"zarr.json": document, _chunk_key(reference.shape): shard})
    try:
        array = np.asarray(zarr.open_array(MemoryStore(files), mode="r")[...])
    # Zarr's codecs raise whatever their libraries do; the bytes are to blame for any of it.
    except Exception as error:
        raise Corrupt(f"{where} is damaged ({error}); restore it from a copy", key) from error
    return canonical(array)


def _files(named: dict[str, bytes]) -> dict[str, Buffer]:
    make = default_buffer_prototype().buffer.from_bytes
    return {name: make(data) for name, data in named.items()}


def _in_threads(hashed: Callable[[memoryview], bytes], panels: Sequence[memoryview]) -> list[bytes]:
    # hashlib lets go of the interpreter while it hashes, so threads use all cores.
    if len(panels) < 2:
        return [hashed(panel) for panel in panels]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(hashed, panels))


def _zarr_json(reference: ArrayReference, panels: Sequence[Digest]) -> bytes:
    """The canonical bytes of ``zarr.json`` (docs/format.md, section 5)."""
    dtype, shape = reference.dtype, reference.shape
    inner = _codecs(dtype)
    chunk = [max(length, 1) for length in panels_of(dtype, shape).shape]
    sharding = {
        "name": "sharding_indexed",
        "configuration": {
            "chunk_shape": chunk,
            "codecs": inner,
            "index_codecs": [_little_endian(), {"name": "crc32c"}],
            "index_location": "end",
        },
    }
    document = {
        "attributes": {
            "calstore": {
                "panels": [panel.hex for panel in panels],
                "sha256": reference.content.sha256.hex(),
                "xxh128": reference.digest.hex,
            }
        },
        "chunk_grid": {
            "name": "regular",
            "configuration": {"chunk_shape": [max(length, 1) for length in shape]},
        },
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
        "codecs": [sharding] if shape else inner,
        "data_type": dtype,
        "fill_value": False if dtype == "bool" else 0.0 if dtype.startswith("float") else 0,
        "node_type": "array",
        "shape": list(shape),
        "storage_transformers": [],
        "zarr_format": 3,
    }
    return (json.dumps(document, sort_keys=True, indent=2) + "\n").encode()


def _codecs(dtype: str) -> list[dict[str, Any]]:
    size = ITEM_SIZES[dtype]
    to_bytes = _little_endian() if size > 1 else {"name": "bytes"}
    if dtype.startswith("float"):
        blosc = {
            "blocksize": 0,
            "clevel": 5,
            "cname": "lz4",
            "shuffle": "bitshuffle",
            "typesize": size,
        }
        return [to_bytes, {"name": "blosc", "configuration": blosc}, {"name": "crc32c"}]
    zstd = {"name": "zstd", "configuration": {"checksum": False, "level": 1}}
    return [to_bytes, zstd, {"name": "crc32c"}]


def _little_endian() -> dict[str, Any]:
    return {"name": "bytes", "configuration": {"endian": "little"}}
