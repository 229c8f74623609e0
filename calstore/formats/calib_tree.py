"""A calib directory as files: which are constants, which are loose, what is wrong with names.

The layout is ``<group>/<source>/<type>/<run range>.data``. What psana does with each odd name was
measured on its C++ and Python readers.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from calstore.errors import Invalid
from calstore.model.names import check_path
from calstore.model.remarks import Remark
from calstore.model.runs import MAX_RUN, RunRange

LEFT_OUT: Final = (
    "*_workdir",  # calibrun's pedestal_workdir and its kin: intermediate files
    ".calstore",  # a store
    ".calstore-view.json",  # the receipt of a view
    ".calstore-view.journal",
    ".calstore-tmp-*",
    ".nfs*",  # files that NFS keeps while somebody has them open
)
"""Names that are not part of a calib directory; `scan` lists what it left out."""

SUFFIXES: Final = (".data", ".npy")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a file of constants belongs."""

    group: str
    source: str
    type_name: str
    runs: RunRange
    name: str


@dataclass(frozen=True, slots=True)
class Problem:
    """A path below the root, and what is odd there.

    Parameters
    ----------
    fatal
        Whether the file's bytes cannot be had at all, so that an import would lose them.
    """

    path: str
    remark: Remark
    fatal: bool = False

    def __str__(self) -> str:
        return (
            f"{self.path!r}: {self.remark}"
            if not self.path.isprintable()
            else (f"{self.path}: {self.remark}")
        )


