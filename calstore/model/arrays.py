"""What an array is: dtype, shape, panels and identity (docs/format.md, section 4)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from calstore.errors import Invalid
from calstore.model.canonical import Value, encode
from calstore.model.digest import Buffer, Digest, Reference, sha256, xxh128
from calstore.model.fields import items, natural, require_keys, text

Shape: TypeAlias = tuple[int, ...]

ITEM_SIZES = {
    "bool": 1,
    **{f"{sign}int{8 * size}": size for size in (1, 2, 4, 8) for sign in ("", "u")},
    **{f"float{8 * size}": size for size in (2, 4, 8)},
}
MIN_PANEL_BYTES = 16 * 1024
MAX_AXES = 32


@dataclass(frozen=True, slots=True)
class ArrayReference:
    """The identity of an array, with its dtype and shape.

    ``content.size`` is the number of bytes of the values.
    """

    content: Reference
    dtype: str
    shape: Shape

    def __post_init__(self) -> None:
        expected = size_of(self.dtype, self.shape)
        if self.content.size != expected:
            raise Invalid(
                f"an array {self.dtype} {self.shape} has {expected} bytes, "
                f"but its reference says {self.content.size}"
            )

    @property
    def digest(self) -> Digest:
        """The identity by which the array is stored."""
        return self.content.digest

    def to_value(self) -> dict[str, Value]:
        """The reference as manifests hold it."""
        return {**self.content.to_value(), "dtype": self.dtype, "shape": list(self.shape)}

    @classmethod
    def from_value(cls, value: Value) -> ArrayReference:
        """The reference that a manifest holds; `Invalid` for anything else."""
        fields = dict(
            require_keys(value, {"dtype", "sha256", "shape", "size", "xxh128"}, "array reference")
        )
        dtype = text(fields.pop("dtype"), "dtype")
        shape = items(fields.pop("shape"), "shape")
        lengths = tuple(natural(length, "length of an axis") for length in shape)
        return cls(Reference.from_value(fields), dtype, lengths)


@dataclass(frozen=True, slots=True)
class Panels:
    """How the values of an array are cut: ``count`` panels of ``shape``, each ``size`` bytes."""

    shape: Shape
    count: int
    size: int


def size_of(dtype: str, shape: Sequence[int]) -> int:
    """Bytes of the values; `Invalid` for a dtype or a shape that no stored array has."""
    if dtype not in ITEM_SIZES:
        raise Invalid(f"arrays of dtype {dtype} are not stored; use one of {', '.join(ITEM_SIZES)}")
    if len(shape) > MAX_AXES:
        raise Invalid(f"an array with {len(shape)} axes; at most {MAX_AXES} are stored")
    for length in shape:
        natural(length, "length of an axis")
    size = math.prod(shape) * ITEM_SIZES[dtype]
    if size >= 2**63:
        raise Invalid(f"an array {dtype} {tuple(shape)} would have {size} bytes")
    return size


def panels_of(dtype: str, shape: Shape) -> Panels:
    """The panels of an array, by its dtype and shape alone.

    A panel is a slab over the last two axes; leading axes fold into it until it holds
    16 KiB. An array of up to two axes, or without elements, is one panel.
    """
    size = size_of(dtype, shape)
    lead = max(len(shape) - 2, 0)
    if size == 0:
        lead = 0
    while lead and math.prod(shape[lead:]) * ITEM_SIZES[dtype] < MIN_PANEL_BYTES:
        lead -= 1
    count = math.prod(shape[:lead])
    return Panels((1,) * lead + shape[lead:], count, size // count)


def split(values: Buffer, dtype: str, shape: Shape) -> Iterator[memoryview]:
    """The bytes of each panel, in order, without a copy.

    Parameters
    ----------
    values
        The values in C order, little-endian.
    """
    panels = panels_of(dtype, shape)
    data = memoryview(values).cast("B") if panels.size else memoryview(b"")
    if data.nbytes != panels.size * panels.count:
        raise Invalid(f"{data.nbytes} bytes are not the values of {dtype} {shape}")
    for number in range(panels.count):
        yield data[number * panels.size : (number + 1) * panels.size]


def identity(
    dtype: str, shape: Shape, panels: Sequence[bytes], hashed: Callable[[bytes], bytes]
) -> bytes:
    """The two-level hash: of the canonical header that lists the panels' hashes."""
    header: Value = {
        "dtype": dtype,
        "kind": "array",
        "panels": list(panels),
        "shape": list(shape),
    }
    return hashed(encode(header))


def digest_of(dtype: str, shape: Shape, panel_digests: Sequence[Digest]) -> Digest:
    """The XXH3-128 identity of an array from its panels'."""
    panels = [digest.value for digest in panel_digests]
    return Digest(identity(dtype, shape, panels, lambda header: xxh128(header).value))


def sha256_of(dtype: str, shape: Shape, panel_sha256: Sequence[bytes]) -> bytes:
    """The SHA-256 of an array from its panels'."""
    return identity(dtype, shape, panel_sha256, sha256)
