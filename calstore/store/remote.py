"""A store behind a URL, through fsspec: S3 above all, and any other file system with an atomic
create.

A create is one conditional put. Its reply can be lost after the bytes are there; made again, it
then finds its own file, which for an object is as good, and which a record tells by its writer's
id (`calstore.store.logs.append`).
"""

from __future__ import annotations

import textwrap
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, TypeVar

from calstore.errors import CalstoreError, Conflict, Invalid, NotFound
from calstore.model.digest import Buffer
from calstore.store import marker
from calstore.store.backend import Existing
from calstore.store.retries import ATTEMPTS, Answer, answer_of, patiently

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

_SMALL: Final = 256 * 1024  # sent without asking first whether it is there
_CONNECTIONS: Final = 64

_Result = TypeVar("_Result")


class RemoteBackend:
    """Files below a URL; safe to share between threads and processes.

    Parameters
    ----------
    files
        A file system of fsspec, whose own retries and listing caches are off.
    root
        The path of the store in it.
    url
        What people call the store.
    """

    width = 16

    def __init__(self, files: AbstractFileSystem, root: str, url: str) -> None:
        self._files = files
        self._root = root
        self._url = url
        self._proved = False
        self._proving = threading.Lock()

    def get(self, key: str, start: int = 0, stop: int | None = None) -> bytes:
        """The bytes from ``start`` up to ``stop``; see `Backend.get`."""
        if (start < 0 and stop is not None) or (stop is not None and stop < 0):
            start, stop, _ = slice(start, stop).indices(self.size(key))
        if stop is not None and stop <= start:
            self.size(key)  # which says so where there is nothing
            return b""
        limits: dict[str, int | None] = {}
        if start or stop is not None:
            limits = {"start": start, "end": stop}
        path = self._path(key)
        try:
            data: bytes = self._ask(key, lambda: self._files.cat_file(path, **limits))
        except _EmptyRange:
            return b""
        return data

    def size(self, key: str) -> int:
        """The number of bytes."""
        found = self._ask(key, lambda: self._files.info(self._path(key)))
        if found["type"] != "file":
            raise NotFound(f"there is no {self.describe(key)}")
        return int(found["size"])

    def create(self, key: str, *parts: Buffer) -> Existing | None:
        """Store the parts unless the key exists; see `Backend.create`."""
        data = b"".join(parts)
        self._prove_once()
        if len(data) > _SMALL:
            try:
                return Existing(self.size(key))
            except NotFound:
                pass
        return None if self._put_new(key, data) else Existing(self.size(key))

    def list(self, prefix: str, *, deep: bool = True) -> Iterator[str]:
        """The keys below a prefix, ascending; see `Backend.list`."""
        folder = self._path(prefix).rstrip("/")
        try:
            if deep:
                found = self._ask(prefix, lambda: self._files.find(folder, detail=True))
                entries = list(found.values())
            else:
                entries = self._ask(prefix, lambda: self._files.ls(folder, detail=True))
        except _Absent:
            return
        keys = []
        for entry in entries:
            name = entry["name"].lstrip("/").removeprefix(f"{self._root}/")
            slash = "/" if entry["type"] == "directory" else ""
            if name.startswith(prefix) and "/." not in f"/{name[len(prefix) :]}":
                keys.append(name.rstrip("/") + slash)
        yield from sorted(key for key in keys if key != prefix)

    def delete(self, key: str) -> None:
        """Remove a file."""
        self.size(key)  # S3 is content with deleting nothing
        self._ask(key, lambda: self._files.rm_file(self._path(key)), writing=True)

    def sync(self) -> None:
        """Nothing to do: what a put was acknowledged for is durable."""

    def describe(self, key: str) -> str:
        """Where a person finds the file."""
        return f"{self._url}/{key}" if key else self._url

    def _path(self, key: str) -> str:
        return f"{self._root}/{key}" if key else self._root

    def _put_new(self, key: str, data: bytes) -> bool:
        """Whether a file came into being, by a put that succeeds only where there is none."""
        path = self._path(key)
        try:
            self._ask(key, lambda: self._files.pipe_file(path, data, mode="create"), writing=True)
        except _Taken:
            return False
        return True

    def _prove_once(self) -> None:
        """Before the first write, see that a put really fails where a file is.

        The file is ``calstore.json``, and the bytes are those that it has: a server that
        ignores the condition does no harm by it.
        """
        with self._proving:
            if self._proved:
                return
            try:
                there = self.get(marker.KEY)
            except NotFound:
                return  # a store that is being made, which is proved with care
            if self._put_new(marker.KEY, there):
                raise Invalid(
                    f"{self._url} does not keep the condition of a put (If-None-Match: *): of two "
                    "writers both would be told that they won, so nothing is written there"
                )
            self._proved = True

    def _ask(self, key: str, request: Callable[[], _Result], writing: bool = False) -> _Result:
        try:
            return patiently(request)
        except CalstoreError:
            raise
        except Exception as error:
            raise self._mapped(error, key, writing) from error

    def _mapped(self, error: Exception, key: str, writing: bool) -> CalstoreError:
        where, why = self.describe(key), _on_one_line(error)
        match answer_of(error):
            case Answer.ABSENT if not writing:
                return _Absent(f"there is no {where}")
            case Answer.ABSENT | Answer.NO_BUCKET:
                return NotFound(f"there is no bucket or folder for {self._url}; make it first")
            case Answer.EXISTS:
                return _Taken(f"there is a {where} already")
            case Answer.EMPTY_RANGE:
                return _EmptyRange(f"{where} ends before that")
            case Answer.REFUSED:
                verb = "write" if writing else "read"
                return Invalid(
                    f"not permitted to {verb} {where} ({why}); look at your credentials, or ask "
                    "the store's owner"
                )
            case Answer.NO_ROOM:
                return Conflict(f"no room to write {where} ({why}); make room, run again")
            case Answer.SENSELESS:
                return Invalid(f"{where} cannot be asked for that ({why})")
            case Answer.LATER:
                return Conflict(
                    f"{where} did not answer in {ATTEMPTS} attempts ({why}); run again later: "
                    "what is done already is not done twice"
                )