@dataclass
class Scan:
    """What a tree holds: paths of regular files, problems, and names left out by rule."""

    files: dict[str, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def without(self, links: Sequence[str]) -> Scan:
        """The same but for what these links to folders, or folders, hold."""
        inside = tuple(f"{link}/" for link in links)
        return Scan(
            {path: size for path, size in self.files.items() if not path.startswith(inside)},
            [problem for problem in self.problems if not problem.path.startswith(inside)],
            [*self.left_out, *links],
        )


def scan(root: Path, leave_out: Sequence[str] = LEFT_OUT) -> Scan:
    """The files of a tree with their sizes in bytes, in the order of their paths.

    Links to files and folders are followed, as psana follows them.

    Raises
    ------
    Invalid
        When the root cannot be listed.
    """
    found = Scan()
    try:
        entries = sorted(os.scandir(root), key=lambda entry: entry.name)
        above = frozenset({_identity(root.stat())})
    except OSError as error:
        raise Invalid(f"cannot list {root} ({error.strerror})") from error
    _scan(entries, "", leave_out, above, found)
    _note_ambiguous(found)
    return found


def place_of(path: str) -> Place | None:
    """Where a path belongs as a constant; ``None`` for a loose file."""
    parts = path.split("/")
    if len(parts) != 4:
        return None
    stem, suffix = _split(parts[3])
    if suffix not in SUFFIXES or name_remark(parts[3]) is not None:
        return None
    return Place(parts[0], parts[1], parts[2], RunRange.parse(stem), parts[3])


def name_remark(name: str) -> Remark | None:
    """What psana makes of a file's name in a type folder; ``None`` when all is well.

    Source: lcls-psana/PSCalib src/CalibFileFinder.py:87,96,101 and src/CalibFileFinder.cpp:179-212.
    """
    stem, suffix = _split(name)
    if suffix not in SUFFIXES:
        return None
    first, dash, last = stem.partition("-")
    loses = "psana's Python reader fails with a TypeError and loses every constant of the folder"
    skipped = "psana skips it"
    if not dash or not _is_number(first) or "-" in last:
        return Remark(f"the name {name} is no run range", skipped)
    if int(first) > MAX_RUN or (_is_number(last) and int(last) > MAX_RUN):
        return Remark(f"the name {name} has a run over {MAX_RUN}", loses)
    if last != "end" and not _is_number(last):
        return Remark(f"the name {name} ends in neither a run nor 'end'", loses)
    if len(first) > 4 or (last != "end" and len(last) > 4):
        return Remark(f"the name {name} has more than four digits", skipped + " in C++")
    if last != "end" and int(last) < int(first):
        return Remark(f"the range of {name} is reversed", "psana never finds it")
    return None


def _split(name: str) -> tuple[str, str]:
    return Path(name).stem, Path(name).suffix


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[0-9]+", text) is not None


def _scan(
    entries: Sequence[os.DirEntry[str]],
    prefix: str,
    leave_out: Sequence[str],
    above: frozenset[tuple[int, int]],
    found: Scan,
) -> None:
    for entry in entries:
        path = prefix + entry.name
        if any(fnmatchcase(entry.name, pattern) for pattern in leave_out):
            found.left_out.append(path)
            continue
        try:
            check_path(path)
        except Invalid as error:
            found.problems.append(Problem(path, Remark(str(error), "it is not kept")))
            continue
        try:
            info = entry.stat()
        except OSError as error:
            found.problems.append(_unusable(path, entry, error))
            continue
        if stat.S_ISDIR(info.st_mode):
            _scan_folder(entry, path, info, leave_out, above, found)
        elif stat.S_ISREG(info.st_mode):
            found.files[path] = info.st_size
            remark = name_remark(entry.name) if path.count("/") == 3 else None
            if remark is not None:
                found.problems.append(Problem(path, remark))
        else:
            remark = Remark("neither a file nor a folder", "there is nothing to keep")
            found.problems.append(Problem(path, remark))


def _scan_folder(
    entry: os.DirEntry[str],
    path: str,
    info: os.stat_result,
    leave_out: Sequence[str],
    above: frozenset[tuple[int, int]],
    found: Scan,
) -> None:
    if path.count("/") == 3 and entry.name.endswith(".data"):
        remark = Remark("a folder where a file belongs", "psana chooses it, then loads nothing")
        found.problems.append(Problem(path, remark))
    if _identity(info) in above:
        remark = Remark("a link to a folder that holds it", "not followed")
        found.problems.append(Problem(path, remark))
        return
    try:
        inner = sorted(os.scandir(entry.path), key=lambda item: item.name)
    except OSError as error:
        remark = Remark(f"cannot be listed ({error.strerror})", "its files would be lost")
        found.problems.append(Problem(path, remark, True))
        return
    if any(item.name == "calstore.json" for item in inner):
        found.left_out.append(path)  # a store; it would come to hold itself
        return
    _scan(inner, f"{path}/", leave_out, above | {_identity(info)}, found)


def _unusable(path: str, entry: os.DirEntry[str], error: OSError) -> Problem:
    if entry.is_symlink():
        consequence = "there is nothing to keep"
        if entry.name.endswith(".data"):
            consequence = "psana chooses it for its runs, then uses its default in silence"
        target = Path(entry.path).readlink()
        return Problem(path, Remark(f"a link to {target}, which is not there", consequence))
    return Problem(path, Remark(f"cannot be read ({error.strerror})", "it would be lost"), True)


def _note_ambiguous(found: Scan) -> None:
    """Two names for one range: psana reads one of them, and does not say which."""
    seen: dict[tuple[str, RunRange], str] = {}
    for path in canonical_first(found.files):
        place = place_of(path)
        if place is None:
            continue
        key = (path.rsplit("/", 1)[0], place.runs)
        if key in seen:
            remark = Remark(
                f"the same runs as {seen[key].rsplit('/', 1)[1]}",
                "psana reads one of the two, it is not defined which",
            )
            found.problems.append(Problem(path, remark))
        else:
            seen[key] = path


def canonical_first(paths: Sequence[str] | dict[str, int]) -> Iterator[str]:
    """The paths, with the names that psana reads, and canonical ones, before others."""
    return iter(sorted(paths, key=lambda path: (not path.endswith(".data"), len(path), path)))


def _identity(info: os.stat_result) -> tuple[int, int]:
    return info.st_dev, info.st_ino
