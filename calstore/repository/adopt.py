"""adopt: what was changed in a view becomes a version."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from calstore.errors import Conflict, Invalid, NotFound
from calstore.formats.calib_tree import Problem, scan
from calstore.model.digest import xxh128
from calstore.model.manifests import Constant, Detector, DetectorManifest
from calstore.model.names import RefName
from calstore.model.records import Parent, Record, Stamp
from calstore.model.runs import RunRange
from calstore.repository.change import Move, move
from calstore.repository.ingest_files import Before, Ingested, ingest_files
from calstore.repository.merge import load_contents, merged, put_contents
from calstore.repository.rendering import origins_of
from calstore.repository.store import Store, ref_name
from calstore.repository.version import Version, load_set, locate
from calstore.views.generations import current
from calstore.views.merge import SetContents
from calstore.views.plan import Layout, placed, plan
from calstore.views.receipt import NAME, Part, Receipt, Written
from calstore.views.selection import Selection
from calstore.views.state import State, status
from calstore.views.tree import Tree


@dataclass(frozen=True, slots=True)
class Adopted:
    """What an adopt found and did.

    Parameters
    ----------
    record
        The new record, or the newest one when nothing differed.
    changed
        Whether a record was added.
    paths
        The files that differed from what calstore had written.
    problems
        What readers would stumble over in them.
    """

    record: Record
    changed: bool
    paths: tuple[str, ...]
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class _Edited:
    """A view as calstore made it, and as it is now."""

    state: State
    base: SetContents
    full: SetContents
    now: SetContents
    problems: tuple[Problem, ...]
    entries: Mapping[str, os.stat_result]

    @property
    def paths(self) -> tuple[str, ...]:
        state = self.state
        return tuple(sorted({*state.modified, *state.deleted, *state.added, *state.foreign}))


def adopt(
    store: Store,
    dest: Path,
    name: str,
    stamp: Stamp,
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Adopted:
    """Make a ref hold what was changed in a view: hand edits, and what other tools put there.

    A folder of constants in which anything changed is kept byte for byte, HISTORY and all, as
    an import would keep it.

    Parameters
    ----------
    name
        A branch, whose other changes since the view was made are kept; or a new one, which
        then holds what the view holds.

    Raises
    ------
    NotFound
        When ``dest`` is no view, or the version that it was made from is not in the store.
    Conflict
        When the ref and the view changed what the same run gets; nothing is done then.
    Invalid
        When a file cannot be read.
    """
    ref = ref_name(name)
    edited = _look(store, dest, progress)
    result = edited.now

    def decide(version: Version | None) -> Move:
        nonlocal result
        ours = edited.full if version is None else load_contents(store, version.manifest)
        result = _merged(store, dest, ref, edited, ours)
        return Move(
            put_contents(store, result),
            f"adopt {os.fsencode(dest.absolute()).decode(errors='replace')}",
            _sources(store, edited.state.receipt, ref),
        )

    moved = move(store, ref, decide, stamp, "adopt", may_be_new=True)
    if moved.changed and result == edited.now:
        _renew_receipt(dest, edited, store[moved.record.name])
    return Adopted(moved.record, moved.changed, edited.paths, edited.problems)


def _merged(
    store: Store, dest: Path, ref: RefName, edited: _Edited, ours: SetContents
) -> SetContents:
    outcome = merged(store, edited.base, ours, edited.now)
    if outcome.conflicts:
        listed = "\n  ".join(map(str, outcome.conflicts))
        raise Conflict(
            f"{ref} and {dest} both changed the following since {edited.state.receipt.versions}; "
            f"adopt it into a new ref, and choose there:\n  {listed}"
        )
    return outcome.result


def _look(store: Store, dest: Path, progress: Callable[[int, int], None]) -> _Edited:
    state = status(dest)
    receipt = state.receipt
    if receipt.layout not in ("psana", "npy"):
        raise Invalid(
            f"{dest} has the layout {receipt.layout}, which has no groups; import what was changed "
            "from a view in the layout psana"
        )
    if receipt.store != store.id:
        raise NotFound(f"{dest} was made from another store (id {receipt.store}); name that one")
    with Tree(dest) as tree:
        entries = tree.entries()
    base, full = _made_from(store, receipt)
    found = scan(dest)
    inside = tuple(f"{link}/" for link in receipt.links)
    sizes = {
        path: size
        for path, size in found.files.items()
        if path not in receipt.links and not path.startswith(inside)
    }
    kept = _unchanged(state, sizes)
    before = Before()
    before.known.add_blobs(base.files.values())
    for detector, manifest in base.detectors.items():
        before.add(detector, manifest)
    fresh = {path: size for path, size in sizes.items() if path not in kept}
    ingested = ingest_files(store, dest, fresh, before, progress)
    problems = (
        *(problem for problem in found.problems if not problem.path.startswith(inside)),
        *ingested.problems,
    )
    fatal = [str(problem) for problem in problems if problem.fatal]
    if fatal:
        listed = "\n  ".join(fatal)
        raise Invalid(f"{len(fatal)} file(s) cannot be read, nothing was adopted:\n  {listed}")
    now = _joined(base, cast(Layout, receipt.layout), kept, ingested, before)
    return _Edited(state, base, full, now, problems, entries)


def _unchanged(state: State, sizes: Mapping[str, int]) -> frozenset[str]:
    """Files as calstore wrote them, in folders of constants in which nothing was changed.

    Where anything was, a HISTORY made of the version's constants would not be the one there.
    """
    touched = (*state.modified, *state.deleted, *state.added, *state.foreign)
    folders = {path.rpartition("/")[0] for path in touched if path.count("/") == 3}
    return frozenset(
        path
        for path in sizes.keys() & state.receipt.files.keys()
        if path not in state.modified and path.rpartition("/")[0] not in folders
    )


def _joined(
    base: SetContents,
    layout: Layout,
    kept: frozenset[str],
    ingested: Ingested,
    before: Before,
) -> SetContents:
    """What the view holds now: what was kept, and what was read anew."""
    for place, constant in ingested.constants.items():
        old = before.constants.get(((place.group, place.source), place.type_name, place.runs))
        if old is not None and old.content == constant.content:
            ingested.constants[place] = replace(constant, serials=old.serials)
    types: dict[Detector, dict[str, dict[RunRange, Constant]]] = {}
    for key, manifest in ingested.detectors().items():
        types[key] = {name: dict(by_range) for name, by_range in manifest.constants.items()}
    for item in placed(base.detectors, base.files, layout):
        if item.path in kept:
            of_detector = types.setdefault(item.detector, {})
            of_detector.setdefault(item.type_name, {})[item.runs] = item.constant
    files = {path: blob for path, blob in base.files.items() if path in kept}
    detectors = {key: DetectorManifest(of_type) for key, of_type in types.items()}
    return SetContents(detectors, {**files, **ingested.loose})


def _made_from(store: Store, receipt: Receipt) -> tuple[SetContents, SetContents]:
    """What the view was made from: just that, and with what the view left out of it."""
    base = full = SetContents({}, {})
    for number, part in enumerate(receipt.parts):
        reference, _ = locate(store, part.manifest)
        whole = load_contents(store, load_set(store, reference))
        selection = _selection(part)
        selected = SetContents(selection.detectors(whole.detectors), selection.files(whole.files))
        base = _laid_over(base, selected, part)
        if number == 0:
            full = whole
        elif part.run is None:
            full = _laid_over(full, selected, part)
    return base, full


def _selection(part: Part) -> Selection:
    if not part.under:
        return Selection(run=part.run)
    group, source, *types = part.under.split("/")
    return Selection((group, source), types[0] if types else None, part.run)


def _laid_over(below: SetContents, above: SetContents, part: Part) -> SetContents:
    """One set with a part of it replaced by another's."""
    files = {path: blob for path, blob in below.files.items() if not part.holds(path)}
    detectors = {}
    for key, manifest in below.detectors.items():
        folder = "/".join(key)
        kept = {
            type_name: by_range
            for type_name, by_range in manifest.constants.items()
            if not part.holds(f"{folder}/{type_name}/")
        }
        if kept:
            detectors[key] = DetectorManifest(kept)
    for key, manifest in above.detectors.items():
        there = detectors.get(key, DetectorManifest())
        detectors[key] = DetectorManifest({**there.constants, **manifest.constants})
    return SetContents(detectors, {**files, **above.files})


