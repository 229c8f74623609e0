"""Who may read and write what is made in a directory that several people share."""

from __future__ import annotations

import contextlib
import os
import pwd
import stat
import sys
from pathlib import Path

_ACCESS_LIST = "system.posix_acl_access"
_READ = 0o444


def suggested_mode(folder: int) -> int:
    """The mode of a new file in an open folder: as the folder is shared, whatever the umask.

    Where the sticky bit keeps people from replacing each other's files, they may not write into
    them either.
    """
    mode = stat.S_IMODE(os.fstat(folder).st_mode)
    return 0o600 | mode & (0o644 if mode & stat.S_ISVTX else 0o666)


def make_inner(folder: int, name: str) -> bool:
    """Make a folder in an open one, with its mode, so that what is shared stays shared.

    Returns
    -------
    bool
        Whether it was made; ``False`` when something has the name.
    """
    try:
        os.mkdir(name, dir_fd=folder)
    except FileExistsError:
        return False
    wanted = stat.S_IMODE(os.fstat(folder).st_mode)
    made = stat.S_IMODE(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
    if made != wanted:
        with contextlib.suppress(OSError):
            os.chmod(name, wanted, dir_fd=folder)
    return True


def make_folder(path: Path) -> None:
    """Make a folder of one's own, shared as the one above it where that belongs to a group."""
    path.mkdir()
    above = path.parent.stat().st_mode
    if above & stat.S_ISGID:
        with contextlib.suppress(OSError):
            path.chmod(stat.S_IMODE(above))


def dress_like(file: int, folder: int, name: str, like: os.stat_result) -> None:
    """Give a new file what the one called ``name`` has: owner, group, mode, access list.

    Where the account may not give it to the old owner, he may at least read it, if the folder
    is for him.
    """
    try:
        os.fchown(file, like.st_uid, like.st_gid)
    except OSError:
        with contextlib.suppress(OSError):
            os.fchown(file, -1, like.st_gid)
    mode = stat.S_IMODE(like.st_mode)
    if os.fstat(file).st_uid != like.st_uid:
        mode |= suggested_mode(folder) & _READ
    os.fchmod(file, mode)
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError):
        old = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
        try:
            os.setxattr(file, _ACCESS_LIST, os.getxattr(old, _ACCESS_LIST))
        finally:
            os.close(old)


def kept_in_place(folder: int, found: os.stat_result) -> str | None:
    """Why this account may not replace or remove a file of an open folder; ``None`` if it may."""
    if not os.access(".", os.W_OK | os.X_OK, dir_fd=folder):
        return "its folder may not be written; ask the owner, or choose another place"
    info = os.fstat(folder)
    if not info.st_mode & stat.S_ISVTX or os.geteuid() in (0, info.st_uid, found.st_uid):
        return None
    owner = _name_of(found.st_uid)
    return (
        f"it belongs to {owner}, and its folder is sticky (mode {stat.S_IMODE(info.st_mode):o}), "
        f"so that nobody else may; let {owner} update the directory, or the folder's owner take "
        "the sticky bit away (chmod -t)"
    )


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"
