"""What a view holds now: as calstore made it where nothing was touched, else as it is read."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, cast

from calstore.errors import Invalid, NotFound
from calstore.formats.calib_tree import SUFFIXES, Place, Problem, Scan, scan
from calstore.model.manifests import Constant, Detector, DetectorManifest
from calstore.model.remarks import Remark
from calstore.model.runs import RunRange
from calstore.repository.ingest_files import Before, Ingested, ingest_files
from calstore.repository.merge import load_contents
from calstore.repository.store import Store
from calstore.repository.version import load_set, locate
from calstore.views.ledger import JOURNAL
from calstore.views.merge import SetContents
from calstore.views.plan import Layout, placed
from calstore.views.receipt import NAME, Part, Receipt
from calstore.views.selection import Selection
from calstore.views.state import State, view_at
from calstore.views.state import look as state_and_entries
from calstore.views.temporaries import TEMPORARY
from calstore.views.tree import Entries

_Where: TypeAlias = tuple[Detector, str, RunRange]


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
    pins
        In folders in which something was changed, what was not: each constant as it is in
        ``now``, and with the bytes of its file kept, so that they come out the same.
    problems
        What readers would stumble over in what was changed.
    left_out
        Paths left out by rule.
    entries
        The files as they were found, by path.
    """

    state: State
    base: SetContents
    full: SetContents
    now: SetContents
    pins: Mapping[_Where, tuple[Constant, Constant]]
    problems: tuple[Problem, ...]
    left_out: tuple[str, ...]
    entries: Mapping[str, os.stat_result]

    def pinned(self, contents: SetContents) -> SetContents:
        """The set with the bytes kept of files that were not changed beside others that were."""
        return _with(
            contents,
            {
                place: pin
                for place, (constant, pin) in self.pins.items()
                if _at(contents, place) == constant
            },
        )

    def beside(self, base: SetContents) -> SetContents:
        """What the view holds now, with the bytes kept only where ``base`` has kept them too."""
        pins = {place: pin for place, (_, pin) in self.pins.items() if _at(base, place) == pin}
        return _with(self.now, pins)

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
    with view_at(dest) as tree:
        state, _, entries = state_and_entries(tree, dest)
    receipt = state.receipt
    _refuse_foreign(store, dest, receipt)
    base, full = _made_from(store, receipt)
    aliases = [path for path in receipt.links if path not in (*state.modified, *state.deleted)]
    found = scan(dest).without(aliases)
    kept = _unchanged(state, found.files)
    before = Before()
    before.known.add_blobs(base.files.values())
    for detector, manifest in base.detectors.items():
        before.add(detector, manifest)
    fresh = {path: size for path, size in found.files.items() if path not in kept}
    # Beside text for psana, which does not look at them, arrays are files like any other.
    suffixes = (".data",) if receipt.layout == "psana" else SUFFIXES
    ingested = ingest_files(store, dest, fresh, before, progress, suffixes=suffixes)
    now, pins = _joined(base, state, kept, ingested)
    problems = (
        *_links(dest, found, receipt, entries),
        *found.problems,
        *ingested.problems,
        *_other_names(now, cast(Layout, receipt.layout), ingested),
    )
    fatal = [str(problem) for problem in problems if problem.fatal]
    if fatal:
        listed = "\n  ".join(fatal)
        raise Invalid(f"{len(fatal)} file(s) cannot be read, so nothing was done:\n  {listed}")
    left_out = tuple(path for path in found.left_out if not _is_own(path, receipt))
    return Edited(state, base, full, now, pins, problems, left_out, entries.found)


def _at(contents: SetContents, place: _Where) -> Constant | None:
    key, type_name, runs = place
    return contents.detectors.get(key, DetectorManifest()).constants.get(type_name, {}).get(runs)


def _with(contents: SetContents, constants: Mapping[_Where, Constant]) -> SetContents:
    """The set with other constants in some places where it has some."""
    by_type: dict[tuple[Detector, str], dict[RunRange, Constant]] = {}
    for (key, type_name, runs), constant in constants.items():
        by_type.setdefault((key, type_name), {})[runs] = constant
    detectors = dict(contents.detectors)
    for (key, type_name), others in by_type.items():
        by_range = detectors[key].constants[type_name]
        detectors[key] = detectors[key].replaced(type_name, {**by_range, **others})
    return SetContents(detectors, contents.files)


