"""import: a calib directory becomes a version."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from calstore.errors import Invalid
from calstore.formats.calib_tree import LEFT_OUT, Problem, Scan, scan
from calstore.model.digest import Reference
from calstore.model.manifests import SetManifest
from calstore.model.names import RefName
from calstore.model.records import Record, Stamp
from calstore.repository.commit import commit, refuse_tag
from calstore.repository.ingest import interpret
from calstore.repository.ingest_files import (
    IN_HAND,
    Before,
    Ingested,
    ingest_files,
    places_of,
    read_quiet,
)
from calstore.repository.store import Store, ref_name
from calstore.repository.version import load_detector, load_set
from calstore.store import logs, objects
from calstore.store.budget import Budget
from calstore.views.coverage import shadow_of
from calstore.views.state import aliases_in

_WORKERS = 4


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
    shadowed
        What is new and does not reach all its runs, because psana's rule gives some of them
        another constant. In a ref's first import, only what no run gets.
    """

    record: Record
    changed: bool
    constants: int
    files: int
    size: int
    problems: tuple[Problem, ...]
    left_out: tuple[str, ...]
    shadowed: tuple[str, ...]


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
    found = scan(tree, leave_out).without(aliases_in(tree))
    _refuse(found.problems, fatal_only=True)
    entry = store.head(ref.log)
    before = _before(store, ref, entry)
    if strict:
        _refuse([*found.problems, *_problems_inside(tree, found)], fatal_only=False)
    ingested = ingest_files(store, tree, found.files, before, progress)
    _refuse(ingested.problems, fatal_only=True)
    problems = sorted([*found.problems, *ingested.problems], key=lambda problem: problem.path)
    manifest = _put_manifests(store, ingested)
    changed = entry is None or entry.record.manifest != manifest
    if changed:
        what = f"import {os.fsencode(tree.absolute()).decode(errors='replace')}"
        record = commit(
            store, ref, manifest, base=entry, stamp=stamp, operation="import", what=what
        )
    else:
        assert entry is not None
        record = entry.record
    return Imported(
        record,
        changed,
        constants=len(ingested.constants),
        files=len(ingested.loose),
        size=sum(found.files.values()),
        problems=tuple(problems),
        left_out=tuple(found.left_out),
        shadowed=tuple(_shadowed(ingested, before)),
    )


def _shadowed(ingested: Ingested, before: Before) -> Iterator[str]:
    for key, manifest in ingested.detectors().items():
        for name, by_range in manifest.constants.items():
            for runs, constant in by_range.items():
                if before.constants.get((key, name, runs)) == constant:
                    continue
                shadow = shadow_of(by_range, runs)
                if shadow is not None and (shadow.is_whole or before.constants):
                    yield f"{key[1]} {name} {shadow}"


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


def _problems_inside(tree: Path, found: Scan) -> list[Problem]:
    """What readers would stumble over in all files of constants; nothing is stored."""
    places = places_of(found.files)
    budget = Budget(max(IN_HAND, *found.files.values(), 0))

    def one(path: str) -> list[Problem]:
        with budget.of(found.files[path]):
            data = read_quiet(tree, path)
            if isinstance(data, Problem):
                return [data]
            return [Problem(path, remark) for remark in interpret(data, places[path]).problems]

    with ThreadPoolExecutor(_WORKERS) as pool:
        return [problem for problems in pool.map(one, places) for problem in problems]


def _before(store: Store, ref: RefName, entry: logs.Entry | None) -> Before:
    before = Before()
    if entry is not None:
        refuse_tag(store, ref)
    if entry is None or entry.record.manifest is None:
        return before
    manifest = load_set(store, entry.record.manifest)
    before.known.add_blobs(manifest.files.values())
    for detector, reference in manifest.detectors.items():
        before.add(detector, load_detector(store, reference))
    return before


def _put_manifests(store: Store, ingested: Ingested) -> Reference:
    detectors = {
        detector: objects.put(store.backend, objects.MANIFESTS, manifest.encoded())
        for detector, manifest in ingested.detectors().items()
    }
    manifest = SetManifest(detectors, ingested.loose)
    return objects.put(store.backend, objects.MANIFESTS, manifest.encoded())
