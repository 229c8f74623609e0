"""What calstore knows of a directory: its receipt, and in a journal what was done since.

The receipt of a large view has megabytes, so an update does not write it anew. It appends a line
to the journal before anything is touched, and one when all is done; when these have come to a
quarter of the receipt, it is written anew and the journal goes. A journal belongs to the receipt
whose digest its first line has, so that a kill between the two does no harm.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from calstore.model.digest import xxh128
from calstore.views.receipt import (
    DAMAGED,
    NAME,
    Receipt,
    Written,
    of_document,
    parse,
    written_of,
)
from calstore.views.tree import Tree

JOURNAL: Final = ".calstore-view.journal"
REMOVED: Final = "removed"
"""What is noted in the place of a digest when a file is to be taken away."""

_PART: Final = 4


@dataclass(frozen=True, slots=True)
class Ledger:
    """What calstore wrote into a directory, and what it was about to write.

    Parameters
    ----------
    receipt
        What it wrote; ``None`` where that never came to its end.
    noted
        Of an update that was broken off: path → digests in hex (or `REMOVED`) of what may be
        there now.
    base
        The digest of the receipt's file, in hex; ``""`` where there is none.
    size, journal
        Bytes of the receipt's file, and of the journal that belongs to it.
    """

    receipt: Receipt | None = None
    noted: Mapping[str, frozenset[str]] = field(default_factory=dict)
    base: str = ""
    size: int = 0
    journal: int = 0


def read(tree: Tree, dest: Path) -> Ledger:
    """What is known of a directory.

    Raises
    ------
    Conflict
        When the receipt cannot be read.
    """
    # The journal first: if the receipt is written anew meanwhile, it has all that the journal says.
    journal = tree.read(JOURNAL) or b""
    data = tree.read(NAME)
    if data is None:
        before = Ledger()
    else:
        before = Ledger(parse(data, str(dest / NAME)), base=xxh128(data).hex, size=len(data))
    lines = list(_lines(journal))
    if not lines or lines[0] != {"receipt": before.base}:
        return before
    receipt, noted = before.receipt, dict[str, frozenset[str]]()
    files = {} if receipt is None else dict(receipt.files)
    for line in lines[1:]:
        try:
            if "done" in line:
                receipt, noted = _applied(receipt, files, line["done"]), {}
            else:
                for path, digest in _noted(line):
                    noted[path] = noted.get(path, frozenset()) | {digest}
        except DAMAGED:
            continue  # what it said of files shows as changes of theirs
    return replace(before, receipt=receipt, noted=noted, journal=len(journal))


def note(tree: Tree, ledger: Ledger, put: Mapping[str, str], gone: Iterable[str]) -> Ledger:
    """Note durably what is to be put (path → digest in hex) and taken away, before it is."""
    return _appended(tree, ledger, _line({"put": dict(put), "remove": list(gone)}))


def settle(tree: Tree, ledger: Ledger, receipt: Receipt) -> None:
    """Let the directory be what this receipt says, durably; whatever was noted is done."""
    before = ledger.receipt or replace(receipt, files={}, folders=frozenset())
    files = {
        path: receipt.files.get(path)
        for path in {**before.files, **receipt.files}
        if before.files.get(path) != receipt.files.get(path)
    }
    folders = {path: path in receipt.folders for path in before.folders ^ receipt.folders}
    line = _line({"done": {**receipt.head(), "files": files, "folders": folders}})
    if ledger.journal + len(line) <= ledger.size // _PART:
        _appended(tree, ledger, line)
        return
    tree.write(NAME, receipt.rendered())
    tree.sync([NAME])
    tree.remove(JOURNAL)


def _appended(tree: Tree, ledger: Ledger, line: bytes) -> Ledger:
    if ledger.journal:
        tree.append(JOURNAL, line)
    else:
        line = _line({"receipt": ledger.base}) + line
        tree.write(JOURNAL, line)
        tree.sync([JOURNAL])
    return replace(ledger, journal=ledger.journal + len(line))


def _line(document: Mapping[str, Any]) -> bytes:
    # The first line end closes a line that was torn.
    return ("\n" + json.dumps(document) + "\n").encode()


def _lines(data: bytes) -> Iterator[dict[str, Any]]:
    for line in data.splitlines():
        try:
            document = json.loads(line)
        except (ValueError, RecursionError):
            continue  # an empty line, or a torn one: nothing was done yet of what it said
        if isinstance(document, dict):
            yield document


def _noted(line: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for path, digest in line["put"].items():
        yield str(path), str(digest)
    for path in line["remove"]:
        yield str(path), REMOVED


def _applied(before: Receipt | None, files: dict[str, Written], done: Mapping[str, Any]) -> Receipt:
    """The receipt after an update; its files, changed in place, are those of the one before."""
    written = written_of({path: item for path, item in done["files"].items() if item})
    folders = {} if before is None else dict.fromkeys(before.folders, True)
    folders.update(done["folders"])
    made = frozenset(path for path, is_made in folders.items() if is_made)
    receipt = of_document(done, files, made)
    files.update(written)
    for path in done["files"].keys() - written.keys():
        files.pop(path, None)
    return receipt
