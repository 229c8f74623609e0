"""adopt: what was changed in a view becomes a version."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from calstore.errors import Conflict, Invalid, NotFound
from calstore.formats.calib_tree import Problem
from calstore.model.digest import Buffer, xxh128
from calstore.model.manifests import DetectorManifest
from calstore.model.names import RefName
from calstore.model.records import Parent, Record, Stamp
from calstore.model.remarks import Remark
from calstore.repository import ami
from calstore.repository.change import Move, move
from calstore.repository.edited import Edited, look
from calstore.repository.materialize import contents_of
from calstore.repository.merge import load_contents, merged, put_contents
from calstore.repository.rendering import renderer
from calstore.repository.store import Store, ref_name
from calstore.repository.version import Version, load_set, locate
from calstore.views import ledger
from calstore.views.generations import current
from calstore.views.merge import Dropped, Merged, SetContents
from calstore.views.plan import Content, Layout
from calstore.views.receipt import Held, Receipt, Written
from calstore.views.selection import Selection
from calstore.views.state import has, view_at
from calstore.views.temporaries import is_file
from calstore.views.tree import Tree
from calstore.views.write import OnDisk


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
        What readers would stumble over in them, and what could not be kept as it is.
    left_out
        Paths left out by rule.
    renewed
        Whether the view now counts as one of the new version; else it goes on differing from
        what it was made from.
    """

    record: Record
    changed: bool
    paths: tuple[str, ...]
    problems: tuple[Problem, ...]
    left_out: tuple[str, ...]
    renewed: bool


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
    an import would keep it. Of the view, only the receipt is written.

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
        When the ref and the view changed what the same run gets, or the view is being updated;
        nothing is done then.
    Invalid
        When a file cannot be read.
    """
    ref = ref_name(name)
    generation = current(dest)
    with view_at(generation or dest) as tree:
        tree.lock()
        edited = look(store, generation or dest, progress)
        base = _last_adopted(store, dest, ref, edited)
        result = edited.now
        dropped: tuple[Dropped, ...] = ()

        def decide(version: Version | None) -> Move:
            nonlocal result, dropped
            ours = edited.full if version is None else load_contents(store, version.manifest)
            outcome = _merged(store, dest, ref, edited, base, ours)
            result, dropped = edited.pinned(outcome.result), outcome.dropped
            return Move(
                put_contents(store, result),
                f"adopt {os.fsencode(dest.absolute()).decode(errors='replace')}",
                _sources(store, edited.state.receipt, ref),
            )

        moved = move(store, ref, decide, stamp, "adopt", may_be_new=True)
        renewed = False
        if generation is None and (moved.changed or edited.paths or edited.state.is_interrupted):
            with contextlib.suppress(Invalid, Conflict, NotFound):
                renewed = _renew(tree, dest, edited, store[moved.record.name], result)
    problems = (*edited.problems, *map(_said, dropped))
    return Adopted(moved.record, moved.changed, edited.paths, problems, edited.left_out, renewed)


def _merged(
    store: Store,
    dest: Path,
    ref: RefName,
    edited: Edited,
    base: SetContents,
    ours: SetContents,
) -> Merged:
    outcome = merged(store, base, ours, _with_the_rest(dest, edited, edited.beside(base)))
    if outcome.conflicts:
        listed = "\n  ".join(map(str, outcome.conflicts))
        raise Conflict(
            f"{ref} and {dest} both changed the following since {edited.state.receipt.versions}; "
            f"adopt it into a new ref, and choose there:\n  {listed}"
        )
    return outcome


def _with_the_rest(dest: Path, edited: Edited, contents: SetContents) -> SetContents:
    """What a view holds, and what the version has in folders that the view was made without."""
    parts = edited.state.receipt.parts
    clashes: list[str] = []
    detectors = dict(contents.detectors)
    for key, manifest in edited.full.detectors.items():
        types = dict(detectors.get(key, DetectorManifest()).constants)
        for name, rest in manifest.constants.items():
            if not any(part.holds("/".join((*key, name, ""))) for part in parts):
                there = types.get(name, {})
                clashes += [f"{key[1]} {name} {runs}" for runs in rest if runs in there]
                types[name] = {**rest, **there}
        if types:
            detectors[key] = DetectorManifest(types)
    files = {
        path: blob
        for path, blob in edited.full.files.items()
        if not any(part.holds(path) for part in parts)
    }
    clashes += sorted(files.keys() & contents.files.keys())
    if clashes:
        listed = "\n  ".join(clashes)
        raise Conflict(
            f"{dest} was made without the following, which {edited.state.receipt.versions} has, "
            f"and somebody put others there under the same names; give them other names:\n"
            f"  {listed}"
        )
    return SetContents(detectors, {**files, **contents.files})


def _said(dropped: Dropped) -> Problem:
    path = f"{'/'.join(dropped.detector)}/{dropped.type_name}/{dropped.runs}.data"
    return Problem(path, Remark("no run got it", "it could not stay unused, and is left out"))


def _sources(store: Store, receipt: Receipt, ref: RefName) -> tuple[Parent, ...]:
    """The record that the view was made from, where it is one of another ref."""
    _, entry = locate(store, receipt.parts[0].version)
    return () if entry is None or entry.record.log == ref.log else (entry.parent,)


def _last_adopted(store: Store, dest: Path, ref: RefName, edited: Edited) -> SetContents:
    """What the ref has of the view: what it was made from, or what it held when last adopted."""
    held = edited.state.receipt.held
    if held is not None and held.record.rpartition("@")[0] == str(ref):
        with contextlib.suppress(NotFound):
            reference, _ = locate(store, held.manifest)
            return load_contents(store, load_set(store, reference))
    return _with_the_rest(dest, edited, edited.base)


def _renew(tree: Tree, dest: Path, edited: Edited, version: Version, result: SetContents) -> bool:
    """Let the view be one of the new version, if it is just that; whether it is.

    Else it is noted what the ref now has of it, so that what is edited next does not conflict
    with what was adopted here.
    """
    known = ledger.read(tree, dest)
    receipt = edited.state.receipt
    if known.receipt != receipt:
        return False
    renewed = _receipt_of(tree, edited, version, result)
    if renewed is None and edited.state.is_interrupted:
        return False  # the next update must know what the one before was about to do
    if renewed is None:
        whole = _with_the_rest(dest, edited, edited.pinned(edited.now))
        manifest = put_contents(version.store, whole)
        held = Held(version.name, str(manifest.digest))
        ledger.settle(tree, known, replace(receipt, held=held))
        return False
    ledger.settle(tree, known, renewed)
    return True


def _receipt_of(
    tree: Tree, edited: Edited, version: Version, result: SetContents
) -> Receipt | None:
    """The receipt of the view as one of the new version; ``None`` if it is not just that."""
    receipt = edited.state.receipt
    if len(receipt.parts) > 1:
        return None
    [part] = receipt.parts
    selection = Selection.of_part(part)
    try:
        detectors = selection.detectors(result.detectors)
    except NotFound:  # nothing is left of what it was made from
        return None
    if SetContents(detectors, selection.files(result.files)) != edited.pinned(edited.now):
        return None
    layout = cast(Layout, receipt.layout)
    _, planned = contents_of(version, layout, selection, receipt.for_ami)
    touched = {*edited.paths, *edited.state.half_done}
    files = {path: written for path, written in receipt.files.items() if path not in touched}
    # What was not touched and is not planned is a HISTORY that an update left there.
    if planned.keys() | files.keys() != edited.entries.keys() - receipt.links.keys():
        return None
    if _aliases(version, selection, receipt) != receipt.links:
        return None
    render = renderer(version.store)
    for path in planned.keys() - files.keys():
        found, content = edited.entries[path], planned[path]
        if is_file(found):
            files[path] = _written(tree, path, found, content, render(content))
        else:
            return None
    part = replace(part, version=version.name, manifest=str(version.digest))
    return replace(receipt, parts=(part,), files=files, held=None)


def _aliases(version: Version, selection: Selection, receipt: Receipt) -> Mapping[str, str]:
    return ami.aliases(version.detectors, selection.detector) if receipt.for_ami else {}


def _written(
    tree: Tree, path: str, found: os.stat_result, content: Content, parts: Sequence[Buffer]
) -> Written:
    """The file as one of the version; if it was changed since it was read, it differs from that."""
    there = OnDisk.of(parts, xxh128(*parts), found)
    mtime_ns = there.mtime_ns if has(tree, path, found, parts) else 0
    return Written(content.key, there.digest.hex, there.size, mtime_ns)
