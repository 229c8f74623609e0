"""Whether a file of a store is whole, as far as the file itself and its name tell."""

from __future__ import annotations

from calstore.errors import CalstoreError
from calstore.model.digest import Digest, xxh128
from calstore.model.records import Record
from calstore.store import objects
from calstore.store.backend import Backend
from calstore.store.memory import MemoryBackend


def is_intact(backend: Backend, key: str, data: bytes) -> bool:
    """Whether these bytes of an object or a record are what was stored, accidents considered.

    Parameters
    ----------
    backend
        Where the ``zarr.json`` beside an array's values is read.
    """
    try:
        if key.startswith((objects.BLOBS, objects.MANIFESTS)):
            return xxh128(data).hex == key.rpartition("/")[2]
        if key.startswith(objects.ARRAYS):
            return _is_part_of_array(backend, key, data)
        log, _, number = key.rpartition("/")
        Record.decoded(data, log=log, number=int(number))
    except (CalstoreError, ValueError):
        return False
    return True


def _is_part_of_array(backend: Backend, key: str, data: bytes) -> bool:
    from calstore.model.arrays import panels_of
    from calstore.store import arrays, shards

    folder, _, name = key.rpartition("/")
    digest = Digest(bytes.fromhex(folder.rpartition("/")[2]))
    document = f"{folder}/zarr.json"
    alone = MemoryBackend()
    alone.create(document, data if name == "zarr.json" else backend.get(document))
    reference = arrays.stored_reference(alone, digest)
    if reference is None:
        return False
    arrays.panel_digests(alone, reference)  # which checks them against the array's own
    if name == "zarr.json":
        return True
    count = panels_of(reference.dtype, reference.shape).count
    panels = shards.cut(data, count, key, key) if reference.shape else [memoryview(data)]
    return all(shards.has_its_checksum(panel) for panel in panels)
