"""read back: a view is read from disk as its readers would, and compared with the store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from calstore.errors import Conflict, Invalid
from calstore.formats.ami_text import ami_refusal
from calstore.formats.calib_tree import SUFFIXES, name_remark, place_of
from calstore.model.ami import ami_reads
from calstore.model.arrays import ArrayReference
from calstore.model.digest import xxh128
from calstore.model.runs import END, RunRange
from calstore.repository import ami
from calstore.repository.damage import naming_versions
from calstore.repository.materialize import ALL, calib_version_of, contents_of
from calstore.repository.rendering import renderer
from calstore.repository.version import Version
from calstore.views.plan import (
    HISTORY,
    Content,
    History,
    Layout,
    Npy,
    Placed,
    Text,
    Verbatim,
    placed,
)
from calstore.views.resolve import Timeline
from calstore.views.selection import Selection
from calstore.views.tree import Tree

if TYPE_CHECKING:
    from calstore.store.arrays import Array


@dataclass(frozen=True, slots=True)
class Difference:
    """Where a view does not give its readers what the version says.

    Parameters
    ----------
    path
        Below the view's root: a file, a link, or a folder of constants.
    what
        What was found there.
    """

    path: str
    what: str


def read_back(
    version: Version,
    dest: Path,
    *,
    layout: Layout = "psana",
    selection: Selection = ALL,
    for_ami: bool = False,
) -> tuple[Difference, ...]:
    """Where a view, read from disk, differs from what the store says; nothing is touched.

    Imported files are compared byte for byte. Text that was rendered is parsed as psana does, with
    no remark allowed and every bit compared, and as AMI does where the view is for AMI. In each
    folder of constants all names count, whoever put them there: each run must get what the version
    gives it.

    Parameters
    ----------
    dest, layout, selection, for_ami
        As they were materialized.

    Raises
    ------
    Invalid
        When there is no directory, or AMI would drop a constant of the version.
    Corrupt
        When a constant is not what was stored.
    """
    if not dest.is_dir():
        raise Invalid(f"there is no directory {dest}; materialize it first")
    with naming_versions(version.store), Tree(dest) as tree:
        detectors, planned = contents_of(version, layout, selection, for_ami)
        reader = _Reader(version, tree, for_ami)
        places = {
            place.path: place
            for place in placed(
                detectors,
                selection.files(version.manifest.files),
                layout,
                calib_version_of(version, layout),
            )
        }
        found = [
            Difference(path, what)
            for path, content in planned.items()
            if (what := reader.difference(path, content, places.get(path))) is not None
        ]
        found += _links(version, dest, tree, selection) if for_ami else []
        found += _strangers(dest, places)
    return tuple(found)


@dataclass(frozen=True, slots=True)
class _Reader:
    version: Version
    tree: Tree
    for_ami: bool

    def difference(self, path: str, content: Content, place: Placed | None) -> str | None:
        try:
            data = self.tree.read(path)
        except Conflict:
            return "there is a link or a folder in its place"
        if data is None:
            return "it is not there"
        if isinstance(content, History) or path.rpartition("/")[2] == HISTORY:
            # It only grows: other tools, and other versions, have lines in it.
            planned = b"".join(renderer(self.version.store)(content)).splitlines()
            missing = set(planned) - set(data.splitlines())
            return f"{len(missing)} line(s) of it are missing" if missing else None
        match content:
            case Verbatim(blob):
                is_same = len(data) == blob.size and xxh128(data) == blob.digest
                return None if is_same else "it is not the imported file"
            case Text():
                assert place is not None
                return self._of_text(data, content, place)
            case Npy(reference):
                from calstore.formats import npy

                try:
                    return self._of_array(npy.read(data), reference)
                except Invalid as error:
                    return str(error)

    def _of_text(self, data: bytes, content: Text, place: Placed) -> str | None:
        from calstore.formats import psana_text

        group, source = place.detector
        try:
            reading = psana_text.read(data, group=group, type_name=content.type_name)
        except Invalid as error:
            return str(error)
        # One row, or one column, comes back from psana without its axis of 1, and with a remark.
        if reading.remarks and 1 not in content.array.shape:
            return "; ".join(map(str, reading.remarks))
        if self.for_ami and content.type_name in ami_reads(source):
            refusal = ami_refusal(data, content.type_name, content.array.shape)
            if refusal is not None:
                return f"AMI would drop it: {refusal}"
        return self._of_array(reading.array, content.array)

    def _of_array(self, found: Array, reference: ArrayReference) -> str | None:
        from calstore.store import arrays

        stored = arrays.get(self.version.store.backend, reference)
        if found.shape not in (stored.shape, tuple(n for n in stored.shape if n != 1)):
            return f"its shape is {found.shape}, that of the array {stored.shape}"
        expected = stored.astype(found.dtype)
        return None if found.tobytes() == expected.tobytes() else "its numbers are others"


def _links(version: Version, dest: Path, tree: Tree, selection: Selection) -> Iterator[Difference]:
    for path, target in ami.aliases(version.detectors, selection.detector).items():
        if tree.target(path) != target:
            yield Difference(path, f"it is no link to {target}, so AMI finds nothing there")
        elif not (dest / path).is_dir():
            yield Difference(path, f"it leads to {target}, which is not there")


def _strangers(dest: Path, places: Mapping[str, Placed]) -> Iterator[Difference]:
    """What lies beside the version's constants under a name that readers look at."""
    folders: dict[str, dict[str, RunRange]] = {}
    for path, place in places.items():
        folder, _, name = path.rpartition("/")
        folders.setdefault(folder, {})[name] = place.runs
    for folder, mine in folders.items():
        for name in _names(dest / folder):
            if name not in mine and name.endswith(SUFFIXES):
                path = f"{folder}/{name}"
                yield Difference(path, f"it is not of this version: {_taken(path, mine)}")


def _names(folder: Path) -> list[str]:
    try:
        return sorted(path.name for path in folder.iterdir())
    except OSError:
        return []  # its files were found missing already


def _taken(path: str, mine: Mapping[str, RunRange]) -> str:
    """What readers make of a stranger beside the version's files."""
    remark = name_remark(path.rpartition("/")[2])
    if remark is not None:
        return str(remark)
    place = place_of(path)
    assert place is not None
    if place.runs in mine.values():
        return f"it has the runs {place.runs} of another file, and psana reads one of the two"
    pieces = Timeline([*mine.values(), place.runs]).pieces
    taken = [
        f"{piece.first}-{'end' if piece.last == END else piece.last}"
        for piece in pieces
        if piece.winner == place.runs
    ]
    return f"runs {', '.join(taken)} get it" if taken else "no run gets it"
