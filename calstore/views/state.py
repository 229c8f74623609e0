"""How a directory differs from what calstore left there."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from calstore.errors import Conflict, Invalid, NotFound
from calstore.formats.calib_tree import SUFFIXES
from calstore.model.digest import Buffer, xxh128
from calstore.views import ledger
from calstore.views.ledger import REMOVED, Ledger
from calstore.views.receipt import Receipt, Written
from calstore.views.temporaries import is_file
from calstore.views.tree import Entries, Tree


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
    half_done
        Paths that it had put in place or taken away already.
    """

    receipt: Receipt
    modified: tuple[str, ...]
    deleted: tuple[str, ...]
    added: tuple[str, ...]
    foreign: tuple[str, ...]
    unchanged: int
    is_interrupted: bool = False
    half_done: tuple[str, ...] = ()

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
    Invalid
        When a folder cannot be looked into.
    """
    with view_at(dest) as tree:
        return look(tree, dest)[0]


def view_at(dest: Path) -> Tree:
    """The directory; `NotFound` where there is none."""
    try:
        if not stat.S_ISDIR(dest.stat().st_mode):
            raise NotFound(f"{dest} is no directory; name a view")
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound(f"there is no directory {dest}; name a view") from None
    except OSError:
        pass  # which Tree says better
    return Tree(dest)


def look(tree: Tree, dest: Path) -> tuple[State, Ledger, Entries]:
    """The state of a view, what is known of it, and what was found in it; see `status`."""
    known = ledger.read(tree, dest)
    if known.receipt is None:
        raise NotFound(
            f"{dest} has no receipt of calstore; keep what it holds with: "
            f"calstore import {dest} REF"
        )
    entries = tree.entries()
    return state_of(tree, dest, known.receipt, entries, known.noted), known, entries


def aliases_in(dest: Path) -> tuple[str, ...]:
    """The links that calstore made for AMI, where a directory is a view: copies of what it has."""
    with contextlib.suppress(Conflict), Tree(dest) as tree:
        receipt = ledger.read(tree, dest).receipt
        links = {} if receipt is None else receipt.links
        return tuple(path for path, target in links.items() if tree.target(path) == target)
    return ()


def state_of(
    tree: Tree,
    dest: Path,
    receipt: Receipt,
    entries: Entries,
    noted: Mapping[str, frozenset[str]],
) -> State:
    """How what was found differs from the receipt; see `State`."""
    refuse_hidden(dest, receipt.files, entries)
    modified, added, foreign, half_done = [], [], [], []
    unchanged = 0
    files, links = receipt.files, receipt.links
    for path, found in entries.found.items():
        written = files.get(path)
        if written is not None and written.untouched(found) and is_file(found):
            unchanged += 1
        elif written is not None or path in noted:
            digest = digest_at(tree, path, found)
            if written is not None and digest == written.digest:
                unchanged += 1
            elif digest in noted.get(path, ()):
                unchanged += 1
                half_done.append(path)
            else:
                modified.append(path)
        elif path in links:
            if tree.target(path) != links[path]:
                modified.append(path)
        elif path.count("/") == 3 and path.endswith(SUFFIXES):
            added.append(path)
        else:
            foreign.append(path)
    gone = (files.keys() | links.keys()) - entries.found.keys()
    removed = {path for path in gone if REMOVED in noted.get(path, ())}
    return State(
        receipt,
        modified=tuple(sorted(modified)),
        deleted=tuple(sorted(gone - removed)),
        added=tuple(sorted(added)),
        foreign=tuple(sorted(foreign)),
        unchanged=unchanged,
        is_interrupted=bool(noted),
        half_done=tuple(sorted({*half_done, *removed})),
    )


def refuse_hidden(dest: Path, paths: Iterable[str], entries: Entries) -> None:
    """Raise `Invalid` for a folder that cannot be looked into and shall hold some of the paths."""
    for folder in entries.hidden:
        if any(path.startswith(f"{folder}/") for path in paths):
            raise Invalid(
                f"not permitted to look into {dest / folder}, which holds files of the view; "
                "ask its owner"
            )


def holds(
    tree: Tree,
    path: str,
    found: os.stat_result,
    written: Written | None,
    noted: Mapping[str, frozenset[str]],
) -> bool:
    """Whether a file has the bytes that calstore wrote, or was about to write, there."""
    expected = noted.get(path, frozenset())
    if written is not None:
        expected |= {written.digest}
    return digest_at(tree, path, found) in expected


def has(tree: Tree, path: str, found: os.stat_result | None, parts: Sequence[Buffer]) -> bool:
    """Whether a file has just these bytes."""
    if found is None or found.st_size != sum(memoryview(part).nbytes for part in parts):
        return False
    return digest_at(tree, path, found) == xxh128(*parts).hex


def digest_at(tree: Tree, path: str, found: os.stat_result) -> str | None:
    """The digest of a file's bytes in hex; ``None`` for what is no file, or cannot be read."""
    if not is_file(found):
        return None
    with contextlib.suppress(Invalid, Conflict):
        data = tree.read(path)
        return None if data is None else xxh128(data).hex
    return None
