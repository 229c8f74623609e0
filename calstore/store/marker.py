"""``calstore.json``: what makes a directory a store (docs/format.md, section 8)."""

from __future__ import annotations

import json

from calstore.errors import Conflict, Corrupt, Invalid, NotFound
from calstore.model.canonical import Value, encode
from calstore.model.digest import xxh128
from calstore.store.backend import Backend

KEY = "calstore.json"
FORMAT = 1


def create(backend: Backend, store_id: str) -> None:
    """Make an empty place a store.

    Raises
    ------
    Conflict
        When it is one already.
    """
    document = _rendered(store_id)
    # The reply to a create that succeeded can be lost; the id tells.
    if backend.create(KEY, document) is not None and backend.get(KEY) != document:
        raise Conflict(f"there is a store already: {backend.describe('')}")
    backend.sync()


def is_there(backend: Backend) -> bool:
    """Whether a place is a store, of whatever format."""
    try:
        return backend.size(KEY) > 0
    except NotFound:
        return False


def read(backend: Backend) -> str:
    """The store's id.

    Raises
    ------
    NotFound
        When this is no store.
    Invalid
        When its format is one that this calstore does not know.
    Corrupt
        When the file is damaged, or gone from a store that has objects.
    """
    try:
        data = backend.get(KEY)
    except NotFound:
        if next(backend.list("refs/"), None) is not None:
            raise Corrupt(
                f"{backend.describe(KEY)} is gone, but refs/ is there; restore the file", KEY
            ) from None
        raise NotFound(
            f"{backend.describe('')} is no calstore store; make one with: calstore init"
        ) from None
    return _parsed(data, backend.describe(KEY))


def _rendered(store_id: str, version: int = FORMAT) -> bytes:
    body: dict[str, Value] = {"format": version, "id": store_id}
    document = {"calstore": body, "checksum": str(xxh128(encode(body)))}
    return (json.dumps(document, sort_keys=True, indent=2) + "\n").encode()


def _parsed(data: bytes, where: str) -> str:
    try:
        body = json.loads(data)["calstore"]
        version, store_id = body["format"], body["id"]
        if not isinstance(version, int) or not isinstance(store_id, str):
            raise TypeError
    except (ValueError, KeyError, TypeError, RecursionError):
        raise Corrupt(f"{where} is damaged; restore it from a copy", KEY) from None
    if data != _rendered(store_id, version):
        raise Corrupt(f"{where} is damaged: its checksum is wrong; restore it from a copy", KEY)
    if version != FORMAT:
        raise Invalid(
            f"{where} says format {version}; this calstore reads format {FORMAT}: use a newer one"
        )
    return store_id
