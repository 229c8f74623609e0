"""Files of a calib directory become constants and loose files, several at a time."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeGuard

from calstore.errors import Conflict
from calstore.formats.calib_tree import SUFFIXES, Place, Problem, canonical_first, place_of
from calstore.model.digest import Reference, xxh128
from calstore.model.manifests import Constant, Detector, DetectorManifest
from calstore.model.remarks import Remark
from calstore.model.runs import RunRange
from calstore.repository.ingest import Known, ingest, interpret, put_blob
from calstore.repository.store import Store
from calstore.store.budget import Budget

_ATTEMPTS = 3
_WORKERS = 4  # two compute while two wait for the disk
IN_HAND = 144 * 2**20  # bytes of files that they hold together, unless one file has more


@dataclass
class Before:
    """What a version holds already: its constants by place, and contents hashed before."""

    constants: dict[tuple[Detector, str, RunRange], Constant] = field(default_factory=dict)
    known: Known = field(default_factory=Known)

    def add(self, detector: Detector, manifest: DetectorManifest) -> None:
        """Know a detector's constants."""
        self.known.add_detector(manifest)
        for type_name, by_range in manifest.constants.items():
            for runs, constant in by_range.items():
                self.constants[detector, type_name, runs] = constant


@dataclass
class Ingested:
    """What files became: constants by place, loose files by path, and what was odd."""

    constants: dict[Place, Constant] = field(default_factory=dict)
    loose: dict[str, Reference] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def detectors(self) -> dict[Detector, DetectorManifest]:
        """The constants by detector."""
        types: dict[Detector, dict[str, dict[RunRange, Constant]]] = {}
        for place, constant in self.constants.items():
            of_detector = types.setdefault((place.group, place.source), {})
            of_detector.setdefault(place.type_name, {})[place.runs] = constant
        return {detector: DetectorManifest(of_type) for detector, of_type in types.items()}


def ingest_files(
    store: Store,
    tree: Path,
    sizes: Mapping[str, int],
    before: Before,
    progress: Callable[[int, int], None],
    *,
    suffixes: tuple[str, ...] = SUFFIXES,
) -> Ingested:
    """Store the files at some paths below a tree.

    Parameters
    ----------
    sizes
        Path → bytes.
    before
        Spares what is unchanged from being parsed again.
    progress
        Called with the bytes done and the bytes of all.
    suffixes
        Of files that may be constants; others are loose.

    Raises
    ------
    Conflict
        When a file is gone or is being written.
    """
    places = places_of(path for path in sizes if path.endswith(suffixes))
    budget = Budget(max(IN_HAND, *sizes.values(), 0))

    def one(path: str) -> Reference | Problem | tuple[Constant, tuple[Remark, ...]]:
        with budget.of(sizes[path]):
            data = read_quiet(tree, path)
            if isinstance(data, Problem):
                return data
            place = places.get(path)
            if place is None:
                return put_blob(store.backend, data, before.known)
            old = before.constants.get(_key(place))
            if _is_unchanged(old, place, data):
                return old, ()
            interpreted = interpret(data, place)
            constant = ingest(store.backend, data, place, interpreted, before.known)
            if old is not None and old.content == constant.content:
                constant = replace(constant, serials=old.serials)
            return constant, () if constant == old else interpreted.problems

    ingested = Ingested()
    done, total = 0, sum(sizes.values())
    progress(0, total)
    pool = ThreadPoolExecutor(max(_WORKERS, store.backend.width))
    try:
        for path, result in zip(sizes, pool.map(one, sizes), strict=True):
            if isinstance(result, Problem):
                ingested.problems.append(result)
            elif isinstance(result, Reference):
                ingested.loose[path] = result
            else:
                ingested.constants[places[path]], remarks = result
                ingested.problems.extend(Problem(path, remark) for remark in remarks)
            done += sizes[path]
            progress(done, total)
    finally:
        pool.shutdown(cancel_futures=True)
    return ingested


def places_of(paths: Iterable[str]) -> dict[str, Place]:
    """Which files are constants: of two that spell one range, the canonical or first name."""
    places: dict[str, Place] = {}
    taken = set()
    for path in canonical_first(list(paths)):
        place = place_of(path)
        if place is None:
            continue
        key = (place.group, place.source, place.type_name, place.runs)
        if key not in taken:
            taken.add(key)
            places[path] = place
    return places


def _key(place: Place) -> tuple[Detector, str, RunRange]:
    return (place.group, place.source), place.type_name, place.runs


def _is_unchanged(before: Constant | None, place: Place, data: bytes) -> TypeGuard[Constant]:
    """Whether this is the file that the ref has, so that it need not be parsed again."""
    if before is None or (before.name or f"{place.runs}.data") != place.name:
        return False
    file = before.content if isinstance(before.content, Reference) else before.source
    return file is not None and file.size == len(data) and file.digest == xxh128(data)


def read_quiet(tree: Path, path: str) -> bytes | Problem:
    """The bytes of a file that nobody changed while it was read."""
    for _ in range(_ATTEMPTS):
        try:
            with (tree / path).open("rb", buffering=0) as file:
                before = os.fstat(file.fileno())
                data = file.readall()
                after = os.fstat(file.fileno())
        except FileNotFoundError:
            raise Conflict(f"{tree / path} went away meanwhile; run this again") from None
        except OSError as error:
            remark = Remark(f"cannot be read ({error.strerror})", "it would be lost")
            return Problem(path, remark, fatal=True)
        if (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns) and (
            len(data) == after.st_size
        ):
            return data
    raise Conflict(f"{tree / path} is being written; run this again when it is done")
