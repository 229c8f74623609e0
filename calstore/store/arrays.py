"""Arrays: zarr v3 on disk, verified panel by panel on every read (docs/format.md, 4 and 5).

Zarr alone returns wrong numbers for a flipped bit and fill values for a lost chunk.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

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
from calstore.model.digest import Digest, Reference, sha256, xxh128
from calstore.store import shards
from calstore.store.backend import Backend
from calstore.store.objects import ARRAYS, key_of

Array: TypeAlias = "np.ndarray[Any, np.dtype[Any]]"

Panelled: TypeAlias = Sequence[memoryview]
"""The bytes of each panel."""


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
    values = list(split(_bytes_of(array), dtype, shape))
    panels = [xxh128(panel) for panel in values]
    digest = digest_of(dtype, shape, panels)
    reference = known(digest)
    if reference is None:
        sums = shards.for_each(sha256, values, array.nbytes)
        content = Reference(digest, sha256_of(dtype, shape, sums), array.nbytes)
        reference = ArrayReference(content, dtype, shape)
    _store(backend, reference, values, panels)
    return reference


def identity(array: Array) -> Digest:
    """The identity that `put` would store an array under; `Invalid` for a dtype without one."""
    array = canonical(array)
    dtype, shape = str(array.dtype), array.shape
    return digest_of(dtype, shape, [xxh128(each) for each in split(_bytes_of(array), dtype, shape)])


def get(backend: Backend, reference: ArrayReference) -> Array:
    """The verified array, C order, little-endian, read-only.

    Raises
    ------
    Corrupt
        When any part of it is absent or is not what was stored.
    """
    panels = panel_digests(backend, reference)
    if not reference.content.size:
        return _empty(reference)
    key, encoded = _stored_values(backend, reference)
    array = _empty(reference)
    into = list(split(_bytes_of(array), reference.dtype, reference.shape))

    def decode(number: int) -> str | None:
        wrong = shards.decode_panel(encoded[number], reference.dtype, into[number])
        if wrong is None and xxh128(into[number]) != panels[number]:
            wrong = "its hash is wrong"
        return wrong

    wrongs = shards.for_each(decode, range(len(into)), array.nbytes)
    for number, wrong in enumerate(wrongs):
        if wrong is not None:
            where = backend.describe(key)
            raise Corrupt(f"{where}: panel {number} is damaged ({wrong}); restore it", key)
    array.flags.writeable = False
    return array


def get_panel(backend: Backend, reference: ArrayReference, number: int) -> bytes:
    """The verified bytes of one panel, little-endian; the others are not read.

    Raises
    ------
    NotFound
        When the array has no panel of that number.
    Corrupt
        When it is absent or is not what was stored.
    """
    layout = panels_of(reference.dtype, reference.shape)
    if not 0 <= number < layout.count:
        raise NotFound(f"{reference.digest} has the panels 0 to {layout.count - 1}; not {number}")
    panels = panel_digests(backend, reference)
    if not reference.content.size:
        return b""
    key = f"{key_of(ARRAYS, reference.digest)}/{_chunk_key(reference.shape)}"
    where = backend.describe(key)
    try:
        encoded = _one_encoded(backend, key, reference, number)
    except NotFound:
        raise Corrupt(f"{where} is gone; restore it from a copy", key) from None
    out = bytearray(layout.size)
    wrong = shards.decode_panel(memoryview(encoded), reference.dtype, memoryview(out))
    if wrong is None and xxh128(out) != panels[number]:
        wrong = "its hash is wrong"
    if wrong is not None:
        raise Corrupt(f"{where}: panel {number} is damaged ({wrong}); restore it", key)
    return bytes(out)


def _one_encoded(backend: Backend, key: str, reference: ArrayReference, number: int) -> bytes:
    if not reference.shape:
        return backend.get(key)
    count = panels_of(reference.dtype, reference.shape).count
    footer = backend.get(key, -shards.footer_size(count))
    begin, end = shards.place_of(footer, backend.size(key), count, number, key)
    return backend.get(key, begin, end)


def check_sha256(array: Array, reference: ArrayReference, where: str) -> None:
    """Raise `Corrupt` unless the SHA-256 of a verified array is right too."""
    panels = list(split(_bytes_of(array), reference.dtype, reference.shape))
    sums = shards.for_each(sha256, panels, array.nbytes)
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


def files_of(reference: ArrayReference) -> tuple[str, ...]:
    """The keys of an array's files, in the order in which they are to be stored."""
    folder = key_of(ARRAYS, reference.digest)
    values = (f"{folder}/{_chunk_key(reference.shape)}",) if reference.content.size else ()
    return (*values, f"{folder}/zarr.json")


def is_stored(backend: Backend, reference: ArrayReference) -> bool:
    """Whether an array is there, judged by ``zarr.json`` and sizes; reads no values.

    Raises
    ------
    Corrupt
        When it is there, and what is seen of it is wrong.
    """
    folder = key_of(ARRAYS, reference.digest)
    document = _document(backend, folder)
    if document is None:
        return False
    _checked_digests(document, reference, backend)
    return _has_values(backend, folder, reference)


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


