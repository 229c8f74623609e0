"""What a service has to give: versions by experiment, and the names that psana2 knows them by."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from calstore.errors import NotFound
from calstore.model.digest import xxh128
from calstore.model.psana2 import parse_long_name
from calstore.repository.psana2 import Served, long_names, served
from calstore.repository.store import Store
from calstore.repository.version import Version

SHORT_NUMBERS: Final = 1_000_000
KEPT_S: Final = 60.0
"""How long a client that asks for a run goes on with the version that it began with."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A version that is served: by its ref, which may move, or pinned.

    Parameters
    ----------
    name
        A ref, a record or a digest.
    """

    experiment: str
    name: str


@dataclass
class _Begun:
    """The version with which a client began a run, and when it last asked."""

    version: Version
    when: float


@dataclass
class Catalogue:
    """Versions by experiment, and everything that was told to clients about them.

    Parameters
    ----------
    follows
        Whether a ref is looked at anew for each run that begins; else it stays what it was.
    clock
        In seconds.
    """

    store: Store
    shown: Sequence[Shown]
    follows: bool
    clock: Callable[[], float]
    _pinned: dict[str, Version] = field(default_factory=dict)
    _shorts: dict[str, str] = field(default_factory=dict)
    _longs: dict[str, str] = field(default_factory=dict)
    _payloads: dict[str, Served] = field(default_factory=dict)
    _documents: dict[str, Served] = field(default_factory=dict)
    _begun: dict[tuple[str, str, int], _Begun] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        for each in self.shown:
            self._pinned[each.experiment] = self.store[each.name]
            for long in long_names(self._pinned[each.experiment]):
                self.short_name(long)

    @property
    def experiments(self) -> Mapping[str, Version]:
        """The versions as they were pinned when the service began."""
        return self._pinned

    def short_name(self, long: str) -> str:
        """The short name of a detector, ``<type>_<six digits>``: the same in every process.

        Two long names of one number get following ones, in the order in which they are asked for.
        """
        kind, _ = parse_long_name(long)
        with self._lock:
            if long not in self._shorts:
                number = int(xxh128(long.encode()).hex[:12], 16) % SHORT_NUMBERS
                while f"{kind}_{number:06d}" in self._longs:
                    number = (number + 1) % SHORT_NUMBERS
                self._shorts[long] = f"{kind}_{number:06d}"
                self._longs[self._shorts[long]] = long
            return self._shorts[long]

    def long_name(self, short: str) -> str | None:
        """The panels behind a short name; ``None`` for one that nobody was told."""
        return self._longs.get(short)

    def knows(self, long: str) -> bool:
        """Whether any version has constants for these panels, at any run."""
        kind, serials = parse_long_name(long)
        for version in self._pinned.values():
            for known in long_names(version):
                known_kind, known_serials = parse_long_name(known)
                if known_kind == kind and set(serials) <= set(known_serials):
                    return True
        return False

    def constants(
        self, experiment: str, short: str, run: int, client: str
    ) -> tuple[Version, tuple[Served, ...]]:
        """What a run gets of a detector, and the version that it is of.

        Raises
        ------
        NotFound
            When the experiment is not served, or nobody was told the short name.
        """
        if experiment not in self._pinned:
            raise NotFound(f"{experiment} is not served here")
        long = self.long_name(short)
        if long is None:
            raise NotFound(f"nobody was told the short name {short}")
        version = self._version(experiment, run, client)
        found = served(version, long, run)
        with self._lock:
            self._payloads.update({each.id_data: each for each in found})
            self._documents.update({each.id: each for each in found})
        return version, found

    def document(self, identity: str) -> Served | None:
        """The constant of a document's ``_id``; ``None`` for an id that nobody was told."""
        return self._documents.get(identity)

    def payload(self, identity: str) -> Served | None:
        """What a document's ``id_data`` is about; ``None`` for an id that nobody was told."""
        return self._payloads.get(identity)

    def _version(self, experiment: str, run: int, client: str) -> Version:
        """The version that a client gets for a run: the one it began with, while it goes on."""
        if not self.follows:
            return self._pinned[experiment]
        now = self.clock()
        key = (client, experiment, run)
        with self._lock:
            self._begun = {k: b for k, b in self._begun.items() if now - b.when < KEPT_S}
            begun = self._begun.get(key)
        version = begun.version if begun else self.store[self._name_of(experiment)]
        with self._lock:
            self._begun[key] = _Begun(version, now)
        return version

    def _name_of(self, experiment: str) -> str:
        return next(each.name for each in self.shown if each.experiment == experiment)
