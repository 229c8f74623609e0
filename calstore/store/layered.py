"""A store that reads from others what it has not itself: a fork of theirs copies nothing.

Objects are the same wherever they are, so the first that has one gives it. A log is never put
together from two stores: it is this store's from its first record on, or another's. What is
written goes to this store alone.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeVar

from calstore.errors import Invalid, NotFound
from calstore.model.digest import Buffer
from calstore.model.records import SETTINGS
from calstore.store import marker
from calstore.store.backend import Backend, Existing

_OBJECTS: Final = "objects/"
_REFS: Final = "refs/"
_FIRST: Final = "00000001"

_Result = TypeVar("_Result")


class LayeredBackend:
    """A backend, and those that are asked for what it does not have.

    Parameters
    ----------
    own
        Gets all that is written.
    others
        Called when something is missing for the first time; what they are is a setting.
    """

    def __init__(self, own: Backend, others: Callable[[], Sequence[Backend]]) -> None:
        self.own = own
        self._find_others = others
        self._others: Sequence[Backend] | None = None
        self._holders: dict[str, Backend] = {}  # of logs, and of objects that others gave

    @property
    def others(self) -> Sequence[Backend]:
        """Those that are asked for what is not here, in this order."""
        if self._others is None:
            self._others = self._find_others()
        return self._others

    @property
    def width(self) -> int:
        """As many calls at once as the farthest of them takes."""
        return max(each.width for each in (self.own, *(self._others or ())))

    def get(self, key: str, start: int = 0, stop: int | None = None) -> bytes:
        """The bytes, of the first that has them; see `Backend.get`."""
        return self._first(key, lambda backend: backend.get(key, start, stop))

    def size(self, key: str) -> int:
        """The number of bytes, in the first that has them."""
        return self._first(key, lambda backend: backend.size(key))

    def create(self, key: str, *parts: Buffer) -> Existing | None:
        """Store the parts here, unless the key exists here or elsewhere; see `Backend.create`.

        Raises
        ------
        Invalid
            For a record of a ref that is another store's.
        """
        if key.startswith(_OBJECTS):
            for other in self.others:
                with contextlib.suppress(NotFound):
                    return Existing(other.size(key))
        elif not _is_never_shared(key):
            holder = self._holder(_log_of(key))
            if holder is not self.own:
                self._take_over(_log_of(key), holder)
        return self.own.create(key, *parts)

    def list(self, prefix: str, *, deep: bool = True) -> Iterator[str]:
        """The keys of all of them below a prefix, each log from one; see `Backend.list`."""
        keys = set(self.own.list(prefix, deep=deep))
        self._holders.update(
            (_log_of(key), self.own) for key in keys if key.endswith(f"/{_FIRST}")
        )  # which need not be asked again, one by one
        if not _is_never_shared(prefix):
            for other in self.others:
                logs = {_log_of(key) for key in keys if not key.startswith(_OBJECTS)}
                more = other.list(prefix, deep=deep)
                keys.update(key for key in more if key.endswith("/") or _log_of(key) not in logs)
        yield from sorted(keys)

    def delete(self, key: str) -> None:
        """Remove a file of this store's own."""
        self.own.delete(key)

    def sync(self) -> None:
        """Make durable what was stored here."""
        self.own.sync()

    def describe(self, key: str) -> str:
        """Where a person finds the file."""
        found = self._holders.get(key) or self._holders.get(_log_of(key)) or self.own
        return found.describe(key)

    def _first(self, key: str, read: Callable[[Backend], _Result]) -> _Result:
        if _is_never_shared(key):
            return read(self.own)
        if not key.startswith(_OBJECTS):
            return read(self._holder(_log_of(key)))
        try:
            return read(self.own)
        except NotFound:
            for other in self.others:
                with contextlib.suppress(NotFound):
                    result = read(other)
                    self._holders[key] = other
                    return result
            raise

    def _holder(self, log: str) -> Backend:
        """Whose a log is; one that nobody has is this store's.

        What is this store's stays so; what is another's may have been pulled meanwhile.
        """
        known = self._holders.get(log)
        if known is self.own:
            return known
        if _has(self.own, log):
            self._holders[log] = self.own
        elif known is None:
            other = next((each for each in self.others if _has(each, log)), None)
            if other is None:
                return self.own
            self._holders[log] = other
        return self._holders[log]

    def _take_over(self, log: str, holder: Backend) -> None:
        """Let a log of another store go on in this one: approvals, runs, uses, not refs."""
        if log.startswith(_REFS):
            name = log.removeprefix(_REFS)
            raise Invalid(
                f"{name} is a ref of {holder.describe('')}, from which this store only reads; "
                f"fork it: calstore fork {name} NEW, or make it this store's: calstore pull {name}"
            )
        # The first record comes last: until it is there, the log is the other's.
        for record in sorted(holder.list(f"{log}/"), reverse=True):
            self.own.create(record, holder.get(record))
        self._holders.pop(log, None)


def _is_never_shared(key: str) -> bool:
    return key == marker.KEY or key.startswith((f"{SETTINGS}/", "."))


def _log_of(key: str) -> str:
    return key.rpartition("/")[0]


def _has(backend: Backend, log: str) -> bool:
    try:
        return backend.size(f"{log}/{_FIRST}") > 0
    except NotFound:
        return False
