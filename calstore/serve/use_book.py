"""Writes into the store what clients were given, some time after they were."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from calstore.errors import CalstoreError
from calstore.model.uses import Use
from calstore.repository.uses import record_use

if TYPE_CHECKING:
    from calstore.model.records import Stamp
    from calstore.repository.version import Version

QUIET_S: Final = 3.0
"""A client that asked nothing for so long has got what it wants for the run."""

LONGEST_S: Final = 60.0
"""So long a client that never is quiet waits for its record."""

MOST_KNOWN: Final = 10_000
_log = logging.getLogger("calstore.serve")


@dataclass
class _Asked:
    """What one client was given for a run."""

    version: Version
    experiment: str
    run: int
    given: dict[str, set[str]] = field(default_factory=dict)


@dataclass
class _Client:
    """What one client asked since it last was quiet."""

    first: float = 0.0
    last: float = 0.0
    runs: dict[tuple[str, int, str], _Asked] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)


class UseBook:
    """What clients were given, kept in the store once per client, run and detectors.

    Parameters
    ----------
    stamp
        Who gives, and when.
    command
        The program that asks; ``""`` where nobody knows.
    """

    def __init__(self, stamp: Callable[[], Stamp], command: str = "") -> None:
        self._stamp = stamp
        self._command = command
        self._clients: dict[str, _Client] = {}
        self._known: set[tuple[object, ...]] = set()
        self._changed = threading.Condition()
        self._ends = False
        self._says = True
        self._missed: dict[str, None] = {}
        self._thread = threading.Thread(target=self._write, name="uses", daemon=True)

    def __enter__(self) -> UseBook:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._ends = True
            self._changed.notify()
        self._thread.join()

    def given(
        self,
        client: str,
        version: Version,
        experiment: str,
        run: int,
        constants: Sequence[tuple[str, str]],
    ) -> None:
        """Note the detectors and types that a client was given for a run."""
        with self._changed:
            asked = self._client(client).runs.setdefault(
                (experiment, run, version.digest.hex), _Asked(version, experiment, run)
            )
            for source, type_name in constants:
                asked.given.setdefault(source, set()).add(type_name)
            self._changed.notify()

    def goes_on(self, client: str) -> None:
        """Note that a client still fetches what it was told of."""
        with self._changed:
            if client in self._clients:
                self._client(client)

    def missing(self, client: str, unique: str) -> None:
        """Note a detector with pixels of which there was nothing for a client."""
        with self._changed:
            self._client(client).missing.add(unique)
            if len(self._missed) < MOST_KNOWN:
                self._missed[unique] = None
            self._changed.notify()

    @property
    def missed(self) -> tuple[str, ...]:
        """All the detectors with pixels of which there was nothing, in the order of asking."""
        with self._changed:
            return tuple(self._missed)

    def _client(self, name: str) -> _Client:
        now = time.monotonic()
        found = self._clients.setdefault(name, _Client(first=now))
        found.last = now
        return found

    def _write(self) -> None:
        while True:
            with self._changed:
                while not self._ready() and not self._ends:
                    self._changed.wait(QUIET_S / 4 if self._clients else None)
                ready = list(self._clients) if self._ends else self._ready()
                taken = {name: self._clients.pop(name) for name in ready}
                ends = self._ends
            for name, client in taken.items():
                self._record(name, client)
            if ends:
                return

    def _ready(self) -> list[str]:
        now = time.monotonic()
        return [
            name
            for name, client in self._clients.items()
            if now - client.last > QUIET_S or now - client.first > LONGEST_S
        ]

    def _record(self, name: str, client: _Client) -> None:
        for asked in client.runs.values():
            # Which run a detector was missing in is known where the client asked for one alone.
            missing = tuple(sorted(client.missing)) if len(client.runs) == 1 else ()
            given = {source: tuple(sorted(types)) for source, types in sorted(asked.given.items())}
            known = (name, asked.experiment, asked.run, asked.version.digest, str(given), missing)
            if known in self._known or not (given or missing):
                continue
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            self._known.add(known)
            try:
                use = Use(name, self._command, given, missing)
                record_use(asked.version, asked.experiment, asked.run, use, self._stamp())
            except (CalstoreError, OSError) as error:
                if self._says:
                    _log.warning("uses are not recorded: %s", error)
                self._says = False
