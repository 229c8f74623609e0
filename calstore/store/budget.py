"""A bound on the bytes that threads hold at once."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator


class Budget:
    """At most ``limit`` bytes in the hands of all threads together."""

    def __init__(self, limit: int) -> None:
        self._free = limit
        self._limit = limit
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def of(self, size: int) -> Iterator[None]:
        """Wait until ``size`` bytes are free, and hold them; more than the limit waits for all."""
        size = min(size, self._limit)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= size)
            self._free -= size
        try:
            yield
        finally:
            with self._changed:
                self._free += size
                self._changed.notify_all()
