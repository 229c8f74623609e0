"""Shards: the panels of an array, encoded one by one, with an index at the end.

The bytes are those of zarr v3's ``sharding_indexed`` codec over blosc or zstd and crc32c, made with
the codecs that zarr itself uses. Zarr's own pipeline makes three more copies of every panel and
takes half a second to import; docs/adr/0002 has the figures.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

import google_crc32c
import numpy as np
from numcodecs import blosc, zstd

from calstore.errors import Corrupt
from calstore.model.arrays import ITEM_SIZES
from calstore.model.digest import Buffer

_ENTRY: Final = 16  # two uint64 for each panel: offset and number of bytes
_CRC: Final = 4
_ABSENT: Final = 2**64 - 1
_BLOSC_LEVEL: Final = 5
_ZSTD_LEVEL: Final = 1
_LARGE: Final = 96 * 2**20

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def footer_size(count: int) -> int:
    """Bytes of the index of that many panels, with its checksum."""
    return count * _ENTRY + _CRC


def encode(panels: Sequence[memoryview], dtype: str) -> list[bytes]:
    """The shard of some panels, in parts."""
    size = sum(panel.nbytes for panel in panels)
    parts = for_each(lambda panel: encode_panel(panel, dtype), panels, size)
    lengths = np.array([len(part) for part in parts], dtype="<u8")
    offsets = np.cumsum(lengths, dtype="<u8") - lengths
    index = np.stack([offsets, lengths], axis=1).astype("<u8").tobytes()
    return [*parts, index, _crc(index)]


def encode_panel(panel: memoryview, dtype: str) -> bytes:
    """The codecs of docs/format.md, section 5, on the bytes of one panel."""
    if dtype.startswith("float"):
        values = np.frombuffer(panel, dtype=np.dtype(dtype).newbyteorder("<"))
        encoded: bytes = blosc.compress(values, b"lz4", _BLOSC_LEVEL, blosc.BITSHUFFLE)
    else:
        encoded = zstd.compress(panel, _ZSTD_LEVEL)
    return encoded + _crc(encoded)


def decode_panel(encoded: memoryview, dtype: str, out: memoryview) -> str | None:
    """Decode a panel into ``out``; what is wrong with it, or ``None``.

    The caller checks the digest: a frame may be intact and yet fill only a part of ``out``.
    """
    if not has_its_checksum(encoded):
        return "its crc32c is wrong"
    codec = blosc if dtype.startswith("float") else zstd
    try:
        # Both refuse a frame that declares more than fits, before they write a byte.
        codec.decompress(encoded[:-_CRC], out)
    except (RuntimeError, ValueError) as error:
        return str(error)
    return None


def has_its_checksum(encoded: memoryview) -> bool:
    """Whether an encoded panel ends in the crc32c of the rest."""
    return len(encoded) >= _CRC and _crc(encoded[:-_CRC]) == encoded[-_CRC:]


def cut(shard: Buffer, count: int, where: str, key: str) -> list[memoryview]:
    """The encoded panels of a shard, as its index says.

    Raises
    ------
    Corrupt
        When the index is damaged, lacks a panel, or does not fit the shard's size.
    """
    view = memoryview(shard)
    check_index(view[-footer_size(count) :], len(view), count, where, key)
    index = np.frombuffer(view[-footer_size(count) : -_CRC], dtype="<u8").reshape(-1, 2)
    return [view[offset : offset + length] for offset, length in index.tolist()]


def check_index(footer: Buffer, size: int, count: int, where: str, key: str) -> None:
    """Raise `Corrupt` unless a shard of ``size`` bytes may end in this footer."""
    footer = memoryview(footer)
    if len(footer) < footer_size(count) or _crc(footer[:-_CRC]) != footer[-_CRC:]:
        raise Corrupt(f"{where} is truncated or its index damaged; restore it from a copy", key)
    entries = np.frombuffer(footer[:-_CRC], dtype="<u8").reshape(-1, 2).tolist()
    if any(_ABSENT in entry for entry in entries):
        raise Corrupt(f"{where} lacks a panel; restore it from a copy", key)
    if sum(length for _, length in entries) + len(footer) != size or any(
        offset + length > size for offset, length in entries
    ):
        raise Corrupt(f"{where} has {size} bytes, its index says otherwise; restore it", key)


def place_of(footer: Buffer, size: int, count: int, number: int, key: str) -> tuple[int, int]:
    """Where a panel begins and ends in a shard of ``size`` bytes that ends in this footer."""
    check_index(footer, size, count, key, key)
    index = np.frombuffer(memoryview(footer)[:-_CRC], dtype="<u8").reshape(-1, 2)
    offset, length = index[number].tolist()
    return offset, offset + length


def codecs_json(dtype: str) -> list[dict[str, Any]]:
    """The codecs of a panel as ``zarr.json`` names them."""
    size = ITEM_SIZES[dtype]
    little: dict[str, Any] = {"name": "bytes", "configuration": {"endian": "little"}}
    if dtype.startswith("float"):
        configuration: dict[str, Any] = {
            "blocksize": 0,
            "clevel": _BLOSC_LEVEL,
            "cname": "lz4",
            "shuffle": "bitshuffle",
            "typesize": size,
        }
        return [little, {"name": "blosc", "configuration": configuration}, {"name": "crc32c"}]
    configuration = {"checksum": False, "level": _ZSTD_LEVEL}
    to_bytes = little if size > 1 else {"name": "bytes"}
    return [to_bytes, {"name": "zstd", "configuration": configuration}, {"name": "crc32c"}]


def for_each(work: Callable[[_Item], _Result], panels: Sequence[_Item], size: int) -> list[_Result]:
    """The results of some work on each panel of an array of ``size`` bytes, in order.

    A large array gets threads of its own: hashes and codecs let go of the interpreter. Of
    others, callers have several in hand; threads inside threads would only hold more memory.
    """
    if size < _LARGE or len(panels) < 2:
        return [work(panel) for panel in panels]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(work, panels))


def _crc(data: Buffer) -> bytes:
    # It takes bytes and numpy arrays, but no memoryview.
    value: int = google_crc32c.value(np.frombuffer(data, dtype=np.uint8))
    return value.to_bytes(_CRC, "little")
