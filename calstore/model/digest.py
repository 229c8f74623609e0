"""Digests and references: how a content is named (docs/format.md, section 4)."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TypeAlias

import xxhash

from calstore.errors import Invalid
from calstore.model.canonical import Value
from calstore.model.fields import natural, octets, require_keys

Buffer: TypeAlias = "bytes | bytearray | memoryview"

PREFIX = "xxh128:"
MIN_HEX = 6
_TYPED = re.compile(rf"{PREFIX}([0-9a-f]{{{MIN_HEX},32}})")


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """The XXH3-128 identity of a content: 16 bytes, big-endian."""

    value: bytes

    def __post_init__(self) -> None:
        octets(self.value, "xxh128", 16)

    @property
    def hex(self) -> str:
        """32 digits, without the algorithm's name."""
        return self.value.hex()

    @property
    def short(self) -> str:
        """What people read and may type: the algorithm and twelve digits."""
        return PREFIX + self.hex[:12]

    def __str__(self) -> str:
        return PREFIX + self.hex


@dataclass(frozen=True, slots=True)
class Reference:
    """The identity of bytes (a blob, a manifest), their SHA-256 and their number."""

    digest: Digest
    sha256: bytes
    size: int

    def __post_init__(self) -> None:
        octets(self.sha256, "sha256", 32)
        natural(self.size, "size")

    def to_value(self) -> dict[str, Value]:
        """The reference as manifests and records hold it."""
        return {"sha256": self.sha256, "size": self.size, "xxh128": self.digest.value}

    @classmethod
    def from_value(cls, value: Value) -> Reference:
        """The reference that a manifest or record holds; `Invalid` for anything else."""
        fields = require_keys(value, {"sha256", "size", "xxh128"}, "reference")
        return cls(
            Digest(octets(fields["xxh128"], "xxh128", 16)),
            octets(fields["sha256"], "sha256", 32),
            natural(fields["size"], "size"),
        )


def xxh128(*parts: Buffer) -> Digest:
    """The XXH3-128 digest of bytes, which may come in several parts."""
    if len(parts) == 1:
        return Digest(xxhash.xxh3_128_digest(parts[0]))
    hashed = xxhash.xxh3_128()
    for part in parts:
        hashed.update(part)
    return Digest(hashed.digest())


def sha256(data: Buffer) -> bytes:
    """The SHA-256 of bytes."""
    return hashlib.sha256(data).digest()


def reference_to(data: Buffer) -> Reference:
    """The reference to bytes."""
    return Reference(xxh128(data), sha256(data), memoryview(data).nbytes)


def typed_prefix(text: str) -> str | None:
    """The hex digits of what a person typed as a digest, ``None`` if it is not meant as one.

    Raises
    ------
    Invalid
        When it begins as a digest but does not go on as one.
    """
    if not text.startswith(PREFIX):
        return None
    match = _TYPED.fullmatch(text)
    if match is None:
        raise Invalid(f"{text!r} is no digest; write {PREFIX} and {MIN_HEX} to 32 of 0-9a-f")
    return match[1]
