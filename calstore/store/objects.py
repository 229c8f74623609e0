"""Blobs and manifests: bytes under the name of their digest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from calstore.errors import Corrupt, Invalid, NotFound
from calstore.model.digest import Buffer, Digest, Reference, reference_to, sha256, xxh128
from calstore.store.backend import Backend

BLOBS: Final = "objects/blobs/"
MANIFESTS: Final = "objects/manifests/"
ARRAYS: Final = "objects/arrays/"


def key_of(folder: str, digest: Digest) -> str:
    """Where an object lies: below two digits, so that no folder grows too long."""
    return f"{folder}{digest.hex[:2]}/{digest.hex}"


def put(
    backend: Backend, folder: str, data: Buffer, reference: Reference | None = None
) -> Reference:
    """Store bytes under their digest; durable by name after `Backend.sync`.

    Parameters
    ----------
    folder
        `BLOBS` or `MANIFESTS`.
    reference
        The reference to these bytes, where it is known.

    Raises
    ------
    Corrupt
        When a file of another size has the name already.
    """
    reference = reference or reference_to(data)
    key = key_of(folder, reference.digest)
    existing = backend.create(key, data)
    if existing is not None and existing.size != reference.size:
        raise Corrupt(
            f"{backend.describe(key)} has {existing.size} bytes instead of {reference.size}; "
            "remove it and run the command again",
            key,
        )
    return reference


def get(backend: Backend, folder: str, reference: Reference) -> bytes:
    """The verified bytes of a blob or a manifest.

    Raises
    ------
    Corrupt
        When they are absent, or not what was stored.
    """
    key = key_of(folder, reference.digest)
    try:
        data = backend.get(key)
    except NotFound:
        raise Corrupt(f"{backend.describe(key)} is gone; restore it from a copy", key) from None
    check(data, reference, backend.describe(key), key)
    return data


def check(data: bytes, reference: Reference, where: str, key: str) -> None:
    """Raise `Corrupt` unless the bytes are what the reference says."""
    if len(data) != reference.size:
        raise Corrupt(
            f"{where} has {len(data)} bytes instead of {reference.size}; restore it from a copy",
            key,
        )
    if xxh128(data) != reference.digest:
        raise Corrupt(f"{where} is damaged: its hash is wrong; restore it from a copy", key)


def check_sha256(data: bytes, reference: Reference, where: str, key: str) -> None:
    """Raise `Corrupt` unless the SHA-256 is right too: only malice fails here alone."""
    if sha256(data) != reference.sha256:
        raise Corrupt(f"{where} has the right xxh128 but another sha256; was it forged?", key)


def digests(backend: Backend, folder: str) -> Iterator[Digest]:
    """The digests of all objects in a folder."""
    seen = ""
    for key in backend.list(folder):
        name = key.removeprefix(folder).split("/")[1:2]
        if name and name[0] != seen:
            seen = name[0]
            try:
                yield Digest(bytes.fromhex(seen))
            except (ValueError, Invalid):
                raise Corrupt(f"{backend.describe(key)} is no object of calstore", key) from None


def find(backend: Backend, folder: str, prefix: str) -> Digest:
    """The one digest that begins with these hex digits.

    Raises
    ------
    NotFound
        When there is none.
    Invalid
        When there are several.
    """
    found = [
        Digest(bytes.fromhex(name))
        for name in (key.rsplit("/", 1)[1] for key in backend.list(f"{folder}{prefix[:2]}/"))
        if name.startswith(prefix) and len(name) == 32
    ]
    if not found:
        raise NotFound(f"no object begins with xxh128:{prefix}")
    if len(found) > 1:
        candidates = ", ".join(str(digest) for digest in found[:5])
        raise Invalid(f"xxh128:{prefix} is not unique; it begins {candidates}")
    return found[0]


def exists(backend: Backend, folder: str, reference: Reference) -> None:
    """Raise `Corrupt` unless a file of the right size is there; reads nothing."""
    if not is_stored(backend, folder, reference):
        key = key_of(folder, reference.digest)
        raise Corrupt(f"{backend.describe(key)} is gone; restore it from a copy", key)


def is_stored(backend: Backend, folder: str, reference: Reference) -> bool:
    """Whether a blob or a manifest is there; `Corrupt` if it is and its size is wrong."""
    key = key_of(folder, reference.digest)
    try:
        size = backend.size(key)
    except NotFound:
        return False
    if size != reference.size:
        raise Corrupt(f"{backend.describe(key)} has {size} bytes instead of {reference.size}", key)
    return True