class _Absent(NotFound):
    """A key that is not there, as opposed to a bucket."""


class _Taken(Conflict):
    """A key that is there already."""


class _EmptyRange(Invalid):
    """A range behind the end of a file."""


def open_remote(url: str) -> RemoteBackend:
    """The place behind a URL; nothing is asked of it yet.

    Raises
    ------
    Invalid
        When no file system of fsspec is known for it, or the library for it is not installed.
    """
    from fsspec.core import url_to_fs

    scheme = url.partition("://")[0]
    try:
        files, path = url_to_fs(url, **_options(scheme))
    except ImportError as error:
        hint = " (pip install 'calstore[s3]')" if scheme in ("s3", "s3a") else ""
        raise Invalid(f"{scheme}:// needs a library{hint}: {_on_one_line(error)}") from error
    except Exception as error:
        raise Invalid(f"cannot open {url}: {_on_one_line(error)}") from error
    root = path.strip("/")
    if not root:
        raise Invalid(f"{url} names no place for a store; write {scheme}://<bucket>/<prefix>")
    if hasattr(files, "retries"):
        files.retries = 1  # one loop of retries is enough, and ours has a bound
    return RemoteBackend(files, root, url.rstrip("/"))


def _options(scheme: str) -> dict[str, Any]:
    options: dict[str, Any] = {"use_listings_cache": False}
    if scheme in ("s3", "s3a"):
        options["max_concurrency"] = 1  # more, and each get asks for the size first
        options["config_kwargs"] = {
            "retries": {"total_max_attempts": 1},
            "max_pool_connections": _CONNECTIONS,
            "connect_timeout": 10,
            "read_timeout": 60,
        }
    return options


def _on_one_line(error: BaseException) -> str:
    return textwrap.shorten(str(error), 200, placeholder=" …") or type(error).__name__
