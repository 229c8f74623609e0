"""How a directory differs from what calstore left there."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from calstore.errors import Conflict, NotFound
from calstore.formats.calib_tree import SUFFIXES
from calstore.model.digest import xxh128
from calstore.views.receipt import (
    JOURNAL,
    NAME,
    REMOVED,
    Receipt,
    Written,
    parse,
    parse_journal,
)
from calstore.views.tree import Tree, is_file

HISTORY: Final = "HISTORY"


@dataclass(frozen=True, slots=True)
class State:
    """A view as it is now, against its receipt.

    Parameters
    ----------
    receipt
        What calstore wrote there.
    modified, deleted
        Paths of files (or aliases) that calstore wrote and somebody changed or took away.
    added
        Paths of constants, or of what psana may take for some, that calstore did not write.
    foreign
        Paths of anything else that calstore did not write.
    unchanged
        How many files are as they were left.
    is_interrupted
        Whether an update was broken off, so that the receipt is not the whole story.
    """

    receipt: Receipt
    modified: tuple[str, ...]
    deleted: tuple[str, ...]
    added: tuple[str, ...]
    foreign: tuple[str, ...]
    unchanged: int
    is_interrupted: bool

    @property
    def is_clean(self) -> bool:
        """Whether the view holds just what calstore put there, strangers' other files aside."""
        return not (self.modified or self.deleted or self.added or self.is_interrupted)


def status(dest: Path) -> State:
    """What was changed in a view since calstore wrote it; only suspicious files are read.

    Raises
    ------
    NotFound
        When there is no view.
    Conflict
        When its receipt cannot be read.
    """
    if not dest.is_dir():
        raise NotFound(f"there is no directory {dest}; name a view")
    with Tree(dest) as tree:
        receipt = receipt_in(tree, dest)
        if receipt is None:
            raise NotFound(
                f"{dest} has no receipt of calstore; keep what it holds with: "
                f"calstore import {dest} REF"
            )
        return state_of(tree, receipt, tree.entries(), noted_in(tree))


def receipt_in(tree: Tree, dest: Path) -> Receipt | None:
    """The receipt of a view, ``None`` where there is none."""
    data = tree.read(NAME)
    return None if data is None else parse(data, str(dest / NAME))


def aliases_in(dest: Path) -> tuple[str, ...]:
    """The links that calstore made for AMI, where a directory is a view: copies of what it has."""
    with contextlib.suppress(Conflict), Tree(dest) as tree:
        receipt = receipt_in(tree, dest)
        links = {} if receipt is None else receipt.links
        return tuple(path for path, target in links.items() if tree.target(path) == target)
    return ()


def noted_in(tree: Tree) -> dict[str, set[str]]:
    """What an interrupted update noted before it was broken off."""
    return parse_journal(tree.read(JOURNAL) or b"")


def state_of(
    tree: Tree,
    receipt: Receipt,
    entries: Mapping[str, os.stat_result],
    noted: Mapping[str, set[str]],
) -> State:
    """How what was found differs from the receipt; see `State`."""
    modified, added, foreign = [], [], []
    unchanged = 0
    files, links = receipt.files, receipt.links
    for path, found in entries.items():
        written = files.get(path)
        if written is not None and written.untouched(found) and is_file(found):
            unchanged += 1
        elif written is not None or path in noted:
            if holds(tree, path, found, written, noted):
                unchanged += 1
            else:
                modified.append(path)
        elif path in links:
            if tree.target(path) != links[path]:
                modified.append(path)
        elif path.count("/") == 3 and path.endswith(SUFFIXES):
            added.append(path)
        else:
            foreign.append(path)
    gone = (files.keys() | links.keys()) - entries.keys()
    deleted = [path for path in gone if REMOVED not in noted.get(path, ())]
    return State(
        receipt,
        modified=tuple(sorted(modified)),
        deleted=tuple(sorted(deleted)),
        added=tuple(sorted(added)),
        foreign=tuple(sorted(foreign)),
        unchanged=unchanged,
        is_interrupted=bool(noted),
    )


def holds(
    tree: Tree,
    path: str,
    found: os.stat_result,
    written: Written | None,
    noted: Mapping[str, set[str]],
) -> bool:
    """Whether a file has the bytes that calstore wrote, or was about to write, there."""
    if not is_file(found):
        return False
    data = tree.read(path)
    expected = noted.get(path, set()) | ({written.digest} if written is not None else set())
    return data is not None and xxh128(data).hex in expected
