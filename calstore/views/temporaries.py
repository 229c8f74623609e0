"""Files under temporary names, and how they come by their own."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final, TypeGuard

from calstore.model.digest import Buffer
from calstore.store.local import write_all
from calstore.views.sharing import dress_like, suggested_mode

TEMPORARY: Final = ".calstore-tmp-"
"""How a temporary name begins; psana and AMI never take one for a constant."""

_OURS = re.compile(re.escape(TEMPORARY) + "[0-9a-f]{12}")


def temporary_name() -> str:
    """A name that nobody has."""
    return TEMPORARY + secrets.token_hex(6)


def is_temporary(name: str) -> bool:
    """Whether a name is one of these."""
    return _OURS.fullmatch(name) is not None


def new_file(
    folder: int, name: str, parts: Sequence[Buffer], like: os.stat_result | None
) -> tuple[str, os.stat_result]:
    """A durable file under a temporary name in an open folder, to become the one called ``name``.

    Returns
    -------
    tuple
        Its name, and what it is.
    """
    temporary = temporary_name()
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    file = os.open(temporary, flags, 0o666, dir_fd=folder)
    try:
        os.fchmod(file, suggested_mode(folder))
        if is_file(like):
            dress_like(file, folder, name, like)
        for part in parts:
            write_all(file, part)
        _set_apart(file)
        os.fsync(file)
        return temporary, os.fstat(file)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary, dir_fd=folder)
        raise
    finally:
        os.close(file)


def _set_apart(file: int) -> None:
    """Let a file's time be none that the clock gives.

    Clocks of file systems tick every few milliseconds: what somebody writes into the file within
    the same tick would not show in its time.
    """
    found = os.fstat(file)
    os.utime(file, ns=(found.st_atime_ns, found.st_mtime_ns - 1))


def put_new(folder: int, temporary: str, name: str) -> None:
    """Give a file its name if nobody has it; a race ends as `FileExistsError`."""
    try:
        os.link(temporary, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EMLINK):
            raise
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    else:
        os.unlink(temporary, dir_fd=folder)


def unfinished_name(dest: Path) -> Path:
    """A name that nobody has, beside DEST, for what will come in its place."""
    return dest.parent / f".{dest.name}{temporary_name()}"


def unfinished_beside(dest: Path) -> list[Path]:
    """What killed runs left beside DEST, and what running ones have there."""
    before = f".{dest.name}"
    try:
        return [
            path
            for path in dest.parent.iterdir()
            if path.name.startswith(before) and is_temporary(path.name.removeprefix(before))
        ]
    except OSError:
        return []


def is_file(found: os.stat_result | None) -> TypeGuard[os.stat_result]:
    """Whether a regular file was found."""
    return found is not None and stat.S_ISREG(found.st_mode)
