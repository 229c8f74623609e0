"""What was read once from a store that is far away, kept in a local folder.

Only what never changes is kept: objects and records. Each file ends in a hash of the rest, and
what fails it is read anew, so a damaged cache costs time and nothing else. The folder may be
removed at any time, and several processes may share it.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from calstore.model.digest import Buffer, xxh128
from calstore.store.backend import Backend, Existing
from calstore.store.intact import is_intact

_HASH: Final = 16
_KEPT_PART: Final = 0.9  # of the limit, once it was passed


@dataclass(frozen=True, slots=True)
class ReadCache:
    """Where reads are kept, and how much of them.

    Parameters
    ----------
    folder
        Made when it is needed; each store has a folder of its own in it.
    limit
        Bytes of one store; what was not read for longest goes first.
    trouble
        Told once, in a sentence, when nothing can be kept: reading goes on without.
    """

    folder: Path
    limit: int
    trouble: Callable[[str], None] = lambda message: None


class CachedBackend:
    """Another backend, whose objects and records are kept where they are at hand.

    Parameters
    ----------
    store_id
        Of the store below: a store that is made anew at the same place is another one, and so is
        a copy of it at another place.
    """

    def __init__(self, below: Backend, cache: ReadCache, store_id: str) -> None:
        self.below = below
        place = f"{store_id} {below.describe('')}"
        self._folder = cache.folder / xxh128(place.encode()).hex
        self._limit = cache.limit
        self._trouble = cache.trouble
        self._kept: int | None = None  # bytes, once they were counted
        self._is_broken = False
        self._lock = threading.Lock()

    @property
    def width(self) -> int:
        """As many calls at once as the backend below takes."""
        return self.below.width

    def get(self, key: str, start: int = 0, stop: int | None = None) -> bytes:
        """The bytes, from the folder if they are there; see `Backend.get`."""
        if not _is_kept(key):
            return self.below.get(key, start, stop)
        data = self._read(key)
        if data is None:
            data = self.below.get(key, start, stop)
            if (start, stop) != (0, None):
                return data  # a part is not worth fetching the whole
            if is_intact(self, key, data):
                self._keep(key, data)
        return data[start:stop] if (start, stop) != (0, None) else data

    def size(self, key: str) -> int:
        """The number of bytes, as the store itself says: what is asked is whether it has them."""
        return self.below.size(key)

    def create(self, key: str, *parts: Buffer) -> Existing | None:
        """Store the parts in the backend below; see `Backend.create`."""
        return self.below.create(key, *parts)

    def list(self, prefix: str, *, deep: bool = True) -> Iterator[str]:
        """The keys of the backend below; see `Backend.list`."""
        return self.below.list(prefix, deep=deep)

    def delete(self, key: str) -> None:
        """Remove a file of the backend below, and what is kept of it."""
        self.below.delete(key)
        with contextlib.suppress(OSError):
            (self._folder / key).unlink()

    def sync(self) -> None:
        """Let the backend below be durable; what is kept here need not be."""
        self.below.sync()

    def describe(self, key: str) -> str:
        """Where a person finds the file."""
        return self.below.describe(key)

    def _read(self, key: str) -> bytes | None:
        path = self._folder / key
        try:
            with path.open("rb", buffering=0) as file:
                size = os.fstat(file.fileno()).st_size
                data, ending = file.read(max(size - _HASH, 0)), file.read()
        except OSError:
            return None
        if len(data) + _HASH != size or xxh128(data).value != ending:
            with contextlib.suppress(OSError):
                path.unlink()
            return None
        with contextlib.suppress(OSError):
            os.utime(path)  # what was read last goes last
        return data

    def _keep(self, key: str, data: bytes) -> None:
        size = len(data) + _HASH
        if self._is_broken or size > self._limit * _KEPT_PART:
            return
        path = self._folder / key
        temporary = path.with_name(f".tmp-{secrets.token_hex(8)}")
        try:
            self._make_room(size)
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with temporary.open("xb", buffering=0) as file:
                    if file.write(data) != len(data) or file.write(xxh128(data).value) != _HASH:
                        return  # a disk that fills up; the next one will say so
                temporary.rename(path)
            finally:
                temporary.unlink(missing_ok=True)
        except OSError as error:
            self._give_up(error)

    def _make_room(self, size: int) -> None:
        with self._lock:
            if self._kept is None:
                self._kept = sum(each.st_size for _, each in self._files())
            self._kept += size
            if self._kept <= self._limit:
                return
            # Others share the folder, so count again.
            files = sorted(self._files(), key=lambda each: each[1].st_mtime_ns)
            self._kept = size + sum(each.st_size for _, each in files)
            for path, each in files:
                if self._kept <= self._limit * _KEPT_PART:
                    break
                path.unlink(missing_ok=True)
                self._kept -= each.st_size

    def _files(self) -> Iterator[tuple[Path, os.stat_result]]:
        for folder, _, names in os.walk(self._folder):
            for name in names:
                path = Path(folder) / name
                with contextlib.suppress(FileNotFoundError):
                    yield path, path.stat()

    def _give_up(self, error: OSError) -> None:
        with self._lock:
            is_first, self._is_broken = not self._is_broken, True
        if is_first:
            why = error.strerror or str(error)
            self._trouble(
                f"nothing can be kept in {self._folder} ({why}); reading goes on without it"
            )


def _is_kept(key: str) -> bool:
    name = key.rpartition("/")[2]
    return key.startswith("objects/") or (len(name) == 8 and name.isdecimal())
