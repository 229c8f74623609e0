"""import: a calib directory becomes a version."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeGuard

from calstore.errors import Conflict, Invalid
from calstore.formats.calib_tree import (
    LEFT_OUT,
    Place,
    Problem,
    Scan,
    canonical_first,
    place_of,
    scan,
)
from calstore.model.digest import Reference, xxh128
from calstore.model.manifests import Constant, Detector, DetectorManifest, SetManifest
from calstore.model.names import RefName
from calstore.model.records import Record, Stamp
from calstore.model.remarks import Remark
from calstore.model.runs import RunRange
from calstore.repository.commit import commit, refuse_tag
from calstore.repository.ingest import Known, ingest, interpret, put_blob
from calstore.repository.store import Store, ref_name
from calstore.repository.version import load_detector, load_set
from calstore.store import logs, objects
from calstore.store.budget import Budget

_ATTEMPTS = 3
_WORKERS = 4  # two compute while two wait for the disk
_IN_HAND = 144 * 2**20  # bytes of files that they hold together, unless one file has more


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import found and did.

    Parameters
    ----------
    record
        The new record, or the newest one when nothing changed.
    changed
        Whether a record was added.
    problems
        What readers would stumble over, in files that are new or changed.
    left_out
        Paths left out by rule.
    """

    record: Record
    changed: bool
    constants: int
    files: int
    size: int
    problems: tuple[Problem, ...]
    left_out: tuple[str, ...]


@dataclass
class _Base:
    """What the ref holds before, by place and path."""

    entry: logs.Entry | None = None
    manifest: Reference | None = None
    constants: dict[tuple[Detector, str, RunRange], Constant] = field(default_factory=dict)
    known: Known = field(default_factory=Known)


