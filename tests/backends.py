"""Backends for tests: real ones, of which one call fails."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TypeVar

from calstore.errors import CalstoreError, Conflict
from calstore.model.digest import Buffer
from calstore.store.backend import Backend, Existing
from calstore.store.memory import MemoryBackend
from calstore.store.remote import open_remote

Result = TypeVar("Result")
Copy = TypeVar("Copy", bound=Backend)

VERBS = ("get", "size", "create", "list", "delete", "sync")


class FailingBackend:
    """A backend whose call number ``nth`` fails, before it acts or after (a lost reply).

    Parameters
    ----------
    inner
        The backend that does the work.
    nth
        Counts the calls of all verbs from 1 on; 0 fails none.
    before
        Whether the call fails before it acts, so that nothing happens.
    """

    def __init__(
        self,
        inner: Backend,
        nth: int,
        before: bool,
        error: CalstoreError | None = None,
    ) -> None:
        self.inner = inner
        self.calls: Counter[str] = Counter()
        self.failed: str | None = None
        self._nth = nth
        self._before = before
        self._error = error or Conflict("no room (a test says so); make room, run again")
        self._lock = threading.Lock()

    @property
    def width(self) -> int:
        return self.inner.width

    def get(self, key: str, start: int = 0, stop: int | None = None) -> bytes:
        return self._call("get", lambda: self.inner.get(key, start, stop))

    def size(self, key: str) -> int:
        return self._call("size", lambda: self.inner.size(key))

    def create(self, key: str, *parts: Buffer) -> Existing | None:
        return self._call("create", lambda: self.inner.create(key, *parts))

    def list(self, prefix: str, *, deep: bool = True) -> Iterator[str]:
        return self._call("list", lambda: self.inner.list(prefix, deep=deep))

    def delete(self, key: str) -> None:
        self._call("delete", lambda: self.inner.delete(key))

    def sync(self) -> None:
        self._call("sync", self.inner.sync)

    def describe(self, key: str) -> str:
        return self.inner.describe(key)

    def _call(self, verb: str, act: Callable[[], Result]) -> Result:
        with self._lock:
            self.calls[verb] += 1
            is_mine = self.calls.total() == self._nth
            if is_mine:
                self.failed = verb
        if is_mine and self._before:
            raise self._error
        result = act()
        if is_mine:
            raise self._error
        return result


def counting(inner: Backend) -> FailingBackend:
    """A backend that counts its calls and fails none."""
    return FailingBackend(inner, 0, before=True)


def copied(backend: Backend, copy: Copy | None = None) -> Copy | MemoryBackend:
    """A backend with the same files; in memory, unless another, empty one is given."""
    into = MemoryBackend() if copy is None else copy
    for key in backend.list(""):
        into.create(key, backend.get(key))
    return into


def backend_at(place: str) -> Backend:
    """The backend of a place: memory, or a URL."""
    return MemoryBackend() if place == "memory:" else open_remote(place)
