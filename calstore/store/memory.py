"""A store in memory, for tests and for a look at a set without a disk."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from calstore.errors import NotFound
from calstore.model.digest import Buffer
from calstore.store.backend import Existing


class MemoryBackend:
    """Files in a dictionary; safe to share between threads.

    Parameters
    ----------
    place
        What people are told where the files are.
    """

    width = 1

    def __init__(self, place: str = "memory:") -> None:
        self._place = place
        self._files: dict[str, bytes] = {}
        self._lock = threading.Lock()

    def get(self, key: str, start: int = 0, stop: int | None = None) -> bytes:
        """The bytes from ``start`` up to ``stop``; see `Backend.get`."""
        try:
            return self._files[key][start:stop]
        except KeyError:
            raise NotFound(f"there is no {self.describe(key)}") from None

    def size(self, key: str) -> int:
        """The number of bytes."""
        return len(self.get(key))

    def create(self, key: str, *parts: Buffer) -> Existing | None:
        """Store the parts unless the key exists; see `Backend.create`."""
        copy = b"".join(parts)
        with self._lock:
            if key in self._files:
                return Existing(len(self._files[key]))
            self._files[key] = copy
        return None

    def list(self, prefix: str, *, deep: bool = True) -> Iterator[str]:
        """The keys below a prefix, ascending; see `Backend.list`."""
        with self._lock:
            keys = [key for key in self._files if key.startswith(prefix)]
        if not deep:
            heads = (key.removeprefix(prefix).partition("/") for key in keys)
            keys = list({prefix + name + slash for name, slash, _ in heads})
        return iter(sorted(keys))

    def delete(self, key: str) -> None:
        """Remove a file."""
        with self._lock:
            if self._files.pop(key, None) is None:
                raise NotFound(f"there is no {self.describe(key)}")

    def sync(self) -> None:
        """Nothing to do: memory does not outlive the process."""

    def describe(self, key: str) -> str:
        """Where a person finds the file."""
        return f"{self._place}{key}"
