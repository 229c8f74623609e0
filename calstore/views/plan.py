"""Which files a version's view has, and what each is made from; nothing is written here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, TypeAlias

from calstore.errors import Invalid
from calstore.model.arrays import ArrayReference
from calstore.model.digest import Digest, Reference, xxh128
from calstore.model.manifests import Constant, Detector, DetectorManifest
from calstore.model.runs import RunRange
from calstore.views.receipt import RENDERING

Layout: TypeAlias = Literal["psana", "version", "npy"]
LAYOUTS: Final[tuple[Layout, ...]] = ("psana", "version", "npy")

HISTORY: Final = "HISTORY"


@dataclass(frozen=True, slots=True)
class Origin:
    """The record by which a constant came into a version, for people to read."""

    record: str
    experiment: str
    user: str
    host: str
    when: str
    what: str
    why: str


Origins: TypeAlias = Mapping[tuple[Detector, str, RunRange], Origin]
"""Only of constants that are rendered: an imported file speaks for itself."""


@dataclass(frozen=True, slots=True)
class Verbatim:
    """A file that is a blob, byte for byte."""

    blob: Reference

    @property
    def key(self) -> str:
        """What the file is made from, in a word; equal keys make equal bytes."""
        return f"blob {self.blob.digest}"

    @property
    def size(self) -> int:
        """Bytes that making the file takes."""
        return self.blob.size


@dataclass(frozen=True, slots=True)
class Text:
    """A file in psana's text format, rendered from an array."""

    array: ArrayReference
    type_name: str
    comments: tuple[str, ...]

    @property
    def key(self) -> str:
        """What the file is made from, in a word; equal keys make equal bytes."""
        comments = xxh128("\n".join(self.comments).encode(errors="replace")).short
        return f"text{RENDERING} {self.array.digest} {self.type_name} {comments}"

    @property
    def size(self) -> int:
        """Bytes that making the file takes: the array, and text of twice its size."""
        return 3 * self.array.content.size


@dataclass(frozen=True, slots=True)
class Npy:
    """A ``.npy`` file, rendered from an array."""

    array: ArrayReference

    @property
    def key(self) -> str:
        """What the file is made from, in a word; equal keys make equal bytes."""
        return f"npy{RENDERING} {self.array.digest}"

    @property
    def size(self) -> int:
        """Bytes that making the file takes."""
        return self.array.content.size


@dataclass(frozen=True, slots=True)
class History:
    """A HISTORY file: the imported one, then a line for each constant that is rendered."""

    imported: Reference | None
    lines: tuple[tuple[str, Digest, Origin], ...]

    @property
    def key(self) -> str:
        """What the file is made from, in a word; equal keys make equal bytes."""
        imported = "none" if self.imported is None else str(self.imported.digest)
        return f"history{RENDERING} {imported} {xxh128(repr(self.lines).encode()).short}"

    @property
    def size(self) -> int:
        """Bytes that making the file takes."""
        return 0 if self.imported is None else self.imported.size


Content: TypeAlias = Verbatim | Text | Npy | History


def plan(
    detectors: Mapping[Detector, DetectorManifest],
    files: Mapping[str, Reference],
    layout: Layout,
    origins: Origins,
    calib_version: str = "",
) -> dict[str, Content]:
    """The files of a view: path below its root → what it holds.

    Parameters
    ----------
    detectors, files
        The version's detectors and loose files.
    layout
        ``psana`` for what psana reads; ``version`` for the same with ``calib_version`` in the
        group's place; ``npy`` for arrays as ``.npy``.
    origins
        Where rendered constants come from.

    Raises
    ------
    Invalid
        When two things of the version would get the same path.
    """
    if layout == "version":
        files = _moved(files, detectors, calib_version)
    paths: dict[str, Content] = {path: Verbatim(blob) for path, blob in files.items()}
    lines: dict[str, list[tuple[str, Digest, Origin]]] = {}
    for place in placed(detectors, files, layout, calib_version):
        if place.path in paths:
            raise Invalid(f"two things in the version have the path {place.path}")
        folder, _, name = place.path.rpartition("/")
        origin = origins.get((place.detector, place.type_name, place.runs))
        content = _content(place.constant, place.type_name, name, origin)
        paths[place.path] = content
        if isinstance(content, Text) and origin is not None:
            lines.setdefault(folder, []).append((name, content.array.digest, origin))
    for folder, of_folder in lines.items():
        path = f"{folder}/{HISTORY}"
        paths[path] = History(files.get(path), tuple(of_folder))
    _refuse_files_as_folders(paths)
    return paths


