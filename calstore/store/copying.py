"""Objects from one place to another: as they are stored, and only what proves to be right."""

from __future__ import annotations

import contextlib

from calstore.errors import NotFound
from calstore.model.arrays import ArrayReference
from calstore.model.digest import Reference
from calstore.store import objects
from calstore.store.backend import Backend
from calstore.store.memory import MemoryBackend


def is_stored(backend: Backend, folder: str, content: Reference | ArrayReference) -> bool:
    """Whether an object is there, judged by sizes; reads no values.

    Raises
    ------
    Corrupt
        When it is there, and what is seen of it is wrong.
    """
    if isinstance(content, ArrayReference):
        from calstore.store import arrays

        return arrays.is_stored(backend, content)
    return objects.is_stored(backend, folder, content)


def fetch(backend: Backend, folder: str, content: Reference | ArrayReference) -> dict[str, bytes]:
    """The files of an object, in the order in which they are to be stored.

    Every byte was checked: an array's values by their panels' digests.

    Raises
    ------
    Corrupt
        When one is absent, or not what was stored.
    """
    if not isinstance(content, ArrayReference):
        return {objects.key_of(folder, content.digest): objects.get(backend, folder, content)}
    from calstore.store import arrays

    fetched = MemoryBackend(backend.describe("") + "/")
    files = {}
    for key in arrays.files_of(content):
        with contextlib.suppress(NotFound):  # which the check will say
            files[key] = backend.get(key)
            fetched.create(key, files[key])
    arrays.get(fetched, content)
    return files


def copy(source: Backend, dest: Backend, folder: str, content: Reference | ArrayReference) -> int:
    """Store an object of another place, checked; the bytes of its files.

    Raises
    ------
    Corrupt
        When it is damaged in either place.
    """
    files = fetch(source, folder, content)
    existing = [dest.create(key, data) for key, data in files.items()]
    if any(existing):
        # Another writer may have encoded the values in other bytes; judged by their index.
        is_stored(dest, folder, content)
    return sum(map(len, files.values()))
