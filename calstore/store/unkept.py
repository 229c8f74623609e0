"""A look at what would be stored: reads go to a real backend, what is created goes nowhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from calstore.errors import Invalid, NotFound
from calstore.model.digest import Buffer
from calstore.store.backend import Backend, Existing
from calstore.store.memory import MemoryBackend
from calstore.store.objects import MANIFESTS

_ZARR: Final = "/zarr.json"


class UnkeptBackend:
    """Another backend, over which manifests and digests of panels are kept, but no values.

    So files can be hashed as an import would, compared with what is stored, and forgotten.

    Parameters
    ----------
    keeps_values
        Whether values are kept too, in memory, so that they can be looked at.
    """

    def __init__(self, below: Backend, *, keeps_values: bool = False) -> None:
        self._below = below
        self._keeps_values = keeps_values
        self._kept = MemoryBackend()

    @property
    def width(self) -> int:
        """As many calls at once as the backend below takes."""
        return self._below.width

    def get(self, key: str, start: int = 0, stop: int | None = None) -> bytes:
        """The bytes, if they were kept or are stored; see `Backend.get`."""
        try:
            return self._kept.get(key, start, stop)
        except NotFound:
            return self._below.get(key, start, stop)

    def size(self, key: str) -> int:
        """The number of bytes, if they were kept or are stored."""
        try:
            return self._kept.size(key)
        except NotFound:
            return self._below.size(key)

    def create(self, key: str, *parts: Buffer) -> Existing | None:
        """Keep the parts if they are of the kinds that are kept; none of them is durable."""
        if self._keeps_values or key.startswith(MANIFESTS) or key.endswith(_ZARR):
            return self._kept.create(key, *parts)
        return None

    def list(self, prefix: str, *, deep: bool = True) -> Iterator[str]:
        """The keys of the backend below; see `Backend.list`."""
        return self._below.list(prefix, deep=deep)

    def delete(self, key: str) -> None:
        """Nothing may be deleted here."""
        raise Invalid(f"{self.describe(key)} is only looked at; nothing is deleted")

    def sync(self) -> None:
        """Nothing to do: nothing is kept."""

    def describe(self, key: str) -> str:
        """Where a person finds the file."""
        return self._below.describe(key)
