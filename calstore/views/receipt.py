"""What calstore wrote into a view: the receipt that it leaves there."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from calstore.errors import Conflict
from calstore.model.digest import Digest

NAME: Final = ".calstore-view.json"
JOURNAL: Final = ".calstore-view.journal"
FORMAT: Final = 2
RENDERING: Final = 1
"""Raised when the bytes that are rendered change, so that views are made anew."""


class Written(NamedTuple):
    """One file as calstore wrote it.

    Parameters
    ----------
    key
        What it was made from; equal keys make equal bytes.
    digest
        XXH3-128 of its bytes, in hex.
    size, mtime_ns
        Of the file when it was written: unchanged, they spare reading it again.
    """

    key: str
    digest: str
    size: int
    mtime_ns: int

    def untouched(self, found: os.stat_result) -> bool:
        """Whether the file looks as it was left."""
        return found.st_size == self.size and found.st_mtime_ns == self.mtime_ns


@dataclass(frozen=True, slots=True)
class Part:
    """Which version a view, or a part of it, was made from.

    Parameters
    ----------
    version, manifest
        The record and the set's digest.
    under
        The folder that was made from it, ``<group>/<source>[/<type>]``; ``""`` for the view.
    run
        Where only the constants of one run were made.
    """

    version: str
    manifest: str
    under: str = ""
    run: int | None = None

    def holds(self, path: str) -> bool:
        """Whether the path belongs to this part."""
        return not self.under or path.startswith(f"{self.under}/")


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a view was made from, and the files and links that calstore put there.

    Parameters
    ----------
    store
        The store's id.
    layout
        One of `calstore.views.layout.LAYOUTS`.
    parts
        The versions it was made from; a later part replaced that part of an earlier one.
    for_ami
        Whether it was made so that AMI reads it too.
    links
        Aliases: path → target, both relative to their folder.
    """

    store: str
    layout: str
    parts: tuple[Part, ...]
    for_ami: bool = False
    files: Mapping[str, Written] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    rendering: int = RENDERING

    @property
    def versions(self) -> str:
        """What people are told: the version, and what was put over it."""
        return ", ".join(
            part.version
            + (f" run {part.run}" if part.run is not None else "")
            + (f" for {part.under}" if part.under else "")
            for part in self.parts
        )

    def is_of(self, other: Receipt) -> bool:
        """Whether both would be made from the same things in the same way."""
        mine = (self.store, self.layout, self.parts, self.for_ami, self.rendering)
        return mine == (other.store, other.layout, other.parts, other.for_ami, other.rendering)

    def rendered(self) -> bytes:
        """The receipt as it lies in the view: a file on a line."""
        head = {
            "for_ami": self.for_ami,
            "format": FORMAT,
            "layout": self.layout,
            "links": dict(self.links),
            "parts": [
                {
                    "manifest": part.manifest,
                    "run": part.run,
                    "under": part.under,
                    "version": part.version,
                }
                for part in self.parts
            ],
            "rendering": self.rendering,
            "store": self.store,
        }
        files = ",\n".join(
            f"{json.dumps(path)}: {json.dumps(list(self.files[path]))}"
            for path in sorted(self.files)
        )
        body = json.dumps(head, sort_keys=True, indent=1).removesuffix("\n}")
        return f'{body},\n "files": {{\n{files}\n}}}}\n'.encode()


def parse(data: bytes, where: str) -> Receipt:
    """The receipt of these bytes.

    Raises
    ------
    Conflict
        When it is damaged or newer, so that calstore cannot know what it wrote.
    """
    try:
        document: dict[str, Any] = json.loads(data)
        if document["format"] == 1:
            return _first_format(document)
        if document["format"] != FORMAT:
            raise ValueError(f"format {document['format']}")
        files = {path: Written._make(item) for path, item in document["files"].items()}
        for written in files.values():
            if type(written.size) is not int or type(written.mtime_ns) is not int:
                raise TypeError(f"a file's size {written.size!r}")
        return Receipt(
            str(document["store"]),
            str(document["layout"]),
            tuple(
                Part(str(part["version"]), str(part["manifest"]), str(part["under"]), part["run"])
                for part in document["parts"]
            ),
            bool(document["for_ami"]),
            files,
            {str(path): str(target) for path, target in document["links"].items()},
            int(document["rendering"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Conflict(
            f"the receipt {where} cannot be read ({error}); materialize into a new directory"
        ) from None


def _first_format(document: dict[str, Any]) -> Receipt:
    """A receipt of calstore 0.1."""
    files = {
        path: Written(item["made_from"], item["xxh128"], int(item["size"]), int(item["mtime_ns"]))
        for path, item in document["files"].items()
    }
    part = Part(str(document["version"]), str(document["manifest"]))
    return Receipt(str(document["store"]), str(document["layout"]), (part,), files=files)


REMOVED: Final = "removed"
"""What a journal notes in the place of a digest when a file is taken away."""


def journal_line(path: str, digest: Digest | None) -> bytes:
    """The line that is noted before a file is put in place or (``None``) taken away.

    In case the rest never happens.
    """
    noted = REMOVED if digest is None else digest.hex
    # The first line end closes a line that was torn.
    return ("\n" + json.dumps({"path": path, "xxh128": noted}) + "\n").encode()


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