def _empty(reference: ArrayReference) -> Array:
    try:
        return np.empty(reference.shape, dtype=np.dtype(reference.dtype).newbyteorder("<"))
    except (MemoryError, ValueError) as error:
        raise Invalid(
            f"an array {reference.dtype} {reference.shape} of {reference.content.size} bytes "
            "does not fit into memory here"
        ) from error


def _store(
    backend: Backend, reference: ArrayReference, values: Panelled, panels: Sequence[Digest]
) -> None:
    folder = key_of(ARRAYS, reference.digest)
    document = _zarr_json(reference, panels)
    key = f"{folder}/zarr.json"
    found = _document(backend, folder)
    if found not in (None, document):
        raise Corrupt(f"{backend.describe(key)} is damaged; remove its folder, run again", key)
    if found is not None and _has_values(backend, folder, reference):
        # Let sync() cover the name, whose first writer may have died before it was durable.
        backend.create(key, document)
        return
    if reference.content.size:
        chunk = f"{folder}/{_chunk_key(reference.shape)}"
        encoded = _encoded(values, reference)
        existing = backend.create(chunk, *encoded)
        if existing is not None:
            _check_shard(backend, chunk, reference, existing.size)
    backend.create(key, document)


def _encoded(values: Panelled, reference: ArrayReference) -> list[bytes]:
    if reference.shape:
        return shards.encode(values, reference.dtype)
    return [shards.encode_panel(values[0], reference.dtype)]


def _document(backend: Backend, folder: str) -> bytes | None:
    """The ``zarr.json`` of an array, ``None`` where there is none."""
    try:
        return backend.get(f"{folder}/zarr.json")
    except NotFound:
        return None


def _has_values(backend: Backend, folder: str, reference: ArrayReference) -> bool:
    """Whether an array's values are there, judged by sizes; `Corrupt` if these are wrong."""
    if reference.content.size:
        chunk = f"{folder}/{_chunk_key(reference.shape)}"
        try:
            _check_shard(backend, chunk, reference, backend.size(chunk))
        except NotFound:
            return False  # lost; storing it again mends it
    return True


def _check_shard(backend: Backend, key: str, reference: ArrayReference, size: int) -> None:
    """Raise `Corrupt` unless a stored shard's index fits its size; reads no values.

    An array without axes has no index, and is small enough to be looked at whole.
    """
    if not reference.shape:
        _check_panel(backend, key, reference)
    else:
        count = panels_of(reference.dtype, reference.shape).count
        footer = backend.get(key, -shards.footer_size(count))
        shards.check_index(footer, size, count, backend.describe(key), key)


def _check_panel(backend: Backend, key: str, reference: ArrayReference) -> None:
    out = memoryview(bytearray(reference.content.size))
    wrong = shards.decode_panel(memoryview(backend.get(key)), reference.dtype, out)
    if wrong is not None:
        raise Corrupt(f"{backend.describe(key)} is damaged ({wrong}); restore it", key)


def panel_digests(backend: Backend, reference: ArrayReference) -> list[Digest]:
    """The panels' digests from ``zarr.json``, checked against the array's own; reads no values.

    Raises
    ------
    Corrupt
        When they are absent or are not what was stored.
    """
    key = f"{key_of(ARRAYS, reference.digest)}/zarr.json"
    try:
        data = backend.get(key)
    except NotFound:
        raise Corrupt(f"{backend.describe(key)} is gone; restore it from a copy", key) from None
    return _checked_digests(data, reference, backend)


def _checked_digests(data: bytes, reference: ArrayReference, backend: Backend) -> list[Digest]:
    """The panels' digests that a ``zarr.json`` lists; `Corrupt` where they are not its array's."""
    key = f"{key_of(ARRAYS, reference.digest)}/zarr.json"
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


def _stored_values(backend: Backend, reference: ArrayReference) -> tuple[str, Panelled]:
    """The key of the shard, and its encoded panels."""
    key = f"{key_of(ARRAYS, reference.digest)}/{_chunk_key(reference.shape)}"
    try:
        shard = backend.get(key)
    except NotFound:
        raise Corrupt(f"{backend.describe(key)} is gone; restore it from a copy", key) from None
    if not reference.shape:
        return key, [memoryview(shard)]
    count = panels_of(reference.dtype, reference.shape).count
    return key, shards.cut(shard, count, backend.describe(key), key)


def _chunk_key(shape: Shape) -> str:
    return ".".join(["c", *("0" for _ in shape)])


def _zarr_json(reference: ArrayReference, panels: Sequence[Digest]) -> bytes:
    """The canonical bytes of ``zarr.json`` (docs/format.md, section 5)."""
    dtype, shape = reference.dtype, reference.shape
    inner = shards.codecs_json(dtype)
    chunk = [max(length, 1) for length in panels_of(dtype, shape).shape]
    sharding = {
        "name": "sharding_indexed",
        "configuration": {
            "chunk_shape": chunk,
            "codecs": inner,
            "index_codecs": [
                {"name": "bytes", "configuration": {"endian": "little"}},
                {"name": "crc32c"},
            ],
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
    return (json.dumps(document, sort_keys=True, separators=(",", ":")) + "\n").encode()
