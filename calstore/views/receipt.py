"""What calstore wrote into a view: the receipt that it leaves there."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from calstore.errors import Conflict
from calstore.model.digest import Digest

NAME: Final = ".calstore-view.json"
JOURNAL: Final = ".calstore-view.journal"
FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class Written:
    """One file as calstore wrote it.

    Parameters
    ----------
    key
        What it was made from; equal keys make equal bytes.
    digest, size
        Of its bytes.
    mtime_ns
        When it was written: an unchanged size and time spare reading it again.
    """

    key: str
    digest: Digest
    size: int
    mtime_ns: int

    def untouched(self, found: os.stat_result) -> bool:
        """Whether the file looks as it was left."""
        return found.st_size == self.size and found.st_mtime_ns == self.mtime_ns


@dataclass(frozen=True, slots=True)
class Receipt:
    """Which version a view was made from, and the files that calstore wrote."""

    store: str
    version: str
    manifest: str
    layout: str
    files: Mapping[str, Written] = field(default_factory=dict)

    def rendered(self) -> bytes:
        """The receipt as it lies in the view."""
        files = {
            path: {
                "made_from": written.key,
                "mtime_ns": written.mtime_ns,
                "size": written.size,
                "xxh128": written.digest.hex,
            }
            for path, written in self.files.items()
        }
        document = {
            "files": files,
            "format": FORMAT,
            "layout": self.layout,
            "manifest": self.manifest,
            "store": self.store,
            "version": self.version,
        }
        return (json.dumps(document, sort_keys=True, indent=1) + "\n").encode()


def parse(data: bytes, where: str) -> Receipt:
    """The receipt of these bytes.

    Raises
    ------
    Conflict
        When it is damaged or newer, so that calstore cannot know what it wrote.
    """
    try:
        document: dict[str, Any] = json.loads(data)
        if document["format"] != FORMAT:
            raise ValueError(f"format {document['format']}")
        files = {
            path: Written(
                item["made_from"],
                Digest(bytes.fromhex(item["xxh128"])),
                int(item["size"]),
                int(item["mtime_ns"]),
            )
            for path, item in document["files"].items()
        }
        return Receipt(
            str(document["store"]),
            str(document["version"]),
            str(document["manifest"]),
            str(document["layout"]),
            files,
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Conflict(
            f"the receipt {where} cannot be read ({error}); materialize into a new directory"
        ) from None


def journal_line(path: str, digest: Digest) -> bytes:
    """The line that is noted before a file is put in place, in case the rest never happens."""
    # The first line end closes a line that was torn.
    return ("\n" + json.dumps({"path": path, "xxh128": digest.hex}) + "\n").encode()


def parse_journal(data: bytes) -> dict[str, set[str]]:
    """Path → digests that an interrupted update may have left there; torn lines say nothing."""
    noted: dict[str, set[str]] = {}
    for line in data.splitlines():
        try:
            item = json.loads(line)
            noted.setdefault(item["path"], set()).add(item["xxh128"])
        except (ValueError, KeyError, TypeError, RecursionError):
            continue
    return noted
