"""A store, opened."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from calstore.errors import CalstoreError, Conflict, Invalid, NotFound
from calstore.model.names import RefName
from calstore.model.records import SETTINGS
from calstore.store import logs, marker, probe
from calstore.store.backend import Backend
from calstore.store.cached import CachedBackend, ReadCache
from calstore.store.layered import LayeredBackend
from calstore.store.local import LocalBackend
from calstore.store.memory import MemoryBackend

if TYPE_CHECKING:
    from calstore.repository.version import Version

FOLDER = ".calstore"
"""What a store is called when nobody names it otherwise."""

_FILE: Final = "file://"

READS_FROM: Final = "reads-from"
"""The setting that names other stores to read from."""

APPROVED = "approved"
"""Stands in a record's place for the newest one whose set is approved as good."""


@dataclass(frozen=True, slots=True)
class Store:
    """A store: ``store["xppn4116/main"]`` is a version, iterating gives the names of refs."""

    backend: Backend
    id: str
    _seen: dict[str, int] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def own(self) -> Backend:
        """Where this store's files are, without other stores and without what is kept of reads."""
        backend = self.backend.own if isinstance(self.backend, LayeredBackend) else self.backend
        return backend.below if isinstance(backend, CachedBackend) else backend

    @property
    def uncached(self) -> Store:
        """This store, of which everything is read where it is."""
        if self.own is self.backend:
            return self
        return Store(LayeredBackend(self.own, lambda: self.others), self.id)

    @property
    def others(self) -> Sequence[Backend]:
        """The stores that this one reads from, in that order."""
        return self.backend.others if isinstance(self.backend, LayeredBackend) else ()

    def head(self, log: str) -> logs.Entry | None:
        """The newest record of a log, ``None`` for one without any.

        A log only grows, so one of a store far away is listed once and followed from then on.

        Raises
        ------
        Corrupt
            When it is damaged.
        """
        if self.backend.width == 1:
            return logs.head(self.backend, log)
        entry = logs.head(self.backend, log, self._seen.get(log, 0))
        if entry is not None:
            self._seen[log] = entry.record.number
        return entry

    def __getitem__(self, text: str) -> Version:
        """The version that a ref (``xppn4116/main``), a record (``…@7``) or a digest names.

        ``xppn4116/main@approved`` is the newest version of the ref that somebody approved.

        Raises
        ------
        NotFound
            When there is no such ref, record or manifest.
        Invalid
            When the text is none of these.
        """
        from calstore.repository.version import open_version

        return open_version(self, text)

    def version(self, name: str, *, approved: bool = False) -> Version:
        """``store[name]``, or the newest approved version of the ref; see `__getitem__`."""
        if not approved:
            return self[name]
        return self[f"{ref_name(name)}@{APPROVED}"]

    def __iter__(self) -> Iterator[str]:
        from calstore.repository.refs import refs

        return (str(ref.name) for ref in refs(self))

    def __repr__(self) -> str:
        return f"<calstore store at {self.backend.describe('')}>"


def open_store(location: str | Path, *, cache: ReadCache | None = None) -> Store:
    """The store at a path or a URL.

    Parameters
    ----------
    cache
        Where reads of a store behind a URL are kept, for the next time.

    Raises
    ------
    NotFound
        When there is none.
    """
    backend = _backend(location)
    store_id = marker.read(backend)
    return Store(_layered(backend, store_id, cache, {store_id}), store_id)


def init_store(location: str | Path, store_id: str, *, cache: ReadCache | None = None) -> Store:
    """A new, empty store.

    Parameters
    ----------
    location
        A directory or a URL at which there is nothing yet; ``memory:`` for one that is not kept.
    store_id
        32 random hex digits.

    Raises
    ------
    Conflict
        When there is a store already.
    Invalid
        When there is something else, or when of two writers there both would win.
    """
    backend = _backend(location)
    if isinstance(backend, LocalBackend):
        _make_folder(Path(backend.describe("")))
    elif not isinstance(backend, MemoryBackend):
        _prove(backend, store_id)
    marker.create(backend, store_id)
    return Store(_layered(backend, store_id, cache, {store_id}), store_id)


