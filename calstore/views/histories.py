"""HISTORY files of a directory that is there: they only grow, because others append to them."""

from __future__ import annotations

from calstore.errors import Conflict
from calstore.model.digest import xxh128
from calstore.views.plan import HISTORY
from calstore.views.tree import Tree
from calstore.views.write import OnDisk


def is_history(path: str) -> bool:
    """Whether a path is a HISTORY's."""
    return path.rpartition("/")[2] == HISTORY


def growth(tree: Tree, path: str, planned: bytes) -> tuple[bytes, bytes]:
    """What a HISTORY holds, and what is to be added so that it has the planned lines too."""
    there = tree.read(path) or b""
    missing = b"".join(_lines_beyond(planned, there))
    if missing and there and not there.endswith(b"\n"):
        missing = b"\n" + missing
    return there, missing


def grow(tree: Tree, path: str, planned: bytes, *, is_ours: bool) -> tuple[bool, OnDisk]:
    """Append the lines that a HISTORY does not have yet.

    Parameters
    ----------
    is_ours
        Whether what it holds so far is calstore's. If not, it counts as changed by others until
        somebody adopts it.

    Returns
    -------
    tuple
        Whether there were any, and what the file shall count as.
    """
    there, missing = growth(tree, path, planned)
    if missing:
        tree.append(path, missing, make=True)
    now = tree.stat(path)
    if now is None:
        raise Conflict(f"{path} was taken away meanwhile; run again")
    parts = [there, missing] if is_ours else [planned]
    return bool(missing), OnDisk.of(parts, xxh128(*parts), now)


def _lines_beyond(wanted: bytes, there: bytes) -> list[bytes]:
    left = there.split(b"\n")
    missing = []
    for line in wanted.splitlines(keepends=True):
        bare = line.removesuffix(b"\n")
        if bare in left:
            left.remove(bare)
        else:
            missing.append(bare + b"\n")
    return missing
