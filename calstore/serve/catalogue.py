"""What a service has to give: versions by experiment, and the names that psana2 knows them by."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from calstore.errors import Conflict, Invalid, NotFound
from calstore.model.documents import Document
from calstore.model.psana2 import SHORT_NUMBERS, parse_long_name, short_name, short_number
from calstore.repository.psana2 import Served, listed, long_names, served
from calstore.repository.store import Store
from calstore.repository.version import Version

MAX_NAMES: Final = 100_000
MAX_TOLD: Final = 50_000
KEPT_S: Final = 60.0
"""How long a client that asks for a run goes on with the version that it began with."""

Value = TypeVar("Value")


class Newest(Generic[Value]):
    """What was used last, by key; what was not used for long is forgotten."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[object, Value] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: object) -> Value | None:
        """What was put for the key, if it is still known."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, key: object, value: Value) -> None:
        """Keep a value."""
        with self._lock:
            self._kept[key] = value
            self._kept.move_to_end(key)
            if len(self._kept) > self._most:
                self._kept.popitem(last=False)


@dataclass(frozen=True, slots=True)
class Shown:
    """A version that is served: by its ref, which may move, or pinned.

    Parameters
    ----------
    name
        A ref, a record or a digest.
    follows
        Whether a ref is looked at anew for each run that begins; else it stays what it was.
    """

    experiment: str
    name: str
    follows: bool = False


@dataclass
class Catalogue:
    """Versions by experiment, and everything that was told to clients about them.

    Parameters
    ----------
    clock
        In seconds.
    """

    store: Store
    shown: Sequence[Shown]
    clock: Callable[[], float]
    _pinned: dict[str, Version] = field(default_factory=dict)
    _shorts: dict[str, str] = field(default_factory=dict)
    _longs: dict[str, str] = field(default_factory=dict)
    _told: Newest[Served] = field(default_factory=lambda: Newest(MAX_TOLD))
    _answers: Newest[tuple[Served, ...]] = field(default_factory=lambda: Newest(MAX_TOLD // 10))
    _panels: Newest[frozenset[tuple[str, frozenset[str]]]] = field(
        default_factory=lambda: Newest(64)
    )
    _begun: Newest[tuple[Version, float]] = field(default_factory=lambda: Newest(MAX_TOLD))
    _turns: dict[str, int] = field(default_factory=dict)
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

    def newest(self, experiment: str) -> Version:
        """The version that a run which begins now gets; `NotFound` for what is not served."""
        if experiment not in self._pinned:
            raise NotFound(f"{experiment} is not served here")
        shown = self._shown_of(experiment)
        return self.store[shown.name] if shown.follows else self._pinned[experiment]

    def short_name(self, long: str) -> str:
        """The short name of a detector, ``<type>_<six digits>``: the same in every process.

        Two long names of one number get following ones, in the order in which they are asked for.

        Raises
        ------
        Invalid
            For a text that is no unique id.
        Conflict
            When more names were asked for than there are detectors anywhere.
        """
        kind, _ = parse_long_name(long)
        with self._lock:
            if long not in self._shorts:
                if len(self._shorts) >= MAX_NAMES:
                    raise Conflict(f"{MAX_NAMES} names of detectors were asked for; start anew")
                number = short_number(long)
                while short_name(kind, number) in self._longs:
                    number = (number + 1) % SHORT_NUMBERS
                self._shorts[long] = short_name(kind, number)
                self._longs[self._shorts[long]] = long
            return self._shorts[long]

    def register(self, long: str, short: str) -> None:
        """Let panels have a short name that a tool has chosen.

        Raises
        ------
        Invalid
            When it is not of the form ``<type>_<digits>``.
        Conflict
            When other panels have it.
        """
        kind, _ = parse_long_name(long)
        number = short.removeprefix(f"{kind}_")
        if number == short or not (number.isdecimal() and number.isascii() and len(number) < 10):
            raise Invalid(f"{short!r:.60} is no short name of {long:.200}; write {kind}_000001")
        with self._lock:
            if self._longs.get(short, long) != long:
                raise Conflict(f"{short} is the name of {self._longs[short]:.200} already")
            if len(self._shorts) >= MAX_NAMES:
                raise Conflict(f"{MAX_NAMES} names of detectors were told; start anew")
            self._shorts[long] = short
            self._longs[short] = long

    def long_name(self, short: str) -> str | None:
        """The panels behind a short name; ``None`` for one that nobody was told."""
        return self._longs.get(short)

    def names_of(self, kind: str) -> list[str]:
        """The long names of a kind that were told, or that a version has constants for."""
        with self._lock:
            return sorted(long for long in self._shorts if long.partition("_")[0] == kind)

    def knows(self, long: str) -> bool:
        """Whether any version has constants for these panels, at any run."""
        kind, serials = parse_long_name(long)
        return any(
            known_kind == kind and known_serials.issuperset(serials)
            for experiment in self._pinned
            for known_kind, known_serials in self._panels_of(self.newest(experiment))
        )

    def constants(
        self, experiment: str, short: str, run: int, client: str
    ) -> tuple[Version, tuple[Served, ...]]:
        """What a run gets of a detector, and the version that it is of.

        Raises
        ------
        NotFound
            When the experiment is not served, or nobody was told the short name.
        """
        version = self._version(experiment, run, client)
        long = self._long(short)
        key = (version.digest, version.name, long, run)
        found = self._answers.get(key)
        if found is None:
            found = served(version, long, run)
            self._answers.put(key, found)
        return version, self._telling(found)

    def everything(self, experiment: str, short: str) -> tuple[Served, ...]:
        """All that the experiment's version has for a detector, for whatever runs."""
        return self._telling(tuple(listed(self.newest(experiment), self._long(short))))

    def forget_begun(self, experiment: str) -> None:
        """Let all go on with the newest version: what was deposited is to be seen at once."""
        with self._lock:
            self._turns[experiment] = self._turns.get(experiment, 0) + 1

    def tell_of(self, experiment: str, document: Document) -> None:
        """Know a constant by the id that its depositor was given, too."""
        for each in listed(self.newest(experiment), document.long):
            if (each.constant.type_name, each.runs) == (document.type_name, document.runs):
                self._told.put(document.identity, each)

    def told(self, identity: str) -> Served | None:
        """The constant of an id of a document or a payload; ``None`` where nobody was told it."""
        return self._told.get(identity)

    def _shown_of(self, experiment: str) -> Shown:
        return next(each for each in self.shown if each.experiment == experiment)

    def _telling(self, found: tuple[Served, ...]) -> tuple[Served, ...]:
        for each in found:
            self._told.put(each.id_data, each)
            self._told.put(each.id, each)
        return found

    def _long(self, short: str) -> str:
        long = self.long_name(short)
        if long is None:
            raise NotFound(f"nobody was told the short name {short}")
        return long

    def _panels_of(self, version: Version) -> frozenset[tuple[str, frozenset[str]]]:
        found = self._panels.get(version.digest)
        if found is None:
            names = (parse_long_name(long) for long in long_names(version))
            found = frozenset((kind, frozenset(serials)) for kind, serials in names)
            self._panels.put(version.digest, found)
        return found

    def _version(self, experiment: str, run: int, client: str) -> Version:
        """The version that a client gets for a run: the one it began with, while it goes on."""
        if experiment not in self._pinned or not self._shown_of(experiment).follows:
            return self.newest(experiment)
        now = self.clock()
        key = (client, experiment, run, self._turns.get(experiment, 0))
        begun = self._begun.get(key)
        if begun is not None and now - begun[1] < KEPT_S:
            version = begun[0]
        else:
            version = self.newest(experiment)
        self._begun.put(key, (version, now))
        return version