def find_store(start: Path) -> Path:
    """The nearest ``.calstore`` in a directory or above it.

    Raises
    ------
    NotFound
        When there is none.
    """
    for folder in (start, *start.parents):
        try:
            if (folder / FOLDER / marker.KEY).is_file():
                return folder / FOLDER
        except OSError as error:
            raise Invalid(
                f"cannot look into {folder / FOLDER} ({error.strerror}); name a store with --store"
            ) from error
    raise NotFound(
        f"no store: neither --store nor $CALSTORE names one, and there is no {FOLDER} in {start} "
        "or above; make one with: calstore init"
    )


def ref_name(text: str) -> RefName:
    """The name of a ref that must not have a record's number."""
    name, at, _ = text.partition("@")
    if at:
        raise Invalid(f"{text} names a record of {name}, which never changes; name the ref: {name}")
    return RefName(name)


def head_of(store: Store, name: RefName) -> logs.Entry:
    """The newest record of a ref that is there.

    Raises
    ------
    NotFound
        When there is no such ref, or it is deleted.
    """
    entry = store.head(name.log)
    if entry is None:
        others = [log.removeprefix("refs/") for log in _neighbours(store, name)]
        known = f"; {name.experiment} has {', '.join(others[:8])}" if others else ""
        raise NotFound(f"there is no ref {name}{known}; calstore refs lists all")
    if entry.record.manifest is None:
        before = entry.record.number - 1
        raise NotFound(
            f"the ref {name} was deleted by {entry.record.stamp.who} at {entry.record.stamp.when}; "
            f"{name}@{before} is still there"
        )
    return entry


def _neighbours(store: Store, name: RefName) -> list[str]:
    return logs.names(store.backend, f"refs/{name.experiment}/")


def _layered(
    backend: Backend, store_id: str, cache: ReadCache | None, known: Set[str]
) -> LayeredBackend:
    """A store's backend with all that it reads through.

    Parameters
    ----------
    known
        The ids of the stores that lead here, which are not asked again.
    """
    near = backend
    if cache is not None and not isinstance(backend, LocalBackend | MemoryBackend):
        near = CachedBackend(backend, cache, store_id)
    return LayeredBackend(near, lambda: _others(near, cache, known))


def _others(own: Backend, cache: ReadCache | None, known: Set[str]) -> list[Backend]:
    others: list[Backend] = []
    for location in read_from(own):
        try:
            backend = _backend(location)
            store_id = marker.read(backend)
        except CalstoreError as error:
            # A NotFound would be taken for that of the file that was looked for.
            raise Conflict(
                f"{own.describe('')} reads from {location}, which cannot be opened: {error}; "
                f"or let it do without: calstore config {READS_FROM} --unset"
            ) from error
        if store_id not in known:
            others.append(_layered(backend, store_id, cache, known | {store_id}))
    return others


def read_from(own: Backend) -> list[str]:
    """Where the stores are that a store reads from, as its settings say."""
    try:
        logs.read(own, SETTINGS, 1)
    except NotFound:
        return []  # as most stores; a listing would cost more
    newest = logs.head(own, SETTINGS)
    settings = newest.record.settings if newest is not None else None
    return (settings or {}).get(READS_FROM, "").split()


def _make_folder(path: Path) -> None:
    try:
        if path.exists() and not (path / marker.KEY).exists() and any(path.iterdir()):
            raise Invalid(f"{path} is not empty; choose a new directory for the store")
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Invalid(f"cannot make a store at {path} ({error.strerror})") from error


def _prove(backend: Backend, name: str) -> None:
    there = [key for key in backend.list("", deep=False) if key != marker.KEY]
    if there and not marker.is_there(backend):
        raise Invalid(
            f"{backend.describe('')} is not empty ({there[0]}); choose a new prefix for the store"
        )
    probe.prove(backend, name)


def _backend(location: str | Path) -> Backend:
    text = str(location)
    if text == "memory:":
        return MemoryBackend()
    if text.startswith(_FILE):
        text = text.removeprefix(_FILE)
    if "://" in text:
        from calstore.store.remote import open_remote

        return open_remote(text)
    if "\0" in text or not text:
        raise Invalid(f"{text!r} is no path of a store")
    return LocalBackend(Path(text).expanduser())
