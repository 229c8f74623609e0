"""A store in a directory: atomic create by link, durable by fsync.

The order is temporary name, fsync, ``link`` to the final name, fsync of the directory. A
check before a write would tell two writers that both won; a rename would overwrite.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from calstore.errors import NO_ROOM, CalstoreError, Conflict, Corrupt, Invalid, NotFound
from calstore.model.digest import Buffer
from calstore.store.backend import Existing

_SYNC_THREADS = 8  # fsyncs that wait together share a commit of the file system's journal
_NOT_PERMITTED = {errno.EACCES, errno.EPERM, errno.EROFS}
_ABSENT = {errno.ENOENT, errno.ENOTDIR, errno.ESTALE}


class LocalBackend:
    """Files below a directory; safe to share between threads and processes."""

    width = 1

    def __init__(self, root: Path) -> None:
        self._root = root
        self._unsynced: set[Path] = set()
        self._lock = threading.Lock()
        self._syncing = threading.Lock()

    def get(self, key: str, start: int = 0, stop: int | None = None) -> bytes:
        """The bytes from ``start`` up to ``stop``; see `Backend.get`."""
        with self._mapped_errors(key), (self._root / key).open("rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            begin, end, _ = slice(start, stop).indices(size)
            wanted = max(end - begin, 0)
            file.seek(begin)
            data = file.read(wanted)
            while len(data) < wanted:  # one read returns at most 2 GiB
                more = file.read(wanted - len(data))
                if not more:
                    break
                data += more
        return data

    def size(self, key: str) -> int:
        """The number of bytes."""
        with self._mapped_errors(key):
            return (self._root / key).stat().st_size

    def create(self, key: str, *parts: Buffer) -> Existing | None:
        """Store the parts unless the key exists; see `Backend.create`."""
        path = self._root / key
        with self._mapped_errors(key, writing=True):
            existing = self._size_at(path)
            if existing is None:
                self._make_folders(path.parent)
                existing = self._link_new(path, parts)
            self._remember(path.parent)
            return existing

    def list(self, prefix: str, *, deep: bool = True) -> Iterator[str]:
        """The keys below a prefix, ascending; see `Backend.list`."""
        with self._mapped_errors(prefix):
            try:
                entries = sorted(os.scandir(self._root / prefix), key=_listing_order)
            except (FileNotFoundError, NotADirectoryError):
                return
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if not entry.is_dir(follow_symlinks=False):
                yield prefix + entry.name
            elif deep:
                yield from self.list(f"{prefix}{entry.name}/")
            else:
                yield f"{prefix}{entry.name}/"

    def delete(self, key: str) -> None:
        """Remove a file."""
        with self._mapped_errors(key, writing=True):
            (self._root / key).unlink()
            self._remember((self._root / key).parent)

    def sync(self) -> None:
        """Fsync every directory that got a name since the last time."""
        # One at a time: a second thread's names may be among those that the first one took.
        with self._syncing:
            with self._lock:
                folders, self._unsynced = self._unsynced, set()
            try:
                with self._mapped_errors("", writing=True):
                    _fsync_folders(folders)
            except CalstoreError:
                with self._lock:
                    self._unsynced |= folders
                raise

    def describe(self, key: str) -> str:
        """Where a person finds the file."""
        return str(self._root / key) if key else str(self._root)

    def _link_new(self, path: Path, parts: Sequence[Buffer]) -> Existing | None:
        temporary = path.parent / f".tmp-{secrets.token_hex(8)}"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o444)
        try:
            # fchmod, because the umask could take reading away from the group.
            os.fchmod(descriptor, 0o444)
            for part in parts:
                write_all(descriptor, part)
            os.fsync(descriptor)
            try:
                os.link(temporary, path)
            except FileExistsError:
                # Over NFS the reply to a link that succeeded can be lost.
                if os.fstat(descriptor).st_nlink != 2:
                    return Existing(path.stat().st_size)
            return None
        finally:
            os.close(descriptor)
            with contextlib.suppress(OSError):
                temporary.unlink()

    def _make_folders(self, folder: Path) -> None:
        if folder.is_dir():
            return
        self._make_folders(folder.parent)
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
            # The store's own folder says who may write; mkdir gives it less the umask.
            folder.chmod(stat.S_IMODE(self._root.stat().st_mode))

    def _remember(self, folder: Path) -> None:
        """Let the next sync cover a folder and those above it, whoever made them.

        Also where a file or folder existed: its first writer may have died before his sync.
        """
        with self._lock:
            while folder not in self._unsynced and folder != self._root:
                self._unsynced.add(folder)
                folder = folder.parent
            self._unsynced.add(self._root)

    @staticmethod
    def _size_at(path: Path) -> Existing | None:
        try:
            return Existing(path.stat().st_size)
        except FileNotFoundError:
            return None

    @contextlib.contextmanager
    def _mapped_errors(self, key: str, writing: bool = False) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            where = self.describe(key)
            why = error.strerror or str(error)
            if error.errno in NO_ROOM:
                raise Conflict(
                    f"no room to write {where} ({why}); nothing was changed: make room, run again"
                ) from error
            if error.errno in _NOT_PERMITTED:
                verb = "write" if writing else "read"
                raise Invalid(
                    f"not permitted to {verb} {where} ({why}); ask the store's owner, "
                    "or name another store with --store"
                ) from error
            if error.errno in _ABSENT:
                raise NotFound(f"there is no {where}") from error
            raise Corrupt(f"the disk fails at {where} ({why}); look after it first", key) from error


def _listing_order(entry: os.DirEntry[str]) -> str:
    # A folder's keys sort as if its name ended in '/'.
    return entry.name + "/" if entry.is_dir(follow_symlinks=False) else entry.name


def write_all(descriptor: int, data: Buffer) -> None:
    """Write all bytes to an open file; one write may be short."""
    view = memoryview(data).cast("B")
    while view.nbytes:
        view = view[os.write(descriptor, view) :]


def _fsync_folders(folders: set[Path]) -> None:
    if len(folders) < _SYNC_THREADS:
        for folder in folders:
            _fsync_folder(folder)
        return
    with ThreadPoolExecutor(_SYNC_THREADS) as pool:
        list(pool.map(_fsync_folder, folders))


def _fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
