"""What a process asks of the file system: counted, logged, and made to fail at the n-th call."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

VERBS = ("open", "write", "fsync", "rename", "unlink", "mkdir", "link", "fchmod")

SetAttribute = Callable[[object, str, object], None]
"""As ``setattr``; ``pytest.MonkeyPatch.setattr`` takes it back."""


class InterruptedCalls:
    """Lets the n-th of some ``os`` calls be interrupted, in whichever thread it happens.

    Parameters
    ----------
    interrupt
        Raises, or kills the process.
    when
        ``before`` the call acts, ``after`` it, or ``torn``: a write after its first half.
    """

    def __init__(
        self,
        nth: int,
        interrupt: Callable[[], None],
        when: Literal["before", "after", "torn"] = "before",
        verbs: tuple[str, ...] = VERBS,
    ) -> None:
        self.calls = 0
        self.interrupted: str | None = None
        self._nth = nth
        self._interrupt = interrupt
        self._when = when
        self._verbs = verbs
        self._lock = threading.Lock()

    def install(self, set_attribute: SetAttribute = setattr) -> None:
        """Put the wrappers in the place of the functions of ``os``."""
        for verb in self._verbs:
            set_attribute(os, verb, self._wrapped(verb, getattr(os, verb)))

    def _wrapped(self, verb: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            with self._lock:
                self.calls += 1
                is_mine = self.calls == self._nth
                if is_mine:
                    self.interrupted = verb
            if not is_mine:
                return real(*args, **kwargs)
            if self._when == "torn":
                real(args[0], args[1][: len(args[1]) // 2])
            elif self._when == "after":
                result = real(*args, **kwargs)
                if verb == "open":
                    os.close(result)
            self._interrupt()
            raise AssertionError("an interrupt raises or kills")

        return call


class LoggedCalls:
    """The ``os`` calls that decide what survives a power cut, in the order they were done.

    Each event is a verb and the paths that it is about. Files are known by their paths at the
    time of the call, as ``/proc`` tells them.
    """

    def __init__(self) -> None:
        self.events: list[tuple[str, ...]] = []
        self._lock = threading.Lock()

    def install(self, set_attribute: SetAttribute = setattr) -> None:
        """Put the wrappers in the place of the functions of ``os``."""
        for verb in ("write", "fsync", "link", "mkdir", "rename"):
            set_attribute(os, verb, self._wrapped(verb, getattr(os, verb)))

    def index(self, *event: str) -> int:
        """Where an event is for the first time."""
        return self.events.index(event)

    def of(self, verb: str) -> list[tuple[str, ...]]:
        """The paths of all events of a verb."""
        return [event[1:] for event in self.events if event[0] == verb]

    def _wrapped(self, verb: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            paths = _paths(verb, args, kwargs)
            result = real(*args, **kwargs)
            with self._lock:
                self.events.append((verb, *paths))
            return result

        return call


def _paths(verb: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[str]:
    if verb in ("write", "fsync"):
        return [_path_of(args[0])]
    if verb == "mkdir":
        return [_below(kwargs.get("dir_fd"), args[0])]
    return [_below(kwargs.get("src_dir_fd"), args[0]), _below(kwargs.get("dst_dir_fd"), args[1])]


def _below(descriptor: int | None, path: str | os.PathLike[str]) -> str:
    return str(path if descriptor is None else Path(_path_of(descriptor)) / path)


def _path_of(descriptor: int) -> str:
    return str(Path(f"/proc/self/fd/{descriptor}").readlink())
