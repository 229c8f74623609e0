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
from calstore.repository.version import Version, locate
from calstore.views import ledger
from calstore.views.generations import current
from calstore.views.merge import Dropped, Merged, SetContents
from calstore.views.plan import Content, Layout
from calstore.views.receipt import Receipt, Written
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
    with view_at(dest) as tree:
        tree.lock()
        edited = look(store, dest, progress)
        result = edited.now
        dropped: tuple[Dropped, ...] = ()

        def decide(version: Version | None) -> Move:
            nonlocal result, dropped
            ours = edited.full if version is None else load_contents(store, version.manifest)
            outcome = _merged(store, dest, ref, edited, ours)
            result, dropped = edited.pinned(outcome.result), outcome.dropped
            return Move(
                put_contents(store, result),
                f"adopt {os.fsencode(dest.absolute()).decode(errors='replace')}",
                _sources(store, edited.state.receipt, ref),
            )

        moved = move(store, ref, decide, stamp, "adopt", may_be_new=True)
        renewed = False
        if moved.changed or edited.paths or edited.state.unsettled:
            with contextlib.suppress(Invalid, Conflict, NotFound):
                renewed = _renew(tree, dest, edited, store[moved.record.name], result)
    problems = (*edited.problems, *map(_said, dropped))
    return Adopted(moved.record, moved.changed, edited.paths, problems, edited.left_out, renewed)


def _merged(store: Store, dest: Path, ref: RefName, edited: Edited, ours: SetContents) -> Merged:
    outcome = merged(store, edited.base, ours, edited.now)
    if outcome.conflicts:
        listed = "\n  ".join(map(str, outcome.conflicts))
        raise Conflict(
            f"{ref} and {dest} both changed the following since {edited.state.receipt.versions}; "
            f"adopt it into a new ref, and choose there:\n  {listed}"
        )
    return outcome


def _said(dropped: Dropped) -> Problem:
    path = f"{'/'.join(dropped.detector)}/{dropped.type_name}/{dropped.runs}.data"
    return Problem(path, Remark("no run got it", "it could not stay unused, and is left out"))


def _sources(store: Store, receipt: Receipt, ref: RefName) -> tuple[Parent, ...]:
    """The record that the view was made from, where it is one of another ref."""
    _, entry = locate(store, receipt.parts[0].version)
    return () if entry is None or entry.record.log == ref.log else (entry.parent,)


def _renew(tree: Tree, dest: Path, edited: Edited, version: Version, result: SetContents) -> bool:
    """Let the view be one of the new version, if it is just that; whether it is.

    Only for convenience: without it the next materialize finds out file by file.
    """
    known = ledger.read(tree, dest)
    receipt = edited.state.receipt
    if len(receipt.parts) > 1 or known.receipt != receipt or current(dest) is not None:
        return False
    selection = Selection.of_part(receipt.parts[0])
    has_now = edited.pinned(edited.now)
    of_version = SetContents(selection.detectors(result.detectors), selection.files(result.files))
    if of_version != has_now or _aliases(version, selection, receipt) != receipt.links:
        return False
    layout = cast(Layout, receipt.layout)
    _, planned = contents_of(version, layout, selection, receipt.for_ami)
    render = renderer(version.store)
    touched = {*edited.paths, *edited.state.unsettled}
    files = {}
    for path, content in planned.items():
        found = edited.entries.get(path)
        if path in receipt.files and path not in touched:
            files[path] = receipt.files[path]
        elif is_file(found):
            files[path] = _written(tree, path, found, content, render(content))
    part = replace(receipt.parts[0], version=version.name, manifest=str(version.digest))
    ledger.settle(tree, known, replace(receipt, parts=(part,), files=files))
    return True


def _aliases(version: Version, selection: Selection, receipt: Receipt) -> Mapping[str, str]:
    return ami.aliases(version.detectors, selection.detector) if receipt.for_ami else {}


def _written(
    tree: Tree, path: str, found: os.stat_result, content: Content, parts: Sequence[Buffer]
) -> Written:
    """The file as one of the version; if it was changed since it was read, it differs from that."""
    there = OnDisk.of(parts, xxh128(*parts), found)
    mtime_ns = there.mtime_ns if has(tree, path, found, parts) else 0
    return Written(content.key, there.digest.hex, there.size, mtime_ns)
