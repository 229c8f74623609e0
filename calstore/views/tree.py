"""Files below one directory, with no way out of it: no link is followed, no name escapes."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import fnmatch
import os
import re
import secrets
import stat
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType

from calstore.errors import NO_ROOM, Conflict, Invalid
from calstore.formats.calib_tree import LEFT_OUT
from calstore.model.digest import Buffer
from calstore.model.names import check_path
from calstore.store.local import write_all

TEMPORARY = ".calstore-tmp-"  # a name that psana and AMI never take for a constant
_LEFT_OUT = re.compile("|".join(fnmatch.translate(pattern) for pattern in LEFT_OUT))
_ACCESS_LIST = "system.posix_acl_access"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


class Tree:
    """A directory opened once; every path is walked from it, one component at a time.

    A component that is a link, or a file where a folder is needed, is a `Conflict`.
    """

    def __init__(self, root: Path) -> None:
        self._where = root
        with self._mapped_errors(""):
            self._root = os.open(root, os.O_RDONLY | os.O_DIRECTORY)

    def __enter__(self) -> Tree:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        os.close(self._root)

    def entries(self) -> dict[str, os.stat_result]:
        """What is below the root, links not followed: path → what it is, folders left out.

        Names that are no part of a calib directory are left out too, and so is what lies in
        folders that may not be listed.
        """
        found: dict[str, os.stat_result] = {}
        with self._mapped_errors(""):
            self._enter(self._root, "", found)
        return found

    def _enter(self, descriptor: int, prefix: str, found: dict[str, os.stat_result]) -> None:
        with os.scandir(descriptor) as entries:
            for entry in entries:
                if _LEFT_OUT.match(entry.name):
                    continue
                try:
                    if not entry.is_dir(follow_symlinks=False):
                        found[prefix + entry.name] = entry.stat(follow_symlinks=False)
                        continue
                    inner = os.open(entry.name, _FOLDER, dir_fd=descriptor)
                except (FileNotFoundError, PermissionError):
                    continue
                try:
                    self._enter(inner, f"{prefix}{entry.name}/", found)
                finally:
                    os.close(inner)

    def write(self, path: str, *parts: Buffer) -> os.stat_result:
        """Put a file in place at once: temporary name, fsync, rename.

        Returns
        -------
        os.stat_result
            Of the file that was written.
        """
        with self._new_file(path, parts) as (folder, temporary, file, name):
            os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
            return os.fstat(file)

    def replace(
        self, path: str, seen: os.stat_result | None, parts: Sequence[Buffer]
    ) -> os.stat_result:
        """Like `write`, if there still is what the caller has seen there.

        The new file has mode, owner, group and access list of the old one, as far as the
        account may give them.

        Raises
        ------
        Conflict
            When somebody has written there since.
        """
        with self._new_file(path, parts) as (folder, temporary, file, name):
            if seen is None:
                _put_new(folder, temporary, name)
                return os.fstat(file)
            _dress_like(file, name, folder, seen)
            try:
                now = os.stat(name, dir_fd=folder, follow_symlinks=False)
            except FileNotFoundError:
                now = None
            if now is not None and not is_same(now, seen):
                raise Conflict(f"{self._where / path} is being written by somebody; run again")
            os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
            return os.fstat(file)

    @contextlib.contextmanager
    def _new_file(self, path: str, parts: Sequence[Buffer]) -> Iterator[tuple[int, str, int, str]]:
        """A durable file under a temporary name beside its place; gone after an error."""
        folder, name = _split(path)
        with self._mapped_errors(path), self._folder(folder, make=True) as descriptor:
            temporary = TEMPORARY + secrets.token_hex(6)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            file = os.open(temporary, flags, 0o666, dir_fd=descriptor)
            try:
                for part in parts:
                    write_all(file, part)
                os.fsync(file)
                yield descriptor, temporary, file, name
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(temporary, dir_fd=descriptor)
                raise
            finally:
                os.close(file)

    def link(self, path: str, target: str) -> None:
        """Put a link in place at once; only another link gives way to it."""
        folder, name = _split(path)
        with self._mapped_errors(path), self._folder(folder, make=True) as descriptor:
            try:
                there = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            except FileNotFoundError:
                there = None
            if there is not None and not stat.S_ISLNK(there.st_mode):
                raise Conflict(f"{self._where / path} is in the way of a link; move it, run again")
            temporary = TEMPORARY + secrets.token_hex(6)
            os.symlink(target, temporary, dir_fd=descriptor)
            os.rename(temporary, name, src_dir_fd=descriptor, dst_dir_fd=descriptor)

    def target(self, path: str) -> str | None:
        """Where a link leads, ``None`` where there is no link."""
        folder, name = _split(path)
        try:
            with self._folder(folder) as descriptor:
                return os.readlink(name, dir_fd=descriptor)
        except OSError:
            return None

    def lock(self) -> None:
        """Be the only one who updates this directory, as long as the tree is open.

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
            return  # a file system without locks

    def append(self, path: str, data: bytes) -> None:
        """Add bytes to the end of a file, durably; it is made if it is not there."""
        folder, name = _split(path)
        with self._mapped_errors(path), self._folder(folder, make=True) as descriptor:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
            file = os.open(name, flags, 0o666, dir_fd=descriptor)
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
                with self._folder(folder) as descriptor:
                    file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=descriptor)
                    with os.fdopen(file, "rb") as stream:
                        return stream.read()
            except FileNotFoundError:
                return None

    def stat(self, path: str) -> os.stat_result | None:
        """What is at a path, links not followed; ``None`` where there is nothing."""
        folder, name = _split(path)
        with self._mapped_errors(path):
            try:
                with self._folder(folder) as descriptor:
                    return os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            except FileNotFoundError:
                return None

    def remove(self, path: str, seen: os.stat_result | None = None) -> None:
        """Remove a file, if it is there, and the folders that it leaves empty.

        Raises
        ------
        Conflict
            When it is not what the caller has seen there.
        """
        folder, name = _split(path)
        with self._mapped_errors(path):
            with contextlib.suppress(FileNotFoundError), self._folder(folder) as descriptor:
                if seen is not None:
                    now = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
                    if not is_same(now, seen):
                        raise Conflict(
                            f"{self._where / path} is being written by somebody; run again"
                        )
                os.unlink(name, dir_fd=descriptor)
            while folder:
                parent, last = _split(folder)
                try:
                    with self._folder(parent) as descriptor:
                        os.rmdir(last, dir_fd=descriptor)
                except OSError:
                    return
                folder = parent

    def sync(self, paths: set[str]) -> None:
        """Make the names of these files durable."""
        for folder in sorted({_split(path)[0] for path in paths}):
            parts = folder.split("/") if folder else []
            with self._mapped_errors(folder):
                for depth in range(len(parts), -1, -1):
                    with (
                        contextlib.suppress(FileNotFoundError),
                        self._folder("/".join(parts[:depth])) as descriptor,
                    ):
                        os.fsync(descriptor)

    @contextlib.contextmanager
    def _folder(self, folder: str, make: bool = False) -> Iterator[int]:
        descriptor = os.dup(self._root)
        try:
            for part in folder.split("/") if folder else ():
                if make:
                    _make_folder(part, descriptor)
                inner = os.open(part, _FOLDER, dir_fd=descriptor)
                os.close(descriptor)
                descriptor = inner
            yield descriptor
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def _mapped_errors(self, path: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            where = self._where / path
            why = error.strerror or str(error)
            if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.EEXIST):
                raise Conflict(
                    f"{where}: a link, a file or a folder is in the way; move it, run again"
                ) from error
            if error.errno in NO_ROOM:
                raise Conflict(f"no room to write {where} ({why}); make room, run again") from error
            raise Invalid(f"cannot use {where} ({why}); choose another place") from error


