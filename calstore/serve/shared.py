"""Arrays in memory, each once for all who are being sent it at the same time."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import numpy as np

    from calstore.model.digest import Digest

_AT_ONCE: Final = 2


class SharedArrays:
    """Arrays that somebody is being sent; nothing is kept when nobody is.

    A detector's pedestals are hundreds of megabytes, and many jobs that begin together ask for
    the same ones.
    """

    def __init__(self) -> None:
        self._sent: weakref.WeakValueDictionary[Digest, np.ndarray[Any, np.dtype[Any]]] = (
            weakref.WeakValueDictionary()
        )
        self._reading: dict[Digest, threading.Lock] = {}
        self._lock = threading.Lock()
        self._turns = threading.Semaphore(_AT_ONCE)

    def get(
        self, digest: Digest, read: Callable[[], np.ndarray[Any, np.dtype[Any]]]
    ) -> np.ndarray[Any, np.dtype[Any]]:
        """The array of this digest: the one that others are sent, or what ``read`` gives."""
        with self._lock:
            if (array := self._sent.get(digest)) is not None:
                return array
            reading = self._reading.setdefault(digest, threading.Lock())
        with reading:
            with self._lock:
                if (array := self._sent.get(digest)) is not None:
                    return array
            try:
                with self._turns:
                    array = read()
                with self._lock:
                    self._sent[digest] = array
            finally:
                with self._lock:
                    self._reading.pop(digest, None)
        return array