def import_tree(
    store: Store,
    tree: Path,
    name: str,
    stamp: Stamp,
    *,
    strict: bool = False,
    leave_out: Sequence[str] = LEFT_OUT,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Imported:
    """Make a ref hold what a calib directory holds; add a record only if something changed.

    Parameters
    ----------
    tree
        The directory, with ``<group>/<source>/<type>/<run range>.data`` (or ``.npy``).
    strict
        Refuse a tree with any problem, and look at unchanged files again too.
    leave_out
        Patterns of names that are not imported.
    progress
        Called with the bytes done and the bytes of all.

    Raises
    ------
    Invalid
        When ``strict`` and there are problems, or when a file cannot be read; all are listed.
    Conflict
        When the ref or a file changed meanwhile.
    """
    ref = ref_name(name)
    found = scan(tree, leave_out)
    _refuse(found.problems, fatal_only=True)
    base = _base(store, ref)
    if strict:
        _refuse([*found.problems, *_problems_inside(tree, found)], fatal_only=False)
    constants, loose, problems = _ingest_all(store, tree, found, base, progress)
    _refuse(problems, fatal_only=True)
    problems = sorted([*found.problems, *problems], key=lambda problem: problem.path)
    manifest = _put_manifests(store, constants, loose)
    changed = base.entry is None or base.manifest != manifest
    if changed:
        what = f"import {os.fsencode(tree.absolute()).decode(errors='replace')}"
        record = commit(
            store, ref, manifest, base=base.entry, stamp=stamp, operation="import", what=what
        )
    else:
        assert base.entry is not None
        record = base.entry.record
    return Imported(
        record,
        changed,
        constants=len(constants),
        files=len(loose),
        size=sum(found.files.values()),
        problems=tuple(problems),
        left_out=tuple(found.left_out),
    )


def _refuse(problems: Iterable[Problem], *, fatal_only: bool) -> None:
    refused = [problem for problem in problems if problem.fatal or not fatal_only]
    if refused:
        listed = "\n  ".join(str(problem) for problem in refused)
        advice = (
            "make them readable, or leave them out with --leave-out"
            if fatal_only
            else ("mend them, or import without --strict")
        )
        raise Invalid(f"{len(refused)} problem(s), nothing was imported; {advice}:\n  {listed}")


def _base(store: Store, ref: RefName) -> _Base:
    entry = logs.head(store.backend, ref.log)
    base = _Base(entry)
    if entry is not None:
        refuse_tag(store, ref)
    if entry is None or entry.record.manifest is None:
        return base
    base.manifest = entry.record.manifest
    manifest = load_set(store, entry.record.manifest)
    base.known.add_blobs(manifest.files.values())
    for detector, reference in manifest.detectors.items():
        loaded = load_detector(store, reference)
        base.known.add_detector(loaded)
        for type_name, by_range in loaded.constants.items():
            for runs, constant in by_range.items():
                base.constants[detector, type_name, runs] = constant
    return base


def _ingest_all(
    store: Store,
    tree: Path,
    found: Scan,
    base: _Base,
    progress: Callable[[int, int], None],
) -> tuple[dict[Place, Constant], dict[str, Reference], list[Problem]]:
    places = _places(found.files)
    budget = Budget(max(_IN_HAND, *found.files.values(), 0))

    def one(path: str) -> Reference | Problem | tuple[Constant, tuple[Remark, ...]]:
        with budget.of(found.files[path]):
            data = _read(tree, path)
            if isinstance(data, Problem):
                return data
            place = places.get(path)
            if place is None:
                return put_blob(store.backend, data, base.known)
            before = base.constants.get(_key(place))
            if _is_unchanged(before, place, data):
                return before, ()
            interpreted = interpret(data, place)
            constant = ingest(store.backend, data, place, interpreted, base.known)
            return constant, () if constant == before else interpreted.problems

    constants: dict[Place, Constant] = {}
    loose: dict[str, Reference] = {}
    problems: list[Problem] = []
    done, total = 0, sum(found.files.values())
    progress(0, total)
    pool = ThreadPoolExecutor(_WORKERS)
    try:
        for path, result in zip(found.files, pool.map(one, found.files), strict=True):
            if isinstance(result, Problem):
                problems.append(result)
            elif isinstance(result, Reference):
                loose[path] = result
            else:
                constants[places[path]], remarks = result
                problems.extend(Problem(path, remark) for remark in remarks)
            done += found.files[path]
            progress(done, total)
    finally:
        pool.shutdown(cancel_futures=True)
    return constants, loose, problems


def _places(paths: Iterable[str]) -> dict[str, Place]:
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


def _problems_inside(tree: Path, found: Scan) -> list[Problem]:
    """What readers would stumble over in all files of constants; nothing is stored."""
    places = _places(found.files)
    budget = Budget(max(_IN_HAND, *found.files.values(), 0))

    def one(path: str) -> list[Problem]:
        with budget.of(found.files[path]):
            data = _read(tree, path)
            if isinstance(data, Problem):
                return [data]
            return [Problem(path, remark) for remark in interpret(data, places[path]).problems]

    with ThreadPoolExecutor(_WORKERS) as pool:
        return [problem for problems in pool.map(one, places) for problem in problems]


def _read(tree: Path, path: str) -> bytes | Problem:
    """The bytes of a file that nobody changed while it was read."""
    for _ in range(_ATTEMPTS):
        try:
            with (tree / path).open("rb", buffering=0) as file:
                before = os.fstat(file.fileno())
                data = file.readall()
                after = os.fstat(file.fileno())
        except FileNotFoundError:
            raise Conflict(f"{tree / path} went away meanwhile; import again") from None
        except OSError as error:
            remark = Remark(f"cannot be read ({error.strerror})", "it would be lost")
            return Problem(path, remark, fatal=True)
        if (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns) and (
            len(data) == after.st_size
        ):
            return data
    raise Conflict(f"{tree / path} is being written; import again when it is done")


def _put_manifests(
    store: Store, constants: dict[Place, Constant], loose: dict[str, Reference]
) -> Reference:
    by_detector: dict[Detector, dict[str, dict[RunRange, Constant]]] = {}
    for place, constant in constants.items():
        types = by_detector.setdefault((place.group, place.source), {})
        types.setdefault(place.type_name, {})[place.runs] = constant
    detectors = {
        detector: objects.put(store.backend, objects.MANIFESTS, DetectorManifest(types).encoded())
        for detector, types in by_detector.items()
    }
    return objects.put(store.backend, objects.MANIFESTS, SetManifest(detectors, loose).encoded())