def _sources(store: Store, receipt: Receipt, ref: RefName) -> tuple[Parent, ...]:
    """The record that the view was made from, where it is one of another ref."""
    _, entry = locate(store, receipt.parts[0].version)
    return () if entry is None or entry.record.log == ref.log else (entry.parent,)


def _renew_receipt(dest: Path, edited: _Edited, version: Version) -> None:
    """Let the view be one of the new version, if that says all about it.

    Only for convenience: without it the next materialize finds out file by file.
    """
    receipt = edited.state.receipt
    is_whole = len(receipt.parts) == 1 and receipt.parts[0] == Part(
        receipt.parts[0].version, receipt.parts[0].manifest
    )
    if not is_whole or receipt.for_ami or current(dest) is not None:
        return
    now = edited.now
    layout = cast(Layout, receipt.layout)
    planned = plan(now.detectors, now.files, layout, origins_of(version, now.detectors, layout))
    touched = {*edited.paths}
    with contextlib.suppress(Invalid, Conflict), Tree(dest) as tree:
        tree.lock()
        files = {}
        for path, content in planned.items():
            if path in receipt.files and path not in touched:
                files[path] = receipt.files[path]
            elif (data := tree.read(path)) is not None and path in edited.entries:
                mtime_ns = edited.entries[path].st_mtime_ns
                files[path] = Written(content.key, xxh128(data).hex, len(data), mtime_ns)
        part = Part(version.name, str(version.digest))
        tree.write(NAME, replace(receipt, parts=(part,), files=files).rendered())
