"""Files below one directory, with no way out of it: no link is followed, no name escapes."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import fnmatch
import os
import re
import stat
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from calstore.errors import NO_ROOM, Conflict, Invalid
from calstore.formats.calib_tree import LEFT_OUT, SUFFIXES
from calstore.model.digest import Buffer
from calstore.model.names import check_path
from calstore.store.local import write_all
from calstore.views.sharing import kept_in_place, make_inner, suggested_mode
from calstore.views.temporaries import is_temporary, new_file, put_new, temporary_name

_LEFT_OUT = re.compile("|".join(fnmatch.translate(pattern) for pattern in LEFT_OUT))
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK  # nobody waits for a pipe to be written
_IN_THE_WAY = (errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


class Entries(NamedTuple):
    """What is below a root; names that are no part of a calib directory are left out.

    Parameters
    ----------
    found
        Path → what it is, links not followed. Of folders, only those that psana takes for
        constants, for their names.
    hidden
        Folders that this account may not look into.
    leftovers
        Temporary files, of an update that runs or that was killed.
    """

    found: dict[str, os.stat_result]
    hidden: list[str]
    leftovers: list[str]


class Staged(NamedTuple):
    """A file that lies, durable, beside its place under a temporary name."""

    path: str
    temporary: str
    found: os.stat_result

    @property
    def beside(self) -> str:
        """Where it lies until it is published."""
        folder, slash, _ = self.path.rpartition("/")
        return f"{folder}{slash}{self.temporary}"


class Tree:
    """A directory opened once; every path is walked from it, one component at a time.

    A component that is a link, or a file where a folder is needed, is a `Conflict`. The folders
    that had to be made are in ``made``.
    """

    def __init__(self, root: Path) -> None:
        self._where = root
        self.made: set[str] = set()
        self._making = threading.Lock()
        with self._mapped_errors(""):
            try:
                self._root = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
            except NotADirectoryError:
                raise Conflict(f"{root} is no directory; name another, or move it away") from None

    def __enter__(self) -> Tree:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        os.close(self._root)

    def lock(self) -> bool:
        """Be the only one who updates this directory, as long as the tree is open.

        Returns
        -------
        bool
            Whether that is so; not every file system has locks.

        Raises
        ------
        Conflict
            When somebody else does.
        """
        try:
            fcntl.flock(self._root, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(f"{self._where} is being updated by another calstore; wait") from None
        except OSError:
            return False
        return True

    def entries(self) -> Entries:
        """Everything below the root."""
        entries = Entries({}, [], [])
        with self._mapped_errors(""):
            self._enter(self._root, "", entries)
        return entries

    def _enter(self, descriptor: int, prefix: str, entries: Entries) -> None:
        found = entries.found
        holds_constants = prefix.count("/") == 3
        with os.scandir(descriptor) as items:
            for item in items:
                name = item.name
                if _LEFT_OUT.match(name):
                    if is_temporary(name):
                        entries.leftovers.append(prefix + name)
                    continue
                try:
                    is_folder = item.is_dir(follow_symlinks=False)
                    if not is_folder or (holds_constants and name.endswith(SUFFIXES)):
                        found[prefix + name] = item.stat(follow_symlinks=False)
                    if is_folder:
                        inner = os.open(name, _FOLDER, dir_fd=descriptor)
                        try:
                            self._enter(inner, f"{prefix}{name}/", entries)
                        finally:
                            os.close(inner)
                except (FileNotFoundError, NotADirectoryError):
                    continue  # it went away meanwhile
                except PermissionError:
                    entries.hidden.append(prefix + name)

    def stage(
        self, path: str, parts: Sequence[Buffer], like: os.stat_result | None = None
    ) -> Staged:
        """Write a file beside its place; `publish` puts it there, `drop` takes it away.

        Parameters
        ----------
        like
            The file in whose place it will come: it gets that one's mode, owner, group and access
            list, as far as the account may give them. Else it is shared as its folder is.
        """
        folder, name = _split(path)
        with self._mapped_errors(path, writing=True), self._folder(folder, make=True) as parent:
            return Staged(path, *new_file(parent, name, parts, like))

    def publish(self, staged: Staged, seen: os.stat_result | None) -> None:
        """Give a staged file its name at once, if there still is what the caller has seen there.

        Raises
        ------
        Conflict
            When somebody has written there since.
        """
        folder, name = _split(staged.path)
        with self._mapped_errors(staged.path, writing=True), self._folder(folder) as parent:
            if seen is None:
                try:
                    put_new(parent, staged.temporary, name)
                except FileExistsError:
                    raise self._busy(staged.path) from None
                return
            with contextlib.suppress(FileNotFoundError):
                self._check_same(parent, staged.path, seen)
            os.rename(staged.temporary, name, src_dir_fd=parent, dst_dir_fd=parent)

    def drop(self, paths: Iterable[str]) -> None:
        """Take temporary files away, as far as that goes; nobody misses them."""
        for path in paths:
            folder, _, name = path.rpartition("/")
            with contextlib.suppress(OSError), self._folder(folder) as parent:
                os.unlink(name, dir_fd=parent)

    def remove_folders(self, paths: Iterable[str]) -> set[str]:
        """Take away those of the folders that are empty; which that were."""
        gone = set()
        for path in sorted(paths, reverse=True):  # what lies in another comes before that
            folder, _, name = path.rpartition("/")
            with contextlib.suppress(OSError), self._folder(folder) as parent:
                os.rmdir(name, dir_fd=parent)
                gone.add(path)
        return gone

    def write(self, path: str, *parts: Buffer) -> os.stat_result:
        """Put a file in place at once, whatever was there; what it then is."""
        folder, name = _split(path)
        with self._mapped_errors(path, writing=True), self._folder(folder, make=True) as parent:
            like = None
            with contextlib.suppress(FileNotFoundError):
                like = os.stat(name, dir_fd=parent, follow_symlinks=False)
            temporary, found = new_file(parent, name, parts, like)
            try:
                os.rename(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(temporary, dir_fd=parent)
                raise
            return found

    def link(self, path: str, target: str) -> None:
        """Put a link in place at once; only another link gives way to it."""
        folder, name = _split(path)
        with self._mapped_errors(path, writing=True), self._folder(folder, make=True) as parent:
            try:
                there = os.stat(name, dir_fd=parent, follow_symlinks=False)
            except FileNotFoundError:
                there = None
            if there is not None and not stat.S_ISLNK(there.st_mode):
                raise Conflict(f"{self._where / path} is in the way of a link; move it, run again")
            temporary = temporary_name()
            os.symlink(target, temporary, dir_fd=parent)
            os.rename(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)

    def target(self, path: str) -> str | None:
        """Where a link leads, ``None`` where there is no link."""
        folder, name = _split(path)
        try:
            with self._folder(folder) as parent:
                return os.readlink(name, dir_fd=parent)
        except OSError:
            return None

    def append(self, path: str, data: bytes, *, make: bool = False) -> None:
        """Add bytes to the end of a file, durably; it must be there unless it may be made."""
        folder, name = _split(path)
        flags = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK
        with self._mapped_errors(path, writing=True), self._folder(folder, make=make) as parent:
            try:
                file = os.open(name, flags, dir_fd=parent)
            except FileNotFoundError:
                if not make:
                    raise
                file = os.open(name, flags | os.O_CREAT, 0o666, dir_fd=parent)
                os.fchmod(file, suggested_mode(parent))
            try:
                write_all(file, data)
                os.fsync(file)
            finally:
                os.close(file)

    def read(self, path: str) -> bytes | None:
        """The bytes of a regular file, ``None`` where there is nothing."""
        folder, name = _split(path)
        with self._mapped_errors(path):
            try:
                with self._folder(folder) as parent:
                    file = os.open(name, _FILE, dir_fd=parent)
                    with os.fdopen(file, "rb") as stream:
                        return stream.read()
            except FileNotFoundError:
                return None

    def stat(self, path: str) -> os.stat_result | None:
        """What is at a path, links not followed; ``None`` where there is nothing."""
        folder, name = _split(path)
        with self._mapped_errors(path):
            try:
                with self._folder(folder) as parent:
                    return os.stat(name, dir_fd=parent, follow_symlinks=False)
            except FileNotFoundError:
                return None

    def remove(self, path: str, seen: os.stat_result | None = None) -> None:
        """Remove a file, if it is there.

        Raises
        ------
        Conflict
            When it is not what the caller has seen there.
        """
        folder, name = _split(path)
        with (
            self._mapped_errors(path, writing=True),
            contextlib.suppress(FileNotFoundError),
            self._folder(folder) as parent,
        ):
            if seen is not None:
                self._check_same(parent, path, seen)
            os.unlink(name, dir_fd=parent)

    def check_replaceable(self, path: str, seen: os.stat_result) -> None:
        """Raise `Invalid` if this account may not put another file in the place of this one."""
        folder, _ = _split(path)
        with self._mapped_errors(path), self._folder(folder) as parent:
            why = kept_in_place(parent, seen)
        if why is not None:
            raise Invalid(f"not permitted to replace {self._where / path}: {why}")

    def check_appendable(self, path: str) -> None:
        """Raise `Invalid` if this account may not add to a file."""
        folder, name = _split(path)
        with self._mapped_errors(path), self._folder(folder) as parent:
            if not os.access(name, os.W_OK, dir_fd=parent):
                raise Invalid(
                    f"not permitted to add a line to {self._where / path}; let its owner allow it "
                    "(chmod g+w), or update the directory himself"
                )

    def sync(self, paths: Iterable[str]) -> None:
        """Make the names of these files durable, and those of the folders that they lie in."""
        folders = {folder for path in paths for folder in folders_of(path)}
        for folder in sorted({"", *folders}, reverse=True):
            with (
                self._mapped_errors(folder, writing=True),
                contextlib.suppress(FileNotFoundError),
                self._folder(folder) as descriptor,
            ):
                os.fsync(descriptor)

    def _check_same(self, parent: int, path: str, seen: os.stat_result) -> None:
        now = os.stat(path.rpartition("/")[2], dir_fd=parent, follow_symlinks=False)
        if not is_same(now, seen):
            raise self._busy(path)

    def _busy(self, path: str) -> Conflict:
        return Conflict(f"{self._where / path} is being written by somebody; run again")

    @contextlib.contextmanager
    def _folder(self, folder: str, make: bool = False) -> Iterator[int]:
        # Nobody who makes files sees a folder of another thread before it has its mode.
        with self._making if make else contextlib.nullcontext():
            descriptor = self._walk(folder, make)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _walk(self, folder: str, make: bool) -> int:
        descriptor = os.dup(self._root)
        walked = ""
        for part in folder.split("/") if folder else ():
            walked += part
            try:
                try:
                    inner = os.open(part, _FOLDER, dir_fd=descriptor)
                except FileNotFoundError:
                    if not make:
                        raise
                    if make_inner(descriptor, part):
                        self.made.add(walked)
                    inner = os.open(part, _FOLDER, dir_fd=descriptor)
            finally:
                os.close(descriptor)
            walked += "/"
            descriptor = inner
        return descriptor

    @contextlib.contextmanager
    def _mapped_errors(self, path: str, writing: bool = False) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            where = self._where / path
            why = error.strerror or str(error)
            if error.errno in _IN_THE_WAY:
                raise Conflict(
                    f"{where}: a link, a file or a folder is in the way; move it, run again"
                ) from error
            if error.errno in NO_ROOM:
                raise Conflict(f"no room to write {where} ({why}); make room, run again") from error
            if error.errno in _FORBIDDEN:
                verb = "write" if writing else "read"
                raise Invalid(
                    f"not permitted to {verb} {where} ({why}); ask its owner, or choose another "
                    "place"
                ) from error
            raise Invalid(f"cannot use {where} ({why}); choose another place") from error


def _split(path: str) -> tuple[str, str]:
    check_path(path)
    folder, _, name = path.rpartition("/")
    return folder, name


def folders_of(path: str) -> Iterator[str]:
    """The folders that a path leads through, but for the root; the inmost first."""
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def is_same(now: os.stat_result, seen: os.stat_result) -> bool:
    """Whether a file is the one that was seen, unchanged."""
    return (now.st_ino, now.st_size, now.st_mtime_ns) == (
        seen.st_ino,
        seen.st_size,
        seen.st_mtime_ns,
    )