def _refuse_foreign(store: Store, dest: Path, receipt: Receipt) -> None:
    if receipt.layout not in ("psana", "npy"):
        raise Invalid(
            f"{dest} has the layout {receipt.layout}, which has no groups; import what was changed "
            "from a view in the layout psana"
        )
    if receipt.store != store.id:
        raise NotFound(f"{dest} was made from another store (id {receipt.store}); name that one")


def _links(dest: Path, found: Scan, receipt: Receipt, entries: Entries) -> Iterator[Problem]:
    """Links of others: a version has what they lead to, in their place."""
    for path, info in sorted(entries.found.items()):
        if not stat.S_ISLNK(info.st_mode) or path in receipt.links:
            continue
        if path in found.files or any(inner.startswith(f"{path}/") for inner in found.files):
            target = (dest / path).readlink()
            remark = Remark(f"a link to {target}", "what it leads to is kept, not that it is one")
            yield Problem(path, remark)


def _other_names(now: SetContents, layout: Layout, ingested: Ingested) -> Iterator[Problem]:
    """Files that a view in this layout has under another name, made from what they hold."""
    names = {
        (item.detector, item.type_name, item.runs): item.path
        for item in placed(now.detectors, now.files, layout)
    }
    for place in ingested.constants:
        path = _path_of(place)
        made = names[(place.group, place.source), place.type_name, place.runs]
        if made != path:
            remark = Remark(
                f"a view in the layout {layout} has no such file of an array",
                f"it comes out as {made.rpartition('/')[2]}",
            )
            yield Problem(path, remark)


def _path_of(place: Place) -> str:
    return "/".join((place.group, place.source, place.type_name, place.name))


def _is_own(path: str, receipt: Receipt) -> bool:
    name = path.rpartition("/")[2]
    return path in (NAME, JOURNAL, *receipt.links) or name.startswith(TEMPORARY)


def _unchanged(state: State, sizes: Mapping[str, int]) -> frozenset[str]:
    """Files as calstore wrote them, in folders of constants in which nothing was changed.

    Where anything was, a HISTORY made of the version's constants would not be the one there.
    """
    touched = {
        *state.modified,
        *state.deleted,
        *state.added,
        *state.foreign,
        *state.half_done,
    }
    folders = {path.rpartition("/")[0] for path in touched if path.count("/") == 3}
    return frozenset(
        path
        for path in sizes.keys() & state.receipt.files.keys()
        if path not in touched and path.rpartition("/")[0] not in folders
    )


def _joined(
    base: SetContents, state: State, kept: frozenset[str], ingested: Ingested
) -> tuple[SetContents, dict[_Where, tuple[Constant, Constant]]]:
    """What the view holds now, kept or read anew, and which of it is to be pinned."""
    types: dict[Detector, dict[str, dict[RunRange, Constant]]] = {}
    for key, manifest in ingested.detectors().items():
        types[key] = {name: dict(by_range) for name, by_range in manifest.constants.items()}
    fresh = {_path_of(place): constant for place, constant in ingested.constants.items()}
    changed = {*state.modified, *state.half_done}
    pins = {}
    for item in placed(base.detectors, base.files, cast(Layout, state.receipt.layout)):
        by_range = types.setdefault(item.detector, {}).setdefault(item.type_name, {})
        if item.path in kept:
            by_range[item.runs] = item.constant
        elif item.path in fresh and item.path not in changed:
            by_range[item.runs] = item.constant
            pin = (item.constant, fresh[item.path])
            pins[item.detector, item.type_name, item.runs] = pin
    files = {path: blob for path, blob in base.files.items() if path in kept}
    detectors = {}
    for key, of_type in types.items():
        constants = {name: by_range for name, by_range in of_type.items() if by_range}
        if constants:
            detectors[key] = DetectorManifest(constants)
    return SetContents(detectors, {**files, **ingested.loose}), pins


def _made_from(store: Store, receipt: Receipt) -> tuple[SetContents, SetContents]:
    """What the view was made from: just that, and with what the view left out of it."""
    base = full = SetContents({}, {})
    for number, part in enumerate(receipt.parts):
        reference, _ = locate(store, part.manifest)
        whole = load_contents(store, load_set(store, reference))
        selection = Selection.of_part(part)
        selected = SetContents(selection.detectors(whole.detectors), selection.files(whole.files))
        base = _laid_over(base, selected, part)
        if number == 0:
            full = whole
        elif part.run is None:
            full = _laid_over(full, selected, part)
    return base, full


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