class Placed(NamedTuple):
    """A constant, and the path that it has in a view."""

    path: str
    detector: Detector
    type_name: str
    runs: RunRange
    constant: Constant


def placed(
    detectors: Mapping[Detector, DetectorManifest],
    files: Mapping[str, Reference],
    layout: Layout,
    calib_version: str = "",
) -> Iterator[Placed]:
    """Where each constant lies in a view; see `plan`."""
    for (group, source), manifest in detectors.items():
        top = calib_version if layout == "version" else group
        for type_name, by_range in manifest.constants.items():
            folder = f"{top}/{source}/{type_name}"
            for runs, constant in by_range.items():
                name = file_name(runs, constant, layout)
                if f"{folder}/{name}" in files:
                    name = file_name(runs, constant, "psana")  # its own, beside a loose .npy
                yield Placed(f"{folder}/{name}", (group, source), type_name, runs, constant)


def is_rendered(constant: Constant, layout: Layout) -> bool:
    """Whether the view makes the file from the array, not from an imported file's bytes."""
    if isinstance(constant.content, Reference):
        return False
    if constant.source is None:
        return True
    return (_imported_name(constant).endswith(".npy")) != (layout == "npy")


def file_name(runs: RunRange, constant: Constant, layout: Layout) -> str:
    """The file's name in the view: the imported one if it fits the layout."""
    suffix = ".npy" if layout == "npy" and isinstance(constant.content, ArrayReference) else ".data"
    if constant.name is None:
        return f"{runs}{suffix}"
    if isinstance(constant.content, Reference) or constant.name.endswith(suffix):
        return constant.name
    return constant.name.rsplit(".", 1)[0] + suffix


def _moved(
    files: Mapping[str, Reference], detectors: Iterable[Detector], calib_version: str
) -> dict[str, Reference]:
    """The loose files, those of a detector under the calib-version in its group's place."""
    folders = {f"{group}/{source}": source for group, source in detectors}
    moved = {}
    for path, blob in files.items():
        source = folders.get("/".join(path.split("/")[:2]))
        place = path if source is None else f"{calib_version}/{path.partition('/')[2]}"
        if place in moved:
            raise Invalid(f"two things in the version have the path {place}")
        moved[place] = blob
    return moved


def _imported_name(constant: Constant) -> str:
    return constant.name or ".data"


def _content(constant: Constant, type_name: str, name: str, origin: Origin | None) -> Content:
    match constant.content:
        case Reference() as blob:
            return Verbatim(blob)
        case array:
            layout: Layout = "npy" if name.endswith(".npy") else "psana"
            if constant.source is not None and not is_rendered(constant, layout):
                return Verbatim(constant.source)
            if layout == "npy":
                return Npy(array)
            return Text(array, type_name, _comments(array, origin))


def _comments(array: ArrayReference, origin: Origin | None) -> tuple[str, ...]:
    comments = [f"CALSTORE    {array.digest}"]
    if origin is not None:
        comments.append(f"RECORD      {origin.record} at {origin.when} by {origin.user}")
        comments.append(f"WHAT        {_one_line(origin.what)}")
        if origin.why:
            comments.append(f"WHY         {_one_line(origin.why)}")
    return tuple(comments)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _refuse_files_as_folders(paths: Mapping[str, Content]) -> None:
    for path in paths:
        parent = path
        while "/" in parent:
            parent = parent.rsplit("/", 1)[0]
            if parent in paths:
                raise Invalid(f"the version has {parent} as a file and as a folder of {path}")
