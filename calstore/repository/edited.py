"""What a view holds now: as calstore made it where nothing was touched, else as it is read."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from calstore.errors import Invalid, NotFound
from calstore.formats.calib_tree import Problem, scan
from calstore.model.manifests import Constant, Detector, DetectorManifest
from calstore.model.runs import RunRange
from calstore.repository.ingest_files import Before, Ingested, ingest_files
from calstore.repository.merge import load_contents
from calstore.repository.store import Store
from calstore.repository.version import load_set, locate
from calstore.views.merge import SetContents
from calstore.views.plan import Layout, placed
from calstore.views.receipt import Part, Receipt
from calstore.views.selection import Selection
from calstore.views.state import State, status
from calstore.views.tree import Tree


@dataclass(frozen=True, slots=True)
class Edited:
    """A view as calstore made it, and as it is now.

    Parameters
    ----------
    base
        What the view was made from: just the part of a version that it has.
    full
        The version, with what the view left out of it.
    now
        What it holds now; arrays and blobs are stored.
    problems
        What readers would stumble over in what was changed.
    entries
        The files as they were found, by path.
    """

    state: State
    base: SetContents
    full: SetContents
    now: SetContents
    problems: tuple[Problem, ...]
    entries: Mapping[str, os.stat_result]

    @property
    def paths(self) -> tuple[str, ...]:
        """The files that are not as calstore left them."""
        state = self.state
        return tuple(sorted({*state.modified, *state.deleted, *state.added, *state.foreign}))


def look(store: Store, dest: Path, progress: Callable[[int, int], None]) -> Edited:
    """What a view holds now; files that were changed are read and stored.

    A folder of constants in which anything changed is kept byte for byte, HISTORY and all, as
    an import would keep it.

    Parameters
    ----------
    progress
        Called with the bytes done and the bytes of all.

    Raises
    ------
    NotFound
        When ``dest`` is no view, or the version that it was made from is not in the store.
    Invalid
        When a file cannot be read, or the layout has no groups.
    """
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
        raise Invalid(f"{len(fatal)} file(s) cannot be read, so nothing was done:\n  {listed}")
    now = _joined(base, cast(Layout, receipt.layout), kept, ingested)
    return Edited(state, base, full, now, problems, entries)


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
) -> SetContents:
    """What the view holds now: what was kept, and what was read anew."""
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
