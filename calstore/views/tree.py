"""Files below one directory, with no way out of it: no link is followed, no name escapes."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from calstore.errors import NO_ROOM, Conflict, Invalid
from calstore.model.digest import Buffer
from calstore.model.names import check_path
from calstore.store.local import write_all

TEMPORARY = ".calstore-tmp-"  # a name that psana and AMI never take for a constant
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

    def write(self, path: str, *parts: Buffer) -> os.stat_result:
        """Put a file in place at once: temporary name, fsync, rename.

        Returns
        -------
        os.stat_result
            Of the file that was written.
        """
        folder, name = _split(path)
        with self._mapped_errors(path), self._folder(folder, make=True) as descriptor:
            temporary = TEMPORARY + secrets.token_hex(6)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            file = os.open(temporary, flags, 0o666, dir_fd=descriptor)
            try:
                for part in parts:
                    write_all(file, part)
                os.fsync(file)
                os.rename(temporary, name, src_dir_fd=descriptor, dst_dir_fd=descriptor)
                return os.fstat(file)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(temporary, dir_fd=descriptor)
                raise
            finally:
                os.close(file)

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

    def remove(self, path: str) -> None:
        """Remove a file, if it is there, and the folders that it leaves empty."""
        folder, name = _split(path)
        with self._mapped_errors(path):
            with contextlib.suppress(FileNotFoundError), self._folder(folder) as descriptor:
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
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(part, dir_fd=descriptor)
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


def is_file(found: os.stat_result | None) -> bool:
    """Whether a regular file was found."""
    return found is not None and stat.S_ISREG(found.st_mode)


def _split(path: str) -> tuple[str, str]:
    check_path(path)
    folder, _, name = path.rpartition("/")
    return folder, name