def _make_folder(name: str, parent: int) -> None:
    """A folder with the mode of the one above it, so that a shared one stays shared."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, dir_fd=parent)
        mode = stat.S_IMODE(os.fstat(parent).st_mode)
        with contextlib.suppress(OSError):
            os.chmod(name, mode, dir_fd=parent)


def _put_new(folder: int, temporary: str, name: str) -> None:
    """Give a file its name if nobody has it; a race ends as `FileExistsError`."""
    try:
        os.link(temporary, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EMLINK):
            raise
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    else:
        os.unlink(temporary, dir_fd=folder)


def _dress_like(file: int, name: str, folder: int, seen: os.stat_result) -> None:
    """Give a new file what the old one has: owner, group, mode, access list."""
    try:
        os.fchown(file, seen.st_uid, seen.st_gid)
    except OSError:
        with contextlib.suppress(OSError):
            os.fchown(file, -1, seen.st_gid)
    os.fchmod(file, stat.S_IMODE(seen.st_mode))
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError):
        old = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=folder)
        try:
            os.setxattr(file, _ACCESS_LIST, os.getxattr(old, _ACCESS_LIST))
        finally:
            os.close(old)


def is_same(now: os.stat_result, seen: os.stat_result) -> bool:
    """Whether a file is the one that was seen, unchanged."""
    return (now.st_ino, now.st_size, now.st_mtime_ns) == (
        seen.st_ino,
        seen.st_size,
        seen.st_mtime_ns,
    )


def is_file(found: os.stat_result | None) -> bool:
    """Whether a regular file was found."""
    return found is not None and stat.S_ISREG(found.st_mode)


def _split(path: str) -> tuple[str, str]:
    check_path(path)
    folder, _, name = path.rpartition("/")
    return folder, name
