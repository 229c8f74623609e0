"""adopt: what was changed in a view becomes a version."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from calstore.errors import Conflict, Invalid
from calstore.formats.calib_tree import Problem
from calstore.model.digest import xxh128
from calstore.model.names import RefName
from calstore.model.records import Parent, Record, Stamp
from calstore.repository.change import Move, move
from calstore.repository.edited import Edited, look
from calstore.repository.merge import load_contents, merged, put_contents
from calstore.repository.rendering import origins_of
from calstore.repository.store import Store, ref_name
from calstore.repository.version import Version, locate
from calstore.views.generations import current
from calstore.views.merge import SetContents
from calstore.views.plan import Layout, plan
from calstore.views.receipt import NAME, Part, Receipt, Written
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
    edited = look(store, dest, progress)
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
    store: Store, dest: Path, ref: RefName, edited: Edited, ours: SetContents
) -> SetContents:
    outcome = merged(store, edited.base, ours, edited.now)
    if outcome.conflicts:
        listed = "\n  ".join(map(str, outcome.conflicts))
        raise Conflict(
            f"{ref} and {dest} both changed the following since {edited.state.receipt.versions}; "
            f"adopt it into a new ref, and choose there:\n  {listed}"
        )
    return outcome.result


def _sources(store: Store, receipt: Receipt, ref: RefName) -> tuple[Parent, ...]:
    """The record that the view was made from, where it is one of another ref."""
    _, entry = locate(store, receipt.parts[0].version)
    return () if entry is None or entry.record.log == ref.log else (entry.parent,)


def _renew_receipt(dest: Path, edited: Edited, version: Version) -> None:
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
