"""A directory that is there is brought to what it shall hold, file by file.

New files come before old ones go, each appears at once, and what others wrote stays theirs.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from calstore.errors import Conflict, Invalid
from calstore.formats.calib_tree import SUFFIXES
from calstore.model.digest import Buffer, Digest, xxh128
from calstore.views.plan import Content
from calstore.views.receipt import JOURNAL, NAME, Part, Receipt, Written, journal_line
from calstore.views.state import HISTORY, State, holds, noted_in, receipt_in, state_of
from calstore.views.tree import Tree, is_file
from calstore.views.write import Change, Job, OnDisk, Put, planned_files, write_all


@dataclass(frozen=True, slots=True)
class _Found:
    """The directory as it was before the update."""

    tree: Tree
    dest: Path
    entries: Mapping[str, os.stat_result]
    noted: Mapping[str, set[str]]
    state: State
    is_view: bool

    @property
    def receipt(self) -> Receipt:
        return self.state.receipt


def update(dest: Path, job: Job) -> Change:
    """Bring a directory to what the job says.

    Files that calstore did not write are never touched: one with the planned bytes is taken
    for a planned one. A HISTORY that is there only grows, by appending, because other tools
    append to it at any time.

    Raises
    ------
    Conflict
        When a file that the update would touch holds somebody's work (unless the job says
        ``discard``): nothing was touched then. Or when somebody writes such a file meanwhile.
    """
    with Tree(dest) as tree:
        tree.lock()
        found = _look(tree, dest, job)
        [part] = job.receipt.parts
        receipt = replace(job.receipt, parts=_put_over(found.receipt.parts, part))
        if found.is_view and receipt.is_of(found.receipt) and found.state.is_clean:
            return Change((), (), found.state.unchanged)
        planned = planned_files(job)
        _refuse_obstacles(found, planned, job)
        if not job.discard:
            _refuse_changed(found, part, job, planned)
        return _carry_out(found, part, replace(job, receipt=receipt), planned)


def _look(tree: Tree, dest: Path, job: Job) -> _Found:
    before = receipt_in(tree, dest)
    [part] = job.receipt.parts
    if before is not None and part.under and before.layout != job.receipt.layout:
        raise Invalid(
            f"{dest} has the layout {before.layout}; a part of it cannot have {job.receipt.layout}"
        )
    if before is not None and part.under and before.for_ami != job.receipt.for_ami:
        raise Invalid(
            f"{dest} was made {'with' if before.for_ami else 'without'} --for ami; "
            "make a part of it so too, or all of it anew"
        )
    entries, noted = tree.entries(), noted_in(tree)
    receipt = before or replace(job.receipt, parts=(), links={})
    state = state_of(tree, receipt, entries, noted)
    return _Found(tree, dest, entries, noted, state, before is not None)


def _put_over(parts: tuple[Part, ...], new: Part) -> tuple[Part, ...]:
    """The parts of a view after one of them was made anew."""
    kept = [part for part in parts if new.under and not new.holds(f"{part.under}/")]
    return (*kept, new)


def _refuse_obstacles(found: _Found, planned: Mapping[str, Content], job: Job) -> None:
    """Raise `Conflict` for a link, a file or a folder in the way of what is to be written."""
    for path in sorted({*found.receipt.files, *planned} - found.entries.keys()):
        if found.tree.stat(path) is not None:
            raise Conflict(f"{found.dest / path} is a folder, in the way of a file; move it away")
    for path, target in job.receipt.links.items():
        there = found.tree.target(path)
        if there is None and found.tree.stat(path) is not None:
            raise Conflict(f"{found.dest / path} is in the way of a link to {target}; move it away")
        if there not in (None, target, found.receipt.links.get(path)) and not job.discard:
            raise Conflict(
                f"{found.dest / path} is somebody's link to {there}, where AMI needs one to "
                f"{target}; move it away, or overwrite it with --discard"
            )


def _refuse_changed(found: _Found, part: Part, job: Job, planned: Mapping[str, Content]) -> None:
    """Raise `Conflict` if a file that the update would touch holds somebody's work."""
    touched = {*found.state.modified, *(path for path in found.state.deleted if path in planned)}
    touched.update(path for path in found.entries if path in planned and path not in touched)
    changed = []
    for path in sorted(path for path in touched if part.holds(path)):
        written = found.receipt.files.get(path)
        if _is_history(path) or path in found.receipt.links:
            continue
        seen = found.entries.get(path)
        if seen is None:
            changed.append(f"{path} (deleted)")
            continue
        if written is not None and written.untouched(seen) and is_file(seen):
            continue
        if holds(found.tree, path, seen, written, found.noted):
            continue
        if path not in planned or not _has(found.tree, path, seen, job.render(planned[path])):
            changed.append(path)
    if changed:
        shown = ", ".join(changed[:5]) + (", …" if len(changed) > 5 else "")
        raise Conflict(
            f"{found.dest}: {len(changed)} file(s) are not as calstore left them: {shown}; keep "
            f"them with: calstore adopt {found.dest} REF, or overwrite them with --discard"
            if found.is_view
            else f"{found.dest}: {len(changed)} file(s) are not what the version has: {shown}; "
            f"import them first (calstore import {found.dest} REF), or overwrite with --discard"
        )


