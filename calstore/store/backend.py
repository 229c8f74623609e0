"""The seam between calstore and a place that keeps bytes.

A local directory and memory implement it here; anything with an atomic create-if-absent can.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from calstore.model.digest import Buffer


@dataclass(frozen=True, slots=True)
class Existing:
    """What `Backend.create` found in the way: a file of ``size`` bytes."""

    size: int


class Backend(Protocol):
    """Named, write-once files. Keys are ``/``-separated; no component begins with a dot.

    Every method raises only the errors of `calstore.errors`: `NotFound` for a key that is
    not there, `Invalid` where reading or writing is not permitted, `Conflict` when there is
    no room or no answer, `Corrupt` when the medium fails.
    """

    @property
    def width(self) -> int:
        """How many calls are worth having under way at once; 1 where none of them waits long."""
        ...

    def get(self, key: str, start: int = 0, stop: int | None = None) -> bytes:
        """The bytes from ``start`` up to ``stop``; a negative start counts from the end."""
        ...

    def size(self, key: str) -> int:
        """The number of bytes."""
        ...

    def create(self, key: str, *parts: Buffer) -> Existing | None:
        """Store the parts as one file unless the key exists; ``None`` when they were stored.

        Atomic: of several writers one is told ``None``, and nobody sees a part. The bytes
        are durable on return, their name is durable after the next `sync`.
        """
        ...

    def list(self, prefix: str, *, deep: bool = True) -> Iterator[str]:
        """The keys below ``prefix``, which ends in ``/`` or is empty, in ascending order.

        When not ``deep``, folders stand for what is in them; their names end in ``/``.
        """
        ...

    def delete(self, key: str) -> None:
        """Remove a file; of all verbs only prune may."""
        ...

    def sync(self) -> None:
        """Make the names of all that `create` stored or found durable."""
        ...

    def describe(self, key: str) -> str:
        """Where a person finds the file."""
        ...
