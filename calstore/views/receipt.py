"""What calstore wrote into a view: the receipt that it leaves there."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from calstore.errors import Conflict

NAME: Final = ".calstore-view.json"
FORMAT: Final = 1
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

    @property
    def ref(self) -> str:
        """The name of the ref for a command that people are told; ``REF`` for a bare digest."""
        return self.version.partition("@")[0] if "/" in self.version else "REF"

    def holds(self, path: str) -> bool:
        """Whether the path belongs to this part."""
        return not self.under or path.startswith(f"{self.under}/")

    def overlaps(self, other: Part) -> bool:
        """Whether some path may belong to both."""
        return self.holds(f"{other.under}/") or other.holds(f"{self.under}/")


@dataclass(frozen=True, slots=True)
class Held:
    """What a view held when it was adopted, where that is no version of its own.

    Parameters
    ----------
    record
        By which it was adopted.
    manifest
        The digest of the set that the view held.
    """

    record: str
    manifest: str


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
    folders
        What calstore made to hold files or aliases, and takes away when it is empty.
    held
        Of the last adopt since it was made.
    """

    store: str
    layout: str
    parts: tuple[Part, ...]
    for_ami: bool = False
    files: Mapping[str, Written] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    folders: frozenset[str] = frozenset()
    held: Held | None = None
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

    def head(self) -> dict[str, Any]:
        """All but the files and folders, for JSON."""
        return {
            "for_ami": self.for_ami,
            "held": None
            if self.held is None
            else {"manifest": self.held.manifest, "record": self.held.record},
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

    def rendered(self) -> bytes:
        """The receipt as it lies in the view: a file on a line."""
        head = {"folders": sorted(self.folders), "format": FORMAT, **self.head()}
        encode = json.JSONEncoder().encode
        files = ",\n".join(
            f"{encode(path)}: {encode(self.files[path])}" for path in sorted(self.files)
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
        if document["format"] != FORMAT:
            raise ValueError(f"format {document['format']}")
        folders = frozenset(map(str, document["folders"]))
        return of_document(document, written_of(document["files"]), folders)
    except DAMAGED as error:
        raise Conflict(
            f"the receipt {where} cannot be read ({error}); materialize into a new directory"
        ) from None


DAMAGED: Final = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
"""What is raised for JSON that is none, or says something else than is expected."""


def of_document(
    document: Mapping[str, Any], files: Mapping[str, Written], folders: frozenset[str]
) -> Receipt:
    """The receipt that a document is the head of; one of `DAMAGED` for anything else."""
    parts = tuple(
        Part(str(part["version"]), str(part["manifest"]), str(part["under"]), part["run"])
        for part in document["parts"]
    )
    links = {str(path): str(target) for path, target in document["links"].items()}
    held = document["held"]
    return Receipt(
        str(document["store"]),
        str(document["layout"]),
        parts,
        for_ami=bool(document["for_ami"]),
        files=files,
        links=links,
        folders=folders,
        held=held and Held(str(held["record"]), str(held["manifest"])),
        rendering=int(document["rendering"]),
    )


def written_of(items: Mapping[str, Any]) -> dict[str, Written]:
    """The files that a document lists; one of `DAMAGED` for anything else."""
    files = {path: Written._make(item) for path, item in items.items()}
    for written in files.values():
        if type(written.size) is not int or type(written.mtime_ns) is not int:
            raise TypeError(f"a file's size {written.size!r}")
    return files