def _has(tree: Tree, path: str, seen: os.stat_result, parts: Sequence[Buffer]) -> bool:
    return is_file(seen) and tree.read(path) == b"".join(parts)


def _carry_out(found: _Found, part: Part, job: Job, planned: Mapping[str, Content]) -> Change:
    tree, before = found.tree, found.receipt
    keep = {
        path: written
        for path, written in before.files.items()
        if not part.holds(path)
        or (path in planned and planned[path].key == written.key and _is_current(found, path))
    }
    to_write = {path: content for path, content in planned.items() if path not in keep}
    left_over = {
        path
        for path in found.noted
        if (seen := found.entries.get(path)) and holds(tree, path, seen, None, found.noted)
    }
    obsolete = sorted(
        path
        for path in {*before.files, *left_over} - planned.keys()
        if part.holds(path) and _may_go(found, path)
    )
    # HISTORY tells people what is there, so it comes after that.
    data = {path: content for path, content in to_write.items() if not _is_history(path)}
    histories = {path: content for path, content in to_write.items() if _is_history(path)}
    files = {**keep, **write_all(job, data, _putter(found))}
    files.update(write_all(job, histories, _putter(found)))
    links = {**before.links, **job.receipt.links} if part.under else job.receipt.links
    for path, target in links.items():
        if tree.target(path) != target:
            tree.link(path, target)
    tree.sync({*to_write, *links})
    gone = [*obsolete, *_obsolete_links(found, links)]
    if gone:
        tree.append(JOURNAL, b"".join(journal_line(path, None) for path in gone))
    for path in gone:
        tree.remove(path, found.entries.get(path))
    tree.write(NAME, replace(job.receipt, files=files, links=links).rendered())
    tree.remove(JOURNAL)
    tree.sync({NAME, *gone})
    kept = sum(1 for path in keep if part.holds(path))
    return Change(tuple(to_write), tuple(obsolete), kept, _strangers(found, planned, files))


def _obsolete_links(found: _Found, links: Mapping[str, str]) -> list[str]:
    """Links that go, unless somebody let them lead elsewhere."""
    before = found.receipt.links
    return [
        path
        for path, target in before.items()
        if path not in links and found.tree.target(path) == target
    ]


def _is_history(path: str) -> bool:
    return path.rpartition("/")[2] == HISTORY


def _is_current(found: _Found, path: str) -> bool:
    seen = found.entries.get(path)
    return seen is not None and found.receipt.files[path].untouched(seen) and is_file(seen)


def _may_go(found: _Found, path: str) -> bool:
    """Whether a file that is no longer planned is there, and no HISTORY with others' lines."""
    if path not in found.entries:
        return False
    return not _is_history(path) or path not in found.state.modified


def _putter(found: _Found) -> Put:
    tree = found.tree

    def put(path: str, parts: Sequence[Buffer], digest: Digest) -> OnDisk:
        seen = found.entries.get(path)
        if _is_history(path) and is_file(seen):
            return _grow_history(found, path, parts, digest)
        tree.append(JOURNAL, journal_line(path, digest))
        return OnDisk.of(parts, digest, tree.replace(path, seen, parts))

    return put


def _grow_history(found: _Found, path: str, planned: Sequence[Buffer], digest: Digest) -> OnDisk:
    """Append the lines that a HISTORY does not have yet.

    One that has lines of others counts as changed by them until somebody adopts it.
    """
    tree = found.tree
    there = tree.read(path) or b""
    is_ours = path in found.receipt.files and path not in found.state.modified
    missing = b"".join(_lines_beyond(b"".join(planned), there))
    if missing:
        torn = b"" if not there or there.endswith(b"\n") else b"\n"
        missing = torn + missing
        if is_ours:
            tree.append(JOURNAL, journal_line(path, xxh128(there, missing)))
        tree.append(path, missing)
    now = tree.stat(path)
    assert now is not None
    if is_ours and now.st_size == len(there) + len(missing):
        return OnDisk.of([there, missing], xxh128(there, missing), now)
    return OnDisk.of(planned, digest, now)


def _lines_beyond(wanted: bytes, there: bytes) -> list[bytes]:
    left = there.split(b"\n")
    missing = []
    for line in wanted.splitlines(keepends=True):
        bare = line.removesuffix(b"\n")
        if bare in left:
            left.remove(bare)
        else:
            missing.append(bare + b"\n")
    return missing


def _strangers(
    found: _Found, planned: Mapping[str, Content], files: Mapping[str, Written]
) -> tuple[str, ...]:
    """Files in the folders of the version that psana may choose, or stumble over."""
    folders = {path.rpartition("/")[0] for path in planned}
    return tuple(
        path
        for path in sorted(found.entries)
        if path not in files
        and path not in found.receipt.files
        and path.count("/") == 3
        and path.endswith(SUFFIXES)
        and path.rpartition("/")[0] in folders
    )
